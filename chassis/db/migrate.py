"""Migrations: SQL files `NNNN_slug.sql`, applied in order, each once and whole."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from chassis.clock import NANOSECONDS_PER_SECOND

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

# Any constant: it keeps two processes that start together from migrating one database at once.
_ADVISORY_LOCK: Final = 0x5EA1_6A7E
# Whoever wants to sign waits behind whoever waits for the tables, so each wait is short.
_LOCK_TIMEOUT_MS: Final = 250
_LOCK_ATTEMPTS_COUNT: Final = 20
_CLOCKS_APART_MAX_NS: Final = 3600 * NANOSECONDS_PER_SECOND
_DATABASE_NOW_NS: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"

_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_STATEMENT_TIMEOUT_SECONDS: Final = 120.0

_CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migration (
    version integer PRIMARY KEY,
    slug    text NOT NULL,
    sha256  bytea NOT NULL
)
"""


class MigrationError(Exception):
    """Migrations that must not be applied; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, read."""

    version: int
    slug: str
    sql: str

    @property
    def name(self) -> str:
        """The file's name without its ending, as `0001_initial`."""
        return f"{self.version:04}_{self.slug}"

    @property
    def sha256(self) -> bytes:
        """The digest that tells whether the file was changed after it was applied."""
        return hashlib.sha256(self.sql.encode()).digest()


async def migrate(dsn: str, directory: Path) -> list[str]:
    """Applies what is missing of `directory` to the database and returns the names of what it applied.

    `dsn` names the role that shall own the tables. Each file runs in one transaction together with
    its row in `schema_migration`. Raises MigrationError for a file that was changed after it was
    applied or that fails, for numbers with a gap, and for a database that is ahead of the directory;
    asyncpg's own errors and OSError when the database cannot be reached or refuses us.
    """
    migrations = read_migrations(directory)
    connection = await _connect(dsn)
    try:
        await connection.execute(_CREATE_TABLE)
        applied = await _applied_digests(connection)
        _refuse_changed_history(applied, migrations, directory)
        missing = migrations[len(applied) :]
        for migration in missing:
            await _apply(connection, migration)
        return [migration.name for migration in missing]
    finally:
        # Closing the session gives the advisory lock back.
        connection.terminate()


async def maintain(dsn: str, now_ns: int) -> None:
    """Makes room for the signed requests of the days to come and removes those that are kept no longer.

    For a migrated database, as the role that owns its tables; one without signed requests stays as it
    is. `now_ns` is the time. Raises MigrationError when somebody reads the records all the while, such as
    a backup, or when the time is far ahead of the database's; asyncpg's own errors and OSError.
    """
    connection = await _connect(dsn)
    try:
        if await connection.fetchval("SELECT to_regprocedure('maintain_requests(bigint)')") is None:
            return
        ahead_ns = now_ns - await connection.fetchval(_DATABASE_NOW_NS)
        if ahead_ns > _CLOCKS_APART_MAX_NS:
            # A record that is dropped too early lets its request run again.
            raise MigrationError("this machine's clock is over an hour ahead of the database's: set it right")
        await _maintain_between_readers(connection, now_ns)
    finally:
        connection.terminate()


async def _maintain_between_readers(connection: asyncpg.Connection[asyncpg.Record], now_ns: int) -> None:
    """Takes the tables when nobody has them, and waits for no longer than requests can wait behind it."""
    await connection.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
    for _ in range(_LOCK_ATTEMPTS_COUNT):
        try:
            await connection.execute("SELECT maintain_requests($1)", now_ns)
            return
        except asyncpg.LockNotAvailableError:
            continue
    raise MigrationError(
        "the records of signed requests are in use, by a backup perhaps: run this again when it has ended;"
        " until then they are kept for longer, and nothing else is amiss"
    )


def read_migrations(directory: Path) -> list[Migration]:
    """The directory's migrations in order; raises MigrationError unless they count from 0001."""
    migrations = []
    for number, path in enumerate(sorted(directory.glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match.group(1)) != number:
            raise MigrationError(f"{path}: the name should be {number:04}_slug.sql")
        migrations.append(Migration(number, match.group(2), path.read_text(encoding="utf-8")))
    if not migrations:
        raise MigrationError(f"{directory}: there is no migration")
    return migrations


async def _connect(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    """The one connection that may change what the database is; it has the lock until it is closed."""
    connection = await asyncpg.connect(
        dsn,
        timeout=_CONNECT_TIMEOUT_SECONDS,
        command_timeout=_STATEMENT_TIMEOUT_SECONDS,
        server_settings={"application_name": "sealgate-migrate", "client_min_messages": "warning"},
    )
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _applied_digests(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, bytes]:
    """The digests of what the database has, by name, in order."""
    rows = await connection.fetch("SELECT version, slug, sha256 FROM schema_migration ORDER BY version")
    return {f"{row['version']:04}_{row['slug']}": row["sha256"] for row in rows}


def _refuse_changed_history(applied: dict[str, bytes], migrations: list[Migration], directory: Path) -> None:
    """What was applied must be, byte for byte, the first files of the directory."""
    for position, (name, digest) in enumerate(applied.items()):
        if position >= len(migrations) or migrations[position].name != name:
            raise MigrationError(f"{directory}: the database has {name}, which is not here")
        if migrations[position].sha256 != digest:
            raise MigrationError(
                f"{directory}/{name}.sql was changed after it was applied, "
                "or the database is another service's"
            )


async def _apply(connection: asyncpg.Connection[asyncpg.Record], migration: Migration) -> None:
    """Runs the file and notes that it ran, both or neither."""
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migration (version, slug, sha256) VALUES ($1, $2, $3)",
                migration.version,
                migration.slug,
                migration.sha256,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.name}.sql: {error}") from error

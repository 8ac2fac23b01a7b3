"""A database of its own for each test: copied from a template that the migrations built once."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from chassis.db.embedded import SUPERUSER, EmbeddedPostgres
from chassis.db.errors import ConstraintErrors
from chassis.db.migrate import migrate
from chassis.db.pool import create_database
from chassis.db.tx import Database

_ROOT: Final = Path(__file__).parents[2]
_ROLES_FILE: Final = _ROOT / "deploy" / "sql" / "roles.sql"
_POOL_SIZE_COUNT: Final = 5
# Far more than a service allows: how long a busy machine makes a statement or its caller wait says
# nothing of what is tested. Tests of those bounds connect for themselves.
_PATIENCE_SECONDS: Final = 20.0


class FreshDatabase(NamedTuple):
    """A database that nobody else uses, and where it is."""

    database: Database
    dsn: str

    def dsn_as(self, user: str = SUPERUSER) -> str:
        """The same database for another role; the superuser may do all that a service must not."""
        return re.sub(r"user=[^&]*", f"user={user}", self.dsn)


class TemplateDatabases:
    """The databases of one server: a template per service, built when first asked for, and copies."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self._templates: dict[str, str] = {}
        self._count = itertools.count(1)

    async def create(self, service: str) -> str:
        """The name of a new database with the service's migrations applied, owned as in production."""
        async with self._maintenance() as connection:
            template = self._templates.get(service)
            if template is None:
                template = await self._create(connection, service, owner=_owner(service))
                await migrate(
                    self.postgres.dsn(template, _owner(service)), _ROOT / "services" / service / "migrations"
                )
                self._templates[service] = template
            return await self._create(connection, service, owner=_owner(service), template=template)

    async def create_from_schema_file(self, service: str) -> str:
        """The name of a new database built from the service's schema.sql instead of its migrations."""
        async with self._maintenance() as connection:
            name = await self._create(connection, service, owner=_owner(service))
        connection = await asyncpg.connect(self.postgres.dsn(name, _owner(service)))
        try:
            await connection.execute((_ROOT / "services" / service / "schema.sql").read_text("utf-8"))
        finally:
            await connection.close()
        return name

    async def create_empty(self) -> str:
        """The name of a new database of the superuser's with nothing in it."""
        async with self._maintenance() as connection:
            return await self._create(connection, "empty", owner=SUPERUSER)

    async def drop(self, names: list[str]) -> None:
        """Removes databases, whoever is still connected."""
        async with self._maintenance() as connection:
            for name in names:
                await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _create(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        prefix: str,
        *,
        owner: str,
        template: str = "template1",
    ) -> str:
        name = f"{prefix}_{next(self._count)}"
        await connection.execute(
            # Two checkpoints cost nothing where nothing is synced, and the log stays small.
            f"CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} STRATEGY file_copy"
        )
        return name

    @asynccontextmanager
    async def _maintenance(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A connection of its own each time: tests may run on different event loops."""
        connection = await asyncpg.connect(self.postgres.dsn("postgres"))
        try:
            if not self._templates:
                await connection.execute(_ROLES_FILE.read_text(encoding="utf-8"))
            yield connection
        finally:
            await connection.close()


class DatabaseFactory:
    """What the fixture `database_factory` is: makes databases and drops them after the test."""

    def __init__(self, templates: TemplateDatabases) -> None:
        self._templates = templates
        self._names: list[str] = []
        self._databases: list[Database] = []

    async def __call__(
        self,
        service: str,
        *,
        user: str | None = None,
        pool_size_count: int = _POOL_SIZE_COUNT,
        constraint_errors: ConstraintErrors | None = None,
    ) -> FreshDatabase:
        """A fresh database of `service`, migrated by its owner's role as `sealgate migrate` does it.

        Connected to as the service's role, with the rights the migrations grant and no more, unless
        `user` says otherwise; the rest is as in `create_database`.
        """
        name = await self._templates.create(service)
        dsn = self._templates.postgres.dsn(name, user or f"sealgate_{service}")
        return await self._open(name, dsn, pool_size_count, constraint_errors)

    async def from_schema_file(self, service: str) -> FreshDatabase:
        """As a call, but built from `services/<service>/schema.sql`.

        For the proof that it is what the migrations build: `schema_dump` of both is the same text.
        """
        name = await self._templates.create_from_schema_file(service)
        return await self._open(name, self._templates.postgres.dsn(name, f"sealgate_{service}"))

    async def empty(
        self,
        *,
        pool_size_count: int = _POOL_SIZE_COUNT,
        constraint_errors: ConstraintErrors | None = None,
    ) -> FreshDatabase:
        """A database with nothing in it, for the superuser."""
        name = await self._templates.create_empty()
        return await self._open(name, self._templates.postgres.dsn(name), pool_size_count, constraint_errors)

    async def _open(
        self,
        name: str,
        dsn: str,
        pool_size_count: int = _POOL_SIZE_COUNT,
        constraint_errors: ConstraintErrors | None = None,
    ) -> FreshDatabase:
        self._names.append(name)
        database = await create_database(
            dsn,
            pool_size_count=pool_size_count,
            application_name="sealgate-test",
            constraint_errors=constraint_errors,
            statement_timeout_seconds=_PATIENCE_SECONDS,
            acquire_timeout_seconds=_PATIENCE_SECONDS,
        )
        self._databases.append(database)
        return FreshDatabase(database, dsn)

    async def close(self) -> None:
        """Closes and drops what was made."""
        for database in self._databases:
            await database.close()
        if self._names:
            await self._templates.drop(self._names)


def _owner(service: str) -> str:
    """The role that owns a service's tables, made by `deploy/sql/roles.sql`."""
    return f"sealgate_{service}_owner"

"""Statements and transactions on the pool, with every failure translated.

Nothing here waits without a bound: for a connection `ACQUIRE_TIMEOUT_SECONDS`, for a statement the
pool's command timeout. A connection on which an exchange did not end is terminated, never reused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.db.errors import ConstraintErrors, leaves_connection_usable, translate, unavailable
from chassis.errors import Code, SealgateError

ACQUIRE_TIMEOUT_SECONDS: Final = 1.0
CLOSE_TIMEOUT_SECONDS: Final = 3.0

Pool = asyncpg.Pool[asyncpg.Record]
Connection = PoolConnectionProxy[asyncpg.Record]


class Transaction:
    """One READ COMMITTED transaction; its statements raise SealgateError(UNAVAILABLE) for a
    database that does not answer and the domain error of a violated constraint.

    Session state (`SET`, advisory session locks, `LISTEN`) must not be changed: connections go back
    to the pool without a reset.
    """

    def __init__(self, connection: Connection, constraint_errors: ConstraintErrors) -> None:
        self._connection = connection
        self._constraint_errors = constraint_errors
        self._lost = False

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        return await self._run(self._connection.fetch, sql, args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self._run(self._connection.fetchrow, sql, args)

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - what the column holds
        """The first column of the first row, or None."""
        return await self._run(self._connection.fetchval, sql, args)

    async def execute(self, sql: str, *args: object) -> str:
        """The command tag, as `UPDATE 1`."""
        return await self._run(self._connection.execute, sql, args)

    async def _run[Result](
        self, method: Callable[..., Awaitable[Result]], sql: str, args: tuple[object, ...]
    ) -> Result:
        ...

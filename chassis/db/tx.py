"""Statements and transactions, with every failure translated.

Nothing here waits without a bound: for a connection and for each statement the pool's timeouts hold.
A connection on which an exchange did not come to its end is terminated, never reused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from chassis.db.errors import ConstraintErrors, leaves_connection_usable, translate, unavailable
from chassis.errors import Code, SealgateError

if TYPE_CHECKING:
    from chassis.db.pool import Connection, ConnectionPool

_Result = TypeVar("_Result")


class Transaction:
    """What runs inside `Database.transaction()`; all statements on one connection.

    They raise SealgateError(UNAVAILABLE) when the database does not answer, the domain error of a
    violated constraint that has one, and asyncpg's own error for anything else (a bug). Session
    state (`SET` without LOCAL, session locks, `LISTEN`) must stay as it is: connections go back to
    the pool without a reset, which would cost a round trip.
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

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - whatever the column holds
        """The first column of the first row, or None."""
        return await self._run(self._connection.fetchval, sql, args)

    async def execute(self, sql: str, *args: object) -> str:
        """The command tag, as `UPDATE 1`."""
        return await self._run(self._connection.execute, sql, args)

    async def begin(self) -> None:
        """Opens the transaction; for `Database.transaction` alone, as are the two below."""
        await self.execute("BEGIN ISOLATION LEVEL READ COMMITTED")

    async def commit(self) -> None:
        """Commits; raises SealgateError(INTERNAL) if the server rolled back instead.

        It does so, without an error, when a statement failed and the failure was swallowed.
        """
        if await self.execute("COMMIT") != "COMMIT":
            raise SealgateError(Code.INTERNAL, internal="database: commit of a failed transaction")

    async def rollback(self) -> None:
        """Rolls back if the connection is still there; never raises for a database that is not."""
        if not self._lost:
            try:
                await self.execute("ROLLBACK")
            except (SealgateError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self.abandon()

    def abandon(self) -> None:
        """Gives the connection up at once: the server ends the transaction when it notices."""
        if not self._lost:
            self._lost = True
            self._connection.terminate()

    async def _run(
        self, method: Callable[..., Awaitable[_Result]], sql: str, args: tuple[object, ...]
    ) -> _Result:
        if self._lost:
            raise unavailable("the transaction's connection was lost before")
        try:
            return await method(sql, *args)
        except BaseException as error:
            closed = self._connection.is_closed()
            if closed or not leaves_connection_usable(error):
                self.abandon()
            if closed and isinstance(error, asyncpg.InterfaceError):
                raise unavailable("the connection was closed") from error
            refusal = translate(error, self._constraint_errors)
            if refusal is None:
                raise
            raise refusal from error


class Database:
    """A service's database: single statements, each its own transaction, and `transaction()`.

    Made by `chassis.db.pool.create_database`. Needs no connection to exist and recovers by itself:
    while the database is away every call raises SealgateError(UNAVAILABLE) within the acquire and
    command timeouts. Inside `transaction()` use the transaction's methods; this object's would take
    a second connection.
    """

    def __init__(self, pool: ConnectionPool, constraint_errors: ConstraintErrors) -> None:
        self._pool = pool
        self._constraint_errors = constraint_errors

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """See `Transaction.fetch`."""
        connection = await self._pool.acquire()
        try:
            return await Transaction(connection, self._constraint_errors).fetch(sql, *args)
        finally:
            self._pool.release(connection)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """See `Transaction.fetchrow`."""
        connection = await self._pool.acquire()
        try:
            return await Transaction(connection, self._constraint_errors).fetchrow(sql, *args)
        finally:
            self._pool.release(connection)

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - whatever the column holds
        """See `Transaction.fetchval`."""
        connection = await self._pool.acquire()
        try:
            return await Transaction(connection, self._constraint_errors).fetchval(sql, *args)
        finally:
            self._pool.release(connection)

    async def execute(self, sql: str, *args: object) -> str:
        """See `Transaction.execute`."""
        connection = await self._pool.acquire()
        try:
            return await Transaction(connection, self._constraint_errors).execute(sql, *args)
        finally:
            self._pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A READ COMMITTED transaction: committed at the end of the block, rolled back if it raises.

        UNAVAILABLE out of the commit itself means that the outcome is not known.
        """
        connection = await self._pool.acquire()
        transaction = Transaction(connection, self._constraint_errors)
        try:
            await transaction.begin()
            yield transaction
        except Exception:
            await transaction.rollback()
            raise
        except BaseException:
            # Cancelled: whoever waits for us has no time for a round trip.
            transaction.abandon()
            raise
        else:
            await transaction.commit()
        finally:
            self._pool.release(connection)

    async def close(self) -> None:
        """Waits a bounded time for running transactions, then ends every connection."""
        await self._pool.close()

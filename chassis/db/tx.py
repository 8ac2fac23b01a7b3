"""Statements and transactions, with every failure translated.

For a connection and for each statement the pool's timeouts hold; a shared transaction waits for its turn,
without a connection, as long as its task lets it.
A connection on which an exchange did not come to its end is terminated, never reused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from chassis.db.errors import ConstraintErrors, leaves_connection_usable, translate, unavailable
from chassis.errors import Code, SealgateError

if TYPE_CHECKING:
    from chassis.db.pool import Connection, ConnectionPool

_Result = TypeVar("_Result")

Action = Callable[[], Awaitable[None]]


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
        self._usable = True
        self._afterwards: list[Action] = []

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

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part of the transaction: what the block did is undone if it raises, and the rest goes on.

        Locks taken inside are given back with it, and what was to follow the commit is forgotten.
        """
        await self.execute("SAVEPOINT part")
        afterwards_count = len(self._afterwards)
        try:
            yield
        except Exception:
            del self._afterwards[afterwards_count:]
            await self._undo_part()
            raise
        except BaseException:
            self.abandon()
            raise
        else:
            await self._keep_part()

    async def begin(self) -> None:
        """Opens the transaction; for `Database` alone, as are those below."""
        await self.execute("BEGIN ISOLATION LEVEL READ COMMITTED")

    async def commit(self) -> None:
        """Commits; raises SealgateError(INTERNAL) if the server rolled back instead.

        It does so, without an error, when a statement failed and the failure was swallowed.
        """
        if await self.execute("COMMIT") != "COMMIT":
            raise SealgateError(Code.INTERNAL, internal="database: commit of a failed transaction")

    async def rollback(self) -> None:
        """Rolls back if the connection is still there; never raises for a database that is not."""
        if self._usable:
            try:
                await self.execute("ROLLBACK")
            except (SealgateError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self.abandon()

    def abandon(self) -> None:
        """Gives the connection up at once: the server ends the transaction when it notices."""
        if self._usable:
            self._usable = False
            self._connection.terminate()

    def follow_with(self, action: Action) -> None:
        """See `Database.once_committed`."""
        self._afterwards.append(action)

    async def run_afterwards(self) -> None:
        """Does what was to follow the commit, in the order in which it was asked for."""
        for action in self._afterwards:
            await action()

    def end(self) -> None:
        """From now on the connection is somebody else's, whoever may still know of this transaction."""
        self._usable = False

    async def _keep_part(self) -> None:
        """As `commit`, for a part."""
        try:
            await self.execute("RELEASE SAVEPOINT part")
        except asyncpg.InFailedSQLTransactionError:
            await self._undo_part()
            internal = "database: release of a failed savepoint"
            raise SealgateError(Code.INTERNAL, internal=internal) from None

    async def _undo_part(self) -> None:
        """As `rollback`, for a part; parts end in the order of their nesting, so one name does for all."""
        if self._usable:
            try:
                await self.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
            except (SealgateError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self.abandon()

    async def _run(
        self, method: Callable[..., Awaitable[_Result]], sql: str, args: tuple[object, ...]
    ) -> _Result:
        if not self._usable:
            raise unavailable("the transaction is over, or its connection was lost")
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

    Inside `shared_transaction()` all of that is part of one transaction: each `transaction()` of the
    same task is a savepoint in it, and a single statement runs in it as it stands, so that one that
    fails leaves nothing but the way back to the last savepoint. Whoever runs there need not know.
    """

    def __init__(self, pool: ConnectionPool, constraint_errors: ConstraintErrors) -> None:
        self._pool = pool
        self._constraint_errors = constraint_errors
        self._shared: ContextVar[Transaction | None] = ContextVar("shared_transaction", default=None)
        # Half of the connections: these are had for a whole request, which may wait for others' locks, and
        # one busy row would else take all of them from everybody.
        self._shared_turns = asyncio.Semaphore(max(1, pool.size_count // 2))

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """See `Transaction.fetch`."""
        async with self._single() as transaction:
            return await transaction.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """See `Transaction.fetchrow`."""
        async with self._single() as transaction:
            return await transaction.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - whatever the column holds
        """See `Transaction.fetchval`."""
        async with self._single() as transaction:
            return await transaction.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        """See `Transaction.execute`."""
        async with self._single() as transaction:
            return await transaction.execute(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A READ COMMITTED transaction: committed at the end of the block, rolled back if it raises.

        UNAVAILABLE out of the commit itself means that the outcome is not known.
        """
        shared = self._shared.get()
        if shared is not None:
            async with shared.savepoint():
                yield shared
            return
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
            transaction.end()
            self._pool.release(connection)

    @asynccontextmanager
    async def shared_transaction(self) -> AsyncIterator[Transaction]:
        """As `transaction()`, and whatever this task does with the database in the block is part of it.

        It has one connection, so its statements run one after another: tasks that the block starts
        must not use the database beside it. Blocks do not nest.
        """
        async with self._shared_turns, self.transaction() as transaction:
            token = self._shared.set(transaction)
            try:
                yield transaction
            finally:
                self._shared.reset(token)
        await transaction.run_afterwards()

    def in_shared_transaction(self) -> bool:
        """Whether this task has a `shared_transaction()`, and with it a connection, already."""
        return self._shared.get() is not None

    async def once_committed(self, action: Action) -> None:
        """Does `action` when what was done so far is committed: now, unless a transaction is shared.

        Then it is done at the end of that one, if it commits, and what it raises comes out of the
        `shared_transaction()` block. For telling others, who must not hear of what may never be.
        """
        shared = self._shared.get()
        if shared is None:
            await action()
        else:
            shared.follow_with(action)

    async def close(self) -> None:
        """Waits a bounded time for running transactions, then ends every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def _single(self) -> AsyncIterator[Transaction]:
        """What one statement runs on."""
        shared = self._shared.get()
        if shared is not None:
            yield shared
            return
        connection = await self._pool.acquire()
        try:
            yield Transaction(connection, self._constraint_errors)
        finally:
            self._pool.release(connection)

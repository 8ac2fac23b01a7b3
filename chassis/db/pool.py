"""The connection pool, and what every connection is opened with: types, timeouts, limits.

Asyncpg's own pool sends a reset after every use, which is a round trip, and gives connections back
in a task that may wait for a server that is gone. Here giving back is not an await: a connection is
either as good as new or it is terminated.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import asyncpg

from chassis.db.errors import ConstraintErrors, translate, unavailable
from chassis.db.tx import Database

if TYPE_CHECKING:
    # Generic for the type checker only.
    Connection = asyncpg.Connection[asyncpg.Record]

ACQUIRE_TIMEOUT_SECONDS: Final = 1.0
CLOSE_TIMEOUT_SECONDS: Final = 3.0
STATEMENT_TIMEOUT_SECONDS: Final = 2.0

# What the client waits longer than the server: a statement that is only slow is ended by the server
# and costs no connection; a server that does not answer at all is given up.
_CLIENT_GRACE_SECONDS: Final = 0.2


async def create_database(
    dsn: str,
    *,
    pool_size_count: int,
    application_name: str,
    constraint_errors: ConstraintErrors | None = None,
    statement_timeout_seconds: float = STATEMENT_TIMEOUT_SECONDS,
    acquire_timeout_seconds: float = ACQUIRE_TIMEOUT_SECONDS,
) -> Database:
    """A `Database` over a pool of at most `pool_size_count` connections.

    Connects when first used, so it succeeds while the server is down. `constraint_errors` maps
    names of constraints to makers of domain errors. A statement may take, and a caller waits for a
    connection, no longer than the timeouts. Raises ValueError for a size below one.
    """
    pool = ConnectionPool(
        dsn,
        size_count=pool_size_count,
        application_name=application_name,
        statement_timeout_seconds=statement_timeout_seconds,
        acquire_timeout_seconds=acquire_timeout_seconds,
    )
    return Database(pool, constraint_errors or {})


class ConnectionPool:
    """Connections to one database, opened when needed, the last one used handed out first."""

    def __init__(
        self,
        dsn: str,
        *,
        size_count: int,
        application_name: str,
        statement_timeout_seconds: float,
        acquire_timeout_seconds: float,
    ) -> None:
        if size_count < 1:
            raise ValueError("a pool needs room for one connection")
        self._dsn = dsn
        self.size_count = size_count
        self._acquire_timeout_seconds = acquire_timeout_seconds
        self._command_timeout_seconds = statement_timeout_seconds + _CLIENT_GRACE_SECONDS
        self._server_settings = _server_settings(application_name, statement_timeout_seconds)
        self._slots = asyncio.Semaphore(size_count)
        self._idle: list[Connection] = []
        self._in_use: set[Connection] = set()
        self._closed = False

    async def acquire(self) -> Connection:
        """A connection nobody else has, for `release`.

        Raises SealgateError(UNAVAILABLE) when there is none within the pool's time for that,
        because all are in use or the server does not let us in, and after `close`.
        """
        try:
            async with asyncio.timeout(self._acquire_timeout_seconds):
                self._refuse_if_closed()
                await self._slots.acquire()
                try:
                    self._refuse_if_closed()
                    connection = self._pop_idle() or await self._connect()
                except BaseException:
                    self._slots.release()
                    raise
        except Exception as error:
            refusal = translate(error, {})
            if refusal is None:
                raise
            raise refusal from error
        self._in_use.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """Takes a connection back, or ends it if it is not idle and outside of any transaction."""
        self._in_use.discard(connection)
        if self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._slots.release()

    async def close(self) -> None:
        """Hands out nothing any more, waits a bounded time for what is in use, and ends everything."""
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                for _ in range(self.size_count):
                    await self._slots.acquire()
        except TimeoutError:
            # Whoever still has one finds it closed.
            pass
        for connection in [*self._idle, *self._in_use]:
            connection.terminate()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise unavailable("the pool is closed")

    def _pop_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _connect(self) -> Connection:
        """Opens a connection with our codecs; one that cannot get them is ended, not left open."""
        connection = await asyncpg.connect(
            self._dsn,
            command_timeout=self._command_timeout_seconds,
            server_settings=self._server_settings,
        )
        try:
            await connection.set_type_codec(
                "numeric", schema="pg_catalog", encoder=_numeric_text, decoder=int, format="text"
            )
        except BaseException:
            connection.terminate()
            raise
        return connection


def _server_settings(application_name: str, statement_timeout_seconds: float) -> dict[str, str]:
    """Bounds the server keeps for us, also when this process has forgotten about the connection."""
    statement_timeout_ms = int(statement_timeout_seconds * 1000)
    return {
        "application_name": application_name,
        "statement_timeout": str(statement_timeout_ms),
        # Below the statement's, so that the log tells waiting for a row from working on it.
        "lock_timeout": str(statement_timeout_ms * 3 // 4),
        "idle_in_transaction_session_timeout": "10000",
        # A statement whose client has gone away ends, and gives its locks back, this fast.
        "client_connection_check_interval": "500",
        "jit": "off",
    }


def _numeric_text(value: object) -> str:
    """NUMERIC takes whole numbers only: money is counted in the asset's smallest unit."""
    if type(value) is not int:
        raise TypeError(f"a NUMERIC parameter must be int, not {type(value).__name__}")
    return str(value)

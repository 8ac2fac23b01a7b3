"""The connection pool: types, server-side timeouts and limits of every connection."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from chassis.db.errors import ConstraintErrors
from chassis.db.tx import ACQUIRE_TIMEOUT_SECONDS, Database

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
) -> Database:
    """A `Database` over a pool of at most `pool_size_count` connections.

    Connects when first used, so it succeeds while the server is down. `constraint_errors` maps
    names of constraints to makers of domain errors. Raises ValueError for a size below one.
    """
    pool = await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=pool_size_count,
        timeout=ACQUIRE_TIMEOUT_SECONDS,
        command_timeout=statement_timeout_seconds + _CLIENT_GRACE_SECONDS,
        server_settings=_server_settings(application_name, statement_timeout_seconds),
        connect=_connect,
        reset=_keep_session,
    )
    return Database(pool, constraint_errors or {})


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


async def _connect(*args: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:  # noqa: ANN401 - passed on
    """Opens a connection with our codecs; one that cannot get them is terminated, not left open."""
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(*args, **options)
    try:
        await connection.set_type_codec(
            "numeric", schema="pg_catalog", encoder=_numeric_text, decoder=int, format="text"
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _keep_session(_connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Asyncpg's own reset would cost a round trip per statement; nothing here changes a session."""


def _numeric_text(value: object) -> str:
    """NUMERIC takes whole numbers only: money is counted in the asset's smallest unit."""
    if type(value) is not int:
        raise TypeError(f"a NUMERIC parameter must be int, not {type(value).__name__}")
    return str(value)

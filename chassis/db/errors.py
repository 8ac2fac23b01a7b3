"""What a failure of the database means to a caller: the one translation, used by every statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import asyncpg

from chassis.errors import Code, SealgateError

ConstraintErrors = Mapping[str, Callable[[], SealgateError]]
"""Domain errors by the name of the constraint whose violation they are."""

_CONFLICTS: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

# The server is there but will not do it now: it shuts down, starts, is full, gave up waiting, or has
# not been migrated yet. Without the role a login is refused: as a wrong password, where one is asked for.
_UNAVAILABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.UndefinedTableError,
    # The driver has lost step with the server, as when the server's last words come unasked.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


def translate(error: BaseException, constraint_errors: ConstraintErrors) -> SealgateError | None:
    """The refusal a database failure becomes, or None if it is none of ours (a bug: INTERNAL).

    Never carries text of the server's: messages may quote values.
    """
    if isinstance(error, asyncpg.PostgresError):
        make_error = constraint_errors.get(getattr(error, "constraint_name", None) or "")
        if make_error is not None:
            return make_error()
    if isinstance(error, _CONFLICTS):
        return SealgateError(Code.UNAVAILABLE, internal=_name(error))
    if isinstance(error, _UNAVAILABLE):
        return unavailable(_name(error))
    return None


def leaves_connection_usable(error: BaseException) -> bool:
    """Whether the connection may be used after this failure.

    Only an answer of the server's, or a refusal before anything was sent, ends the exchange in a
    known state. After a timeout, a cancellation or a lost connection the answer may still come.
    """
    return isinstance(error, Exception) and not isinstance(
        error, OSError | TimeoutError | asyncpg.PostgresConnectionError | asyncpg.InternalClientError
    )


def unavailable(internal: str) -> SealgateError:
    """The UNAVAILABLE of a database that does not answer; `internal` is for the log."""
    return SealgateError(Code.UNAVAILABLE, internal=f"database: {internal}")


def _name(error: BaseException) -> str:
    """The kind of failure, with its SQLSTATE if it has one, without its text."""
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {sqlstate}" if sqlstate else type(error).__name__

"""The one table of everything that can go wrong, and the exception that carries a row of it.

Every process, the proto enum, `docs/errors.md` and the client's exceptions come from
`ERROR_TABLE`. An error has one public text per code, so that it can never tell more than
its code does; what varies goes into `details`, whose paths and texts come from us, and what
only we may know goes into `internal`, which reaches the log and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.limits import ERROR_DETAILS_COUNT, ERROR_PATH_MAX_CHARACTERS


class Code(StrEnum):
    """Names of the errors; the order is that of the proto enum and never changes."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    MALFORMED_PAYLOAD = "MALFORMED_PAYLOAD"
    CREDENTIAL_AMBIGUOUS = "CREDENTIAL_AMBIGUOUS"
    REQUEST_TIMESTAMP_SKEW = "REQUEST_TIMESTAMP_SKEW"
    UNSUPPORTED_VERSION = "UNSUPPORTED_VERSION"
    ORDER_NOT_FILLED = "ORDER_NOT_FILLED"
    API_KEY_REQUIRED = "API_KEY_REQUIRED"
    API_KEY_INVALID = "API_KEY_INVALID"
    API_KEY_REVOKED = "API_KEY_REVOKED"
    API_KEY_EXPIRED = "API_KEY_EXPIRED"
    SESSION_REQUIRED = "SESSION_REQUIRED"
    SESSION_INVALID = "SESSION_INVALID"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    ORIGIN_NOT_ALLOWED = "ORIGIN_NOT_ALLOWED"
    SCOPE_NOT_GRANTED = "SCOPE_NOT_GRANTED"
    CREDENTIAL_NOT_ACCEPTED = "CREDENTIAL_NOT_ACCEPTED"
    SIGNATURE_REQUIRED = "SIGNATURE_REQUIRED"
    TENANT_SUSPENDED = "TENANT_SUSPENDED"
    SUBSCRIPTION_CANCELLED = "SUBSCRIPTION_CANCELLED"
    SUBSCRIPTION_PAST_DUE = "SUBSCRIPTION_PAST_DUE"
    MODULE_NOT_ENABLED = "MODULE_NOT_ENABLED"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    PROJECT_NOT_FOUND = "PROJECT_NOT_FOUND"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND"
    WALLET_NOT_FOUND = "WALLET_NOT_FOUND"
    ASSET_NOT_FOUND = "ASSET_NOT_FOUND"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    MARKET_NOT_FOUND = "MARKET_NOT_FOUND"
    REQUEST_NOT_FOUND = "REQUEST_NOT_FOUND"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    REQUEST_IN_PROGRESS = "REQUEST_IN_PROGRESS"
    SESSION_ALREADY_REFRESHED = "SESSION_ALREADY_REFRESHED"
    SESSION_NOT_LIVE = "SESSION_NOT_LIVE"
    SESSION_LIMIT_REACHED = "SESSION_LIMIT_REACHED"
    KEY_LIMIT_REACHED = "KEY_LIMIT_REACHED"
    LAST_PROJECT_API_KEY = "LAST_PROJECT_API_KEY"
    WALLET_LIMIT_REACHED = "WALLET_LIMIT_REACHED"
    WALLET_NOT_EMPTY = "WALLET_NOT_EMPTY"
    DEPOSIT_CONFLICT = "DEPOSIT_CONFLICT"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    ORDER_NOT_OPEN = "ORDER_NOT_OPEN"
    MARKET_CLOSED = "MARKET_CLOSED"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    HEADERS_TOO_LARGE = "HEADERS_TOO_LARGE"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"
    PRICE_OUT_OF_RANGE = "PRICE_OUT_OF_RANGE"
    PRICE_OFF_TICK = "PRICE_OFF_TICK"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    AMOUNT_OFF_LOT = "AMOUNT_OFF_LOT"
    EXPIRATION_OUT_OF_RANGE = "EXPIRATION_OUT_OF_RANGE"
    TOKEN_NOT_FOUND = "TOKEN_NOT_FOUND"  # noqa: S105 - a name, not a secret
    EVENT_NOT_FOUND = "EVENT_NOT_FOUND"
    CLIENT_ORDER_ID_USED = "CLIENT_ORDER_ID_USED"
    ORDER_WOULD_CROSS = "ORDER_WOULD_CROSS"
    ORDER_LIMIT_REACHED = "ORDER_LIMIT_REACHED"
    KEY_ALREADY_ROTATED = "KEY_ALREADY_ROTATED"
    DEVICE_KEY_NOT_FOUND = "DEVICE_KEY_NOT_FOUND"
    SUBACCOUNT_NOT_FOUND = "SUBACCOUNT_NOT_FOUND"
    WITHDRAWAL_NOT_FOUND = "WITHDRAWAL_NOT_FOUND"
    CHAIN_NOT_FOUND = "CHAIN_NOT_FOUND"
    MASTER_KEY_EXISTS = "MASTER_KEY_EXISTS"
    SUBACCOUNT_LIMIT_REACHED = "SUBACCOUNT_LIMIT_REACHED"
    ADDRESS_LIMIT_REACHED = "ADDRESS_LIMIT_REACHED"
    ADDRESS_NOT_USABLE = "ADDRESS_NOT_USABLE"
    WITHDRAWAL_LIMIT_REACHED = "WITHDRAWAL_LIMIT_REACHED"
    WITHDRAWAL_STATE_CONFLICT = "WITHDRAWAL_STATE_CONFLICT"


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What one code is on each wire, and the only text the public ever reads of it."""

    code: Code
    http_status: int
    grpc_status: str
    message: str


_ROWS: Final = (
    (Code.VALIDATION_ERROR, 400, "INVALID_ARGUMENT", "The request is not valid; details say where."),
    (Code.MALFORMED_PAYLOAD, 400, "INVALID_ARGUMENT", "The signed payload is not in canonical form."),
    (Code.CREDENTIAL_AMBIGUOUS, 400, "INVALID_ARGUMENT", "Send exactly one credential, once."),
    (
        Code.REQUEST_TIMESTAMP_SKEW,
        400,
        "INVALID_ARGUMENT",
        "The request id's time is too far from the server's.",
    ),
    (Code.UNSUPPORTED_VERSION, 400, "INVALID_ARGUMENT", "This version of the payload is not supported."),
    (Code.ORDER_NOT_FILLED, 400, "INVALID_ARGUMENT", "The order could not be filled whole at once."),
    (
        Code.PRICE_OUT_OF_RANGE,
        400,
        "INVALID_ARGUMENT",
        "The price is outside of the market's range; details name the nearest.",
    ),
    (
        Code.PRICE_OFF_TICK,
        400,
        "INVALID_ARGUMENT",
        "The price is not a multiple of the market's tick; details name the nearest.",
    ),
    (
        Code.AMOUNT_OUT_OF_RANGE,
        400,
        "INVALID_ARGUMENT",
        "The amount is too small or too large; details name the nearest.",
    ),
    (
        Code.AMOUNT_OFF_LOT,
        400,
        "INVALID_ARGUMENT",
        "The shares are not a multiple of the market's lot; details name the nearest.",
    ),
    (
        Code.EXPIRATION_OUT_OF_RANGE,
        400,
        "INVALID_ARGUMENT",
        "The time is in the past or too far ahead; details name the nearest.",
    ),
    (Code.API_KEY_REQUIRED, 401, "UNAUTHENTICATED", "This route needs a credential."),
    (Code.API_KEY_INVALID, 401, "UNAUTHENTICATED", "The key is not valid."),
    (Code.API_KEY_REVOKED, 401, "UNAUTHENTICATED", "The key was revoked."),
    (Code.API_KEY_EXPIRED, 401, "UNAUTHENTICATED", "The key has expired."),
    (Code.SESSION_REQUIRED, 401, "UNAUTHENTICATED", "This route needs a session token."),
    (Code.SESSION_INVALID, 401, "UNAUTHENTICATED", "The session is not valid."),
    (Code.SESSION_EXPIRED, 401, "UNAUTHENTICATED", "The session has expired."),
    (Code.SIGNATURE_INVALID, 401, "UNAUTHENTICATED", "The signature is not valid."),
    (Code.ORIGIN_NOT_ALLOWED, 403, "PERMISSION_DENIED", "The credential does not work from this origin."),
    (Code.SCOPE_NOT_GRANTED, 403, "PERMISSION_DENIED", "The credential lacks the scope for this."),
    (
        Code.CREDENTIAL_NOT_ACCEPTED,
        403,
        "PERMISSION_DENIED",
        "This route does not accept this kind of credential.",
    ),
    (Code.SIGNATURE_REQUIRED, 403, "PERMISSION_DENIED", "This account needs signed requests for this."),
    (Code.TENANT_SUSPENDED, 403, "PERMISSION_DENIED", "The project is suspended."),
    (Code.SUBSCRIPTION_CANCELLED, 403, "PERMISSION_DENIED", "The project's subscription is cancelled."),
    (Code.SUBSCRIPTION_PAST_DUE, 403, "PERMISSION_DENIED", "The project's payment is overdue: reads only."),
    (Code.MODULE_NOT_ENABLED, 403, "PERMISSION_DENIED", "The project does not have this module."),
    (Code.ACCOUNT_SUSPENDED, 403, "PERMISSION_DENIED", "The account is suspended."),
    (Code.PROJECT_NOT_FOUND, 404, "NOT_FOUND", "There is no such project."),
    (Code.ACCOUNT_NOT_FOUND, 404, "NOT_FOUND", "There is no such account."),
    (Code.SESSION_NOT_FOUND, 404, "NOT_FOUND", "There is no such session."),
    (Code.API_KEY_NOT_FOUND, 404, "NOT_FOUND", "There is no such key."),
    (Code.WALLET_NOT_FOUND, 404, "NOT_FOUND", "There is no such wallet."),
    (Code.ASSET_NOT_FOUND, 404, "NOT_FOUND", "There is no such asset."),
    (Code.ORDER_NOT_FOUND, 404, "NOT_FOUND", "There is no such order."),
    (Code.MARKET_NOT_FOUND, 404, "NOT_FOUND", "There is no such market."),
    (Code.TOKEN_NOT_FOUND, 404, "NOT_FOUND", "There is no such token."),
    (Code.EVENT_NOT_FOUND, 404, "NOT_FOUND", "There is no such event."),
    (Code.DEVICE_KEY_NOT_FOUND, 404, "NOT_FOUND", "There is no such device key."),
    (Code.SUBACCOUNT_NOT_FOUND, 404, "NOT_FOUND", "There is no such subaccount."),
    (Code.WITHDRAWAL_NOT_FOUND, 404, "NOT_FOUND", "There is no such withdrawal."),
    (Code.CHAIN_NOT_FOUND, 404, "NOT_FOUND", "There is no such chain."),
    (Code.REQUEST_NOT_FOUND, 404, "NOT_FOUND", "There is no such request."),
    (Code.ROUTE_NOT_FOUND, 404, "NOT_FOUND", "There is no such route."),
    (Code.METHOD_NOT_ALLOWED, 405, "UNIMPLEMENTED", "The route does not take this method."),
    (Code.UNSUPPORTED_MEDIA_TYPE, 415, "INVALID_ARGUMENT", "Send the body as application/json."),
    (
        Code.IDEMPOTENCY_CONFLICT,
        409,
        "ALREADY_EXISTS",
        "The idempotency key was used for another request.",
    ),
    (Code.REQUEST_IN_PROGRESS, 409, "ABORTED", "The same request is still running."),
    (
        Code.SESSION_ALREADY_REFRESHED,
        409,
        "FAILED_PRECONDITION",
        "The session was already refreshed.",
    ),
    (Code.SESSION_NOT_LIVE, 409, "FAILED_PRECONDITION", "The session has ended."),
    (Code.SESSION_LIMIT_REACHED, 409, "FAILED_PRECONDITION", "The account has as many sessions as it may."),
    (Code.KEY_LIMIT_REACHED, 409, "FAILED_PRECONDITION", "The owner has as many keys as it may."),
    (Code.LAST_PROJECT_API_KEY, 409, "FAILED_PRECONDITION", "The project's last key cannot be deleted."),
    (Code.WALLET_LIMIT_REACHED, 409, "FAILED_PRECONDITION", "The account has as many wallets as it may."),
    (Code.WALLET_NOT_EMPTY, 409, "FAILED_PRECONDITION", "The wallet still holds something."),
    (Code.DEPOSIT_CONFLICT, 409, "ALREADY_EXISTS", "The reference was booked with other facts."),
    (Code.INSUFFICIENT_BALANCE, 409, "FAILED_PRECONDITION", "The wallet does not hold enough."),
    (Code.ORDER_NOT_OPEN, 409, "FAILED_PRECONDITION", "The order is not open."),
    (Code.MARKET_CLOSED, 409, "FAILED_PRECONDITION", "The market is closed."),
    (Code.CLIENT_ORDER_ID_USED, 409, "ALREADY_EXISTS", "The wallet has an order of this client order id."),
    (
        Code.ORDER_WOULD_CROSS,
        409,
        "FAILED_PRECONDITION",
        "The order would be filled at once, which it forbids.",
    ),
    (Code.ORDER_LIMIT_REACHED, 409, "FAILED_PRECONDITION", "The wallet has as many open orders as it may."),
    (Code.KEY_ALREADY_ROTATED, 409, "FAILED_PRECONDITION", "The key was already replaced by another."),
    (Code.MASTER_KEY_EXISTS, 409, "ALREADY_EXISTS", "The account has had a master key already."),
    (
        Code.SUBACCOUNT_LIMIT_REACHED,
        409,
        "FAILED_PRECONDITION",
        "The account has as many subaccounts as it may.",
    ),
    (
        Code.ADDRESS_LIMIT_REACHED,
        409,
        "FAILED_PRECONDITION",
        "The account has as many withdrawal addresses as it may.",
    ),
    (
        Code.ADDRESS_NOT_USABLE,
        409,
        "FAILED_PRECONDITION",
        "The address is not registered for withdrawals, or has to wait still.",
    ),
    (
        Code.WITHDRAWAL_LIMIT_REACHED,
        409,
        "FAILED_PRECONDITION",
        "The account has withdrawn as much as it may for now.",
    ),
    (
        Code.WITHDRAWAL_STATE_CONFLICT,
        409,
        "FAILED_PRECONDITION",
        "The withdrawal is past that state.",
    ),
    (Code.PAYLOAD_TOO_LARGE, 413, "RESOURCE_EXHAUSTED", "The body is too large."),
    (Code.HEADERS_TOO_LARGE, 431, "RESOURCE_EXHAUSTED", "The request's headers are too large."),
    (Code.RATE_LIMITED, 429, "RESOURCE_EXHAUSTED", "Too many requests; wait and try again."),
    (Code.OVERLOADED, 503, "UNAVAILABLE", "Too much at once; wait and try again."),
    (Code.UNAVAILABLE, 503, "UNAVAILABLE", "A part of the service does not answer; try again."),
    (
        Code.DEADLINE_EXCEEDED,
        504,
        "DEADLINE_EXCEEDED",
        "The request ran out of time; it may or may not have taken effect.",
    ),
    (Code.INTERNAL, 500, "INTERNAL", "Something went wrong on our side; quote the request id."),
)

# After these a repeat makes sense, and at once makes none.
_PAUSE_SECONDS: Final = {Code.OVERLOADED: 1, Code.UNAVAILABLE: 1}

ERROR_TABLE: Final[dict[Code, ErrorRow]] = {row[0]: ErrorRow(*row) for row in _ROWS}


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing wrong with a request: where (`path`, as `metadata.name` or `items[3].price`) and what."""

    path: str
    message: str


class SealgateError(Exception):
    """A refusal with a code of the table; the only exception that tells a caller anything.

    `details` are shown to the caller, as many and as long as an answer's metadata can hold.
    `internal` is for the log. `retry_after_seconds` becomes the `Retry-After` header and gRPC's
    RetryInfo; OVERLOADED and UNAVAILABLE have one by themselves.
    """

    def __init__(
        self,
        code: Code,
        *,
        details: Sequence[Detail] = (),
        internal: str = "",
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.details = tuple(
            # A path can be a name that the caller made up, and must be one that every wire can carry.
            Detail(_sendable(detail.path[:ERROR_PATH_MAX_CHARACTERS]), detail.message)
            for detail in details[:ERROR_DETAILS_COUNT]
        )
        self.internal = internal
        self.retry_after_seconds = retry_after_seconds or _PAUSE_SECONDS.get(code)

    @property
    def row(self) -> ErrorRow:
        """The table's row for this error's code."""
        return ERROR_TABLE[self.code]


def gravest(failures: Iterable[BaseException]) -> BaseException:
    """Which to tell, where all parts of some work were tried: no outage hides a mistake of ours."""
    return min(failures, key=lambda failure: isinstance(failure, SealgateError))


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def invalid(path: str, message: str) -> SealgateError:
    """A VALIDATION_ERROR about one field."""
    return SealgateError(Code.VALIDATION_ERROR, details=(Detail(path, message),))

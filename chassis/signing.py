"""The bytes that are signed, and the words for what becomes of a signed request.

What is signed begins with a name of its own and a zero byte, so that no signature passes for one of
another kind; it names the deployment (`audience`) and the account, so that it is good for no other.
Lengths are two bytes, little endian.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, Detail, SealgateError
from chassis.ids import parse_uuid
from chassis.limits import SIGNED_REQUEST_AGE_SECONDS, SIGNED_REQUEST_LEAD_SECONDS

UNPINNED_SCOPE: Final = 2**32 - 1
"""The scope of a session key that is pinned to no subaccount."""

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_PAYLOAD_DOMAIN: Final = b"sealgate/payload/v1\x00"
_SESSION_SIGNATURE_DOMAIN: Final = b"sealgate/session-signature/v1\x00"
_POSSESSION_DOMAIN: Final = b"sealgate/possession/v1\x00"

_VERSION: Final = 1
_ED25519: Final = 0
_HEADER_BYTES: Final = 24
REQUEST_ID_PLACE: Final = slice(8, _HEADER_BYTES)
"""Where in a payload its request id stands."""

_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000
_AGE_NS: Final = SIGNED_REQUEST_AGE_SECONDS * NANOSECONDS_PER_SECOND
_LEAD_NS: Final = SIGNED_REQUEST_LEAD_SECONDS * NANOSECONDS_PER_SECOND

# What is refused by the rules of the business, and not for want of rights, of luck or of a place.
_RECORDED_HTTP_STATUSES: Final = frozenset({400, 404, 409})


class Status(StrEnum):
    """Every status that a signed request can be answered with."""

    COMPLETED = "request_completed"
    DUPLICATE = "duplicate_request_id"
    NEVER_RAN = "never_ran"
    SESSION_MAX_SESSIONS = "session_rejected_max_sessions"
    SESSION_INVALID = "session_rejected_invalid"
    SESSION_SCOPE = "session_rejected_scope"
    SESSION_KEY_REUSED = "session_rejected_key_reused"
    MASTER_KEY_INVALID = "master_key_rejected_invalid"
    MASTER_KEY_LIMIT = "master_key_rejected_limit"
    MASTER_KEY_LAST_ADMIN = "master_key_rejected_last_admin"
    MASTER_KEY_REUSED = "master_key_rejected_key_reused"
    NOT_ADMIN_ROOTED = "rejected_not_admin_rooted"
    ROLE = "rejected_role"
    SCOPE = "rejected_scope"
    ORDER_INVALID = "order_rejected_invalid"
    ORDER_INSUFFICIENT_BALANCE = "order_rejected_insufficient_balance"
    ORDER_MARKET_CLOSED = "order_rejected_market_closed"
    ORDER_WOULD_CROSS = "order_rejected_would_cross"
    ORDER_NOT_FILLED = "order_rejected_not_filled"
    ORDER_NOT_OPEN = "order_rejected_not_open"
    WITHDRAWAL_INVALID = "withdrawal_rejected_invalid"
    WITHDRAWAL_INSUFFICIENT_BALANCE = "withdrawal_rejected_insufficient_balance"
    WITHDRAWAL_ADDRESS = "withdrawal_rejected_address"
    WITHDRAWAL_LIMIT = "withdrawal_rejected_limit"
    TRANSFER_INVALID = "transfer_rejected_invalid"
    TRANSFER_INSUFFICIENT_BALANCE = "transfer_rejected_insufficient_balance"
    SUBACCOUNT_LIMIT = "subaccount_rejected_limit"
    PORTFOLIO_INVALID = "portfolio_rejected_invalid"


class SignerKind(StrEnum):
    """The two kinds of keys that sign requests."""

    MASTER_KEY = "MASTER_KEY"
    SESSION_KEY = "SESSION_KEY"


class Role(StrEnum):
    """What a key may sign within its reach."""

    FULL_ACCESS = "FULL_ACCESS"
    TRADING_ONLY = "TRADING_ONLY"


class Refused(Exception):  # noqa: N818  (what it is called in every sentence about it)
    """An authenticated request that is answered with a refusal, which stays on record as its outcome."""

    def __init__(self, status: Status, details: Sequence[Detail] = ()) -> None:
        super().__init__(status.value)
        self.status = status
        self.details = tuple(details)


def refused_for(error: SealgateError, status: Status) -> Refused | None:
    """A refusal by the rules of the business as it stays on record.

    None for any other, which leaves no trace, and the request id unused.
    """
    if error.row.http_status not in _RECORDED_HTTP_STATUSES:
        return None
    return Refused(status, error.details or (Detail("", error.row.message),))


@dataclass(frozen=True, slots=True)
class Signer:
    """A key's facts, none of which ever changes; `public_key` has 32 bytes, Ed25519.

    `subaccount_index` is the only subaccount that it reaches, None for all. `admin_rooted` says of a
    master key that it is ADMIN, and of a session key that such a one minted it unpinned.
    `valid_until_ns` is when a session key ends, None for never.
    """

    account_id: uuid.UUID
    public_key: bytes
    kind: SignerKind
    role: Role
    subaccount_index: int | None
    admin_rooted: bool
    valid_until_ns: int | None

    def require_reach(self, subaccount_index: int) -> None:
        """Raises Refused with `rejected_scope` for a subaccount that the key does not reach."""
        if self.subaccount_index not in (None, subaccount_index):
            raise Refused(Status.SCOPE)


@dataclass(frozen=True, slots=True)
class Rejections:
    """With which status a method's domain errors stay on record; `by_code` before `otherwise`."""

    by_code: Mapping[Code, Status]
    otherwise: Status

    def refusal_of(self, error: SealgateError) -> Refused | None:
        """As `refused_for`, with the status that the error's code has here."""
        return refused_for(error, self.by_code.get(error.code, self.otherwise))


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What is on record of a signed request.

    `request_type` is 0 where the signature came in headers; `public_key` and `digest` are None for what
    never ran. `subaccount_index` is the only subaccount that it is about, None for the whole account.
    `outcome` is the serialized message of what else is to be told, without any secret.
    """

    account_id: uuid.UUID
    request_id: uuid.UUID
    request_type: int
    public_key: bytes | None
    digest: bytes | None
    status: str
    processed_at_ns: int
    subaccount_index: int | None
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """A signed payload in its parts; `body` is the serialized message of the request type."""

    request_type: int
    request_id: uuid.UUID
    body: bytes


def parse_payload(payload: bytes) -> Payload:
    """Reads the 24 bytes before the body: version, signature type, request type, reserved, request id.

    Raises UNSUPPORTED_VERSION for another version, MALFORMED_PAYLOAD for what is no payload of ours.
    """
    if payload and payload[0] != _VERSION:
        raise SealgateError(Code.UNSUPPORTED_VERSION)
    if len(payload) < _HEADER_BYTES:
        raise malformed("payload", f"must have at least {_HEADER_BYTES} bytes")
    if payload[1] != _ED25519:
        raise malformed("payload", "must have signature type 0, Ed25519")
    if payload[4:8] != bytes(4):
        raise malformed("payload", "must have zeros where it is reserved")
    request_id = uuid.UUID(bytes=payload[REQUEST_ID_PLACE])
    if not _is_version_7(request_id):
        raise malformed("payload", "must have a UUIDv7 as its request id")
    return Payload(int.from_bytes(payload[2:4], "little"), request_id, payload[_HEADER_BYTES:])


def malformed(path: str, message: str) -> SealgateError:
    """A MALFORMED_PAYLOAD about one field."""
    return SealgateError(Code.MALFORMED_PAYLOAD, details=(Detail(path, message),))


def payload_message(audience: str, account_id: uuid.UUID, payload: bytes) -> bytes:
    """The bytes that are signed for a payload."""
    return b"".join((_PAYLOAD_DOMAIN, _counted(audience.encode()), account_id.bytes, payload))


def session_signature_message(
    audience: str, account_id: uuid.UUID, request_id: uuid.UUID, *, method: str, target: str, body: bytes
) -> bytes:
    """The bytes that are signed for a request with its signature in headers.

    `method` is the HTTP method and `target` path and query as they were sent. Raises OverflowError for
    one of more than 65535 bytes.
    """
    return b"".join(
        (
            _SESSION_SIGNATURE_DOMAIN,
            _counted(audience.encode()),
            account_id.bytes,
            request_id.bytes,
            _counted(method.encode()),
            _counted(target.encode()),
            hashlib.sha256(body).digest(),
        )
    )


def possession_message(audience: str, account_id: uuid.UUID, public_key: bytes) -> bytes:
    """The bytes that a new master key signs itself, to show that its private half is at hand."""
    return b"".join((_POSSESSION_DOMAIN, _counted(audience.encode()), account_id.bytes, public_key))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's over the message, as libsodium strictly has it.

    Anything that is no key or no signature is False.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(public_key).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def is_acceptable_point(public_key: bytes) -> bool:
    """Whether the bytes are a public key to be registered: canonical, and of the prime-order group.

    Under any other point one signature can be good for many messages.
    """
    return len(public_key) == PUBLIC_KEY_BYTES and crypto_core_ed25519_is_valid_point(public_key)


def parse_request_id(text: str) -> uuid.UUID | None:
    """Reads a signed request id, a UUIDv7 in lower case; None for anything else."""
    request_id = parse_uuid(text)
    return request_id if request_id is not None and _is_version_7(request_id) else None


def request_time_ns(request_id: uuid.UUID) -> int:
    """The time in a signed request id, Unix nanoseconds; it counts milliseconds."""
    return (request_id.int >> 80) * _NANOSECONDS_PER_MILLISECOND


def check_request_time(request_id: uuid.UUID, now_ns: int) -> None:
    """Raises REQUEST_TIMESTAMP_SKEW unless the id's time is at most 15 s past and 5 s ahead."""
    if not now_ns - _AGE_NS <= request_time_ns(request_id) <= now_ns + _LEAD_NS:
        detail = Detail("now_ns", f"the server's time is {now_ns}")
        raise SealgateError(Code.REQUEST_TIMESTAMP_SKEW, details=(detail,))


def _is_version_7(value: uuid.UUID) -> bool:
    return value.version == 7


def _counted(part: bytes) -> bytes:
    return len(part).to_bytes(2, "little") + part

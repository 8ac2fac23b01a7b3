"""What the chassis knows of the request being served, reachable from wherever it is needed."""

from __future__ import annotations

import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.methods import Method
from chassis.signing import Signer


@dataclass(slots=True)
class SignedCall:
    """A signed request that runs: verified, within its time, and the only one under its id.

    `body` is the payload's message, None where the signature came in headers; there `json_body` has the
    members of the JSON body as `chassis.strict_json` reads them, where the method takes one.
    `processed_at_ns` is when it counts as decided. `subaccount_index` is the only subaccount that it is
    about, None for the account: who sees no other is told of its outcome. It begins as what the key
    reaches, and a handler that knows better says so.
    """

    body: Any
    json_body: dict[str, object] | None
    request_id: uuid.UUID
    processed_at_ns: int
    signer: Signer
    subaccount_index: int | None = None


@dataclass(slots=True)
class RequestContext:
    """One request. `deadline_ns` is on the monotonic clock; the interceptors fill the rest in.

    Of a signed one `request_id` is what was signed, and `origin` the page that it came from, None for a
    server. `answer_headers` (lower-case names) is what the answer says beside its message, refusals
    included: limits, replays. Over gRPC it travels as trailing metadata, over REST as headers.
    `store_waited_seconds` is how long it has waited for the store of the rate limits, which is bounded.
    """

    request_id: uuid.UUID
    method: Method | None = None
    deadline_ns: int | None = None
    identity: Identity | None = None
    passport: bytes | None = None
    client_address: str = ""
    user_agent: str = ""
    idempotency_key: str | None = None
    origin: str | None = None
    signed: SignedCall | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    store_waited_seconds: float = 0.0


_current: ContextVar[RequestContext | None] = ContextVar("sealgate_request", default=None)


def current() -> RequestContext:
    """The request being served; raises INTERNAL outside of one."""
    request = _current.get()
    if request is None:
        raise SealgateError(Code.INTERNAL, internal="no request is being served here")
    return request


def current_or_none() -> RequestContext | None:
    """The request being served, None outside of one."""
    return _current.get()


def enter(request: RequestContext) -> None:
    """Makes `request` the one that this task serves."""
    _current.set(request)


def identity() -> Identity:
    """The verified identity of the request; raises INTERNAL for a method that asks for none."""
    verified = current().identity
    if verified is None:
        raise SealgateError(Code.INTERNAL, internal="the method has no identity")
    return verified


def signed() -> SignedCall:
    """The signed request that is being run; raises INTERNAL for a method that is not signed."""
    call = current().signed
    if call is None:
        raise SealgateError(Code.INTERNAL, internal="the method is not signed")
    return call

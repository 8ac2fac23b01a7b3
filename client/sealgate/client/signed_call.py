"""A signed call from its arguments to its outcome, and the wait for an outcome, without input or output."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sealgate.client.core import (
    AnswerFacts,
    Arguments,
    Conversation,
    Operation,
    Pause,
    Request,
    attempts,
    encode,
    read_result,
    written,
)
from sealgate.client.machine import Machine
from sealgate.client.outcomes import first_outcome
from sealgate.client.refusals import RequestNotFound
from sealgate.client.retry import RetryPolicy
from sealgate.client.signing import REQUEST_WINDOW_SECONDS, Signer
from sealgate.client.wire import Body

_T = TypeVar("_T")
_JSON: Final = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class SignedOperation(Operation[_T]):
    """A route whose requests are signed."""

    payload: Body | None = None
    """What is signed; None where the signature is over the request as a whole and comes in headers."""


def converse_signed(
    operation: SignedOperation[_T],
    arguments: Arguments,
    *,
    signer: Signer,
    policy: RetryPolicy,
    timeout_seconds: float,
    machine: Machine,
    request_id: uuid.UUID | str | None = None,
) -> Conversation[_T]:
    """The steps of a signed call; ends with its outcome, or raises a SealgateError.

    It is signed once: all attempts send the same bytes, for as long as the platform takes them. An answer to
    one after the first that says "you asked this before" is turned into the first answer. Raises ValueError
    for arguments that make no request.
    """
    if timeout_seconds <= 0:
        raise ValueError("a call needs time")
    ends_at = machine.seconds() + min(timeout_seconds, REQUEST_WINDOW_SECONDS)
    signed_id = _request_id(request_id) if request_id is not None else machine.request_id()
    request = _signed_request(operation, arguments, signer, signed_id)
    reply, attempts_count = yield from attempts(
        operation, lambda: (str(signed_id), request), policy, ends_at, machine
    )
    if attempts_count > 1:
        operation = dataclasses.replace(operation, read=_as_first(operation.read))
    return read_result(operation, reply, attempts_count)


def _as_first(read: Callable[[object], _T]) -> Callable[[object], _T]:
    return lambda document: read(first_outcome(document))


def _request_id(given: uuid.UUID | str) -> uuid.UUID:
    request_id = given if isinstance(given, uuid.UUID) else uuid.UUID(given)
    if request_id.version != 7:
        raise ValueError("the id of a signed request is a UUIDv7")
    return request_id


def _signed_request(
    operation: SignedOperation[_T], arguments: Arguments, signer: Signer, request_id: uuid.UUID
) -> Request:
    if operation.payload is not None:
        body = operation.payload.encode(written(operation, arguments))
        envelope = signer.payload(operation.payload.request_type, request_id, body)
        document = json.dumps(envelope.document(), separators=(",", ":")).encode("ascii")
        headers = {**_JSON, "x-request-id": str(request_id)}
        return Request(operation.verb, operation.template, headers, document)
    target, plain = encode(operation, arguments)
    headers = signer.headers(operation.verb, target, plain or b"", request_id)
    return Request(operation.verb, target, headers if plain is None else {**headers, **_JSON}, plain)


def await_outcome(
    look_up: Callable[[float], Conversation[_T]], *, timeout_seconds: float, machine: Machine
) -> Conversation[_T]:
    """Looks a request up until its outcome is there; `look_up` makes one look-up of so many seconds.

    Raises what looking up raises; RequestNotFound when the time is over, and at once when the platform
    says that waiting does not help.
    """
    if timeout_seconds <= 0:
        raise ValueError("a call needs time")
    ends_at = machine.seconds() + timeout_seconds
    while True:
        try:
            found: tuple[_T, AnswerFacts] = yield from look_up(max(ends_at - machine.seconds(), 0.001))
        except RequestNotFound as missing:
            pause_seconds = missing.retry_after_seconds
            if pause_seconds is None or machine.seconds() + pause_seconds >= ends_at:
                raise
        else:
            return found
        yield Pause(pause_seconds)

"""A signed call from its arguments to its outcome, and the wait for an outcome, without input or output."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sealgate.client.checking import read_outcome
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
from sealgate.client.errors import SealgateError, TransportError
from sealgate.client.machine import Machine
from sealgate.client.outcomes import first_outcome
from sealgate.client.refusals import RequestNotFound
from sealgate.client.retry import RetryPolicy, verdict_on_answer
from sealgate.client.signing import REQUEST_WINDOW_SECONDS, Signer
from sealgate.client.values import Read
from sealgate.client.wire import Body

_T = TypeVar("_T")
_JSON: Final = {"content-type": "application/json"}
# Of the few seconds that there are for repeats, no pause takes more.
_LONGEST_PAUSE_SECONDS: Final = 2.0
# An id whose window seems to be over is sent all the same: by the platform's clock it may not be.
_SHORTEST_WINDOW_SECONDS: Final = 1.0
_ASK_EVERY_SECONDS: Final = 1.0


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

    It is signed once: all attempts send the same bytes, for as long as the platform takes them. An answer
    that says "you asked this before", whether by an attempt of this call or by a call before it, is turned
    into the first answer. Every error has the signed id. Raises ValueError for arguments that make no
    request, and TypeError for a `request_id` that is neither text nor a UUID.
    """
    if timeout_seconds <= 0:
        raise ValueError("a call needs time")
    if request_id is None:
        signed_id, window_seconds = machine.request_id(), float(REQUEST_WINDOW_SECONDS)
    else:
        signed_id = _request_id(request_id)
        window_seconds = _window_seconds(signed_id, machine.request_id())
    ends_at = machine.seconds() + min(timeout_seconds, window_seconds)
    request, name = _signed_request(operation, arguments, signer, signed_id), str(signed_id)
    eager = dataclasses.replace(policy, cap_seconds=min(policy.cap_seconds, _LONGEST_PAUSE_SECONDS))
    reply, attempts_count = yield from attempts(
        operation, lambda: (name, request), eager, ends_at, machine, signed_id=name
    )
    checked = dataclasses.replace(operation, read=read_outcome(_as_first(operation.read), name))
    return read_result(checked, reply, attempts_count, signed_id=name)


def _as_first(read: Read[_T]) -> Read[_T]:
    return lambda document: read(first_outcome(document))


def _request_id(given: object) -> uuid.UUID:
    if not isinstance(given, uuid.UUID | str):
        raise TypeError("give request_id as text, or as a uuid.UUID")
    try:
        request_id = given if isinstance(given, uuid.UUID) else uuid.UUID(given)
    except ValueError:
        request_id = None
    if request_id is None or request_id.version != 7:
        raise ValueError("the id of a signed request is a UUIDv7")
    return request_id


def _window_seconds(signed_id: uuid.UUID, id_of_now: uuid.UUID) -> float:
    """For how long the platform still takes an id that may be older than the call."""
    age_ms = (id_of_now.int >> 80) - (signed_id.int >> 80)
    return max(REQUEST_WINDOW_SECONDS - max(age_ms, 0) / 1000, _SHORTEST_WINDOW_SECONDS)


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

    Asks once a second, or as seldom as it is asked to, and on through an outage. When the time is over,
    raises what the last look-up raised; at once what waiting does not help against, RequestNotFound
    without a time among it.
    """
    if timeout_seconds <= 0:
        raise ValueError("a call needs time")
    ends_at = machine.seconds() + timeout_seconds
    while True:
        try:
            found: tuple[_T, AnswerFacts] = yield from look_up(max(ends_at - machine.seconds(), 0.001))
        except SealgateError as error:
            if not _may_pass(error):
                raise
            pause_seconds = max(_ASK_EVERY_SECONDS, error.retry_after_seconds or 0)
            if not isinstance(error, RequestNotFound):
                # Everybody was sent away at the same moment.
                pause_seconds += machine.fraction()
            left_seconds = ends_at - machine.seconds()
            if pause_seconds >= left_seconds:
                # One last time, with time for its answer.
                pause_seconds = left_seconds - _ASK_EVERY_SECONDS
                if pause_seconds < _ASK_EVERY_SECONDS:
                    raise
        else:
            return found
        yield Pause(pause_seconds)


def _may_pass(error: SealgateError) -> bool:
    """Whether looking up again may have more luck."""
    if isinstance(error, RequestNotFound):
        return error.retry_after_seconds is not None
    if error.status is None:
        return isinstance(error, TransportError)
    return verdict_on_answer(error.status, error.code).repeat

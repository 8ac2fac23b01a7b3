"""A call from its arguments to its result, without a byte of input or output.

`converse` says what to send and how long to wait, and is told what came of it; a transport drives it,
one in asyncio and one in threads, so that both do the same.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from sealgate.client.checking import read_outcome
from sealgate.client.errors import (
    Detail,
    Facts,
    RateLimit,
    SealgateError,
    TransportError,
    UnexpectedAnswerError,
)
from sealgate.client.machine import Machine
from sealgate.client.refusals import BY_CODE, BY_STATUS
from sealgate.client.retry import RetryPolicy, Verdict, verdict_on_answer, verdict_on_silence
from sealgate.client.values import Read, UnreadableError, decimal_text, json_value, members_of, text

_T = TypeVar("_T")
_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_IDEMPOTENCY_KEY: Final = re.compile(r"[ -~]{1,255}")

Arguments = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Operation(Generic[_T]):
    """A route as a call needs to know it."""

    name: str
    verb: str
    template: str
    read: Read[_T]
    decimals: frozenset[str] = frozenset()
    """Arguments that are amounts or prices."""
    bare: bool = False
    """Whether the answer is the message itself, without an envelope."""


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out. Its headers hold the credential, so it does not show them."""

    verb: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None

    def __repr__(self) -> str:
        return f"Request({self.verb} {self.target.partition('?')[0]})"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Silence:
    """That nothing came back; `sent` is whether the server may have read the request."""

    why: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Asks the transport to send a request and to tell what came of it."""

    request: Request
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Asks the transport to wait."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFacts:
    """What an answer says beside its result."""

    operation: str
    """What was called, such as `place_order`."""
    status: int
    """The HTTP status."""
    request_id: str | None
    """The id the platform's logs have."""
    rate_limit: RateLimit | None
    """The limit that counted the call."""
    idempotent_replayed: bool
    """Whether the server answered from its records: an earlier attempt, or call, did the work."""
    idempotent_omitted: tuple[str, ...]
    """Fields that a replay leaves out because they are secret."""
    attempts_count: int
    """How often the request was sent."""


Told = Reply | Silence | None
Conversation = Generator[Send | Pause, Told, tuple[_T, AnswerFacts]]


def converse(
    operation: Operation[_T],
    arguments: Arguments,
    *,
    credential: Mapping[str, str],
    policy: RetryPolicy,
    timeout_seconds: float,
    machine: Machine,
    idempotency_key: str | None = None,
) -> Conversation[_T]:
    """The steps of a call; ends with its result, or raises a SealgateError.

    All attempts and pauses together take no longer than `timeout_seconds`. Raises ValueError for
    arguments that make no request.
    """
    if timeout_seconds <= 0:
        raise ValueError("a call needs time")
    ends_at = machine.seconds() + timeout_seconds
    headers = dict(credential)
    if operation.verb == "POST":
        # One for all attempts: by it the server knows that they are the same call.
        key = machine.name() if idempotency_key is None else idempotency_key
        headers["idempotency-key"] = _idempotency_key(key)
    target, body = encode(operation, arguments)
    asked_after = arguments.get("request_id")
    if isinstance(asked_after, str):
        operation = dataclasses.replace(operation, read=read_outcome(operation.read, asked_after))
    if body is not None:
        headers["content-type"] = "application/json"

    def request() -> tuple[str, Request]:
        # Ours, so that an attempt whose answer is lost can be found in the platform's logs.
        request_id = machine.name()
        return request_id, Request(operation.verb, target, headers | {"x-request-id": request_id}, body)

    reply, attempts_count = yield from attempts(operation, request, policy, ends_at, machine)
    return read_result(operation, reply, attempts_count)


def attempts(
    operation: Operation[_T],
    request: Callable[[], tuple[str, Request]],
    policy: RetryPolicy,
    ends_at: float,
    machine: Machine,
    signed_id: str | None = None,
) -> Generator[Send | Pause, Told, tuple[Reply, int]]:
    """The attempts of a call: ends with the answer of one that succeeded and how many there were.

    `request` gives the next attempt's request and the id that the platform's logs have of it; `ends_at` is
    on the machine's clock; `signed_id` is the id of a request that is signed. Raises a SealgateError.
    """
    attempts_count, maybe_done = 0, False
    while True:
        attempts_count += 1
        own_id, sent = request()
        left_seconds = max(ends_at - machine.seconds(), 0.001)
        told = yield Send(sent, min(policy.attempt_timeout_seconds, left_seconds))
        if isinstance(told, Reply) and 200 <= told.status < 300:
            return told, attempts_count
        # Whatever answered in the platform's place: by its own id a signed request is found.
        request_id: str | None = own_id
        if isinstance(told, Reply) and signed_id is None:
            request_id = told.headers.get("x-request-id")
        error, verdict = _failure(operation, told, request_id, attempts_count, maybe_done=maybe_done)
        maybe_done = maybe_done or verdict.maybe_done
        pause_seconds = policy.pause_seconds(attempts_count, error.retry_after_seconds, machine.fraction)
        in_time = machine.seconds() + pause_seconds < ends_at
        is_last = policy.is_last(attempts_count, signed=signed_id is not None)
        if is_last or not (verdict.repeat and in_time):
            raise error
        yield Pause(pause_seconds)


def _idempotency_key(key: str) -> str:
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise ValueError("an idempotency key is 1 to 255 printable ASCII characters")
    return key


def encode(operation: Operation[_T], arguments: Arguments) -> tuple[str, bytes | None]:
    """Path with query, and body; what is None is left out."""
    free = written(operation, arguments)
    ids = {name: _segment(name, free.pop(name, "")) for name in _VARIABLE.findall(operation.template)}
    target = operation.template.format_map(ids)
    if operation.verb in ("POST", "PUT"):
        document = json.dumps(json_value(free), allow_nan=False, separators=(",", ":"))
        return target, document.encode("utf-8")
    query = "&".join(f"{quote(name)}={quote(str(value), safe='')}" for name, value in free.items())
    return (f"{target}?{query}" if query else target), None


def written(operation: Operation[_T], arguments: Arguments) -> dict[str, object]:
    """The arguments that are given, amounts and prices as requests write them."""
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in operation.decimals & given.keys():
        given[name] = decimal_text(given[name])
    return given


def _segment(name: str, value: object) -> str:
    # "." and ".." would make it another route on the way.
    if not isinstance(value, str) or value in ("", ".", ".."):
        raise ValueError(f"{name} has to be an id")
    return quote(value, safe="")


def read_result(
    operation: Operation[_T], reply: Reply, attempts_count: int, signed_id: str | None = None
) -> tuple[_T, AnswerFacts]:
    """What an answer of success says; raises UnexpectedAnswerError for one that is not the platform's."""
    headers = reply.headers
    facts = AnswerFacts(
        operation=operation.name,
        status=reply.status,
        request_id=signed_id or headers.get("x-request-id"),
        rate_limit=RateLimit.from_headers(headers),
        idempotent_replayed=headers.get("idempotent-replayed") == "true",
        idempotent_omitted=tuple(headers.get("idempotent-omitted", "").replace(",", " ").split()),
        attempts_count=attempts_count,
    )
    try:
        document = json.loads(reply.body)
        return operation.read(document if operation.bare else members_of(document)["response"]), facts
    except UnreadableError as unreadable:
        what = f"The answer cannot be read: {unreadable}."
    except (ValueError, KeyError, RecursionError):
        what = "The answer is not one of Sealgate's."
    raise UnexpectedAnswerError(
        Facts(
            operation=operation.name,
            message=what,
            status=reply.status,
            request_id=facts.request_id,
            rate_limit=facts.rate_limit,
            attempts_count=attempts_count,
            maybe_done=True,
        )
    )


def _failure(
    operation: Operation[_T], told: Told, request_id: str | None, attempts_count: int, *, maybe_done: bool
) -> tuple[SealgateError, Verdict]:
    """The error to raise if this was the last attempt, and whether it has to be."""
    if isinstance(told, Reply):
        return _refusal(operation, told, request_id, attempts_count, maybe_done=maybe_done)
    silence = told or Silence("nothing was sent", sent=False)
    verdict = verdict_on_silence(sent=silence.sent)
    facts = Facts(
        operation=operation.name,
        message=f"No answer came ({silence.why}).",
        request_id=request_id,
        attempts_count=attempts_count,
        maybe_done=maybe_done or verdict.maybe_done,
    )
    return TransportError(facts), verdict


def _refusal(
    operation: Operation[_T], reply: Reply, request_id: str | None, attempts_count: int, *, maybe_done: bool
) -> tuple[SealgateError, Verdict]:
    code, message, details = _error_object(reply)
    verdict = verdict_on_answer(reply.status, code)
    kind: type[SealgateError] = UnexpectedAnswerError
    if code is not None:
        # A code that is newer than this client is at least of a known family.
        kind = BY_CODE.get(code) or BY_STATUS.get(reply.status, SealgateError)
    pause = reply.headers.get("retry-after", "")
    facts = Facts(
        operation=operation.name,
        message=message,
        code=code,
        status=reply.status,
        details=details,
        request_id=request_id,
        retry_after_seconds=int(pause) if re.fullmatch(r"[0-9]{1,9}", pause) else None,
        rate_limit=RateLimit.from_headers(reply.headers),
        attempts_count=attempts_count,
        maybe_done=maybe_done or verdict.maybe_done,
    )
    return kind(facts), verdict


def _error_object(reply: Reply) -> tuple[str | None, str, tuple[Detail, ...]]:
    """Code, message and details of a refusal; no code when it is not one of Sealgate's."""
    try:
        error = members_of(members_of(json.loads(reply.body))["error"])
        found = error.get("details")
        items = [members_of(item) for item in found] if isinstance(found, list) else []
        details = tuple(Detail(text(item["path"]), text(item["message"])) for item in items)
        return text(error["code"]), text(error["message"]), details
    except (ValueError, KeyError, RecursionError):
        phrase = next((item.phrase for item in HTTPStatus if item == reply.status), "unknown")
        return None, f"The answer is not one of Sealgate's: {reply.status} {phrase}.", ()

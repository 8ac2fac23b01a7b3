"""Calls to other Sealgate processes: always with a deadline, always answering our own errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.limits import (
    REQUEST_DEADLINE_SECONDS,
    RPC_METADATA_MAX_BYTES,
    RPC_REQUEST_MAX_BYTES,
    RPC_RESPONSE_MAX_BYTES,
)
from chassis.rpc import metadata
from chassis.rpc.context import current_or_none
from chassis.rpc.deadline import remaining_seconds
from chassis.rpc.errors import error_from_rpc, status_from_error

_Response = TypeVar("_Response", bound=Message)
_Answer = TypeVar("_Answer")

_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", RPC_REQUEST_MAX_BYTES),
    ("grpc.max_receive_message_length", RPC_RESPONSE_MAX_BYTES),
    ("grpc.max_metadata_size", RPC_METADATA_MAX_BYTES),
    # A restarted peer is back within moments; the default waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Despite its name, how long one attempt to connect may take: a busy peer needs more than moments.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Retrying is the caller's decision: it alone knows whether a repeat is safe.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel to a peer (`unix:/path` or a loopback `host:port`); connects on first use."""
    return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Any, _Response],
    request: Message,
    clock: Clock,
    *,
    at_most_seconds: float = REQUEST_DEADLINE_SECONDS,
    passport: bytes | None = None,
    refusal: SealgateError | None = None,
    origin: str | None = None,
    answer_headers: dict[str, str] | None = None,
) -> _Response:
    """Calls a peer within what is left of the request's time, under the request's id.

    With a `passport` the call is made for whom it names, and the idempotency key of the request being
    served goes along. With a `refusal` the peer answers that, unless it has another before it; see
    `chassis.rpc.refusal`. `origin` is the page that a signed request came from. What the answer, or the
    refusal, says beside its message is put into `answer_headers`.

    Raises the SealgateError that the peer answered, UNAVAILABLE when it cannot be reached,
    DEADLINE_EXCEEDED when time ran out.
    """
    timeout = remaining_seconds(clock, at_most_seconds)
    headers: list[tuple[str, str | bytes]] = []
    served = current_or_none()
    if served is not None:
        headers.append((metadata.REQUEST_ID, str(served.request_id)))
        if served.client_address:
            headers.append((metadata.CLIENT_ADDRESS, metadata.printable(served.client_address)))
        if served.user_agent:
            headers.append((metadata.USER_AGENT, metadata.printable(served.user_agent)))
    if passport is not None:
        headers.append((metadata.PASSPORT, passport))
        if served is not None and served.idempotency_key is not None:
            headers.append((metadata.IDEMPOTENCY_KEY, metadata.printable(served.idempotency_key)))
    if origin is not None:
        headers.append((metadata.ORIGIN, metadata.printable(origin)))
    if refusal is not None:
        headers.append((metadata.REFUSAL, status_from_error(refusal).SerializeToString()))
    rpc = method(request, timeout=timeout, metadata=tuple(headers))
    try:
        response = await rpc
        if answer_headers is not None:
            answer_headers.update(_answer_headers(await rpc.trailing_metadata()))
        return response
    except grpc.aio.AioRpcError as failure:
        if answer_headers is not None:
            answer_headers.update(_answer_headers(failure.trailing_metadata()))
        raise translated(failure, method) from None


async def ask(
    method: grpc.aio.UnaryUnaryMultiCallable[Any, _Response],
    request: Message,
    clock: Clock,
    *,
    at_most_seconds: float = REQUEST_DEADLINE_SECONDS,
    answer_headers: dict[str, str] | None = None,
) -> _Response:
    """As `call`, for what only reads or can be told again: UNAVAILABLE also when time ran out.

    That leaves nothing in doubt, and DEADLINE_EXCEEDED tells a customer that something is.
    """
    with _nothing_in_doubt():
        return await call(
            method, request, clock, at_most_seconds=at_most_seconds, answer_headers=answer_headers
        )


async def in_time(answer: Callable[[], Awaitable[_Answer]], clock: Clock) -> _Answer:
    """What `answer` answers, to a question that others ask too and that has a time of its own.

    UNAVAILABLE when it takes longer than what is left of the request's time, as of `ask`.
    """
    with _nothing_in_doubt():
        limit = asyncio.timeout(remaining_seconds(clock, REQUEST_DEADLINE_SECONDS))
        try:
            async with limit:
                return await answer()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise SealgateError(Code.DEADLINE_EXCEEDED, internal="waited for others' question") from error


@contextmanager
def _nothing_in_doubt() -> Iterator[None]:
    """Time that runs out is UNAVAILABLE in here: DEADLINE_EXCEEDED says that something is in doubt."""
    try:
        yield
    except SealgateError as error:
        if error.code is not Code.DEADLINE_EXCEEDED:
            raise
        raise SealgateError(Code.UNAVAILABLE, internal=f"no answer in time: {error.internal}") from None


def _answer_headers(trailing: Iterable[tuple[str, str | bytes]] | None) -> Iterator[tuple[str, str]]:
    for name, value in trailing or ():
        if name in metadata.ANSWER_HEADERS and isinstance(value, str):
            yield name, value


def translated(failure: grpc.aio.AioRpcError, method: object) -> SealgateError:
    """The error of a failed call, naming the method for the log."""
    name = getattr(method, "_method", b"")
    return error_from_rpc(failure, name.decode() if isinstance(name, bytes) else str(name))

"""What every call passes before its handler: errors, log, admission, deadline, messages, identity.

The stages are composed once per method, so a call pays for what they do and not for their wiring.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from chassis.clock import Clock
from chassis.errors import Code, SealgateError, invalid
from chassis.ids import Ids, parse_uuid
from chassis.limits import (
    DEADLINE_RESERVE_SECONDS,
    REFLECTION_STREAM_SECONDS,
    REFLECTION_STREAMS_COUNT,
    RPC_CONCURRENT_COUNT,
    USER_AGENT_MAX_CHARACTERS,
)
from chassis.log import log_event
from chassis.methods import Exposure, Method
from chassis.rpc import context as request_context
from chassis.rpc import metadata
from chassis.rpc.deadline import deadline_after, request_budget_seconds
from chassis.rpc.errors import Handler, abort_with, attach_answer_headers, error_from_exception

_logger = logging.getLogger(__name__)

_PORT: Final = re.compile(r"^ipv[46]:(?P<address>.*):\d+$")
_NANOSECONDS_PER_MICROSECOND: Final = 1000

Context = grpc.aio.ServicerContext[Any, Any]
HandlerLookup = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]]


class Stage(Protocol):
    """One step of the way; it may refuse by raising a SealgateError."""

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """`handler` with this stage in front of it."""
        ...


class PipelineInterceptor(grpc.aio.ServerInterceptor):
    """Puts the stages in front of every method of the table and hides what a listener does not serve."""

    def __init__(
        self, table: Mapping[str, Method], exposures: frozenset[Exposure], stages: Sequence[Stage]
    ) -> None:
        self._table = table
        self._exposures = exposures
        self._stages = tuple(reversed(stages))
        self._composed: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._streams = StreamGuard()

    async def intercept_service(
        self,
        continuation: HandlerLookup,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401  (grpc's own signature says less than it takes: None is "no such method")
        """The composed handler of a method, the guarded one of reflection, or none."""
        name = handler_call_details.method
        composed = self._composed.get(name)
        if composed is not None:
            return composed
        try:
            return self._look_up(name, await continuation(handler_call_details))
        except Exception as raised:  # noqa: BLE001  (grpc would send the exception's text to the caller)
            return _refusal(error_from_exception(raised))

    def _look_up(
        self, name: str, found: grpc.RpcMethodHandler[Any, Any] | None
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = self._table.get(name)
        if found is None:
            return None
        if method is None:
            return self._streams.guarded(found)
        if method.exposure not in self._exposures:
            return None
        composed = self._compose(method, found)
        self._composed[name] = composed
        return composed

    def _compose(
        self, method: Method, found: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler: Any = found.unary_unary
        for stage in self._stages:
            handler = stage.wrap(method, handler)
        # Without codecs of its own, grpc hands bytes over and takes bytes: see MessageStage.
        return grpc.unary_unary_rpc_method_handler(handler)


class StreamGuard:
    """Bounds reflection, the one stream that is served: how many at once, how long each, no text of errors.

    Health's own stream is not served, as its protocol allows: who wants to know asks again.
    """

    def __init__(self) -> None:
        self._free_count = REFLECTION_STREAMS_COUNT

    def guarded(self, found: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler within its bounds; None for one that is not served."""
        stream: Any = found.stream_stream
        if stream is None:
            return None

        async def answer(requests: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401
            if self._free_count <= 0:
                await abort_with(context, SealgateError(Code.OVERLOADED))
            self._free_count -= 1
            try:
                async with asyncio.timeout(REFLECTION_STREAM_SECONDS):
                    async for response in stream(requests, context):
                        yield response
                return
            except TimeoutError:
                error = SealgateError(Code.DEADLINE_EXCEEDED)
            except DecodeError:
                error = invalid("request", "is not a message of the method's request type")
            except Exception as raised:  # noqa: BLE001  (grpc would send the exception's text to the caller)
                error = error_from_exception(raised)
            finally:
                self._free_count += 1
            await abort_with(context, error)

        return grpc.stream_stream_rpc_method_handler(
            answer,
            request_deserializer=found.request_deserializer,
            response_serializer=found.response_serializer,
        )


class ErrorStage:
    """Outermost: opens the request's context and turns every exception into an answer of the table."""

    def __init__(self, ids: Ids, *, trusts_caller: bool) -> None:
        self._ids = ids
        self._trusts_caller = trusts_caller

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `Stage.wrap`."""

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            try:
                served = self._open(method, context)
                request_context.enter(served)
                response = await handler(request, context)
                attach_answer_headers(context, served)
                return response
            except grpc.aio.AbortError as raised:
                status: Any = context.code()  # 0 until the call is aborted, whatever its type says
                if status:
                    # Health answers an unknown name by itself.
                    raise
                error = error_from_exception(raised)
            except asyncio.CancelledError as raised:
                if _is_called_off():
                    raise
                # Something that the handler waited for was cancelled. grpc would never answer.
                error = error_from_exception(raised)
            except Exception as raised:  # noqa: BLE001  (the one place that must let nothing through)
                error = error_from_exception(raised)
            return await abort_with(context, error)

        return answer

    def _open(self, method: Method, context: Context) -> request_context.RequestContext:
        headers = {
            name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        if self._trusts_caller:
            address = headers.get(metadata.CLIENT_ADDRESS, "")
            user_agent = headers.get(metadata.USER_AGENT, "")
        else:
            address = peer_address(context.peer())
            user_agent = metadata.printable(headers.get("user-agent", "")[:USER_AGENT_MAX_CHARACTERS])
        return request_context.RequestContext(
            request_id=request_id_from(headers.get(metadata.REQUEST_ID), self._ids),
            method=method,
            client_address=address,
            user_agent=user_agent,
            idempotency_key=headers.get(metadata.IDEMPOTENCY_KEY),
        )


class LogStage:
    """Writes one line a call: refusals and slow answers as info, the rest as debug."""

    _SLOW_MICROSECONDS: Final = 500_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `Stage.wrap`."""

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            started_ns = self._clock.monotonic_ns()
            outcome, reason = "CANCELLED", ""
            try:
                response = await handler(request, context)
                outcome = "OK"
                return response
            except SealgateError as error:
                outcome, reason = error.code.value, error.internal
                raise
            except Exception:
                outcome = Code.INTERNAL.value
                raise
            finally:
                self._write(method, outcome, reason, started_ns)

        return answer

    def _write(self, method: Method, outcome: str, reason: str, started_ns: int) -> None:
        took = (self._clock.monotonic_ns() - started_ns) // _NANOSECONDS_PER_MICROSECOND
        level = logging.DEBUG if outcome == "OK" and took < self._SLOW_MICROSECONDS else logging.INFO
        because = {"reason": reason} if reason else {}
        log_event(_logger, level, "call", method=method.full_name, outcome=outcome, took_us=took, **because)


class AdmissionStage:
    """Bounds the handlers that run at once; one more is refused, by name and with a pause."""

    def __init__(self, at_once_count: int = RPC_CONCURRENT_COUNT) -> None:
        self._free_count = at_once_count

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `Stage.wrap`."""
        del method

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            if self._free_count <= 0:
                raise SealgateError(Code.OVERLOADED)
            self._free_count -= 1
            try:
                return await handler(request, context)
            finally:
                self._free_count += 1

        return answer


class DeadlineStage:
    """Ends a handler just before its caller's deadline, or at ours when the caller names none.

    Just before, because at the deadline itself gRPC hangs up, and the caller learns neither what ran
    out nor the request's id.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `Stage.wrap`."""

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            budget = request_budget_seconds(context.time_remaining())
            request_context.current().deadline_ns = deadline_after(self._clock, budget)
            limit = asyncio.timeout(budget - min(DEADLINE_RESERVE_SECONDS, budget / 2))
            try:
                async with limit:
                    return await handler(request, context)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise SealgateError(
                    Code.DEADLINE_EXCEEDED, internal=f"{method.full_name} ran out of time"
                ) from error

        return answer


class MessageStage:
    """Reads the request and writes the answer inside of the error stage.

    What fails in grpc's own codecs reaches the caller with the exception's text. Here unreadable
    bytes are a VALIDATION_ERROR, and a handler that answers another message's type is INTERNAL.
    """

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `Stage.wrap`; `handler` takes and answers messages, what comes back takes and answers bytes."""
        request_class = GetMessageClass(method.descriptor.input_type)
        response_class = GetMessageClass(method.descriptor.output_type)

        async def answer(request: bytes, context: Context) -> bytes:
            try:
                message = request_class.FromString(request)
            except DecodeError:
                raise invalid("request", "is not a message of the method's request type") from None
            response = await handler(message, context)
            if not isinstance(response, response_class):
                raise SealgateError(Code.INTERNAL, internal=f"{method.full_name} answered another type")
            # Maps in one order: an answer that is given again has the bytes of the first.
            return response.SerializeToString(deterministic=True)

        return answer


def _is_called_off() -> bool:
    """Whether this task itself was cancelled: the caller is gone or the server stops."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refusal(error: SealgateError) -> grpc.RpcMethodHandler[Any, Any]:
    async def answer(request: bytes, context: Context) -> NoReturn:
        del request
        await abort_with(context, error)

    return grpc.unary_unary_rpc_method_handler(answer)


@lru_cache(maxsize=1024)
def peer_address(peer: str) -> str:
    """The network address in a gRPC peer name (`ipv4:127.0.0.1:5000`); empty for a Unix socket."""
    match = _PORT.match(unquote(peer))
    return match["address"].strip("[]") if match else ""


def request_id_from(text: str | None, ids: Ids) -> uuid.UUID:
    """The caller's own request id when it is a UUID, else a new one."""
    return (parse_uuid(text.lower()) if text else None) or ids.uuid7()

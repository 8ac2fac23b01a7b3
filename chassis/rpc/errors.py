"""The only translator between the error table and gRPC, in both directions.

An error crosses the wire as google.rpc.Status: ErrorInfo carries the code, BadRequest the details,
RetryInfo the pause. Whatever is not a SealgateError is INTERNAL, without a word of its text.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from chassis.errors import Code, Detail, SealgateError
from chassis.log import log_event
from chassis.rpc import context as request_context

ERROR_DOMAIN: Final = "sealgate"
STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"

_logger = logging.getLogger(__name__)

_STATUS_CODES: Final[dict[str, grpc.StatusCode]] = {status.name: status for status in grpc.StatusCode}
# What a peer's bare status means when no ErrorInfo of ours came with it.
_BARE_STATUS: Final[dict[grpc.StatusCode, Code]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Code.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE: Code.UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Code.UNAVAILABLE,
}

Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


def status_from_error(error: SealgateError) -> status_pb2.Status:
    """The google.rpc.Status of an error."""
    row = error.row
    status = status_pb2.Status(code=code_pb2.Code.Value(row.grpc_status), message=row.message)
    for detail in _details(error):
        status.details.add().Pack(detail)
    return status


def error_from_status(serialized: bytes) -> SealgateError | None:
    """The error in a serialized google.rpc.Status; None when it is none of ours."""
    info, violations, pause = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    try:
        status = status_pb2.Status.FromString(serialized)
        for packed in status.details:
            for kind in (info, violations, pause):
                if packed.Is(kind.DESCRIPTOR):
                    packed.Unpack(kind)
        code = Code(info.reason)
    except (DecodeError, ValueError):
        return None
    if info.domain != ERROR_DOMAIN:
        return None
    return SealgateError(
        code,
        details=[Detail(item.field, item.description) for item in violations.field_violations],
        retry_after_seconds=pause.retry_delay.seconds if pause.HasField("retry_delay") else None,
    )


def error_from_rpc(failure: grpc.aio.AioRpcError, method: str) -> SealgateError:
    """The error that a peer answered, or the one that its silence amounts to."""
    for key, value in failure.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            error = error_from_status(value)
            if error is not None:
                return error
    code = _BARE_STATUS.get(failure.code(), Code.INTERNAL)
    return SealgateError(code, internal=f"{method} ended with {failure.code().name}")


def error_from_exception(error: BaseException) -> SealgateError:
    """A SealgateError as it is; anything else becomes INTERNAL, logged by type and place."""
    if isinstance(error, SealgateError):
        if error.code is Code.INTERNAL:
            log_event(_logger, logging.ERROR, "internal error", reason=error.internal)
        return error
    _logger.error("unexpected error", exc_info=error)
    return SealgateError(Code.INTERNAL)


def attach_answer_headers(
    context: grpc.aio.ServicerContext[Any, Any], served: request_context.RequestContext
) -> None:
    """Sends what the answer says beside its message, when it is no refusal: `abort_with` does that itself."""
    if served.answer_headers:
        context.set_trailing_metadata(tuple(served.answer_headers.items()))


async def abort_with(context: grpc.aio.ServicerContext[Any, Any], error: SealgateError) -> NoReturn:
    """Ends the call with an error of the table, and with what the answer says beside it."""
    status = status_from_error(error)
    served = request_context.current_or_none()
    answer_headers = served.answer_headers.items() if served is not None else ()
    await context.abort(
        _STATUS_CODES[error.row.grpc_status],
        error.row.message,
        ((STATUS_DETAILS_KEY, status.SerializeToString()), *answer_headers),
    )


def _details(error: SealgateError) -> list[Message]:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.code.value, domain=ERROR_DOMAIN)]
    if error.details:
        violations = error_details_pb2.BadRequest()
        for detail in error.details:
            violations.field_violations.add(field=detail.path, description=detail.message)
        details.append(violations)
    if error.retry_after_seconds is not None:
        pause = error_details_pb2.RetryInfo()
        pause.retry_delay.seconds = error.retry_after_seconds
        details.append(pause)
    request = request_context.current_or_none()
    if request is not None:
        details.append(error_details_pb2.RequestInfo(request_id=str(request.request_id)))
    return details

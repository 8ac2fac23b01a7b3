"""The error table over the wire and back."""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from chassis.errors import ERROR_TABLE, Code, Detail, SealgateError
from chassis.rpc import context as request_context
from chassis.rpc.errors import STATUS_DETAILS_KEY, error_from_exception, error_from_rpc, status_from_error
from sealgate.common.v1.error_code_pb2 import ErrorCode
from tests.contract.rpc_harness import captured_log, request_being_served


def failure_with(
    trailing: list[tuple[str, str | bytes]],
    code: grpc.StatusCode = grpc.StatusCode.PERMISSION_DENIED,
) -> grpc.aio.AioRpcError:
    """What a client sees of a peer that answered these trailing metadata."""
    metadata = grpc.aio.Metadata(*trailing)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details="their text")


def answered(error: SealgateError) -> SealgateError:
    """`error` after its way over the wire."""
    serialized = status_from_error(error).SerializeToString()
    return error_from_rpc(failure_with([(STATUS_DETAILS_KEY, serialized)]), "/a.B/C")


@pytest.mark.parametrize("code", list(Code))
def test_error_keeps_its_code_when_it_crosses_the_wire(code: Code) -> None:
    """Every code of the table arrives as itself, with the table's gRPC status and text."""
    status = status_from_error(SealgateError(code))
    expected = getattr(grpc.StatusCode, ERROR_TABLE[code].grpc_status).value[0]
    assert (status.code, status.message) == (expected, ERROR_TABLE[code].message)
    assert answered(SealgateError(code)).code is code


def test_error_keeps_details_and_pause_when_it_crosses_the_wire() -> None:
    """Where, what, and when to come back arrive; what is for our log does not."""
    details = (Detail("metadata.name", "must be text"), Detail("items[3].price", "must be positive"))
    error = SealgateError(
        Code.VALIDATION_ERROR, details=details, internal="for the log", retry_after_seconds=7
    )
    arrived = answered(error)
    assert (arrived.details, arrived.retry_after_seconds, arrived.internal) == (details, 7, "")
    assert b"for the log" not in status_from_error(error).SerializeToString()


@pytest.mark.parametrize("seconds", [None, 1, 3600])
def test_error_keeps_its_pause_when_it_has_one_or_none(seconds: int | None) -> None:
    """A caller is told when to come back only if somebody knows."""
    error = SealgateError(Code.REQUEST_IN_PROGRESS, retry_after_seconds=seconds)
    assert answered(error).retry_after_seconds == seconds


@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.UNAVAILABLE])
def test_error_always_has_a_pause_when_it_will_pass(code: Code) -> None:
    """What another moment mends says so, whoever raised it."""
    assert answered(SealgateError(code)).retry_after_seconds == 1
    assert answered(SealgateError(code, retry_after_seconds=7)).retry_after_seconds == 7


def test_error_has_no_more_details_than_a_client_can_take() -> None:
    """A client drops answers with more than 8 KiB of metadata, so details are bounded before they go."""
    details = [Detail("allowed_origins[" + "9" * 5000 + "]", "must be an exact origin" * 3)] * 100
    error = SealgateError(Code.VALIDATION_ERROR, details=details)
    assert 0 < len(status_from_error(error).SerializeToString()) < 6 * 1024
    assert len(answered(error).details) == len(error.details) == 16


def test_status_carries_the_request_id_when_a_request_is_served() -> None:
    """RequestInfo ties an answer to its log lines."""
    request_id = uuid.UUID("0189abcd-0000-7000-8000-0000000000ff")
    with request_being_served(request_context.RequestContext(request_id)):
        status = status_from_error(SealgateError(Code.INTERNAL))
    info = error_details_pb2.RequestInfo()
    [packed] = [item for item in status.details if item.Is(info.DESCRIPTOR)]
    packed.Unpack(info)
    assert info.request_id == str(request_id)


@pytest.mark.parametrize(
    ("status", "code", "pause"),
    [
        (grpc.StatusCode.UNAVAILABLE, Code.UNAVAILABLE, 1),
        (grpc.StatusCode.CANCELLED, Code.UNAVAILABLE, 1),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Code.DEADLINE_EXCEEDED, None),
        (grpc.StatusCode.UNKNOWN, Code.INTERNAL, None),
        (grpc.StatusCode.INTERNAL, Code.INTERNAL, None),
        (grpc.StatusCode.UNIMPLEMENTED, Code.INTERNAL, None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Code.INTERNAL, None),
        (grpc.StatusCode.PERMISSION_DENIED, Code.INTERNAL, None),
        (grpc.StatusCode.NOT_FOUND, Code.INTERNAL, None),
    ],
)
def test_bare_status_is_translated_when_no_error_of_ours_came(
    status: grpc.StatusCode, code: Code, pause: int | None
) -> None:
    """A proxy, a dead peer or gRPC itself answers a bare status; it never becomes a business code."""
    error = error_from_rpc(failure_with([], status), "/a.B/C")
    assert (error.code, error.retry_after_seconds) == (code, pause)
    assert error.internal == f"/a.B/C ended with {status.name}"
    assert "their text" not in error.internal


def packed_status(domain: str = "sealgate", reason: str = "RATE_LIMITED") -> bytes:
    """A status as another program may send it."""
    status = status_pb2.Status(code=8)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    return bytes(status.SerializeToString())


def status_of_rubbish(type_url: str) -> bytes:
    """A status with a detail that is not what it says."""
    status = status_pb2.Status()
    status.details.add(type_url=type_url, value=b"\xff\xff\xff")
    return bytes(status.SerializeToString())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xff",
        b"garbage",
        packed_status(domain="googleapis.com"),
        packed_status(domain=""),
        packed_status(reason="NO_SUCH_CODE"),
        packed_status(reason=""),
        packed_status(reason="rate_limited"),
        status_of_rubbish("type.googleapis.com/google.rpc.ErrorInfo"),
        status_of_rubbish("type.googleapis.com/no.such.Type"),
        status_of_rubbish(""),
        "text where bytes belong",
    ],
    ids=[
        "empty",
        "noise",
        "text",
        "other domain",
        "no domain",
        "unknown code",
        "no code",
        "lower case",
        "broken info",
        "unknown type",
        "no type",
        "string",
    ],
)
def test_foreign_metadata_is_no_error_of_ours_when_it_is_garbled(value: str | bytes) -> None:
    """A peer's nonsense counts as no ErrorInfo: the bare status decides, and nothing breaks."""
    failure = failure_with([(STATUS_DETAILS_KEY, value)], grpc.StatusCode.UNAVAILABLE)
    assert error_from_rpc(failure, "/a.B/C").code is Code.UNAVAILABLE


def test_error_of_ours_is_found_when_foreign_metadata_stand_around_it() -> None:
    """Other trailing metadata, a garbled status among them, do not hide ours."""
    failure = failure_with(
        [("x-other", "1"), (STATUS_DETAILS_KEY, b"\xff"), (STATUS_DETAILS_KEY, packed_status())]
    )
    assert error_from_rpc(failure, "/a.B/C").code is Code.RATE_LIMITED


def test_failure_without_any_metadata_is_translated() -> None:
    """A failure may come without any metadata object."""
    failure = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, None, None)
    assert error_from_rpc(failure, "/a.B/C").code is Code.UNAVAILABLE


def test_enum_of_the_proto_has_every_code_in_the_order_of_the_table() -> None:
    """The generated enum is the table: numbers are positions and never change."""
    names = [name.removeprefix("ERROR_CODE_") for name in ErrorCode.keys()]  # noqa: SIM118  (not a dict)
    assert names == ["UNSPECIFIED", *Code]
    assert ErrorCode.values() == list(range(len(Code) + 1))


def test_exception_becomes_internal_when_it_is_not_of_the_table() -> None:
    """What nobody foresaw is INTERNAL without a word; the log has its type and place."""
    with captured_log() as lines:
        error = error_from_exception(KeyError("secret"))
    assert (error.code, error.details, error.internal) == (Code.INTERNAL, (), "")
    [line] = lines()
    assert line["error"]["type"] == "KeyError"
    assert "secret" not in str(line)


def test_refusal_passes_as_it_is_when_it_is_of_the_table() -> None:
    """A SealgateError is the answer itself."""
    refusal = SealgateError(Code.WALLET_NOT_FOUND)
    assert error_from_exception(refusal) is refusal

"""What every call passes before its handler: deadline, admission, request id, messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from chassis.clock import NANOSECONDS_PER_SECOND, SystemClock
from chassis.errors import Code
from chassis.limits import (
    REQUEST_DEADLINE_MAX_SECONDS,
    REQUEST_DEADLINE_SECONDS,
    RPC_CONCURRENT_COUNT,
    RPC_REQUEST_MAX_BYTES,
)
from chassis.rpc.client import call as call_peer
from chassis.rpc.pipeline import peer_address
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1.identity_pb2 import GetJsonWebKeySetRequest, GetJsonWebKeySetResponse
from sealgate.auth.v1.identity_pb2_grpc import TokenKeyServiceStub
from tests.contract.rpc_harness import (
    CREATE_SESSION,
    CURRENT_SESSION,
    OPEN,
    Harness,
    call,
    captured_log,
    raw_call,
    refusal,
    serving,
    wire_failure,
)

UUID_TEXT = "0189ABCD-0000-7000-8000-0000000000ff"


@pytest.fixture
async def harness(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    """A server whose clock stands still."""
    async with serving(clock, ids, short_directory) as running:
        yield running


class Gate:
    """A handler that waits until a test lets it go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting_count = 0
        self.ended = asyncio.Event()
        self._changed = asyncio.Condition()

    async def __call__(self, request: Any, context: Any) -> GetJsonWebKeySetResponse:  # noqa: ANN401
        """Handles a call."""
        async with self._changed:
            self.waiting_count += 1
            self._changed.notify_all()
        try:
            await self.open.wait()
        finally:
            self.ended.set()
        return GetJsonWebKeySetResponse()

    async def until_waiting(self, count: int) -> None:
        """Returns when so many calls have arrived."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.waiting_count >= count)


def request_info(failure: BaseException | bytes) -> str | None:
    """The request id in an error's details, if it has any."""
    assert isinstance(failure, grpc.aio.AioRpcError)
    for key, value in failure.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for packed in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.RequestInfo()
                if packed.Is(info.DESCRIPTOR):
                    packed.Unpack(info)
                    return str(info.request_id)
    return None


async def test_handler_ends_by_name_when_its_callers_deadline_comes(harness: Harness) -> None:
    """The answer names the deadline and the request, the log names the method, and nothing runs on."""
    gate = harness.script.behaviours[OPEN] = Gate()
    started = time.monotonic()
    with captured_log() as lines:
        failures = await asyncio.gather(
            *(raw_call(harness.public, OPEN, timeout=0.5 + 0.1 * number) for number in range(5)),
            return_exceptions=True,
        )
    assert time.monotonic() - started < REQUEST_DEADLINE_SECONDS
    await asyncio.wait_for(gate.ended.wait(), 30.0)
    statuses = [failure.code() for failure in failures if isinstance(failure, grpc.aio.AioRpcError)]
    assert statuses == [grpc.StatusCode.DEADLINE_EXCEEDED] * 5
    # Some of the five may lose the race against gRPC's own timer on a machine that stalls.
    named = [failure for failure in failures if request_info(failure)]
    assert named
    calls = [line for line in lines() if line["message"] == "call"]
    assert [line["method"] for line in calls] == [OPEN] * 5
    assert "DEADLINE_EXCEEDED" in [line["outcome"] for line in calls]


@pytest.mark.parametrize(
    ("asked", "given"),
    [(None, REQUEST_DEADLINE_SECONDS), (3600.0, REQUEST_DEADLINE_MAX_SECONDS)],
    ids=["none", "an hour"],
)
async def test_deadline_is_ours_when_the_caller_names_none_or_too_much(
    harness: Harness, clock: FakeClock, asked: float | None, given: float
) -> None:
    """Every call has an end: five seconds by default, thirty at most."""
    await raw_call(harness.public, OPEN, timeout=asked)
    deadline_ns = harness.script.served[0].context.deadline_ns
    assert deadline_ns == clock.monotonic_ns() + int(given * NANOSECONDS_PER_SECOND)


async def test_deadline_is_the_callers_when_it_is_shorter(harness: Harness, clock: FakeClock) -> None:
    """What the handler may spend is never more than its caller waits."""
    await raw_call(harness.public, OPEN, timeout=2.0)
    deadline_ns = harness.script.served[0].context.deadline_ns
    assert deadline_ns is not None
    # On the wire gRPC rounds it up, to hundredths of a second here.
    assert 0 < deadline_ns - clock.monotonic_ns() <= 2.02 * NANOSECONDS_PER_SECOND


async def test_further_call_gets_what_is_left_less_a_reserve(ids: CountingIds, short_directory: Path) -> None:
    """The budget shrinks on the way: the second hop ends before the first does."""
    clock = SystemClock()
    async with serving(clock, ids, short_directory) as first, serving(clock, ids, short_directory) as second:

        async def pass_on(request: Any, context: Any) -> GetJsonWebKeySetResponse:  # noqa: ANN401
            stub = TokenKeyServiceStub(second.internal)
            return await call_peer(stub.GetJsonWebKeySet, GetJsonWebKeySetRequest(), clock)

        first.script.behaviours[OPEN] = pass_on
        await raw_call(first.public, OPEN, timeout=20.0)
        outer, inner = first.script.served[0].context, second.script.served[0].context
        assert outer.deadline_ns is not None
        assert inner.deadline_ns is not None
        assert inner.deadline_ns < outer.deadline_ns
        assert inner.request_id == outer.request_id


async def test_call_is_refused_by_name_when_as_many_run_as_may(harness: Harness) -> None:
    """One more than the bound answers OVERLOADED with a pause; when one ends there is room again."""
    gate = harness.script.behaviours[OPEN] = Gate()
    running = [asyncio.create_task(raw_call(harness.public, OPEN)) for _ in range(RPC_CONCURRENT_COUNT)]
    await gate.until_waiting(RPC_CONCURRENT_COUNT)

    failure = await wire_failure(harness.public, OPEN)
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    error = await refusal(harness.public, OPEN)
    assert (error.code, error.retry_after_seconds) == (Code.OVERLOADED, 1)
    assert gate.waiting_count == RPC_CONCURRENT_COUNT

    gate.open.set()
    assert await asyncio.gather(*running) == [b""] * RPC_CONCURRENT_COUNT
    assert await raw_call(harness.public, OPEN) == b""


@pytest.mark.parametrize("side", ["public", "internal"])
async def test_request_id_is_the_callers_when_it_is_a_uuid(harness: Harness, side: str) -> None:
    """The caller's id is kept, in canonical form."""
    await call(getattr(harness, side), OPEN, metadata=(("x-request-id", UUID_TEXT),))
    assert str(harness.script.served[0].context.request_id) == UUID_TEXT.lower()


@pytest.mark.parametrize("text", ["", "42", "{" + UUID_TEXT + "}", "urn:uuid:" + UUID_TEXT, UUID_TEXT + "0"])
async def test_request_id_is_made_when_the_callers_is_no_uuid(
    harness: Harness, ids: CountingIds, text: str
) -> None:
    """Anything but a UUID is replaced by a new UUIDv7."""
    await call(harness.public, OPEN, metadata=(("x-request-id", text),))
    assert harness.script.served[0].context.request_id.version == 7


async def test_error_carries_the_request_id_when_a_call_fails(harness: Harness) -> None:
    """A refusal can be found in the log by the id that it carries."""
    metadata = (("x-request-id", UUID_TEXT),)
    with captured_log() as lines:
        failure = await wire_failure(harness.public, CURRENT_SESSION, metadata=metadata)
    assert request_info(failure) == UUID_TEXT.lower()
    assert [line["request_id"] for line in lines() if line["message"] == "call"] == [UUID_TEXT.lower()]


@pytest.mark.parametrize("side", ["public", "internal"])
@pytest.mark.parametrize(
    "body",
    [b"\xff\xff\xff\xff", b"\x0a\x05abc", b"\x0a\x02\xff\xfe", b"\x0b", b"\x00"],
    ids=["noise", "cut short", "not UTF-8", "open group", "field zero"],
)
async def test_request_is_a_validation_error_when_its_bytes_are_no_message(
    harness: Harness, side: str, body: bytes
) -> None:
    """Bytes that are no message of the type are the caller's mistake: 400, never 500."""
    error = await refusal(getattr(harness, side), CREATE_SESSION, body, harness.as_project())
    assert error.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in error.details] == ["request"]
    assert harness.script.served == []


async def test_request_is_read_when_it_has_fields_of_a_newer_version(harness: Harness) -> None:
    """Unknown fields are how protobuf grows; they do not make a request invalid."""
    unknown_field = b"\xfa\x3f\x01x"
    assert await call(harness.public, OPEN, unknown_field) == b""


async def test_request_is_refused_when_it_is_larger_than_the_limit(harness: Harness) -> None:
    """The message bound is set, and a larger one never reaches a handler."""
    failure = await wire_failure(harness.public, OPEN, b"\x00" * (RPC_REQUEST_MAX_BYTES + 1))
    assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert harness.script.served == []


async def test_answer_is_what_the_handler_made_when_all_goes_well(harness: Harness) -> None:
    """The handler's message arrives unchanged."""
    answer = GetJsonWebKeySetResponse()
    answer.keys.add(kid="k", x="ü" * 1000)

    async def respond(request: Any, context: Any) -> GetJsonWebKeySetResponse:  # noqa: ANN401
        return answer

    harness.script.behaviours[OPEN] = respond
    assert GetJsonWebKeySetResponse.FromString(await call(harness.public, OPEN)) == answer


async def test_call_is_answered_when_something_the_handler_awaited_was_cancelled(harness: Harness) -> None:
    """A cancellation that nobody asked for is INTERNAL at once, not silence until the deadline."""

    async def await_a_cancelled_task(request: Any, context: Any) -> GetJsonWebKeySetResponse:  # noqa: ANN401
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task
        raise AssertionError("unreachable")

    harness.script.behaviours[OPEN] = await_a_cancelled_task
    assert (await refusal(harness.public, OPEN)).code is Code.INTERNAL


async def test_handler_is_cancelled_when_its_caller_is_gone(harness: Harness) -> None:
    """Nobody computes for a caller that hung up; that is no error of ours."""
    gate = harness.script.behaviours[OPEN] = Gate()
    with captured_log() as lines:
        task = asyncio.create_task(raw_call(harness.public, OPEN))
        await gate.until_waiting(1)
        task.cancel()
        await asyncio.wait_for(gate.ended.wait(), 30.0)
        with pytest.raises(asyncio.CancelledError):
            await task
        # A further call is served after the cancelled one has left its stages.
        gate.open.set()
        await raw_call(harness.public, OPEN)
    assert [line["outcome"] for line in lines() if line["message"] == "call"] == ["CANCELLED", "OK"]
    assert [line for line in lines() if line["level"] == "error"] == []


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:50000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:50000", "::1"),
        ("ipv6:[2001:db8::1]:50000", "2001:db8::1"),
        ("unix:", ""),
        ("unix:/run/auth.sock", ""),
        ("", ""),
    ],
)
def test_peer_address_is_the_network_address_of_every_kind_of_peer(peer: str, address: str) -> None:
    """Brackets, ports and percent-encoding are gRPC's; a Unix socket has no address."""
    assert peer_address(peer) == address

"""Health and reflection, which strangers reach without a credential, and what strangers put into metadata."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from chassis.errors import Code
from chassis.limits import REFLECTION_STREAMS_COUNT
from chassis.rpc.errors import error_from_rpc
from chassis.testing.fakes import CountingIds, FakeClock
from tests.contract.rpc_harness import Harness, captured_log, serving, stranger

CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
UNREADABLE: Final = b"\xff\xff\xff\xff"


@pytest.fixture
async def harness(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    """A running server."""
    async with serving(clock, ids, short_directory) as running:
        yield running


def untyped(harness: Harness) -> Any:  # noqa: ANN401
    """The public channel for plain bytes, which grpc's types do not foresee."""
    return harness.public


def our_code(failure: grpc.aio.AioRpcError) -> Code:
    """The code of an error that must be ours, and carry nothing else."""
    error = error_from_rpc(failure, "test")
    assert not error.internal
    assert failure.details() == error.row.message
    return error.code


async def test_health_refuses_unreadable_bytes_without_a_word_of_the_exception(harness: Harness) -> None:
    """A message that is none is our own error, as on every other method."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await untyped(harness).unary_unary(CHECK)(UNREADABLE, timeout=30)
    assert our_code(raised.value) is Code.VALIDATION_ERROR


async def test_reflection_refuses_unreadable_bytes_without_a_word_of_the_exception(harness: Harness) -> None:
    """The one stream keeps exceptions to itself too."""
    stream: Any = untyped(harness).stream_stream(REFLECTION)(iter([UNREADABLE]), timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.read()
    assert our_code(raised.value) is Code.VALIDATION_ERROR


async def test_health_stream_is_not_served(harness: Harness) -> None:
    """A stream that never ends is nothing to give to strangers; the protocol allows to leave it out."""
    stream: Any = untyped(harness).unary_stream(WATCH)(b"", timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.read()
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_reflection_is_overloaded_beyond_its_streams_and_recovers(harness: Harness) -> None:
    """Open streams are counted, and a place is free again when one ends."""
    question = b"\x3a\x00"  # list_services: ""
    async with AsyncExitStack() as held:
        for _ in range(REFLECTION_STREAMS_COUNT):
            stream: Any = untyped(harness).stream_stream(REFLECTION)(timeout=20)
            held.callback(stream.cancel)
            await stream.write(question)
            assert await stream.read()
        extra: Any = untyped(harness).stream_stream(REFLECTION)(iter([question]), timeout=30)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await extra.read()
        assert our_code(raised.value) is Code.OVERLOADED
    async with asyncio.timeout(30):
        while not await is_answered(harness, question):
            pass


async def is_answered(harness: Harness, question: bytes) -> bool:
    stream: Any = untyped(harness).stream_stream(REFLECTION)(iter([question]), timeout=30)
    try:
        return bool(await stream.read())
    except grpc.aio.AioRpcError:
        return False


async def test_metadata_that_cannot_be_decoded_stays_out_of_the_log(harness: Harness) -> None:
    """GRPC itself complains about such bytes, and would write them down."""
    headers = {
        b":path": CHECK.encode(),
        b"authorization": b"Bearer PLANTED\xff",
        b"x-planted": b"PLANTED\xfe",
    }
    with captured_log() as lines:
        async with stranger(harness.public_address, headers) as reader:
            assert await reader.read(1)
            async with asyncio.timeout(30):
                await untyped(harness).unary_unary(CHECK)(b"")
    assert "PLANTED" not in str(lines())

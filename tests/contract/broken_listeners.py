"""Listeners that a stranger breaks, run by `test_rpc_server.py` in a process of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis.rpc.client import open_channel
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1.identity_pb2 import GetJsonWebKeySetResponse
from tests.contract.rpc_harness import OPEN, Harness, call, captured_log, raw_call, serving, stranger
from tests.contract.test_rpc_server import DEADLINE_SECONDS, PATIENT_DRAIN_SECONDS, health_of

REPLACED = "a listener broke and is replaced"
KEPT_NO_MORE = "a listener is kept no more"


@pytest.fixture
async def harness(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    """A running server."""
    async with serving(clock, ids, short_directory) as running:
        yield running


@pytest.mark.parametrize("side", ["public", "internal"])
async def test_listener_goes_on_serving_when_a_stranger_sends_a_path_that_is_no_text(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """One malformed request must not end a listener, nor the calls that it runs."""
    monkeypatch.setattr("chassis.rpc.listener.DRAIN_SECONDS", PATIENT_DRAIN_SECONDS)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, context: Any) -> GetJsonWebKeySetResponse:  # noqa: ANN401
        entered.set()
        await leave.wait()
        return GetJsonWebKeySetResponse()

    harness.script.behaviours[OPEN] = wait
    channel = getattr(harness, side)
    in_flight = asyncio.create_task(raw_call(channel, OPEN, timeout=None))
    await entered.wait()
    address = harness.public_address if side == "public" else harness.internal_address
    with captured_log() as lines:
        for broken_count in range(1, 4):
            async with stranger(address, {b":path": b"/\xff\xfe/x"}):
                while [line["message"] for line in lines()].count(REPLACED) < broken_count:
                    await until_serving(address)
                await until_serving(address)
    leave.set()
    assert await in_flight == b""
    assert await call(channel, OPEN) == b""


async def test_listener_that_cannot_be_replaced_tells_of_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends its keeper is in the log when it happens, without its text; the server still stops."""

    def fail(address: str) -> None:
        raise RuntimeError("PLANTED")

    monkeypatch.setattr("chassis.rpc.listener._refuse_live_socket", fail)
    with captured_log() as lines:
        async with stranger(harness.public_address, {b":path": b"/\xff\xfe/x"}):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while KEPT_NO_MORE not in [line["message"] for line in lines()]:
                    await call(harness.internal, OPEN)
    assert "RuntimeError" in str(lines())
    assert "PLANTED" not in str(lines())


async def until_serving(address: str) -> None:
    """Returns when a new connection's call is answered."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            channel = open_channel(address)
            try:
                await health_of(channel, wait=True)
            except grpc.aio.AioRpcError:
                continue  # the connection was to the server that just broke
            finally:
                await channel.close()
            return

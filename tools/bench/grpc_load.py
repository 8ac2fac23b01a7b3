"""A load process for gRPC: callers on one channel, each of which calls again when it has its answer.

Run with a plan as JSON on stdin: `target`, `method`, `request` (the message's bytes, hexadecimal),
`callers`, `warm_seconds`, `seconds`. Messages are written once and never read: that is not measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

import grpc
import uvloop

from chassis.clock import Clock, SystemClock
from chassis.rpc.client import open_channel
from tools.bench.load import GRACE_SECONDS, Recorder

_CALL_SECONDS: Final = 5.0


async def run(plan: dict[str, Any], clock: Clock) -> None:
    """Calls a method as planned and tells what came of it."""
    recorder = Recorder(clock)
    request = bytes.fromhex(plan["request"])
    async with open_channel(plan["target"]) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(plan["method"])

        async def go_on_calling() -> None:
            while recorder.running:
                started_ns = clock.monotonic_ns()
                try:
                    await method(request, timeout=_CALL_SECONDS)
                    outcome = "OK"
                except grpc.aio.AioRpcError as failure:
                    outcome = failure.code().name
                recorder.add(clock.monotonic_ns() - started_ns, outcome)

        seconds = plan["warm_seconds"] + plan["seconds"] + GRACE_SECONDS
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            group.create_task(recorder.measure(plan["warm_seconds"], plan["seconds"]))
            for _ in range(plan["callers"]):
                group.create_task(go_on_calling())
    recorder.tell_result()


if __name__ == "__main__":
    uvloop.run(run(json.load(sys.stdin), SystemClock()))

"""A load process that verifies one signature over and over, with our own code or with libsodium alone.

Run with a plan as JSON on stdin: `with_libsodium`, `warm_seconds`, `seconds`. Both verify the same key's
signature over the same bytes: those of a signed order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Callable
from typing import Any, Final

import nacl.bindings
import uvloop
from nacl.signing import SigningKey

from chassis.clock import Clock, SystemClock
from chassis.signing import payload_message, verify
from tools.bench.load import GRACE_SECONDS, Recorder

# The header and the body of an order with a price and an amount.
_PAYLOAD_BYTES: Final = 176
# As many in a row before the loop has its turn, which ends the measuring.
_AT_ONCE_COUNT: Final = 32


async def run(plan: dict[str, Any], clock: Clock) -> None:
    """Verifies as planned and tells what came of it."""
    recorder = Recorder(clock)
    holds = verification(with_libsodium=plan["with_libsodium"])
    seconds = plan["warm_seconds"] + plan["seconds"] + GRACE_SECONDS
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        group.create_task(recorder.measure(plan["warm_seconds"], plan["seconds"]))
        while recorder.running:
            for _ in range(_AT_ONCE_COUNT):
                started_ns = clock.monotonic_ns()
                outcome = "OK" if holds() else "refused"
                recorder.add(clock.monotonic_ns() - started_ns, outcome)
            await clock.sleep(0)
    recorder.tell_result()


def verification(*, with_libsodium: bool) -> Callable[[], bool]:
    """Verifies a signature that is good, each time it is called."""
    key = SigningKey(bytes(range(32)))
    public_key = bytes(key.verify_key)
    message = payload_message("bench", uuid.UUID(int=1), bytes(_PAYLOAD_BYTES))
    signed = key.sign(message)
    if with_libsodium:
        whole = bytes(signed)
        return lambda: nacl.bindings.crypto_sign_open(whole, public_key) == message
    return lambda: verify(public_key, message, signed.signature)


if __name__ == "__main__":
    uvloop.run(run(json.load(sys.stdin), SystemClock()))

"""A load process for HTTP: connections that send their next request when they have their answer.

Run with a plan as JSON on stdin: `host`, `port`, `warm_seconds`, `seconds`, and in `connections` a
list of requests, as they go over the wire, for each connection to send in turn. Answers are read as
far as needed to know where they end: a whole client would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import uvloop

from chassis.clock import Clock, SystemClock
from tools.bench.load import GRACE_SECONDS, Recorder

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_STATUS: Final = slice(len("HTTP/1.1 "), len("HTTP/1.1 200"))


def http_status(answer: bytes) -> str:
    """The status code of an answer."""
    return answer[_STATUS].decode("ascii")


class Connection(asyncio.Protocol):
    """One connection that is kept alive and never has two requests on their way.

    `outcome` says of a whole answer what it is counted as.
    """

    def __init__(
        self,
        requests: Iterator[bytes],
        recorder: Recorder,
        clock: Clock,
        outcome: Callable[[bytes], str] = http_status,
    ) -> None:
        self._requests = requests
        self._outcome = outcome
        self._recorder = recorder
        self._clock = clock
        self._buffer = b""
        self._sent_ns = 0
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        # uvloop's own, which derives from none of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Counts the answer once it is whole, and sends the next request."""
        self._buffer = buffer = self._buffer + data if self._buffer else data
        head_bytes = buffer.find(b"\r\n\r\n") + 4
        if head_bytes < 4:
            return
        length = _LENGTH.search(buffer, 0, head_bytes)
        if length is None:
            raise ValueError("an answer that does not say how long it is")
        if len(buffer) < head_bytes + int(length[1]):
            return
        self._recorder.add(self._clock.monotonic_ns() - self._sent_ns, self._outcome(buffer))
        self._buffer = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Ends; an edge that hangs up under load is a failure of the run."""
        if self._recorder.running and not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the edge closed a connection"))
        elif not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None  # noqa: S101 - set when the connection was made
        if not self._recorder.running:
            self._transport.close()
            return
        request = next(self._requests)
        self._sent_ns = self._clock.monotonic_ns()
        self._transport.write(request)


async def run(plan: dict[str, Any], clock: Clock) -> None:
    """Loads an address as planned and tells what came of it."""
    await load(plan, clock, [_in_turn(requests) for requests in plan["connections"]])


async def load(
    plan: dict[str, Any],
    clock: Clock,
    requests: Sequence[Iterator[bytes]],
    outcome: Callable[[bytes], str] = http_status,
) -> None:
    """Loads an address with connections that send what these yield, and tells what came of it."""
    recorder = Recorder(clock)
    loop = asyncio.get_running_loop()
    connections = [Connection(one, recorder, clock, outcome) for one in requests]
    for connection in connections:
        await loop.create_connection(functools.partial(_same, connection), plan["host"], plan["port"])
    seconds = plan["warm_seconds"] + plan["seconds"] + GRACE_SECONDS
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        group.create_task(recorder.measure(plan["warm_seconds"], plan["seconds"]))
        for connection in connections:
            group.create_task(_until_ended(connection))
    recorder.tell_result()


def _in_turn(requests: Sequence[str]) -> Iterator[bytes]:
    return itertools.cycle([text.encode("ascii") for text in requests])


def _same(connection: Connection) -> Connection:
    return connection


async def _until_ended(connection: Connection) -> None:
    await connection.ended


if __name__ == "__main__":
    uvloop.run(run(json.load(sys.stdin), SystemClock()))

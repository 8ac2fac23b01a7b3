"""A line to the platform that loses answers, for pages that have nothing else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

PASS: Final = "pass"
"""The request reaches the platform, and its answer the page."""
CUT: Final = "cut"
"""The line breaks before the platform sees the request."""
SWALLOW: Final = "swallow"
"""The platform answers, and the line breaks before the page hears it."""
HALVE: Final = "halve"
"""The line breaks in the middle of the platform's answer."""
RUN_OUT: Final = "run out"
"""The platform does it, and the page reads that time ran out."""
RUNNING: Final = "running"
"""The platform does it, and the page reads that it is still at it."""

_REFUSALS: Final = {
    RUN_OUT: (b"504 Gateway Timeout", b"DEADLINE_EXCEEDED"),
    RUNNING: (b"409 Conflict", b"REQUEST_IN_PROGRESS"),
}
_REFUSAL: Final = b'{"success":false,"error":{"code":"%s","message":"Try again.","details":[]}}'


@dataclass
class Line:
    """What coming requests meet: one whose first line begins so takes the next fate, others pass."""

    url: str = ""
    begins: str = ""
    fates: deque[str] = field(default_factory=deque)

    def spoil(self, begins: str, *fates: str) -> None:
        """From now on."""
        self.begins, self.fates = begins, deque(fates)

    def fate(self, head: bytes) -> str:
        """That of a request, which is used up."""
        meets = self.fates and head.startswith(self.begins.encode())
        return self.fates.popleft() if meets else PASS


@asynccontextmanager
async def lossy_line(upstream_port: int) -> AsyncIterator[Line]:
    """A line to the platform that passes everything on until it is told otherwise."""
    line = Line()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            request = _for_once(head) + await reader.readexactly(_length(head))
            fate = line.fate(head)
            if fate != CUT:
                writer.write(_spoilt(await _exchange(upstream_port, request), fate))
        except (asyncio.IncompleteReadError, ConnectionError):
            # A browser opens connections in advance and leaves them.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with server:
        line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield line


def _spoilt(answer: bytes, fate: str) -> bytes:
    """What of an answer the page hears."""
    if fate == SWALLOW:
        return b""
    if fate == HALVE:
        return answer[:-20]
    if fate in _REFUSALS:
        status, code = _REFUSALS[fate]
        body = _REFUSAL % code
        lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        kept = [line for line in lines if not line.lower().startswith(b"content-length:")]
        return b"\r\n".join([b"HTTP/1.1 " + status, *kept, b"content-length: %d" % len(body), b"", body])
    return answer


def _for_once(head: bytes) -> bytes:
    """A request's head for a connection that ends with the answer."""
    lines = head[:-4].split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""])


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


async def _exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer

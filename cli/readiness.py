"""Whether a stack is ready to serve, asked the way any client would ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chassis.clock import Clock
from cli.network import Address

_POLL_SECONDS: Final = 0.02
_ATTEMPT_SECONDS: Final = 2.0


async def wait_for_socket(socket: Path, clock: Clock) -> None:
    """Returns when a service has made the socket of its internal listener."""
    while not socket.exists():  # noqa: ASYNC240 - the kernel answers from memory
        await clock.sleep(_POLL_SECONDS)


async def wait_until_ready(address: Address, clock: Clock) -> None:
    """Returns when the edge's `/readyz` answers 200: it has asked the health service of every process."""
    while await http_status(address, "/readyz", {}) != 200:
        await clock.sleep(_POLL_SECONDS)


async def http_status(address: Address, path: str, headers: Mapping[str, str]) -> int:
    """The status that a GET is answered with; 0 when there is no answer."""
    head = {"Host": str(address), "Connection": "close", **headers}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    try:
        async with asyncio.timeout(_ATTEMPT_SECONDS):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                writer.write("\r\n".join(lines).encode("ascii"))
                status_line = (await reader.readline()).split()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0
    return int(status_line[1]) if len(status_line) > 1 and status_line[1].isdigit() else 0


def last_message(log_file: Path) -> str:
    """The message of a process's last log line; empty when it has none."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    try:
        entry = json.loads(lines[-1]) if lines else ""
    except ValueError:
        return lines[-1]
    return str(entry.get("message", "")) if isinstance(entry, dict) else ""

"""uvicorn's server within a process that has more to do: its own socket, and no say in signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from chassis.config import ConfigError
from chassis.limits import LISTEN_BACKLOG_COUNT


class HttpServer(uvicorn.Server):
    """uvicorn's server, which says when it listens and leaves the process's signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then says that it listens."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Captures none."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises ConfigError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Without port sharing: a second process would take half of the connections unnoticed.
        return socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG_COUNT)
    except OSError:
        raise ConfigError(f"{host}:{port}", "cannot listen here; is the address taken?") from None

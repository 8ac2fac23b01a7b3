"""The edge's HTTP server: as many connections as the process can have, and an end in order."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from typing import Any

from chassis.errors import SealgateError
from chassis.http_server import HttpServer, listen
from chassis.limits import (
    DRAIN_SECONDS,
    EDGE_CONNECTIONS_COUNT,
    EDGE_SPARE_DESCRIPTORS_COUNT,
    LISTEN_BACKLOG_COUNT,
)
from edge.config import EdgeConfig
from edge.errors import Answer
from edge.headers import RawHeaders
from edge.protocol import ConnectionLimits, EdgeServerConfig


class EdgeServer:
    """Listens and serves between `start` and `stop`."""

    def __init__(
        self,
        config: EdgeConfig,
        app: Any,  # noqa: ANN401  (uvicorn's own type for an ASGI application is private)
        refuse: Callable[[SealgateError, RawHeaders], Answer],
    ) -> None:
        self._config = config
        self._app = app
        self._refuse = refuse
        self._server: HttpServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Takes connections from now on; ConfigError when the address cannot be had."""
        listener = listen(self._config.host, self._config.port)
        self.port = listener.getsockname()[1]
        limits = ConnectionLimits(
            head_max_bytes=self._config.headers_max_bytes,
            head_seconds=self._config.headers_timeout_seconds,
            body_max_bytes=self._config.body_max_bytes,
            connections_count=_connections_count(),
        )
        self._server = HttpServer(
            EdgeServerConfig(
                self._app,
                limits=limits,
                refuse=self._refuse,
                backlog_count=LISTEN_BACKLOG_COUNT,
                idle_seconds=self._config.idle_timeout_seconds,
                drain_seconds=DRAIN_SECONDS,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()

    async def stop(self) -> None:
        """Takes no more connections and lets running requests end within the drain time."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving


def _connections_count() -> int:
    """How many connections there may be: as many as file descriptors allow, up to our own bound.

    One more than there are descriptors would be closed by the event loop without a word.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = EDGE_CONNECTIONS_COUNT + EDGE_SPARE_DESCRIPTORS_COUNT
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, allowed - EDGE_SPARE_DESCRIPTORS_COUNT)

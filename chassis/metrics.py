"""What a process says of itself in numbers, at `/metrics`, for Prometheus and what reads its format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Final

import h11
import uvicorn
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from uvicorn.protocols.http.h11_impl import H11Protocol

from chassis.config import ConfigError, ListenerConfig
from chassis.http_server import HttpServer, listen
from chassis.limits import METRICS_CONNECTIONS_COUNT, METRICS_HEAD_SECONDS, METRICS_IDLE_SECONDS
from chassis.shared_limits import SharedRateLimiter

_PATH: Final = "/metrics"
_DRAIN_SECONDS: Final = 1


class StoreCollector(Collector):
    """How the store of the rate limits is, and what has been decided without it."""

    def __init__(self, limiter: SharedRateLimiter) -> None:
        self._limiter = limiter

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield GaugeMetricFamily(
            "sealgate_rate_limit_store_up",
            "1 while the store of the rate limits answers, 0 while this process does without it.",
            value=self._limiter.is_store_up,
        )
        yield CounterMetricFamily(
            "sealgate_rate_limit_decisions_without_store",
            "Rate limit decisions that were made without the store since this process began.",
            value=self._limiter.decisions_without_store_count,
        )


class PunctualProtocol(H11Protocol):
    """uvicorn's connection, and a bound on how long the head of a request may take.

    uvicorn ends a connection that is idle after an answer, but one that says nothing, or never comes to
    the end of a head, would have its place for ever.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.BaseProtocol`."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._stop_timer()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(METRICS_HEAD_SECONDS, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class MetricsServer:
    """Answers `GET /metrics` on its own address between `start` and `stop`."""

    def __init__(self, config: ListenerConfig, collectors: Iterable[Collector]) -> None:
        self._config = config
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)
        self._server: HttpServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Takes connections from now on; ConfigError when the address or the certificate cannot be had."""
        server = HttpServer(self._server_config())
        host, _, port = self._config.address.rpartition(":")
        try:
            listener = listen(host.strip("[]"), int(port))
        except ConfigError as error:
            raise ConfigError("metrics.address", str(error)) from None
        self.port = listener.getsockname()[1]
        self._server = server
        self._serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()

    async def stop(self) -> None:
        """Closes the address and all connections."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    def _server_config(self) -> uvicorn.Config:
        tls = self._config.tls
        if tls is not None:
            tls.check()
        return uvicorn.Config(
            self._answer,
            interface="asgi3",
            # Unlike uvicorn's other one it bounds the size of a head.
            http=PunctualProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=METRICS_CONNECTIONS_COUNT,
            timeout_keep_alive=METRICS_IDLE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            ssl_certfile=None if tls is None else tls.certificate_file,
            ssl_keyfile=None if tls is None else tls.key_file,
        )

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  (ASGI)
        del receive
        found = scope["path"] == _PATH and scope["method"] in ("GET", "HEAD")
        content_type = CONTENT_TYPE_PLAIN_0_0_4 if found else "text/plain; charset=utf-8"
        await send(
            {
                "type": "http.response.start",
                "status": 200 if found else 404,
                "headers": [(b"content-type", content_type.encode())],
            }
        )
        body = generate_latest(self._registry) if found else b"GET /metrics\n"
        await send({"type": "http.response.body", "body": body})

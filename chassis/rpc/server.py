"""A service's two gRPC listeners: public for credentials, internal for passports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from chassis.clock import Clock
from chassis.config import ServiceConfig, TlsConfig
from chassis.errors import SealgateError
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.limits import (
    BACKGROUND_PAUSE_SECONDS,
    PUBLIC_CONNECTION_AGE_MS,
    PUBLIC_CONNECTION_GRACE_MS,
    RPC_CONCURRENT_COUNT,
    RPC_METADATA_MAX_BYTES,
    RPC_PENDING_COUNT,
    RPC_REQUEST_MAX_BYTES,
    RPC_RESPONSE_MAX_BYTES,
)
from chassis.log import log_event
from chassis.methods import Exposure, Method, MethodTableError, foreign_row, method_table
from chassis.ratelimit import RateLimiter
from chassis.rpc.authn import INTERNAL_EXPOSURES, PUBLIC_EXPOSURES, AuthenticationStage
from chassis.rpc.bad_credentials import BadCredentials
from chassis.rpc.exchange import Exchanger
from chassis.rpc.health import add_health_and_reflection
from chassis.rpc.idempotency import IdempotencyStage
from chassis.rpc.limiting import CallLimits, RateLimitStage
from chassis.rpc.listener import HandlersByName, Listener
from chassis.rpc.pipeline import (
    AdmissionStage,
    DeadlineStage,
    ErrorStage,
    LogStage,
    MessageStage,
    PipelineInterceptor,
)
from chassis.rpc.refusal import RefusalStage
from chassis.rpc.signed import SignedRequests, SignedStage
from chassis.shared_limits import SharedRateLimiter, rate_limiter

if TYPE_CHECKING:
    from chassis.metrics import MetricsServer

_logger = logging.getLogger(__name__)

_SERVER_OPTIONS: Final = (
    # Without it a second process would bind the same port and take half of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", RPC_REQUEST_MAX_BYTES),
    ("grpc.max_send_message_length", RPC_RESPONSE_MAX_BYTES),
    ("grpc.max_metadata_size", RPC_METADATA_MAX_BYTES),
    ("grpc.max_concurrent_streams", 2 * RPC_CONCURRENT_COUNT),
    ("grpc.server.max_pending_requests", RPC_PENDING_COUNT),
    ("grpc.server.max_pending_requests_hard_limit", RPC_PENDING_COUNT),
)

_PUBLIC_OPTIONS: Final = (
    ("grpc.max_connection_age_ms", PUBLIC_CONNECTION_AGE_MS),
    ("grpc.max_connection_age_grace_ms", PUBLIC_CONNECTION_GRACE_MS),
)
_health: Any = health_pb2.DESCRIPTOR  # typed by others than the generated code's
_CHECK: Final = foreign_row(_health.services_by_name["Health"].methods_by_name["Check"])

Close = Callable[[], Awaitable[None]]

BackgroundWork = Callable[[], Awaitable[None]]
"""One round of something that is done again and again while the server serves."""


@dataclass(frozen=True, slots=True)
class Service:
    """One proto service: its descriptor, what implements it, and the generated adder."""

    descriptor: ServiceDescriptor
    servicer: Any
    add_to_server: Callable[[Any, Any], None]


class RpcServer:
    """Both listeners of one process, and its metrics, from start to the last answered call.

    `limiter` is given where others count with it too; it is closed in the end with the rest.
    Construction raises MethodTableError when a method has no row in the table, or is signed and there
    is no `signed` to run it.
    """

    def __init__(
        self,
        config: ServiceConfig,
        services: Sequence[Service],
        *,
        clock: Clock,
        ids: Ids,
        verifier: PassportVerifier,
        exchanger: Exchanger,
        closers: Sequence[Close],
        background: Sequence[BackgroundWork] = (),
        idempotency: IdempotencyStage | None = None,
        signed: SignedRequests | None = None,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._services = tuple(services)
        self._table = {_CHECK.full_name: _CHECK} | dict(
            method_table(service.descriptor for service in services)
        )
        self._clock = clock
        self._ids = ids
        self._verifier = verifier
        self._limiter = limiter or rate_limiter(config.rate_limits, config.audience, clock)
        self._limits = CallLimits(config.rate_limits, clock, self._limiter)
        self._metrics = _metrics_server(config, self._limiter)
        self._idempotency = idempotency
        self._signed = self._signed_stage(signed, config)
        self._closers = tuple(closers)
        self._background = tuple(background)
        if isinstance(self._limiter, SharedRateLimiter):
            self._background += (self._limiter.watch,)
            self._closers += (self._limiter.close,)
        self._tasks: list[asyncio.Task[None]] = []
        internal = self._listener(config.internal, None, INTERNAL_EXPOSURES, None)
        public = self._listener(config.public.address, config.public.tls, PUBLIC_EXPOSURES, exchanger)
        self._internal, self._public = internal, public
        self.public_port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Binds all addresses and serves; raises ConfigError when one cannot be had."""
        await self._internal.bind()
        self.public_port = await self._public.bind()
        if self._metrics is not None:
            await self._metrics.start()
            self.metrics_port = self._metrics.port
        for listener in (self._internal, self._public):
            await listener.serve()
        self._tasks = [asyncio.create_task(self._repeat(work)) for work in self._background]
        log_event(_logger, logging.INFO, "serving", public_port=self.public_port)

    async def stop(self) -> None:
        """Takes no new calls, lets running ones end within the drain time, then closes what they used.

        Background work is cancelled first and has ended before anything it uses is closed. One that
        cannot be closed keeps nothing else open; what it raised is raised when all have been tried.
        """
        for task in self._tasks:
            task.cancel()
        async with AsyncExitStack() as closing:
            for close in reversed(self._closers):
                closing.push_async_callback(close)
            if self._metrics is not None:
                closing.push_async_callback(self._metrics.stop)
            closing.push_async_callback(self._verifier.close)
            closing.push_async_callback(self._background_ended)
            await asyncio.gather(self._internal.stop(), self._public.stop())
        log_event(_logger, logging.INFO, "stopped")

    async def _background_ended(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, work: BackgroundWork) -> None:
        """Does `work` again and again until cancelled; a round that fails is logged and not the last.

        Of an outage only the beginning is: it has been said then, and is nothing that work does wrong.
        """
        waits = False
        while True:
            try:
                await work()
                waits = False
            except SealgateError as error:
                if not waits:
                    log_event(_logger, logging.INFO, "background work waits", reason=error.internal)
                waits = True
            except Exception:
                _logger.exception("background work failed")
            await self._clock.sleep(BACKGROUND_PAUSE_SECONDS)

    def _signed_stage(self, signed: SignedRequests | None, config: ServiceConfig) -> SignedStage | None:
        if signed is not None:
            bad_credentials = BadCredentials(
                config.rate_limits.bad_credentials_per_minute_count, self._limiter, self._clock
            )
            return SignedStage(signed, self._table.values(), self._limits, bad_credentials)
        for method in self._table.values():
            if method.is_signed:
                raise MethodTableError(f"{method.full_name} is signed, and nothing here runs what is signed")
        return None

    def _listener(
        self,
        address: str,
        tls: TlsConfig | None,
        exposures: frozenset[Exposure],
        exchanger: Exchanger | None,
    ) -> Listener:
        stages = (
            ErrorStage(self._ids, trusts_caller=exchanger is None),
            LogStage(self._clock),
            AdmissionStage(),
            DeadlineStage(self._clock),
            MessageStage(),
            AuthenticationStage(self._verifier, exchanger, self._limits),
            RateLimitStage(self._limits),
            *((RefusalStage(),) if exchanger is None else ()),
            *((self._idempotency,) if self._idempotency is not None else ()),
            *((self._signed,) if self._signed is not None else ()),
        )
        interceptor = PipelineInterceptor(self._table, exposures, stages)
        served = [service for service in self._services if _serves_any(service, self._table, exposures)]

        async def assemble() -> tuple[grpc.aio.Server, HealthServicer]:
            options = _SERVER_OPTIONS if exchanger is None else _SERVER_OPTIONS + _PUBLIC_OPTIONS
            server = grpc.aio.server(interceptors=(interceptor,), options=options)
            handlers = HandlersByName(server)
            for service in served:
                service.add_to_server(service.servicer, handlers)
            names = [service.descriptor.full_name for service in served]
            return server, await add_health_and_reflection(handlers, names)

        return Listener(address, tls, assemble)


def _metrics_server(config: ServiceConfig, limiter: RateLimiter) -> MetricsServer | None:
    if config.metrics is None:
        return None
    # Here, because it is of no use to a process that nobody asks for its metrics.
    from chassis.metrics import MetricsServer, StoreCollector

    return MetricsServer(
        config.metrics, [StoreCollector(limiter)] if isinstance(limiter, SharedRateLimiter) else []
    )


def _serves_any(service: Service, table: Mapping[str, Method], exposures: frozenset[Exposure]) -> bool:
    prefix = f"/{service.descriptor.full_name}/"
    return any(row.exposure in exposures for name, row in table.items() if name.startswith(prefix))

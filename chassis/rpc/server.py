"""A service's two gRPC listeners: public for credentials, internal for passports."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from chassis.clock import Clock
from chassis.config import ConfigError, ListenerConfig, ServiceConfig
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.limits import (
    DRAIN_SECONDS,
    RPC_CONCURRENT_COUNT,
    RPC_METADATA_MAX_BYTES,
    RPC_PENDING_COUNT,
    RPC_REQUEST_MAX_BYTES,
    RPC_RESPONSE_MAX_BYTES,
)
from chassis.log import log_event
from chassis.methods import Exposure, Method, method_table
from chassis.rpc.authn import INTERNAL_EXPOSURES, PUBLIC_EXPOSURES, AuthenticationStage
from chassis.rpc.exchange import Exchanger
from chassis.rpc.health import add_health_and_reflection
from chassis.rpc.pipeline import AdmissionStage, DeadlineStage, ErrorStage, LogStage, PipelineInterceptor

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

Close = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """One proto service: its descriptor, what implements it, and the generated adder."""

    descriptor: ServiceDescriptor
    servicer: Any
    add_to_server: Callable[[Any, Any], None]


class RpcServer:
    """Both listeners of one process, from start to the last answered call.

    Construction raises MethodTableError when a method has no row in the table.
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
    ) -> None:
        self._config = config
        self._services = tuple(services)
        self._table = method_table(service.descriptor for service in services)
        self._clock = clock
        self._ids = ids
        self._verifier = verifier
        self._exchanger = exchanger
        self._closers = tuple(closers)
        self._servers: list[grpc.aio.Server] = []
        self._health: list[Any] = []
        self.public_port = 0

    async def start(self) -> None:
        """Binds both listeners and serves; raises ConfigError when an address cannot be had."""
        internal = self._build(INTERNAL_EXPOSURES, None)
        _bind(internal, self._config.internal, None)
        public = self._build(PUBLIC_EXPOSURES, self._exchanger)
        self.public_port = _bind(public, self._config.public.address, self._config.public)
        for server in (internal, public):
            await server.start()
        log_event(_logger, logging.INFO, "serving", public_port=self.public_port)

    async def stop(self) -> None:
        """Takes no new calls, lets running ones end within the drain time, then closes what they used."""
        for health in self._health:
            await health.enter_graceful_shutdown()
        for server in reversed(self._servers):
            await server.stop(DRAIN_SECONDS)
        for close in self._closers:
            await close()
        log_event(_logger, logging.INFO, "stopped")

    def _build(self, exposures: frozenset[Exposure], exchanger: Exchanger | None) -> grpc.aio.Server:
        stages = (
            ErrorStage(self._ids, trusts_caller=exchanger is None),
            LogStage(self._clock),
            AdmissionStage(),
            DeadlineStage(self._clock),
            AuthenticationStage(self._verifier, exchanger),
        )
        server = grpc.aio.server(
            interceptors=(PipelineInterceptor(self._table, exposures, stages),), options=_SERVER_OPTIONS
        )
        served = [service for service in self._services if _serves_any(service, self._table, exposures)]
        for service in served:
            service.add_to_server(service.servicer, server)
        self._health.append(
            add_health_and_reflection(server, [service.descriptor.full_name for service in served])
        )
        self._servers.append(server)
        return server


def _serves_any(service: Service, table: Mapping[str, Method], exposures: frozenset[Exposure]) -> bool:
    prefix = f"/{service.descriptor.full_name}/"
    return any(row.exposure in exposures for name, row in table.items() if name.startswith(prefix))


def _bind(server: grpc.aio.Server, address: str, listener: ListenerConfig | None) -> int:
    try:
        if listener is not None and listener.tls is not None:
            pair = (listener.tls.key_file.read_bytes(), listener.tls.certificate_file.read_bytes())
            return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        return server.add_insecure_port(address)
    except (RuntimeError, OSError):
        raise ConfigError(address, "cannot listen here; is the address taken?") from None

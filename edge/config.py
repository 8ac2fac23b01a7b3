"""The edge's configuration: a strictly read subset of Envoy's v3 bootstrap YAML.

`edge/envoy.py` has the subset, member by member; `EdgeConfig` is what the edge makes of it, and
docs/edge-config.md says so in words. `bootstrap` writes what `load` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chassis.config import ConfigError, load_config
from chassis.limits import (
    BODY_MAX_BYTES,
    EDGE_CLUSTER_REQUESTS_COUNT,
    HEADERS_MAX_BYTES,
    REQUEST_DEADLINE_SECONDS,
)
from edge import envoy

_KIB: Final = 1024
_DEADLINE: Final = f"{REQUEST_DEADLINE_SECONDS:g}s"
_TYPE: Final = "type.googleapis.com/envoy.extensions.filters."

# What each service serves over REST; deploy/edge.yaml and `sealgate up` say the same.
SERVICES: Final[Mapping[str, Sequence[str]]] = {
    "auth": (
        "sealgate.auth.v1.AccountService",
        "sealgate.auth.v1.BrowserSessionService",
        "sealgate.auth.v1.ProjectService",
        "sealgate.auth.v1.SessionService",
        "sealgate.auth.v1.TimeService",
        "sealgate.auth.v1.TokenKeyService",
    ),
    "keys": (
        "sealgate.keys.v1.ApiKeyService",
        "sealgate.keys.v1.SessionSignatureService",
        "sealgate.keys.v1.SigningKeyService",
    ),
    "wallet": (
        "sealgate.wallet.v1.MarketService",
        "sealgate.wallet.v1.OrderService",
        "sealgate.wallet.v1.PositionService",
        "sealgate.wallet.v1.SignedRequestService",
        "sealgate.wallet.v1.SubaccountService",
        "sealgate.wallet.v1.WalletService",
        "sealgate.wallet.v1.WithdrawalService",
    ),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A service behind the edge: its gRPC target, admission bound, and patience with its health."""

    name: str
    target: str
    max_requests_count: int
    connect_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """gRPC paths that begin with `prefix` go to `cluster` and have so many seconds."""

    prefix: str
    cluster: str
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """What the edge is told, each figure in the unit its name ends in."""

    host: str
    port: int
    headers_max_bytes: int
    body_max_bytes: int
    headers_timeout_seconds: float
    idle_timeout_seconds: float
    trusted_hops_count: int
    descriptor: Path
    services: tuple[str, ...]
    routes: tuple[ServiceRoute, ...]
    clusters: Mapping[str, Cluster]
    exchange_cluster: str
    exchange_timeout_seconds: float
    audience: str
    log_level: str

    def route_of(self, service: str) -> ServiceRoute:
        """The first route whose prefix the service's gRPC paths have; ConfigError when there is none."""
        for route in self.routes:
            if f"/{service}/".startswith(route.prefix):
                return route
        raise ConfigError(service, "no route has a prefix of this service's gRPC paths")


def load(path: Path) -> EdgeConfig:
    """Reads a bootstrap file; raises ConfigError naming the file and the member at fault."""
    try:
        return _resolve(load_config(path, envoy.Bootstrap))
    except ConfigError as error:
        raise error if error.path == str(path) else ConfigError(str(path), str(error)) from None


def _resolve(document: envoy.Bootstrap) -> EdgeConfig:
    listener = document.static_resources.listeners[0]
    manager = listener.filter_chains[0].filters[0].typed_config
    buffer, authz, transcoder, _ = manager.http_filters
    clusters = _clusters(document.static_resources.clusters)
    config = EdgeConfig(
        host=listener.address.socket_address.address,
        port=listener.address.socket_address.port_value,
        headers_max_bytes=manager.max_request_headers_kb * _KIB,
        body_max_bytes=buffer.typed_config.max_request_bytes,
        headers_timeout_seconds=manager.request_headers_timeout,
        idle_timeout_seconds=manager.common_http_protocol_options.idle_timeout,
        trusted_hops_count=manager.xff_num_trusted_hops,
        descriptor=transcoder.typed_config.proto_descriptor,
        services=tuple(transcoder.typed_config.services),
        routes=tuple(
            ServiceRoute(route.match.prefix, route.route.cluster, route.route.timeout)
            for route in manager.route_config.virtual_hosts[0].routes
        ),
        clusters=clusters,
        exchange_cluster=authz.typed_config.grpc_service.envoy_grpc.cluster_name,
        exchange_timeout_seconds=authz.typed_config.grpc_service.timeout,
        audience=document.node.metadata.sealgate.audience,
        log_level=document.node.metadata.sealgate.log_level,
    )
    for name in (config.exchange_cluster, *(route.cluster for route in config.routes)):
        if name not in clusters:
            raise ConfigError("static_resources.clusters", f"there is no cluster named {name}")
    for service in config.services:
        if config.services.count(service) > 1:
            raise ConfigError("services", f"{service} is named twice")
        config.route_of(service)
    return config


def _clusters(documents: Sequence[envoy.Cluster]) -> Mapping[str, Cluster]:
    clusters: dict[str, Cluster] = {}
    for index, document in enumerate(documents):
        where = f"static_resources.clusters[{index}]"
        if document.name in clusters:
            raise ConfigError(f"{where}.name", "another cluster has this name")
        if document.load_assignment.cluster_name != document.name:
            raise ConfigError(f"{where}.load_assignment.cluster_name", "is not the cluster's name")
        clusters[document.name] = Cluster(
            name=document.name,
            target=document.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.target(),
            max_requests_count=document.circuit_breakers.thresholds[0].max_requests,
            connect_timeout_seconds=document.connect_timeout,
        )
    return clusters


def bootstrap(
    *,
    host: str,
    port: int,
    sockets: Mapping[str, Path],
    descriptor: Path,
    audience: str,
    log_level: str = "info",
) -> dict[str, Any]:
    """The bootstrap document of an edge in front of `auth`, `keys` and `wallet` on Unix sockets.

    `sockets` has the path of each one's internal socket. Written as YAML it is read by `load` and
    accepted by Envoy.
    """
    return {
        "node": {
            "id": "edge",
            "cluster": "sealgate",
            "metadata": {"sealgate": {"audience": audience, "log_level": log_level}},
        },
        "static_resources": {
            "listeners": [
                {
                    "name": "public",
                    "address": {"socket_address": {"address": host, "port_value": port}},
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": _manager_document(descriptor),
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [_cluster_document(name, sockets[name]) for name in SERVICES],
        },
    }


def _manager_document(descriptor: Path) -> dict[str, Any]:
    return {
        "@type": _TYPE + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "use_remote_address": True,
        "xff_num_trusted_hops": 0,
        "max_request_headers_kb": HEADERS_MAX_BYTES // _KIB,
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": "75s"},
        "route_config": {
            "name": "services",
            "virtual_hosts": [
                {
                    "name": "services",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": f"/sealgate.{name}.v1."},
                            "route": {"cluster": name, "timeout": _DEADLINE},
                        }
                        for name in SERVICES
                    ],
                }
            ],
        },
        "http_filters": _filter_documents(descriptor),
    }


def _filter_documents(descriptor: Path) -> list[dict[str, Any]]:
    configurations: dict[str, dict[str, Any]] = {
        "buffer": {"@type": _TYPE + "http.buffer.v3.Buffer", "max_request_bytes": BODY_MAX_BYTES},
        "ext_authz": {
            "@type": _TYPE + "http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "status_on_error": {"code": "ServiceUnavailable"},
            "grpc_service": {"envoy_grpc": {"cluster_name": "auth"}, "timeout": _DEADLINE},
        },
        "grpc_json_transcoder": {
            "@type": _TYPE + "http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            "proto_descriptor": str(descriptor),
            "services": [service for services in SERVICES.values() for service in services],
            "print_options": {"always_print_primitive_fields": True, "preserve_proto_field_names": True},
            "convert_grpc_status": True,
        },
        "router": {"@type": _TYPE + "http.router.v3.Router"},
    }
    return [
        {"name": f"envoy.filters.http.{name}", "typed_config": configuration}
        for name, configuration in configurations.items()
    ]


def _cluster_document(name: str, socket: Path) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [{"max_requests": EDGE_CLUSTER_REQUESTS_COUNT}]},
        "typed_extension_protocol_options": {
            envoy.HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{envoy.HTTP_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(socket)}}}}]}],
        },
    }

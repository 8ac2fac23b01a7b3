"""The subset of Envoy's v3 bootstrap that the edge understands, member by member.

A member that is not here is refused with its path. A few are here only because Envoy needs them;
those take the one value under which Envoy comes closest to what the edge always does.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field

from chassis.config import StrictModel

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_DURATION: Final = re.compile(r"(?P<seconds>[0-9]{1,6}(?:\.[0-9]{1,9})?)s")

_Configuration = TypeVar("_Configuration", bound=BaseModel)


def _duration_seconds(text: object) -> float:
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or float(match["seconds"]) == 0:
        raise ValueError("must be a duration above zero such as 5s or 0.25s")
    return float(match["seconds"])


def _loopback(address: object) -> object:
    try:
        if isinstance(address, str) and ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise ValueError("must be a loopback address: internal hops are not encrypted")


Seconds = Annotated[float, BeforeValidator(_duration_seconds)]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Port = Annotated[int, Field(strict=True, ge=0, le=65_535)]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class SealgateMetadata(StrictModel):
    """What is ours alone."""

    audience: Annotated[str, Field(pattern=r"^[a-z0-9.:-]{1,253}$")]
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class NodeMetadata(StrictModel):
    """`node.metadata`."""

    sealgate: SealgateMetadata


class Node(StrictModel):
    """`node`: Envoy wants its `id` and `cluster`."""

    id: Name
    cluster: Name
    metadata: NodeMetadata


class SocketAddress(StrictModel):
    """A TCP address to listen on."""

    address: Name
    port_value: Port


class ListenerAddress(StrictModel):
    """Where a listener listens."""

    socket_address: SocketAddress


class LoopbackSocketAddress(StrictModel):
    """A TCP address to call, on this machine only."""

    address: Annotated[str, BeforeValidator(_loopback)]
    port_value: Port


class Pipe(StrictModel):
    """A Unix socket."""

    path: Name


class UpstreamAddress(StrictModel):
    """Where a cluster is: one of the two."""

    socket_address: LoopbackSocketAddress | None = None
    pipe: Pipe | None = None

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401  (pydantic's own signature)
        """Refuses an address that is both kinds, or neither."""
        if (self.socket_address is None) == (self.pipe is None):
            raise ValueError("write either pipe or socket_address")

    def target(self) -> str:
        """The gRPC name of the address."""
        if self.pipe is not None:
            return f"unix:{self.pipe.path}"
        assert self.socket_address is not None  # noqa: S101  (model_post_init saw to it)
        host, port = self.socket_address.address, self.socket_address.port_value
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Match(StrictModel):
    """The gRPC paths of a package: `/sealgate.auth.v1.`."""

    prefix: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_.]+$")]


class RouteAction(StrictModel):
    """Where they go, and the deadline of a request that goes there."""

    cluster: Name
    timeout: Seconds


class Route(StrictModel):
    """One row of the routing table; the first that matches counts."""

    match: Match
    route: RouteAction


class VirtualHost(StrictModel):
    """The only one: the edge answers under every name."""

    name: Name
    domains: tuple[Literal["*"]]
    routes: Annotated[list[Route], Field(min_length=1)]


class RouteConfiguration(StrictModel):
    """The routing table."""

    name: Name
    virtual_hosts: tuple[VirtualHost]


class HttpFilter(StrictModel, Generic[_Configuration]):
    """One filter of the chain."""

    name: Name
    typed_config: _Configuration


class Buffer(StrictModel):
    """The body limit."""

    type_url: Literal["type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"] = Field(
        alias="@type"
    )
    max_request_bytes: Count


class EnvoyGrpc(StrictModel):
    """A cluster by name."""

    cluster_name: Name


class GrpcService(StrictModel):
    """The cluster on which credentials are exchanged, and how long an exchange may take."""

    envoy_grpc: EnvoyGrpc
    timeout: Seconds


class StatusOnError(StrictModel):
    """What a request gets while credentials cannot be exchanged: 503, never a pass."""

    code: Literal["ServiceUnavailable"]


class ExtAuthz(StrictModel):
    """Where credentials become identities."""

    type_url: Literal["type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"] = Field(
        alias="@type"
    )
    transport_api_version: Literal["V3"]
    status_on_error: StatusOnError
    grpc_service: GrpcService


class PrintOptions(StrictModel):
    """Envoy's nearest to the JSON dialect."""

    always_print_primitive_fields: Literal[True]
    preserve_proto_field_names: Literal[True]


class Transcoder(StrictModel):
    """What is served as REST."""

    type_url: Literal[
        "type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"
    ] = Field(alias="@type")
    proto_descriptor: Path
    services: Annotated[list[Name], Field(min_length=1)]
    print_options: PrintOptions
    convert_grpc_status: Literal[True]


class Router(StrictModel):
    """The end of every filter chain of Envoy's."""

    type_url: Literal["type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"] = Field(
        alias="@type"
    )


class CommonHttpOptions(StrictModel):
    """How long a connection may be silent between two requests."""

    idle_timeout: Seconds


class ConnectionManager(StrictModel):
    """The HTTP side of the listener."""

    type_url: Literal[
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    ] = Field(alias="@type")
    stat_prefix: Name
    use_remote_address: Literal[True]
    xff_num_trusted_hops: Annotated[int, Field(strict=True, ge=0, le=16)] = 0
    max_request_headers_kb: Annotated[int, Field(strict=True, ge=1, le=8192)]
    request_headers_timeout: Seconds
    common_http_protocol_options: CommonHttpOptions
    route_config: RouteConfiguration
    # In the order in which a request passes them; Envoy, too, runs them as they stand.
    http_filters: tuple[HttpFilter[Buffer], HttpFilter[ExtAuthz], HttpFilter[Transcoder], HttpFilter[Router]]


class NetworkFilter(StrictModel):
    """The only filter of the connection."""

    name: Name
    typed_config: ConnectionManager


class FilterChain(StrictModel):
    """The only chain."""

    filters: tuple[NetworkFilter]


class Listener(StrictModel):
    """The one HTTP listener."""

    name: Name
    address: ListenerAddress
    filter_chains: tuple[FilterChain]


class Threshold(StrictModel):
    """The admission bound: requests in flight to the cluster."""

    max_requests: Count


class CircuitBreakers(StrictModel):
    """One threshold, of default priority."""

    thresholds: tuple[Threshold]


class Empty(StrictModel):
    """`{}`."""


class ExplicitHttp(StrictModel):
    """HTTP/2, as gRPC is."""

    http2_protocol_options: Empty


class HttpProtocolOptions(StrictModel):
    """Tells Envoy that the cluster speaks HTTP/2."""

    type_url: Literal["type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"] = Field(
        alias="@type"
    )
    explicit_http_config: ExplicitHttp


class ExtensionOptions(StrictModel):
    """`typed_extension_protocol_options`."""

    http: HttpProtocolOptions = Field(alias=HTTP_OPTIONS)


class Endpoint(StrictModel):
    """Where the cluster listens."""

    address: UpstreamAddress


class LbEndpoint(StrictModel):
    """The only one."""

    endpoint: Endpoint


class LocalityEndpoints(StrictModel):
    """The only locality."""

    lb_endpoints: tuple[LbEndpoint]


class LoadAssignment(StrictModel):
    """The cluster's one endpoint."""

    cluster_name: Name
    endpoints: tuple[LocalityEndpoints]


class Cluster(StrictModel):
    """A service behind the edge."""

    name: Name
    type: Literal["STATIC"]
    connect_timeout: Seconds
    circuit_breakers: CircuitBreakers
    typed_extension_protocol_options: ExtensionOptions
    load_assignment: LoadAssignment


class StaticResources(StrictModel):
    """The listener and the clusters."""

    listeners: tuple[Listener]
    clusters: Annotated[list[Cluster], Field(min_length=1)]


class Bootstrap(StrictModel):
    """The whole file."""

    node: Node
    static_resources: StaticResources

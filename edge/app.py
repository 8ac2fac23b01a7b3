"""The composition root of the edge, and the way of a request through it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import Any, Final

import grpc

from chassis.clock import Clock
from chassis.config import ConfigError
from chassis.errors import SealgateError
from chassis.ids import Ids
from chassis.log import log_event
from chassis.methods import HttpBinding, Method
from chassis.rpc.client import open_channel
from chassis.rpc.context import RequestContext, enter
from chassis.rpc.errors import error_from_exception
from chassis.rpc.exchange import Exchanger, RemoteExchanger
from edge.admission import Admission
from edge.config import EdgeConfig
from edge.cors import encoded, preflight_answer, with_sharing
from edge.description import Description, OpenApiEndpoint, ReferenceEndpoint
from edge.endpoints import (
    ClientGoneError,
    Endpoint,
    HealthEndpoint,
    ReadinessEndpoint,
    Request,
    RpcEndpoint,
    Upstream,
)
from edge.errors import Answer, error_answer
from edge.headers import RawHeaders, RequestHeaders
from edge.openapi import describe
from edge.routes import RouteError, RouteTable, load_methods
from edge.server import EdgeServer
from edge.signed import PayloadEndpoint, SignedHeadersEndpoint
from edge.translate import TranslationError

_logger: Final = logging.getLogger(__name__)
_NANOSECONDS_PER_MICROSECOND: Final = 1000


class EdgeApp:
    """The ASGI application: finds the route, has it answered, renders what goes wrong, writes the log."""

    def __init__(
        self, routes: RouteTable[Endpoint], clock: Clock, ids: Ids, *, trusted_hops_count: int
    ) -> None:
        self._routes = routes
        self._clock = clock
        self._ids = ids
        self._trusted_hops_count = trusted_hops_count

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  (ASGI)
        """Serves one request; see the ASGI specification, version 3."""
        started_ns = self._clock.monotonic_ns()
        headers = RequestHeaders(scope["headers"])
        # A peer that has gone already has no address any more.
        peer = scope["client"][0] if scope["client"] else ""
        address = headers.client_address(peer, self._trusted_hops_count)
        served = RequestContext(
            headers.request_id() or self._ids.uuid7(), client_address=address, user_agent=headers.user_agent()
        )
        enter(served)
        endpoint: Endpoint | None = None
        preflight = preflight_answer(scope["method"], headers, served.request_id)
        if preflight is not None:
            await _send(send, preflight)
            self._write(scope["method"], endpoint, started_ns, status=preflight.status, outcome="OK")
            return
        outcome = {"outcome": "OK"}
        try:
            found = self._routes.match(scope["method"], scope["raw_path"])
            endpoint = found.endpoint
            answer = await endpoint.answer(
                Request(
                    scope["method"],
                    scope["state"]["target"],
                    headers,
                    found.variables,
                    scope["query_string"],
                    receive,
                )
            )
        except ClientGoneError:
            self._write(scope["method"], endpoint, started_ns, outcome="CLIENT_GONE")
            return
        except Exception as raised:  # noqa: BLE001  (the one place that must let nothing through)
            error = error_from_exception(raised)
            outcome = {"outcome": error.code.value}
            if error.internal:
                outcome["reason"] = error.internal
            method = endpoint.method if endpoint else None
            answer = error_answer(error, served.request_id, method, by_api_key=headers.shows_api_key())
        said = with_sharing(endpoint.method if endpoint else None, served.answer_headers)
        answer.headers.extend(encoded(said))
        await _send(send, answer)
        self._write(scope["method"], endpoint, started_ns, status=answer.status, **outcome)

    def refuse(self, error: SealgateError, raw_headers: RawHeaders) -> Answer:
        """The answer for what is not even a request; `raw_headers` is as much of it as there was."""
        request_id: uuid.UUID = RequestHeaders(raw_headers).request_id() or self._ids.uuid7()
        answer = error_answer(error, request_id)
        answer.headers.extend(encoded(with_sharing(None, {})))
        fields = {"request_id": str(request_id), "outcome": error.code, "status": answer.status}
        log_event(_logger, logging.INFO, "request", **fields)
        return answer

    def _write(self, verb: str, endpoint: Endpoint | None, started_ns: int, **fields: object) -> None:
        took_us = (self._clock.monotonic_ns() - started_ns) // _NANOSECONDS_PER_MICROSECOND
        # The route's own path: the one that was sent can hold anything, secrets included.
        route = endpoint.template if endpoint else None
        log_event(_logger, logging.INFO, "request", verb=verb, route=route, took_us=took_us, **fields)


async def _send(send: Any, answer: Answer) -> None:  # noqa: ANN401  (ASGI)
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


class Edge:
    """The edge, from its first connection to its last answer."""

    def __init__(self, config: EdgeConfig, app: EdgeApp, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self.app = app
        self._server = EdgeServer(config, app, app.refuse)
        self._channels = channels

    @property
    def port(self) -> int:
        """The TCP port it listens on, once it was started."""
        return self._server.port

    async def start(self) -> None:
        """Takes connections from now on; ConfigError when the address cannot be had."""
        await self._server.start()
        log_event(_logger, logging.INFO, "serving", port=self.port)

    async def stop(self) -> None:
        """Takes no more, lets running requests end within the drain time, closes the channels."""
        await self._server.stop()
        for channel in self._channels.values():
            await channel.close()
        log_event(_logger, logging.INFO, "stopped")


async def build(config: EdgeConfig, clock: Clock, ids: Ids) -> Edge:
    """The edge, ready to be started; it connects to nothing yet.

    Raises ConfigError, or MethodTableError, for what cannot be served as it is configured.
    """
    channels = {name: open_channel(cluster.target) for name, cluster in config.clusters.items()}
    try:
        routes = _routes(config, channels, clock)
    except (RouteError, TranslationError) as error:
        raise ConfigError("grpc_json_transcoder", str(error)) from None
    app = EdgeApp(routes, clock, ids, trusted_hops_count=config.trusted_hops_count)
    return Edge(config, app, channels)


def _routes(
    config: EdgeConfig, channels: Mapping[str, grpc.aio.Channel], clock: Clock
) -> RouteTable[Endpoint]:
    exchanger = RemoteExchanger(
        channels[config.exchange_cluster], clock, at_most_seconds=config.exchange_timeout_seconds
    )
    admissions = {name: Admission(cluster.max_requests_count) for name, cluster in config.clusters.items()}
    readiness = ReadinessEndpoint(
        {name: (channels[name], cluster.connect_timeout_seconds) for name, cluster in config.clusters.items()}
    )
    routes = RouteTable[Endpoint]()
    methods = load_methods(config.descriptor, config.services)
    description = Description(lambda: describe(config.descriptor, methods))
    own: tuple[Endpoint, ...] = (
        HealthEndpoint(),
        readiness,
        OpenApiEndpoint(description),
        ReferenceEndpoint(description),
    )
    for endpoint in own:
        routes.add("GET", endpoint.template, endpoint)
    for method in methods:
        route = config.route_of(_service_name(method))
        upstream = Upstream(
            method,
            channel=channels[route.cluster],
            admission=admissions[route.cluster],
            clock=clock,
            timeout_seconds=route.timeout_seconds,
            body_max_bytes=config.body_max_bytes,
        )
        for binding in method.bindings:
            routes.add(binding.verb, binding.template, _endpoint(method, binding, upstream, exchanger))
    return routes


def _endpoint(method: Method, binding: HttpBinding, upstream: Upstream, exchanger: Exchanger) -> Endpoint:
    if method.takes_payload:
        return PayloadEndpoint(method, binding, upstream)
    if method.is_signed:
        return SignedHeadersEndpoint(method, binding, upstream)
    return RpcEndpoint(method, binding, upstream, exchanger)


def _service_name(method: Method) -> str:
    return method.full_name.split("/")[1]

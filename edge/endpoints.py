"""What stands behind a route: a method of a service, or a probe of the edge itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.clock import Clock
from chassis.errors import Code, Detail, SealgateError
from chassis.methods import Exposure, HttpBinding, Method
from chassis.rpc import metadata
from chassis.rpc.client import call
from chassis.rpc.context import current
from chassis.rpc.credentials import collect_credential
from chassis.rpc.deadline import deadline_after
from chassis.rpc.exchange import Exchanger, passport_of
from chassis.rpc.idempotency_key import checked_key, takes_key
from edge.admission import Admission
from edge.errors import NO_STORE, Answer, json_answer
from edge.headers import RequestHeaders
from edge.present import answer_encoder
from edge.routes import variable_names
from edge.translate import request_decoder

_READY: Final = b'{"status":"ok"}'

Receive = Callable[[], Awaitable[Any]]


class ClientGoneError(Exception):
    """The client hung up before it had sent its request whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose route is known and whose body is still to be read.

    `target` is path and query as they were sent, to the byte.
    """

    verb: str
    target: bytes
    headers: RequestHeaders
    variables: Sequence[str]
    query: bytes
    receive: Receive


class Endpoint(Protocol):
    """What answers the requests of a route."""

    method: Method | None
    template: str

    async def answer(self, request: Request) -> Answer:
        """The answer; raises the refusal's SealgateError, or ClientGoneError."""
        ...


class Upstream:
    """A method at its service, called within the bounds of its cluster and its route.

    `admission` has the cluster's places: a request is in one from when its body is there.
    """

    def __init__(
        self,
        method: Method,
        *,
        channel: grpc.aio.Channel,
        admission: Admission,
        clock: Clock,
        timeout_seconds: float,
        body_max_bytes: int,
    ) -> None:
        self.admission = admission
        self.new_message = GetMessageClass(method.descriptor.input_type)
        self._method = method
        self._encode = answer_encoder(method)
        self._rpc: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
            method.full_name,
            request_serializer=self.new_message.SerializeToString,
            response_deserializer=GetMessageClass(method.descriptor.output_type).FromString,
        )
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._body_max_bytes = body_max_bytes
        self._extra_headers = (NO_STORE,) if method.exposure is Exposure.PUBLIC else ()

    def begin(self) -> None:
        """Gives the request being served the time of its route, from now on."""
        current().deadline_ns = deadline_after(self._clock, self._timeout_seconds)

    async def body_of(self, request: Request) -> bytes:
        """The request's body, JSON by its own account; the request's time runs from here on.

        Raises UNSUPPORTED_MEDIA_TYPE for a body that is said to be something else, and as `read_body`.
        """
        current().method = self._method
        self.begin()
        body = b""
        if request.headers.announces_body():
            # Before admission: a client that sends slowly takes no place from those that do not.
            body = await read_body(request, self._body_max_bytes, self._timeout_seconds)
        if body:
            request.headers.require_json()
        return body

    async def answer(
        self,
        message: Message,
        *,
        passport: bytes | None = None,
        refusal: SealgateError | None = None,
        origin: str | None = None,
    ) -> Answer:
        """What the service answers, over HTTP.

        Raises its refusal; for that and the rest see `chassis.rpc.client.call`.
        """
        served = current()
        response = await call(
            self._rpc,
            message,
            self._clock,
            at_most_seconds=self._timeout_seconds,
            passport=passport,
            refusal=refusal,
            origin=origin,
            answer_headers=served.answer_headers,
        )
        body = self._encode(response)
        return json_answer(self._method.success_status, body, served.request_id, *self._extra_headers)


class RpcEndpoint:
    """Serves a binding of a method: credential to passport, JSON to message, and back."""

    def __init__(
        self, method: Method, binding: HttpBinding, upstream: Upstream, exchanger: Exchanger
    ) -> None:
        self.method: Method | None = method
        self.template = binding.template
        variables = variable_names(binding.template)
        self._row = method
        self._subject_index = (
            None if method.subject_account_field is None else variables.index(method.subject_account_field)
        )
        self._decode = request_decoder(method, binding, variables)
        self._upstream = upstream
        self._exchanger = exchanger
        self._takes_key = takes_key(method)
        self._needs_credential = method.exposure is Exposure.PUBLIC

    async def answer(self, request: Request) -> Answer:
        """See `Endpoint.answer`."""
        body = await self._body(request)
        with self._upstream.admission:
            passport = await self._passport(request) if self._needs_credential else None
            message, refusal = self._message(request, body)
            return await self._upstream.answer(message, passport=passport, refusal=refusal)

    async def _body(self, request: Request) -> bytes | SealgateError:
        """The request's body, or why there is none of use."""
        try:
            return await self._upstream.body_of(request)
        except SealgateError as refusal:
            if not self._needs_credential:
                raise
            # A body that is late has used the request's time up; who sent it is still to be asked.
            self._upstream.begin()
            return refusal

    def _message(self, request: Request, body: bytes | SealgateError) -> tuple[Message, SealgateError | None]:
        """What the method is called with, and what it is to answer where the request cannot be read.

        Such a request of somebody known is the service's to refuse: what the caller may do comes before
        what is wrong with the request, it counts against the caller's limits, as over gRPC, and the
        caller's page may read why.
        """
        try:
            if isinstance(body, SealgateError):
                raise body
            message = self._decode(request.variables, request.query, body)
            if self._takes_key:
                sent = request.headers.all_of(metadata.IDEMPOTENCY_KEY)
                current().idempotency_key = checked_key(sent)
            return message, None
        except SealgateError as refusal:
            if not self._needs_credential:
                raise
            message = self._upstream.new_message()
            if self._row.subject_account_field is not None and self._subject_index is not None:
                setattr(message, self._row.subject_account_field, request.variables[self._subject_index])
            return message, refusal

    async def _passport(self, request: Request) -> bytes:
        credential = collect_credential(request.headers.pairs, self._row)
        subject = None if self._subject_index is None else request.variables[self._subject_index]
        return await passport_of(self._exchanger, credential, subject)


class HealthEndpoint:
    """Says that the process is up."""

    method: Method | None = None
    template = "/healthz"

    async def answer(self, request: Request) -> Answer:
        """See `Endpoint.answer`."""
        return json_answer(200, _READY, current().request_id, NO_STORE)


class ReadinessEndpoint:
    """Says whether every cluster serves, by asking each."""

    method: Method | None = None
    template = "/readyz"

    def __init__(self, probes: Mapping[str, tuple[grpc.aio.Channel, float]]) -> None:
        """`probes` has, by cluster, its channel and how many seconds it has to answer."""
        self._probes = {
            name: (health_pb2_grpc.HealthStub(channel), seconds)
            for name, (channel, seconds) in probes.items()
        }

    async def answer(self, request: Request) -> Answer:
        """See `Endpoint.answer`; UNAVAILABLE, with their names, when clusters do not serve."""
        serving = await asyncio.gather(*(_serves(stub, seconds) for stub, seconds in self._probes.values()))
        missing = [name for name, serves in zip(self._probes, serving, strict=True) if not serves]
        if missing:
            raise SealgateError(
                Code.UNAVAILABLE,
                details=[Detail(name, "does not serve") for name in missing],
                internal=f"does not serve: {', '.join(missing)}",
            )
        return json_answer(200, _READY, current().request_id, NO_STORE)


async def _serves(stub: Any, seconds: float) -> bool:  # noqa: ANN401  (the stub's own type is synchronous)
    try:
        health = await stub.Check(health_pb2.HealthCheckRequest(), timeout=seconds)
    except grpc.aio.AioRpcError:
        return False
    return bool(health.status == health_pb2.HealthCheckResponse.SERVING)


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """The request's body, whole.

    Raises PAYLOAD_TOO_LARGE beyond `max_bytes`, announced or counted, DEADLINE_EXCEEDED when it is
    not there after `seconds`, ClientGoneError when it never will be.
    """
    if request.headers.body_bytes() > max_bytes:
        raise SealgateError(Code.PAYLOAD_TOO_LARGE)
    body, more = b"", True
    try:
        async with asyncio.timeout(seconds):
            while more:
                event = await request.receive()
                if event["type"] == "http.disconnect":
                    raise ClientGoneError
                body += event.get("body", b"")
                more = event.get("more_body", False)
                if len(body) > max_bytes:
                    raise SealgateError(Code.PAYLOAD_TOO_LARGE)
    except TimeoutError:
        raise SealgateError(Code.DEADLINE_EXCEEDED, internal="the body did not arrive") from None
    return body

"""The edge on a real socket and its real event loop, before real gRPC servers that do what a test says."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import uvloop
import yaml
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2_grpc

from chassis.clock import SystemClock
from chassis.errors import ERROR_TABLE, Code, Detail, SealgateError
from chassis.ids import SystemIds
from chassis.log import JsonFormatter
from chassis.rpc.context import RequestContext, enter
from chassis.rpc.errors import abort_with, error_from_status
from chassis.rpc.metadata import REFUSAL
from edge.app import Edge, build
from edge.config import SERVICES, bootstrap, load
from sealgate.auth.v1 import (
    account_pb2,
    account_pb2_grpc,
    browser_session_pb2,
    browser_session_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
)
from sealgate.common.v1 import passport_pb2
from sealgate.keys.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    session_signature_pb2,
    session_signature_pb2_grpc,
)
from sealgate.wallet.v1 import signed_pb2, signed_pb2_grpc, wallet_pb2, wallet_pb2_grpc
from tests.unit.edge_support import DESCRIPTOR

EXCHANGE: Final = "/sealgate.auth.v1.IdentityService/ExchangeCredential"
JWKS: Final = "/sealgate.auth.v1.TokenKeyService/GetJsonWebKeySet"
CREATE_ACCOUNT: Final = "/sealgate.auth.v1.AccountService/CreateAccount"
LIST_ACCOUNTS: Final = "/sealgate.auth.v1.AccountService/ListAccounts"
GET_ACCOUNT: Final = "/sealgate.auth.v1.AccountService/GetAccount"
LIST_WALLETS: Final = "/sealgate.wallet.v1.WalletService/ListWallets"
CURRENT_SESSION: Final = "/sealgate.auth.v1.SessionService/GetCurrentSession"
PLACE_ORDER: Final = "/sealgate.wallet.v1.SignedRequestService/SubmitPlaceOrder"
CREATE_BROWSER_SESSION: Final = "/sealgate.auth.v1.BrowserSessionService/CreateBrowserSession"
CREATE_WALLET: Final = "/sealgate.wallet.v1.WalletService/CreateWallet"
UPDATE_WALLET: Final = "/sealgate.wallet.v1.WalletService/UpdateWallet"

PASSPORT: Final = identity_pb2.ExchangeCredentialResponse(
    passport=passport_pb2.Passport(kid="k", claims=b"claims", signature=b"signature")
)
REPLY_SECONDS: Final = 30.0
IMPATIENT_SECONDS: Final = 0.4
"""What a wallet's route may take after `make_impatient`."""

_SERVICERS: Final = (
    (identity_pb2, identity_pb2_grpc, "IdentityService"),
    (identity_pb2, identity_pb2_grpc, "TokenKeyService"),
    (account_pb2, account_pb2_grpc, "AccountService"),
    (browser_session_pb2, browser_session_pb2_grpc, "BrowserSessionService"),
    (project_pb2, project_pb2_grpc, "ProjectService"),
    (api_key_pb2, api_key_pb2_grpc, "ApiKeyService"),
    (session_signature_pb2, session_signature_pb2_grpc, "SessionSignatureService"),
    (signed_pb2, signed_pb2_grpc, "SignedRequestService"),
    (wallet_pb2, wallet_pb2_grpc, "WalletService"),
)

Behaviour = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached a service."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]

    @property
    def refusal(self) -> SealgateError | None:
        """What the edge wants to be answered in place of the method's answer."""
        status = self.metadata.get(REFUSAL)
        return error_from_status(status) if isinstance(status, bytes) else None


@dataclass(slots=True)
class Backend:
    """What the services do, by method, and what they were asked; else they answer an empty message.

    `answer_headers` are what a method says beside its answers, refusals included.
    """

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    answer_headers: dict[str, dict[str, str]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    raw_answers: dict[str, bytes] = field(default_factory=dict)

    def of(self, method: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == method]

    def forget(self) -> None:
        """Drops all scripts and calls; whoever shows a credential is given a passport."""
        for kept in (self.behaviours, self.answer_headers, self.calls, self.raw_answers):
            kept.clear()
        self.behaviours[EXCHANGE] = _issue_passport


@dataclass(frozen=True, slots=True)
class RunningEdge:
    """An edge at work."""

    port: int
    backend: Backend
    loop: asyncio.AbstractEventLoop
    edge: Edge
    servers: dict[str, grpc.aio.Server]
    sockets: Mapping[str, Path]

    def run(self, work: Awaitable[Any]) -> Any:  # noqa: ANN401
        """Does something on the edge's own loop and waits for it."""

        async def doing() -> Any:  # noqa: ANN401
            return await work

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(REPLY_SECONDS)

    def connect(self) -> socket.socket:
        """A connection to the edge."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=REPLY_SECONDS)

    def send(self, *chunks: bytes) -> list[Reply]:
        """The answers to `chunks` sent over one connection, until the edge closes it."""
        with self.connect() as connection:
            for chunk in chunks:
                connection.sendall(chunk)
            return list(replies(connection))

    def ask(self, head: str, body: bytes = b"") -> Reply:
        """The answer to one request; `head` has its request line and headers, `Host` excepted."""
        lines = [line.strip() for line in head.strip().splitlines()]
        text = "\r\n".join([lines[0] + " HTTP/1.1", "host: edge", "connection: close", *lines[1:], "", ""])
        (reply,) = self.send(text.encode("latin-1") + body)
        return reply

    def post(self, path: str, body: bytes, *headers: str) -> Reply:
        """The answer to a POST of JSON."""
        lines = [f"POST {path}", "content-type: application/json", f"content-length: {len(body)}", *headers]
        return self.ask("\n".join(lines), body)

    @contextmanager
    def logged(self) -> Iterator[list[str]]:
        """The log lines that a process would have written until the end of the block."""
        text = io.StringIO()
        handler = logging.StreamHandler(text)
        handler.setFormatter(JsonFormatter("edge"))
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        lines: list[str] = []
        try:
            yield lines
            # An answer can be read before the line about it is written; the loop writes it next.
            self.run(_nothing())
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
            lines += text.getvalue().splitlines()

    async def stop_server(self, name: str) -> None:
        """Takes a service away."""
        await self.servers[name].stop(None)

    async def start_server(self, name: str) -> None:
        """Brings a service back."""
        self.servers[name] = await _serve(self.sockets[name], self.backend)


async def _nothing() -> None:
    pass


async def _issue_passport(_: object) -> identity_pb2.ExchangeCredentialResponse:
    return PASSPORT


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error object."""
        return str(self.json["error"]["code"])


def answers(edge: RunningEdge, method: str, response: object) -> None:
    """Lets a method answer `response`, or refuse with it when it is an exception."""

    async def behave(_: object) -> object:
        if isinstance(response, BaseException):
            raise response
        return response

    edge.backend.behaviours[method] = behave


def assert_error(reply: Reply, code: Code, *details: Detail) -> None:
    """The reply is the error object of family P for `code`."""
    row = ERROR_TABLE[code]
    assert reply.status == row.http_status
    assert reply.json == {
        "success": False,
        "response": row.message,
        "error": {
            "code": code.value,
            "message": row.message,
            "details": [{"path": detail.path, "message": detail.message} for detail in details],
        },
        "request_id": reply.headers["x-request-id"],
    }
    uuid.UUID(reply.headers["x-request-id"])


def replies(connection: socket.socket, *, to_head: bool = False) -> Iterator[Reply]:
    """The answers on a connection, one after the other, until the edge closes it."""
    with connection.makefile("rb") as stream:
        while status_line := stream.readline():
            headers = {}
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name] = value.strip()
            status = int(status_line.split()[1])
            length = 0 if to_head or status in (100, 204) else int(headers["content-length"])
            yield Reply(status, headers, stream.read(length))


def make_impatient(document: dict[str, Any]) -> None:
    """Gives wallet's routes little time, and its cluster little room."""
    resources = document["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    routes[2]["route"]["timeout"] = f"{IMPATIENT_SECONDS}s"
    resources["clusters"][2]["circuit_breakers"]["thresholds"][0]["max_requests"] = 2


@contextmanager
def running_edge(
    directory: Path, change: Callable[[dict[str, Any]], None] | None = None
) -> Iterator[RunningEdge]:
    """An edge and its services in a thread of their own, on the loop that a deployment runs.

    `directory` is made for them; `change` sees the configuration before they do.
    """
    directory.mkdir()
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="edge", daemon=True)
    thread.start()
    try:
        running = asyncio.run_coroutine_threadsafe(_start(directory, change, loop), loop).result(
            REPLY_SECONDS
        )
        try:
            yield running
        finally:
            running.run(_stop(running))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(REPLY_SECONDS)
        loop.close()


async def _start(
    directory: Path, change: Callable[[dict[str, Any]], None] | None, loop: asyncio.AbstractEventLoop
) -> RunningEdge:
    backend = Backend()
    backend.forget()
    sockets = {name: directory / f"{name}.sock" for name in SERVICES}
    servers = {name: await _serve(path, backend) for name, path in sockets.items()}
    document = bootstrap(
        host="127.0.0.1", port=0, sockets=sockets, descriptor=DESCRIPTOR, audience="edge.test"
    )
    if change is not None:
        change(document)
    path = directory / "edge.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    clock = SystemClock()
    edge = await build(load(path), clock, SystemIds(clock))
    await edge.start()
    return RunningEdge(edge.port, backend, loop, edge, servers, sockets)


async def _stop(running: RunningEdge) -> None:
    await running.edge.stop()
    for server in running.servers.values():
        await server.stop(None)


async def _serve(path: Path, backend: Backend) -> grpc.aio.Server:
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.server.max_pending_requests", 20_000)))
    server.add_generic_rpc_handlers((_RawAnswers(backend),))
    for module, stubs, name in _SERVICERS:
        descriptor = module.DESCRIPTOR.services_by_name[name]
        methods = {method.name: _scripted(method, backend) for method in descriptor.methods}
        servicer = type(name, (getattr(stubs, f"{name}Servicer"),), methods)()
        getattr(stubs, f"add_{name}Servicer_to_server")(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    return server


def _scripted(method: MethodDescriptor, backend: Backend) -> Callable[..., Awaitable[Any]]:
    name = f"/{method.containing_service.full_name}/{method.name}"
    empty = GetMessageClass(method.output_type)

    async def answer(_: object, request: Any, context: Any) -> Any:  # noqa: ANN401
        backend.calls.append(Call(name, request, dict(context.invocation_metadata())))
        said = backend.answer_headers.get(name, {})
        enter(RequestContext(uuid.uuid4(), answer_headers=said))
        context.set_trailing_metadata(tuple(said.items()))
        behaviour = backend.behaviours.get(name)
        refusal = backend.calls[-1].refusal
        try:
            if refusal is not None:
                raise refusal
            return empty() if behaviour is None else await behaviour(request)
        except SealgateError as error:
            await abort_with(context, error)

    return answer


class _RawAnswers(grpc.GenericRpcHandler):
    """Answers bytes as they are, for the methods of SessionService that the script has such for."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401
        """The handler of a call; None leaves it to the servicers."""
        raw = self._backend.raw_answers.get(handler_call_details.method)
        if raw is None:
            return None

        async def answer(_: bytes, __: Any) -> bytes:  # noqa: ANN401
            return raw

        return grpc.unary_unary_rpc_method_handler(answer)

"""A real RpcServer on a Unix socket and a TCP port, with servicers that do what a test says."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from chassis.clock import Clock
from chassis.config import ServiceConfig
from chassis.errors import Code, SealgateError
from chassis.identity import PassportSigner, PassportVerifier
from chassis.ids import Ids
from chassis.keyring import KeyRing, SigningKey
from chassis.log import JsonFormatter
from chassis.methods import CredentialKind
from chassis.rpc import context as request_context
from chassis.rpc.client import open_channel
from chassis.rpc.credentials import PresentedCredential
from chassis.rpc.errors import error_from_rpc
from chassis.rpc.exchange import Exchanger
from chassis.rpc.server import RpcServer, Service
from sealgate.auth.v1 import browser_session_pb2, identity_pb2, operator_pb2, session_pb2
from sealgate.auth.v1.browser_session_pb2_grpc import add_BrowserSessionServiceServicer_to_server
from sealgate.auth.v1.identity_pb2_grpc import (
    add_IdentityServiceServicer_to_server,
    add_TokenKeyServiceServicer_to_server,
)
from sealgate.auth.v1.operator_pb2_grpc import add_OperatorServiceServicer_to_server
from sealgate.auth.v1.session_pb2_grpc import add_SessionServiceServicer_to_server
from sealgate.common.v1 import passport_pb2
from sealgate.common.v1.method_rule_pb2 import CredentialKind as CredentialKindValue
from sealgate.common.v1.passport_pb2 import BROWSER_SESSION_STATE_UNSPECIFIED as BROWSER_SESSION_UNSPECIFIED
from sealgate.wallet.v1 import wallet_pb2
from sealgate.wallet.v1.wallet_pb2_grpc import add_WalletServiceServicer_to_server

AUDIENCE: Final = "test-deployment"
PROJECT_ID: Final = "0189abcd-0000-7000-8000-000000000001"
ACCOUNT_ID: Final = "0189abcd-0000-7000-8000-000000000002"
SESSION_SCOPES: Final = ("account:read", "keys:write", "wallet:read", "wallet:write", "orders:write")
MODULES: Final = ("wallet", "trading", "browser", "signing")

# One method of each kind that the tests call; each has a servicer.
OPEN: Final = "/sealgate.auth.v1.TokenKeyService/GetJsonWebKeySet"
INTERNAL: Final = "/sealgate.auth.v1.IdentityService/ListPassportKeys"
OPERATOR: Final = "/sealgate.auth.v1.OperatorService/ListProjects"
CURRENT_SESSION: Final = "/sealgate.auth.v1.SessionService/GetCurrentSession"
EXPIRE_CURRENT: Final = "/sealgate.auth.v1.SessionService/ExpireCurrentSession"
CREATE_SESSION: Final = "/sealgate.auth.v1.SessionService/CreateSession"
LIST_SESSIONS: Final = "/sealgate.auth.v1.SessionService/ListSessions"
EXPIRE_ALL: Final = "/sealgate.auth.v1.SessionService/ExpireAllSessions"
CREATE_BROWSER_SESSION: Final = "/sealgate.auth.v1.BrowserSessionService/CreateBrowserSession"
CREATE_WALLET: Final = "/sealgate.wallet.v1.WalletService/CreateWallet"
GET_WALLET: Final = "/sealgate.wallet.v1.WalletService/GetWallet"

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Served:
    """A call that reached its handler."""

    method: str
    request: Any
    context: request_context.RequestContext


@dataclass(slots=True)
class Script:
    """What the handlers do: by method, else answer an empty message."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    served: list[Served] = field(default_factory=list)

    async def run(self, method: MethodDescriptor, request: Any, context: Context) -> Any:  # noqa: ANN401
        """Handles one call."""
        name = f"/{method.containing_service.full_name}/{method.name}"
        self.served.append(Served(name, request, request_context.current()))
        behaviour = self.behaviours.get(name)
        if behaviour is not None:
            return await behaviour(request, context)
        return GetMessageClass(method.output_type)()


class ScriptedServicer:
    """Implements every method of a service by its script."""

    def __init__(self, service: ServiceDescriptor, script: Script) -> None:
        for method in service.methods:
            setattr(self, method.name, self._handler(method, script))

    @staticmethod
    def _handler(method: MethodDescriptor, script: Script) -> Behaviour:
        async def handle(request: Any, context: Context) -> Any:  # noqa: ANN401
            return await script.run(method, request, context)

        return handle


def scripted_services(script: Script) -> list[Service]:
    """Six services of two packages, PUBLIC, OPEN, INTERNAL and OPERATOR methods among them."""
    adders: tuple[tuple[ServiceDescriptor, Callable[[Any, Any], None]], ...] = (
        (
            identity_pb2.DESCRIPTOR.services_by_name["TokenKeyService"],
            add_TokenKeyServiceServicer_to_server,
        ),
        (
            identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
            add_IdentityServiceServicer_to_server,
        ),
        (
            operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
            add_OperatorServiceServicer_to_server,
        ),
        (session_pb2.DESCRIPTOR.services_by_name["SessionService"], add_SessionServiceServicer_to_server),
        (
            browser_session_pb2.DESCRIPTOR.services_by_name["BrowserSessionService"],
            add_BrowserSessionServiceServicer_to_server,
        ),
        (wallet_pb2.DESCRIPTOR.services_by_name["WalletService"], add_WalletServiceServicer_to_server),
    )
    return [Service(service, ScriptedServicer(service, script), add) for service, add in adders]


@dataclass(slots=True)
class Issuer:
    """Signs passports as auth would; also an Exchanger that knows the credentials it was told."""

    clock: Clock
    ring: KeyRing
    known: dict[str, passport_pb2.PassportClaims] = field(default_factory=dict)
    asked: list[tuple[PresentedCredential, str | None]] = field(default_factory=list)

    def claims(
        self,
        kind: CredentialKind = CredentialKind.ACCOUNT_SESSION,
        *,
        account_id: str = ACCOUNT_ID,
        scopes: Sequence[str] = SESSION_SCOPES,
        modules: Sequence[str] = MODULES,
        project_status: passport_pb2.ProjectStatus.ValueType = passport_pb2.PROJECT_STATUS_ACTIVE,
        origin: str = "",
        origin_allowed: bool = True,
        browser_session: passport_pb2.BrowserSessionState.ValueType = BROWSER_SESSION_UNSPECIFIED,
        lifetime_ns: int = 30_000_000_000,
    ) -> passport_pb2.PassportClaims:
        """Claims of a good passport, apart from what the arguments say."""
        from_project = kind is CredentialKind.PROJECT_KEY
        now_ns = self.clock.now_ns()
        return passport_pb2.PassportClaims(
            audience=AUDIENCE,
            project_id=PROJECT_ID,
            account_id=account_id,
            account_number=7,
            credential_kind=CredentialKindValue.ValueType(kind),
            credential_id="0189abcd-0000-7000-8000-000000000003",
            scopes=() if from_project else scopes,
            modules=modules,
            channel=passport_pb2.CHANNEL_BROWSER if origin else passport_pb2.CHANNEL_SERVER,
            origin=origin,
            origin_allowed=bool(origin) and origin_allowed,
            browser_session=browser_session,
            issued_at_ns=now_ns,
            expires_at_ns=now_ns + lifetime_ns,
            project_status=project_status,
            account_status=passport_pb2.ACCOUNT_STATUS_ACTIVE,
            account_version=1,
        )

    def passport(self, claims: passport_pb2.PassportClaims) -> bytes:
        """The serialized passport of claims."""
        return PassportSigner(self.ring, self.clock).sign(claims).SerializeToString()

    async def exchange(self, credential: PresentedCredential, subject_account_id: str | None) -> bytes:
        """See `chassis.rpc.exchange.Exchanger`."""
        self.asked.append((credential, subject_account_id))
        claims = self.known.get(credential.text)
        if claims is None:
            raise SealgateError(Code.SESSION_INVALID)
        return self.passport(claims)

    async def public_keys(self) -> Mapping[str, bytes]:
        """See `chassis.identity.KeyLookup`."""
        return self.ring.public_keys()


@dataclass(slots=True)
class Harness:
    """A running server, the way to both of its listeners, and what its handlers saw."""

    server: RpcServer
    script: Script
    issuer: Issuer
    public: grpc.aio.Channel
    internal: grpc.aio.Channel
    internal_address: str

    @property
    def public_address(self) -> str:
        """`host:port` of the public listener."""
        return f"127.0.0.1:{self.server.public_port}"

    def as_session(self, **changes: Any) -> tuple[tuple[str, bytes], ...]:  # noqa: ANN401
        """Metadata of an internal call under a session's passport."""
        return passport_metadata(self.issuer.passport(self.issuer.claims(**changes)))

    def as_project(self, **changes: Any) -> tuple[tuple[str, bytes], ...]:  # noqa: ANN401
        """Metadata of an internal call under a project key's passport."""
        return self.as_session(kind=CredentialKind.PROJECT_KEY, **changes)


def passport_metadata(passport: bytes) -> tuple[tuple[str, bytes], ...]:
    """The metadata in which internal calls carry a passport."""
    return (("sealgate-passport-bin", passport),)


def fixed_ring(*numbers: int) -> KeyRing:
    """A ring of fixed keys, each signing from its number of nanoseconds on."""
    return KeyRing([SigningKey.from_seed(bytes([number]) * 32, number) for number in numbers or (1,)])


_directories = itertools.count()


def service_config(directory: Path, public_address: str = "127.0.0.1:0") -> ServiceConfig:
    """The configuration of a test's server, its socket in `directory`."""
    return ServiceConfig.model_validate(
        {
            "audience": AUDIENCE,
            "database": {"dsn": "postgresql://nobody@/none"},
            "public": {"address": public_address},
            "internal": f"unix:{directory}/{next(_directories)}.sock",
        }
    )


@asynccontextmanager
async def serving(
    clock: Clock,
    ids: Ids,
    directory: Path,
    *,
    verifier: PassportVerifier | None = None,
    exchanger: Exchanger | None = None,
) -> AsyncIterator[Harness]:
    """Starts a server with every part real; `verifier` and `exchanger` may be a test's own."""
    script = Script()
    issuer = Issuer(clock, fixed_ring())
    config = service_config(directory)
    server = RpcServer(
        config,
        scripted_services(script),
        clock=clock,
        ids=ids,
        verifier=verifier or PassportVerifier(AUDIENCE, clock, issuer.public_keys),
        exchanger=exchanger or issuer,
        closers=(),
    )
    await server.start()
    public, internal = open_channel(f"127.0.0.1:{server.public_port}"), open_channel(config.internal)
    try:
        yield Harness(server, script, issuer, public, internal, config.internal)
    finally:
        await public.close()
        await internal.close()
        await server.stop()


Metadata = Sequence[tuple[str, str | bytes]]


async def call(
    channel: grpc.aio.Channel,
    method: str,
    request: bytes = b"",
    metadata: Metadata = (),
    timeout: float | None = 30.0,  # noqa: ASYNC109  (gRPC's own deadline)
) -> bytes:
    """Calls a method with raw bytes; raises the SealgateError that a Sealgate client would see."""
    try:
        return await raw_call(channel, method, request, metadata, timeout)
    except grpc.aio.AioRpcError as failure:
        raise error_from_rpc(failure, method) from failure


async def raw_call(
    channel: grpc.aio.Channel,
    method: str,
    request: bytes = b"",
    metadata: Metadata = (),
    timeout: float | None = 30.0,  # noqa: ASYNC109  (gRPC's own deadline)
) -> bytes:
    """Calls a method with raw bytes; raises AioRpcError as any client would see it."""
    stub: Any = channel.unary_unary(method)
    response: bytes = await stub(request, timeout=timeout, metadata=tuple(metadata))
    return response


async def refusal(
    channel: grpc.aio.Channel, method: str, request: bytes = b"", metadata: Metadata = ()
) -> SealgateError:
    """The error of a call that must fail."""
    try:
        await call(channel, method, request, metadata)
    except SealgateError as error:
        return error
    raise AssertionError(f"{method} was answered")


async def wire_failure(
    channel: grpc.aio.Channel, method: str, request: bytes = b"", metadata: Metadata = ()
) -> grpc.aio.AioRpcError:
    """The bare gRPC error of a call that must fail."""
    try:
        await raw_call(channel, method, request, metadata)
    except grpc.aio.AioRpcError as failure:
        return failure
    raise AssertionError(f"{method} was answered")


@asynccontextmanager
async def stranger(address: str, headers: Mapping[bytes, bytes]) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which a call was sent with headers that no gRPC client would send."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    all_headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": OPEN.encode(),
        b":authority": b"test",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        **headers,
    }
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in all_headers.items()
    )
    if address.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    writer.write(frame(1, 4, 1, block) + frame(0, 1, 1, b"\x00" * 5))
    await writer.drain()
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def status_for(address: str, headers: Mapping[bytes, bytes]) -> bytes:
    """The grpc-status that a stranger's call gets."""
    received = b""
    async with stranger(address, headers) as reader:
        while b"grpc-status" not in received:
            received += await asyncio.wait_for(reader.read(4096), 30.0)
    after = received[received.index(b"grpc-status") + len(b"grpc-status") :]
    return after[1 : 1 + after[0]]


@contextmanager
def request_being_served(request: request_context.RequestContext) -> Iterator[None]:
    """Makes `request` the current one for as long as the block lasts."""
    token = request_context._current.set(request)
    try:
        yield
    finally:
        request_context._current.reset(token)


@contextmanager
def captured_log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Collects what the process would write to stderr; the callable parses it line by line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("test"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)

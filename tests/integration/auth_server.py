"""The whole auth service on real sockets and a real database, beside a keys service that does as told."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Value

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.keyring import create_key
from chassis.limits import DEVICE_KEY_IDLE_SECONDS, RATE_LIMIT_MAX_PER_MINUTE_COUNT
from chassis.rpc.client import open_channel
from chassis.rpc.errors import error_from_rpc
from chassis.secrets import ApiKeyPair, device_key_digest, device_key_text
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from cli.rate_limits import RATE_CLASSES, rate_limits_document
from sealgate.auth.v1 import account_pb2, identity_pb2, operator_pb2, project_pb2, session_pb2
from sealgate.auth.v1.account_pb2_grpc import AccountServiceStub
from sealgate.auth.v1.browser_session_pb2_grpc import BrowserSessionServiceStub
from sealgate.auth.v1.identity_pb2_grpc import IdentityServiceStub, TokenKeyServiceStub
from sealgate.auth.v1.operator_pb2_grpc import OperatorServiceStub
from sealgate.auth.v1.project_pb2_grpc import ProjectServiceStub
from sealgate.auth.v1.session_pb2_grpc import SessionServiceStub
from sealgate.auth.v1.signer_pb2_grpc import SignerServiceStub
from sealgate.auth.v1.time_pb2_grpc import TimeServiceStub
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.keys.v1 import resolution_pb2, signer_facts_pb2
from sealgate.keys.v1.resolution_pb2_grpc import (
    ResolutionServiceServicer,
    add_ResolutionServiceServicer_to_server,
)
from services.auth.app import build
from services.auth.config import AuthConfig

AUDIENCE: Final = "auth.test"
ALL_SCOPES: Final = ("account:read", "wallet:read")
_ATTEMPTS_COUNT: Final = 10_000

Context = grpc.aio.ServicerContext[Any, Any]
Header = tuple[str, str | bytes]


class ScriptedKeys(ResolutionServiceServicer):
    """The keys service as auth sees it; it knows what a test tells it and counts what it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: grpc.aio.Server | None = None
        self.answers: dict[tuple[bytes, int], resolution_pb2.ResolveApiKeyResponse] = {}
        self.device_answers: dict[bytes, resolution_pb2.ResolveDeviceKeyResponse] = {}
        self.facts: dict[tuple[str, bytes], signer_facts_pb2.SignerFacts] = {}
        self.resolved_count = 0
        self.uses: list[bytes] = []
        self.used_expires_at_ns: int | None = None
        self.facts_asked_count = 0
        self.while_facts_are_asked: Callable[[], Awaitable[object]] | None = None
        self.fences: list[tuple[str, int]] = []

    async def ResolveApiKey(  # noqa: N802 - gRPC gives the methods their names
        self, request: resolution_pb2.ResolveApiKeyRequest, context: Context
    ) -> resolution_pb2.ResolveApiKeyResponse:
        """What the test said of the key, else that it is unknown."""
        self.resolved_count += 1
        unknown = resolution_pb2.ResolveApiKeyResponse(state=resolution_pb2.API_KEY_STATE_UNKNOWN)
        return self.answers.get((request.public_key, request.kind), unknown)

    async def ResolveDeviceKey(  # noqa: N802 - gRPC gives the methods their names
        self, request: resolution_pb2.ResolveDeviceKeyRequest, context: Context
    ) -> resolution_pb2.ResolveDeviceKeyResponse:
        """What the test said of the device key, else that it is unknown."""
        self.resolved_count += 1
        unknown = resolution_pb2.ResolveDeviceKeyResponse(state=resolution_pb2.API_KEY_STATE_UNKNOWN)
        return self.device_answers.get(request.digest, unknown)

    async def NoteApiKeyUse(  # noqa: N802 - gRPC gives the methods their names
        self, request: resolution_pb2.NoteApiKeyUseRequest, context: Context
    ) -> resolution_pb2.NoteApiKeyUseResponse:
        """Keeps which key was used."""
        self.uses.append(request.public_key)
        return resolution_pb2.NoteApiKeyUseResponse()

    async def NoteDeviceKeyUse(  # noqa: N802 - gRPC gives the methods their names
        self, request: resolution_pb2.NoteDeviceKeyUseRequest, context: Context
    ) -> resolution_pb2.NoteDeviceKeyUseResponse:
        """Keeps which device key was used; it ends then when the test says so."""
        self.uses.append(request.digest)
        return resolution_pb2.NoteDeviceKeyUseResponse(expires_at_ns=self.used_expires_at_ns)

    async def GetSignerFacts(  # noqa: N802 - gRPC gives the methods their names
        self, request: resolution_pb2.GetSignerFactsRequest, context: Context
    ) -> resolution_pb2.GetSignerFactsResponse:
        """What the test said of the account's key, if it said anything."""
        self.facts_asked_count += 1
        if self.while_facts_are_asked is not None:
            await self.while_facts_are_asked()
        return resolution_pb2.GetSignerFactsResponse(
            facts=self.facts.get((request.account_id, request.public_key))
        )

    async def FenceAccount(  # noqa: N802 - gRPC gives the methods their names
        self, request: resolution_pb2.FenceAccountRequest, context: Context
    ) -> resolution_pb2.FenceAccountResponse:
        """Notes the fence."""
        self.fences.append((request.account_id, request.account_version))
        return resolution_pb2.FenceAccountResponse()

    async def start(self) -> None:
        """Serves on the socket."""
        self._server = grpc.aio.server()
        add_ResolutionServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()

    async def stop(self) -> None:
        """Is gone, until started again."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


class AuthServer:
    """The service's listeners as stubs, a project with a key, and ways to look inside."""

    def __init__(
        self,
        public: grpc.aio.Channel,
        internal: grpc.aio.Channel,
        keys: ScriptedKeys,
        dsn: str,
        clock: FakeClock,
        ids: CountingIds,
    ) -> None:
        self.projects = ProjectServiceStub(public)
        self.accounts = AccountServiceStub(public)
        self.sessions = SessionServiceStub(public)
        self.browser_sessions = BrowserSessionServiceStub(public)
        self.token_keys = TokenKeyServiceStub(public)
        self.time = TimeServiceStub(public)
        self.public_signers = SignerServiceStub(public)
        self.signers = SignerServiceStub(internal)
        self.internal_accounts = AccountServiceStub(internal)
        self.identities = IdentityServiceStub(internal)
        self.operator = OperatorServiceStub(internal)
        self.keys = keys
        self.clock = clock
        self.ids = ids
        self.project_id = ""
        self.project_key = ""
        self._dsn = dsn

    async def open_project(self) -> None:
        """Makes a project with short-lived sessions and a key, which `call` shows from then on."""
        made = await self.operator.CreateProject(operator_pb2.CreateProjectRequest(name="Shop"))
        self.project_id = made.project.project_id
        self.project_key = self.project_api_key(self.project_id)
        policy = project_pb2.SessionPolicy(idle_timeout_seconds=120, absolute_cap_seconds=300)
        await self.call(self.projects.UpdateProject, project_pb2.UpdateProjectRequest(session_policy=policy))

    def project_api_key(self, project_id: str) -> str:
        """The secret of a new live key of a project."""
        pair = ApiKeyPair.from_seed(self.ids.seed())
        kind = method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY
        self.keys.answers[pair.public_key, kind] = resolution_pb2.ResolveApiKeyResponse(
            state=resolution_pb2.API_KEY_STATE_LIVE, project_id=project_id
        )
        return pair.secret_text

    def account_api_key(self, account_id: str, **facts: Any) -> ApiKeyPair:  # noqa: ANN401 - field values
        """A new live key of an account of the project; `facts` are further fields of its resolution.

        It has had the `origins` that it is given since now.
        """
        pair = ApiKeyPair.from_seed(self.ids.seed())
        kind = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY
        self.keys.answers[pair.public_key, kind] = resolution_pb2.ResolveApiKeyResponse(
            state=resolution_pb2.API_KEY_STATE_LIVE,
            project_id=self.project_id,
            account_id=account_id,
            **{
                "scopes": ALL_SCOPES,
                "origins_since_ns": [self.clock.now_ns()] * len(facts.get("origins", ())),
                **facts,
            },
        )
        return pair

    def device_key(self, account_id: str, **facts: Any) -> str:  # noqa: ANN401 - field values
        """The text of a new live device key of an account of the project; `facts` as for API keys."""
        secret = self.ids.seed()
        self.keys.device_answers[device_key_digest(secret)] = resolution_pb2.ResolveDeviceKeyResponse(
            **{
                "state": resolution_pb2.API_KEY_STATE_LIVE,
                "device_key_id": str(self.ids.uuid7()),
                "project_id": self.project_id,
                "account_id": account_id,
                "expires_at_ns": self.clock.now_ns() + DEVICE_KEY_IDLE_SECONDS * NANOSECONDS_PER_SECOND,
                **facts,
            }
        )
        return device_key_text(secret)

    async def call(self, method: Any, request: Message, *headers: Header) -> Any:  # noqa: ANN401
        """Calls with the project key, or with `headers` instead of it."""
        shown = headers or (("x-project-api-key", self.project_key),)
        return await method(request, metadata=shown, timeout=30)

    async def code(self, method: Any, request: Message, *headers: Header) -> Code:  # noqa: ANN401
        """The code that a call is refused with."""
        return (await self.refusal(method, request, *headers)).code

    async def refusal(self, method: Any, request: Message, *headers: Header) -> SealgateError:  # noqa: ANN401
        """The error that a call is refused with."""
        return await self.refusal_of(self.call(method, request, *headers))

    async def refusal_of(self, call: Awaitable[Any]) -> SealgateError:
        """The error that a call on its way is refused with."""
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            return error_from_rpc(failure, "test")
        raise AssertionError("the call was not refused")

    async def call_until_available(self, method: Any, request: Message, *headers: Header) -> Any:  # noqa: ANN401
        """Calls as a customer who is told 503 does; a peer that is back is found within a second."""
        for _ in range(_ATTEMPTS_COUNT):
            try:
                return await self.call(method, request, *headers)
            except grpc.aio.AioRpcError as failure:
                if error_from_rpc(failure, "test").code is not Code.UNAVAILABLE:
                    raise
        raise AssertionError("it did not come back")

    async def passport(self, **fields: Any) -> tuple[str, bytes]:  # noqa: ANN401 - field values
        """The header of the passport that an exchange answers."""
        answer = await self.identities.ExchangeCredential(identity_pb2.ExchangeCredentialRequest(**fields))
        return ("sealgate-passport-bin", answer.passport.SerializeToString())

    async def account(self) -> str:
        """The id of a new account."""
        made = await self.call(self.accounts.CreateAccount, account_pb2.CreateAccountRequest())
        account_id: str = made.account.account_id
        return account_id

    async def session(self, account_id: str) -> session_pb2.IssuedSession:
        """A new session."""
        request = session_pb2.CreateSessionRequest(account_id=account_id)
        made: session_pb2.CreateSessionResponse = await self.call(self.sessions.CreateSession, request)
        return made.session

    async def current(self, token: str) -> session_pb2.GetCurrentSessionResponse:
        """Who a bearer token makes its bearer."""
        request = session_pb2.GetCurrentSessionRequest()
        answer: session_pb2.GetCurrentSessionResponse = await self.call(
            self.sessions.GetCurrentSession, request, bearer(token)
        )
        return answer

    async def current_code(self, *headers: Header) -> Code:
        """The code with which asking for the current session is refused."""
        return await self.code(
            self.sessions.GetCurrentSession, session_pb2.GetCurrentSessionRequest(), *headers
        )

    async def exchange(self, **fields: Any) -> passport_pb2.PassportClaims:  # noqa: ANN401 - field values
        """The claims of the passport that an exchange answers."""
        answer = await self.identities.ExchangeCredential(identity_pb2.ExchangeCredentialRequest(**fields))
        return passport_pb2.PassportClaims.FromString(answer.passport.claims)

    async def answered_to_page(self, **fields: Any) -> tuple[Code | None, str | None]:  # noqa: ANN401
        """The code that an exchange is refused with, and the page that may read the answer; None for none."""
        call = self.identities.ExchangeCredential(identity_pb2.ExchangeCredentialRequest(**fields))
        code = None
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            code = error_from_rpc(failure, "test").code
        said: dict[str, Any] = dict(await call.trailing_metadata())
        return code, said.get("access-control-allow-origin")

    async def exchange_code(self, **fields: Any) -> Code:  # noqa: ANN401 - field values
        """The code that an exchange is refused with."""
        request = identity_pb2.ExchangeCredentialRequest(**fields)
        return await self.code(self.identities.ExchangeCredential, request, ("x-none", ""))

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What a superuser reads or does."""
        connection = await asyncpg.connect(self._dsn, user="postgres")
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def allow_pages(self, *origins: str) -> None:
        """Gives the project these origins and no others."""
        values = ListValue(values=[Value(string_value=origin) for origin in origins])
        await self.call(self.projects.UpdateProject, project_pb2.UpdateProjectRequest(allowed_origins=values))

    async def set_project_status(self, status: str) -> None:
        """As an operator does."""
        request = operator_pb2.SetProjectStateRequest(
            project_id=self.project_id,
            status=passport_pb2.ProjectStatus.Value(f"PROJECT_STATUS_{status}"),
        )
        await self.operator.SetProjectState(request)


def bearer(token: str) -> tuple[str, str]:
    """The header of a bearer token."""
    return ("authorization", f"Bearer {token}")


@asynccontextmanager
async def auth_server(
    database_factory: DatabaseFactory,
    directory: Path,
    clock: FakeClock,
    ids: CountingIds,
    **rate_limits: int,
) -> AsyncIterator[AuthServer]:
    """Starts the service in a new directory below `directory` (short, private) with one project.

    `rate_limits` has calls a minute by class; nobody is limited otherwise.
    """
    home = Path(tempfile.mkdtemp(prefix="a", dir=directory))
    dsn = (await database_factory("auth")).dsn
    for use in ("passport", "session", "browser"):
        create_key(home / use, ids.seed(), 0)
    config = AuthConfig.model_validate(
        {
            "audience": AUDIENCE,
            "database": {"dsn": dsn, "pool_size_count": 5},
            "public": {"address": "127.0.0.1:0"},
            "internal": f"unix:{home}/auth.sock",
            "passport_key_dir": home / "passport",
            "session_key_dir": home / "session",
            "browser_key_dir": home / "browser",
            "keys_target": f"unix:{home}/keys.sock",
            # Time stands still, and tests make more calls than anybody makes in no time at all.
            "rate_limits": rate_limits_document(
                dict.fromkeys(RATE_CLASSES, RATE_LIMIT_MAX_PER_MINUTE_COUNT) | rate_limits
            ),
        }
    )
    keys = ScriptedKeys(home / "keys.sock")
    await keys.start()
    server = await build(config, clock, ids)
    await server.start()
    try:
        async with (
            open_channel(f"127.0.0.1:{server.public_port}") as public,
            open_channel(config.internal) as internal,
        ):
            running = AuthServer(public, internal, keys, dsn, clock, ids)
            await running.open_project()
            yield running
    finally:
        await server.stop()
        await keys.stop()

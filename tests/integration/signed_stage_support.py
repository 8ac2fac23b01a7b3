"""The stage of signed requests over a real database, with handlers that do what a test says."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.config import RateLimitsConfig
from chassis.db.pool import create_database
from chassis.db.signed_requests import remember_signer
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT
from chassis.methods import Method, method_table
from chassis.ratelimit import ProcessRateLimiter
from chassis.rpc import context as request_context
from chassis.rpc.bad_credentials import BadCredentials
from chassis.rpc.limiting import CallLimits
from chassis.rpc.signed import AfterCommit, SignedRequests, SignedStage
from chassis.rpc.signers import KnownSigner, Standing
from chassis.signing import Rejections, Role, Signer, SignerKind, Status
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import START_NS
from sealgate.common.v1 import passport_pb2
from sealgate.keys.v1 import session_signature_pb2, signing_key_pb2
from sealgate.wallet.v1 import signed_body_pb2, signed_pb2
from tests.signing_support import SigningKeyPair, key_pair, payload, request_id_at, sign_headers, sign_payload

AUDIENCE: Final = "stage.test"
ACCOUNT: Final = uuid.UUID("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001")
METHODS: Final = method_table(
    service
    for module in (signing_key_pb2, session_signature_pb2, signed_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
_WALLET: Final = "/sealgate.wallet.v1.SignedRequestService/"
CREATE_WALLET: Final = METHODS[_WALLET + "SubmitCreateWallet"]
WITHDRAW: Final = METHODS[_WALLET + "SubmitWithdraw"]
LIST_SESSIONS: Final = METHODS["/sealgate.keys.v1.SigningKeyService/SubmitListSessionKeys"]
CREATE_API_KEY: Final = METHODS["/sealgate.keys.v1.SessionSignatureService/CreateSessionApiKey"]

BODY: Final = signed_body_pb2.CreateWallet(subaccount_index=0, name="made")
REJECTIONS: Final = {
    CREATE_WALLET.full_name: Rejections(
        {Code.WALLET_NOT_FOUND: Status.ORDER_NOT_OPEN}, otherwise=Status.PORTFOLIO_INVALID
    ),
    CREATE_API_KEY.full_name: Rejections({}, otherwise=Status.SESSION_INVALID),
}

Handler = Callable[[Any, Any], Awaitable[Any]]


class LooseClock:
    """A clock that a test sets, to the past too."""

    def __init__(self) -> None:
        self.time_ns = START_NS

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody sleeps {seconds} s here")


@dataclasses.dataclass(slots=True)
class Directory:
    """The keys that a test made known, as a service's own directory would find them."""

    database: Database
    known: dict[tuple[uuid.UUID, bytes], KnownSigner] = dataclasses.field(default_factory=dict)

    async def known_signer(self, account_id: uuid.UUID, public_key: bytes) -> KnownSigner | None:
        known = self.known.get((account_id, public_key))
        if known is not None:
            await remember_signer(self.database, account_id, public_key)
        return known


def standing(**changes: Any) -> Standing:  # noqa: ANN401 - any of its fields
    """How an account stands with which nothing is wrong, but for `changes`."""
    good = Standing(
        project_id=uuid.UUID("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"),
        account_number=1,
        project_status=passport_pb2.PROJECT_STATUS_ACTIVE,
        account_status=passport_pb2.ACCOUNT_STATUS_ACTIVE,
        account_version=0,
        modules=frozenset({"signing", "wallet", "trading"}),
        allowed_origins=frozenset({"https://pages.example"}),
    )
    return dataclasses.replace(good, **changes)


class World:
    """One process that runs signed requests; others on the same database come from `beside`."""

    def __init__(
        self, fresh: FreshDatabase, database: Database, clock: LooseClock, directory: Directory
    ) -> None:
        self.fresh = fresh
        self.database = database
        self.clock = clock
        self.directory = directory
        self.after_commit: dict[int, AfterCommit] = {}
        self.serving: list[asyncio.Task[Any]] = []
        self.write_per_minute_count = RATE_LIMIT_MAX_PER_MINUTE_COUNT
        self.bad_credentials_per_minute_count = RATE_LIMIT_MAX_PER_MINUTE_COUNT
        self.pair = self.add_key("session")
        self._stages: dict[type[Message], SignedStage] = {}

    def add_key(self, label: str, **changes: Any) -> SigningKeyPair:  # noqa: ANN401 - fields of Signer
        """A session key of the account, unpinned and admin-rooted but for `changes`."""
        pair = key_pair(label)
        signer = Signer(
            account_id=changes.pop("account_id", ACCOUNT),
            public_key=pair.public_key,
            kind=changes.pop("kind", SignerKind.SESSION_KEY),
            role=changes.pop("role", Role.FULL_ACCESS),
            subaccount_index=changes.pop("subaccount_index", None),
            admin_rooted=changes.pop("admin_rooted", True),
            valid_until_ns=changes.pop("valid_until_ns", None),
        )
        known = KnownSigner(signer, standing(**changes))
        self.directory.known[signer.account_id, pair.public_key] = known
        return pair

    async def beside(self) -> World:
        """Another process on the same database; the test closes its `database`."""
        database = await create_database(self.fresh.dsn, pool_size_count=5, application_name="beside")
        return World(self.fresh, database, self.clock, Directory(database, self.directory.known))

    async def submit(
        self,
        handler: Handler,
        *,
        method: Method = CREATE_WALLET,
        request_id: uuid.UUID | None = None,
        body: Message = BODY,
        pair: SigningKeyPair | None = None,
        origin: str | None = None,
    ) -> Any:  # noqa: ANN401 - the method's answer
        """Signs and sends a request; raises what its sender is refused with."""
        request = self.signed(method, request_id or self.new_id(), body, pair or self.pair)
        return await self.send(handler, method, request, origin)

    def signed(
        self,
        method: Method,
        request_id: uuid.UUID,
        body: Message,
        pair: SigningKeyPair,
        account_id: uuid.UUID = ACCOUNT,
    ) -> Message:
        """The request message of a payload, or of headers, that `pair` has signed."""
        request_class = GetMessageClass(method.descriptor.input_type)
        if not method.takes_payload:
            binding = method.bindings[0]
            headers = sign_headers(
                pair, AUDIENCE, str(account_id), request_id, binding.verb, binding.template, b"{}"
            )
            return request_class(**headers.fields)
        signed = payload(method.request_type, request_id, body.SerializeToString(deterministic=True))
        return request_class(**sign_payload(pair, AUDIENCE, str(account_id), signed).fields)

    async def send(
        self, handler: Handler, method: Method, request: Message, origin: str | None = None
    ) -> Any:  # noqa: ANN401 - the method's answer
        """Lets the stage serve a request as a server would, in a task of its own."""
        served = request_context.RequestContext(
            uuid.UUID(int=0), method, origin=origin, client_address="192.0.2.1"
        )

        async def serve() -> Any:  # noqa: ANN401
            request_context.enter(served)
            wrapped: Any = self._stage(method).wrap(method, handler)
            return await wrapped(request, None)

        self.serving.append(asyncio.create_task(serve()))
        return await self.serving[-1]

    async def refusal(self, handler: Handler, **asked: Any) -> SealgateError:  # noqa: ANN401 - as `submit`
        """The error of a request that must fail."""
        with pytest.raises(SealgateError) as raised:
            await self.submit(handler, **asked)
        return raised.value

    def new_id(self) -> uuid.UUID:
        """A request id of now."""
        return request_id_at(self.clock.now_ns())

    async def note(self, text: str) -> None:
        """An effect: a row, in a transaction of its own as far as the handler knows."""
        async with self.database.transaction() as tx:
            await tx.execute("INSERT INTO note VALUES ($1)", text)

    async def notes(self) -> list[str]:
        return [row["text"] for row in await self.database.fetch("SELECT text FROM note ORDER BY text")]

    async def recorded_subaccount(self, request_id: uuid.UUID) -> int | None:
        """The subaccount that a request on record is about."""
        sql = "SELECT subaccount_index FROM request WHERE request_id = $1"
        found: int | None = await self.database.fetchval(sql, request_id)
        return found

    async def recorded_count(self) -> int:
        count: int = await self.database.fetchval("SELECT count(*) FROM request")
        return count

    async def as_owner(self, sql: str, *args: object) -> None:
        """What no service may do, by somebody who may do all."""
        connection = await asyncpg.connect(self.fresh.dsn_as())
        try:
            await connection.execute(sql, *args)
        finally:
            await connection.close()

    def _stage(self, method: Method) -> SignedStage:
        """That of the method's service, built when first used from what the test has said by then."""
        outcome_type: type[Message] = (
            signed_pb2.RequestOutcome
            if method.full_name.startswith(_WALLET)
            else signing_key_pb2.KeyRequestOutcome
        )
        if outcome_type not in self._stages:
            limiter = ProcessRateLimiter(self.clock)
            limits = RateLimitsConfig(write_per_minute_count=self.write_per_minute_count)
            self._stages[outcome_type] = SignedStage(
                SignedRequests(
                    database=self.database,
                    clock=self.clock,
                    audience=AUDIENCE,
                    directory=self.directory,
                    outcome_type=outcome_type,
                    rejections=REJECTIONS,
                    after_commit=self.after_commit,
                ),
                METHODS.values(),
                CallLimits(limits, self.clock, limiter),
                BadCredentials(self.bad_credentials_per_minute_count, limiter, self.clock),
            )
        return self._stages[outcome_type]


async def create_world(database_factory: DatabaseFactory) -> World:
    """A world over a fresh database of wallet's, in which handlers put rows into a table of their own."""
    fresh = await database_factory("wallet")
    world = World(fresh, fresh.database, LooseClock(), Directory(fresh.database))
    await world.as_owner(
        "CREATE TABLE note (text text PRIMARY KEY); GRANT SELECT, INSERT, UPDATE ON note TO sealgate_wallet"
    )
    return world


async def complete(request: object, context: object) -> Message:
    """A handler that does nothing but succeed."""
    del request, context
    wallet = signed_body_pb2.SubaccountWallet(name="made")
    return signed_pb2.SubmitCreateWalletResponse(wallet=wallet)


async def unreached(request: object, context: object) -> Message:
    """A handler that must not run."""
    raise AssertionError("the handler ran")

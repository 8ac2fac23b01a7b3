"""The whole keys service on real sockets and a real database, beside an auth and a wallet service that do
as told.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import Code, SealgateError
from chassis.identity import PassportSigner
from chassis.keyring import KeyRing, SigningKey
from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT
from chassis.rpc.client import open_channel
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from cli.rate_limits import RATE_CLASSES, rate_limits_document
from sealgate.auth.v1 import identity_pb2, signer_pb2
from sealgate.auth.v1.identity_pb2_grpc import IdentityServiceServicer, add_IdentityServiceServicer_to_server
from sealgate.auth.v1.signer_pb2_grpc import SignerServiceServicer, add_SignerServiceServicer_to_server
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.keys.v1 import signer_facts_pb2, signing_key_pb2
from sealgate.wallet.v1 import signer_fence_pb2
from sealgate.wallet.v1.signer_fence_pb2_grpc import (
    SignerFenceServiceServicer,
    add_SignerFenceServiceServicer_to_server,
)
from services.keys.app import build
from services.keys.config import KeysConfig
from tests.signing_support import (
    ADMIN,
    FULL_ACCESS,
    NEVER,
    UNPINNED,
    SigningKeyPair,
    new_pair,
    payload,
    possession,
    request_id_at,
    sign_payload,
)

AUDIENCE: Final = "keys.test"
PROJECT_ID: Final = "0189abcd-0000-7000-8000-000000000001"
ACCOUNT_ID: Final = "0189abcd-0000-7000-8000-000000000002"
OTHER_ACCOUNT_ID: Final = "0189abcd-0000-7000-8000-000000000003"
COMPLETED: Final = "request_completed"

_SERVICE: Final = signing_key_pb2.DESCRIPTOR.services_by_name["SigningKeyService"]
_REQUEST_TYPES: Final = {
    "SubmitMintSessionKey": 13,
    "SubmitRevokeSessionKey": 14,
    "SubmitLogout": 14,
    "SubmitAddMasterKey": 28,
    "SubmitRemoveMasterKey": 29,
    "SubmitListSessionKeys": 47,
}

Context = grpc.aio.ServicerContext[Any, Any]


class ScriptedAuth(IdentityServiceServicer, SignerServiceServicer):
    """The auth service as keys sees it: every account stands well unless a test says otherwise."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self.standings: dict[str, signer_pb2.AccountStanding | None] = {}

    async def ListPassportKeys(  # noqa: N802 - gRPC gives the methods their names
        self, request: identity_pb2.ListPassportKeysRequest, context: Context
    ) -> identity_pb2.ListPassportKeysResponse:
        """The keys that the test's passports are signed with."""
        keys = [
            identity_pb2.PassportKey(kid=kid, public_key=public_key)
            for kid, public_key in self._ring.public_keys().items()
        ]
        return identity_pb2.ListPassportKeysResponse(keys=keys)

    async def ExchangeCredential(  # noqa: N802 - gRPC gives the methods their names
        self, request: identity_pb2.ExchangeCredentialRequest, context: Context
    ) -> identity_pb2.ExchangeCredentialResponse:
        """No test shows a credential: passports come from the test itself."""
        raise NotImplementedError

    async def ResolveSigner(  # noqa: N802 - gRPC gives the methods their names
        self, request: signer_pb2.ResolveSignerRequest, context: Context
    ) -> signer_pb2.ResolveSignerResponse:
        """How the account stands; the keys' facts are never asked for."""
        assert request.public_key == b""
        standing = self.standings.get(request.account_id, standing_of())
        return signer_pb2.ResolveSignerResponse(standing=standing)


class ScriptedWallet(SignerFenceServiceServicer):
    """The wallet service as keys sees it: it notes what it is told, while it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: grpc.aio.Server | None = None
        self.stopped: set[tuple[str, bytes]] = set()
        self.requiring: set[str] = set()
        self.refused_account_id: str | None = None
        self.calls_count = 0

    async def FenceSigners(  # noqa: N802 - gRPC gives the methods their names
        self, request: signer_fence_pb2.FenceSignersRequest, context: Context
    ) -> signer_fence_pb2.FenceSignersResponse:
        """Notes the keys, unless they are of the account that it cannot serve."""
        self.calls_count += 1
        if request.account_id == self.refused_account_id:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        self.stopped.update((request.account_id, key) for key in request.public_keys)
        return signer_fence_pb2.FenceSignersResponse()

    async def RequireSignatures(  # noqa: N802 - gRPC gives the methods their names
        self, request: signer_fence_pb2.RequireSignaturesRequest, context: Context
    ) -> signer_fence_pb2.RequireSignaturesResponse:
        """Notes the account."""
        self.calls_count += 1
        self.requiring.add(request.account_id)
        return signer_fence_pb2.RequireSignaturesResponse()

    async def start(self) -> None:
        """Serves on the socket."""
        self._server = grpc.aio.server()
        add_SignerFenceServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()

    async def stop(self) -> None:
        """Is gone, until started again."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


class KeysServer:
    """The running service, what stands beside it, and ways to sign, to read and to look inside."""

    def __init__(
        self,
        public: grpc.aio.Channel,
        internal: grpc.aio.Channel,
        auth: ScriptedAuth,
        wallet: ScriptedWallet,
        ring: KeyRing,
        dsn: str,
        clock: FakeClock,
    ) -> None:
        self.public = public
        self.internal = internal
        self.auth = auth
        self.wallet = wallet
        self.clock = clock
        self._passports = PassportSigner(ring, clock)
        self._dsn = dsn

    def signed(
        self,
        rpc: str,
        pair: SigningKeyPair,
        body: Message,
        *,
        account_id: str = ACCOUNT_ID,
        request_id: uuid.UUID | None = None,
    ) -> Message:
        """The signed request of a method of `SigningKeyService`."""
        used_id = request_id or request_id_at(self.clock.now_ns())
        data = payload(_REQUEST_TYPES[rpc], used_id, body.SerializeToString(deterministic=True))
        sent = sign_payload(pair, AUDIENCE, account_id, data)
        request: Any = GetMessageClass(_SERVICE.methods_by_name[rpc].input_type)
        made: Message = request(**sent.fields)
        return made

    async def send(self, rpc: str, request: Message) -> Any:  # noqa: ANN401
        """The answer to a signed request; raises the SealgateError of what is not answered 200."""
        return await self._call(self.public, rpc, request, ())

    async def submit(
        self,
        rpc: str,
        pair: SigningKeyPair,
        body: Message,
        *,
        status: str = COMPLETED,
        account_id: str = ACCOUNT_ID,
        request_id: uuid.UUID | None = None,
    ) -> Any:  # noqa: ANN401
        """Signs and sends; the answer, which must have this status."""
        answer = await self.send(
            rpc, self.signed(rpc, pair, body, account_id=account_id, request_id=request_id)
        )
        assert answer.status == status, answer
        return answer

    async def code(self, rpc: str, request: Message, **claims: Any) -> Code:  # noqa: ANN401
        """The code with which a request is refused; one with `claims` comes with a passport."""
        try:
            if claims:
                await self.ask(rpc, request, **claims)
            else:
                await self.send(rpc, request)
        except SealgateError as error:
            return error.code
        raise AssertionError("the call was not refused")

    async def ask(self, rpc: str, request: Message, *headers: tuple[str, str], **claims: Any) -> Any:  # noqa: ANN401
        """The answer to a request with a passport; raises the SealgateError of a refusal."""
        passport = self._passports.sign(self._claims(**claims)).SerializeToString()
        metadata = (("sealgate-passport-bin", passport), *headers)
        return await self._call(self.internal, rpc, request, metadata)

    async def register(
        self, pair: SigningKeyPair, *headers: tuple[str, str], account_id: str = ACCOUNT_ID
    ) -> signing_key_pb2.RegisteredMasterKey:
        """Registers an account's first master key, as the project does."""
        request = registration(pair, account_id)
        answer = await self.ask("RegisterMasterKey", request, *headers, **as_project(account_id))
        key: signing_key_pb2.RegisteredMasterKey = answer.master_key
        return key

    async def mint(
        self,
        master: SigningKeyPair,
        pair: SigningKeyPair | None = None,
        *,
        scope: int = UNPINNED,
        valid_until_ns: int = NEVER,
        account_id: str = ACCOUNT_ID,
    ) -> SigningKeyPair:
        """A new session key."""
        made = pair or new_pair()
        body = minting(made, scope=scope, valid_until_ns=valid_until_ns)
        await self.submit("SubmitMintSessionKey", master, body, account_id=account_id)
        return made

    async def add_master(
        self,
        by: SigningKeyPair,
        *,
        reach: int = ADMIN,
        role: int = FULL_ACCESS,
        subaccount_index: int = 0,
    ) -> SigningKeyPair:
        """A further master key."""
        made = new_pair()
        body = addition(made, reach=reach, role=role, subaccount_index=subaccount_index)
        await self.submit("SubmitAddMasterKey", by, body)
        return made

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What a superuser reads or does."""
        connection = await asyncpg.connect(self._dsn, user="postgres")
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def pass_until(self, sql: str) -> None:
        """Lets time pass until a query finds nothing: what the server does by itself has then been done."""
        while await self.rows(sql):
            self.clock.advance(seconds=1)

    async def _call(
        self, channel: grpc.aio.Channel, rpc: str, request: Message, metadata: tuple[Any, ...]
    ) -> Any:  # noqa: ANN401
        method = _SERVICE.methods_by_name[rpc]
        stub: Any = channel.unary_unary(
            f"/{_SERVICE.full_name}/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        try:
            return await stub(request, metadata=metadata, timeout=30)
        except grpc.aio.AioRpcError as failure:
            raise error_from_rpc(failure, rpc) from None

    def _claims(self, **fields: Any) -> passport_pb2.PassportClaims:  # noqa: ANN401
        now_ns = self.clock.now_ns()
        return passport_pb2.PassportClaims(
            **{
                "audience": AUDIENCE,
                "project_id": PROJECT_ID,
                "account_id": ACCOUNT_ID,
                "account_number": 1,
                "credential_kind": method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_SESSION,
                "credential_id": "0189abcd-0000-7000-8000-000000000009",
                "scopes": ("account:read",),
                "modules": ("signing",),
                "channel": passport_pb2.CHANNEL_SERVER,
                "issued_at_ns": now_ns,
                "expires_at_ns": now_ns + 30_000_000_000,
                "project_status": passport_pb2.PROJECT_STATUS_ACTIVE,
                "account_status": passport_pb2.ACCOUNT_STATUS_ACTIVE,
                "account_version": 0,
                **fields,
            }
        )


def as_project(account_id: str = ACCOUNT_ID) -> dict[str, Any]:
    """The claims of a project key that acts on an account."""
    kind = method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY
    return {"credential_kind": kind, "account_id": account_id, "scopes": ()}


def standing_of(**fields: Any) -> signer_pb2.AccountStanding:  # noqa: ANN401
    """An account in good standing, apart from what `fields` say."""
    return signer_pb2.AccountStanding(
        **{
            "project_id": PROJECT_ID,
            "account_number": 1,
            "project_status": passport_pb2.PROJECT_STATUS_ACTIVE,
            "account_status": passport_pb2.ACCOUNT_STATUS_ACTIVE,
            "modules": ("signing",),
            **fields,
        }
    )


def registration(
    pair: SigningKeyPair, account_id: str = ACCOUNT_ID
) -> signing_key_pb2.RegisterMasterKeyRequest:
    """What registers a key as an account's first master key."""
    return signing_key_pb2.RegisterMasterKeyRequest(
        account_id=account_id,
        public_key=pair.public_key,
        possession_signature=possession(pair, AUDIENCE, account_id),
    )


def minting(
    pair: SigningKeyPair, *, scope: int = UNPINNED, valid_until_ns: int = NEVER
) -> signing_key_pb2.MintSessionKey:
    """What a master key signs to mint a session key."""
    return signing_key_pb2.MintSessionKey(
        public_key=pair.public_key, scope=scope, valid_until_ns=valid_until_ns
    )


def addition(
    pair: SigningKeyPair,
    *,
    reach: int = ADMIN,
    role: int = FULL_ACCESS,
    subaccount_index: int = 0,
    account_id: str = ACCOUNT_ID,
) -> signing_key_pb2.AddMasterKey:
    """What a master key signs to add another."""
    return signing_key_pb2.AddMasterKey(
        public_key=pair.public_key,
        reach=signer_facts_pb2.MasterKeyReach.ValueType(reach),
        role=signer_facts_pb2.SigningRole.ValueType(role),
        subaccount_index=subaccount_index,
        possession_signature=possession(pair, AUDIENCE, account_id),
    )


def revocation(pair: SigningKeyPair, *, include_api_keys: bool = False) -> signing_key_pb2.RevokeSessionKey:
    """What a key signs to revoke a session key."""
    return signing_key_pb2.RevokeSessionKey(public_key=pair.public_key, include_api_keys=include_api_keys)


def removal(pair: SigningKeyPair) -> signing_key_pb2.RemoveMasterKey:
    """What a master key signs to remove one."""
    return signing_key_pb2.RemoveMasterKey(public_key=pair.public_key)


@asynccontextmanager
async def keys_server(
    database_factory: DatabaseFactory,
    directory: Path,
    clock: FakeClock,
    ids: CountingIds,
    **settings: int,
) -> AsyncIterator[KeysServer]:
    """Starts the service in a new directory below `directory` (short, private); `settings` are its caps."""
    home = Path(tempfile.mkdtemp(prefix="k", dir=directory))
    dsn = (await database_factory("keys")).dsn
    config = KeysConfig.model_validate(
        {
            "audience": AUDIENCE,
            "database": {"dsn": dsn, "pool_size_count": 8},
            "public": {"address": "127.0.0.1:0"},
            "internal": f"unix:{home}/keys.sock",
            "auth_target": f"unix:{home}/auth.sock",
            "wallet_target": f"unix:{home}/wallet.sock",
            # Time stands still, and tests make more calls than anybody makes in no time at all.
            "rate_limits": rate_limits_document(dict.fromkeys(RATE_CLASSES, RATE_LIMIT_MAX_PER_MINUTE_COUNT)),
            **settings,
        }
    )
    ring = KeyRing([SigningKey.from_seed(bytes([1]) * 32, 1)])
    auth = ScriptedAuth(ring)
    auth_listener = grpc.aio.server()
    add_IdentityServiceServicer_to_server(auth, auth_listener)
    add_SignerServiceServicer_to_server(auth, auth_listener)
    auth_listener.add_insecure_port(f"unix:{home}/auth.sock")
    await auth_listener.start()
    wallet = ScriptedWallet(home / "wallet.sock")
    await wallet.start()
    server = await build(config, clock, ids)
    await server.start()
    try:
        async with (
            open_channel(f"127.0.0.1:{server.public_port}") as public,
            open_channel(config.internal) as internal,
        ):
            yield KeysServer(public, internal, auth, wallet, ring, dsn, clock)
    finally:
        await server.stop()
        await asyncio.gather(wallet.stop(), auth_listener.stop(None))

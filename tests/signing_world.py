"""An account of the running platform whose owner has signing keys, and the ways to send what they sign."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.methods import HttpBinding, Method
from edge.routes import variable_names
from sealgate.keys.v1 import signer_facts_pb2 as facts_pb2
from sealgate.keys.v1 import signing_key_pb2 as keys_pb2
from tests.cluster import AUDIENCE, Cluster
from tests.described import METHODS
from tests.platform_support import World, good, make_world
from tests.signing_support import (
    ADMIN,
    FULL_ACCESS,
    NEVER,
    SCOPED,
    TRADING_ONLY,
    UNPINNED,
    SignedHeaders,
    SignedPayload,
    SigningKeyPair,
    base64_of,
    new_pair,
    payload,
    possession,
    request_id_at,
    sign_headers,
    sign_payload,
)

COMPLETED: Final = "request_completed"
NO_VARIABLES: Final[Mapping[str, str]] = {}
SIGNED_METHODS: Final[Mapping[str, Method]] = {
    method.descriptor.name: method for method in METHODS.values() if method.is_signed
}
"""The methods that take signatures, by their own names."""


@dataclass(frozen=True, slots=True)
class Signing:
    """An account with an ADMIN, FULL_ACCESS master key, and ways to sign with any key.

    `world` has the account's other credentials. `pairs` are the keys that `make_signing` was asked for.
    """

    world: World
    master: SigningKeyPair
    pairs: dict[str, SigningKeyPair] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster:
        """The platform."""
        return self.world.cluster

    @property
    def account_id(self) -> str:
        """The account's UUID."""
        return self.world.tenant.account_id

    @property
    def session(self) -> SigningKeyPair:
        """An admin-rooted session key: unpinned, minted by the ADMIN master."""
        return self.pairs["session"]

    def request_id(self, *, ahead_ns: int = 0) -> uuid.UUID:
        """A new request id of the platform's time and so much; milliseconds are what it can tell."""
        return request_id_at(self.cluster.clock.now_ns() + ahead_ns)

    def signed(
        self,
        rpc: str,
        pair: SigningKeyPair,
        body: Message | None = None,
        *,
        request_id: uuid.UUID | None = None,
        account_id: str | None = None,
        audience: str = AUDIENCE,
    ) -> SignedPayload:
        """The payload of a method such as `SubmitPlaceOrder`, signed; its body is empty unless given."""
        data = b"" if body is None else body.SerializeToString(deterministic=True)
        request_type = SIGNED_METHODS[rpc].request_type
        whole = payload(request_type, request_id or self.request_id(), data)
        return sign_payload(pair, audience, account_id or self.account_id, whole)

    def signed_headers(
        self,
        rpc: str,
        pair: SigningKeyPair,
        body: bytes = b"",
        *,
        request_id: uuid.UUID | None = None,
        audience: str = AUDIENCE,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> SignedHeaders:
        """A request of a method such as `CreateDeviceKey`, signed in its headers."""
        [binding] = SIGNED_METHODS[rpc].bindings
        target = _path(binding, variables)
        used_id = request_id or self.request_id()
        return sign_headers(pair, audience, self.account_id, used_id, binding.verb, target, body)

    async def post(self, rpc: str, signed: SignedPayload, **headers: str) -> httpx.Response:
        """Sends a signed payload over REST."""
        [binding] = SIGNED_METHODS[rpc].bindings
        return await self.cluster.rest("POST", binding.template, json=signed.json, **headers)

    async def send(self, signed: SignedHeaders, **headers: str) -> httpx.Response:
        """Sends a request that is signed in its headers over REST; `headers` come on top."""
        named = signed.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if signed.body:
            named = {"Content-Type": "application/json"} | named
        http = self.cluster.http
        return await http.request(signed.verb, signed.target, content=signed.body, headers=named)

    async def deliver(
        self, rpc: str, signed: SignedPayload | SignedHeaders, **headers: str
    ) -> httpx.Response:
        """Sends a signed request of either sort over REST."""
        if isinstance(signed, SignedPayload):
            return await self.post(rpc, signed, **headers)
        return await self.send(signed, **headers)

    async def call(
        self,
        rpc: str,
        signed: SignedPayload | SignedHeaders,
        *metadata: tuple[str, str],
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> Any:  # noqa: ANN401
        """Sends it over gRPC to the service itself; raises AioRpcError for what is no 200."""
        method = SIGNED_METHODS[rpc]
        message = GetMessageClass(method.descriptor.input_type)(**signed.fields, **variables)
        stub: Any = self.cluster.public[method.full_name.split(".")[1]].unary_unary(
            method.full_name,
            request_serializer=type(message).SerializeToString,
            response_deserializer=GetMessageClass(method.descriptor.output_type).FromString,
        )
        return await stub(message, metadata=metadata, timeout=30)

    async def submit(
        self,
        rpc: str,
        pair: SigningKeyPair,
        body: Message | None = None,
        *,
        request_id: uuid.UUID | None = None,
        status: str = COMPLETED,
    ) -> Any:  # noqa: ANN401
        """Signs and posts a payload; the answer, which must be a 200 of this status."""
        return answered(await self.post(rpc, self.signed(rpc, pair, body, request_id=request_id)), status)

    async def submit_headers(
        self,
        rpc: str,
        pair: SigningKeyPair,
        body: bytes = b"",
        *,
        status: str = COMPLETED,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> Any:  # noqa: ANN401
        """Signs a request in its headers and sends it; the answer, which must be a 200 of this status."""
        return answered(await self.send(self.signed_headers(rpc, pair, body, variables=variables)), status)

    async def mint(
        self,
        *,
        master: SigningKeyPair | None = None,
        scope: int = UNPINNED,
        valid_until_ns: int = NEVER,
        pair: SigningKeyPair | None = None,
    ) -> SigningKeyPair:
        """A new live session key: unpinned, for ever and of the ADMIN master unless told otherwise."""
        made = pair or new_pair()
        body = keys_pb2.MintSessionKey(public_key=made.public_key, scope=scope, valid_until_ns=valid_until_ns)
        await self.submit("SubmitMintSessionKey", master or self.master, body)
        return made

    async def add_master(
        self,
        *,
        reach: int = ADMIN,
        role: int = FULL_ACCESS,
        subaccount_index: int = 0,
        pair: SigningKeyPair | None = None,
    ) -> SigningKeyPair:
        """A further master key, ADMIN and FULL_ACCESS unless told otherwise."""
        made = pair or new_pair()
        body = keys_pb2.AddMasterKey(
            public_key=made.public_key,
            reach=facts_pb2.MasterKeyReach.ValueType(reach),
            role=facts_pb2.SigningRole.ValueType(role),
            subaccount_index=subaccount_index,
            possession_signature=possession(made, AUDIENCE, self.account_id),
        )
        await self.submit("SubmitAddMasterKey", self.master, body)
        return made


def _path(binding: HttpBinding, variables: Mapping[str, str]) -> str:
    path = binding.template
    for name in variable_names(path):
        path = path.replace(f"{{{name}}}", variables[name])
    return path


def answered(answer: httpx.Response, status: str = COMPLETED) -> Any:  # noqa: ANN401
    """The body of an answer to an authenticated signed request, which must have this status."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["status"] == status, answer.text
    assert body["success"] is (status == COMPLETED)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    return body


async def register_master(world: World, pair: SigningKeyPair) -> httpx.Response:
    """Registers an account's first master key with the project key."""
    account_id = world.tenant.account_id
    signature = possession(pair, AUDIENCE, account_id)
    sent = {"public_key": pair.text, "possession_signature": base64_of(signature)}
    return await world.by_project("POST", world.account("/master-key"), sent)


async def make_signing(cluster: Cluster, *modules: str, with_session: bool = True) -> Signing:
    """A project of the test's own whose account has a master key, and unless told otherwise a session."""
    world = await make_world(cluster, *modules)
    made = Signing(world, new_pair())
    good(await register_master(world, made.master), 201)
    if with_session:
        made.pairs["session"] = await made.mint()
    return made


async def make_every_signer(cluster: Cluster) -> Signing:
    """As `make_signing`, with a key of every sort in `pairs`.

    Masters: `scoped` (to subaccount 1), `trading_only` (ADMIN). Sessions: `session` (admin-rooted), `pinned`
    (to subaccount 0), `pinned_elsewhere` (to 1), `scoped_root` (unpinned, of `scoped`), `trading` (unpinned,
    of `trading_only`).
    """
    made = await make_signing(cluster)
    scoped = await made.add_master(reach=SCOPED, subaccount_index=1)
    trading_only = await made.add_master(role=TRADING_ONLY)
    made.pairs.update(
        master=made.master,
        scoped=scoped,
        trading_only=trading_only,
        pinned=await made.mint(scope=0),
        pinned_elsewhere=await made.mint(scope=1),
        scoped_root=await made.mint(master=scoped),
        trading=await made.mint(master=trading_only),
    )
    return made

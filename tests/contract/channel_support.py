"""Calls of every method over REST and over gRPC, told in one way, and a web page that makes some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import httpx
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import ERROR_TABLE
from chassis.methods import Method
from chassis.rpc.errors import error_from_rpc
from chassis.rpc.metadata import ALLOW_ORIGIN
from edge.present import answer_encoder
from edge.routes import variable_names
from edge.translate import request_decoder
from tests.cluster import Cluster
from tests.contract.good_calls import METHODS, request_parts
from tests.platform_support import World, good
from tests.signing_support import SignedHeaders, SignedPayload
from tests.signing_world import SIGNED_METHODS, Signing

PAGE: Final = "https://shop.example"
SECOND_PAGE: Final = "http://localhost:3000"
UNLISTED_PAGE: Final = "https://evil.example"
SESSIONS: Final = "/api/v1/sessions"
REST, GRPC = "REST", "gRPC"
TRANSPORTS: Final = (REST, GRPC)
BY_RPC: Final[Mapping[str, Method]] = {method.descriptor.name: method for method in METHODS.values()}
"""The methods that take credentials or none, by their own names."""
PAGE_SCOPES: Final = ("account:read", "wallet:read", "wallet:write", "orders:write")
"""All that a key for pages may have."""
HOUR_SECONDS: Final = 3600

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What both transports say: `OK` or the refusal's code, its details' paths, headers, the JSON body."""

    code: str
    status: int
    paths: tuple[str, ...]
    headers: Mapping[str, str]
    body: Any

    @property
    def page(self) -> str | None:
        """The page that may read it; None for none."""
        return self.headers.get(ALLOW_ORIGIN)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls the platform over one of the two transports."""

    cluster: Cluster
    transport: str

    async def ask(self, rpc: str, headers: Headers, **fields: Any) -> Answer:  # noqa: ANN401
        """The answer of a method such as `CreateWallet`, refusals included."""
        method = BY_RPC[rpc]
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        variables, query, body = request_parts(method.bindings[0], fields)
        if self.transport == REST:
            return await self._over_rest(method, pairs, variables, query, body)
        names = variable_names(method.bindings[0].template)
        message = request_decoder(method, method.bindings[0], names)(variables, query.encode(), body)
        return await self._over_grpc(method, message, pairs)

    async def ask_signed(
        self, signing: Signing, rpc: str, signed: SignedPayload | SignedHeaders, **headers: str
    ) -> Answer:
        """The answer of a signed method such as `SubmitCreateWallet`."""
        if self.transport == REST:
            return told(await signing.deliver(rpc, signed, **headers))
        method = SIGNED_METHODS[rpc]
        message = GetMessageClass(method.descriptor.input_type)(**signed.fields)
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await self._over_grpc(method, message, named)

    async def _over_rest(
        self, method: Method, headers: list[tuple[str, str]], variables: list[str], query: str, body: bytes
    ) -> Answer:
        binding = method.bindings[0]
        path = binding.template
        for name, value in zip(variable_names(path), variables, strict=True):
            path = path.replace(f"{{{name}}}", value)
        more = [("content-type", "application/json")] if body else []
        url = f"{path}?{query}" if query else path
        sent = [(name.encode(), value.encode()) for name, value in headers + more]
        return told(await self.cluster.http.request(binding.verb, url, content=body, headers=sent))

    async def _over_grpc(self, method: Method, message: Any, headers: list[tuple[str, str]]) -> Answer:  # noqa: ANN401
        stub: Any = self.cluster.public[method.full_name.split(".")[1]].unary_unary(
            method.full_name,
            request_serializer=type(message).SerializeToString,
            response_deserializer=GetMessageClass(method.descriptor.output_type).FromString,
        )
        call = stub(message, metadata=tuple(headers), timeout=30)
        try:
            response = await call
        except grpc.aio.AioRpcError as failure:
            error = error_from_rpc(failure, method.full_name)
            paths = tuple(detail.path for detail in error.details)
            headers_said = texts(failure.trailing_metadata())
            return Answer(error.code.value, ERROR_TABLE[error.code].http_status, paths, headers_said, None)
        body = json.loads(answer_encoder(method)(response))
        return Answer("OK", method.success_status, (), texts(await call.trailing_metadata()), body)


def texts(pairs: Any) -> dict[str, str]:  # noqa: ANN401  (grpc's own type says less than it gives)
    """The texts of a call's metadata."""
    return {name: value for name, value in pairs or () if isinstance(value, str)}


def told(answer: httpx.Response) -> Answer:
    """An answer over REST, of any family."""
    body = answer.json()
    if answer.status_code < 400:
        return Answer("OK", answer.status_code, (), answer.headers, body)
    error = body["error"]
    paths = tuple(detail["path"] for detail in error["details"])
    return Answer(error["code"], answer.status_code, paths, answer.headers, None)


@dataclass(frozen=True, slots=True)
class Page:
    """A web page with an account's API key, and the token of a browser session unless that is empty."""

    world: World
    public_key: str
    secret_key: str
    origin: str = PAGE
    token: str = ""

    @property
    def reading(self) -> dict[str, str]:
        """The headers of a request without a browser session."""
        return {"x-api-key": self.secret_key, "origin": self.origin}

    @property
    def writing(self) -> dict[str, str]:
        """The headers of a request with the browser session."""
        return self.reading | {"x-session-token": self.token}

    async def change_key(self, **fields: object) -> None:
        """Changes name, scopes or origins of the key with the project key."""
        path = self.world.account(f"/api-key/{self.public_key}")
        good(await self.world.by_project("PUT", path, fields))

    async def delete_key(self) -> None:
        """Deletes the key with the project key."""
        good(await self.world.by_project("DELETE", self.world.account(f"/api-key/{self.public_key}")))


async def mint(cluster: Cluster, secret_key: str, origin: str = PAGE) -> str:
    """A browser session token of a key and origin."""
    answer = await cluster.rest("POST", SESSIONS, x_api_key=secret_key, origin=origin)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["sessionToken"])


async def make_page(
    world: World, *, origins: Sequence[str] = (PAGE,), scopes: Sequence[str] = PAGE_SCOPES, **fields: object
) -> Page:
    """A page at the first of the origins, with a new key of the world's account and a browser session."""
    made = await world.cluster.api_key(world.tenant, origins=list(origins), scopes=list(scopes), **fields)
    token = await mint(world.cluster, made["secret_key"], origins[0])
    return Page(world, made["public_key"], made["secret_key"], origins[0], token)

"""A part that does not answer: a named 503, never a 401 for a good credential, never a false yes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest

from chassis.errors import Code
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from sealgate.keys.v1 import signing_key_pb2 as keys_pb2
from tests.cluster import Cluster
from tests.platform_support import (
    ANY_PAGE,
    BAD_TOKEN,
    UNKNOWN_SECRET,
    World,
    good,
    make_world,
    private_cluster,
    refused,
    sql,
)
from tests.signing_support import SigningKeyPair, new_pair
from tests.signing_world import make_signing, register_master

PROJECT: Final = "/api/v1/project"
CURRENT: Final = "/api/v1/account/session"
WALLETS: Final = "/api/v1/wallets"


@pytest.fixture
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of the test's own: its parts are stopped."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def unavailable(answer: httpx.Response) -> None:
    refused(answer, 503, "UNAVAILABLE", retry_after="1")


class Hanging(grpc.GenericRpcHandler):
    """Whatever is called is taken, and never answered."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """See `grpc.GenericRpcHandler.service`."""
        del handler_call_details
        return grpc.unary_unary_rpc_method_handler(self._hang)

    async def _hang(self, request: bytes, context: object) -> bytes:
        await asyncio.Event().wait()
        return b""


@asynccontextmanager
async def hung(cluster: Cluster, name: str) -> AsyncIterator[None]:
    """The service is gone, and in its place is one that hangs."""
    await cluster.servers.pop(name).stop()
    server = grpc.aio.server(handlers=[Hanging()])
    server.add_insecure_port(f"unix:{cluster.directory}/{name}.sock")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def test_wallet_service_is_missed_by_its_own_routes_alone(world: World) -> None:
    """Everything else goes on, and the probe says that not all is well."""
    good(await world.by_key("GET", WALLETS))
    assert (await world.cluster.rest("GET", "/readyz")).json() == {"status": "ok"}
    await world.cluster.servers.pop("wallet").stop()
    unavailable(await world.by_key("GET", WALLETS))
    answer = await world.cluster.rest("GET", "/readyz")
    refused(answer, 503, "UNAVAILABLE", paths=["wallet"], retry_after="1", page=ANY_PAGE)
    assert (await world.cluster.rest("GET", "/healthz")).json() == {"status": "ok"}
    good(await world.by_key("GET", CURRENT))
    good(await world.by_project("POST", world.account("/session")), 201)
    # Who cannot say who they are is told so all the same.
    refused(
        await world.cluster.rest("GET", WALLETS, x_api_key=UNKNOWN_SECRET),
        401,
        "API_KEY_INVALID",
        challenge=BAD_TOKEN,
    )


async def test_keys_service_is_missed_by_keys_and_not_by_sessions(world: World) -> None:
    """A good key is not called bad because nobody can look it up; a revocation says that it is not whole."""
    await world.cluster.servers.pop("keys").stop()
    unavailable(await world.by_project("GET", PROJECT))
    unavailable(await world.by_key("GET", WALLETS))
    unavailable(await world.cluster.rest("GET", WALLETS, x_api_key=UNKNOWN_SECRET))
    good(await world.by_session("GET", WALLETS))
    assert good(await world.by_session("POST", f"{CURRENT}/expire")) == {"expired": True}
    refused(await world.by_session("GET", WALLETS), 401, "SESSION_INVALID", challenge=BAD_TOKEN)


async def test_auth_service_is_missed_by_everybody(world: World) -> None:
    """No identity outlives the request it was made for, and nobody is called a stranger."""
    for answer in await asyncio.gather(
        world.by_key("GET", WALLETS), world.by_session("GET", WALLETS), world.by_project("GET", PROJECT)
    ):
        good(answer)
    await world.cluster.servers.pop("auth").stop()
    unavailable(await world.by_project("GET", PROJECT))
    unavailable(await world.by_key("GET", WALLETS))
    unavailable(await world.by_session("GET", WALLETS))
    unavailable(await world.cluster.rest("GET", WALLETS, authorization="Bearer nonsense"))
    # What needs nobody to decide it is decided.
    answer = await world.cluster.rest("GET", WALLETS, authorization="Basic nonsense")
    refused(answer, 401, "SESSION_INVALID", challenge=BAD_TOKEN)
    refused(await world.by_project("GET", "/nowhere"), 404, "ROUTE_NOT_FOUND")


async def test_wallet_service_that_hangs_is_missed_by_what_it_has_to_be_told(cluster: Cluster) -> None:
    """503 over both, before the time of the edge ends: what was done stands, and nothing is in doubt."""
    made = await make_signing(cluster, with_session=False)
    removed, revoked, logging_out, direct = (
        await made.add_master(),
        await made.mint(),
        await made.mint(),
        await made.mint(),
    )
    other = await make_world(cluster)

    async def post(rpc: str, pair: SigningKeyPair, body: Any) -> httpx.Response:  # noqa: ANN401
        return await made.post(rpc, made.signed(rpc, pair, body))

    def revocation(pair: SigningKeyPair) -> keys_pb2.RevokeSessionKey:
        return keys_pb2.RevokeSessionKey(public_key=pair.public_key)

    async def revoked_directly() -> Code:
        rpc = "SubmitRevokeSessionKey"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await made.call(rpc, made.signed(rpc, made.master, revocation(direct)))
        return error_from_rpc(failed.value, rpc).code

    async with hung(cluster, "wallet"):
        code, *answers = await asyncio.gather(
            revoked_directly(),
            post("SubmitRevokeSessionKey", made.master, revocation(revoked)),
            post("SubmitLogout", logging_out, revocation(logging_out)),
            post(
                "SubmitRemoveMasterKey", made.master, keys_pb2.RemoveMasterKey(public_key=removed.public_key)
            ),
            register_master(other, new_pair()),
        )
    assert [answer.status_code for answer in answers] == [503] * 4, [answer.text for answer in answers]
    assert {answer.json()["error"]["code"] for answer in answers} == {code} == {Code.UNAVAILABLE}
    ended = await sql(
        cluster,
        "keys",
        "SELECT FROM signer WHERE account_id = $1 AND revoked",
        made.account_id,
    )
    assert len(ended) == 4

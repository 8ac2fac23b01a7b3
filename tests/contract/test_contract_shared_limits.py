"""Replicas that share a store count together, over REST and gRPC, and go on without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest

import services.auth.app
import services.wallet.app
from chassis import shared_limits
from chassis.errors import Code
from chassis.rpc.client import open_channel
from chassis.rpc.errors import error_from_rpc
from chassis.rpc.server import RpcServer
from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds
from services.auth.config import AuthConfig
from services.wallet.config import WalletConfig
from tests.cluster import AUDIENCE, Cluster, run_cluster
from tests.platform_support import BAD_TOKEN, UNKNOWN_SECRET, World, good, make_world, refused
from tests.store_server import StoreServer, store_server
from tests.store_time import follow_clock

READS: Final = 12
BAD: Final = 8
WALLETS: Final = "/api/v1/wallets"
LIST_WALLETS: Final = "/sealgate.wallet.v1.WalletService/ListWallets"
GET_SESSION: Final = "/sealgate.auth.v1.SessionService/GetCurrentSession"
WAIT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """A platform, and beside its auth and its wallet one more of each on the same databases."""

    cluster: Cluster
    servers: dict[str, RpcServer]
    public: dict[str, grpc.aio.Channel]
    store: StoreServer

    async def ask(self, service: str, method: str, secret: str) -> Code | None:
        """Calls the further replica; the refusal's code."""
        call: Any = self.public[service].unary_unary(method)
        try:
            await call(b"", metadata=(("x-api-key", secret),), timeout=WAIT_SECONDS)
        except grpc.aio.AioRpcError as failure:
            return error_from_rpc(failure, method).code
        return None

    async def metric(self, name: str) -> float:
        """What the further wallet says of itself."""
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{self.servers['wallet'].metrics_port}/metrics")
        (line,) = (line for line in answer.text.splitlines() if line.startswith(f"{name} "))
        return float(line.split()[1])


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        # Ample for a loaded machine: here it is about counting, and a store that is gone says so at once.
        patch.setattr(shared_limits, "RATE_LIMIT_STORE_BUDGET_SECONDS", WAIT_SECONDS)
        yield patch


@pytest.fixture(scope="module")
async def replicas(
    template_databases: TemplateDatabases, short_directory: Path, patch: pytest.MonkeyPatch
) -> AsyncIterator[Replicas]:
    directory = short_directory / "shared"
    directory.mkdir()
    databases = DatabaseFactory(template_databases)
    limits = {"read": READS, "bad-credentials": BAD}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(databases.close)
        store = stack.enter_context(store_server())
        cluster = await stack.enter_async_context(
            run_cluster(databases, directory, rate_limits=limits, rate_limit_store=store.url)
        )
        follow_clock(patch, cluster.clock)
        servers = await _further(cluster, store)
        for server in servers.values():
            await server.start()
            stack.push_async_callback(server.stop)
        public = {
            name: await stack.enter_async_context(open_channel(f"127.0.0.1:{server.public_port}"))
            for name, server in servers.items()
        }
        yield Replicas(cluster, servers, public, store)


async def _further(cluster: Cluster, store: StoreServer) -> dict[str, RpcServer]:
    directory, ids = cluster.directory, CountingIds(cluster.clock)
    common = {
        name: {
            "audience": AUDIENCE,
            "database": {"dsn": cluster.dsns[name], "pool_size_count": 2},
            "public": {"address": "127.0.0.1:0"},
            "metrics": {"address": "127.0.0.1:0"},
            "internal": f"unix:{directory}/{name}-2.sock",
            "rate_limits": {
                "store": store.url,
                "read_per_minute_count": READS,
                "bad_credentials_per_minute_count": BAD,
            },
        }
        for name in ("auth", "wallet")
    }
    auth = AuthConfig.model_validate(
        common["auth"]
        | {f"{use}_key_dir": directory / use for use in ("passport", "session", "browser")}
        | {"keys_target": f"unix:{directory}/keys.sock"}
    )
    wallet = WalletConfig.model_validate(common["wallet"] | {"auth_target": f"unix:{directory}/auth-2.sock"})
    return {
        "auth": await services.auth.app.build(auth, cluster.clock, ids),
        "wallet": await services.wallet.app.build(wallet, cluster.clock, ids),
    }


@pytest.fixture
async def world(replicas: Replicas) -> World:
    # A minute of its own, because tests share the client's address.
    replicas.cluster.clock.advance(seconds=61)
    return await make_world(replicas.cluster)


async def test_replicas_and_services_share_a_credentials_window(replicas: Replicas, world: World) -> None:
    """Over REST and gRPC, over two wallets: all of it once, and then 429 from wallet, auth and keys alike."""
    for left in range(READS - 1, 0, -2):
        answer = await world.by_key("GET", WALLETS)
        good(answer)
        assert answer.headers["x-ratelimit-remaining"] == str(left)
        assert await replicas.ask("wallet", LIST_WALLETS, world.secret_key) is None
    assert await replicas.ask("wallet", LIST_WALLETS, world.secret_key) is Code.RATE_LIMITED
    for path in (WALLETS, "/api/v1/account/session", "/api/v1/account/api-key"):
        refused(await world.by_key("GET", path), 429, "RATE_LIMITED", retry_after="60")
    good(await world.by_session("GET", WALLETS))
    replicas.cluster.clock.advance(seconds=60.5)
    assert await replicas.ask("wallet", LIST_WALLETS, world.secret_key) is None


@pytest.mark.usefixtures("world")
async def test_bad_credentials_count_over_all_replicas(replicas: Replicas) -> None:
    """An address has its bad credentials once, however many processes it shows them to."""
    cluster = replicas.cluster
    for _ in range(BAD // 2):
        bad = await cluster.rest("GET", WALLETS, x_api_key=UNKNOWN_SECRET)
        refused(bad, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
        assert await replicas.ask("auth", GET_SESSION, UNKNOWN_SECRET) is Code.API_KEY_INVALID
    bad = await cluster.rest("GET", WALLETS, x_api_key=UNKNOWN_SECRET)
    refused(bad, 429, "RATE_LIMITED", retry_after="60")
    assert await replicas.ask("auth", GET_SESSION, UNKNOWN_SECRET) is Code.RATE_LIMITED


async def test_platform_goes_on_without_its_store_and_says_so(replicas: Replicas, world: World) -> None:
    """Each process counts by itself then; the metrics tell, and the store is used again when it is back."""
    await until_up(replicas, up=1.0)
    without = "sealgate_rate_limit_decisions_without_store_total"
    before = await replicas.metric(without)
    replicas.store.kill()
    try:
        for _ in range(READS):
            assert await replicas.ask("wallet", LIST_WALLETS, world.secret_key) is None
        assert await replicas.ask("wallet", LIST_WALLETS, world.secret_key) is Code.RATE_LIMITED
        good(await world.by_key("GET", WALLETS))
        assert await replicas.metric(without) == before + READS + 1
        assert await replicas.metric("sealgate_rate_limit_store_up") == 0
    finally:
        replicas.store.start()
    await until_up(replicas, up=1.0)
    assert await replicas.ask("wallet", LIST_WALLETS, world.secret_key) is None
    assert await replicas.metric(without) == before + READS + 1


async def until_up(replicas: Replicas, *, up: float) -> None:
    """Returns when the further wallet says so of the store; time goes on for its watch."""
    deadline = time.monotonic() + WAIT_SECONDS
    while await replicas.metric("sealgate_rate_limit_store_up") != up:
        assert time.monotonic() < deadline
        replicas.cluster.clock.advance(seconds=1)
        await asyncio.sleep(0)

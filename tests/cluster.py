"""The whole platform in one event loop: three services and the edge on real sockets and databases.

Time is a clock that tests move; everything else is what a deployment runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import yaml

import edge.app
import edge.config
import services.auth.app
import services.keys.app
import services.wallet.app
from chassis.keyring import create_key
from chassis.limits import OPEN_ORDERS_PER_WALLET_COUNT, RATE_LIMIT_MAX_PER_MINUTE_COUNT
from chassis.rpc.client import open_channel
from chassis.rpc.server import RpcServer
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from cli.rate_limits import RATE_CLASSES, rate_limits_document
from sealgate.auth.v1 import operator_pb2 as auth_operator
from sealgate.auth.v1.operator_pb2_grpc import OperatorServiceStub as AuthOperator
from sealgate.common.v1.passport_pb2 import ProjectStatus
from sealgate.keys.v1 import operator_pb2 as keys_operator
from sealgate.keys.v1.operator_pb2_grpc import OperatorServiceStub as KeysOperator
from sealgate.wallet.v1 import market_pb2
from sealgate.wallet.v1 import operator_pb2 as wallet_operator
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub as WalletOperator
from services.auth.config import AuthConfig
from services.keys.config import KeysConfig
from services.wallet.config import WalletConfig
from tests.described import refuse_undescribed

AUDIENCE: Final = "cluster.test"
DESCRIPTOR: Final = Path(__file__).parents[1] / "gen" / "sealgate.binpb"
SERVICES: Final = ("auth", "keys", "wallet")
UNLIMITED: Final = dict.fromkeys(RATE_CLASSES, RATE_LIMIT_MAX_PER_MINUTE_COUNT)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project of a test's own, with one account."""

    project_id: str
    project_key: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the parts are and how to use them; `http` holds each answer against the API's description."""

    clock: FakeClock
    http: httpx.AsyncClient
    public: dict[str, grpc.aio.Channel]
    internal: dict[str, grpc.aio.Channel]
    dsns: dict[str, str]
    directory: Path
    servers: dict[str, RpcServer]

    async def rest(self, verb: str, path: str, *, json: object = None, **headers: str) -> httpx.Response:
        """One request; `x_api_key="…"` becomes the header X-API-KEY."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(verb, path, json=json, headers=named)

    async def ok(self, verb: str, path: str, *, json: object = None, **headers: str) -> Any:  # noqa: ANN401
        """The `response` of a request that must succeed."""
        answer = await self.rest(verb, path, json=json, **headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["response"]

    async def project(self, *modules: str) -> tuple[str, str]:
        """A new project's id and first key, by the operator's methods."""
        made = await AuthOperator(self.internal["auth"]).CreateProject(
            auth_operator.CreateProjectRequest(name="Test project", modules=modules)
        )
        project_id = made.project.project_id
        issued = await KeysOperator(self.internal["keys"]).IssueProjectApiKey(
            keys_operator.IssueProjectApiKeyRequest(project_id=project_id)
        )
        return project_id, issued.api_key.secret_key

    async def set_project(self, project_id: str, *, status: str = "", modules: Sequence[str] = ()) -> None:
        """Changes a project's status, such as PAST_DUE, and its modules, by the operator's method."""
        await AuthOperator(self.internal["auth"]).SetProjectState(
            auth_operator.SetProjectStateRequest(
                project_id=project_id,
                status=ProjectStatus.Value(f"PROJECT_STATUS_{status or 'UNSPECIFIED'}"),
                modules=modules,
            )
        )

    async def tenant(self, *modules: str) -> Tenant:
        """A new project with one account."""
        project_id, key = await self.project(*modules)
        account = await self.ok("POST", "/api/v1/project/account", json={}, x_project_api_key=key)
        return Tenant(project_id, key, account["account_id"])

    async def session(self, tenant: Tenant) -> Any:  # noqa: ANN401
        """A new session of the tenant's account, as creating it answers."""
        path = f"/api/v1/project/account/{tenant.account_id}/session"
        return await self.ok("POST", path, json={}, x_project_api_key=tenant.project_key)

    async def api_key(self, tenant: Tenant, **fields: object) -> Any:  # noqa: ANN401
        """A new API key of the tenant's account, as creating it answers."""
        path = f"/api/v1/project/account/{tenant.account_id}/api-key"
        return await self.ok("POST", path, json=fields, x_project_api_key=tenant.project_key)

    async def deposit(self, wallet_id: str, amount: str, reference: str) -> None:
        """Books money from outside."""
        await WalletOperator(self.internal["wallet"]).RecordDeposit(
            wallet_operator.RecordDepositRequest(
                rail="embedded", external_ref=reference, wallet_id=wallet_id, asset="USDC", amount=amount
            )
        )

    async def market(self, **fields: Any) -> market_pb2.ListedMarket:  # noqa: ANN401
        """A new market in an event of its own, by the operator's method."""
        request = wallet_operator.CreateMarketRequest(**{"question": "Will it rain?"} | fields)
        return (await WalletOperator(self.internal["wallet"]).CreateMarket(request)).market


@asynccontextmanager
async def run_cluster(
    databases: DatabaseFactory,
    directory: Path,
    *,
    rate_limits: Mapping[str, int] = UNLIMITED,
    open_orders_per_wallet_count: int = OPEN_ORDERS_PER_WALLET_COUNT,
    rate_limit_store: str | None = None,
) -> AsyncIterator[Cluster]:
    """Starts everything in `directory` (short, private) and stops it in order at the end.

    `rate_limits` has calls a minute by class; without members it is what a deployment has. Unless told
    otherwise nobody is limited: time stands still here, and tests share addresses and credentials.
    With a `rate_limit_store` the services count there.
    """
    clock = FakeClock()
    ids = CountingIds(clock)
    sockets = {name: directory / f"{name}.sock" for name in SERVICES}
    dsns = {name: (await databases(name, user=f"sealgate_{name}")).dsn for name in SERVICES}
    common = {
        name: {
            "audience": AUDIENCE,
            "database": {"dsn": dsns[name], "pool_size_count": 6},
            "public": {"address": "127.0.0.1:0"},
            "internal": f"unix:{sockets[name]}",
            "rate_limits": rate_limits_document(rate_limits) | {"store": rate_limit_store},
        }
        for name in SERVICES
    }
    key_directories = {f"{use}_key_dir": directory / use for use in ("passport", "session", "browser")}
    for keys_of_use in key_directories.values():
        create_key(keys_of_use, ids.seed(), 0)
    auth_target = f"unix:{sockets['auth']}"
    auth_config = AuthConfig.model_validate(
        common["auth"] | key_directories | {"keys_target": f"unix:{sockets['keys']}"}
    )
    wallet_target = f"unix:{sockets['wallet']}"
    keys_config = KeysConfig.model_validate(
        common["keys"] | {"auth_target": auth_target, "wallet_target": wallet_target}
    )
    wallet_config = WalletConfig.model_validate(
        common["wallet"]
        | {"auth_target": auth_target, "open_orders_per_wallet_count": open_orders_per_wallet_count}
    )
    async with AsyncExitStack() as stack:
        servers = {
            "auth": await services.auth.app.build(auth_config, clock, ids),
            "keys": await services.keys.app.build(keys_config, clock, ids),
            "wallet": await services.wallet.app.build(wallet_config, clock, ids),
        }
        for name, server in servers.items():
            await server.start()
            stack.push_async_callback(_stop, servers, name)
        front = await edge.app.build(_edge_config(directory, sockets), clock, ids)
        await front.start()
        stack.push_async_callback(front.stop)
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{front.port}",
                timeout=30,
                event_hooks={"response": [refuse_undescribed]},
            )
        )
        public = {
            name: await stack.enter_async_context(open_channel(f"127.0.0.1:{server.public_port}"))
            for name, server in servers.items()
        }
        internal = {
            name: await stack.enter_async_context(open_channel(f"unix:{path}"))
            for name, path in sockets.items()
        }
        yield Cluster(clock, http, public, internal, dsns, directory, servers)


async def _stop(servers: dict[str, RpcServer], name: str) -> None:
    """Stops a service unless a test has taken it out and stopped it."""
    server = servers.pop(name, None)
    if server is not None:
        await server.stop()


def _edge_config(directory: Path, sockets: dict[str, Path]) -> edge.config.EdgeConfig:
    document = edge.config.bootstrap(
        host="127.0.0.1", port=0, sockets=sockets, descriptor=DESCRIPTOR, audience=AUDIENCE
    )
    path = directory / "edge.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return edge.config.load(path)

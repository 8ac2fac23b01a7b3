"""What is another's is answered exactly as what does not exist, and stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx
import pytest

from chassis.methods import CredentialKind, HttpBinding, Method
from chassis.secrets import public_key_text
from edge.config import SERVICES
from edge.routes import load_methods, variable_names
from tests.cluster import DESCRIPTOR, Cluster, Tenant
from tests.platform_support import RATE_HEADERS, UNKNOWN_ID, Trading, World, good, make_world, refused

REQUEST_ID: Final = "0190aaaa-bbbb-7ccc-8ddd-000000000001"
UNKNOWN: Final = {
    "account_id": UNKNOWN_ID,
    "session_id": UNKNOWN_ID,
    "wallet_id": UNKNOWN_ID,
    "order_id": UNKNOWN_ID,
    "public_key": public_key_text(b"u" * 32),
}
CODES: Final = {
    "account_id": "ACCOUNT_NOT_FOUND",
    "session_id": "SESSION_NOT_FOUND",
    "wallet_id": "WALLET_NOT_FOUND",
    "order_id": "ORDER_NOT_FOUND",
    "public_key": "API_KEY_NOT_FOUND",
}
# Bodies that would be good, so that nothing else is wrong with a request.
BODIES: Final[dict[str, dict[str, object]]] = {
    "ReplaceAccountMetadata": {"metadata": {"planted": True}},
    "SetAccountStatus": {"status": "SUSPENDED"},
    "UpdateAccountApiKey": {"name": "planted"},
    "UpdateApiKey": {"name": "planted"},
    "UpdateWallet": {"name": "planted"},
    "PlaceOrder": {"side": "BUY", "type": "LIMIT", "price": "0.4", "amount": "1", "units": "SHARES"},
    "QuoteOrder": {"side": "BUY", "amount": "1", "units": "SHARES"},
    "CreateWithdrawal": {"token": "USDC", "amount": "1", "address": "0x" + "5f" * 20},
}
ROUTES: Final = [
    pytest.param(method, binding, field, id=f"{binding.verb} {binding.template} {field}")
    for method in load_methods(DESCRIPTOR, [name for names in SERVICES.values() for name in names])
    for binding in method.bindings
    for field in variable_names(binding.template)
    # A market and a chain are everybody's, and an account's request ids are its own to choose.
    if field not in ("condition_id", "chain", "request_id")
    # Whose thing it is there says the signature: see tests/contract/test_signed_rest_equals_grpc.py.
    if not method.is_signed
]


@dataclass(frozen=True)
class Neighbours:
    """Who asks, another account of the same project, and an account of another project, as they were."""

    asking: World
    near: World
    far: World
    trading: dict[str, Trading]
    shown_before: dict[str, list[object]]
    withdrawing_key: str

    async def ids_of(self, world: World, method: Method) -> dict[str, str]:
        """A world's values for every path variable; the key's is of the kind that the method names."""
        public_key = world.public_key
        if "ProjectApiKey" in method.full_name:
            (key, *_) = good(await world.by_project("GET", "/api/v1/project/api-key"))
            public_key = key["public_key"]
        trading = self.trading[world.tenant.account_id]
        orders = "OrderService" in method.full_name
        return {
            "account_id": world.tenant.account_id,
            "session_id": world.session_id,
            "wallet_id": trading.wallet_id if orders else await world.wallet_id(),
            "order_id": trading.order_id,
            "public_key": public_key,
            "chain": "POL",
        }

    async def ask(self, method: Method, binding: HttpBinding, ids: dict[str, str]) -> httpx.Response:
        """The method with these ids, by the first kind of credential of the asking world that it takes."""
        name = method.full_name.rsplit("/")[-1]
        path = binding.template.format(**ids)
        if method.scope == "withdrawals:write":
            headers = {"x_api_key": self.withdrawing_key, "x_request_id": REQUEST_ID}
            return await self.asking.cluster.rest(binding.verb, path, json=BODIES[name], **headers)
        call = {
            CredentialKind.PROJECT_KEY: self.asking.by_project,
            CredentialKind.ACCOUNT_SESSION: self.asking.by_session,
        }[min(method.accepts)]
        body = BODIES.get(name)
        if body is not None and "OrderService" in method.full_name:
            body = body | {"token_id": self.trading[self.asking.tenant.account_id].token_id}
        return await call(binding.verb, path, body, x_request_id=REQUEST_ID)


@pytest.fixture(scope="module")
async def neighbours(cluster: Cluster) -> Neighbours:
    """One for all: nothing in it changes."""
    asking, far = await make_world(cluster), await make_world(cluster)
    made = good(await asking.by_project("POST", "/api/v1/project/account"), 201)
    tenant = Tenant(asking.tenant.project_id, asking.tenant.project_key, made["account_id"])
    session, key = await cluster.session(tenant), await cluster.api_key(tenant)
    near = World(
        cluster,
        tenant,
        session["session_id"],
        session["session_token"],
        key["public_key"],
        key["secret_key"],
    )
    trading = {world.tenant.account_id: await world.trading() for world in (asking, near, far)}
    before = {
        owner.tenant.account_id: await shown(owner, trading[owner.tenant.account_id]) for owner in (near, far)
    }
    scopes = {"scopes": ["withdrawals:write"]}
    withdrawing = good(await asking.by_project("POST", asking.account("/api-key"), scopes), 201)
    return Neighbours(asking, near, far, trading, before, withdrawing["secret_key"])


def without_date(answer: httpx.Response) -> dict[str, str]:
    """The headers, but for what tells one's own calls apart: when they came, how many are left."""
    return {
        name: value for name, value in answer.headers.items() if name != "date" and name not in RATE_HEADERS
    }


async def shown(world: World, trading: Trading) -> list[object]:
    """All that a world shows of itself, but for when its credentials were used."""
    wallet = await world.wallet_id()
    keys = good(await world.by_session("GET", "/api/v1/account/api-key"))
    return [
        good(await world.by_project("GET", "/api/v1/project")),
        good(await world.by_project("GET", world.account())),
        [
            session["session_id"]
            for session in good(await world.by_project("GET", world.account("/sessions")))
        ],
        [{**key, "last_used_at": None} for key in keys],
        good(await world.by_session("GET", f"/api/v1/wallet/{wallet}")),
        good(await world.by_session("GET", f"/api/v1/wallet/{wallet}/balance")),
        good(await world.by_session("GET", f"/api/v1/wallet/pol/{trading.wallet_id}/orders")),
    ]


@pytest.mark.parametrize(("method", "binding", "field"), ROUTES)
async def test_strangers_thing_is_answered_as_one_that_does_not_exist(
    neighbours: Neighbours, method: Method, binding: HttpBinding, field: str
) -> None:
    """Byte for byte under the same request id, whether its owner is near or far; and it stays as it is."""
    asking = neighbours.asking
    own = await neighbours.ids_of(asking, method)
    unknown = await neighbours.ask(method, binding, own | {field: UNKNOWN[field]})
    refused(unknown, 404, CODES[field])
    # An account of the same project is the project key's own.
    owners = [neighbours.far] if field == "account_id" else [neighbours.near, neighbours.far]
    if "ProjectApiKey" in method.full_name:
        owners = [neighbours.far]
    for owner in owners:
        theirs = await neighbours.ids_of(owner, method)
        # With only this id theirs, and with every id theirs but what the path is about before it.
        before = {"account_id": (), "order_id": ("account_id", "wallet_id")}.get(field, ("account_id",))
        kept = {name: own[name] for name in before}
        for ids in (own | {field: theirs[field]}, theirs | kept):
            answer = await neighbours.ask(method, binding, ids)
            assert (answer.status_code, answer.content) == (404, unknown.content)
            assert without_date(answer) == without_date(unknown)
        assert (
            await shown(owner, neighbours.trading[owner.tenant.account_id])
            == neighbours.shown_before[owner.tenant.account_id]
        )

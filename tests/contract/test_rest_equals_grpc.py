"""Every RPC that has a REST route answers the same over both, to good calls and to refused ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import httpx
import pytest
from google.protobuf.message_factory import GetMessageClass

from chassis.methods import CredentialKind, Exposure, HttpBinding, Method
from chassis.rpc.errors import error_from_rpc
from edge.config import SERVICES
from edge.present import answer_encoder
from edge.routes import load_methods, variable_names
from edge.translate import request_decoder
from tests.cluster import DESCRIPTOR, Cluster, Tenant

METHODS: Final[dict[str, Method]] = {
    method.full_name: method
    for method in load_methods(DESCRIPTOR, [name for names in SERVICES.values() for name in names])
}
UNKNOWN_ID: Final = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"

# What differs between two runs of the same call, and nothing else.
_VARYING: Final = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b([ps])k_[A-Za-z0-9_-]{48}"), r"<\1k>"),
    (re.compile(r"eyJ[A-Za-z0-9_.-]+"), "<token>"),
    (re.compile(r"0x[0-9a-f]{64}"), "<condition>"),
    (re.compile(r'"[0-9]{60,78}"'), '"<token>"'),
    (re.compile(r"0x[0-9a-f]{40}"), "<address>"),
    (re.compile(r'"account_number":\d+'), '"account_number":0'),
    (re.compile(r'"user_agent":"[^"]*"'), '"user_agent":""'),
)


@dataclass(frozen=True)
class World:
    """What a call can be about: made anew for each run, so that the runs do not meet."""

    tenant: Tenant
    session_id: str
    token: str
    api_public: str
    api_secret: str
    spare_public: str
    wallet_id: str
    # Another wallet, with money and an open order in a market of the world's own.
    trading_wallet_id: str
    order_id: str
    condition_id: str
    token_id: str

    def credential(self, kind: str) -> dict[str, str]:
        return {
            "project": {"x-project-api-key": self.tenant.project_key},
            "session": {"authorization": f"Bearer {self.token}"},
            "key": {"x-api-key": self.api_secret},
            "bearer key": {"authorization": f"Bearer {self.api_secret}"},
            "bad key": {"x-api-key": "sk_" + "A" * 48},
            "bad project key": {"x-project-api-key": "sk_nonsense"},
            "bad token": {"authorization": "Bearer not.a.token"},
            "basic": {"authorization": "Basic dXNlcjpwYXNz"},
            "project and key": {
                "x-project-api-key": self.tenant.project_key,
                "x-api-key": self.api_secret,
            },
            "device": {"x-device-key": "dk_" + "A" * 48},
            "page": {"x-api-key": self.api_secret, "origin": "https://elsewhere.example"},
            "none": {},
        }[kind]


Fields = Callable[[World], dict[str, Any]]

# A limit order that rests.
ORDER: Final = {
    "side": "BUY",
    "type": "LIMIT",
    "price": "0.4",
    "amount": "10",
    "units": "SHARES",
    "client_order_id": "mine",
}

# What each method is asked: its path variables and members, good first.
GOOD: Final[dict[str, tuple[str, Fields]]] = {
    "/sealgate.auth.v1.ProjectService/GetProject": ("project", lambda w: {}),
    "/sealgate.auth.v1.ProjectService/UpdateProject": (
        "project",
        lambda w: {"name": "Renamed", "allowed_origins": ["https://shop.example"]},
    ),
    "/sealgate.auth.v1.AccountService/CreateAccount": (
        "project",
        lambda w: {"metadata": {"a": [1, 2.5, None]}},
    ),
    "/sealgate.auth.v1.AccountService/ListAccounts": ("project", lambda w: {"limit": 5}),
    "/sealgate.auth.v1.AccountService/GetAccount": ("project", lambda w: {"account_id": w.tenant.account_id}),
    "/sealgate.auth.v1.AccountService/ReplaceAccountMetadata": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "metadata": {"tier": "gold"}},
    ),
    "/sealgate.auth.v1.AccountService/SetAccountStatus": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "status": "SUSPENDED"},
    ),
    "/sealgate.auth.v1.SessionService/CreateSession": (
        "project",
        lambda w: {"account_id": w.tenant.account_id},
    ),
    "/sealgate.auth.v1.SessionService/ListSessions": (
        "project",
        lambda w: {"account_id": w.tenant.account_id},
    ),
    "/sealgate.auth.v1.SessionService/RefreshSession": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "session_id": w.session_id},
    ),
    "/sealgate.auth.v1.SessionService/ExpireSession": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "session_id": w.session_id},
    ),
    "/sealgate.auth.v1.SessionService/ExpireAllSessions": (
        "project",
        lambda w: {"account_id": w.tenant.account_id},
    ),
    "/sealgate.auth.v1.SessionService/GetCurrentSession": ("session", lambda w: {}),
    "/sealgate.auth.v1.SessionService/ExpireCurrentSession": ("session", lambda w: {}),
    "/sealgate.auth.v1.TokenKeyService/GetJsonWebKeySet": ("none", lambda w: {}),
    "/sealgate.keys.v1.ApiKeyService/CreateProjectApiKey": ("project", lambda w: {"name": "second"}),
    "/sealgate.keys.v1.ApiKeyService/ListProjectApiKeys": ("project", lambda w: {}),
    "/sealgate.keys.v1.ApiKeyService/DeleteProjectApiKey": (
        "project",
        lambda w: {"public_key": w.spare_public},
    ),
    "/sealgate.keys.v1.ApiKeyService/CreateAccountApiKey": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "name": "bot", "scopes": ["wallet:read"]},
    ),
    "/sealgate.keys.v1.ApiKeyService/ListAccountApiKeys": (
        "project",
        lambda w: {"account_id": w.tenant.account_id},
    ),
    "/sealgate.keys.v1.ApiKeyService/UpdateAccountApiKey": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "public_key": w.api_public, "name": "renamed"},
    ),
    "/sealgate.keys.v1.ApiKeyService/RotateAccountApiKey": (
        "project",
        lambda w: {
            "account_id": w.tenant.account_id,
            "public_key": w.api_public,
            "overlap_seconds": 60,
        },
    ),
    "/sealgate.keys.v1.ApiKeyService/DeleteAccountApiKey": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "public_key": w.api_public},
    ),
    "/sealgate.keys.v1.ApiKeyService/CreateApiKey": ("session", lambda w: {"origins": ["https://a.example"]}),
    "/sealgate.keys.v1.ApiKeyService/ListApiKeys": ("key", lambda w: {}),
    "/sealgate.keys.v1.ApiKeyService/UpdateApiKey": (
        "session",
        lambda w: {"public_key": w.api_public, "scopes": ["account:read"]},
    ),
    "/sealgate.keys.v1.ApiKeyService/DeleteApiKey": ("session", lambda w: {"public_key": w.api_public}),
    "/sealgate.wallet.v1.WalletService/ListWallets": ("bearer key", lambda w: {}),
    "/sealgate.wallet.v1.WalletService/ListChainWallets": ("session", lambda w: {}),
    "/sealgate.wallet.v1.WalletService/GetWallet": ("key", lambda w: {"wallet_id": w.wallet_id}),
    "/sealgate.wallet.v1.WalletService/CreateWallet": ("key", lambda w: {"name": "Savings"}),
    "/sealgate.wallet.v1.WalletService/UpdateWallet": (
        "session",
        lambda w: {"wallet_id": w.wallet_id, "name": "Main", "autoredeem": True},
    ),
    "/sealgate.wallet.v1.WalletService/DeleteWallet": ("session", lambda w: {"wallet_id": w.wallet_id}),
    "/sealgate.wallet.v1.WalletService/ListBalances": ("session", lambda w: {"wallet_id": w.wallet_id}),
    "/sealgate.wallet.v1.WalletService/GetChainBalance": ("key", lambda w: {"wallet_id": w.wallet_id}),
    "/sealgate.wallet.v1.WalletService/ListTransfers": (
        "key",
        lambda w: {"wallet_id": w.wallet_id, "limit": 2},
    ),
    "/sealgate.wallet.v1.MarketService/ListMarkets": ("none", lambda w: {"limit": 1}),
    "/sealgate.wallet.v1.MarketService/GetMarket": ("none", lambda w: {"condition_id": w.condition_id}),
    "/sealgate.wallet.v1.MarketService/GetBook": ("none", lambda w: {"condition_id": w.condition_id}),
    "/sealgate.wallet.v1.OrderService/PlaceOrder": (
        "key",
        lambda w: {"wallet_id": w.trading_wallet_id, "token_id": w.token_id} | ORDER,
    ),
    "/sealgate.wallet.v1.OrderService/QuoteOrder": (
        "session",
        lambda w: {
            "wallet_id": w.trading_wallet_id,
            "token_id": w.token_id,
            "side": "SELL",
            "amount": "4",
            "units": "SHARES",
        },
    ),
    "/sealgate.wallet.v1.OrderService/GetOrder": (
        "key",
        lambda w: {"wallet_id": w.trading_wallet_id, "order_id": w.order_id},
    ),
    "/sealgate.wallet.v1.OrderService/CancelOrder": (
        "session",
        lambda w: {"wallet_id": w.trading_wallet_id, "order_id": w.order_id},
    ),
    "/sealgate.wallet.v1.OrderService/CancelAllOrders": (
        "key",
        lambda w: {"wallet_id": w.trading_wallet_id},
    ),
    "/sealgate.wallet.v1.OrderService/ListOrders": (
        "key",
        lambda w: {"wallet_id": w.trading_wallet_id, "limit": 5},
    ),
    "/sealgate.wallet.v1.OrderService/ListActiveOrders": (
        "bearer key",
        lambda w: {"wallet_id": w.trading_wallet_id},
    ),
    "/sealgate.wallet.v1.OrderService/ListTrades": (
        "session",
        lambda w: {"wallet_id": w.trading_wallet_id},
    ),
    "/sealgate.wallet.v1.PositionService/ListPositions": (
        "key",
        lambda w: {"wallet_id": w.trading_wallet_id},
    ),
}


@dataclass(frozen=True)
class Outcome:
    """An answer with what differs between runs taken out."""

    code: str
    status: int
    answer: str


async def make_world(cluster: Cluster) -> World:
    tenant = await cluster.tenant()
    session = await cluster.session(tenant)
    key = await cluster.api_key(tenant, name="first")
    spare = await cluster.ok("POST", "/api/v1/project/api-key", json={}, x_project_api_key=tenant.project_key)
    owner = {"x_api_key": key["secret_key"]}
    wallets = await cluster.ok("GET", "/api/v1/wallets", **owner)
    trading = await cluster.ok("POST", "/api/v1/wallet", json={}, **owner)
    await cluster.deposit(trading["wallet_id"], "100", f"funding of {trading['wallet_id']}")
    market = await cluster.market()
    path = f"/api/v1/wallet/pol/{trading['wallet_id']}/order"
    order_fields = ORDER | {"token_id": market.left_token_id, "client_order_id": "first"}
    order = await cluster.ok("POST", path, json=order_fields, **owner)
    return World(
        tenant,
        session["session_id"],
        session["session_token"],
        key["public_key"],
        key["secret_key"],
        spare["public_key"],
        wallets[0]["wallet_id"],
        trading["wallet_id"],
        order["order_id"],
        market.condition_id,
        market.left_token_id,
    )


def masked(text: str) -> str:
    for pattern, mark in _VARYING:
        text = pattern.sub(mark, text)
    return text


def request_parts(binding: HttpBinding, fields: dict[str, Any]) -> tuple[list[str], str, bytes]:
    """Path variables, query and body that carry `fields` over REST."""
    names = variable_names(binding.template)
    rest = {name: value for name, value in fields.items() if name not in names}
    query = "" if binding.has_body else "&".join(f"{name}={value}" for name, value in rest.items())
    body = json.dumps(rest).encode() if binding.has_body else b""
    return [fields[name] for name in names], query, body


async def rest_answer(
    cluster: Cluster, binding: HttpBinding, fields: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    """The answer to one request."""
    names = variable_names(binding.template)
    variables, query, body = request_parts(binding, fields)
    path = binding.template
    for name, value in zip(names, variables, strict=True):
        path = path.replace(f"{{{name}}}", value)
    return await cluster.http.request(
        binding.verb,
        f"{path}?{query}" if query else path,
        content=body,
        headers=headers | ({"content-type": "application/json"} if body else {}),
    )


async def over_rest(
    cluster: Cluster, method: Method, binding: HttpBinding, fields: dict[str, Any], headers: dict[str, str]
) -> Outcome:
    answer = await rest_answer(cluster, binding, fields, headers)
    if answer.status_code >= 400:
        error = answer.json()["error"]
        return Outcome(error["code"], answer.status_code, json.dumps(error["details"]))
    return Outcome("OK", answer.status_code, masked(answer.text))


async def over_grpc(
    cluster: Cluster, method: Method, binding: HttpBinding, fields: dict[str, Any], headers: dict[str, str]
) -> Outcome:
    variables, query, body = request_parts(binding, fields)
    message = request_decoder(method, binding, variable_names(binding.template))(
        variables, query.encode(), body
    )
    service = method.full_name.split(".")[1]
    rpc: Any = cluster.public[service].unary_unary(
        method.full_name,
        request_serializer=GetMessageClass(method.descriptor.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.descriptor.output_type).FromString,
    )
    try:
        response = await rpc(message, metadata=tuple(headers.items()), timeout=5)
    except grpc.aio.AioRpcError as failure:
        error = error_from_rpc(failure, method.full_name)
        details = [{"path": detail.path, "message": detail.message} for detail in error.details]
        return Outcome(error.code.value, error.row.http_status, json.dumps(details))
    return Outcome("OK", method.success_status, masked(answer_encoder(method)(response).decode()))


async def both(
    cluster: Cluster, full_name: str, binding: HttpBinding, credential: str, fields: Fields
) -> tuple[Outcome, Outcome]:
    method = METHODS[full_name]
    worlds = [await make_world(cluster) for _ in range(2)]
    rest = await over_rest(cluster, method, binding, fields(worlds[0]), worlds[0].credential(credential))
    direct = await over_grpc(cluster, method, binding, fields(worlds[1]), worlds[1].credential(credential))
    return rest, direct


BINDINGS: Final = [
    pytest.param(name, binding, id=f"{binding.verb} {binding.template}")
    for name, method in METHODS.items()
    for binding in method.bindings
]


def test_every_rest_method_has_a_case() -> None:
    """A method that is added without a row in this table fails here."""
    assert set(GOOD) == set(METHODS)


@pytest.mark.parametrize(("full_name", "binding"), BINDINGS)
async def test_rpc_answers_rest_and_grpc_alike_when_all_is_well(
    cluster: Cluster, full_name: str, binding: HttpBinding
) -> None:
    """A good call gives the same answer and the method's success status over both."""
    credential, fields = GOOD[full_name]
    rest, direct = await both(cluster, full_name, binding, credential, fields)
    assert rest.code == "OK"
    assert rest.status == METHODS[full_name].success_status
    assert rest == direct


@pytest.fixture(scope="session")
async def still_world(cluster: Cluster) -> World:
    """A world for calls that are refused: nothing in it changes."""
    return await make_world(cluster)


# What each way of showing something is, once it is known to be good.
KIND_SHOWN: Final = {
    "project": CredentialKind.PROJECT_KEY,
    "session": CredentialKind.ACCOUNT_SESSION,
    "key": CredentialKind.ACCOUNT_API_KEY,
    "bearer key": CredentialKind.ACCOUNT_API_KEY,
}
REFUSALS: Final = {
    "bad key": (401, "API_KEY_INVALID"),
    "bad project key": (401, "API_KEY_INVALID"),
    "device": (401, "API_KEY_INVALID"),
    "bad token": (401, "SESSION_INVALID"),
    "basic": (401, "SESSION_INVALID"),
    "project and key": (400, "CREDENTIAL_AMBIGUOUS"),
    "page": (403, "ORIGIN_NOT_ALLOWED"),
}


@pytest.mark.parametrize(("full_name", "binding"), BINDINGS)
async def test_rpc_refuses_what_it_does_not_accept_alike_over_rest_and_grpc(
    cluster: Cluster, still_world: World, full_name: str, binding: HttpBinding
) -> None:
    """No credential, a bad one, two, or one of another kind: the contract's code, the same over both."""
    method = METHODS[full_name]
    if method.exposure is Exposure.OPEN:
        return
    only_session = method.accepts == {CredentialKind.ACCOUNT_SESSION}
    expected = REFUSALS | {"none": (401, "SESSION_REQUIRED" if only_session else "API_KEY_REQUIRED")}
    for shown, kind in KIND_SHOWN.items():
        if kind not in method.accepts:
            expected[shown] = (403, "CREDENTIAL_NOT_ACCEPTED")
    fields = GOOD[full_name][1](still_world)
    for shown, (status, code) in expected.items():
        headers = still_world.credential(shown)
        rest = await over_rest(cluster, method, binding, fields, headers)
        direct = await over_grpc(cluster, method, binding, fields, headers)
        assert (rest.status, rest.code) == (status, code), shown
        assert rest == direct, shown


NOUNS: Final = {
    "account_id": "ACCOUNT",
    "session_id": "SESSION",
    "public_key": "API_KEY",
    "wallet_id": "WALLET",
    "order_id": "ORDER",
    "condition_id": "MARKET",
}
STRANGERS: Final = [
    pytest.param(name, field, id=f"{name.rsplit('/')[-1]} {field}")
    for name, method in METHODS.items()
    for field in variable_names(method.bindings[0].template)
]


@pytest.mark.parametrize(("full_name", "field"), STRANGERS)
async def test_rpc_answers_not_found_for_an_id_that_is_unknown_or_malformed(
    cluster: Cluster, still_world: World, full_name: str, field: str
) -> None:
    """An id in the path that names nothing, or is no id, is the 404 of its noun, over both."""
    credential, fields = GOOD[full_name]
    method, noun = METHODS[full_name], NOUNS[field]
    for value in (UNKNOWN_ID, "nonsense", UNKNOWN_ID.upper()):
        asked = fields(still_world) | {field: value}
        headers = still_world.credential(credential)
        rest = await over_rest(cluster, method, method.bindings[0], asked, headers)
        direct = await over_grpc(cluster, method, method.bindings[0], asked, headers)
        assert (rest.status, rest.code) == (404, f"{noun}_NOT_FOUND")
        assert rest == direct

"""A good call of every RPC with a REST route that is not signed, and the world that it is about."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.methods import HttpBinding, Method
from edge.config import SERVICES
from edge.routes import load_methods, variable_names
from tests.cluster import AUDIENCE, DESCRIPTOR, Cluster, Tenant
from tests.platform_support import usable_address
from tests.signing_support import base64_of, key_pair, possession, request_id_at

METHODS: Final[dict[str, Method]] = {
    method.full_name: method
    for method in load_methods(DESCRIPTOR, [name for names in SERVICES.values() for name in names])
    if not method.is_signed
}
UNKNOWN_ID: Final = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
PAGE: Final = "https://shop.example"


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
    # A key that may withdraw, and where to.
    withdrawing_secret: str
    address: str
    # A key that works from one page.
    page_secret: str
    # A signed request that did not arrive, and will not any more.
    lost_request_id: str

    def credential(self, kind: str) -> dict[str, str]:
        return {
            "project": {"x-project-api-key": self.tenant.project_key},
            "session": {"authorization": f"Bearer {self.token}"},
            "key": {"x-api-key": self.api_secret},
            "withdrawing key": {"x-api-key": self.withdrawing_secret},
            "page key": {"x-api-key": self.page_secret, "origin": PAGE},
            "bearer key": {"authorization": f"Bearer {self.api_secret}"},
            "bad key": {"x-api-key": "sk_" + "A" * 48},
            "bad project key": {"x-project-api-key": "sk_nonsense"},
            "bad token": {"authorization": "Bearer not.a.token"},
            "basic": {"authorization": "Basic dXNlcjpwYXNz"},
            "project and key": {
                "x-project-api-key": self.tenant.project_key,
                "x-api-key": self.api_secret,
            },
            "key and signature": {"x-api-key": self.api_secret, "x-signature": "A" * 86 + "=="},
            "device": {"x-device-key": "dk_" + "A" * 48},
            "page": {"x-api-key": self.api_secret, "origin": "https://elsewhere.example"},
            "none": {},
        }[kind]


Fields = Callable[[World], dict[str, Any]]

MASTER: Final = key_pair("a first master key")
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
    "/sealgate.auth.v1.BrowserSessionService/CreateBrowserSession": ("page key", lambda w: {}),
    "/sealgate.auth.v1.TokenKeyService/GetJsonWebKeySet": ("none", lambda w: {}),
    "/sealgate.auth.v1.TimeService/GetTime": ("none", lambda w: {}),
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
    "/sealgate.keys.v1.SigningKeyService/RegisterMasterKey": (
        "project",
        lambda w: {
            "account_id": w.tenant.account_id,
            "public_key": MASTER.text,
            "possession_signature": base64_of(possession(MASTER, AUDIENCE, w.tenant.account_id)),
        },
    ),
    "/sealgate.keys.v1.SigningKeyService/ListSessionKeys": ("session", lambda w: {}),
    "/sealgate.keys.v1.SigningKeyService/ListMasterKeys": ("key", lambda w: {}),
    "/sealgate.keys.v1.SigningKeyService/GetKeyRequest": (
        "session",
        lambda w: {"request_id": w.lost_request_id},
    ),
    "/sealgate.wallet.v1.SignedRequestService/GetRequest": (
        "key",
        lambda w: {"request_id": w.lost_request_id},
    ),
    "/sealgate.wallet.v1.SubaccountService/ListSubaccounts": ("session", lambda w: {}),
    "/sealgate.wallet.v1.WithdrawalService/CreateWithdrawal": (
        "withdrawing key",
        lambda w: {
            "wallet_id": w.trading_wallet_id,
            "token": "USDC",
            "amount": "2.5",
            "address": w.address,
        },
    ),
    "/sealgate.wallet.v1.WithdrawalService/ListWithdrawals": (
        "key",
        lambda w: {"wallet_id": w.trading_wallet_id, "limit": 5},
    ),
    "/sealgate.wallet.v1.WithdrawalService/GetDepositAddress": (
        "session",
        lambda w: {"wallet_id": w.wallet_id, "chain": "POL"},
    ),
    "/sealgate.wallet.v1.WithdrawalService/ListWithdrawalAddresses": ("key", lambda w: {}),
    "/sealgate.wallet.v1.WithdrawalService/AddAccountWithdrawalAddress": (
        "project",
        lambda w: {"account_id": w.tenant.account_id, "chain": "POL", "address": "0x" + "a0" * 20},
    ),
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


async def make_world(cluster: Cluster) -> World:
    tenant = await cluster.tenant()
    session = await cluster.session(tenant)
    key = await cluster.api_key(tenant, name="first")
    spare = await cluster.ok("POST", "/api/v1/project/api-key", json={}, x_project_api_key=tenant.project_key)
    owner = {"x_api_key": key["secret_key"]}
    wallets = await cluster.ok("GET", "/api/v1/wallets", **owner)
    trading = await cluster.ok("POST", "/api/v1/wallet", json={}, **owner)
    await cluster.deposit(trading["wallet_id"], "100", f"funding of {trading['wallet_id']}")
    withdrawing = await cluster.api_key(tenant, scopes=["wallet:read", "withdrawals:write"])
    page_key = await cluster.api_key(tenant, origins=[PAGE])
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
        withdrawing["secret_key"],
        await usable_address(cluster, tenant.account_id),
        page_key["secret_key"],
        str(request_id_at(cluster.clock.now_ns() - 60 * NANOSECONDS_PER_SECOND)),
    )


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

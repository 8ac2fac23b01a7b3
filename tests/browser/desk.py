"""An account that trades from a page, and the platform it calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sealgate.common.v1.method_rule_pb2 import RateClass
from sealgate.common.v1.passport_pb2 import CredentialLimit
from sealgate.keys.v1.operator_pb2 import SetApiKeyLimitsRequest
from sealgate.keys.v1.operator_pb2_grpc import OperatorServiceStub
from sealgate.wallet.v1.market_pb2 import ListedMarket
from tests.cluster import Cluster, Tenant

MONEY: Final = "1000"


@dataclass(frozen=True, slots=True)
class Desk:
    """A project of a test's own; `secret` is the key that its pages have."""

    cluster: Cluster
    tenant: Tenant
    public_key: str
    secret: str
    wallet_id: str
    market: ListedMarket

    @property
    def api(self) -> str:
        return str(self.cluster.http.base_url).rstrip("/")

    @property
    def sessions(self) -> str:
        """Where a page makes its session."""
        return f"{self.api}/api/v1/sessions"

    @property
    def wallets(self) -> str:
        return f"{self.api}/api/v1/wallets"

    @property
    def balance(self) -> str:
        return f"{self.api}/api/v1/wallet/pol/{self.wallet_id}/balance"

    @property
    def orders(self) -> str:
        """Where orders are placed."""
        return f"{self.api}/api/v1/wallet/pol/{self.wallet_id}/order"

    @property
    def key_path(self) -> str:
        """The key, for the project's backend."""
        return f"/api/v1/project/account/{self.tenant.account_id}/api-key/{self.public_key}"

    def order(self, price: str = "0.4") -> dict[str, str]:
        """A bid that finds nobody in a market without offers."""
        return {
            "token_id": self.market.left_token_id,
            "side": "BUY",
            "type": "LIMIT",
            "amount": "10",
            "units": "SHARES",
            "price": price,
        }

    async def bids(self) -> list[str]:
        """The prices in the book, best first."""
        book = await self.cluster.ok("GET", f"/api/v1/markets/{self.market.condition_id}/book")
        return [level["price"] for level in book["bids"]]

    async def resting(self) -> list[str]:
        """The shares of the wallet's open orders, fewest first, as the platform has them."""
        listed = await self.cluster.ok(
            "GET", f"{self.balance.removesuffix('balance')}orders/active", x_api_key=self.secret
        )
        return sorted(item["order"]["shares"] for item in listed)

    async def limit(self, rate_class: RateClass.ValueType, per_minute_count: int) -> None:
        """What an operator lets the key do in a minute."""
        limit = CredentialLimit(rate_class=rate_class, per_minute_count=per_minute_count)
        keys = OperatorServiceStub(self.cluster.internal["keys"])
        await keys.SetApiKeyLimits(SetApiKeyLimitsRequest(public_key=self.public_key, limits=[limit]))

    async def delete_key(self) -> None:
        """What the backend does when a page is to end."""
        await self.cluster.ok("DELETE", self.key_path, x_project_api_key=self.tenant.project_key)

    async def change_key(self, **fields: object) -> None:
        await self.cluster.ok("PUT", self.key_path, json=fields, x_project_api_key=self.tenant.project_key)

    async def allow_project_origins(self, *origins: str) -> None:
        """Where the project's other credentials work from."""
        fields = {"allowed_origins": list(origins)}
        await self.cluster.ok(
            "PUT", "/api/v1/project", json=fields, x_project_api_key=self.tenant.project_key
        )


async def open_desk(cluster: Cluster, *, origins: Sequence[str]) -> Desk:
    """A new project whose account has money, a market of its own, and a key that lists `origins`."""
    tenant = await cluster.tenant()
    key: Any = await cluster.api_key(tenant, name="page", origins=list(origins))
    [wallet] = await cluster.ok("GET", "/api/v1/wallets", x_api_key=key["secret_key"])
    await cluster.deposit(wallet["wallet_id"], MONEY, f"desk-{tenant.account_id}")
    market = await cluster.market()
    return Desk(cluster, tenant, key["public_key"], key["secret_key"], wallet["wallet_id"], market)

"""Markets, orders and positions over REST: the published flow, its refusals, and the end of time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest

import services.wallet.app
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from sealgate.wallet.v1 import market_pb2
from sealgate.wallet.v1 import operator_pb2 as wallet_operator
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub as WalletOperator
from tests.cluster import Cluster
from tests.platform_support import (
    ANY_PAGE,
    UNKNOWN_ID,
    World,
    good,
    make_world,
    private_cluster,
    refused,
)

# Open orders that a wallet may have here.
OPEN_ORDERS_COUNT: Final = 30
SECOND_NS: Final = 1_000_000_000
UNKNOWN_CONDITION: Final = "0x" + "0" * 64


@dataclass(frozen=True, slots=True)
class Trader:
    """An account with 100 USDC in its wallet."""

    world: World
    wallet_id: str

    async def order(self, token_id: str, *, key: str | None = None, **fields: object) -> httpx.Response:
        """A limit order to buy 10 shares at 0.4, but for what `fields` say; under an idempotency `key`."""
        body = {
            "token_id": token_id,
            "side": "BUY",
            "type": "LIMIT",
            "price": "0.4",
            "amount": "10",
            "units": "SHARES",
        }
        named = {} if key is None else {"idempotency_key": key}
        return await self.world.by_key("POST", f"{self.path}/order", body | fields, **named)

    async def get(self, rest: str) -> Any:  # noqa: ANN401
        """What a GET below the wallet's path answers."""
        return good(await self.world.by_key("GET", f"{self.path}{rest}"))

    async def delete(self, rest: str) -> httpx.Response:
        """A DELETE below the wallet's path."""
        return await self.world.by_key("DELETE", f"{self.path}{rest}")

    @property
    def path(self) -> str:
        """Where the wallet's own routes are."""
        return f"/api/v1/wallet/pol/{self.wallet_id}"


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(
        template_databases, short_directory, open_orders_per_wallet_count=OPEN_ORDERS_COUNT
    ) as running:
        yield running


@pytest.fixture
async def market(cluster: Cluster) -> market_pb2.ListedMarket:
    return await cluster.market(taker_fee_bps=100)


@pytest.fixture
async def trader(cluster: Cluster) -> Trader:
    return await make_trader(cluster)


async def make_trader(cluster: Cluster) -> Trader:
    world = await make_world(cluster)
    wallet_id = await world.wallet_id()
    await cluster.deposit(wallet_id, "100", f"funding of {wallet_id}")
    return Trader(world, wallet_id)


async def test_published_flow_of_trading(
    cluster: Cluster, market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """Look at the market, place, be matched, look again: each answer has the published members."""
    shown = await cluster.ok("GET", f"/api/v1/markets/{market.condition_id}")
    assert (shown["left_token_id"], shown["tick"]) == (market.left_token_id, "0.001000")
    assert shown["event"]["event_id"] == shown["event_id"]
    assert shown["fees"] == {"maker_bps": 0, "taker_bps": 100}
    listed = await cluster.ok("GET", "/api/v1/markets?limit=1")
    assert listed == [shown]

    order = good(await trader.order(market.left_token_id, client_order_id="mine"), 201)
    assert {name: order[name] for name in ("side", "type", "time_in_force", "units", "status")} == {
        "side": "BUY",
        "type": "LIMIT",
        "time_in_force": "GTC",
        "units": "SHARES",
        "status": "OPEN",
    }
    book = await cluster.ok("GET", f"/api/v1/markets/{market.condition_id}/book")
    assert book["bids"] == [{"price": "0.400000", "shares": "10.000000"}]
    assert (book["asks"], book["condition_id"]) == ([], market.condition_id)

    other = await make_trader(cluster)
    quote = good(
        await other.world.by_key(
            "POST",
            f"{other.path}/order/quote",
            {"token_id": market.right_token_id, "side": "BUY", "amount": 6, "units": "USDC"},
        )
    )
    assert quote == {
        "amount": "6.000000",
        "shares": "10.000000",
        "average_price": "0.600000",
        "best_price": "0.600000",
        "slippage": "0.000000",
    }
    taken = good(
        await other.order(market.right_token_id, type="MARKET", price=None, amount=6, units="USDC"),
        201,
    )
    assert (taken["status"], taken["filled"], taken["price"], taken["fee"]) == (
        "FILLED",
        "10.000000",
        "0.600000",
        "0.060000",
    )
    assert (await trader.get(f"/order/{order['order_id']}"))["status"] == "FILLED"
    assert await trader.get("/orders/active") == []
    (trade,) = await trader.get("/trades")
    assert (trade["price"], trade["shares"], trade["amount"]) == ("0.400000", "10.000000", "4.000000")
    (position,) = await trader.get("/positions")
    assert list(position) == ["position", "event", "market"]
    assert (position["position"]["shares"], position["position"]["avg_price"]) == ("10.000000", "0.400000")
    assert good(await trader.world.by_key("GET", f"/api/v1/wallet/{trader.wallet_id}/positions")) == [
        position
    ]
    (balance,) = good(await trader.world.by_key("GET", f"/api/v1/wallet/{trader.wallet_id}/balance"))
    assert balance["balance"] == {"USDC": "96.000000"}
    assert await trader.get("/transfers?limit=5") != []
    assert await services.wallet.app.audit(cluster.dsns["wallet"]) == []


async def test_value_of_an_order_is_refused_with_its_code(
    market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """Each with the path of the member at fault."""
    token = market.left_token_id
    refused(await trader.order(token, price="1.5"), 400, "PRICE_OUT_OF_RANGE", paths=["price"])
    refused(await trader.order(token, price=0.5234), 400, "PRICE_OFF_TICK", paths=["price"])
    refused(await trader.order(token, amount="0.5"), 400, "AMOUNT_OUT_OF_RANGE", paths=["amount"])
    refused(await trader.order(token, amount=1.005), 400, "AMOUNT_OFF_LOT", paths=["amount"])
    late = await trader.order(token, time_in_force="GTD", expiration=1)
    refused(late, 400, "EXPIRATION_OUT_OF_RANGE", paths=["expiration"])
    whole = await trader.order(token, type="MARKET", price=None, amount="5")
    refused(whole, 400, "ORDER_NOT_FILLED", paths=["amount"])
    refused(await trader.order(token, side="BOTH"), 400, "VALIDATION_ERROR", paths=["side"])
    refused(await trader.order(token, side=None), 400, "VALIDATION_ERROR", paths=["side"])
    refused(await trader.order(token, type="STOPLOSS"), 400, "VALIDATION_ERROR", paths=["type"])
    assert await trader.get("/orders") == []


async def test_state_of_things_refuses_an_order_with_its_code(
    cluster: Cluster, market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """Too little money, an id that was used, a book that would fill it."""
    token = market.left_token_id
    refused(await trader.order(token, amount="999"), 409, "INSUFFICIENT_BALANCE", paths=["amount"])
    good(await trader.order(token, client_order_id="mine"), 201)
    refused(
        await trader.order(token, client_order_id="mine"),
        409,
        "CLIENT_ORDER_ID_USED",
        paths=["client_order_id"],
    )
    other = await make_trader(cluster)
    crossing = await other.order(market.right_token_id, price="0.6", post_only=True)
    refused(crossing, 409, "ORDER_WOULD_CROSS", paths=["price"])


async def test_wallet_may_have_so_many_open_orders(market: market_pb2.ListedMarket, trader: Trader) -> None:
    """One more is refused by name; cancelling all makes room for as many."""
    placed = [
        good(await trader.order(market.left_token_id, amount=1), 201)["order_id"]
        for _ in range(OPEN_ORDERS_COUNT)
    ]
    refused(await trader.order(market.left_token_id, amount=1), 409, "ORDER_LIMIT_REACHED")
    answer = good(await trader.delete("/orders"))
    assert sorted(answer["order_ids"]) == sorted(placed)
    good(await trader.order(market.left_token_id), 201)


async def test_missing_market_token_and_order_are_not_found(
    cluster: Cluster, market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """Unknown and malformed alike; another wallet's order too."""
    for name in (UNKNOWN_CONDITION, "nonsense", UNKNOWN_ID, market.left_token_id):
        for path in (f"/api/v1/markets/{name}", f"/api/v1/markets/{name}/book"):
            refused(await cluster.rest("GET", path), 404, "MARKET_NOT_FOUND", page=ANY_PAGE)
        if name != market.left_token_id:
            refused(await trader.order(name), 404, "TOKEN_NOT_FOUND")
    order = good(await trader.order(market.left_token_id), 201)
    other = await make_trader(cluster)
    for order_id in (UNKNOWN_ID, "nonsense", order["order_id"]):
        path = f"{other.path}/order/{order_id}"
        refused(await other.world.by_key("GET", path), 404, "ORDER_NOT_FOUND")
        refused(await other.delete(f"/order/{order_id}"), 404, "ORDER_NOT_FOUND")
    path = f"{trader.path}/order/{order['order_id']}"
    refused(await other.world.by_key("GET", path), 404, "WALLET_NOT_FOUND")


async def test_order_and_market_that_ended_refuse_by_name(
    cluster: Cluster, market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """An order ends once; a closed market takes none."""
    order = good(await trader.order(market.left_token_id), 201)
    assert good(await trader.delete(f"/order/{order['order_id']}")) == {"order_id": order["order_id"]}
    refused(await trader.delete(f"/order/{order['order_id']}"), 409, "ORDER_NOT_OPEN")
    operator = WalletOperator(cluster.internal["wallet"])
    await operator.CloseMarket(wallet_operator.CloseMarketRequest(condition_id=market.condition_id))
    refused(await trader.order(market.left_token_id), 409, "MARKET_CLOSED")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await cluster.market(event_id=UNKNOWN_ID)
    found = error_from_rpc(failure.value, "operator")
    assert (failure.value.code().name, found.code.value) == ("NOT_FOUND", "EVENT_NOT_FOUND")


async def test_expired_order_is_ended_by_the_service_itself(
    cluster: Cluster, market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """Nobody has to look: a second later what it held is free again."""
    until = cluster.clock.now_ns() // SECOND_NS + 60
    order = good(await trader.order(market.left_token_id, time_in_force="GTD", expiration=until), 201)
    assert order["expires_at"] is not None
    balance = await trader.get("/balance")
    assert balance["balance"] == {"USDC": "95.960000"}
    cluster.clock.advance(seconds=61)
    async with asyncio.timeout(30):
        while (await trader.get("/balance"))["balance"] != {"USDC": "100.000000"}:
            # The sweeper sleeps by the same clock, between its rounds.
            cluster.clock.advance(seconds=1)
    assert (await trader.get(f"/order/{order['order_id']}"))["status"] == "EXPIRED"


async def test_many_callers_of_one_wallet_and_market_are_all_answered(
    cluster: Cluster, market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """With an order or a refusal that says why; no 5xx, and the books are sound."""
    other = await make_trader(cluster)
    answers = await asyncio.gather(
        *(
            one.order(token, amount=1, price=price)
            for _ in range(15)
            for one, token, price in (
                (trader, market.left_token_id, "0.4"),
                (other, market.right_token_id, "0.6"),
                (trader, market.left_token_id, "0.3"),
                (other, market.right_token_id, "0.7"),
            )
        )
    )
    codes = Counter(
        "OK" if answer.status_code == 201 else answer.json()["error"]["code"] for answer in answers
    )
    assert set(codes) <= {"OK", "ORDER_LIMIT_REACHED"}, codes
    assert await services.wallet.app.audit(cluster.dsns["wallet"]) == []


async def test_order_under_an_idempotency_key_is_placed_once(
    market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """Repeated, its first answer comes again; a refusal by the state of things too."""
    first = await trader.order(market.left_token_id, key="order-1")
    again = await trader.order(market.left_token_id, key="order-1")
    assert good(again, 201) == good(first, 201)
    assert again.headers["idempotent-replayed"] == "true"
    refused_first = await trader.order(market.left_token_id, key="order-2", amount="999")
    await trader.delete("/orders")
    await trader.world.cluster.deposit(trader.wallet_id, "999", f"more for {trader.wallet_id}")
    refused_again = await trader.order(market.left_token_id, key="order-2", amount="999")
    assert refused_first.json()["error"] == refused_again.json()["error"]
    assert len(await trader.get("/orders")) == 1

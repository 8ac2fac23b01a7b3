"""Markets and orders on a real database, called as the interceptors would call them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from chassis.errors import SealgateError
from chassis.identity import Identity
from chassis.limits import OPEN_ORDERS_PER_WALLET_COUNT
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import market_pb2, operator_pb2, order_pb2, position_pb2
from services.wallet.storage import CONSTRAINT_ERRORS
from services.wallet.transport.market import MarketServicer
from services.wallet.transport.order import OrderServicer
from services.wallet.transport.position import PositionServicer
from tests.integration.wallet_support import WalletWorld

BUY: Final = order_pb2.SIDE_BUY
SELL: Final = order_pb2.SIDE_SELL
LIMIT: Final = order_pb2.ORDER_TYPE_LIMIT
MARKET: Final = order_pb2.ORDER_TYPE_MARKET
USDC: Final = order_pb2.AMOUNT_UNITS_USDC
SHARES: Final = order_pb2.AMOUNT_UNITS_SHARES
FOK: Final = order_pb2.TIME_IN_FORCE_FOK
FAK: Final = order_pb2.TIME_IN_FORCE_FAK
GTC: Final = order_pb2.TIME_IN_FORCE_GTC
GTD: Final = order_pb2.TIME_IN_FORCE_GTD
OPEN: Final = order_pb2.ORDER_STATUS_OPEN
PARTIAL: Final = order_pb2.ORDER_STATUS_PARTIAL
FILLED: Final = order_pb2.ORDER_STATUS_FILLED
CANCELED: Final = order_pb2.ORDER_STATUS_CANCELED
EXPIRED: Final = order_pb2.ORDER_STATUS_EXPIRED


@dataclass(frozen=True, slots=True)
class Trader:
    """An account with a wallet."""

    identity: Identity
    wallet_id: str


class TradingWorld(WalletWorld):
    """The servicers of trading beside those of wallets, over one fresh database."""

    def __init__(
        self, fresh: FreshDatabase, clock: FakeClock, ids: CountingIds, open_orders_count: int
    ) -> None:
        super().__init__(fresh, clock, ids, open_orders_count=open_orders_count)
        self.market_api = MarketServicer(self.markets, clock)
        self.order_api = OrderServicer(self.markets, self.orders, self.listings, clock, ids)
        self.position_api = PositionServicer(self.listings, clock)

    async def market(self, **fields: Any) -> market_pb2.ListedMarket:  # noqa: ANN401
        """A new market."""
        request = operator_pb2.CreateMarketRequest(**{"question": "Will it rain?"} | fields)
        return (await self.call(self.operator.CreateMarket, request)).market

    async def close(self, condition_id: str) -> operator_pb2.CloseMarketResponse:
        """Ends trading in a market."""
        request = operator_pb2.CloseMarketRequest(condition_id=condition_id)
        return await self.call(self.operator.CloseMarket, request)

    async def get_market(self, condition_id: str) -> market_pb2.ListedMarket:
        """One market."""
        request = market_pb2.GetMarketRequest(condition_id=condition_id)
        return (await self.call(self.market_api.GetMarket, request)).market

    async def list_markets(self, **page: int) -> list[market_pb2.ListedMarket]:
        """A page of markets."""
        request = market_pb2.ListMarketsRequest(**page)
        return list((await self.call(self.market_api.ListMarkets, request)).markets)

    async def book(self, condition_id: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Bids and asks as pairs of price and shares."""
        request = market_pb2.GetBookRequest(condition_id=condition_id)
        book = (await self.call(self.market_api.GetBook, request)).book
        return _pairs(book.bids), _pairs(book.asks)

    async def book_seq(self, condition_id: str) -> int:
        """The number of the book's last change."""
        request = market_pb2.GetBookRequest(condition_id=condition_id)
        return (await self.call(self.market_api.GetBook, request)).book.seq

    async def trader(self, amount: str = "100") -> Trader:
        """A new account with so much USDC in its wallet; none for 0."""
        identity = self.caller()
        if amount == "0":
            return Trader(identity, await self.first_wallet(identity))
        return Trader(identity, await self.funded_wallet(identity, amount))

    async def place(
        self,
        trader: Trader,
        token_id: str,
        side: order_pb2.Side.ValueType,
        price: str,
        amount: str,
        **fields: Any,  # noqa: ANN401
    ) -> order_pb2.Order:
        """A LIMIT order in shares, but for what `fields` say."""
        return await self.order(trader, token_id=token_id, side=side, price=price, amount=amount, **fields)

    async def order(self, trader: Trader, **fields: Any) -> order_pb2.Order:  # noqa: ANN401
        """An order of these fields; LIMIT in shares unless they say otherwise."""
        given: dict[str, Any] = {"wallet_id": trader.wallet_id, "type": LIMIT, "units": SHARES} | fields
        request = order_pb2.PlaceOrderRequest(**given)
        return (await self.call(self.order_api.PlaceOrder, request, trader.identity)).order

    async def quote(self, trader: Trader, **fields: Any) -> order_pb2.Quote:  # noqa: ANN401
        """What an order would come to."""
        request = order_pb2.QuoteOrderRequest(**{"wallet_id": trader.wallet_id} | fields)
        return (await self.call(self.order_api.QuoteOrder, request, trader.identity)).quote

    async def get_order(self, trader: Trader, order_id: str) -> order_pb2.Order:
        """One order."""
        request = order_pb2.GetOrderRequest(wallet_id=trader.wallet_id, order_id=order_id)
        return (await self.call(self.order_api.GetOrder, request, trader.identity)).order

    async def cancel(self, trader: Trader, order_id: str) -> str:
        """Cancels one order."""
        request = order_pb2.CancelOrderRequest(wallet_id=trader.wallet_id, order_id=order_id)
        return (await self.call(self.order_api.CancelOrder, request, trader.identity)).order_id

    async def cancel_all(self, trader: Trader) -> list[str]:
        """Cancels all orders of a wallet."""
        request = order_pb2.CancelAllOrdersRequest(wallet_id=trader.wallet_id)
        return list((await self.call(self.order_api.CancelAllOrders, request, trader.identity)).order_ids)

    async def list_orders(self, trader: Trader, **page: int) -> list[order_pb2.ListedOrder]:
        """A page of a wallet's orders."""
        request = order_pb2.ListOrdersRequest(wallet_id=trader.wallet_id, **page)
        return list((await self.call(self.order_api.ListOrders, request, trader.identity)).orders)

    async def active(self, trader: Trader, **page: int) -> list[order_pb2.ListedOrder]:
        """A page of a wallet's orders that can be filled."""
        request = order_pb2.ListActiveOrdersRequest(wallet_id=trader.wallet_id, **page)
        return list((await self.call(self.order_api.ListActiveOrders, request, trader.identity)).orders)

    async def trades(self, trader: Trader, **page: int) -> list[order_pb2.Trade]:
        """A page of what a wallet traded."""
        request = order_pb2.ListTradesRequest(wallet_id=trader.wallet_id, **page)
        return list((await self.call(self.order_api.ListTrades, request, trader.identity)).trades)

    async def positions(self, trader: Trader, **page: int) -> list[position_pb2.ListedPosition]:
        """A page of a wallet's positions."""
        request = position_pb2.ListPositionsRequest(wallet_id=trader.wallet_id, **page)
        answer = await self.call(self.position_api.ListPositions, request, trader.identity)
        return list(answer.positions)

    async def usdc(self, trader: Trader) -> tuple[str, str]:
        """What a wallet has of USDC, in all and available."""
        balance = await self.balance(trader.identity, trader.wallet_id)
        (asset,) = [asset for asset in balance.assets if asset.asset == "USDC"]
        return asset.total, asset.available

    async def system_balance(self, name: str) -> dict[str, int]:
        """What a system wallet holds, in millionths by asset code."""
        rows = await self.administer(
            "SELECT code, posted FROM balance JOIN wallet USING (wallet_id) JOIN asset USING (asset_id)"
            " WHERE wallet.name = $1",
            name,
        )
        return {row["code"]: row["posted"] for row in rows}


async def open_trading(
    database_factory: DatabaseFactory,
    clock: FakeClock,
    ids: CountingIds,
    *,
    pool_size_count: int = 5,
    open_orders_count: int = OPEN_ORDERS_PER_WALLET_COUNT,
) -> TradingWorld:
    """Trading on a fresh database."""
    fresh = await database_factory(
        "wallet", pool_size_count=pool_size_count, constraint_errors=CONSTRAINT_ERRORS
    )
    return TradingWorld(fresh, clock, ids, open_orders_count)


def details_of(error: SealgateError) -> list[tuple[str, str]]:
    """What a refusal says of the request, as pairs of path and message."""
    return [(detail.path, detail.message) for detail in error.details]


def uuid_version(text: str) -> int | None:
    """The version of the UUID in a text."""
    return uuid.UUID(text).version


def _pairs(levels: Iterable[market_pb2.BookLevel]) -> list[tuple[str, str]]:
    return [(level.price, level.shares) for level in levels]

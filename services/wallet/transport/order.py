"""Orders and trades: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.ids import Ids
from chassis.rpc.timestamps import timestamp
from sealgate.wallet.v1 import order_pb2, order_pb2_grpc
from services.wallet.domain.listing import ListedOrder, ListedTrade
from services.wallet.domain.market import token_id_of
from services.wallet.domain.order import check_order, read_order
from services.wallet.domain.quote import Quote, quote, read_quote
from services.wallet.domain.wallet import wallet_id_of
from services.wallet.ports import ListingStore, MarketStore, OrderStore
from services.wallet.transport.market import event_message, market_message
from services.wallet.transport.messages import Context, act_of_caller, amount_text, page_of, reach
from services.wallet.transport.order_messages import (
    SIDE_MESSAGES,
    SIDES,
    UNITS,
    order_id_of,
    order_message,
    order_request,
)

# Who matches orders.
_VENUE: Final = "embedded"


class OrderServicer(order_pb2_grpc.OrderServiceServicer):
    """Orders of the caller's own wallets."""

    def __init__(
        self, markets: MarketStore, orders: OrderStore, listings: ListingStore, clock: Clock, ids: Ids
    ) -> None:
        self._markets = markets
        self._orders = orders
        self._listings = listings
        self._clock = clock
        self._ids = ids

    async def PlaceOrder(
        self, request: order_pb2.PlaceOrderRequest, context: Context
    ) -> order_pb2.PlaceOrderResponse:
        """Places an order; what of it can be filled at once is."""
        wallet_id = wallet_id_of(request.wallet_id)
        act = act_of_caller(self._clock)
        draft = read_order(order_request(request), act.at_ns)
        token_id = token_id_of(request.token_id)
        known = await self._markets.by_token(token_id)
        order = check_order(draft, known.outcome_of(token_id), known.market.terms)
        placed = await self._orders.place_order(reach(), wallet_id, known, order, self._ids.uuid7(), act)
        return order_pb2.PlaceOrderResponse(order=order_message(placed, placed.updated_at_ns))

    async def QuoteOrder(
        self, request: order_pb2.QuoteOrderRequest, context: Context
    ) -> order_pb2.QuoteOrderResponse:
        """Says what a MARKET order would come to now."""
        wallet_id = wallet_id_of(request.wallet_id)
        token_id = token_id_of(request.token_id)
        known = await self._markets.by_token(token_id)
        terms = known.market.terms
        order = read_quote(
            SIDES.get(request.side),
            request.amount,
            UNITS.get(request.units),
            known.outcome_of(token_id),
            terms,
        )
        resting = await self._orders.reached_orders(reach(), wallet_id, known, order, self._clock.now_ns())
        return order_pb2.QuoteOrderResponse(quote=_quote(quote(order, resting, terms)))

    async def GetOrder(
        self, request: order_pb2.GetOrderRequest, context: Context
    ) -> order_pb2.GetOrderResponse:
        """Returns one order."""
        wallet_id = wallet_id_of(request.wallet_id)
        order = await self._listings.get_order(reach(), wallet_id, order_id_of(request.order_id))
        return order_pb2.GetOrderResponse(order=order_message(order, self._clock.now_ns()))

    async def CancelOrder(
        self, request: order_pb2.CancelOrderRequest, context: Context
    ) -> order_pb2.CancelOrderResponse:
        """Cancels what is left of an order."""
        wallet_id = wallet_id_of(request.wallet_id)
        order_id = order_id_of(request.order_id)
        await self._orders.cancel_order(reach(), wallet_id, order_id)
        return order_pb2.CancelOrderResponse(order_id=str(order_id))

    async def CancelAllOrders(
        self, request: order_pb2.CancelAllOrdersRequest, context: Context
    ) -> order_pb2.CancelAllOrdersResponse:
        """Cancels what is left of every order of a wallet."""
        wallet_id = wallet_id_of(request.wallet_id)
        ended = await self._orders.cancel_all_orders(reach(), wallet_id)
        return order_pb2.CancelAllOrdersResponse(order_ids=[str(order_id) for order_id in ended])

    async def ListOrders(
        self, request: order_pb2.ListOrdersRequest, context: Context
    ) -> order_pb2.ListOrdersResponse:
        """Lists a wallet's orders, newest first."""
        wallet_id = wallet_id_of(request.wallet_id)
        now_ns = self._clock.now_ns()
        orders = await self._listings.list_orders(reach(), wallet_id, page_of(request), now_ns)
        return order_pb2.ListOrdersResponse(orders=[_listed_order(one, now_ns) for one in orders])

    async def ListActiveOrders(
        self, request: order_pb2.ListActiveOrdersRequest, context: Context
    ) -> order_pb2.ListActiveOrdersResponse:
        """Lists a wallet's orders that can still be filled, newest first."""
        wallet_id = wallet_id_of(request.wallet_id)
        now_ns = self._clock.now_ns()
        orders = await self._listings.list_live_orders(reach(), wallet_id, page_of(request), now_ns)
        return order_pb2.ListActiveOrdersResponse(orders=[_listed_order(one, now_ns) for one in orders])

    async def ListTrades(
        self, request: order_pb2.ListTradesRequest, context: Context
    ) -> order_pb2.ListTradesResponse:
        """Lists what a wallet's orders traded, newest first."""
        wallet_id = wallet_id_of(request.wallet_id)
        trades = await self._listings.list_trades(reach(), wallet_id, page_of(request))
        return order_pb2.ListTradesResponse(trades=[_trade(trade) for trade in trades])


def _listed_order(listed: ListedOrder, now_ns: int) -> order_pb2.ListedOrder:
    return order_pb2.ListedOrder(
        venue=_VENUE,
        order=order_message(listed.order, now_ns),
        event=event_message(listed.market.event),
        market=market_message(listed.market),
    )


def _trade(trade: ListedTrade) -> order_pb2.Trade:
    return order_pb2.Trade(
        order_id=str(trade.order_id),
        token_id=trade.token_id,
        side=SIDE_MESSAGES[trade.side],
        price=amount_text(trade.price),
        shares=amount_text(trade.shares),
        amount=amount_text(trade.notional),
        created_at=timestamp(trade.created_at_ns),
    )


def _quote(quoted: Quote) -> order_pb2.Quote:
    return order_pb2.Quote(
        amount=amount_text(quoted.amount),
        shares=amount_text(quoted.shares),
        average_price=amount_text(quoted.average_price),
        best_price=amount_text(quoted.best_price),
        slippage=amount_text(quoted.slippage),
    )

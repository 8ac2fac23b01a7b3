"""Orders and trades: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import uuid
from typing import Final

from chassis.clock import Clock
from chassis.errors import Code, SealgateError, invalid
from chassis.ids import Ids, parse_uuid
from chassis.rpc.timestamps import timestamp, timestamp_or_none
from sealgate.wallet.v1 import order_pb2, order_pb2_grpc
from services.wallet.domain.listing import ListedOrder, ListedTrade, PlacedOrder
from services.wallet.domain.market import token_id_of
from services.wallet.domain.order import (
    AmountUnits,
    OrderRequest,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    check_order,
    read_order,
)
from services.wallet.domain.position import average_price
from services.wallet.domain.quote import Quote, quote, read_quote
from services.wallet.domain.wallet import wallet_id_of
from services.wallet.ports import ListingStore, MarketStore, OrderStore
from services.wallet.transport.market import event_message, market_message
from services.wallet.transport.messages import Context, act_of_caller, amount_text, page_of, reach

# Who matches orders.
_VENUE: Final = "embedded"

_SIDES: Final = {order_pb2.SIDE_BUY: Side.BUY, order_pb2.SIDE_SELL: Side.SELL}
_TYPES: Final = {
    order_pb2.ORDER_TYPE_MARKET: OrderType.MARKET,
    order_pb2.ORDER_TYPE_LIMIT: OrderType.LIMIT,
}
_TIMES_IN_FORCE: Final = {
    order_pb2.TIME_IN_FORCE_GTC: TimeInForce.GTC,
    order_pb2.TIME_IN_FORCE_GTD: TimeInForce.GTD,
    order_pb2.TIME_IN_FORCE_FOK: TimeInForce.FOK,
    order_pb2.TIME_IN_FORCE_FAK: TimeInForce.FAK,
}
_UNITS: Final = {
    order_pb2.AMOUNT_UNITS_USDC: AmountUnits.USDC,
    order_pb2.AMOUNT_UNITS_SHARES: AmountUnits.SHARES,
}
_STATUSES: Final = {
    OrderStatus.OPEN: order_pb2.ORDER_STATUS_OPEN,
    OrderStatus.PARTIAL: order_pb2.ORDER_STATUS_PARTIAL,
    OrderStatus.FILLED: order_pb2.ORDER_STATUS_FILLED,
    OrderStatus.CANCELED: order_pb2.ORDER_STATUS_CANCELED,
    OrderStatus.EXPIRED: order_pb2.ORDER_STATUS_EXPIRED,
}
_SIDE_MESSAGES: Final = {side: message for message, side in _SIDES.items()}
_TYPE_MESSAGES: Final = {kind: message for message, kind in _TYPES.items()}
_TIME_MESSAGES: Final = {time: message for message, time in _TIMES_IN_FORCE.items()}
_UNIT_MESSAGES: Final = {units: message for message, units in _UNITS.items()}


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
        draft = read_order(_order_request(request), act.at_ns)
        token_id = token_id_of(request.token_id)
        known = await self._markets.by_token(token_id)
        order = check_order(draft, known.outcome_of(token_id), known.market.terms)
        placed = await self._orders.place_order(reach(), wallet_id, known, order, self._ids.uuid7(), act)
        return order_pb2.PlaceOrderResponse(order=_order(placed, placed.updated_at_ns))

    async def QuoteOrder(
        self, request: order_pb2.QuoteOrderRequest, context: Context
    ) -> order_pb2.QuoteOrderResponse:
        """Says what a MARKET order would come to now."""
        wallet_id = wallet_id_of(request.wallet_id)
        token_id = token_id_of(request.token_id)
        known = await self._markets.by_token(token_id)
        terms = known.market.terms
        order = read_quote(
            _SIDES.get(request.side),
            request.amount,
            _UNITS.get(request.units),
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
        order = await self._listings.get_order(reach(), wallet_id, _order_id_of(request.order_id))
        return order_pb2.GetOrderResponse(order=_order(order, self._clock.now_ns()))

    async def CancelOrder(
        self, request: order_pb2.CancelOrderRequest, context: Context
    ) -> order_pb2.CancelOrderResponse:
        """Cancels what is left of an order."""
        wallet_id = wallet_id_of(request.wallet_id)
        order_id = _order_id_of(request.order_id)
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


def _order_id_of(text: str) -> uuid.UUID:
    order_id = parse_uuid(text)
    if order_id is None:
        raise SealgateError(Code.ORDER_NOT_FOUND)
    return order_id


def _order_request(request: order_pb2.PlaceOrderRequest) -> OrderRequest:
    """The fields as the domain takes them: an enum that is not stated, or not one of ours, is None."""
    time_in_force = None
    if request.HasField("time_in_force"):
        time_in_force = _TIMES_IN_FORCE.get(request.time_in_force)
        if time_in_force is None:
            # Absent stands for a default, so what is no value at all must not.
            raise invalid("time_in_force", "must be one of GTC, GTD, FOK, FAK")
    return OrderRequest(
        side=_SIDES.get(request.side),
        order_type=_TYPES.get(request.type),
        amount=request.amount,
        units=_UNITS.get(request.units),
        price=request.price if request.HasField("price") else None,
        time_in_force=time_in_force,
        expiration=request.expiration if request.HasField("expiration") else None,
        post_only=request.post_only,
        reduce_only=request.reduce_only,
        client_order_id=request.client_order_id if request.HasField("client_order_id") else None,
        not_after=request.not_after if request.HasField("not_after") else None,
    )


def _order(order: PlacedOrder, now_ns: int) -> order_pb2.Order:
    limit = order.price if order.order_type is OrderType.LIMIT else None
    return order_pb2.Order(
        order_id=str(order.order_id),
        token_id=order.token_id,
        side=_SIDE_MESSAGES[order.side],
        type=_TYPE_MESSAGES[order.order_type],
        time_in_force=_TIME_MESSAGES[order.time_in_force],
        amount=amount_text(order.amount),
        shares=amount_text(order.shares),
        filled=amount_text(order.filled),
        price=amount_text(average_price(order.notional, order.filled) if limit is None else limit),
        fee=amount_text(order.fee_charged),
        units=_UNIT_MESSAGES[order.units],
        status=_STATUSES[order.status_at(now_ns)],
        created_at=timestamp(order.created_at_ns),
        updated_at=timestamp(order.updated_at_ns_at(now_ns)),
        client_order_id=order.client_order_id,
        expires_at=timestamp_or_none(order.expires_at_ns),
    )


def _listed_order(listed: ListedOrder, now_ns: int) -> order_pb2.ListedOrder:
    return order_pb2.ListedOrder(
        venue=_VENUE,
        order=_order(listed.order, now_ns),
        event=event_message(listed.market.event),
        market=market_message(listed.market),
    )


def _trade(trade: ListedTrade) -> order_pb2.Trade:
    return order_pb2.Trade(
        order_id=str(trade.order_id),
        token_id=trade.token_id,
        side=_SIDE_MESSAGES[trade.side],
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

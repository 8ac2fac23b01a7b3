"""Orders in messages: what a request asks for, and how an order is shown."""

from __future__ import annotations

import uuid
from typing import Final

from chassis.errors import Code, SealgateError, invalid
from chassis.ids import parse_uuid
from chassis.rpc.timestamps import timestamp, timestamp_or_none
from sealgate.wallet.v1 import order_pb2, signed_body_pb2
from services.wallet.domain.listing import PlacedOrder
from services.wallet.domain.order import AmountUnits, OrderRequest, OrderStatus, OrderType, Side, TimeInForce
from services.wallet.domain.position import average_price
from services.wallet.transport.messages import amount_text

SIDES: Final = {order_pb2.SIDE_BUY: Side.BUY, order_pb2.SIDE_SELL: Side.SELL}
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
UNITS: Final = {
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
SIDE_MESSAGES: Final = {side: message for message, side in SIDES.items()}
_TYPE_MESSAGES: Final = {kind: message for message, kind in _TYPES.items()}
_TIME_MESSAGES: Final = {time: message for message, time in _TIMES_IN_FORCE.items()}
_UNIT_MESSAGES: Final = {units: message for message, units in UNITS.items()}


def order_id_of(text: str) -> uuid.UUID:
    """Reads an order's id; raises ORDER_NOT_FOUND for what cannot be one."""
    order_id = parse_uuid(text)
    if order_id is None:
        raise SealgateError(Code.ORDER_NOT_FOUND)
    return order_id


def order_request(request: order_pb2.PlaceOrderRequest | signed_body_pb2.PlaceOrder) -> OrderRequest:
    """The fields as the domain takes them: an enum that is not stated, or not one of ours, is None."""
    time_in_force = None
    if request.HasField("time_in_force"):
        time_in_force = _TIMES_IN_FORCE.get(request.time_in_force)
        if time_in_force is None:
            # Absent stands for a default, so what is no value at all must not.
            raise invalid("time_in_force", "must be one of GTC, GTD, FOK, FAK")
    return OrderRequest(
        side=SIDES.get(request.side),
        order_type=_TYPES.get(request.type),
        amount=request.amount,
        units=UNITS.get(request.units),
        price=request.price if request.HasField("price") else None,
        time_in_force=time_in_force,
        expiration=request.expiration if request.HasField("expiration") else None,
        post_only=request.post_only,
        reduce_only=request.reduce_only,
        client_order_id=request.client_order_id if request.HasField("client_order_id") else None,
        not_after=request.not_after if request.HasField("not_after") else None,
    )


def order_message(order: PlacedOrder, now_ns: int) -> order_pb2.Order:
    """The order as it stands at a time."""
    return order_pb2.Order(
        order_id=str(order.order_id),
        token_id=order.token_id,
        side=SIDE_MESSAGES[order.side],
        type=_TYPE_MESSAGES[order.order_type],
        time_in_force=_TIME_MESSAGES[order.time_in_force],
        amount=amount_text(order.amount),
        shares=amount_text(order.shares),
        filled=amount_text(order.filled),
        price=amount_text(_price(order)),
        fee=amount_text(order.fee_charged),
        units=_UNIT_MESSAGES[order.units],
        status=_STATUSES[order.status_at(now_ns)],
        created_at=timestamp(order.created_at_ns),
        updated_at=timestamp(order.updated_at_ns_at(now_ns)),
        client_order_id=order.client_order_id,
        expires_at=timestamp_or_none(order.expires_at_ns),
    )


def submitted_order(wallet_id: uuid.UUID, order: PlacedOrder, now_ns: int) -> signed_body_pb2.SubmittedOrder:
    """A wallet's order as it stands at a time, told to who signed for it."""
    return signed_body_pb2.SubmittedOrder(
        order_id=str(order.order_id),
        wallet_id=str(wallet_id),
        token_id=order.token_id,
        side=SIDE_MESSAGES[order.side],
        type=_TYPE_MESSAGES[order.order_type],
        time_in_force=_TIME_MESSAGES[order.time_in_force],
        amount=amount_text(order.amount),
        units=_UNIT_MESSAGES[order.units],
        shares=amount_text(order.shares),
        filled=amount_text(order.filled),
        price=amount_text(_price(order)),
        fee=amount_text(order.fee_charged),
        status=_STATUSES[order.status_at(now_ns)],
        client_order_id=order.client_order_id,
        created_at_ns=order.created_at_ns,
        updated_at_ns=order.updated_at_ns_at(now_ns),
    )


def _price(order: PlacedOrder) -> int:
    """The limit; of a MARKET order the average that it got."""
    if order.order_type is OrderType.LIMIT and order.price is not None:
        return order.price
    return average_price(order.notional, order.filled)

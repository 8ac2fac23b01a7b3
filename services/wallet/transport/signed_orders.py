"""Signed orders: placed, cancelled and changed under a request id that runs once."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from chassis.errors import Code, Detail, SealgateError
from chassis.ids import Ids
from chassis.methods import method_path
from chassis.rpc import context as request_context
from chassis.rpc.context import SignedCall
from chassis.signing import Rejections, Status
from sealgate.wallet.v1 import signed_body_pb2, signed_pb2
from services.wallet.domain.amendment import read_amendment
from services.wallet.domain.listing import SignedOrder
from services.wallet.domain.market import token_id_of
from services.wallet.domain.order import check_order, read_order
from services.wallet.domain.wallet import Reach, wallet_id_of
from services.wallet.ports import ListingStore, MarketStore, OrderStore
from services.wallet.transport.messages import SIGNED_REQUESTS, Context, act_of_signer, named_subaccount
from services.wallet.transport.order_messages import order_id_of, order_request, submitted_order

# Their request types.
_PLACE_ORDER: Final = 1
_AMEND_ORDER: Final = 4

_ORDER: Final = Rejections(
    by_code={
        Code.INSUFFICIENT_BALANCE: Status.ORDER_INSUFFICIENT_BALANCE,
        Code.MARKET_CLOSED: Status.ORDER_MARKET_CLOSED,
        Code.ORDER_WOULD_CROSS: Status.ORDER_WOULD_CROSS,
        Code.ORDER_NOT_FILLED: Status.ORDER_NOT_FILLED,
        Code.ORDER_NOT_OPEN: Status.ORDER_NOT_OPEN,
    },
    otherwise=Status.ORDER_INVALID,
)

REJECTIONS: Final[Mapping[str, Rejections]] = {
    method_path(SIGNED_REQUESTS, name): _ORDER
    for name in ("SubmitPlaceOrder", "SubmitCancelOrder", "SubmitCancelAllOrders", "SubmitAmendOrder")
}
"""How the refusals of these methods are answered."""

# Where a request names what these say is missing, or full.
_PATHS: Final = {
    Code.SUBACCOUNT_NOT_FOUND: "subaccount_index",
    Code.WALLET_NOT_FOUND: "wallet_id",
    Code.ORDER_LIMIT_REACHED: "wallet_id",
    Code.TOKEN_NOT_FOUND: "token_id",
    Code.ORDER_NOT_FOUND: "order_id",
}


class _Body(Protocol):
    """What every signed request about orders says."""

    subaccount_index: int
    wallet_id: str


class SignedOrders:
    """The part of `SignedRequestService` about orders."""

    _markets: MarketStore
    _orders: OrderStore
    _listings: ListingStore
    _ids: Ids

    async def SubmitPlaceOrder(
        self, request: signed_pb2.SubmitPlaceOrderRequest, context: Context
    ) -> signed_pb2.SubmitPlaceOrderResponse:
        """Places an order; what of it can be filled at once is."""
        call = request_context.signed()
        body: signed_body_pb2.PlaceOrder = call.body
        with _named():
            within, wallet_id = _wallet(call, body)
            act = act_of_signer(call)
            draft = read_order(order_request(body), act.at_ns)
            token_id = token_id_of(body.token_id)
            known = await self._markets.by_token(token_id)
            order = check_order(draft, known.outcome_of(token_id), known.market.terms)
            placed = await self._orders.place_order(within, wallet_id, known, order, self._ids.uuid7(), act)
        return signed_pb2.SubmitPlaceOrderResponse(
            order=submitted_order(wallet_id, placed, placed.updated_at_ns)
        )

    async def SubmitCancelOrder(
        self, request: signed_pb2.SubmitCancelOrderRequest, context: Context
    ) -> signed_pb2.SubmitCancelOrderResponse:
        """Cancels what is left of an order."""
        call = request_context.signed()
        body: signed_body_pb2.CancelOrder = call.body
        with _named():
            within, wallet_id = _wallet(call, body)
            order_id = order_id_of(body.order_id)
            await self._orders.cancel_order(within, wallet_id, order_id)
            ended = await self._listings.get_order(within, wallet_id, order_id)
        return signed_pb2.SubmitCancelOrderResponse(
            order=submitted_order(wallet_id, ended, ended.updated_at_ns)
        )

    async def SubmitCancelAllOrders(
        self, request: signed_pb2.SubmitCancelAllOrdersRequest, context: Context
    ) -> signed_pb2.SubmitCancelAllOrdersResponse:
        """Cancels what is left of every order of a wallet."""
        call = request_context.signed()
        body: signed_body_pb2.CancelAllOrders = call.body
        with _named():
            within, wallet_id = _wallet(call, body)
            ended = await self._orders.cancel_all_orders(within, wallet_id)
        return signed_pb2.SubmitCancelAllOrdersResponse(order_ids=[str(order_id) for order_id in ended])

    async def SubmitAmendOrder(
        self, request: signed_pb2.SubmitAmendOrderRequest, context: Context
    ) -> signed_pb2.SubmitAmendOrderResponse:
        """Changes an open order where it stands, or puts another in its stead."""
        call = request_context.signed()
        body: signed_body_pb2.AmendOrder = call.body
        with _named():
            within, wallet_id = _wallet(call, body)
            order_id = order_id_of(body.order_id)
            amendment = read_amendment(
                body.price if body.HasField("price") else None,
                body.shares if body.HasField("shares") else None,
            )
            found = await self._listings.get_order(within, wallet_id, order_id)
            known = await self._markets.by_token(found.token_id)
            changed = await self._orders.amend_order(
                within, wallet_id, known, order_id, amendment, self._ids.uuid7(), act_of_signer(call)
            )
        return signed_pb2.SubmitAmendOrderResponse(
            order=submitted_order(wallet_id, changed, changed.updated_at_ns)
        )


def outcome_of_order(request_id: uuid.UUID, signed: SignedOrder, now_ns: int) -> signed_pb2.RequestOutcome:
    """What became of a request that placed an order, when the order is all that still tells of it."""
    return signed_pb2.RequestOutcome(
        success=True,
        status=Status.COMPLETED.value,
        processed_at_ns=signed.processed_at_ns,
        request_id=str(request_id),
        request_type=_AMEND_ORDER if signed.is_replacement else _PLACE_ORDER,
        order=submitted_order(signed.wallet_id, signed.order, now_ns),
    )


def _wallet(call: SignedCall, body: _Body) -> tuple[Reach, uuid.UUID]:
    """The wallet that a body names, and a reach of just the subaccount that it says it is in.

    Raises Refused where the key does not reach that one, before anything else is looked at.
    """
    return named_subaccount(call, body.subaccount_index), wallet_id_of(body.wallet_id)


@contextmanager
def _named() -> Iterator[None]:
    """Says of a refusal without a detail which field it is about."""
    try:
        yield
    except SealgateError as error:
        path = _PATHS.get(error.code)
        if path is None or error.details:
            raise
        raise SealgateError(error.code, details=(Detail(path, error.row.message),)) from error

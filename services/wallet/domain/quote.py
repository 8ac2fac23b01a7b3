"""Quotes: what a MARKET order would come to at the book as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.wallet.domain.funds import check_budget
from services.wallet.domain.market import ONE, Outcome, Terms, mirrored
from services.wallet.domain.matching import RestingOrder, match
from services.wallet.domain.order import (
    AmountUnits,
    NewOrder,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
    check_order,
    read_order,
)
from services.wallet.domain.position import average_price, rounded_ratio


@dataclass(frozen=True, slots=True)
class Quote:
    """Millionths throughout; prices are of the order's own outcome, 0 where there is none.

    `slippage` is how much worse the average is than the best, as a part of the best.
    """

    amount: int
    shares: int
    average_price: int
    best_price: int
    slippage: int


def read_quote(
    side: Side | None, amount: str, units: AmountUnits | None, outcome: Outcome, terms: Terms
) -> NewOrder:
    """The MARKET order to quote; raises what `read_order` and `check_order` raise."""
    request = OrderRequest(
        side=side,
        order_type=OrderType.MARKET,
        amount=amount,
        units=units,
        time_in_force=TimeInForce.FAK,
    )
    # It has no times, so no time has to be told.
    return check_order(read_order(request, now_ns=0), outcome, terms)


def quote(order: NewOrder, resting: Sequence[RestingOrder], terms: Terms) -> Quote:
    """What an order would come to; `resting` as for `place`. Nobody's account stops it.

    Raises AMOUNT_OUT_OF_RANGE as the order would.
    """
    check_budget(order, resting, terms)
    met = match(order, None, resting, terms)
    best = mirrored(resting[0].left_price, order.outcome) if resting else 0
    at_best = best * met.shares
    return Quote(
        amount=met.notional,
        shares=met.shares,
        average_price=average_price(met.notional, met.shares),
        best_price=best,
        slippage=rounded_ratio(abs(met.notional * ONE - at_best) * ONE, at_best),
    )

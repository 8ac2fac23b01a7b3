"""The matcher: an order meets the resting ones in the order of their price, then of their time.

Pure: the same order and the same book make the same match. Every fill is at the resting order's
price, so it is never worse than what either side asked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chassis.limits import MATCHED_ORDERS_COUNT
from services.wallet.domain.market import ONE, BookSide, Outcome, Terms, mirrored, whole_lots, worth
from services.wallet.domain.order import NewOrder, Side


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """An order in the book, with what storage knows of it.

    `price` is of its own outcome. `notional` is what its fills were worth so far and `fee_accrued`
    that worth times the basis points they cost; both without rounding. `hold_remaining` units of
    `held_asset_id` are kept back for it.
    """

    order_id: uuid.UUID
    account_id: uuid.UUID
    wallet_id: uuid.UUID
    side: Side
    outcome: Outcome
    price: int
    shares: int
    filled: int
    notional: int
    fee_accrued: int
    held_asset_id: int
    hold_remaining: int

    @property
    def rest(self) -> int:
        """The shares that it still waits for."""
        return self.shares - self.filled

    @property
    def left_price(self) -> int:
        """Its price in terms of the left outcome."""
        return mirrored(self.price, self.outcome)


@dataclass(frozen=True, slots=True)
class Fill:
    """What an order gets of one resting order; `left_price` is in terms of the left outcome."""

    maker: RestingOrder
    shares: int
    left_price: int


class Stop(StrEnum):
    """Why a match went no further."""

    # It got all it asked for; of a budget, less is left than the next lot costs.
    COMPLETE = "COMPLETE"
    # There is nothing more in the book that it would take.
    BOOK_ENDED = "BOOK_ENDED"
    # The next order is one of the same account.
    SELF_TRADE = "SELF_TRADE"
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"


@dataclass(frozen=True, slots=True)
class Match:
    """What an order meets; sums over its fills, `notional` in terms of the order's own outcome."""

    fills: tuple[Fill, ...]
    shares: int
    notional: int
    stop: Stop


def match(
    order: NewOrder, account_id: uuid.UUID | None, resting: Sequence[RestingOrder], terms: Terms
) -> Match:
    """What `order` meets of `resting`, the other side of the book, best first.

    Stops at the first order of the same account; whoever asks what an order would come to has none.
    """
    fills: list[Fill] = []
    shares = notional = wanted = 0
    stop = Stop.BOOK_ENDED
    for maker in resting:
        if not _reaches(order, maker):
            break
        price = mirrored(maker.left_price, order.outcome)
        wanted = _wanted(order, shares, notional, price, terms)
        if wanted == 0:
            break
        if maker.account_id == account_id:
            stop = Stop.SELF_TRADE
            break
        if len(fills) == MATCHED_ORDERS_COUNT:
            stop = Stop.TOO_MANY_ORDERS
            break
        taken = min(wanted, maker.rest)
        fills.append(Fill(maker, taken, maker.left_price))
        shares += taken
        notional += worth(price, taken)
        # Where the book ends here, this is the price that the rest is measured by.
        wanted = _wanted(order, shares, notional, price, terms)
    if fills and wanted == 0:
        stop = Stop.COMPLETE
    return Match(tuple(fills), shares, notional, stop)


def _reaches(order: NewOrder, maker: RestingOrder) -> bool:
    """Whether the resting order's price is within what the order takes."""
    limit = order.left_limit
    if limit is None:
        return True
    return maker.left_price <= limit if order.book_side is BookSide.BID else maker.left_price >= limit


def _wanted(order: NewOrder, shares: int, notional: int, price: int, terms: Terms) -> int:
    """The shares that an order which got so much still takes at a price of its own outcome."""
    ends: list[int] = []
    if order.shares is not None:
        ends.append(order.shares - shares)
    if order.budget is not None:
        ends.append(whole_lots((order.budget - notional) * ONE // price, terms))
    return min(ends)

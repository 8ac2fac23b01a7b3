"""Changes of an order that rests: what keeps its place in the book, and what gives it up for a new order."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.errors import Detail, SealgateError, invalid
from services.wallet.domain.market import SCALE, Terms
from services.wallet.domain.matching import RestingOrder
from services.wallet.domain.money import parse_decimal, plain_amount
from services.wallet.domain.order import (
    AmountUnits,
    NewOrder,
    OrderDraft,
    OrderType,
    TimeInForce,
    check_price,
    check_shares,
)


@dataclass(frozen=True, slots=True)
class Amendment:
    """What an order shall be; None stays. `shares` are all of them, with those that it got already."""

    price: int | None
    shares: int | None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order in the book, with what one in its stead takes over."""

    resting: RestingOrder
    time_in_force: TimeInForce
    expires_at_ns: int | None
    post_only: bool


@dataclass(frozen=True, slots=True)
class Decrease:
    """The order stays where it is, for fewer shares."""

    shares: int


def read_amendment(price: str | None, shares: str | None) -> Amendment:
    """What a request asks for, each decimal text or absent; raises VALIDATION_ERROR."""
    if price is None and shares is None:
        raise invalid("price", "or shares must be given")
    return Amendment(
        price=None if price is None else parse_decimal(price, SCALE, "price"),
        shares=None if shares is None else parse_decimal(shares, SCALE, "shares"),
    )


def amended(order: OpenOrder, amendment: Amendment, terms: Terms) -> Decrease | NewOrder:
    """What becomes of an order: fewer shares at the same price, or a new order for what it still lacks.

    The new one is as the market takes any, and has no client order id: that stays the old one's.
    Raises VALIDATION_ERROR when nothing changes, PRICE_OUT_OF_RANGE, PRICE_OFF_TICK,
    AMOUNT_OUT_OF_RANGE and AMOUNT_OFF_LOT; details name the nearest value that would do.
    """
    resting = order.resting
    price = resting.price if amendment.price is None else amendment.price
    shares = resting.shares if amendment.shares is None else amendment.shares
    if (price, shares) == (resting.price, resting.shares):
        raise invalid("price" if amendment.shares is None else "shares", "is what the order has already")
    check_price(price, terms)
    filled = resting.filled
    if price == resting.price and shares < resting.shares:
        least = max(terms.min_shares, filled + terms.lot)
        check_shares("shares", shares, least, terms.max_shares, terms)
        return Decrease(shares)
    check_shares("shares", shares, filled + terms.min_shares, filled + terms.max_shares, terms)
    draft = OrderDraft(
        side=resting.side,
        order_type=OrderType.LIMIT,
        time_in_force=order.time_in_force,
        amount=shares - filled,
        units=AmountUnits.SHARES,
        price=price,
        expires_at_ns=order.expires_at_ns,
        post_only=order.post_only,
        # It was lowered when it was placed; the shares are those of this request.
        reduce_only=False,
        client_order_id=None,
    )
    return NewOrder(draft, resting.outcome, shares=shares - filled, budget=None)


def unaffordable(error: SealgateError, filled: int) -> SealgateError:
    """INSUFFICIENT_BALANCE of a new order, told to who named all shares of the one before it."""
    beside = f", beside the {plain_amount(filled, SCALE)} filled already" if filled else ""
    details = [Detail("shares", f"{detail.message}{beside}") for detail in error.details]
    return SealgateError(error.code, details=details)

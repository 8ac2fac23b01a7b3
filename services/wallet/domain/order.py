"""Orders: what can be asked for, and which refusal names which value that would do instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.limits import ORDER_LIFETIME_MAX_SECONDS
from services.wallet.domain.market import (
    ONE,
    ORDER_MAX_UNITS,
    SCALE,
    BookSide,
    Outcome,
    Terms,
    mirrored,
    nearest_lots,
    nearest_price,
    whole_lots,
    worth,
)
from services.wallet.domain.money import parse_decimal, plain_amount

_CLIENT_ORDER_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """How long an order waits to be filled: for ever, to a date, whole at once, at once."""

    GTC = "GTC"
    GTD = "GTD"
    FOK = "FOK"
    FAK = "FAK"


_RESTING: Final = (TimeInForce.GTC, TimeInForce.GTD)


class AmountUnits(StrEnum):
    """What an order's amount counts."""

    USDC = "USDC"
    SHARES = "SHARES"


class OrderStatus(StrEnum):
    """Where an order stands; OPEN and PARTIAL rest in the book, the others are for good."""

    OPEN = "OPEN"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A new order as it came; None is absent. Times in Unix seconds, amounts decimal text."""

    side: Side | None
    order_type: OrderType | None
    amount: str
    units: AmountUnits | None
    price: str | None = None
    time_in_force: TimeInForce | None = None
    expiration: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    client_order_id: str | None = None
    not_after: int | None = None


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """A new order whose fields fit together, of a market not looked at yet.

    `amount` in millionths of `units`; `price` in millionths, of LIMIT always there, of MARKET the
    worst acceptable one.
    """

    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    amount: int
    units: AmountUnits
    price: int | None
    expires_at_ns: int | None
    post_only: bool
    reduce_only: bool
    client_order_id: str | None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order that a market can take.

    It ends at `shares` shares or at `budget` USDC, whichever comes first; None is no such end.
    LIMIT always has `shares` and `price`; MARKET in USDC has a `budget`.
    """

    draft: OrderDraft
    outcome: Outcome
    shares: int | None
    budget: int | None

    @property
    def book_side(self) -> BookSide:
        """Where it would rest; it is filled from the other one."""
        return book_side(self.draft.side, self.outcome)

    @property
    def left_limit(self) -> int | None:
        """The worst price it takes, in terms of the left outcome."""
        return None if self.draft.price is None else mirrored(self.draft.price, self.outcome)

    @property
    def limit(self) -> int | None:
        """The price of a LIMIT order."""
        return self.draft.price if self.draft.order_type is OrderType.LIMIT else None

    @property
    def may_rest(self) -> bool:
        """Whether what cannot be filled at once waits in the book."""
        return self.draft.time_in_force in _RESTING


def book_side(side: Side, outcome: Outcome) -> BookSide:
    """Where an order stands in the book of the left outcome."""
    return BookSide.BID if (side is Side.BUY) is (outcome is Outcome.LEFT) else BookSide.ASK


def read_order(request: OrderRequest, now_ns: int) -> OrderDraft:
    """What a request asks for, as far as that can be told without its market.

    Raises VALIDATION_ERROR for fields that are missing, malformed or do not go together, and
    EXPIRATION_OUT_OF_RANGE for `expiration` and `not_after`.
    """
    if request.side is None:
        raise invalid("side", "must be one of BUY, SELL")
    if request.order_type is None:
        raise invalid("type", "must be one of MARKET, LIMIT")
    if request.units is None:
        raise invalid("units", "must be one of USDC, SHARES")
    if request.order_type is OrderType.LIMIT and request.price is None:
        raise invalid("price", "is needed with LIMIT")
    if request.client_order_id is not None and _CLIENT_ORDER_ID.fullmatch(request.client_order_id) is None:
        raise invalid("client_order_id", "must be 1 to 64 of letters, digits, -, _, . and :")
    time_in_force = _time_in_force(request.order_type, request.time_in_force)
    if request.post_only and time_in_force not in _RESTING:
        raise invalid("post_only", "goes with LIMIT orders that are GTC or GTD")
    if request.reduce_only and request.side is not Side.SELL:
        raise invalid("reduce_only", "goes with SELL")
    _check_not_after(request.not_after, now_ns)
    return OrderDraft(
        side=request.side,
        order_type=request.order_type,
        time_in_force=time_in_force,
        amount=parse_decimal(request.amount, SCALE, "amount"),
        units=request.units,
        price=None if request.price is None else parse_decimal(request.price, SCALE, "price"),
        expires_at_ns=_expires_at_ns(time_in_force, request.expiration, now_ns),
        post_only=request.post_only,
        reduce_only=request.reduce_only,
        client_order_id=request.client_order_id,
    )


def check_order(draft: OrderDraft, outcome: Outcome, terms: Terms) -> NewOrder:
    """The order on a market's terms.

    Raises PRICE_OUT_OF_RANGE, PRICE_OFF_TICK, AMOUNT_OUT_OF_RANGE and AMOUNT_OFF_LOT; details name
    the nearest value that would do.
    """
    if draft.price is not None:
        check_price(draft.price, terms)
    if draft.units is AmountUnits.SHARES:
        check_shares("amount", draft.amount, terms.min_shares, terms.max_shares, terms)
        return NewOrder(draft, outcome, shares=draft.amount, budget=None)
    if draft.order_type is OrderType.MARKET or draft.price is None:
        # How little is too little the book says: see `services.wallet.domain.funds.check_budget`.
        _check_range("amount", draft.amount, 1, ORDER_MAX_UNITS)
        return NewOrder(draft, outcome, shares=None, budget=draft.amount)
    shares = whole_lots(draft.amount * ONE // draft.price, terms)
    if not terms.min_shares <= shares <= terms.max_shares:
        least, most = worth(draft.price, terms.min_shares), worth(draft.price, terms.max_shares)
        _check_range("amount", draft.amount, least, most)
    return NewOrder(draft, outcome, shares=shares, budget=None)


def check_not_expired(draft: OrderDraft, now_ns: int) -> None:
    """Raises EXPIRATION_OUT_OF_RANGE for an order whose time was over before its turn came."""
    if draft.expires_at_ns is not None and draft.expires_at_ns <= now_ns:
        raise _refused(Code.EXPIRATION_OUT_OF_RANGE, "expiration", "has passed while the order waited")


def check_price(price: int, terms: Terms) -> None:
    """Raises PRICE_OUT_OF_RANGE and PRICE_OFF_TICK, with the nearest price that would do."""
    nearest = plain_amount(nearest_price(price, terms), SCALE)
    if not terms.price_min <= price <= terms.price_max:
        least, most = plain_amount(terms.price_min, SCALE), plain_amount(terms.price_max, SCALE)
        raise _refused(
            Code.PRICE_OUT_OF_RANGE, "price", f"must be {least} to {most}; the nearest is {nearest}"
        )
    if price % terms.tick:
        tick = plain_amount(terms.tick, SCALE)
        raise _refused(
            Code.PRICE_OFF_TICK, "price", f"must be a multiple of {tick}; the nearest is {nearest}"
        )


def check_shares(path: str, shares: int, least: int, most: int, terms: Terms) -> None:
    """Raises AMOUNT_OUT_OF_RANGE and AMOUNT_OFF_LOT about `path`, with the nearest shares that would do.

    `least` and `most` are whole lots.
    """
    _check_range(path, shares, least, most)
    if shares % terms.lot:
        lot, nearest = plain_amount(terms.lot, SCALE), plain_amount(nearest_lots(shares, terms), SCALE)
        raise _refused(Code.AMOUNT_OFF_LOT, path, f"must be a multiple of {lot}; the nearest is {nearest}")


def _time_in_force(order_type: OrderType, asked: TimeInForce | None) -> TimeInForce:
    """What was asked for or the type's default; raises VALIDATION_ERROR where they do not fit."""
    if order_type is OrderType.LIMIT:
        return asked or TimeInForce.GTC
    if asked in _RESTING:
        raise invalid("time_in_force", "must be FOK or FAK with MARKET")
    return asked or TimeInForce.FOK


def _expires_at_ns(time_in_force: TimeInForce, expiration: int | None, now_ns: int) -> int | None:
    """When a GTD order ends, None for any other."""
    if time_in_force is not TimeInForce.GTD:
        if expiration is not None:
            raise invalid("expiration", "goes with GTD")
        return None
    if expiration is None:
        raise invalid("expiration", "is needed with GTD")
    # The first second that lies ahead: one that has begun is over.
    first = now_ns // NANOSECONDS_PER_SECOND + 1
    _check_moment("expiration", expiration, first, now_ns)
    return expiration * NANOSECONDS_PER_SECOND


def _check_not_after(not_after: int | None, now_ns: int) -> None:
    if not_after is not None:
        _check_moment("not_after", not_after, -(-now_ns // NANOSECONDS_PER_SECOND), now_ns)


def _check_moment(path: str, seconds: int, first: int, now_ns: int) -> None:
    """Raises EXPIRATION_OUT_OF_RANGE outside of `first` to a year ahead; all in Unix seconds.

    The far end is there for those who count milliseconds.
    """
    last = now_ns // NANOSECONDS_PER_SECOND + ORDER_LIFETIME_MAX_SECONDS
    if not first <= seconds <= last:
        nearest = min(max(seconds, first), last)
        message = f"must be {first} to {last} in Unix seconds; the nearest is {nearest}"
        raise _refused(Code.EXPIRATION_OUT_OF_RANGE, path, message)


def _check_range(path: str, amount: int, least: int, most: int) -> None:
    if not least <= amount <= most:
        nearest = plain_amount(min(max(amount, least), most), SCALE)
        raise _refused(
            Code.AMOUNT_OUT_OF_RANGE,
            path,
            f"must be {plain_amount(least, SCALE)} to {plain_amount(most, SCALE)}; the nearest is {nearest}",
        )


def _refused(code: Code, path: str, message: str) -> SealgateError:
    return SealgateError(code, details=(Detail(path, message),))

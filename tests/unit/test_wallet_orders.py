"""What an order can be: every field out of bounds has its own code, and hears what would do instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.limits import ORDER_LIFETIME_MAX_SECONDS
from services.wallet.domain.market import ORDER_MAX_UNITS, BookSide, Outcome, Terms
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
from services.wallet.domain.quote import read_quote

_NOW_SECONDS = 1_800_000_000
# Half a second past it, so that rounding in the wrong direction shows.
_NOW_NS = _NOW_SECONDS * NANOSECONDS_PER_SECOND + 500_000_000
_TERMS = Terms(tick=1_000, lot=10_000, min_shares=1_000_000, maker_fee_bps=10, taker_fee_bps=20)
_LIMIT = OrderRequest(
    side=Side.BUY, order_type=OrderType.LIMIT, amount="10", units=AmountUnits.SHARES, price="0.5"
)
_MARKET = OrderRequest(
    side=Side.BUY, order_type=OrderType.MARKET, amount="10", units=AmountUnits.USDC, price=None
)


def _check(request: OrderRequest, terms: Terms = _TERMS) -> NewOrder:
    return check_order(read_order(request, _NOW_NS), Outcome.LEFT, terms)


def _refusal(request: OrderRequest, terms: Terms = _TERMS) -> tuple[Code, str, str]:
    with pytest.raises(SealgateError) as refused:
        _check(request, terms)
    (detail,) = refused.value.details
    return refused.value.code, detail.path, detail.message


@pytest.mark.parametrize(
    ("price", "code", "nearest"),
    [
        ("0", Code.PRICE_OUT_OF_RANGE, "0.001"),
        ("0.0009", Code.PRICE_OUT_OF_RANGE, "0.001"),
        ("0.9991", Code.PRICE_OUT_OF_RANGE, "0.999"),
        ("1", Code.PRICE_OUT_OF_RANGE, "0.999"),
        ("99999999999999999999", Code.PRICE_OUT_OF_RANGE, "0.999"),
        ("0.5234", Code.PRICE_OFF_TICK, "0.523"),
        ("0.5235", Code.PRICE_OFF_TICK, "0.523"),
        ("0.523501", Code.PRICE_OFF_TICK, "0.524"),
        ("0.001001", Code.PRICE_OFF_TICK, "0.001"),
    ],
)
@pytest.mark.parametrize("request_", [_LIMIT, replace(_MARKET, price="0.5")], ids=["limit", "market"])
def test_a_price_the_market_does_not_have_hears_the_nearest(
    request_: OrderRequest, price: str, code: Code, nearest: str
) -> None:
    """Out of range and off tick differ in their code; both name a price that would have been taken."""
    assert _refusal(replace(request_, price=price))[:2] == (code, "price")
    message = _refusal(replace(request_, price=price))[2]
    assert message.endswith(f"the nearest is {nearest}")
    _check(replace(request_, price=nearest))


@pytest.mark.parametrize(
    ("changes", "code", "nearest"),
    [
        ({"amount": "0"}, Code.AMOUNT_OUT_OF_RANGE, "1"),
        ({"amount": "0.99"}, Code.AMOUNT_OUT_OF_RANGE, "1"),
        ({"amount": "1.004"}, Code.AMOUNT_OFF_LOT, "1"),
        ({"amount": "1.005"}, Code.AMOUNT_OFF_LOT, "1"),
        ({"amount": "12.345678"}, Code.AMOUNT_OFF_LOT, "12.35"),
        ({"amount": "1000000000000.01"}, Code.AMOUNT_OUT_OF_RANGE, "1000000000000"),
        # In USDC at 0.5: a share, the least, is worth half a USDC.
        ({"units": AmountUnits.USDC, "amount": "0.499999"}, Code.AMOUNT_OUT_OF_RANGE, "0.5"),
        ({"units": AmountUnits.USDC, "amount": "9" * 20}, Code.AMOUNT_OUT_OF_RANGE, "500000000000"),
    ],
)
def test_an_amount_the_market_does_not_take_hears_the_nearest(
    changes: dict[str, Any], code: Code, nearest: str
) -> None:
    """Too little, too much and off lot, in shares and in USDC; the value named would have been taken."""
    request = replace(_LIMIT, **changes)
    assert _refusal(request)[:2] == (code, "amount")
    assert _refusal(request)[2].endswith(f"the nearest is {nearest}")
    _check(replace(request, amount=nearest))


@pytest.mark.parametrize(("amount", "nearest"), [("0", "0.000001"), ("9" * 20, "1" + 12 * "0")])
def test_a_budget_no_market_takes_hears_the_nearest(amount: str, nearest: str) -> None:
    """How little is too little is the book's to say, if it is anything at all."""
    code, path, message = _refusal(replace(_MARKET, amount=amount))
    assert (code, path) == (Code.AMOUNT_OUT_OF_RANGE, "amount")
    assert message.endswith(f"the nearest is {nearest}")
    _check(replace(_MARKET, amount=nearest))


@pytest.mark.parametrize(
    ("expiration", "nearest"),
    [
        (-(2**63), _NOW_SECONDS + 1),
        (_NOW_SECONDS, _NOW_SECONDS + 1),
        (_NOW_SECONDS + ORDER_LIFETIME_MAX_SECONDS + 1, _NOW_SECONDS + ORDER_LIFETIME_MAX_SECONDS),
        (2**63 - 1, _NOW_SECONDS + ORDER_LIFETIME_MAX_SECONDS),
    ],
)
def test_an_expiration_out_of_range_hears_the_nearest(expiration: int, nearest: int) -> None:
    """Ahead of now, and by a year at most."""
    request = replace(_LIMIT, time_in_force=TimeInForce.GTD, expiration=expiration)
    code, path, message = _refusal(request)
    assert (code, path) == (Code.EXPIRATION_OUT_OF_RANGE, "expiration")
    assert message.endswith(f"the nearest is {nearest}")
    order = _check(replace(request, expiration=nearest))
    assert order.draft.expires_at_ns == nearest * NANOSECONDS_PER_SECOND


def test_an_order_that_arrives_too_late_is_refused() -> None:
    """`not_after` in the past is refused with the first second that is not; at it the order goes on."""
    code, path, message = _refusal(replace(_LIMIT, not_after=_NOW_SECONDS))
    assert (code, path) == (Code.EXPIRATION_OUT_OF_RANGE, "not_after")
    assert message.endswith(f" {_NOW_SECONDS + 1}")
    _check(replace(_LIMIT, not_after=_NOW_SECONDS + 1))


def test_a_time_in_milliseconds_is_not_taken_for_one_far_ahead() -> None:
    """It would never pass, and its sender believe himself safe from an order that arrives late."""
    code, path, message = _refusal(replace(_LIMIT, not_after=_NOW_SECONDS * 1000))
    assert (code, path) == (Code.EXPIRATION_OUT_OF_RANGE, "not_after")
    assert "in Unix seconds" in message


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (replace(_LIMIT, side=None), "side"),
        (replace(_LIMIT, order_type=None), "type"),
        (replace(_LIMIT, units=None), "units"),
        (replace(_LIMIT, price=None), "price"),
        (replace(_LIMIT, price="0.5230001"), "price"),
        (replace(_LIMIT, price="-0.5"), "price"),
        (replace(_LIMIT, price="5e-1"), "price"),
        (replace(_LIMIT, amount=""), "amount"),
        (replace(_LIMIT, amount="-1"), "amount"),
        (replace(_LIMIT, amount="NaN"), "amount"),
        (replace(_LIMIT, amount="1.0000000"), "amount"),
        (replace(_LIMIT, amount="9" * 39), "amount"),
        (replace(_MARKET, time_in_force=TimeInForce.GTC), "time_in_force"),
        (replace(_MARKET, time_in_force=TimeInForce.GTD, expiration=_NOW_SECONDS + 9), "time_in_force"),
        (replace(_LIMIT, time_in_force=TimeInForce.GTD), "expiration"),
        (replace(_LIMIT, expiration=_NOW_SECONDS + 9), "expiration"),
        (replace(_MARKET, expiration=_NOW_SECONDS + 9), "expiration"),
        (replace(_LIMIT, time_in_force=TimeInForce.FOK, post_only=True), "post_only"),
        (replace(_LIMIT, time_in_force=TimeInForce.FAK, post_only=True), "post_only"),
        (replace(_MARKET, post_only=True), "post_only"),
        (replace(_LIMIT, reduce_only=True), "reduce_only"),
        (replace(_LIMIT, client_order_id=""), "client_order_id"),
        (replace(_LIMIT, client_order_id="a" * 65), "client_order_id"),
        (replace(_LIMIT, client_order_id="a b"), "client_order_id"),
        (replace(_LIMIT, client_order_id="a\n"), "client_order_id"),
        (replace(_LIMIT, client_order_id="ä"), "client_order_id"),
    ],
)
def test_fields_that_are_malformed_or_do_not_go_together_are_named(request_: OrderRequest, path: str) -> None:
    """VALIDATION_ERROR with the path of the field."""
    assert _refusal(request_)[:2] == (Code.VALIDATION_ERROR, path)


def test_time_in_force_has_a_default_for_each_type() -> None:
    """A MARKET order fills whole or not at all, a LIMIT order waits until it is cancelled."""
    assert _check(_MARKET).draft.time_in_force is TimeInForce.FOK
    assert _check(_LIMIT).draft.time_in_force is TimeInForce.GTC
    assert not _check(_MARKET).may_rest
    assert _check(_LIMIT).may_rest


@pytest.mark.parametrize(
    ("amount", "price", "shares"),
    [("10", "0.3", 33_330_000), ("0.5", "0.5", 1_000_000), ("2.999", "0.6", 4_990_000)],
)
def test_a_limit_order_in_usdc_is_for_the_whole_lots_that_it_buys(
    amount: str, price: str, shares: int
) -> None:
    """Rounded down, so it never comes to more than the amount."""
    order = _check(replace(_LIMIT, amount=amount, price=price, units=AmountUnits.USDC))
    assert (order.shares, order.budget) == (shares, None)


@pytest.mark.parametrize(
    ("side", "outcome", "book_side", "left_limit"),
    [
        (Side.BUY, Outcome.LEFT, BookSide.BID, 300_000),
        (Side.SELL, Outcome.RIGHT, BookSide.BID, 700_000),
        (Side.SELL, Outcome.LEFT, BookSide.ASK, 300_000),
        (Side.BUY, Outcome.RIGHT, BookSide.ASK, 700_000),
    ],
)
def test_an_order_for_the_right_outcome_stands_on_the_other_side_of_the_book(
    side: Side, outcome: Outcome, book_side: BookSide, left_limit: int
) -> None:
    """Buying the right one at 0.3 is selling the left one at 0.7, and the other way round."""
    draft = read_order(replace(_LIMIT, side=side, price="0.3"), _NOW_NS)
    order = check_order(draft, outcome, _TERMS)
    assert (order.book_side, order.left_limit) == (book_side, left_limit)


def test_a_quote_asks_as_a_market_order_does() -> None:
    """The same amounts are refused; it takes what there is."""
    order = read_quote(Side.SELL, "5", AmountUnits.SHARES, Outcome.RIGHT, _TERMS)
    assert (order.shares, order.draft.time_in_force) == (5_000_000, TimeInForce.FAK)
    with pytest.raises(SealgateError) as refused:
        read_quote(Side.SELL, "5.001", AmountUnits.SHARES, Outcome.RIGHT, _TERMS)
    assert refused.value.code is Code.AMOUNT_OFF_LOT


def test_the_largest_order_is_whole_lots_of_any_market() -> None:
    """With a lot that does not divide the bound, the nearest amount is still one that is taken."""
    terms = replace(_TERMS, tick=1_000, lot=7_000, min_shares=7_000)
    code, _, message = _refusal(replace(_LIMIT, amount="9999999999999"), terms)
    assert code is Code.AMOUNT_OUT_OF_RANGE
    nearest = message.rsplit(" ", 1)[1]
    assert _check(replace(_LIMIT, amount=nearest), terms).shares == ORDER_MAX_UNITS // 7_000 * 7_000

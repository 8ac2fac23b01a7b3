"""What a change of an open order comes to: a lower order, a new one, or a refusal naming what would do."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from chassis.errors import Code, Detail, SealgateError
from services.wallet.domain.amendment import (
    Amendment,
    Decrease,
    OpenOrder,
    amended,
    read_amendment,
    unaffordable,
)
from services.wallet.domain.market import Outcome, Terms
from services.wallet.domain.matching import RestingOrder
from services.wallet.domain.order import AmountUnits, NewOrder, OrderStatus, OrderType, Side, TimeInForce
from services.wallet.domain.settlement import BalanceChange, HoldChange, OrderChange, decrease, hold_of

_SHARE = 1_000_000
_TERMS = Terms(tick=10_000, lot=_SHARE, min_shares=5 * _SHARE, maker_fee_bps=0, taker_fee_bps=100)
# Ten shares at 0.5, of which four were had as a maker, for nothing.
_RESTING = RestingOrder(
    order_id=uuid.UUID(int=1),
    account_id=uuid.UUID(int=2),
    wallet_id=uuid.UUID(int=3),
    side=Side.BUY,
    outcome=Outcome.RIGHT,
    price=500_000,
    shares=10 * _SHARE,
    filled=4 * _SHARE,
    notional=2 * _SHARE,
    fee_accrued=0,
    held_asset_id=1,
    hold_remaining=hold_of(Side.BUY, 500_000, 6 * _SHARE, 2 * _SHARE, 0, _TERMS),
)
_ORDER = OpenOrder(_RESTING, TimeInForce.GTD, expires_at_ns=77, post_only=True)
_UNFILLED = replace(_ORDER, resting=replace(_RESTING, filled=0, notional=0))
_NEARLY_FILLED = replace(_ORDER, resting=replace(_RESTING, filled=8 * _SHARE))


def _refused(order: OpenOrder, price: int | None, shares: int | None) -> tuple[Code, tuple[Detail, ...]]:
    with pytest.raises(SealgateError) as refused:
        amended(order, Amendment(price, None if shares is None else shares * _SHARE), _TERMS)
    return refused.value.code, refused.value.details


def test_fewer_shares_at_the_same_price_are_a_decrease() -> None:
    """Whether or not the price is said again."""
    assert amended(_ORDER, Amendment(None, 8 * _SHARE), _TERMS) == Decrease(8 * _SHARE)
    assert amended(_ORDER, Amendment(500_000, 8 * _SHARE), _TERMS) == Decrease(8 * _SHARE)


@pytest.mark.parametrize(
    ("price", "shares", "wanted"),
    [(None, 11, 7), (600_000, None, 6), (400_000, 9, 5), (500_000, 12, 8)],
)
def test_anything_else_is_a_new_order_for_what_is_lacking(
    price: int | None, shares: int | None, wanted: int
) -> None:
    """It has the old one's side, outcome, time in force, expiration and reserve, and no client order id."""
    order = amended(_ORDER, Amendment(price, None if shares is None else shares * _SHARE), _TERMS)
    assert isinstance(order, NewOrder)
    assert (order.shares, order.budget, order.outcome) == (wanted * _SHARE, None, Outcome.RIGHT)
    draft = order.draft
    assert (draft.side, draft.order_type, draft.time_in_force) == (Side.BUY, OrderType.LIMIT, TimeInForce.GTD)
    assert (draft.amount, draft.units, draft.price) == (wanted * _SHARE, AmountUnits.SHARES, price or 500_000)
    assert (draft.expires_at_ns, draft.post_only, draft.reduce_only, draft.client_order_id) == (
        77,
        True,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("order", "price", "shares", "least"),
    [
        # Where it stands it needs a lot more than it got, and the market's least in all.
        (_ORDER, None, 4, "5"),
        (_UNFILLED, None, 4, "5"),
        (_NEARLY_FILLED, None, 8, "9"),
        # A new order has to be as large as any.
        (_ORDER, 600_000, 8, "9"),
        (_UNFILLED, 600_000, 4, "5"),
    ],
)
def test_too_few_shares_are_refused_with_the_least_that_would_do(
    order: OpenOrder, price: int | None, shares: int, least: str
) -> None:
    """Counted with those that the order got, as the request counts them."""
    code, [detail] = _refused(order, price, shares)
    assert (code, detail.path) == (Code.AMOUNT_OUT_OF_RANGE, "shares")
    assert detail.message.startswith(f"must be {least} to ")
    assert detail.message.endswith(f"the nearest is {least}")


def test_a_rest_below_the_markets_least_can_not_be_moved_as_it_is() -> None:
    """As nobody could place it; it can with more shares, or stay."""
    assert _refused(_NEARLY_FILLED, 600_000, None)[0] is Code.AMOUNT_OUT_OF_RANGE
    assert isinstance(amended(_NEARLY_FILLED, Amendment(600_000, 13 * _SHARE), _TERMS), NewOrder)


def test_shares_between_two_lots_are_refused_with_the_nearest() -> None:
    """A decrease and a new order alike."""
    for price in (None, 600_000):
        with pytest.raises(SealgateError) as refused:
            amended(_ORDER, Amendment(price, 9 * _SHARE + 400_000), _TERMS)
        assert refused.value.code is Code.AMOUNT_OFF_LOT
        assert refused.value.details == (Detail("shares", "must be a multiple of 1; the nearest is 9"),)


@pytest.mark.parametrize(
    ("price", "shares", "path"),
    [(500_000, None, "price"), (None, 10, "shares"), (500_000, 10, "shares")],
)
def test_a_change_that_changes_nothing_is_refused(price: int | None, shares: int | None, path: str) -> None:
    """Rather than lose the order's place for nothing."""
    code, [detail] = _refused(_ORDER, price, shares)
    assert (code, detail.path) == (Code.VALIDATION_ERROR, path)


def test_a_price_that_the_market_does_not_take_is_refused() -> None:
    """Off its tick, or out of its range."""
    assert _refused(_ORDER, 505_000, None)[0] is Code.PRICE_OFF_TICK
    assert _refused(_ORDER, 1_000_000, None)[0] is Code.PRICE_OUT_OF_RANGE


def test_a_request_for_no_change_at_all_is_refused() -> None:
    """It has to name one of the two."""
    with pytest.raises(SealgateError) as refused:
        read_amendment(None, None)
    assert refused.value.details == (Detail("price", "or shares must be given"),)
    assert read_amendment("0.25", None) == Amendment(250_000, None)
    assert read_amendment(None, "7") == Amendment(None, 7 * _SHARE)


def test_a_decrease_gives_back_what_the_rest_need_not_hold() -> None:
    """The rest at the limit, and the worse fee on that and on what was filled, as of an order placed so."""
    settlement = decrease(_RESTING, 7 * _SHARE, _TERMS)
    # 3 shares at 0.5, and 1 % of them and of the 2 USDC that were traded.
    assert settlement.holds == (HoldChange(_RESTING.order_id, 1_535_000),)
    # 6 shares before: 3 USDC and 0.05.
    released = BalanceChange(_RESTING.wallet_id, 1, posted=0, held=1_535_000 - 3_050_000)
    assert settlement.updates == (released,)
    assert settlement.orders == (
        OrderChange(_RESTING.order_id, OrderStatus.PARTIAL, 7 * _SHARE, 4 * _SHARE, 2 * _SHARE, 0, 0),
    )
    assert settlement.book_changed
    assert (settlement.legs, settlement.new_hold, settlement.trades) == ((), None, ())


def test_a_decrease_of_an_order_without_fills_stays_open() -> None:
    """Its status is what its fills make of it."""
    [change] = decrease(_UNFILLED.resting, 7 * _SHARE, _TERMS).orders
    assert change.status is OrderStatus.OPEN


def test_what_funds_lack_is_told_of_the_rest() -> None:
    """The advice counts the new order's shares; what the old one got comes on top."""
    error = SealgateError(Code.INSUFFICIENT_BALANCE, details=(Detail("amount", "at most 2 SHARES would do"),))
    told = unaffordable(error, 4 * _SHARE)
    assert told.details == (Detail("shares", "at most 2 SHARES would do, beside the 4 filled already"),)
    assert unaffordable(error, 0).details == (Detail("shares", "at most 2 SHARES would do"),)

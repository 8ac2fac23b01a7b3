"""Markets and positions: terms that never need rounding, names that never change, what is shown."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from chassis.errors import Code, SealgateError
from services.wallet.domain.market import (
    ONE,
    Outcome,
    Terms,
    check_terms,
    collateral_wallet,
    condition_id_of,
    fees_wallet,
    mirrored,
    new_condition_id,
    read_terms,
    shown_price,
    token_id,
    token_id_of,
)
from services.wallet.domain.money import plain_amount
from services.wallet.domain.position import Position, average_price, valuation

_CONDITION_ID = "0x" + "5a" * 32


def test_terms_have_defaults() -> None:
    """A thousandth, a hundredth of a share, one share, no fees."""
    terms = read_terms(tick=None, lot=None, min_amount=None, maker_fee_bps=0, taker_fee_bps=0)
    assert terms == Terms(1_000, 10_000, 1_000_000, 0, 0)
    assert (terms.price_min, terms.price_max) == (1_000, 999_000)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"tick": 0}, "tick"),
        ({"tick": 3_000}, "tick"),
        ({"tick": ONE}, "tick"),
        ({"lot": 0}, "lot"),
        ({"lot": 1_500}, "lot"),
        ({"lot": 2 * 10**18}, "lot"),
        ({"min_shares": 9_999}, "min_amount"),
        ({"min_shares": 15_000}, "min_amount"),
        ({"min_shares": 2 * 10**18}, "min_amount"),
        ({"maker_fee_bps": 1_001}, "maker_fee_bps"),
        ({"taker_fee_bps": -1}, "taker_fee_bps"),
    ],
)
def test_terms_that_would_need_rounding_or_are_out_of_bounds_are_refused(
    changes: dict[str, Any], path: str
) -> None:
    """VALIDATION_ERROR with the field's path."""
    with pytest.raises(SealgateError) as refused:
        check_terms(replace(Terms(), **changes))
    assert refused.value.code is Code.VALIDATION_ERROR
    assert refused.value.details[0].path == path


@pytest.mark.parametrize("terms", [Terms(500_000, 2, 2), Terms(1, ONE, ONE), Terms(maker_fee_bps=1_000)])
def test_terms_at_their_bounds_are_taken(terms: Terms) -> None:
    """The largest tick, the smallest one, the largest fee."""
    check_terms(terms)


def test_terms_read_decimal_text() -> None:
    """As the operator wrote them."""
    terms = read_terms(tick="0.01", lot="1", min_amount="5", maker_fee_bps=1, taker_fee_bps=2)
    assert terms == Terms(10_000, 1_000_000, 5_000_000, 1, 2)
    with pytest.raises(SealgateError) as refused:
        read_terms(tick="0.0000001", lot=None, min_amount=None, maker_fee_bps=0, taker_fee_bps=0)
    assert refused.value.details[0].path == "tick"


def test_names_of_a_market_never_change() -> None:
    """Ids are made from names; these are written down, so that no later version makes others."""
    assert new_condition_id(uuid.UUID(int=7)) == (
        "0x24cb653829ba2f6ced198baf46ad6ce7c651e2f1963d547e49fef7dfd9cfbabe"
    )
    assert token_id(_CONDITION_ID, Outcome.LEFT) == (
        "43077328395215297620354856984407455296855835150515774538085090121642004023785"
    )
    assert str(collateral_wallet(_CONDITION_ID).wallet_id) == "73c96d5a-9ba2-87ff-ad32-0cd47fbba88d"
    assert collateral_wallet(_CONDITION_ID).name == f"market/{_CONDITION_ID}"
    assert fees_wallet(_CONDITION_ID).name == f"fees/{_CONDITION_ID}"


def test_the_two_outcomes_have_different_tokens() -> None:
    """Long decimal numbers that an asset's code can be."""
    left, right = token_id(_CONDITION_ID, Outcome.LEFT), token_id(_CONDITION_ID, Outcome.RIGHT)
    assert left != right
    assert token_id_of(left) == left
    assert condition_id_of(_CONDITION_ID) == _CONDITION_ID
    assert fees_wallet(_CONDITION_ID).wallet_id != collateral_wallet(_CONDITION_ID).wallet_id


@pytest.mark.parametrize(
    "text", ["", "0x", "5a" * 32, "0x" + "5A" * 32, _CONDITION_ID + "\n", _CONDITION_ID + "0"]
)
def test_a_malformed_condition_id_is_a_market_that_does_not_exist(text: str) -> None:
    """One market has one name."""
    with pytest.raises(SealgateError) as refused:
        condition_id_of(text)
    assert refused.value.code is Code.MARKET_NOT_FOUND


@pytest.mark.parametrize("text", ["x", "-1", "01", "USDC", "9" * 79, "1\x00", "1 "])
def test_a_malformed_token_id_is_a_token_that_does_not_exist(text: str) -> None:
    """Also the code of an asset that is no outcome."""
    with pytest.raises(SealgateError) as refused:
        token_id_of(text)
    assert refused.value.code is Code.TOKEN_NOT_FOUND


@pytest.mark.parametrize(
    ("last", "bid", "ask", "shown"),
    [
        (700_000, 100_000, 200_000, 700_000),
        (None, 400_000, 501_000, 450_500),
        (None, 400_000, None, 500_000),
        (None, None, 400_000, 500_000),
        (None, None, None, 500_000),
    ],
)
def test_the_shown_price_is_that_of_the_last_trade_else_the_middle(
    last: int | None, bid: int | None, ask: int | None, shown: int
) -> None:
    """One half where a side of the book is empty."""
    assert shown_price(last, bid, ask) == shown


def test_prices_of_the_two_outcomes_add_up_to_one() -> None:
    """And converting twice is not converting."""
    assert mirrored(300_000, Outcome.LEFT) == 300_000
    assert mirrored(300_000, Outcome.RIGHT) == 700_000


def test_a_position_keeps_the_cost_of_the_shares_it_has() -> None:
    """Selling takes a part of the cost, rounded down, and all of it with the last share."""
    position = Position(0, 0, 0).bought(10_000_000, 400_000).bought(20_000_000, 700_000)
    assert position == Position(30_000_000, 18_000_000, 0)
    position = position.sold(10_000_000, 500_000)
    assert position == Position(20_000_000, 12_000_000, -1_000_000)
    assert position.sold(20_000_000, 650_000) == Position(0, 0, 0)
    assert Position(3, 10, 0).sold(1, ONE) == Position(2, 7, -2)


def test_a_valuation_compares_the_cost_with_the_price_now() -> None:
    """6 USDC for 10 shares that are worth 7 or 4 now."""
    up = valuation(Position(10_000_000, 6_000_000, 0), 700_000)
    assert (up.average_price, up.initial_value, up.current_value) == (600_000, 6_000_000, 7_000_000)
    assert (up.amount_pnl, up.percent_pnl) == (1_000_000, 1_667)
    down = valuation(Position(10_000_000, 6_000_000, 0), 400_000)
    assert (down.amount_pnl, down.percent_pnl) == (-2_000_000, -3_333)


@pytest.mark.parametrize(
    ("notional", "shares", "price"), [(0, 0, 0), (1, 3, 333_333), (2, 3, 666_667), (1, 2, 500_000)]
)
def test_an_average_price_is_rounded_to_the_nearest_millionth(notional: int, shares: int, price: int) -> None:
    """Zero without shares."""
    assert average_price(notional, shares) == price


@pytest.mark.parametrize(
    ("units", "scale", "text"),
    [(523_000, 6, "0.523"), (12_000_000, 6, "12"), (0, 6, "0"), (100, 0, "100"), (-1_500_000, 6, "-1.5")],
)
def test_a_plain_amount_has_no_needless_zeros(units: int, scale: int, text: str) -> None:
    """Zeros before the point stay."""
    assert plain_amount(units, scale) == text

"""Amounts as text and as whole numbers."""

from __future__ import annotations

import pytest

from chassis.errors import Code, SealgateError
from services.wallet.domain.money import (
    MOVEMENT_MAX_UNITS,
    Asset,
    AssetClass,
    format_amount,
    parse_amount,
)

_USDC = Asset(1, "USDC", 6, AssetClass.CASH)
_WHOLE = Asset(2, "WHOLE", 0, AssetClass.TEST)
_TOKEN = Asset(3, "TOKEN", 18, AssetClass.TEST)


@pytest.mark.parametrize(
    ("text", "asset", "units"),
    [
        ("12.345", _USDC, 12_345_000),
        ("12.345000", _USDC, 12_345_000),
        ("0.000001", _USDC, 1),
        ("1", _USDC, 1_000_000),
        ("7", _WHOLE, 7),
        ("0.000000000000000001", _TOKEN, 1),
        ("1" + "0" * 30, _USDC, MOVEMENT_MAX_UNITS),
        ("99999999999999999.999999999999999999", _TOKEN, 99999999999999999999999999999999999),
    ],
)
def test_parse_amount_reads_every_digit(text: str, asset: Asset, units: int) -> None:
    """Nothing is rounded on the way in, however many digits there are."""
    assert parse_amount(text, asset, "amount") == units


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        "1\n",
        "+1",
        "-1",
        "-0",
        "1e3",
        "1E3",
        "NaN",
        "Infinity",
        "0x10",
        "1_000",
        "1,5",
        ".5",
        "5.",
        "1.2.3",
        "007",
        "\u0663",
        "\uff11",
        "0",
        "0.000000",
        "0.0000001",
        "1.0000000",
        "9" * 38,
        "1" + "0" * 30 + ".000001",
        "9" * 100_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_parse_amount_refuses_what_is_not_a_positive_decimal(text: str) -> None:
    """Signs, exponents, other digits, nothing, too fine or too much: a 400 on the field."""
    with pytest.raises(SealgateError) as refused:
        parse_amount(text, _USDC, "legs[2].amount")

    assert refused.value.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in refused.value.details] == ["legs[2].amount"]


@pytest.mark.parametrize(
    ("units", "scale", "text"),
    [
        (0, 6, "0.000000"),
        (1, 6, "0.000001"),
        (12_345_000, 6, "12.345000"),
        (-12_345_000, 6, "-12.345000"),
        (-1, 6, "-0.000001"),
        (7, 0, "7"),
        (0, 0, "0"),
        (10**38 - 1, 18, "99999999999999999999.999999999999999999"),
    ],
)
def test_format_amount_writes_exactly_the_scale(units: int, scale: int, text: str) -> None:
    """Always the same number of digits behind the point, none without a scale."""
    assert format_amount(units, scale) == text

"""Amounts: whole numbers of an asset's smallest unit inside, decimal text outside, nothing between."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.errors import invalid

# What NUMERIC(38,0) can hold.
_DIGITS_MAX_COUNT: Final = 38
# One movement. Ten of the largest fit into a balance, whose own bound (10^37, in the schema) lies so
# far inside NUMERIC(38,0) that adding to it cannot overflow before the bound refuses.
MOVEMENT_MAX_UNITS: Final = 10**36

# A JSON number without sign and exponent.
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")


class AssetClass(StrEnum):
    """What an asset is to its holder."""

    CASH = "CASH"
    OUTCOME = "OUTCOME"
    TEST = "TEST"


@dataclass(frozen=True, slots=True)
class Asset:
    """Something that amounts count; `scale` is the number of digits behind one whole's point."""

    asset_id: int
    code: str
    scale: int
    asset_class: AssetClass


def parse_amount(text: str, asset: Asset, path: str) -> int:
    """The positive amount in `text` (`12.5`) in the asset's smallest units.

    Raises VALIDATION_ERROR about `path` as `parse_decimal` does with the asset's scale, for zero,
    and beyond MOVEMENT_MAX_UNITS.
    """
    units = parse_decimal(text, asset.scale, path)
    if units == 0:
        raise invalid(path, "must be greater than zero")
    if units > MOVEMENT_MAX_UNITS:
        raise invalid(path, f"must be at most {format_amount(MOVEMENT_MAX_UNITS, asset.scale)}")
    return units


def parse_decimal(text: str, scale: int, path: str) -> int:
    """The number in `text` times 10^scale, zero or more.

    Raises VALIDATION_ERROR about `path` for anything but digits with at most one point and at most
    `scale` of them behind it, and for more digits than an amount can have.
    """
    if not text:
        raise invalid(path, "is required")
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise invalid(path, "must be a decimal number such as 12.5, without sign and exponent")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > scale:
        raise invalid(path, f"must have at most {scale} digits behind the point")
    # Before int(): its time grows with the square of the length.
    if len(whole) + len(fraction) > _DIGITS_MAX_COUNT:
        raise invalid(path, f"must have at most {_DIGITS_MAX_COUNT} digits")
    return int(whole + fraction.ljust(scale, "0"))


def format_amount(units: int, scale: int) -> str:
    """`units` as decimal text with exactly `scale` digits behind the point."""
    digits = str(abs(units)).rjust(scale + 1, "0")
    sign = "-" if units < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def plain_amount(units: int, scale: int) -> str:
    """`units` as decimal text without needless zeros, as a sentence has it: `0.523`, `12`."""
    text = format_amount(units, scale)
    return text.rstrip("0").rstrip(".") if "." in text else text

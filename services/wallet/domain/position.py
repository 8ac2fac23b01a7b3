"""Positions: what a wallet's shares of an outcome cost, and what they brought.

Fees are outside of both. Amounts, shares and prices are millionths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.wallet.domain.market import ONE, worth

# Hundredths of a percent in one whole.
_PERCENT_HUNDREDTHS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Position:
    """Shares of one outcome with what was paid for them, and the profit of those sold."""

    shares: int
    cost: int
    realized: int

    def bought(self, shares: int, price: int) -> Position:
        """After buying at a price."""
        return replace(self, shares=self.shares + shares, cost=self.cost + worth(price, shares))

    def sold(self, shares: int, price: int) -> Position:
        """After selling at a price; of the cost goes the part that the shares were, rounded down.

        So the cost of what is left is zero exactly when nothing is left.
        """
        cost = self.cost * shares // self.shares
        return Position(
            shares=self.shares - shares,
            cost=self.cost - cost,
            realized=self.realized + worth(price, shares) - cost,
        )


@dataclass(frozen=True, slots=True)
class Valuation:
    """A position at a price; `percent_pnl` in hundredths of a percent, the rest in millionths."""

    average_price: int
    initial_value: int
    current_value: int
    amount_pnl: int
    percent_pnl: int


def valuation(position: Position, current_price: int) -> Valuation:
    """What a position is worth at the price of its own outcome."""
    # The middle of a book may lie between two ticks, so this one product is rounded: down.
    current_value = worth(current_price, position.shares)
    amount_pnl = current_value - position.cost
    return Valuation(
        average_price=average_price(position.cost, position.shares),
        initial_value=position.cost,
        current_value=current_value,
        amount_pnl=amount_pnl,
        percent_pnl=rounded_ratio(amount_pnl * _PERCENT_HUNDREDTHS, position.cost),
    )


def average_price(notional: int, shares: int) -> int:
    """The price of one share, rounded to the nearest millionth; 0 without shares."""
    return rounded_ratio(notional * ONE, shares)


def rounded_ratio(numerator: int, denominator: int) -> int:
    """The nearest whole number, halves away from zero; 0 where there is nothing to divide by."""
    if denominator == 0:
        return 0
    nearest = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -nearest if numerator < 0 else nearest

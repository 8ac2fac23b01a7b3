"""Markets: what an outcome's price can be, how shares are counted, and which books stand behind it.

Shares, USDC and prices are whole numbers of 10^-6. A market has one book, in terms of its left
outcome: whoever buys the right one at p offers the left one at 1 - p, because both together are
worth exactly one USDC.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.errors import Code, SealgateError, invalid
from services.wallet.domain.money import parse_decimal, plain_amount
from services.wallet.domain.system import SystemWallet, system_wallet

# Digits behind the point of shares, prices and USDC, and one whole of each.
SCALE: Final = 6
ONE: Final = 10**SCALE

DEFAULT_TICK: Final = 1_000
DEFAULT_LOT: Final = 10_000
DEFAULT_MIN_SHARES: Final = ONE
FEE_MAX_BPS: Final = 1_000
BPS_PER_WHOLE: Final = 10_000
# One order: 10^12 shares. What many of them add up to stays far inside of a balance's bound.
ORDER_MAX_UNITS: Final = 10**18

_TICK_MAX: Final = ONE // 2

_CONDITION_DOMAIN: Final = b"sealgate/condition/v1\x00"
_TOKEN_DOMAIN: Final = b"sealgate/token/v1\x00"
_BOOK_WALLET_DOMAIN: Final = b"sealgate/market-wallet/v1\x00"
_CONDITION_ID: Final = re.compile(r"0x[0-9a-f]{64}")
_TOKEN_ID: Final = re.compile(r"0|[1-9][0-9]{0,77}")


class Outcome(StrEnum):
    """One of a market's two sides; shares of the one that comes true pay 1 USDC each."""

    LEFT = "LEFT"
    RIGHT = "RIGHT"


class MarketStatus(StrEnum):
    """Whether a market takes orders."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class BookSide(StrEnum):
    """Where an order stands in the market's one book."""

    BID = "BID"
    ASK = "ASK"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a market asks of its orders; they never change.

    `tick`, `lot` and `min_shares` in millionths, fees in hundredths of a percent of a fill's worth.
    """

    tick: int = DEFAULT_TICK
    lot: int = DEFAULT_LOT
    min_shares: int = DEFAULT_MIN_SHARES
    maker_fee_bps: int = 0
    taker_fee_bps: int = 0

    @property
    def price_min(self) -> int:
        """The lowest price that anything can have."""
        return self.tick

    @property
    def price_max(self) -> int:
        """The highest one: what is left of 1 when the other outcome has the lowest."""
        return ONE - self.tick

    @property
    def max_shares(self) -> int:
        """The most an order can be."""
        return ORDER_MAX_UNITS // self.lot * self.lot

    @property
    def worst_fee_bps(self) -> int:
        """What a fill can cost at most, whichever side of it an order is on."""
        return max(self.maker_fee_bps, self.taker_fee_bps)


@dataclass(frozen=True, slots=True)
class Market:
    """What trading needs to know of a market."""

    condition_id: str
    terms: Terms
    status: MarketStatus
    cash_asset_id: int
    left_asset_id: int
    right_asset_id: int

    def asset_id(self, outcome: Outcome) -> int:
        """The asset that shares of an outcome are."""
        return self.left_asset_id if outcome is Outcome.LEFT else self.right_asset_id

    @property
    def collateral_wallet(self) -> SystemWallet:
        """Holds one USDC for each pair of shares; the shares stand there below zero."""
        return collateral_wallet(self.condition_id)

    @property
    def fees_wallet(self) -> SystemWallet:
        """Takes what trading in the market costs."""
        return fees_wallet(self.condition_id)


def read_terms(
    *, tick: str | None, lot: str | None, min_amount: str | None, maker_fee_bps: int, taker_fee_bps: int
) -> Terms:
    """Reads a new market's terms from decimal texts; what is absent gets its default.

    Raises VALIDATION_ERROR as `check_terms` does, and for what is no decimal number.
    """
    terms = Terms(
        tick=DEFAULT_TICK if tick is None else parse_decimal(tick, SCALE, "tick"),
        lot=DEFAULT_LOT if lot is None else parse_decimal(lot, SCALE, "lot"),
        min_shares=DEFAULT_MIN_SHARES
        if min_amount is None
        else parse_decimal(min_amount, SCALE, "min_amount"),
        maker_fee_bps=maker_fee_bps,
        taker_fee_bps=taker_fee_bps,
    )
    check_terms(terms)
    return terms


def check_terms(terms: Terms) -> None:
    """Raises VALIDATION_ERROR unless a market can be traded on these terms without any rounding.

    A tick times a lot is a whole number of millionths, so every price times every number of shares
    is one too, and no fill has to be rounded in anybody's favour.
    """
    if not 1 <= terms.tick <= _TICK_MAX:
        raise invalid("tick", f"must be {plain_amount(1, SCALE)} to {plain_amount(_TICK_MAX, SCALE)}")
    if ONE % terms.tick:
        raise invalid("tick", "must divide 1 without rest")
    if not 1 <= terms.lot <= ORDER_MAX_UNITS:
        raise invalid("lot", f"must be {plain_amount(1, SCALE)} to {plain_amount(ORDER_MAX_UNITS, SCALE)}")
    if terms.tick * terms.lot % ONE:
        raise invalid("lot", "times the tick must be a whole number of millionths")
    if not terms.lot <= terms.min_shares <= ORDER_MAX_UNITS or terms.min_shares % terms.lot:
        raise invalid("min_amount", f"must be a multiple of {plain_amount(terms.lot, SCALE)}")
    for path, bps in (("maker_fee_bps", terms.maker_fee_bps), ("taker_fee_bps", terms.taker_fee_bps)):
        if not 0 <= bps <= FEE_MAX_BPS:
            raise invalid(path, f"must be 0 to {FEE_MAX_BPS}")


def worth(price: int, shares: int) -> int:
    """What shares are worth in USDC at a price; whole for multiples of a market's tick and lot."""
    return price * shares // ONE


def whole_lots(shares: int, terms: Terms) -> int:
    """`shares` rounded down to what can be traded."""
    return shares // terms.lot * terms.lot


def fee_of(accrued: int) -> int:
    """The USDC of a fee that accrued as worth times basis points, rounded up.

    It is rounded over an order's whole life, so many small fills cost what one would.
    """
    return -(-accrued // BPS_PER_WHOLE)


def mirrored(price: int, outcome: Outcome) -> int:
    """A price of `outcome` in terms of the left one, and one in those terms as a price of `outcome`."""
    return price if outcome is Outcome.LEFT else ONE - price


def nearest_price(price: int, terms: Terms) -> int:
    """The valid price nearest to `price`; the lower one of two equally near."""
    on_tick = (price + (terms.tick - 1) // 2) // terms.tick * terms.tick
    return min(max(on_tick, terms.price_min), terms.price_max)


def nearest_lots(shares: int, terms: Terms) -> int:
    """The shares nearest to `shares` that can be traded; the lower ones of two equally near."""
    return (shares + (terms.lot - 1) // 2) // terms.lot * terms.lot


def shown_price(last_price: int | None, best_bid: int | None, best_ask: int | None) -> int:
    """What a market shows as the left outcome's price: of the last trade, else the book's middle.

    The middle needs both sides; without them nobody knows, and it is one half.
    """
    if last_price is not None:
        return last_price
    if best_bid is None or best_ask is None:
        return ONE // 2
    return (best_bid + best_ask) // 2


def new_condition_id(market_id: uuid.UUID) -> str:
    """The public name of a new market: 0x and 64 hexadecimal digits."""
    return "0x" + hashlib.blake2b(_CONDITION_DOMAIN + market_id.bytes, digest_size=32).hexdigest()


def condition_id_of(text: str) -> str:
    """Reads a condition id; raises MARKET_NOT_FOUND for what cannot be one."""
    if _CONDITION_ID.fullmatch(text) is None:
        raise SealgateError(Code.MARKET_NOT_FOUND)
    return text


def token_id(condition_id: str, outcome: Outcome) -> str:
    """The name of an outcome's shares, which is their asset's code: a decimal number below 2^256."""
    digest = hashlib.blake2b(_TOKEN_DOMAIN + f"{condition_id}/{outcome}".encode(), digest_size=32)
    return str(int.from_bytes(digest.digest(), "big"))


def token_id_of(text: str) -> str:
    """Reads a token id; raises VALIDATION_ERROR for none and TOKEN_NOT_FOUND for what cannot be one."""
    if not text:
        raise invalid("token_id", "is required")
    if _TOKEN_ID.fullmatch(text) is None:
        raise SealgateError(Code.TOKEN_NOT_FOUND)
    return text


def collateral_wallet(condition_id: str) -> SystemWallet:
    """Where a market's collateral is: one USDC for each pair of shares outstanding."""
    return system_wallet(_BOOK_WALLET_DOMAIN, f"market/{condition_id}")


def fees_wallet(condition_id: str) -> SystemWallet:
    """Where a market's fees go; one a market, whose orders wait for each other anyway."""
    return system_wallet(_BOOK_WALLET_DOMAIN, f"fees/{condition_id}")

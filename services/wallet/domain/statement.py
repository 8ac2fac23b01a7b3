"""What a wallet shows of its books: balances and transfers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chassis.errors import invalid
from chassis.limits import WALLET_LIST_DEFAULT_COUNT, WALLET_LIST_MAX_COUNT
from services.wallet.domain.money import Asset, AssetClass


@dataclass(frozen=True, slots=True)
class Holding:
    """What a wallet has of one asset, in its smallest units."""

    asset: Asset
    posted: int
    held: int

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.posted - self.held


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """A wallet's holdings and its address."""

    pol_address: str
    holdings: tuple[Holding, ...]


def shown_holdings(holdings: Sequence[Holding]) -> tuple[Holding, ...]:
    """Those a balance shows: cash even where there is none, test assets where there is some."""
    return tuple(
        holding
        for holding in holdings
        if holding.asset.asset_class is AssetClass.CASH
        or (holding.asset.asset_class is AssetClass.TEST and holding.posted)
    )


class TransferKind(StrEnum):
    """What moved money, of what a list of transfers shows."""

    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    TRANSFER = "TRANSFER"
    MINT = "MINT"
    MERGE = "MERGE"
    REDEEM = "REDEEM"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One movement seen from a wallet: `amount` is signed, in the asset's smallest units.

    `other_address` is where the money came from or went to, empty where that has none.
    """

    kind: TransferKind
    asset_code: str
    asset_scale: int
    amount: int
    wallet_address: str
    other_address: str
    external_ref: str
    created_at_ns: int

    @property
    def from_address(self) -> str:
        """What the money left."""
        return self.wallet_address if self.amount < 0 else self.other_address

    @property
    def to_address(self) -> str:
        """Where the money came in."""
        return self.wallet_address if self.amount > 0 else self.other_address


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: `limit` items at most, after skipping `offset`."""

    limit: int
    offset: int


def list_page(limit: int | None, offset: int | None) -> Page:
    """The page asked for; a limit over the cap is lowered. Raises VALIDATION_ERROR for a negative one."""
    if limit is not None and limit < 0:
        raise invalid("limit", "must not be negative")
    if offset is not None and offset < 0:
        raise invalid("offset", "must not be negative")
    wanted = WALLET_LIST_DEFAULT_COUNT if limit is None else limit
    return Page(min(wanted, WALLET_LIST_MAX_COUNT), offset or 0)

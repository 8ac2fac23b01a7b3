"""Transfers: money that goes from one of an account's wallets to another."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from chassis.errors import invalid
from services.wallet.domain.money import Asset


@dataclass(frozen=True, slots=True)
class Place:
    """A wallet and the subaccount that it is said to be in."""

    subaccount_index: int
    wallet_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class NewTransfer:
    """What to move; `amount` in the asset's smallest units. Raises VALIDATION_ERROR for one wallet twice."""

    source: Place
    target: Place
    asset: Asset
    amount: int

    def __post_init__(self) -> None:
        if self.source.wallet_id == self.target.wallet_id:
            raise invalid("to_wallet_id", "must be another wallet")

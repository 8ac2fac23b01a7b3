"""Deposits: money that arrived over a rail, booked once per reference of that rail."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import Final

from chassis.errors import invalid
from services.wallet.domain.money import Asset
from services.wallet.domain.posting import Leg, balanced
from services.wallet.domain.system import SystemWallet, system_wallet

_RAIL: Final = re.compile(r"[a-z0-9-]{1,32}")
_REFERENCE_MAX_CHARACTERS: Final = 128

# One balance that every deposit of a rail moved would hold them all up; so a rail has as many
# wallets, and the reference picks one.
RAIL_SHARD_COUNT: Final = 16

_RAIL_WALLET_DOMAIN: Final = b"sealgate/rail-wallet/v1\x00"
_SHARD_DOMAIN: Final = b"sealgate/rail-shard/v1\x00"


@dataclass(frozen=True, slots=True)
class Deposit:
    """The facts of a deposit; `amount` in the asset's smallest units."""

    rail: str
    external_ref: str
    wallet_id: uuid.UUID
    asset: Asset
    amount: int


@dataclass(frozen=True, slots=True)
class Booking:
    """How a deposit was booked; `posted_after` is the wallet's balance right after it."""

    txn_seq: int
    posted_after: int
    created_at_ns: int
    replayed: bool


def check_reference(rail: str, external_ref: str) -> None:
    """Raises VALIDATION_ERROR unless rail and reference have the shapes that tell deposits apart.

    A reference with a space at its end would be a second one that looks like the first.
    """
    if _RAIL.fullmatch(rail) is None:
        raise invalid("rail", "must be 1 to 32 of a-z, 0-9 and -")
    if not 1 <= len(external_ref) <= _REFERENCE_MAX_CHARACTERS:
        raise invalid("external_ref", f"must have 1 to {_REFERENCE_MAX_CHARACTERS} characters")
    if not external_ref.isprintable() or external_ref != external_ref.strip():
        raise invalid("external_ref", "must be printable and neither begin nor end with a space")


def rail_wallet(rail: str, external_ref: str) -> SystemWallet:
    """The rail's wallet that a deposit of this reference comes out of."""
    digest = hashlib.blake2b(_SHARD_DOMAIN + external_ref.encode(), digest_size=1).digest()
    return system_wallet(_RAIL_WALLET_DOMAIN, f"rail/{rail}/{digest[0] % RAIL_SHARD_COUNT}")


def deposit_legs(deposit: Deposit) -> tuple[Leg, ...]:
    """Out of the rail's wallet, into the account's."""
    source = rail_wallet(deposit.rail, deposit.external_ref)
    return balanced(
        (
            Leg(source.wallet_id, deposit.asset.asset_id, -deposit.amount, floor=None),
            Leg(deposit.wallet_id, deposit.asset.asset_id, deposit.amount),
        )
    )

"""Wallets: who sees them, what they are called, where they stand on a chain."""

from __future__ import annotations

import hashlib
import unicodedata
import uuid
from dataclasses import dataclass
from typing import Final

from chassis.errors import Code, SealgateError, invalid
from chassis.ids import parse_uuid
from chassis.limits import NAME_MAX_CHARACTERS

CHAIN: Final = "POL"
FIRST_SUBACCOUNT_INDEX: Final = 0
FIRST_POSITION: Final = 1

_ADDRESS_DOMAIN: Final = b"sealgate/embedded-address/v1\x00"
_ADDRESS_BYTES: Final = 20


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose wallets a caller sees: an account's, or only those of one of its subaccounts."""

    project_id: uuid.UUID
    account_id: uuid.UUID
    subaccount_index: int | None


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet of an account; `position` counts from 1 over all its subaccounts."""

    wallet_id: uuid.UUID
    name: str
    pol_address: str
    subaccount_index: int
    position: int
    autoredeem: bool
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class WalletChange:
    """What to change of a wallet; None leaves it."""

    name: str | None
    autoredeem: bool | None


def not_found() -> SealgateError:
    """The one answer for a wallet that does not exist, was deleted, or is somebody else's."""
    return SealgateError(Code.WALLET_NOT_FOUND)


def wallet_id_of(text: str) -> uuid.UUID:
    """Reads a wallet's id; raises WALLET_NOT_FOUND for what cannot be one."""
    wallet_id = parse_uuid(text)
    if wallet_id is None:
        raise not_found()
    return wallet_id


def check_name(name: str) -> None:
    """Raises VALIDATION_ERROR unless `name` has 1 to 64 characters, none of them a control character."""
    if not 1 <= len(name) <= NAME_MAX_CHARACTERS:
        raise invalid("name", f"must have 1 to {NAME_MAX_CHARACTERS} characters")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise invalid("name", "must not have control characters")


def default_name(position: int) -> str:
    """What a wallet is called that was given no name."""
    return f"Wallet {position}"


def check_subaccount(requested: int | None, reach: Reach) -> None:
    """Checks where a new wallet shall be; there is only subaccount 0 so far.

    Raises VALIDATION_ERROR for any other, WALLET_NOT_FOUND when the caller is pinned to another.
    """
    if requested not in (None, FIRST_SUBACCOUNT_INDEX):
        raise invalid("subaccount_index", f"must be {FIRST_SUBACCOUNT_INDEX}")
    if reach.subaccount_index not in (None, FIRST_SUBACCOUNT_INDEX):
        raise not_found()


def embedded_address(wallet_id: uuid.UUID, chain: str) -> str:
    """The wallet's address on the embedded rail: 0x and 40 hexadecimal digits.

    A label that deposits can be told apart by, not an account on a chain: nobody has a key to it.
    """
    message = _ADDRESS_DOMAIN + chain.encode() + b"\x00" + wallet_id.bytes
    return "0x" + hashlib.blake2b(message, digest_size=_ADDRESS_BYTES).hexdigest()

"""Wallets: who sees them, what they are called, where they stand on a chain."""

from __future__ import annotations

import hashlib
import unicodedata
import uuid
from dataclasses import dataclass
from typing import Final

from chassis.errors import Code, SealgateError, invalid
from chassis.ids import parse_uuid
from chassis.limits import NAME_MAX_CHARACTERS, SUBACCOUNT_INDEX_MAX

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

    def opens_account(self) -> bool:
        """Whether looking at an account that was never here makes its first wallet, which is in subaccount 0.

        A caller who would not see that wallet makes none.
        """
        return self.subaccount_index in (None, FIRST_SUBACCOUNT_INDEX)


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


def subaccount_not_found() -> SealgateError:
    """The answer for a subaccount that the account does not have."""
    return SealgateError(Code.SUBACCOUNT_NOT_FOUND)


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


def chosen_subaccount(requested: int | None, reach: Reach) -> int:
    """The subaccount that a new wallet is for: without a wish the caller's own, or the first.

    Raises WALLET_NOT_FOUND for one that the caller does not reach, SUBACCOUNT_NOT_FOUND for an index
    that none can have.
    """
    own = FIRST_SUBACCOUNT_INDEX if reach.subaccount_index is None else reach.subaccount_index
    index = own if requested is None else requested
    if reach.subaccount_index not in (None, index):
        raise not_found()
    check_subaccount_index(index)
    return index


def check_subaccount_index(index: int) -> None:
    """Raises SUBACCOUNT_NOT_FOUND for an index that no subaccount can have."""
    if index > SUBACCOUNT_INDEX_MAX:
        raise subaccount_not_found()


def embedded_address(wallet_id: uuid.UUID, chain: str) -> str:
    """The wallet's address on the embedded rail: 0x and 40 hexadecimal digits.

    A label that deposits can be told apart by, not an account on a chain: nobody has a key to it.
    """
    message = _ADDRESS_DOMAIN + chain.encode() + b"\x00" + wallet_id.bytes
    return "0x" + hashlib.blake2b(message, digest_size=_ADDRESS_BYTES).hexdigest()

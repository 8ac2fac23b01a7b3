"""Addresses that money may leave for: registered first, and usable after a wait."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Final

from chassis.errors import Code, Detail, SealgateError, invalid
from services.wallet.domain.wallet import CHAIN

_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Target:
    """An address on a chain."""

    chain: str
    address: str


@dataclass(frozen=True, slots=True)
class Destination:
    """A registered address; it can be used from `usable_at_ns` on."""

    destination_id: uuid.UUID
    chain: str
    address: str
    usable_at_ns: int
    created_at_ns: int


def read_target(chain: str, address: str) -> Target:
    """The address that a request names; raises VALIDATION_ERROR.

    One chain is known, and one way of writing an address, so that no two texts are the same place.
    """
    if chain != CHAIN:
        raise invalid("chain", f"must be {CHAIN}")
    if _ADDRESS.fullmatch(address) is None:
        raise invalid("address", "must be 0x and 40 digits of 0-9 and a-f")
    return Target(chain, address)


def chain_of(text: str) -> str:
    """The chain that a path names, in small letters as in other paths or in capitals.

    Raises CHAIN_NOT_FOUND.
    """
    if text not in (CHAIN, CHAIN.lower()):
        raise SealgateError(Code.CHAIN_NOT_FOUND)
    return CHAIN


def not_registered() -> SealgateError:
    """The ADDRESS_NOT_USABLE of an address that the account does not have."""
    return SealgateError(
        Code.ADDRESS_NOT_USABLE, details=(Detail("address", "is not an address of the account"),)
    )


def check_usable(destination: Destination, now_ns: int) -> None:
    """Raises ADDRESS_NOT_USABLE for an address that still has to wait."""
    if now_ns < destination.usable_at_ns:
        message = f"can be used from {destination.usable_at_ns} on, Unix nanoseconds"
        raise SealgateError(Code.ADDRESS_NOT_USABLE, details=(Detail("address", message),))

"""Subaccounts: the numbered parts of an account, each with wallets of its own."""

from __future__ import annotations

from dataclasses import dataclass

from services.wallet.domain.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Subaccount:
    """A part of an account; index 0 is the account itself. Its wallets are in the order of their making."""

    index: int
    name: str
    created_at_ns: int
    wallets: tuple[Wallet, ...]


def default_subaccount_name(index: int) -> str:
    """What a subaccount is called that was given no name."""
    return f"Subaccount {index}"

"""What the service needs of its database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Protocol

from services.wallet.domain.audit import Act
from services.wallet.domain.deposit import Booking, Deposit
from services.wallet.domain.money import Asset
from services.wallet.domain.statement import Page, Transfer, WalletBalance
from services.wallet.domain.wallet import Reach, Wallet, WalletChange


class WalletStore(Protocol):
    """Wallets of accounts; a method is one transaction and raises UNAVAILABLE without a database.

    What is not within `reach`, does not exist or was deleted is WALLET_NOT_FOUND everywhere.
    """

    async def list_wallets(self, reach: Reach) -> list[Wallet] | None:
        """The wallets by position; None for an account that was never here."""
        ...

    async def open_account(self, reach: Reach, wallet_id: uuid.UUID, now_ns: int) -> None:
        """Makes an account's first wallet, under `wallet_id`, if the account was never here."""
        ...

    async def get_wallet(self, reach: Reach, wallet_id: uuid.UUID) -> Wallet:
        """One wallet; raises WALLET_NOT_FOUND."""
        ...

    async def create_wallet(
        self, reach: Reach, wallet_id: uuid.UUID, name: str | None, now_ns: int
    ) -> Wallet:
        """A further wallet of subaccount 0, without a name named after its position.

        Raises WALLET_LIMIT_REACHED.
        """
        ...

    async def update_wallet(self, reach: Reach, wallet_id: uuid.UUID, change: WalletChange) -> Wallet:
        """The wallet after a change; raises WALLET_NOT_FOUND."""
        ...

    async def delete_wallet(self, reach: Reach, wallet_id: uuid.UUID, act: Act) -> None:
        """Deletes a wallet that holds nothing; raises WALLET_NOT_FOUND, WALLET_NOT_EMPTY."""
        ...

    async def get_balance(self, reach: Reach, wallet_id: uuid.UUID) -> WalletBalance:
        """What a wallet shows of its holdings; raises WALLET_NOT_FOUND."""
        ...

    async def list_transfers(self, reach: Reach, wallet_id: uuid.UUID, page: Page) -> Sequence[Transfer]:
        """What came in and went out, newest first; raises WALLET_NOT_FOUND."""
        ...


class DepositStore(Protocol):
    """Deposits; a method is one transaction and raises UNAVAILABLE without a database."""

    async def depositable_asset(self, code: str) -> Asset:
        """The asset of a code; raises ASSET_NOT_FOUND."""
        ...

    async def record_deposit(self, deposit: Deposit, funding_id: uuid.UUID, act: Act) -> Booking:
        """Books a deposit, or finds how it was booked before.

        Raises DEPOSIT_CONFLICT when the reference was booked with other facts, WALLET_NOT_FOUND,
        and VALIDATION_ERROR when a balance would grow past all bounds.
        """
        ...

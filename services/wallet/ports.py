"""What the service needs of its database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Protocol

from chassis.signing import RequestRecord
from services.wallet.domain.amendment import Amendment
from services.wallet.domain.audit import Act
from services.wallet.domain.deposit import Booking, Deposit
from services.wallet.domain.destination import Destination, Target
from services.wallet.domain.listing import (
    Book,
    KnownMarket,
    ListedOrder,
    ListedPosition,
    ListedTrade,
    PlacedOrder,
    ShownMarket,
    SignedOrder,
)
from services.wallet.domain.matching import RestingOrder
from services.wallet.domain.money import Asset
from services.wallet.domain.new_market import NewMarket
from services.wallet.domain.order import NewOrder
from services.wallet.domain.statement import Page, Transfer, WalletBalance
from services.wallet.domain.subaccount import Subaccount
from services.wallet.domain.transfer import NewTransfer
from services.wallet.domain.wallet import Reach, Wallet, WalletChange
from services.wallet.domain.withdrawal import NewWithdrawal, Step, Withdrawal


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
        self, reach: Reach, subaccount_index: int, wallet_id: uuid.UUID, name: str | None, now_ns: int
    ) -> Wallet:
        """A further wallet of a subaccount within reach, without a name named after its position.

        Raises SUBACCOUNT_NOT_FOUND, WALLET_LIMIT_REACHED.
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


class SubaccountStore(Protocol):
    """Subaccounts; a method is one transaction and raises UNAVAILABLE without a database."""

    async def list_subaccounts(self, reach: Reach) -> list[Subaccount]:
        """The subaccounts within reach by index, each with its wallets by position.

        Empty for an account that was never here, and for a reach that there is no subaccount of.
        """
        ...

    async def create_subaccount(
        self, reach: Reach, wallet_id: uuid.UUID, name: str | None, now_ns: int
    ) -> Subaccount:
        """A further subaccount with a wallet of its own, without a name named after its index.

        Raises SUBACCOUNT_LIMIT_REACHED, WALLET_LIMIT_REACHED.
        """
        ...


class TransferStore(Protocol):
    """Transfers between the wallets of one account."""

    async def transfer_funds(self, reach: Reach, new: NewTransfer, act: Act) -> int:
        """Moves money in one transaction; the number of the movement in the ledger.

        Raises WALLET_NOT_FOUND, with the path of the one it is about, unless both wallets are the
        account's, live, and in the subaccounts they are said to be in; INSUFFICIENT_BALANCE;
        VALIDATION_ERROR when the target's balance would grow past all bounds; UNAVAILABLE without a
        database.
        """
        ...


class RequestStore(Protocol):
    """What became of signed requests."""

    async def find_request(self, reach: Reach, request_id: uuid.UUID, now_ns: int) -> RequestRecord:
        """What is on record under an id, which is closed for good if it can run no more and never has.

        Raises REQUEST_NOT_FOUND, with a time to wait for while it may still run, and for what is not
        within reach; UNAVAILABLE without a database.
        """
        ...


class SignerFenceStore(Protocol):
    """Which keys have ended and which accounts sign; raises UNAVAILABLE without a database.

    A method is one transaction. It waits for whoever relies on the contrary, and what it says holds for
    ever.
    """

    async def fence_signers(self, account_id: uuid.UUID, public_keys: Sequence[bytes]) -> None:
        """Ends keys of an account, of 32 bytes each: nothing that they signed commits any more."""
        ...

    async def require_signatures(self, account_id: uuid.UUID) -> None:
        """From now on nothing unsigned sends money out of the account or says where it may go."""
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


class DestinationStore(Protocol):
    """Addresses that accounts may withdraw to; raises UNAVAILABLE without a database.

    They are the account's as a whole, whatever part of it a `reach` is.
    """

    async def list_destinations(self, account_id: uuid.UUID) -> list[Destination]:
        """Those that are not removed, oldest first."""
        ...

    async def add_destination(
        self, reach: Reach, target: Target, destination_id: uuid.UUID, act: Act, *, is_signed: bool
    ) -> Destination:
        """Registers an address, or finds the live one there is and leaves it as it is.

        Raises SIGNATURE_REQUIRED for an unsigned request where the account has had a master key, and
        ADDRESS_LIMIT_REACHED.
        """
        ...

    async def remove_destination(self, reach: Reach, target: Target, act: Act) -> Destination:
        """Ends an address at once and for good; raises ADDRESS_NOT_USABLE when there is no live one.

        What began to go there before goes on.
        """
        ...


class WithdrawalStore(Protocol):
    """Withdrawals; a change is one transaction and raises UNAVAILABLE without a database.

    A wallet that is not within `reach`, does not exist or was deleted is WALLET_NOT_FOUND.
    """

    async def create_withdrawal(
        self, reach: Reach, new: NewWithdrawal, act: Act, *, is_signed: bool
    ) -> Withdrawal:
        """Begins a withdrawal and keeps its money back.

        Raises SIGNATURE_REQUIRED for an unsigned request where the account has had a master key,
        ADDRESS_NOT_USABLE, WITHDRAWAL_LIMIT_REACHED, and INSUFFICIENT_BALANCE.
        """
        ...

    async def list_withdrawals(self, reach: Reach, wallet_id: uuid.UUID, page: Page) -> Sequence[Withdrawal]:
        """A wallet's withdrawals, newest first."""
        ...

    async def list_open_withdrawals(self) -> Sequence[Withdrawal]:
        """Everybody's that are on their way, oldest first, at most 1000."""
        ...

    async def settle_withdrawal(self, withdrawal_id: uuid.UUID, step: Step, act: Act) -> Withdrawal:
        """A withdrawal after a step, which may have been taken before.

        Raises WITHDRAWAL_NOT_FOUND, and WITHDRAWAL_STATE_CONFLICT for a step that it cannot take and
        for a reference that another one has.
        """
        ...

    async def pay_by_itself(self) -> int:
        """Moves on what the embedded rail has to, a bounded number of steps; how many those were."""
        ...


class MarketStore(Protocol):
    """Markets; raises UNAVAILABLE without a database."""

    async def by_condition(self, condition_id: str) -> KnownMarket:
        """What of a market never changes; raises MARKET_NOT_FOUND."""
        ...

    async def by_token(self, token_id: str) -> KnownMarket:
        """The same of the market that a token belongs to; raises TOKEN_NOT_FOUND."""
        ...

    async def create_market(
        self, new: NewMarket, market_uuid: uuid.UUID, event_id: uuid.UUID, act: Act
    ) -> ShownMarket:
        """Makes a market, its tokens and its wallets, all named after `market_uuid`.

        A new event gets `event_id`; raises EVENT_NOT_FOUND for an existing one that is not there.
        """
        ...

    async def list_markets(self, page: Page, now_ns: int) -> list[ShownMarket]:
        """Markets with their prices at a time, newest first."""
        ...

    async def get_market(self, known: KnownMarket, now_ns: int) -> ShownMarket:
        """One market with its prices at a time."""
        ...

    async def get_book(self, known: KnownMarket, now_ns: int) -> Book:
        """A market's orders that are live at a time, by price."""
        ...


class OrderStore(Protocol):
    """Orders; what changes something is one transaction and raises UNAVAILABLE without a database.

    It happens at the time at which the market's lock was had, which may be later than it was asked for.

    A wallet that is not within `reach`, does not exist or was deleted is WALLET_NOT_FOUND, another
    wallet's order ORDER_NOT_FOUND.
    """

    async def place_order(
        self,
        reach: Reach,
        wallet_id: uuid.UUID,
        known: KnownMarket,
        order: NewOrder,
        order_id: uuid.UUID,
        act: Act,
    ) -> PlacedOrder:
        """Matches a new order with the book and books what comes of it.

        Raises CLIENT_ORDER_ID_USED, ORDER_LIMIT_REACHED, EXPIRATION_OUT_OF_RANGE for an order that
        expired while it waited, and what
        `services.wallet.domain.settlement.place` raises.
        """
        ...

    async def amend_order(
        self,
        reach: Reach,
        wallet_id: uuid.UUID,
        known: KnownMarket,
        order_id: uuid.UUID,
        amendment: Amendment,
        new_order_id: uuid.UUID,
        act: Act,
    ) -> PlacedOrder:
        """Lowers an order of the market where it stands, or puts a new one, `new_order_id`, in its stead.

        In the second case the old one is cancelled, unless the new one is refused: then it stands as it
        did. Raises ORDER_NOT_OPEN, ORDER_LIMIT_REACHED, and what
        `services.wallet.domain.amendment.amended` and `services.wallet.domain.settlement.place` raise.
        """
        ...

    async def reached_orders(
        self, reach: Reach, wallet_id: uuid.UUID, known: KnownMarket, order: NewOrder, now_ns: int
    ) -> list[RestingOrder]:
        """What an order would find in the book, as far as it could reach; raises MARKET_CLOSED."""
        ...

    async def cancel_order(self, reach: Reach, wallet_id: uuid.UUID, order_id: uuid.UUID) -> None:
        """Ends an order and gives back what was held for it; raises ORDER_NOT_OPEN."""
        ...

    async def cancel_all_orders(self, reach: Reach, wallet_id: uuid.UUID) -> list[uuid.UUID]:
        """Ends everything that a wallet has open; their ids, oldest first."""
        ...

    async def close_market(self, known: KnownMarket, act: Act) -> int:
        """Ends trading in a market and every order in its book; how many were cancelled by that."""
        ...

    async def end_expired_orders(self) -> int:
        """Ends orders whose time is over, a bounded number; how many that were."""
        ...


class ListingStore(Protocol):
    """What wallets ordered, traded and hold; errors are those of `OrderStore`."""

    async def get_order(self, reach: Reach, wallet_id: uuid.UUID, order_id: uuid.UUID) -> PlacedOrder:
        """One order."""
        ...

    async def order_of_request(self, reach: Reach, request_id: uuid.UUID) -> SignedOrder | None:
        """The order that a signed request of the account placed; None when it placed none."""
        ...

    async def list_orders(
        self, reach: Reach, wallet_id: uuid.UUID, page: Page, now_ns: int
    ) -> list[ListedOrder]:
        """Orders, newest first, with their markets' prices at a time."""
        ...

    async def list_live_orders(
        self, reach: Reach, wallet_id: uuid.UUID, page: Page, now_ns: int
    ) -> list[ListedOrder]:
        """As `list_orders`, those that can be filled at a time."""
        ...

    async def list_trades(self, reach: Reach, wallet_id: uuid.UUID, page: Page) -> list[ListedTrade]:
        """What the orders traded, newest first."""
        ...

    async def list_positions(
        self, reach: Reach, wallet_id: uuid.UUID, page: Page, now_ns: int
    ) -> list[ListedPosition]:
        """Outcome shares, largest cost first, with their markets' prices at a time."""
        ...

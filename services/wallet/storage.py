"""The ledger in Postgres. What the database enforces by itself is said in `schema.sql`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from chassis.db.errors import ConstraintErrors
from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.limits import WALLETS_PER_ACCOUNT_COUNT
from services.wallet.domain.audit import Act
from services.wallet.domain.deposit import Booking, Deposit, deposit_legs, rail_wallet
from services.wallet.domain.money import Asset, AssetClass
from services.wallet.domain.statement import (
    Holding,
    Page,
    Transfer,
    TransferKind,
    WalletBalance,
    shown_holdings,
)
from services.wallet.domain.wallet import (
    CHAIN,
    FIRST_POSITION,
    Reach,
    Wallet,
    WalletChange,
    default_name,
    embedded_address,
    not_found,
    subaccount_not_found,
)

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_LIST_WALLETS: Final = _queries.list_wallets
_OPEN_ACCOUNT: Final = _queries.open_account
_GET_WALLET: Final = _queries.get_wallet
_TAKE_POSITION: Final = _queries.take_position
_HAS_SUBACCOUNT: Final = _queries.has_subaccount
_COUNT_WALLETS: Final = _queries.count_wallets
_INSERT_WALLET: Final = _queries.insert_wallet
_UPDATE_WALLET: Final = _queries.update_wallet
_LOCK_WALLET: Final = _queries.lock_wallet
_DELETE_EMPTY_WALLET: Final = _queries.delete_empty_wallet
_GET_BALANCES: Final = _queries.get_balances
_LIST_TRANSFERS: Final = _queries.list_transfers
_LIST_DEPOSITABLE_ASSETS: Final = _queries.list_depositable_assets
_RECORD_DEPOSIT: Final = _queries.record_deposit
_FIND_DEPOSIT: Final = _queries.find_deposit

CONSTRAINT_ERRORS: Final[ConstraintErrors] = {
    "balance_covers_holds": lambda: SealgateError(Code.INSUFFICIENT_BALANCE),
    "balance_in_range": lambda: invalid("amount", "would take a balance past the most it can be"),
    "ord_client_order_id_unique": lambda: SealgateError(Code.CLIENT_ORDER_ID_USED),
    "withdrawal_reference_unique": lambda: SealgateError(
        Code.WITHDRAWAL_STATE_CONFLICT,
        details=(Detail("external_ref", "is that of another withdrawal"),),
    ),
}
"""What the pool is to make of violated constraints."""


class WalletStorage:
    """See `services.wallet.ports.WalletStore`; `wallets_per_account_count` is the cap."""

    def __init__(
        self, database: Database, wallets_per_account_count: int = WALLETS_PER_ACCOUNT_COUNT
    ) -> None:
        self._database = database
        self._wallets_per_account_count = wallets_per_account_count

    async def list_wallets(self, reach: Reach) -> list[Wallet] | None:
        """See `WalletStore.list_wallets`; one statement that writes nothing."""
        rows = await self._database.fetch(_LIST_WALLETS, reach.account_id, reach.subaccount_index)
        if not rows:
            return None
        return [read_wallet(row) for row in rows if row["wallet_id"] is not None]

    async def open_account(self, reach: Reach, wallet_id: uuid.UUID, now_ns: int) -> None:
        """See `WalletStore.open_account`."""
        await self._database.execute(
            _OPEN_ACCOUNT,
            reach.account_id,
            reach.project_id,
            now_ns,
            wallet_id,
            default_name(FIRST_POSITION),
            embedded_address(wallet_id, CHAIN),
        )

    async def get_wallet(self, reach: Reach, wallet_id: uuid.UUID) -> Wallet:
        """See `WalletStore.get_wallet`."""
        row = await self._database.fetchrow(_GET_WALLET, *within(reach, wallet_id))
        return read_wallet(found(row))

    async def create_wallet(
        self, reach: Reach, subaccount_index: int, wallet_id: uuid.UUID, name: str | None, now_ns: int
    ) -> Wallet:
        """See `WalletStore.create_wallet`; the position is given back when the cap refuses."""
        async with self._database.transaction() as tx:
            position = await take_position(tx, reach, now_ns)
            # Statements of their own: their snapshots are younger than the lock that the position took.
            if not await tx.fetchval(_HAS_SUBACCOUNT, reach.account_id, subaccount_index):
                raise subaccount_not_found()
            if await tx.fetchval(_COUNT_WALLETS, reach.account_id) >= self._wallets_per_account_count:
                raise SealgateError(Code.WALLET_LIMIT_REACHED)
            return await insert_wallet(tx, reach, subaccount_index, wallet_id, position, name, now_ns)

    async def update_wallet(self, reach: Reach, wallet_id: uuid.UUID, change: WalletChange) -> Wallet:
        """See `WalletStore.update_wallet`."""
        row = await self._database.fetchrow(
            _UPDATE_WALLET, *within(reach, wallet_id), change.name, change.autoredeem
        )
        return read_wallet(found(row))

    async def delete_wallet(self, reach: Reach, wallet_id: uuid.UUID, act: Act) -> None:
        """See `WalletStore.delete_wallet`."""
        async with self._database.transaction() as tx:
            found(await tx.fetchrow(_LOCK_WALLET, *within(reach, wallet_id)))
            deleted = await tx.fetchrow(
                _DELETE_EMPTY_WALLET,
                wallet_id,
                act.at_ns,
                reach.project_id,
                act.actor_kind,
                act.actor_id,
                act.request_id,
            )
            if deleted is None:
                raise SealgateError(Code.WALLET_NOT_EMPTY)

    async def get_balance(self, reach: Reach, wallet_id: uuid.UUID) -> WalletBalance:
        """See `WalletStore.get_balance`; one statement."""
        rows = await self._database.fetch(_GET_BALANCES, *within(reach, wallet_id))
        if not rows:
            raise not_found()
        holdings = [Holding(_asset(row), row["posted"], row["held"]) for row in rows]
        return WalletBalance(rows[0]["pol_address"], shown_holdings(holdings))

    async def list_transfers(self, reach: Reach, wallet_id: uuid.UUID, page: Page) -> Sequence[Transfer]:
        """See `WalletStore.list_transfers`; one statement."""
        rows = await self._database.fetch(_LIST_TRANSFERS, *within(reach, wallet_id), page.limit, page.offset)
        if not rows:
            raise not_found()
        return [_transfer(row) for row in rows if row["kind"] is not None]


class DepositStorage:
    """See `services.wallet.ports.DepositStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Assets never change, so one that was read stays true.
        self._assets: dict[str, Asset] = {}

    async def depositable_asset(self, code: str) -> Asset:
        """See `DepositStore.depositable_asset`."""
        if code not in self._assets:
            rows = await self._database.fetch(_LIST_DEPOSITABLE_ASSETS)
            self._assets = {row["code"]: _asset(row) for row in rows}
        asset = self._assets.get(code)
        if asset is None:
            raise SealgateError(Code.ASSET_NOT_FOUND)
        return asset

    async def record_deposit(self, deposit: Deposit, funding_id: uuid.UUID, act: Act) -> Booking:
        """See `DepositStore.record_deposit`; one statement, and one more for a repetition."""
        legs = deposit_legs(deposit)
        source = rail_wallet(deposit.rail, deposit.external_ref)
        row = await self._database.fetchrow(
            _RECORD_DEPOSIT,
            deposit.wallet_id,
            funding_id,
            deposit.rail,
            deposit.external_ref,
            deposit.asset.asset_id,
            deposit.amount,
            act.at_ns,
            act.request_id,
            [leg.wallet_id for leg in legs],
            [leg.amount for leg in legs],
            [leg.floor for leg in legs],
            source.wallet_id,
            source.name,
            act.actor_kind,
            act.actor_id,
        )
        if row is not None:
            return _booking(row, replayed=False)
        return await self._earlier_booking(deposit)

    async def _earlier_booking(self, deposit: Deposit) -> Booking:
        """How the reference of a deposit that was not booked now had been booked before.

        A taken reference was committed by whoever took it before our statement ended, so a new one
        sees it, and without any it was the wallet that was missing.
        """
        row = await self._database.fetchrow(_FIND_DEPOSIT, deposit.rail, deposit.external_ref)
        if row is None:
            raise not_found()
        facts = (row["wallet_id"], row["asset_id"], row["amount"])
        if facts != (deposit.wallet_id, deposit.asset.asset_id, deposit.amount):
            raise SealgateError(Code.DEPOSIT_CONFLICT)
        return _booking(row, replayed=True)


async def take_position(tx: Transaction, reach: Reach, now_ns: int) -> int:
    """The position of the account's next wallet; nobody else makes one, or a subaccount, until `tx` ends."""
    position: int = await tx.fetchval(_TAKE_POSITION, reach.account_id, reach.project_id, now_ns)
    return position


async def insert_wallet(
    tx: Transaction,
    reach: Reach,
    subaccount_index: int,
    wallet_id: uuid.UUID,
    position: int,
    name: str | None,
    now_ns: int,
) -> Wallet:
    """A new wallet at a position that was taken, without a name named after it."""
    row = await tx.fetchrow(
        _INSERT_WALLET,
        wallet_id,
        reach.account_id,
        subaccount_index,
        position,
        default_name(position) if name is None else name,
        embedded_address(wallet_id, CHAIN),
        now_ns,
    )
    return read_wallet(found(row))


def within(reach: Reach, wallet_id: uuid.UUID) -> tuple[uuid.UUID, uuid.UUID, int | None]:
    """The first three arguments of every statement about one wallet of a caller."""
    return wallet_id, reach.account_id, reach.subaccount_index


def found(row: asyncpg.Record | None) -> asyncpg.Record:
    """The row of a statement that yields none for a wallet that is not there: WALLET_NOT_FOUND."""
    if row is None:
        raise not_found()
    return row


def read_wallet(row: asyncpg.Record) -> Wallet:
    """A wallet out of a row that has its columns."""
    return Wallet(
        wallet_id=row["wallet_id"],
        name=row["name"],
        pol_address=row["pol_address"],
        subaccount_index=row["subaccount_index"],
        position=row["position"],
        autoredeem=row["autoredeem"],
        created_at_ns=row["created_at_ns"],
    )


def _asset(row: asyncpg.Record) -> Asset:
    return Asset(row["asset_id"], row["code"], row["scale"], AssetClass(row["class"]))


def _transfer(row: asyncpg.Record) -> Transfer:
    return Transfer(
        kind=TransferKind(row["kind"]),
        asset_code=row["code"],
        asset_scale=row["scale"],
        amount=row["amount"],
        wallet_address=row["pol_address"],
        other_address=row["other_address"] or "",
        external_ref=row["external_ref"] or "",
        created_at_ns=row["created_at_ns"],
    )


def _booking(row: asyncpg.Record, *, replayed: bool) -> Booking:
    return Booking(row["txn_seq"], row["posted_after"], row["created_at_ns"], replayed)

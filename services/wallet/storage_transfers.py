"""Transfers between wallets in Postgres."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from chassis.db.queries import load_queries
from chassis.db.tx import Database
from chassis.errors import Code, Detail, SealgateError
from services.wallet.domain.audit import Act
from services.wallet.domain.transfer import NewTransfer
from services.wallet.domain.wallet import Reach

_queries = load_queries(Path(__file__).with_name("queries_signed.sql"))
_LOCK_TRANSFER_WALLETS: Final = _queries.lock_transfer_wallets
_TRANSFER_FUNDS: Final = _queries.transfer_funds


class TransferStorage:
    """See `services.wallet.ports.TransferStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def transfer_funds(self, reach: Reach, new: NewTransfer, act: Act) -> int:
        """See `TransferStore.transfer_funds`; two statements."""
        source, target = new.source, new.target
        async with self._database.transaction() as tx:
            row = await tx.fetchrow(
                _LOCK_TRANSFER_WALLETS,
                reach.account_id,
                [source.wallet_id, target.wallet_id],
                [source.subaccount_index, target.subaccount_index],
                new.asset.asset_id,
            )
            if row is None or not row["has_source"]:
                raise _not_found("from_wallet_id")
            if not row["has_target"]:
                raise _not_found("to_wallet_id")
            # Nobody is kept from spending it meanwhile; then the balance's own constraint refuses.
            if row["available"] < new.amount:
                raise SealgateError(Code.INSUFFICIENT_BALANCE)
            txn_seq: int = await tx.fetchval(
                _TRANSFER_FUNDS,
                source.wallet_id,
                target.wallet_id,
                new.asset.asset_id,
                new.amount,
                act.request_id,
                act.actor_kind,
                act.actor_id,
                act.at_ns,
                reach.project_id,
                reach.account_id,
            )
        return txn_seq


def _not_found(path: str) -> SealgateError:
    return SealgateError(
        Code.WALLET_NOT_FOUND, details=(Detail(path, "is no wallet of this subaccount of the account"),)
    )

"""Subaccounts in Postgres."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from chassis.db.queries import load_queries
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.limits import SUBACCOUNTS_PER_ACCOUNT_COUNT, WALLETS_PER_ACCOUNT_COUNT
from services.wallet.domain.subaccount import Subaccount, default_subaccount_name
from services.wallet.domain.wallet import Reach
from services.wallet.storage import insert_wallet, read_wallet, take_position

_queries = load_queries(Path(__file__).with_name("queries_signed.sql"))
_LIST_SUBACCOUNTS: Final = _queries.list_subaccounts
_COUNT_PARTS: Final = _queries.count_parts
_INSERT_SUBACCOUNT: Final = _queries.insert_subaccount


class SubaccountStorage:
    """See `services.wallet.ports.SubaccountStore`; the two counts are the caps of an account."""

    def __init__(
        self,
        database: Database,
        subaccounts_per_account_count: int = SUBACCOUNTS_PER_ACCOUNT_COUNT,
        wallets_per_account_count: int = WALLETS_PER_ACCOUNT_COUNT,
    ) -> None:
        self._database = database
        self._subaccounts_per_account_count = subaccounts_per_account_count
        self._wallets_per_account_count = wallets_per_account_count

    async def list_subaccounts(self, reach: Reach) -> list[Subaccount]:
        """See `SubaccountStore.list_subaccounts`; one statement that writes nothing."""
        rows = await self._database.fetch(_LIST_SUBACCOUNTS, reach.account_id, reach.subaccount_index)
        grouped = itertools.groupby(rows, key=lambda row: int(row["subaccount_index"]))
        return [_subaccount(index, list(group)) for index, group in grouped]

    async def create_subaccount(
        self, reach: Reach, wallet_id: uuid.UUID, name: str | None, now_ns: int
    ) -> Subaccount:
        """See `SubaccountStore.create_subaccount`; the position is given back when a cap refuses."""
        async with self._database.transaction() as tx:
            position = await take_position(tx, reach, now_ns)
            # A statement of its own: its snapshot is younger than the lock that the position took.
            counts = await tx.fetchrow(_COUNT_PARTS, reach.account_id)
            if counts is None or counts["subaccounts_count"] >= self._subaccounts_per_account_count:
                raise SealgateError(Code.SUBACCOUNT_LIMIT_REACHED)
            if counts["wallets_count"] >= self._wallets_per_account_count:
                raise SealgateError(Code.WALLET_LIMIT_REACHED)
            index: int = counts["next_index"]
            await tx.execute(_INSERT_SUBACCOUNT, reach.account_id, index, reach.project_id, now_ns, name)
            wallet = await insert_wallet(tx, reach, index, wallet_id, position, None, now_ns)
        return Subaccount(index, _name(index, name), now_ns, (wallet,))


def _subaccount(index: int, rows: Sequence[asyncpg.Record]) -> Subaccount:
    return Subaccount(
        index=index,
        name=_name(index, rows[0]["subaccount_name"]),
        created_at_ns=rows[0]["subaccount_created_at_ns"],
        wallets=tuple(read_wallet(row) for row in rows if row["wallet_id"] is not None),
    )


def _name(index: int, name: str | None) -> str:
    return default_subaccount_name(index) if name is None else name

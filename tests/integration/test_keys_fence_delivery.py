"""One round of telling the wallet service what it has yet to know of accounts: a few at a time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest

from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.limits import FENCES_TOLD_AT_ONCE_COUNT
from chassis.testing.databases import DatabaseFactory
from services.keys.fences import FenceDelivery
from services.keys.storage_signing import FenceOutboxStorage

ACCOUNTS: Final = tuple(uuid.UUID(int=number) for number in range(1, 3 * FENCES_TOLD_AT_ONCE_COUNT + 1))
ADD_TO_OUTBOX: Final = """
INSERT INTO fence_outbox (account_id, public_key, created_at_ns)
SELECT account_id, sha256(account_id::text::bytea), 1 FROM unnest($1::uuid[]) AS account_id
"""
PATIENCE_SECONDS: Final = 30


@dataclass(slots=True)
class SlowWallet:
    """The wallet service as a round sees it: it hangs on some accounts and fails on others."""

    hangs_on: frozenset[uuid.UUID] = frozenset()
    fails_on: dict[uuid.UUID, Exception] = field(default_factory=dict)
    told: set[uuid.UUID] = field(default_factory=set)
    hanging_count: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def stop(self, account_id: uuid.UUID, public_keys: Sequence[bytes]) -> None:
        """See `services.keys.ports_signing.WalletFence.stop`."""
        if account_id in self.hangs_on:
            await self._hang()
        if account_id in self.fails_on:
            raise self.fails_on[account_id]
        self.told.add(account_id)
        self._changed.set()

    async def require_signatures(self, account_id: uuid.UUID) -> None:
        """See `services.keys.ports_signing.WalletFence.require_signatures`."""
        raise NotImplementedError

    async def until(self, reached: Callable[[], bool]) -> None:
        """Returns when what is told, and what hangs, is as a test awaits it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def _hang(self) -> None:
        self.hanging_count += 1
        self._changed.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.hanging_count -= 1


@pytest.fixture
async def database(database_factory: DatabaseFactory) -> Database:
    """A database with something to tell of each account."""
    fresh = (await database_factory("keys")).database
    await fresh.execute(ADD_TO_OUTBOX, ACCOUNTS)
    return fresh


@asynccontextmanager
async def round_with(database: Database, wallet: SlowWallet) -> AsyncIterator[None]:
    """A round that goes on during the block, and is cancelled at its end."""
    task = asyncio.create_task(FenceDelivery(FenceOutboxStorage(database), wallet).deliver_all())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_few_accounts_are_told_of_at_once(database: Database) -> None:
    """However many wait; and when the server stops, no telling goes on."""
    wallet = SlowWallet(hangs_on=frozenset(ACCOUNTS))
    async with round_with(database, wallet):
        await wallet.until(lambda: wallet.hanging_count == FENCES_TOLD_AT_ONCE_COUNT)
        # Behind whatever else the round might have asked of the database.
        await FenceOutboxStorage(database).accounts(1)
        assert wallet.hanging_count == FENCES_TOLD_AT_ONCE_COUNT
    assert wallet.hanging_count == 0


async def test_account_that_the_wallet_service_hangs_on_keeps_no_other_waiting(database: Database) -> None:
    """As long as one place is left, all others are told of."""
    hanging = frozenset(ACCOUNTS[: FENCES_TOLD_AT_ONCE_COUNT - 1])
    wallet = SlowWallet(hangs_on=hanging)
    async with round_with(database, wallet):
        await wallet.until(lambda: wallet.told == set(ACCOUNTS) - hanging)
    assert set(await FenceOutboxStorage(database).accounts(len(ACCOUNTS))) >= hanging


async def test_failure_of_an_account_keeps_no_other_from_being_told_of(database: Database) -> None:
    """The round ends when all were tried, and then says what is wrong, a mistake before an outage."""
    outage, mistake = SealgateError(Code.INTERNAL), RuntimeError("a mistake")
    wallet = SlowWallet(fails_on={ACCOUNTS[0]: outage, ACCOUNTS[1]: mistake})
    outbox = FenceOutboxStorage(database)
    delivery = FenceDelivery(outbox, wallet)
    with pytest.raises(RuntimeError):
        await delivery.deliver_all()
    assert wallet.told == set(ACCOUNTS[2:])
    assert await outbox.accounts(len(ACCOUNTS)) == list(ACCOUNTS[:2])
    del wallet.fails_on[ACCOUNTS[1]]
    with pytest.raises(SealgateError) as refused:
        await delivery.deliver_all()
    assert refused.value.code is Code.UNAVAILABLE
    assert wallet.told == set(ACCOUNTS[1:])

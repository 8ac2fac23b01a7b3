"""Session keys under concurrency, in the store itself: no turn of a server's goes before the database."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import asyncpg
import pytest

from chassis.db.pool import create_database
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.limits import (
    ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT,
    SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT,
    SESSION_KEYS_PER_MASTER_KEY_COUNT,
)
from chassis.signing import Refused, Role
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from services.keys.domain.api_key import Owner
from services.keys.domain.authority import Act, ActorKind
from services.keys.domain.signing_key import MasterKey, SessionKey, SigningCaps
from services.keys.storage_signing import SigningKeyStorage
from tests.signing_support import new_pair

OWNER: Final = Owner(uuid.UUID(int=1), uuid.UUID(int=2))
CAPS: Final = SigningCaps(
    admin_keys_count=ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT,
    scoped_keys_count=SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT,
    sessions_per_master_key_count=SESSION_KEYS_PER_MASTER_KEY_COUNT,
)
PROCESSES_COUNT: Final = 4
RACERS_COUNT: Final = 40
RACERS_PER_PROCESS_COUNT: Final = RACERS_COUNT // PROCESSES_COUNT


class Store:
    """The store of one process, over a pool of its own, and an ADMIN key under which it mints."""

    def __init__(self, database: Database, clock: FakeClock, ids: CountingIds, master: bytes) -> None:
        self._database = database
        self._keys = SigningKeyStorage(database, CAPS)
        self._clock = clock
        self._ids = ids
        self._master = master

    async def register(self) -> None:
        """Registers the ADMIN key."""
        key = MasterKey(self._master, Role.FULL_ACCESS, None, self._clock.now_ns())
        await self._keys.register(OWNER, key, self._act(ActorKind.PROJECT_KEY))

    async def mint(self) -> None:
        """Mints a new session key; raises Refused."""
        key = SessionKey(
            public_key=new_pair().public_key,
            master_public_key=self._master,
            role=Role.FULL_ACCESS,
            scope_index=None,
            subaccount_index=None,
            valid_until_ns=None,
            created_at_ns=self._clock.now_ns(),
        )
        await self._keys.mint(OWNER, key, self._act(ActorKind.MASTER_KEY))

    async def connect(self) -> None:
        """Opens every connection of the pool, so that no racer comes late for want of one."""
        await asyncio.gather(*(self._database.fetch("SELECT") for _ in range(RACERS_PER_PROCESS_COUNT)))

    def _act(self, kind: ActorKind) -> Act:
        return Act(kind, "actor", self._ids.uuid7(), self._ids.uuid7(), self._clock.now_ns())


@pytest.fixture
async def fresh(database_factory: DatabaseFactory) -> FreshDatabase:
    return await database_factory("keys")


@pytest.fixture
async def stores(fresh: FreshDatabase, clock: FakeClock, ids: CountingIds) -> AsyncIterator[list[Store]]:
    master = new_pair().public_key
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(PROCESSES_COUNT):
            database = await create_database(
                fresh.dsn, pool_size_count=RACERS_PER_PROCESS_COUNT, application_name="sealgate-test"
            )
            stack.push_async_callback(database.close)
            opened.append(Store(database, clock, ids, master))
        await opened[0].register()
        yield opened


async def outcomes(*calls: Callable[[], Awaitable[None]]) -> Counter[str]:
    """How often each call succeeded (OK) or was refused with which status."""

    async def outcome(call: Callable[[], Awaitable[None]]) -> str:
        while True:
            try:
                await call()
            except Refused as refused:
                return refused.status.value
            except SealgateError as error:
                # Whom a busy machine has no connection for in time asks again, as a caller would.
                if error.code is not Code.UNAVAILABLE:
                    raise
            else:
                return "OK"

    return Counter(await asyncio.gather(*(outcome(call) for call in calls)))


async def count(fresh: FreshDatabase, sql: str) -> int:
    """What a superuser counts."""
    connection = await asyncpg.connect(fresh.dsn_as())
    try:
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()


async def test_one_mint_wins_when_forty_in_several_processes_want_the_last_place(
    fresh: FreshDatabase, stores: list[Store]
) -> None:
    """The cap is counted under the owner's lock, whichever process counts."""
    for _ in range(SESSION_KEYS_PER_MASTER_KEY_COUNT - 1):
        await stores[0].mint()
    await asyncio.gather(*(store.connect() for store in stores))
    results = await outcomes(*(store.mint for _ in range(RACERS_PER_PROCESS_COUNT) for store in stores))
    assert results == {"OK": 1, "session_rejected_max_sessions": RACERS_COUNT - 1}
    live = "SELECT count(*) FROM signer WHERE kind = 'SESSION_KEY' AND NOT revoked"
    assert await count(fresh, live) == SESSION_KEYS_PER_MASTER_KEY_COUNT
    told = "SELECT count(*) FROM audit WHERE action = 'SESSION_KEY_MINTED'"
    assert await count(fresh, told) == SESSION_KEYS_PER_MASTER_KEY_COUNT

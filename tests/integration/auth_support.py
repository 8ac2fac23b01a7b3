"""The auth service's store on a real database, and what tests need to set it up and look into it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg

from chassis.db.pool import create_database
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.limits import LIVE_SESSIONS_PER_ACCOUNT_COUNT
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from services.auth.domain.audit import Act, ActorKind
from services.auth.domain.project import ProjectChange, SessionPolicy, new_project
from services.auth.domain.session import Birth, Session
from services.auth.ports import AccountRef
from services.auth.storage import AuthStorage

ACTOR_ID: Final = "pk_actor"
BIRTH: Final = Birth(ACTOR_ID, "tests/1", "192.0.2.7")
SHORT_POLICY: Final = SessionPolicy(120, 300)

_Result = TypeVar("_Result")
# As long as a busy machine may take until a session is seen to wait.
_WAIT_SECONDS: Final = 30.0


class AuthWorld:
    """The store over one fresh database, in the serving role, so that its rights are shown to suffice."""

    def __init__(self, database: Database, dsn: str, clock: FakeClock, ids: CountingIds) -> None:
        self.database = database
        self.clock = clock
        self.ids = ids
        self.store = AuthStorage(database, LIVE_SESSIONS_PER_ACCOUNT_COUNT)
        self._dsn = dsn

    def act(self) -> Act:
        """A project key's act, now."""
        return Act(ActorKind.PROJECT_KEY, ACTOR_ID, self.ids.uuid7(), self.clock.now_ns())

    async def project(self, policy: SessionPolicy = SHORT_POLICY) -> uuid.UUID:
        """A new project with a session policy."""
        project = new_project(self.ids.uuid7(), "Shop", (), self.clock.now_ns())
        await self.store.create_project(project, self.act())
        change = ProjectChange(session_policy=policy)
        await self.store.update_project(project.project_id, change, self.act())
        return project.project_id

    async def account(self, project_id: uuid.UUID | None = None) -> AccountRef:
        """A new account, of a new project unless one is given."""
        ref = AccountRef(project_id or await self.project(), self.ids.uuid7())
        await self.store.create_account(ref, "{}", self.act())
        return ref

    async def session(self, ref: AccountRef) -> Session:
        """A new session, started now."""
        return await self.store.create_session(ref, self.ids.uuid7(), BIRTH, self.act())

    async def refresh(self, ref: AccountRef, session_id: uuid.UUID) -> Session:
        """A session's successor."""
        return await self.store.refresh_session(ref, session_id, self.ids.uuid7(), BIRTH, self.act())

    async def live(self, ref: AccountRef) -> list[uuid.UUID]:
        """The account's live sessions, newest first."""
        sessions = await self.store.list_sessions(ref, self.clock.now_ns())
        return [session.session_id for session in sessions]

    async def administer(self) -> asyncpg.Connection[asyncpg.Record]:
        """A superuser's connection of its own; the caller closes it."""
        return await asyncpg.connect(self._dsn, user="postgres")

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What a superuser reads or does."""
        connection = await self.administer()
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def audited(self, action: str) -> int:
        """How many audit rows say so."""
        rows = await self.rows("SELECT count(*) FROM audit WHERE action = $1", action)
        return int(rows[0][0])

    @asynccontextmanager
    async def held(self, sql: str, row_id: uuid.UUID) -> AsyncIterator[Queue]:
        """Holds the row that `sql` locks; what is queued behind it proceeds in order at the end."""
        connection = await self.administer()
        watcher = await self.administer()
        try:
            async with connection.transaction():
                await connection.fetchrow(sql, row_id)
                yield Queue(watcher)
        finally:
            await connection.close()
            await watcher.close()


class Queue:
    """Operations that wait for one held row, each begun when the one before it was seen to wait."""

    def __init__(self, watcher: asyncpg.Connection[asyncpg.Record]) -> None:
        self._watcher = watcher
        self._waiting_count = 0

    async def add(self, operation: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """Begins an operation and returns when the server says that it waits for a lock."""
        task = asyncio.create_task(operation)
        self._waiting_count += 1
        async with asyncio.timeout(_WAIT_SECONDS):
            while True:
                waiting = await self._watcher.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                if waiting == self._waiting_count:
                    return task
                if task.done():
                    raise AssertionError("the operation did not wait for the held row")


async def outcome(task: asyncio.Task[_Result]) -> _Result | Code:
    """What an operation answered: its result, or the code it was refused with."""
    try:
        return await task
    except SealgateError as error:
        return error.code


@asynccontextmanager
async def auth_world(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthWorld]:
    """A world on a fresh database; its statements wait for locks as long as a busy machine may need."""
    dsn = (await database_factory("auth")).dsn
    database = await create_database(
        dsn, pool_size_count=5, application_name="tests", statement_timeout_seconds=30.0
    )
    try:
        yield AuthWorld(database, dsn, clock, ids)
    finally:
        await database.close()

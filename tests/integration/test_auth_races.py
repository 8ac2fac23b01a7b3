"""Two transactions at once, pair by pair: nothing is issued past a revocation, and nothing twice.

Each test holds a row on a connection of its own, lets two operations queue up behind it in a known
order, lets go, and looks at what both answered and at what is left.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from services.auth.domain.account import Account, AccountStatus
from services.auth.domain.session import Session
from services.auth.ports import AccountRef
from services.auth.storage import AuthStorage
from tests.integration.auth_support import AuthWorld, auth_world, outcome

HOLD_ACCOUNT = "SELECT 1 FROM account WHERE account_id = $1 FOR UPDATE"
HOLD_SESSION = "SELECT 1 FROM session WHERE session_id = $1 FOR UPDATE"

Operation = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture
async def world(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthWorld]:
    async with auth_world(database_factory, clock, ids) as world:
        yield world


class Race:
    """An account with one live session, and the operations that race for it."""

    def __init__(self, world: AuthWorld, ref: AccountRef, session: Session) -> None:
        self.world = world
        self.ref = ref
        self.session = session

    async def create(self) -> Session:
        return await self.world.session(self.ref)

    async def refresh(self) -> Session:
        return await self.world.refresh(self.ref, self.session.session_id)

    async def expire(self) -> bool:
        return await self.world.store.expire_session(self.ref, self.session.session_id, self.world.act())

    async def expire_all(self) -> tuple[int, int]:
        return await self.world.store.expire_all_sessions(self.ref, self.world.act())

    async def suspend(self) -> Account:
        return await self.world.store.set_status(self.ref, AccountStatus.SUSPENDED, self.world.act())

    async def activate(self) -> Account:
        return await self.world.store.set_status(self.ref, AccountStatus.ACTIVE, self.world.act())

    async def touch(self) -> int | None:
        return await self.world.store.touch_session(self.session.session_id, self.world.clock.now_ns())

    async def one_behind_the_other(
        self, first: Operation, second: Operation, hold: str = HOLD_ACCOUNT
    ) -> tuple[Any, Any]:
        """What both answer when `second` arrives while `first` is under way."""
        row_id = self.ref.account_id if hold is HOLD_ACCOUNT else self.session.session_id
        async with self.world.held(hold, row_id) as queue:
            tasks = [await queue.add(first()), await queue.add(second())]
        return await outcome(tasks[0]), await outcome(tasks[1])

    async def live(self) -> list[uuid.UUID]:
        return await self.world.live(self.ref)


@pytest.fixture
async def race(world: AuthWorld) -> Race:
    ref = await world.account()
    return Race(world, ref, await world.session(ref))


async def test_create_before_suspend_is_ended_by_it(race: Race) -> None:
    """The session that was just made ends with the others."""
    created, suspended = await race.one_behind_the_other(race.create, race.suspend)
    assert isinstance(created, Session)
    assert suspended.status is AccountStatus.SUSPENDED
    assert await race.live() == []


async def test_create_after_suspend_is_refused(race: Race) -> None:
    """It waited for the suspension and sees it."""
    _, created = await race.one_behind_the_other(race.suspend, race.create)
    assert created is Code.ACCOUNT_SUSPENDED
    assert await race.live() == []


async def test_create_before_expire_all_is_ended_and_counted_by_it(race: Race) -> None:
    """Two sessions were live when everything ended."""
    _, expired = await race.one_behind_the_other(race.create, race.expire_all)
    assert expired == (2, 1)
    assert await race.live() == []


async def test_create_after_expire_all_is_a_new_session(race: Race) -> None:
    """It was asked for after the end of all others and lives."""
    expired, created = await race.one_behind_the_other(race.expire_all, race.create)
    assert expired == (1, 1)
    assert await race.live() == [created.session_id]


async def test_refresh_before_suspend_leaves_nothing_alive(race: Race) -> None:
    """The successor ends too."""
    successor, _ = await race.one_behind_the_other(race.refresh, race.suspend)
    assert isinstance(successor, Session)
    assert await race.live() == []


async def test_refresh_after_suspend_is_refused(race: Race) -> None:
    """There is no way around a suspension."""
    _, refreshed = await race.one_behind_the_other(race.suspend, race.refresh)
    assert refreshed is Code.ACCOUNT_SUSPENDED
    assert await race.live() == []


async def test_refresh_before_expire_all_leaves_nothing_alive(race: Race) -> None:
    """The successor is the one live session that is ended and counted."""
    successor, expired = await race.one_behind_the_other(race.refresh, race.expire_all)
    assert isinstance(successor, Session)
    assert expired == (1, 1)
    assert await race.live() == []


async def test_refresh_after_expire_all_is_refused(race: Race) -> None:
    """An ended session has no successor."""
    expired, refreshed = await race.one_behind_the_other(race.expire_all, race.refresh)
    assert expired == (1, 1)
    assert refreshed is Code.SESSION_NOT_LIVE
    assert await race.live() == []


async def test_refresh_twice_at_once_has_one_successor(race: Race) -> None:
    """Both callers are told the same one."""
    first, second = await race.one_behind_the_other(race.refresh, race.refresh)
    assert first == second
    assert await race.live() == [first.session_id]
    assert await race.world.audited("SESSION_REFRESHED") == 1


async def test_refresh_before_expire_of_the_same_session_keeps_the_successor(race: Race) -> None:
    """What is expired had already ended; the successor is another session."""
    successor, expired = await race.one_behind_the_other(race.refresh, race.expire, HOLD_SESSION)
    assert expired is False
    assert await race.live() == [successor.session_id]


async def test_refresh_after_expire_of_the_same_session_is_refused(race: Race) -> None:
    """An expired session is not revived."""
    expired, refreshed = await race.one_behind_the_other(race.expire, race.refresh, HOLD_SESSION)
    assert expired is True
    assert refreshed is Code.SESSION_NOT_LIVE
    assert await race.live() == []


async def test_expire_twice_at_once_ends_a_session_once(race: Race) -> None:
    """One caller is told that it did, the other that it was done."""
    outcomes = await race.one_behind_the_other(race.expire, race.expire, HOLD_SESSION)
    assert outcomes == (True, False)
    assert await race.world.audited("SESSION_EXPIRED") == 1


async def test_expire_before_expire_all_is_not_counted_twice(race: Race) -> None:
    """The count is of what this call ended."""
    outcomes = await race.one_behind_the_other(race.expire, race.expire_all, HOLD_SESSION)
    assert outcomes == (True, (0, 1))


async def test_expire_after_expire_all_finds_it_done(race: Race) -> None:
    """The other way round."""
    outcomes = await race.one_behind_the_other(race.expire_all, race.expire, HOLD_SESSION)
    assert outcomes == ((1, 1), False)


async def test_expire_all_twice_at_once_counts_each_session_once(race: Race) -> None:
    """And raises the version twice, so that each call's fence holds what came before it."""
    outcomes = await race.one_behind_the_other(race.expire_all, race.expire_all)
    assert outcomes == ((1, 1), (0, 2))


async def test_expire_all_before_suspend_leaves_nothing_to_end(race: Race) -> None:
    """Both raise the version; the account ends up suspended."""
    expired, suspended = await race.one_behind_the_other(race.expire_all, race.suspend)
    assert expired == (1, 1)
    assert (suspended.status, suspended.version) == (AccountStatus.SUSPENDED, 2)


async def test_suspend_twice_at_once_raises_the_version_once(race: Race) -> None:
    """The second finds it done and answers the same."""
    first, second = await race.one_behind_the_other(race.suspend, race.suspend)
    assert first == second
    assert first.version == 1
    assert await race.world.audited("ACCOUNT_SUSPENDED") == 1


async def test_suspend_after_activate_wins(race: Race) -> None:
    """The later order stands, and what was live in between is not."""
    await race.suspend()
    active, suspended = await race.one_behind_the_other(race.activate, race.suspend)
    assert (active.status, suspended.status) == (AccountStatus.ACTIVE, AccountStatus.SUSPENDED)
    assert (await race.world.store.account(race.ref)).status is AccountStatus.SUSPENDED


async def test_create_twice_at_once_at_the_limit_makes_one(race: Race) -> None:
    """The cap is counted with nothing in flight."""
    race.world.store = AuthStorage(race.world.database, 2)
    created, refused = await race.one_behind_the_other(race.create, race.create)
    assert isinstance(created, Session)
    assert refused is Code.SESSION_LIMIT_REACHED
    assert len(await race.live()) == 2


async def test_create_before_activate_of_a_suspended_account_is_refused(race: Race) -> None:
    """And after it, it is not."""
    await race.suspend()
    refused, _ = await race.one_behind_the_other(race.create, race.activate)
    assert refused is Code.ACCOUNT_SUSPENDED
    await race.suspend()
    _, created = await race.one_behind_the_other(race.activate, race.create)
    assert await race.live() == [created.session_id]


async def test_touch_does_not_wait_for_whoever_holds_the_session(race: Race) -> None:
    """Bookkeeping of a use never makes a request wait, and never undoes an end."""
    race.world.clock.advance(seconds=60)
    async with race.world.held(HOLD_SESSION, race.session.session_id):
        assert await race.touch() is None
    await race.expire()
    assert await race.touch() is None
    assert await race.live() == []


async def test_metadata_of_an_account_can_be_read_while_it_is_held(race: Race) -> None:
    """Reads do not wait for locks."""
    async with race.world.held(HOLD_ACCOUNT, race.ref.account_id):
        assert (await race.world.store.account(race.ref)).metadata == "{}"
        assert await race.live() == [race.session.session_id]

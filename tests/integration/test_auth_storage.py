"""Projects, accounts and sessions in a real Postgres, one caller at a time."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable

import pytest

from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from services.auth.domain.account import AccountStatus
from services.auth.domain.project import ProjectChange, SessionPolicy
from services.auth.ports import AccountRef, Page
from services.auth.storage import AuthStorage
from tests.integration.auth_support import BIRTH, AuthWorld, auth_world

EVERYTHING = Page(1000, 0)


@pytest.fixture
async def world(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthWorld]:
    async with auth_world(database_factory, clock, ids) as world:
        yield world


async def code_of(operation: Awaitable[object]) -> Code:
    with pytest.raises(SealgateError) as refusal:
        await operation
    return refusal.value.code


async def test_project_keeps_what_a_change_does_not_name(world: AuthWorld) -> None:
    """Absent leaves, an empty list clears; only the change's time moves."""
    project_id = await world.project(SessionPolicy(120, 300))
    change = ProjectChange(allowed_origins=("https://a.example",))
    world.clock.advance(seconds=5)
    changed = await world.store.update_project(project_id, change, world.act())
    assert changed == await world.store.project(project_id)
    assert (changed.name, changed.session_policy) == ("Shop", SessionPolicy(120, 300))
    assert changed.allowed_origins == ("https://a.example",)
    assert changed.updated_at_ns == world.clock.now_ns() > changed.created_at_ns
    cleared = await world.store.update_project(project_id, ProjectChange(allowed_origins=()), world.act())
    assert cleared.allowed_origins == ()


async def test_project_that_is_not_there_is_not_found(world: AuthWorld) -> None:
    """Reading and changing alike."""
    nobody = world.ids.uuid7()
    assert await code_of(world.store.project(nobody)) is Code.PROJECT_NOT_FOUND
    update = world.store.update_project(nobody, ProjectChange(name="x"), world.act())
    assert await code_of(update) is Code.PROJECT_NOT_FOUND


async def test_projects_are_listed_oldest_first_in_pages(world: AuthWorld) -> None:
    """No page misses or repeats one."""
    made = [await world.project() for _ in range(3)]
    listed = [(await world.store.list_projects(Page(1, offset)))[0].project_id for offset in range(3)]
    assert listed == made
    assert await world.store.list_projects(Page(0, 0)) == []
    assert await world.store.list_projects(Page(1, 2**63 - 1)) == []


async def test_accounts_are_listed_oldest_first_and_never_those_of_another_project(world: AuthWorld) -> None:
    """Tenants do not see each other."""
    mine, other = await world.project(), await world.project()
    made = [(await world.account(mine)).account_id for _ in range(3)]
    await world.account(other)
    accounts = await world.store.list_accounts(mine, EVERYTHING)
    assert [account.account_id for account in accounts] == made
    assert [account.account_number for account in accounts] == sorted(
        account.account_number for account in accounts
    )
    page = await world.store.list_accounts(mine, Page(1, 1))
    assert [account.account_id for account in page] == made[1:2]


async def test_account_of_another_project_is_not_found_by_anything(world: AuthWorld) -> None:
    """Every operation on an account names its project too."""
    ref = await world.account()
    session = await world.session(ref)
    stolen = AccountRef(await world.project(), ref.account_id)
    store, act, session_id = world.store, world.act(), session.session_id
    for operation in (
        store.account(stolen),
        store.replace_metadata(stolen, "{}", act),
        store.set_status(stolen, AccountStatus.SUSPENDED, act),
        store.create_session(stolen, world.ids.uuid7(), BIRTH, act),
        store.refresh_session(stolen, session_id, world.ids.uuid7(), BIRTH, act),
        store.expire_all_sessions(stolen, act),
    ):
        assert await code_of(operation) is Code.ACCOUNT_NOT_FOUND
    assert await code_of(store.expire_session(stolen, session_id, act)) is Code.SESSION_NOT_FOUND
    assert await store.list_sessions(stolen, world.clock.now_ns()) == []
    assert await world.live(ref) == [session_id]


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a":"\\u0000","\\u0000":1}',
        '{"big":1e+300,"small":5e-324,"n":9007199254740992}',
        '{"b":1,"a":2}',
        '{"ü":"😀"}',
        "{}",
    ],
)
async def test_metadata_comes_back_to_the_letter(metadata: str, world: AuthWorld) -> None:
    """NUL characters, number texts and the order of members included."""
    ref = await world.account()
    changed = await world.store.replace_metadata(ref, metadata, world.act())
    assert changed.metadata == metadata
    assert json.loads((await world.store.account(ref)).metadata) == json.loads(metadata)


async def test_session_copies_the_policy_of_its_project_when_it_is_created(world: AuthWorld) -> None:
    """A later change of policy does not reach it; its successor takes the new one."""
    ref = await world.account()
    session = await world.session(ref)
    change = ProjectChange(session_policy=SessionPolicy(600, 900))
    await world.store.update_project(ref.project_id, change, world.act())
    assert session.expires_at_ns == world.clock.now_ns() + 120 * 10**9
    assert session.cap_at_ns == world.clock.now_ns() + 300 * 10**9
    successor = await world.refresh(ref, session.session_id)
    assert successor.expires_at_ns == world.clock.now_ns() + 600 * 10**9
    assert successor.cap_at_ns == world.clock.now_ns() + 900 * 10**9


async def test_session_comes_back_as_it_was_made(world: AuthWorld) -> None:
    """What the list reads is what creating returned."""
    ref = await world.account()
    session = await world.session(ref)
    assert await world.store.list_sessions(ref, world.clock.now_ns()) == [session]
    standing = await world.store.session_standing(session.session_id)
    assert standing is not None
    assert standing.session == session


async def test_sessions_are_listed_newest_first_and_live_ones_only(world: AuthWorld) -> None:
    """Ended, refreshed and run out sessions are not shown."""
    ref = await world.account()
    lapsing = await world.session(ref)
    world.clock.advance(seconds=60)
    ended, refreshed, kept = [await world.session(ref) for _ in range(3)]
    await world.store.expire_session(ref, ended.session_id, world.act())
    successor = await world.refresh(ref, refreshed.session_id)
    assert set(await world.live(ref)) == {lapsing.session_id, kept.session_id, successor.session_id}
    world.clock.advance(seconds=60)
    assert await world.live(ref) == [successor.session_id, kept.session_id]


async def test_session_limit_counts_live_sessions_only(world: AuthWorld) -> None:
    """The cap is refused at, and there is room again when one ends, or runs out."""
    ref = await world.account()
    store = AuthStorage(world.database, 2)
    world.store = store
    first = await world.session(ref)
    await world.session(ref)
    assert await code_of(world.session(ref)) is Code.SESSION_LIMIT_REACHED
    await store.expire_session(ref, first.session_id, world.act())
    await world.session(ref)
    assert await code_of(world.session(ref)) is Code.SESSION_LIMIT_REACHED
    world.clock.advance(seconds=120)
    await world.session(ref)


async def test_refresh_works_at_the_session_limit(world: AuthWorld) -> None:
    """One ends and one starts, so the count stays."""
    ref = await world.account()
    world.store = AuthStorage(world.database, 1)
    session = await world.session(ref)
    successor = await world.refresh(ref, session.session_id)
    assert await world.live(ref) == [successor.session_id]


async def test_refresh_repeated_within_thirty_seconds_answers_the_same_successor(world: AuthWorld) -> None:
    """As often as it is asked, without another row or audit entry."""
    ref = await world.account()
    session = await world.session(ref)
    successor = await world.refresh(ref, session.session_id)
    world.clock.advance(seconds=30)
    assert await world.refresh(ref, session.session_id) == successor
    assert await world.audited("SESSION_REFRESHED") == 1
    world.clock.advance_ns(1)
    assert await code_of(world.refresh(ref, session.session_id)) is Code.SESSION_ALREADY_REFRESHED
    assert await world.live(ref) == [successor.session_id]


async def test_refresh_says_already_refreshed_when_the_successor_was_refreshed_or_ended(
    world: AuthWorld,
) -> None:
    """Only a living successor is given out again."""
    ref = await world.account()
    one, two = await world.session(ref), await world.session(ref)
    one_successor = await world.refresh(ref, one.session_id)
    two_successor = await world.refresh(ref, two.session_id)
    await world.refresh(ref, one_successor.session_id)
    await world.store.expire_session(ref, two_successor.session_id, world.act())
    assert await code_of(world.refresh(ref, one.session_id)) is Code.SESSION_ALREADY_REFRESHED
    assert await code_of(world.refresh(ref, two.session_id)) is Code.SESSION_ALREADY_REFRESHED


async def test_refresh_refuses_what_is_not_live_and_what_is_not_there(world: AuthWorld) -> None:
    """Ended and run out: not live. Unknown or of another account: not found."""
    ref = await world.account()
    ended, lapsed = await world.session(ref), await world.session(ref)
    await world.store.expire_session(ref, ended.session_id, world.act())
    foreign = await world.session(await world.account(ref.project_id))
    assert await code_of(world.refresh(ref, ended.session_id)) is Code.SESSION_NOT_LIVE
    assert await code_of(world.refresh(ref, foreign.session_id)) is Code.SESSION_NOT_FOUND
    assert await code_of(world.refresh(ref, world.ids.uuid7())) is Code.SESSION_NOT_FOUND
    world.clock.advance(seconds=120)
    assert await code_of(world.refresh(ref, lapsed.session_id)) is Code.SESSION_NOT_LIVE


async def test_expire_ends_a_session_once(world: AuthWorld) -> None:
    """True the first time, false after that, also for one that ran out; unknown ones are not found."""
    ref = await world.account()
    session, lapsed = await world.session(ref), await world.session(ref)
    foreign = await world.session(await world.account(ref.project_id))
    assert await world.store.expire_session(ref, session.session_id, world.act()) is True
    assert await world.store.expire_session(ref, session.session_id, world.act()) is False
    world.clock.advance(seconds=120)
    assert await world.store.expire_session(ref, lapsed.session_id, world.act()) is False
    for unknown in (foreign.session_id, world.ids.uuid7()):
        expire = world.store.expire_session(ref, unknown, world.act())
        assert await code_of(expire) is Code.SESSION_NOT_FOUND
    assert await world.audited("SESSION_EXPIRED") == 1


async def test_expire_all_counts_live_sessions_and_raises_the_version_every_time(world: AuthWorld) -> None:
    """Nothing live is left, of this account alone; a repetition revokes what was issued since."""
    ref = await world.account()
    neighbour = await world.account(ref.project_id)
    kept = await world.session(neighbour)
    gone = await world.session(ref)
    await world.store.expire_session(ref, gone.session_id, world.act())
    for _ in range(3):
        await world.session(ref)
    assert await world.store.expire_all_sessions(ref, world.act()) == (3, 1)
    assert await world.store.expire_all_sessions(ref, world.act()) == (0, 2)
    assert await world.live(ref) == []
    assert await world.live(neighbour) == [kept.session_id]


async def test_expire_all_leaves_sessions_that_ran_out_as_they_are(world: AuthWorld) -> None:
    """They are expired, not ended: their tokens keep saying so."""
    ref = await world.account()
    lapsed = await world.session(ref)
    world.clock.advance(seconds=120)
    assert await world.store.expire_all_sessions(ref, world.act()) == (0, 1)
    standing = await world.store.session_standing(lapsed.session_id)
    assert standing is not None
    assert standing.session.ended_at_ns is None


async def test_suspending_ends_sessions_and_refuses_new_ones_until_active_again(world: AuthWorld) -> None:
    """The version is raised once; a repetition changes nothing; old sessions stay dead."""
    ref = await world.account()
    session = await world.session(ref)
    refreshed = await world.session(ref)
    await world.refresh(ref, refreshed.session_id)
    suspended = await world.store.set_status(ref, AccountStatus.SUSPENDED, world.act())
    assert (suspended.status, suspended.version) == (AccountStatus.SUSPENDED, 1)
    assert await world.live(ref) == []
    assert await code_of(world.session(ref)) is Code.ACCOUNT_SUSPENDED
    assert await code_of(world.refresh(ref, refreshed.session_id)) is Code.ACCOUNT_SUSPENDED
    world.clock.advance(seconds=1)
    assert await world.store.set_status(ref, AccountStatus.SUSPENDED, world.act()) == suspended
    assert await world.audited("ACCOUNT_SUSPENDED") == 1
    active = await world.store.set_status(ref, AccountStatus.ACTIVE, world.act())
    assert (active.status, active.version) == (AccountStatus.ACTIVE, 1)
    assert await code_of(world.refresh(ref, session.session_id)) is Code.SESSION_NOT_LIVE
    assert await code_of(world.refresh(ref, refreshed.session_id)) is Code.SESSION_ALREADY_REFRESHED
    assert await world.live(ref) == []


async def test_touch_moves_the_idle_end_at_most_once_in_thirty_seconds(world: AuthWorld) -> None:
    """The time on record is returned only when it was written."""
    ref = await world.account()
    session_id = (await world.session(ref)).session_id
    world.clock.advance_ns(30 * 10**9 - 1)
    assert await world.store.touch_session(session_id, world.clock.now_ns()) is None
    world.clock.advance_ns(1)
    assert await world.store.touch_session(session_id, world.clock.now_ns()) == world.clock.now_ns()
    assert await world.store.touch_session(session_id, world.clock.now_ns()) is None
    world.clock.advance(seconds=119)
    assert await world.live(ref) == [session_id]


async def test_touch_never_wakes_a_session_that_is_over(world: AuthWorld) -> None:
    """Ended, past its idle end, past its cap."""
    ref = await world.account()
    ended, idle, capped = [(await world.session(ref)).session_id for _ in range(3)]
    await world.store.expire_session(ref, ended, world.act())
    world.clock.advance(seconds=99)
    assert await world.store.touch_session(ended, world.clock.now_ns()) is None
    for _ in range(2):
        assert await world.store.touch_session(capped, world.clock.now_ns()) is not None
        world.clock.advance(seconds=99)
    assert await world.store.touch_session(idle, world.clock.now_ns()) is None
    assert await world.store.touch_session(capped, world.clock.now_ns()) is not None
    world.clock.advance(seconds=3)
    assert await world.store.touch_session(capped, world.clock.now_ns()) is None


async def test_standing_has_the_account_only_if_it_is_of_the_project(world: AuthWorld) -> None:
    """One query answers for a project key and the account it names."""
    ref = await world.account()
    mine = await world.store.standing(ref.project_id, ref.account_id)
    assert mine is not None
    assert mine.holder is not None
    assert mine.holder.account_id == ref.account_id
    foreign = await world.account()
    for account_id in (foreign.account_id, world.ids.uuid7(), None):
        standing = await world.store.standing(ref.project_id, account_id)
        assert standing is not None
        assert standing.holder is None
    assert await world.store.standing(world.ids.uuid7(), ref.account_id) is None


async def test_every_change_leaves_one_audit_row_that_says_who_did_what(world: AuthWorld) -> None:
    """In the order in which it was done, with the request it belongs to."""
    ref = await world.account()
    session = await world.session(ref)
    successor = await world.refresh(ref, session.session_id)
    await world.store.replace_metadata(ref, '{"a":1}', world.act())
    await world.store.expire_session(ref, successor.session_id, world.act())
    await world.store.expire_all_sessions(ref, world.act())
    await world.store.set_status(ref, AccountStatus.SUSPENDED, world.act())
    last = world.act()
    await world.store.set_status(ref, AccountStatus.ACTIVE, last)
    rows = await world.rows("SELECT * FROM audit ORDER BY audit_id")
    project, account = str(ref.project_id), str(ref.account_id)
    assert [(row["action"], row["subject"]) for row in rows] == [
        ("PROJECT_CREATED", project),
        ("PROJECT_UPDATED", project),
        ("ACCOUNT_CREATED", account),
        ("SESSION_CREATED", str(session.session_id)),
        ("SESSION_REFRESHED", str(session.session_id)),
        ("ACCOUNT_METADATA_REPLACED", account),
        ("SESSION_EXPIRED", str(successor.session_id)),
        ("SESSIONS_EXPIRED", account),
        ("ACCOUNT_SUSPENDED", account),
        ("ACCOUNT_ACTIVATED", account),
    ]
    assert {row["project_id"] for row in rows} == {ref.project_id}
    assert {row["account_id"] for row in rows[2:]} == {ref.account_id}
    assert (rows[-1]["at_ns"], rows[-1]["request_id"]) == (last.at_ns, last.request_id)
    assert (rows[-1]["actor_kind"], rows[-1]["actor_id"]) == ("PROJECT_KEY", "pk_actor")


async def test_change_without_its_audit_row_does_not_happen(world: AuthWorld) -> None:
    """The audit is in the same transaction: when it cannot be written, nothing is."""
    ref = await world.account()
    session = await world.session(ref)
    await world.rows("ALTER TABLE audit ADD CONSTRAINT no_more CHECK (at_ns < 0) NOT VALID")
    for operation in (
        world.session(ref),
        world.refresh(ref, session.session_id),
        world.store.expire_session(ref, session.session_id, world.act()),
        world.store.expire_all_sessions(ref, world.act()),
        world.store.set_status(ref, AccountStatus.SUSPENDED, world.act()),
        world.store.replace_metadata(ref, '{"a":1}', world.act()),
        world.store.create_account(AccountRef(ref.project_id, uuid.UUID(int=1)), "{}", world.act()),
        world.store.update_project(ref.project_id, ProjectChange(name="Other"), world.act()),
    ):
        with pytest.raises(Exception, match="no_more"):
            await operation
    assert await world.live(ref) == [session.session_id]
    account = await world.store.account(ref)
    assert (account.status, account.version, account.metadata) == (AccountStatus.ACTIVE, 0, "{}")
    assert len(await world.store.list_accounts(ref.project_id, EVERYTHING)) == 1
    assert (await world.store.project(ref.project_id)).name == "Shop"

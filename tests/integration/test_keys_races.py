"""Keys under concurrency: caps, the last project key, fences and ends hold whoever comes first.

Where the order matters a second connection holds a transaction open in the middle, and the test goes
on when the other side is seen to wait for it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import asyncpg
import pytest

from chassis.db.queries import load_queries
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from sealgate.keys.v1 import api_key_pb2
from tests.integration.keys_support import ACCOUNT, PROJECT, KeysWorld, scopes_of

QUERIES = load_queries(Path(__file__).parents[2] / "services" / "keys" / "queries.sql")

COUNT_WRITES = """
CREATE TABLE written (at_ns bigint);
CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN INSERT INTO written VALUES (NEW.last_used_at_ns); RETURN NULL; END $$;
CREATE TRIGGER count_write AFTER UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION count_write();
"""


@pytest.fixture
async def holder(keys: KeysWorld) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await keys.administer()
    yield connection
    await connection.close()


async def outcomes(*calls: Awaitable[object]) -> Counter[str]:
    """How often each call succeeded (OK) or was refused with which code."""

    async def outcome(call: Awaitable[object]) -> str:
        try:
            await call
        except SealgateError as error:
            return error.code.value
        return "OK"

    return Counter(await asyncio.gather(*(outcome(call) for call in calls)))


async def live_count(keys: KeysWorld) -> int:
    (row,) = await keys.rows("SELECT count(*) FROM api_key WHERE ended_at_ns IS NULL")
    count: int = row["count"]
    return count


async def test_one_creation_wins_when_forty_want_the_last_place(keys: KeysWorld, session: Identity) -> None:
    """The cap is counted under the owner's lock: never one key too many, never one too few."""
    for _ in range(49):
        await keys.create(session)
    results = await outcomes(*(keys.create(session) for _ in range(40)))
    assert results == {"OK": 1, "KEY_LIMIT_REACHED": 39}
    assert await live_count(keys) == 50


async def test_first_creations_all_succeed_when_they_make_the_owner_together(
    keys: KeysWorld, session: Identity
) -> None:
    """Whoever comes while the owner's row is being made waits for it and goes on."""
    assert await outcomes(*(keys.create(session) for _ in range(15))) == {"OK": 15}
    assert await live_count(keys) == 15


async def test_one_deletion_wins_when_both_of_the_last_two_project_keys_go(keys: KeysWorld) -> None:
    """Two deletions that each see another key left cannot both be right."""
    for number in range(1, 11):
        project_id = uuid.UUID(int=number)
        project = keys.by_project(project_id)
        pair = [await keys.create_for_project(project_id) for _ in range(2)]
        results = await outcomes(*(keys.delete_of_project(project, key.public_key) for key in pair))
        assert results == {"OK": 1, "LAST_PROJECT_API_KEY": 1}
        assert await live_count(keys) == number


async def test_one_deletion_wins_when_one_key_is_deleted_many_times_at_once(
    keys: KeysWorld, session: Identity
) -> None:
    """Exactly one caller is told that it ended the key, and the audit says so once."""
    issued = await keys.create(session)
    results = await outcomes(*(keys.delete(session, issued.public_key) for _ in range(10)))
    assert results == {"OK": 1, "API_KEY_NOT_FOUND": 9}
    assert len(await keys.rows("SELECT 1 FROM audit WHERE action = 'KEY_DELETED'")) == 1


async def test_change_loses_when_a_deletion_is_under_way(
    keys: KeysWorld, session: Identity, holder: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A change that waited for a deletion finds no key, and brings none back."""
    issued = await keys.create(session)
    async with holder.transaction():
        await holder.execute(QUERIES.lock_owner, ACCOUNT, "ACCOUNT")
        await holder.execute("UPDATE api_key SET ended_at_ns = 1, end_reason = 'DELETED'")
        change = asyncio.create_task(keys.update(session, issued.public_key, name="late"))
        await keys.blocked(1)
    with pytest.raises(SealgateError) as caught:
        await change
    assert caught.value.code is Code.API_KEY_NOT_FOUND
    (row,) = await keys.rows("SELECT name, ended_at_ns FROM api_key")
    assert (row["name"], row["ended_at_ns"]) == ("", 1)


async def test_key_is_gone_when_change_and_deletion_meet(keys: KeysWorld, session: Identity) -> None:
    """In whichever order they come, the deletion holds."""
    for _ in range(10):
        issued = await keys.create(session)
        results = await outcomes(
            keys.update(session, issued.public_key, name="x"), keys.delete(session, issued.public_key)
        )
        assert results["OK"] + results["API_KEY_NOT_FOUND"] == 2
        assert results["OK"] >= 1
        assert await live_count(keys) == 0


async def test_no_change_is_lost_when_two_meet(keys: KeysWorld, session: Identity) -> None:
    """What one change leaves alone another one's change survives."""
    for _ in range(10):
        issued = await keys.create(session)
        results = await outcomes(
            keys.update(session, issued.public_key, name="x"),
            keys.update(session, issued.public_key, scopes=scopes_of("account:read")),
        )
        assert results == {"OK": 2}
        key = (await keys.list_keys(session))[-1]
        assert (key.name, list(key.scopes)) == ("x", ["account:read"])
        await keys.delete(session, issued.public_key)


async def test_fence_waits_when_an_issue_is_in_flight(
    keys: KeysWorld, session: Identity, holder: asyncpg.Connection[asyncpg.Record]
) -> None:
    """An issue that has passed the fence's check commits before the fence is answered, not after."""
    async with holder.transaction():
        await holder.execute(QUERIES.ensure_owner, ACCOUNT, "ACCOUNT")
        await holder.execute(QUERIES.lock_owner, ACCOUNT, "ACCOUNT")
        fence = asyncio.create_task(keys.fence(ACCOUNT, 1))
        await keys.blocked(1)
        assert not fence.done()
    await fence
    with pytest.raises(SealgateError) as caught:
        await keys.create(session)
    assert caught.value.code is Code.SESSION_INVALID


@pytest.mark.parametrize("owner_exists", [False, True], ids=["first_key", "further_key"])
async def test_issue_is_refused_when_it_waited_for_a_fence(
    keys: KeysWorld, session: Identity, holder: asyncpg.Connection[asyncpg.Record], owner_exists: bool
) -> None:
    """An issue that comes while a fence is being raised sees it raised; the owner's row may be new."""
    if owner_exists:
        await keys.create(session)
    before = await live_count(keys)
    async with holder.transaction():
        await holder.execute(QUERIES.raise_fence, ACCOUNT, 1)
        issue = asyncio.create_task(keys.create(session))
        by_project = asyncio.create_task(
            keys.call(
                keys.api.CreateAccountApiKey,
                api_key_pb2.CreateAccountApiKeyRequest(account_id=str(ACCOUNT)),
                keys.by_project(PROJECT, ACCOUNT),
            )
        )
        await keys.blocked(2)
    with pytest.raises(SealgateError) as caught:
        await issue
    assert caught.value.code is Code.SESSION_INVALID
    with pytest.raises(SealgateError) as caught:
        await by_project
    assert (caught.value.code, caught.value.retry_after_seconds) == (Code.UNAVAILABLE, 1)
    assert await live_count(keys) == before


async def test_nothing_is_issued_behind_a_fence_when_they_meet(keys: KeysWorld) -> None:
    """After each answered fence, no older identity's issue commits: counted after, counted again later."""
    for version in range(1, 11):
        old = keys.by_session(PROJECT, ACCOUNT, version=version - 1)
        issues = [asyncio.create_task(outcomes(keys.create(old))) for _ in range(4)]
        await keys.fence(ACCOUNT, version)
        counted = await live_count(keys)
        results = sum([await issue for issue in issues], Counter[str]())
        assert await live_count(keys) == counted
        assert set(results) <= {"OK", "SESSION_INVALID"}
        assert (await outcomes(keys.create(old))) == {"SESSION_INVALID": 1}


async def test_fence_never_goes_down(keys: KeysWorld) -> None:
    """Fences may arrive out of order; an identity of the fence's own version may issue."""
    await keys.fence(ACCOUNT, 3)
    await keys.fence(ACCOUNT, 2)
    with pytest.raises(SealgateError):
        await keys.create(keys.by_session(PROJECT, ACCOUNT, version=2))
    await keys.create(keys.by_session(PROJECT, ACCOUNT, version=3))
    rows = await keys.rows("SELECT actor_kind, actor_id, facts FROM audit WHERE action = 'ACCOUNT_FENCED'")
    assert [(row["actor_kind"], row["actor_id"]) for row in rows] == [("SERVICE", "auth")] * 2


async def test_widening_is_refused_behind_a_fence_and_narrowing_is_not(
    keys: KeysWorld, session: Identity
) -> None:
    """An ended session can take rights away to the last, but gives no more."""
    issued = await keys.create(session)
    await keys.fence(ACCOUNT, 1)
    await keys.update(session, issued.public_key, name="b", scopes=scopes_of("account:read"))
    for gain in ({"scopes": scopes_of("wallet:read")}, {"origins": scopes_of("https://a.example")}):
        with pytest.raises(SealgateError) as caught:
            await keys.update(session, issued.public_key, **gain)
        assert caught.value.code is Code.SESSION_INVALID
    await keys.update(
        keys.by_session(PROJECT, ACCOUNT, version=1), issued.public_key, scopes=scopes_of("wallet:read")
    )


async def test_use_is_noted_once_when_many_requests_resolve_a_key_at_once(
    keys: KeysWorld, session: Identity, holder: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A burst of requests on one key writes its row once."""
    await holder.execute(COUNT_WRITES)
    await keys.create(session)
    ((public_key,),) = await keys.rows("SELECT public_key FROM api_key")
    for writes_count in (1, 1, 2):
        await asyncio.gather(*(keys.use(public_key) for _ in range(20)))
        assert len(await keys.rows("SELECT 1 FROM written")) == writes_count
        keys.clock.advance(seconds=15)

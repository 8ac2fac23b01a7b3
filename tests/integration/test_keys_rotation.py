"""Rotation on a real database: one pair takes another's place, with or without an overlap."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

import pytest

from chassis.db.queries import load_queries
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.limits import API_KEY_OVERLAP_MAX_SECONDS
from chassis.secrets import parse_public_key, parse_secret_key, public_key_of, public_key_text
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import START_NS, CountingIds, FakeClock
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_SUSPENDED
from sealgate.keys.v1 import api_key_pb2
from sealgate.keys.v1.resolution_pb2 import (
    API_KEY_STATE_EXPIRED,
    API_KEY_STATE_LIVE,
    API_KEY_STATE_REVOKED,
)
from tests.integration.keys_support import ACCOUNT, PROJECT, KeysWorld, scopes_of, timestamp

OTHER_ACCOUNT: Final = uuid.UUID(int=3)
SECOND_NS: Final = 1_000_000_000
END_NS: Final = START_NS + 10_000_000 * SECOND_NS
QUERIES: Final = load_queries(Path(__file__).parents[2] / "services" / "keys" / "queries.sql")


def raw(issued: api_key_pb2.IssuedApiKey) -> bytes:
    public_key = parse_public_key(issued.public_key)
    assert public_key is not None
    return public_key


async def refusal(call: Awaitable[object]) -> SealgateError:
    with pytest.raises(SealgateError) as caught:
        await call
    return caught.value


async def code_of(call: Awaitable[object]) -> Code:
    return (await refusal(call)).code


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except SealgateError as error:
        return error.code.value
    return "OK"


async def states(keys: KeysWorld, *issued: api_key_pb2.IssuedApiKey) -> list[int]:
    return [(await keys.resolve(raw(one))).state for one in issued]


async def test_successor_has_the_rights_of_the_key_and_a_secret_of_its_own(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Name, scopes, origins, pin and end are those that the old one has now, changes included."""
    old = await keys.create(
        session,
        name="bot",
        origins=["https://a.example"],
        subaccount_index=0,
        expires_at=timestamp(END_NS),
    )
    await keys.update(session, old.public_key, scopes=scopes_of("wallet:read", "account:read"))
    keys.clock.advance(seconds=1)
    new = await keys.rotate(project, old.public_key)
    seed = parse_secret_key(new.secret_key)
    assert seed is not None
    assert public_key_text(public_key_of(seed)) == new.public_key != old.public_key
    assert (new.name, list(new.scopes)) == ("bot", ["wallet:read", "account:read"])
    assert (list(new.origins), new.subaccount_index, new.active) == (["https://a.example"], 0, True)
    assert new.HasField("subaccount_index")
    assert new.expires_at == timestamp(END_NS)
    assert new.created_at == new.updated_at == timestamp(START_NS + SECOND_NS)
    facts = await keys.resolve(raw(new))
    assert (facts.state, facts.expires_at_ns) == (API_KEY_STATE_LIVE, END_NS)
    assert not facts.HasField("retires_at_ns")


async def test_old_key_is_revoked_at_once_without_an_overlap(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """The default: it works no more, is listed no more and can be neither changed nor deleted."""
    old = await keys.create(session)
    new = await keys.rotate(project, old.public_key)
    assert await states(keys, old, new) == [API_KEY_STATE_REVOKED, API_KEY_STATE_LIVE]
    assert [key.public_key for key in await keys.list_keys(session)] == [new.public_key]
    assert await code_of(keys.update(session, old.public_key, name="x")) is Code.API_KEY_NOT_FOUND
    assert await code_of(keys.delete(session, old.public_key)) is Code.API_KEY_NOT_FOUND


async def test_old_key_works_to_the_last_nanosecond_of_the_overlap(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Its end is told with every resolution; then it is REVOKED, in the list too, and stays so."""
    old = await keys.create(session)
    new = await keys.rotate(project, old.public_key, 60)
    end_ns = START_NS + 60 * SECOND_NS
    listed = await keys.list_keys(session)
    assert [(key.public_key, key.active) for key in listed] == [
        (old.public_key, True),
        (new.public_key, True),
    ]
    assert (listed[0].replaced_by, listed[0].retires_at) == (new.public_key, timestamp(end_ns))
    assert not listed[1].HasField("replaced_by")
    assert not listed[1].HasField("retires_at")
    keys.clock.advance_ns(60 * SECOND_NS - 1)
    facts = await keys.resolve(raw(old))
    assert (facts.state, facts.expires_at_ns, facts.retires_at_ns) == (API_KEY_STATE_LIVE, end_ns, end_ns)
    keys.clock.advance_ns(1)
    assert await states(keys, old, new) == [API_KEY_STATE_REVOKED, API_KEY_STATE_LIVE]
    assert [key.public_key for key in await keys.list_keys(session)] == [new.public_key]
    assert await code_of(keys.update(session, old.public_key, name="x")) is Code.API_KEY_NOT_FOUND
    assert await code_of(keys.delete(session, old.public_key)) is Code.API_KEY_NOT_FOUND
    keys.clock.advance(seconds=10**6)
    assert await states(keys, old) == [API_KEY_STATE_REVOKED]


async def test_own_end_of_a_key_counts_when_it_is_before_that_of_the_overlap(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """It expires as it would have; once the overlap is over it is REVOKED, as a deleted one is."""
    old = await keys.create(session, expires_at=timestamp(START_NS + 10 * SECOND_NS))
    new = await keys.rotate(project, old.public_key, 60)
    assert (await keys.resolve(raw(old))).expires_at_ns == START_NS + 10 * SECOND_NS
    keys.clock.advance(seconds=10)
    assert await states(keys, old, new) == [API_KEY_STATE_EXPIRED, API_KEY_STATE_EXPIRED]
    keys.clock.advance(seconds=50)
    assert await states(keys, old, new) == [API_KEY_STATE_REVOKED, API_KEY_STATE_EXPIRED]


async def test_each_of_the_two_has_its_own_last_use(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """So that whoever rotates sees when nobody shows the old one any more."""
    old = await keys.create(session)
    new = await keys.rotate(project, old.public_key, 600)
    await keys.use(raw(old))
    keys.clock.advance(seconds=45)
    await keys.use(raw(new))
    used = {key.public_key: key.last_used_at for key in await keys.list_keys(session)}
    assert used == {
        old.public_key: timestamp(START_NS),
        new.public_key: timestamp(START_NS + 45 * SECOND_NS),
    }


@pytest.mark.parametrize(
    ("overlap", "nearest"),
    [(-1, 0), (-(2**63), 0), (API_KEY_OVERLAP_MAX_SECONDS + 1, 604800), (2**63 - 1, 604800)],
)
async def test_overlap_out_of_range_is_refused_with_the_nearest_good_value(
    keys: KeysWorld, session: Identity, project: Identity, overlap: int, nearest: int
) -> None:
    """And what it names is then taken."""
    old = await keys.create(session)
    error = await refusal(keys.rotate(project, old.public_key, overlap))
    assert (error.code, error.details[0].path) == (Code.VALIDATION_ERROR, "overlap_seconds")
    assert error.details[0].message == f"must be 0 to 604800; the nearest is {nearest}"
    assert await states(keys, old) == [API_KEY_STATE_LIVE]
    await keys.rotate(project, old.public_key, nearest)


async def test_key_is_rotated_once(keys: KeysWorld, session: Identity, project: Identity) -> None:
    """During the overlap and ever after a second rotation is refused, and says into which key it went."""
    old = await keys.create(session)
    new = await keys.rotate(project, old.public_key, 60)
    for _ in range(3):
        error = await refusal(keys.rotate(project, old.public_key))
        assert error.code is Code.KEY_ALREADY_ROTATED
        assert [(one.path, new.public_key in one.message) for one in error.details] == [("public_key", True)]
        keys.clock.advance(seconds=40)
    third = await keys.rotate(project, new.public_key)
    assert await states(keys, old, new, third) == [
        API_KEY_STATE_REVOKED,
        API_KEY_STATE_REVOKED,
        API_KEY_STATE_LIVE,
    ]
    assert await code_of(keys.rotate(project, old.public_key)) is Code.KEY_ALREADY_ROTATED


async def test_rotation_finds_no_key_that_is_deleted_unknown_or_another_s(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """404 for each, and for what is no key at all; another account's is left as it was."""
    deleted = await keys.create(session)
    await keys.delete(session, deleted.public_key)
    foreign = await keys.create(keys.by_session(PROJECT, OTHER_ACCOUNT))
    of_project = await keys.create_for_project(PROJECT)
    named = [deleted.public_key, foreign.public_key, of_project.public_key]
    for name in (*named, public_key_text(bytes(32)), "nonsense", ""):
        assert await code_of(keys.rotate(project, name)) is Code.API_KEY_NOT_FOUND
    nobody = keys.by_project(PROJECT, uuid.UUID(int=9))
    assert await code_of(keys.rotate(nobody, foreign.public_key)) is Code.API_KEY_NOT_FOUND
    assert await states(keys, foreign) == [API_KEY_STATE_LIVE]


async def test_retiring_key_can_be_changed_and_deleted(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Narrowing works on it as on any, its successor stays as it was; a deletion ends it at once."""
    old = await keys.create(session)
    new = await keys.rotate(project, old.public_key, 60)
    changed = await keys.update(session, old.public_key, scopes=scopes_of("account:read"))
    assert (list(changed.scopes), changed.replaced_by) == (["account:read"], new.public_key)
    assert len((await keys.resolve(raw(new))).scopes) > 1
    await keys.delete(session, old.public_key)
    assert await states(keys, old, new) == [API_KEY_STATE_REVOKED, API_KEY_STATE_LIVE]
    assert await code_of(keys.rotate(project, old.public_key)) is Code.API_KEY_NOT_FOUND


async def test_expired_key_is_not_rotated(keys: KeysWorld, session: Identity, project: Identity) -> None:
    """Its successor would be past the same end."""
    old = await keys.create(session, expires_at=timestamp(START_NS + 5))
    keys.clock.advance_ns(5)
    error = await refusal(keys.rotate(project, old.public_key))
    assert (error.code, error.details[0].path) == (Code.VALIDATION_ERROR, "public_key")
    assert len(await keys.list_keys(session)) == 1


async def test_cap_counts_both_keys_during_an_overlap_and_none_twice_without_one(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """At the cap a key can be replaced at once, but not for a while be two."""
    keys = KeysWorld(await database_factory("keys"), clock, ids, keys_per_owner_count=2)
    session, project = keys.by_session(PROJECT, ACCOUNT), keys.by_project(PROJECT, ACCOUNT)
    first, _ = await keys.create(session), await keys.create(session)
    assert await code_of(keys.rotate(project, first.public_key, 1)) is Code.KEY_LIMIT_REACHED
    assert len(await keys.list_keys(session)) == 2
    second = await keys.rotate(project, first.public_key)
    assert await code_of(keys.create(session)) is Code.KEY_LIMIT_REACHED
    await keys.delete(session, second.public_key)
    (last,) = await keys.list_keys(session)
    await keys.rotate(project, last.public_key, 60)
    assert await code_of(keys.create(session)) is Code.KEY_LIMIT_REACHED
    clock.advance(seconds=60)
    await keys.create(session)


async def test_rotation_gives_nothing_past_a_suspension(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """It issues, so it is refused as issuing is: to a suspended account, and behind the fence."""
    old = await keys.create(session)
    suspended = keys.by_session(PROJECT, ACCOUNT, status=ACCOUNT_STATUS_SUSPENDED)
    assert await code_of(keys.rotate(suspended, old.public_key)) is Code.ACCOUNT_SUSPENDED
    await keys.fence(ACCOUNT, 1)
    assert await code_of(keys.rotate(project, old.public_key)) is Code.UNAVAILABLE
    await keys.rotate(keys.by_project(PROJECT, ACCOUNT, version=1), old.public_key)


async def test_rotation_gives_no_scope_that_the_caller_cannot_give(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Whoever may once rotate with less than a project key gains no secret that can do more."""
    request = api_key_pb2.CreateAccountApiKeyRequest(
        account_id=str(ACCOUNT), scopes=scopes_of("withdrawals:write")
    )
    old = (await keys.call(keys.api.CreateAccountApiKey, request, project)).api_key
    assert await code_of(keys.rotate(session, old.public_key)) is Code.SCOPE_NOT_GRANTED
    assert list((await keys.rotate(project, old.public_key)).scopes) == ["withdrawals:write"]


async def test_rotation_leaves_its_audit_row(keys: KeysWorld, session: Identity, project: Identity) -> None:
    """Who replaced which key by which, and until when the old one works."""
    old = await keys.create(session)
    new = await keys.rotate(project, old.public_key, 60)
    (row,) = await keys.rows("SELECT * FROM audit WHERE action = 'KEY_ROTATED'")
    assert (row["public_key"], row["actor_kind"], row["actor_id"]) == (
        raw(old),
        "PROJECT_KEY",
        project.credential_id,
    )
    assert json.loads(row["facts"]) == {
        "replaced_by": new.public_key,
        "retires_at_ns": START_NS + 60 * SECOND_NS,
    }


async def test_open_keys_do_not_pile_up_when_a_key_is_rotated_again_and_again(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """What has retired is ended for good by the next rotation, as of the instant it retired."""
    key = await keys.create(session)
    for _ in range(5):
        key = await keys.rotate(project, key.public_key, 10)
        keys.clock.advance(seconds=30)
    rows = await keys.rows("SELECT * FROM api_key WHERE ended_at_ns IS NULL")
    assert len(rows) == 2
    ended = await keys.rows("SELECT * FROM api_key WHERE ended_at_ns IS NOT NULL ORDER BY issue_number")
    assert [(row["end_reason"], row["ended_at_ns"] - START_NS) for row in ended] == [
        ("ROTATED", (10 + 30 * number) * SECOND_NS) for number in range(4)
    ]


@pytest.mark.parametrize("overlap", [None, 60])
async def test_one_rotation_wins_when_one_key_is_rotated_many_times_at_once(
    keys: KeysWorld, session: Identity, project: Identity, overlap: int | None
) -> None:
    """Exactly one successor; everybody else is told that there is one."""
    old = await keys.create(session)
    results = Counter(
        await asyncio.gather(*(outcome(keys.rotate(project, old.public_key, overlap)) for _ in range(10)))
    )
    assert results == {"OK": 1, "KEY_ALREADY_ROTATED": 9}
    assert len(await keys.rows("SELECT 1 FROM api_key")) == 2


async def test_rotation_and_deletion_of_one_key_go_one_after_the_other(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Either there was no key left to rotate, or the rotated one was deleted, or it was gone by itself."""
    for overlap in (None, 60) * 5:
        old = await keys.create(session)
        rotated, deleted = await asyncio.gather(
            outcome(keys.rotate(project, old.public_key, overlap)),
            outcome(keys.delete(session, old.public_key)),
        )
        allowed = {("API_KEY_NOT_FOUND", "OK"), ("OK", "OK" if overlap else "API_KEY_NOT_FOUND")}
        assert (rotated, deleted) in allowed
        assert await states(keys, old) == [API_KEY_STATE_REVOKED]
        for key in await keys.list_keys(session):
            await keys.delete(session, key.public_key)


async def test_rotation_loses_when_a_deletion_is_under_way(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """A rotation that waited for a deletion finds no key, and leaves no successor behind."""
    old = await keys.create(session)
    holder = await keys.administer()
    try:
        async with holder.transaction():
            await holder.execute(QUERIES.lock_owner, ACCOUNT, "ACCOUNT")
            await holder.execute("UPDATE api_key SET ended_at_ns = 1, end_reason = 'DELETED'")
            rotation = asyncio.create_task(outcome(keys.rotate(project, old.public_key)))
            await keys.blocked(1)
    finally:
        await holder.close()
    assert await rotation == "API_KEY_NOT_FOUND"
    assert len(await keys.rows("SELECT 1 FROM api_key")) == 1

"""Limits of a key's own on a real database: set by the operator, told to auth, handed on by a rotation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, cast

import asyncpg
import pytest

from chassis.db.queries import load_queries
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT
from chassis.methods import CredentialKind
from chassis.secrets import parse_public_key, public_key_text
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import START_NS
from sealgate.common.v1.method_rule_pb2 import (
    RATE_CLASS_BROWSER_SESSION,
    RATE_CLASS_NONE,
    RATE_CLASS_ORDER,
    RATE_CLASS_READ,
    RATE_CLASS_UNSPECIFIED,
    RATE_CLASS_WRITE,
    RateClass,
)
from sealgate.common.v1.passport_pb2 import CredentialLimit
from sealgate.keys.v1 import operator_pb2
from tests.integration.keys_support import ACCOUNT, PROJECT, KeysWorld, timestamp

QUERIES: Final = load_queries(Path(__file__).parents[2] / "services" / "keys" / "queries.sql")

# A rate class and its calls a minute.
Pair = tuple[int, int]


async def limit(keys: KeysWorld, public_key: str, *pairs: Pair) -> None:
    """Sets a key's limits as the operator does."""
    request = operator_pb2.SetApiKeyLimitsRequest(
        public_key=public_key,
        limits=[
            CredentialLimit(rate_class=cast("RateClass.ValueType", rate_class), per_minute_count=count)
            for rate_class, count in pairs
        ],
    )
    await keys.call(keys.operator.SetApiKeyLimits, request)


async def shown(keys: KeysWorld, public_key: str) -> list[Pair]:
    """What the operator is told of a key's limits."""
    request = operator_pb2.GetApiKeyLimitsRequest(public_key=public_key)
    response = await keys.call(keys.operator.GetApiKeyLimits, request)
    return [(one.rate_class, one.per_minute_count) for one in response.limits]


async def limits(
    keys: KeysWorld, public_key: str, kind: CredentialKind = CredentialKind.ACCOUNT_API_KEY
) -> list[Pair]:
    """What auth learns of a key's limits."""
    raw = parse_public_key(public_key)
    assert raw is not None
    return [(one.rate_class, one.per_minute_count) for one in (await keys.resolve(raw, kind)).limits]


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except SealgateError as error:
        return error.code.value
    return "OK"


async def test_limits_are_told_from_the_next_resolution_on(keys: KeysWorld, session: Identity) -> None:
    """Each class by itself; what is set takes the place of all that was, and nothing is nothing."""
    name = (await keys.create(session)).public_key
    other = (await keys.create(session)).public_key
    assert await limits(keys, name) == []
    every = [
        (RATE_CLASS_READ, 1),
        (RATE_CLASS_WRITE, 2),
        (RATE_CLASS_ORDER, RATE_LIMIT_MAX_PER_MINUTE_COUNT),
        (RATE_CLASS_BROWSER_SESSION, 4),
    ]
    await limit(keys, name, *reversed(every))
    assert await limits(keys, name) == every
    await limit(keys, name, (RATE_CLASS_WRITE, 7))
    assert await limits(keys, name) == [(RATE_CLASS_WRITE, 7)]
    assert await limits(keys, other) == []
    await limit(keys, name)
    assert await limits(keys, name) == []


async def test_operator_is_shown_the_limits_that_a_key_has(keys: KeysWorld, session: Identity) -> None:
    """As they were set, of account keys, project keys and expired ones; looking changes nothing."""
    name = (await keys.create(session, expires_at=timestamp(START_NS + 5))).public_key
    of_project = (await keys.create_for_project(PROJECT)).public_key
    pairs = [(RATE_CLASS_WRITE, 7), (RATE_CLASS_BROWSER_SESSION, 3)]
    await limit(keys, name, *pairs)
    keys.clock.advance_ns(5)
    before = await keys.rows("SELECT * FROM api_key ORDER BY public_key")
    assert (await shown(keys, name), await shown(keys, of_project)) == (pairs, [])
    assert await keys.rows("SELECT * FROM api_key ORDER BY public_key") == before
    await limit(keys, name)
    assert await shown(keys, name) == []


async def test_project_keys_have_limits_as_account_keys_do(keys: KeysWorld) -> None:
    """The operator names a key and not whose it is."""
    name = (await keys.create_for_project(PROJECT)).public_key
    await limit(keys, name, (RATE_CLASS_WRITE, 5000))
    assert await limits(keys, name, CredentialKind.PROJECT_KEY) == [(RATE_CLASS_WRITE, 5000)]


async def test_key_that_is_unknown_or_ended_has_no_limits(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Deleted, rotated out, never made, misspelt: there is no such key, and no trace of the attempt."""
    deleted = await keys.create(session)
    await keys.delete(session, deleted.public_key)
    rotated = await keys.create(session)
    await keys.rotate(project, rotated.public_key)
    before = len(await keys.rows("SELECT 1 FROM audit"))
    names = (
        deleted.public_key,
        rotated.public_key,
        public_key_text(bytes(32)),
        deleted.secret_key,
        "pk_",
        "",
    )
    for name in names:
        assert await outcome(limit(keys, name, (RATE_CLASS_READ, 1))) == "API_KEY_NOT_FOUND"
        assert await outcome(shown(keys, name)) == "API_KEY_NOT_FOUND"
    assert len(await keys.rows("SELECT 1 FROM audit")) == before


async def test_key_that_has_expired_or_retires_can_be_limited(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """It is there to be changed, as for its owner; its successor keeps what it was given."""
    expired = (await keys.create(session, expires_at=timestamp(START_NS + 5))).public_key
    keys.clock.advance_ns(5)
    await limit(keys, expired, (RATE_CLASS_READ, 1))
    old = (await keys.create(session)).public_key
    new = (await keys.rotate(project, old, 60)).public_key
    await limit(keys, old, (RATE_CLASS_READ, 1))
    assert (await limits(keys, old), await limits(keys, new)) == ([(RATE_CLASS_READ, 1)], [])


@pytest.mark.parametrize(
    ("pairs", "path"),
    [
        ([(RATE_CLASS_UNSPECIFIED, 1)], "limits[0].rate_class"),
        ([(RATE_CLASS_READ, 1), (RATE_CLASS_NONE, 1)], "limits[1].rate_class"),
        ([(99, 1)], "limits[0].rate_class"),
        ([(RATE_CLASS_READ, 1), (RATE_CLASS_ORDER, 2), (RATE_CLASS_READ, 1)], "limits[2].rate_class"),
        ([(RATE_CLASS_READ, 0)], "limits[0].per_minute_count"),
        ([(RATE_CLASS_READ, 1), (RATE_CLASS_WRITE, -1)], "limits[1].per_minute_count"),
        ([(RATE_CLASS_ORDER, RATE_LIMIT_MAX_PER_MINUTE_COUNT + 1)], "limits[0].per_minute_count"),
        ([(RATE_CLASS_ORDER, 2**63 - 1)], "limits[0].per_minute_count"),
    ],
)
async def test_limits_are_refused_with_the_path_of_what_is_wrong(
    keys: KeysWorld, session: Identity, pairs: list[Pair], path: str
) -> None:
    """No class of calls, one class twice, a figure that a configuration could not have either."""
    name = (await keys.create(session)).public_key
    await limit(keys, name, (RATE_CLASS_READ, 9))
    with pytest.raises(SealgateError) as caught:
        await limit(keys, name, *pairs)
    assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, path)
    assert await limits(keys, name) == [(RATE_CLASS_READ, 9)]


async def test_every_change_of_limits_leaves_its_audit_row(keys: KeysWorld, session: Identity) -> None:
    """Who set what when; the same limits once more leave no trace, nor does the owner see a change."""
    issued = await keys.create(session)
    keys.clock.advance_ns(5)
    for _ in range(2):
        await limit(keys, issued.public_key, (RATE_CLASS_ORDER, 6000))
    await limit(keys, issued.public_key)
    rows = await keys.rows("SELECT * FROM audit WHERE action = 'KEY_LIMITED' ORDER BY audit_id")
    assert {(row["actor_kind"], row["actor_id"], row["at_ns"]) for row in rows} == {
        ("OPERATOR", "operator", START_NS + 5)
    }
    assert {(row["owner_id"], row["kind"]) for row in rows} == {(ACCOUNT, "ACCOUNT")}
    assert {row["public_key"] for row in rows} == {parse_public_key(issued.public_key)}
    none = dict.fromkeys(("read", "write", "order", "browser_session"))
    assert [json.loads(row["facts"]) for row in rows] == [
        {f"{name}_per_minute_count": count for name, count in counts.items()}
        for counts in (none | {"order": 6000}, none)
    ]
    (listed,) = await keys.list_keys(session)
    assert listed.updated_at == issued.updated_at


async def test_limits_are_not_set_when_their_audit_row_cannot_be_written(
    keys: KeysWorld, session: Identity
) -> None:
    """Both are one transaction."""
    name = (await keys.create(session)).public_key
    connection = await keys.administer()
    try:
        await connection.execute("ALTER TABLE audit ADD CHECK (action <> 'KEY_LIMITED') NOT VALID")
    finally:
        await connection.close()
    with pytest.raises(asyncpg.CheckViolationError):
        await limit(keys, name, (RATE_CLASS_READ, 1))
    assert await limits(keys, name) == []


async def test_rotation_hands_limits_on(keys: KeysWorld, session: Identity, project: Identity) -> None:
    """The new key may do what the old one may, and so on."""
    name = (await keys.create(session)).public_key
    pairs = [(RATE_CLASS_READ, 1000), (RATE_CLASS_BROWSER_SESSION, 3)]
    await limit(keys, name, *pairs)
    for _ in range(2):
        name = (await keys.rotate(project, name)).public_key
        assert await limits(keys, name) == pairs


async def test_limits_and_a_change_by_the_owner_at_once_both_hold(keys: KeysWorld, session: Identity) -> None:
    """Neither takes the other's with it."""
    for number in range(1, 11):
        name = (await keys.create(session)).public_key
        results = await asyncio.gather(
            outcome(limit(keys, name, (RATE_CLASS_READ, number))),
            outcome(keys.update(session, name, name="renamed")),
        )
        assert set(results) == {"OK"}
        assert await limits(keys, name) == [(RATE_CLASS_READ, number)]
        assert (await keys.list_keys(session))[-1].name == "renamed"


async def test_limits_and_a_rotation_at_once_end_with_both_or_with_no_such_key(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Whoever was told that limits are set has them in the successor; set too late, they are refused."""
    for _ in range(10):
        old = (await keys.create(session)).public_key
        result, new = await asyncio.gather(
            outcome(limit(keys, old, (RATE_CLASS_READ, 1))), keys.rotate(project, old)
        )
        expected = {"OK": [(RATE_CLASS_READ, 1)], "API_KEY_NOT_FOUND": []}[result]
        assert await limits(keys, new.public_key) == expected
        await keys.delete(session, new.public_key)


async def test_limits_that_waited_for_a_deletion_find_no_key(keys: KeysWorld, session: Identity) -> None:
    """The key is looked at under its owner's lock."""
    name = (await keys.create(session)).public_key
    holder = await keys.administer()
    try:
        async with holder.transaction():
            await holder.execute(QUERIES.lock_owner, ACCOUNT, "ACCOUNT")
            await holder.execute("UPDATE api_key SET ended_at_ns = 1, end_reason = 'DELETED'")
            setting = asyncio.create_task(outcome(limit(keys, name, (RATE_CLASS_READ, 1))))
            await keys.blocked(1)
    finally:
        await holder.close()
    assert await setting == "API_KEY_NOT_FOUND"
    (row,) = await keys.rows("SELECT read_per_minute_count FROM api_key")
    assert row["read_per_minute_count"] is None


async def test_serving_role_can_change_what_a_key_may_and_not_whose_it_is(
    database_factory: DatabaseFactory,
) -> None:
    """The rights that the service has on a key's origins and limits are to update, and no more."""
    fresh = await database_factory("keys")
    connection = await asyncpg.connect(fresh.dsn)
    try:
        await connection.execute("UPDATE api_key SET origins_since_ns = '{}', order_per_minute_count = 1")
        for sql in (
            "ALTER TABLE api_key DISABLE TRIGGER api_key_origins_since_are_new",
            "DROP FUNCTION check_origins_since CASCADE",
            "UPDATE api_key SET created_at_ns = 1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
    finally:
        await connection.close()

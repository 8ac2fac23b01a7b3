"""Account API keys on a real database: made, listed, changed, deleted, and all of it audited."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any, Final

import pytest
from google.protobuf.struct_pb2 import ListValue
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.secrets import parse_public_key, parse_secret_key, public_key_of, public_key_text
from chassis.testing.fakes import START_NS
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_SUSPENDED
from sealgate.keys.v1 import api_key_pb2
from tests.integration.keys_support import ACCOUNT, PROJECT, KeysWorld, scopes_of, timestamp

OTHER_ACCOUNT = uuid.UUID(int=3)


async def audit_rows(keys: KeysWorld) -> list[dict[str, Any]]:
    rows = await keys.rows("SELECT * FROM audit ORDER BY audit_id")
    return [{**row, "facts": json.loads(row["facts"])} for row in rows]


async def test_creation_answers_a_working_pair_and_the_chosen_rights(
    keys: KeysWorld, session: Identity
) -> None:
    """The secret in the answer is the seed of the public key in the answer."""
    issued = await keys.create(
        session,
        name="bot-1",
        scopes=scopes_of("wallet:read", "account:read"),
        origins=["https://app.example.com"],
        subaccount_index=0,
        expires_at=timestamp(START_NS + 1),
    )
    seed = parse_secret_key(issued.secret_key)
    assert seed is not None
    assert public_key_text(public_key_of(seed)) == issued.public_key
    assert (issued.name, issued.active, issued.subaccount_index) == ("bot-1", True, 0)
    assert list(issued.scopes) == ["wallet:read", "account:read"]
    assert list(issued.origins) == ["https://app.example.com"]
    assert issued.created_at == issued.updated_at == timestamp(START_NS)
    assert issued.expires_at == timestamp(START_NS + 1)


async def test_creation_takes_the_defaults_when_nothing_is_chosen(keys: KeysWorld, session: Identity) -> None:
    """An empty request makes a key without name, origins, pin or end."""
    issued = await keys.create(session)
    assert (issued.name, list(issued.origins)) == ("", [])
    assert list(issued.scopes) == ["account:read", "wallet:read", "wallet:write", "orders:write"]
    assert not issued.HasField("subaccount_index")
    assert not issued.HasField("expires_at")


# Each field's wrong values and the path by which they are refused.
WRONG_CREATIONS: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"name": ""}, "name"),
    ({"scopes": ListValue()}, "scopes"),
    ({"scopes": scopes_of("account:read", 1.0)}, "scopes[1]"),
    ({"scopes": scopes_of(None)}, "scopes[0]"),
    ({"scopes": scopes_of(scopes_of("account:read"))}, "scopes[0]"),
    ({"scopes": scopes_of("keys:write"), "origins": ["https://a.example"]}, "scopes"),
    ({"origins": ["https://A.example"]}, "origins[0]"),
    ({"subaccount_index": 2**31}, "subaccount_index"),
    ({"expires_at": timestamp(START_NS)}, "expires_at"),
    ({"expires_at": Timestamp(seconds=2**62)}, "expires_at"),
    ({"expires_at": Timestamp(seconds=2_000_000_000, nanos=-1)}, "expires_at"),
    ({"expires_at": Timestamp(seconds=2_000_000_000, nanos=1_000_000_000)}, "expires_at"),
)


async def test_creation_is_refused_with_the_path_when_a_field_is_wrong(
    keys: KeysWorld, session: Identity
) -> None:
    """A bad request is a VALIDATION_ERROR that says where, and leaves nothing behind."""
    for fields, path in WRONG_CREATIONS:
        with pytest.raises(SealgateError) as caught:
            await keys.create(session, **fields)
        assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, path)
    assert await keys.rows("SELECT 1 FROM api_key UNION ALL SELECT 1 FROM audit") == []


async def test_lists_are_refused_as_such_when_an_item_is_no_string(
    keys: KeysWorld, session: Identity
) -> None:
    """The refusal says what is wrong with the item, and does not take it for an empty string."""
    issued = await keys.create(session)
    with pytest.raises(SealgateError) as caught:
        await keys.create(session, scopes=scopes_of(False))
    assert caught.value.details[0].message == "must be a string"
    with pytest.raises(SealgateError) as caught:
        await keys.update(session, issued.public_key, origins=scopes_of(7))
    assert caught.value.details[0].message == "must be a string"


async def test_creation_by_a_session_is_refused_when_it_would_give_more_than_it_has(
    keys: KeysWorld, session: Identity
) -> None:
    """Only a project key gives `withdrawals:write`."""
    request = scopes_of("account:read", "withdrawals:write")
    with pytest.raises(SealgateError) as caught:
        await keys.create(session, scopes=request)
    assert caught.value.code is Code.SCOPE_NOT_GRANTED
    issued = await keys.call(
        keys.api.CreateAccountApiKey,
        api_key_pb2.CreateAccountApiKeyRequest(account_id=str(ACCOUNT), scopes=request),
        keys.by_project(PROJECT, ACCOUNT),
    )
    assert "withdrawals:write" in issued.api_key.scopes


async def test_creation_is_refused_when_the_account_is_suspended(keys: KeysWorld) -> None:
    """Nothing is issued to a suspended account."""
    with pytest.raises(SealgateError) as caught:
        await keys.create(keys.by_session(PROJECT, ACCOUNT, status=ACCOUNT_STATUS_SUSPENDED))
    assert caught.value.code is Code.ACCOUNT_SUSPENDED


async def test_creation_is_refused_at_the_cap_until_a_key_ends(keys: KeysWorld, session: Identity) -> None:
    """Fifty live keys an account; deleted and expired ones make room, other owners do not matter."""
    first = await keys.create(session)
    await keys.create(session, expires_at=timestamp(START_NS + 1_000_000_000))
    for _ in range(48):
        await keys.create(session)
    with pytest.raises(SealgateError) as caught:
        await keys.create(session)
    assert caught.value.code is Code.KEY_LIMIT_REACHED
    await keys.create(keys.by_session(PROJECT, OTHER_ACCOUNT))

    await keys.delete(session, first.public_key)
    await keys.create(session)
    with pytest.raises(SealgateError):
        await keys.create(session)
    keys.clock.advance(seconds=1)
    await keys.create(session)
    with pytest.raises(SealgateError):
        await keys.create(session)


async def test_list_shows_open_keys_oldest_first_without_secrets(keys: KeysWorld, session: Identity) -> None:
    """Expired keys are listed as inactive; deleted ones and other accounts' are not listed."""
    names = ["first", "second", "third", "fourth"]
    issued = {}
    for name in names:
        end = {"expires_at": timestamp(keys.clock.now_ns() + 5_000_000_000)} if name == "second" else {}
        issued[name] = await keys.create(session, name=name, **end)
        keys.clock.advance(seconds=1)
    await keys.create(keys.by_session(PROJECT, OTHER_ACCOUNT), name="foreign")
    await keys.delete(session, issued["third"].public_key)
    keys.clock.advance(seconds=5)

    listed = await keys.list_keys(session)
    assert [key.name for key in listed] == ["first", "second", "fourth"]
    assert [key.active for key in listed] == [True, False, True]
    assert [key.public_key for key in listed] == [issued[key.name].public_key for key in listed]
    assert "sk_" not in str(listed)
    assert not any(key.HasField("last_used_at") for key in listed)


async def test_list_is_in_order_of_creation_when_the_clock_stands_still(
    keys: KeysWorld, session: Identity
) -> None:
    """Neither equal times nor a replica whose clock is behind change the order."""
    names = [f"key{number}" for number in range(8)]
    for name in names:
        await keys.create(session, name=name)
    assert [key.name for key in await keys.list_keys(session)] == names


async def test_list_leaves_out_the_oldest_expired_keys_when_there_are_too_many(
    keys: KeysWorld, session: Identity
) -> None:
    """The answer is bounded, and no live key is ever missing from it."""
    live = await keys.create(session, name="live")
    connection = await keys.administer()
    try:
        await connection.execute(
            """
            INSERT INTO api_key (
              public_key, owner_id, kind, project_id, account_id, name, scopes, origins,
              origins_since_ns, expires_at_ns, created_at_ns, updated_at_ns, created_by_kind, created_by_id
            )
            SELECT sha256(n::text::bytea), owner_id, kind, project_id, account_id, 'n' || n, scopes, origins,
              origins_since_ns, 2, 1, 1, created_by_kind, created_by_id
            FROM api_key, generate_series(1, 1001) n
            """
        )
    finally:
        await connection.close()
    listed = await keys.list_keys(session)
    assert [key.name for key in listed] == ["live", *(f"n{number}" for number in range(3, 1002))]
    assert [key.public_key for key in listed if key.active] == [live.public_key]


async def test_list_is_the_same_when_the_project_asks(keys: KeysWorld, session: Identity) -> None:
    """A project key sees its account's keys as the account does."""
    await keys.create(session, name="a")
    request = api_key_pb2.ListAccountApiKeysRequest(account_id=str(ACCOUNT))
    response = await keys.call(keys.api.ListAccountApiKeys, request, keys.by_project(PROJECT, ACCOUNT))
    assert list(response.api_keys) == await keys.list_keys(session)


async def test_list_shows_a_pinned_caller_the_keys_of_its_pin_alone(
    keys: KeysWorld, session: Identity
) -> None:
    """Neither those of another subaccount nor those that reach all of them."""
    await keys.create(session)
    made = {index: (await keys.create(session, subaccount_index=index)).public_key for index in (0, 1)}
    for index, public_key in made.items():
        listed = await keys.list_keys(replace(session, subaccount_index=index))
        assert [key.public_key for key in listed] == [public_key]
    assert await keys.list_keys(replace(session, subaccount_index=2)) == []


async def test_change_leaves_what_is_absent(keys: KeysWorld, session: Identity) -> None:
    """Each field changes by itself, and `updated_at` tells when."""
    issued = await keys.create(session, name="a", origins=["https://a.example"], subaccount_index=0)
    keys.clock.advance(seconds=1)
    changed = await keys.update(session, issued.public_key, name="b")
    assert (changed.name, changed.subaccount_index) == ("b", 0)
    assert (list(changed.scopes), list(changed.origins)) == (list(issued.scopes), ["https://a.example"])
    assert changed.created_at == timestamp(START_NS)
    assert changed.updated_at == timestamp(START_NS + 1_000_000_000)

    changed = await keys.update(session, issued.public_key, scopes=scopes_of("account:read"))
    assert (changed.name, list(changed.scopes)) == ("b", ["account:read"])
    changed = await keys.update(session, issued.public_key, origins=ListValue())
    assert (list(changed.scopes), list(changed.origins)) == (["account:read"], [])
    assert await keys.list_keys(session) == [changed]


async def test_change_leaves_no_trace_when_nothing_changes(keys: KeysWorld, session: Identity) -> None:
    """Repeating a change answers the key as it is."""
    issued = await keys.create(session, name="a")
    keys.clock.advance(seconds=1)
    changed = await keys.update(session, issued.public_key, name="a", scopes=scopes_of(*issued.scopes))
    assert changed.updated_at == timestamp(START_NS)
    assert [row["action"] for row in await audit_rows(keys)] == ["KEY_ISSUED"]


# The same for a change of a key that has an origin.
WRONG_CHANGES: Final[tuple[tuple[dict[str, Any], str], ...]] = (
    ({"name": ""}, "name"),
    ({"scopes": ListValue()}, "scopes"),
    ({"scopes": scopes_of("nope")}, "scopes[0]"),
    ({"scopes": scopes_of("keys:write")}, "scopes"),
    ({"origins": scopes_of("https://a.example", True)}, "origins[1]"),
    ({"origins": scopes_of("https://b.example", "*")}, "origins[1]"),
)


async def test_change_is_refused_with_the_path_when_a_field_is_wrong(
    keys: KeysWorld, session: Identity
) -> None:
    """A bad change is a VALIDATION_ERROR that says where, and the key stays as it was."""
    issued = await keys.create(session, origins=["https://a.example"])
    before = await keys.list_keys(session)
    for fields, path in WRONG_CHANGES:
        with pytest.raises(SealgateError) as caught:
            await keys.update(session, issued.public_key, **fields)
        assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, path)
    assert await keys.list_keys(session) == before


async def test_change_may_narrow_but_not_widen_when_the_account_is_suspended(
    keys: KeysWorld, session: Identity
) -> None:
    """A suspended account's keys can lose rights and names, never gain."""
    issued = await keys.create(session, origins=["https://a.example"])
    suspended = keys.by_session(PROJECT, ACCOUNT, status=ACCOUNT_STATUS_SUSPENDED)
    await keys.update(
        suspended, issued.public_key, name="b", scopes=scopes_of("account:read"), origins=ListValue()
    )
    for gain in ({"scopes": scopes_of("wallet:read")}, {"origins": scopes_of("https://b.example")}):
        with pytest.raises(SealgateError) as caught:
            await keys.update(suspended, issued.public_key, **gain)
        assert caught.value.code is Code.ACCOUNT_SUSPENDED


async def test_change_by_a_session_keeps_but_does_not_give_what_it_has_not(
    keys: KeysWorld, session: Identity
) -> None:
    """A scope that the project gave survives a session's change; once gone the session cannot restore it."""
    created = await keys.call(
        keys.api.CreateAccountApiKey,
        api_key_pb2.CreateAccountApiKeyRequest(
            account_id=str(ACCOUNT), scopes=scopes_of("withdrawals:write", "account:read")
        ),
        keys.by_project(PROJECT, ACCOUNT),
    )
    name = created.api_key.public_key
    await keys.update(session, name, scopes=scopes_of("withdrawals:write", "wallet:read"))
    await keys.update(session, name, scopes=scopes_of("wallet:read"))
    with pytest.raises(SealgateError) as caught:
        await keys.update(session, name, scopes=scopes_of("withdrawals:write", "wallet:read"))
    assert caught.value.code is Code.SCOPE_NOT_GRANTED


async def test_deletion_ends_a_key_once(keys: KeysWorld, session: Identity) -> None:
    """The first deletion answers true, the second finds nothing, and the row stays."""
    issued = await keys.create(session)
    assert await keys.delete(session, issued.public_key)
    with pytest.raises(SealgateError) as caught:
        await keys.delete(session, issued.public_key)
    assert caught.value.code is Code.API_KEY_NOT_FOUND
    (row,) = await keys.rows("SELECT * FROM api_key")
    assert (row["ended_at_ns"], row["end_reason"]) == (START_NS, "DELETED")


async def test_deletion_ends_an_account_s_only_key(keys: KeysWorld, session: Identity) -> None:
    """Only a project must keep one."""
    issued = await keys.create(session)
    assert await keys.delete(session, issued.public_key)
    assert await keys.list_keys(session) == []


async def test_deletion_and_change_work_when_the_key_has_expired(keys: KeysWorld, session: Identity) -> None:
    """An expired key is still the owner's to tidy up, and stays inactive."""
    issued = await keys.create(session, expires_at=timestamp(START_NS + 1))
    keys.clock.advance_ns(1)
    changed = await keys.update(session, issued.public_key, name="old")
    assert (changed.name, changed.active) == ("old", False)
    assert await keys.delete(session, issued.public_key)


async def test_key_is_not_found_when_it_is_not_the_callers(keys: KeysWorld, session: Identity) -> None:
    """Unknown, misspelt, ended and others' keys are one and the same answer for change and deletion."""
    ended = await keys.create(session)
    await keys.delete(session, ended.public_key)
    foreign = await keys.create(keys.by_session(PROJECT, OTHER_ACCOUNT))
    stranger = await keys.create(keys.by_session(uuid.UUID(int=9), uuid.UUID(int=10)))
    of_project = await keys.create_for_project(PROJECT)
    unknown = public_key_text(bytes(32))
    misspelt = ended.public_key[:-1] + ("A" if ended.public_key[-1] != "A" else "B")
    issued = await keys.create(session)
    names = [ended, foreign, stranger, of_project]
    for name in [*(key.public_key for key in names), unknown, misspelt, "", "pk_", "x", issued.secret_key]:
        with pytest.raises(SealgateError) as caught:
            await keys.update(session, name, name="mine")
        assert caught.value.code is Code.API_KEY_NOT_FOUND
        with pytest.raises(SealgateError) as caught:
            await keys.delete(session, name)
        assert caught.value.code is Code.API_KEY_NOT_FOUND
    assert len(await keys.rows("SELECT 1 FROM api_key WHERE ended_at_ns IS NULL")) == 4


async def test_every_change_leaves_its_audit_row(keys: KeysWorld, session: Identity) -> None:
    """Who did what to which key and when, and what a narrowing took away."""
    project = keys.by_project(PROJECT, ACCOUNT)
    issued = await keys.create(session, name="a", origins=["https://a.example", "https://b.example"])
    await keys.call(
        keys.api.UpdateAccountApiKey,
        api_key_pb2.UpdateAccountApiKeyRequest(
            account_id=str(ACCOUNT),
            public_key=issued.public_key,
            scopes=scopes_of("account:read"),
            origins=scopes_of("https://a.example"),
        ),
        project,
    )
    keys.clock.advance_ns(7)
    await keys.call(
        keys.api.DeleteAccountApiKey,
        api_key_pb2.DeleteAccountApiKeyRequest(account_id=str(ACCOUNT), public_key=issued.public_key),
        project,
    )
    rows = await audit_rows(keys)
    assert [row["action"] for row in rows] == ["KEY_ISSUED", "KEY_CHANGED", "KEY_DELETED"]
    assert [row["actor_kind"] for row in rows] == ["ACCOUNT_SESSION", "PROJECT_KEY", "PROJECT_KEY"]
    assert [row["actor_id"] for row in rows][:2] == ["account_session-credential", "project_key-credential"]
    assert [row["at_ns"] for row in rows] == [START_NS, START_NS, START_NS + 7]
    assert {row["public_key"] for row in rows} == {parse_public_key(issued.public_key)}
    assert {(row["owner_id"], row["kind"]) for row in rows} == {(ACCOUNT, "ACCOUNT")}
    assert rows[1]["facts"] == {
        "name": "a",
        "added_scopes": [],
        "removed_scopes": ["wallet:read", "orders:write"],
        "added_origins": [],
        "removed_origins": ["https://b.example"],
    }


async def test_refused_acts_leave_no_audit_row(keys: KeysWorld, session: Identity) -> None:
    """The audit tells what happened, in the transaction in which it happened."""
    issued = await keys.create(session)
    with pytest.raises(SealgateError):
        await keys.update(session, issued.public_key, scopes=scopes_of("withdrawals:write"))
    with pytest.raises(SealgateError):
        await keys.delete(session, public_key_text(bytes(32)))
    assert [row["action"] for row in await audit_rows(keys)] == ["KEY_ISSUED"]

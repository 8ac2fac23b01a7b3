"""The tables of keys that sign by themselves: what their constraints and their roles promise."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any, Final, TypeAlias

import asyncpg
import pytest

from chassis.testing.databases import DatabaseFactory

ACCOUNT: Final = uuid.UUID(int=2)
OTHER_ACCOUNT: Final = uuid.UUID(int=3)

Row = dict[str, Any]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

MASTER: Final[Row] = {
    "account_id": ACCOUNT,
    "public_key": bytes([1] * 32),
    "kind": "MASTER_KEY",
    "role": "FULL_ACCESS",
    "master_public_key": None,
    "scope_index": None,
    "subaccount_index": None,
    "valid_until_ns": None,
    "created_at_ns": 10,
    "created_by_kind": "PROJECT_KEY",
    "created_by_id": "pk",
    "ended_at_ns": None,
    "end_reason": None,
}
SESSION: Final[Row] = {
    **MASTER,
    "public_key": bytes([2] * 32),
    "kind": "SESSION_KEY",
    "master_public_key": bytes([1] * 32),
    "created_by_kind": "MASTER_KEY",
}
DEVICE: Final[Row] = {
    "device_key_id": uuid.UUID(int=9),
    "digest": bytes([9] * 32),
    "project_id": uuid.UUID(int=1),
    "account_id": ACCOUNT,
    "name": "phone",
    "subaccount_index": None,
    "session_public_key": bytes([2] * 32),
    "created_at_ns": 10,
    "last_used_at_ns": 10,
    "expires_at_ns": 20,
    "ends_at_ns": 30,
    "ended_at_ns": None,
    "end_reason": None,
}
API_KEY: Final[Row] = {
    "public_key": bytes([7] * 32),
    "owner_id": ACCOUNT,
    "kind": "ACCOUNT",
    "project_id": uuid.UUID(int=1),
    "account_id": ACCOUNT,
    "name": "",
    "scopes": ["account:read"],
    "origins": [],
    "origins_since_ns": [],
    "created_at_ns": 10,
    "updated_at_ns": 10,
    "created_by_kind": "SESSION_KEY",
    "created_by_id": "session",
    "session_public_key": bytes([2] * 32),
}
FENCE: Final[Row] = {
    "account_id": ACCOUNT,
    "public_key": bytes([2] * 32),
    "created_at_ns": 10,
}
AUDIT: Final[Row] = {
    "audit_id": uuid.UUID(int=8),
    "at_ns": 10,
    "action": "SESSION_KEY_MINTED",
    "owner_id": ACCOUNT,
    "kind": "ACCOUNT",
    "public_key": bytes([2] * 32),
    "actor_kind": "MASTER_KEY",
    "actor_id": "master",
    "request_id": uuid.UUID(int=7),
    "facts": "{}",
}


@pytest.fixture
async def connection(database_factory: DatabaseFactory) -> AsyncIterator[Connection]:
    """A superuser's, on a database with one master and one session key."""
    opened = await asyncpg.connect((await database_factory("keys")).dsn_as("postgres"))
    await opened.execute("INSERT INTO owner VALUES ($1, 'ACCOUNT')", ACCOUNT)
    await insert(opened, "signer", MASTER)
    await insert(opened, "signer", SESSION)
    yield opened
    await opened.close()


async def insert(connection: Connection, table: str, row: Row) -> None:
    columns = ", ".join(row)
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    sql = f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608  (names of this file)
    await connection.execute(sql, *row.values())


async def refuses(connection: Connection, table: str, row: Row, constraint: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
        await insert(connection, table, row)
    assert caught.value.as_dict()["constraint_name"] == constraint, row


async def test_database_refuses_a_signing_key_that_breaks_a_rule(connection: Connection) -> None:
    """A key belongs to its account and its master, reaches what its scope says, and ends for a reason."""
    master, session = MASTER | {"public_key": bytes([3] * 32)}, SESSION | {"public_key": bytes([4] * 32)}
    for row, wrong, constraint in (
        (master, {"public_key": bytes(31)}, "signer_public_key_is_ed25519"),
        (master, {"kind": "API_KEY", "created_by_kind": "MASTER_KEY"}, "signer_kind_is_known"),
        (master, {"role": "READ_ONLY"}, "signer_role_is_known"),
        (master, {"master_public_key": bytes([1] * 32)}, "signer_session_key_has_its_master"),
        (session, {"master_public_key": None}, "signer_session_key_has_its_master"),
        (session, {"master_public_key": bytes([6] * 32)}, "signer_master_fkey"),
        (session, {"account_id": OTHER_ACCOUNT}, "signer_master_fkey"),
        (session, {"master_public_key": bytes([4] * 32)}, "signer_master_is_another"),
        (master, {"scope_index": 1, "subaccount_index": 1}, "signer_master_key_is_not_minted"),
        (master, {"valid_until_ns": 20}, "signer_master_key_is_not_minted"),
        (session, {"scope_index": 1}, "signer_pin_is_its_reach"),
        (session, {"scope_index": 1, "subaccount_index": 2}, "signer_pin_is_its_reach"),
        (session, {"subaccount_index": -1}, "signer_subaccount_counts_from_zero"),
        (session, {"valid_until_ns": 10}, "signer_ends_after_creation"),
        (session, {"ended_at_ns": 20}, "signer_end_has_its_reason"),
        (session, {"end_reason": "REVOKED"}, "signer_end_has_its_reason"),
        (session, {"ended_at_ns": 20, "end_reason": "REMOVED"}, "signer_end_reason_is_known"),
        (master, {"ended_at_ns": 20, "end_reason": "REVOKED"}, "signer_end_reason_is_known"),
        (master, {"created_by_kind": "NOBODY"}, "signer_creator_is_known"),
        (session, {"created_by_kind": "PROJECT_KEY"}, "signer_session_key_is_minted_by_its_master"),
        (session, {"public_key": bytes([1] * 32), "master_public_key": bytes([2] * 32)}, "signer_pkey"),
    ):
        await refuses(connection, "signer", row | wrong, constraint)
    await insert(connection, "signer", MASTER | {"account_id": OTHER_ACCOUNT})
    await insert(connection, "signer", session | {"scope_index": 0, "subaccount_index": 0})


async def test_database_refuses_a_device_key_that_breaks_a_rule(connection: Connection) -> None:
    """It comes from a session key of its account, and ends by itself."""
    for wrong, constraint in (
        ({"digest": bytes(31)}, "device_key_digest_has_32_bytes"),
        ({"name": "a b"}, "device_key_name_is_plain"),
        ({"subaccount_index": -1}, "device_key_subaccount_counts_from_zero"),
        ({"session_public_key": bytes([5] * 32)}, "device_key_session_fkey"),
        ({"account_id": OTHER_ACCOUNT}, "device_key_session_fkey"),
        ({"last_used_at_ns": 9}, "device_key_times_are_in_order"),
        ({"expires_at_ns": 10}, "device_key_times_are_in_order"),
        ({"expires_at_ns": 31}, "device_key_times_are_in_order"),
        ({"ended_at_ns": 20}, "device_key_end_has_its_reason"),
        ({"ended_at_ns": 20, "end_reason": "LOST"}, "device_key_end_reason_is_known"),
    ):
        await refuses(connection, "device_key", DEVICE | wrong, constraint)
    await insert(connection, "device_key", DEVICE)
    again = DEVICE | {"device_key_id": uuid.UUID(int=10)}
    await refuses(connection, "device_key", again, "device_key_digest_is_unique")


async def test_database_refuses_an_api_key_of_no_session_that_says_it_has_one(connection: Connection) -> None:
    """Where a key came from is a session key of its account."""
    for wrong, constraint in (
        ({"session_public_key": bytes([5] * 32)}, "api_key_session_fkey"),
        ({"session_public_key": None}, "api_key_of_a_session_says_so"),
        (
            # Without an account there is nothing that the key's reference would be held against.
            {"kind": "PROJECT", "owner_id": uuid.UUID(int=1), "account_id": None, "scopes": []},
            "api_key_of_a_session_is_an_accounts",
        ),
    ):
        await refuses(connection, "api_key", API_KEY | wrong, constraint)
    await insert(connection, "api_key", API_KEY | {"created_by_kind": "PROJECT_KEY"})


async def test_database_refuses_an_act_that_names_the_wrong_thing(connection: Connection) -> None:
    """A fence names a whole key; an act on a device key names that and no other."""
    await refuses(
        connection, "fence_outbox", FENCE | {"public_key": bytes(31)}, "fence_outbox_public_key_is_ed25519"
    )
    device: Row = {"action": "DEVICE_KEY_ISSUED", "public_key": None, "device_key_id": uuid.UUID(int=9)}
    acts: tuple[tuple[Row, str], ...] = (
        ({"action": "SESSION_KEY_LOST"}, "audit_action_is_known"),
        ({"public_key": None}, "audit_names_the_key"),
        ({"device_key_id": uuid.UUID(int=9)}, "audit_names_the_device_key"),
        (device | {"device_key_id": None}, "audit_names_the_device_key"),
        ({"actor_kind": "NOBODY"}, "audit_actor_is_known"),
    )
    for wrong, constraint in acts:
        await refuses(connection, "audit", AUDIT | wrong, constraint)
    await insert(connection, "audit", AUDIT | device)


async def test_ended_key_never_signs_again(connection: Connection) -> None:
    """Not even whoever may do anything can clear its end, or give it another."""
    await connection.execute(
        "UPDATE signer SET ended_at_ns = 20, end_reason = 'REVOKED' WHERE kind = 'SESSION_KEY'"
    )
    for change in ("ended_at_ns = NULL, end_reason = NULL", "ended_at_ns = 30", "role = 'TRADING_ONLY'"):
        sql = f"UPDATE signer SET {change} WHERE kind = 'SESSION_KEY'"  # noqa: S608  (changes of this file)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="signer_stays_ended"):
            await connection.execute(sql)
    assert await connection.fetchval("SELECT revoked FROM signer WHERE kind = 'SESSION_KEY'")


async def test_serving_role_cannot_bring_a_key_back_or_change_what_it_is(
    database_factory: DatabaseFactory,
) -> None:
    """A service that is taken over widens no key, forgets none, and unsays no request."""
    fresh = await database_factory("keys")
    connection = await asyncpg.connect(fresh.dsn)
    try:
        for sql in (
            "DELETE FROM signer",
            "TRUNCATE signer CASCADE",
            "UPDATE signer SET public_key = public_key",
            "UPDATE signer SET role = 'FULL_ACCESS'",
            "UPDATE signer SET subaccount_index = NULL",
            "UPDATE signer SET valid_until_ns = NULL",
            "UPDATE signer SET master_public_key = master_public_key",
            "DELETE FROM device_key",
            "UPDATE device_key SET digest = digest",
            "UPDATE device_key SET subaccount_index = NULL",
            "UPDATE device_key SET ends_at_ns = ends_at_ns",
            "UPDATE api_key SET session_public_key = NULL",
            "UPDATE fence_outbox SET public_key = public_key",
            "UPDATE request SET status = 'request_completed'",
            "DELETE FROM request",
            "DELETE FROM signed_account",
            "SELECT maintain_requests(0)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
    finally:
        await connection.close()

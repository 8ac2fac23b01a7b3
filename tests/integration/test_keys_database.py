"""The keys database by itself: what its constraints, its roles and its files promise."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from chassis.secrets import parse_secret_key
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.keys_support import KeysWorld, open_keys, scopes_of

SERVICE_DIRECTORY: Final = Path(__file__).parents[2] / "services" / "keys"
PROJECT: Final = uuid.UUID(int=1)
ACCOUNT: Final = uuid.UUID(int=2)

Row = dict[str, Any]

ACCOUNT_KEY: Final[Row] = {
    "public_key": bytes(32),
    "owner_id": ACCOUNT,
    "kind": "ACCOUNT",
    "project_id": PROJECT,
    "account_id": ACCOUNT,
    "name": "a",
    "scopes": ["account:read"],
    "origins": [],
    "origins_since_ns": [],
    "subaccount_index": None,
    "expires_at_ns": None,
    "created_at_ns": 10,
    "updated_at_ns": 10,
    "ended_at_ns": None,
    "end_reason": None,
    "created_by_kind": "OPERATOR",
    "created_by_id": "operator",
}
PAGE: Final[Row] = {"origins": ["https://a.example"], "origins_since_ns": [10]}
PROJECT_KEY: Final[Row] = {
    **ACCOUNT_KEY,
    "owner_id": PROJECT,
    "kind": "PROJECT",
    "account_id": None,
    "scopes": [],
}


@pytest.fixture
async def keys(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> KeysWorld:
    return await open_keys(database_factory, clock, ids)


async def insert(connection: asyncpg.Connection[asyncpg.Record], row: Row) -> None:
    columns = ", ".join(row)
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    sql = f"INSERT INTO api_key ({columns}) VALUES ({places})"  # noqa: S608  (column names of this file)
    await connection.execute(sql, *row.values())


async def test_database_refuses_a_key_that_breaks_a_rule(keys: KeysWorld) -> None:
    """Each rule of the domain that a row can show is a constraint as well, under its own name."""
    table: tuple[tuple[Row, Row, str], ...] = (
        (ACCOUNT_KEY, {"public_key": bytes(31)}, "api_key_public_key_is_ed25519"),
        (ACCOUNT_KEY, {"public_key": b""}, "api_key_public_key_is_ed25519"),
        (PROJECT_KEY, {"scopes": ["account:read"]}, "api_key_project_key_has_no_rights"),
        (PROJECT_KEY, PAGE, "api_key_project_key_has_no_rights"),
        (PROJECT_KEY, {"account_id": ACCOUNT}, "api_key_project_key_has_no_rights"),
        (PROJECT_KEY, {"subaccount_index": 0}, "api_key_project_key_has_no_rights"),
        (PROJECT_KEY, {"project_id": ACCOUNT}, "api_key_project_key_has_no_rights"),
        (ACCOUNT_KEY, {"account_id": None}, "api_key_account_key_has_scopes"),
        (ACCOUNT_KEY, {"account_id": PROJECT}, "api_key_account_key_has_scopes"),
        (ACCOUNT_KEY, {"scopes": []}, "api_key_account_key_has_scopes"),
        (ACCOUNT_KEY, {"name": "a b"}, "api_key_name_is_plain"),
        (ACCOUNT_KEY, {"name": "a\n"}, "api_key_name_is_plain"),
        (ACCOUNT_KEY, {"name": "a" * 65}, "api_key_name_is_plain"),
        (ACCOUNT_KEY, {"scopes": ["admin"]}, "api_key_scopes_are_known"),
        (ACCOUNT_KEY, {"scopes": ["account:read", None]}, "api_key_scopes_are_known"),
        (
            ACCOUNT_KEY,
            {"origins": ["https://a.example"] * 101, "origins_since_ns": [10] * 101},
            "api_key_origins_are_bounded",
        ),
        (ACCOUNT_KEY, {"origins": [None], "origins_since_ns": [10]}, "api_key_origins_are_bounded"),
        *(
            (ACCOUNT_KEY, {"scopes": ["account:read", scope], **PAGE}, "api_key_with_origins_is_harmless")
            for scope in ("keys:write", "withdrawals:write")
        ),
        (ACCOUNT_KEY, {"origins_since_ns": [10]}, "api_key_origins_have_their_since"),
        (ACCOUNT_KEY, {**PAGE, "origins_since_ns": []}, "api_key_origins_have_their_since"),
        (ACCOUNT_KEY, {**PAGE, "origins_since_ns": [None]}, "api_key_origins_have_their_since"),
        (ACCOUNT_KEY, {**PAGE, "origins_since_ns": [9]}, "api_key_origins_came_with_a_change"),
        (ACCOUNT_KEY, {**PAGE, "origins_since_ns": [11]}, "api_key_origins_came_with_a_change"),
        *(
            (ACCOUNT_KEY, {f"{name}_per_minute_count": count}, f"api_key_{name}_limit_range")
            for name in ("read", "write", "order", "browser_session")
            for count in (0, 1_000_001)
        ),
        (ACCOUNT_KEY, {"subaccount_index": -1}, "api_key_subaccount_counts_from_zero"),
        (ACCOUNT_KEY, {"expires_at_ns": 10}, "api_key_expires_after_creation"),
        (ACCOUNT_KEY, {"ended_at_ns": 10}, "api_key_end_has_its_reason"),
        (ACCOUNT_KEY, {"end_reason": "DELETED"}, "api_key_end_has_its_reason"),
        (ACCOUNT_KEY, {"ended_at_ns": 10, "end_reason": "LOST"}, "api_key_end_reason_is_known"),
        (ACCOUNT_KEY, {"replaced_by": bytes(32), "retires_at_ns": 20}, "api_key_successor_is_another"),
        (ACCOUNT_KEY, {"replaced_by": bytes([2] * 32), "retires_at_ns": 20}, "api_key_successor_fkey"),
        (ACCOUNT_KEY, {"retires_at_ns": 20}, "api_key_retires_for_a_successor"),
        (ACCOUNT_KEY, {"ended_at_ns": 20, "end_reason": "ROTATED"}, "api_key_rotated_out_when_it_retires"),
        (ACCOUNT_KEY, {"created_by_kind": "NOBODY"}, "api_key_creator_is_known"),
        (ACCOUNT_KEY, {"owner_id": uuid.UUID(int=9), "account_id": uuid.UUID(int=9)}, "api_key_owner_fkey"),
        (PROJECT_KEY, {"owner_id": ACCOUNT, "project_id": ACCOUNT}, "api_key_owner_fkey"),
    )
    connection = await keys.administer()
    try:
        await connection.execute(
            "INSERT INTO owner VALUES ($1, 'ACCOUNT'), ($2, 'PROJECT')", ACCOUNT, PROJECT
        )
        for row, wrong, constraint in table:
            with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
                await insert(connection, {**row, **wrong})
            assert caught.value.as_dict()["constraint_name"] == constraint, wrong
        await insert(connection, ACCOUNT_KEY)
        with pytest.raises(asyncpg.UniqueViolationError):
            await insert(connection, PROJECT_KEY)
        await insert(connection, {**PROJECT_KEY, "public_key": bytes([1] * 32)})
        replaced = {**ACCOUNT_KEY, "replaced_by": bytes([1] * 32), "retires_at_ns": 20}
        await insert(connection, {**replaced, "public_key": bytes([3] * 32)})
        with pytest.raises(asyncpg.UniqueViolationError) as twice:
            await insert(connection, {**replaced, "public_key": bytes([4] * 32)})
        assert twice.value.as_dict()["constraint_name"] == "api_key_successor_is_unique"
        early = {"public_key": bytes([5] * 32), "ended_at_ns": 19, "end_reason": "ROTATED"}
        with pytest.raises(asyncpg.CheckViolationError) as caught_early:
            await insert(connection, {**replaced, "replaced_by": bytes(32), **early})
        assert caught_early.value.as_dict()["constraint_name"] == "api_key_rotated_out_when_it_retires"
    finally:
        await connection.close()


async def test_database_refuses_a_fence_that_makes_no_sense(keys: KeysWorld) -> None:
    """Only accounts are fenced, by versions that count up from zero; there are two kinds of owner."""
    connection = await keys.administer()
    try:
        for values, constraint in (
            ("'ACCOUNT', -1", "owner_fence_counts_up"),
            ("'PROJECT', 1", "owner_project_has_no_fence"),
            ("'PERSON', 0", "owner_kind_is_known"),
        ):
            sql = f"INSERT INTO owner VALUES ($1, {values})"  # noqa: S608  (values of this file)
            with pytest.raises(asyncpg.CheckViolationError) as caught:
                await connection.execute(sql, ACCOUNT)
            assert caught.value.as_dict()["constraint_name"] == constraint
    finally:
        await connection.close()


async def test_serving_role_cannot_rewrite_what_happened(
    database_factory: DatabaseFactory,
) -> None:
    """A service that is taken over cannot clear its traces, reassign a key or swap its public half."""
    fresh = await database_factory("keys")
    connection = await asyncpg.connect(fresh.dsn)
    try:
        for sql in (
            "UPDATE audit SET actor_id = 'nobody'",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "SELECT * FROM audit",
            "DELETE FROM api_key",
            "TRUNCATE api_key",
            "UPDATE api_key SET public_key = public_key",
            "UPDATE api_key SET issue_number = DEFAULT",
            "UPDATE api_key SET owner_id = owner_id",
            "UPDATE api_key SET account_id = account_id",
            "UPDATE api_key SET created_by_id = 'nobody'",
            "UPDATE api_key SET expires_at_ns = NULL",
            "UPDATE api_key SET subaccount_index = NULL",
            "UPDATE idempotency SET answer = answer",
            "UPDATE idempotency SET digest = digest",
            "TRUNCATE idempotency",
            "DELETE FROM owner",
            "UPDATE owner SET owner_id = owner_id",
            "DROP TABLE audit",
            "ALTER TABLE audit DISABLE TRIGGER ALL",
            "CREATE TABLE mine (id integer)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
    finally:
        await connection.close()


async def test_schema_file_says_what_the_migrations_build(database_factory: DatabaseFactory) -> None:
    """`schema.sql` run on an empty database makes the same tables, constraints, indexes and grants."""
    fresh = await database_factory("keys")
    connection = await asyncpg.connect(fresh.dsn_as("sealgate_keys_owner"))
    try:
        migrated = await describe(connection)
        for table in reversed([name for (name,) in await connection.fetch(TABLES)]):
            await connection.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
        await connection.execute("DROP ROUTINE check_origins_since, claim_request, maintain_requests, refuse")
        assert await describe(connection) == set()
        await connection.execute((SERVICE_DIRECTORY / "schema.sql").read_text(encoding="utf-8"))
        assert await describe(connection) == migrated
    finally:
        await connection.close()


TABLE_NAMES: Final = {
    "owner",
    "signer",
    "api_key",
    "device_key",
    "fence_outbox",
    "audit",
    "idempotency",
    "signed_account",
    "request",
    "request_default",
}
TABLES: Final = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'schema_migration'
"""
DESCRIPTION: Final = f"""
WITH tables AS (SELECT oid, relname, relacl FROM pg_class WHERE relname IN ({TABLES}))
SELECT 'column', relname, attname::text, format_type(atttypid, atttypmod)
  || attnotnull || coalesce(attacl::text, '') || coalesce(pg_get_expr(adbin, adrelid), '')
  || row_number() OVER (PARTITION BY attrelid ORDER BY attnum)
FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL SELECT 'constraint', relname, conname, pg_get_constraintdef(pg_constraint.oid)
FROM tables JOIN pg_constraint ON conrelid = tables.oid
UNION ALL SELECT 'index', relname, indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL SELECT 'trigger', relname, tgname, pg_get_triggerdef(pg_trigger.oid)
FROM tables JOIN pg_trigger ON tgrelid = tables.oid AND NOT tgisinternal
UNION ALL SELECT 'grants', relname, '', coalesce(relacl::text, '') FROM tables
UNION ALL SELECT 'function', '', proname, pg_get_functiondef(pg_proc.oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""  # noqa: S608  (composed of this file's own text)


async def describe(connection: asyncpg.Connection[asyncpg.Record]) -> set[tuple[str, ...]]:
    return {tuple(row) for row in await connection.fetch(DESCRIPTION)}


async def test_no_secret_is_anywhere_in_the_database(keys: KeysWorld) -> None:
    """Whoever steals the database finds no secret and no seed, in no column and in no writing."""
    session = keys.by_session(PROJECT, ACCOUNT)
    issued = [
        await keys.create_for_project(PROJECT),
        await keys.create(session, name="plain"),
        await keys.create(session, origins=["https://a.example"]),
    ]
    await keys.update(session, issued[1].public_key, name="renamed", scopes=scopes_of("account:read"))
    await keys.delete(session, issued[2].public_key)
    names = [row["relname"] for row in await keys.rows(TABLES)]
    assert set(names) == TABLE_NAMES
    dump = ""
    for name in names:
        for row in await keys.rows(f"SELECT t::text AS text, t.* FROM {name} t"):  # noqa: S608  (our tables)
            dump += f"{row['text']} {dict(row)}\n"
    for key in issued:
        seed = parse_secret_key(key.secret_key)
        assert seed is not None
        for trace in (
            key.secret_key,
            key.secret_key.removeprefix("sk_")[:40],
            seed.hex(),
            seed.hex().upper(),
            base64.b64encode(seed).decode().rstrip("="),
            base64.urlsafe_b64encode(seed).decode().rstrip("="),
            repr(seed)[2:-1],
        ):
            assert trace not in dump
    # The search does find what is there.
    (public_key,) = {
        row["public_key"] for row in await keys.rows("SELECT * FROM api_key WHERE name = 'renamed'")
    }
    assert public_key.hex() in dump
    assert repr(public_key)[2:-1] in dump

"""The schema: what it says of itself, what it refuses, and what the serving role may do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds, FakeClock
from chassis.testing.schema import schema_dump
from tests.integration.auth_support import AuthWorld, auth_world


async def test_schema_file_is_what_the_migrations_build(database_factory: DatabaseFactory) -> None:
    """Whoever reads schema.sql reads the truth: tables, constraints, indexes, owners and rights."""
    migrated, written = await database_factory("auth"), await database_factory.from_schema_file("auth")
    assert schema_dump(written.dsn_as()) == schema_dump(migrated.dsn_as())
    assert "GRANT INSERT ON TABLE public.audit TO sealgate_auth" in schema_dump(migrated.dsn_as())


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases) -> AsyncIterator[AuthWorld]:
    """One for all: what a test here tries is refused, and what it adds is in nobody's way."""
    databases, clock = DatabaseFactory(template_databases), FakeClock()
    async with auth_world(databases, clock, CountingIds(clock)) as opened:
        yield opened
    await databases.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM audit",
        "UPDATE audit SET actor_id = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "DELETE FROM session",
        "DELETE FROM account",
        "DELETE FROM project",
        "UPDATE session SET created_by = 'nobody'",
        "UPDATE session SET cap_at_ns = cap_at_ns + 1",
        "UPDATE session SET account_id = account_id",
        "UPDATE account SET project_id = project_id",
        "UPDATE account SET account_number = DEFAULT",
        "UPDATE project SET created_at_ns = 0",
        "UPDATE project SET project_id = project_id",
        "UPDATE idempotency SET answer = answer",
        "UPDATE idempotency SET digest = digest",
        "TRUNCATE idempotency",
        "CREATE TABLE mine (n integer)",
        "ALTER TABLE audit DISABLE TRIGGER ALL",
    ],
)
async def test_serving_role_may_not(sql: str, world: AuthWorld) -> None:
    """Remove anything, rewrite history, or move the fixed facts of a row."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await world.database.execute(sql)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("UPDATE session SET end_reason = 'EXPIRED'", "session_end_has_its_reason"),
        ("UPDATE session SET ended_at_ns = 1", "session_end_has_its_reason"),
        ("UPDATE session SET ended_at_ns = 1, end_reason = 'TIRED'", "session_end_reason_is_known"),
        ("UPDATE session SET ended_at_ns = 1, end_reason = 'REFRESHED'", "session_successor_is_of_a_refresh"),
        (
            "UPDATE session SET ended_at_ns = 1, end_reason = 'EXPIRED', successor_id = $1",
            "session_successor_is_of_a_refresh",
        ),
        ("UPDATE session SET successor_id = $1", "session_successor_is_of_a_refresh"),
        (
            "UPDATE session SET ended_at_ns = 1, end_reason = 'REFRESHED', successor_id = session_id",
            "session_does_not_succeed_itself",
        ),
        (
            "UPDATE session SET ended_at_ns = 1, end_reason = 'REFRESHED', successor_id = $1",
            "session_successor_fkey",
        ),
        ("UPDATE session SET idle_timeout_seconds = 119", "session_idle_timeout_is_sound"),
        ("UPDATE session SET cap_at_ns = created_at_ns", "session_cap_is_after_creation"),
        ("UPDATE session SET last_used_at_ns = created_at_ns - 1", "session_use_is_after_creation"),
        ("UPDATE account SET status = 'ASLEEP'", "account_status_is_known"),
        ("UPDATE account SET version = -1", "account_version_counts_up"),
        ("UPDATE account SET metadata = '[]'", "account_metadata_is_a_small_object"),
        (
            "UPDATE account SET metadata = json_build_object('a', repeat('x', 8192))",
            "account_metadata_is_a_small_object",
        ),
        ("UPDATE project SET status = 'ASLEEP'", "project_status_is_known"),
        ("UPDATE project SET name = ''", "project_name_is_short"),
        ("UPDATE project SET name = repeat('x', 65)", "project_name_is_short"),
        ("UPDATE project SET modules = '{}'", "project_modules_are_known"),
        ("UPDATE project SET modules = '{wallet,casino}'", "project_modules_are_known"),
        ("UPDATE project SET allowed_origins = '{NULL}'", "project_origins_are_bounded"),
        (
            "UPDATE project SET allowed_origins = array_fill('x'::text, ARRAY[101])",
            "project_origins_are_bounded",
        ),
        ("UPDATE project SET idle_timeout_seconds = 119", "project_session_policy_is_sound"),
        ("UPDATE project SET absolute_cap_seconds = 119", "project_session_policy_is_sound"),
        ("UPDATE project SET absolute_cap_seconds = 31536001", "project_session_policy_is_sound"),
        ("UPDATE audit SET actor_kind = 'GHOST'", "audit_actor_is_known"),
        ("UPDATE audit SET action = 'DREAMED'", "audit_action_is_known"),
    ],
)
async def test_database_itself_refuses(change: str, constraint: str, world: AuthWorld) -> None:
    """Rows that the rules forbid, also from a service that forgot them."""
    ref = await world.account()
    await world.session(ref)
    other = await world.session(await world.account())
    statement = change.replace("$1", f"'{other.session_id}'")
    if "session_id" in change or "successor_id" in change:
        statement += f" WHERE account_id = '{ref.account_id}'"
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as violation:
        await world.rows(statement)
    assert violation.value.constraint_name == constraint


async def test_database_itself_lets_a_session_succeed_one_other_only(world: AuthWorld) -> None:
    """Two refreshes cannot end in the same successor."""
    ref = await world.account()
    first, second, successor = [await world.session(ref) for _ in range(3)]
    end = (
        "UPDATE session SET ended_at_ns = 1, end_reason = 'REFRESHED', successor_id = $1"
        " WHERE session_id = $2"
    )
    await world.rows(end, successor.session_id, first.session_id)
    with pytest.raises(asyncpg.UniqueViolationError) as violation:
        await world.rows(end, successor.session_id, second.session_id)
    assert violation.value.constraint_name == "session_succeeds_one"

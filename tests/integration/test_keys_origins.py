"""Origins of API keys on a real database: which a key has, since when, and what cannot be beside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from google.protobuf.struct_pb2 import ListValue

from chassis.db.migrate import migrate
from chassis.db.queries import load_queries
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.secrets import parse_public_key
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import START_NS
from sealgate.keys.v1 import api_key_pb2
from sealgate.keys.v1.resolution_pb2 import API_KEY_STATE_LIVE, API_KEY_STATE_REVOKED
from tests.integration.keys_support import ACCOUNT, PROJECT, KeysWorld, scopes_of

SERVICE_DIRECTORY: Final = Path(__file__).parents[2] / "services" / "keys"
QUERIES: Final = load_queries(SERVICE_DIRECTORY / "queries.sql")
A: Final = "https://a.example"
B: Final = "https://b.example"
HARMFUL: Final = ("keys:write", "withdrawals:write")


async def since(keys: KeysWorld, public_key: str) -> dict[str, int]:
    """What auth learns: each origin of a key with its since."""
    raw = parse_public_key(public_key)
    assert raw is not None
    facts = await keys.resolve(raw)
    return dict(zip(facts.origins, facts.origins_since_ns, strict=True))


async def state(keys: KeysWorld, public_key: str) -> int:
    return (await keys.resolve(parse_public_key(public_key) or b"")).state


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except SealgateError as error:
        return error.code.value
    return "OK"


async def refused_path(call: Awaitable[object]) -> str:
    """The path of a VALIDATION_ERROR."""
    with pytest.raises(SealgateError) as caught:
        await call
    assert caught.value.code is Code.VALIDATION_ERROR
    return caught.value.details[0].path


async def test_origin_has_its_since_without_a_break_and_gets_a_new_one_after_it(
    keys: KeysWorld, session: Identity
) -> None:
    """No change but its removal moves it; what comes back is not what was there."""
    name = (await keys.create(session, origins=[A])).public_key
    assert await since(keys, name) == {A: START_NS}
    keys.clock.advance_ns(5)
    await keys.update(session, name, name="b", scopes=scopes_of("wallet:read"), origins=scopes_of(B, A))
    assert await since(keys, name) == {B: START_NS + 5, A: START_NS}
    keys.clock.advance_ns(5)
    await keys.update(session, name, origins=scopes_of(B))
    keys.clock.advance_ns(5)
    await keys.update(session, name, origins=scopes_of(A, B))
    assert await since(keys, name) == {A: START_NS + 15, B: START_NS + 5}


async def test_since_is_new_when_an_origin_comes_back_in_the_same_instant(
    keys: KeysWorld, session: Identity
) -> None:
    """A clock that stands still does not bring back what a removal ended."""
    name = (await keys.create(session, origins=[A])).public_key
    seen = [START_NS]
    for _ in range(3):
        await keys.update(session, name, origins=ListValue())
        assert await since(keys, name) == {}
        await keys.update(session, name, origins=scopes_of(A))
        seen.append((await since(keys, name))[A])
    assert sorted(set(seen)) == seen


async def test_list_of_origins_that_stays_as_it_is_leaves_no_trace(
    keys: KeysWorld, session: Identity
) -> None:
    """Whoever sends the same list again ends no browser session."""
    issued = await keys.create(session, origins=[A, B])
    keys.clock.advance_ns(5)
    changed = await keys.update(session, issued.public_key, origins=scopes_of(A, B))
    assert changed.updated_at == issued.updated_at
    assert await since(keys, issued.public_key) == {A: START_NS, B: START_NS}


async def test_successor_has_its_origins_since_its_own_beginning(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """What was bound to the old key is not bound to the new one."""
    old = await keys.create(session, origins=[A])
    keys.clock.advance_ns(5)
    new = await keys.rotate(project, old.public_key, 60)
    assert await since(keys, new.public_key) == {A: START_NS + 5}
    assert await since(keys, old.public_key) == {A: START_NS}


@pytest.mark.parametrize("scope", HARMFUL)
async def test_harmful_scope_and_origins_never_meet_whichever_comes_second(
    keys: KeysWorld, project: Identity, scope: str
) -> None:
    """Also where a project key asks, which may give every scope."""

    async def create(origins: list[str], *scopes: str) -> str:
        request = api_key_pb2.CreateAccountApiKeyRequest(
            account_id=str(ACCOUNT), scopes=scopes_of(*scopes), origins=origins
        )
        return (await keys.call(keys.api.CreateAccountApiKey, request, project)).api_key.public_key

    async def change(public_key: str, **fields: Any) -> api_key_pb2.ApiKey:  # noqa: ANN401
        request = api_key_pb2.UpdateAccountApiKeyRequest(
            account_id=str(ACCOUNT), public_key=public_key, **fields
        )
        return (await keys.call(keys.api.UpdateAccountApiKey, request, project)).api_key

    assert await refused_path(create([A], "account:read", scope)) == "scopes"
    harmful = await create([], "account:read", scope)
    assert await refused_path(change(harmful, origins=scopes_of(A))) == "scopes"
    page = await create([A], "account:read")
    assert await refused_path(change(page, scopes=scopes_of("account:read", scope))) == "scopes"
    # One change may take away the one and bring the other.
    changed = await change(harmful, scopes=scopes_of("account:read"), origins=scopes_of(A))
    assert (list(changed.scopes), list(changed.origins)) == (["account:read"], [A])
    changed = await change(page, scopes=scopes_of(scope), origins=ListValue())
    assert (list(changed.scopes), list(changed.origins)) == ([scope], [])


@pytest.mark.parametrize(
    "origin", ["null", "*", "https://*.example", "https://a.example/", "HTTPS://a.example", "a.example", ""]
)
async def test_origin_that_no_browser_sends_is_refused_in_a_change(
    keys: KeysWorld, session: Identity, origin: str
) -> None:
    """A change takes exactly what creating takes, and names the one that is wrong."""
    issued = await keys.create(session, origins=[A])
    assert await refused_path(keys.create(session, origins=[B, origin])) == "origins[1]"
    change = keys.update(session, issued.public_key, origins=scopes_of(B, origin))
    assert await refused_path(change) == "origins[1]"
    assert await since(keys, issued.public_key) == {A: START_NS}


async def test_narrowing_holds_from_the_next_resolution_on(keys: KeysWorld, session: Identity) -> None:
    """It revokes what it removes: nothing remembers what a key could do."""
    issued = await keys.create(session, origins=[A, B])
    raw = parse_public_key(issued.public_key) or b""
    assert list((await keys.resolve(raw)).origins) == [A, B]
    await keys.update(session, issued.public_key, scopes=scopes_of("wallet:read"), origins=scopes_of(B))
    facts = await keys.resolve(raw)
    assert (list(facts.scopes), list(facts.origins)) == (["wallet:read"], [B])


async def test_two_changes_of_origins_at_once_leave_the_list_of_one_of_them(
    keys: KeysWorld, session: Identity
) -> None:
    """Whichever is last; an origin that the other one removed meanwhile has a new since."""
    name = (await keys.create(session, origins=[A])).public_key
    was = START_NS
    for _ in range(10):
        lists = (scopes_of(A, B), scopes_of(B))
        results = await asyncio.gather(
            *(outcome(keys.update(session, name, origins=origins)) for origins in lists)
        )
        assert results == ["OK", "OK"]
        found = await since(keys, name)
        assert set(found) in ({A, B}, {B})
        # With A in the list the other change came first, and had removed it.
        assert A not in found or found[A] > was
        await keys.update(session, name, origins=scopes_of(A))
        was = (await since(keys, name))[A]


async def test_change_of_origins_that_waited_for_another_starts_from_what_that_left(
    keys: KeysWorld, session: Identity
) -> None:
    """An origin that was removed while the change waited comes back with a since of its own."""
    issued = await keys.create(session, origins=[A])
    holder = await keys.administer()
    try:
        async with holder.transaction():
            await holder.execute(QUERIES.lock_owner, ACCOUNT, "ACCOUNT")
            change = asyncio.create_task(keys.update(session, issued.public_key, origins=scopes_of(A, B)))
            await keys.blocked(1)
            removed_ns = START_NS + 100
            sql = "UPDATE api_key SET origins = '{}', origins_since_ns = '{}', updated_at_ns = $1"
            await holder.execute(sql, removed_ns)
    finally:
        await holder.close()
    await change
    assert await since(keys, issued.public_key) == {A: removed_ns + 1, B: removed_ns + 1}


@pytest.mark.parametrize("overlap", [None, 60])
async def test_change_and_rotation_at_once_end_with_the_change_in_one_of_both_or_refused(
    keys: KeysWorld, session: Identity, project: Identity, overlap: int | None
) -> None:
    """Before the rotation the successor has it too; after it, the old key alone, if that still works."""
    for _ in range(10):
        old = await keys.create(session, origins=[A])
        changed, new = await asyncio.gather(
            outcome(keys.update(session, old.public_key, origins=scopes_of(B))),
            keys.rotate(project, old.public_key, overlap),
        )
        assert changed == "OK" or (changed == "API_KEY_NOT_FOUND" and overlap is None)
        assert set(await since(keys, new.public_key)) in ({A}, {B})
        if overlap is not None:
            assert set(await since(keys, old.public_key)) == {B}
        elif changed != "OK":
            assert set(await since(keys, new.public_key)) == {A}
        for key in await keys.list_keys(session):
            await keys.delete(session, key.public_key)


async def test_deletion_holds_when_a_widening_change_comes_at_once(
    keys: KeysWorld, session: Identity
) -> None:
    """In whichever order they come, the key works from nowhere any more."""
    for _ in range(10):
        name = (await keys.create(session, origins=[A])).public_key
        results = Counter(
            await asyncio.gather(
                outcome(keys.update(session, name, origins=scopes_of(A, B))),
                outcome(keys.delete(session, name)),
            )
        )
        assert results in ({"OK": 2}, {"OK": 1, "API_KEY_NOT_FOUND": 1})
        assert await state(keys, name) == API_KEY_STATE_REVOKED


async def test_database_refuses_a_since_that_the_key_may_have_had(keys: KeysWorld, session: Identity) -> None:
    """Whoever writes past the service's rules: no update brings back what a removal has ended."""
    issued = await keys.create(session, origins=[A, B])
    connection = await keys.administer()
    update = "UPDATE api_key SET origins = $1, origins_since_ns = $2, updated_at_ns = $3"
    try:
        await connection.execute(update, [B], [START_NS], START_NS + 5)
        for origins, since_ns in (
            ([B, A], [START_NS, START_NS]),
            ([B, A], [START_NS, START_NS + 5]),
            ([B], [START_NS + 1]),
            ([A], [START_NS]),
        ):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
                await connection.execute(update, origins, since_ns, START_NS + 9)
            assert caught.value.as_dict()["constraint_name"] == "api_key_origins_since_are_new"
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
            await connection.execute(update, [B], [START_NS], START_NS + 4)
        assert caught.value.as_dict()["constraint_name"] == "api_key_changes_count_on"
        await connection.execute(update, [A, B], [START_NS + 6, START_NS], START_NS + 6)
    finally:
        await connection.close()
    assert await state(keys, issued.public_key) == API_KEY_STATE_LIVE


async def test_migration_gives_every_origin_the_time_of_its_key(
    database_factory: DatabaseFactory, tmp_path: Path
) -> None:
    """Keys made before have had their origins since they were made, as far as anybody knows."""
    fresh = await database_factory.empty()
    files = sorted((SERVICE_DIRECTORY / "migrations").glob("*.sql"))
    for file in files[:4]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    await migrate(fresh.dsn, tmp_path)
    await fresh.database.execute("INSERT INTO owner VALUES ($1, 'ACCOUNT')", ACCOUNT)
    for number, origins in enumerate(([], [A], [A, B]), start=1):
        await fresh.database.execute(
            """
            INSERT INTO api_key (
              public_key, owner_id, kind, project_id, account_id, name, scopes, origins,
              created_at_ns, updated_at_ns, created_by_kind, created_by_id
            )
            VALUES ($1, $2, 'ACCOUNT', $3, $2, '', '{account:read}', $4, $5, $6, 'OPERATOR', 'operator')
            """,
            bytes([number] * 32),
            ACCOUNT,
            PROJECT,
            origins,
            number,
            number + 7,
        )
    for file in files[4:]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    await migrate(fresh.dsn, tmp_path)
    rows = await fresh.database.fetch("SELECT origins_since_ns FROM api_key ORDER BY issue_number")
    assert [row["origins_since_ns"] for row in rows] == [[], [2], [3, 3]]

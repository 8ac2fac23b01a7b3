"""Project API keys on a real database: the first from an operator, the last not to be lost."""

from __future__ import annotations

import uuid

import pytest

from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.secrets import parse_public_key, parse_secret_key, public_key_of, public_key_text
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.keys.v1 import api_key_pb2, operator_pb2
from tests.integration.keys_support import KeysWorld, open_keys

PROJECT = uuid.UUID(int=1)
OTHER_PROJECT = uuid.UUID(int=2)
ACCOUNT = uuid.UUID(int=3)


@pytest.fixture
async def keys(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> KeysWorld:
    return await open_keys(database_factory, clock, ids)


@pytest.fixture
def project(keys: KeysWorld) -> Identity:
    return keys.by_project(PROJECT)


async def test_operator_issues_a_project_its_first_key(keys: KeysWorld, project: Identity) -> None:
    """A working pair without scopes, origins, pin or end, audited as the operator's act."""
    request = operator_pb2.IssueProjectApiKeyRequest(project_id=str(PROJECT), name="first")
    issued = (await keys.call(keys.operator.IssueProjectApiKey, request)).api_key
    seed = parse_secret_key(issued.secret_key)
    assert seed is not None
    assert public_key_text(public_key_of(seed)) == issued.public_key
    assert (issued.name, issued.active, list(issued.scopes), list(issued.origins)) == ("first", True, [], [])
    (listed,) = await keys.list_project_keys(project)
    assert listed.public_key == issued.public_key
    (row,) = await keys.rows("SELECT * FROM audit")
    assert (row["action"], row["actor_kind"], row["actor_id"]) == ("KEY_ISSUED", "OPERATOR", "operator")
    assert (row["owner_id"], row["kind"]) == (PROJECT, "PROJECT")


async def test_operator_is_refused_when_the_id_is_no_uuid(keys: KeysWorld) -> None:
    """A malformed project id is a project that does not exist; a bad name is a bad name."""
    with pytest.raises(SealgateError) as caught:
        await keys.call(
            keys.operator.IssueProjectApiKey, operator_pb2.IssueProjectApiKeyRequest(project_id="x")
        )
    assert caught.value.code is Code.PROJECT_NOT_FOUND
    request = operator_pb2.IssueProjectApiKeyRequest(project_id=str(PROJECT), name="")
    with pytest.raises(SealgateError) as caught:
        await keys.call(keys.operator.IssueProjectApiKey, request)
    assert caught.value.details[0].path == "name"


async def test_project_key_makes_a_further_one(keys: KeysWorld, project: Identity) -> None:
    """Keys are listed oldest first, and another project sees none of them."""
    first = await keys.create_for_project(PROJECT)
    keys.clock.advance(seconds=1)
    request = api_key_pb2.CreateProjectApiKeyRequest(name="second")
    second = (await keys.call(keys.api.CreateProjectApiKey, request, project)).api_key
    listed = await keys.list_project_keys(project)
    assert [key.public_key for key in listed] == [first.public_key, second.public_key]
    assert "sk_" not in str(listed)
    assert await keys.list_project_keys(keys.by_project(OTHER_PROJECT)) == []


async def test_project_keys_are_capped(keys: KeysWorld, project: Identity) -> None:
    """Fifty live keys a project, apart from those of its accounts."""
    for _ in range(50):
        await keys.create_for_project(PROJECT)
    with pytest.raises(SealgateError) as caught:
        await keys.call(keys.api.CreateProjectApiKey, api_key_pb2.CreateProjectApiKeyRequest(), project)
    assert caught.value.code is Code.KEY_LIMIT_REACHED
    await keys.create(keys.by_session(PROJECT, ACCOUNT))
    await keys.create_for_project(OTHER_PROJECT)


async def test_deletion_is_refused_for_the_last_key(keys: KeysWorld, project: Identity) -> None:
    """A project can always still be reached by a key, its own one included; an account's do not count."""
    first = await keys.create_for_project(PROJECT)
    second = await keys.create_for_project(PROJECT)
    await keys.create_for_project(OTHER_PROJECT)
    await keys.create(keys.by_session(PROJECT, ACCOUNT))
    assert await keys.delete_of_project(project, first.public_key)
    with pytest.raises(SealgateError) as caught:
        await keys.delete_of_project(project, second.public_key)
    assert caught.value.code is Code.LAST_PROJECT_API_KEY
    with pytest.raises(SealgateError) as caught:
        await keys.delete_of_project(project, first.public_key)
    assert caught.value.code is Code.API_KEY_NOT_FOUND
    assert [key.public_key for key in await keys.list_project_keys(project)] == [second.public_key]


async def test_deletion_finds_only_the_projects_own_keys(keys: KeysWorld, project: Identity) -> None:
    """Another project's key and an account's key are not found."""
    await keys.create_for_project(PROJECT)
    foreign = await keys.create_for_project(OTHER_PROJECT)
    of_account = await keys.create(keys.by_session(PROJECT, ACCOUNT))
    for name in (foreign.public_key, of_account.public_key, public_key_text(bytes(32)), "pk_nonsense"):
        with pytest.raises(SealgateError) as caught:
            await keys.delete_of_project(project, name)
        assert caught.value.code is Code.API_KEY_NOT_FOUND


async def test_deletion_takes_a_key_that_has_expired_beside_the_last(
    keys: KeysWorld, project: Identity
) -> None:
    """It reaches the project no more, so that it is not the last by which that is done."""
    expired = await keys.create_for_project(PROJECT)
    last = await keys.create_for_project(PROJECT)
    await keys.rows(
        "UPDATE api_key SET expires_at_ns = created_at_ns + 1 WHERE public_key = $1",
        parse_public_key(expired.public_key),
    )
    keys.clock.advance(seconds=1)
    assert await keys.delete_of_project(project, expired.public_key)
    with pytest.raises(SealgateError) as caught:
        await keys.delete_of_project(project, last.public_key)
    assert caught.value.code is Code.LAST_PROJECT_API_KEY

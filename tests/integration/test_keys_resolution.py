"""What auth learns of an API key, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.methods import CredentialKind
from chassis.secrets import parse_public_key
from chassis.testing.fakes import START_NS
from sealgate.keys.v1 import api_key_pb2, resolution_pb2
from sealgate.keys.v1.resolution_pb2 import (
    API_KEY_STATE_EXPIRED,
    API_KEY_STATE_LIVE,
    API_KEY_STATE_REVOKED,
    API_KEY_STATE_UNKNOWN,
    ResolveApiKeyResponse,
)
from tests.integration.keys_support import ACCOUNT, PROJECT, KeysWorld, timestamp


def raw(issued: api_key_pb2.IssuedApiKey) -> bytes:
    public_key = parse_public_key(issued.public_key)
    assert public_key is not None
    return public_key


async def test_resolution_answers_a_live_keys_facts(keys: KeysWorld, session: Identity) -> None:
    """Everything that auth puts into an identity comes from one answer."""
    issued = await keys.create(
        session, origins=["https://a.example"], subaccount_index=0, expires_at=timestamp(START_NS + 5)
    )
    assert await keys.resolve(raw(issued)) == ResolveApiKeyResponse(
        state=API_KEY_STATE_LIVE,
        project_id=str(PROJECT),
        account_id=str(ACCOUNT),
        scopes=["account:read", "wallet:read", "orders:write"],
        origins=["https://a.example"],
        subaccount_index=0,
        expires_at_ns=START_NS + 5,
        origins_since_ns=[START_NS],
        is_use_due=True,
    )


async def test_resolution_answers_a_project_key_without_an_account(keys: KeysWorld) -> None:
    """A project key names its project and nothing else."""
    issued = await keys.create_for_project(PROJECT)
    assert await keys.resolve(raw(issued), CredentialKind.PROJECT_KEY) == ResolveApiKeyResponse(
        state=API_KEY_STATE_LIVE, project_id=str(PROJECT), is_use_due=True
    )


async def test_resolution_tells_of_a_key_that_does_not_work_whose_it_is_and_where_it_worked(
    keys: KeysWorld, session: Identity
) -> None:
    """So that a page of its own can read the refusal; nothing that it could do. Deleted wins over expired."""
    fields: dict[str, Any] = {"origins": ["https://a.example"], "expires_at": timestamp(START_NS + 5)}
    deleted = await keys.create(session, **fields)
    await keys.delete(session, deleted.public_key)
    expired = await keys.create(session, **fields)
    facts: dict[str, Any] = {
        "project_id": str(PROJECT),
        "account_id": str(ACCOUNT),
        "origins": ["https://a.example"],
    }
    revoked_answer = ResolveApiKeyResponse(state=API_KEY_STATE_REVOKED, **facts)
    assert await keys.resolve(raw(deleted)) == revoked_answer
    keys.clock.advance_ns(4)
    assert (await keys.resolve(raw(expired))).state == API_KEY_STATE_LIVE
    keys.clock.advance_ns(1)
    assert await keys.resolve(raw(expired)) == ResolveApiKeyResponse(state=API_KEY_STATE_EXPIRED, **facts)
    assert await keys.resolve(raw(deleted)) == revoked_answer


async def test_resolution_tells_a_revoked_project_key_s_project(keys: KeysWorld) -> None:
    """A project key has neither an account nor origins."""
    first, _ = await keys.create_for_project(PROJECT), await keys.create_for_project(PROJECT)
    await keys.delete_of_project(keys.by_project(PROJECT), first.public_key)
    assert await keys.resolve(raw(first), CredentialKind.PROJECT_KEY) == ResolveApiKeyResponse(
        state=API_KEY_STATE_REVOKED, project_id=str(PROJECT)
    )


async def test_resolution_tells_nothing_of_a_key_that_is_unknown(keys: KeysWorld, session: Identity) -> None:
    """There is nothing to tell, whatever was shown."""
    await keys.create(session)
    for unknown in (bytes(32), b"", bytes(31)):
        assert await keys.resolve(unknown) == ResolveApiKeyResponse(state=API_KEY_STATE_UNKNOWN)


async def test_resolution_knows_no_key_of_another_kind(keys: KeysWorld, session: Identity) -> None:
    """The header decides the kind; what is shown in the wrong one does not exist."""
    of_account = raw(await keys.create(session))
    of_project = raw(await keys.create_for_project(PROJECT))
    for public_key, kind in (
        (of_account, CredentialKind.PROJECT_KEY),
        (of_project, CredentialKind.ACCOUNT_API_KEY),
        (of_account, CredentialKind.DEVICE_KEY),
        (of_project, CredentialKind.ACCOUNT_SESSION),
    ):
        assert await keys.resolve(public_key, kind) == ResolveApiKeyResponse(state=API_KEY_STATE_UNKNOWN)
    request = resolution_pb2.ResolveApiKeyRequest(public_key=of_account)
    response = await keys.call(keys.resolution.ResolveApiKey, request)
    assert response.state == API_KEY_STATE_UNKNOWN
    (listed,) = await keys.list_keys(session)
    assert not listed.HasField("last_used_at")


async def test_use_is_noted_at_most_once_in_thirty_seconds(keys: KeysWorld, session: Identity) -> None:
    """The first use is noted, then one a half minute; every row version is a write that counts."""
    public_key = raw(await keys.create(session))
    noted = []
    for _ in range(8):
        await keys.use(public_key)
        (row,) = await keys.rows("SELECT last_used_at_ns, xmin::text AS version FROM api_key")
        noted.append((row["last_used_at_ns"] - START_NS, row["version"]))
        keys.clock.advance(seconds=10)
    seconds = [at_ns // 1_000_000_000 for at_ns, _ in noted]
    assert seconds == [0, 0, 0, 30, 30, 30, 60, 60]
    assert len({version for _, version in noted}) == 3
    (listed,) = await keys.list_keys(session)
    assert listed.last_used_at == timestamp(START_NS + 60_000_000_000)
    assert listed.updated_at == timestamp(START_NS)


async def test_key_is_asked_about_without_being_used(keys: KeysWorld, session: Identity) -> None:
    """Whether whoever shows it is accepted is not known yet."""
    public_key = raw(await keys.create(session))
    for _ in range(2):
        assert (await keys.resolve(public_key)).is_use_due
    (listed,) = await keys.list_keys(session)
    assert not listed.HasField("last_used_at")


async def test_use_is_not_noted_when_the_key_does_not_work(keys: KeysWorld, session: Identity) -> None:
    """A refused key was not used."""
    issued = await keys.create(session, expires_at=timestamp(START_NS + 5))
    keys.clock.advance_ns(5)
    await keys.use(raw(issued))
    (listed,) = await keys.list_keys(session)
    assert not listed.HasField("last_used_at")


async def test_use_is_not_noted_of_a_key_that_has_ended_meanwhile(
    keys: KeysWorld, session: Identity, project: Identity
) -> None:
    """Between the look at a key and the note of its use it may have ended: it was not used after that."""
    expired = await keys.create(session, expires_at=timestamp(START_NS + 5 * NANOSECONDS_PER_SECOND))
    rotated, deleted = await keys.create(session), await keys.create(session)
    await keys.rotate(project, rotated.public_key, 5)
    await keys.delete(session, deleted.public_key)
    keys.clock.advance(seconds=5)
    for issued in (expired, rotated, deleted):
        request = resolution_pb2.NoteApiKeyUseRequest(public_key=raw(issued))
        await keys.call(keys.resolution.NoteApiKeyUse, request)
    assert await keys.rows("SELECT FROM api_key WHERE last_used_at_ns IS NOT NULL") == []


async def test_resolution_answers_when_the_keys_row_is_locked(keys: KeysWorld, session: Identity) -> None:
    """Noting a use waits for nobody: a request is not held up by a change of its key."""
    public_key = raw(await keys.create(session))
    holder = await keys.administer()
    try:
        async with holder.transaction():
            await holder.execute("SELECT 1 FROM api_key FOR UPDATE")
            assert (await keys.use(public_key)).state == API_KEY_STATE_LIVE
    finally:
        await holder.close()
    (row,) = await keys.rows("SELECT last_used_at_ns FROM api_key")
    assert row["last_used_at_ns"] is None


async def test_resolution_only_reads_when_the_use_was_noted(keys: KeysWorld, session: Identity) -> None:
    """The hot path does not even try to write: it works without the right to."""
    public_key = raw(await keys.create(session))
    await keys.use(public_key)
    connection = await keys.administer()
    try:
        await connection.execute("REVOKE ALL ON api_key FROM sealgate_keys")
        await connection.execute("GRANT SELECT ON api_key TO sealgate_keys")
    finally:
        await connection.close()
    keys.clock.advance(seconds=29)
    assert (await keys.use(public_key)).state == API_KEY_STATE_LIVE


async def test_fence_is_refused_when_its_request_makes_no_sense(keys: KeysWorld) -> None:
    """A malformed account id or a negative version fences nothing."""
    for account_id, version, code in (
        ("x", 1, Code.ACCOUNT_NOT_FOUND),
        (str(ACCOUNT), -1, Code.VALIDATION_ERROR),
    ):
        request = resolution_pb2.FenceAccountRequest(account_id=account_id, account_version=version)
        with pytest.raises(SealgateError) as caught:
            await keys.call(keys.resolution.FenceAccount, request)
        assert caught.value.code is code
    assert await keys.rows("SELECT 1 FROM owner UNION ALL SELECT 1 FROM audit") == []

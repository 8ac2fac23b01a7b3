"""API keys that a session key manages, on a real Postgres."""

from __future__ import annotations

import base64
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from chassis.errors import Code, Detail, SealgateError
from chassis.methods import CredentialKind
from chassis.secrets import parse_public_key, parse_secret_key, public_key_of
from chassis.signing import Refused, Role, Signer, Status
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.keys.v1 import resolution_pb2, signing_key_pb2
from sealgate.keys.v1.resolution_pb2 import API_KEY_STATE_LIVE, API_KEY_STATE_REVOKED
from tests.integration.keys_support import KeysWorld, open_keys
from tests.integration.session_keys_support import SignedAccount, signed_account

READING = ["account:read", "wallet:read"]


@pytest.fixture
async def keys(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> KeysWorld:
    return await open_keys(database_factory, clock, ids)


@pytest.fixture
async def account(keys: KeysWorld) -> SignedAccount:
    return await signed_account(keys)


async def refused_status(call: Awaitable[object]) -> Status:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.status


async def state_of(account: SignedAccount, text: str) -> int:
    """What auth learns of a key by its name."""
    public_key = parse_public_key(text)
    assert public_key is not None
    return (await account.keys.resolve(public_key)).state


async def test_api_key_is_made_and_ended_in_its_subaccount_on_record(account: SignedAccount) -> None:
    """Whoever sees that subaccount and no other can ask what became of it."""
    signer = await account.session()
    for index in (2, None):
        pin = {} if index is None else {"subaccount_index": index}
        made = await account.create_api_key(signer, **pin)
        await account.delete_api_key(signer, made.api_key.public_key)
        assert account.subaccounts[-2:] == [index, index]


async def test_api_key_of_a_session_key_reads_and_does_nothing_else(account: SignedAccount) -> None:
    """Its answer has the secret, its row whom it came from, and auth learns of two scopes."""
    signer = await account.session()
    made = await account.create_api_key(signer, name="bot")
    assert made.api_key == signing_key_pb2.SessionApiKey(
        public_key=made.api_key.public_key,
        name="bot",
        scopes=READING,
        created_at_ns=account.keys.clock.now_ns(),
        session_public_key=signer.public_key,
    )
    seed = parse_secret_key(made.secret_key)
    assert seed is not None
    public_key = public_key_of(seed)
    assert parse_public_key(made.api_key.public_key) == public_key
    assert await account.keys.resolve(public_key) == resolution_pb2.ResolveApiKeyResponse(
        state=API_KEY_STATE_LIVE,
        project_id=str(account.owner.project_id),
        account_id=str(account.account_id),
        scopes=READING,
        is_use_due=True,
    )
    (row,) = await account.keys.rows("SELECT created_by_kind, created_by_id, session_public_key FROM api_key")
    assert tuple(row) == (
        "SESSION_KEY",
        base64.b64encode(signer.public_key).decode(),
        signer.public_key,
    )


SESSIONS = {
    "admin-rooted": {},
    "admin-rooted, trading only": {"role": Role.TRADING_ONLY},
    "pinned to 3": {"scope_index": 3},
    "pinned to 3, trading only": {"scope_index": 3, "role": Role.TRADING_ONLY},
    "scoped to 3": {"master_index": 3},
}
TABLE = [
    ("admin-rooted", None, None, None),
    ("admin-rooted, trading only", Status.ROLE, None, None),
    ("pinned to 3", Status.NOT_ADMIN_ROOTED, None, Status.SCOPE),
    ("pinned to 3, trading only", Status.ROLE, None, Status.SCOPE),
    ("scoped to 3", Status.NOT_ADMIN_ROOTED, None, Status.SCOPE),
]


@pytest.mark.parametrize(("session", "unpinned", "own", "other"), TABLE, ids=[row[0] for row in TABLE])
async def test_api_key_is_made_and_deleted_by_whom_the_table_says(
    session: str, unpinned: Status | None, own: Status | None, other: Status | None, account: SignedAccount
) -> None:
    """An unpinned one by an admin-rooted FULL_ACCESS key, a pinned one by who reaches its subaccount."""
    signer = await account.session(**SESSIONS[session])  # type: ignore[arg-type]  # of the table above
    master = await account.session()
    for pin, expected in ((None, unpinned), (3, own), (4, other)):
        body = {} if pin is None else {"subaccount_index": pin}
        existing = (await account.create_api_key(master, **body)).api_key
        if expected is None:
            made = (await account.create_api_key(signer, **body)).api_key
            assert (made.subaccount_index if made.HasField("subaccount_index") else None) == pin
            assert await account.delete_api_key(signer, existing.public_key) == existing
            assert await state_of(account, existing.public_key) == API_KEY_STATE_REVOKED
        else:
            assert await refused_status(account.create_api_key(signer, **body)) is expected
            assert await refused_status(account.delete_api_key(signer, existing.public_key)) is expected
            assert await state_of(account, existing.public_key) == API_KEY_STATE_LIVE


async def test_api_keys_are_listed_to_whom_they_are_within_reach(account: SignedAccount) -> None:
    """Oldest first, whoever made them, and never another account's."""
    wide, narrow = await account.session(), await account.session(3)
    stranger = await signed_account(account.keys)
    await stranger.create_api_key(await stranger.session())
    session = account.keys.by_session(account.owner.project_id, account.account_id)
    unsigned = await account.keys.create(session, name="unsigned")
    pinned = (await account.create_api_key(narrow, subaccount_index=3)).api_key
    await account.create_api_key(wide, subaccount_index=4)
    assert await account.api_keys(narrow) == [pinned]
    seen = await account.api_keys(wide)
    assert [key.public_key for key in seen][:2] == [unsigned.public_key, pinned.public_key]
    assert len(seen) == 3
    assert seen[0].session_public_key == b""
    await account.delete_api_key(narrow, pinned.public_key)
    assert await account.api_keys(narrow) == []


async def test_key_that_is_not_the_accounts_is_not_there(account: SignedAccount) -> None:
    """Unknown, malformed, deleted, a project's, or another account's: one answer, with its reason."""
    signer, stranger = await account.session(), await signed_account(account.keys)
    foreign = (await stranger.create_api_key(await stranger.session())).api_key.public_key
    of_project = (await account.keys.create_for_project(account.owner.project_id)).public_key
    deleted = (await account.create_api_key(signer)).api_key.public_key
    await account.delete_api_key(signer, deleted)
    for name in (foreign, of_project, deleted, "pk_" + "A" * 48, "x", ""):
        with pytest.raises(Refused) as caught:
            await account.delete_api_key(signer, name)
        assert caught.value.status is Status.SESSION_INVALID
        assert caught.value.details == (Detail("", "There is no such key."),)
    assert await state_of(account, foreign) == API_KEY_STATE_LIVE


async def test_account_has_fifty_live_api_keys_at_most_whoever_makes_them(account: SignedAccount) -> None:
    """The cap is the one of all its API keys; the refusal says why."""
    signer = await account.session()
    session = account.keys.by_session(account.owner.project_id, account.account_id)
    await account.keys.create(session)
    made = [await account.create_api_key(signer) for _ in range(49)]
    with pytest.raises(Refused) as caught:
        await account.create_api_key(signer)
    assert caught.value.status is Status.SESSION_INVALID
    assert caught.value.details == (Detail("", "The owner has as many keys as it may."),)
    await account.delete_api_key(signer, made[0].api_key.public_key)
    await account.create_api_key(signer)


async def revoked_states(account: SignedAccount, signer: Signer, *, include_api_keys: bool) -> list[int]:
    """The states of a key of the session key and of one that it was rotated into, once that is revoked."""
    made = (await account.create_api_key(signer)).api_key.public_key
    rotated = (await account.create_api_key(signer)).api_key.public_key
    project = account.keys.by_project(account.owner.project_id, account.account_id)
    successor = (await account.keys.rotate(project, rotated)).public_key
    await account.revoke(signer, include_api_keys=include_api_keys)
    return [await state_of(account, made), await state_of(account, successor)]


async def test_api_keys_end_with_their_session_key_when_that_is_asked_for(account: SignedAccount) -> None:
    """Their successors too: a rotation hands on whom a key came from."""
    stay = await revoked_states(account, await account.session(), include_api_keys=False)
    assert stay == [API_KEY_STATE_LIVE, API_KEY_STATE_LIVE]
    go = await revoked_states(account, await account.session(), include_api_keys=True)
    assert go == [API_KEY_STATE_REVOKED, API_KEY_STATE_REVOKED]


async def test_pin_beyond_what_a_subaccount_can_be_is_refused_on_record(account: SignedAccount) -> None:
    """A meaning and no form: a number of 32 bits that nothing has."""
    signer = await account.session()
    for pin in (2**31, 2**32 - 1):
        assert await refused_status(account.create_api_key(signer, subaccount_index=pin)) is (
            Status.SESSION_INVALID
        )


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"scopes": ["keys:write"]}, "scopes"),
        ({"name": []}, "name"),
        ({"subaccount_index": -1}, "subaccount_index"),
    ],
)
async def test_body_that_is_out_of_form_is_an_error_and_no_outcome(
    body: dict[str, object], path: str, account: SignedAccount
) -> None:
    """Scopes cannot be asked for at all."""
    signer = await account.session()
    with pytest.raises(SealgateError) as caught:
        await account.create_api_key(signer, **body)
    assert caught.value.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in caught.value.details] == [path]


async def test_delete_takes_no_members(account: SignedAccount) -> None:
    """What it deletes is in the path, and nothing else is asked."""
    signer = await account.session()
    made = (await account.create_api_key(signer)).api_key.public_key
    for handler, request in account.deletions(made):
        with pytest.raises(SealgateError) as caught:
            await account.sign(signer, handler, request, {"force": True})
        assert [detail.path for detail in caught.value.details] == ["force"]
    assert await state_of(account, made) == API_KEY_STATE_LIVE


async def test_api_key_is_not_issued_behind_the_accounts_fence(account: SignedAccount) -> None:
    """Whoever was let in before a mass revocation makes nothing after it, and is told to ask again."""
    signer = await account.session()
    await account.keys.fence(account.account_id, 1)
    with pytest.raises(SealgateError) as caught:
        await account.create_api_key(signer)
    assert caught.value.code is Code.UNAVAILABLE


async def test_pinned_api_key_lists_those_of_its_subaccount_alone(account: SignedAccount) -> None:
    """A pin is a pin, however the list is asked for."""
    signer = await account.session()
    pinned = (await account.create_api_key(signer, subaccount_index=3)).api_key.public_key
    await account.create_api_key(signer)
    session = account.keys.by_session(account.owner.project_id, account.account_id)
    assert len(await account.keys.list_keys(session)) == 2
    narrow = replace(session, kind=CredentialKind.ACCOUNT_API_KEY, subaccount_index=3)
    assert [key.public_key for key in await account.keys.list_keys(narrow)] == [pinned]

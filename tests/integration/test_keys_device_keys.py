"""Device keys on a real Postgres: made by a session key, used by a device, ended by four hands."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, Detail, SealgateError
from chassis.ids import parse_uuid
from chassis.secrets import device_key_digest, parse_device_key
from chassis.signing import Refused, Role, Status
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.keys.v1 import resolution_pb2, signing_key_pb2
from sealgate.keys.v1.resolution_pb2 import (
    API_KEY_STATE_EXPIRED,
    API_KEY_STATE_LIVE,
    API_KEY_STATE_REVOKED,
    API_KEY_STATE_UNKNOWN,
)
from tests.integration.keys_support import KeysWorld, open_keys
from tests.integration.session_keys_support import SignedAccount, signed_account

DAY_SECONDS = 24 * 3600
DAY = DAY_SECONDS * NANOSECONDS_PER_SECOND


@pytest.fixture
async def keys(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> KeysWorld:
    return await open_keys(database_factory, clock, ids)


@pytest.fixture
async def account(keys: KeysWorld) -> SignedAccount:
    return await signed_account(keys)


async def refusal(call: object) -> Refused:
    """How a call is refused."""
    with pytest.raises(Refused) as caught:
        await call  # type: ignore[misc]  # a coroutine
    return caught.value


async def test_login_gives_a_device_key_whose_secret_is_nowhere_but_in_the_answer(
    account: SignedAccount,
) -> None:
    """The database has the digest of its bytes, and no row of any table has them or their text."""
    signer = await account.session()
    made = await account.login(signer, name="phone")
    now_ns = account.keys.clock.now_ns()
    secret = parse_device_key(made.secret_key)
    assert secret is not None
    assert made.device_key == signing_key_pb2.DeviceKey(
        device_key_id=made.device_key.device_key_id,
        name="phone",
        created_at_ns=now_ns,
        last_used_at_ns=now_ns,
        expires_at_ns=now_ns + 7 * DAY,
        session_public_key=signer.public_key,
    )
    (row,) = await account.keys.rows("SELECT digest FROM device_key")
    assert row["digest"] == device_key_digest(secret)
    tables = await account.keys.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in tables:
        for (text,) in await account.keys.rows(f"SELECT t::text FROM public.{table} AS t"):  # noqa: S608
            assert made.secret_key not in text
            assert secret.hex() not in text


async def test_device_key_is_made_and_ended_in_its_subaccount_on_record(account: SignedAccount) -> None:
    """Whoever sees that subaccount and no other can ask what became of it."""
    signer = await account.session()
    for index in (2, None):
        pin = {} if index is None else {"subaccount_index": index}
        made = await account.login(signer, **pin)
        await account.delete_device_key(signer, made.device_key.device_key_id)
        assert account.subaccounts[-2:] == [index, index]


async def test_device_key_is_resolved_with_its_facts(account: SignedAccount) -> None:
    """Its account, its pin and when it ends if it is not used again."""
    made = await account.login(await account.session(), subaccount_index=2)
    assert await account.resolve(made.secret_key) == resolution_pb2.ResolveDeviceKeyResponse(
        state=API_KEY_STATE_LIVE,
        device_key_id=made.device_key.device_key_id,
        project_id=str(account.owner.project_id),
        account_id=str(account.account_id),
        subaccount_index=2,
        expires_at_ns=account.keys.clock.now_ns() + 7 * DAY,
    )


async def test_digest_that_nobody_has_is_unknown(account: SignedAccount) -> None:
    """Also one that is no digest, and the secret in the digest's place."""
    made = await account.login(await account.session())
    for digest in (b"", bytes(32), bytes(33), parse_device_key(made.secret_key) or b""):
        request = resolution_pb2.ResolveDeviceKeyRequest(digest=digest)
        answer = await account.keys.call(account.keys.resolution.ResolveDeviceKey, request)
        assert answer == resolution_pb2.ResolveDeviceKeyResponse(state=API_KEY_STATE_UNKNOWN)


async def test_use_moves_the_idle_end_once_in_thirty_seconds(account: SignedAccount) -> None:
    """Bookkeeping costs at most one write in that time."""
    made = await account.login(await account.session())
    start_ns = account.keys.clock.now_ns()
    account.keys.clock.advance_ns(30 * NANOSECONDS_PER_SECOND - 1)
    assert (await account.use(made.secret_key)).expires_at_ns == start_ns + 7 * DAY
    account.keys.clock.advance_ns(1)
    used_ns = start_ns + 30 * NANOSECONDS_PER_SECOND
    assert (await account.use(made.secret_key)).expires_at_ns == used_ns + 7 * DAY
    (row,) = await account.keys.rows("SELECT last_used_at_ns, expires_at_ns FROM device_key")
    assert tuple(row) == (used_ns, used_ns + 7 * DAY)


async def test_device_key_is_asked_about_without_being_used(account: SignedAccount) -> None:
    """Whether whoever shows it is accepted is not known yet: what moves its idle end is another call."""
    made = await account.login(await account.session())
    start_ns = account.keys.clock.now_ns()
    assert not (await account.resolve(made.secret_key)).is_use_due
    account.keys.clock.advance(seconds=30)
    for _ in range(2):
        found = await account.resolve(made.secret_key)
        assert (found.is_use_due, found.expires_at_ns) == (True, start_ns + 7 * DAY)
    (row,) = await account.keys.rows("SELECT last_used_at_ns, expires_at_ns FROM device_key")
    assert tuple(row) == (start_ns, start_ns + 7 * DAY)


async def test_use_of_a_device_key_that_has_ended_is_not_noted(account: SignedAccount) -> None:
    """It may have ended since it was asked about; and one that nobody has is none."""
    signer = await account.session()
    made = await account.login(signer)
    account.keys.clock.advance(seconds=60)
    await account.delete_device_key(signer, made.device_key.device_key_id)
    for digest in (device_key_digest(parse_device_key(made.secret_key) or b""), bytes(32), b""):
        request = resolution_pb2.NoteDeviceKeyUseRequest(digest=digest)
        noted = await account.keys.call(account.keys.resolution.NoteDeviceKeyUse, request)
        assert noted == resolution_pb2.NoteDeviceKeyUseResponse()
    (row,) = await account.keys.rows("SELECT last_used_at_ns FROM device_key")
    assert row["last_used_at_ns"] == made.device_key.last_used_at_ns


async def test_device_key_ends_after_seven_days_without_use(account: SignedAccount) -> None:
    """To the nanosecond, and no use brings it back."""
    made = await account.login(await account.session())
    account.keys.clock.advance_ns(7 * DAY - 1)
    assert (await account.use(made.secret_key)).state == API_KEY_STATE_LIVE
    account.keys.clock.advance_ns(7 * DAY)
    for _ in range(2):
        assert (await account.use(made.secret_key)).state == API_KEY_STATE_EXPIRED


async def test_device_key_ends_after_thirty_days_however_much_it_is_used(account: SignedAccount) -> None:
    """The absolute end is told as the idle one when it comes first."""
    made = await account.login(await account.session())
    start_ns = account.keys.clock.now_ns()
    for _ in range(4):
        account.keys.clock.advance(seconds=6 * DAY_SECONDS)
        assert (await account.use(made.secret_key)).state == API_KEY_STATE_LIVE
    assert (await account.use(made.secret_key)).expires_at_ns == start_ns + 30 * DAY
    account.keys.clock.advance_ns(start_ns + 30 * DAY - account.keys.clock.now_ns())
    assert (await account.use(made.secret_key)).state == API_KEY_STATE_EXPIRED


async def test_device_key_that_does_not_work_is_resolved_to_its_project_alone(account: SignedAccount) -> None:
    """So that a page of the project can read the refusal; nothing else is told of it."""
    project_id = str(account.owner.project_id)
    signer = await account.session()
    deleted, expired = await account.login(signer), await account.login(signer)
    await account.delete_device_key(signer, deleted.device_key.device_key_id)
    account.keys.clock.advance(seconds=7 * DAY_SECONDS)
    for made, state in ((deleted, API_KEY_STATE_REVOKED), (expired, API_KEY_STATE_EXPIRED)):
        answer = await account.resolve(made.secret_key)
        assert answer == resolution_pb2.ResolveDeviceKeyResponse(state=state, project_id=project_id)


@pytest.mark.parametrize("ending", ["expired", "deleted"])
async def test_use_that_is_noted_too_late_brings_no_key_back(account: SignedAccount, ending: str) -> None:
    """Between the look at a key and the note of its use it may have ended; its end is not moved then."""
    signer, keys = await account.session(), account.keys
    made = (await account.login(signer)).device_key
    device_key_id = uuid.UUID(made.device_key_id)
    key = await keys.devices.find_live(account.owner, device_key_id, keys.clock.now_ns())
    if ending == "expired":
        keys.clock.advance_ns(7 * DAY)
    else:
        keys.clock.advance(seconds=60)
        await account.delete_device_key(signer, made.device_key_id)

    assert await keys.devices.note_use(key, keys.clock.now_ns()) == made.expires_at_ns

    (row,) = await keys.rows("SELECT last_used_at_ns, expires_at_ns FROM device_key")
    assert tuple(row) == (made.created_at_ns, made.expires_at_ns)


async def test_use_is_not_noted_where_the_row_is_busy(account: SignedAccount) -> None:
    """The request goes on at once, with the end that is on record."""
    made = await account.login(await account.session())
    start_ns = account.keys.clock.now_ns()
    account.keys.clock.advance(seconds=60)
    connection = await account.keys.administer()
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM device_key FOR UPDATE")
            answer = await account.use(made.secret_key)
    finally:
        await connection.close()
    assert (answer.state, answer.expires_at_ns) == (API_KEY_STATE_LIVE, start_ns + 7 * DAY)


@pytest.mark.parametrize("role", list(Role))
async def test_device_key_reaches_at_most_what_its_session_key_does(
    role: Role, account: SignedAccount
) -> None:
    """Unpinned of an unpinned one, pinned of a pinned one or of a scoped master's, refused beyond."""
    wide = await account.session(role=role)
    narrow = await account.session(3, role=role)
    scoped = await account.session(role=role, master_index=3)
    assert not (await account.login(wide)).device_key.HasField("subaccount_index")
    assert (await account.login(wide, subaccount_index=5)).device_key.subaccount_index == 5
    for signer in (narrow, scoped):
        for body in ({}, {"subaccount_index": None}, {"subaccount_index": 3}):
            assert (await account.login(signer, **body)).device_key.subaccount_index == 3
        refused = await refusal(account.login(signer, subaccount_index=5))
        assert refused.status is Status.SCOPE
    refused = await refusal(account.login(wide, subaccount_index=2**31))
    assert refused.status is Status.SESSION_INVALID
    assert [detail.path for detail in refused.details] == ["subaccount_index"]


async def test_device_keys_are_listed_to_whom_they_are_within_reach(account: SignedAccount) -> None:
    """Oldest first, live ones alone, and never another account's."""
    wide, narrow = await account.session(), await account.session(3)
    stranger = await signed_account(account.keys)
    await stranger.login(await stranger.session())
    for signer, pin in ((wide, None), (narrow, 3), (wide, 4)):
        await account.login(signer, subaccount_index=pin)
    assert [key.subaccount_index for key in await account.device_keys(narrow)] == [3]
    seen = await account.device_keys(wide)
    assert [key.HasField("subaccount_index") for key in seen] == [False, True, True]
    assert [key.subaccount_index for key in seen] == [0, 3, 4]
    account.keys.clock.advance(seconds=7 * DAY_SECONDS)
    assert await account.device_keys(wide) == []


async def test_device_key_is_deleted_by_whom_it_is_within_reach(account: SignedAccount) -> None:
    """Whichever session key made it; it is revoked from then on and deleted once."""
    wide, narrow = await account.session(), await account.session(3)
    unpinned, pinned = await account.login(wide), await account.login(wide, subaccount_index=3)
    refused = await refusal(account.delete_device_key(narrow, unpinned.device_key.device_key_id))
    assert refused.status is Status.SCOPE
    deleted = await account.delete_device_key(narrow, pinned.device_key.device_key_id)
    assert deleted == pinned.device_key
    assert (await account.resolve(pinned.secret_key)).state == API_KEY_STATE_REVOKED
    assert (await account.resolve(unpinned.secret_key)).state == API_KEY_STATE_LIVE
    refused = await refusal(account.delete_device_key(narrow, pinned.device_key.device_key_id))
    assert refused.status is Status.SESSION_INVALID
    assert refused.details == (Detail("", "There is no such device key."),)


async def test_device_key_that_is_not_the_accounts_is_not_there(account: SignedAccount) -> None:
    """Unknown, malformed, expired, or another account's: one answer."""
    signer, stranger = await account.session(), await signed_account(account.keys)
    old = await account.login(signer)
    account.keys.clock.advance(seconds=7 * DAY_SECONDS)
    foreign = await stranger.login(await stranger.session())
    unknown = str(account.keys.ids.uuid7())
    for name in (foreign.device_key.device_key_id, old.device_key.device_key_id, unknown, "x", ""):
        refused = await refusal(account.delete_device_key(signer, name))
        assert refused.status is Status.SESSION_INVALID
    assert (await account.resolve(foreign.secret_key)).state == API_KEY_STATE_LIVE


async def test_device_keys_end_with_their_session_key(account: SignedAccount) -> None:
    """Revoked with it; those of another session key stay."""
    signer, other = await account.session(), await account.session()
    own, others = await account.login(signer), await account.login(other)
    await account.revoke(signer)
    assert (await account.resolve(own.secret_key)).state == API_KEY_STATE_REVOKED
    assert (await account.resolve(others.secret_key)).state == API_KEY_STATE_LIVE
    (key,) = await account.device_keys(other)
    assert key == others.device_key


async def test_device_keys_end_with_their_session_keys_master_key(account: SignedAccount) -> None:
    """What descends from a removed master key is gone in the same transaction."""
    signer = await account.session(master_index=3)
    made = await account.login(signer)
    (row,) = await account.keys.rows(
        "SELECT master_public_key FROM signer WHERE public_key = $1", signer.public_key
    )
    await account.keys.signing_keys.remove(account.owner, row["master_public_key"], account.act())
    assert (await account.resolve(made.secret_key)).state == API_KEY_STATE_REVOKED


async def test_device_key_outlives_a_session_key_that_merely_runs_out(account: SignedAccount) -> None:
    """It keeps its own two ends, and revoking the session key ends it all the same."""
    end_ns = account.keys.clock.now_ns() + 60 * NANOSECONDS_PER_SECOND
    signer = await account.session(valid_until_ns=end_ns)
    made = await account.login(signer)
    account.keys.clock.advance(seconds=61)
    assert (await account.resolve(made.secret_key)).state == API_KEY_STATE_LIVE
    await account.revoke(signer)
    assert (await account.resolve(made.secret_key)).state == API_KEY_STATE_REVOKED


async def test_account_has_twenty_live_device_keys_at_most(account: SignedAccount) -> None:
    """Those that ended or ran out make room; the refusal says why."""
    signer = await account.session()
    made = [await account.login(signer) for _ in range(20)]
    refused = await refusal(account.login(signer))
    assert refused.status is Status.SESSION_INVALID
    assert refused.details == (Detail("", "The owner has as many keys as it may."),)
    await account.delete_device_key(signer, made[0].device_key.device_key_id)
    await account.login(signer)
    await refusal(account.login(signer))
    account.keys.clock.advance(seconds=7 * DAY_SECONDS)
    await account.login(signer)


async def test_last_free_place_is_given_once_to_ten_that_come_together(account: SignedAccount) -> None:
    """The cap is counted in the transaction that adds a key."""
    signer = await account.session()
    for _ in range(19):
        await account.login(signer)
    outcomes = await asyncio.gather(*(account.login(signer) for _ in range(10)), return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert len(await account.device_keys(signer)) == 20


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65])
async def test_name_that_is_not_plain_is_refused_on_record(name: str, account: SignedAccount) -> None:
    """What a name must be is the body's meaning, and not its form."""
    refused = await refusal(account.login(await account.session(), name=name))
    assert refused.status is Status.SESSION_INVALID
    assert [detail.path for detail in refused.details] == ["name"]


@pytest.mark.parametrize("body", [{"nmae": "a"}, {"name": 1}, {"subaccount_index": "3"}])
async def test_body_that_is_out_of_form_is_an_error_and_no_outcome(
    body: dict[str, object], account: SignedAccount
) -> None:
    """It goes past the record, so that the signed id can be used again."""
    signer = await account.session()
    with pytest.raises(SealgateError) as caught:
        await account.login(signer, **body)
    assert caught.value.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in caught.value.details] == [*body]


async def test_device_key_is_not_issued_behind_the_accounts_fence(account: SignedAccount) -> None:
    """Whoever was let in before a mass revocation makes nothing after it, and is told to ask again."""
    signer = await account.session()
    await account.keys.fence(account.account_id, 1)
    with pytest.raises(SealgateError) as caught:
        await account.login(signer)
    assert caught.value.code is Code.UNAVAILABLE
    assert await account.device_keys(signer) == []


async def test_making_and_deleting_a_device_key_is_audited(account: SignedAccount) -> None:
    """By the session key that did it, without the secret."""
    signer = await account.session()
    made = await account.login(signer, name="phone")
    await account.delete_device_key(signer, made.device_key.device_key_id)
    rows = await account.keys.rows(
        "SELECT action, device_key_id, actor_kind, public_key FROM audit"
        " WHERE action LIKE 'DEVICE%' ORDER BY audit_id"
    )
    device_key_id = parse_uuid(made.device_key.device_key_id)
    assert [tuple(row) for row in rows] == [
        ("DEVICE_KEY_ISSUED", device_key_id, "SESSION_KEY", None),
        ("DEVICE_KEY_DELETED", device_key_id, "SESSION_KEY", None),
    ]

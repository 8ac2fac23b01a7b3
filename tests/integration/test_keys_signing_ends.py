"""How master and session keys end, and what ends with them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from chassis.errors import Code
from chassis.limits import SCOPED_MASTER_KEYS_PER_ACCOUNT_COUNT
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.keys.v1 import signer_facts_pb2
from tests.integration.keys_server import (
    ACCOUNT_ID,
    OTHER_ACCOUNT_ID,
    PROJECT_ID,
    KeysServer,
    addition,
    keys_server,
    minting,
    removal,
    revocation,
)
from tests.signing_support import ADMIN, SCOPED, TRADING_ONLY, SigningKeyPair, new_pair, request_id_at

ADD, REMOVE = "SubmitAddMasterKey", "SubmitRemoveMasterKey"
REVOKE, MINT = "SubmitRevokeSessionKey", "SubmitMintSessionKey"
RACERS_COUNT: Final = 12

_DEVICE_KEY: Final = """
INSERT INTO device_key (
  device_key_id, digest, project_id, account_id, name, session_public_key, created_at_ns, last_used_at_ns,
  expires_at_ns, ends_at_ns
)
VALUES ($1, sha256($1::uuid::text::bytea), $2, $3, '', $4, 1, 1, 2, 3)
"""
_API_KEY: Final = """
INSERT INTO api_key (
  public_key, owner_id, kind, project_id, account_id, name, scopes, origins, origins_since_ns,
  created_at_ns, updated_at_ns, created_by_kind, created_by_id, session_public_key
)
VALUES (
  sha256($1::uuid::text::bytea), $3, 'ACCOUNT', $2, $3, '', '{account:read}', '{}', '{}',
  1, 1, 'SESSION_KEY', '', $4
)
"""
ADD_SCOPED: Final = """
INSERT INTO signer (
  account_id, public_key, kind, role, subaccount_index, created_at_ns, created_by_kind, created_by_id
)
SELECT $1, sha256(number::text::bytea), 'MASTER_KEY', 'FULL_ACCESS', 1000 + number, 1, 'MASTER_KEY', ''
FROM generate_series(1, $2::integer) AS number
"""


@pytest.fixture
async def keys(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[KeysServer]:
    async with keys_server(database_factory, short_directory, clock, ids) as running:
        yield running


@pytest.fixture
async def master(keys: KeysServer) -> SigningKeyPair:
    pair = new_pair()
    await keys.register(pair)
    return pair


async def descend(keys: KeysServer, session: SigningKeyPair, account_id: str = ACCOUNT_ID) -> None:
    """Gives a session key a device key and an API key."""
    for sql in (_DEVICE_KEY, _API_KEY):
        new_id = request_id_at(keys.clock.now_ns())
        await keys.rows(sql, new_id, uuid.UUID(PROJECT_ID), uuid.UUID(account_id), session.public_key)


async def open_descendants(keys: KeysServer, table: str) -> set[bytes]:
    """The session keys that have a device or API key which was not ended."""
    sql = f"SELECT session_public_key FROM {table} WHERE ended_at_ns IS NULL"  # noqa: S608  (our tables)
    return {row["session_public_key"] for row in await keys.rows(sql)}


async def end_reason(keys: KeysServer, pair: SigningKeyPair) -> str | None:
    [row] = await keys.rows("SELECT end_reason FROM signer WHERE public_key = $1", pair.public_key)
    reason: str | None = row["end_reason"]
    return reason


async def test_revoked_session_key_signs_no_more_and_takes_its_device_keys(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Its API keys stay unless they are to go too; the wallet service knows before the answer."""
    plain, thorough = await keys.mint(master), await keys.mint(master)
    for pair, include in ((plain, False), (thorough, True)):
        await descend(keys, pair)
        body = revocation(pair, include_api_keys=include)
        answer = await keys.submit(REVOKE, master, body)
        assert answer.session_key.public_key == pair.public_key
        assert (ACCOUNT_ID, pair.public_key) in keys.wallet.stopped
        again = keys.signed("SubmitLogout", pair, revocation(pair))
        assert await keys.code("SubmitLogout", again) is Code.SESSION_INVALID
        assert await end_reason(keys, pair) == "REVOKED"
    assert await open_descendants(keys, "device_key") == set()
    assert await open_descendants(keys, "api_key") == {plain.public_key}
    assert await keys.rows("SELECT FROM fence_outbox") == []


async def test_only_what_a_master_key_sees_can_be_revoked(keys: KeysServer, master: SigningKeyPair) -> None:
    """Unknown, ended and master keys are refused alike, and to a SCOPED key those of others too."""
    scoped = await keys.add_master(master, reach=SCOPED, subaccount_index=5)
    own, others = await keys.mint(scoped), await keys.mint(master, scope=5)
    for signer, pair in ((scoped, others), (scoped, master), (master, scoped), (master, new_pair())):
        await keys.submit(REVOKE, signer, revocation(pair), status="session_rejected_invalid")
    trader = await keys.add_master(master, role=TRADING_ONLY)
    await keys.submit(REVOKE, scoped, revocation(own))
    await keys.submit(REVOKE, master, revocation(own), status="session_rejected_invalid")
    await keys.submit(REVOKE, trader, revocation(others))
    assert keys.wallet.stopped == {(ACCOUNT_ID, own.public_key), (ACCOUNT_ID, others.public_key)}


async def test_expired_session_key_can_still_be_revoked_for_what_came_from_it(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Its end ends nothing else by itself."""
    pair = await keys.mint(master, valid_until_ns=keys.clock.now_ns() + 1_000_000)
    await descend(keys, pair)
    keys.clock.advance(seconds=1)
    await keys.submit(REVOKE, master, revocation(pair, include_api_keys=True))
    assert await open_descendants(keys, "device_key") == await open_descendants(keys, "api_key") == set()


async def test_key_that_had_ended_is_told_from_one_that_is_not_there(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Whoever repeats a revocation learns that it was done; whoever mistyped a key, that it was not."""
    session = await keys.mint(master)
    await keys.submit(REVOKE, master, revocation(session))
    for pair, problem in ((session, "had ended already"), (new_pair(), "is no session key in reach")):
        answer = await keys.submit(REVOKE, master, revocation(pair), status="session_rejected_invalid")
        assert [detail.message for detail in answer.details] == [problem]
    # Another's key is not there, whatever has become of it.
    scoped = await keys.add_master(master, reach=SCOPED, subaccount_index=5)
    answer = await keys.submit(REVOKE, scoped, revocation(session), status="session_rejected_invalid")
    assert [detail.message for detail in answer.details] == ["is no session key in reach"]


async def test_logout_ends_the_key_that_signs_and_can_be_repeated(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """It ends no other; who lost the answer asks again with the same request and learns what became of it."""
    own, other = await keys.mint(master), await keys.mint(master)
    await keys.submit("SubmitLogout", own, revocation(other), status="session_rejected_invalid")
    request = keys.signed("SubmitLogout", own, revocation(own))
    assert (await keys.send("SubmitLogout", request)).status == "request_completed"
    assert await end_reason(keys, own) == "LOGGED_OUT"
    again = await keys.send("SubmitLogout", request)
    assert (again.status, again.same_payload) == ("duplicate_request_id", True)
    assert again.original.status == "request_completed"
    assert again.original.session_key.public_key == own.public_key
    assert await end_reason(keys, other) is None


async def test_removed_master_key_takes_all_that_came_from_it(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Its session keys, expired ones too, and the device and API keys even of those that were revoked."""
    removed = await keys.add_master(master)
    kept = await keys.mint(master)
    live, revoked = await keys.mint(removed), await keys.mint(removed)
    expired = await keys.mint(removed, valid_until_ns=keys.clock.now_ns() + 1_000_000)
    keys.clock.advance(seconds=1)
    for pair in (kept, live, revoked, expired):
        await descend(keys, pair)
    await keys.submit(REVOKE, master, revocation(revoked))
    answer = await keys.submit(REMOVE, master, removal(removed))
    assert answer.master_key.public_key == removed.public_key
    ended = (removed, live, revoked, expired)
    assert keys.wallet.stopped == {(ACCOUNT_ID, pair.public_key) for pair in ended}
    for table in ("device_key", "api_key"):
        assert await open_descendants(keys, table) == {kept.public_key}
    reasons = [await end_reason(keys, pair) for pair in (*ended, kept)]
    assert reasons == ["REMOVED", "MASTER_REMOVED", "REVOKED", "MASTER_REMOVED", None]
    mint = keys.signed(MINT, removed, minting(new_pair()))
    assert await keys.code(MINT, mint) is Code.SESSION_INVALID
    await keys.submit(REMOVE, master, removal(removed), status="master_key_rejected_invalid")
    await keys.submit(REMOVE, master, removal(kept), status="master_key_rejected_invalid")


async def test_key_that_two_accounts_have_ends_in_one_of_them_alone(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """What came from it in the other stays: whoever registers my keys as his own ends nothing of mine."""
    await keys.register(master, account_id=OTHER_ACCOUNT_ID)
    session = new_pair()
    for account_id in (ACCOUNT_ID, OTHER_ACCOUNT_ID):
        await keys.mint(master, session, account_id=account_id)
        await descend(keys, session, account_id)

    await keys.submit(REVOKE, master, revocation(session, include_api_keys=True))

    for table in ("signer", "device_key", "api_key"):
        sql = f"SELECT account_id FROM {table} WHERE ended_at_ns IS NOT NULL"  # noqa: S608  (our tables)
        assert [str(row["account_id"]) for row in await keys.rows(sql)] == [ACCOUNT_ID]
    assert keys.wallet.stopped == {(ACCOUNT_ID, session.public_key)}


@pytest.mark.parametrize("rpc", [REVOKE, REMOVE])
async def test_key_ends_with_an_api_key_that_it_is_just_about_to_have(
    keys: KeysServer, master: SigningKeyPair, rpc: str
) -> None:
    """A rotation needs no signature, and hands on where a key came from: an end waits for it."""
    minter = await keys.add_master(master)
    session = await keys.mint(minter)
    body = revocation(session, include_api_keys=True) if rpc == REVOKE else removal(minter)
    account_id, new_id = uuid.UUID(ACCOUNT_ID), request_id_at(keys.clock.now_ns())
    rotating = await asyncpg.connect(keys._dsn, user="postgres")
    try:
        async with rotating.transaction():
            await rotating.execute("SELECT FROM owner WHERE owner_id = $1 FOR NO KEY UPDATE", account_id)
            await rotating.execute(_API_KEY, new_id, uuid.UUID(PROJECT_ID), account_id, session.public_key)
            ending = asyncio.create_task(keys.submit(rpc, master, body))
            while not await keys.rows("SELECT FROM pg_locks WHERE NOT granted"):
                assert not ending.done()
        await ending
    finally:
        await rotating.close()
    assert await open_descendants(keys, "api_key") == set()


async def test_public_half_of_an_api_key_becomes_no_signing_key(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Of the account that has it; what others call their own says nothing about it."""
    taken, session = new_pair(), await keys.mint(master)
    sql = _API_KEY.replace("sha256($1::uuid::text::bytea)", "$1")
    account_id = uuid.UUID(ACCOUNT_ID)
    await keys.rows(sql, taken.public_key, uuid.UUID(PROJECT_ID), account_id, session.public_key)

    await keys.submit(MINT, master, minting(taken), status="session_rejected_key_reused")
    await keys.submit(ADD, master, addition(taken), status="master_key_rejected_key_reused")

    await keys.register(master, account_id=OTHER_ACCOUNT_ID)
    await keys.mint(master, taken, account_id=OTHER_ACCOUNT_ID)


async def test_last_admin_key_with_full_access_stays(keys: KeysServer, master: SigningKeyPair) -> None:
    """Neither a TRADING_ONLY nor a SCOPED key takes its place; with a second one it may remove itself."""
    await keys.add_master(master, role=TRADING_ONLY)
    await keys.add_master(master, reach=SCOPED)
    await keys.submit(REMOVE, master, removal(master), status="master_key_rejected_last_admin")
    second = await keys.add_master(master)
    await keys.submit(REMOVE, master, removal(master))
    await keys.submit(REMOVE, second, removal(second), status="master_key_rejected_last_admin")


async def test_master_keys_are_managed_by_admin_keys_with_full_access(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """What a key may not, it may not whatever else is wrong."""
    scoped = await keys.add_master(master, reach=SCOPED, subaccount_index=5)
    trader = await keys.add_master(master, role=TRADING_ONLY)
    for signer, status in ((scoped, "rejected_not_admin_rooted"), (trader, "rejected_role")):
        await keys.submit(ADD, signer, addition(new_pair()), status=status)
        await keys.submit(REMOVE, signer, removal(signer), status=status)
    session = await keys.mint(master)
    by_session = keys.signed(ADD, session, addition(new_pair()))
    assert await keys.code(ADD, by_session) is Code.CREDENTIAL_NOT_ACCEPTED


async def test_master_keys_are_added_within_their_caps(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """ADMIN keys are counted by account, the others by subaccount; a removed one leaves its place."""
    settings = {"admin_master_keys_per_account_count": 2, "scoped_master_keys_per_subaccount_count": 1}
    async with keys_server(database_factory, short_directory, clock, ids, **settings) as keys:
        master = new_pair()
        await keys.register(master)
        trader = await keys.add_master(master, role=TRADING_ONLY)
        first = await keys.add_master(master, reach=SCOPED, subaccount_index=1)
        await keys.add_master(master, reach=SCOPED, subaccount_index=2)
        for reach, index in ((ADMIN, 0), (SCOPED, 1), (SCOPED, 2)):
            body = addition(new_pair(), reach=reach, subaccount_index=index)
            await keys.submit(ADD, master, body, status="master_key_rejected_limit")
        for ended, reach, index in ((trader, ADMIN, 0), (first, SCOPED, 1)):
            await keys.submit(REMOVE, master, removal(ended))
            await keys.add_master(master, reach=reach, subaccount_index=index)


async def test_scoped_master_keys_are_counted_over_all_subaccounts(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Whether a subaccount is there keys does not know, so their number alone would bound nothing."""
    await keys.rows(ADD_SCOPED, uuid.UUID(ACCOUNT_ID), SCOPED_MASTER_KEYS_PER_ACCOUNT_COUNT - 1)
    last = await keys.add_master(master, reach=SCOPED, subaccount_index=1)
    body = addition(new_pair(), reach=SCOPED, subaccount_index=2)
    await keys.submit(ADD, master, body, status="master_key_rejected_limit")
    await keys.add_master(master)
    await keys.submit(REMOVE, master, removal(last))
    await keys.submit(ADD, master, body)


async def test_master_key_is_added_as_it_asks_for_itself(keys: KeysServer, master: SigningKeyPair) -> None:
    """A bad point, a foreign possession and a reach that cannot be are refused; a used key is told apart."""
    session = await keys.mint(master)
    foreign, misplaced, beyond, weak = (
        addition(new_pair()),
        addition(new_pair(), subaccount_index=1),
        addition(new_pair(), reach=SCOPED, subaccount_index=2**31),
        addition(new_pair()),
    )
    foreign.possession_signature = addition(new_pair()).possession_signature
    weak.public_key = bytes(32)
    for body in (foreign, misplaced, beyond, weak):
        await keys.submit(ADD, master, body, status="master_key_rejected_invalid")
    for pair in (master, session):
        await keys.submit(ADD, master, addition(pair), status="master_key_rejected_key_reused")
    added = await keys.submit(ADD, master, addition(new_pair(), reach=SCOPED, subaccount_index=3))
    assert added.master_key.reach == signer_facts_pb2.MASTER_KEY_REACH_SCOPED
    assert added.master_key.subaccount_index == 3


async def test_removal_and_mints_that_race_leave_no_session_key(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Whatever a master key minted before it was removed is ended, and nothing is minted after it."""
    removed = await keys.add_master(master)
    mints = [keys.signed(MINT, removed, minting(new_pair())) for _ in range(RACERS_COUNT)]
    removing = keys.signed(REMOVE, master, removal(removed))
    work = [keys.send(MINT, request) for request in mints]
    work.insert(RACERS_COUNT // 2, keys.send(REMOVE, removing))
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    minted = [answer for answer in outcomes if getattr(answer, "session_key", None) is not None]
    rows = await keys.rows("SELECT revoked FROM signer WHERE master_public_key = $1", removed.public_key)
    assert len(rows) == len(minted)
    assert all(row["revoked"] for row in rows)
    assert len(keys.wallet.stopped) == len(minted) + 1


async def test_each_change_of_signing_keys_is_in_the_audit(keys: KeysServer, master: SigningKeyPair) -> None:
    """With who did it, under which signed request, and what went with it."""
    added = await keys.add_master(master)
    session = await keys.mint(added, scope=4)
    await descend(keys, session)
    request_id = request_id_at(keys.clock.now_ns())
    await keys.submit(REMOVE, master, removal(added), request_id=request_id)
    rows = await keys.rows("SELECT * FROM audit ORDER BY at_ns, audit_id")
    assert [(row["action"], row["public_key"], row["actor_kind"], row["actor_id"]) for row in rows] == [
        ("MASTER_KEY_REGISTERED", master.public_key, "PROJECT_KEY", rows[0]["actor_id"]),
        ("MASTER_KEY_ADDED", added.public_key, "MASTER_KEY", master.text),
        ("SESSION_KEY_MINTED", session.public_key, "MASTER_KEY", added.text),
        ("MASTER_KEY_REMOVED", added.public_key, "MASTER_KEY", master.text),
    ]
    assert rows[3]["request_id"] == request_id
    minted, removed = json.loads(rows[2]["facts"]), json.loads(rows[3]["facts"])
    assert (minted["master_key"], minted["scope_index"]) == (added.text, 4)
    assert removed["session_keys"] == [session.text]
    assert (len(removed["device_keys"]), len(removed["api_keys"])) == (1, 1)

"""Session keys through the running service: who may mint them, how many, and how far they reach."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.errors import Code
from chassis.limits import SESSION_KEY_LIFETIME_MAX_SECONDS, SESSION_KEYS_PER_MASTER_KEY_COUNT
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_SUSPENDED
from sealgate.keys.v1 import resolution_pb2, signing_key_pb2
from sealgate.keys.v1.resolution_pb2_grpc import ResolutionServiceStub
from tests.integration.keys_server import (
    ACCOUNT_ID,
    KeysServer,
    addition,
    keys_server,
    minting,
    removal,
    revocation,
    standing_of,
)
from tests.signing_support import (
    FULL_ACCESS,
    NEVER,
    SCOPED,
    TRADING_ONLY,
    UNPINNED,
    SigningKeyPair,
    new_pair,
    request_id_at,
)

MINT = "SubmitMintSessionKey"
RACERS_COUNT = 40
TEN_YEARS_NS = SESSION_KEY_LIFETIME_MAX_SECONDS * 1_000_000_000


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


async def test_session_key_reaches_what_its_scope_and_its_master_leave(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Pinning binds it to a subaccount, and only what an ADMIN key mints unpinned is admin-rooted."""
    scoped = await keys.add_master(master, reach=SCOPED, subaccount_index=5)
    trader = await keys.add_master(master, role=TRADING_ONLY)
    for signer, scope, role, subaccount_index, admin_rooted in (
        (master, UNPINNED, FULL_ACCESS, None, True),
        (master, 0, FULL_ACCESS, 0, False),
        (master, 7, FULL_ACCESS, 7, False),
        (scoped, UNPINNED, FULL_ACCESS, 5, False),
        (scoped, 5, FULL_ACCESS, 5, False),
        (trader, UNPINNED, TRADING_ONLY, None, True),
        (trader, 3, TRADING_ONLY, 3, False),
    ):
        pair = new_pair()
        answer = await keys.submit(MINT, signer, minting(pair, scope=scope))
        key = answer.session_key
        reach = key.subaccount_index if key.HasField("subaccount_index") else None
        assert (key.public_key, key.master_public_key) == (pair.public_key, signer.public_key)
        assert (key.scope, key.role, reach, key.admin_rooted) == (scope, role, subaccount_index, admin_rooted)
        assert not key.HasField("valid_until_ns")
        assert key.created_at_ns == answer.processed_at_ns
        assert await facts(keys, pair) == (role, subaccount_index, admin_rooted, None)


async def facts(keys: KeysServer, pair: SigningKeyPair) -> tuple[int, int | None, bool, int | None]:
    request = resolution_pb2.GetSignerFactsRequest(account_id=ACCOUNT_ID, public_key=pair.public_key)
    found = (await ResolutionServiceStub(keys.internal).GetSignerFacts(request, timeout=30)).facts
    return (
        found.role,
        found.subaccount_index if found.HasField("subaccount_index") else None,
        found.admin_rooted,
        found.valid_until_ns if found.HasField("valid_until_ns") else None,
    )


async def test_scoped_master_key_pins_to_its_own_subaccount_alone(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Any other pin is a refusal that leaves nothing."""
    scoped = await keys.add_master(master, reach=SCOPED, subaccount_index=5)
    for signer, scope in ((scoped, 4), (scoped, 0), (master, 2**31), (master, UNPINNED - 1)):
        body = minting(new_pair(), scope=scope)
        answer = await keys.submit(MINT, signer, body, status="session_rejected_scope")
        assert not answer.HasField("session_key")
    assert await live(keys) == 0


async def live(keys: KeysServer) -> int:
    return len(await keys.rows("SELECT FROM signer WHERE kind = 'SESSION_KEY' AND NOT revoked"))


async def test_session_key_ends_within_ten_years_or_never(keys: KeysServer, master: SigningKeyPair) -> None:
    """Both ends to the nanosecond, from when the request counts as decided."""
    # Time stands still, so each request counts one nanosecond after the last.
    now_ns = (await keys.submit(MINT, master, minting(new_pair()))).processed_at_ns
    for ahead_ns, status in (
        (0, "session_rejected_invalid"),
        (1, "request_completed"),
        (TEN_YEARS_NS, "request_completed"),
        (TEN_YEARS_NS + 1, "session_rejected_invalid"),
    ):
        now_ns += 1
        body = minting(new_pair(), valid_until_ns=now_ns + ahead_ns)
        answer = await keys.submit(MINT, master, body, status=status)
        assert answer.processed_at_ns == now_ns
    for valid_until_ns in (1, 2**63, NEVER - 1):
        body = minting(new_pair(), valid_until_ns=valid_until_ns)
        await keys.submit(MINT, master, body, status="session_rejected_invalid")


async def test_public_key_is_used_once_on_an_account(keys: KeysServer, master: SigningKeyPair) -> None:
    """As a master or as a session key, ended or not, it is never accepted there again."""
    session = await keys.mint(master)
    revoked = await keys.mint(master)
    await keys.submit("SubmitRevokeSessionKey", master, revocation(revoked))
    for pair in (master, session, revoked):
        await keys.submit(MINT, master, minting(pair), status="session_rejected_key_reused")
    bad = minting(new_pair())
    bad.public_key = bytes(32)
    await keys.submit(MINT, master, bad, status="session_rejected_invalid")


async def test_forty_mints_for_the_last_place_have_one_winner(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """The cap is counted with nothing in flight; every other request learns that there was no place."""
    for _ in range(SESSION_KEYS_PER_MASTER_KEY_COUNT - 1):
        await keys.mint(master)
    requests = [keys.signed(MINT, master, minting(new_pair())) for _ in range(RACERS_COUNT)]
    answers = await asyncio.gather(*(keys.send(MINT, request) for request in requests))
    counted = Counter(answer.status for answer in answers)
    assert counted == {"request_completed": 1, "session_rejected_max_sessions": RACERS_COUNT - 1}
    assert await live(keys) == SESSION_KEYS_PER_MASTER_KEY_COUNT
    assert len({answer.processed_at_ns for answer in answers}) == RACERS_COUNT


async def test_ended_session_keys_leave_their_places(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """What was revoked or is past its end counts no more, and each master key counts for itself."""
    settings = {"max_sessions_per_master_key": 2}
    async with keys_server(database_factory, short_directory, clock, ids, **settings) as keys:
        master = new_pair()
        await keys.register(master)
        await keys.mint(master, valid_until_ns=clock.now_ns() + 1_000_000_000)
        kept = await keys.mint(master)
        await keys.submit(MINT, master, minting(new_pair()), status="session_rejected_max_sessions")
        await keys.mint(await keys.add_master(master))
        clock.advance(seconds=1)
        await keys.mint(master)
        await keys.submit(MINT, master, minting(new_pair()), status="session_rejected_max_sessions")
        await keys.submit("SubmitRevokeSessionKey", master, revocation(kept))
        await keys.mint(master)


async def test_session_key_signs_until_the_nanosecond_of_its_end(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """One nanosecond before it is still a key; at its end it is told apart from a revoked one."""
    until_ns = keys.clock.now_ns() + 2_000_000_000
    early = await keys.mint(master, valid_until_ns=until_ns)
    late = await keys.mint(master, valid_until_ns=until_ns)
    keys.clock.advance_ns(until_ns - 1 - keys.clock.now_ns())
    answer = await keys.submit("SubmitLogout", early, revocation(early))
    assert answer.processed_at_ns == until_ns - 1
    listing = signing_key_pb2.ListSessionKeysRequest()
    listed = (await keys.ask("ListSessionKeys", listing)).session_keys
    assert [key.public_key for key in listed] == [late.public_key]
    keys.clock.advance_ns(1)
    assert not (await keys.ask("ListSessionKeys", listing)).session_keys
    refused = keys.signed("SubmitLogout", late, revocation(late))
    assert await keys.code("SubmitLogout", refused) is Code.SESSION_EXPIRED


async def test_nothing_is_minted_for_an_account_that_is_not_served(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """Suspension is asked anew for each request, and a fence stops an identity that was asked before it."""
    request = keys.signed(MINT, master, minting(new_pair()))
    adding = keys.signed("SubmitAddMasterKey", master, addition(new_pair()))
    keys.auth.standings[ACCOUNT_ID] = standing_of(account_status=ACCOUNT_STATUS_SUSPENDED)
    assert await keys.code(MINT, request) is Code.ACCOUNT_SUSPENDED
    fence = resolution_pb2.FenceAccountRequest(account_id=ACCOUNT_ID, account_version=2)
    await ResolutionServiceStub(keys.internal).FenceAccount(fence, timeout=30)
    keys.auth.standings[ACCOUNT_ID] = standing_of(account_version=1)
    assert await keys.code(MINT, request) is Code.UNAVAILABLE
    assert await keys.code("SubmitAddMasterKey", adding) is Code.UNAVAILABLE
    keys.auth.standings[ACCOUNT_ID] = standing_of(account_version=2)
    assert (await keys.send(MINT, request)).status == "request_completed"
    assert (await keys.send("SubmitAddMasterKey", adding)).status == "request_completed"
    assert await live(keys) == 1


async def test_key_of_an_account_that_is_not_there_signs_nothing(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """To a stranger it is as unknown as a key that nobody has."""
    keys.auth.standings[ACCOUNT_ID] = None
    request = keys.signed(MINT, master, minting(new_pair()))
    assert await keys.code(MINT, request) is Code.SIGNATURE_INVALID


async def test_master_keys_see_the_sessions_that_they_may_end(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """An ADMIN key sees all of the account's live ones, another those it minted; oldest first."""
    scoped = await keys.add_master(master, reach=SCOPED, subaccount_index=5)
    first = await keys.mint(master)
    own = await keys.mint(scoped)
    same_place = await keys.mint(master, scope=5)
    await keys.mint(master, valid_until_ns=keys.clock.now_ns() + 1_000_000)
    ended = await keys.mint(master)
    await keys.submit("SubmitRevokeSessionKey", master, revocation(ended))
    keys.clock.advance(seconds=1)
    for signer, seen in ((master, [first, own, same_place]), (scoped, [own])):
        answer = await keys.submit("SubmitListSessionKeys", signer, signing_key_pb2.ListSessionKeys())
        assert [key.public_key for key in answer.session_keys] == [pair.public_key for pair in seen]


async def test_credentials_read_the_keys_that_reach_no_further_than_they_do(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """A pinned credential sees the keys of its subaccount alone, another all; removed ones nobody."""
    scoped = await keys.add_master(master, reach=SCOPED, subaccount_index=5)
    removed = await keys.add_master(master)
    body = signing_key_pb2.RemoveMasterKey(public_key=removed.public_key)
    await keys.submit("SubmitRemoveMasterKey", master, body)
    first, own, same_place = (
        await keys.mint(master),
        await keys.mint(scoped),
        await keys.mint(master, scope=5),
    )
    sessions = signing_key_pb2.ListSessionKeysRequest()
    masters = signing_key_pb2.ListMasterKeysRequest()
    for claims, seen_sessions, seen_masters in (
        ({}, [first, own, same_place], [master, scoped]),
        ({"subaccount_index": 5}, [own, same_place], [scoped]),
        ({"subaccount_index": 0}, [], []),
    ):
        listed = (await keys.ask("ListSessionKeys", sessions, **claims)).session_keys
        assert [key.public_key for key in listed] == [pair.public_key for pair in seen_sessions]
        listed = (await keys.ask("ListMasterKeys", masters, **claims)).master_keys
        assert [key.public_key for key in listed] == [pair.public_key for pair in seen_masters]


async def test_outcome_of_a_request_can_be_asked_for(keys: KeysServer, master: SigningKeyPair) -> None:
    """Who sees the subaccount it was about is told; an id that was never used is closed for good."""
    request_id, pinned = request_id_at(keys.clock.now_ns()), new_pair()
    answer = await keys.submit(MINT, master, minting(pinned, scope=5), request_id=request_id)
    asked = signing_key_pb2.GetKeyRequestRequest(request_id=str(request_id))
    for claims in ({}, {"subaccount_index": 5}):
        found = (await keys.ask("GetKeyRequest", asked, **claims)).request
        assert (found.status, found.request_type) == ("request_completed", 13)
        assert found.processed_at_ns == answer.processed_at_ns
        assert found.session_key == answer.session_key
    assert await keys.code("GetKeyRequest", asked, subaccount_index=4) is Code.REQUEST_NOT_FOUND
    for rpc, body in (
        ("SubmitAddMasterKey", addition(scoped := new_pair(), reach=SCOPED, subaccount_index=5)),
        ("SubmitRevokeSessionKey", revocation(pinned)),
        ("SubmitRemoveMasterKey", removal(scoped)),
    ):
        request_id = request_id_at(keys.clock.now_ns())
        await keys.submit(rpc, master, body, request_id=request_id)
        asked = signing_key_pb2.GetKeyRequestRequest(request_id=str(request_id))
        assert (await keys.ask("GetKeyRequest", asked, subaccount_index=5)).request.success
        assert await keys.code("GetKeyRequest", asked, subaccount_index=4) is Code.REQUEST_NOT_FOUND
    unused = request_id_at(keys.clock.now_ns())
    asked = signing_key_pb2.GetKeyRequestRequest(request_id=str(unused))
    assert await keys.code("GetKeyRequest", asked, account_number=1) is Code.REQUEST_NOT_FOUND
    keys.clock.advance(seconds=21)
    assert (await keys.ask("GetKeyRequest", asked)).request.status == "never_ran"
    for text in ("", "x", "0189ABCD-0000-7000-8000-000000000001"):
        asked = signing_key_pb2.GetKeyRequestRequest(request_id=text)
        assert await keys.code("GetKeyRequest", asked, account_number=1) is Code.REQUEST_NOT_FOUND

"""What the wallet service is told of keys that sign no more, also while it is away."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.keys.v1 import signing_key_pb2
from tests.integration.keys_server import (
    ACCOUNT_ID,
    OTHER_ACCOUNT_ID,
    KeysServer,
    keys_server,
    minting,
    removal,
    revocation,
)
from tests.signing_support import SigningKeyPair, new_pair, request_id_at

OUTBOX: Final = "SELECT FROM fence_outbox"
REVOKE: Final = "SubmitRevokeSessionKey"
MANY_COUNT: Final = 2500
EXPIRED_COUNT: Final = 100_000
ADD_TO_OUTBOX: Final = """
INSERT INTO fence_outbox (account_id, public_key, created_at_ns) VALUES ($1, $2, 1)
"""
ADD_SESSIONS: Final = """
INSERT INTO signer (
  account_id, public_key, kind, role, master_public_key, valid_until_ns, created_at_ns, created_by_kind,
  created_by_id
)
SELECT
  $1, sha256(($4::bigint || ' ' || number)::bytea), 'SESSION_KEY', 'FULL_ACCESS', $2, $4, 1, 'MASTER_KEY', ''
FROM generate_series(1, $3::integer) AS number
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


async def test_revocation_stands_while_the_wallet_service_is_away(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """The call says 503, because the key may still have effect there; here it signs no more."""
    session = await keys.mint(master)
    await keys.wallet.stop()
    request = keys.signed(REVOKE, master, revocation(session))
    for _ in range(2):
        assert await keys.code(REVOKE, request) is Code.UNAVAILABLE
    logout = keys.signed("SubmitLogout", session, revocation(session))
    assert await keys.code("SubmitLogout", logout) is Code.SESSION_INVALID
    assert keys.wallet.stopped == set()
    await keys.wallet.start()
    again = await answered_at_last(lambda: keys.send(REVOKE, request))
    assert again.status == "duplicate_request_id"
    assert again.original.status == "request_completed"
    assert keys.wallet.stopped == {(ACCOUNT_ID, session.public_key)}
    assert await keys.rows(OUTBOX) == []


@pytest.mark.parametrize("way", ["look-up", "other route"])
async def test_no_way_tells_of_a_revocation_that_the_wallet_service_has_not_heard_of(
    keys: KeysServer, master: SigningKeyPair, way: str
) -> None:
    """The record is there with the revocation; what it says is true when it is in force everywhere."""
    session, request_id = await keys.mint(master), request_id_at(keys.clock.now_ns())
    await keys.wallet.stop()
    request = keys.signed(REVOKE, master, revocation(session), request_id=request_id)
    assert await keys.code(REVOKE, request) is Code.UNAVAILABLE
    asked = signing_key_pb2.GetKeyRequestRequest(request_id=str(request_id))
    same_id = keys.signed("SubmitMintSessionKey", master, minting(new_pair()), request_id=request_id)

    async def told() -> Any:  # noqa: ANN401
        if way == "look-up":
            return (await keys.ask("GetKeyRequest", asked)).request
        return (await keys.send("SubmitMintSessionKey", same_id)).original

    with pytest.raises(SealgateError) as refused:
        await told()
    assert refused.value.code is Code.UNAVAILABLE
    await keys.wallet.start()
    assert (await answered_at_last(told)).status == "request_completed"
    assert keys.wallet.stopped == {(ACCOUNT_ID, session.public_key)}


async def test_account_that_cannot_be_told_of_keeps_no_other_waiting(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """The wallet service refuses the first of two; the second is told of in the same round."""
    session, key = await keys.mint(master), b"k" * 32
    keys.wallet.refused_account_id = OTHER_ACCOUNT_ID
    await keys.rows(ADD_TO_OUTBOX, uuid.UUID(OTHER_ACCOUNT_ID), key)
    await keys.rows(ADD_TO_OUTBOX, uuid.UUID(ACCOUNT_ID), session.public_key)
    await keys.pass_until(f"{OUTBOX} WHERE public_key <> '\\x{key.hex()}'")
    assert keys.wallet.stopped == {(ACCOUNT_ID, session.public_key)}


async def answered_at_last(ask: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
    """Asks as a customer does who is told 503; a peer that is back is found within a second."""
    while True:
        try:
            return await ask()
        except SealgateError as error:
            if error.code is not Code.UNAVAILABLE:
                raise


async def test_wallet_service_is_told_when_it_is_back_though_nobody_asks_again(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """The server itself goes on trying, for every account."""
    other_master = new_pair()
    await keys.register(other_master, account_id=OTHER_ACCOUNT_ID)
    session = await keys.mint(master)
    other = await keys.mint(other_master, account_id=OTHER_ACCOUNT_ID)
    await keys.wallet.stop()
    for account_id, signer, pair in (
        (ACCOUNT_ID, master, session),
        (OTHER_ACCOUNT_ID, other_master, other),
    ):
        request = keys.signed(REVOKE, signer, revocation(pair), account_id=account_id)
        assert await keys.code(REVOKE, request) is Code.UNAVAILABLE
    await keys.wallet.start()
    await keys.pass_until(OUTBOX)
    assert keys.wallet.stopped == {
        (ACCOUNT_ID, session.public_key),
        (OTHER_ACCOUNT_ID, other.public_key),
    }


async def test_what_another_process_left_to_tell_is_told(keys: KeysServer) -> None:
    """It is in the database, and outlives whoever wrote it."""
    await keys.rows(ADD_TO_OUTBOX, uuid.UUID(ACCOUNT_ID), bytes(32))
    await keys.rows(ADD_TO_OUTBOX, uuid.UUID(ACCOUNT_ID), None)
    await keys.pass_until(OUTBOX)
    assert keys.wallet.stopped == {(ACCOUNT_ID, bytes(32))}
    assert keys.wallet.requiring == {ACCOUNT_ID}


async def test_answer_waits_for_whatever_of_the_account_is_untold(
    keys: KeysServer, master: SigningKeyPair
) -> None:
    """A master key is added to an account of which the wallet service then knows that it has some."""
    keys.wallet.requiring.clear()
    await keys.rows(ADD_TO_OUTBOX, uuid.UUID(ACCOUNT_ID), None)
    await keys.add_master(master)
    assert keys.wallet.requiring == {ACCOUNT_ID}
    assert await keys.rows(OUTBOX) == []


async def test_any_number_of_keys_ends_at_once(keys: KeysServer, master: SigningKeyPair) -> None:
    """What a master key minted is told of in several calls, before the one answer.

    Not told of is what ended by itself over a minute ago, of which there is more than an answer has time
    for: it signs nothing, whatever a clock that is a little behind says.
    """
    removed, account_id = await keys.add_master(master), uuid.UUID(ACCOUNT_ID)
    just_now_ns = keys.clock.now_ns() - 59 * NANOSECONDS_PER_SECOND
    await keys.rows(ADD_SESSIONS, account_id, removed.public_key, EXPIRED_COUNT, 2)
    await keys.rows(ADD_SESSIONS, account_id, removed.public_key, MANY_COUNT, just_now_ns)
    calls_count = keys.wallet.calls_count
    await keys.submit("SubmitRemoveMasterKey", master, removal(removed))
    assert len(keys.wallet.stopped) == MANY_COUNT + 1
    assert keys.wallet.calls_count == calls_count + 3

"""The fence: what a revoked key signed, and what an account with a master key did not sign, never commits."""

from __future__ import annotations

import asyncio
import collections
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chassis.db.tx import Transaction
from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import signed_body_pb2, signed_pb2, signer_fence_pb2
from services.wallet.storage_signers import refuse_if_signatures_required
from tests.integration.signed_wallet_support import KeyHolder, SignedWorld, open_signed_wallet
from tests.integration.wallet_support import code_of, refusal


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> SignedWorld:
    """The service on a fresh database."""
    return await open_signed_wallet(database_factory, clock, ids)


@asynccontextmanager
async def _locked_wallets(world: SignedWorld) -> AsyncIterator[None]:
    """Holds whoever is about to make a wallet, until the block ends."""
    connection = await world.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE wallet IN EXCLUSIVE MODE")
        yield
        await transaction.rollback()
    finally:
        await connection.close()


async def _make_wallet(world: SignedWorld, holder: KeyHolder) -> str:
    """Signs for a further wallet; the status of the answer."""
    answer: signed_pb2.SubmitCreateWalletResponse = await world.sign(
        holder, "SubmitCreateWallet", signed_body_pb2.CreateWallet()
    )
    return answer.status


async def _status_or_code(world: SignedWorld, holder: KeyHolder) -> str | Code:
    """As `_make_wallet`; the code if the key is refused."""
    try:
        return await _make_wallet(world, holder)
    except SealgateError as refused:
        return refused.code


async def test_fenced_key_signs_nothing_more(world: SignedWorld) -> None:
    """Other keys of the account go on, and the same key of another account."""
    holder, stranger = world.holder(), world.holder()
    await world.list_wallets(holder.identity)
    await world.list_wallets(stranger.identity)
    other = world.holder(holder.identity)
    assert await _make_wallet(world, holder) == "request_completed"

    await world.fence(holder.account_id, holder.pair.public_key, stranger.pair.public_key)

    assert await code_of(_make_wallet(world, holder)) is Code.SESSION_INVALID
    assert await _make_wallet(world, other) == "request_completed"
    assert await _make_wallet(world, stranger) == "request_completed"


async def test_fence_waits_for_an_effect_in_flight_and_none_commits_after_it(world: SignedWorld) -> None:
    """When it has answered, what came before is there for good, and what comes later is refused.

    What comes while it waits may still be let in before it, and is then there when it answers.
    """
    holder = world.holder()
    await world.list_wallets(holder.identity)
    async with _locked_wallets(world):
        in_flight = asyncio.create_task(_make_wallet(world, holder))
        await world.wait_until_blocked(1)
        fence = asyncio.create_task(world.fence(holder.account_id, holder.pair.public_key))
        await world.wait_until_blocked(2)
        meanwhile = [asyncio.create_task(_status_or_code(world, holder)) for _ in range(3)]
        assert not fence.done()

    await fence
    made_count = len(await world.list_wallets(holder.identity))
    assert await code_of(_make_wallet(world, holder)) is Code.SESSION_INVALID
    assert await in_flight == "request_completed"
    told = collections.Counter(await asyncio.gather(*meanwhile))
    assert told.keys() <= {"request_completed", Code.SESSION_INVALID}
    assert len(await world.list_wallets(holder.identity)) == made_count == 2 + told["request_completed"]


async def test_key_that_was_fenced_before_it_was_ever_seen_signs_nothing(world: SignedWorld) -> None:
    """Getting to know it later clears nothing, and fencing is repeated without harm, in any order."""
    holders = [world.holder(world.caller()) for _ in range(3)]
    account_id = holders[0].account_id
    keys = [holder.pair.public_key for holder in holders]
    await asyncio.gather(
        *(world.fence(account_id, *order) for order in (keys, keys[::-1], keys + keys) for _ in range(4))
    )

    assert await code_of(_make_wallet(world, holders[0])) is Code.SESSION_INVALID
    rows = await world.administer("SELECT revoked FROM signer WHERE account_id = $1", account_id)
    assert [row["revoked"] for row in rows] == [True] * 3


async def test_fence_takes_the_lesser_key_first(world: SignedWorld) -> None:
    """In whatever order they are named; so two fences never hold what the other needs."""
    account_id, lesser, greater = uuid.UUID(int=7), b"a" * 32, b"b" * 32
    await world.administer(
        "INSERT INTO signer VALUES ($1, $2, false), ($1, $3, false)", account_id, lesser, greater
    )
    lock = "SELECT FROM signer WHERE public_key = $1 FOR UPDATE NOWAIT"
    connection = await world.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(lock, lesser)
        fence = asyncio.create_task(world.fence(account_id, greater, lesser))
        await world.wait_until_blocked(1)
        assert await connection.execute(lock, greater) == "SELECT 1"
        await transaction.rollback()
        await fence
    finally:
        await connection.close()


async def test_fence_of_no_key_is_no_fence_and_a_malformed_one_is_refused(world: SignedWorld) -> None:
    """An account is a UUID, a key has 32 bytes."""
    account_id = uuid.UUID(int=7)
    await world.fence(account_id)
    assert await world.administer("SELECT FROM signer") == []

    error = await refusal(world.fence(account_id, b"x" * 32, b"x" * 31))
    assert [detail.path for detail in error.details] == ["public_keys[1]"]
    request = signer_fence_pb2.RequireSignaturesRequest(account_id="nobody")
    error = await refusal(world.call(world.fence_api.RequireSignatures, request))
    assert [detail.path for detail in error.details] == ["account_id"]


async def test_signatures_are_required_of_the_named_account_for_good(world: SignedWorld) -> None:
    """Repeating it changes nothing; other accounts go on without."""
    account_id, other_id = uuid.UUID(int=7), uuid.UUID(int=8)
    for _ in range(2):
        await world.require_signatures(account_id)

    async def check(of: uuid.UUID) -> None:
        async with world.database.transaction() as tx:
            await refuse_if_signatures_required(tx, of)

    assert await code_of(check(account_id)) is Code.SIGNATURE_REQUIRED
    await check(other_id)
    await check(other_id)


async def test_requirement_waits_for_what_is_under_way_without_a_signature(world: SignedWorld) -> None:
    """What began before commits first; what came later is refused, also for an account never seen."""
    account_id = uuid.UUID(int=7)
    checked, go_on = asyncio.Event(), asyncio.Event()

    async def unsigned(tx: Transaction) -> None:
        await refuse_if_signatures_required(tx, account_id)
        checked.set()
        await go_on.wait()

    async def act() -> None:
        async with world.database.transaction() as tx:
            await unsigned(tx)

    acting = asyncio.create_task(act())
    await checked.wait()
    requiring = asyncio.create_task(world.require_signatures(account_id))
    await world.wait_until_blocked(1)
    assert not requiring.done()
    go_on.set()
    await acting
    await requiring

    with pytest.raises(SealgateError) as refused:
        await act()
    assert refused.value.code is Code.SIGNATURE_REQUIRED

"""Looking up what became of signed requests."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import signed_body_pb2
from tests.integration.signed_wallet_support import SignedWorld, open_signed_wallet
from tests.integration.wallet_support import code_of, refusal


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> SignedWorld:
    """The service on a fresh database."""
    return await open_signed_wallet(database_factory, clock, ids)


async def test_outcome_is_told_as_it_was_answered(world: SignedWorld) -> None:
    """With the result of what ran, and the reason of what was refused."""
    holder = world.holder()
    made = await world.sign(holder, "SubmitCreateSubaccount", signed_body_pb2.CreateSubaccount(name="Bots"))
    refused = await world.sign(holder, "SubmitUpdateWallet", signed_body_pb2.UpdateWallet(wallet_id="x"))
    world.clock.advance(seconds=6 * 24 * 3600)

    told = await world.look_up(holder.identity, made.request_id)
    told_refused = await world.look_up(holder.identity, refused.request_id)

    assert (told.success, told.status, told.request_type) == (True, "request_completed", 24)
    assert (told.request_id, told.processed_at_ns) == (made.request_id, made.processed_at_ns)
    assert told.subaccount == made.subaccount
    assert (told_refused.success, told_refused.status) == (False, "portfolio_rejected_invalid")
    assert list(told_refused.details) == list(refused.details)


@pytest.mark.parametrize(
    "request_id", ["", "nonsense", str(uuid.UUID(int=7)), "019B76DA-A800-7000-8000-000000000003"]
)
async def test_what_is_no_request_id_was_never_a_request(world: SignedWorld, request_id: str) -> None:
    """404 and nothing on record, since nothing can ever run under it."""
    error = await refusal(world.look_up(world.caller(), request_id))

    assert (error.code, error.retry_after_seconds) == (Code.REQUEST_NOT_FOUND, None)
    assert await world.administer("SELECT FROM request") == []


async def test_absent_request_may_still_come_for_a_while_and_then_never(world: SignedWorld) -> None:
    """Within 20 s one is to ask again, after that the id is closed: a late request does not run."""
    holder = world.holder()
    request_id = world.ids.uuid7()
    error = await refusal(world.look_up(holder.identity, request_id))
    assert (error.code, error.retry_after_seconds) == (Code.REQUEST_NOT_FOUND, 1)
    world.clock.advance(seconds=21)

    lost = await asyncio.gather(*(world.look_up(holder.identity, request_id) for _ in range(5)))

    assert {told.status for told in lost} == {"never_ran"}
    assert not lost[0].success
    assert len({told.processed_at_ns for told in lost}) == 1
    assert len(await world.administer("SELECT FROM request")) == 1


async def test_request_of_another_account_is_not_there(world: SignedWorld) -> None:
    """An account asks for its own; what another made of the id has nothing to do with it."""
    holder = world.holder()
    made = await world.sign(holder, "SubmitCreateSubaccount", signed_body_pb2.CreateSubaccount())

    assert await code_of(world.look_up(world.caller(), made.request_id)) is Code.REQUEST_NOT_FOUND


async def test_pinned_credential_is_told_of_its_own_subaccounts_requests_only(world: SignedWorld) -> None:
    """What is about the whole account, or about two subaccounts, is nothing of its."""
    holder = world.holder()
    made = await world.sign(holder, "SubmitCreateSubaccount", signed_body_pb2.CreateSubaccount())
    there = made.subaccount.wallets[0]
    body = signed_body_pb2.CreateWallet(subaccount_index=1)
    wallet = await world.sign(holder, "SubmitCreateWallet", body)
    within = await world.transfer(holder, there, wallet.wallet)
    update = signed_body_pb2.UpdateWallet(subaccount_index=1, wallet_id=there.wallet_id, name="x")
    renamed = await world.sign(holder, "SubmitUpdateWallet", update)
    first = (await world.list_wallets(holder.identity))[0]
    across = await world.transfer(holder, first, there)
    back = await world.transfer(holder, there, first)
    elsewhere = await world.sign(holder, "SubmitCreateWallet", signed_body_pb2.CreateWallet())
    pinned = world.caller(account_id=holder.account_id, subaccount_index=1)

    for seen in (wallet, within, renamed):
        assert (await world.look_up(pinned, seen.request_id)).status == seen.status
    for hidden in (made, across, back, elsewhere):
        assert await code_of(world.look_up(pinned, hidden.request_id)) is Code.REQUEST_NOT_FOUND

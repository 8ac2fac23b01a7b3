"""Withdrawal addresses: registered by a signature or the project, usable after a wait, removed at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from chassis.errors import Code, SealgateError
from chassis.limits import WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_SUSPENDED
from tests.integration.wallet_support import ADDRESS_WAIT_SECONDS, code_of, patiently, refusal
from tests.integration.withdrawal_support import (
    ADDRESS,
    PENDING,
    WithdrawalWorld,
    open_withdrawals,
)

WAIT_NS: Final = ADDRESS_WAIT_SECONDS * 10**9


def numbered(number: int) -> str:
    """An address for each number."""
    return f"0x{number:040x}"


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> WithdrawalWorld:
    """The service on a fresh database."""
    return await open_withdrawals(database_factory, clock, ids)


async def test_address_is_answered_and_listed_with_when_it_can_be_used(world: WithdrawalWorld) -> None:
    """By a signature or by the project: the same wait, told at once, and each leaves an audit row."""
    caller = world.caller()
    signed = await world.add(caller)
    world.clock.advance(seconds=1)
    registered = await world.add_as_project(caller, numbered(2))

    listed = await world.addresses(caller)

    assert (signed.chain, signed.address) == ("POL", ADDRESS)
    assert signed.usable_at_ns == signed.created_at_ns + WAIT_NS == world.clock.now_ns() - 10**9 + WAIT_NS
    assert registered.created_at.ToNanoseconds() == world.clock.now_ns()
    assert registered.usable_at.ToNanoseconds() == world.clock.now_ns() + WAIT_NS
    assert listed[0] == signed
    assert (listed[1].chain, listed[1].address) == (registered.chain, registered.address)
    assert listed[1].usable_at_ns == registered.usable_at.ToNanoseconds()
    assert await world.actions(caller.account_id) == [
        ("WITHDRAWAL_ADDRESS_ADDED", "MASTER_KEY", "a2V5"),
        ("WITHDRAWAL_ADDRESS_ADDED", "PROJECT_KEY", "project-credential"),
    ]


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
async def test_address_can_be_used_from_its_nanosecond_on(world: WithdrawalWorld, signed: bool) -> None:
    """The wait is whole: one nanosecond early is refused, with the time from which on it will do."""
    caller = world.caller()
    wallet_id = await world.funded_wallet(caller)
    added = await world.add(caller)
    withdraw = world.withdraw_signed if signed else world.withdraw
    world.clock.advance_ns(WAIT_NS - 1)

    error = await refusal(withdraw(caller, wallet_id))
    assert error.code is Code.ADDRESS_NOT_USABLE
    assert str(added.usable_at_ns) in error.details[0].message

    world.clock.advance_ns(1)
    assert (await withdraw(caller, wallet_id)).state == PENDING


async def test_address_added_again_stays_as_it_is(world: WithdrawalWorld) -> None:
    """Neither its wait begins anew nor is a second one made, whoever adds it."""
    caller = world.caller()
    first = await world.add(caller)
    world.clock.advance(seconds=5)

    assert await world.add(caller) == first
    again = await world.add_as_project(caller)

    assert again.usable_at.ToNanoseconds() == first.usable_at_ns
    assert await world.addresses(caller) == [first]
    assert len(await world.actions(caller.account_id)) == 1


async def test_address_removed_is_unusable_at_once(world: WithdrawalWorld) -> None:
    """It is answered as it was, gone from the list, and no withdrawal goes there any more."""
    caller, wallet_id = await world.rich()
    (known,) = await world.addresses(caller)

    assert await world.remove(caller) == known

    assert await world.addresses(caller) == []
    assert await code_of(world.withdraw(caller, wallet_id)) is Code.ADDRESS_NOT_USABLE
    assert (await world.actions(caller.account_id))[-1][0] == "WITHDRAWAL_ADDRESS_REMOVED"


async def test_address_added_anew_waits_anew(world: WithdrawalWorld) -> None:
    """What was removed never counts again: there are two rows, and the second has its own wait."""
    caller, wallet_id = await world.rich()
    await world.remove(caller)

    added = await world.add(caller)

    assert added.usable_at_ns == world.clock.now_ns() + WAIT_NS
    assert await code_of(world.withdraw(caller, wallet_id)) is Code.ADDRESS_NOT_USABLE
    assert len(await world.administer("SELECT FROM destination")) == 2


async def test_withdrawal_that_began_goes_on_when_its_address_is_removed(world: WithdrawalWorld) -> None:
    """Removing stops what is to come; what is under way an operator can reject."""
    caller, wallet_id = await world.rich()
    await world.withdraw(caller, wallet_id)
    await world.remove(caller)
    world.clock.advance(seconds=60)

    assert await world.withdrawals.pay_by_itself() == 2
    assert await world.broken_rules() == []


async def test_address_that_is_unknown_cannot_be_removed(world: WithdrawalWorld) -> None:
    """Nor one of another account, nor one that was removed."""
    caller, stranger = world.caller(), world.caller()
    await world.add(stranger)

    assert await code_of(world.remove(caller)) is Code.ADDRESS_NOT_USABLE
    await world.remove(stranger)
    assert await code_of(world.remove(stranger)) is Code.ADDRESS_NOT_USABLE


@pytest.mark.parametrize(
    ("chain", "address", "path"), [("ETH", ADDRESS, "chain"), ("POL", ADDRESS.upper(), "address")]
)
async def test_address_refuses_a_malformed_one(
    world: WithdrawalWorld, chain: str, address: str, path: str
) -> None:
    """400 with the path of the field, whoever adds it."""
    caller = world.caller()

    for answer in (world.add(caller, address, chain), world.add_as_project(caller, address, chain)):
        error = await refusal(answer)
        assert (error.code, error.details[0].path) == (Code.VALIDATION_ERROR, path)
    assert await world.addresses(caller) == []


async def test_addresses_of_an_account_are_bounded(world: WithdrawalWorld) -> None:
    """Those that are live count; a known one is still answered, and a removed one makes room."""
    caller = world.caller()
    for number in range(WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT):
        await world.add(caller, numbered(number))

    assert await code_of(world.add(caller, numbered(99))) is Code.ADDRESS_LIMIT_REACHED
    assert await code_of(world.add_as_project(caller, numbered(99))) is Code.ADDRESS_LIMIT_REACHED
    assert (await world.add(caller, numbered(3))).address == numbered(3)
    await world.add(world.caller(), numbered(99))
    await world.remove(caller, numbered(0))
    await world.add(caller, numbered(99))


@pytest.mark.parametrize("signed", [False, True], ids=["project", "signed"])
async def test_addresses_stay_bounded_when_ten_are_added_at_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds, signed: bool
) -> None:
    """One gets the last place."""
    world = await open_withdrawals(database_factory, clock, ids, pool_size_count=10)
    caller = world.caller()
    for number in range(WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT - 1):
        await world.add(caller, numbered(number))
    add = world.add if signed else world.add_as_project

    async def attempt(number: int) -> Code | None:
        try:
            await patiently(lambda: add(caller, numbered(1000 + number)))
        except SealgateError as error:
            return error.code
        return None

    codes = await asyncio.gather(*(attempt(number) for number in range(10)))

    assert codes.count(None) == 1
    assert codes.count(Code.ADDRESS_LIMIT_REACHED) == 9


async def test_address_added_ten_times_at_once_is_one(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """All are answered the same."""
    world = await open_withdrawals(database_factory, clock, ids, pool_size_count=10)
    caller = world.caller()

    added = await asyncio.gather(*(patiently(lambda: world.add_as_project(caller)) for _ in range(10)))

    assert all(one == added[0] for one in added)
    assert len(await world.addresses(caller)) == 1


async def test_project_adds_no_address_once_signatures_are_required(world: WithdrawalWorld) -> None:
    """Who holds the project's key cannot open a way out; a signature still can, and the old ones stay."""
    caller = world.caller()
    await world.add_as_project(caller, numbered(1))
    await world.fence.require_signatures(caller.account())

    assert await code_of(world.add_as_project(caller, numbered(2))) is Code.SIGNATURE_REQUIRED
    assert await code_of(world.add_as_project(caller, numbered(1))) is Code.SIGNATURE_REQUIRED
    await world.add(caller, numbered(3))

    assert [one.address for one in await world.addresses(caller)] == [numbered(1), numbered(3)]


async def test_project_adds_no_address_to_a_suspended_account(world: WithdrawalWorld) -> None:
    """Suspended means that nothing is prepared either."""
    suspended = replace(world.caller(), account_status=ACCOUNT_STATUS_SUSPENDED)

    assert await code_of(world.add_as_project(suspended)) is Code.ACCOUNT_SUSPENDED


async def test_addresses_are_the_accounts_and_not_a_subaccounts(world: WithdrawalWorld) -> None:
    """A pinned credential sees none of them; somebody else's are nobody's."""
    caller = world.caller()
    await world.add(caller)

    for index in (0, 1):
        pinned = world.caller(subaccount_index=index, account_id=caller.account_id)
        assert await world.addresses(pinned) == []
    assert await world.addresses(world.caller()) == []


async def test_removal_waits_for_a_withdrawal_under_way(world: WithdrawalWorld) -> None:
    """Either the withdrawal began before, or it finds no address: nothing in between."""
    caller, wallet_id = await world.rich()
    holder = await world.connect()
    try:
        async with holder.transaction():
            await holder.execute("UPDATE destination SET removed_at_ns = 1")
            asked = asyncio.create_task(code_of(world.withdraw(caller, wallet_id)))
            await world.wait_until_blocked()
    finally:
        await holder.close()

    assert await asked is Code.ADDRESS_NOT_USABLE
    assert await world.list_withdrawals(caller, wallet_id) == []

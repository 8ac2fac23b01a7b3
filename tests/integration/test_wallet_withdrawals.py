"""Withdrawals: what is refused, what they keep back, and how they show."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from contextvars import Context
from dataclasses import replace
from typing import Final

import pytest

from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import wallet_pb2, withdrawal_pb2
from services.wallet.domain.audit import Act, ActorKind
from services.wallet.domain.destination import Target
from services.wallet.domain.money import Asset, AssetClass
from services.wallet.domain.wallet import Reach
from services.wallet.domain.withdrawal import NewWithdrawal
from tests.integration.wallet_support import code_of, patiently, refusal
from tests.integration.withdrawal_support import (
    ADDRESS,
    CONFIRMED,
    FAILED,
    PENDING,
    REJECTED,
    SENT,
    WithdrawalWorld,
    open_withdrawals,
)

OTHER_ADDRESS: Final = "0x" + "b2" * 20
DAY_SECONDS: Final = 24 * 3600


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> WithdrawalWorld:
    """The service on a fresh database, with a test asset beside USDC."""
    world = await open_withdrawals(database_factory, clock, ids)
    await world.administer("INSERT INTO asset (code, scale, class) VALUES ('PLAY', 6, 'TEST')")
    return world


async def test_withdrawal_begins_pending_and_keeps_its_money_back(world: WithdrawalWorld) -> None:
    """The answer says what was asked for; the money is held and has not left."""
    caller, wallet_id = await world.rich("100")

    begun = await world.withdraw(caller, wallet_id, "12.5")

    assert (begun.wallet_id, begun.token, begun.amount) == (wallet_id, "USDC", "12.500000")
    assert (begun.chain, begun.address, begun.state, begun.tx_hash) == ("POL", ADDRESS, PENDING, "")
    assert begun.created_at.ToNanoseconds() == begun.updated_at.ToNanoseconds() == world.clock.now_ns()
    assert await world.holdings(caller, wallet_id) == ("100.000000", "12.500000")
    assert await world.list_withdrawals(caller, wallet_id) == [begun]
    assert await world.actions(caller.account_id) == [
        ("DEPOSIT_RECORDED", "OPERATOR", "operator"),
        ("WITHDRAWAL_ADDRESS_ADDED", "PROJECT_KEY", "project-credential"),
        ("WITHDRAWAL_CREATED", "ACCOUNT_SESSION", "session-credential"),
    ]
    assert await world.broken_rules() == []


async def test_signed_withdrawal_is_answered_as_the_unsigned_one_is_listed(world: WithdrawalWorld) -> None:
    """The same withdrawal, begun at the time at which the request was decided."""
    caller, wallet_id = await world.rich()

    begun = await world.withdraw_signed(caller, wallet_id, "7")

    (listed,) = await world.list_withdrawals(caller, wallet_id)
    assert (begun.withdrawal_id, begun.wallet_id, begun.asset, begun.amount, begun.chain, begun.address) == (
        listed.withdrawal_id,
        wallet_id,
        listed.token,
        listed.amount,
        listed.chain,
        listed.address,
    )
    assert (begun.state, begun.created_at_ns) == (PENDING, world.clock.now_ns())
    assert (await world.actions(caller.account_id))[-1] == ("WITHDRAWAL_CREATED", "SESSION_KEY", "a2V5")
    assert await world.broken_rules() == []


SIGNED: Final = pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])


async def begin(
    world: WithdrawalWorld, signed: bool, caller: Identity, wallet_id: str, amount: str = "5", **fields: str
) -> object:
    """A withdrawal, with or without a signature; the asset's field has another name there."""
    if not signed:
        return await world.withdraw(caller, wallet_id, amount, **fields)
    if "token" in fields:
        fields["asset"] = fields.pop("token")
    return await world.withdraw_signed(caller, wallet_id, amount, **fields)


@SIGNED
@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"amount": "0"}, Code.VALIDATION_ERROR, "amount"),
        ({"amount": "-1"}, Code.VALIDATION_ERROR, "amount"),
        ({"amount": "1.0000001"}, Code.VALIDATION_ERROR, "amount"),
        ({"amount": ""}, Code.VALIDATION_ERROR, "amount"),
        ({"amount": "100.000001"}, Code.INSUFFICIENT_BALANCE, "amount"),
        ({"amount": "1000.000001"}, Code.WITHDRAWAL_LIMIT_REACHED, "amount"),
        ({"address": ""}, Code.VALIDATION_ERROR, "address"),
        ({"address": ADDRESS.upper()}, Code.VALIDATION_ERROR, "address"),
        ({"address": OTHER_ADDRESS}, Code.ADDRESS_NOT_USABLE, "address"),
        ({"token": "usdc"}, Code.ASSET_NOT_FOUND, None),
        ({"token": ""}, Code.ASSET_NOT_FOUND, None),
        ({"token": "PLAY"}, Code.ASSET_NOT_FOUND, None),
        ({"wallet_id": "nonsense"}, Code.WALLET_NOT_FOUND, None),
        ({"wallet_id": str(uuid.UUID(int=9))}, Code.WALLET_NOT_FOUND, None),
    ],
    ids=lambda value: ",".join(map("=".join, value.items())) if isinstance(value, dict) else "",
)
async def test_withdrawal_refuses(
    world: WithdrawalWorld, signed: bool, fields: dict[str, str], code: Code, path: str | None
) -> None:
    """Each with its own code and the path of the field, and nothing is held or written."""
    caller, wallet_id = await world.rich("100")
    given = {"wallet_id": wallet_id} | fields

    error = await refusal(begin(world, signed, caller, **given))

    assert error.code is code
    assert [detail.path for detail in error.details] == ([] if path is None else [path])
    assert await world.holdings(caller, wallet_id) == ("100.000000", "0.000000")
    assert await world.list_withdrawals(caller, wallet_id) == []
    assert await world.broken_rules() == []


async def test_signed_withdrawal_refuses_another_chain(world: WithdrawalWorld) -> None:
    """The unsigned one has its chain in its path; here it is signed."""
    caller, wallet_id = await world.rich()

    error = await refusal(world.withdraw_signed(caller, wallet_id, chain="ETH"))

    assert (error.code, error.details[0].path) == (Code.VALIDATION_ERROR, "chain")


async def test_withdrawal_cannot_spend_what_is_held(world: WithdrawalWorld) -> None:
    """To the last unit of what is available, and no further."""
    caller, wallet_id = await world.rich("10")
    await world.withdraw(caller, wallet_id, "4")

    assert await code_of(world.withdraw(caller, wallet_id, "6.000001")) is Code.INSUFFICIENT_BALANCE
    await world.withdraw(caller, wallet_id, "6")

    assert await world.holdings(caller, wallet_id) == ("10.000000", "10.000000")
    assert await code_of(world.delete(caller, wallet_id)) is Code.WALLET_NOT_EMPTY


async def test_withdrawal_of_an_untouched_wallet_is_insufficient(world: WithdrawalWorld) -> None:
    """Where nothing ever came in there is no balance to lock, and nothing to withdraw."""
    caller, _ = await world.rich()
    second = await world.create(caller)

    assert await code_of(world.withdraw(caller, second.wallet_id)) is Code.INSUFFICIENT_BALANCE


async def test_withdrawal_knows_no_wallet_beyond_the_callers_reach(world: WithdrawalWorld) -> None:
    """Somebody else's wallet, and one outside the pin, are no wallets; so in the list."""
    caller, wallet_id = await world.rich()
    stranger, _ = await world.rich()
    pinned = world.caller(subaccount_index=1, account_id=caller.account_id)

    for other in (stranger, pinned):
        assert await code_of(world.withdraw(other, wallet_id)) is Code.WALLET_NOT_FOUND
        assert await code_of(world.list_withdrawals(other, wallet_id)) is Code.WALLET_NOT_FOUND
    assert await code_of(world.list_withdrawals(caller, "nonsense")) is Code.WALLET_NOT_FOUND


async def test_withdrawal_does_not_go_to_another_accounts_address(world: WithdrawalWorld) -> None:
    """An address counts for the account that registered it."""
    caller, wallet_id = await world.rich()
    stranger, _ = await world.rich()
    await world.add_as_project(stranger, OTHER_ADDRESS)
    world.clock.advance(seconds=DAY_SECONDS)

    refused = world.withdraw(caller, wallet_id, address=OTHER_ADDRESS)

    assert await code_of(refused) is Code.ADDRESS_NOT_USABLE


async def test_wait_of_an_address_is_over_by_the_clock_alone(world: WithdrawalWorld) -> None:
    """When a signed request counts as decided may be ahead of the clock, since it never goes back."""
    caller = world.caller()
    wallet_id = await world.funded_wallet(caller)
    added = await world.add(caller)
    within = Reach(caller.project_id, caller.account(), None)

    refused = world.withdrawals.create_withdrawal(
        within,
        _of_usdc(world, wallet_id, 5_000_000),
        replace(_act(world), at_ns=added.usable_at_ns),
        is_signed=True,
    )

    assert await code_of(refused) is Code.ADDRESS_NOT_USABLE
    assert await world.list_withdrawals(caller, wallet_id) == []


async def test_limit_counts_what_the_account_withdrew_in_24_hours(world: WithdrawalWorld) -> None:
    """Over all wallets, to the last unit, until 24 h after it was asked for and not a nanosecond less."""
    caller, wallet_id = await world.rich("2000")
    second_id = (await world.create(caller)).wallet_id
    await world.deposit(second_id, "500", "second")
    await world.withdraw(caller, wallet_id, "400")
    first_ns = world.clock.now_ns()
    world.clock.advance(seconds=3600)
    await world.withdraw(caller, second_id, "500")

    error = await refusal(world.withdraw(caller, wallet_id, "100.000001"))
    await world.withdraw(caller, wallet_id, "100")
    assert error.code is Code.WITHDRAWAL_LIMIT_REACHED
    assert error.details[0].message.endswith("; 100 would do now")
    assert await code_of(world.withdraw(caller, wallet_id, "0.000001")) is Code.WITHDRAWAL_LIMIT_REACHED

    world.clock.advance_ns(first_ns + DAY_SECONDS * 10**9 - world.clock.now_ns() - 1)
    assert await code_of(world.withdraw(caller, wallet_id, "0.000001")) is Code.WITHDRAWAL_LIMIT_REACHED
    world.clock.advance_ns(1)
    await world.withdraw(caller, wallet_id, "400")
    assert await world.broken_rules() == []


@pytest.mark.parametrize("state", [FAILED, REJECTED], ids=["failed", "rejected"])
async def test_limit_does_not_count_what_came_to_nothing(world: WithdrawalWorld, state: int) -> None:
    """What was not paid is no payment."""
    caller, wallet_id = await world.rich("2000")
    begun = await world.withdraw(caller, wallet_id, "1000")
    assert await code_of(world.withdraw(caller, wallet_id, "1")) is Code.WITHDRAWAL_LIMIT_REACHED

    await world.settle(begun.withdrawal_id, FAILED if state == FAILED else REJECTED)

    await world.withdraw(caller, wallet_id, "1000")


async def test_limit_is_each_accounts_and_each_assets_own(world: WithdrawalWorld) -> None:
    """What others withdrew takes nothing of it, nor what was withdrawn of another asset."""
    await world.administer("INSERT INTO asset (code, scale, class) VALUES ('EURC', 6, 'CASH')")
    caller, wallet_id = await world.rich("2000")
    stranger, strange_id = await world.rich("2000")
    await world.deposit(wallet_id, "2000", "euros", asset="EURC")

    await world.withdraw(stranger, strange_id, "1000")
    await world.withdraw(caller, wallet_id, "1000", token="EURC")
    await world.withdraw(caller, wallet_id, "1000")

    for token in ("EURC", "USDC"):
        asked = world.withdraw(caller, wallet_id, "0.000001", token=token)
        assert await code_of(asked) is Code.WITHDRAWAL_LIMIT_REACHED
    assert await world.broken_rules() == []


@SIGNED
async def test_limit_holds_when_ten_ask_for_the_last_of_it_at_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds, signed: bool
) -> None:
    """One of them gets it, whichever wallets they take it from."""
    world = await open_withdrawals(database_factory, clock, ids, pool_size_count=10)
    caller, wallet_id = await world.rich("2000")
    second_id = (await world.create(caller)).wallet_id
    await world.deposit(second_id, "500", "second")
    await world.withdraw(caller, wallet_id, "999")

    async def ask(number: int) -> Code | None:
        chosen = (wallet_id, second_id)[number % 2]
        try:
            await patiently(lambda: begin(world, signed, caller, chosen, "1"))
        except SealgateError as error:
            return error.code
        return None

    answers = await asyncio.gather(*(ask(number) for number in range(10)))

    assert Counter(answers) == {None: 1, Code.WITHDRAWAL_LIMIT_REACHED: 9}
    assert await world.broken_rules() == []


async def test_limit_counts_what_is_signed_and_what_is_not_together(world: WithdrawalWorld) -> None:
    """An unsigned one waits for a signed one that is under way, also out of another wallet."""
    caller, wallet_id = await world.rich("2000")
    second_id = (await world.create(caller)).wallet_id
    await world.deposit(second_id, "500", "second")
    await world.withdraw(caller, wallet_id, "996")
    within = Reach(caller.project_id, caller.account(), None)
    async with world.database.shared_transaction() as tx:
        claim = "SELECT FROM claim_request($1, $2, $3, $4)"
        await tx.fetchrow(claim, caller.account(), b"k" * 32, world.ids.uuid7(), world.clock.now_ns())
        await world.withdrawals.create_withdrawal(
            within, _of_usdc(world, wallet_id, 4_000_000), _act(world), is_signed=True
        )
        # In a context of its own, which does not share the transaction.
        unsigned = asyncio.create_task(
            code_of(world.withdraw(caller, second_id, "0.000001")), context=Context()
        )
        await world.wait_until_blocked()

    assert await unsigned is Code.WITHDRAWAL_LIMIT_REACHED


async def test_balance_is_held_once_when_ten_ask_for_the_last_of_it_at_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """No two withdrawals are backed by the same money."""
    world = await open_withdrawals(database_factory, clock, ids, pool_size_count=10)
    caller, wallet_id = await world.rich("10")

    async def ask() -> Code | None:
        try:
            await patiently(lambda: world.withdraw(caller, wallet_id, "6"))
        except SealgateError as error:
            return error.code
        return None

    answers = await asyncio.gather(*(ask() for _ in range(10)))

    assert Counter(answers) == {None: 1, Code.INSUFFICIENT_BALANCE: 9}
    assert await world.holdings(caller, wallet_id) == ("10.000000", "6.000000")
    assert await world.broken_rules() == []


async def test_withdrawal_is_told_what_is_left_when_somebody_else_has_spent_it(
    world: WithdrawalWorld,
) -> None:
    """Whoever is about to keep money back is waited for, and what he leaves is what there is."""
    caller, wallet_id = await world.rich("10")
    holder = await world.connect()
    try:
        async with holder.transaction():
            await holder.execute("UPDATE balance SET held = 8000000 WHERE wallet_id = $1::uuid", wallet_id)
            asked = asyncio.create_task(refusal(world.withdraw(caller, wallet_id, "6")))
            await world.wait_until_blocked()
    finally:
        await holder.close()

    error = await asked
    assert error.code is Code.INSUFFICIENT_BALANCE
    assert [detail.message for detail in error.details] == ["needs 6 USDC, has 2"]


async def test_withdrawals_come_in_pages_newest_first(world: WithdrawalWorld) -> None:
    """Limit and offset cut the list; those of other wallets are not in it."""
    caller, wallet_id = await world.rich()
    other_id = (await world.create(caller)).wallet_id
    begun = []
    for _ in range(3):
        begun.append(await world.withdraw(caller, wallet_id, "1"))
        world.clock.advance(seconds=1)

    assert await world.list_withdrawals(caller, wallet_id) == begun[::-1]
    assert await world.list_withdrawals(caller, wallet_id, limit=1, offset=1) == [begun[1]]
    assert await world.list_withdrawals(caller, wallet_id, offset=3) == []
    assert await world.list_withdrawals(caller, other_id) == []
    assert await code_of(world.list_withdrawals(caller, wallet_id, limit=-1)) is Code.VALIDATION_ERROR


async def test_transfers_show_a_withdrawal_when_its_money_has_left(world: WithdrawalWorld) -> None:
    """From the wallet's address to where it went, under the rail's reference, and not before."""
    caller, wallet_id = await world.rich()
    begun = await world.withdraw(caller, wallet_id, "2.5")
    await world.settle(begun.withdrawal_id, SENT, "0xfeed")
    assert len(await world.transfers(caller, wallet_id)) == 1
    world.clock.advance(seconds=1)
    await world.settle(begun.withdrawal_id, CONFIRMED)

    newest, deposit = await world.transfers(caller, wallet_id)

    own_address = (await world.get(caller, wallet_id)).chains["POL"].address
    assert newest.type == wallet_pb2.TRANSFER_KIND_WITHDRAWAL
    assert newest.transfer_type == wallet_pb2.TRANSFER_DIRECTION_OUT
    assert (newest.asset_id, newest.amount, newest.tx_hash) == ("USDC", "2.500000", "0xfeed")
    assert (newest.from_address, newest.to_address) == (own_address, ADDRESS)
    assert newest.created_at.ToNanoseconds() == world.clock.now_ns()
    assert (deposit.from_address, deposit.to_address) == ("", own_address)


@pytest.mark.parametrize("chain", ["pol", "POL"])
async def test_deposit_address_is_the_wallets_own(world: WithdrawalWorld, chain: str) -> None:
    """As the wallet shows it, however the chain is written."""
    caller = world.caller()
    (wallet,) = await world.list_wallets(caller)
    request = withdrawal_pb2.GetDepositAddressRequest(wallet_id=wallet.wallet_id, chain=chain)

    deposit = (await world.call(world.withdrawal_api.GetDepositAddress, request, caller)).deposit

    assert deposit == withdrawal_pb2.DepositAddress(
        wallet_id=wallet.wallet_id, chain="POL", address=wallet.chains["POL"].address
    )


async def test_deposit_address_refuses_an_unknown_chain_or_wallet(world: WithdrawalWorld) -> None:
    """Each is the 404 of its noun."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    async def code(wallet: str, chain: str, who: Identity = caller) -> Code:
        request = withdrawal_pb2.GetDepositAddressRequest(wallet_id=wallet, chain=chain)
        return await code_of(world.call(world.withdrawal_api.GetDepositAddress, request, who))

    assert await code(wallet_id, "eth") is Code.CHAIN_NOT_FOUND
    assert await code("nonsense", "pol") is Code.WALLET_NOT_FOUND
    assert await code(wallet_id, "pol", world.caller()) is Code.WALLET_NOT_FOUND
    pinned = world.caller(subaccount_index=1, account_id=caller.account_id)
    assert await code(wallet_id, "pol", pinned) is Code.WALLET_NOT_FOUND


async def test_unsigned_withdrawal_is_refused_once_signatures_are_required(world: WithdrawalWorld) -> None:
    """For good, and for this account only; a signed one still goes."""
    caller, wallet_id = await world.rich()
    other, other_wallet_id = await world.rich()
    await world.fence.require_signatures(caller.account())

    assert await code_of(world.withdraw(caller, wallet_id)) is Code.SIGNATURE_REQUIRED
    await world.withdraw_signed(caller, wallet_id)
    await world.withdraw(other, other_wallet_id)


async def test_no_unsigned_withdrawal_commits_after_signatures_were_required(world: WithdrawalWorld) -> None:
    """One that is under way is waited for, and is the last."""
    caller, wallet_id = await world.rich()
    async with world.database.shared_transaction():
        await world.withdrawals.create_withdrawal(
            Reach(caller.project_id, caller.account(), None),
            _of_usdc(world, wallet_id, 5_000_000),
            _act(world),
            is_signed=False,
        )
        requiring = asyncio.create_task(_require_signatures(world, caller))
        await world.wait_until_blocked()
        assert not requiring.done()
    await requiring

    assert len(await world.list_withdrawals(caller, wallet_id)) == 1
    assert await code_of(world.withdraw(caller, wallet_id)) is Code.SIGNATURE_REQUIRED


def _of_usdc(world: WithdrawalWorld, wallet_id: str, amount: int) -> NewWithdrawal:
    usdc = Asset(1, "USDC", 6, AssetClass.CASH)
    target = Target("POL", ADDRESS)
    return NewWithdrawal(world.ids.uuid7(), uuid.UUID(wallet_id), usdc, amount, target)


def _act(world: WithdrawalWorld) -> Act:
    return Act(ActorKind.ACCOUNT_SESSION, "session-credential", world.ids.uuid7(), world.clock.now_ns())


async def _require_signatures(world: WithdrawalWorld, caller: Identity) -> None:
    """As another process would, on a connection of its own."""
    connection = await world.connect("sealgate_wallet")
    try:
        await connection.execute(
            "INSERT INTO signature_rule VALUES ($1, true)"
            " ON CONFLICT (account_id) DO UPDATE SET required = true",
            caller.account(),
        )
    finally:
        await connection.close()


async def test_unsigned_withdrawal_waits_for_signatures_being_required(world: WithdrawalWorld) -> None:
    """It asks under the lock, so it does not slip through between the question and the change."""
    caller, wallet_id = await world.rich()
    connection = await world.connect("sealgate_wallet")
    try:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO signature_rule VALUES ($1, true)"
                " ON CONFLICT (account_id) DO UPDATE SET required = true",
                caller.account(),
            )
            asked = asyncio.create_task(code_of(world.withdraw(caller, wallet_id)))
            await world.wait_until_blocked()
    finally:
        await connection.close()

    assert await asked is Code.SIGNATURE_REQUIRED
    assert await world.list_withdrawals(caller, wallet_id) == []

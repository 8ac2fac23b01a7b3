"""Transfers: money from one wallet of an account to another, never more than there is, never lost."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from chassis.errors import Code, SealgateError
from chassis.signing import Role
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import signed_body_pb2, signed_pb2, wallet_pb2
from services.wallet.domain.audit import Act, ActorKind
from services.wallet.domain.money import Asset, AssetClass
from services.wallet.domain.transfer import NewTransfer, Place
from services.wallet.domain.wallet import wallet_id_of
from tests.integration.signed_wallet_support import KeyHolder, SignedWorld, open_signed_wallet
from tests.integration.wallet_support import code_of

_USDC = Asset(1, "USDC", 6, AssetClass.CASH)


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> SignedWorld:
    """The service on a fresh database."""
    return await open_signed_wallet(database_factory, clock, ids)


async def _two_wallets(
    world: SignedWorld, amount: str = "5"
) -> tuple[KeyHolder, wallet_pb2.Wallet, signed_body_pb2.SubaccountWallet]:
    """A key, its account's first wallet with so much in it, and the one of a further subaccount."""
    holder = world.holder()
    made = await world.create_subaccount(holder)
    first = (await world.list_wallets(holder.identity))[0]
    await world.deposit(first.wallet_id, amount, f"funding of {first.wallet_id}")
    return holder, first, made.wallets[0]


async def test_transfer_moves_money_between_subaccounts(world: SignedWorld) -> None:
    """Both balances change by the amount, in one movement that the ledger and the audit name."""
    holder, first, second = await _two_wallets(world)

    answer = await world.transfer(holder, first, second, "1.5")

    assert (answer.status, answer.success) == ("request_completed", True)
    assert answer.transfer == signed_body_pb2.FundsTransfer(
        from_wallet_id=first.wallet_id,
        to_wallet_id=second.wallet_id,
        asset="USDC",
        amount="1.500000",
        txn_seq=answer.transfer.txn_seq,
    )
    assert await world.units_of(first.wallet_id) == 3_500_000
    assert await world.units_of(second.wallet_id) == 1_500_000
    (txn,) = await world.administer("SELECT * FROM txn WHERE seq = $1", answer.transfer.txn_seq)
    assert (txn["kind"], txn["actor_kind"], txn["actor_id"]) == ("TRANSFER", "SESSION_KEY", holder.pair.text)
    assert (str(txn["request_id"]), txn["created_at_ns"]) == (answer.request_id, answer.processed_at_ns)
    (row,) = await world.administer("SELECT * FROM audit WHERE action = 'FUNDS_TRANSFERRED'")
    assert (row["account_id"], row["subject"]) == (holder.account_id, first.wallet_id)
    assert await world.broken_rules() == []


async def test_transfer_is_listed_in_both_wallets_with_each_others_address(world: SignedWorld) -> None:
    """One says OUT and the other IN, of the same from and to."""
    holder, first, second = await _two_wallets(world)
    await world.transfer(holder, first, second, "2")

    out, deposit = await world.transfers(holder.identity, first.wallet_id)
    (into,) = await world.transfers(holder.identity, second.wallet_id)

    addresses = (first.chains["POL"].address, second.chains["POL"].address)
    for listed in (out, into):
        assert (listed.type, listed.amount) == (wallet_pb2.TRANSFER_KIND_TRANSFER, "2.000000")
        assert (listed.from_address, listed.to_address) == addresses
        assert listed.tx_hash == ""
    assert out.transfer_type == wallet_pb2.TRANSFER_DIRECTION_OUT
    assert into.transfer_type == wallet_pb2.TRANSFER_DIRECTION_IN
    assert (deposit.from_address, deposit.to_address) == ("", addresses[0])


async def test_transfer_goes_both_ways_between_any_wallets(world: SignedWorld) -> None:
    """Whichever id is the lesser, and also where the target has had nothing of the asset before."""
    holder, first, second = await _two_wallets(world)
    third = await world.create(holder.identity)

    for source, target in ((first, second), (second, third), (third, first), (first, third)):
        assert (await world.transfer(holder, source, target, "5")).status == "request_completed"

    assert [await world.units_of(wallet.wallet_id) for wallet in (first, second, third)] == [0, 0, 5_000_000]
    assert await world.broken_rules() == []


async def test_transfer_of_more_than_is_available_is_refused(world: SignedWorld) -> None:
    """What is kept back for an order cannot leave, and a wallet that never had any has nothing."""
    holder, first, second = await _two_wallets(world)
    await world.administer(
        "UPDATE balance SET held = 4000000 WHERE wallet_id = $1::uuid AND asset_id = 1", first.wallet_id
    )

    for source, target, amount in ((first, second, "1.000001"), (second, first, "0.000001")):
        answer = await world.transfer(holder, source, target, amount)
        assert answer.status == "transfer_rejected_insufficient_balance"
    assert (await world.transfer(holder, first, second, "1")).status == "request_completed"


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": "0"},
        {"amount": "-1"},
        {"amount": "0.0000001"},
        {"amount": ""},
        {"amount": "1e3"},
        {"asset": "usdc"},
        {"asset": ""},
        {"asset": "123"},
        {"from_subaccount_index": 1},
        {"from_subaccount_index": 2**31},
        {"to_subaccount_index": 0},
        {"to_subaccount_index": 7},
        {"to_subaccount_index": 2**32 - 1},
        {"from_wallet_id": "nonsense"},
        {"to_wallet_id": ""},
        {"to_wallet_id": "00000000-0000-7000-8000-000000000000"},
    ],
    ids=str,
)
async def test_transfer_is_refused_for_whatever_is_wrong(world: SignedWorld, fields: dict[str, Any]) -> None:
    """Amounts, assets, subaccounts that the wallets are not in, wallets that are not there."""
    holder, first, second = await _two_wallets(world)
    await world.administer("INSERT INTO asset (code, scale, class) VALUES ('123', 6, 'OUTCOME')")

    answer = await world.transfer(holder, first, second, **fields)

    assert (answer.status, answer.success) == ("transfer_rejected_invalid", False)
    assert answer.details[0].message
    assert not answer.HasField("transfer")
    assert await world.units_of(first.wallet_id) == 5_000_000


async def test_transfer_needs_two_wallets_of_the_account(world: SignedWorld) -> None:
    """Not one wallet twice, not a stranger's, not a deleted one; the answer says which is wrong."""
    holder, first, second = await _two_wallets(world)
    strangers = (await world.list_wallets(world.caller()))[0]
    deleted = await world.create(holder.identity)
    await world.delete(holder.identity, deleted.wallet_id)

    for source, target, path in (
        (first, first, "to_wallet_id"),
        (first, strangers, "to_wallet_id"),
        (first, deleted, "to_wallet_id"),
        (strangers, second, "from_wallet_id"),
    ):
        answer = await world.transfer(holder, source, target)
        assert answer.status == "transfer_rejected_invalid"
        assert [detail.path for detail in answer.details] == [path]


async def test_transfer_needs_reach_of_both_subaccounts_and_full_access(world: SignedWorld) -> None:
    """A pinned key moves money within its subaccount only, one for trading none at all."""
    holder, first, second = await _two_wallets(world)
    own = await world.create(holder.identity)
    pinned = world.holder(holder.identity, subaccount_index=0)
    trading = world.holder(holder.identity, role=Role.TRADING_ONLY)

    assert (await world.transfer(pinned, first, own)).status == "request_completed"
    assert (await world.transfer(pinned, first, second)).status == "rejected_scope"
    assert (await world.transfer(pinned, second, first)).status == "rejected_scope"
    assert (await world.transfer(pinned, second, first, "nonsense")).status == "rejected_scope"
    assert (await world.transfer(trading, first, own)).status == "rejected_role"


async def test_transfer_past_the_bound_of_a_balance_is_refused(world: SignedWorld) -> None:
    """Ten of the largest movements fit, an eleventh does not; the money stays where it was."""
    holder, first, second = await _two_wallets(world)
    most = "1" + "0" * 30
    for number in range(10):
        await world.deposit(second.wallet_id, most, f"most {number}")
    await world.deposit(first.wallet_id, most, "one more")

    answer = await world.transfer(holder, first, second, most)

    assert answer.status == "transfer_rejected_invalid"
    assert [detail.path for detail in answer.details] == ["amount"]
    assert await world.broken_rules() == []


async def test_repeated_transfer_moves_nothing_and_tells_of_the_first(world: SignedWorld) -> None:
    """Twenty copies of one request at once: one runs."""
    holder, first, second = await _two_wallets(world)
    request_id = world.ids.uuid7()

    answers = await asyncio.gather(
        *(world.transfer(holder, first, second, "1", request_id=request_id) for _ in range(20))
    )

    done = [answer for answer in answers if answer.status == "request_completed"]
    repeats = [answer for answer in answers if answer.status == "duplicate_request_id"]
    assert (len(done), len(repeats)) == (1, 19)
    assert {repeat.original.transfer.txn_seq for repeat in repeats} == {done[0].transfer.txn_seq}
    assert await world.units_of(first.wallet_id) == 4_000_000


def _straight(
    world: SignedWorld, holder: KeyHolder, wallet_ids: tuple[str, str], units: int
) -> asyncio.Task[int]:
    """A transfer beside others of its account, which the stage would let go one by one."""
    source, target = (Place(0, wallet_id_of(wallet_id)) for wallet_id in wallet_ids)
    new = NewTransfer(source, target, _USDC, units)
    act = Act(ActorKind.SESSION_KEY, "key", world.ids.uuid7(), world.clock.now_ns())
    return asyncio.create_task(world.transfer_store.transfer_funds(world.reach(holder.identity), new, act))


async def test_transfers_that_cross_each_other_neither_deadlock_nor_lose_a_cent(world: SignedWorld) -> None:
    """Among four wallets in all directions at once, beside deposits; some find too little and say so."""
    holder = world.holder()
    wallets = [(await world.list_wallets(holder.identity))[0].wallet_id]
    wallets += [(await world.create(holder.identity)).wallet_id for _ in range(3)]
    await world.deposit(wallets[0], "0.000020", "start")

    pairs = [pair for pair in itertools.permutations(wallets, 2) for _ in range(5)]
    transfers = [_straight(world, holder, pair, 1 + number % 7) for number, pair in enumerate(pairs)]
    deposits = [world.deposit(wallet, "0.000010", f"to {wallet}") for wallet in wallets]
    outcomes = await asyncio.gather(*transfers, *deposits, return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(error, SealgateError) for error in refused), refused
    assert {error.code for error in refused if isinstance(error, SealgateError)} <= {
        Code.INSUFFICIENT_BALANCE
    }
    assert sum([await world.units_of(wallet) for wallet in wallets]) == 60
    assert await world.broken_rules() == []


@pytest.mark.parametrize("from_lesser", [True, False])
async def test_transfer_locks_the_balance_of_the_lesser_wallet_id_first(
    world: SignedWorld, *, from_lesser: bool
) -> None:
    """Whichever way the money goes; so two that cross each other never hold what the other needs."""
    holder, first, _ = await _two_wallets(world)
    second = await world.create(holder.identity)
    await world.deposit(second.wallet_id, "5", "both have some")
    lesser, greater = sorted((first.wallet_id, second.wallet_id))
    lock = "SELECT FROM balance WHERE wallet_id = $1::uuid FOR UPDATE NOWAIT"
    connection = await world.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(lock, lesser)
        pair = (lesser, greater) if from_lesser else (greater, lesser)
        moving = _straight(world, holder, pair, 1)
        await world.wait_until_blocked(1)
        assert await connection.execute(lock, greater) == "SELECT 1"
        await transaction.rollback()
        assert await moving > 0
    finally:
        await connection.close()


async def test_transfers_that_race_for_the_last_money_never_take_it_twice(world: SignedWorld) -> None:
    """The balance is read, then taken: whoever comes second is refused by the balance itself."""
    holder, first, _ = await _two_wallets(world)
    others = [(await world.create(holder.identity)).wallet_id for _ in range(2)]
    connection = await world.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT FROM balance WHERE wallet_id = $1::uuid FOR UPDATE", first.wallet_id)
        racing = [_straight(world, holder, (first.wallet_id, other), 5_000_000) for other in others]
        await world.wait_until_blocked(2)
        await transaction.rollback()
        outcomes = await asyncio.gather(*racing, return_exceptions=True)
    finally:
        await connection.close()

    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, SealgateError)]
    assert refused.code is Code.INSUFFICIENT_BALANCE
    assert await world.units_of(first.wallet_id) == 0
    assert sum([await world.units_of(other) for other in others]) == 5_000_000
    assert await world.broken_rules() == []


async def test_wallet_that_money_is_on_its_way_to_is_not_deleted(world: SignedWorld) -> None:
    """A deletion waits for the transfer and then finds the money."""
    holder, first, second = await _two_wallets(world)
    connection = await world.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT FROM balance WHERE wallet_id = $1::uuid FOR UPDATE", first.wallet_id)
        moving = asyncio.create_task(world.transfer(holder, first, second))
        await world.wait_until_blocked(1)
        deleting = asyncio.create_task(code_of(world.delete(holder.identity, second.wallet_id)))
        await world.wait_until_blocked(2)
        await transaction.rollback()
        answer: signed_pb2.SubmitTransferFundsResponse = await moving
        assert answer.status == "request_completed"
        assert await deleting is Code.WALLET_NOT_EMPTY
    finally:
        await connection.close()

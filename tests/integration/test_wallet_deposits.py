"""Deposits: once per reference, whole or not at all, and what a wallet shows of them."""

from __future__ import annotations

import asyncio
import uuid
from typing import cast

import pytest

from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import operator_pb2, wallet_pb2
from services.wallet.domain.audit import Act, ActorKind
from services.wallet.domain.deposit import Deposit
from services.wallet.storage import DepositStorage
from tests.integration.wallet_support import WalletWorld, code_of, open_wallet, patiently, refusal


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> WalletWorld:
    """The service on a fresh database, with a test asset beside USDC."""
    world = await open_wallet(database_factory, clock, ids)
    await world.administer("INSERT INTO asset (code, scale, class) VALUES ('PLAY', 18, 'TEST')")
    await world.administer("INSERT INTO asset (code, scale, class) VALUES ('123456789', 6, 'OUTCOME')")
    return world


async def test_deposit_credits_the_wallet_and_debits_the_rail(world: WalletWorld) -> None:
    """Double entry: what the wallet has more, the rail's system wallet has less."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    booking = await world.deposit(wallet_id, "12.345")

    assert (booking.posted_after, booking.replayed) == ("12.345000", False)
    assert booking.created_at.ToNanoseconds() == world.clock.now_ns()
    legs = await world.administer(
        "SELECT wallet.kind, amount::bigint, posted_after::bigint FROM entry JOIN wallet USING (wallet_id)"
        " WHERE txn_seq = $1 ORDER BY amount",
        booking.txn_seq,
    )
    assert [tuple(leg) for leg in legs] == [("RAIL", -12345000, -12345000), ("ACCOUNT", 12345000, 12345000)]
    assert await world.broken_rules() == []


async def test_deposit_writes_who_did_it(world: WalletWorld) -> None:
    """Ledger and audit name the operator's request; a repetition writes neither."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    for _ in range(2):
        await world.deposit(wallet_id)

    (row,) = await world.administer("SELECT * FROM audit")
    (txn,) = await world.administer("SELECT * FROM txn")
    assert (row["action"], row["subject"]) == ("DEPOSIT_RECORDED", wallet_id)
    assert (row["actor_kind"], row["account_id"]) == ("OPERATOR", caller.account_id)
    assert (row["project_id"], row["at_ns"]) == (caller.project_id, world.clock.now_ns())
    assert row["request_id"] == txn["request_id"]
    assert (txn["kind"], txn["actor_kind"], txn["actor_id"]) == ("DEPOSIT", "OPERATOR", "operator")


async def test_deposit_repeated_answers_the_first_booking(world: WalletWorld) -> None:
    """The same facts again, however written, later, and after others: the first answer, and no effect."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)
    first = await world.deposit(wallet_id, "5", "ref-1")
    await world.deposit(wallet_id, "2", "ref-2")
    world.clock.advance(seconds=60)

    again = await world.deposit(wallet_id, "5.000000", "ref-1")

    assert again.replayed
    assert (again.txn_seq, again.posted_after, again.created_at) == (
        first.txn_seq,
        "5.000000",
        first.created_at,
    )
    assert (await world.balance(caller, wallet_id)).balance["USDC"] == "7.000000"


async def test_deposit_repeated_is_answered_after_the_wallet_was_deleted(world: WalletWorld) -> None:
    """What was booked stays booked: the watcher that retries late still learns it."""
    caller = world.caller()
    wallet_id = await world.funded_wallet(caller, "5")
    await world.administer("UPDATE wallet SET deleted_at_ns = 1 WHERE kind = 'ACCOUNT'")

    again = await world.deposit(wallet_id, "5", f"funding of {wallet_id}")

    assert again.replayed
    assert await code_of(world.deposit(wallet_id, "5", "new")) is Code.WALLET_NOT_FOUND


@pytest.mark.parametrize("other", ["amount", "wallet", "asset"])
async def test_deposit_conflicts_when_the_reference_was_booked_with_other_facts(
    world: WalletWorld, other: str
) -> None:
    """One reference is one deposit: another amount, wallet or asset is a mistake and moves nothing."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)
    second_id = (await world.create(caller)).wallet_id
    await world.deposit(wallet_id, "5")

    conflicting = world.deposit(
        second_id if other == "wallet" else wallet_id,
        "6" if other == "amount" else "5",
        asset="PLAY" if other == "asset" else "USDC",
    )

    assert await code_of(conflicting) is Code.DEPOSIT_CONFLICT
    assert len(await world.administer("SELECT FROM txn")) == 1
    assert await world.broken_rules() == []


async def test_deposit_reference_counts_per_rail(world: WalletWorld) -> None:
    """Two rails may use the same reference for different deposits."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    await world.deposit(wallet_id, "1", rail="embedded")
    await world.deposit(wallet_id, "2", rail="bank-2")

    assert (await world.balance(caller, wallet_id)).balance["USDC"] == "3.000000"
    names = await world.administer("SELECT name FROM wallet WHERE kind = 'RAIL' ORDER BY name")
    assert [row["name"].split("/")[:2] for row in names] == [["rail", "bank-2"], ["rail", "embedded"]]


async def test_deposit_has_one_effect_when_fifty_repeat_it_at_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Exactly one of them books, all get its booking."""
    world = await open_wallet(database_factory, clock, ids, pool_size_count=10)
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    answers = await asyncio.gather(*(patiently(lambda: world.deposit(wallet_id)) for _ in range(50)))

    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 49
    assert {(answer.txn_seq, answer.posted_after) for answer in answers} == {(answers[0].txn_seq, "5.000000")}
    assert (await world.balance(caller, wallet_id)).balance["USDC"] == "5.000000"
    assert await world.broken_rules() == []


async def test_deposits_at_once_all_count_and_none_deadlocks(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Two hundred deposits by ten callers, over three wallets and the rail's sixteen."""
    world = await open_wallet(database_factory, clock, ids, pool_size_count=10)
    caller = world.caller()
    await world.list_wallets(caller)
    wallet_ids = [(await world.create(caller)).wallet_id for _ in range(3)]

    async def keep_depositing(caller_number: int) -> None:
        for number in range(caller_number, 200, 10):
            await world.deposit(wallet_ids[number % 3], "1", f"ref-{number}")

    await asyncio.gather(*(keep_depositing(caller_number) for caller_number in range(10)))

    held = [(await world.balance(caller, wallet_id)).balance["USDC"] for wallet_id in wallet_ids]
    assert held == ["67.000000", "67.000000", "66.000000"]
    rails = await world.administer("SELECT FROM wallet WHERE kind = 'RAIL'")
    assert len(rails) == 16
    assert await world.broken_rules() == []


async def _raw_deposit(world: WalletWorld, database: Database, wallet_id: str) -> None:
    """Books a deposit of 5 USDC on `database`, which may be one open transaction."""
    storage = DepositStorage(database)
    deposit = Deposit("embedded", "raw", uuid.UUID(wallet_id), await storage.depositable_asset("USDC"), 5)
    act = Act(ActorKind.OPERATOR, "operator", world.ids.uuid7(), world.clock.now_ns())
    await storage.record_deposit(deposit, world.ids.uuid7(), act)


async def test_delete_waits_for_a_deposit_and_then_sees_it(world: WalletWorld) -> None:
    """A deposit that has not committed yet still keeps its wallet from being deleted."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)
    async with world.database.transaction() as tx:
        # A transaction has the same statements as a database; here it holds a deposit open.
        await _raw_deposit(world, cast("Database", tx), wallet_id)
        deletion = asyncio.create_task(code_of(world.delete(caller, wallet_id)))
        await world.wait_until_blocked()

    assert await deletion is Code.WALLET_NOT_EMPTY
    assert await world.broken_rules() == []


async def test_deposit_waits_for_a_deletion_and_then_finds_no_wallet(world: WalletWorld) -> None:
    """No money goes into a wallet that is just being deleted."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)
    async with world.database.transaction() as tx:
        await tx.fetch("SELECT FROM wallet WHERE wallet_id = $1 FOR UPDATE", uuid.UUID(wallet_id))
        await tx.execute("UPDATE wallet SET deleted_at_ns = 1 WHERE wallet_id = $1", uuid.UUID(wallet_id))
        deposit = asyncio.create_task(code_of(world.deposit(wallet_id)))
        await world.wait_until_blocked()

    assert await deposit is Code.WALLET_NOT_FOUND
    assert await world.administer("SELECT FROM entry") == []


async def test_deposit_and_delete_agree_however_they_race(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Thirty wallets, each deposited into and deleted at once: one of the two wins, never both."""
    world = await open_wallet(database_factory, clock, ids, pool_size_count=10)
    caller = world.caller()
    wallet_ids = [(await world.create(caller)).wallet_id for _ in range(30)]

    async def race(caller_number: int) -> None:
        for wallet_id in wallet_ids[caller_number::5]:
            deposited, deleted = await asyncio.gather(
                world.deposit(wallet_id, "1", f"ref-{wallet_id}"),
                world.delete(caller, wallet_id),
                return_exceptions=True,
            )
            if isinstance(deposited, operator_pb2.RecordDepositResponse):
                assert isinstance(deleted, SealgateError)
                assert deleted.code is Code.WALLET_NOT_EMPTY
            else:
                assert isinstance(deposited, SealgateError)
                assert deposited.code is Code.WALLET_NOT_FOUND
                assert deleted is True

    await asyncio.gather(*(race(caller_number) for caller_number in range(5)))

    assert await world.broken_rules() == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"rail": ""}, "rail"),
        ({"rail": "Embedded"}, "rail"),
        ({"rail": "x" * 33}, "rail"),
        ({"external_ref": ""}, "external_ref"),
        ({"external_ref": "a\x00b"}, "external_ref"),
        ({"external_ref": "x" * 129}, "external_ref"),
        ({"external_ref": "ref-1 "}, "external_ref"),
        ({"amount": "0"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "1e3"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1.0000001"}, "amount"),
        ({"amount": "9" * 38}, "amount"),
        ({"amount": "9" * 10_000}, "amount"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
async def test_deposit_refuses_malformed_facts(world: WalletWorld, fields: dict[str, str], path: str) -> None:
    """Wrong shapes are 400 with the path of the field, before anything is written."""
    wallet_id = await world.first_wallet(world.caller())

    error = await refusal(world.deposit(wallet_id, **fields))

    assert error.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in error.details] == [path]
    assert await world.administer("SELECT FROM funding") == []


@pytest.mark.parametrize("asset", ["", "usdc", "NOPE", "US\x00DC", "123456789"])
async def test_deposit_refuses_an_asset_that_cannot_arrive(world: WalletWorld, asset: str) -> None:
    """An unknown code is 404, and so is that of outcome shares, which are only made here."""
    wallet_id = await world.first_wallet(world.caller())

    assert await code_of(world.deposit(wallet_id, asset=asset)) is Code.ASSET_NOT_FOUND


async def test_deposit_refuses_a_wallet_that_is_not_an_accounts(world: WalletWorld) -> None:
    """Unknown, malformed, or the platform's own: no such wallet, and the reference stays free."""
    wallet_id = await world.funded_wallet(world.caller())
    (rail,) = await world.administer("SELECT wallet_id::text FROM wallet WHERE kind = 'RAIL'")

    for wrong in ("", "nonsense", str(uuid.UUID(int=9)), rail["wallet_id"]):
        assert await code_of(world.deposit(wrong)) is Code.WALLET_NOT_FOUND
    assert not (await world.deposit(wallet_id)).replayed


async def test_deposit_refuses_to_take_a_balance_past_its_bound(world: WalletWorld) -> None:
    """The ten largest deposits fit; the next is a 400, moves nothing, and leaves its reference free."""
    wallet_id = await world.first_wallet(world.caller())
    largest = "1" + "0" * 30
    for number in range(10):
        await world.deposit(wallet_id, largest, f"ref-{number}")

    error = await refusal(world.deposit(wallet_id, "0.000001", "one more"))

    assert error.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in error.details] == ["amount"]
    assert await world.administer("SELECT FROM funding WHERE external_ref = 'one more'") == []
    assert await world.broken_rules() == []


async def test_balance_shows_zero_usdc_for_an_untouched_wallet(world: WalletWorld) -> None:
    """Cash is always shown, so that nobody has to guess what absence means."""
    caller = world.caller()
    (wallet,) = await world.list_wallets(caller)

    balance = await world.balance(caller, wallet.wallet_id)

    assert (balance.wallet_id, balance.chain_id) == (wallet.wallet_id, "POL")
    assert balance.address == wallet.chains["POL"].address
    assert dict(balance.balance) == {"USDC": "0.000000"}
    zero = "0.000000"
    assert list(balance.assets) == [
        wallet_pb2.AssetBalance(asset="USDC", total=zero, available=zero, held=zero)
    ]
    assert await world.balances(caller, wallet.wallet_id) == [balance]


async def test_balance_shows_what_is_held_apart_from_what_is_available(world: WalletWorld) -> None:
    """Available is total less held; a test asset is shown once there is some of it."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)
    await world.deposit(wallet_id, "12.345")
    await world.deposit(wallet_id, "0.000000000000000001", "ref-2", asset="PLAY")
    await world.administer("UPDATE balance SET held = 2345000 WHERE floor = 0 AND posted = 12345000")

    balance = await world.balance(caller, wallet_id)

    assert dict(balance.balance) == {"USDC": "10.000000", "PLAY": "0.000000000000000001"}
    assert balance.assets[0] == wallet_pb2.AssetBalance(
        asset="USDC", total="12.345000", available="10.000000", held="2.345000"
    )


async def test_transfers_list_deposits_newest_first(world: WalletWorld) -> None:
    """Each shows what arrived, where, and the rail's own reference."""
    caller = world.caller()
    (wallet,) = await world.list_wallets(caller)
    await world.deposit(wallet.wallet_id, "1", "0xaa")
    world.clock.advance(seconds=1)
    await world.deposit(wallet.wallet_id, "2.5", "0xbb")

    newest, oldest = await world.transfers(caller, wallet.wallet_id)

    assert newest.type == wallet_pb2.TRANSFER_KIND_DEPOSIT
    assert newest.transfer_type == wallet_pb2.TRANSFER_DIRECTION_IN
    assert (newest.asset_id, newest.amount, newest.tx_hash) == ("USDC", "2.500000", "0xbb")
    assert (newest.from_address, newest.to_address) == ("", wallet.chains["POL"].address)
    assert newest.created_at.ToNanoseconds() == world.clock.now_ns()
    assert oldest.tx_hash == "0xaa"


async def test_transfers_come_in_pages(world: WalletWorld) -> None:
    """Limit and offset cut the list; a limit of nothing, or an offset past the end, is an empty page."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)
    for number in range(5):
        await world.deposit(wallet_id, "1", f"ref-{number}")

    async def page(**bounds: int) -> list[str]:
        return [transfer.tx_hash for transfer in await world.transfers(caller, wallet_id, **bounds)]

    assert await page(limit=2) == ["ref-4", "ref-3"]
    assert await page(limit=2, offset=3) == ["ref-1", "ref-0"]
    assert await page(limit=9_223_372_036_854_775_807) == [f"ref-{number}" for number in (4, 3, 2, 1, 0)]
    assert await page(limit=0) == await page(offset=9_223_372_036_854_775_807) == []


@pytest.mark.parametrize("bound", ["limit", "offset"])
async def test_transfers_refuse_a_negative_bound(world: WalletWorld, bound: str) -> None:
    """A page cannot be negative: 400 with its path."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    error = await refusal(world.transfers(caller, wallet_id, **{bound: -1}))

    assert error.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in error.details] == [bound]

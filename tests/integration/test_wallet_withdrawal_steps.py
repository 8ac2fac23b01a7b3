"""The way of a withdrawal: by an operator's hand, or by itself on the embedded rail; paid once."""

from __future__ import annotations

import asyncio
import uuid

import asyncpg
import pytest

from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import signed_body_pb2
from services.wallet.domain.deposit import rail_wallet
from services.wallet.domain.withdrawal import Rail
from services.wallet.storage_withdrawals import WithdrawalStorage, WithdrawalTerms
from tests.integration.wallet_support import TERMS, code_of, patiently, refusal
from tests.integration.withdrawal_support import (
    CONFIRMED,
    FAILED,
    PENDING,
    REJECTED,
    SENT,
    WithdrawalWorld,
    open_withdrawals,
)


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> WithdrawalWorld:
    """The service on a fresh database."""
    return await open_withdrawals(database_factory, clock, ids)


async def test_withdrawal_is_sent_and_then_confirmed_by_the_operator(world: WithdrawalWorld) -> None:
    """Each step shows; only with the last does the money leave, for the rail's wallet."""
    caller, wallet_id = await world.rich("100")
    begun = await world.withdraw(caller, wallet_id, "30")
    world.clock.advance(seconds=1)

    sent = await world.settle(begun.withdrawal_id, SENT, "0xfeed")
    assert (sent.state, sent.tx_hash, sent.created_at) == (SENT, "0xfeed", begun.created_at)
    assert sent.updated_at.ToNanoseconds() == world.clock.now_ns()
    assert await world.holdings(caller, wallet_id) == ("100.000000", "30.000000")
    assert await world.broken_rules() == []

    confirmed = await world.settle(begun.withdrawal_id, CONFIRMED)
    assert (confirmed.state, confirmed.tx_hash) == (CONFIRMED, "0xfeed")
    assert await world.holdings(caller, wallet_id) == ("70.000000", "0.000000")
    assert await world.list_withdrawals(caller, wallet_id) == [confirmed]
    (txn,) = await world.administer("SELECT * FROM txn WHERE kind = 'WITHDRAWAL'")
    assert (txn["actor_kind"], txn["actor_id"]) == ("OPERATOR", "operator")
    assert (await world.actions(caller.account_id))[-2:] == [
        ("WITHDRAWAL_SENT", "OPERATOR", "operator"),
        ("WITHDRAWAL_CONFIRMED", "OPERATOR", "operator"),
    ]
    assert await world.broken_rules() == []


@pytest.mark.parametrize(
    ("steps", "action"),
    [([REJECTED], "REJECTED"), ([FAILED], "FAILED"), ([SENT, FAILED], "FAILED")],
    ids=["rejected", "failed", "failed-after-sent"],
)
async def test_withdrawal_that_comes_to_nothing_gives_its_money_back(
    world: WithdrawalWorld, steps: list[signed_body_pb2.WithdrawalState.ValueType], action: str
) -> None:
    """All of it can be spent again, and nothing was booked."""
    caller, wallet_id = await world.rich("100")
    begun = await world.withdraw(caller, wallet_id, "100")

    for step in steps:
        await world.settle(begun.withdrawal_id, step, "ref" if step == SENT else "")

    assert [one.state for one in await world.list_withdrawals(caller, wallet_id)] == steps[-1:]
    assert await world.holdings(caller, wallet_id) == ("100.000000", "0.000000")
    assert await world.administer("SELECT FROM txn WHERE kind = 'WITHDRAWAL'") == []
    assert (await world.actions(caller.account_id))[-1][0] == f"WITHDRAWAL_{action}"
    assert await world.broken_rules() == []
    await world.withdraw(caller, wallet_id, "100")


async def test_step_repeated_with_the_same_facts_changes_nothing(world: WithdrawalWorld) -> None:
    """Whoever got no answer asks again and is answered as things stand; nothing is paid or noted twice."""
    caller, wallet_id = await world.rich("100")
    begun = await world.withdraw(caller, wallet_id, "30")
    sent = await world.settle(begun.withdrawal_id, SENT, "ref")
    world.clock.advance(seconds=1)
    assert await world.settle(begun.withdrawal_id, SENT, "ref") == sent

    confirmed = await world.settle(begun.withdrawal_id, CONFIRMED)
    world.clock.advance(seconds=1)
    assert await world.settle(begun.withdrawal_id, CONFIRMED) == confirmed
    assert await world.settle(begun.withdrawal_id, SENT, "ref") == confirmed

    assert await world.holdings(caller, wallet_id) == ("70.000000", "0.000000")
    assert [action for action, _, _ in await world.actions(caller.account_id)].count("WITHDRAWAL_SENT") == 1
    assert len(await world.administer("SELECT FROM txn WHERE kind = 'WITHDRAWAL'")) == 1
    assert await world.broken_rules() == []


async def test_step_that_cannot_be_taken_is_a_conflict(world: WithdrawalWorld) -> None:
    """Nothing is confirmed that was not sent, nothing rejected that was, and what has ended stays so."""
    caller, wallet_id = await world.rich("100")
    begun = await world.withdraw(caller, wallet_id, "30")

    assert await code_of(world.settle(begun.withdrawal_id, CONFIRMED)) is Code.WITHDRAWAL_STATE_CONFLICT
    await world.settle(begun.withdrawal_id, SENT, "ref")
    assert await code_of(world.settle(begun.withdrawal_id, REJECTED)) is Code.WITHDRAWAL_STATE_CONFLICT
    assert await code_of(world.settle(begun.withdrawal_id, SENT, "other")) is Code.WITHDRAWAL_STATE_CONFLICT
    await world.settle(begun.withdrawal_id, CONFIRMED)
    for state in (FAILED, REJECTED):
        error = await refusal(world.settle(begun.withdrawal_id, state))
        assert error.code is Code.WITHDRAWAL_STATE_CONFLICT
        assert [detail.message for detail in error.details] == ["the withdrawal is CONFIRMED"]
    assert await world.holdings(caller, wallet_id) == ("70.000000", "0.000000")


async def test_step_of_an_unknown_withdrawal_or_of_no_shape_is_refused(world: WithdrawalWorld) -> None:
    """A withdrawal that is not there is a 404; a step that is none is a 400."""
    caller, wallet_id = await world.rich()
    begun = await world.withdraw(caller, wallet_id)

    for unknown in ("", "nonsense", str(uuid.UUID(int=9))):
        assert await code_of(world.settle(unknown, FAILED)) is Code.WITHDRAWAL_NOT_FOUND
    for state, reference in ((PENDING, ""), (SENT, ""), (FAILED, "ref")):
        asked = world.settle(begun.withdrawal_id, state, reference)
        assert await code_of(asked) is Code.VALIDATION_ERROR


async def test_reference_pays_one_withdrawal(world: WithdrawalWorld) -> None:
    """Another one under the same reference is a conflict and stays where it was."""
    caller, wallet_id = await world.rich("100")
    first = await world.withdraw(caller, wallet_id, "30")
    second = await world.withdraw(caller, wallet_id, "30")
    await world.settle(first.withdrawal_id, SENT, "ref")

    error = await refusal(world.settle(second.withdrawal_id, SENT, "ref"))

    assert error.code is Code.WITHDRAWAL_STATE_CONFLICT
    assert [detail.path for detail in error.details] == ["external_ref"]
    assert {one.state for one in await world.open_withdrawals()} == {PENDING, SENT}


async def test_open_withdrawals_are_listed_oldest_first(world: WithdrawalWorld) -> None:
    """Those of all accounts that are on their way, and none that has ended."""
    caller, wallet_id = await world.rich()
    other, other_wallet_id = await world.rich()
    oldest = await world.withdraw(caller, wallet_id, "1")
    world.clock.advance(seconds=1)
    ended = await world.withdraw(caller, wallet_id, "1")
    world.clock.advance(seconds=1)
    newest = await world.withdraw(other, other_wallet_id, "1")
    await world.settle(ended.withdrawal_id, REJECTED)
    sent = await world.settle(oldest.withdrawal_id, SENT, "ref")

    assert await world.open_withdrawals() == [sent, newest]


async def test_embedded_rail_pays_when_the_delay_is_over(world: WithdrawalWorld) -> None:
    """Not a nanosecond before; then to the end, under the withdrawal's own id, as an act of the rail's."""
    caller, wallet_id = await world.rich("100")
    begun = await world.withdraw(caller, wallet_id, "30")
    world.clock.advance_ns(TERMS.delay_seconds * 10**9 - 1)
    assert await world.withdrawals.pay_by_itself() == 0

    world.clock.advance_ns(1)
    assert await world.withdrawals.pay_by_itself() == 2

    (paid,) = await world.list_withdrawals(caller, wallet_id)
    assert (paid.state, paid.tx_hash) == (CONFIRMED, f"embedded/{begun.withdrawal_id}")
    assert await world.holdings(caller, wallet_id) == ("70.000000", "0.000000")
    assert (await world.actions(caller.account_id))[-2:] == [
        ("WITHDRAWAL_SENT", "RAIL", "embedded"),
        ("WITHDRAWAL_CONFIRMED", "RAIL", "embedded"),
    ]
    assert await world.withdrawals.pay_by_itself() == 0
    assert await world.broken_rules() == []


async def test_embedded_rail_leaves_what_is_rejected_in_time(world: WithdrawalWorld) -> None:
    """The delay is there for that."""
    caller, wallet_id = await world.rich("100")
    begun = await world.withdraw(caller, wallet_id, "30")
    await world.settle(begun.withdrawal_id, REJECTED)
    world.clock.advance(seconds=60)

    assert await world.withdrawals.pay_by_itself() == 0
    assert await world.holdings(caller, wallet_id) == ("100.000000", "0.000000")


async def test_embedded_rail_leaves_the_operators_withdrawals(world: WithdrawalWorld) -> None:
    """A withdrawal stays on the rail that it began on, whatever is configured later."""
    caller, wallet_id = await world.rich("100")
    embedded, terms = world.withdrawals, WithdrawalTerms(Rail.OPERATOR, 0, TERMS.limit_per_day)
    world.withdrawal_api._withdrawals = WithdrawalStorage(world.database, world.clock, world.ids, terms)
    begun = await world.withdraw(caller, wallet_id, "30")
    world.clock.advance(seconds=60)

    assert await embedded.pay_by_itself() == 0
    assert (await world.open_withdrawals())[0] == begun

    await world.settle(begun.withdrawal_id, SENT, "ref")
    assert await embedded.pay_by_itself() == 0
    await world.settle(begun.withdrawal_id, CONFIRMED)
    names = [row["name"] for row in await world.administer("SELECT name FROM wallet WHERE kind = 'RAIL'")]
    assert {name.split("/")[1] for name in names} == {"embedded", "operator"}
    assert await world.broken_rules() == []


async def test_embedded_rail_killed_between_sending_and_paying_pays_once(world: WithdrawalWorld) -> None:
    """What was committed is what the next round goes on from, however often rounds are killed."""
    caller, wallet_id = await world.rich("100")
    begun = await world.withdraw(caller, wallet_id, "30")
    world.clock.advance(seconds=60)
    holder = await world.connect()
    try:
        for _ in range(3):
            async with holder.transaction():
                await holder.execute("SELECT FROM balance FOR UPDATE")
                paying = asyncio.create_task(code_of(world.withdrawals.pay_by_itself()))
                await world.wait_until_blocked()
                await world.administer(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
                )
                assert await paying is Code.UNAVAILABLE
            (row,) = await world.administer("SELECT state, external_ref, txn_seq FROM withdrawal")
            assert tuple(row) == ("SENT", f"embedded/{begun.withdrawal_id}", None)
            assert await world.holdings(caller, wallet_id) == ("100.000000", "30.000000")
            assert await world.broken_rules() == []
    finally:
        await holder.close()

    for _ in range(3):
        await patiently(world.withdrawals.pay_by_itself)

    assert await world.holdings(caller, wallet_id) == ("70.000000", "0.000000")
    assert len(await world.administer("SELECT FROM txn WHERE kind = 'WITHDRAWAL'")) == 1
    assert await world.broken_rules() == []


async def test_withdrawal_that_cannot_be_paid_holds_up_no_other(world: WithdrawalWorld) -> None:
    """The oldest waits for a wallet that somebody keeps; what comes behind it is paid in the same round."""
    (caller, wallet_id), (other, other_wallet_id) = [await world.rich("100") for _ in range(2)]
    await world.withdraw(caller, wallet_id, "30")
    world.clock.advance(seconds=1)
    await world.withdraw(other, other_wallet_id, "30")
    world.clock.advance(seconds=60)
    holder = await world.connect()
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM balance WHERE wallet_id = $1 FOR UPDATE", uuid.UUID(wallet_id))
            assert await code_of(world.withdrawals.pay_by_itself()) is Code.UNAVAILABLE
            assert await world.holdings(other, other_wallet_id) == ("70.000000", "0.000000")
    finally:
        await holder.close()
    assert await world.withdrawals.pay_by_itself() == 1
    assert await world.holdings(caller, wallet_id) == ("70.000000", "0.000000")
    assert await world.broken_rules() == []


async def test_withdrawal_that_the_database_refuses_to_pay_holds_up_no_other(world: WithdrawalWorld) -> None:
    """A rule that only its row breaks stays broken in every round; the failure is told, as it is."""
    (caller, wallet_id), (other, other_wallet_id) = [await world.rich("100") for _ in range(2)]
    begun = await world.withdraw(caller, wallet_id, "30")
    world.clock.advance(seconds=1)
    await world.withdraw(other, other_wallet_id, "30")
    world.clock.advance(seconds=60)
    await world.administer(
        "ALTER TABLE withdrawal ADD CONSTRAINT unpayable"
        f" CHECK (withdrawal_id <> '{begun.withdrawal_id}' OR state = 'PENDING')"
    )

    with pytest.raises(asyncpg.CheckViolationError):
        await world.withdrawals.pay_by_itself()

    assert await world.holdings(other, other_wallet_id) == ("70.000000", "0.000000")
    assert await world.holdings(caller, wallet_id) == ("100.000000", "30.000000")


async def test_embedded_rails_of_several_replicas_pay_each_withdrawal_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Ten rounds at once over twenty withdrawals of four accounts."""
    world = await open_withdrawals(database_factory, clock, ids, pool_size_count=10)
    accounts = [await world.rich("100") for _ in range(4)]
    for caller, wallet_id in accounts:
        for _ in range(5):
            await world.withdraw(caller, wallet_id, "7")
    world.clock.advance(seconds=60)

    taken = await asyncio.gather(*(patiently(world.withdrawals.pay_by_itself) for _ in range(10)))
    await world.withdrawals.pay_by_itself()

    assert sum(taken) <= 40
    for caller, wallet_id in accounts:
        assert await world.holdings(caller, wallet_id) == ("65.000000", "0.000000")
    assert len(await world.administer("SELECT FROM txn WHERE kind = 'WITHDRAWAL'")) == 20
    assert await world.open_withdrawals() == []
    assert await world.broken_rules() == []


async def test_embedded_rail_does_not_wait_for_what_somebody_else_moves_on(world: WithdrawalWorld) -> None:
    """It passes by and takes the next."""
    caller, wallet_id = await world.rich("100")
    first = await world.withdraw(caller, wallet_id, "1")
    await world.withdraw(caller, wallet_id, "2")
    world.clock.advance(seconds=60)
    holder = await world.connect()
    try:
        async with holder.transaction():
            await holder.execute(
                "SELECT FROM withdrawal WHERE withdrawal_id = $1 FOR UPDATE", uuid.UUID(first.withdrawal_id)
            )
            assert await world.withdrawals.pay_by_itself() == 2
    finally:
        await holder.close()
    assert [one.withdrawal_id for one in await world.open_withdrawals()] == [first.withdrawal_id]


async def test_payment_locks_the_balance_of_the_lesser_wallet_id_first(world: WithdrawalWorld) -> None:
    """As all that moves money does; so a deposit over the same rail never holds what it needs."""
    caller, wallet_id = await world.rich("100")
    other_id = await world.funded_wallet(world.caller())
    await world.deposit(other_id, "5", "ref")
    begun = await world.withdraw(caller, wallet_id, "30")
    await world.settle(begun.withdrawal_id, SENT, "ref")
    lesser, greater = sorted((uuid.UUID(wallet_id), rail_wallet(TERMS.rail, "ref").wallet_id))
    lock = "SELECT FROM balance WHERE wallet_id = $1 FOR UPDATE NOWAIT"
    connection = await world.connect()
    try:
        transaction = connection.transaction()
        await transaction.start()
        assert await connection.execute(lock, lesser) == "SELECT 1"
        paying = asyncio.create_task(world.settle(begun.withdrawal_id, CONFIRMED))
        await world.wait_until_blocked()
        assert await connection.execute(lock, greater) == "SELECT 1"
        await transaction.rollback()
        assert (await paying).state == CONFIRMED
    finally:
        await connection.close()


async def test_confirmation_and_failure_at_once_end_a_withdrawal_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Ten withdrawals, each confirmed and failed at once: one of the two wins, and the money agrees."""
    world = await open_withdrawals(database_factory, clock, ids, pool_size_count=10)
    caller, wallet_id = await world.rich("100")
    paid_count = 0
    for number in range(10):
        begun = await world.withdraw(caller, wallet_id, "10")
        await world.settle(begun.withdrawal_id, SENT, f"ref-{number}")
        paid, failed = await asyncio.gather(
            world.settle(begun.withdrawal_id, CONFIRMED),
            world.settle(begun.withdrawal_id, FAILED),
            return_exceptions=True,
        )
        (loser,) = [result for result in (paid, failed) if isinstance(result, BaseException)]
        assert isinstance(loser, SealgateError)
        assert loser.code is Code.WITHDRAWAL_STATE_CONFLICT
        paid_count += loser is failed

    assert await world.holdings(caller, wallet_id) == (f"{100 - 10 * paid_count}.000000", "0.000000")
    assert await world.broken_rules() == []

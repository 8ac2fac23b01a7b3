"""What the database enforces of withdrawals by itself, tried as raw SQL, and what the audit sees of them."""
# ruff: noqa: S608 - SQL of tests, put together from constants of this file

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, TypeAlias

import asyncpg
import pytest

from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.wallet_support import ADDRESS_WAIT_SECONDS, AUDITS
from tests.integration.withdrawal_support import (
    CONFIRMED,
    FAILED,
    REJECTED,
    SENT,
    WithdrawalWorld,
    open_withdrawals,
)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STATES: Final = ("PENDING", "SENT", "CONFIRMED", "FAILED", "REJECTED")
# The steps that a withdrawal can take; each is one statement, with what has to change beside it.
STEPS: Final = {
    ("PENDING", "SENT"),
    ("PENDING", "FAILED"),
    ("PENDING", "REJECTED"),
    ("SENT", "CONFIRMED"),
    ("SENT", "FAILED"),
}
WAITING: Final = "0x" + "c3" * 20
REMOVED: Final = "0x" + "d4" * 20


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases) -> AsyncIterator[WithdrawalWorld]:
    """A withdrawal in each state; addresses that are usable, waiting and removed; another account's.

    One for all tests here: none of them leaves anything behind, or it has failed.
    """
    factory, clock = DatabaseFactory(template_databases), FakeClock()
    world = await open_withdrawals(factory, clock, CountingIds(clock))
    caller, wallet_id = await world.rich("100")
    begun = [await world.withdraw(caller, wallet_id, f"{number + 1}") for number in range(5)]
    await world.settle(begun[1].withdrawal_id, SENT, "sent")
    await world.settle(begun[2].withdrawal_id, SENT, "confirmed")
    await world.settle(begun[2].withdrawal_id, CONFIRMED)
    await world.settle(begun[3].withdrawal_id, FAILED)
    await world.settle(begun[4].withdrawal_id, REJECTED)
    await world.add(caller, WAITING)
    await world.add(caller, REMOVED)
    await world.remove(caller, REMOVED)
    stranger = world.caller()
    await world.funded_wallet(stranger)
    await world.add(stranger)
    world.clock.advance(seconds=ADDRESS_WAIT_SECONDS - 1)
    assert await world.broken_rules() == []
    yield world
    await factory.close()


@pytest.fixture(scope="module")
async def service(world: WithdrawalWorld) -> AsyncIterator[Connection]:
    """A connection of the service's role."""
    connection = await world.connect("sealgate_wallet")
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def superuser(world: WithdrawalWorld) -> AsyncIterator[Connection]:
    """A connection that has every right."""
    connection = await world.connect()
    yield connection
    await connection.close()


# A withdrawal of 5 as the service begins one, at {at} to the address that {chosen} says, with its hold.
BEGIN: Final = """
WITH given AS (
    SELECT gen_random_uuid() AS withdrawal_id, destination.*, wallet.wallet_id
      FROM destination
      JOIN wallet ON wallet.account_id {belongs} destination.account_id
     WHERE {chosen}
     LIMIT 1
), kept AS (
    UPDATE balance SET held = held + {held} FROM given WHERE balance.wallet_id = given.wallet_id
), held AS (
    INSERT INTO hold (hold_id, wallet_id, asset_id, purpose, reference, original, remaining, created_at_ns)
    SELECT withdrawal_id, wallet_id, 1, 'WITHDRAWAL', withdrawal_id, {held}, {held}, 1
      FROM given
     WHERE {held} > 0
)
INSERT INTO withdrawal (
    withdrawal_id, account_id, wallet_id, asset_id, amount, destination_id, chain, address, rail,
    external_ref, state, txn_seq, created_at_ns, updated_at_ns
)
SELECT withdrawal_id, account_id, wallet_id, 1, {amount}, destination_id, chain, {address}, {rail},
       {reference}, '{state}', NULL, {at}, {at}
  FROM given
"""


def begin(
    *,
    chosen: str = f"destination.removed_at_ns IS NULL AND destination.address NOT LIKE '{WAITING[:4]}%'",
    belongs: str = "=",
    held: int = 5,
    amount: str = "5",
    address: str = "address",
    rail: str = "'embedded'",
    reference: str = "NULL",
    state: str = "PENDING",
    at: str = "usable_at_ns",
) -> str:
    """A withdrawal in order, but for what the arguments put out of order."""
    return BEGIN.format(
        chosen=chosen,
        belongs=belongs,
        held=held,
        amount=amount,
        address=address,
        rail=rail,
        reference=reference,
        state=state,
        at=at,
    )


REFUSED: Final = {
    "address deleted": ("DELETE FROM destination", "destination_stays"),
    "address truncated": ("TRUNCATE destination CASCADE", "destination_stays"),
    "removed address live again": (
        "UPDATE destination SET removed_at_ns = NULL WHERE removed_at_ns IS NOT NULL",
        "destination_removal_is_final",
    ),
    "address usable earlier": ("UPDATE destination SET usable_at_ns = 1", "destination_facts_are_fixed"),
    "address changed": (
        "UPDATE destination SET address = '0x' || repeat('0', 40) WHERE removed_at_ns IS NULL",
        "destination_facts_are_fixed",
    ),
    "address of another account": (
        "UPDATE destination SET account_id = gen_random_uuid() WHERE removed_at_ns IS NULL",
        "destination_facts_are_fixed",
    ),
    "address live twice": (
        (
            "INSERT INTO destination SELECT gen_random_uuid(), account_id, chain, address, 9, 'X', 'x', 1"
            " FROM destination WHERE removed_at_ns IS NULL"
        ),
        "destination_live_unique",
    ),
    "address without a wait": (
        (
            "INSERT INTO destination VALUES (gen_random_uuid(), gen_random_uuid(), 'POL',"
            " '0x' || repeat('0', 40), 1, 'X', 'x', 2)"
        ),
        "destination_waits",
    ),
    "address in capitals": (
        (
            "INSERT INTO destination VALUES (gen_random_uuid(), gen_random_uuid(), 'POL',"
            " '0x' || repeat('A', 40), 1, 'X', 'x', 1)"
        ),
        "destination_address_shape",
    ),
    "address of no chain": (
        (
            "INSERT INTO destination VALUES (gen_random_uuid(), gen_random_uuid(), 'ETH',"
            " '0x' || repeat('a', 40), 1, 'X', 'x', 1)"
        ),
        "destination_chain_known",
    ),
    "withdrawal deleted": ("DELETE FROM withdrawal", "withdrawal_stays"),
    "withdrawal truncated": ("TRUNCATE withdrawal", "withdrawal_stays"),
    **{
        f"withdrawal's {column} changed": (
            f"UPDATE withdrawal SET {column} = {value} WHERE state = 'PENDING'",
            "withdrawal_facts_are_fixed",
        )
        for column, value in (
            ("account_id", "gen_random_uuid()"),
            ("wallet_id", "gen_random_uuid()"),
            ("asset_id", "2"),
            ("amount", "amount + 1"),
            ("destination_id", "gen_random_uuid()"),
            ("address", "repeat('x', 42)"),
            ("rail", "'other'"),
            ("created_at_ns", "1"),
        )
    },
    "withdrawal begun as sent": (begin(state="SENT", reference="'x'"), "withdrawal_begins_pending"),
    "withdrawal begun as confirmed": (begin(state="CONFIRMED"), "withdrawal_begins_pending"),
    "withdrawal before its address can be used": (
        begin(at="usable_at_ns - 1"),
        "withdrawal_destination_is_usable",
    ),
    "withdrawal to an address that waits": (
        begin(chosen=f"address = '{WAITING}'", at="usable_at_ns - 1"),
        "withdrawal_destination_is_usable",
    ),
    "withdrawal to a removed address": (
        begin(chosen="removed_at_ns IS NOT NULL"),
        "withdrawal_destination_is_usable",
    ),
    "withdrawal out of another account's wallet": (
        begin(belongs="<>"),
        "withdrawal_wallet_is_the_accounts",
    ),
    "withdrawal to an address beside the registered one": (
        begin(address="'0x' || repeat('e', 40)"),
        "withdrawal_destination_is_the_accounts",
    ),
    "withdrawal without a hold": (begin(held=0), "withdrawal_agrees_with_hold"),
    "withdrawal of more than its hold": (begin(held=4), "withdrawal_agrees_with_hold"),
    "withdrawal of nothing": (begin(amount="0"), "withdrawal_amount_positive"),
    "withdrawal over no rail": (begin(rail="''"), "withdrawal_rail_shape"),
    "withdrawal begun with a reference": (begin(reference="'x'"), "withdrawal_reference_fits_state"),
    "withdrawal of more than there is": (
        begin(held=10**12, amount=f"{10**12}"),
        "balance_covers_holds",
    ),
    "two withdrawals of one reference": (
        "UPDATE withdrawal SET state = 'SENT', external_ref = 'sent' WHERE state = 'PENDING'",
        "withdrawal_reference_unique",
    ),
    "withdrawal sent under no reference": (
        "UPDATE withdrawal SET state = 'SENT' WHERE state = 'PENDING'",
        "withdrawal_reference_fits_state",
    ),
    "withdrawal sent under an empty reference": (
        "UPDATE withdrawal SET state = 'SENT', external_ref = '' WHERE state = 'PENDING'",
        "withdrawal_reference_length",
    ),
    "withdrawal that failed under a new reference": (
        "UPDATE withdrawal SET state = 'FAILED', external_ref = 'new' WHERE state = 'SENT'",
        "withdrawal_reference_comes_once",
    ),
    "withdrawal confirmed without a movement": (
        "UPDATE withdrawal SET state = 'CONFIRMED' WHERE state = 'SENT'",
        "withdrawal_confirmed_has_txn",
    ),
    "withdrawal confirmed by another's movement": (
        (
            "UPDATE withdrawal SET state = 'CONFIRMED', txn_seq = paid.txn_seq"
            " FROM withdrawal AS paid WHERE withdrawal.state = 'SENT' AND paid.state = 'CONFIRMED'"
        ),
        "withdrawal_txn_unique",
    ),
    "withdrawal confirmed by a deposit, its hold ended": (
        (
            "WITH ended AS (UPDATE hold SET remaining = 0, ended_at_ns = 1 FROM withdrawal"
            " WHERE hold_id = withdrawal_id AND state = 'SENT'), freed AS (UPDATE balance"
            " SET held = held - amount FROM withdrawal WHERE state = 'SENT'"
            " AND balance.wallet_id = withdrawal.wallet_id)"
            " UPDATE withdrawal SET state = 'CONFIRMED', txn_seq = 1 WHERE state = 'SENT'"
        ),
        "withdrawal_confirmed_has_left",
    ),
    "withdrawal ended and its money still held": (
        "UPDATE withdrawal SET state = 'REJECTED' WHERE state = 'PENDING'",
        "withdrawal_agrees_with_hold",
    ),
    "withdrawal's hold ended while it is on its way": (
        "UPDATE hold SET remaining = 0, ended_at_ns = 1 WHERE remaining > 0",
        "hold_is_of_open_withdrawal",
    ),
    "withdrawal's hold made smaller": (
        "UPDATE hold SET remaining = remaining - 1 WHERE remaining > 1",
        "hold_is_of_open_withdrawal",
    ),
    "hold of no withdrawal": (
        (
            "INSERT INTO hold SELECT wallet_id, wallet_id, 1, 'WITHDRAWAL', wallet_id, 1, 1, 1"
            " FROM wallet WHERE kind = 'ACCOUNT' LIMIT 1"
        ),
        "hold_is_of_open_withdrawal",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_books_refuse_what_would_break_withdrawals(
    world: WithdrawalWorld, superuser: Connection, name: str
) -> None:
    """Nobody can do it, not even a superuser by mistake; the error names the rule."""
    sql, constraint = REFUSED[name]

    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await superuser.execute(sql)

    assert refused.value.constraint_name == constraint
    assert await world.broken_rules() == []


@pytest.mark.parametrize("name", REFUSED)
async def test_service_role_cannot_break_withdrawals(service: Connection, name: str) -> None:
    """The service's role is stopped by its rights where it has none, else by the same rule."""
    sql, constraint = REFUSED[name]

    with pytest.raises(asyncpg.PostgresError) as refused:
        await service.execute(sql)

    if not isinstance(refused.value, asyncpg.InsufficientPrivilegeError):
        assert isinstance(refused.value, asyncpg.IntegrityConstraintViolationError)
        assert refused.value.constraint_name == constraint


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM withdrawal",
        "TRUNCATE withdrawal",
        "UPDATE withdrawal SET amount = 1",
        "UPDATE withdrawal SET address = ''",
        "UPDATE withdrawal SET rail = ''",
        "DELETE FROM destination",
        "TRUNCATE destination CASCADE",
        "UPDATE destination SET usable_at_ns = 1",
        "UPDATE destination SET address = ''",
    ],
)
async def test_service_role_has_no_right_to(service: Connection, sql: str) -> None:
    """What was asked for stays as it was asked for."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(sql)


async def test_withdrawal_as_the_rules_want_it_is_accepted(service: Connection) -> None:
    """The statement that the refused ones are variations of is itself in order."""
    transaction = service.transaction()
    await transaction.start()
    try:
        assert await service.execute(begin()) == "INSERT 0 1"
    finally:
        await transaction.rollback()


async def test_no_withdrawal_begins_out_of_a_deleted_wallet(superuser: Connection) -> None:
    """Whatever is left in it: its owner does not see it any more."""
    transaction = superuser.transaction()
    await transaction.start()
    try:
        await superuser.execute(
            "UPDATE wallet SET deleted_at_ns = 1 WHERE kind = 'ACCOUNT' AND deleted_at_ns IS NULL"
        )
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await superuser.execute(begin())
        assert refused.value.constraint_name == "withdrawal_wallet_is_the_accounts"
    finally:
        await transaction.rollback()


async def test_address_of_a_withdrawal_that_begins_is_not_removed_meanwhile(
    service: Connection, superuser: Connection
) -> None:
    """The database itself keeps a removal waiting until it is known whether the withdrawal stands."""
    removable = "SELECT FROM destination WHERE removed_at_ns IS NULL FOR NO KEY UPDATE SKIP LOCKED"
    before_count = len(await superuser.fetch(removable))
    transaction = service.transaction()
    await transaction.start()
    try:
        await service.execute(begin())
        assert len(await superuser.fetch(removable)) == before_count - 1
    finally:
        await transaction.rollback()
    assert len(await superuser.fetch(removable)) == before_count


@pytest.mark.parametrize("to", STATES)
@pytest.mark.parametrize("at", STATES)
async def test_withdrawal_goes_no_way_but_forward(
    world: WithdrawalWorld, service: Connection, at: str, to: str
) -> None:
    """Every step that is none is refused by the one rule about steps, also that to where it stands."""
    if (at, to) in STEPS:
        return
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await service.execute("UPDATE withdrawal SET state = $2 WHERE state = $1", at, to)
    assert refused.value.constraint_name == "withdrawal_moves_on"
    assert await world.broken_rules() == []


CORRUPTION: Final = {
    "a withdrawal of another amount": (
        "UPDATE withdrawal SET amount = amount + 1 WHERE state = 'CONFIRMED'",
        {"audit_withdrawals_are_paid_once"},
    ),
    "an open withdrawal of another amount": (
        "UPDATE withdrawal SET amount = amount + 1 WHERE state = 'SENT'",
        {"audit_withdrawals_hold_what_they_need"},
    ),
    "a withdrawal lost": (
        "DELETE FROM withdrawal WHERE state = 'CONFIRMED'",
        {"audit_withdrawals_are_paid_once", "audit_withdrawals_hold_what_they_need"},
    ),
    "a withdrawal ended and still held": (
        "UPDATE withdrawal SET state = 'REJECTED' WHERE state = 'PENDING'",
        {"audit_withdrawals_hold_what_they_need"},
    ),
    "a withdrawal confirmed without a movement": (
        "UPDATE withdrawal SET state = 'CONFIRMED', external_ref = 'x', txn_seq = 9 WHERE state = 'FAILED'",
        {"audit_withdrawals_are_paid_once"},
    ),
    "a withdrawal paid over another rail": (
        "UPDATE withdrawal SET rail = 'other' WHERE state = 'CONFIRMED'",
        {"audit_withdrawals_are_paid_once"},
    ),
    "a movement called a withdrawal": (
        "UPDATE txn SET kind = 'WITHDRAWAL' WHERE seq = 1",
        {"audit_withdrawals_are_paid_once", "audit_deposits_are_booked"},
    ),
    "a hold lost": (
        "DELETE FROM hold WHERE remaining = 0",
        {"audit_withdrawals_hold_what_they_need"},
    ),
    "a hold of another wallet": (
        "UPDATE hold SET wallet_id = gen_random_uuid() WHERE remaining = 0",
        {"audit_withdrawals_hold_what_they_need"},
    ),
    "an address that had not waited": (
        "UPDATE destination SET usable_at_ns = usable_at_ns + 1 WHERE address LIKE '0xa1%'",
        {"audit_withdrawals_went_to_usable_addresses"},
    ),
    "an address lost": (
        "DELETE FROM destination",
        {"audit_withdrawals_went_to_usable_addresses"},
    ),
}


@pytest.mark.parametrize("name", CORRUPTION)
async def test_audit_names_the_withdrawal_that_breaks_a_rule(
    world: WithdrawalWorld, superuser: Connection, name: str
) -> None:
    """Each kind of corruption is seen by just the rules that are about it."""
    sql, rules = CORRUPTION[name]
    seen = set()
    transaction = superuser.transaction()
    await transaction.start()
    try:
        # As a bad restore or a bug in the server would: past all triggers.
        await superuser.execute("SET LOCAL session_replication_role = replica")
        assert not (await superuser.execute(sql)).endswith(" 0")
        for rule, statement in AUDITS.items():
            rows = await superuser.fetch(statement)
            assert all(row["subject"] and row["problem"] for row in rows)
            seen |= {rule} if rows else set()
    finally:
        await transaction.rollback()
    assert seen == rules

"""The audit's statements: silent on sound books, and each names the row that breaks its rule."""

from __future__ import annotations

from typing import Final

import pytest

from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.wallet_support import AUDITS, WalletWorld, open_wallet

# Corruption that no statement can cause while the rules are on, and the audits that must see it.
_CORRUPTION: Final = {
    "a leg changed": (
        "UPDATE entry SET amount = amount + 1 WHERE amount > 0",
        {
            "audit_balances_equal_entries",
            "audit_chains_have_no_gap",
            "audit_deposits_are_booked",
            "audit_entries_sum_to_zero",
        },
    ),
    "a balance changed": (
        "UPDATE balance SET posted = posted + 1 WHERE floor = 0",
        {"audit_balances_equal_entries"},
    ),
    "a version lost": (
        "DELETE FROM entry WHERE version = 1",
        {"audit_balances_equal_entries", "audit_chains_have_no_gap", "audit_deposits_are_booked"},
    ),
    "the last version lost": (
        "DELETE FROM entry WHERE version = 2",
        {"audit_balances_equal_entries", "audit_deposits_are_booked"},
    ),
    "all entries lost": (
        "DELETE FROM entry",
        {"audit_balances_equal_entries", "audit_deposits_are_booked"},
    ),
    "a wrong balance on the way": (
        "UPDATE entry SET posted_after = posted_after + 1 WHERE version = 1",
        {"audit_chains_have_no_gap"},
    ),
    "held without a hold": ("UPDATE balance SET held = 1 WHERE floor = 0", {"audit_holds_equal_held"}),
    "a hold without held": (
        """
        INSERT INTO hold
        SELECT wallet_id, wallet_id, asset_id, 'WITHDRAWAL', wallet_id, 1, 1, 1 FROM balance
         WHERE floor = 0
        """,
        {"audit_holds_equal_held", "audit_withdrawals_hold_what_they_need"},
    ),
    "a deposit without its reference": ("DELETE FROM funding", {"audit_deposits_are_booked"}),
    "a reference without its deposit": (
        "UPDATE txn SET kind = 'TRANSFER'",
        {"audit_deposits_are_booked"},
    ),
    "a deposit of another amount": (
        "UPDATE funding SET amount = amount + 1",
        {"audit_deposits_are_booked"},
    ),
    "a deleted wallet with money": (
        "UPDATE wallet SET deleted_at_ns = 1 WHERE kind = 'ACCOUNT'",
        {"audit_deleted_wallets_are_empty"},
    ),
}


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> WalletWorld:
    """One wallet with two deposits over the same of the rail's wallets."""
    world = await open_wallet(database_factory, clock, ids)
    wallet_id = await world.first_wallet(world.caller())
    # Found by trying: the same wallet of the rail.
    for reference in ("ref-0", "ref-36"):
        await world.deposit(wallet_id, "5", reference)
    assert len(await world.administer("SELECT FROM balance")) == 2
    return world


async def test_audit_finds_nothing_in_sound_books(world: WalletWorld) -> None:
    """What the service has booked is sound, and there is an audit for it."""
    assert len(AUDITS) == 18
    assert await world.broken_rules() == []


@pytest.mark.parametrize("name", _CORRUPTION)
async def test_audit_names_the_row_that_breaks_the_books(world: WalletWorld, name: str) -> None:
    """Each kind of corruption is seen by just the audits that are about it."""
    sql, audits = _CORRUPTION[name]
    connection = await world.connect()
    try:
        # As a bad restore or a bug in the server would: past all triggers.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(sql)
    finally:
        await connection.close()

    seen = {}
    for audit, sql in AUDITS.items():
        rows = await world.database.fetch(sql)
        if rows:
            seen[audit] = [(row["subject"], row["problem"]) for row in rows]

    assert set(seen) == audits
    assert all(subject and problem for rows in seen.values() for subject, problem in rows)

"""The audit of trading: silent on sound books, red for each rule whose invariant is broken."""

from __future__ import annotations

from typing import Final

import pytest

from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from services.wallet.app import Breach, audit
from tests.integration.trading_support import BUY, GTD, SELL, TradingWorld, open_trading

# In the last trade one account gets a millionth of the other's, in balances and in entries alike: every
# sum and every chain is still right.
_PAID_BY_ANOTHER: Final = """
WITH last AS (
    SELECT entry.txn_seq, entry.leg, entry.wallet_id, entry.asset_id,
           CASE row_number() OVER (ORDER BY entry.wallet_id) WHEN 1 THEN 1 ELSE -1 END AS slip
      FROM entry
      JOIN wallet ON wallet.wallet_id = entry.wallet_id AND wallet.kind = 'ACCOUNT'
      JOIN asset ON asset.asset_id = entry.asset_id AND asset.code = 'USDC'
     WHERE entry.txn_seq = (SELECT max(seq) FROM txn WHERE kind = 'TRADE')
), moved AS (
    UPDATE balance SET posted = balance.posted + last.slip
      FROM last
     WHERE balance.wallet_id = last.wallet_id AND balance.asset_id = last.asset_id
)
UPDATE entry SET amount = entry.amount + last.slip, posted_after = entry.posted_after + last.slip
  FROM last
 WHERE entry.txn_seq = last.txn_seq AND entry.leg = last.leg
"""

# Corruption that no statement can cause while the rules are on, and the rules that must see it.
_CORRUPTION: Final = {
    "a hold too small": (
        "UPDATE hold SET remaining = remaining - 1 WHERE remaining > 0",
        {"orders_keep_what_they_need", "holds_equal_held"},
    ),
    "a hold of another wallet": (
        """
        UPDATE hold SET wallet_id = (SELECT wallet_id FROM wallet WHERE kind = 'FEES' LIMIT 1)
         WHERE remaining > 0
        """,
        {"orders_keep_what_they_need", "holds_equal_held"},
    ),
    "an order lowered but not its hold": (
        "UPDATE ord SET shares = shares - 10000 WHERE status IN ('OPEN', 'PARTIAL')",
        {"orders_keep_what_they_need"},
    ),
    "a hold without its order": (
        "UPDATE hold SET reference = gen_random_uuid()",
        {"orders_keep_what_they_need"},
    ),
    "a hold after its order's end": (
        "UPDATE ord SET status = 'CANCELED' WHERE status IN ('OPEN', 'PARTIAL')",
        {"orders_keep_what_they_need"},
    ),
    "an order filled more than its fills": (
        "UPDATE ord SET filled = filled + 10000 WHERE status = 'FILLED'",
        {"orders_equal_fills"},
    ),
    "an order worth more than its fills": (
        "UPDATE ord SET notional = notional + 1 WHERE status = 'FILLED'",
        {"orders_equal_fills"},
    ),
    "a fill lost": (
        "DELETE FROM fill WHERE role = 'MAKER'",
        {"orders_equal_fills", "fills_are_paired", "markets_are_backed", "trades_move_what_fills_say"},
    ),
    "a fee that nobody accrued": (
        "UPDATE ord SET fee_accrued = fee_accrued + 20000 WHERE status = 'FILLED'",
        {"orders_equal_fills"},
    ),
    "a match at two prices": (
        "UPDATE fill SET price = price + 1 WHERE role = 'TAKER'",
        {"fills_are_paired"},
    ),
    "a match of unequal shares": (
        "UPDATE fill SET shares = shares + 1 WHERE role = 'TAKER'",
        {"fills_are_paired", "orders_equal_fills", "trades_move_what_fills_say"},
    ),
    "a fill of another wallet": (
        "UPDATE fill SET wallet_id = (SELECT wallet_id FROM wallet WHERE kind = 'FEES' LIMIT 1)",
        {"trades_move_what_fills_say"},
    ),
    "an order of another wallet": (
        """
        UPDATE ord SET wallet_id = (SELECT wallet_id FROM wallet WHERE kind = 'FEES' LIMIT 1)
         WHERE status = 'FILLED'
        """,
        {"trades_move_what_fills_say"},
    ),
    "a trade that one account paid for another": (_PAID_BY_ANOTHER, {"trades_move_what_fills_say"}),
    "an order that outlived its market": (
        "UPDATE market SET status = 'CLOSED'",
        {"closed_markets_have_no_orders"},
    ),
    "collateral that is short": (
        """
        UPDATE balance SET posted = posted - 1 FROM wallet
         WHERE wallet.wallet_id = balance.wallet_id AND wallet.kind = 'MARKET' AND balance.floor = 0
        """,
        {"markets_are_backed", "balances_equal_entries"},
    ),
    "shares that nobody paid for": (
        """
        UPDATE balance SET posted = posted - 1 FROM wallet
         WHERE wallet.wallet_id = balance.wallet_id AND wallet.kind = 'MARKET' AND balance.floor IS NULL
        """,
        {"markets_are_backed", "balances_equal_entries"},
    ),
    "fees that went elsewhere": (
        """
        UPDATE balance SET posted = posted - 1 FROM wallet
         WHERE wallet.wallet_id = balance.wallet_id AND wallet.kind = 'FEES'
        """,
        {"markets_are_backed", "balances_equal_entries"},
    ),
    "a crossed book": (
        "UPDATE ord SET price = 500000 WHERE status IN ('OPEN', 'PARTIAL') AND side = 'BUY'",
        {"books_are_not_crossed", "orders_keep_what_they_need"},
    ),
    "a trade among the transfers": (
        "UPDATE entry SET is_transfer = true WHERE leg = 1",
        {"trades_are_no_transfers"},
    ),
    "shares without a position": ("DELETE FROM position", {"positions_match_shares"}),
    "shares that cost nothing": ("UPDATE position SET cost = 0", {"positions_match_shares"}),
}


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> TradingWorld:
    """A market with fees in which pairs were made and one was undone, and with both sides of a book."""
    world = await open_trading(database_factory, clock, ids)
    market = await world.market(maker_fee_bps=10, taker_fee_bps=50)
    first, second = await world.trader(), await world.trader()
    await world.place(first, market.left_token_id, BUY, "0.45", "10")
    await world.place(second, market.right_token_id, BUY, "0.55", "10")
    await world.place(first, market.left_token_id, SELL, "0.5", "4")
    await world.place(second, market.right_token_id, SELL, "0.5", "4")
    await world.place(first, market.left_token_id, SELL, "0.47", "3")
    await world.place(second, market.left_token_id, BUY, "0.4", "10")
    return world


async def breaches(world: TradingWorld) -> list[Breach]:
    """What the audit finds, run as whoever owns the database."""
    return await audit(world.fresh.dsn_as("sealgate_wallet_owner"))


async def test_audit_finds_nothing_in_sound_books(world: TradingWorld) -> None:
    """What trading has booked is sound, and the world has what each rule is about."""
    assert await breaches(world) == []
    (found,) = await world.administer(
        "SELECT (SELECT count(*) FROM fill) AS fills, (SELECT count(*) FROM position) AS positions,"
        " (SELECT count(*) FROM hold WHERE remaining > 0) AS holds,"
        " (SELECT sum(posted) FROM balance JOIN wallet USING (wallet_id) WHERE kind = 'FEES') AS fees"
    )
    assert (found["fills"], found["positions"], found["holds"], found["fees"] > 0) == (4, 2, 2, True)


@pytest.mark.parametrize("name", _CORRUPTION)
async def test_audit_names_the_row_that_breaks_a_rule(world: TradingWorld, name: str) -> None:
    """Each kind of corruption is seen by just the rules that are about it."""
    sql, rules = _CORRUPTION[name]
    connection = await world.connect()
    try:
        # As a bad restore or a bug in the server would: past all triggers and checks.
        await connection.execute("SET session_replication_role = replica")
        for row in await connection.fetch(
            "SELECT conrelid::regclass AS owner, conname FROM pg_constraint"
            " WHERE contype = 'c' AND connamespace = 'public'::regnamespace AND coninhcount = 0"
        ):
            await connection.execute(f"ALTER TABLE {row['owner']} DROP CONSTRAINT {row['conname']}")
        await connection.execute(sql)
    finally:
        await connection.close()

    found = await breaches(world)

    assert {breach.rule for breach in found} == rules
    assert all(breach.subject and breach.problem for breach in found)


async def test_audit_does_not_take_an_expired_order_for_a_crossed_book(world: TradingWorld) -> None:
    """One that had expired when the other came rests until somebody ends it, and is no breach."""
    market, trader, other = await world.market(), await world.trader(), await world.trader()
    until = world.clock.now_ns() // 1_000_000_000 + 5
    await world.place(trader, market.left_token_id, BUY, "0.4", "5", time_in_force=GTD, expiration=until)
    world.clock.advance(seconds=5)
    resting = await world.place(other, market.right_token_id, BUY, "0.7", "5")
    assert resting.filled == "0.000000"
    assert await breaches(world) == []
    await world.orders.end_expired_orders()
    assert await breaches(world) == []

"""What the database enforces of trading by itself: each forbidden thing is tried and seen refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, TypeAlias

import asyncpg
import pytest

from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.trading_support import BUY, SELL, TradingWorld, open_trading

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# An order like another one, with an id, a place and a client order id of its own.
_COPY_ORDER: Final = """
    INSERT INTO ord (order_id, market_id, seq, wallet_id, account_id, asset_id, outcome, side, type,
                     time_in_force, amount, units, price, shares, filled, notional, fee_accrued,
                     fee_charged, status, client_order_id, expires_at_ns, created_at_ns, updated_at_ns,
                     post_only, request_id, processed_at_ns, replaced_order_id)
    SELECT gen_random_uuid(), market_id, {seq}, wallet_id, account_id, asset_id, outcome, side, {kind},
           {time_in_force}, amount, units, {price}, shares, {filled}, notional, {accrued}, fee_charged,
           {status}, {client_order_id}, {expires}, 1, 1, false, {request}, {processed},
           {replaced}
      FROM ord WHERE status = 'CANCELED'
"""


def order(**changed: str) -> str:
    """A cancelled order that nothing was filled of, but for what is changed."""
    good = {
        "seq": "99",
        "kind": "type",
        "time_in_force": "time_in_force",
        "price": "price",
        "filled": "filled",
        "accrued": "fee_accrued",
        "status": "status",
        "client_order_id": "NULL",
        "expires": "NULL",
        "request": "NULL",
        "processed": "NULL",
        "replaced": "NULL",
    }
    return _COPY_ORDER.format(**good | changed)


_FILL: Final = """
    INSERT INTO fill (order_id, filled_before, wallet_id, txn_seq, number, role, price, shares, notional,
                      fee, created_at_ns)
    SELECT order_id, {before}, {wallet}, txn_seq, 9, role, price, {shares}, {notional}, fee, 1
      FROM fill WHERE role = 'MAKER'
"""


def fill(**changed: str) -> str:
    """A second fill of the resting order, which its row knows nothing of."""
    good = {
        "before": "filled_before + shares",
        "wallet": "wallet_id",
        "shares": "1000000",
        "notional": "price",
    }
    return _FILL.format(**good | changed)


_REQUEST: Final = "'0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001'"


def twice(**changed: str) -> str:
    """Two such orders at once."""
    return f"{order(**changed)}; {order(seq='98', **changed)}"


# What is refused to everybody, and the constraint that says so.
_REFUSED: Final = {
    "event deleted": ("DELETE FROM event", "event_stays"),
    "market deleted": ("DELETE FROM market", "market_stays"),
    "market truncated": ("TRUNCATE market CASCADE", "market_stays"),
    "market opened again": (
        "UPDATE market SET status = 'OPEN' WHERE status = 'CLOSED'",
        "market_closing_is_final",
    ),
    "market of no status": (
        "UPDATE market SET status = 'HALTED' WHERE status = 'OPEN'",
        "market_status_known",
    ),
    "market's number lowered": ("UPDATE market SET seq = seq - 1 WHERE seq > 0", "market_seq_only_rises"),
    "market's volume lowered": (
        "UPDATE market SET volume = volume - 1 WHERE volume > 0",
        "market_seq_only_rises",
    ),
    "market's tick changed": ("UPDATE market SET tick = 500", "market_terms_are_fixed"),
    "market's fees changed": ("UPDATE market SET taker_fee_bps = 0", "market_terms_are_fixed"),
    "market's collateral moved": (
        "UPDATE market SET collateral_wallet_id = fees_wallet_id",
        "market_terms_are_fixed",
    ),
    "market's price out of range": ("UPDATE market SET last_price = 1000000", "market_last_price_range"),
    "order deleted": ("DELETE FROM ord", "ord_stays"),
    "order truncated": ("TRUNCATE ord CASCADE", "ord_stays"),
    "ended order changed": (
        "UPDATE ord SET updated_at_ns = 9 WHERE status = 'FILLED'",
        "ord_terminal_is_frozen",
    ),
    "ended order opened again": (
        "UPDATE ord SET status = 'OPEN' WHERE status = 'CANCELED'",
        "ord_terminal_is_frozen",
    ),
    "order's price changed": ("UPDATE ord SET price = 1000 WHERE status = 'OPEN'", "ord_facts_are_fixed"),
    "order's amount changed": (
        "UPDATE ord SET amount = amount - 1 WHERE status = 'OPEN'",
        "ord_facts_are_fixed",
    ),
    "order given to a request": (
        "UPDATE ord SET request_id = order_id, processed_at_ns = 1 WHERE status = 'OPEN'",
        "ord_facts_are_fixed",
    ),
    "order's shares raised": (
        "UPDATE ord SET shares = shares + 1 WHERE status = 'OPEN'",
        "ord_shares_only_shrink",
    ),
    "order's shares lowered at its end": (
        "UPDATE ord SET shares = shares - 1, status = 'CANCELED' WHERE status = 'OPEN'",
        "ord_shares_only_shrink",
    ),
    "order's shares lowered with a fill": (
        "UPDATE ord SET shares = shares - 1, filled = filled + 1 WHERE status = 'PARTIAL'",
        "ord_shares_only_shrink",
    ),
    "order for less than it got": (
        "UPDATE ord SET shares = filled - 1 WHERE status = 'PARTIAL'",
        "ord_filled_range",
    ),
    "order of a request at no time": (order(request="gen_random_uuid()"), "ord_request_has_its_time"),
    "orders of one request": (twice(request=_REQUEST, processed="1"), "ord_request_unique"),
    "orders in one's stead": (twice(replaced="order_id"), "ord_replaced_once"),
    "order in its own stead": (
        "UPDATE ord SET replaced_order_id = order_id WHERE status = 'OPEN'",
        "ord_facts_are_fixed",
    ),
    "order in nobody's stead": (order(replaced="gen_random_uuid()"), "ord_replaced_exists"),
    "order at a time of no request": (order(processed="1"), "ord_request_has_its_time"),
    "order given away": (
        "UPDATE ord SET wallet_id = gen_random_uuid() WHERE status = 'OPEN'",
        "ord_facts_are_fixed",
    ),
    "order filled less": (
        "UPDATE ord SET filled = filled - 1 WHERE status = 'PARTIAL'",
        "ord_filled_only_grows",
    ),
    "order filled without a fill": (
        "UPDATE ord SET filled = filled + 1 WHERE status = 'PARTIAL'",
        "ord_filled_is_sum_of_fills",
    ),
    "order filled beyond its shares": (
        "UPDATE ord SET filled = shares + 1 WHERE status = 'PARTIAL'",
        "ord_filled_range",
    ),
    "open order that was filled": (
        "UPDATE ord SET status = 'OPEN' WHERE status = 'PARTIAL'",
        "ord_status_fits_filled",
    ),
    "order ended with its hold left": (
        "UPDATE ord SET status = 'CANCELED' WHERE status = 'OPEN'",
        "ord_rests_with_hold",
    ),
    "order expired that never does": (
        "UPDATE ord SET status = 'EXPIRED' WHERE status = 'OPEN'",
        "ord_expires_if_good_till_date",
    ),
    "order that rests without a hold": (order(status="'OPEN'"), "ord_rests_with_hold"),
    "order that may not rest": (
        order(status="'OPEN'", time_in_force="'FAK'"),
        "ord_only_waiting_kinds_rest",
    ),
    "market order that waits": (order(kind="'MARKET'"), "ord_time_in_force_fits_type"),
    "limit order without a limit": (order(price="NULL"), "ord_limit_has_price"),
    "order at no price": (order(price="1000000"), "ord_price_range"),
    "order that expires without saying when": (
        order(time_in_force="'GTD'"),
        "ord_expires_if_good_till_date",
    ),
    "order with a fee that it did not accrue": (order(accrued="1"), "ord_fee_is_sum_rounded_up"),
    "order worth nothing that was filled": (order(filled="10000"), "ord_notional_fits_filled"),
    "two orders in one place": (order(seq="seq"), "ord_seq_unique"),
    "two orders of one client order id": (
        order(client_order_id="client_order_id"),
        "ord_client_order_id_unique",
    ),
    "client order id of no shape": (order(client_order_id="'a b'"), "ord_client_order_id_shape"),
    "fill changed": ("UPDATE fill SET price = 1", "fill_is_append_only"),
    "fill deleted": ("DELETE FROM fill", "fill_is_append_only"),
    "fill truncated": ("TRUNCATE fill", "fill_is_append_only"),
    "fill twice": ("INSERT INTO fill SELECT * FROM fill", "fill_pkey"),
    "fill with a gap before it": (fill(before="filled_before + shares + 1"), "fill_continues_chain"),
    "fill of another wallet": (
        fill(wallet="(SELECT wallet_id FROM wallet WHERE kind = 'FEES' LIMIT 1)"),
        "fill_continues_chain",
    ),
    "fill that its order knows nothing of": (fill(), "ord_filled_is_sum_of_fills"),
    "fill of nothing": (fill(shares="0", notional="0"), "fill_shares_positive"),
    "fill that is rounded": (fill(notional="price + 1"), "fill_is_not_rounded"),
    "hold of no order": (
        (
            "INSERT INTO hold SELECT txn_id, wallet_id, asset_id, 'ORDER', txn_id, 1, 1, 1, NULL"
            " FROM balance, gen_random_uuid() AS txn_id WHERE floor = 0 LIMIT 1"
        ),
        "hold_is_of_resting_order",
    ),
    "hold of an order under another id": (
        (
            "INSERT INTO hold"
            " SELECT gen_random_uuid(), wallet_id, asset_id, 'ORDER', gen_random_uuid(), 1, 1, 1"
            " FROM balance WHERE floor = 0 LIMIT 1"
        ),
        "hold_has_its_reference_as_id",
    ),
    "hold ended before its order": (
        "UPDATE hold SET remaining = 0, ended_at_ns = 9 WHERE remaining > 0",
        "hold_is_of_resting_order",
    ),
    "position deleted": ("DELETE FROM position", "position_stays"),
    "position moved": ("UPDATE position SET asset_id = asset_id + 1", "position_identity_is_fixed"),
    "position of a negative cost": ("UPDATE position SET cost = -1", "position_cost_not_negative"),
    "account standing below zero in shares": (
        "UPDATE balance SET floor = NULL WHERE floor = 0",
        "balance_identity_is_fixed",
    ),
    "market wallet deleted": (
        "UPDATE wallet SET deleted_at_ns = 1 WHERE kind = 'MARKET'",
        "wallet_system_is_not_deleted",
    ),
    "audit of an account without a project": (
        (
            "INSERT INTO audit (at_ns, account_id, actor_kind, actor_id, action, subject, request_id)"
            " VALUES (1, gen_random_uuid(), 'OPERATOR', 'o', 'a', 's', gen_random_uuid())"
        ),
        "audit_account_has_project",
    ),
}

# What the service's role has no right to, whether or not a rule would stop it too.
_NO_RIGHT: Final = (
    "INSERT INTO asset (code, scale, class) VALUES ('GOLD', 6, 'CASH')",
    "INSERT INTO asset (code, scale, class) VALUES ('PLAY', 6, 'TEST')",
    "UPDATE asset SET code = 'x'",
    "UPDATE event SET title = 'x'",
    "DELETE FROM event",
    "UPDATE market SET tick = 1",
    "UPDATE market SET question = 'x'",
    "DELETE FROM market",
    "UPDATE ord SET price = 1",
    "UPDATE ord SET client_order_id = NULL",
    "DELETE FROM ord",
    "UPDATE fill SET shares = 1",
    "DELETE FROM fill",
    "TRUNCATE fill",
    "UPDATE position SET wallet_id = NULL",
    "DELETE FROM position",
    "DROP POLICY asset_made_is_an_outcome ON asset",
    "ALTER TABLE asset DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE ord DISABLE TRIGGER ALL",
)


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases) -> AsyncIterator[TradingWorld]:
    """One order open, one partly filled, one filled, one cancelled; one market closed.

    One for all tests here: none of them leaves anything behind, or it has failed.
    """
    factory, clock = DatabaseFactory(template_databases), FakeClock()
    world = await open_trading(factory, clock, CountingIds(clock))
    market, closed = await world.market(maker_fee_bps=10, taker_fee_bps=10), await world.market()
    first, second = await world.trader(), await world.trader()
    await world.place(first, market.left_token_id, BUY, "0.4", "10")
    await world.place(second, market.right_token_id, BUY, "0.6", "4")
    await world.place(second, market.right_token_id, SELL, "0.9", "4")
    ended = await world.place(first, market.left_token_id, BUY, "0.3", "5", client_order_id="mine")
    await world.cancel(first, ended.order_id)
    await world.close(closed.condition_id)
    assert await world.broken_rules() == []
    yield world
    await factory.close()


@pytest.fixture(scope="module")
async def service(world: TradingWorld) -> AsyncIterator[Connection]:
    """A connection of the service's role."""
    connection = await world.connect("sealgate_wallet")
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def superuser(world: TradingWorld) -> AsyncIterator[Connection]:
    """A connection that has every right."""
    connection = await world.connect()
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", _REFUSED)
async def test_books_refuse_what_would_break_trading(
    world: TradingWorld, superuser: Connection, name: str
) -> None:
    """Nobody can do it, not even a superuser by mistake; the error names the rule."""
    sql, constraint = _REFUSED[name]

    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await superuser.execute(sql)

    assert refused.value.constraint_name == constraint
    assert await world.broken_rules() == []


@pytest.mark.parametrize("name", _REFUSED)
async def test_service_role_cannot_break_trading(service: Connection, name: str) -> None:
    """The service's role is stopped by its rights where it has none, else by the same rule."""
    sql, constraint = _REFUSED[name]

    with pytest.raises(asyncpg.PostgresError) as refused:
        await service.execute(sql)

    if not isinstance(refused.value, asyncpg.InsufficientPrivilegeError):
        assert isinstance(refused.value, asyncpg.IntegrityConstraintViolationError)
        assert refused.value.constraint_name == constraint


@pytest.mark.parametrize("sql", _NO_RIGHT)
async def test_service_role_has_no_right_to(service: Connection, sql: str) -> None:
    """What was ordered and traded stays, and no asset is made but a market's tokens."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(sql)


async def test_orders_place_in_the_book_follows_from_its_own_terms(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """In terms of the left outcome, the least first on either side."""
    world = await open_trading(database_factory, clock, ids)
    market = await world.market()
    trader = await world.trader()
    for token, price in (
        (market.left_token_id, "0.4"),
        (market.left_token_id, "0.45"),
        (market.right_token_id, "0.3"),
        (market.right_token_id, "0.2"),
    ):
        await world.place(trader, token, BUY, price, "1")
    rows = await world.administer("SELECT book_side, book_rank FROM ord ORDER BY book_side, book_rank")
    assert [tuple(row) for row in rows] == [
        ("ASK", 700_000),
        ("ASK", 800_000),
        ("BID", -450_000),
        ("BID", -400_000),
    ]

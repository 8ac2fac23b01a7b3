"""Many callers at once: orders, cancellations, deposits and deletions on the same wallets and books."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Final

import pytest

from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import order_pb2
from services.wallet.storage_orders import OrderStorage
from services.wallet.transport.order import OrderServicer
from tests.integration.trading_support import (
    BUY,
    CANCELED,
    FAK,
    FILLED,
    FOK,
    GTD,
    LIMIT,
    MARKET,
    SELL,
    SHARES,
    USDC,
    Trader,
    TradingWorld,
    open_trading,
)
from tests.integration.wallet_support import code_of

CALLERS_COUNT: Final = 200


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> TradingWorld:
    """With as many connections as a service has."""
    return await open_trading(database_factory, clock, ids, pool_size_count=10)


async def outcome(call: Awaitable[object]) -> str:
    """`OK` or the code of the refusal; anything else is a failure of the test."""
    try:
        await call
    except SealgateError as error:
        return f"{error.code} {error.internal}".strip()
    return "OK"


async def outcomes(calls: list[Awaitable[object]]) -> Counter[str]:
    """How often each came, all calls at once."""
    return Counter(await asyncio.gather(*(outcome(call) for call in calls)))


async def test_two_hundred_orders_of_one_wallet_never_spend_a_cent_twice(world: TradingWorld) -> None:
    """As many are placed as there is money for, and the others are refused for want of it."""
    market = await world.market()
    trader = await world.trader("60")

    seen = await outcomes(
        [world.place(trader, market.left_token_id, BUY, "0.4", "1") for _ in range(CALLERS_COUNT)]
    )

    assert seen == {"OK": 150, "INSUFFICIENT_BALANCE": 50}
    assert await world.usdc(trader) == ("60.000000", "0.000000")
    assert await world.book(market.condition_id) == ([("0.400000", "150.000000")], [])
    assert await world.broken_rules() == []


async def test_two_hundred_takers_share_out_one_resting_order(world: TradingWorld) -> None:
    """Every share is sold once: what takers got is what the maker gave."""
    market = await world.market(taker_fee_bps=30, maker_fee_bps=10)
    maker = await world.trader("100")
    takers = [await world.trader("10") for _ in range(10)]
    resting = await world.place(maker, market.left_token_id, BUY, "0.4", "120")

    seen = await outcomes(
        [
            world.order(
                takers[number % len(takers)],
                token_id=market.right_token_id,
                side=BUY,
                price="0.6",
                amount="1",
                time_in_force=FOK,
            )
            for number in range(CALLERS_COUNT)
        ]
    )

    assert seen == {"OK": 120, "ORDER_NOT_FILLED": 80}
    assert (await world.get_order(maker, resting.order_id)).filled == "120.000000"
    held = [one.position.shares for taker in takers for one in await world.positions(taker)]
    assert sum(float(shares) for shares in held) == 120
    assert await world.broken_rules() == []


def _mixed(world: TradingWorld, traders: list[Trader], tokens: list[str], number: int) -> Awaitable[object]:
    """The call of one caller: orders on all sides of all books, and cancellations in between."""
    trader, token = traders[number % len(traders)], tokens[number % len(tokens)]
    price = f"0.{40 + number % 20}"
    match number % 9:
        case 0:
            return world.cancel_all(trader)
        case 1 | 2:
            return world.place(trader, token, SELL, price, "1")
        case 3:
            return world.order(
                trader, token_id=token, side=BUY, type=MARKET, amount="2", units=USDC, time_in_force=FAK
            )
        case _:
            return world.place(trader, token, BUY, price, "2")


async def test_mixed_traffic_over_wallets_and_markets_waits_in_no_ring(world: TradingWorld) -> None:
    """No deadlock and nothing unexpected reaches a caller, and the books are sound."""
    markets = [await world.market(taker_fee_bps=20, maker_fee_bps=5) for _ in range(3)]
    tokens = [token for market in markets for token in (market.left_token_id, market.right_token_id)]
    traders = [await world.trader("40") for _ in range(7)]

    for _ in range(3):
        seen = await outcomes([_mixed(world, traders, tokens, number) for number in range(CALLERS_COUNT)])
        # On a machine that is busy with other things some wait too long for a connection, and hear that.
        assert set(seen) <= {"OK", "INSUFFICIENT_BALANCE", "UNAVAILABLE database: TimeoutError"}
        assert await world.broken_rules() == []
    assert await world.administer("SELECT FROM fill")


async def test_two_processes_take_turns_at_a_book_by_its_lock(world: TradingWorld) -> None:
    """What keeps order within a process knows nothing of the other; the market's row does."""
    market = await world.market(taker_fee_bps=20)
    traders = [await world.trader("40") for _ in range(4)]
    ours = world.order_api
    theirs = OrderServicer(
        world.markets, OrderStorage(world.database, world.clock), world.listings, world.clock, world.ids
    )

    def call(number: int) -> Awaitable[object]:
        trader, token = traders[number % 4], (market.left_token_id, market.right_token_id)[number % 2]
        request = order_pb2.PlaceOrderRequest(
            wallet_id=trader.wallet_id,
            token_id=token,
            side=BUY,
            type=LIMIT,
            units=SHARES,
            price="0.5",
            amount="1",
        )
        servicer = (ours, theirs)[number // 2 % 2]
        return world.call(servicer.PlaceOrder, request, trader.identity)

    assert set(await outcomes([call(number) for number in range(100)])) == {"OK"}
    assert await world.broken_rules() == []


async def test_an_order_is_cancelled_or_filled_and_never_both(world: TradingWorld) -> None:
    """Whoever comes second is refused; the order's end says who was first."""
    market = await world.market()
    maker, taker = await world.trader(), await world.trader()
    orders = [await world.place(maker, market.left_token_id, BUY, "0.4", "1") for _ in range(20)]

    takes = [
        world.order(
            taker, token_id=market.right_token_id, side=BUY, price="0.6", amount="1", time_in_force=FOK
        )
        for _ in orders
    ]
    cancels = [world.cancel(maker, order.order_id) for order in orders]
    results = await asyncio.gather(outcomes(list(takes)), outcomes(list(cancels)))

    statuses = Counter([(await world.get_order(maker, order.order_id)).status for order in orders])
    assert results[1]["OK"] == statuses[CANCELED]
    assert results[0]["OK"] == statuses[FILLED]
    assert results[1]["OK"] + results[0]["OK"] == 20
    assert results[0]["OK"] + results[0]["ORDER_NOT_FILLED"] == 20
    assert results[1]["OK"] + results[1]["ORDER_NOT_OPEN"] == 20
    assert await world.broken_rules() == []


async def test_cancelling_one_order_from_many_callers_ends_it_once(world: TradingWorld) -> None:
    """One is answered, the others find it ended."""
    market = await world.market()
    trader = await world.trader()
    order = await world.place(trader, market.left_token_id, BUY, "0.4", "10")
    seen = await outcomes([world.cancel(trader, order.order_id) for _ in range(20)])
    assert seen == {"OK": 1, "ORDER_NOT_OPEN": 19}
    assert await world.usdc(trader) == ("100.000000", "100.000000")


async def test_closing_a_market_lets_no_order_slip_in(world: TradingWorld) -> None:
    """Beside orders, cancellations and the sweeper: afterwards the book is empty and nothing is held."""
    market = await world.market()
    traders = [await world.trader() for _ in range(5)]
    until = world.clock.now_ns() // 1_000_000_000 + 10
    for trader in traders:
        await world.place(trader, market.left_token_id, BUY, "0.3", "1", time_in_force=GTD, expiration=until)
    world.clock.advance(seconds=10)
    calls: list[Awaitable[object]] = [
        world.place(traders[number % 5], market.left_token_id, BUY, "0.4", "1") for number in range(60)
    ]
    calls.insert(20, world.close(market.condition_id))
    calls.insert(20, world.orders.end_expired_orders())
    calls.insert(30, world.cancel_all(traders[0]))

    seen = await outcomes(calls)

    assert set(seen) <= {"OK", "MARKET_CLOSED"}
    assert not await world.administer("SELECT FROM ord WHERE status IN ('OPEN', 'PARTIAL')")
    assert not await world.administer("SELECT FROM balance WHERE held <> 0")
    assert await world.broken_rules() == []


async def test_deposits_and_orders_of_one_wallet_both_count(world: TradingWorld) -> None:
    """Neither overwrites what the other has just booked."""
    market = await world.market()
    trader, other = await world.trader("10"), await world.trader("100")
    await world.place(other, market.right_token_id, BUY, "0.6", "100")
    calls: list[Awaitable[object]] = []
    for number in range(20):
        calls.append(world.deposit(trader.wallet_id, "1", f"race {number}"))
        calls.append(world.place(trader, market.left_token_id, BUY, "0.4", "1"))

    assert await outcomes(calls) == {"OK": 40}

    assert await world.usdc(trader) == ("22.000000", "22.000000")
    assert await world.broken_rules() == []


async def test_first_deposit_beside_a_sale_into_the_same_new_balance(world: TradingWorld) -> None:
    """A wallet that never had USDC gets it from both sides at once."""
    market = await world.market()
    for number in range(5):
        identity = world.caller()
        trader = Trader(identity, await world.first_wallet(identity))
        await give_shares(world, trader, market.left_token_id)
        buyer = await world.trader()
        await world.place(buyer, market.left_token_id, BUY, "0.5", "1")
        seen = await outcomes(
            [
                world.place(trader, market.left_token_id, SELL, "0.5", "1"),
                world.deposit(trader.wallet_id, "1", f"first {number}"),
            ]
        )
        assert seen == {"OK": 2}
        assert await world.usdc(trader) == ("1.500000", "1.500000")


async def give_shares(world: TradingWorld, trader: Trader, token_id: str) -> None:
    """One share out of the market's own wallet, as nothing that is served does yet."""
    await world.administer(
        """
        WITH token AS (SELECT asset_id FROM asset WHERE code = $2), booked AS (
            INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
            VALUES (nextval('txn_seq'), 'TRANSFER', gen_random_uuid(), 'OPERATOR', 'operator', 1)
            RETURNING seq
        ), leg AS (
            SELECT collateral_wallet_id AS wallet_id, asset_id, -1000000 AS amount, 1 AS number
              FROM market, token WHERE asset_id IN (left_asset_id, right_asset_id)
            UNION ALL
            SELECT $1::uuid, asset_id, 1000000, 2 FROM token
        ), moved AS (
            INSERT INTO balance (wallet_id, asset_id, posted, floor, version)
            SELECT wallet_id, asset_id, amount, CASE number WHEN 2 THEN 0 END, 1 FROM leg
            ON CONFLICT (wallet_id, asset_id)
               DO UPDATE SET posted = balance.posted + excluded.posted, version = balance.version + 1
            RETURNING wallet_id, posted, version
        )
        INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version)
        SELECT seq, number, wallet_id, asset_id, amount, posted, version
          FROM booked, leg JOIN moved USING (wallet_id)
        """,
        trader.wallet_id,
        token_id,
    )


async def test_wallet_is_deleted_or_has_an_order_and_never_both(world: TradingWorld) -> None:
    """An order that waited for the deletion finds no wallet; one that came first has spent its money."""
    market = await world.market()
    for _ in range(10):
        trader = await world.trader("0")
        seen = await outcomes(
            [
                world.delete(trader.identity, trader.wallet_id),
                world.place(trader, market.left_token_id, BUY, "0.4", "1"),
                world.cancel_all(trader),
            ]
        )
        assert set(seen) <= {"OK", "INSUFFICIENT_BALANCE", "WALLET_NOT_FOUND"}
        assert await code_of(world.get(trader.identity, trader.wallet_id)) is Code.WALLET_NOT_FOUND
        rich = await world.trader("1")
        placed, deleted = await asyncio.gather(
            outcome(world.place(rich, market.left_token_id, BUY, "0.4", "1")),
            outcome(world.delete(rich.identity, rich.wallet_id)),
        )
        assert (placed, deleted) == ("OK", "WALLET_NOT_EMPTY")
    assert await world.broken_rules() == []


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "in a shared transaction"])
async def test_order_that_loses_a_deadlock_is_placed_all_the_same(world: TradingWorld, shared: bool) -> None:
    """Somebody who locks in another order costs the caller time and nothing else."""
    market = await world.market()
    trader = await world.trader()

    async def place() -> None:
        if not shared:
            await world.place(trader, market.left_token_id, BUY, "0.4", "10")
            return
        async with world.database.shared_transaction():
            await world.place(trader, market.left_token_id, BUY, "0.4", "10")

    stranger = await world.connect()
    # Postgres ends whoever first notices the ring, a while after his wait began: it is not to be this one.
    await stranger.execute("SET deadlock_timeout = '1h'")
    try:
        async with stranger.transaction():
            await stranger.execute("SELECT FROM balance WHERE wallet_id = $1 FOR UPDATE", trader.wallet_id)
            order = asyncio.create_task(place())
            # It has the market now and waits for the balance; its wait ends the ring.
            await world.wait_until_blocked()
            await stranger.execute("SELECT FROM market FOR UPDATE")
        await order
    finally:
        await stranger.close()

    assert [one.order.filled for one in await world.active(trader)] == ["0.000000"]
    assert await world.usdc(trader) == ("100.000000", "96.000000")
    assert await world.broken_rules() == []

"""How orders end on a real database: cancelled alone or with others, or by their own expiration."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
import pytest

from chassis.errors import Code
from chassis.limits import ORDERS_ENDED_AT_ONCE_COUNT
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import market_pb2
from tests.integration.trading_support import (
    BUY,
    CANCELED,
    EXPIRED,
    GTD,
    OPEN,
    TradingWorld,
    open_trading,
)
from tests.integration.wallet_support import code_of

# The fake clock's start, in Unix seconds.
START: Final = 1_767_225_600


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> TradingWorld:
    return await open_trading(database_factory, clock, ids)


@pytest.fixture
async def market(world: TradingWorld) -> market_pb2.ListedMarket:
    """A market without fees."""
    return await world.market()


async def test_filled_order_is_not_to_be_cancelled(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """It is over, on either side of the fill."""
    maker, taker = await world.trader(), await world.trader()
    resting = await world.place(maker, market.left_token_id, BUY, "0.4", "10")
    coming = await world.place(taker, market.right_token_id, BUY, "0.6", "10")
    assert await code_of(world.cancel(maker, resting.order_id)) is Code.ORDER_NOT_OPEN
    assert await code_of(world.cancel(taker, coming.order_id)) is Code.ORDER_NOT_OPEN


async def test_cancelled_order_gives_back_what_it_held(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """What was filled stays; a second cancellation is refused."""
    maker, taker = await world.trader(), await world.trader()
    order = await world.place(maker, market.left_token_id, BUY, "0.4", "10")
    await world.place(taker, market.right_token_id, BUY, "0.6", "3")
    world.clock.advance(seconds=9)

    assert await world.cancel(maker, order.order_id) == order.order_id

    seen = await world.get_order(maker, order.order_id)
    assert (seen.status, seen.filled, seen.shares) == (CANCELED, "3.000000", "10.000000")
    assert seen.updated_at.seconds == order.created_at.seconds + 9
    assert await world.usdc(maker) == ("98.800000", "98.800000")
    assert await code_of(world.cancel(maker, order.order_id)) is Code.ORDER_NOT_OPEN
    assert await world.broken_rules() == []


async def test_cancelling_all_ends_what_one_wallet_has_open(world: TradingWorld) -> None:
    """Over all markets, oldest first; not another wallet's, and a second time there is none."""
    markets = [await world.market() for _ in range(2)]
    trader, other = await world.trader(), await world.trader()
    orders = []
    for number in range(4):
        world.clock.advance(seconds=1)
        token = markets[number % 2].left_token_id
        orders.append((await world.place(trader, token, BUY, "0.4", "5")).order_id)
    kept = await world.place(other, markets[0].left_token_id, BUY, "0.3", "5")
    await world.cancel(trader, orders[1])

    assert await world.cancel_all(trader) == [orders[0], orders[2], orders[3]]

    assert await world.cancel_all(trader) == []
    assert await world.active(trader) == []
    assert await world.usdc(trader) == ("100.000000", "100.000000")
    assert (await world.get_order(other, kept.order_id)).status == OPEN
    assert await world.broken_rules() == []


async def test_expired_order_is_over_before_anybody_ends_it(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """It shows as EXPIRED since its expiration, is not matched, not in the book and not to be cancelled."""
    trader, taker = await world.trader(), await world.trader()
    order = await world.place(
        trader, market.left_token_id, BUY, "0.4", "10", time_in_force=GTD, expiration=START + 60
    )
    assert (order.status, order.expires_at.seconds) == (OPEN, START + 60)
    world.clock.advance(seconds=60)

    seen = await world.get_order(trader, order.order_id)
    assert (seen.status, seen.updated_at.seconds) == (EXPIRED, START + 60)
    assert [listed.order.status for listed in await world.list_orders(trader)] == [EXPIRED]
    assert await world.active(trader) == []
    assert await world.book(market.condition_id) == ([], [])
    assert await code_of(world.cancel(trader, order.order_id)) is Code.ORDER_NOT_OPEN
    assert await world.cancel_all(trader) == []
    unmatched = await world.place(taker, market.right_token_id, BUY, "0.6", "10")
    assert unmatched.status == OPEN
    assert await world.usdc(trader) == ("100.000000", "96.000000")
    assert await world.broken_rules() == []


async def test_sweeping_ends_expired_orders_and_their_holds(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """Those and no others; what a reader sees of them is what he saw before."""
    trader = await world.trader()
    token = market.left_token_id
    fields = {"time_in_force": GTD, "expiration": START + 60}
    expiring = [await world.place(trader, token, BUY, "0.4", "10", **fields) for _ in range(2)]
    later = await world.place(trader, token, BUY, "0.4", "10", time_in_force=GTD, expiration=START + 90)
    for_good = await world.place(trader, token, BUY, "0.4", "10")
    world.clock.advance(seconds=59)
    assert await world.orders.end_expired_orders() == 0
    world.clock.advance(seconds=11)
    before = [await world.get_order(trader, order.order_id) for order in expiring]

    assert await world.orders.end_expired_orders() == 2

    assert [await world.get_order(trader, order.order_id) for order in expiring] == before
    assert [(order.status, order.updated_at.seconds) for order in before] == [(EXPIRED, START + 60)] * 2
    assert {one.order.order_id for one in await world.active(trader)} == {later.order_id, for_good.order_id}
    assert await world.usdc(trader) == ("100.000000", "92.000000")
    assert await world.orders.end_expired_orders() == 0
    assert await world.broken_rules() == []


async def test_market_that_somebody_keeps_holds_up_no_other(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """What expired in the others gives back what it held, and the failure is told when all were tried."""
    trader, other = await world.trader(), await world.market()
    for listed in (market, other):
        await world.place(
            trader, listed.left_token_id, BUY, "0.4", "10", time_in_force=GTD, expiration=START + 60
        )
    world.clock.advance(seconds=60)
    stranger = await world.connect()
    try:
        async with stranger.transaction():
            await stranger.execute("SELECT FROM market ORDER BY market_id LIMIT 1 FOR UPDATE")
            assert await code_of(world.orders.end_expired_orders()) is Code.UNAVAILABLE
            assert await world.usdc(trader) == ("100.000000", "96.000000")
    finally:
        await stranger.close()
    assert await world.orders.end_expired_orders() == 1


@pytest.mark.parametrize("at_once_count", [1, ORDERS_ENDED_AT_ONCE_COUNT])
async def test_market_whose_orders_the_database_keeps_holds_up_no_other(
    world: TradingWorld,
    market: market_pb2.ListedMarket,
    monkeypatch: pytest.MonkeyPatch,
    at_once_count: int,
) -> None:
    """Not even when its orders are as many as are listed; the failure is told in every round, as it is."""
    monkeypatch.setattr("services.wallet.storage_orders.ORDERS_ENDED_AT_ONCE_COUNT", at_once_count)
    trader, other = await world.trader(), await world.market()
    for listed in (market, other):
        await world.place(
            trader, listed.left_token_id, BUY, "0.4", "10", time_in_force=GTD, expiration=START + 60
        )
    world.clock.advance(seconds=60)
    [(first_id,)] = await world.administer("SELECT min(market_id) FROM market")
    await world.administer(
        f"ALTER TABLE ord ADD CONSTRAINT endless CHECK (market_id <> {first_id} OR status <> 'EXPIRED')"
    )

    with pytest.raises(asyncpg.CheckViolationError):
        await world.orders.end_expired_orders()

    assert await world.usdc(trader) == ("100.000000", "96.000000")


async def test_order_that_had_to_wait_is_matched_as_of_its_turn(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """What expired meanwhile is not filled, and whoever expired meanwhile himself is refused."""
    maker, taker = await world.trader(), await world.trader()
    until = {"time_in_force": GTD, "expiration": START + 60}
    resting = await world.place(maker, market.left_token_id, BUY, "0.4", "10", **until)
    stranger = await world.connect()
    try:
        async with stranger.transaction():
            await stranger.execute("SELECT FROM market FOR UPDATE")
            waiting = asyncio.create_task(world.place(taker, market.right_token_id, BUY, "0.6", "10"))
            late = asyncio.create_task(
                code_of(world.place(maker, market.left_token_id, BUY, "0.3", "10", **until))
            )
            await world.wait_until_blocked()
            world.clock.advance(seconds=60)
            assert (await world.get_order(maker, resting.order_id)).status == EXPIRED
        assert ((await waiting).status, await late) == (OPEN, Code.EXPIRATION_OUT_OF_RANGE)
    finally:
        await stranger.close()
    assert (await world.get_order(maker, resting.order_id)).filled == "0.000000"
    assert await world.broken_rules() == []


async def test_closing_a_market_leaves_expired_orders_expired(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """They were shown so before; only the others are cancelled, and counted."""
    trader = await world.trader()
    expired = await world.place(
        trader, market.left_token_id, BUY, "0.4", "10", time_in_force=GTD, expiration=START + 60
    )
    live = await world.place(trader, market.left_token_id, BUY, "0.4", "10")
    world.clock.advance(seconds=60)
    before = await world.get_order(trader, expired.order_id)
    assert (await world.close(market.condition_id)).canceled_orders_count == 1
    assert await world.get_order(trader, expired.order_id) == before
    assert (await world.get_order(trader, live.order_id)).status == CANCELED
    assert await world.usdc(trader) == ("100.000000", "100.000000")
    assert await world.broken_rules() == []

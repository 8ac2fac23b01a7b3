"""Positions on a real database: what shares cost, what they are worth, and when they are gone."""

from __future__ import annotations

import pytest

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import market_pb2
from tests.integration.trading_support import BUY, SELL, Trader, TradingWorld, open_trading
from tests.integration.wallet_support import code_of


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> TradingWorld:
    return await open_trading(database_factory, clock, ids)


async def match(
    world: TradingWorld, market: market_pb2.ListedMarket, buyer: Trader, price: str, amount: str
) -> None:
    """Lets the buyer have left shares at a price, of a counterpart of his own."""
    other = await world.trader("10000")
    right_price = f"{1 - float(price):.3f}"
    await world.place(other, market.right_token_id, BUY, right_price, amount)
    await world.place(buyer, market.left_token_id, BUY, price, amount)


async def test_position_is_what_shares_cost_and_are_worth(world: TradingWorld) -> None:
    """Average price, value at the last price, and what is gained; fees are in none of it."""
    market = await world.market(taker_fee_bps=100, maker_fee_bps=100)
    trader = await world.trader()
    await match(world, market, trader, "0.4", "10")
    world.clock.advance(seconds=5)
    await match(world, market, trader, "0.6", "5")

    (listed,) = await world.positions(trader)

    position = listed.position
    assert (position.token_id, position.outcome) == (market.left_token_id, "Yes")
    assert (position.shares, position.avg_price, position.initial_value) == (
        "15.000000",
        "0.466667",
        "7.000000",
    )
    assert (position.current_price, position.current_value) == ("0.600000", "9.000000")
    assert (position.amount_pnl, position.percent_pnl) == ("2.000000", "28.57")
    assert not position.redeemable
    assert position.created_at.seconds == market.created_at.seconds
    assert listed.market.condition_id == market.condition_id
    assert listed.event == (await world.get_market(market.condition_id)).event
    assert await world.broken_rules() == []


async def test_selling_takes_the_shares_part_of_the_cost_out(world: TradingWorld) -> None:
    """With the last share the position is gone, and a later one starts from nothing."""
    market = await world.market()
    trader, other = await world.trader(), await world.trader()
    await match(world, market, trader, "0.4", "10")
    await world.place(other, market.left_token_id, BUY, "0.5", "10")
    await world.place(trader, market.left_token_id, SELL, "0.5", "4")
    (listed,) = await world.positions(trader)
    assert (listed.position.shares, listed.position.initial_value) == ("6.000000", "2.400000")
    assert listed.position.avg_price == "0.400000"

    await world.place(trader, market.left_token_id, SELL, "0.5", "6")

    assert await world.positions(trader) == []
    await match(world, market, trader, "0.7", "1")
    (again,) = await world.positions(trader)
    assert (again.position.shares, again.position.initial_value) == ("1.000000", "0.700000")
    assert await world.broken_rules() == []


async def test_positions_are_listed_by_cost_and_page(world: TradingWorld) -> None:
    """Largest first, shares of open orders included, both outcomes of a market apart."""
    first, second = await world.market(question="First?"), await world.market(question="Second?")
    trader, other = await world.trader(), await world.trader()
    await match(world, first, trader, "0.4", "10")
    await match(world, second, trader, "0.6", "50")
    await world.place(other, first.left_token_id, BUY, "0.3", "10")
    await world.place(trader, first.right_token_id, BUY, "0.7", "10")
    await world.place(trader, second.left_token_id, SELL, "0.9", "50")

    listed = await world.positions(trader)

    assert [(one.market.question, one.position.outcome, one.position.initial_value) for one in listed] == [
        ("Second?", "Yes", "30.000000"),
        ("First?", "No", "7.000000"),
        ("First?", "Yes", "4.000000"),
    ]
    prices = [one.position.current_price for one in listed]
    assert prices == ["0.600000", "0.700000", "0.300000"]
    assert listed[2].position.amount_pnl == "-1.000000"
    assert await world.positions(trader, limit=1, offset=1) == listed[1:2]
    assert await world.positions(trader, offset=3) == []
    assert await code_of(world.positions(trader, limit=-1)) is Code.VALIDATION_ERROR


async def test_wallet_with_shares_or_open_orders_alone_cannot_be_deleted(world: TradingWorld) -> None:
    """Without a millionth of USDC that could be spent; when all is gone it can."""
    market = await world.market()
    trader, other = await world.trader("4"), await world.trader()
    order = await world.place(trader, market.left_token_id, BUY, "0.4", "10")
    assert await world.usdc(trader) == ("4.000000", "0.000000")
    assert await code_of(world.delete(trader.identity, trader.wallet_id)) is Code.WALLET_NOT_EMPTY
    await world.place(other, market.right_token_id, BUY, "0.6", "10")
    assert (await world.get_order(trader, order.order_id)).filled == "10.000000"
    assert await world.usdc(trader) == ("0.000000", "0.000000")
    assert await code_of(world.delete(trader.identity, trader.wallet_id)) is Code.WALLET_NOT_EMPTY
    empty = await world.trader("0")
    assert await world.delete(empty.identity, empty.wallet_id)
    assert await code_of(world.positions(empty)) is Code.WALLET_NOT_FOUND
    assert await world.broken_rules() == []

"""Markets: how they are made, what they show, and how they end."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.trading_support import (
    BUY,
    CANCELED,
    SELL,
    TradingWorld,
    details_of,
    open_trading,
    uuid_version,
)
from tests.integration.wallet_support import code_of, refusal

UNKNOWN_CONDITION: Final = "0x" + "0" * 64


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> TradingWorld:
    return await open_trading(database_factory, clock, ids)


async def test_market_has_defaults_for_what_was_not_said(world: TradingWorld) -> None:
    """A question is enough: two outcomes, the usual terms, an event of its own named after it."""
    market = await world.market(question="Will it rain in Zürich?")

    assert re.fullmatch("0x[0-9a-f]{64}", market.condition_id)
    assert uuid_version(market.event_id) == 7
    assert (market.left_outcome, market.right_outcome) == ("Yes", "No")
    assert (market.tick, market.lot, market.min_amount) == ("0.001000", "0.010000", "1.000000")
    assert (market.fees.maker_bps, market.fees.taker_bps, market.decimals) == (0, 0, 6)
    assert (market.left_price, market.right_price, market.volume) == ("0.500000", "0.500000", "0.000000")
    assert (market.active, market.resolved, market.winner_token_id) == (True, False, "")
    assert market.slug == market.event.slug == "will-it-rain-in-zurich"
    assert market.event.title == "Will it rain in Zürich?"
    assert market.event.event_id == market.event_id
    assert (market.event.active, market.event.neg_risk) == (True, False)
    assert not market.HasField("ends_at")
    assert market.created_at.seconds == world.clock.now_ns() // 1_000_000_000
    assert await world.get_market(market.condition_id) == market


async def test_markets_tokens_are_long_numbers_of_their_own(world: TradingWorld) -> None:
    """Each outcome of each market has its own, and it is an asset that nobody can deposit."""
    first, second = await world.market(), await world.market()
    tokens = [first.left_token_id, first.right_token_id, second.left_token_id, second.right_token_id]
    assert len(set(tokens)) == 4
    assert all(re.fullmatch("[0-9]{60,78}", token) for token in tokens)
    trader = await world.trader()
    assert await code_of(world.deposit(trader.wallet_id, asset=tokens[0])) is Code.ASSET_NOT_FOUND


async def test_markets_of_one_event_share_it(world: TradingWorld) -> None:
    """A second market joins; the event then sums up both and is active while one of them is."""
    ends_at = Timestamp(seconds=2_000_000_000)
    first = await world.market(event_title="Weather", tags=["sky", "water"], ends_at=ends_at, outcome="Rain")
    world.clock.advance(seconds=60)
    second = await world.market(event_id=first.event_id, question="Will it snow?", outcome="Snow")

    assert second.event_id == first.event_id
    assert (second.event.title, list(second.event.tags)) == ("Weather", ["sky", "water"])
    assert second.event.ends_at == ends_at
    assert not second.HasField("ends_at")
    assert second.event.updated_at.seconds == second.event.created_at.seconds + 60
    await world.close(first.condition_id)
    assert (await world.get_market(first.condition_id)).event.active
    await world.close(second.condition_id)
    assert not (await world.get_market(first.condition_id)).event.active


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"question": ""}, "question"),
        ({"question": "x" * 257}, "question"),
        ({"question": "a\nb"}, "question"),
        ({"outcome": "x" * 65}, "outcome"),
        ({"description": "x" * 4097}, "description"),
        ({"left_outcome": ""}, "left_outcome"),
        ({"left_outcome": "Up", "right_outcome": "Up"}, "right_outcome"),
        ({"right_outcome": "Yes"}, "right_outcome"),
        ({"event_title": ""}, "event_title"),
        ({"tags": ["x"] * 17}, "tags"),
        ({"tags": ["fine", ""]}, "tags[1]"),
        ({"tick": "0.003"}, "tick"),
        ({"tick": "0.6"}, "tick"),
        ({"tick": "0"}, "tick"),
        ({"tick": "x"}, "tick"),
        ({"lot": "0.0001"}, "lot"),
        ({"lot": "-1"}, "lot"),
        ({"min_amount": "0.005"}, "min_amount"),
        ({"min_amount": "1.001"}, "min_amount"),
        ({"maker_fee_bps": 1001}, "maker_fee_bps"),
        ({"taker_fee_bps": 1001}, "taker_fee_bps"),
        ({"ends_at": Timestamp(seconds=-1)}, "ends_at"),
        ({"ends_at": Timestamp(seconds=1, nanos=-1)}, "ends_at"),
        ({"ends_at": Timestamp(seconds=2**60)}, "ends_at"),
        # A year that RFC 3339 can say, and 64 bits of nanoseconds cannot.
        ({"ends_at": Timestamp(seconds=253_402_300_799)}, "ends_at"),
    ],
    ids=str,
)
async def test_market_is_refused_with_the_field_at_fault(
    world: TradingWorld, fields: dict[str, Any], path: str
) -> None:
    """Texts within their lengths, terms that never need rounding; nothing of a refused one stays."""
    error = await refusal(world.market(**fields))
    assert (error.code, [where for where, _ in details_of(error)]) == (Code.VALIDATION_ERROR, [path])
    assert await world.list_markets() == []


async def test_market_cannot_join_an_event_that_is_not_there(world: TradingWorld) -> None:
    """Unknown and malformed are the same 404; a title or tags are only for a new event."""
    market = await world.market()
    for event_id in ("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000", "nonsense", market.event_id.upper()):
        assert await code_of(world.market(event_id=event_id)) is Code.EVENT_NOT_FOUND
    for more in ({"event_title": "x"}, {"tags": ["x"]}):
        assert await code_of(world.market(event_id=market.event_id, **more)) is Code.VALIDATION_ERROR
    assert len(await world.list_markets()) == 1


@pytest.mark.parametrize("condition_id", [UNKNOWN_CONDITION, "", "0x12", UNKNOWN_CONDITION.upper(), "5"])
async def test_unknown_market_is_not_found(world: TradingWorld, condition_id: str) -> None:
    """What is no condition id answers as one that names nothing, and so does a token's id."""
    assert await code_of(world.get_market(condition_id)) is Code.MARKET_NOT_FOUND
    assert await code_of(world.book(condition_id)) is Code.MARKET_NOT_FOUND
    assert await code_of(world.close(condition_id)) is Code.MARKET_NOT_FOUND


async def test_markets_are_listed_newest_first_by_page(world: TradingWorld) -> None:
    """Limit and offset; past the end is empty, below zero is refused."""
    made = [(await world.market(question=f"Number {number}?")).condition_id for number in range(3)]
    made.reverse()
    assert [market.condition_id for market in await world.list_markets()] == made
    page = await world.list_markets(limit=1, offset=1)
    assert [market.condition_id for market in page] == made[1:2]
    assert await world.list_markets(offset=3) == []
    assert await world.list_markets(limit=0) == []
    assert await code_of(world.list_markets(limit=-1)) is Code.VALIDATION_ERROR
    assert await code_of(world.list_markets(offset=-1)) is Code.VALIDATION_ERROR


async def test_book_adds_up_orders_by_price_in_terms_of_the_left_outcome(world: TradingWorld) -> None:
    """Whoever buys the right outcome at p asks for the left one at 1 - p; best prices come first."""
    market = await world.market()
    trader = await world.trader()
    for token, price, amount in (
        (market.left_token_id, "0.4", "10"),
        (market.left_token_id, "0.41", "5"),
        (market.left_token_id, "0.4", "2.5"),
        (market.right_token_id, "0.3", "4"),
        (market.right_token_id, "0.35", "1"),
    ):
        await world.place(trader, token, BUY, price, amount)

    bids, asks = await world.book(market.condition_id)

    assert bids == [("0.410000", "5.000000"), ("0.400000", "12.500000")]
    assert asks == [("0.650000", "1.000000"), ("0.700000", "4.000000")]
    assert await world.book_seq(market.condition_id) == 5


async def test_books_number_rises_with_each_change(world: TradingWorld) -> None:
    """Placing, filling and cancelling raise it; reading and a refused order do not."""
    market = await world.market()
    maker, taker = await world.trader(), await world.trader()
    seen = [await world.book_seq(market.condition_id)]
    order = await world.place(maker, market.left_token_id, BUY, "0.4", "10")
    seen.append(await world.book_seq(market.condition_id))
    await world.place(taker, market.right_token_id, BUY, "0.6", "5")
    seen.append(await world.book_seq(market.condition_id))
    await world.cancel(maker, order.order_id)
    seen.append(await world.book_seq(market.condition_id))
    assert seen == sorted(set(seen))
    await code_of(world.place(maker, market.left_token_id, BUY, "0.4", "9999"))
    assert await world.book_seq(market.condition_id) == seen[-1]
    assert await world.book(market.condition_id) == ([], [])


async def test_market_shows_the_middle_of_its_book_until_something_is_traded(world: TradingWorld) -> None:
    """Then the last price, its volume, and when that was."""
    market = await world.market()
    maker, taker = await world.trader(), await world.trader()
    await world.place(maker, market.left_token_id, BUY, "0.4", "10")
    assert (await world.get_market(market.condition_id)).left_price == "0.500000"
    await world.place(taker, market.right_token_id, BUY, "0.3", "10")
    assert (await world.get_market(market.condition_id)).left_price == "0.550000"
    world.clock.advance(seconds=7)
    await world.place(maker, market.left_token_id, BUY, "0.7", "2")

    shown = await world.get_market(market.condition_id)

    assert (shown.left_price, shown.right_price) == ("0.700000", "0.300000")
    assert shown.volume == shown.event.volume
    assert shown.updated_at.seconds == market.created_at.seconds + 7


async def test_closing_a_market_cancels_its_orders_and_gives_back_what_was_held(world: TradingWorld) -> None:
    """For good: a second closing cancels none, and nothing can be ordered or quoted any more."""
    market, other = await world.market(), await world.market()
    traders = [await world.trader() for _ in range(3)]
    orders = [
        await world.place(trader, token, BUY, "0.4", "10")
        for trader in traders
        for token in (market.left_token_id, market.right_token_id)
    ]
    kept = await world.place(traders[0], other.left_token_id, BUY, "0.4", "10")
    world.clock.advance(seconds=5)

    closed = await world.close(market.condition_id)

    assert (closed.canceled_orders_count, closed.market.active) == (6, False)
    assert closed.market.updated_at.seconds == market.created_at.seconds + 5
    for trader, order in zip(traders, orders[::2], strict=True):
        seen = await world.get_order(trader, order.order_id)
        assert (seen.status, seen.updated_at.seconds) == (CANCELED, order.updated_at.seconds + 5)
    assert await world.usdc(traders[1]) == ("100.000000", "100.000000")
    assert await world.usdc(traders[0]) == ("100.000000", "96.000000")
    assert (await world.get_order(traders[0], kept.order_id)).status != CANCELED
    assert (await world.close(market.condition_id)).canceled_orders_count == 0
    refused = world.place(traders[0], market.left_token_id, BUY, "0.4", "10")
    assert await code_of(refused) is Code.MARKET_CLOSED
    quoted = world.quote(traders[0], token_id=market.left_token_id, side=SELL, amount="1", units=2)
    assert await code_of(quoted) is Code.MARKET_CLOSED
    assert await world.broken_rules() == []


async def test_making_and_closing_a_market_is_written_down(world: TradingWorld) -> None:
    """Who and when, once each; a market is no account's."""
    market = await world.market()
    await world.close(market.condition_id)
    await world.close(market.condition_id)
    rows = await world.administer("SELECT action, subject, actor_id, account_id FROM audit ORDER BY audit_id")
    assert [tuple(row) for row in rows] == [
        ("MARKET_CREATED", market.condition_id, "operator", None),
        ("MARKET_CLOSED", market.condition_id, "operator", None),
    ]

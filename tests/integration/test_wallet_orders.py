"""Orders on a real database: placed, matched and shown; and what each moves and holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

import pytest

from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import market_pb2
from tests.integration.trading_support import (
    BUY,
    CANCELED,
    FAK,
    FILLED,
    FOK,
    GTC,
    GTD,
    MARKET,
    OPEN,
    PARTIAL,
    SELL,
    SHARES,
    USDC,
    Trader,
    TradingWorld,
    details_of,
    open_trading,
    uuid_version,
)
from tests.integration.wallet_support import code_of, refusal

UNKNOWN_ID: Final = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
# The fake clock's start, in Unix seconds.
START: Final = 1_767_225_600


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> TradingWorld:
    return await open_trading(database_factory, clock, ids, open_orders_count=5)


@pytest.fixture
async def market(world: TradingWorld) -> market_pb2.ListedMarket:
    """A market without fees."""
    return await world.market()


async def shares_for(world: TradingWorld, market: market_pb2.ListedMarket, amount: str) -> Trader:
    """A trader with so many left shares, bought at 0.5, and without open orders."""
    buyer, other = await world.trader(), await world.trader()
    await world.place(other, market.right_token_id, BUY, "0.5", amount)
    await world.place(buyer, market.left_token_id, BUY, "0.5", amount)
    return buyer


async def test_resting_order_holds_what_it_can_cost(world: TradingWorld) -> None:
    """Shares times limit and the worse of the two fees on that; the money stays the wallet's."""
    market = await world.market(maker_fee_bps=50, taker_fee_bps=200)
    trader = await world.trader()

    order = await world.place(trader, market.left_token_id, BUY, "0.4", "10", client_order_id="my-1")

    assert uuid_version(order.order_id) == 7
    assert (order.status, order.filled, order.shares, order.price) == (
        OPEN,
        "0.000000",
        "10.000000",
        "0.400000",
    )
    assert (order.time_in_force, order.units, order.amount) == (GTC, SHARES, "10.000000")
    assert (order.fee, order.client_order_id) == ("0.000000", "my-1")
    assert not order.HasField("expires_at")
    assert await world.usdc(trader) == ("100.000000", "95.920000")
    assert await world.get_order(trader, order.order_id) == order
    assert await world.broken_rules() == []


async def test_two_buyers_make_a_pair_of_shares(world: TradingWorld, market: market_pb2.ListedMarket) -> None:
    """Their money becomes collateral; the later one pays the earlier one's price and no more."""
    first, second = await world.trader(), await world.trader()
    resting = await world.place(first, market.left_token_id, BUY, "0.4", "10")
    coming = await world.place(second, market.right_token_id, BUY, "0.7", "4")

    assert (coming.status, coming.filled) == (FILLED, "4.000000")
    seen = await world.get_order(first, resting.order_id)
    assert (seen.status, seen.filled) == (PARTIAL, "4.000000")
    assert await world.usdc(first) == ("98.400000", "96.000000")
    assert await world.usdc(second) == ("97.600000", "97.600000")
    assert await world.system_balance(f"market/{market.condition_id}") == {
        "USDC": 4_000_000,
        market.left_token_id: -4_000_000,
        market.right_token_id: -4_000_000,
    }
    assert await world.broken_rules() == []


async def test_shares_change_hands_and_two_sellers_turn_theirs_back_into_money(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """After everybody has sold, no share and no collateral is left, and nobody lost a millionth."""
    left, right, third = await world.trader(), await world.trader(), await world.trader()
    await world.place(left, market.left_token_id, BUY, "0.4", "10")
    await world.place(right, market.right_token_id, BUY, "0.6", "10")
    await world.place(third, market.left_token_id, BUY, "0.45", "10")
    sold = await world.place(left, market.left_token_id, SELL, "0.42", "10")
    assert (sold.status, sold.filled) == (FILLED, "10.000000")
    assert await world.usdc(left) == ("100.500000", "100.500000")

    await world.place(right, market.right_token_id, SELL, "0.5", "10")
    await world.place(third, market.left_token_id, SELL, "0.3", "10")

    assert await world.usdc(right) == ("99.000000", "99.000000")
    assert await world.usdc(third) == ("100.500000", "100.500000")
    assert set((await world.system_balance(f"market/{market.condition_id}")).values()) == {0}
    assert await world.broken_rules() == []


async def test_fees_are_charged_to_both_sides_and_kept_by_the_market(world: TradingWorld) -> None:
    """On top of what a buyer pays, out of what a seller gets; rounded up once an order, not once a fill."""
    market = await world.market(maker_fee_bps=10, taker_fee_bps=100, lot="0.001")
    maker = await world.trader()
    takers = [await world.trader() for _ in range(3)]
    resting = await world.place(maker, market.left_token_id, BUY, "0.333", "3.999")
    for taker in takers:
        order = await world.place(taker, market.right_token_id, BUY, "0.667", "1.333")
        assert order.fee == "0.008892"
    # 3 x 1.333 x 0.333 x 10 / 10000 = 0.001331667, rounded up once.
    assert (await world.get_order(maker, resting.order_id)).fee == "0.001332"
    fees = await world.system_balance(f"fees/{market.condition_id}")
    assert fees == {"USDC": 1332 + 3 * 8892}
    assert await world.broken_rules() == []


async def test_price_counts_before_time_and_the_maker_sets_it(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """The best price first, of equal prices the oldest; what is left of the order then rests."""
    makers = [await world.trader() for _ in range(3)]
    for maker, price in zip(makers, ("0.3", "0.35", "0.35"), strict=True):
        await world.place(maker, market.right_token_id, BUY, price, "10")
    taker = await world.trader()

    order = await world.place(taker, market.left_token_id, BUY, "0.66", "25")

    assert (order.status, order.filled) == (PARTIAL, "20.000000")
    filled = [(await world.list_orders(maker))[0].order.filled for maker in makers]
    assert filled == ["0.000000", "10.000000", "10.000000"]
    assert [(trade.price, trade.shares) for trade in await world.trades(taker)] == [
        ("0.650000", "10.000000"),
        ("0.650000", "10.000000"),
    ]
    assert await world.book(market.condition_id) == (
        [("0.660000", "5.000000")],
        [("0.700000", "10.000000")],
    )
    # 20 x 0.65 paid, 5 x 0.66 held.
    assert await world.usdc(taker) == ("87.000000", "83.700000")
    assert await world.broken_rules() == []


async def test_order_reaches_through_more_resting_orders_than_it_needs(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """Read as far as needed and no further, for shares and for money, from either side."""
    for price in ("0.30", "0.31", "0.32", "0.33"):
        await world.place(await world.trader(), market.right_token_id, BUY, price, "2")
    buyer = await world.trader()
    exactly = await world.place(buyer, market.left_token_id, BUY, "0.68", "2.01", time_in_force=FOK)
    assert exactly.status == FILLED
    await world.place(await world.trader(), market.right_token_id, BUY, "0.33", "2")
    for_money = await world.order(
        buyer, token_id=market.left_token_id, side=BUY, type=MARKET, amount="2", units=USDC, time_in_force=FAK
    )
    # 2 x 0.67, and of the next at 0.68 what 0.66 buys in whole lots.
    assert (for_money.filled, for_money.status) == ("2.970000", FILLED)
    assert for_money.shares == for_money.filled
    rest = await world.order(
        buyer,
        token_id=market.left_token_id,
        side=BUY,
        type=MARKET,
        amount="50",
        units=SHARES,
        time_in_force=FAK,
    )
    assert (rest.filled, rest.status) == ("5.020000", CANCELED)
    assert await world.book(market.condition_id) == ([], [])
    assert await world.broken_rules() == []


async def test_market_order_that_cannot_fill_whole_is_refused_and_changes_nothing(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """FOK is the default of MARKET; FAK takes what there is, and of nothing makes a cancelled order."""
    trader, maker = await world.trader(), await world.trader()
    wanted: dict[str, Any] = {
        "token_id": market.left_token_id,
        "side": BUY,
        "type": MARKET,
        "amount": "5",
        "units": SHARES,
    }
    nothing = await world.order(trader, **wanted, time_in_force=FAK)
    assert (nothing.status, nothing.filled, nothing.price) == (CANCELED, "0.000000", "0.000000")
    await world.place(maker, market.right_token_id, BUY, "0.4", "3")
    before = await world.book_seq(market.condition_id)

    error = await refusal(world.order(trader, **wanted))

    assert (error.code, details_of(error)[0][0]) == (Code.ORDER_NOT_FILLED, "amount")
    assert await code_of(world.order(trader, **wanted, time_in_force=FOK)) is Code.ORDER_NOT_FILLED
    assert await world.book_seq(market.condition_id) == before
    assert await world.usdc(trader) == ("100.000000", "100.000000")
    assert len(await world.list_orders(trader)) == 1
    some = await world.order(trader, **wanted, time_in_force=FAK)
    assert (some.status, some.filled, some.price) == (CANCELED, "3.000000", "0.600000")


async def test_order_does_not_trade_with_the_same_account(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """Not with another wallet of the account either: what is left of the order is cancelled."""
    other, trader = await world.trader(), await world.trader()
    second = Trader(trader.identity, (await world.create(trader.identity)).wallet_id)
    await world.deposit(second.wallet_id, "10", "second wallet")
    await world.place(other, market.right_token_id, BUY, "0.4", "2")
    own = await world.place(trader, market.right_token_id, BUY, "0.4", "10")

    order = await world.place(second, market.left_token_id, BUY, "0.6", "5")

    assert (order.status, order.filled) == (CANCELED, "2.000000")
    assert (await world.get_order(trader, own.order_id)).filled == "0.000000"
    assert await world.usdc(second) == ("8.800000", "8.800000")
    assert await world.broken_rules() == []


async def test_order_beyond_the_wallets_means_is_refused_with_what_would_do(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """For USDC and for shares, with what other orders hold taken off."""
    trader = await shares_for(world, market, "10")
    await world.place(trader, market.right_token_id, BUY, "0.1", "50")
    error = await refusal(world.place(trader, market.right_token_id, BUY, "0.5", "200"))
    assert error.code is Code.INSUFFICIENT_BALANCE
    assert details_of(error) == [("amount", "needs 100 USDC, has 90; at most 180 SHARES would do")]
    await world.place(trader, market.left_token_id, SELL, "0.9", "4")
    error = await refusal(world.place(trader, market.left_token_id, SELL, "0.9", "10"))
    assert details_of(error) == [("amount", "needs 10 SHARES, has 6; at most 6 SHARES would do")]
    lowered = await world.place(trader, market.left_token_id, SELL, "0.9", "10", reduce_only=True)
    assert (lowered.shares, lowered.amount) == ("6.000000", "10.000000")
    assert await world.broken_rules() == []


async def test_post_only_order_that_would_be_filled_is_refused(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """With the nearest price at which it would rest; there it does."""
    maker, trader = await world.trader(), await world.trader()
    await world.place(maker, market.right_token_id, BUY, "0.4", "10")
    error = await refusal(world.place(trader, market.left_token_id, BUY, "0.6", "5", post_only=True))
    assert error.code is Code.ORDER_WOULD_CROSS
    assert "0.599" in details_of(error)[0][1]
    resting = await world.place(trader, market.left_token_id, BUY, "0.599", "5", post_only=True)
    assert resting.status == OPEN


async def test_client_order_id_is_used_once_in_a_wallet_for_ever(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """Also after its order has ended and when there is no money left; elsewhere it is free."""
    trader, other = await world.trader("4"), await world.trader()
    first = await world.place(trader, market.left_token_id, BUY, "0.4", "10", client_order_id="once")
    again = world.place(trader, market.left_token_id, BUY, "0.4", "10", client_order_id="once")
    assert await code_of(again) is Code.CLIENT_ORDER_ID_USED
    await world.cancel(trader, first.order_id)
    again = world.place(trader, market.right_token_id, BUY, "0.2", "5", client_order_id="once")
    assert await code_of(again) is Code.CLIENT_ORDER_ID_USED
    await world.place(other, market.left_token_id, BUY, "0.4", "10", client_order_id="once")


async def test_client_order_id_is_used_once_by_two_orders_at_the_same_time(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """One is placed, the other is refused for its id and nothing else."""
    trader = await world.trader("4")

    async def place() -> Code | None:
        try:
            await world.place(trader, market.left_token_id, BUY, "0.4", "10", client_order_id="twin")
        except SealgateError as error:
            return error.code
        return None

    answers = await asyncio.gather(*(place() for _ in range(4)))
    assert Counter(answers) == {None: 1, Code.CLIENT_ORDER_ID_USED: 3}


async def test_wallet_has_so_many_open_orders_at_most(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """Over all markets; what ends at once does not count, and an order that ended makes room."""
    other = await world.market()
    trader, maker = await world.trader(), await world.trader()
    orders = [
        await world.place(trader, token, BUY, "0.1", "1")
        for token in (market.left_token_id, other.left_token_id) * 2
    ]
    orders.append(
        await world.place(
            trader, market.left_token_id, BUY, "0.1", "1", time_in_force=GTD, expiration=START + 60
        )
    )
    full = world.place(trader, other.right_token_id, BUY, "0.1", "1")
    assert await code_of(full) is Code.ORDER_LIMIT_REACHED
    await world.place(maker, market.right_token_id, BUY, "0.5", "1")
    at_once = await world.place(trader, market.left_token_id, BUY, "0.5", "1", time_in_force=FOK)
    assert at_once.status == FILLED
    await world.cancel(trader, orders[0].order_id)
    await world.place(trader, other.right_token_id, BUY, "0.1", "1")
    assert (
        await code_of(world.place(trader, market.left_token_id, BUY, "0.1", "1")) is Code.ORDER_LIMIT_REACHED
    )
    world.clock.advance(seconds=60)
    await world.place(trader, market.left_token_id, BUY, "0.1", "1")


async def test_open_orders_are_counted_exactly_when_many_come_at_once(world: TradingWorld) -> None:
    """Into different markets too: no two count the same room."""
    markets = [await world.market() for _ in range(3)]
    trader = await world.trader()

    async def place(number: int) -> Code | None:
        token = markets[number % 3].left_token_id
        try:
            await world.place(trader, token, BUY, "0.1", "1")
        except SealgateError as error:
            return error.code
        return None

    answers = await asyncio.gather(*(place(number) for number in range(15)))
    assert Counter(answers) == {None: 5, Code.ORDER_LIMIT_REACHED: 10}
    assert len(await world.active(trader)) == 5


async def test_orders_and_trades_are_listed_newest_first_by_page(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """With their event and market; live ones apart from those that have ended."""
    maker, trader = await world.trader(), await world.trader()
    placed = []
    for number in range(3):
        world.clock.advance(seconds=1)
        await world.place(maker, market.right_token_id, BUY, "0.5", "1")
        side_order = await world.place(trader, market.left_token_id, BUY, "0.5", "1")
        resting = await world.place(trader, market.left_token_id, BUY, f"0.1{number}", "2")
        placed += [side_order.order_id, resting.order_id]
    listed = await world.list_orders(trader)

    assert [one.order.order_id for one in listed] == placed[::-1]
    assert {one.venue for one in listed} == {"embedded"}
    assert {(one.market.condition_id, one.event.event_id) for one in listed} == {
        (market.condition_id, market.event_id)
    }
    assert [one.order.order_id for one in await world.active(trader)] == placed[1::2][::-1]
    page = await world.list_orders(trader, limit=2, offset=1)
    assert [one.order.order_id for one in page] == placed[::-1][1:3]
    trades = await world.trades(trader)
    assert [trade.order_id for trade in trades] == placed[::2][::-1]
    assert [(trade.token_id, trade.side, trade.amount) for trade in trades] == [
        (market.left_token_id, BUY, "0.500000")
    ] * 3
    assert await world.trades(trader, limit=1, offset=2) == trades[2:]
    # Trades are no transfers.
    assert len(await world.transfers(trader.identity, trader.wallet_id)) == 1
    assert await world.list_orders(await world.trader("0")) == []
    for call in (world.list_orders, world.active, world.trades):
        assert await code_of(call(trader, limit=-1)) is Code.VALIDATION_ERROR
        assert await call(trader, offset=50) == []


async def test_quote_says_what_a_market_order_comes_to_and_changes_nothing(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """The order then costs just that; a quote asks for no money."""
    for price in ("0.4", "0.3"):
        await world.place(await world.trader(), market.right_token_id, BUY, price, "10")
    poor, trader = await world.trader("0"), await world.trader()
    wanted = {"token_id": market.left_token_id, "side": BUY, "amount": "15", "units": SHARES}
    before = await world.book_seq(market.condition_id)

    quote = await world.quote(poor, **wanted)

    assert (quote.amount, quote.shares) == ("9.500000", "15.000000")
    assert (quote.best_price, quote.average_price) == ("0.600000", "0.633333")
    assert await world.book_seq(market.condition_id) == before
    order = await world.order(trader, **wanted, type=MARKET)
    assert (order.price, order.filled) == (quote.average_price, quote.shares)
    assert await world.usdc(trader) == ("90.500000", "90.500000")


async def test_strangers_wallet_and_order_are_not_found(
    world: TradingWorld, market: market_pb2.ListedMarket
) -> None:
    """Unknown, malformed, another account's: the same two answers, whatever is asked."""
    owner, stranger = await world.trader(), await world.trader()
    order = await world.place(owner, market.left_token_id, BUY, "0.4", "10")
    for wallet_id in (owner.wallet_id, UNKNOWN_ID, "nonsense", owner.wallet_id.upper()):
        thief = Trader(stranger.identity, wallet_id)
        for call in (
            world.place(thief, market.left_token_id, BUY, "0.4", "10"),
            world.quote(thief, token_id=market.left_token_id, side=BUY, amount="1", units=SHARES),
            world.get_order(thief, order.order_id),
            world.cancel(thief, order.order_id),
            world.cancel_all(thief),
            world.list_orders(thief),
            world.active(thief),
            world.trades(thief),
            world.positions(thief),
        ):
            assert await code_of(call) is Code.WALLET_NOT_FOUND
    for order_id in (order.order_id, UNKNOWN_ID, "nonsense", ""):
        assert await code_of(world.get_order(stranger, order_id)) is Code.ORDER_NOT_FOUND
        assert await code_of(world.cancel(stranger, order_id)) is Code.ORDER_NOT_FOUND
    pinned = Trader(world.caller(subaccount_index=1, account_id=owner.identity.account()), owner.wallet_id)
    assert await code_of(world.get_order(pinned, order.order_id)) is Code.WALLET_NOT_FOUND
    assert (await world.get_order(owner, order.order_id)).status == OPEN

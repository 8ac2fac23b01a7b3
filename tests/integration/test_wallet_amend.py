"""Changes of open orders on a real database: who keeps his place, who loses it, and what a refusal leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.signed_orders_support import SignedWorld, details_of, open_signed_trading
from tests.integration.trading_support import BUY, CANCELED, FILLED, GTD, OPEN, PARTIAL, SELL, SHARES, USDC

_INVALID = "order_rejected_invalid"


@pytest.fixture
async def world(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[SignedWorld]:
    """Signed trading, whose books are sound at the end of every test."""
    world = await open_signed_trading(database_factory, clock, ids)
    yield world
    assert await world.broken_rules() == []


async def test_fewer_shares_at_the_same_price_keep_their_place(world: SignedWorld) -> None:
    """The same order is for less, gives back what it need not hold, and is filled before a later one."""
    token = (await world.market()).left_token_id
    early, late, taker = [await world.trader() for _ in range(3)]
    first = await world.sign_order(early, token, BUY, "0.5", "10")
    second = await world.place(late, token, BUY, "0.5", "10")
    world.clock.advance(seconds=1)
    changed = (await world.amend(early, first.order_id, shares="4")).order
    assert changed.order_id == first.order_id
    assert (changed.shares, changed.status, changed.amount) == ("4.000000", OPEN, "10.000000")
    assert (changed.created_at_ns, changed.updated_at_ns) == (first.created_at_ns, world.clock.now_ns())
    assert await world.usdc(early) == ("100.000000", "98.000000")
    await world.place(taker, (await _other_token(world, token)), BUY, "0.5", "5")
    assert (await world.get_order(early, first.order_id)).status == FILLED
    assert (await world.get_order(late, second.order_id)).filled == "1.000000"


@pytest.mark.parametrize("change", [{"shares": "11"}, {"price": "0.6", "shares": "4"}], ids=["more", "price"])
async def test_any_other_change_is_a_new_order_behind_the_others(
    world: SignedWorld, change: dict[str, str]
) -> None:
    """The old order is cancelled, the new one has another id, and stands behind what came in between."""
    token = (await world.market()).left_token_id
    early, late, taker = [await world.trader() for _ in range(3)]
    first = await world.sign_order(early, token, BUY, "0.5", "10")
    second = await world.place(late, token, BUY, change.get("price", "0.5"), "10")
    changed = (await world.amend(early, first.order_id, **change)).order
    assert changed.order_id != first.order_id
    assert (changed.shares, changed.status) == (f"{change['shares']}.000000", OPEN)
    assert (await world.get_order(early, first.order_id)).status == CANCELED
    ask = "0.5" if "price" not in change else "0.4"
    await world.place(taker, await _other_token(world, token), BUY, ask, "5")
    assert (await world.get_order(late, second.order_id)).filled == "5.000000"
    assert (await world.get_order(early, changed.order_id)).filled == "0.000000"


async def test_a_new_order_takes_over_what_the_old_one_lacked_and_its_terms(world: SignedWorld) -> None:
    """Only the rest is ordered anew, with the side, token, time in force and expiration of the old one."""
    token = (await world.market()).left_token_id
    owner, taker = await world.trader(), await world.trader()
    ends = world.clock.now_ns() // 10**9 + 60
    first = await world.sign_order(
        owner, token, BUY, "0.5", "5", units=USDC, time_in_force=GTD, expiration=ends, client_order_id="mine"
    )
    assert first.shares == "10.000000"
    await world.place(taker, await _other_token(world, token), BUY, "0.5", "4")
    changed = (await world.amend(owner, first.order_id, price="0.4")).order
    assert (changed.token_id, changed.side, changed.time_in_force) == (token, BUY, GTD)
    assert (changed.amount, changed.units, changed.shares) == ("6.000000", SHARES, "6.000000")
    assert not changed.HasField("client_order_id")
    old = await world.get_order(owner, first.order_id)
    assert (old.status, old.filled, old.client_order_id) == (CANCELED, "4.000000", "mine")
    new = await world.get_order(owner, changed.order_id)
    assert new.expires_at.seconds == ends
    assert await world.usdc(owner) == ("98.000000", "95.600000")


async def test_a_new_order_meets_the_book_at_once(world: SignedWorld) -> None:
    """A better price trades, and what it holds and pays is as of any order."""
    market = await world.market(taker_fee_bps=100)
    owner, maker = await world.trader(), await world.trader()
    first = await world.sign_order(owner, market.left_token_id, BUY, "0.3", "10")
    await world.place(maker, market.right_token_id, BUY, "0.5", "4")
    changed = (await world.amend(owner, first.order_id, price="0.5")).order
    assert (changed.filled, changed.status, changed.fee) == ("4.000000", PARTIAL, "0.020000")
    assert await world.usdc(owner) == ("97.980000", "94.950000")


async def test_an_order_that_is_partly_filled_can_shrink_to_what_it_got_and_a_lot(world: SignedWorld) -> None:
    """Less than that is refused with the least that would do; that itself is taken."""
    token = (await world.market()).left_token_id
    owner, taker = await world.trader(), await world.trader()
    order = await world.sign_order(owner, token, BUY, "0.5", "10")
    await world.place(taker, await _other_token(world, token), BUY, "0.5", "4")
    for shares in ("3", "4"):
        refused = await world.amend(owner, order.order_id, shares=shares, status=_INVALID)
        [(path, message)] = details_of(refused)
        assert (path, message.split(" to ")[0]) == ("shares", "must be 4.01")
    changed = (await world.amend(owner, order.order_id, shares="4.01")).order
    assert (changed.order_id, changed.status, changed.filled) == (order.order_id, PARTIAL, "4.000000")


async def test_a_refused_new_order_leaves_the_old_one_as_it_was(world: SignedWorld) -> None:
    """Neither its place, its hold nor the market's number changes, and the details say what would do."""
    market = await world.market()
    owner, rival, taker = [await world.trader("10") for _ in range(3)]
    token, other = market.left_token_id, market.right_token_id
    first = await world.sign_order(owner, token, BUY, "0.5", "10", post_only=True)
    await world.place(taker, other, BUY, "0.4", "10")
    second = await world.place(rival, token, BUY, "0.5", "10")
    seq, money = await world.book_seq(market.condition_id), await world.usdc(owner)
    refused = await world.amend(
        owner, first.order_id, shares="30", status="order_rejected_insufficient_balance"
    )
    [(path, message)] = details_of(refused)
    assert (path, message.split("; ")[1]) == ("shares", "at most 20 SHARES would do")
    await world.amend(owner, first.order_id, price="0.6", status="order_rejected_would_cross")
    await world.amend(owner, first.order_id, price="0.5005", status=_INVALID)
    assert (await world.book_seq(market.condition_id), await world.usdc(owner)) == (seq, money)
    await world.place(taker, other, BUY, "0.5", "10")
    assert (await world.get_order(owner, first.order_id)).status == FILLED
    assert (await world.get_order(rival, second.order_id)).status == OPEN


async def test_what_the_old_order_held_pays_for_the_new_one(world: SignedWorld) -> None:
    """An order that took all of a wallet's money can be moved, and be raised to what the money does."""
    token = (await world.market()).left_token_id
    owner = await world.trader("10")
    order = await world.sign_order(owner, token, BUY, "0.5", "20")
    assert await world.usdc(owner) == ("10.000000", "0.000000")
    moved = (await world.amend(owner, order.order_id, price="0.4", shares="25")).order
    assert await world.usdc(owner) == ("10.000000", "0.000000")
    await world.amend(owner, moved.order_id, shares="26", status="order_rejected_insufficient_balance")


async def test_what_funds_lack_is_told_beside_what_was_filled(world: SignedWorld) -> None:
    """`shares` counts what an order got, so the advice says that it comes on top."""
    token = (await world.market()).left_token_id
    owner, taker = await world.trader("10"), await world.trader()
    order = await world.sign_order(owner, token, BUY, "0.5", "20")
    await world.place(taker, await _other_token(world, token), BUY, "0.5", "8")
    refused = await world.amend(
        owner, order.order_id, shares="21", status="order_rejected_insufficient_balance"
    )
    [(_, message)] = details_of(refused)
    assert message.endswith("at most 12 SHARES would do, beside the 8 filled already")


async def test_shares_that_are_sold_move_with_the_order(world: SignedWorld) -> None:
    """A SELL holds shares: fewer of them are free again, at another price all of them are held anew."""
    market = await world.market()
    owner, maker = await world.trader(), await world.trader()
    await world.place(maker, market.right_token_id, BUY, "0.5", "10")
    await world.place(owner, market.left_token_id, BUY, "0.5", "10")
    order = await world.sign_order(owner, market.left_token_id, SELL, "0.7", "10")
    fewer = (await world.amend(owner, order.order_id, shares="6")).order
    assert fewer.order_id == order.order_id
    moved = (await world.amend(owner, order.order_id, price="0.8", shares="10")).order
    assert (moved.shares, moved.status) == ("10.000000", OPEN)
    await world.amend(owner, moved.order_id, shares="11", status="order_rejected_insufficient_balance")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({}, "price"),
        ({"price": "0.5"}, "price"),
        ({"shares": "10"}, "shares"),
        ({"price": "0.5", "shares": "10.0"}, "shares"),
        ({"price": "half"}, "price"),
        ({"shares": "-1"}, "shares"),
        ({"price": "1"}, "price"),
        ({"shares": "9.0000001"}, "shares"),
        ({"shares": "9.000001"}, "shares"),
        ({"shares": "0"}, "shares"),
        ({"price": "0.4", "shares": "1000000000001"}, "shares"),
    ],
)
async def test_a_change_that_is_none_or_that_no_order_could_have_is_refused(
    world: SignedWorld, change: dict[str, str], path: str
) -> None:
    """The detail names the field, and the order stays as it is."""
    token = (await world.market()).left_token_id
    owner = await world.trader()
    order = await world.sign_order(owner, token, BUY, "0.5", "10")
    refused = await world.amend(owner, order.order_id, status=_INVALID, **change)
    assert [detail[0] for detail in details_of(refused)] == [path]
    assert (await world.get_order(owner, order.order_id)).shares == "10.000000"


async def test_only_an_open_order_of_the_wallet_can_be_changed(world: SignedWorld) -> None:
    """What was filled, cancelled or has expired is not open; another wallet's is not there."""
    market = await world.market()
    token = market.left_token_id
    owner, other = await world.trader(), await world.trader()
    ends = world.clock.now_ns() // 10**9 + 60
    expiring = await world.sign_order(owner, token, BUY, "0.2", "5", time_in_force=GTD, expiration=ends)
    filled = await world.sign_order(owner, token, BUY, "0.5", "5")
    await world.place(other, market.right_token_id, BUY, "0.5", "5")
    canceled = await world.sign_order(owner, token, BUY, "0.5", "5")
    await world.cancel(owner, canceled.order_id)
    foreign = await world.place(other, token, BUY, "0.1", "5")
    world.clock.advance(seconds=61)
    for order in (expiring, filled, canceled):
        await world.amend(owner, order.order_id, price="0.3", status="order_rejected_not_open")
    refused = await world.amend(owner, foreign.order_id, price="0.3", status=_INVALID)
    assert [detail[0] for detail in details_of(refused)] == ["order_id"]
    assert await world.orders.end_expired_orders() == 1


async def test_a_change_needs_no_room_for_a_further_order(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """A wallet with all the open orders that it may have can still move them."""
    world = await open_signed_trading(database_factory, clock, ids, open_orders_count=2)
    token = (await world.market()).left_token_id
    owner = await world.trader()
    orders = [await world.sign_order(owner, token, BUY, price, "5") for price in ("0.1", "0.2")]
    await world.amend(owner, orders[0].order_id, price="0.3")
    assert len(await world.active(owner)) == 2
    assert await world.broken_rules() == []


async def _other_token(world: SignedWorld, token_id: str) -> str:
    """The other outcome's token of the only market."""
    [market] = await world.list_markets()
    return market.right_token_id if token_id == market.left_token_id else market.left_token_id

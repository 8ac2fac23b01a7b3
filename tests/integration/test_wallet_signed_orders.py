"""Signed orders on a real database: what they do, how each refusal is called, and that each runs once."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from google.protobuf.message import Message

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import market_pb2
from sealgate.wallet.v1.signed_body_pb2 import AmendOrder, CancelAllOrders, CancelOrder
from tests.integration.signed_orders_support import SignedWorld, details_of, open_signed_trading
from tests.integration.trading_support import BUY, CANCELED, FOK, OPEN, SELL, Trader
from tests.integration.wallet_support import code_of
from tests.signing_support import base64_of

_INVALID: Final = "order_rejected_invalid"
_ORDERS: Final = ("SubmitPlaceOrder", "SubmitCancelOrder", "SubmitCancelAllOrders", "SubmitAmendOrder")
_SUBACCOUNTS_END: Final = 2**32 - 1


@pytest.fixture
async def world(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[SignedWorld]:
    """Signed trading, whose books are sound at the end of every test."""
    world = await open_signed_trading(database_factory, clock, ids, pool_size_count=10)
    yield world
    assert await world.broken_rules() == []


async def test_a_signed_order_is_placed_by_its_key_and_remembers_its_request(world: SignedWorld) -> None:
    """As any order; its row has the request's id and time, and what it traded is the key's act."""
    market = await world.market()
    owner, maker = await world.trader(), await world.trader()
    await world.place(maker, market.right_token_id, BUY, "0.5", "4")
    body = world.order_body(
        owner, token_id=market.left_token_id, side=BUY, price="0.5", amount="10", client_order_id="mine"
    )
    answer = await world.submit(owner, "SubmitPlaceOrder", body)
    order = answer.order
    assert (order.wallet_id, order.filled, order.client_order_id) == (owner.wallet_id, "4.000000", "mine")
    shown = await world.get_order(owner, order.order_id)
    assert (shown.status, shown.shares, shown.price) == (order.status, order.shares, order.price)
    [row] = await world.administer(
        "SELECT request_id, processed_at_ns FROM ord WHERE order_id = $1", uuid.UUID(order.order_id)
    )
    assert (str(row["request_id"]), row["processed_at_ns"]) == (answer.request_id, answer.processed_at_ns)
    [txn] = await world.administer("SELECT request_id, actor_kind, actor_id FROM txn WHERE kind = 'TRADE'")
    assert (str(txn["request_id"]), txn["actor_kind"]) == (answer.request_id, "SESSION_KEY")
    assert txn["actor_id"] == base64_of(world.key(owner).public_key)


async def test_only_placing_and_replacing_leave_their_request_with_an_order(world: SignedWorld) -> None:
    """An order that was lowered is still that of who placed it, and one that nobody signed is nobody's."""
    token = (await world.market()).left_token_id
    owner = await world.trader()
    await world.place(owner, token, BUY, "0.2", "5")
    placed = await world.submit(
        owner, "SubmitPlaceOrder", world.order_body(owner, token_id=token, side=BUY, price="0.3", amount="9")
    )
    await world.amend(owner, placed.order.order_id, shares="8")
    moved = await world.amend(owner, placed.order.order_id, price="0.4")
    rows = await world.administer("SELECT request_id FROM ord ORDER BY seq")
    found = [row["request_id"] and str(row["request_id"]) for row in rows]
    assert found == [None, placed.request_id, moved.request_id]


async def test_a_signed_cancellation_ends_an_order_once(world: SignedWorld) -> None:
    """It answers the order as it ended; another request finds it ended."""
    token = (await world.market()).left_token_id
    owner = await world.trader()
    order = await world.place(owner, token, BUY, "0.5", "10")
    world.clock.advance(seconds=1)
    body = CancelOrder(wallet_id=owner.wallet_id, order_id=order.order_id)
    ended = (await world.submit(owner, "SubmitCancelOrder", body)).order
    assert (ended.order_id, ended.status, ended.updated_at_ns) == (
        order.order_id,
        CANCELED,
        world.clock.now_ns(),
    )
    assert await world.usdc(owner) == ("100.000000", "100.000000")
    await world.submit(owner, "SubmitCancelOrder", body, status="order_rejected_not_open")


async def test_a_signed_cancellation_of_all_names_them_oldest_first(world: SignedWorld) -> None:
    """Of all markets, of one wallet; without any it is done as well."""
    tokens = [(await world.market()).left_token_id for _ in range(2)]
    owner, other = await world.trader(), await world.trader()
    placed = []
    for token in (tokens[1], tokens[0], tokens[1]):
        placed.append((await world.place(owner, token, BUY, "0.5", "5")).order_id)
        world.clock.advance(seconds=1)
    left = await world.place(other, tokens[0], BUY, "0.4", "5")
    body = CancelAllOrders(wallet_id=owner.wallet_id)
    assert list((await world.submit(owner, "SubmitCancelAllOrders", body)).order_ids) == placed
    assert list((await world.submit(owner, "SubmitCancelAllOrders", body)).order_ids) == []
    assert (await world.get_order(other, left.order_id)).status == OPEN


@dataclass(frozen=True)
class _Scene:
    """Who asks for something in a market in which somebody offers the left outcome at 0.5."""

    world: SignedWorld
    owner: Trader
    market: market_pb2.ListedMarket
    closed: market_pb2.ListedMarket

    def order(self, **fields: Any) -> Message:  # noqa: ANN401
        """A good order but for `fields`."""
        good = {"token_id": self.market.left_token_id, "side": BUY, "price": "0.4", "amount": "10"}
        return self.world.order_body(self.owner, **good | fields)


_STRANGER: Final = str(uuid.UUID(int=7))
# What is asked for, the status that it is answered with, and what the detail is about.
_REFUSALS: Final[dict[str, tuple[Callable[[_Scene], Message], str, str]]] = {
    "too little money": (
        lambda scene: scene.order(amount="1000"),
        "order_rejected_insufficient_balance",
        "amount",
    ),
    "a closed market": (
        lambda scene: scene.order(token_id=scene.closed.left_token_id),
        "order_rejected_market_closed",
        "",
    ),
    "post only that would cross": (
        lambda scene: scene.order(price="0.6", post_only=True),
        "order_rejected_would_cross",
        "price",
    ),
    "all or nothing": (
        lambda scene: scene.order(price="0.5", amount="50", time_in_force=FOK),
        "order_rejected_not_filled",
        "amount",
    ),
    "a price off tick": (lambda scene: scene.order(price="0.4001"), _INVALID, "price"),
    "no price": (lambda scene: scene.order(price=None), _INVALID, "price"),
    "an amount off lot": (lambda scene: scene.order(amount="10.000001"), _INVALID, "amount"),
    "an amount of letters": (lambda scene: scene.order(amount="ten"), _INVALID, "amount"),
    "a wish that does not go with it": (lambda scene: scene.order(reduce_only=True), _INVALID, "reduce_only"),
    "a time that is over": (lambda scene: scene.order(not_after=1), _INVALID, "not_after"),
    "a client order id that was used": (
        lambda scene: scene.order(client_order_id="used"),
        _INVALID,
        "client_order_id",
    ),
    "an unknown token": (lambda scene: scene.order(token_id="12"), _INVALID, "token_id"),
    "an unknown wallet": (lambda scene: scene.order(wallet_id=_STRANGER), _INVALID, "wallet_id"),
    "a wallet that cannot be one": (lambda scene: scene.order(wallet_id="mine"), _INVALID, "wallet_id"),
    "a wallet of another subaccount": (lambda scene: scene.order(subaccount_index=1), _INVALID, "wallet_id"),
    "a subaccount that cannot be": (
        lambda scene: scene.order(subaccount_index=_SUBACCOUNTS_END),
        _INVALID,
        "subaccount_index",
    ),
}


@pytest.mark.parametrize("name", _REFUSALS)
async def test_a_refused_order_is_answered_with_its_status_and_leaves_nothing(
    world: SignedWorld, name: str
) -> None:
    """200 with a status of its own and a detail on the field; the wallet and the book are as they were."""
    market, closed = await world.market(), await world.market()
    owner, maker = await world.trader(), await world.trader()
    await world.place(maker, market.right_token_id, BUY, "0.5", "10")
    used = await world.place(owner, market.left_token_id, BUY, "0.1", "5", client_order_id="used")
    await world.close(closed.condition_id)
    before = await world.usdc(owner), await world.book(market.condition_id)
    make, status, path = _REFUSALS[name]
    body = make(_Scene(world, owner, market, closed))
    answer = await world.submit(owner, "SubmitPlaceOrder", body, status=status)
    assert [detail[0] for detail in details_of(answer)] == [path]
    assert all(detail[1] for detail in details_of(answer))
    assert not answer.HasField("order")
    assert (await world.usdc(owner), await world.book(market.condition_id)) == before
    assert [one.order.order_id for one in await world.list_orders(owner)] == [used.order_id]


async def test_the_cap_on_open_orders_is_a_refusal_about_the_wallet(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Whoever has as many as may be is told which wallet is full."""
    world = await open_signed_trading(database_factory, clock, ids, open_orders_count=1)
    token = (await world.market()).left_token_id
    owner = await world.trader()
    await world.sign_order(owner, token, BUY, "0.5", "10")
    body = world.order_body(owner, token_id=token, side=BUY, price="0.4", amount="10")
    answer = await world.submit(owner, "SubmitPlaceOrder", body, status=_INVALID)
    assert [detail[0] for detail in details_of(answer)] == ["wallet_id"]


@pytest.mark.parametrize("rpc", [rpc for rpc in _ORDERS if rpc != "SubmitPlaceOrder"])
async def test_what_is_not_the_wallets_is_refused_by_name(world: SignedWorld, rpc: str) -> None:
    """Another's order, another's wallet, a wallet said to be in another subaccount."""
    token = (await world.market()).left_token_id
    owner, other = await world.trader(), await world.trader()
    foreign = await world.place(other, token, BUY, "0.5", "10")

    def body(**fields: Any) -> Message:  # noqa: ANN401
        if rpc == "SubmitCancelAllOrders":
            return CancelAllOrders(**{"wallet_id": owner.wallet_id} | fields)
        given = {"wallet_id": owner.wallet_id, "order_id": foreign.order_id} | fields
        return CancelOrder(**given) if rpc == "SubmitCancelOrder" else AmendOrder(price="0.4", **given)

    cases = [(body(wallet_id=other.wallet_id), "wallet_id"), (body(subaccount_index=1), "wallet_id")]
    if rpc != "SubmitCancelAllOrders":
        cases += [(body(), "order_id"), (body(order_id="first"), "order_id")]
    for asked, path in cases:
        answer = await world.submit(owner, rpc, asked, status=_INVALID)
        assert [detail[0] for detail in details_of(answer)] == [path]
    assert (await world.get_order(other, foreign.order_id)).status == OPEN


@pytest.mark.parametrize("rpc", _ORDERS)
async def test_a_pinned_key_is_told_of_its_reach_before_anything_else(world: SignedWorld, rpc: str) -> None:
    """Whatever else the request says, and whether or not any of it exists."""
    owner = await world.trader()
    elsewhere, here = world.key(owner, 1), world.key(owner, 0)
    asked: Message
    if rpc == "SubmitPlaceOrder":
        asked = world.order_body(owner, wallet_id="none", side=BUY)
    elif rpc == "SubmitCancelAllOrders":
        asked = CancelAllOrders(wallet_id="none")
    else:
        asked = CancelOrder(wallet_id="none") if rpc == "SubmitCancelOrder" else AmendOrder(wallet_id="none")
    await world.submit(owner, rpc, asked, status="rejected_scope", pair=elsewhere)
    await world.submit(owner, rpc, asked, status=_INVALID, pair=here)


async def test_one_signed_order_from_fifty_callers_is_one_order(world: SignedWorld) -> None:
    """One is told that it was placed, the others what became of it."""
    token = (await world.market()).left_token_id
    owner = await world.trader()
    body = world.order_body(owner, token_id=token, side=BUY, price="0.5", amount="10")
    method, request = world.signed(owner, "SubmitPlaceOrder", body)
    answers = await asyncio.gather(*(world.send(method, request) for _ in range(50)))
    assert Counter(answer.status for answer in answers) == {
        "request_completed": 1,
        "duplicate_request_id": 49,
    }
    [order] = await world.list_orders(owner)
    told = {
        (answer.original.order if answer.HasField("original") else answer.order).order_id
        for answer in answers
    }
    assert told == {order.order.order_id}


async def test_signed_orders_changes_and_cancellations_at_once_keep_the_books(world: SignedWorld) -> None:
    """Of many accounts in two markets, beside unsigned ones: nobody is told of an outage or a deadlock."""
    markets = [await world.market(maker_fee_bps=10, taker_fee_bps=25) for _ in range(2)]
    traders = [await world.trader() for _ in range(8)]

    async def trade(number: int, trader: Trader) -> Counter[str]:
        """One after the other, as an account's signed requests go."""
        seen: Counter[str] = Counter()
        for step in range(6):
            market = markets[(number + step) % 2]
            token = market.left_token_id if number % 2 else market.right_token_id
            price = f"0.{45 + (number + step) % 8}"
            body = world.order_body(trader, token_id=token, side=BUY, price=price, amount="4")
            answer = await world.send(*world.signed(trader, "SubmitPlaceOrder", body))
            seen[answer.status] += 1
            await world.place(trader, token, BUY, "0.4", "5")
            amended = AmendOrder(wallet_id=trader.wallet_id, order_id=answer.order.order_id)
            if step % 2:
                amended.shares = "3"
            else:
                amended.price = f"0.{40 + step}"
            seen[(await world.send(*world.signed(trader, "SubmitAmendOrder", amended))).status] += 1
        ended = CancelAllOrders(wallet_id=trader.wallet_id)
        seen[(await world.send(*world.signed(trader, "SubmitCancelAllOrders", ended))).status] += 1
        return seen

    counts = sum(await asyncio.gather(*(trade(*one) for one in enumerate(traders))), Counter[str]())
    assert set(counts) <= {"request_completed", "order_rejected_not_open", _INVALID}
    assert counts["request_completed"] > 8 * 7
    for market in markets:
        assert await world.book(market.condition_id) == ([], [])


async def test_selling_what_a_wallet_does_not_have_is_a_want_of_balance(world: SignedWorld) -> None:
    """Shares are money too."""
    market = await world.market()
    owner = await world.trader()
    body = world.order_body(owner, token_id=market.left_token_id, side=SELL, price="0.5", amount="5")
    await world.submit(owner, "SubmitPlaceOrder", body, status="order_rejected_insufficient_balance")


async def test_a_request_that_placed_an_order_is_told_of_when_it_is_on_record_no_more(
    world: SignedWorld,
) -> None:
    """By the order, as it stands by then; of any other request nothing is left after seven days."""
    token = (await world.market()).left_token_id
    owner = await world.trader()
    body = world.order_body(owner, token_id=token, side=BUY, price="0.3", amount="9", client_order_id="mine")
    placed = await world.submit(owner, "SubmitPlaceOrder", body)
    moved = await world.amend(owner, placed.order.order_id, price="0.4")
    ended = CancelOrder(wallet_id=owner.wallet_id, order_id=moved.order.order_id)
    canceled = await world.submit(owner, "SubmitCancelOrder", ended)
    told = await world.outcome_of(owner.identity, placed.request_id)
    assert (told.order.status, told.request_type) == (OPEN, 1)
    world.clock.advance(seconds=8 * 86_400)
    await world.administer("SELECT maintain_requests($1)", world.clock.now_ns())
    for answer, request_type in ((placed, 1), (moved, 4)):
        told = await world.outcome_of(owner.identity, answer.request_id)
        assert (told.success, told.status, told.request_type) == (True, "request_completed", request_type)
        assert (told.processed_at_ns, told.request_id) == (answer.processed_at_ns, answer.request_id)
        assert (told.order.order_id, told.order.status) == (answer.order.order_id, CANCELED)
        assert told.order.wallet_id == owner.wallet_id
    stranger, pinned = world.caller(), world.caller(account_id=owner.identity.account_id, subaccount_index=1)
    for identity, request_id in (
        (owner.identity, canceled.request_id),
        (stranger, placed.request_id),
        (pinned, placed.request_id),
    ):
        assert await code_of(world.outcome_of(identity, request_id)) is Code.REQUEST_NOT_FOUND

"""Matching and settlement against a naive model: whatever is placed, both say the same to the last unit."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Code, SealgateError
from services.wallet.domain.amendment import Amendment
from services.wallet.domain.market import ONE, Market, MarketStatus, Outcome, Terms, worth
from services.wallet.domain.order import (
    AmountUnits,
    NewOrder,
    OrderDraft,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    check_order,
)
from services.wallet.domain.quote import quote
from services.wallet.domain.settlement import Funds, Settlement, Taker
from tests.property.wallet_book_model import Ask, BookModel, PositionBook, Purse
from tests.property.wallet_settlement_ledger import Ledger

_CASH, _LEFT, _RIGHT = 1, 2, 3
# Two wallets of one account, and two of accounts of their own.
_ACCOUNTS = (0, 0, 1, 2)
_WALLET_IDS = tuple(uuid.UUID(int=100 + number) for number in range(len(_ACCOUNTS)))
_AT_MOST = re.compile(r"at most ([0-9.]+) (USDC|SHARES) would do$")


@dataclass(frozen=True)
class _Step:
    """An order in ticks and lots, so that small numbers meet each other."""

    wallet: int
    side: Side
    outcome: Outcome
    kind: tuple[OrderType, TimeInForce]
    units: AmountUnits
    lots: int
    # Units of USDC beside the whole lots, so that budgets do not always come out even.
    odd: int
    ticks: int
    worst: bool
    post_only: bool
    reduce_only: bool


@dataclass(frozen=True)
class _Change:
    """A change of an open order: its price in ticks, and the lots that it still waits for; None stays."""

    which: int
    ticks: int | None
    lots: int | None


# Most orders wait, so that the others find something.
_KINDS = (
    *[(OrderType.LIMIT, TimeInForce.GTC)] * 5,
    (OrderType.LIMIT, TimeInForce.GTD),
    (OrderType.LIMIT, TimeInForce.FOK),
    (OrderType.LIMIT, TimeInForce.FAK),
    (OrderType.MARKET, TimeInForce.FOK),
    (OrderType.MARKET, TimeInForce.FAK),
)
_rare = st.integers(0, 7).map(lambda number: number == 7)
_orders = st.builds(
    _Step,
    wallet=st.integers(0, len(_ACCOUNTS) - 1),
    side=st.sampled_from(Side),
    outcome=st.sampled_from(Outcome),
    kind=st.sampled_from(_KINDS),
    units=st.sampled_from(AmountUnits),
    lots=st.sampled_from((1, 2, 3, 5, 8, 20)),
    odd=st.integers(0, 9),
    ticks=st.sampled_from((1, 3, 4, 4, 5, 5, 6, 6, 7, 9)),
    worst=st.booleans(),
    post_only=_rare,
    reduce_only=_rare,
)
_quote_sides = st.sampled_from(((Side.BUY, (1, 2, 3, 4)), (Side.SELL, (6, 7, 8, 9))))
# Orders that leave each other alone, so that those after them have a book to walk through.
_quotes = st.builds(
    lambda wallet, way, outcome, lots, tick: _Step(
        wallet,
        way[0],
        outcome,
        _KINDS[0],
        AmountUnits.SHARES,
        lots,
        odd=0,
        ticks=way[1][tick],
        worst=False,
        post_only=False,
        reduce_only=False,
    ),
    wallet=st.integers(1, len(_ACCOUNTS) - 1),
    way=_quote_sides,
    outcome=st.sampled_from(Outcome),
    lots=st.integers(1, 4),
    tick=st.integers(0, 3),
)
_ends = st.tuples(
    st.sampled_from((OrderStatus.CANCELED, OrderStatus.EXPIRED)), st.integers(0, 9), st.integers(1, 3)
)
_changes = st.builds(
    _Change,
    which=st.sampled_from((0, 0, 0, 1, 2, 3, 5)),
    ticks=st.sampled_from((None, None, 1, 3, 4, 5, 6, 7, 9)),
    lots=st.sampled_from((None, 0, 1, 1, 1, 2, 3, 6, 30)),
)
_steps = st.builds(
    list.__add__,
    st.lists(_quotes, min_size=4, max_size=12),
    st.lists(st.one_of(*[_orders] * 7, *[_changes] * 3, _ends), min_size=8, max_size=30),
)
# Of each wallet quarters of a lot's worth of USDC, and lots of pairs: plenty, or some lack one or both.
_purses = st.sampled_from(
    (
        [(400, 100), (400, 100), (400, 100), (400, 100)],
        [(400, 100), (400, 0), (400, 0), (400, 0)],
        [(20, 100), (400, 6), (90, 20), (400, 100)],
        [(0, 0), (60, 9), (400, 100), (0, 100)],
    )
)
_bps = st.sampled_from((0, 1, 30, 999, 1000))
# With the smallest lot a fill is worth a few units, and rounding is most of a fee.
_lots = st.sampled_from((10, 130, 1_000_000))


class _World:
    """One market in the domain and in the model, which are to agree after every step."""

    def __init__(self, lot: int, bps: tuple[int, int], purses: list[tuple[int, int]]) -> None:
        terms = Terms(100_000, lot, lot, maker_fee_bps=bps[0], taker_fee_bps=bps[1])
        market = Market("0x" + "ab" * 32, terms, MarketStatus.OPEN, _CASH, _LEFT, _RIGHT)
        self.ledger = Ledger(market)
        self.model = BookModel(lot, bps[0], bps[1], list(_ACCOUNTS), [])
        for wallet_id, (cash_lots, pairs) in zip(_WALLET_IDS, purses, strict=True):
            cash, shares = cash_lots * lot // 4, pairs * lot
            self.ledger.endow(wallet_id, cash, shares)
            purse = Purse(cash, {"LEFT": shares, "RIGHT": shares})
            purse.positions = {
                name: PositionBook(shares, shares // 2 if shares else 0, 0) for name in ("LEFT", "RIGHT")
            }
            self.model.purses.append(purse)
            self.model.collateral += shares
        self.total = self._cash_posted()

    def run(self, number: int, step: _Step | _Change | tuple[OrderStatus, int, int]) -> None:
        """Does a step in both and compares."""
        if isinstance(step, _Step):
            order = self._order(step)
            if order is not None:
                self._place(number, step, order)
        elif isinstance(step, _Change):
            self._amend(number, step)
        else:
            self._end(*step)
        self._compare()

    def _place(self, number: int, step: _Step, order: NewOrder) -> None:
        taker = _taker(number, step.wallet)
        settlement: Settlement | None = None
        refused: SealgateError | None = None
        try:
            settlement = self.ledger.place(taker, order)
        except SealgateError as error:
            refused = error
        expected = self.model.place(number, _ask(step, order))
        assert (refused.code.value if refused else None) == expected
        if settlement is not None:
            _check_settlement(settlement, order)
        elif refused is not None and refused.code is Code.INSUFFICIENT_BALANCE:
            self._check_advice(taker, order, refused.details[0].message)
        elif refused is not None and refused.code is Code.ORDER_WOULD_CROSS:
            self._check_nearest(taker, order, refused.details[0].message)

    def _check_advice(self, taker: Taker, order: NewOrder, message: str) -> None:
        """The amount named does, and the next larger one does not."""
        found = _AT_MOST.search(message)
        lot = self.ledger.market.terms.lot
        if found is None:
            assert message.endswith("no amount would do")
            most = 0
        else:
            assert found[2] == order.draft.units
            most = _units(found[1])
            assert self._of_amount(order, most) is not None
            assert self._refusal(taker, self._of_amount(order, most)) is not Code.INSUFFICIENT_BALANCE
        if order.draft.reduce_only or (order.budget is not None and order.draft.side is Side.SELL):
            return
        step = 1 if order.budget is not None else lot if order.limit is None else worth(order.limit, lot)
        step = lot if order.draft.units is AmountUnits.SHARES else step
        more = self._of_amount(order, max(most + step, step))
        assert more is None or self._refusal(taker, more) in (
            Code.INSUFFICIENT_BALANCE,
            Code.ORDER_NOT_FILLED,
            Code.AMOUNT_OUT_OF_RANGE,
        )

    def _check_nearest(self, taker: Taker, order: NewOrder, message: str) -> None:
        """At the price named the order rests, unless the wallet has too little for that one."""
        price = message.rsplit(" ", 1)[1]
        if price == "rest":
            return
        nearest = self._checked(replace(order.draft, price=_units(price)), order.outcome)
        assert self._refusal(taker, nearest) in (None, Code.INSUFFICIENT_BALANCE)

    def _refusal(self, taker: Taker, order: NewOrder | None) -> Code | None:
        """What `place` would say; nothing is written."""
        if order is None:
            return None
        other = Ledger(self.ledger.market)
        other.balances, other.positions = dict(self.ledger.balances), dict(self.ledger.positions)
        other.rows = {order_id: replace(row) for order_id, row in self.ledger.rows.items()}
        try:
            other.place(taker, order)
        except SealgateError as error:
            return error.code
        return None

    def _of_amount(self, order: NewOrder, amount: int) -> NewOrder | None:
        return self._checked(replace(order.draft, amount=amount), order.outcome)

    def _checked(self, draft: OrderDraft, outcome: Outcome) -> NewOrder | None:
        """None where the market does not take so little, as USDC may be at another price."""
        try:
            return check_order(draft, outcome, self.ledger.market.terms)
        except SealgateError as error:
            if error.code is not Code.AMOUNT_OUT_OF_RANGE:
                raise
            return None

    def _end(self, status: OrderStatus, first: int, count: int) -> None:
        rows = self.ledger.open()[first : first + count]
        for row in rows:
            self.model.end(row.taker.order_id.int, status.value)
        self.ledger.end([row.taker.order_id for row in rows], status)

    def _amend(self, number: int, step: _Change) -> None:
        terms = self.ledger.market.terms
        # There are few that got a part of their shares, and they are those that can go wrong.
        rows = sorted(self.ledger.open(), key=lambda row: row.change.filled == 0)
        if not rows or step == replace(step, ticks=None, lots=None):
            return
        row = rows[step.which % len(rows)]
        order_id = row.taker.order_id
        price = None if step.ticks is None else step.ticks * terms.tick
        shares = None if step.lots is None else row.change.filled + step.lots * terms.lot
        refused: str | None = None
        try:
            self.ledger.amend(order_id, Amendment(price, shares), uuid.UUID(int=number))
        except SealgateError as error:
            refused = error.code.value
        assert refused == self.model.amend(order_id.int, number, price, shares)

    def _order(self, step: _Step) -> NewOrder | None:
        """The order of a step, None where the market would not take it."""
        terms = self.ledger.market.terms
        order_type, time_in_force = step.kind
        rests = time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
        shares = step.lots * terms.lot
        draft = OrderDraft(
            side=step.side,
            order_type=order_type,
            time_in_force=time_in_force,
            amount=shares if step.units is AmountUnits.SHARES else worth(500_000, shares) + step.odd,
            units=step.units,
            price=step.ticks * terms.tick if order_type is OrderType.LIMIT or step.worst else None,
            expires_at_ns=None,
            post_only=step.post_only and rests,
            reduce_only=step.reduce_only and step.side is Side.SELL,
            client_order_id=None,
        )
        return self._checked(draft, step.outcome)

    def _compare(self) -> None:
        ledger, model = self.ledger, self.model
        ledger.check()
        for number, wallet_id in enumerate(_WALLET_IDS):
            purse = model.purses[number]
            for asset_id, name, posted in (
                (_CASH, "CASH", purse.cash),
                (_LEFT, "LEFT", purse.shares["LEFT"]),
                (_RIGHT, "RIGHT", purse.shares["RIGHT"]),
            ):
                funds = ledger.balances.get((wallet_id, asset_id), Funds(0, 0))
                assert (funds.posted, funds.available) == (posted, model.spendable(number, name))
                if asset_id != _CASH:
                    books = ledger.positions.get((wallet_id, asset_id))
                    assert (books.cost if books else 0) == purse.positions[name].cost
                    assert (books.realized if books else 0) == purse.positions[name].realized
        for entry in model.orders:
            change = ledger.rows[uuid.UUID(int=entry.number)].change
            assert (change.status, change.shares, change.filled) == (entry.status, entry.shares, entry.got)
            assert change.notional == entry.worth_as_maker + entry.worth_as_taker
            assert change.fee_charged == entry.fee_paid
        assert (ledger.last_price, ledger.volume) == (model.last_price, model.volume)
        assert self._posted(ledger.market.fees_wallet.wallet_id) == model.fees
        assert self._posted(ledger.market.collateral_wallet.wallet_id) == model.collateral
        assert self._cash_posted() == self.total

    def _posted(self, wallet_id: uuid.UUID) -> int:
        return self.ledger.balances.get((wallet_id, _CASH), Funds(0, 0)).posted

    def _cash_posted(self) -> int:
        return sum(funds.posted for (_, asset_id), funds in self.ledger.balances.items() if asset_id == _CASH)


def _taker(number: int, wallet: int) -> Taker:
    return Taker(uuid.UUID(int=number), uuid.UUID(int=_ACCOUNTS[wallet]), _WALLET_IDS[wallet])


def _ask(step: _Step, order: NewOrder) -> Ask:
    return Ask(
        wallet=step.wallet,
        side=step.side.value,
        outcome=step.outcome.value,
        time_in_force=step.kind[1].value,
        limit=order.limit,
        worst=order.draft.price,
        shares=order.shares,
        budget=order.budget,
        post_only=order.draft.post_only,
        reduce_only=order.draft.reduce_only,
    )


def _units(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(6, "0"))


def _check_settlement(settlement: Settlement, order: NewOrder) -> None:
    """What holds of one settlement alone."""
    for asset_id in (_CASH, _LEFT, _RIGHT):
        assert sum(leg.amount for leg in settlement.legs if leg.asset_id == asset_id) == 0
    own = settlement.order
    assert own is not None
    if order.draft.time_in_force is TimeInForce.FOK:
        assert own.status is OrderStatus.FILLED
    if order.budget is not None:
        assert own.notional <= order.budget
    assert (own.status in (OrderStatus.OPEN, OrderStatus.PARTIAL)) is (settlement.new_hold is not None)
    assert settlement.book_changed is (settlement.new_hold is not None or own.filled > 0)
    makers = {trade.number: trade.wallet_id for trade in settlement.trades[::2]}
    takers = {trade.number: trade.wallet_id for trade in settlement.trades[1::2]}
    assert makers.keys() == takers.keys()
    for number, wallet_id in makers.items():
        accounts = {_ACCOUNTS[_WALLET_IDS.index(of)] for of in (wallet_id, takers[number])}
        assert len(accounts) == 2, "a trade of an account with itself"


@settings(max_examples=80, deadline=None)
@given(lot=_lots, bps=st.tuples(_bps, _bps), purses=_purses, steps=_steps)
def test_a_market_is_what_trading_lot_by_lot_would_make_of_it(
    lot: int, bps: tuple[int, int], purses: list[tuple[int, int]], steps: list[Any]
) -> None:
    """Same refusals, fills, fees, holds, positions and balances as the naive model, at every step.

    And after every step the books are sound: money conserved, collateral equal to the shares of
    either outcome, no fill beyond its limit, holds by their formula, the book not crossed.
    """
    world = _World(lot, bps, purses)
    for number, step in enumerate(steps, start=1):
        world.run(number, step)


@settings(max_examples=40, deadline=None)
@given(lot=_lots, bps=st.tuples(_bps, _bps), steps=st.lists(_orders, max_size=20), asked=_orders)
def test_a_quote_is_what_the_order_then_comes_to(
    lot: int, bps: tuple[int, int], steps: list[_Step], asked: _Step
) -> None:
    """A rich stranger's MARKET order gets exactly the shares and the worth that were quoted."""
    world = _World(lot, bps, [(10_000, 2_000)] * len(_ACCOUNTS))
    for number, step in enumerate(steps, start=1):
        world.run(number, replace(step, wallet=step.wallet % 3))
    step = replace(
        asked,
        wallet=3,
        kind=(OrderType.MARKET, TimeInForce.FAK),
        worst=False,
        reduce_only=False,
        post_only=False,
    )
    order = world._order(step)
    if order is None:
        return
    if world._refusal(_taker(len(steps) + 1, 3), order) is Code.AMOUNT_OUT_OF_RANGE:
        with pytest.raises(SealgateError):
            quote(order, world.ledger.reach(order), world.ledger.market.terms)
        return
    quoted = quote(order, world.ledger.reach(order), world.ledger.market.terms)
    got = world.ledger.place(_taker(len(steps) + 1, 3), order).order
    assert got is not None
    assert (quoted.shares, quoted.amount) == (got.filled, got.notional)
    if quoted.shares:
        assert 2 * abs(quoted.average_price * quoted.shares - quoted.amount * ONE) <= quoted.shares
        worse = quoted.average_price - quoted.best_price
        assert (worse if order.draft.side is Side.BUY else -worse) >= 0


def test_the_model_and_the_domain_can_differ() -> None:
    """The comparison is not vacuous: a fee that only one of the two takes is found."""
    world = _World(10, (0, 1000), [(400, 30)] * len(_ACCOUNTS))
    world.model.taker_bps = 0
    sell = _Step(
        2,
        Side.SELL,
        Outcome.LEFT,
        _KINDS[0],
        AmountUnits.SHARES,
        lots=5,
        odd=0,
        ticks=5,
        worst=False,
        post_only=False,
        reduce_only=False,
    )
    world.run(1, sell)
    with pytest.raises(AssertionError):
        world.run(2, replace(sell, wallet=3, side=Side.BUY))

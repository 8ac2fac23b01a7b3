"""Stands in for the database in the matcher's property test: writes settlements, refuses nonsense.

It keeps the rules that the schema keeps, and picks the resting orders as a query would.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from services.wallet.domain.amendment import Amendment, Decrease, OpenOrder, amended
from services.wallet.domain.market import BookSide, Market, mirrored, worth
from services.wallet.domain.matching import RestingOrder
from services.wallet.domain.order import NewOrder, OrderStatus, Side, book_side
from services.wallet.domain.settlement import (
    BalanceKey,
    Funds,
    OrderChange,
    PositionBooks,
    Settlement,
    Taker,
    Trade,
    balances_involved,
    decrease,
    end_orders,
    place,
)

_OPEN = (OrderStatus.OPEN, OrderStatus.PARTIAL)


@dataclass
class OrderRow:
    """An order as it is kept; `seq` is its place in time."""

    seq: int
    taker: Taker
    order: NewOrder
    change: OrderChange
    held_asset_id: int
    hold: int

    def resting(self) -> RestingOrder:
        """As the matcher gets it."""
        assert self.order.limit is not None
        return RestingOrder(
            order_id=self.taker.order_id,
            account_id=self.taker.account_id,
            wallet_id=self.taker.wallet_id,
            side=self.order.draft.side,
            outcome=self.order.outcome,
            price=self.order.limit,
            shares=self.change.shares,
            filled=self.change.filled,
            notional=self.change.notional,
            fee_accrued=self.change.fee_accrued,
            held_asset_id=self.held_asset_id,
            hold_remaining=self.hold,
        )


class Ledger:
    """One market's tables."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.balances: dict[BalanceKey, Funds] = {}
        self.positions: dict[BalanceKey, PositionBooks] = {}
        self.rows: dict[uuid.UUID, OrderRow] = {}
        self.trades: list[Trade] = []
        self.last_price: int | None = None
        self.volume = 0

    def place(self, taker: Taker, order: NewOrder, replaced: RestingOrder | None = None) -> Settlement:
        """Matches and writes an order; raises what `place` raises, and then has written nothing."""
        resting = self.reach(order)
        keys = balances_involved(self.market, taker, order, resting)
        assert list(keys) == sorted(set(keys))
        settlement = place(
            self.market,
            taker,
            order,
            resting,
            {key: self.balances[key] for key in keys if key in self.balances},
            {key: self.positions[key] for key in keys if key in self.positions},
            replaced,
        )
        touched = {(change.wallet_id, change.asset_id) for change in settlement.updates + settlement.inserts}
        assert touched <= set(keys), "a balance that was not locked"
        assert settlement.order is not None
        hold = settlement.new_hold
        self.rows[taker.order_id] = OrderRow(
            seq=len(self.rows),
            taker=taker,
            order=order,
            change=settlement.order,
            held_asset_id=hold.asset_id if hold else 0,
            hold=hold.amount if hold else 0,
        )
        assert hold is None or hold.amount > 0
        self._write(settlement)
        return settlement

    def amend(self, order_id: uuid.UUID, amendment: Amendment, new_order_id: uuid.UUID) -> Settlement:
        """Changes an open order; raises what `amended` and `place` raise, with nothing written."""
        row = self.rows[order_id]
        draft, resting = row.order.draft, row.resting()
        order = OpenOrder(resting, draft.time_in_force, draft.expires_at_ns, draft.post_only)
        outcome = amended(order, amendment, self.market.terms)
        if isinstance(outcome, Decrease):
            settlement = decrease(resting, outcome.shares, self.market.terms)
            self._write(settlement)
            return settlement
        return self.place(replace(row.taker, order_id=new_order_id), outcome, resting)

    def end(self, order_ids: list[uuid.UUID], status: OrderStatus) -> Settlement:
        """Ends open orders."""
        settlement = end_orders([self.rows[order_id].resting() for order_id in order_ids], status)
        self._write(settlement)
        return settlement

    def open(self) -> list[OrderRow]:
        """Orders that rest, oldest first."""
        return [row for row in self.rows.values() if row.change.status in _OPEN]

    def reach(self, order: NewOrder) -> list[RestingOrder]:
        """The other side of the book, best first, no further than the order can need it."""
        sign = 1 if order.book_side is BookSide.BID else -1
        others = [
            row
            for row in self.open()
            if book_side(row.order.draft.side, row.order.outcome) is not order.book_side
        ]
        others.sort(key=lambda row: (sign * row.resting().left_price, row.seq))
        reached: list[RestingOrder] = []
        shares = notional = 0
        for other in (row.resting() for row in others):
            if order.left_limit is not None and sign * other.left_price > sign * order.left_limit:
                break
            if order.shares is not None and shares >= order.shares:
                break
            if order.budget is not None and notional >= order.budget:
                break
            reached.append(other)
            shares += other.rest
            notional += worth(mirrored(other.left_price, order.outcome), other.rest)
        return reached

    def _write(self, settlement: Settlement) -> None:
        for change in settlement.updates:
            before = self.balances[change.wallet_id, change.asset_id]
            after = Funds(before.posted + change.posted, before.held + change.held)
            assert after.held >= 0
            assert change.floor is None or after.available >= change.floor
            self.balances[change.wallet_id, change.asset_id] = after
        for change in settlement.inserts:
            key = (change.wallet_id, change.asset_id)
            assert key not in self.balances
            assert change.held == 0
            assert change.floor is None or change.posted > 0
            self.balances[key] = Funds(change.posted, 0)
        moved = [change for change in settlement.updates + settlement.inserts if change.posted]
        assert {(change.wallet_id, change.asset_id, change.posted) for change in moved} == {
            (leg.wallet_id, leg.asset_id, leg.amount) for leg in settlement.legs
        }
        for held in settlement.holds:
            row = self.rows[held.order_id]
            assert 0 <= held.remaining < row.hold, "a hold only shrinks"
            row.hold = held.remaining
        for state in settlement.orders:
            row = self.rows[state.order_id]
            assert row.change.status in _OPEN, "an ended order is frozen"
            row.change = state
        for position in settlement.positions:
            key = (position.wallet_id, position.asset_id)
            self.positions[key] = PositionBooks(position.cost, position.realized)
        self.trades.extend(settlement.trades)
        self.last_price = settlement.last_price or self.last_price
        self.volume += settlement.volume

    def check(self) -> None:
        """What the audit proves, in a slow and obvious way."""
        self._check_money()
        self._check_orders()
        bids = [row.resting().left_price for row in self.open() if row.order.book_side is BookSide.BID]
        asks = [row.resting().left_price for row in self.open() if row.order.book_side is BookSide.ASK]
        assert not bids or not asks or max(bids) < min(asks), "a crossed book"
        for key, books in self.positions.items():
            assert (books.cost == 0) is (self.balances[key].posted == 0)

    def _check_money(self) -> None:
        collateral = self.market.collateral_wallet.wallet_id
        posted = [
            self.balances.get((collateral, asset_id), Funds(0, 0)).posted
            for asset_id in (self.market.cash_asset_id, self.market.left_asset_id, self.market.right_asset_id)
        ]
        assert posted[0] == -posted[1] == -posted[2]
        held: dict[BalanceKey, int] = {}
        for row in self.open():
            key = (row.taker.wallet_id, row.held_asset_id)
            held[key] = held.get(key, 0) + row.hold
        for key, funds in self.balances.items():
            assert funds.held == held.get(key, 0)

    def _check_orders(self) -> None:
        for row in self.rows.values():
            own = [trade for trade in self.trades if trade.order_id == row.taker.order_id]
            assert sum(trade.shares for trade in own) == row.change.filled
            assert sum(trade.notional for trade in own) == row.change.notional
            assert sum(trade.fee for trade in own) == row.change.fee_charged
            assert row.change.fee_charged * 10_000 - row.change.fee_accrued in range(10_000)
            worst = row.order.draft.price
            for trade in own:
                assert trade.shares > 0
                assert trade.shares % self.market.terms.lot == 0
                if worst is not None and row.order.draft.side is Side.BUY:
                    assert trade.price <= worst
                elif worst is not None:
                    assert trade.price >= worst

    def endow(self, wallet_id: uuid.UUID, cash: int, pairs: int) -> None:
        """Gives a wallet USDC, and pairs of shares that cost half of what they are worth each."""
        market, collateral = self.market, self.market.collateral_wallet.wallet_id
        self._give((wallet_id, market.cash_asset_id), cash)
        if pairs:
            self._give((collateral, market.cash_asset_id), pairs)
            for asset_id in (market.left_asset_id, market.right_asset_id):
                self._give((wallet_id, asset_id), pairs)
                self._give((collateral, asset_id), -pairs)
                self.positions[wallet_id, asset_id] = PositionBooks(pairs // 2, 0)

    def _give(self, key: BalanceKey, amount: int) -> None:
        if amount:
            before = self.balances.get(key, Funds(0, 0))
            self.balances[key] = replace(before, posted=before.posted + amount)

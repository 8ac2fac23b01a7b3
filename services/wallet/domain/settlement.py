"""From a match to everything that has to be written, in one value and for one statement.

Who calls this has locked the market, the resting orders and the balances of `balances_involved`;
what comes back are differences for balances and whole new values for everything else.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import compress
from operator import not_
from typing import Final

from chassis.errors import Code, SealgateError
from services.wallet.domain.funds import check_budget, check_funds, check_match, reduced
from services.wallet.domain.market import Market, MarketStatus, Outcome, Terms, fee_of, mirrored, worth
from services.wallet.domain.matching import Fill, Match, RestingOrder, Stop, match
from services.wallet.domain.order import NewOrder, OrderStatus, Side
from services.wallet.domain.position import Position
from services.wallet.domain.posting import Leg, balanced

BalanceKey = tuple[uuid.UUID, int]
"""Wallet and asset, in the order in which balances are locked."""


@dataclass(frozen=True, slots=True)
class Funds:
    """A locked balance."""

    posted: int
    held: int

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.posted - self.held


_NOTHING: Final = Funds(0, 0)


@dataclass(frozen=True, slots=True)
class PositionBooks:
    """What is kept of a position beside its shares, which are the balance's."""

    cost: int
    realized: int


@dataclass(frozen=True, slots=True)
class Taker:
    """Whose order it is; `order_id` is the new order's id."""

    order_id: uuid.UUID
    account_id: uuid.UUID
    wallet_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """What happens to one balance; `posted` and `held` are differences and change together.

    Only a change of `posted` has a leg and raises the balance's version. `floor` is what a new row
    gets: 0, or None for a market's own shares.
    """

    wallet_id: uuid.UUID
    asset_id: int
    posted: int
    held: int
    floor: int | None = 0


@dataclass(frozen=True, slots=True)
class NewHold:
    """What is kept back for the rest of a new order; its reference is the order."""

    order_id: uuid.UUID
    wallet_id: uuid.UUID
    asset_id: int
    amount: int


@dataclass(frozen=True, slots=True)
class HoldChange:
    """What remains of a resting order's hold; 0 ends it."""

    order_id: uuid.UUID
    remaining: int


@dataclass(frozen=True, slots=True)
class OrderChange:
    """Where an order stands now: whole values, no differences.

    `fee_accrued` is worth times basis points, `fee_charged` the USDC charged for it so far.
    """

    order_id: uuid.UUID
    status: OrderStatus
    shares: int
    filled: int
    notional: int
    fee_accrued: int
    fee_charged: int


class Role(StrEnum):
    """Whether an order was resting or came."""

    MAKER = "MAKER"
    TAKER = "TAKER"


@dataclass(frozen=True, slots=True)
class Trade:
    """One order's part of one fill; the two parts of a fill have the same `number`, from 1.

    `price` is of the order's own outcome, `notional` is price times shares, `fee` what this fill
    added to the order's fees.
    """

    number: int
    order_id: uuid.UUID
    wallet_id: uuid.UUID
    asset_id: int
    role: Role
    side: Side
    outcome: Outcome
    price: int
    shares: int
    notional: int
    fee: int


@dataclass(frozen=True, slots=True)
class PositionChange:
    """A position's whole new books; its shares are the balance's."""

    wallet_id: uuid.UUID
    asset_id: int
    cost: int
    realized: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """Everything that an order, or the end of some, changes.

    `updates` are balances that have a row, `inserts` such that had none when they were locked: they
    only ever gain (a market's own shares aside). `legs` are the txn's, in order; without any there
    is no txn. `order` is the new order, `orders` are resting ones. `last_price` is in terms of the
    left outcome and None when nothing was traded; `volume` is to be added.
    """

    updates: tuple[BalanceChange, ...] = ()
    inserts: tuple[BalanceChange, ...] = ()
    legs: tuple[Leg, ...] = ()
    order: OrderChange | None = None
    new_hold: NewHold | None = None
    holds: tuple[HoldChange, ...] = ()
    orders: tuple[OrderChange, ...] = ()
    trades: tuple[Trade, ...] = ()
    positions: tuple[PositionChange, ...] = ()
    last_price: int | None = None
    volume: int = 0
    book_changed: bool = False


def balances_involved(
    market: Market, taker: Taker, order: NewOrder, resting: Sequence[RestingOrder]
) -> tuple[BalanceKey, ...]:
    """The balances to lock before `place`, in that order; some may have no row yet."""
    met = match(order, taker.account_id, resting, market.terms)
    keys = {(taker.wallet_id, market.cash_asset_id), (taker.wallet_id, market.asset_id(order.outcome))}
    for fill in met.fills:
        keys.add((fill.maker.wallet_id, market.cash_asset_id))
        keys.add((fill.maker.wallet_id, market.asset_id(fill.maker.outcome)))
    if met.fills:
        keys.add((market.fees_wallet.wallet_id, market.cash_asset_id))
        collateral = market.collateral_wallet.wallet_id
        assets = (market.cash_asset_id, market.left_asset_id, market.right_asset_id)
        keys.update((collateral, asset_id) for asset_id in assets)
    return tuple(sorted(keys))


def place(
    market: Market,
    taker: Taker,
    order: NewOrder,
    resting: Sequence[RestingOrder],
    balances: Mapping[BalanceKey, Funds],
    positions: Mapping[BalanceKey, PositionBooks],
    replaced: RestingOrder | None = None,
) -> Settlement:
    """Matches a new order and says what that changes.

    `resting` is the other side of the book as far as the order could reach, best first, none of it
    expired. `balances` and `positions` are the locked rows of `balances_involved`, without those
    that do not exist. `replaced`, a resting order of the same wallet, side and outcome, is cancelled
    by it, and what it held can be spent. Raises MARKET_CLOSED, ORDER_WOULD_CROSS, ORDER_NOT_FILLED
    and INSUFFICIENT_BALANCE.
    """
    if market.status is not MarketStatus.OPEN:
        raise SealgateError(Code.MARKET_CLOSED)
    available = balances.get((taker.wallet_id, paid_asset_id(market, order)), _NOTHING).available
    if replaced is not None:
        available += replaced.hold_remaining
    if order.draft.reduce_only:
        order = reduced(order, available, market.terms)
    check_budget(order, resting, market.terms)
    met = match(order, taker.account_id, resting, market.terms)
    check_match(order, met, resting, market.terms)
    check_funds(order, taker.account_id, met, resting, available, market.terms)
    books = _Books(market, balances, positions)
    if replaced is not None:
        books.cancel(replaced)
    own = _Progress(taker.order_id, taker.wallet_id, order.draft.side, order.outcome)
    for number, fill in enumerate(met.fills, start=1):
        books.settle(number, fill, own)
    rests = order.may_rest and met.stop is Stop.BOOK_ENDED
    new_hold = _new_hold(market, order, own) if rests else None
    if new_hold is not None:
        books.keep_back((new_hold.wallet_id, new_hold.asset_id), new_hold.amount)
    return replace(
        books.settlement(),
        order=own.change(_status(met, rests=rests), _shares_shown(order, own)),
        new_hold=new_hold,
        last_price=met.fills[-1].left_price if met.fills else None,
        volume=met.notional,
        book_changed=rests or bool(met.fills) or replaced is not None,
    )


def decrease(order: RestingOrder, shares: int, terms: Terms) -> Settlement:
    """What changes when a resting order is for fewer shares than before, but more than are filled."""
    own = _Progress.of(order)
    remaining = hold_of(own.side, order.price, shares - own.filled, own.notional, own.fee_accrued, terms)
    released = remaining - order.hold_remaining
    status = OrderStatus.PARTIAL if own.filled else OrderStatus.OPEN
    return Settlement(
        updates=(BalanceChange(order.wallet_id, order.held_asset_id, posted=0, held=released),),
        holds=(HoldChange(order.order_id, remaining),),
        orders=(own.change(status, shares),),
        book_changed=True,
    )


def end_orders(orders: Iterable[RestingOrder], status: OrderStatus) -> Settlement:
    """What the end of resting orders changes, of any number of markets: CANCELED or EXPIRED."""
    ended = tuple(orders)
    released: defaultdict[BalanceKey, int] = defaultdict(int)
    for order in ended:
        released[order.wallet_id, order.held_asset_id] += order.hold_remaining
    return Settlement(
        updates=tuple(
            BalanceChange(wallet_id, asset_id, posted=0, held=-amount)
            for (wallet_id, asset_id), amount in sorted(released.items())
        ),
        holds=tuple(HoldChange(order.order_id, 0) for order in ended),
        orders=tuple(_Progress.of(order).change(status, order.shares) for order in ended),
        book_changed=bool(ended),
    )


def paid_asset_id(market: Market, order: NewOrder) -> int:
    """What an order gives: USDC for BUY, shares for SELL."""
    return market.cash_asset_id if order.draft.side is Side.BUY else market.asset_id(order.outcome)


def hold_of(side: Side, price: int, rest: int, notional: int, fee_accrued: int, terms: Terms) -> int:
    """What has to be kept back for `rest` shares of a resting order: USDC for BUY, shares for SELL.

    A BUY keeps its rest at the limit and what its fees can still come to when everything costs the
    worse of the two rates. Each fill lowers both sums, so a hold only ever shrinks, and by at least
    what the fill costs.
    """
    if side is Side.SELL or rest == 0:
        return rest
    ahead = worth(price, rest)
    return ahead + fee_of((notional + ahead) * terms.worst_fee_bps) - fee_of(fee_accrued)


@dataclass(slots=True)
class _Progress:
    """How far an order has come, while a match is being booked."""

    order_id: uuid.UUID
    wallet_id: uuid.UUID
    side: Side
    outcome: Outcome
    filled: int = 0
    notional: int = 0
    fee_accrued: int = 0

    @classmethod
    def of(cls, order: RestingOrder) -> _Progress:
        """How far a resting order has come."""
        return cls(
            order.order_id,
            order.wallet_id,
            order.side,
            order.outcome,
            order.filled,
            order.notional,
            order.fee_accrued,
        )

    def change(self, status: OrderStatus, shares: int) -> OrderChange:
        """Where the order stands."""
        fee_charged = fee_of(self.fee_accrued)
        return OrderChange(
            self.order_id, status, shares, self.filled, self.notional, self.fee_accrued, fee_charged
        )


class _Books:
    """Sums up what the fills of one match do."""

    def __init__(
        self,
        market: Market,
        balances: Mapping[BalanceKey, Funds],
        positions: Mapping[BalanceKey, PositionBooks],
    ) -> None:
        self._market = market
        self._collateral = market.collateral_wallet.wallet_id
        self._fees = (market.fees_wallet.wallet_id, market.cash_asset_id)
        self._balances = balances
        self._books = positions
        self._posted: defaultdict[BalanceKey, int] = defaultdict(int)
        self._held: defaultdict[BalanceKey, int] = defaultdict(int)
        self._positions: dict[BalanceKey, Position] = {}
        self._trades: list[Trade] = []
        self._holds: list[HoldChange] = []
        self._orders: list[OrderChange] = []

    def settle(self, number: int, fill: Fill, own: _Progress) -> None:
        """Books one fill: for the resting order, for the one that came, and for the market itself."""
        terms, maker = self._market.terms, fill.maker
        other = _Progress.of(maker)
        self._trade(number, Role.MAKER, fill, other, terms.maker_fee_bps)
        self._trade(number, Role.TAKER, fill, own, terms.taker_fee_bps)
        if maker.side is own.side:
            self._make_pairs(fill.shares if own.side is Side.BUY else -fill.shares)
        rest = maker.shares - other.filled
        remaining = hold_of(maker.side, maker.price, rest, other.notional, other.fee_accrued, terms)
        self.keep_back((maker.wallet_id, maker.held_asset_id), remaining - maker.hold_remaining)
        self._holds.append(HoldChange(maker.order_id, remaining))
        status = OrderStatus.PARTIAL if rest else OrderStatus.FILLED
        self._orders.append(other.change(status, maker.shares))

    def cancel(self, order: RestingOrder) -> None:
        """Ends a resting order before anything is filled."""
        self.keep_back((order.wallet_id, order.held_asset_id), -order.hold_remaining)
        self._holds.append(HoldChange(order.order_id, 0))
        self._orders.append(_Progress.of(order).change(OrderStatus.CANCELED, order.shares))

    def keep_back(self, key: BalanceKey, amount: int) -> None:
        """Raises what is held of a balance, or with a negative amount lowers it."""
        self._held[key] += amount

    def settlement(self) -> Settlement:
        """What was summed up so far."""
        changes = [self._change(key) for key in sorted(self._posted.keys() | self._held.keys())]
        changes = [change for change in changes if change.posted or change.held]
        moved = [change for change in changes if change.posted]
        known = [(change.wallet_id, change.asset_id) in self._balances for change in changes]
        return Settlement(
            updates=tuple(compress(changes, known)),
            inserts=tuple(compress(changes, map(not_, known))),
            legs=balanced(
                Leg(change.wallet_id, change.asset_id, change.posted, change.floor) for change in moved
            )
            if moved
            else (),
            holds=tuple(self._holds),
            orders=tuple(self._orders),
            trades=tuple(self._trades),
            positions=tuple(
                PositionChange(wallet_id, asset_id, position.cost, position.realized)
                for (wallet_id, asset_id), position in sorted(self._positions.items())
            ),
        )

    def _change(self, key: BalanceKey) -> BalanceChange:
        wallet_id, asset_id = key
        # A market's own shares are those that others have, below zero.
        floor = None if wallet_id == self._collateral and asset_id != self._market.cash_asset_id else 0
        return BalanceChange(wallet_id, asset_id, self._posted[key], self._held[key], floor)

    def _trade(self, number: int, role: Role, fill: Fill, order: _Progress, fee_bps: int) -> None:
        """One order's part of a fill: its shares, its money, its fee, its position."""
        market = self._market
        price = mirrored(fill.left_price, order.outcome)
        notional = worth(price, fill.shares)
        charged = fee_of(order.fee_accrued)
        order.filled += fill.shares
        order.notional += notional
        order.fee_accrued += notional * fee_bps
        fee = fee_of(order.fee_accrued) - charged
        asset_id = market.asset_id(order.outcome)
        shares = (order.wallet_id, asset_id)
        position = self._positions.get(shares) or self._position_before(shares)
        if order.side is Side.BUY:
            moved = -notional - fee
            self._posted[shares] += fill.shares
            self._positions[shares] = position.bought(fill.shares, price)
        else:
            moved = notional - fee
            self._posted[shares] -= fill.shares
            self._positions[shares] = position.sold(fill.shares, price)
        self._posted[order.wallet_id, market.cash_asset_id] += moved
        self._posted[self._fees] += fee
        self._trades.append(
            Trade(
                number=number,
                order_id=order.order_id,
                wallet_id=order.wallet_id,
                asset_id=asset_id,
                role=role,
                side=order.side,
                outcome=order.outcome,
                price=price,
                shares=fill.shares,
                notional=notional,
                fee=fee,
            )
        )

    def _make_pairs(self, shares: int) -> None:
        """Two buyers' money becomes collateral and a pair of shares; with two sellers the reverse."""
        self._posted[self._collateral, self._market.cash_asset_id] += shares
        self._posted[self._collateral, self._market.left_asset_id] -= shares
        self._posted[self._collateral, self._market.right_asset_id] -= shares

    def _position_before(self, key: BalanceKey) -> Position:
        books = self._books.get(key, PositionBooks(0, 0))
        return Position(self._balances.get(key, _NOTHING).posted, books.cost, books.realized)


def _new_hold(market: Market, order: NewOrder, own: _Progress) -> NewHold:
    """What is kept back for what is left of a LIMIT order."""
    if order.shares is None or order.limit is None:
        raise ValueError("only a LIMIT order rests")
    rest = order.shares - own.filled
    amount = hold_of(own.side, order.limit, rest, own.notional, own.fee_accrued, market.terms)
    return NewHold(own.order_id, own.wallet_id, paid_asset_id(market, order), amount)


def _status(met: Match, *, rests: bool) -> OrderStatus:
    if met.stop is Stop.COMPLETE:
        return OrderStatus.FILLED
    if not rests:
        return OrderStatus.CANCELED
    return OrderStatus.PARTIAL if met.fills else OrderStatus.OPEN


def _shares_shown(order: NewOrder, own: _Progress) -> int:
    """What an order is for: one for a budget, the shares that it got for it."""
    return own.filled if order.shares is None or order.budget is not None else order.shares

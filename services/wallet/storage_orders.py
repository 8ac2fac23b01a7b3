"""Orders in Postgres: each placed, and each end of some, in one transaction under its market's lock."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import asyncpg

from chassis.clock import Clock
from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, Detail, SealgateError, gravest
from chassis.limits import MATCHED_ORDERS_COUNT, OPEN_ORDERS_PER_WALLET_COUNT, ORDERS_ENDED_AT_ONCE_COUNT
from chassis.turns import Turns
from services.wallet.domain.amendment import Amendment, Decrease, OpenOrder, amended, unaffordable
from services.wallet.domain.audit import Act
from services.wallet.domain.listing import KnownMarket, PlacedOrder
from services.wallet.domain.market import BookSide, Market, MarketStatus, Outcome
from services.wallet.domain.matching import RestingOrder
from services.wallet.domain.order import NewOrder, OrderStatus, Side, TimeInForce, check_not_expired
from services.wallet.domain.settlement import (
    BalanceKey,
    Funds,
    PositionBooks,
    Settlement,
    Taker,
    balances_involved,
    decrease,
    end_orders,
    place,
)
from services.wallet.domain.wallet import Reach, not_found
from services.wallet.storage import found, within
from services.wallet.storage_listings import placed_order
from services.wallet.storage_settlement import Placement, settlement_document

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_LOCK_WALLET_AND_MARKET: Final = _queries.lock_wallet_and_market
_FIND_WALLET_AND_MARKET: Final = _queries.find_wallet_and_market
_LIST_REACHED_ORDERS: Final = _queries.list_reached_orders
_LOCK_BALANCES: Final = _queries.lock_balances
_SETTLE: Final = _queries.settle
_FIND_OPEN_ORDER: Final = _queries.find_open_order
_FIND_MARKET_OF_ORDER: Final = _queries.find_market_of_order
_FIND_MARKETS_OF_WALLET: Final = _queries.find_markets_of_wallet
_LOCK_MARKETS: Final = _queries.lock_markets
_CLOSE_MARKET: Final = _queries.close_market
_LIST_LIVE_ORDERS_OF_WALLET: Final = _queries.list_live_orders_of_wallet
_LIST_RESTING_ORDERS_OF_MARKET: Final = _queries.list_resting_orders_of_market
_LIST_EXPIRED_ORDERS_OF_MARKET: Final = _queries.list_expired_orders_of_market
_LIST_MARKETS_WITH_EXPIRED_ORDERS: Final = _queries.list_markets_with_expired_orders
_LOCK_RESTING_ORDERS: Final = _queries.lock_resting_orders

_CONFLICTS: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_ATTEMPTS_COUNT: Final = 4

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _LockedMarket:
    """A market whose book is nobody else's, as it stands."""

    known: KnownMarket
    market: Market
    seq: int


class OrderStorage:
    """See `services.wallet.ports.OrderStore`; `open_orders_per_wallet_count` is the cap on open orders."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        open_orders_per_wallet_count: int = OPEN_ORDERS_PER_WALLET_COUNT,
    ) -> None:
        self._database = database
        # Asked under the market's lock: what a reader has seen expire must not be filled by an order
        # that came before and had to wait.
        self._clock = clock
        self._turns: Turns[int] = Turns()
        self._open_orders_per_wallet_count = open_orders_per_wallet_count

    async def place_order(
        self,
        reach: Reach,
        wallet_id: uuid.UUID,
        known: KnownMarket,
        order: NewOrder,
        order_id: uuid.UUID,
        act: Act,
    ) -> PlacedOrder:
        """See `OrderStore.place_order`; four statements."""
        taker = Taker(order_id, reach.account_id, wallet_id)

        async def placed() -> PlacedOrder:
            async with self._database.transaction() as tx:
                return await self._place(tx, reach, known, order, taker, act)

        return await self._in_turn([known.market_id], placed)

    async def amend_order(
        self,
        reach: Reach,
        wallet_id: uuid.UUID,
        known: KnownMarket,
        order_id: uuid.UUID,
        amendment: Amendment,
        new_order_id: uuid.UUID,
        act: Act,
    ) -> PlacedOrder:
        """See `OrderStore.amend_order`; three statements, or five."""
        taker = Taker(new_order_id, reach.account_id, wallet_id)

        async def changed() -> PlacedOrder:
            async with self._database.transaction() as tx:
                return await self._amend(tx, reach, known, order_id, amendment, taker, act)

        return await self._in_turn([known.market_id], changed)

    async def reached_orders(
        self, reach: Reach, wallet_id: uuid.UUID, known: KnownMarket, order: NewOrder, now_ns: int
    ) -> list[RestingOrder]:
        """See `OrderStore.reached_orders`."""
        row = found(
            await self._database.fetchrow(_FIND_WALLET_AND_MARKET, *within(reach, wallet_id), known.market_id)
        )
        if MarketStatus(row["status"]) is not MarketStatus.OPEN:
            raise SealgateError(Code.MARKET_CLOSED)
        rows = await self._database.fetch(_LIST_REACHED_ORDERS, *_reached_by(known, order, now_ns))
        return [_resting_order(row) for row in rows]

    async def cancel_order(self, reach: Reach, wallet_id: uuid.UUID, order_id: uuid.UUID) -> None:
        """See `OrderStore.cancel_order`; four statements."""
        row = await self._database.fetchrow(_FIND_MARKET_OF_ORDER, *within(reach, wallet_id), order_id)
        market_id = found(row)["market_id"]
        if market_id is None:
            raise SealgateError(Code.ORDER_NOT_FOUND)

        async def canceled() -> None:
            async with self._database.transaction() as tx:
                await tx.execute(_LOCK_MARKETS, [market_id])
                now_ns = self._clock.now_ns()
                rows = await tx.fetch(_LOCK_RESTING_ORDERS, [order_id])
                if not rows or _has_expired(rows[0], now_ns):
                    raise SealgateError(Code.ORDER_NOT_OPEN)
                await _end(tx, rows, now_ns)

        await self._in_turn([market_id], canceled)

    async def cancel_all_orders(self, reach: Reach, wallet_id: uuid.UUID) -> list[uuid.UUID]:
        """See `OrderStore.cancel_all_orders`; five statements."""
        rows = await self._database.fetch(_FIND_MARKETS_OF_WALLET, *within(reach, wallet_id))
        if not rows:
            raise not_found()
        market_ids = [row["market_id"] for row in rows if row["market_id"] is not None]

        async def canceled() -> list[uuid.UUID]:
            async with self._database.transaction() as tx:
                await tx.execute(_LOCK_MARKETS, market_ids)
                now_ns = self._clock.now_ns()
                open_rows = await tx.fetch(_LIST_LIVE_ORDERS_OF_WALLET, wallet_id, market_ids, now_ns)
                order_ids = [row["order_id"] for row in open_rows]
                await _end_ids(tx, order_ids, now_ns)
                return order_ids

        return await self._in_turn(market_ids, canceled)

    async def close_market(self, known: KnownMarket, act: Act) -> int:
        """See `OrderStore.close_market`; in parts, whose balances are locked in the common order."""

        async def closed() -> int:
            async with self._database.transaction() as tx:
                await tx.execute(_LOCK_MARKETS, [known.market_id])
                now_ns, canceled_count = self._clock.now_ns(), 0
                while True:
                    rows = await tx.fetch(
                        _LIST_RESTING_ORDERS_OF_MARKET, known.market_id, ORDERS_ENDED_AT_ONCE_COUNT
                    )
                    if not rows:
                        break
                    order_ids = [row["order_id"] for row in rows]
                    canceled_count += await _end_ids(tx, order_ids, now_ns)
                who = (act.actor_kind, act.actor_id, act.request_id)
                await tx.execute(_CLOSE_MARKET, known.market_id, now_ns, *who)
                return canceled_count

        return await self._in_turn([known.market_id], closed)

    async def end_expired_orders(self) -> int:
        """See `OrderStore.end_expired_orders`; a transaction a market, and a failure when all were tried.

        A market that somebody keeps for long, or whose end of orders the database refuses, must not keep back
        what was held for orders in others.
        """
        now_ns, ended_count = self._clock.now_ns(), 0
        failures: dict[int, Exception] = {}
        while True:
            failed_count = len(failures)
            rows = await self._database.fetch(
                _LIST_MARKETS_WITH_EXPIRED_ORDERS, now_ns, ORDERS_ENDED_AT_ONCE_COUNT, list(failures)
            )
            for row in rows:
                market_id = row["market_id"]
                try:
                    ended_count += await self._in_turn([market_id], partial(self._expire, market_id, now_ns))
                except Exception as error:  # noqa: BLE001  (told below)
                    failures[market_id] = error
            # Once more without those that failed: their orders may be all that were listed.
            if len(failures) == failed_count:
                break
        if failures:
            raise gravest(failures.values())
        return ended_count

    async def _in_turn(self, market_ids: Sequence[int], work: Callable[[], Awaitable[_Result]]) -> _Result:
        """The result of a transaction about these markets' books, begun again after a deadlock.

        In a shared transaction the connection is taken already: waiting here would keep it from
        whoever has the turn, so the row's lock alone decides.
        """
        if self._database.in_shared_transaction():
            return await _repeated_after_deadlock(work)
        async with self._turns.turn(market_ids):
            return await _repeated_after_deadlock(work)

    async def _place(
        self,
        tx: Transaction,
        reach: Reach,
        known: KnownMarket,
        order: NewOrder,
        taker: Taker,
        act: Act,
    ) -> PlacedOrder:
        locked = await _lock(tx, reach, taker.wallet_id, known)
        now_ns = self._clock.now_ns()
        check_not_expired(order.draft, now_ns)
        return await self._match(tx, locked, order, taker, act, now_ns)

    async def _amend(
        self,
        tx: Transaction,
        reach: Reach,
        known: KnownMarket,
        order_id: uuid.UUID,
        amendment: Amendment,
        taker: Taker,
        act: Act,
    ) -> PlacedOrder:
        locked = await _lock(tx, reach, taker.wallet_id, known)
        now_ns = self._clock.now_ns()
        row = await tx.fetchrow(_FIND_OPEN_ORDER, order_id, taker.wallet_id)
        if row is None or _has_expired(row, now_ns):
            raise SealgateError(Code.ORDER_NOT_OPEN)
        resting = _resting_order(row)
        standing = OpenOrder(
            resting, TimeInForce(row["time_in_force"]), row["expires_at_ns"], row["post_only"]
        )
        outcome = amended(standing, amendment, known.market.terms)
        if isinstance(outcome, Decrease):
            settlement = decrease(resting, outcome.shares, known.market.terms)
            document = settlement_document(settlement, [known.market_id], None)
            await tx.execute(_SETTLE, document, now_ns, None, None, None)
            return replace(placed_order(row), shares=outcome.shares, updated_at_ns=now_ns)
        try:
            return await self._match(tx, locked, outcome, taker, act, now_ns, replaced=resting)
        except SealgateError as error:
            if error.code is not Code.INSUFFICIENT_BALANCE:
                raise
            raise unaffordable(error, resting.filled) from None

    async def _match(
        self,
        tx: Transaction,
        locked: _LockedMarket,
        order: NewOrder,
        taker: Taker,
        act: Act,
        now_ns: int,
        *,
        replaced: RestingOrder | None = None,
    ) -> PlacedOrder:
        """Matches a new order, in the stead of one that rests or beside all others, and writes it all."""
        known = locked.known
        rows = await tx.fetch(_LIST_REACHED_ORDERS, *_reached_by(known, order, now_ns))
        resting = [_resting_order(row) for row in rows]
        keys = balances_involved(locked.market, taker, order, resting)
        rows = await tx.fetch(
            _LOCK_BALANCES,
            [wallet_id for wallet_id, _ in keys],
            [asset_id for _, asset_id in keys],
            taker.wallet_id,
            order.draft.client_order_id,
            now_ns,
        )
        # Before what the wallet can afford: an order sent twice has usually spent it already.
        if rows[0]["namesake_id"] is not None:
            detail = Detail("client_order_id", f"is that of order {rows[0]['namesake_id']}")
            raise SealgateError(Code.CLIENT_ORDER_ID_USED, details=(detail,))
        balances, positions = _locked_balances(rows)
        settlement = place(locked.market, taker, order, resting, balances, positions, replaced)
        others_count = rows[0]["open_orders_count"] - (replaced is not None)
        if settlement.new_hold is not None and others_count >= self._open_orders_per_wallet_count:
            raise SealgateError(Code.ORDER_LIMIT_REACHED)
        placed = _placed_order(known, order, taker, settlement, now_ns)
        placement = Placement(known, order, taker, locked.seq + 1, act, replaced)
        document = settlement_document(settlement, [known.market_id], placement)
        await tx.execute(_SETTLE, document, now_ns, act.request_id, act.actor_kind, act.actor_id)
        return placed

    async def _expire(self, market_id: int, now_ns: int) -> int:
        async with self._database.transaction() as tx:
            await tx.execute(_LOCK_MARKETS, [market_id])
            rows = await tx.fetch(
                _LIST_EXPIRED_ORDERS_OF_MARKET, market_id, now_ns, ORDERS_ENDED_AT_ONCE_COUNT
            )
            await _end_ids(tx, [row["order_id"] for row in rows], now_ns)
            return len(rows)


async def _lock(tx: Transaction, reach: Reach, wallet_id: uuid.UUID, known: KnownMarket) -> _LockedMarket:
    """Keeps everybody else out of a wallet's orders and a market's book until the end of the transaction."""
    row = found(await tx.fetchrow(_LOCK_WALLET_AND_MARKET, *within(reach, wallet_id), known.market_id))
    return _LockedMarket(known, replace(known.market, status=MarketStatus(row["status"])), row["seq"])


def _locked_balances(
    rows: Sequence[asyncpg.Record],
) -> tuple[dict[BalanceKey, Funds], dict[BalanceKey, PositionBooks]]:
    """The balances that there are, and what is kept of their positions."""
    balances = {
        (row["wallet_id"], row["asset_id"]): Funds(row["posted"], row["held"])
        for row in rows
        if row["wallet_id"] is not None
    }
    positions = {
        (row["wallet_id"], row["asset_id"]): PositionBooks(row["cost"], row["realized"])
        for row in rows
        if row["cost"] is not None
    }
    return balances, positions


async def _repeated_after_deadlock(work: Callable[[], Awaitable[_Result]]) -> _Result:
    """The result of a transaction that is begun again when the database ended it to break a deadlock.

    The order of locks is there so that there is none; but a caller could not tell one from an outage.
    """
    for _ in range(_ATTEMPTS_COUNT - 1):
        try:
            return await work()
        except SealgateError as error:
            if not isinstance(error.__cause__, _CONFLICTS):
                raise
    return await work()


async def _end_ids(tx: Transaction, order_ids: Sequence[uuid.UUID], now_ns: int) -> int:
    """Ends orders that rest in locked markets, if there are any; how many were cancelled by that."""
    if not order_ids:
        return 0
    return await _end(tx, await tx.fetch(_LOCK_RESTING_ORDERS, order_ids), now_ns)


async def _end(tx: Transaction, rows: Sequence[asyncpg.Record], now_ns: int) -> int:
    """Ends locked orders: those whose time is over are EXPIRED, as they have been shown since then.

    The others are CANCELED, and counted.
    """
    expired = [row for row in rows if _has_expired(row, now_ns)]
    live = [row for row in rows if not _has_expired(row, now_ns)]
    for part, status in ((expired, OrderStatus.EXPIRED), (live, OrderStatus.CANCELED)):
        if part:
            settlement = end_orders((_resting_order(row) for row in part), status)
            market_ids = sorted({row["market_id"] for row in part})
            document = settlement_document(settlement, market_ids, None)
            # Nothing is traded: there is no movement of money that somebody had to answer for.
            await tx.execute(_SETTLE, document, now_ns, None, None, None)
    return len(live)


def _reached_by(known: KnownMarket, order: NewOrder, now_ns: int) -> tuple[object, ...]:
    """The arguments that say how far into the other side of the book an order can reach."""
    other_side = BookSide.ASK if order.book_side is BookSide.BID else BookSide.BID
    worst_rank = order.left_limit
    if worst_rank is not None and other_side is BookSide.BID:
        worst_rank = -worst_rank
    return (
        known.market_id,
        other_side,
        now_ns,
        worst_rank,
        order.shares,
        order.budget,
        order.outcome,
        # And the one behind them: without it, the book would seem to end with the last that it may meet.
        MATCHED_ORDERS_COUNT + 1,
    )


def _has_expired(row: asyncpg.Record, now_ns: int) -> bool:
    return row["expires_at_ns"] is not None and row["expires_at_ns"] <= now_ns


def _resting_order(row: asyncpg.Record) -> RestingOrder:
    return RestingOrder(
        order_id=row["order_id"],
        account_id=row["account_id"],
        wallet_id=row["wallet_id"],
        side=Side(row["side"]),
        outcome=Outcome(row["outcome"]),
        price=row["price"],
        shares=row["shares"],
        filled=row["filled"],
        notional=row["notional"],
        fee_accrued=row["fee_accrued"],
        held_asset_id=row["held_asset_id"],
        hold_remaining=row["hold_remaining"],
    )


def _placed_order(
    known: KnownMarket, order: NewOrder, taker: Taker, settlement: Settlement, now_ns: int
) -> PlacedOrder:
    draft, standing = order.draft, settlement.order
    if standing is None:
        raise SealgateError(Code.INTERNAL, internal="an order was placed without one")
    return PlacedOrder(
        order_id=taker.order_id,
        market_id=known.market_id,
        token_id=known.token_id(order.outcome),
        side=draft.side,
        order_type=draft.order_type,
        time_in_force=draft.time_in_force,
        amount=draft.amount,
        units=draft.units,
        price=draft.price,
        shares=standing.shares,
        filled=standing.filled,
        notional=standing.notional,
        fee_charged=standing.fee_charged,
        status=standing.status,
        client_order_id=draft.client_order_id,
        expires_at_ns=draft.expires_at_ns,
        created_at_ns=now_ns,
        updated_at_ns=now_ns,
    )

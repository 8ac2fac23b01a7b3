"""What Postgres shows of orders, trades and positions; every page is read from committed rows."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import asyncpg

from chassis.db.queries import load_queries
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from services.wallet.domain.listing import (
    ListedOrder,
    ListedPosition,
    ListedTrade,
    PlacedOrder,
    SignedOrder,
)
from services.wallet.domain.market import Outcome
from services.wallet.domain.order import AmountUnits, OrderStatus, OrderType, Side, TimeInForce
from services.wallet.domain.position import Position
from services.wallet.domain.statement import Page
from services.wallet.domain.wallet import Reach, not_found
from services.wallet.storage import found, within
from services.wallet.storage_markets import MarketStorage

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_GET_ORDER: Final = _queries.get_order
_FIND_ORDER_OF_REQUEST: Final = _queries.find_order_of_request
_LIST_ORDERS: Final = _queries.list_orders
_LIST_LIVE_ORDERS: Final = _queries.list_live_orders
_LIST_TRADES: Final = _queries.list_trades
_LIST_POSITIONS: Final = _queries.list_positions


class ListingStorage:
    """See `services.wallet.ports.ListingStore`; lists with markets are two statements."""

    def __init__(self, database: Database, markets: MarketStorage) -> None:
        self._database = database
        self._markets = markets

    async def get_order(self, reach: Reach, wallet_id: uuid.UUID, order_id: uuid.UUID) -> PlacedOrder:
        """See `ListingStore.get_order`."""
        row = found(await self._database.fetchrow(_GET_ORDER, *within(reach, wallet_id), order_id))
        if row["order_id"] is None:
            raise SealgateError(Code.ORDER_NOT_FOUND)
        return placed_order(row)

    async def order_of_request(self, reach: Reach, request_id: uuid.UUID) -> SignedOrder | None:
        """See `ListingStore.order_of_request`."""
        row = await self._database.fetchrow(
            _FIND_ORDER_OF_REQUEST, reach.account_id, request_id, reach.subaccount_index
        )
        if row is None:
            return None
        return SignedOrder(placed_order(row), row["wallet_id"], row["processed_at_ns"], row["is_replacement"])

    async def list_orders(
        self, reach: Reach, wallet_id: uuid.UUID, page: Page, now_ns: int
    ) -> list[ListedOrder]:
        """See `ListingStore.list_orders`."""
        rows = await self._rows(_LIST_ORDERS, reach, wallet_id, page)
        return await self._with_markets(rows, now_ns)

    async def list_live_orders(
        self, reach: Reach, wallet_id: uuid.UUID, page: Page, now_ns: int
    ) -> list[ListedOrder]:
        """See `ListingStore.list_live_orders`."""
        rows = await self._rows(_LIST_LIVE_ORDERS, reach, wallet_id, page, now_ns)
        return await self._with_markets(rows, now_ns)

    async def list_trades(self, reach: Reach, wallet_id: uuid.UUID, page: Page) -> list[ListedTrade]:
        """See `ListingStore.list_trades`."""
        rows = await self._rows(_LIST_TRADES, reach, wallet_id, page)
        return [
            ListedTrade(
                order_id=row["order_id"],
                token_id=row["token_id"],
                side=Side(row["side"]),
                price=row["price"],
                shares=row["shares"],
                notional=row["notional"],
                created_at_ns=row["created_at_ns"],
            )
            for row in rows
            if row["order_id"] is not None
        ]

    async def list_positions(
        self, reach: Reach, wallet_id: uuid.UUID, page: Page, now_ns: int
    ) -> list[ListedPosition]:
        """See `ListingStore.list_positions`."""
        rows = await self._rows(_LIST_POSITIONS, reach, wallet_id, page)
        rows = [row for row in rows if row["market_id"] is not None]
        markets = await self._markets.shown_markets([row["market_id"] for row in rows], now_ns)
        return [
            ListedPosition(
                token_id=row["token_id"],
                outcome=Outcome(row["outcome"]),
                position=Position(row["shares"], row["cost"], row["realized"]),
                created_at_ns=row["created_at_ns"],
                market=markets[row["market_id"]],
            )
            for row in rows
        ]

    async def _rows(
        self, sql: str, reach: Reach, wallet_id: uuid.UUID, page: Page, *more: object
    ) -> list[asyncpg.Record]:
        """A page of what a wallet has; a single row of nulls stands for an empty one."""
        rows = await self._database.fetch(sql, *within(reach, wallet_id), page.limit, page.offset, *more)
        if not rows:
            raise not_found()
        return rows

    async def _with_markets(self, rows: list[asyncpg.Record], now_ns: int) -> list[ListedOrder]:
        orders = [placed_order(row) for row in rows if row["order_id"] is not None]
        markets = await self._markets.shown_markets(list({order.market_id: None for order in orders}), now_ns)
        return [ListedOrder(order, markets[order.market_id]) for order in orders]


def placed_order(row: asyncpg.Record) -> PlacedOrder:
    """The order of a row that has all its columns."""
    return PlacedOrder(
        order_id=row["order_id"],
        market_id=row["market_id"],
        token_id=row["token_id"],
        side=Side(row["side"]),
        order_type=OrderType(row["type"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        amount=row["amount"],
        units=AmountUnits(row["units"]),
        price=row["price"],
        shares=row["shares"],
        filled=row["filled"],
        notional=row["notional"],
        fee_charged=row["fee_charged"],
        status=OrderStatus(row["status"]),
        client_order_id=row["client_order_id"],
        expires_at_ns=row["expires_at_ns"],
        created_at_ns=row["created_at_ns"],
        updated_at_ns=row["updated_at_ns"],
    )

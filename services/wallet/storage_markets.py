"""Markets in Postgres: making them, showing them, and the memory of what never changes about them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import asyncpg

from chassis.db.queries import load_queries
from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.limits import BOOK_LEVELS_COUNT, KNOWN_MARKETS_COUNT
from services.wallet.domain.audit import Act
from services.wallet.domain.listing import Book, KnownMarket, Level, ShownEvent, ShownMarket
from services.wallet.domain.market import (
    Market,
    MarketStatus,
    Outcome,
    Terms,
    collateral_wallet,
    fees_wallet,
    new_condition_id,
    token_id,
)
from services.wallet.domain.new_market import NewMarket
from services.wallet.domain.statement import Page

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_INSERT_EVENT: Final = _queries.insert_event
_TOUCH_EVENT: Final = _queries.touch_event
_INSERT_MARKET: Final = _queries.insert_market
_FIND_MARKET: Final = _queries.find_market
_LIST_NEWEST_MARKETS: Final = _queries.list_newest_markets
_GET_MARKETS: Final = _queries.get_markets
_GET_BOOK: Final = _queries.get_book


class MarketStorage:
    """See `services.wallet.ports.MarketStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # By condition id and by either token. Terms never change, so what was read stays true.
        self._known: dict[str, KnownMarket] = {}

    async def by_condition(self, condition_id: str) -> KnownMarket:
        """See `MarketStore.by_condition`."""
        return await self._find(condition_id, Code.MARKET_NOT_FOUND)

    async def by_token(self, token_id: str) -> KnownMarket:
        """See `MarketStore.by_token`."""
        return await self._find(token_id, Code.TOKEN_NOT_FOUND)

    async def create_market(
        self, new: NewMarket, market_uuid: uuid.UUID, event_id: uuid.UUID, act: Act
    ) -> ShownMarket:
        """See `MarketStore.create_market`."""
        async with self._database.transaction() as tx:
            if new.event_id is None:
                facts = (new.event_title, new.event_slug, "", list(new.tags))
                await tx.execute(_INSERT_EVENT, event_id, *facts, act.at_ns, new.ends_at_ns)
            elif await tx.fetchval(_TOUCH_EVENT, new.event_id, act.at_ns) is None:
                raise SealgateError(Code.EVENT_NOT_FOUND)
            arguments = _new_market_arguments(new, market_uuid, new.event_id or event_id, act)
            market_id = await tx.fetchval(_INSERT_MARKET, *arguments)
        return (await self.shown_markets([market_id], act.at_ns))[market_id]

    async def list_markets(self, page: Page, now_ns: int) -> list[ShownMarket]:
        """See `MarketStore.list_markets`; two statements."""
        rows = await self._database.fetch(_LIST_NEWEST_MARKETS, page.limit, page.offset)
        shown = await self.shown_markets([row["market_id"] for row in rows], now_ns)
        return list(shown.values())

    async def get_market(self, known: KnownMarket, now_ns: int) -> ShownMarket:
        """See `MarketStore.get_market`."""
        return (await self.shown_markets([known.market_id], now_ns))[known.market_id]

    async def get_book(self, known: KnownMarket, now_ns: int) -> Book:
        """See `MarketStore.get_book`; one statement, so that orders and number belong together."""
        rows = await self._database.fetch(_GET_BOOK, known.market_id, now_ns, BOOK_LEVELS_COUNT)
        sides: dict[str | None, list[Level]] = {"BID": [], "ASK": [], None: []}
        for row in rows:
            sides[row["book_side"]].append(Level(row["price"], row["shares"]))
        return Book(rows[0]["seq"], tuple(sides["BID"]), tuple(sides["ASK"]))

    async def shown_markets(self, market_ids: list[int], now_ns: int) -> dict[int, ShownMarket]:
        """The markets of these numbers with their prices at a time, newest first; one statement."""
        if not market_ids:
            return {}
        rows = await self._database.fetch(_GET_MARKETS, market_ids, now_ns)
        return {row["market_id"]: _shown_market(row) for row in rows}

    async def _find(self, name: str, missing: Code) -> KnownMarket:
        known = self._known.get(name)
        if known is None:
            row = await self._database.fetchrow(_FIND_MARKET, name)
            if row is None:
                raise SealgateError(missing)
            known = _known_market(row)
            if len(self._known) >= KNOWN_MARKETS_COUNT:
                self._known.clear()
            self._known[name] = known
        return known


def _new_market_arguments(
    new: NewMarket, market_uuid: uuid.UUID, event_id: uuid.UUID, act: Act
) -> tuple[object, ...]:
    condition_id = new_condition_id(market_uuid)
    collateral, fees = collateral_wallet(condition_id), fees_wallet(condition_id)
    return (
        token_id(condition_id, Outcome.LEFT),
        token_id(condition_id, Outcome.RIGHT),
        collateral.wallet_id,
        collateral.name,
        fees.wallet_id,
        fees.name,
        condition_id,
        event_id,
        new.question,
        new.outcome,
        new.slug,
        new.description,
        new.left_outcome,
        new.right_outcome,
        new.terms.tick,
        new.terms.lot,
        new.terms.min_shares,
        new.terms.maker_fee_bps,
        act.at_ns,
        new.terms.taker_fee_bps,
        new.ends_at_ns,
        act.actor_kind,
        act.actor_id,
        act.request_id,
    )


def _terms(row: asyncpg.Record) -> Terms:
    return Terms(
        tick=row["tick"],
        lot=row["lot"],
        min_shares=row["min_shares"],
        maker_fee_bps=row["maker_fee_bps"],
        taker_fee_bps=row["taker_fee_bps"],
    )


def _known_market(row: asyncpg.Record) -> KnownMarket:
    market = Market(
        condition_id=row["condition_id"],
        terms=_terms(row),
        status=MarketStatus.OPEN,
        cash_asset_id=row["cash_asset_id"],
        left_asset_id=row["left_asset_id"],
        right_asset_id=row["right_asset_id"],
    )
    return KnownMarket(row["market_id"], market, row["left_token_id"], row["right_token_id"])


def _shown_market(row: asyncpg.Record) -> ShownMarket:
    return ShownMarket(
        market_id=row["market_id"],
        condition_id=row["condition_id"],
        question=row["question"],
        outcome=row["outcome"],
        slug=row["slug"],
        description=row["description"],
        image=row["image"],
        left_outcome=row["left_outcome"],
        right_outcome=row["right_outcome"],
        left_token_id=row["left_token_id"],
        right_token_id=row["right_token_id"],
        terms=_terms(row),
        status=MarketStatus(row["status"]),
        last_price=row["last_price"],
        best_bid=row["best_bid"],
        best_ask=row["best_ask"],
        volume=row["volume"],
        created_at_ns=row["created_at_ns"],
        updated_at_ns=row["updated_at_ns"],
        ends_at_ns=row["ends_at_ns"],
        event=_shown_event(row),
    )


def _shown_event(row: asyncpg.Record) -> ShownEvent:
    return ShownEvent(
        event_id=row["event_id"],
        title=row["title"],
        slug=row["event_slug"],
        description=row["event_description"],
        image=row["event_image"],
        tags=row["tags"],
        labels=row["labels"],
        active=row["event_active"],
        volume=row["event_volume"],
        created_at_ns=row["event_created_at_ns"],
        updated_at_ns=row["event_updated_at_ns"],
        ends_at_ns=row["event_ends_at_ns"],
    )

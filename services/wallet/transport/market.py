"""Markets and books: domain values to messages, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chassis.clock import Clock
from chassis.rpc.timestamps import timestamp, timestamp_or_none
from sealgate.wallet.v1 import market_pb2, market_pb2_grpc
from services.wallet.domain.listing import Level, ShownEvent, ShownMarket
from services.wallet.domain.market import ONE, SCALE, MarketStatus, condition_id_of
from services.wallet.ports import MarketStore
from services.wallet.transport.messages import Context, amount_text, page_of

# What nobody keeps.
_NOT_KEPT = "0"


class MarketServicer(market_pb2_grpc.MarketServiceServicer):
    """What can be traded; for everybody."""

    def __init__(self, markets: MarketStore, clock: Clock) -> None:
        self._markets = markets
        self._clock = clock

    async def ListMarkets(
        self, request: market_pb2.ListMarketsRequest, context: Context
    ) -> market_pb2.ListMarketsResponse:
        """Lists markets, newest first."""
        markets = await self._markets.list_markets(page_of(request), self._clock.now_ns())
        return market_pb2.ListMarketsResponse(markets=[listed_market_message(one) for one in markets])

    async def GetMarket(
        self, request: market_pb2.GetMarketRequest, context: Context
    ) -> market_pb2.GetMarketResponse:
        """Returns one market."""
        known = await self._markets.by_condition(condition_id_of(request.condition_id))
        market = await self._markets.get_market(known, self._clock.now_ns())
        return market_pb2.GetMarketResponse(market=listed_market_message(market))

    async def GetBook(
        self, request: market_pb2.GetBookRequest, context: Context
    ) -> market_pb2.GetBookResponse:
        """Returns a market's book."""
        known = await self._markets.by_condition(condition_id_of(request.condition_id))
        book = await self._markets.get_book(known, self._clock.now_ns())
        return market_pb2.GetBookResponse(
            book=market_pb2.Book(
                condition_id=known.market.condition_id,
                bids=_levels(book.bids),
                asks=_levels(book.asks),
                seq=book.seq,
            )
        )


def market_message(market: ShownMarket) -> market_pb2.Market:
    """A market without its event."""
    return market_pb2.Market(**_market_fields(market))


def listed_market_message(market: ShownMarket) -> market_pb2.ListedMarket:
    """A market beside its event."""
    return market_pb2.ListedMarket(**_market_fields(market), event=event_message(market.event))


def event_message(event: ShownEvent) -> market_pb2.Event:
    """What one or more markets ask about."""
    return market_pb2.Event(
        event_id=str(event.event_id),
        title=event.title,
        slug=event.slug,
        description=event.description,
        image=event.image,
        tags=event.tags,
        labels=event.labels,
        neg_risk=False,
        active=event.active,
        liquidity=_NOT_KEPT,
        volume=amount_text(event.volume),
        volume24hr=_NOT_KEPT,
        created_at=timestamp(event.created_at_ns),
        updated_at=timestamp(event.updated_at_ns),
        ends_at=timestamp_or_none(event.ends_at_ns),
    )


def _market_fields(market: ShownMarket) -> dict[str, Any]:
    """The fields that `Market` and `ListedMarket` have in common."""
    terms = market.terms
    return {
        "event_id": str(market.event.event_id),
        "condition_id": market.condition_id,
        "question": market.question,
        "outcome": market.outcome,
        "slug": market.slug,
        "description": market.description,
        "image": market.image,
        "left_outcome": market.left_outcome,
        "right_outcome": market.right_outcome,
        "left_price": amount_text(market.left_price),
        "right_price": amount_text(ONE - market.left_price),
        "left_token_id": market.left_token_id,
        "right_token_id": market.right_token_id,
        "winner_token_id": "",
        "active": market.status is MarketStatus.OPEN,
        "resolved": False,
        "fees": market_pb2.MarketFees(maker_bps=terms.maker_fee_bps, taker_bps=terms.taker_fee_bps),
        "decimals": SCALE,
        "tick": amount_text(terms.tick),
        "lot": amount_text(terms.lot),
        "min_amount": amount_text(terms.min_shares),
        "liquidity": _NOT_KEPT,
        "volume": amount_text(market.volume),
        "created_at": timestamp(market.created_at_ns),
        "updated_at": timestamp(market.updated_at_ns),
        "ends_at": timestamp_or_none(market.ends_at_ns),
    }


def _levels(levels: Sequence[Level]) -> list[market_pb2.BookLevel]:
    return [
        market_pb2.BookLevel(price=amount_text(level.price), shares=amount_text(level.shares))
        for level in levels
    ]

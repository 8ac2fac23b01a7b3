"""Positions: domain values to messages, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.rpc.timestamps import timestamp
from sealgate.wallet.v1 import position_pb2, position_pb2_grpc
from services.wallet.domain.listing import ListedPosition
from services.wallet.domain.market import Outcome, mirrored
from services.wallet.domain.money import format_amount
from services.wallet.domain.position import valuation
from services.wallet.domain.wallet import wallet_id_of
from services.wallet.ports import ListingStore
from services.wallet.transport.market import event_message, market_message
from services.wallet.transport.messages import Context, amount_text, page_of, reach

# Digits behind the point of a percentage.
_PERCENT_SCALE: Final = 2


class PositionServicer(position_pb2_grpc.PositionServiceServicer):
    """What the caller's own wallets hold in outcomes."""

    def __init__(self, listings: ListingStore, clock: Clock) -> None:
        self._listings = listings
        self._clock = clock

    async def ListPositions(
        self, request: position_pb2.ListPositionsRequest, context: Context
    ) -> position_pb2.ListPositionsResponse:
        """Lists a wallet's outcome shares, largest cost first."""
        wallet_id = wallet_id_of(request.wallet_id)
        positions = await self._listings.list_positions(
            reach(), wallet_id, page_of(request), self._clock.now_ns()
        )
        return position_pb2.ListPositionsResponse(positions=[_listed_position(one) for one in positions])


def _listed_position(listed: ListedPosition) -> position_pb2.ListedPosition:
    market = listed.market
    current_price = mirrored(market.left_price, listed.outcome)
    valued = valuation(listed.position, current_price)
    return position_pb2.ListedPosition(
        position=position_pb2.Position(
            token_id=listed.token_id,
            outcome=market.left_outcome if listed.outcome is Outcome.LEFT else market.right_outcome,
            shares=amount_text(listed.position.shares),
            avg_price=amount_text(valued.average_price),
            current_price=amount_text(current_price),
            initial_value=amount_text(valued.initial_value),
            current_value=amount_text(valued.current_value),
            amount_pnl=amount_text(valued.amount_pnl),
            percent_pnl=format_amount(valued.percent_pnl, _PERCENT_SCALE),
            redeemable=False,
            created_at=timestamp(listed.created_at_ns),
        ),
        event=event_message(market.event),
        market=market_message(market),
    )

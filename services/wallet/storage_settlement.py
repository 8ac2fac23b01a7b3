"""A settlement as the JSON document that `settle` in `queries.sql` writes to the tables."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.wallet.domain.audit import Act
from services.wallet.domain.listing import KnownMarket
from services.wallet.domain.matching import RestingOrder
from services.wallet.domain.order import NewOrder
from services.wallet.domain.settlement import OrderChange, Settlement, Taker, Trade

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Placement:
    """The facts of a new order; `seq` is its place in time in its market.

    `replaced` is the order in whose stead it is placed.
    """

    known: KnownMarket
    order: NewOrder
    taker: Taker
    seq: int
    act: Act
    replaced: RestingOrder | None


def settlement_document(
    settlement: Settlement, market_ids: Sequence[int], placement: Placement | None
) -> str:
    """The document; amounts are JSON integers of any length, which Postgres reads exactly.

    With a `placement` the settlement's own order is inserted. `market_ids` are the markets whose
    books change.
    """
    return _encode(
        {
            "updates": [
                {
                    "wallet_id": str(change.wallet_id),
                    "asset_id": change.asset_id,
                    "posted": change.posted,
                    "held": change.held,
                }
                for change in settlement.updates
            ],
            "inserts": [
                {
                    "wallet_id": str(change.wallet_id),
                    "asset_id": change.asset_id,
                    "posted": change.posted,
                    "floor": change.floor,
                }
                for change in settlement.inserts
            ],
            "legs": [
                {
                    "number": number,
                    "wallet_id": str(leg.wallet_id),
                    "asset_id": leg.asset_id,
                    "amount": leg.amount,
                }
                for number, leg in enumerate(settlement.legs, start=1)
            ],
            "placed": _placed(settlement, placement),
            "orders": [_order(change) for change in settlement.orders],
            "new_holds": _new_holds(settlement),
            "holds": [
                {"order_id": str(hold.order_id), "remaining": hold.remaining} for hold in settlement.holds
            ],
            "trades": _trades(settlement),
            "positions": [
                {
                    "wallet_id": str(position.wallet_id),
                    "asset_id": position.asset_id,
                    "cost": position.cost,
                    "realized": position.realized,
                }
                for position in settlement.positions
            ],
            "markets": [
                {
                    "market_id": market_id,
                    "last_price": settlement.last_price,
                    "volume": settlement.volume,
                }
                for market_id in market_ids
            ],
        }
    )


def _placed(settlement: Settlement, placement: Placement | None) -> list[dict[str, Any]]:
    if placement is None or settlement.order is None:
        return []
    market, draft, act = placement.known.market, placement.order.draft, placement.act
    return [
        _order(settlement.order)
        | {
            "market_id": placement.known.market_id,
            "seq": placement.seq,
            "wallet_id": str(placement.taker.wallet_id),
            "account_id": str(placement.taker.account_id),
            "asset_id": market.asset_id(placement.order.outcome),
            "outcome": placement.order.outcome,
            "side": draft.side,
            "type": draft.order_type,
            "time_in_force": draft.time_in_force,
            "amount": draft.amount,
            "units": draft.units,
            "price": draft.price,
            "client_order_id": draft.client_order_id,
            "expires_at_ns": draft.expires_at_ns,
            "post_only": draft.post_only,
            "request_id": str(act.request_id) if act.is_signed else None,
            "processed_at_ns": act.at_ns if act.is_signed else None,
            "replaced_order_id": None if placement.replaced is None else str(placement.replaced.order_id),
        }
    ]


def _order(change: OrderChange) -> dict[str, Any]:
    return {
        "order_id": str(change.order_id),
        "status": change.status,
        "shares": change.shares,
        "filled": change.filled,
        "notional": change.notional,
        "fee_accrued": change.fee_accrued,
        "fee_charged": change.fee_charged,
    }


def _new_holds(settlement: Settlement) -> list[dict[str, Any]]:
    hold = settlement.new_hold
    if hold is None:
        return []
    return [
        {
            "order_id": str(hold.order_id),
            "wallet_id": str(hold.wallet_id),
            "asset_id": hold.asset_id,
            "amount": hold.amount,
        }
    ]


def _trades(settlement: Settlement) -> list[dict[str, Any]]:
    """The fills, each with how much of its order was filled before: where the one before it ended."""
    changes = settlement.orders if settlement.order is None else (*settlement.orders, settlement.order)
    filled_before = defaultdict[uuid.UUID, int](int) | {change.order_id: change.filled for change in changes}
    for trade in settlement.trades:
        filled_before[trade.order_id] -= trade.shares
    rows = []
    for trade in settlement.trades:
        rows.append(_trade(trade, filled_before[trade.order_id]))
        filled_before[trade.order_id] += trade.shares
    return rows


def _trade(trade: Trade, filled_before: int) -> dict[str, Any]:
    return {
        "order_id": str(trade.order_id),
        "filled_before": filled_before,
        "wallet_id": str(trade.wallet_id),
        "number": trade.number,
        "role": trade.role,
        "price": trade.price,
        "shares": trade.shares,
        "notional": trade.notional,
        "fee": trade.fee,
    }

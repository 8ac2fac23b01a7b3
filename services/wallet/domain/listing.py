"""What is shown of markets, orders, trades and positions: values as they were read, and their views."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from services.wallet.domain.market import Market, MarketStatus, Outcome, Terms, shown_price
from services.wallet.domain.order import AmountUnits, OrderStatus, OrderType, Side, TimeInForce
from services.wallet.domain.position import Position


@dataclass(frozen=True, slots=True)
class KnownMarket:
    """What of a market never changes, under the number that storage knows it by.

    The `status` of `market` is not among that: whoever looks it up fills it in.
    """

    market_id: int
    market: Market
    left_token_id: str
    right_token_id: str

    def outcome_of(self, token_id: str) -> Outcome:
        """The outcome that a token of this market is about."""
        return Outcome.LEFT if token_id == self.left_token_id else Outcome.RIGHT

    def token_id(self, outcome: Outcome) -> str:
        """The token of an outcome."""
        return self.left_token_id if outcome is Outcome.LEFT else self.right_token_id


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """What one or more markets ask about; `volume` is that of all its markets."""

    event_id: uuid.UUID
    title: str
    slug: str
    description: str
    image: str
    tags: Sequence[str]
    labels: Sequence[str]
    active: bool
    volume: int
    created_at_ns: int
    updated_at_ns: int
    ends_at_ns: int | None


@dataclass(frozen=True, slots=True)
class ShownMarket:
    """A market beside its event; best prices are in terms of the left outcome, None without orders."""

    market_id: int
    condition_id: str
    question: str
    outcome: str
    slug: str
    description: str
    image: str
    left_outcome: str
    right_outcome: str
    left_token_id: str
    right_token_id: str
    terms: Terms
    status: MarketStatus
    last_price: int | None
    best_bid: int | None
    best_ask: int | None
    volume: int
    created_at_ns: int
    updated_at_ns: int
    ends_at_ns: int | None
    event: ShownEvent

    @property
    def left_price(self) -> int:
        """What a share of the left outcome is shown to be worth."""
        return shown_price(self.last_price, self.best_bid, self.best_ask)


@dataclass(frozen=True, slots=True)
class Level:
    """All live orders of one price."""

    price: int
    shares: int


@dataclass(frozen=True, slots=True)
class Book:
    """A market's live orders by price, best first, as they stood at `seq`."""

    seq: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order as it was written; see `seen_at` for what it is to a reader."""

    order_id: uuid.UUID
    market_id: int
    token_id: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    amount: int
    units: AmountUnits
    price: int | None
    shares: int
    filled: int
    notional: int
    fee_charged: int
    status: OrderStatus
    client_order_id: str | None
    expires_at_ns: int | None
    created_at_ns: int
    updated_at_ns: int

    def is_resting_at(self, now_ns: int) -> bool:
        """Whether it can still be filled."""
        return is_resting(self.status) and (self.expires_at_ns is None or now_ns < self.expires_at_ns)

    def status_at(self, now_ns: int) -> OrderStatus:
        """Where it stands: an order has expired at its expiration, not when somebody notices."""
        if is_resting(self.status) and not self.is_resting_at(now_ns):
            return OrderStatus.EXPIRED
        return self.status

    def updated_at_ns_at(self, now_ns: int) -> int:
        """When it last changed; for one that nobody has ended yet, its expiration."""
        if self.expires_at_ns is not None and self.status_at(now_ns) is not self.status:
            return self.expires_at_ns
        return self.updated_at_ns


def is_resting(status: OrderStatus) -> bool:
    """Whether an order of this status stands in the book."""
    return status in (OrderStatus.OPEN, OrderStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """The order that a signed request placed, perhaps in another's stead; it counts as decided then."""

    order: PlacedOrder
    wallet_id: uuid.UUID
    processed_at_ns: int
    is_replacement: bool


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """An order with its market."""

    order: PlacedOrder
    market: ShownMarket


@dataclass(frozen=True, slots=True)
class ListedTrade:
    """What one order got at one price; `notional` is price times shares."""

    order_id: uuid.UUID
    token_id: str
    side: Side
    price: int
    shares: int
    notional: int
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class ListedPosition:
    """Shares of an outcome with their market."""

    token_id: str
    outcome: Outcome
    position: Position
    created_at_ns: int
    market: ShownMarket

"""A book deeper than what one order may meet, on a real database."""

from __future__ import annotations

from typing import Final

from chassis.limits import MATCHED_ORDERS_COUNT
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from services.wallet.app import audit
from tests.integration.trading_support import BUY, CANCELED, FAK, FILLED, MARKET, open_trading

# Behind the last resting order that one order meets.
DEEPER: Final = 2


async def test_order_that_meets_the_most_it_may_does_not_rest_across_the_others(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """What is left of it is cancelled, its hold with it; the next order meets those that were left."""
    world = await open_trading(database_factory, clock, ids, open_orders_count=MATCHED_ORDERS_COUNT + DEEPER)
    market = await world.market()
    maker, taker = await world.trader("1000"), await world.trader("5000")
    for _ in range(MATCHED_ORDERS_COUNT + DEEPER):
        await world.place(maker, market.right_token_id, BUY, "0.6", "1")

    met = await world.place(taker, market.left_token_id, BUY, "0.5", str(MATCHED_ORDERS_COUNT + 100))
    assert (met.status, met.filled) == (CANCELED, f"{MATCHED_ORDERS_COUNT}.000000")
    assert await world.book(market.condition_id) == ([], [("0.400000", f"{DEEPER}.000000")])
    assert await world.usdc(taker) == ("4600.000000", "4600.000000")
    assert await audit(world.fresh.dsn_as("sealgate_wallet_owner")) == []

    rest = await world.order(
        taker, token_id=market.left_token_id, side=BUY, type=MARKET, amount=str(DEEPER), time_in_force=FAK
    )
    assert (rest.status, rest.filled) == (FILLED, f"{DEEPER}.000000")

"""Taking turns at a market's book within this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class MarketTurns:
    """Lets one after the other to a market's book, in the order of their coming.

    The lock on the market's row does that for all processes, and keeps the books right without this.
    But whoever waits there has a connection meanwhile, so that one busy market would take them all
    from everybody else. Who waits here has none, and as long as his deadline lets him; how many can
    be is bounded by the calls that a listener admits.
    """

    def __init__(self) -> None:
        # A lock is there for as long as somebody has or awaits it.
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, market_ids: Iterable[int]) -> AsyncIterator[None]:
        """The turn at all of these markets; asked for in one order, so nobody waits in a ring."""
        async with AsyncExitStack() as stack:
            for market_id in sorted(set(market_ids)):
                lock = self._locks.get(market_id)
                if lock is None:
                    lock = self._locks[market_id] = asyncio.Lock()
                await stack.enter_async_context(lock)
            yield

"""Taking turns within this process, so that nobody waits for a lock of the database with a connection."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

_Key = TypeVar("_Key", int, uuid.UUID)


class Turns(Generic[_Key]):
    """Lets one after the other to what keys name, in the order of their coming.

    The locks of rows do that for all processes, and keep the records right without this. But whoever
    waits there has a connection meanwhile, so that one busy row would take them all from everybody
    else. Who waits here has none, and as long as his deadline lets him; how many can be is bounded by the
    calls that a listener admits.
    """

    def __init__(self) -> None:
        # A lock is there for as long as somebody has or awaits it.
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, keys: Iterable[_Key]) -> AsyncIterator[None]:
        """The turn at all of these; asked for in one order, so nobody waits in a ring."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                lock = self._locks.get(key)
                if lock is None:
                    lock = self._locks[key] = asyncio.Lock()
                await stack.enter_async_context(lock)
            yield

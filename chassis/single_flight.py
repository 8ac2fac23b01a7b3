"""One question for all who ask it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Answer = TypeVar("_Answer")


class SingleFlight(Generic[_Key, _Answer]):
    """Asks `ask` about a key once for all who want to know at the same time; remembers nothing.

    The question runs in a task and a context of its own: neither the deadline nor the end of whoever
    came first is that of the others. Its failure is everybody's who waits.
    """

    def __init__(self, ask: Callable[[_Key], Awaitable[_Answer]]) -> None:
        self._ask = ask
        self._asking: dict[_Key, asyncio.Task[_Answer]] = {}

    def is_asking(self, key: _Key) -> bool:
        """Whether a question about `key` is on its way, whose answer may be older than who joins it now."""
        return key in self._asking

    async def answer(self, key: _Key) -> _Answer:
        """The answer about `key`, to the question on its way if there is one; raises what that raises."""
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._asked(key), context=Context())
            self._asking[key] = task
            task.add_done_callback(lambda ended: self._end(key, ended))
        # One request that gives up must not take the answer from the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends the questions that are on their way; whoever waits for one is cancelled."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _asked(self, key: _Key) -> _Answer:
        return await self._ask(key)

    def _end(self, key: _Key, ended: asyncio.Task[_Answer]) -> None:
        del self._asking[key]
        if not ended.cancelled():
            # Asked for here, a failure that nobody waited out is not reported as forgotten.
            ended.exception()

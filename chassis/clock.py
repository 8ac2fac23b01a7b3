"""Time as an argument: the only module that asks the machine what time it is."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

NANOSECONDS_PER_SECOND: Final = 1_000_000_000


class Clock(Protocol):
    """What a process needs of time; tests pass one that they move by hand."""

    def now_ns(self) -> int:
        """Wall-clock time, Unix nanoseconds."""
        ...

    def monotonic_ns(self) -> int:
        """A clock that never goes back, nanoseconds from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """See `Clock.monotonic_ns`."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)

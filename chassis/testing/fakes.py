"""Time and identifiers under a test's control."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
from typing import Final
from uuid import UUID

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.ids import uuid7_from

START_NS: Final = 1_767_225_600 * NANOSECONDS_PER_SECOND
"""2026-01-01T00:00:00Z, where every FakeClock starts."""


class FakeClock:
    """A `Clock` that stands still until a test moves it."""

    def __init__(self) -> None:
        self._elapsed_ns = 0
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return START_NS + self._elapsed_ns

    def monotonic_ns(self) -> int:
        """See `Clock.monotonic_ns`; starts at one second."""
        return NANOSECONDS_PER_SECOND + self._elapsed_ns

    async def sleep(self, seconds: float) -> None:
        """Returns when the clock was moved `seconds` ahead, at once for none."""
        if seconds <= 0:
            return
        woken = asyncio.get_running_loop().create_future()
        due_ns = self._elapsed_ns + round(seconds * NANOSECONDS_PER_SECOND)
        heapq.heappush(self._sleepers, (due_ns, next(self._order), woken))
        await woken

    def advance(self, *, seconds: float) -> None:
        """Moves time ahead and wakes who slept until then; they run when the test next awaits."""
        self.advance_ns(round(seconds * NANOSECONDS_PER_SECOND))

    def advance_ns(self, duration_ns: int) -> None:
        """As `advance`, in nanoseconds; raises ValueError for a step back."""
        if duration_ns < 0:
            raise ValueError("time does not go back")
        self._elapsed_ns += duration_ns
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_ns:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)


class CountingIds:
    """`Ids` that are the same in every run: valid UUIDv7 of the clock's time, in order of creation."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._count = itertools.count(1)

    def uuid7(self) -> UUID:
        """See `Ids.uuid7`."""
        return uuid7_from(self._clock.now_ns(), next(self._count).to_bytes(10, "big"))

    def seed(self) -> bytes:
        """See `Ids.seed`; looks random, so that its text forms do too."""
        return hashlib.sha256(b"sealgate test seed %d" % next(self._count)).digest()

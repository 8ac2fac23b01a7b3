"""What a load process counts, and how it tells the process that started it."""

from __future__ import annotations

import json
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock

# What the last answers may take after the measured time, before the run is given up.
GRACE_SECONDS: Final = 30.0
_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000


class Recorder:
    """Counts the answers that come while its window is open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = False
        self._opened_ns = 0
        self._seconds = 0.0
        self._took_ns = array("Q")
        self._outcomes: Counter[str] = Counter()
        self.running = True

    def add(self, took_ns: int, outcome: str) -> None:
        """Counts an answer that took so long and ended so."""
        if self._open:
            self._took_ns.append(took_ns)
            self._outcomes[outcome] += 1

    async def measure(self, warm_seconds: float, seconds: float) -> None:
        """Lets the load warm up, then counts for `seconds`; says when it begins and when it has ended."""
        await self._clock.sleep(warm_seconds)
        tell("measuring")
        self._opened_ns = self._clock.monotonic_ns()
        self._open = True
        await self._clock.sleep(seconds)
        self._open = False
        self._seconds = (self._clock.monotonic_ns() - self._opened_ns) / NANOSECONDS_PER_SECOND
        tell("measured")
        self.running = False

    def tell_result(self) -> None:
        """Says what was counted."""
        tell("result", **summary(self._took_ns, self._seconds), outcomes=dict(self._outcomes))


def summary(took_ns: Sequence[int], seconds: float) -> dict[str, Any]:
    """Throughput and latencies of answers counted in `seconds`."""
    ordered = sorted(took_ns)
    return {
        "requests": len(ordered),
        "seconds": seconds,
        "requests_per_second": len(ordered) / seconds if seconds else 0.0,
        "p50_ms": quantile(ordered, 0.50) / _NANOSECONDS_PER_MILLISECOND,
        "p99_ms": quantile(ordered, 0.99) / _NANOSECONDS_PER_MILLISECOND,
    }


def quantile(ordered: Sequence[int], part: float) -> int:
    """The least value that at least this part of `ordered` does not exceed; 0 of nothing."""
    if not ordered:
        return 0
    # Counted in thousandths, so that no fraction is rounded up to the next value.
    rank = -(-len(ordered) * round(1000 * part) // 1000)
    return ordered[max(rank, 1) - 1]


def tell(event: str, **fields: Any) -> None:  # noqa: ANN401 - whatever JSON has
    """One line for the process that started this one."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()

"""Exact moving windows: never more than a limit's count in any 60 seconds.

The strategy is that of the library `limits`; what it keeps is kept here, over the injected clock's
monotonic time, without the threads and the wall clock of the library's own memory storage.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import MovingWindowRateLimiter

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.limits import RATE_LIMIT_WINDOWS_COUNT

# Every new window gives back at most so many idle ones: more than it takes, and never a long pause.
_IDLE_AT_ONCE_COUNT: Final = 8


@dataclass(frozen=True, slots=True)
class Limit:
    """How often something may happen, under the name that answers give it."""

    name: str
    item: RateLimitItem

    @classmethod
    def per_minute(cls, name: str, count: int) -> Limit:
        """At most `count` in any 60 seconds."""
        return cls(name, RateLimitItemPerMinute(count))

    @property
    def length_ns(self) -> int:
        """How long a place stays taken."""
        return self.item.get_expiry() * NANOSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Claim:
    """One limit as it applies to one holder, such as a credential."""

    limit: Limit
    holder: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a claim stands: how much of it is left, and in how long the next place becomes free.

    `wait_ns` is 0 where nothing was taken.
    """

    limit: Limit
    remaining_count: int
    wait_ns: int


class RateLimiter(Protocol):
    """Takes from several moving windows together or from none."""

    async def look(self, claims: Sequence[Claim]) -> list[Standing]:
        """How the claims stand, in their order; takes nothing."""
        ...

    async def take(self, claims: Sequence[Claim]) -> tuple[bool, list[Standing]]:
        """Takes one of each claim when all have one left, else of none; whether, and how they stand then."""
        ...


class ProcessRateLimiter:
    """The `RateLimiter` of one process by itself; nothing in it waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows = MovingWindows(clock)
        self._strategy = MovingWindowRateLimiter(self._windows)

    def __len__(self) -> int:
        """How many windows are kept."""
        return len(self._windows)

    async def look(self, claims: Sequence[Claim]) -> list[Standing]:
        """See `RateLimiter.look`."""
        return self._look(claims)

    async def take(self, claims: Sequence[Claim]) -> tuple[bool, list[Standing]]:
        """See `RateLimiter.take`."""
        # Nobody comes between looking and taking: there is no await in here.
        standings = self._look(claims)
        if not all(standing.remaining_count for standing in standings):
            return False, standings
        for claim in claims:
            self._strategy.hit(claim.limit.item, claim.limit.name, claim.holder)
        return True, [less_one(standing) for standing in standings]

    def _look(self, claims: Sequence[Claim]) -> list[Standing]:
        return [self._standing(claim) for claim in claims]

    def _standing(self, claim: Claim) -> Standing:
        limit = claim.limit
        reset_seconds, remaining_count = self._strategy.get_window_stats(limit.item, limit.name, claim.holder)
        if remaining_count == limit.item.amount:
            return Standing(limit, remaining_count, 0)
        wait_ns = round(reset_seconds * NANOSECONDS_PER_SECOND) - self._clock.monotonic_ns()
        return Standing(limit, remaining_count, wait_ns)


def less_one(before: Standing) -> Standing:
    """How a claim stands once one more is taken."""
    wait_ns = before.wait_ns or before.limit.length_ns
    return Standing(before.limit, before.remaining_count - 1, wait_ns)


@dataclass(slots=True)
class _Window:
    """When each place of a window was taken, oldest first, in monotonic nanoseconds."""

    length_ns: int
    taken_at_ns: deque[int]

    def drop_past(self, now_ns: int) -> None:
        """Forgets what lies a whole window back: a place taken at t is free again at t + length."""
        taken_at_ns, start_ns = self.taken_at_ns, now_ns - self.length_ns
        while taken_at_ns and taken_at_ns[0] <= start_ns:
            taken_at_ns.popleft()


class MovingWindows(Storage, MovingWindowSupport):
    """The windows of one process, by key; to be used from one thread.

    Each place taken is dropped once, so that a call costs the same whatever a window holds. Idle
    windows are given back as others come, and past 200,000 the one that was unused for longest, which
    then counts from nothing.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        # In the order in which they were last taken from.
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Takes `amount` places of the `limit` that a window of `expiry` seconds has, or none."""
        now_ns = self._clock.monotonic_ns()
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(expiry * NANOSECONDS_PER_SECOND, deque())
            self._give_back(now_ns)
        window.drop_past(now_ns)
        if len(window.taken_at_ns) + amount > limit:
            return False
        window.taken_at_ns.extend([now_ns] * amount)
        self._windows.move_to_end(key)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest taken place was taken, in monotonic seconds, and how many are taken."""
        del limit, expiry
        now_ns = self._clock.monotonic_ns()
        window = self._windows.get(key)
        if window is None:
            return now_ns / NANOSECONDS_PER_SECOND, 0
        window.drop_past(now_ns)
        oldest_ns = window.taken_at_ns[0] if window.taken_at_ns else now_ns
        return oldest_ns / NANOSECONDS_PER_SECOND, len(window.taken_at_ns)

    def _give_back(self, now_ns: int) -> None:
        """Drops idle windows, and one that is not when there are too many; the newest stays."""
        for _ in range(_IDLE_AT_ONCE_COUNT):
            oldest = next(iter(self._windows.values()))
            oldest.drop_past(now_ns)
            is_idle = not oldest.taken_at_ns and len(self._windows) > 1
            if not is_idle and len(self._windows) <= RATE_LIMIT_WINDOWS_COUNT:
                return
            self._windows.popitem(last=False)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the library would wrap: nothing in here can fail."""
        return OSError

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int:
        """Forgets everything; how many windows that were."""
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forgets one window."""
        self._windows.pop(key, None)

    def incr(self, key: str, expiry: int, amount: int = 1) -> NoReturn:
        """Not a moving window's: the library asks it of storages for fixed ones."""
        raise NotImplementedError

    def get(self, key: str) -> NoReturn:
        """See `incr`."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> NoReturn:
        """See `incr`."""
        raise NotImplementedError

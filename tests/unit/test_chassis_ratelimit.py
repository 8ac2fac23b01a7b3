"""Moving windows one by one: the border, who is counted apart, and what they cost in memory."""

from __future__ import annotations

from typing import Final

import pytest

from chassis.limits import RATE_LIMIT_WINDOWS_COUNT
from chassis.ratelimit import Claim, Limit, MovingWindows, ProcessRateLimiter, Standing
from chassis.rpc.limiting import rate_limited
from chassis.testing.fakes import FakeClock

WINDOW_NS: Final = 60 * 10**9
TWO: Final = Limit.per_minute("read", 2)


async def test_place_is_free_again_sixty_seconds_after_it_was_taken(clock: FakeClock) -> None:
    """Not a nanosecond earlier, and only that one."""
    limiter = ProcessRateLimiter(clock)
    claims = [Claim(TWO, "a")]
    assert (await limiter.take(claims))[0]
    clock.advance(seconds=10)
    assert (await limiter.take(claims))[0]
    clock.advance_ns(WINDOW_NS - 10 * 10**9 - 1)
    assert not (await limiter.take(claims))[0]
    clock.advance_ns(1)
    assert (await limiter.take(claims))[0]
    assert not (await limiter.take(claims))[0]


async def test_refused_calls_are_not_counted(clock: FakeClock) -> None:
    """Whoever keeps on calling is let in as soon as whoever waits."""
    limiter = ProcessRateLimiter(clock)
    claims = [Claim(TWO, "a")]
    assert [(await limiter.take(claims))[0] for _ in range(50)] == [True, True] + [False] * 48
    clock.advance_ns(WINDOW_NS)
    assert [(await limiter.take(claims))[0] for _ in range(3)] == [True, True, False]


async def test_holders_and_limits_are_counted_apart(clock: FakeClock) -> None:
    """Another holder, or the same one under another limit, has all of it."""
    limiter = ProcessRateLimiter(clock)
    for claim in (Claim(TWO, "a"), Claim(TWO, "b"), Claim(Limit.per_minute("write", 2), "a")):
        assert [(await limiter.take([claim]))[0] for _ in range(3)] == [True, True, False]


async def test_looking_takes_nothing(clock: FakeClock) -> None:
    """An untouched window has all of it and nothing to wait for."""
    limiter = ProcessRateLimiter(clock)
    for _ in range(5):
        (standing,) = await limiter.look([Claim(TWO, "a")])
        assert (standing.remaining_count, standing.wait_ns) == (2, 0)
    assert len(limiter) == 0


async def test_call_that_is_let_in_is_told_when_the_oldest_place_is_free_again(clock: FakeClock) -> None:
    """That of the first call of the window, also after a later one."""
    limiter = ProcessRateLimiter(clock)
    claims = [Claim(TWO, "a")]
    for remaining_count, wait_ns in ((1, WINDOW_NS), (0, WINDOW_NS - 10 * 10**9)):
        is_taken, (standing,) = await limiter.take(claims)
        assert (is_taken, standing.remaining_count, standing.wait_ns) == (True, remaining_count, wait_ns)
        clock.advance(seconds=10)


async def test_idle_windows_are_given_back_when_others_come(clock: FakeClock) -> None:
    """Memory follows the callers of the last minute, not those of all time."""
    limiter = ProcessRateLimiter(clock)
    for number in range(1000):
        await limiter.take([Claim(TWO, f"early-{number}")])
    assert len(limiter) == 1000
    clock.advance_ns(WINDOW_NS)
    for number in range(200):
        await limiter.take([Claim(TWO, f"late-{number}")])
    assert len(limiter) == 200


async def test_window_in_use_is_never_given_back_as_idle(clock: FakeClock) -> None:
    """Though it was opened long before all the others."""
    limiter = ProcessRateLimiter(clock)
    await limiter.take([Claim(TWO, "old")])
    clock.advance_ns(WINDOW_NS - 1)
    await limiter.take([Claim(TWO, "old")])
    clock.advance_ns(1)
    for number in range(100):
        await limiter.take([Claim(TWO, f"new-{number}")])
    (standing,) = await limiter.look([Claim(TWO, "old")])
    assert standing.remaining_count == 1


async def test_windows_stay_within_their_bound(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past it the one unused for longest goes, so that a flood of holders costs a fixed amount."""
    assert RATE_LIMIT_WINDOWS_COUNT == 200_000
    monkeypatch.setattr("chassis.ratelimit.RATE_LIMIT_WINDOWS_COUNT", 100)
    limiter = ProcessRateLimiter(clock)
    for number in range(1000):
        await limiter.take([Claim(TWO, f"holder-{number}")])
        await limiter.take([Claim(TWO, "busy")])
        assert len(limiter) <= 100
    assert (await limiter.take([Claim(TWO, "busy")]))[0] is False
    assert (await limiter.look([Claim(TWO, "holder-999")]))[0].remaining_count == 1


async def test_window_that_is_taken_from_outlasts_those_that_are_not(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old it is: a flood of holders makes nobody's count begin anew who goes on calling."""
    monkeypatch.setattr("chassis.ratelimit.RATE_LIMIT_WINDOWS_COUNT", 100)
    limiter = ProcessRateLimiter(clock)
    steady = [Claim(Limit.per_minute("read", 1000), "steady")]
    for number in range(500):
        await limiter.take(steady)
        await limiter.take([Claim(TWO, f"holder-{number}")])
    (standing,) = await limiter.look(steady)
    assert standing.remaining_count == 500


def test_refusal_tells_the_longest_of_the_waits_that_are_needed() -> None:
    """Where several windows are full; one that has a place left keeps nobody waiting."""
    standings = [
        Standing(TWO, 0, 5 * 10**9),
        Standing(Limit.per_minute("account-read", 20), 0, 30 * 10**9 - 1),
        Standing(Limit.per_minute("write", 2), 1, WINDOW_NS),
    ]
    assert rate_limited(standings).retry_after_seconds == 30


def test_full_window_holds_no_more_than_its_limit(clock: FakeClock) -> None:
    """What a window keeps is bounded by the limit, however long it is in use."""
    windows = MovingWindows(clock)
    for _ in range(10_000):
        windows.acquire_entry("key", 10, 60)
        clock.advance(seconds=0.1)
    assert len(windows._windows["key"].taken_at_ns) <= 10

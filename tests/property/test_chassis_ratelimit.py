"""The moving window against a list of all times at which something was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from chassis.ratelimit import Claim, Limit, ProcessRateLimiter, Standing
from chassis.testing.fakes import FakeClock

WINDOW_NS: Final = 60 * 10**9
# Pauses of every size, and those around the length of a window, where the border lies.
PAUSES_NS: Final = st.one_of(
    st.integers(0, 20 * 10**9),
    st.integers(WINDOW_NS - 2, WINDOW_NS + 2),
    st.sampled_from([0, 1, WINDOW_NS // 2, WINDOW_NS // 3]),
)


def take(limiter: ProcessRateLimiter, claims: Sequence[Claim]) -> tuple[bool, list[Standing]]:
    """What is taken, without an event loop: a limiter of one process never waits."""
    try:
        limiter.take(claims).send(None)
    except StopIteration as ended:
        decision: tuple[bool, list[Standing]] = ended.value
        return decision
    raise AssertionError("the limiter waits for something")


def fullest_window(taken_at_ns: Sequence[int]) -> int:
    """The most that any 60 seconds hold; the fullest begin at something that was taken."""
    return max(
        (sum(start <= at < start + WINDOW_NS for at in taken_at_ns) for start in taken_at_ns), default=0
    )


@given(count=st.integers(1, 6), pauses_ns=st.lists(PAUSES_NS, max_size=60))
def test_no_sixty_seconds_ever_hold_more_than_the_limit(count: int, pauses_ns: list[int]) -> None:
    """Whenever calls come, and only a call whose window is full is refused."""
    clock = FakeClock()
    limiter = ProcessRateLimiter(clock)
    claims = [Claim(Limit.per_minute("read", count), "somebody")]
    taken_at_ns: list[int] = []
    for pause_ns in pauses_ns:
        clock.advance_ns(pause_ns)
        now_ns = clock.monotonic_ns()
        in_window = sum(at > now_ns - WINDOW_NS for at in taken_at_ns)
        taken, _ = take(limiter, claims)
        assert taken is (in_window < count)
        if taken:
            taken_at_ns.append(now_ns)
    assert fullest_window(taken_at_ns) <= count


@given(
    own_count=st.integers(1, 4),
    shared_count=st.integers(1, 8),
    calls=st.lists(st.tuples(PAUSES_NS, st.integers(0, 2)), max_size=60),
)
def test_two_windows_are_taken_from_together_or_not_at_all(
    own_count: int, shared_count: int, calls: list[tuple[int, int]]
) -> None:
    """A credential's and its account's: what either refuses costs the other nothing."""
    clock = FakeClock()
    limiter = ProcessRateLimiter(clock)
    own, shared = Limit.per_minute("read", own_count), Limit.per_minute("account-read", shared_count)
    taken_at_ns: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for pause_ns, holder in calls:
        clock.advance_ns(pause_ns)
        now_ns = clock.monotonic_ns()
        left = {number: sum(at > now_ns - WINDOW_NS for at in times) for number, times in taken_at_ns.items()}
        taken, standings = take(limiter, [Claim(own, str(holder)), Claim(shared, "all")])
        assert taken is (left[holder] < own_count and sum(left.values()) < shared_count)
        if taken:
            taken_at_ns[holder].append(now_ns)
        assert [standing.remaining_count for standing in standings] == [
            own_count - left[holder] - taken,
            shared_count - sum(left.values()) - taken,
        ]
    assert fullest_window([at for times in taken_at_ns.values() for at in times]) <= shared_count
    assert all(fullest_window(times) <= own_count for times in taken_at_ns.values())


@given(count=st.integers(1, 5), pauses_ns=st.lists(st.integers(0, 15 * 10**9), min_size=1, max_size=30))
def test_next_place_is_free_when_the_answer_says_and_not_before(count: int, pauses_ns: list[int]) -> None:
    """To the nanosecond, however the calls before were spread."""
    clock = FakeClock()
    limiter = ProcessRateLimiter(clock)
    claims = [Claim(Limit.per_minute("read", count), "somebody")]
    for pause_ns in pauses_ns:
        clock.advance_ns(pause_ns)
        taken, (standing,) = take(limiter, claims)
        if not taken:
            clock.advance_ns(standing.wait_ns - 1)
            assert take(limiter, claims)[0] is False
            clock.advance_ns(1)
            assert take(limiter, claims)[0] is True

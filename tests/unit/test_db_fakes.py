"""The clock and the ids that tests of everything else rely on."""

from __future__ import annotations

import asyncio

import pytest

from chassis.clock import Clock
from chassis.ids import Ids
from chassis.testing.fakes import START_NS, CountingIds, FakeClock


async def settle() -> None:
    """Lets every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_fake_clock_moves_only_when_it_is_told(clock: FakeClock) -> None:
    """Wall-clock and monotonic time stand still, and go on together."""
    as_clock: Clock = clock
    monotonic_ns = as_clock.monotonic_ns()
    assert as_clock.now_ns() == START_NS
    clock.advance(seconds=1.5)
    clock.advance_ns(7)
    assert as_clock.now_ns() == START_NS + 1_500_000_007
    assert as_clock.monotonic_ns() == monotonic_ns + 1_500_000_007


async def test_fake_clock_wakes_sleepers_when_their_time_has_come(clock: FakeClock) -> None:
    """A sleeper sleeps until the clock has been moved far enough, and not a nanosecond less."""
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name, seconds in (("late", 2.0), ("early", 1.0), ("at once", 0.0)):
            tasks.create_task(sleep(name, seconds))
        await settle()
        assert woken == ["at once"]
        clock.advance_ns(999_999_999)
        await settle()
        assert woken == ["at once"]
        clock.advance_ns(1)
        await settle()
        assert woken == ["at once", "early"]
        clock.advance(seconds=100)
        await settle()
        assert woken == ["at once", "early", "late"]


async def test_fake_clock_forgets_a_sleeper_that_was_cancelled(clock: FakeClock) -> None:
    """A timeout around a sleep does not trouble a later move of the clock."""
    task = asyncio.create_task(clock.sleep(1))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    clock.advance(seconds=2)


def test_fake_clock_refuses_to_go_back(clock: FakeClock) -> None:
    """Time does not go back, not even in a test."""
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance_ns(-1)


def test_counting_ids_are_valid_ordered_and_the_same_in_every_run(clock: FakeClock, ids: CountingIds) -> None:
    """Ids are version 7 of the clock's time, ascend as they are made, and repeat in the next run."""
    as_ids: Ids = ids
    made = [as_ids.uuid7() for _ in range(3)]
    clock.advance(seconds=1)
    made.append(as_ids.uuid7())
    assert [identifier.version for identifier in made] == [7] * 4
    assert made == sorted(made)
    assert made[0].int >> 80 == START_NS // 1_000_000
    again = CountingIds(FakeClock())
    assert [again.uuid7() for _ in range(3)] == made[:3]


def test_counting_ids_give_seeds_that_differ(ids: CountingIds) -> None:
    """Every seed is 32 bytes of its own."""
    seeds = {ids.seed() for _ in range(100)}
    assert len(seeds) == 100
    assert {len(seed) for seed in seeds} == {32}

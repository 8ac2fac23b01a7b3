"""What a server does by itself while it serves: again and again, through failures, until it stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chassis.errors import Code, SealgateError
from chassis.identity import PassportVerifier
from chassis.rpc.server import BackgroundWork, Close, RpcServer
from chassis.testing.fakes import CountingIds, FakeClock
from tests.contract.rpc_harness import (
    Issuer,
    Script,
    captured_log,
    fixed_ring,
    scripted_services,
    service_config,
)


def server_with(
    clock: FakeClock,
    ids: CountingIds,
    directory: Path,
    work: BackgroundWork,
    closed: list[str],
    *before: Close,
) -> RpcServer:
    """A server with one piece of background work, and what it uses, which is closed after all `before`."""
    issuer = Issuer(clock, fixed_ring())

    async def close() -> None:
        closed.append("closed")

    return RpcServer(
        service_config(directory),
        scripted_services(Script()),
        clock=clock,
        ids=ids,
        verifier=PassportVerifier("test-deployment", clock, issuer.public_keys),
        exchanger=issuer,
        closers=[*before, close],
        background=[work],
    )


class Rounds:
    """Counts the rounds of some work, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.count = 0
        self.fails_with: Exception | None = None
        self._done = asyncio.Event()

    async def work(self) -> None:
        self.count += 1
        self._done.set()
        if self.fails_with is not None:
            raise self.fails_with

    async def next(self) -> None:
        """Returns when a round was begun since the last call."""
        async with asyncio.timeout(30):
            await self._done.wait()
        self._done.clear()
        # Its sleep begins in the same step of the loop or the next.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_background_work_is_done_each_second_of_the_clock(
    clock: FakeClock, ids: CountingIds, short_directory: Path
) -> None:
    """From the start on, and not before a second has passed; after the stop no more."""
    rounds, closed = Rounds(), list[str]()
    server = server_with(clock, ids, short_directory, rounds.work, closed)
    assert rounds.count == 0
    await server.start()
    await rounds.next()
    clock.advance(seconds=0.9)
    await asyncio.sleep(0)
    assert rounds.count == 1
    clock.advance(seconds=0.1)
    await rounds.next()
    assert rounds.count == 2
    await server.stop()
    clock.advance(seconds=10)
    await asyncio.sleep(0)
    assert (rounds.count, closed) == (2, ["closed"])


async def test_background_work_goes_on_after_a_failure_that_is_logged_without_its_text(
    clock: FakeClock, ids: CountingIds, short_directory: Path
) -> None:
    """One bad round costs one round."""
    rounds = Rounds()
    server = server_with(clock, ids, short_directory, rounds.work, [])
    rounds.fails_with = ValueError("a secret in the text")
    with captured_log() as lines:
        await server.start()
        await rounds.next()
        rounds.fails_with = None
        clock.advance(seconds=1)
        await rounds.next()
        await server.stop()
        (failure,) = [line for line in lines() if line["message"] == "background work failed"]
    assert (failure["level"], failure["error"]["type"]) == ("error", "ValueError")
    assert "secret" not in str(lines())
    assert rounds.count == 2


async def test_background_work_says_once_that_it_waits_through_an_outage(
    clock: FakeClock, ids: CountingIds, short_directory: Path
) -> None:
    """Not each second of it, and again for the next outage; it is no failure of the work."""
    rounds = Rounds()
    server = server_with(clock, ids, short_directory, rounds.work, [])
    away = SealgateError(Code.UNAVAILABLE, internal="the database is away")
    with captured_log() as lines:
        await server.start()
        for fails_with in (away, away, away, None, away):
            rounds.fails_with = fails_with
            clock.advance(seconds=1)
            await rounds.next()
        await server.stop()
        waits = [line for line in lines() if line["message"] == "background work waits"]
    assert [(line["level"], line["reason"]) for line in waits] == [("info", "the database is away")] * 2


async def test_stopping_ends_a_running_round_before_what_it_uses_is_closed(
    clock: FakeClock, ids: CountingIds, short_directory: Path
) -> None:
    """It is cancelled, and has cleaned up after itself when the closers run."""
    happened: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            happened.append("ended")

    server = server_with(clock, ids, short_directory, work, happened)
    await server.start()
    await begun.wait()
    await server.stop()
    assert happened == ["ended", "closed"]


async def test_what_cannot_be_closed_keeps_nothing_else_open(
    clock: FakeClock, ids: CountingIds, short_directory: Path
) -> None:
    """In its order, and the process still ends by what went wrong."""
    happened: list[str] = []

    async def fail() -> None:
        happened.append("failed")
        raise OSError("broken")

    server = server_with(clock, ids, short_directory, Rounds().work, happened, fail)
    await server.start()
    with pytest.raises(OSError, match="broken"):
        await server.stop()
    assert happened == ["failed", "closed"]


async def test_listener_that_cannot_be_stopped_lets_background_work_end_first(
    clock: FakeClock, ids: CountingIds, short_directory: Path
) -> None:
    """What a round uses is there until its end, also when the process ends by what went wrong."""
    happened: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            # As a transaction that is rolled back, it takes some rounds of the loop.
            for _ in range(9):
                await asyncio.wait([asyncio.ensure_future(begun.wait())])
            happened.append("ended")

    server = server_with(clock, ids, short_directory, work, happened)
    await server.start()
    await begun.wait()

    async def fail() -> None:
        raise OSError("broken")

    server._internal._retiring.add(asyncio.create_task(fail()))
    with pytest.raises(OSError, match="broken"):
        await server.stop()
    assert happened == ["ended", "closed"]

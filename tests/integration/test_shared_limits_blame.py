"""What a store is to be blamed for, and what only a process that has too much to do."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import pytest

from chassis import shared_limits
from chassis.clock import SystemClock
from chassis.limits import RATE_LIMIT_STORE_DECISIONS_COUNT
from chassis.ratelimit import Claim, Limit
from chassis.rpc import context as request_context
from chassis.shared_limits import SharedRateLimiter
from chassis.testing.fakes import CountingIds
from tests.store_server import StoreServer, store_server

BUDGET_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 20.0
CLAIMS: Final = (
    Claim(Limit.per_minute("read", 1000), "key"),
    Claim(Limit.per_minute("account-read", 10_000), "account"),
)


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with store_server() as server:
        yield server


@pytest.fixture
async def one(store: StoreServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SharedRateLimiter]:
    """What a process has, with a store that is up and a budget beyond a loaded machine's pauses."""
    monkeypatch.setattr(shared_limits, "RATE_LIMIT_STORE_BUDGET_SECONDS", BUDGET_SECONDS)
    made = SharedRateLimiter(store.url, "test", SystemClock(), refuses=False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not made.is_store_up:
            await made.watch()
    yield made
    store.resume()
    await made.close()


def spend(seconds: float) -> None:
    """Keeps the process busy."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@asynccontextmanager
async def busy(seconds: float) -> AsyncIterator[None]:
    """Has the loop take so long for each of its rounds."""

    async def work() -> None:
        while True:
            spend(seconds)
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    try:
        yield
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def take_as(ids: CountingIds, one: SharedRateLimiter, waited_seconds: float) -> float:
    """A decision for a request that has waited for the store so long; how long it has then."""
    served = request_context.RequestContext(ids.uuid7())
    served.store_waited_seconds = waited_seconds

    async def request() -> None:
        request_context.enter(served)
        assert (await one.take(CLAIMS))[0]

    await asyncio.create_task(request())
    return served.store_waited_seconds


async def test_rest_of_a_budget_is_not_enough_to_blame_the_store(
    store: StoreServer, one: SharedRateLimiter, ids: CountingIds
) -> None:
    """The one request is decided without it; the next, that has all its time, finds that it is away."""
    store.hang()
    assert await take_as(ids, one, BUDGET_SECONDS * 0.8) < 2 * BUDGET_SECONDS
    assert (one.is_store_up, one.decisions_without_store_count) == (True, 1)
    # As it is of a machine without time for us, it may take more than one.
    while one.is_store_up:
        await take_as(ids, one, 0.0)


async def test_wait_for_a_turn_is_not_the_stores(store: StoreServer, one: SharedRateLimiter) -> None:
    """Whoever stood in line asks with what is left, and blames nobody."""
    for _ in range(RATE_LIMIT_STORE_DECISIONS_COUNT):
        await one._turns.acquire()
    in_line = asyncio.create_task(one.take(CLAIMS))
    await asyncio.wait({in_line}, timeout=0)
    store.hang()
    one._turns.release()
    await in_line
    assert (one.is_store_up, one.decisions_without_store_count) == (True, 1)


async def test_turn_that_does_not_come_in_time_is_done_without(
    one: SharedRateLimiter, ids: CountingIds
) -> None:
    """The process decides, and nobody is blamed: the budget is for standing in line as well."""
    for _ in range(RATE_LIMIT_STORE_DECISIONS_COUNT):
        await one._turns.acquire()
    for count, waited_seconds in ((1, 0.0), (2, BUDGET_SECONDS * 0.9)):
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert BUDGET_SECONDS <= await take_as(ids, one, waited_seconds) < 1.85 * BUDGET_SECONDS
        assert (one.is_store_up, one.decisions_without_store_count) == (True, count)


async def test_time_in_line_is_of_the_same_budget(
    store: StoreServer, one: SharedRateLimiter, ids: CountingIds
) -> None:
    """Who has his turn late has only the rest of it to wait for an answer."""
    for _ in range(RATE_LIMIT_STORE_DECISIONS_COUNT):
        await one._turns.acquire()
    in_line = asyncio.create_task(take_as(ids, one, 0.0))
    await asyncio.wait({in_line}, timeout=BUDGET_SECONDS * 0.9)
    store.hang()
    one._turns.release()
    assert await in_line < 1.85 * BUDGET_SECONDS
    assert (one.is_store_up, one.decisions_without_store_count) == (True, 1)


async def test_store_that_failed_others_meanwhile_is_not_asked(one: SharedRateLimiter) -> None:
    """Who stood in line then is decided at once, however well the store would answer."""
    for _ in range(RATE_LIMIT_STORE_DECISIONS_COUNT):
        await one._turns.acquire()
    in_line = asyncio.create_task(one.take(CLAIMS))
    await asyncio.wait({in_line}, timeout=0)
    one._note_failure(TimeoutError())
    one._turns.release()
    await in_line
    assert one.decisions_without_store_count == 1


async def test_request_without_any_budget_left_asks_nothing(one: SharedRateLimiter, ids: CountingIds) -> None:
    """It is decided by the process, though the store would answer."""
    await take_as(ids, one, BUDGET_SECONDS)
    assert (one.is_store_up, one.decisions_without_store_count) == (True, 1)
    (standing,) = await one.look([CLAIMS[0]])
    assert standing.remaining_count == 1000


async def test_burst_in_a_busy_process_leaves_a_healthy_store_in_use(one: SharedRateLimiter) -> None:
    """However late the process reads what the store has said: the store is up, and the probe agrees."""
    async with busy(BUDGET_SECONDS / 4):
        await asyncio.gather(*(one.take(CLAIMS) for _ in range(150)))
        assert one.is_store_up
        await one.watch()
        assert one.is_store_up


async def test_busy_process_still_finds_out_that_its_store_hangs(
    store: StoreServer, one: SharedRateLimiter
) -> None:
    """By its probe, which nobody waits for."""
    store.hang()
    async with busy(BUDGET_SECONDS / 10):
        await one.take(CLAIMS)
        assert (one.is_store_up, one.decisions_without_store_count) == (True, 1)
        await one.watch()
        assert not one.is_store_up


async def test_answer_that_lies_in_the_socket_counts() -> None:
    """A process that comes back after all of the time reads what has come, and what follows from it."""
    near, far = socket.socketpair()
    far.sendall(b"one\n" * 20 + b"last\n")
    reader, writer = await asyncio.open_connection(sock=near)

    async def question() -> bytes:
        for _ in range(20):
            await reader.readline()
            await asyncio.sleep(0)
        return await reader.readline()

    async with busy(0.05):
        assert await shared_limits._within(0.02, question()) == b"last\n"
    writer.close()
    far.close()


async def test_question_that_fails_while_it_is_given_up_leaves_no_line_in_the_log() -> None:
    """The loop would log an error that nobody takes, with a text that may have the address."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def question() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("redis://:hunter2@store")

    with pytest.raises(TimeoutError):
        await shared_limits._within(0.01, question())
    gc.collect()
    assert told == []

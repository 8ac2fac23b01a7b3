"""Rate limits that several processes share through Redis or Valkey, and what holds when it is away.

What is stored, and every script that runs there, is the library `limits`' own. What is ours is that a
request never waits for the store for longer than its budget, and is decided all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from limits.aio.strategies import MovingWindowRateLimiter

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.config import RateLimitsConfig
from chassis.errors import Code, SealgateError
from chassis.limits import (
    RATE_LIMIT_STORE_BUDGET_SECONDS,
    RATE_LIMIT_STORE_DECISIONS_COUNT,
)
from chassis.log import log_event
from chassis.ratelimit import Claim, Limit, ProcessRateLimiter, RateLimiter, Standing, less_one
from chassis.rpc.context import current_or_none

if TYPE_CHECKING:
    from limits.aio.storage import RedisStorage
    from redis.asyncio import ConnectionPool

_logger: Final = logging.getLogger(__name__)

# A key that is written to see whether that is possible, and how long it stays, in seconds.
_PROBE_KEY: Final = "probe"
_PROBE_EXPIRY_SECONDS: Final = 60
_SLICES_COUNT: Final = 5
# Looks, of two rounds of the loop each, that follow a slice: what has come is read, and what is to be
# asked next is sent. All slices' together are enough for a whole decision.
_LOOKS_COUNT: Final = 2
# With less a question would be given up before it is sent.
_LEAST_SECONDS: Final = 0.001
# A wait that took so many times what it was to take says nothing of the store.
_PUNCTUAL_FACTOR: Final = 2

_Answer = TypeVar("_Answer")


def rate_limiter(config: RateLimitsConfig, audience: str, clock: Clock) -> RateLimiter:
    """What counts for a process: by itself, or together with others where a store is configured.

    It connects to nothing yet.
    """
    if config.store is None:
        return ProcessRateLimiter(clock)
    return SharedRateLimiter(config.store, audience, clock, refuses=config.when_store_is_down == "refuse")


class SharedRateLimiter:
    """The `RateLimiter` of all processes that name the same store and `audience`.

    It asks how all claims stand, and if there is a place in each, takes one of each, in their order, up
    to the first that is refused. So whoever is over one limit takes nothing from the other; only of calls
    that race for the last place of a claim the losers each lose one of the claims before it.

    Without an answer within the budget a claim is decided by this process alone, or, with `refuses`,
    not at all. A store that failed, or had the whole budget for an answer, is then left alone until `watch`
    has one from it.
    """

    def __init__(self, url: str, audience: str, clock: Clock, *, refuses: bool) -> None:
        self._clock = clock
        self._refuses = refuses
        self._alone = ProcessRateLimiter(clock)
        self._pool = _pool(url)
        self._storage = _storage(self._pool, audience)
        self._strategy = MovingWindowRateLimiter(self._storage)
        # Each decision asks two questions at once, so that the pool is never short of connections.
        self._turns = asyncio.Semaphore(RATE_LIMIT_STORE_DECISIONS_COUNT)
        self._is_left_alone = False
        self.is_store_up = False
        self.decisions_without_store_count = 0

    async def look(self, claims: Sequence[Claim]) -> list[Standing]:
        """See `RateLimiter.look`; raises UNAVAILABLE where the store has to answer and does not."""
        try:
            return await self._ask(lambda: self._look(claims))
        except _StoreAwayError:
            return await self._without_store().look(claims)

    async def take(self, claims: Sequence[Claim]) -> tuple[bool, list[Standing]]:
        """See `RateLimiter.take`; raises UNAVAILABLE where the store has to answer and does not."""
        try:
            return await self._ask(lambda: self._take(claims))
        except _StoreAwayError:
            return await self._without_store().take(claims)

    async def watch(self) -> None:
        """One look at whether the store answers and can be written to; one that does is used again."""
        try:
            if self._is_left_alone:
                # They lead to what has failed, and each would fail once more before it is given up.
                await self._pool.disconnect(inuse_connections=False)
            await _within(
                RATE_LIMIT_STORE_BUDGET_SECONDS, self._storage.incr(_PROBE_KEY, _PROBE_EXPIRY_SECONDS)
            )
        except Exception as error:  # noqa: BLE001  (whatever it is, the store is of no use)
            self._note_failure(error)
        else:
            self._note_answer()

    async def close(self) -> None:
        """Closes all connections; nothing may be asked any more."""
        # One that cannot be closed in order has been dropped.
        with suppress(Exception):
            await self._pool.aclose()

    async def _ask(self, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The store's answer within what is left of the request's budget; raises _StoreAwayError."""
        loop, served = asyncio.get_running_loop(), current_or_none()
        waited_seconds = 0.0 if served is None else served.store_waited_seconds
        began_seconds = asked_seconds = loop.time()
        is_first = waited_seconds == 0 and not self._turns.locked()
        try:
            async with self._turn(_left(waited_seconds)):
                asked_seconds = loop.time()
                left_seconds = _left(waited_seconds + asked_seconds - began_seconds)
                return await _within(left_seconds, question())
        except _StoreAwayError:
            raise
        except TimeoutError as error:
            # Else it is the process that had no time, for its turns or for what was answered meanwhile.
            if is_first and loop.time() - asked_seconds < _PUNCTUAL_FACTOR * RATE_LIMIT_STORE_BUDGET_SECONDS:
                self._note_failure(error)
            raise _StoreAwayError from None
        except Exception as error:  # noqa: BLE001  (whatever the store says, a request is decided)
            self._note_failure(error)
            raise _StoreAwayError from None
        finally:
            if served is not None:
                served.store_waited_seconds += loop.time() - began_seconds

    @asynccontextmanager
    async def _turn(self, at_most_seconds: float) -> AsyncIterator[None]:
        """One of the places to ask from; raises _StoreAwayError when there is none in time, or no use."""
        if self._is_left_alone:
            raise _StoreAwayError
        try:
            async with asyncio.timeout(at_most_seconds):
                await self._turns.acquire()
        except TimeoutError:
            # Of which the store knows nothing: it is this process that has too much to do.
            raise _StoreAwayError from None
        try:
            # It may have failed others meanwhile.
            if self._is_left_alone:
                raise _StoreAwayError
            yield
        finally:
            self._turns.release()

    async def _look(self, claims: Sequence[Claim]) -> list[Standing]:
        windows = await _all(
            self._strategy.get_window_stats(claim.limit.item, claim.limit.name, claim.holder)
            for claim in claims
        )
        now_ns = self._clock.now_ns()
        return [
            _standing(claim.limit, reset_seconds, remaining_count, now_ns)
            for claim, (reset_seconds, remaining_count) in zip(claims, windows, strict=True)
        ]

    async def _take(self, claims: Sequence[Claim]) -> tuple[bool, list[Standing]]:
        standings = await self._look(claims)
        if not all(standing.remaining_count for standing in standings):
            return False, standings
        # The credential's own first: whoever is over it in a race takes nothing of the account's.
        for place, claim in enumerate(claims):
            if not await self._strategy.hit(claim.limit.item, claim.limit.name, claim.holder):
                standings[place] = _full(standings[place])
                return False, standings
            standings[place] = less_one(standings[place])
        return True, standings

    def _without_store(self) -> ProcessRateLimiter:
        self.decisions_without_store_count += 1
        if self._refuses:
            raise SealgateError(Code.UNAVAILABLE, internal="the rate limit store does not answer")
        return self._alone

    def _note_failure(self, error: Exception) -> None:
        if not self._is_left_alone:
            # The type alone: the text of some has the address, or a part of what was answered.
            log_event(_logger, logging.WARNING, "rate limit store is away", reason=type(error).__name__)
        self._is_left_alone, self.is_store_up = True, False

    def _note_answer(self) -> None:
        if not self.is_store_up:
            log_event(_logger, logging.INFO, "rate limit store answers")
        self._is_left_alone, self.is_store_up = False, True


class _StoreAwayError(Exception):
    """The store is to be left alone, or has just failed."""


def _standing(limit: Limit, reset_seconds: float, remaining_count: int, now_ns: int) -> Standing:
    if remaining_count == limit.item.amount:
        return Standing(limit, remaining_count, 0)
    # Another process may have taken it, whose clock is not quite ours.
    wait_ns = round(reset_seconds * NANOSECONDS_PER_SECOND) - now_ns
    return Standing(limit, remaining_count, min(max(wait_ns, 0), limit.length_ns))


def _full(before: Standing) -> Standing:
    """How a claim stands whose last place somebody else took in between."""
    return Standing(before.limit, 0, before.wait_ns or before.limit.length_ns)


def _left(waited_seconds: float) -> float:
    """What is left of a request's budget; raises _StoreAwayError when that is nothing."""
    left_seconds = RATE_LIMIT_STORE_BUDGET_SECONDS - waited_seconds
    if left_seconds < _LEAST_SECONDS:
        raise _StoreAwayError
    return left_seconds


async def _within(seconds: float, question: Awaitable[_Answer]) -> _Answer:
    """What is answered within `seconds`, else TimeoutError; when this ends, so has the question.

    The time is spent in slices, and a slice is spent once however late this process gets to see its end.
    At each end the loop goes round some times more, so that what has been answered is read: a process
    that the machine has no time for, or that has much else to do, still finds its answers.
    """
    asked = asyncio.ensure_future(question)
    asked.add_done_callback(_fetch)
    try:
        for part_seconds in (seconds / _SLICES_COUNT, *[0] * _LOOKS_COUNT) * _SLICES_COUNT:
            await asyncio.wait({asked}, timeout=part_seconds)
            if asked.done():
                return asked.result()
        raise TimeoutError
    finally:
        if not asked.done():
            asked.cancel()
            await asyncio.wait({asked})


def _fetch(asked: asyncio.Future[Any]) -> None:
    """Takes what a question ended with that nobody waits for: the loop would log it, address and all."""
    if not asked.cancelled():
        asked.exception()


async def _all(questions: Iterable[Awaitable[_Answer]]) -> list[_Answer]:
    """The answers to questions asked at once; when this ends, so have all of them."""
    answers: list[_Answer] = []
    for answer in await asyncio.gather(*questions, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers


def _pool(url: str) -> ConnectionPool:
    """Connections as they are needed, up to a bound; none is made yet.

    Nothing is tried twice and no answer is awaited for longer than the asker does: whoever asks has a
    budget for both. A connection that was cut off amid an answer is not used again.
    """
    from redis.asyncio import ConnectionPool

    scheme, separator, rest = url.partition("://")
    return ConnectionPool.from_url(
        f"{scheme.lower().replace('valkey', 'redis')}{separator}{rest}",
        max_connections=2 * RATE_LIMIT_STORE_DECISIONS_COUNT + 1,
        socket_connect_timeout=None,
        socket_timeout=None,
        # A new connection says no more than it has to before its first question.
        protocol=2,
        driver_info=None,
    )


def _storage(pool: ConnectionPool, audience: str) -> RedisStorage:
    from limits.aio.storage import RedisStorage

    options: dict[str, Any] = {"connection_pool": pool}
    # The address is in the pool; an empty one chooses the kind of server.
    return RedisStorage(
        "async+redis://", implementation="redispy", key_prefix=f"sealgate:{audience}", **options
    )

"""When a call is sent again, and how long it waits before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Said by Sealgate, or by a proxy before it that did not reach it.
_STATUSES: Final = frozenset({429, 502, 503, 504})
_CODES: Final = frozenset({"REQUEST_IN_PROGRESS"})
# After these the request was surely not taken up; after others of the above it may have been.
_NOT_TAKEN: Final = frozenset({"OVERLOADED", "RATE_LIMITED"})
_ATTEMPTS_COUNT: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How hard a call is tried.

    Every call of this API can be repeated: a GET reads, a PUT and a DELETE leave the same state, and a
    POST carries an idempotency key, or a signed id, that makes the server answer a repeat from its records.
    """

    attempts_count: int | None = None
    """So often a request is sent at most; 1 sends it once.

    None sends it four times, and a signed one for as long as the platform takes it.
    """
    attempt_timeout_seconds: float = 10.0
    """So long one attempt waits for its answer."""
    base_seconds: float = 0.1
    """The longest pause before the second attempt; it doubles with each further one."""
    cap_seconds: float = 5.0
    """A pause grows no longer than this, `Retry-After` aside."""

    def __post_init__(self) -> None:
        none_at_all = self.attempts_count is not None and self.attempts_count < 1
        if none_at_all or self.attempt_timeout_seconds <= 0:
            raise ValueError("a call needs at least one attempt, and time for it")
        if self.base_seconds < 0 or self.cap_seconds < 0:
            raise ValueError("a pause is no time or some time")

    def is_last(self, attempt: int, *, signed: bool) -> bool:
        """Whether no attempt follows number `attempt`, however much time there is."""
        if self.attempts_count is None:
            return not signed and attempt >= _ATTEMPTS_COUNT
        return attempt >= self.attempts_count

    def pause_seconds(
        self, attempt: int, retry_after_seconds: int | None, fraction: Callable[[], float]
    ) -> float:
        """The pause after attempt number `attempt`: full jitter, on top of what the server asks for.

        On top, because everybody whom the server sent away at once would come back at once.
        """
        longest = min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 32))
        return (retry_after_seconds or 0) + fraction() * longest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt without success means."""

    repeat: bool
    """Whether another one may have more luck."""
    maybe_done: bool
    """Whether it may have taken effect all the same."""


def verdict_on_answer(status: int, code: str | None) -> Verdict:
    """What an answer that is no success means."""
    repeat = status in _STATUSES or code in _CODES
    return Verdict(repeat, maybe_done=repeat and status != 429 and code not in _NOT_TAKEN)


def verdict_on_silence(*, sent: bool) -> Verdict:
    """What it means that no answer came; `sent` is whether the server may have read the request."""
    return Verdict(repeat=True, maybe_done=sent)

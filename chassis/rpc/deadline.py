"""A deadline is a budget: what is left of it goes along with every further call."""

from __future__ import annotations

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.errors import Code, SealgateError
from chassis.limits import DEADLINE_RESERVE_SECONDS, REQUEST_DEADLINE_MAX_SECONDS, REQUEST_DEADLINE_SECONDS
from chassis.rpc.context import current_or_none


def request_budget_seconds(asked_seconds: float | None) -> float:
    """How long a request may take when its caller allows `asked_seconds` (None: says nothing)."""
    if asked_seconds is None:
        return REQUEST_DEADLINE_SECONDS
    return min(asked_seconds, REQUEST_DEADLINE_MAX_SECONDS)


def deadline_after(clock: Clock, seconds: float) -> int:
    """The monotonic time (nanoseconds) so many seconds from now."""
    return clock.monotonic_ns() + int(seconds * NANOSECONDS_PER_SECOND)


def remaining_seconds(clock: Clock, at_most_seconds: float) -> float:
    """What a further call may take: the rest of the request's budget less our own reserve.

    Raises DEADLINE_EXCEEDED when nothing is left.
    """
    request = current_or_none()
    if request is None or request.deadline_ns is None:
        return at_most_seconds
    left = (request.deadline_ns - clock.monotonic_ns()) / NANOSECONDS_PER_SECOND - DEADLINE_RESERVE_SECONDS
    if left <= 0:
        raise SealgateError(Code.DEADLINE_EXCEEDED, internal="no time left for a further call")
    return min(left, at_most_seconds)

"""How many bad credentials one client address may show before it is told to wait."""

from __future__ import annotations

from typing import Final

from chassis.errors import SealgateError
from chassis.ratelimit import Claim, Limit, RateLimiter
from chassis.rpc.limiting import rate_limited

_UNAUTHENTICATED: Final = 401


class BadCredentials:
    """Counts refusals by client address in an exact moving window.

    It only ever turns one refusal into another: a good credential is never counted and never refused,
    so that nobody can lock out those who share an address with him.
    """

    def __init__(self, per_minute_count: int, limiter: RateLimiter) -> None:
        self._limit = Limit.per_minute("bad-credentials", per_minute_count)
        self._limiter = limiter

    async def answer(self, refusal: SealgateError, client_address: str) -> SealgateError:
        """What to answer a credential's `refusal`: that, or RATE_LIMITED when there were too many.

        Only a 401 counts, and only where the address is known. UNAVAILABLE where it cannot be counted
        and has to be (`when_store_is_down: refuse`).
        """
        if refusal.row.http_status != _UNAUTHENTICATED or not client_address:
            return refusal
        try:
            taken, standings = await self._limiter.take([Claim(self._limit, client_address)])
        except SealgateError as unavailable:
            return unavailable
        return refusal if taken else rate_limited(standings)

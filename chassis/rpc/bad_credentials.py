"""How many bad credentials one client address may show before it is told to wait."""

from __future__ import annotations

import ipaddress
from typing import Final

from chassis.clock import Clock
from chassis.errors import SealgateError
from chassis.ratelimit import Claim, Limit, RateLimiter
from chassis.rpc.limiting import figures, rate_limited

_UNAUTHENTICATED: Final = 401
# What one customer of a network has of IPv6 (RFC 6177), so that a new address costs him nothing.
_IPV6_PREFIX_BITS: Final = 64


class BadCredentials:
    """Counts refusals by client address in an exact moving window, by its network of 64 bits for IPv6.

    It only ever turns one refusal into another: a good credential is never counted and never refused,
    so that nobody can lock out those who share an address with him.
    """

    def __init__(self, per_minute_count: int, limiter: RateLimiter, clock: Clock) -> None:
        self._limit = Limit.per_minute("bad-credentials", per_minute_count)
        self._limiter = limiter
        self._clock = clock

    async def answer(
        self, refusal: SealgateError, client_address: str, answer_headers: dict[str, str] | None = None
    ) -> SealgateError:
        """What to answer a credential's `refusal`: that, or RATE_LIMITED when there were too many.

        Only a 401 counts, and only where the address is known. UNAVAILABLE where it cannot be counted
        and has to be (`when_store_is_down: refuse`). `answer_headers` are those of a caller who is known
        all the same, and told what limit it is that has nothing left.
        """
        if refusal.row.http_status != _UNAUTHENTICATED or not client_address:
            return refusal
        try:
            taken, standings = await self._limiter.take([Claim(self._limit, _holder(client_address))])
        except SealgateError as unavailable:
            return unavailable
        if taken:
            return refusal
        if answer_headers is not None:
            answer_headers.update(figures(standings, self._clock.now_ns()))
        return rate_limited(standings)


def _holder(client_address: str) -> str:
    """Who answers for an address: itself, or all who share its first half for IPv6."""
    try:
        address = ipaddress.ip_address(client_address)
    except ValueError:
        return client_address
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _IPV6_PREFIX_BITS), strict=False))

"""How often a credential and its account may call, and what every answer says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import grpc

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.config import RateLimitsConfig
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.limits import ACCOUNT_RATE_FACTOR
from chassis.methods import CredentialKind, Exposure, Method
from chassis.ratelimit import Claim, Limit, RateLimiter, Standing
from chassis.rpc import context as request_context
from chassis.rpc import metadata
from chassis.rpc.errors import Handler
from sealgate.common.v1 import method_rule_pb2 as rules

_NAMES: Final[Mapping[int, str]] = {
    rules.RATE_CLASS_READ: "read",
    rules.RATE_CLASS_WRITE: "write",
    rules.RATE_CLASS_ORDER: "order",
    rules.RATE_CLASS_BROWSER_SESSION: "browser-session",
}

Context = grpc.aio.ServicerContext[Any, Any]


class CallLimits:
    """The limits of one process, the same on both of its listeners.

    A credential has its own count where the operator has set one for it, and its account ten times
    that, in a window of its own: what it may do beyond the others takes nothing from them.
    """

    def __init__(self, config: RateLimitsConfig, clock: Clock, limiter: RateLimiter) -> None:
        self._clock = clock
        self._limiter = limiter
        per_minute_counts: Mapping[int, int] = {
            rules.RATE_CLASS_READ: config.read_per_minute_count,
            rules.RATE_CLASS_WRITE: config.write_per_minute_count,
            rules.RATE_CLASS_ORDER: config.order_per_minute_count,
            rules.RATE_CLASS_BROWSER_SESSION: config.browser_session_per_minute_count,
        }
        self._limits: Final = {
            rate_class: _limits_of(rate_class, count) for rate_class, count in per_minute_counts.items()
        }

    async def take(self, method: Method, identity: Identity, answer_headers: dict[str, str]) -> None:
        """Counts a call, for the credential and for its account, and says so in `answer_headers`.

        Raises RATE_LIMITED when either has no call left; neither is counted then. Raises UNAVAILABLE
        where it cannot be counted and has to be (`when_store_is_down: refuse`).
        """
        taken, standings = await self._limiter.take(self._claims(method, identity))
        answer_headers.update(figures(standings, self._clock.now_ns()))
        if not taken:
            raise rate_limited(standings)

    async def show(self, method: Method, identity: Identity, answer_headers: dict[str, str]) -> None:
        """Says in `answer_headers` how things stand, if that can be known, for a call that is not counted."""
        with suppress(SealgateError):
            standings = await self._limiter.look(self._claims(method, identity))
            answer_headers.update(figures(standings, self._clock.now_ns()))

    def _claims(self, method: Method, identity: Identity) -> Sequence[Claim]:
        credential, account = self._limits[method.rate_class]
        for rate_class, count in identity.limits:
            if rate_class == method.rate_class:
                credential, account = _limits_of(rate_class, count)
        own = Claim(credential, f"{identity.kind.value}/{identity.credential_id}")
        # A project key acts on accounts and belongs to none.
        if identity.kind is CredentialKind.PROJECT_KEY or identity.account_id is None:
            return (own,)
        return (own, Claim(account, str(identity.account_id)))


class RateLimitStage:
    """Counts every call to a PUBLIC method that its credential may make; signed ones count themselves."""

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits

    def wrap(self, method: Method, handler: Handler) -> Handler:
        """See `chassis.rpc.pipeline.Stage.wrap`."""
        if method.exposure is not Exposure.PUBLIC or method.is_signed:
            return handler

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            served = request_context.current()
            await self._limits.take(method, request_context.identity(), served.answer_headers)
            return await handler(request, context)

        return answer


def _limits_of(rate_class: int, count: int) -> tuple[Limit, Limit]:
    """A credential's limit and its account's; another count is another window, whoever its holder is."""
    name = _NAMES[rate_class]
    return (
        Limit.per_minute(name, count),
        Limit.per_minute(f"account-{name}", count * ACCOUNT_RATE_FACTOR),
    )


def figures(standings: Sequence[Standing], now_ns: int) -> Mapping[str, str]:
    """The headers of draft-ietf-httpapi-ratelimit-headers, and the older ones of the tighter window."""
    tightest = min(standings, key=lambda standing: (standing.remaining_count, -standing.wait_ns))
    return {
        metadata.RATE_LIMIT_LIMIT: str(tightest.limit.item.amount),
        metadata.RATE_LIMIT_REMAINING: str(tightest.remaining_count),
        metadata.RATE_LIMIT_RESET: str(_whole_seconds(now_ns + tightest.wait_ns)),
        metadata.RATE_LIMIT: ", ".join(
            f'"{one.limit.name}";r={one.remaining_count};t={_whole_seconds(one.wait_ns)}' for one in standings
        ),
        metadata.RATE_LIMIT_POLICY: ", ".join(
            f'"{one.limit.name}";q={one.limit.item.amount};w={one.limit.item.get_expiry()}'
            for one in standings
        ),
    }


def rate_limited(standings: Sequence[Standing]) -> SealgateError:
    """The refusal for claims of which not all have one left; after its pause one call is allowed."""
    full = [standing for standing in standings if not standing.remaining_count]
    return SealgateError(
        Code.RATE_LIMITED,
        internal=" and ".join(standing.limit.name for standing in full),
        retry_after_seconds=max(1, _whole_seconds(max(standing.wait_ns for standing in full))),
    )


def _whole_seconds(duration_ns: int) -> int:
    """Rounded up: whoever waits so long has waited long enough."""
    return -(-duration_ns // NANOSECONDS_PER_SECOND)

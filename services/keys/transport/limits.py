"""Limits of a key's own, as messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chassis.errors import invalid
from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT
from sealgate.common.v1 import method_rule_pb2 as rules
from sealgate.common.v1.passport_pb2 import CredentialLimit
from services.keys.domain.api_key import KeyLimits

_MEMBERS: Final = {
    rules.RATE_CLASS_READ: "read_per_minute_count",
    rules.RATE_CLASS_WRITE: "write_per_minute_count",
    rules.RATE_CLASS_ORDER: "order_per_minute_count",
    rules.RATE_CLASS_BROWSER_SESSION: "browser_session_per_minute_count",
}
_CLASSES: Final = ", ".join(rules.RateClass.Name(number).removeprefix("RATE_CLASS_") for number in _MEMBERS)


def checked_limits(limits: Sequence[CredentialLimit]) -> KeyLimits:
    """The limits; VALIDATION_ERROR for what is no class of calls, is there twice, or is out of range."""
    counts: dict[str, int] = {}
    for index, limit in enumerate(limits):
        member = _MEMBERS.get(limit.rate_class)
        if member is None:
            raise invalid(f"limits[{index}].rate_class", f"must be one of {_CLASSES}")
        if member in counts:
            raise invalid(f"limits[{index}].rate_class", "must not be repeated")
        if not 1 <= limit.per_minute_count <= RATE_LIMIT_MAX_PER_MINUTE_COUNT:
            allowed = f"must be 1 to {RATE_LIMIT_MAX_PER_MINUTE_COUNT}"
            raise invalid(f"limits[{index}].per_minute_count", allowed)
        counts[member] = limit.per_minute_count
    return KeyLimits(**counts)


def limit_messages(limits: KeyLimits) -> list[CredentialLimit]:
    """The limits that are set, one a class."""
    counts = {rate_class: getattr(limits, member) for rate_class, member in _MEMBERS.items()}
    return [
        CredentialLimit(rate_class=rate_class, per_minute_count=count)
        for rate_class, count in counts.items()
        if count is not None
    ]

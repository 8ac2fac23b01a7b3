"""Rate limits as people write them on the command line, and as the services' configurations take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT

RATE_CLASSES: Final = ("read", "write", "order", "browser-session", "bad-credentials")


def parse_rate_limit(text: str) -> tuple[str, int]:
    """Reads `order=100000`, a class and its calls a minute; raises ValueError saying what is right."""
    name, _, count = text.partition("=")
    if name not in RATE_CLASSES:
        raise ValueError(f"{text!r} names no class: write CLASS=COUNT with one of {', '.join(RATE_CLASSES)}")
    if not count.isascii() or not count.isdigit() or not 1 <= int(count) <= RATE_LIMIT_MAX_PER_MINUTE_COUNT:
        raise ValueError(
            f"{text!r} has no count: write {name}=COUNT, calls a minute from 1 to"
            f" {RATE_LIMIT_MAX_PER_MINUTE_COUNT}"
        )
    return name, int(count)


def rate_limits_document(counts: Mapping[str, int]) -> dict[str, int]:
    """The member `rate_limits` of a service's configuration."""
    return {f"{name.replace('-', '_')}_per_minute_count": count for name, count in counts.items()}

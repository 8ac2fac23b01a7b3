"""Identifiers and secret seeds as arguments: the only module that asks for randomness."""

from __future__ import annotations

import os
import re
import uuid
from typing import Final, Protocol

from chassis.clock import Clock

# Where version and variant stand, and what stands there.
_FIXED_BITS: Final = 0xF << 76 | 0x3 << 62
_VERSION_7: Final = 0x7 << 76 | 0x2 << 62
_UUID_TEXT: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Ids(Protocol):
    """Where new identifiers and seeds come from; tests pass one that counts."""

    def uuid7(self) -> uuid.UUID:
        """A new UUIDv7 (RFC 9562 section 5.7)."""
        ...

    def seed(self) -> bytes:
        """32 unpredictable bytes."""
        ...


class SystemIds:
    """Identifiers from the kernel's random numbers and the given clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def uuid7(self) -> uuid.UUID:
        """See `Ids.uuid7`."""
        return uuid7_from(self._clock.now_ns(), os.urandom(10))

    def seed(self) -> bytes:
        """See `Ids.seed`."""
        return os.urandom(32)


def uuid7_from(now_ns: int, random_10_bytes: bytes) -> uuid.UUID:
    """Builds the UUIDv7 of a time (Unix nanoseconds, kept to the millisecond) and 10 random bytes."""
    value = now_ns // 1_000_000 << 80 | int.from_bytes(random_10_bytes, "big")
    return uuid.UUID(int=value & ~_FIXED_BITS | _VERSION_7)


def parse_uuid(text: str) -> uuid.UUID | None:
    """Reads a UUID in its canonical lower-case text form; None for anything else.

    Python's own parser also takes braces, `urn:` and bare hex, which would give one thing many names.
    """
    return uuid.UUID(text) if _UUID_TEXT.fullmatch(text) else None

"""What the client asks of the machine: time, chance, pauses and names nobody else uses.

An argument everywhere else, so that tests decide it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import uuid
from typing import Protocol


class Machine(Protocol):
    """Where time, chance and names come from."""

    def seconds(self) -> float:
        """Seconds since some moment; never steps back."""
        ...

    def fraction(self) -> float:
        """By chance, from 0 up to 1."""
        ...

    def name(self) -> str:
        """A UUID that nobody else uses."""
        ...

    def request_id(self) -> uuid.UUID:
        """A UUIDv7 of now that nobody else uses."""
        ...

    def wait(self, seconds: float) -> None:
        """Returns so much later, the thread standing still."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns so much later, others running in between."""
        ...


class SystemMachine:
    """The machine the program runs on."""

    def seconds(self) -> float:
        """See `Machine.seconds`."""
        return time.monotonic()

    def fraction(self) -> float:
        """See `Machine.fraction`."""
        return random.random()  # noqa: S311 - spreads retries, keeps no secret

    def name(self) -> str:
        """See `Machine.name`."""
        return str(uuid.uuid4())

    def request_id(self) -> uuid.UUID:
        """See `Machine.request_id`."""
        return uuid_v7(time.time_ns() // 1_000_000, secrets.token_bytes(10))

    def wait(self, seconds: float) -> None:
        """See `Machine.wait`."""
        time.sleep(seconds)

    async def sleep(self, seconds: float) -> None:
        """See `Machine.sleep`."""
        await asyncio.sleep(seconds)


def uuid_v7(unix_ms: int, chance: bytes) -> uuid.UUID:
    """The UUIDv7 of a time, Unix milliseconds, and of ten bytes of chance, of which it keeps 74 bits."""
    octets = bytearray(unix_ms.to_bytes(6, "big") + chance)
    octets[6] = octets[6] & 0x0F | 0x70
    octets[8] = octets[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(octets))

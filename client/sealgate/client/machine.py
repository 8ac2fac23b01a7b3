"""What the client asks of the machine: time, chance, pauses and names nobody else uses.

An argument everywhere else, so that tests decide it.
"""

from __future__ import annotations

import asyncio
import random
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

    def wait(self, seconds: float) -> None:
        """See `Machine.wait`."""
        time.sleep(seconds)

    async def sleep(self, seconds: float) -> None:
        """See `Machine.sleep`."""
        await asyncio.sleep(seconds)

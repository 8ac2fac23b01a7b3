"""The time that the library's storage goes by, in a test's hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from limits.aio.storage.redis import redispy

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.testing.fakes import FakeClock


def follow_clock(patch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    """Lets the library read `clock` where it asks the machine what time it is."""
    patch.setattr(redispy, "time", SimpleNamespace(time=lambda: clock.now_ns() / NANOSECONDS_PER_SECOND))

"""How many requests may be on their way to one cluster."""

from __future__ import annotations

from types import TracebackType

from chassis.errors import Code, SealgateError


class Admission:
    """Bounds the requests in flight; entered for each, it refuses at once when it is full.

    Refusing beats queueing: a request that waits for its turn uses up its deadline, and everybody
    else's behind it.
    """

    def __init__(self, at_once_count: int) -> None:
        self._free_count = at_once_count

    def __enter__(self) -> None:
        """Takes a place; raises OVERLOADED when there is none."""
        if self._free_count <= 0:
            raise SealgateError(Code.OVERLOADED)
        self._free_count -= 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the place back."""
        self._free_count += 1

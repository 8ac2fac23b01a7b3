"""When a key may be replaced by a new pair, and how long the two work side by side."""

from __future__ import annotations

from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.limits import API_KEY_OVERLAP_MAX_SECONDS
from chassis.secrets import public_key_text
from services.keys.domain.api_key import ApiKey, KeyState

NO_OVERLAP_SECONDS: Final = 0


def checked_overlap_ns(overlap_seconds: int) -> int:
    """The overlap in nanoseconds; VALIDATION_ERROR with the nearest good value unless 0 to 7 days."""
    nearest = min(max(overlap_seconds, NO_OVERLAP_SECONDS), API_KEY_OVERLAP_MAX_SECONDS)
    if overlap_seconds != nearest:
        allowed = f"must be {NO_OVERLAP_SECONDS} to {API_KEY_OVERLAP_MAX_SECONDS}"
        raise invalid("overlap_seconds", f"{allowed}; the nearest is {nearest}")
    return overlap_seconds * NANOSECONDS_PER_SECOND


def refuse_rotation(key: ApiKey, now_ns: int) -> None:
    """Refuses to replace a key that has its successor, or whose successor could not live.

    Raises KEY_ALREADY_ROTATED, which names the successor, also when the overlap is over: whoever lost
    the answer learns what became of the key. VALIDATION_ERROR for an expired key: the same rights would
    make a key that is past its end.
    """
    if key.replaced_by is not None:
        successor = Detail("public_key", f"was rotated into {public_key_text(key.replaced_by)}")
        raise SealgateError(Code.KEY_ALREADY_ROTATED, details=(successor,))
    if key.state(now_ns) is KeyState.EXPIRED:
        raise invalid("public_key", "names a key that has expired; create another one")

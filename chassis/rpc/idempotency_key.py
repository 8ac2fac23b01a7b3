"""The `idempotency-key` of a request: which requests may have one, and what it looks like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from chassis.errors import invalid
from chassis.limits import IDEMPOTENCY_KEY_MAX_CHARACTERS
from chassis.methods import Envelope, Method
from chassis.rpc import metadata

_KEY: Final = re.compile(f"[ -~]{{1,{IDEMPOTENCY_KEY_MAX_CHARACTERS}}}")
_ENVELOPES: Final = (Envelope.PLATFORM, Envelope.BROWSER)


def takes_key(method: Method) -> bool:
    """Whether a method heeds a key: those that are a POST of families P and B."""
    return method.envelope in _ENVELOPES and any(binding.verb == "POST" for binding in method.bindings)


def checked_key(values: Sequence[str]) -> str | None:
    """The key among all that a request was sent, None for none; raises VALIDATION_ERROR."""
    if not values:
        return None
    if len(values) > 1:
        raise invalid(metadata.IDEMPOTENCY_KEY, "must be sent once")
    if not _KEY.fullmatch(values[0]):
        raise invalid(
            metadata.IDEMPOTENCY_KEY,
            f"must be 1 to {IDEMPOTENCY_KEY_MAX_CHARACTERS} printable ASCII characters",
        )
    return values[0]

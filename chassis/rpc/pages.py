"""Which web pages a credential works from, and what lets a page read its answer (the Fetch standard, 3.3)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from chassis.rpc import metadata
from chassis.rpc.context import current

# What browsers send for a page that has no origin of its own.
OPAQUE_ORIGIN: Final = "null"


def let_page_read(origin: str | None, origins: Collection[str]) -> bool:
    """Whether the request comes from a page among `origins`, which then may read its answer.

    To be asked as soon as it is known whose credential was shown: a page also reads why it is refused.
    Compared byte for byte; an opaque origin is never listed. Nobody else learns what is in `origins`,
    because browsers keep such answers from their pages.
    """
    if origin is None or origin == OPAQUE_ORIGIN or origin not in origins:
        return False
    current().answer_headers[metadata.ALLOW_ORIGIN] = origin
    return True

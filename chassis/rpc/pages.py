"""Which web pages a credential works from, and what lets a page read its answer (the Fetch standard, 3.3)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from chassis.rpc import metadata
from chassis.rpc.context import current

# What browsers send for a page that has no origin of its own.
OPAQUE_ORIGIN: Final = "null"


def is_listed(origin: str | None, origins: Collection[str]) -> bool:
    """Whether a request comes from a page among `origins`; None is a server, and no page.

    Compared byte for byte; an opaque origin is never listed.
    """
    return origin is not None and origin != OPAQUE_ORIGIN and origin in origins


def let_page_read(origin: str) -> None:
    """Lets the page of `origin` read the answer to the request that is being served.

    For a listed one, as soon as it is known whose credential was shown: a page also reads why it is
    refused. Nobody else learns that it is listed, because browsers keep such answers from their pages.
    An opaque origin would be every such page, and is told nothing whoever vouches for it.
    """
    if origin != OPAQUE_ORIGIN:
        current().answer_headers[metadata.ALLOW_ORIGIN] = origin

"""Which web pages may read what: preflights, and what answers say to browsers (the Fetch standard, 3.2).

A preflight comes without a credential, so it tells nothing about any: each well-formed origin may ask.
Whose answer a page may read is for the services to say, who know whose credential it showed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from chassis.methods import Exposure, Method
from chassis.origins import check_origin
from chassis.rpc import metadata
from chassis.rpc.envelope import ACCOUNT_HEADER, PUBLIC_KEY_HEADER, SIGNATURE_HEADER
from edge.errors import Answer
from edge.headers import RequestHeaders

PREFLIGHT_SECONDS: Final = 600

_ASKED_METHOD: Final = "access-control-request-method"
_EXPOSE_HEADERS: Final = "access-control-expose-headers"
_VARY: Final = "vary"

_METHODS: Final = "GET, POST, PUT, DELETE"
# A project key is for no page, so its header is not among them.
_HEADERS: Final = ", ".join(
    (
        *("Authorization", "Content-Type", "Idempotency-Key", "X-API-KEY", "X-DEVICE-KEY"),
        *("X-Session-Token", "X-Request-Id", ACCOUNT_HEADER, PUBLIC_KEY_HEADER, SIGNATURE_HEADER),
    )
)
_EXPOSED: Final = (
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, "
    "Retry-After, X-Request-Id"
)


def preflight_answer(verb: str, headers: RequestHeaders, request_id: uuid.UUID) -> Answer | None:
    """The answer to a preflight, whatever its path is; None for a request that is none.

    One is an OPTIONS with one origin as browsers write it, `null` excepted, and the method it asks for.
    """
    origins = headers.all_of(metadata.ORIGIN)
    if verb != "OPTIONS" or len(origins) != 1 or not headers.all_of(_ASKED_METHOD):
        return None
    if check_origin(origins[0]) is not None:
        return None
    said = {
        "access-control-allow-origin": origins[0],
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": _HEADERS,
        "access-control-max-age": str(PREFLIGHT_SECONDS),
        _VARY: "Origin",
        metadata.REQUEST_ID: str(request_id),
    }
    return Answer(204, encoded(said), b"")


def with_sharing(method: Method | None, said: Mapping[str, str]) -> Mapping[str, str]:
    """`said`, what an answer of `method` says beside its body, and who may read it.

    Every page reads the answers of open methods, and those that no method gives. Else it is the page
    that the services say, if any, and caches are told that it depends on who asks.
    """
    if method is None or method.exposure is Exposure.OPEN:
        shared = {**said, metadata.ALLOW_ORIGIN: "*"}
    else:
        shared = {**said, _VARY: "Origin"}
    if metadata.ALLOW_ORIGIN in shared:
        shared[_EXPOSE_HEADERS] = _EXPOSED
    return shared


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]

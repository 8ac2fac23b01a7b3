"""Serves the API's description: for programs at `/openapi.json`, for people at `/docs`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from chassis.methods import Method
from chassis.rpc.context import current
from edge.endpoints import Request
from edge.errors import Answer
from edge.openapi_parts import HTML_TYPE
from edge.present import json_bytes
from edge.reference.page import CONTENT_SECURITY_POLICY, render

_ETAG_BYTES: Final = 16
# May be kept, but is asked for again with If-None-Match before each use: a new version shows at once.
_REVALIDATE: Final = (b"cache-control", b"no-cache")


@dataclass(frozen=True, slots=True)
class _Document:
    """A document as it is sent, and the name of this version of it."""

    body: bytes
    etag: bytes


@dataclass(frozen=True, slots=True)
class _Documents:
    openapi: _Document
    page: _Document


class Description:
    """The two documents, made from `describe` when one is first asked for and kept from then on.

    Making them takes some hundredths of a second, which neither the start nor other requests wait for.
    """

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe = describe
        self._made: _Documents | None = None
        self._making = asyncio.Lock()

    async def documents(self) -> _Documents:
        """Both documents."""
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
        return self._made

    def _make(self) -> _Documents:
        document = self._describe()
        return _Documents(_named(json_bytes(document)), _named(render(document).encode("utf-8")))


class OpenApiEndpoint:
    """Answers the OpenAPI document."""

    method: Method | None = None
    template = "/openapi.json"

    def __init__(self, description: Description) -> None:
        self._description = description

    async def answer(self, request: Request) -> Answer:
        """See `Endpoint.answer`."""
        document = (await self._description.documents()).openapi
        return _answer(request, document, (b"content-type", b"application/json"))


class ReferenceEndpoint:
    """Answers the reference page."""

    method: Method | None = None
    template = "/docs"

    def __init__(self, description: Description) -> None:
        self._description = description

    async def answer(self, request: Request) -> Answer:
        """See `Endpoint.answer`."""
        page = (await self._description.documents()).page
        return _answer(
            request,
            page,
            (b"content-type", HTML_TYPE.encode("ascii")),
            (b"content-security-policy", CONTENT_SECURITY_POLICY.encode("ascii")),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        )


def _named(body: bytes) -> _Document:
    return _Document(body, b'"%s"' % blake2b(body, digest_size=_ETAG_BYTES).hexdigest().encode("ascii"))


def _answer(request: Request, document: _Document, *headers: tuple[bytes, bytes]) -> Answer:
    """The document, or 304 when the caller has this version of it (RFC 9110 section 13.1.2)."""
    known = request.headers.entity_tags()
    every = [
        (b"x-request-id", str(current().request_id).encode("ascii")),
        (b"etag", document.etag),
        _REVALIDATE,
    ]
    if document.etag.decode("ascii") in known or "*" in known:
        return Answer(304, every, b"")
    length = (b"content-length", b"%d" % len(document.body))
    return Answer(200, [*headers, length, *every], document.body)

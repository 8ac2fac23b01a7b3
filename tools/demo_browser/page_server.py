"""Serves a few fixed pages on loopback, where they are two sites at once: `localhost` and `127.0.0.1`."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Self

EXAMPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "browser"
_MEDIA_TYPES: Final = {
    "": "text/html; charset=utf-8",
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
# A connection that a browser opened in advance ends without a request.
_IDLE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """What is served at one path."""

    media_type: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


_NOTHING: Final = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
_NO_PAGE: Final = Page("text/plain", b"There is no such page.\n", _NOTHING)
_FOREIGN_HOST: Final = Page("text/plain", b"This serves localhost and 127.0.0.1 alone.\n", _NOTHING)


def example_pages(api: str, api_key: str) -> dict[str, Page]:
    """The example, with the platform's address and the key that its settings give it."""
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {api}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    pages = {
        f"/{name}": Page(media_type, (EXAMPLE / (name or "index.html")).read_bytes(), headers)
        for name, media_type in _MEDIA_TYPES.items()
    }
    settings = json.dumps({"api": api, "apiKey": api_key})
    return pages | {"/settings.json": Page("application/json", settings.encode())}


class PageServer:
    """Serves what is put into `pages` by path, from a thread of its own, until the block ends.

    Only under its own two names: a page elsewhere whose host was made to lead here would read it all.
    Port 0 is any that is free. Raises OSError when the port is taken.
    """

    def __init__(self, port: int) -> None:
        self.pages: dict[str, Page] = {}
        self._server = _Server(("127.0.0.1", port), self.pages)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def localhost(self) -> str:
        """The origin of the first site."""
        return f"http://localhost:{self._server.server_port}"

    @property
    def numeric(self) -> str:
        """The origin of the second site, which is another one for browsers and the same pages."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Page]) -> None:
        super().__init__(address, _Handler)
        self.pages = pages
        self.hosts = [[f"{name}:{self.server_port}"] for name in ("localhost", "127.0.0.1")]


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answers a page, that there is none, or that this is not the host that was asked for."""
        self.wfile.write(self._head())

    def do_HEAD(self) -> None:
        """Answers what GET would, without the page."""
        self._head()

    def _head(self) -> bytes:
        """Sends status and headers; what belongs after them."""
        status, page = HTTPStatus.OK, self.server.pages.get(self.path.partition("?")[0])
        if self.headers.get_all("Host") not in self.server.hosts:
            status, page = HTTPStatus.MISDIRECTED_REQUEST, _FOREIGN_HOST
        elif page is None:
            status, page = HTTPStatus.NOT_FOUND, _NO_PAGE
        self.send_response(status)
        headers = {
            "Content-Length": str(len(page.content)),
            "Content-Type": page.media_type,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **page.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        return page.content

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Says nothing: what people look at is the page."""

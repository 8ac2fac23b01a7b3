"""The one place where an error becomes an HTTP answer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from chassis.errors import Code, SealgateError
from chassis.methods import CredentialKind, Envelope, Method
from edge.present import json_bytes
from edge.routes import MethodNotAllowedError

_JSON: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")

_NO_CREDENTIAL: Final = frozenset({Code.API_KEY_REQUIRED, Code.SESSION_REQUIRED})
_OF_SESSIONS: Final = frozenset({Code.SESSION_REQUIRED, Code.SESSION_INVALID, Code.SESSION_EXPIRED})
_BEARER_KINDS: Final = frozenset({CredentialKind.ACCOUNT_SESSION, CredentialKind.ACCOUNT_API_KEY})


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def json_answer(
    status: int, body: bytes, request_id: uuid.UUID, *extra_headers: tuple[bytes, bytes]
) -> Answer:
    """An answer with a JSON body, under the id of its request."""
    headers = [
        _JSON,
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", str(request_id).encode("ascii")),
        *extra_headers,
    ]
    return Answer(status, headers, body)


def error_answer(
    error: SealgateError, request_id: uuid.UUID, method: Method | None = None, *, by_api_key: bool = False
) -> Answer:
    """The answer for an error of `method`, or of no method: that is family P.

    `by_api_key` says that an API key was shown: the session that is missing or no good is then the one
    that a page needs beside it.
    """
    row = error.row
    document: dict[str, Any] = {
        "error": {
            "code": error.code.value,
            "message": row.message,
            "details": [{"path": detail.path, "message": detail.message} for detail in error.details],
        },
        "request_id": str(request_id),
    }
    if method is None or method.envelope in (Envelope.PLATFORM, Envelope.NONE):
        document = {"success": False, "response": row.message} | document
    headers = [NO_STORE]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
    if row.http_status == 401:
        headers.append((b"www-authenticate", _challenge(error.code, method, by_api_key=by_api_key)))
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", error.allow.encode("ascii")))
    return json_answer(row.http_status, json_bytes(document), request_id, *headers)


def _challenge(code: Code, method: Method | None, *, by_api_key: bool) -> bytes:
    """RFC 6750 where a bearer credential is accepted; schemes of our own for everything else."""
    if method is not None and method.is_signed:
        return b'Signature realm="sealgate"'
    if method is not None and not method.accepts & _BEARER_KINDS:
        return b'ApiKey realm="sealgate"'
    scheme = b"BrowserSession" if by_api_key and code in _OF_SESSIONS else b"Bearer"
    if code in _NO_CREDENTIAL:
        return scheme + b' realm="sealgate"'
    return scheme + b' realm="sealgate", error="invalid_token"'

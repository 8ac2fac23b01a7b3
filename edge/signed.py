"""What stands behind the routes of signed methods: the request proves by itself who sent it.

The edge asks nobody about a signature and vouches for none. It hands over what was signed as it came in,
and the service that does the work verifies it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from google.protobuf.message import Message

from chassis.errors import Code, Detail, SealgateError
from chassis.ids import parse_uuid
from chassis.limits import SIGNED_PAYLOAD_MAX_BYTES
from chassis.methods import HttpBinding, Method
from chassis.rpc.context import current
from chassis.rpc.credentials import origin_of_signed
from chassis.rpc.envelope import ACCOUNT_HEADER, PUBLIC_KEY_HEADER, REQUEST_ID_HEADER, SIGNATURE_HEADER
from chassis.signing import PUBLIC_KEY_BYTES, REQUEST_ID_PLACE, SIGNATURE_BYTES, parse_request_id
from chassis.strict_json import read_object
from edge.endpoints import Request, Upstream
from edge.errors import Answer
from edge.headers import RequestHeaders
from edge.routes import variable_names
from edge.translate import canonical_base64, request_filler

_Read = Callable[[str], str | bytes]


class PayloadEndpoint:
    """Serves a method whose request is a signed payload."""

    def __init__(self, method: Method, binding: HttpBinding, upstream: Upstream) -> None:
        self.method: Method | None = method
        self.template = binding.template
        self._fill = request_filler(method, binding, variable_names(binding.template))
        self._upstream = upstream

    async def answer(self, request: Request) -> Answer:
        """See `Endpoint.answer`; from when the payload is read the request goes by the id in it."""
        body = await self._upstream.body_of(request)
        with self._upstream.admission:
            origin = origin_of_signed(request.headers.pairs)
            message = self._upstream.new_message()
            try:
                self._fill(message, request.variables, request.query, body)
            except SealgateError:
                # The service refuses it as too large before all else; so it is here, where it is not asked.
                if _has_large_payload(body):
                    raise SealgateError(Code.PAYLOAD_TOO_LARGE) from None
                raise
            finally:
                served = current()
                served.request_id = _signed_id(message) or served.request_id
            return await self._upstream.answer(message, origin=origin)


class SignedHeadersEndpoint:
    """Serves a method whose request is signed in its headers: over verb, target and body as they came in.

    HEAD is handed over as HEAD, which no method takes: nobody can have signed it.
    """

    def __init__(self, method: Method, binding: HttpBinding, upstream: Upstream) -> None:
        self.method: Method | None = method
        self.template = binding.template
        self._variables = variable_names(binding.template)
        self._upstream = upstream

    async def answer(self, request: Request) -> Answer:
        """See `Endpoint.answer`."""
        body = await self._upstream.body_of(request)
        with self._upstream.admission:
            own = SIGNATURE_HEADER.lower()
            origin = origin_of_signed(header for header in request.headers.pairs if header[0] != own)
            if len(body) > SIGNED_PAYLOAD_MAX_BYTES:
                # Before what is wrong with the headers, as the service has it.
                raise SealgateError(Code.PAYLOAD_TOO_LARGE)
            message = self._upstream.new_message(
                method=request.verb,
                # Bytes beyond ASCII are in no target's normal form, however they are read.
                target=request.target.decode("latin-1"),
                body=body,
                **_signed_headers(request.headers),
                **dict(zip(self._variables, request.variables, strict=True)),
            )
            return await self._upstream.answer(message, origin=origin)


def _signed_id(message: Message) -> uuid.UUID | None:
    """The request id in a payload, None while there is none."""
    payload: bytes = getattr(message, "payload")  # noqa: B009  (a field of every such message)
    if len(payload) < REQUEST_ID_PLACE.stop:
        return None
    found = uuid.UUID(bytes=payload[REQUEST_ID_PLACE])
    return found if found.variant == uuid.RFC_4122 else None


def _has_large_payload(body: bytes) -> bool:
    """Whether the payload in a body that is no request is beyond what one may have, base64 or not."""
    try:
        members = read_object(body)
    except SealgateError:
        return False
    return any(
        name == "payload" and type(value) is str and _decoded_size_bytes(value) > SIGNED_PAYLOAD_MAX_BYTES
        for name, value in members
    )


def _decoded_size_bytes(text: str) -> int:
    """How many bytes a text has as base64."""
    return len(text) * 3 // 4 - (len(text) - len(text.rstrip("=")))


def _signed_headers(headers: RequestHeaders) -> dict[str, str | bytes]:
    """The fields of a request that are in its headers; VALIDATION_ERROR tells of all that are wrong."""
    fields: dict[str, str | bytes] = {}
    details: list[Detail] = []
    for name, (field, read) in _HEADERS.items():
        try:
            [value] = headers.all_of(name.lower())
        except ValueError:
            details.append(Detail(name, "must be sent once"))
            continue
        try:
            fields[field] = read(value.strip(" \t"))
        except _FormError as error:
            details.append(Detail(name, str(error)))
    if details:
        raise SealgateError(Code.VALIDATION_ERROR, details=details)
    return fields


class _FormError(Exception):
    """What is wrong with a header's value."""


def _read_account(text: str) -> str:
    if parse_uuid(text) is None:
        raise _FormError("must be a UUID in lower case")
    return text


def _read_request_id(text: str) -> str:
    if parse_request_id(text) is None:
        raise _FormError("must be a UUIDv7 in lower case")
    return text


def _reader_of_bytes(count: int) -> _Read:
    def read(text: str) -> bytes:
        decoded = canonical_base64(text)
        if decoded is None:
            raise _FormError("must be standard base64 with padding")
        if len(decoded) != count:
            raise _FormError(f"must have {count} bytes")
        return decoded

    return read


_HEADERS: Final[dict[str, tuple[str, _Read]]] = {
    ACCOUNT_HEADER: ("account_id", _read_account),
    PUBLIC_KEY_HEADER: ("public_key", _reader_of_bytes(PUBLIC_KEY_BYTES)),
    SIGNATURE_HEADER: ("signature", _reader_of_bytes(SIGNATURE_BYTES)),
    REQUEST_ID_HEADER: ("request_id", _read_request_id),
}

"""Reading a signed request: the parts that are signed, the parts that say by whom, and the body.

Nothing here knows a key. What is read is in its only form: another spelling of the same request is
refused, so that one request has one signature and one record.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import Code, SealgateError, invalid
from chassis.ids import parse_uuid
from chassis.limits import SIGNED_PAYLOAD_MAX_BYTES
from chassis.methods import Method, MethodTableError
from chassis.signing import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    malformed,
    parse_payload,
    parse_request_id,
    payload_message,
    session_signature_message,
)
from chassis.strict_json import WHOLE_BODY, holds_half_pair, read_object

_DIGEST_BYTES: Final = 32
_VARIABLE: Final = re.compile(r"\{([a-z_]+)\}")
# What a path has without an escape (RFC 3986, "unreserved"), and no longer than any name of ours. A dot or
# two of them are no name: whoever puts the path into its normal form takes them out of it.
_SEGMENT: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~-]{1,255}")

ACCOUNT_HEADER: Final = "X-ACCOUNT-ID"
PUBLIC_KEY_HEADER: Final = "X-PUBLIC-KEY"
SIGNATURE_HEADER: Final = "X-SIGNATURE"
REQUEST_ID_HEADER: Final = "X-REQUEST-ID"


@dataclass(frozen=True, slots=True, repr=False)
class SignedRequest:
    """A request that says who signed it, which is not looked at yet.

    `message` is what the signature is over, `digest` what tells the request from another under the same
    id. `body` and `json_body` are those of `chassis.rpc.context.SignedCall`.
    """

    account_id: uuid.UUID
    public_key: bytes
    signature: bytes
    request_id: uuid.UUID
    message: bytes
    digest: bytes
    body: Message | None
    json_body: dict[str, object] | None


Reader = Callable[[Any], SignedRequest]
"""Reads a method's request message; raises PAYLOAD_TOO_LARGE, and a 400 for what is not in form."""


def request_reader(method: Method, audience: str) -> Reader:
    """What reads the requests of a signed method; raises MethodTableError for one that cannot be read."""
    return _payload_reader(method, audience) if method.takes_payload else _header_reader(method, audience)


def _payload_reader(method: Method, audience: str) -> Reader:
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(method.payload_message or "")
    except KeyError:
        raise MethodTableError(f"{method.full_name} names a payload's message that does not exist") from None
    body_class = GetMessageClass(descriptor)

    def read(request: Any) -> SignedRequest:  # noqa: ANN401  (the four fields of every such request)
        _refuse_large(request.payload)
        account_id = parse_uuid(request.account_id)
        if account_id is None:
            raise malformed("account_id", "must be a UUID in lower case")
        _require_length(malformed, "public_key", request.public_key, PUBLIC_KEY_BYTES)
        _require_length(malformed, "signature", request.signature, SIGNATURE_BYTES)
        payload = parse_payload(request.payload)
        if payload.request_type != method.request_type:
            raise malformed("payload", f"must have request type {method.request_type} here")
        return SignedRequest(
            account_id=account_id,
            public_key=request.public_key,
            signature=request.signature,
            request_id=payload.request_id,
            message=payload_message(audience, account_id, request.payload),
            digest=hashlib.blake2b(request.payload, digest_size=_DIGEST_BYTES).digest(),
            body=read_body(body_class, payload.body),
            json_body=None,
        )

    return read


def _header_reader(method: Method, audience: str) -> Reader:
    if len(method.bindings) != 1:
        raise MethodTableError(f"{method.full_name} is signed in headers and has not exactly one path")
    binding = method.bindings[0]

    def read(request: Any) -> SignedRequest:  # noqa: ANN401  (the seven fields of every such request)
        _refuse_large(request.body)
        account_id = parse_uuid(request.account_id)
        if account_id is None:
            raise invalid(ACCOUNT_HEADER, "must be a UUID in lower case")
        _require_length(invalid, PUBLIC_KEY_HEADER, request.public_key, PUBLIC_KEY_BYTES)
        _require_length(invalid, SIGNATURE_HEADER, request.signature, SIGNATURE_BYTES)
        request_id = parse_request_id(request.request_id)
        if request_id is None:
            raise invalid(REQUEST_ID_HEADER, "must be a UUIDv7 in lower case")
        if request.method != binding.verb:
            raise invalid("method", f"must be {binding.verb}")
        if request.target != _target(binding.template, request):
            raise invalid(
                "target", "must be this method's path, without query, needless escapes or dot segments"
            )
        message = session_signature_message(
            audience, account_id, request_id, method=request.method, target=request.target, body=request.body
        )
        return SignedRequest(
            account_id=account_id,
            public_key=request.public_key,
            signature=request.signature,
            request_id=request_id,
            message=message,
            digest=_digest_of_target(request.method, request.target, request.body),
            body=None,
            json_body=_json_body(request.body, is_taken=binding.has_body),
        )

    return read


def read_body(body_class: type[Message], serialized: bytes) -> Message:
    """The message of a payload's body.

    Raises MALFORMED_PAYLOAD unless the bytes are the only ones that say this: fields in the order of
    their numbers, each once and known, nothing longer than it need be, every enum a value that has a
    meaning.
    """
    try:
        body = body_class.FromString(serialized)
    except DecodeError:
        raise malformed("payload", "must have the request type's message as its body") from None
    _refuse_meaningless(body)
    body.DiscardUnknownFields()
    if body.SerializeToString(deterministic=True) != serialized:
        raise malformed("payload", "must have its body in canonical form")
    return body


def _refuse_meaningless(message: Any) -> None:  # noqa: ANN401  (any message)
    """Refuses an enum that is zero or of an unknown number, at any depth."""
    for field in message.DESCRIPTOR.fields:
        if field.enum_type is not None:
            for number in _values(message, field):
                _refuse_number(field.name, field.enum_type, number)
        elif field.message_type is not None:
            for part in _values(message, field):
                _refuse_meaningless(part)


def _refuse_number(name: str, enum: EnumDescriptor, number: int) -> None:
    if number == 0 or number not in enum.values_by_number:
        raise malformed(name, "must be one of its known values")


def _values(message: Any, field: FieldDescriptor) -> list[Any]:  # noqa: ANN401  (any message)
    """What a field of enums or messages has: an enum that cannot be absent has always one."""
    value = getattr(message, field.name)
    if field.is_repeated:
        return list(value)
    return [value] if not field.has_presence or message.HasField(field.name) else []


def _refuse_large(body: bytes) -> None:
    if len(body) > SIGNED_PAYLOAD_MAX_BYTES:
        raise SealgateError(Code.PAYLOAD_TOO_LARGE)


def _require_length(
    refusal: Callable[[str, str], SealgateError], path: str, value: bytes, length: int
) -> None:
    if len(value) != length:
        raise refusal(path, f"must have {length} bytes")


def _target(template: str, request: Any) -> str | None:  # noqa: ANN401  (the method's request)
    """The only way to write the path to what the request's own fields name; None where there is none."""
    names = _VARIABLE.findall(template)
    values = {name: getattr(request, name) for name in names}
    if not all(_SEGMENT.fullmatch(value) for value in values.values()):
        return None
    return template.format_map(values)


def _json_body(body: bytes, *, is_taken: bool) -> dict[str, object] | None:
    if not is_taken:
        if body:
            raise invalid(WHOLE_BODY, "must be empty")
        return None
    members = read_object(body)
    by_name = dict(members)
    if len(by_name) != len(members):
        raise invalid(WHOLE_BODY, "must not have a member twice")
    if any(holds_half_pair(text) for text in (*by_name, *by_name.values()) if isinstance(text, str)):
        raise invalid(WHOLE_BODY, "must not hold half of a surrogate pair")
    return by_name


def _digest_of_target(method: str, target: str, body: bytes) -> bytes:
    """No method and no target has a space in it, so the parts cannot pass for each other."""
    return hashlib.blake2b(
        b"%b %b %b" % (method.encode(), target.encode(), hashlib.sha256(body).digest()),
        digest_size=_DIGEST_BYTES,
    ).digest()

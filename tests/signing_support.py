"""The tests' own signer, of nothing but PyNaCl and struct.

It is written from docs/signing.md and imports neither the chassis nor the client, so that a test which
signs with it proves what those two make of the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

ADMIN, SCOPED = 1, 2
FULL_ACCESS, TRADING_ONLY = 1, 2
UNPINNED: Final = 2**32 - 1
NEVER: Final = 2**64 - 1

_PAYLOAD: Final = b"sealgate/payload/v1\0"
_SESSION_SIGNATURE: Final = b"sealgate/session-signature/v1\0"
_POSSESSION: Final = b"sealgate/possession/v1\0"
_RANDOM_BITS: Final = 74

_counter: Final[Iterator[int]] = itertools.count(1)


@dataclass(frozen=True, slots=True)
class SigningKeyPair:
    """An Ed25519 key pair; `seed` has 32 bytes."""

    seed: bytes

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return bytes(SigningKey(self.seed).verify_key)

    @property
    def text(self) -> str:
        """The public key as JSON and headers have it."""
        return base64_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return SigningKey(self.seed).sign(message).signature


def key_pair(label: str) -> SigningKeyPair:
    """The key pair of a label, the same in every run."""
    return SigningKeyPair(hashlib.sha256(f"sealgate test key {label}".encode()).digest())


def new_pair() -> SigningKeyPair:
    """A key pair that nothing else has."""
    return key_pair(f"number {next(_counter)}")


def base64_of(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def request_id_at(now_ns: int) -> uuid.UUID:
    """A UUIDv7 of a time, Unix nanoseconds, kept to the millisecond; none is given twice."""
    milliseconds = now_ns // 1_000_000
    tail = int.from_bytes(hashlib.sha256(b"id %d" % next(_counter)).digest(), "big") >> (256 - _RANDOM_BITS)
    high = milliseconds << 16 | 0x7 << 12 | tail >> 62
    return uuid.UUID(int=high << 64 | 0x2 << 62 | tail & 2**62 - 1)


def _text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<H", len(data)) + data


def payload(
    request_type: int,
    request_id: uuid.UUID,
    body: bytes,
    *,
    version: int = 1,
    signature_type: int = 0,
    reserved: int = 0,
) -> bytes:
    """What is signed: header, request id and body."""
    head = struct.pack("<BBHI", version, signature_type, request_type, reserved)
    return head + request_id.bytes + body


def payload_message(audience: str, account_id: str, signed: bytes) -> bytes:
    """The bytes that a payload's signature is over."""
    return _PAYLOAD + _text(audience) + uuid.UUID(account_id).bytes + signed


def triple_message(
    audience: str, account_id: str, request_id: uuid.UUID, verb: str, target: str | bytes, body: bytes = b""
) -> bytes:
    """The bytes that a signature in headers is over."""
    return (
        _SESSION_SIGNATURE
        + _text(audience)
        + uuid.UUID(account_id).bytes
        + request_id.bytes
        + _text(verb)
        + _text(target)
        + hashlib.sha256(body).digest()
    )


def possession(pair: SigningKeyPair, audience: str, account_id: str) -> bytes:
    """A key's own signature, which proves at its registration that somebody has its private half."""
    return pair.sign(_POSSESSION + _text(audience) + uuid.UUID(account_id).bytes + pair.public_key)


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """A signed payload with all that is sent beside it."""

    payload: bytes
    signature: bytes
    public_key: bytes
    account_id: str

    @property
    def json(self) -> dict[str, str]:
        """The body of the REST request."""
        return {
            "payload": base64_of(self.payload),
            "signature": base64_of(self.signature),
            "public_key": base64_of(self.public_key),
            "account_id": self.account_id,
        }

    @property
    def fields(self) -> dict[str, bytes | str]:
        """The fields of the gRPC request."""
        return {
            "payload": self.payload,
            "signature": self.signature,
            "public_key": self.public_key,
            "account_id": self.account_id,
        }


def sign_payload(pair: SigningKeyPair, audience: str, account_id: str, signed: bytes) -> SignedPayload:
    """A payload with its signature."""
    signature = pair.sign(payload_message(audience, account_id, signed))
    return SignedPayload(signed, signature, pair.public_key, account_id)


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """A request that is signed in its headers."""

    verb: str
    target: str
    body: bytes
    account_id: str
    public_key: bytes
    request_id: str
    signature: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the REST request, without the one of a body."""
        return {
            "X-ACCOUNT-ID": self.account_id,
            "X-PUBLIC-KEY": base64_of(self.public_key),
            "X-SIGNATURE": base64_of(self.signature),
            "X-REQUEST-ID": self.request_id,
        }

    @property
    def fields(self) -> dict[str, bytes | str]:
        """The fields of the gRPC request, without those of the path's variables."""
        return {
            "method": self.verb,
            "target": self.target,
            "body": self.body,
            "account_id": self.account_id,
            "public_key": self.public_key,
            "request_id": self.request_id,
            "signature": self.signature,
        }


def sign_headers(
    pair: SigningKeyPair,
    audience: str,
    account_id: str,
    request_id: uuid.UUID,
    verb: str,
    target: str,
    body: bytes = b"",
) -> SignedHeaders:
    """A request with its signature."""
    signature = pair.sign(triple_message(audience, account_id, request_id, verb, target, body))
    return SignedHeaders(verb, target, body, account_id, pair.public_key, str(request_id), signature)

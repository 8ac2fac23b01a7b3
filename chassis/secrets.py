"""API keys and device keys as text, with check bytes that tell a key from noise.

An API key is an Ed25519 key pair: its secret is `sk_` and the seed, its public name `pk_` and the
public key. What follows the prefix is base64url without padding of 32 raw bytes and 4 check bytes: 48
characters. The check is the first 4 bytes of BLAKE2b with a 32-byte
digest over the prefix (underscore included) and the raw bytes, so that a scanner can recognise a
real key without asking anybody.

A device key is 32 random bytes in the same shape behind `dk_`. It has no public half: it is known by
the digest of its bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from nacl.bindings import crypto_sign_seed_keypair

_SECRET_PREFIX: Final = "sk_"  # noqa: S105  (the word in front of every secret, not a secret)
_PUBLIC_PREFIX: Final = "pk_"
_DEVICE_PREFIX: Final = "dk_"
_CHECK_BYTES: Final = 4
_BODY: Final = re.compile(r"[A-Za-z0-9_-]{48}")


@dataclass(frozen=True, slots=True, repr=False)
class ApiKeyPair:
    """A new key: its public half in both forms, and the secret that is shown once."""

    public_key: bytes
    public_text: str
    secret_text: str

    @classmethod
    def from_seed(cls, seed: bytes) -> ApiKeyPair:
        """Makes the key pair of a 32-byte seed."""
        public_key = public_key_of(seed)
        return cls(public_key, public_key_text(public_key), _to_text(_SECRET_PREFIX, seed))


def public_key_of(seed: bytes) -> bytes:
    """The Ed25519 public key (32 bytes) of a 32-byte seed (RFC 8032 section 5.1.5)."""
    public_key, _ = crypto_sign_seed_keypair(seed)
    return bytes(public_key)


def public_key_text(public_key: bytes) -> str:
    """The `pk_…` name of a 32-byte public key."""
    return _to_text(_PUBLIC_PREFIX, public_key)


def parse_public_key(text: str) -> bytes | None:
    """The 32 bytes behind a `pk_…` name; None when shape or check bytes are wrong."""
    return _from_text(_PUBLIC_PREFIX, text)


def parse_secret_key(text: str) -> bytes | None:
    """The 32-byte seed behind a `sk_…` secret; None when shape or check bytes are wrong."""
    return _from_text(_SECRET_PREFIX, text)


def device_key_text(secret: bytes) -> str:
    """The `dk_…` text of a device key's 32 secret bytes."""
    return _to_text(_DEVICE_PREFIX, secret)


def parse_device_key(text: str) -> bytes | None:
    """The 32 secret bytes behind a `dk_…` text; None when shape or check bytes are wrong."""
    return _from_text(_DEVICE_PREFIX, text)


def device_key_digest(secret: bytes) -> bytes:
    """BLAKE2b-256 of a device key's 32 secret bytes: all that is kept of it."""
    return blake2b(secret, digest_size=32).digest()


def looks_like_api_secret(text: str) -> bool:
    """Whether a bearer credential claims to be an API key rather than a token."""
    return text.startswith(_SECRET_PREFIX)


def _check(prefix: str, raw: bytes) -> bytes:
    return blake2b(prefix.encode("ascii") + raw, digest_size=32).digest()[:_CHECK_BYTES]


def _to_text(prefix: str, raw: bytes) -> str:
    return prefix + base64.urlsafe_b64encode(raw + _check(prefix, raw)).decode("ascii")


def _from_text(prefix: str, text: str) -> bytes | None:
    body = text[len(prefix) :]
    if not text.startswith(prefix) or not _BODY.fullmatch(body):
        return None
    try:
        decoded = base64.urlsafe_b64decode(body)
    except binascii.Error:
        return None
    raw, check = decoded[:-_CHECK_BYTES], decoded[-_CHECK_BYTES:]
    # 36 bytes fill 48 characters exactly, so there are no spare bits to be non-canonical in.
    return raw if check == _check(prefix, raw) else None

"""What is signed, byte by byte, and the keys that sign it; docs/signing.md has the same in words.

Every message names what it is for, the deployment and the account, so that no signature is good for
anything but the request that it was made for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

UNPINNED: Final = 2**32 - 1
"""The scope of a session key that is pinned to no subaccount."""
NEVER: Final = 2**64 - 1
"""The `valid_until_ns` of a session key that does not end by itself."""
REQUEST_WINDOW_SECONDS: Final = 15
"""So long after its making a request id is taken."""

_PAYLOAD: Final = b"sealgate/payload/v1\0"
_SESSION_SIGNATURE: Final = b"sealgate/session-signature/v1\0"
_POSSESSION: Final = b"sealgate/possession/v1\0"
_AUDIENCE: Final = re.compile(r"[a-z0-9.:-]{1,253}")
_HEADER: Final = struct.Struct("<BBHI")
_VERSION: Final = 1
_ED25519: Final = 0
_SEED_BYTES: Final = 32
HEADER_BYTES: Final = 24
"""What is before the body of a payload, its request id included."""
# RFC 8410: all of a private key's document that is before its seed.
_DOCUMENT_HEAD: Final = bytes.fromhex("302e020100300506032b657004220420")
_DOCUMENT: Final = re.compile(
    r"\s*-----BEGIN PRIVATE KEY-----\s([A-Za-z0-9+/=\s]+)\s-----END PRIVATE KEY-----\s*"
)
_DOCUMENT_MAX_BYTES: Final = 4096


class KeyFileError(ValueError):
    """A key file that cannot be used; the text says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed payload with all that is sent beside it."""

    payload: bytes
    signature: bytes
    """64 bytes."""
    public_key: bytes
    """32 bytes."""
    account_id: uuid.UUID

    def document(self) -> dict[str, str]:
        """The JSON body of the request."""
        return {
            "payload": base64_text(self.payload),
            "signature": base64_text(self.signature),
            "public_key": base64_text(self.public_key),
            "account_id": str(self.account_id),
        }


class KeyPair:
    """An Ed25519 key pair; its private half is in no `repr`."""

    __slots__ = ("_key",)

    def __init__(self, seed: bytes) -> None:
        """Of a seed of 32 bytes; raises ValueError for another length."""
        if len(seed) != _SEED_BYTES:
            raise ValueError("a seed has 32 bytes")
        self._key = SigningKey(bytes(seed))

    @classmethod
    def generate(cls) -> KeyPair:
        """A pair that nobody else has."""
        return cls(bytes(SigningKey.generate()))

    @classmethod
    def load(cls, path: Path | str) -> KeyPair:
        """The pair of a key file.

        Raises KeyFileError for one that is no Ed25519 key in PEM, or that others than its owner can read.
        """
        return cls(_read_seed(Path(path)))

    def save(self, path: Path | str) -> None:
        """Writes a key file that only its owner can read: PKCS#8 in PEM, as OpenSSL writes it.

        Raises KeyFileError rather than write over anything, and OSErrors.
        """
        lines = base64_text(_DOCUMENT_HEAD + bytes(self._key))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            text = f"{path} is there already, and a private key is never written over: take another name"
            raise KeyFileError(text) from None
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            # Half a key is of no use, and would be in the way of the next attempt.
            Path(path).unlink(missing_ok=True)
            raise

    @property
    def public_key(self) -> bytes:
        """The public half, 32 bytes."""
        return bytes(self._key.verify_key)

    def sign(self, message: bytes) -> bytes:
        """The signature over a message, 64 bytes."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"KeyPair(public_key={base64_text(self.public_key)!r})"

    def __reduce__(self) -> NoReturn:
        # A pickle is bytes that people pass on without a thought.
        raise TypeError("a key pair is not pickled: save it, and load it where it is needed")


class Signer:
    """A key pair that signs for an account at one deployment."""

    __slots__ = ("account_id", "audience", "key")

    def __init__(self, key: KeyPair, account_id: uuid.UUID | str, *, audience: str | None = None) -> None:
        """`audience` is the deployment's name; without it, a client takes the host (and port) that it dials.

        Raises ValueError for an account id that is no UUID, and for a name that no deployment can have.
        """
        self.key = key
        self.account_id = account_id if isinstance(account_id, uuid.UUID) else _account_id(account_id)
        self.audience = audience if audience is None else checked_audience(audience)

    def for_audience(self, audience: str) -> Signer:
        """The same signer at a deployment of this name."""
        return Signer(self.key, self.account_id, audience=audience)

    def payload(self, request_type: int, request_id: uuid.UUID, body: bytes) -> Envelope:
        """Signs a request whose body is in a payload; raises ValueError for a signer without audience."""
        payload = payload_bytes(request_type, request_id, body)
        message = payload_message(self._named_audience(), self.account_id, payload)
        return Envelope(payload, self.key.sign(message), self.key.public_key, self.account_id)

    def headers(self, verb: str, target: str, body: bytes, request_id: uuid.UUID) -> dict[str, str]:
        """Signs a request as a whole: the headers to send with it. ValueError as for `payload`.

        `target` is path and query as they are sent, `body` the body, empty for none.
        """
        message = session_message(self._named_audience(), self.account_id, request_id, verb, target, body)
        return {
            "x-account-id": str(self.account_id),
            "x-public-key": base64_text(self.key.public_key),
            "x-signature": base64_text(self.key.sign(message)),
            "x-request-id": str(request_id),
        }

    def possession(self) -> bytes:
        """What proves, where the key is registered as a master key, that somebody has its private half.

        64 bytes; ValueError as for `payload`.
        """
        return self.key.sign(possession_message(self._named_audience(), self.account_id, self.key.public_key))

    def _named_audience(self) -> str:
        if self.audience is None:
            raise ValueError("this signer does not know the deployment's name: give it an audience")
        return self.audience

    def __repr__(self) -> str:
        return f"Signer({self.key!r}, '{self.account_id}', audience={self.audience!r})"


def _account_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ValueError(f"account_id has to be the account's UUID, and {text!r} is none") from None


def checked_audience(audience: str) -> str:
    """The name, if a deployment can have it; else ValueError."""
    if not _AUDIENCE.fullmatch(audience):
        raise ValueError("an audience is 1 to 253 of a-z, 0-9, '.', ':' and '-'")
    return audience


def payload_bytes(request_type: int, request_id: uuid.UUID, body: bytes) -> bytes:
    """A payload: header of eight bytes, request id, body."""
    return _HEADER.pack(_VERSION, _ED25519, request_type, 0) + request_id.bytes + body


def payload_message(audience: str, account_id: uuid.UUID, payload: bytes) -> bytes:
    """What the signature of a payload is over."""
    return _PAYLOAD + _sized(audience) + account_id.bytes + payload


def session_message(
    audience: str, account_id: uuid.UUID, request_id: uuid.UUID, verb: str, target: str, body: bytes
) -> bytes:
    """What a signature in headers is over."""
    head = _SESSION_SIGNATURE + _sized(audience) + account_id.bytes + request_id.bytes
    return head + _sized(verb) + _sized(target) + hashlib.sha256(body).digest()


def possession_message(audience: str, account_id: uuid.UUID, public_key: bytes) -> bytes:
    """What a new master key signs itself."""
    return _POSSESSION + _sized(audience) + account_id.bytes + public_key


def signature_holds(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key signed the message."""
    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def base64_text(data: bytes) -> str:
    """Standard base64 with its padding."""
    return base64.b64encode(data).decode("ascii")


def _sized(text: str) -> bytes:
    data = text.encode("ascii")
    return struct.pack("<H", len(data)) + data


def _read_seed(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK, opening a pipe waits for whoever writes it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{path} is no file, and a private key is read from nothing else")
            if stat.S_IMODE(mode) & 0o077:
                raise KeyFileError(f"{path} can be read by others than its owner: chmod 600 {path}")
            text = file.read(_DOCUMENT_MAX_BYTES)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    found = _DOCUMENT.fullmatch(text.decode("ascii", "replace"))
    try:
        document = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        document = b""
    if not document.startswith(_DOCUMENT_HEAD) or len(document) != len(_DOCUMENT_HEAD) + _SEED_BYTES:
        raise KeyFileError(f"{path} is no Ed25519 private key in PEM, as `sealgate key generate` writes it")
    return document[len(_DOCUMENT_HEAD) :]

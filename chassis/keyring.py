"""Private signing keys as files of mode 0600: one directory a purpose, one JSON file a key.

A key signs from its `signs_from_ns` on, and the newest such key is the one that signs; the others
stay in the ring to verify what they signed. Keys never come from a database.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from chassis.secrets import public_key_of


class KeyRingError(Exception):
    """A key directory that cannot be used; the text says which file and what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An Ed25519 key pair with the name that signatures carry."""

    kid: str
    seed: bytes
    public_key: bytes
    signs_from_ns: int

    @classmethod
    def from_seed(cls, seed: bytes, signs_from_ns: int) -> SigningKey:
        """The key of a 32-byte seed; its name is a digest of its public half."""
        public_key = public_key_of(seed)
        return cls(blake2b(public_key, digest_size=8).hexdigest(), seed, public_key, signs_from_ns)


class KeyRing:
    """The signing keys of one purpose."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        if not keys:
            raise KeyRingError("a key ring needs at least one key")
        self._keys = tuple(sorted(keys, key=lambda key: key.signs_from_ns))

    @classmethod
    def load(cls, directory: Path) -> KeyRing:
        """Reads every key file of a directory; raises KeyRingError for one that is unfit."""
        paths = sorted(directory.glob("*.json"))
        if not paths:
            raise KeyRingError(f"{directory}: no key files (*.json)")
        return cls([_read_key(path) for path in paths])

    def signing_key(self, now_ns: int) -> SigningKey:
        """The newest key that may sign at `now_ns` (Unix nanoseconds)."""
        ready = [key for key in self._keys if key.signs_from_ns <= now_ns]
        return (ready or self._keys[:1])[-1]

    def public_keys(self) -> dict[str, bytes]:
        """Every key's public half (32 bytes) by name, those that do not sign yet included."""
        return {key.kid: key.public_key for key in self._keys}


def key_file(directory: Path, kid: str) -> Path:
    """Where a directory has the key of a name."""
    return directory / f"{kid}.json"


def create_key(directory: Path, seed: bytes, signs_from_ns: int) -> SigningKey:
    """Writes a new key file, readable by its owner only, and returns the key.

    Makes the directory where there is none; raises OSError where it cannot write.
    """
    key = SigningKey.from_seed(seed, signs_from_ns)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps(
        {"kid": key.kid, "seed": base64.b64encode(seed).decode("ascii"), "signs_from_ns": signs_from_ns}
    )
    descriptor = os.open(key_file(directory, key.kid), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
    return key


def _read_key(path: Path) -> SigningKey:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyRingError(f"{path}: others can read this private key; run chmod 600 on it")
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise KeyRingError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise KeyRingError(f"{path}: not a key file") from None
    try:
        document = json.loads(text)
        seed = base64.b64decode(document["seed"], validate=True)
        key = SigningKey.from_seed(seed, int(document["signs_from_ns"]))
        named = document["kid"]
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise KeyRingError(f"{path}: not a key file ({type(error).__name__})") from None
    if named != key.kid:
        raise KeyRingError(f"{path}: the name in the file is not that of its key")
    return key

"""Private signing keys as files of mode 0600: one directory a purpose, one JSON file a key.

A key signs from its `signs_from_ns` on, and the newest such key is the one that signs; the others
stay in the ring to verify what they signed. Keys never come from a database.

A key is published as soon as its file is read and signs later: so every process that reads the
directory knows it before anybody shows a signature by it.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from chassis.secrets import public_key_of

_KEY_FILES: Final = "*.json"


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


class SigningKeys(Protocol):
    """The keys of one purpose, for whoever signs and whoever publishes."""

    def signing_key(self, now_ns: int) -> SigningKey:
        """The newest key that may sign at `now_ns` (Unix nanoseconds)."""
        ...

    def public_keys(self) -> Mapping[str, bytes]:
        """Every key's public half (32 bytes) by name, those that do not sign yet included.

        The same mapping is answered until the keys change.
        """
        ...


class KeyRing:
    """The signing keys of one purpose; see `SigningKeys`."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        if not keys:
            raise KeyRingError("a key ring needs at least one key")
        # By name among equals, so that all processes of one directory sign with the same key.
        self._keys = tuple(sorted(keys, key=lambda key: (key.signs_from_ns, key.kid)))
        self._public_keys = MappingProxyType({key.kid: key.public_key for key in self._keys})

    @classmethod
    def load(cls, directory: Path) -> KeyRing:
        """Reads every key file of a directory; raises KeyRingError for one that is unfit."""
        return cls(list(read_keys(directory).values()))

    def signing_key(self, now_ns: int) -> SigningKey:
        """See `SigningKeys.signing_key`."""
        ready = [key for key in self._keys if key.signs_from_ns <= now_ns]
        return (ready or self._keys[:1])[-1]

    def public_keys(self) -> Mapping[str, bytes]:
        """See `SigningKeys.public_keys`."""
        return self._public_keys


def key_file(directory: Path, kid: str) -> Path:
    """Where a directory has the key of a name."""
    return directory / f"{kid}.json"


def key_files(directory: Path) -> list[Path]:
    """The files of a directory that are read as keys, in order of their names."""
    return sorted(directory.glob(_KEY_FILES))


def read_keys(directory: Path) -> dict[Path, SigningKey]:
    """Every key of a directory by its file; raises KeyRingError for none, and for one that is unfit."""
    paths = key_files(directory)
    if not paths:
        remedy = f"`sealgate key create {directory}` makes one"
        raise KeyRingError(f"{directory}: no key files ({_KEY_FILES}); {remedy}")
    return {path: _read_key(path) for path in paths}


def create_key(directory: Path, seed: bytes, signs_from_ns: int) -> SigningKey:
    """Writes a new key file, readable by its owner only, and returns the key.

    The file appears whole or not at all. Makes the directory where there is none; raises OSError where
    it cannot write. Written by root, the file belongs to whom the directory belongs to: a service that
    could not read it would end at its next start.
    """
    key = SigningKey.from_seed(seed, signs_from_ns)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = key_file(directory, key.kid)
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    text = json.dumps(
        {"kid": key.kid, "seed": base64.b64encode(seed).decode("ascii"), "signs_from_ns": signs_from_ns}
    )
    # Not one of the names that are read, until it is whole.
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            _give_to_owner_of(directory, descriptor)
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return key


def outlived_files(keys: Mapping[Path, SigningKey], now_ns: int, kept_ns: int) -> list[Path]:
    """The files of keys whose successor has signed for longer than `kept_ns` at `now_ns`.

    `kept_ns` is how long what a key signed last can still be shown.
    """
    in_turn = sorted(keys.items(), key=lambda item: (item[1].signs_from_ns, item[1].kid))
    return [
        path for (path, _), (_, successor) in pairwise(in_turn) if now_ns - successor.signs_from_ns > kept_ns
    ]


def _give_to_owner_of(directory: Path, descriptor: int) -> None:
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _unreadable(path: Path, error: OSError) -> KeyRingError:
    return KeyRingError(f"{path}: cannot be read ({error.strerror})")


def _read_key(path: Path) -> SigningKey:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyRingError(f"{path}: others can read this private key; run chmod 600 on it")
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise _unreadable(path, error) from None
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

"""Private signing keys as files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from chassis.keyring import KeyRing, KeyRingError, SigningKey, create_key
from chassis.secrets import public_key_of

SEED = bytes(range(32))


def write(directory: Path, mode: int = 0o600, changes: Mapping[str, object] = MappingProxyType({})) -> Path:
    """A key file as `create_key` writes it, apart from the changes."""
    key = SigningKey.from_seed(SEED, 5)
    document: dict[str, object] = {
        "kid": key.kid,
        "seed": base64.b64encode(SEED).decode(),
        "signs_from_ns": 5,
    }
    path = directory / f"{key.kid}.json"
    path.write_text(json.dumps(document | dict(changes)), encoding="utf-8")
    path.chmod(mode)
    return path


def test_created_key_is_read_back_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """File 0600 in a directory 0700, and the same key again."""
    directory = tmp_path / "passport"
    key = create_key(directory, SEED, 7)
    assert directory.stat().st_mode & 0o777 == 0o700
    [path] = directory.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    ring = KeyRing.load(directory)
    assert ring.signing_key(7) == key
    assert (key.seed, key.signs_from_ns, key.public_key) == (SEED, 7, public_key_of(SEED))
    assert ring.public_keys() == {key.kid: public_key_of(SEED)}


def test_create_key_never_overwrites_a_key(tmp_path: Path) -> None:
    """The same seed twice is a mistake and changes nothing."""
    create_key(tmp_path, SEED, 7)
    with pytest.raises(FileExistsError):
        create_key(tmp_path, SEED, 8)
    assert KeyRing.load(tmp_path).signing_key(7).signs_from_ns == 7


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o620, 0o777])
def test_key_is_refused_when_others_can_get_at_it(tmp_path: Path, mode: int) -> None:
    """A private key that group or world can read, write or run stops the process, with advice."""
    path = write(tmp_path, mode)
    with pytest.raises(KeyRingError, match="chmod 600") as raised:
        KeyRing.load(tmp_path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_key_is_taken_when_only_its_owner_can_get_at_it(tmp_path: Path, mode: int) -> None:
    """A mounted secret may be read-only."""
    write(tmp_path, mode)
    assert KeyRing.load(tmp_path).signing_key(5).seed == SEED


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": "0" * 16},
        {"kid": None},
        {"seed": base64.b64encode(bytes(31)).decode()},
        {"seed": base64.b64encode(bytes(33)).decode()},
        {"seed": "not base64!"},
        {"seed": None},
        {"seed": 5},
        {"signs_from_ns": "soon"},
        {"signs_from_ns": None},
        {"signs_from_ns": float("inf")},
    ],
    ids=str,
)
def test_key_is_refused_when_its_file_says_something_wrong(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    """The error names the file, and quotes nothing of what is in it."""
    path = write(tmp_path, changes=changes)
    with pytest.raises(KeyRingError) as raised:
        KeyRing.load(tmp_path)
    assert str(path) in str(raised.value)
    assert base64.b64encode(SEED).decode() not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "garbage", "[]", "null", "{}", '"text"', "\x00", "{", "ü", "[" * 100_000]
)
def test_key_is_refused_when_its_file_is_garbage(tmp_path: Path, text: str) -> None:
    """Whatever is in the file, the error is one line with its name."""
    path = tmp_path / "key.json"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(KeyRingError) as raised:
        KeyRing.load(tmp_path)
    assert str(path) in str(raised.value)


def test_ring_is_refused_when_a_file_in_it_cannot_be_read(tmp_path: Path) -> None:
    """A dangling link is named, not a traceback."""
    path = tmp_path / "key.json"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyRingError) as raised:
        KeyRing.load(tmp_path)
    assert str(path) in str(raised.value)


def test_ring_is_refused_when_there_is_no_key(tmp_path: Path) -> None:
    """A process without a key does not start."""
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(KeyRingError, match="no key files"):
            KeyRing.load(directory)
    with pytest.raises(KeyRingError):
        KeyRing([])


def test_newest_key_that_may_sign_is_the_one_that_signs() -> None:
    """A new key is published before it signs; the old ones stay to verify."""
    keys = {number: SigningKey.from_seed(bytes([number]) * 32, number) for number in (10, 20, 30)}
    ring = KeyRing([keys[30], keys[10], keys[20]])
    signs = {now_ns: ring.signing_key(now_ns).signs_from_ns for now_ns in (9, 10, 19, 20, 29, 30, 10**19)}
    assert signs == {9: 10, 10: 10, 19: 10, 20: 20, 29: 20, 30: 30, 10**19: 30}
    assert ring.public_keys() == {key.kid: key.public_key for key in keys.values()}


def test_key_does_not_print_its_seed() -> None:
    """A key in a log line by accident is the object, not the secret."""
    key = SigningKey.from_seed(b"s" * 32, 0)
    assert "ssss" not in f"{key} {key!r} {[key]}"

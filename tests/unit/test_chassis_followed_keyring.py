"""Signing keys that come and go while a process runs."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chassis.followed_keyring import FollowedKeyRing
from chassis.identity import PassportSigner
from chassis.keyring import KeyRingError, SigningKey, create_key, key_file
from chassis.limits import KEY_RING_REREAD_SECONDS
from chassis.testing.fakes import START_NS, FakeClock
from sealgate.common.v1.passport_pb2 import PassportClaims

FIRST_SEED = b"\x01" * 32
SECOND_SEED = b"\x02" * 32


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with one key that signs."""
    create_key(tmp_path / "keys", FIRST_SEED, 0)
    return tmp_path / "keys"


@pytest.fixture
def ring(directory: Path, clock: FakeClock) -> FollowedKeyRing:
    return FollowedKeyRing(directory, clock)


def next_look(clock: FakeClock) -> None:
    clock.advance(seconds=KEY_RING_REREAD_SECONDS)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def test_new_key_is_published_before_it_signs(
    ring: FollowedKeyRing, directory: Path, clock: FakeClock
) -> None:
    """Known within five seconds to whoever verifies; it signs from its own time on, to the nanosecond."""
    old = ring.signing_key(clock.now_ns())
    new = create_key(directory, SECOND_SEED, clock.now_ns() + 30_000_000_000)
    assert ring.public_keys() == {old.kid: old.public_key}
    clock.advance_ns(KEY_RING_REREAD_SECONDS * 1_000_000_000 - 1)
    assert new.kid not in ring.public_keys()
    clock.advance_ns(1)
    assert ring.public_keys() == {old.kid: old.public_key, new.kid: new.public_key}
    assert ring.signing_key(new.signs_from_ns - 1) == old
    assert ring.signing_key(new.signs_from_ns) == new
    # What began before the change goes on being signed by the key of its beginning.
    clock.advance(seconds=60)
    assert ring.signing_key(START_NS) == old


def test_signer_takes_the_new_key_when_its_time_has_come(
    ring: FollowedKeyRing, directory: Path, clock: FakeClock
) -> None:
    """Without a restart, and not before."""
    signer = PassportSigner(ring, clock)
    new = create_key(directory, SECOND_SEED, clock.now_ns() + 30_000_000_000)
    seen = []
    for _ in range(7):
        next_look(clock)
        seen.append(signer.sign(PassportClaims()).kid == new.kid)
    assert seen == [False] * 5 + [True] * 2


def test_removed_key_is_published_no_more(ring: FollowedKeyRing, directory: Path, clock: FakeClock) -> None:
    """A leaked key's file is deleted, and what it signs is refused from the next look on."""
    old = ring.signing_key(clock.now_ns())
    new = create_key(directory, SECOND_SEED, 1)
    next_look(clock)
    assert ring.public_keys().keys() == {old.kid, new.kid}
    key_file(directory, old.kid).unlink()
    next_look(clock)
    assert ring.public_keys() == {new.kid: new.public_key}


def test_directory_is_looked_at_no_more_often_than_every_five_seconds(
    ring: FollowedKeyRing, directory: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask, and files that did not change are not read again."""
    looks, reads = Counter[str](), Counter[str]()
    look, read = FollowedKeyRing._look_again, Path.read_text

    def counted_look(followed: FollowedKeyRing) -> None:
        looks["look"] += 1
        look(followed)

    def counted_read(path: Path, encoding: str | None = None) -> str:
        reads[path.name] += 1
        return read(path, encoding)

    monkeypatch.setattr(FollowedKeyRing, "_look_again", counted_look)
    monkeypatch.setattr(Path, "read_text", counted_read)
    for _ in range(100):
        ring.signing_key(clock.now_ns())
        ring.public_keys()
        clock.advance_ns(100_000_000)
    assert (looks.total(), reads.total()) == (1, 0)
    create_key(directory, SECOND_SEED, 1)
    clock.advance_ns(100_000_000)
    assert len(ring.public_keys()) == 2
    assert (looks.total(), reads.total()) == (2, 2)


def test_mapping_of_public_keys_is_the_same_until_the_keys_change(
    ring: FollowedKeyRing, directory: Path, clock: FakeClock
) -> None:
    """Whoever prepares something from the keys sees by it when to do so again."""
    published = ring.public_keys()
    next_look(clock)
    assert ring.public_keys() is published
    create_key(directory, SECOND_SEED, 1)
    next_look(clock)
    assert ring.public_keys() is not published


def _unfit_files(directory: Path) -> dict[str, Any]:
    """Ways in which a directory can become unusable, each with the file that is named."""

    def readable_to_others() -> Path:
        path = key_file(directory, create_key(directory, SECOND_SEED, 1).kid)
        path.chmod(0o644)
        return path

    def half_written() -> Path:
        path = directory / "half.json"
        path.write_text('{"kid": "', encoding="ascii")
        path.chmod(0o600)
        return path

    def wrong_name() -> Path:
        path = directory / "wrong.json"
        seed = base64.b64encode(SECOND_SEED).decode("ascii")
        path.write_text(json.dumps({"kid": "0" * 16, "seed": seed, "signs_from_ns": 1}))
        path.chmod(0o600)
        return path

    def dangling() -> Path:
        path = directory / "link.json"
        path.symlink_to(directory / "nowhere")
        return path

    def emptied() -> Path:
        for path in directory.glob("*.json"):
            path.unlink()
        return directory

    return {
        spoil.__name__: spoil for spoil in (readable_to_others, half_written, wrong_name, dangling, emptied)
    }


@pytest.mark.parametrize("how", sorted(_unfit_files(Path())))
def test_running_process_keeps_its_keys_when_the_directory_becomes_unfit(
    ring: FollowedKeyRing, directory: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Logged once, with the file and without what is in it; a process that starts then does not."""
    published, signing = ring.public_keys(), ring.signing_key(clock.now_ns())
    named = _unfit_files(directory)[how]()
    for _ in range(4):
        next_look(clock)
        assert ring.public_keys() is published
        assert ring.signing_key(clock.now_ns()) == signing
    assert complaints(caplog) == ["key directory unusable, keys kept"]
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert str(named) in str(record.__dict__)
    for seed in (FIRST_SEED, SECOND_SEED):
        assert base64.b64encode(seed).decode("ascii") not in str(record.__dict__)
    with pytest.raises(KeyRingError):
        FollowedKeyRing(directory, clock)


def test_keys_are_read_again_when_the_directory_is_fit_again(
    ring: FollowedKeyRing, directory: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What was wrong is put right and taken, and the same trouble later is logged anew."""
    for seed, count in ((SECOND_SEED, 2), (b"\x03" * 32, 3)):
        new = create_key(directory, seed, 1)
        path = key_file(directory, new.kid)
        path.chmod(0o640)
        next_look(clock)
        assert new.kid not in ring.public_keys()
        path.chmod(0o600)
        next_look(clock)
        assert len(ring.public_keys()) == count
    bad = directory / "bad.json"
    for _ in range(2):
        bad.write_text("", encoding="ascii")
        next_look(clock)
        ring.public_keys()
        bad.unlink()
        next_look(clock)
        ring.public_keys()
    assert len(complaints(caplog)) == 4


def test_key_file_appears_whole_or_not_at_all(
    directory: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is read while a key is being written is no part of it, and a failure leaves nothing."""
    ring = FollowedKeyRing(directory, clock)
    seen: list[int] = []

    def look_at_the_worst_moment(descriptor: int) -> None:
        next_look(clock)
        seen.append(len(ring.public_keys()))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", look_at_the_worst_moment)
    with pytest.raises(OSError, match="No space left"):
        create_key(directory, SECOND_SEED, 1)
    assert seen == [1]
    assert [path.name for path in directory.iterdir()] == [f"{SigningKey.from_seed(FIRST_SEED, 0).kid}.json"]

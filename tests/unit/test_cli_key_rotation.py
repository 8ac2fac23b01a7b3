"""The rotation of signing keys by an operator: what is written, what stays, what goes, what is said."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chassis.clock import NANOSECONDS_PER_SECOND, SystemClock
from chassis.ids import SystemIds
from chassis.keyring import KeyRing, KeyRingError, create_key
from chassis.limits import BROWSER_SESSION_LIFETIME_SECONDS, SESSION_CAP_MAX_SECONDS
from chassis.testing.fakes import CountingIds, FakeClock
from cli.data_directory import DataDirectory
from cli.key import PURPOSES
from cli.key_rotation import SHOWN_SECONDS, rotate_signing_keys
from cli.main import main

# The life of what a key signed last, the lead of its successor, and the margin.
PASSPORT_KEPT_SECONDS = 30 + 10 + 60
SESSION_KEPT_SECONDS = SESSION_CAP_MAX_SECONDS + 10 + 60
BROWSER_KEPT_SECONDS = BROWSER_SESSION_LIFETIME_SECONDS + 10 + 60


def rotate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["key", "rotate-signing", *arguments])


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, ...]:
    """Passport, session and browser keys, one each, that have signed for a while."""
    clock = SystemClock()
    ids = SystemIds(clock)
    made = tuple(tmp_path / f"{purpose}-keys" for purpose in PURPOSES)
    for directory in made:
        create_key(directory, ids.seed(), 0)
    return made


def options(directories: tuple[Path, ...]) -> list[str]:
    pairs = zip(PURPOSES, directories, strict=True)
    return [text for purpose, directory in pairs for text in (f"--{purpose}-keys", str(directory))]


@pytest.mark.parametrize(
    ("purpose", "kept_seconds"),
    [
        ("passport", PASSPORT_KEPT_SECONDS),
        ("session", SESSION_KEPT_SECONDS),
        ("browser", BROWSER_KEPT_SECONDS),
    ],
)
def test_old_key_goes_with_the_first_rotation_after_all_it_signed_has_ended(
    tmp_path: Path, clock: FakeClock, ids: CountingIds, purpose: str, kept_seconds: int
) -> None:
    """And not a nanosecond before that."""
    old = create_key(tmp_path, ids.seed(), 0)
    first = rotate_signing_keys(tmp_path, purpose, 10, clock, ids)
    assert (first.made.signs_from_ns, first.removed_kids) == (
        clock.now_ns() + 10 * NANOSECONDS_PER_SECOND,
        (),
    )
    clock.advance(seconds=kept_seconds)
    second = rotate_signing_keys(tmp_path, purpose, 10, clock, ids)
    assert second.removed_kids == ()
    clock.advance_ns(1)
    third = rotate_signing_keys(tmp_path, purpose, 10, clock, ids)
    assert third.removed_kids == (old.kid,)
    assert KeyRing.load(tmp_path).public_keys().keys() == {
        first.made.kid,
        second.made.kid,
        third.made.kid,
    }


def test_every_kind_of_signing_key_has_its_rotation() -> None:
    """The command, which loads nothing heavy for its help, and the work behind it name the same kinds."""
    assert set(PURPOSES) == set(SHOWN_SECONDS)


def test_nothing_is_removed_because_of_a_key_that_does_not_sign_yet(
    tmp_path: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """However often somebody rotates in a row, the key that signs now stays."""
    old = create_key(tmp_path, ids.seed(), 0)
    for _ in range(3):
        assert rotate_signing_keys(tmp_path, "passport", 24 * 3600, clock, ids).removed_kids == ()
        clock.advance(seconds=3600)
    assert KeyRing.load(tmp_path).signing_key(clock.now_ns()) == old


def test_rotation_changes_nothing_in_a_directory_that_is_unfit(
    tmp_path: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """A key that auth could not start with is put right first."""
    create_key(tmp_path, ids.seed(), 0)
    (tmp_path / "bad.json").write_text("", encoding="ascii")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyRingError, match=r"bad\.json"):
        rotate_signing_keys(tmp_path, "passport", 10, clock, ids)
    assert sorted(tmp_path.iterdir()) == before


def test_command_writes_a_key_for_later_and_says_when_it_signs(directories: tuple[Path, ...]) -> None:
    """One of each, for their owner alone; the old ones sign until then. No secret is printed."""
    answer = rotate("all", *options(directories), "--lead-seconds", "60")
    assert (answer.exit_code, answer.stderr) == (0, "")
    now_ns = SystemClock().now_ns()
    lines = answer.output.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(PURPOSES)
    for directory, said in zip(directories, lines[::2], strict=True):
        ring = KeyRing.load(directory)
        new = ring.signing_key(now_ns + 60 * NANOSECONDS_PER_SECOND)
        assert new.kid in said
        assert ring.signing_key(now_ns).kid != new.kid
        path = directory / f"{new.kid}.json"
        assert str(path) in answer.output
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert base64.b64encode(new.seed).decode("ascii") not in answer.output
        assert len(list(directory.iterdir())) == 2


def test_command_rotates_what_it_is_told_and_no_more(directories: tuple[Path, ...]) -> None:
    """The other directory stays as it was."""
    passport, session, _ = directories
    assert rotate("session", "--session-keys", str(session)).exit_code == 0
    assert (len(list(passport.iterdir())), len(list(session.iterdir()))) == (1, 2)


def test_command_finds_the_keys_of_a_local_stack(tmp_path: Path) -> None:
    """With --data, as the other commands; the stack need not be running."""
    data = DataDirectory(tmp_path / "data")
    data.claim()
    clock = SystemClock()
    for purpose in PURPOSES:
        create_key(data.keys / purpose, SystemIds(clock).seed(), 0)
    try:
        answer = rotate("all", "--data", str(data.root))
    finally:
        data.release()
    assert answer.exit_code == 0
    assert all(len(list((data.keys / name).iterdir())) == 2 for name in PURPOSES)


def test_all_keys_of_two_deployments_are_not_rotated_by_oversight(
    directories: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With some directories named, those of a stack that happens to be here are not taken for the others."""
    monkeypatch.chdir(tmp_path)
    here = DataDirectory(Path(".sealgate"))
    here.claim()
    here.release()
    clock = SystemClock()
    for purpose in PURPOSES:
        create_key(here.keys / purpose, SystemIds(clock).seed(), 0)
    passport = directories[0]
    answer = rotate("all", "--passport-keys", str(passport))
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "--session-keys and --browser-keys missing" in answer.stderr
    assert all(len(list((here.keys / name).iterdir())) == 1 for name in PURPOSES)
    assert len(list(passport.iterdir())) == 1
    wanted = rotate("all", "--passport-keys", str(passport), "--data", ".sealgate")
    assert wanted.exit_code == 0, wanted.stderr
    assert [len(list((here.keys / name).iterdir())) for name in PURPOSES] == [1, 2, 2]


def test_command_says_which_keys_it_removed(directories: tuple[Path, ...]) -> None:
    """By name, so that a log of rotations is complete."""
    passport, *_ = directories
    old = KeyRing.load(passport).signing_key(0)
    create_key(passport, b"\x07" * 32, 1)
    answer = rotate("passport", "--passport-keys", str(passport))
    assert f"{old.kid} removed: nothing that it signed is good any more\n" in answer.output


def test_command_ends_with_two_where_it_cannot_work(directories: tuple[Path, ...], tmp_path: Path) -> None:
    """One line that names the place, and nothing was rotated, not even the half that could have been."""
    passport, session, _ = directories
    (session / "bad.json").write_text(json.dumps({"kid": "0"}), encoding="ascii")
    cases = {
        str(session / "bad.json"): rotate("all", *options(directories)),
        f"{tmp_path / 'none'} has no browser key to rotate: `sealgate key create {tmp_path / 'none'}` makes "
        "the first, and --browser-keys names another directory": rotate(
            "browser", "--browser-keys", str(tmp_path / "none")
        ),
        f"{tmp_path} is not a Sealgate data directory": rotate("all", "--data", str(tmp_path)),
        "--session-keys has nothing to do with the passport keys": rotate("passport", *options(directories)),
        "3 is not in the range 10<=x<=86400": rotate("all", "--lead-seconds", "3"),
    }
    for complaint, answer in cases.items():
        assert answer.exit_code == 2, complaint
        assert complaint in answer.stderr
        assert answer.stdout == ""
    assert len(list(passport.iterdir())) == 1

"""Who may use a data directory, and what is made in it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli.data_directory import LOG_MAX_BYTES, MARKER, DataDirectory, DataDirectoryError, write_atomically
from cli.network import bind_or_none


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_is_made_when_it_is_new(tmp_path: Path) -> None:
    """A new data directory keeps everything but its own name from other users."""
    data = DataDirectory(tmp_path / "new" / "data")
    data.claim()
    assert (data.root / MARKER).is_file()
    assert mode_of(data.root) == (0o711 if os.geteuid() == 0 else 0o700)
    assert {mode_of(path) for path in (data.config, data.keys, data.logs, data.sockets)} == {0o700}


def test_directory_is_claimed_again_when_it_is_ours(tmp_path: Path) -> None:
    """A second start finds the first one's directory good."""
    first = DataDirectory(tmp_path / "data")
    first.claim()
    first.release()
    (first.root / "something").write_text("kept")
    second = DataDirectory(tmp_path / "data")
    second.claim()
    assert (second.root / "something").read_text() == "kept"


def test_directory_is_refused_when_it_is_foreign(tmp_path: Path) -> None:
    """What somebody else put there is not touched."""
    (tmp_path / "letters").write_text("mine")
    with pytest.raises(DataDirectoryError, match="holds other files"):
        DataDirectory(tmp_path).claim()
    assert [entry.name for entry in tmp_path.iterdir()] == ["letters"]


def test_directory_is_refused_when_its_layout_is_of_another_version(tmp_path: Path) -> None:
    """Data that this version would misread is left alone."""
    (tmp_path / MARKER).write_text("99\n")
    with pytest.raises(DataDirectoryError, match="layout '99'"):
        DataDirectory(tmp_path).claim()


def test_directory_is_refused_when_it_is_a_file(tmp_path: Path) -> None:
    """The refusal says that it is a file."""
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="is a file"):
        DataDirectory(tmp_path / "file").claim()


def test_directory_is_refused_when_it_cannot_be_written() -> None:
    """The operating system's own words say why."""
    with pytest.raises(DataDirectoryError, match="cannot write to /proc/sealgate: "):
        DataDirectory(Path("/proc/sealgate")).claim()


def test_directory_is_refused_when_another_process_uses_it(tmp_path: Path) -> None:
    """Two stacks never share data; the refusal names the process."""
    data = DataDirectory(tmp_path / "data")
    data.claim()
    program = (
        "import sys; from pathlib import Path; from cli.data_directory import *\n"
        "try: DataDirectory(Path(sys.argv[1])).claim()\n"
        "except DataDirectoryError as error: print(error)"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(data.root)], capture_output=True, text=True, check=True
    )
    assert f"in use by process {os.getpid()};" in other.stdout


def test_directory_is_free_again_when_its_process_has_ended(tmp_path: Path) -> None:
    """A process that was killed leaves no lock behind."""
    program = (
        "import os, sys; from pathlib import Path; from cli.data_directory import *\n"
        "DataDirectory(Path(sys.argv[1])).claim(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "data")], check=False)
    assert killed.returncode == -9
    DataDirectory(tmp_path / "data").claim()


def test_sockets_are_short_enough_when_the_path_is_long(tmp_path: Path) -> None:
    """However long the directory's name is, a socket below it can be bound and is private."""
    data = DataDirectory(tmp_path / ("d" * 100))
    data.claim()
    assert len(data.socket_target("wallet").removeprefix("unix:")) <= 107
    assert len(str(data.postgres_sockets / ".s.PGSQL.5432.lock")) <= 107
    assert mode_of(data.sockets) == 0o700
    assert mode_of(data.postgres_sockets.parent) == 0o700
    data.release()


def test_sockets_move_to_a_fresh_place_when_they_are_among_temporary_files(tmp_path: Path) -> None:
    """A place anybody could have prepared since the last start is never trusted again."""
    data = DataDirectory(tmp_path / ("d" * 100))
    data.claim()
    before = data.sockets
    data.release()
    assert not before.parent.exists()
    data.claim()
    assert data.sockets != before
    data.release()


def test_ports_stay_the_same_when_they_are_free(tmp_path: Path) -> None:
    """What a developer has written down yesterday works today."""
    data = DataDirectory(tmp_path / "data")
    data.claim()
    first = data.ports("127.0.0.1", ("auth", "keys"))
    assert len(set(first.values())) == 2
    assert data.ports("127.0.0.1", ("auth", "keys")) == first


def test_ports_change_when_they_are_taken(tmp_path: Path) -> None:
    """A port somebody else has got meanwhile does not stop the stack."""
    data = DataDirectory(tmp_path / "data")
    data.claim()
    first = data.ports("127.0.0.1", ("auth", "keys"))
    taken = bind_or_none("127.0.0.1", first["auth"])
    assert taken is not None
    with taken:
        second = data.ports("127.0.0.1", ("auth", "keys"))
    assert second["auth"] != first["auth"]
    assert second["keys"] == first["keys"]


@pytest.mark.parametrize("text", ["", "[]", '{"auth": "x", "keys": -1}', "\N{SNOWMAN}"])
def test_ports_are_chosen_anew_when_the_file_is_spoilt(tmp_path: Path, text: str) -> None:
    """A file somebody has edited by hand costs new ports and nothing else."""
    data = DataDirectory(tmp_path / "data")
    data.claim()
    (data.root / "ports.json").write_text(text, encoding="utf-8")
    assert data.ports("127.0.0.1", ("auth", "keys")).keys() == {"auth", "keys"}


def test_log_is_put_aside_when_it_has_grown(tmp_path: Path) -> None:
    """Logs stay bounded over many starts: one old file is kept."""
    data = DataDirectory(tmp_path / "data")
    data.claim()
    path = data.log_file("auth")
    path.write_bytes(b"x" * LOG_MAX_BYTES)
    assert data.log_file("auth").exists()
    with path.open("ab") as log:
        log.write(b"x")
    assert not data.log_file("auth").exists()
    assert (data.logs / "auth.log.1").stat().st_size == LOG_MAX_BYTES + 1


def test_file_is_whole_and_private_when_it_is_written(tmp_path: Path) -> None:
    """Nothing but the finished file is left, with the mode that was asked for."""
    write_atomically(tmp_path / "demo.json", json.dumps({"a": 1}), mode=0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.json"]
    assert mode_of(tmp_path / "demo.json") == 0o600


def test_marker_is_required_when_a_command_names_a_directory(tmp_path: Path) -> None:
    """A command for a running stack says so when it was pointed elsewhere."""
    with pytest.raises(DataDirectoryError, match="not a Sealgate data directory"):
        DataDirectory(tmp_path).check_marker()

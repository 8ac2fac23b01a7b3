"""Where `sealgate up` refuses to start: one clear line, exit code 2, nothing left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chassis.keyring import create_key
from cli.data_directory import MARKER
from cli.demo import Demo
from cli.network import bind_or_none
from tests.e2e.stack_process import SEALGATE, StackProcess


def refused_line(*arguments: str) -> str:
    """The one line with which `up` ends."""
    ended = subprocess.run(
        (*SEALGATE, "up", *arguments), capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


def test_up_refuses_when_the_port_is_taken(tmp_path: Path) -> None:
    """The line names the address and the option, and no new directory is made."""
    taken = bind_or_none("127.0.0.1", 0)
    assert taken is not None
    with taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refused_line("--data", str(tmp_path / "data"), "--http", address)
    assert line == f"sealgate: {address} is taken by another program; choose another port with --http"
    assert list(tmp_path.iterdir()) == []


def test_up_refuses_when_the_directory_is_foreign(tmp_path: Path) -> None:
    """Somebody else's files are named as the reason and stay as they were."""
    (tmp_path / "thesis.tex").write_text("mine", encoding="ascii")
    line = refused_line("--data", str(tmp_path), "--http", "127.0.0.1:0")
    assert line == (
        f"sealgate: {tmp_path} holds other files and no {MARKER}; name an empty or new directory with --data"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_up_refuses_when_the_directory_is_in_use(shared_stack: StackProcess) -> None:
    """A second stack on the same data is told who is there."""
    line = refused_line("--data", str(shared_stack.data), "--http", "127.0.0.1:0")
    assert f"is in use by process {shared_stack.process.pid};" in line


@pytest.mark.parametrize("data", ["/proc/sealgate", "/dev/null", "/dev/null/sealgate"])
def test_up_refuses_when_the_directory_cannot_be_written(data: str) -> None:
    """Also root cannot write everywhere; the line has the system's reason."""
    assert data in refused_line("--data", data, "--http", "127.0.0.1:0")


def test_up_refuses_when_the_ready_file_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is started that could not be announced."""
    target = tmp_path / "missing" / "ready.json"
    line = refused_line(
        "--data", str(tmp_path / "data"), "--http", "127.0.0.1:0", "--ready-file", str(target)
    )
    assert line == f"sealgate: cannot write {target}: No such file or directory"


def test_up_refuses_when_postgres_data_is_foreign(tmp_path: Path) -> None:
    """Data of somebody else's in the cluster's place is left alone."""
    (tmp_path / MARKER).write_text("1\n", encoding="ascii")
    (tmp_path / "postgres").mkdir(mode=0o700)
    (tmp_path / "postgres" / "notes").touch()
    line = refused_line("--data", str(tmp_path), "--http", "127.0.0.1:0")
    assert "not a Postgres data directory" in line


def test_up_refuses_when_a_signing_key_can_be_read_by_others(tmp_path: Path) -> None:
    """The line names the file and says what to do, instead of leaving it to a log."""
    key = create_key(tmp_path / "data" / "keys" / "session", bytes(32), 0)
    (tmp_path / "data" / MARKER).write_text("1\n", encoding="ascii")
    path = tmp_path / "data" / "keys" / "session" / f"{key.kid}.json"
    path.chmod(0o644)
    line = refused_line("--data", str(tmp_path / "data"), "--http", "127.0.0.1:0")
    assert line == f"sealgate: {path}: others can read this private key; run chmod 600 on it"


def test_up_refuses_when_the_databases_are_gone(tmp_path: Path) -> None:
    """Money that was there is not replaced by an empty ledger without a word."""
    data = tmp_path / "data"
    data.mkdir()
    (data / MARKER).write_text("1\n", encoding="ascii")
    Demo(project_id="p").write(data / "demo.json")
    line = refused_line("--data", str(data), "--http", "127.0.0.1:0")
    assert f"{data / 'postgres'} is gone" in line
    assert not (data / "postgres").exists()

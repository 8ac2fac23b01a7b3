"""The command line: what it teaches, how it ends, what it never prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import main
from cli.output import paint

ROOT = Path(__file__).parents[2]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command below a group."""
    found: list[tuple[str, ...]] = [path]
    for name, command in group.commands.items():
        words = (*path, name)
        found += commands(command, words) if isinstance(command, click.Group) else [words]
    return found


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_help_is_there_for_every_command_when_asked(words: tuple[str, ...]) -> None:
    """Every command explains itself and every option it has."""
    answer = CliRunner().invoke(main, [*words, "--help"])
    assert answer.exit_code == 0
    assert answer.output.startswith("Usage: ")
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_help_of_the_program_names_the_exit_codes_when_asked() -> None:
    """Scripts can rely on documented exit codes."""
    output = CliRunner().invoke(main, ["--help"]).output
    for line in ("0  done", "1  it did not work", "2  it cannot work as called"):
        assert line in output


def test_help_loads_nothing_heavy_when_asked() -> None:
    """Help is quick: neither gRPC nor the database driver nor pydantic is loaded for it."""
    program = (
        "import sys, cli.main\n"
        "heavy = {'grpc', 'asyncpg', 'pydantic', 'google.protobuf', 'asyncio', 'yaml', 'httpx', 'nacl'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


def test_usage_error_ends_with_two_when_an_option_is_wrong() -> None:
    """A wrong address is a usage error that says what a right one looks like."""
    answer = CliRunner().invoke(main, ["up", "--http", "8080"])
    assert answer.exit_code == 2
    assert "127.0.0.1:8080" in answer.output


def test_operator_command_ends_with_two_when_there_is_no_stack(tmp_path: Path) -> None:
    """A directory without a stack is refused in one line."""
    answer = CliRunner().invoke(main, ["project", "list", "--data", str(tmp_path)])
    assert answer.exit_code == 2
    assert answer.stderr == (
        f"sealgate: {tmp_path} is not a Sealgate data directory; give the one of `sealgate up` with --data\n"
    )


def test_migrate_keeps_the_password_to_itself_when_it_fails() -> None:
    """A DSN is never printed, whatever goes wrong with it."""
    for dsn in ("postgresql://u:planted-secret@127.0.0.1:1/x", "postgresql://u:planted-secret@[/x"):
        answer = CliRunner().invoke(main, ["migrate", "auth", "--dsn", dsn])
        assert answer.exit_code in (1, 2)
        assert answer.stderr.startswith("sealgate: the ")
        assert "planted-secret" not in answer.output
        assert len(answer.output.splitlines()) == 1


def test_config_check_accepts_when_the_file_is_good() -> None:
    """The edge configuration that we ship is valid."""
    answer = CliRunner().invoke(main, ["config", "check", str(ROOT / "deploy" / "edge.yaml")])
    assert (answer.exit_code, answer.output) == (0, f"{ROOT / 'deploy' / 'edge.yaml'} is valid\n")


def test_config_check_names_the_member_when_it_is_unknown(tmp_path: Path) -> None:
    """What the edge would refuse is refused here, with the path of the member."""
    text = (ROOT / "deploy" / "edge.yaml").read_text(encoding="utf-8")
    bad = tmp_path / "edge.yaml"
    bad.write_text(text.replace("stat_prefix: public", "stat_prefix: public\n                surprise: 1"))
    answer = CliRunner().invoke(main, ["config", "check", str(bad)])
    assert answer.exit_code == 2
    assert "surprise: unknown field" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["auth", "keys", "wallet", "edge"])
def test_serve_ends_with_two_when_the_configuration_is_bad(tmp_path: Path, name: str) -> None:
    """A process that cannot be configured says which file and ends."""
    config = tmp_path / "config.yaml"
    config.write_text("surprise: 1\n")
    command = (sys.executable, "-P", "-m", "cli.main", "serve", name, "--config", str(config))
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"sealgate: {config}: ")
    assert len(answer.stderr.splitlines()) == 1


def test_colour_is_only_used_when_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No escape codes in files and pipes, nor where NO_COLOR asks for none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", "red", terminal=False) == "x"
    assert paint("x", "red", terminal=True) != "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", terminal=True) == "x"

"""`sealgate key limits`: what it refuses before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT
from cli.main import main


@pytest.mark.parametrize("option", ["--read", "--write", "--order", "--browser-session"])
@pytest.mark.parametrize("count", ["0", "-1", str(RATE_LIMIT_MAX_PER_MINUTE_COUNT + 1), "many", "1.5", ""])
def test_figure_that_no_limit_can_have_is_a_usage_error(option: str, count: str) -> None:
    """The error names the option and, for a number, the range."""
    answer = CliRunner().invoke(main, ["key", "limits", "pk_x", option, count])
    assert answer.exit_code == 2
    assert option in answer.stderr


def test_command_ends_with_two_when_there_is_no_stack(tmp_path: Path) -> None:
    """A directory without a stack is refused in one line."""
    answer = CliRunner().invoke(main, ["key", "limits", "pk_x", "--read", "1", "--data", str(tmp_path)])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"sealgate: {tmp_path} is not a Sealgate data directory; ")
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--reset",), ("--read", "1")])
@pytest.mark.parametrize("prefix", ["sk_", "dk_"])
def test_secret_in_place_of_the_public_key_is_told_of_and_not_repeated(
    prefix: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    """Whoever typed it learns that the shell keeps it, and which key is wanted."""
    answer = CliRunner().invoke(
        main, ["key", "limits", f"{prefix}hunter2", *options, "--data", str(tmp_path)]
    )
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "give the public key, pk_…; this is a secret, and by now in your shell's history" in answer.stderr
    assert "hunter2" not in answer.output


def test_what_is_no_public_key_is_a_usage_error() -> None:
    """It might be a secret of another kind, and is not repeated either."""
    answer = CliRunner().invoke(main, ["key", "limits", "hunter2"])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "a public key begins with pk_" in answer.stderr
    assert "hunter2" not in answer.stderr


def test_reset_beside_a_figure_is_a_usage_error() -> None:
    """Which of the two is meant cannot be told."""
    answer = CliRunner().invoke(main, ["key", "limits", "pk_x", "--reset", "--read", "1"])
    assert answer.exit_code == 2
    assert "--reset takes no figures" in answer.stderr


def test_help_says_what_becomes_of_what_is_not_given() -> None:
    """Without an option it looks; limits are replaced as a whole, and other credentials lose nothing."""
    output = " ".join(CliRunner().invoke(main, ["key", "limits", "--help"]).output.split())
    for sentence in (
        "Without an option nothing changes",
        "takes the place of all that was given before",
        "takes nothing from the account's other credentials",
        "Rotating the key hands its limits on",
    ):
        assert sentence in output

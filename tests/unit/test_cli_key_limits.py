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


def test_help_says_what_becomes_of_what_is_not_given() -> None:
    """Limits are replaced as a whole, and the account's other credentials lose nothing by them."""
    output = " ".join(CliRunner().invoke(main, ["key", "limits", "--help"]).output.split())
    for sentence in (
        "What is given takes the place of all that was given before",
        "takes nothing from the account's other credentials",
        "Rotating the key hands its limits on",
    ):
        assert sentence in output

"""`sealgate market` and `sealgate wallet`: what they refuse before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.data_directory import MARKER
from cli.main import main
from cli.seed import DEMO_AMOUNT, PROVIDER_AMOUNT, QUOTED_PRICES, QUOTED_SHARES, quotes_of

TOKENS = [("1", "2"), ("3", "4")]


@pytest.mark.parametrize(
    "moment",
    [
        "tomorrow",
        "2027-01-31",
        "2027-01-31T12:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_market_create_refuses_a_time_that_is_none_or_has_no_zone(moment: str) -> None:
    """A usage error that says what a right one looks like; so is a time that UTC has no year for."""
    arguments = ["market", "create", "--question", "Will it hail?", "--ends-at", moment]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 2
    assert "2027-01-31T12:00:00Z" in answer.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("market", "create", "--question", "Will it hail?"),
        ("market", "close", "0x12"),
        ("market", "list"),
        ("wallet", "audit"),
        ("wallet", "withdrawals"),
        ("wallet", "settle", "ID", "--state", "confirmed"),
    ],
    ids=" ".join,
)
def test_command_ends_with_two_when_there_is_no_stack(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A directory without a stack is refused in one line."""
    answer = CliRunner().invoke(main, [*arguments, "--data", str(tmp_path)])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"sealgate: {tmp_path} is not a Sealgate data directory; ")
    assert len(answer.stderr.splitlines()) == 1


def test_settle_refuses_a_state_that_is_none() -> None:
    """Nobody moves a withdrawal back to its beginning; the usage error names what there is."""
    answer = CliRunner().invoke(main, ["wallet", "settle", "ID", "--state", "pending"])
    assert answer.exit_code == 2
    for state in ("sent", "confirmed", "failed", "rejected"):
        assert state in answer.output


def test_audit_ends_with_two_when_the_stack_does_not_run(tmp_path: Path) -> None:
    """Books that could not be read are neither clean nor unclean."""
    (tmp_path / MARKER).write_text("1\n", encoding="ascii")
    answer = CliRunner().invoke(main, ["wallet", "audit", "--data", str(tmp_path)])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith("sealgate: the database did not answer (database: ")
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:planted-secret@127.0.0.1:1/x", "postgresql://u:planted-secret@[/x"]
)
def test_audit_keeps_the_password_to_itself_when_it_cannot_be_run(dsn: str) -> None:
    """A DSN is never printed, whatever goes wrong with it; it can come from the environment."""
    answer = CliRunner().invoke(main, ["wallet", "audit"], env={"SEALGATE_AUDIT_DSN": dsn})
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "planted-secret" not in answer.output
    assert len(answer.stderr.splitlines()) == 1


def test_demo_s_quotes_are_apart_and_never_meet() -> None:
    """Every order has an id of its own, and nobody buys an outcome for what the other one leaves."""
    quotes = list(quotes_of("wallet", TOKENS))
    assert len({quote.client_order_id for quote in quotes}) == len(quotes) == 12
    prices = {token: [float(quote.price) for quote in quotes if quote.token_id == token] for token in "1234"}
    for left, right in TOKENS:
        assert max(prices[left]) + max(prices[right]) < 1
        assert prices[left] == sorted(prices[left], reverse=True)


def test_demo_s_provider_can_pay_and_a_newcomer_can_spend_all() -> None:
    """The deposit covers all quotes, and one side of a market takes all of the demo user's money."""
    cost = 0.0
    for sides in QUOTED_PRICES:
        for prices in sides:
            cost += sum(
                float(price) * int(shares) for price, shares in zip(prices, QUOTED_SHARES, strict=True)
            )
    assert cost <= int(PROVIDER_AMOUNT)
    _, rights = QUOTED_PRICES[0]
    offered = sum(
        (1 - float(price)) * int(shares) for price, shares in zip(rights, QUOTED_SHARES, strict=True)
    )
    assert offered >= int(DEMO_AMOUNT)

"""`sealgate market` on a running stack, and the demo's markets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.stack_process import StackProcess, ask


def words(text: str) -> Mapping[str, str]:
    """What a command printed as a name and a value a line."""
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def demo_of(stack: StackProcess) -> dict[str, Any]:
    """What the seed has kept."""
    found: dict[str, Any] = json.loads((stack.data / "demo.json").read_text(encoding="utf-8"))
    return found


def book_of(stack: StackProcess, condition_id: str) -> Mapping[str, Any]:
    """A market's book, as anybody sees it."""
    answer = ask("GET", f"{stack.base_url}/api/v1/markets/{condition_id}/book")
    book: Mapping[str, Any] = answer.json()["response"]
    return book


def test_market_is_listed_until_and_after_it_is_closed(shared_stack: StackProcess) -> None:
    """Made on the command line, seen by everybody, closed for good; a repeat changes nothing."""
    made = shared_stack.command("market", "create", "--question", "Will it hail?", "--taker-fee-bps", "25")
    assert made.returncode == 0, made.stderr
    market = words(made.stdout)
    assert list(market) == ["event_id", "condition_id", "left_token_id", "right_token_id"]
    path = f"{shared_stack.base_url}/api/v1/markets/{market['condition_id']}"
    shown = ask("GET", path).json()["response"]
    assert {name: shown[name] for name in market} == market
    assert shown["fees"] == {"maker_bps": 0, "taker_bps": 25}
    line = f"{market['condition_id']}  {{}}  0.500000  Will it hail?"
    assert line.format("ACTIVE  ") in shared_stack.command("market", "list").stdout.splitlines()
    for _ in range(2):
        closed = shared_stack.command("market", "close", market["condition_id"])
        assert closed.stdout == f"closed {market['condition_id']}; orders cancelled: 0\n", closed.stderr
    assert line.format("CLOSED  ") in shared_stack.command("market", "list").stdout.splitlines()


def test_market_commands_end_with_one_line_when_they_are_refused(shared_stack: StackProcess) -> None:
    """The line names the option as people write it, or the refusal's code."""
    bad = shared_stack.command("market", "create", "--question", "Will it hail?", "--tick", "0.3")
    assert (bad.returncode, len(bad.stderr.splitlines())) == (1, 1)
    assert bad.stderr.startswith("sealgate: VALIDATION_ERROR: --tick: ")
    unknown = shared_stack.command("market", "close", "0x12")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("sealgate: MARKET_NOT_FOUND: ")


def test_demo_markets_have_depth_on_both_sides_when_seeded(shared_stack: StackProcess) -> None:
    """Two markets of one event, each with several prices to buy at and to sell at."""
    demo = demo_of(shared_stack)
    for name in ("condition_id", "second_condition_id"):
        shown = ask("GET", f"{shared_stack.base_url}/api/v1/markets/{demo[name]}").json()["response"]
        assert shown["event"]["event_id"] == demo["event_id"]
        book = book_of(shared_stack, demo[name])
        assert [len(book["bids"]), len(book["asks"])] == [3, 3]

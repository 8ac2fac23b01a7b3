"""`sealgate key limits` on a running stack: what a key's next answer says."""

from __future__ import annotations

import json
from typing import Any

from chassis.secrets import public_key_text
from tests.e2e.stack_process import StackProcess, ask

AS_CONFIGURED = "as configured"


def new_key(stack: StackProcess) -> dict[str, Any]:
    """An API key of the demo's account, as making it answers."""
    demo = json.loads((stack.data / "demo.json").read_text(encoding="utf-8"))
    path = f"{stack.base_url}/api/v1/project/account/{demo['account_id']}/api-key"
    answer = ask("POST", path, headers={"X-PROJECT-API-KEY": demo["project_api_key"]})
    issued: dict[str, Any] = answer.json()["response"]
    return issued


def shown(*limits: str) -> str:
    """What the command says of the four classes, in their order."""
    names = ("read", "write", "order", "browser-session")
    return "".join(f"{name:<15}  {limit}\n" for name, limit in zip(names, limits, strict=True))


def test_limits_hold_from_the_next_request_until_they_are_taken_back(shared_stack: StackProcess) -> None:
    """The key's answers have its own figures, the tighter of its own and its account's first."""
    key = new_key(shared_stack)
    command = ("key", "limits", key["public_key"])

    def policy() -> str:
        path = f"{shared_stack.base_url}/api/v1/wallets"
        return ask("GET", path, headers={"X-API-KEY": key["secret_key"]}).headers["RateLimit-Policy"]

    configured = policy()
    given = shared_stack.command(*command, "--browser-session", "7", "--read", "4321")
    assert (given.returncode, given.stderr) == (0, "")
    assert given.stdout == shown("4321 a minute", AS_CONFIGURED, AS_CONFIGURED, "7 a minute")
    # A look changes nothing.
    looked = shared_stack.command(*command)
    assert (looked.returncode, looked.stdout) == (0, given.stdout)
    assert policy() == '"read";q=4321;w=60, "account-read";q=43210;w=60'
    replaced = shared_stack.command(*command, "--order", "6000")
    assert replaced.stdout == shown(AS_CONFIGURED, AS_CONFIGURED, "6000 a minute", AS_CONFIGURED)
    assert policy() == configured
    assert shared_stack.command(*command, "--reset").stdout == shown(*[AS_CONFIGURED] * 4)
    assert shared_stack.command(*command).stdout == shown(*[AS_CONFIGURED] * 4)


def test_limits_of_a_key_that_there_is_not_end_with_one_line(shared_stack: StackProcess) -> None:
    """The refusal's code, and exit code 1."""
    for options in ((), ("--read", "1"), ("--reset",)):
        refused = shared_stack.command("key", "limits", public_key_text(bytes(32)), *options)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == "sealgate: API_KEY_NOT_FOUND: There is no such key.\n"

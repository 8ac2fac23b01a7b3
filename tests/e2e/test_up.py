"""`sealgate up`: what a newcomer sees, and what is still there the next time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.stack_process import PROCESSES, StackProcess, ask, has_ended, wallet_of_new_account
from tests.e2e.test_market import book_of, demo_of

ODD_NAME: Final = 'it\'s 100%23 "\u00fcber\u65e5"?#'


def pasted_commands(stack: StackProcess) -> str:
    """The shell commands that `up` printed."""
    first = stack.lines.index("Paste these:") + 1
    return "\n".join(stack.lines[first : stack.lines.index("Ctrl-C stops everything.")])


def test_ready_file_has_exactly_what_is_promised_when_seeded(shared_stack: StackProcess) -> None:
    """Scripts find every address, the demo's credentials and the process ids."""
    ready = shared_stack.ready
    assert list(ready) == [
        "base_url",
        "project_id",
        "project_api_key",
        "account_id",
        "grpc",
        "metrics",
        "pids",
    ]
    assert list(ready["grpc"]) == ["auth", "keys", "wallet"]
    assert all(ask("GET", url).status_code == 200 for url in ready["metrics"].values())
    assert list(ready["metrics"]) == ["auth", "keys", "wallet"]
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


@dataclass(frozen=True)
class Facts:
    """What a seeded run shows of itself."""

    ready: Mapping[str, Any]
    demo: Mapping[str, Any]
    book: Mapping[str, Any]
    account_ids: frozenset[str]


@contextmanager
def seeded_run(data: Path) -> Iterator[StackProcess]:
    """A run of the block's length, ended by SIGINT."""
    stack = StackProcess(data)
    try:
        yield stack.wait_until_ready()
    finally:
        exit_code = stack.stop(signal.SIGINT)
    assert exit_code == 0


def facts_of(stack: StackProcess) -> Facts:
    """What the stack shows now."""
    ready, demo = stack.ready, demo_of(stack)
    header = {"X-PROJECT-API-KEY": ready["project_api_key"]}
    accounts = ask("GET", f"{stack.base_url}/api/v1/project/account", headers=header).json()["response"]
    account_ids = frozenset(account["account_id"] for account in accounts)
    return Facts(ready, demo, book_of(stack, demo["condition_id"]), account_ids)


@dataclass(frozen=True)
class TwoRuns:
    """A seeded run whose notes were cut short when it had ended, and the next one on the same data.

    The second deleted the demo's project key at its end.
    """

    data: Path
    first: Facts
    second: Facts


@pytest.fixture(scope="module")
def two_runs(e2e_directory: Path) -> TwoRuns:
    data = e2e_directory / "seeded"
    with seeded_run(data) as stack:
        first = facts_of(stack)
    # As if it had been killed before the last two answers were kept.
    cut = {**first.demo, "provider_wallet_id": "", "quoted": ""}
    (data / "demo.json").write_text(json.dumps(cut), encoding="utf-8")
    with seeded_run(data) as stack:
        second = facts_of(stack)
        delete_demo_key(stack)
    return TwoRuns(data, first, second)


def delete_demo_key(stack: StackProcess) -> None:
    """Deletes the project key that the stack printed, with another one."""
    url = f"{stack.base_url}/api/v1/project/api-key"
    printed = {"X-PROJECT-API-KEY": stack.ready["project_api_key"]}
    spare = ask("POST", url, headers=printed).json()["response"]
    header = {"X-PROJECT-API-KEY": spare["secret_key"]}
    listed = ask("GET", url, headers=header).json()["response"]
    demo = next(key["public_key"] for key in listed if key["public_key"] != spare["public_key"])
    assert ask("DELETE", f"{url}/{demo}", headers=header).status_code == 200


def test_up_finds_its_data_again_when_started_a_second_time(two_runs: TwoRuns) -> None:
    """Credentials, money and addresses of the first run are those of the second."""
    first, second = two_runs.first, two_runs.second
    for name in ("project_id", "project_api_key", "account_id", "grpc"):
        assert second.ready[name] == first.ready[name]
    assert first.ready["account_id"] == first.demo["account_id"]
    assert second.account_ids == {first.demo["account_id"], first.demo["provider_account_id"]}


def test_demo_is_completed_when_its_seed_was_cut_short(two_runs: TwoRuns) -> None:
    """What the first start could not keep is done by the second: no order twice, no money twice."""
    assert two_runs.second.demo == two_runs.first.demo
    assert two_runs.second.book == two_runs.first.book


def test_up_makes_another_demo_key_when_the_kept_one_was_deleted(
    two_runs: TwoRuns, start_stack: StackMaker
) -> None:
    """The printed project key works at every start, whatever happened to the last one."""
    third = start_stack(data=two_runs.data).wait_until_ready()
    assert third.ready["project_api_key"] != two_runs.second.ready["project_api_key"]
    renewed = {"X-PROJECT-API-KEY": third.ready["project_api_key"]}
    assert ask("GET", f"{third.base_url}/api/v1/project", headers=renewed).status_code == 200


@dataclass(frozen=True)
class PastRun:
    """A run without a seed, at an odd path, that was ended by SIGTERM, and what there was to see before."""

    stack: StackProcess
    ready: Mapping[str, Any]
    projects: str
    projects_code: int
    health_status: int
    exit_code: int


@pytest.fixture(scope="module")
def past_run(e2e_directory: Path) -> PastRun:
    stack = StackProcess(e2e_directory / ODD_NAME, "--seed", "none")
    try:
        ready = stack.wait_until_ready().ready
        listed = stack.command("project", "list")
        health_status = ask("GET", f"{stack.base_url}/readyz").status_code
    finally:
        exit_code = stack.stop(signal.SIGTERM)
    return PastRun(stack, ready, listed.stdout, listed.returncode, health_status, exit_code)


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


def test_up_stops_at_once_when_asked_twice(start_stack: StackMaker, past_run: PastRun) -> None:
    """A second signal does not wait for a process that hangs."""
    stack = start_stack("--seed", "none", data=past_run.stack.data).wait_until_ready()
    pids = [stack.pid(name) for name in PROCESSES]
    os.kill(stack.pid("edge"), signal.SIGSTOP)
    stack.process.terminate()
    stack.wait_for_line("Stopping")
    assert stack.stop() == 1
    assert all(has_ended(pid) for pid in pids)
    assert not [line for line in stack.lines if "did not stop within" in line]


def test_up_leaves_nothing_running_when_it_is_killed(start_stack: StackMaker, past_run: PastRun) -> None:
    """The end of the parent by kill -9 takes all five processes, and the data is good afterwards."""
    stack = start_stack("--seed", "none", data=past_run.stack.data).wait_until_ready()
    pids = [*stack.postgres_processes(), *(stack.pid(name) for name in PROCESSES)]
    stack.process.kill()
    assert all(has_ended(pid) for pid in pids)
    start_stack("--seed", "none", data=stack.data).wait_until_ready()


def test_up_works_when_the_path_has_special_characters(past_run: PastRun) -> None:
    """No quote, space, percent sign or letter of another script is an obstacle."""
    assert past_run.stack.data.name == ODD_NAME
    assert (past_run.health_status, past_run.projects_code) == (200, 0)


def test_up_works_when_the_path_is_long(start_stack: StackMaker, e2e_directory: Path) -> None:
    """Also one that is too long for the name of a socket."""
    stack = start_stack("--seed", "none", data=e2e_directory / ("deep" * 40)).wait_until_ready()
    assert ask("GET", f"{stack.base_url}/readyz").status_code == 200
    assert stack.command("project", "list").returncode == 0


def test_operator_commands_work_when_the_stack_runs(shared_stack: StackProcess) -> None:
    """A project made on the command line has a key that works, and is listed."""
    made = shared_stack.command("project", "create", "--name", "Acme")
    assert made.returncode == 0, made.stderr
    words = dict(line.split() for line in made.stdout.splitlines()[:2])
    header = {"X-PROJECT-API-KEY": words["project_api_key"]}
    project = ask("GET", f"{shared_stack.base_url}/api/v1/project", headers=header).json()["response"]
    assert (project["project_id"], project["name"]) == (words["project_id"], "Acme")
    row = f"{words['project_id']}  ACTIVE     wallet,trading,browser,signing  Acme"
    assert row in shared_stack.command("project", "list").stdout


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

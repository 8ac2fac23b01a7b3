"""A stack that is told of a rate limit store: its processes count there, and nobody reads the password."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis

from tests.e2e.conftest import StackMaker
from tests.e2e.stack_process import READY_SECONDS, StackProcess, ask
from tests.e2e.test_key_limits import new_key
from tests.store_server import StoreServer, store_server

PASSWORD: Final = "hunter2hunter2"
# One is answered by the wallet, one by keys.
PATHS: Final = ("/api/v1/wallets", "/api/v1/account/api-key")
READS_COUNT: Final = 6


@pytest.fixture
def store() -> Iterator[StoreServer]:
    with store_server() as server:
        yield server


def reads_in(store: StoreServer, password: str | None) -> int:
    """How many reads the credential with the most of them has taken, as the store has it."""
    client: Any = Redis(port=store.port, password=password)
    with client:
        return max((client.llen(key) for key in client.scan_iter("sealgate:*/read/*")), default=0)


def stores_up(stack: StackProcess) -> list[str]:
    """What each service's metrics say of the store."""
    pages = (ask("GET", address).text for address in stack.ready["metrics"].values())
    return [
        line.rpartition(" ")[2]
        for page in pages
        for line in page.splitlines()
        if line.startswith("sealgate_rate_limit_store_up ")
    ]


def use_until_counted(stack: StackProcess, store: StoreServer, password: str | None) -> None:
    """Reads with a key until the store has counted enough and every service has found it."""
    key = new_key(stack)["secret_key"]
    deadline = time.monotonic() + READY_SECONDS
    while reads_in(store, password) < READS_COUNT or stores_up(stack) != ["1.0"] * 3:
        assert time.monotonic() < deadline, (reads_in(store, password), stores_up(stack))
        for path in PATHS:
            assert ask("GET", stack.base_url + path, headers={"X-API-KEY": key}).is_success


def places_with(stack: StackProcess, text: str) -> list[str]:
    """Where others could read a text: command lines, what was printed, and files but the databases'."""
    pids = (stack.process.pid, *stack.ready["pids"].values())
    files = [Path(f"/proc/{pid}/cmdline") for pid in pids] + [stack.ready_file]
    files += [path for path in stack.data.rglob("*") if path.is_file() and "postgres" not in path.parts]
    assert stack.data / "logs" / "wallet.log" in files
    assert stack.data / "config" / "wallet.yaml" in files
    found = [str(path) for path in files if text.encode() in path.read_bytes()]
    return found + [line for line in stack.lines if text in line]


def test_store_in_the_environment_is_used_and_its_password_kept(
    start_stack: StackMaker, store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three services count in it; no file, log or command line has the password."""
    store.kill()
    store.start("--requirepass", PASSWORD)
    monkeypatch.setenv("RATE_LIMIT_STORE", store.url.replace("://", f"://:{PASSWORD}@"))
    stack = start_stack().wait_until_ready()
    use_until_counted(stack, store, PASSWORD)
    assert places_with(stack, PASSWORD) == []


def test_store_on_the_command_line_is_used(start_stack: StackMaker, store: StoreServer) -> None:
    """It reaches the services, which have command lines of their own."""
    use_until_counted(start_stack("--rate-limit-store", store.url).wait_until_ready(), store, None)

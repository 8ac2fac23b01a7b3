"""A stack as people run it: `sealgate up` as a process of its own, and what it says."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx

from chassis.limits import RATE_LIMIT_MAX_PER_MINUTE_COUNT
from cli.rate_limits import RATE_CLASSES
from services.wallet.app import audit

SEALGATE: Final = (sys.executable, "-P", "-m", "cli.main")
# What most systems give a process: room for about a thousand connections.
AS_USUAL: Final = ("/bin/sh", "-c", 'ulimit -Sn 1024 && exec "$0" "$@"')
READY_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 30.0
# For tests that send more than one caller may, or share the address of those who do.
UNLIMITED: Final = tuple(f"--rate-limit={name}={RATE_LIMIT_MAX_PER_MINUTE_COUNT}" for name in RATE_CLASSES)
READY: Final = "Ctrl-C stops everything"
PROCESSES: Final = ("postgres", "auth", "keys", "wallet", "edge")


class StackProcess:
    """One run of `sealgate up` on a data directory."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.ready_file = data.with_name(f"{data.name}.ready.json")
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            (*AS_USUAL, *SEALGATE, "up", *self.arguments(), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def arguments(self) -> tuple[str, ...]:
        return ("--data", str(self.data), "--ready-file", str(self.ready_file), "--http", "127.0.0.1:0")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_for_line(self, text: str, *, after: int = 0, seconds: float = READY_SECONDS) -> str:
        """The first line from number `after` on that contains `text`."""

        def found() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        with self._said:
            self._said.wait_for(lambda: found() or not self._reader.is_alive(), timeout=seconds)
            line = found()
        assert line is not None, f"never said {text!r} but:\n" + "\n".join(self.lines)
        return line

    def wait_until_ready(self) -> StackProcess:
        self.wait_for_line(READY)
        return self

    @property
    def ready(self) -> Mapping[str, Any]:
        document: Mapping[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        return document

    @property
    def base_url(self) -> str:
        return str(self.ready["base_url"])

    def pid(self, name: str) -> int:
        return int(self.ready["pids"][name])

    def check_books(self) -> None:
        """Fails with the rows that break a rule of the wallet's books: `sealgate wallet audit`."""
        # In a thread of its own, because the caller may run in an event loop.
        with ThreadPoolExecutor(max_workers=1) as thread:
            breaches = thread.submit(asyncio.run, audit(self.dsn("sealgate_wallet"))).result()
        assert breaches == []

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Checks the books if there are any, and asks it to end; its exit code."""
        try:
            if self.process.poll() is None and any(READY in line for line in self.lines):
                self.check_books()
        finally:
            code = self._end(number)
        return code

    def _end(self, number: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill_and_wait_for_restart(self, name: str) -> None:
        """The death by kill -9 of one process; returns when its supervisor says that it runs again."""
        heard = len(self.lines)
        os.kill(self.pid(name), signal.SIGKILL)
        self.wait_for_line(f"{name} runs again", after=heard)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of `sealgate` on the same data."""
        return subprocess.run(
            (*SEALGATE, *arguments, "--data", str(self.data)), capture_output=True, text=True, check=False
        )

    def postgres_processes(self) -> Sequence[int]:
        """The cluster's postmaster and its children."""
        postmaster = self.pid("postgres")
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii")
        return (postmaster, *(int(word) for word in children.split()))

    def dsn(self, database: str) -> str:
        """A superuser's way into one of the stack's databases."""
        sockets = (self.data / "postgres-sockets").resolve()
        return f"postgresql:///{database}?host={sockets}&user=postgres"


def ask(method: str, url: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - as httpx takes them
    """The answer to a request, however busy the machine is."""
    return httpx.request(method, url, timeout=ANSWER_SECONDS, **arguments)


def wallet_of_new_account(stack: StackProcess) -> str:
    """A wallet that no other test looks at."""
    project = {"X-PROJECT-API-KEY": stack.ready["project_api_key"]}
    with httpx.Client(base_url=stack.base_url, timeout=ANSWER_SECONDS) as client:
        account = client.post("/api/v1/project/account", headers=project).json()["response"]["account_id"]
        path = f"/api/v1/project/account/{account}/api-key"
        key = client.post(path, headers=project).json()["response"]["secret_key"]
        wallets = client.get("/api/v1/wallets", headers={"X-API-KEY": key}).json()["response"]
    return str(wallets[0]["wallet_id"])


def has_ended(pid: int, seconds: float = STOP_SECONDS) -> bool:
    """Whether a process ends in good time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)

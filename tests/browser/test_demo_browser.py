"""`make demo-browser`: the example page beside a platform of its own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.browser.pages import BLANK, Browser
from tests.e2e.stack_process import SEALGATE
from tools.demo_browser.page_server import PageServer

_READY: Final = "Ctrl-C stops everything."
_START_SECONDS: Final = 100
_STOP_SECONDS: Final = 60
_SECRET: Final = re.compile(r"sk_[A-Za-z0-9_-]{8}|eyJ[A-Za-z0-9_-]{8}")


@contextmanager
def demo_browser(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, with all that it says until its page is ready; killed if the block does not end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.demo_browser", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        # As in a terminal that nobody types into.
        stdin=subprocess.DEVNULL,
    )
    overdue = threading.Timer(_START_SECONDS, process.terminate)
    overdue.start()
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if _READY in line:
                break
        overdue.cancel()
        yield process, "".join(said)
    finally:
        overdue.cancel()
        process.terminate()
        process.communicate(timeout=_STOP_SECONDS)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def ended(pidfd: int) -> bool:
    """Whether a process has ended, or does within the time that a stop has."""
    with open(pidfd, "rb", buffering=0):
        return pidfd in select.select([pidfd], [], [], _STOP_SECONDS)[0]


async def test_demo_serves_a_page_that_trades_and_leaves_nothing_behind(browser: Browser) -> None:
    """What it prints can be shown and pasted; the page works as it stands; Ctrl-C ends all in order."""
    with demo_browser() as (process, said):
        [page] = re.findall(r"^The page is ready:\s+(http://localhost:\d+/)$", said, re.MULTILINE)
        [data] = set(re.findall(r"--data (\S+)$", said, re.MULTILINE))
        assert _SECRET.findall(said) == []
        await browser.open(page)
        await browser.wait_for_text("status", "Ready.")
        await browser.click("#place")
        await browser.wait_for_text("status", "The order is OPEN.")
        commands = re.findall(r"^ +\.venv/bin/sealgate (.*)$", said, re.MULTILINE)
        for command in (commands[0], commands[-2]):
            await asyncio.to_thread(subprocess.run, (*SEALGATE, *command.split()), check=True)
        await browser.click("#place")
        await browser.wait_for_text("status", "MODULE_NOT_ENABLED: ")
        await asyncio.to_thread(subprocess.run, (*SEALGATE, *commands[-1].split()), check=True)
        await browser.click("#place")
        await browser.wait_for_text("status", "The order is OPEN.")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=_STOP_SECONDS)
    assert process.returncode == 0, rest
    assert rest.endswith("Stopped; nothing is left behind.\n")
    assert not Path(data).parent.exists()


def test_impatience_does_not_cut_the_end_short() -> None:
    """However often it is told to end: when it says that nothing is left behind, that is so."""
    with demo_browser() as (process, said):
        [data] = set(re.findall(r"--data (\S+)$", said, re.MULTILINE))
        [stack] = children(process.pid)
        stack_end = os.pidfd_open(stack)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            # So is the first wait for its end.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        rest, _ = process.communicate(timeout=_STOP_SECONDS)
    assert (process.returncode, rest) == (0, "\nStopped; nothing is left behind.\n")
    assert not Path(data).parent.exists()
    assert ended(stack_end)


def test_stack_ends_with_a_demo_that_is_killed() -> None:
    """Nothing goes on in the background."""
    with demo_browser() as (process, said):
        [data] = set(re.findall(r"--data (\S+)$", said, re.MULTILINE))
        [stack] = children(process.pid)
        ends = [os.pidfd_open(pid) for pid in (stack, *children(stack))]
        process.kill()
        assert [ended(end) for end in ends] == [True] * 6
    shutil.rmtree(Path(data).parent)


@pytest.mark.parametrize(
    "hosts",
    [(), ("evil.example:{0}",), ("localhost",), ("localhost:1",), ("127.0.0.1:{0}", "evil.example:{0}")],
)
@pytest.mark.parametrize("verb", ["GET", "HEAD"])
def test_page_server_serves_under_its_own_names_alone(hosts: tuple[str, ...], verb: str) -> None:
    """A foreign name that was made to lead here is told nothing of the settings, which have a key."""
    with PageServer(port=0) as server:
        server.pages |= BLANK
        port = server.localhost.rpartition(":")[2]
        own = [ask(server, verb, f"{name}:{port}") for name in ("localhost", "127.0.0.1")]
        foreign = ask(server, verb, *(host.format(port) for host in hosts))
    [(_, page)] = BLANK.items()
    assert own == [(200, page.content if verb == "GET" else b"")] * 2
    refusal = b"This serves localhost and 127.0.0.1 alone.\n"
    assert foreign == (421, refusal if verb == "GET" else b"")


def ask(server: PageServer, verb: str, *hosts: str) -> tuple[int, bytes]:
    """Status and body of the empty page, asked for under these names."""
    connection = http.client.HTTPConnection(server.numeric.removeprefix("http://"), timeout=_STOP_SECONDS)
    with contextlib.closing(connection):
        connection.putrequest(verb, "/blank", skip_host=True)
        for host in hosts:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_demo_says_that_its_port_is_taken() -> None:
    """Before it starts anything, in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "tools.demo_browser", "--port", port],
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == f"port {port} of 127.0.0.1 cannot be used: Address already in use\n"

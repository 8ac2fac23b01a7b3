"""`make demo-browser`: the example page beside a platform of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.browser.pages import Browser
from tests.e2e.stack_process import SEALGATE

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
        for command in (commands[0], commands[-1]):
            await asyncio.to_thread(subprocess.run, (*SEALGATE, *command.split()), check=True)
        await browser.click("#place")
        await browser.wait_for_text("status", "MODULE_NOT_ENABLED: ")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=_STOP_SECONDS)
    assert process.returncode == 0, rest
    assert rest.endswith("Stopped; nothing is left behind.\n")
    assert not Path(data).parent.exists()


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

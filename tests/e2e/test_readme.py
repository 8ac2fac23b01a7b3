"""What the README and the page about web pages say to paste works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.stack_process import StackProcess

README: Final = Path(__file__).parents[2] / "README.md"
WEB_PAGES: Final = README.parent / "docs" / "browser.md"
_BLOCK: Final = re.compile(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)
_SECONDS: Final = 150


def blocks(kind: str, page: Path = README) -> str:
    """The runnable blocks of a kind in a page, one after the other."""
    return "".join(text for name, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if name == kind)


def _at(stack: StackProcess, text: str) -> str:
    return text.replace("http://127.0.0.1:8080", stack.base_url)


def directory_of(stack: StackProcess, tmp_path: Path) -> Path:
    """A directory in which the stack's data is `.sealgate`, as in a clone."""
    (tmp_path / ".sealgate").symlink_to(stack.data)
    return tmp_path


def test_readme_curl_commands_work_when_pasted(shared_stack: StackProcess, tmp_path: Path) -> None:
    """Each command answers as the text around it says; only the address is the test's own."""
    script = _at(shared_stack, blocks("curl") + blocks("page"))
    run = subprocess.run(
        ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", script],
        cwd=directory_of(shared_stack, tmp_path),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert '"authenticated":true' in run.stdout
    assert '"USDC":"' in run.stdout
    assert '"avg_price":"0.6' in run.stdout
    assert run.stdout.count('"success":true') == 10
    assert run.stdout.count('"SESSION_INVALID"') == 1
    assert run.stdout.count('"status":"FILLED"') == 2
    assert run.stdout.count('"ORIGIN_NOT_ALLOWED"') == 1


def test_commands_for_web_pages_work_after_those_of_the_readme(
    shared_stack: StackProcess, tmp_path: Path
) -> None:
    """In the same shell and interpreter: the page's key reads, and a service makes its session over gRPC."""
    script = blocks("curl") + blocks("curl", WEB_PAGES) + "echo $PAGE_KEY"
    run = subprocess.run(
        ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", _at(shared_stack, script)],
        cwd=directory_of(shared_stack, tmp_path),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *_, wallets, project, page_key = run.stdout.splitlines()
    assert '"wallet_id"' in wallets
    assert '"allowed_origins":["https://shop.example"]' in project
    program = blocks("python") + blocks("python", WEB_PAGES) + "print(*(name for name, _ in page))"
    run = subprocess.run(
        [sys.executable, "-"],
        input=program,
        cwd=tmp_path,
        env=os.environ | {"PAGE_KEY": page_key},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("x-api-key origin x-session-token\n")


def test_readme_signed_flow_works_when_pasted(shared_stack: StackProcess, tmp_path: Path) -> None:
    """An account's keys are made, and what the session key signs is done."""
    program = _at(shared_stack, blocks("signing"))
    run = subprocess.run(
        [sys.executable, "-"],
        input=program,
        cwd=directory_of(shared_stack, tmp_path),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("request_completed\n")
    assert "name='Long shots'" in run.stdout


@pytest.mark.parametrize("options", [["-"], ["-i", "-q"]], ids=["program", "interpreter"])
def test_readme_python_flow_works_when_pasted(
    shared_stack: StackProcess, tmp_path: Path, options: list[str]
) -> None:
    """The gRPC example prints the demo wallet and its money, in a file and line by line."""
    run = subprocess.run(
        [sys.executable, *options],
        input=blocks("python"),
        cwd=directory_of(shared_stack, tmp_path),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Error" not in run.stderr
    assert "Wallet 1" in run.stdout
    assert "USDC" in run.stdout

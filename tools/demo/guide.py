"""What walks through the steps: says them, shows what goes over the wire, checks what comes back."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import httpx

from sealgate.client import RequestStatus, SealgateError

_T = TypeVar("_T")
SEALGATE: Final = (sys.executable, "-P", "-m", "cli.main")
SECRETS: Final = re.compile(r"(sk_|dk_|eyJ)([A-Za-z0-9_-]{4})[A-Za-z0-9._-]+")
ANSWER_MAX_CHARACTERS: Final = 600
# Of a request and of an answer: who asks, and what is said beside the body.
SHOWN_HEADERS: Final = (
    "x-project-api-key",
    "authorization",
    "x-api-key",
    "x-device-key",
    "origin",
    "x-session-token",
    "access-control-allow-origin",
    "idempotency-key",
    "idempotent-replayed",
    "retry-after",
)
# Of a request that is signed in headers.
SIGNED_HEADERS: Final = ("x-account-id", "x-public-key", "x-signature", "x-request-id")
LIMIT_HEADERS: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit")


class SurpriseError(Exception):
    """An answer that is not as published."""


class Guide:
    """Walks through the steps: says, shows what goes over the wire, checks, counts."""

    def __init__(self) -> None:
        self.steps_count = 0
        self.quiet = False
        self.status = 0
        self.outcome: str = RequestStatus.COMPLETED

    def say(self, title: str) -> None:
        """Begins a step."""
        self.steps_count += 1
        print(f"\n{self.steps_count:2}. {title}")

    @contextmanager
    def step(
        self,
        title: str,
        *,
        status: int = 200,
        outcome: RequestStatus = RequestStatus.COMPLETED,
        refused: type[SealgateError] | None = None,
    ) -> Iterator[None]:
        """One step with one call: its answer must have these statuses, or be this refusal."""
        self.say(title)
        self.status = 0
        try:
            yield
        except SealgateError as error:
            if refused is None or type(error) is not refused:
                raise SurpriseError(f"step {self.steps_count}: {error}") from None
            return
        self.check(refused is None, f"a refusal, {refused and refused.__name__}")
        self.check(self.status == status, f"status {status}")
        self.check(self.outcome == outcome, f"outcome {outcome}")

    def check(self, as_published: bool, what: str) -> None:
        """Goes on when an expectation holds; raises SurpriseError when it does not."""
        if not as_published:
            raise SurpriseError(f"step {self.steps_count}: expected {what}")

    def need(self, value: _T | None, what: str) -> _T:
        """What an answer has to have; raises SurpriseError when it has not."""
        if value is None:
            raise SurpriseError(f"step {self.steps_count}: expected {what}")
        return value

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Calls that are no step of their own."""
        self.quiet = True
        yield
        self.quiet = False

    def show_request(self, request: httpx.Request) -> None:
        """A hook of the HTTP client's."""
        if not self.quiet:
            path, body = request.url.raw_path.decode(), request.content.decode()
            print(f"    {request.method} {shortened(path)}{' ' + shortened(body) if body else ''}")
            self._show_headers(request.headers, SHOWN_HEADERS, "")
            if "x-signature" in request.headers:
                self._show_headers(request.headers, SIGNED_HEADERS, "")

    def show_answer(self, answer: httpx.Response) -> None:
        """A hook of the HTTP client's; the envelope is checked here, because a model has none."""
        answer.read()
        # A preflight is answered without a body.
        document = answer.json() if answer.content else {}
        self.status = answer.status_code
        # Answers to signed requests alone have one.
        self.outcome = document.get("status", RequestStatus.COMPLETED)
        if not self.quiet:
            print(f"    → {answer.status_code} {shortened(answer.text)}")
            self._show_headers(answer.headers, SHOWN_HEADERS, "  ")
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                self._show_headers(answer.headers, LIMIT_HEADERS, "  ")
        success = answer.is_success and self.outcome == RequestStatus.COMPLETED
        # The time comes without an envelope, and so do refusals of what is signed.
        if "response" in document or "status" in document:
            self.check(document.get("success") is success, f"success is {success}")

    def _show_headers(self, headers: Mapping[str, str], names: tuple[str, ...], indent: str) -> None:
        for name in names:
            if name in headers:
                print(f"    {indent}{name}: {shortened(headers[name])}")


def operate(guide: Guide, title: str, command: str, data: Path) -> None:
    """A step of the operator's, with a command that must succeed."""
    guide.say(title)
    print(f"    sealgate {command}")
    answer = subprocess.run(
        (*SEALGATE, *command.split(), "--data", data), capture_output=True, text=True, check=False
    )
    print(f"    → {answer.returncode} {answer.stdout.strip()}{answer.stderr.strip()}")
    guide.check(answer.returncode == 0, "exit code 0")


def shortened(text: str) -> str:
    """`text` for the screen: no whole secret, no endless answer."""
    text = SECRETS.sub(r"\1\2…", text)
    return text if len(text) <= ANSWER_MAX_CHARACTERS else text[:ANSWER_MAX_CHARACTERS] + " …"

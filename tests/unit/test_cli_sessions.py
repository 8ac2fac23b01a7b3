"""`sealgate session` against answers of a platform, and without one: what is said, and the exit code."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import httpx
import pytest
from click.testing import CliRunner, Result

from chassis.errors import ERROR_TABLE, Code
from chassis.signing import Status
from cli.calling import PATIENCE, revoke_key, tell_of_repeats
from cli.main import main
from cli.output import CommandFailed
from sealgate.client import KeyPair, Sealgate, Signer
from tests.client_support import StillMachine

ACCOUNT: Final = "019b76da-a800-7ac0-8c01-000000000001"
REVOKED: Final = KeyPair(b"\x01" * 32)
NAME: Final = base64.b64encode(REVOKED.public_key).decode()
LIST: Final = "/api/v1/auth/sessions/list"
# Stands in answers where the id of the request is to be.
_ITS_ID: Final = "its id"
Answer = tuple[int, Mapping[str, Any]]


def outcome(status: str = Status.COMPLETED, **more: object) -> Answer:
    members: dict[str, object] = {
        "success": status == Status.COMPLETED,
        "status": status,
        "processed_at_ns": 5,
        "request_id": _ITS_ID,
        "details": [],
        "original": None,
        "same_payload": None,
    }
    return 200, members | more


def refusal(code: Code) -> Answer:
    error: dict[str, object] = {"code": code.value, "message": ERROR_TABLE[code].message, "details": []}
    return ERROR_TABLE[code].http_status, {"success": False, "error": error}


def session_key() -> dict[str, object]:
    return {
        "public_key": NAME,
        "master_public_key": NAME,
        "scope": 0,
        "subaccount_index": 0,
        "role": "FULL_ACCESS",
        "admin_rooted": False,
        "valid_until_ns": None,
        "created_at_ns": 1,
    }


@contextmanager
def platform(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """An address where these answers are given, one after the other, and the paths that were asked for."""
    coming = iter(answers)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append(self.path)
            status, document = next(coming)
            body = json.dumps(document).replace(_ITS_ID, self.headers["x-request-id"]).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - http.server's own

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def session(tmp_path: Path, url: str, *words: str, environment: Mapping[str, str] | None = None) -> Result:
    master = tmp_path / "master.key"
    if not master.exists():
        KeyPair(bytes(32)).save(master)
    at = ("--url", url, "--key", str(master), "--account", ACCOUNT) if environment is None else ()
    return CliRunner().invoke(main, ["session", *words, *at], env=environment)


def test_address_that_is_none_is_named_by_its_option(tmp_path: Path) -> None:
    """A forgotten scheme ends with one line about --url, and asks nobody."""
    answer = session(tmp_path, "127.0.0.1:8080", "list")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("sealgate: --url: ")
    assert len(answer.stderr.splitlines()) == 1


def test_revocation_that_is_not_confirmed_is_asked_for_again(tmp_path: Path) -> None:
    """One run does it: one line of progress, the same request, and the first one's outcome."""
    repeat = outcome(Status.DUPLICATE, same_payload=True, original=outcome(request_type=14)[1])
    repeat[1]["original"].update(session_key=session_key(), master_key=None)
    answers = (refusal(Code.UNAVAILABLE), refusal(Code.UNAVAILABLE), repeat)
    with platform(*answers) as (url, asked):
        answer = session(tmp_path, url, "revoke", NAME)
    assert (answer.exit_code, answer.stdout) == (0, f"revoked {NAME}\n"), answer.stderr
    assert answer.stderr == "sealgate: not confirmed yet; asking 127.0.0.1 again, for 15 s\n"
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        (503, Code.UNAVAILABLE, "may have ended, and perhaps not everywhere yet"),
        (503, Code.OVERLOADED, "the key signs on"),
    ],
)
def test_revocation_that_stays_unconfirmed_says_what_to_do(status: int, code: Code, state: str) -> None:
    """It is sent for as long as its id is taken, always the same bytes, and ends with advice."""
    bodies: list[bytes] = []

    def serve(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(status, json=refusal(code)[1])

    machine = StillMachine()
    with httpx.Client(transport=httpx.MockTransport(serve)) as http:
        tell_of_repeats(http)
        signer = Signer(KeyPair(bytes(32)), ACCOUNT)
        client = Sealgate("http://api.example.com", signer=signer, http=http, machine=machine, retry=PATIENCE)
        with pytest.raises(CommandFailed) as caught:
            revoke_key(client, REVOKED.public_key, include_api_keys=False)
    assert 12 < machine.now < 15
    assert len(bodies) > 8
    assert len(set(bodies)) == 1
    assert state in str(caught.value)
    assert str(caught.value).endswith("run this again until it exits with 0")


def test_key_that_had_ended_is_revoked_as_well(tmp_path: Path) -> None:
    """It signs no more, which is what was asked for: exit code 0, and no word of repeats."""
    details = [{"path": "public_key", "message": "had ended already"}]
    with platform(outcome(Status.SESSION_INVALID, details=details)) as (url, _):
        answer = session(tmp_path, url, "revoke", NAME)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout == f"{NAME} had ended already\n"


def test_key_that_nobody_knows_is_not_said_to_have_ended(tmp_path: Path) -> None:
    """A name that was typed wrong leaves the key that was meant alive."""
    details = [{"path": "public_key", "message": "is no session key in reach"}]
    with platform(outcome(Status.SESSION_INVALID, details=details)) as (url, _):
        answer = session(tmp_path, url, "revoke", NAME)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "is no session key in reach" in answer.stderr


def test_signature_for_another_name_is_explained(tmp_path: Path) -> None:
    """The platform's own name is told, not signed for; where the names agree there is nothing to tell."""
    refused = refusal(Code.SIGNATURE_INVALID)
    time = {"now_ns": 1, "audience": "local"}
    with platform(refused, (200, {"success": True, "response": time} | time)) as (url, asked):
        answer = session(tmp_path, url, "list")
        name = url.removeprefix("http://")
    assert answer.exit_code == 1
    assert answer.stderr.endswith(
        f"; signed for {name}; this platform calls itself local: "
        "--audience local if that is the one you mean\n"
    )
    assert asked == [LIST, "/api/v1/time"]
    for second in ((200, {"success": True, "response": time} | time), refusal(Code.INTERNAL)):
        with platform(refused, second) as (url, _):
            answer = session(tmp_path, url, "list", "--audience", "local")
        assert answer.exit_code == 1
        assert "calls itself" not in answer.stderr


def test_key_that_was_used_before_is_refused_with_advice(tmp_path: Path) -> None:
    """The line names the status, what to do, and the request."""
    REVOKED.save(tmp_path / "session.key")
    with platform(outcome(Status.SESSION_KEY_REUSED, session_key=None)) as (url, _):
        answer = session(tmp_path, url, "mint", str(tmp_path / "session.key"))
    assert answer.exit_code == 1
    assert re.sub("[0-9a-f-]{36}", "ID", answer.stderr) == (
        "sealgate: session_rejected_key_reused: The account has used this key before: "
        "make a new key pair. (request id ID)\n"
    )


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (
            Code.SESSION_INVALID,
            "the key of --key was removed or revoked: sign with another master key of the",
        ),
        (Code.SESSION_EXPIRED, "--key has a session key that has ended, and this wants a master key's file"),
        (Code.CREDENTIAL_NOT_ACCEPTED, "--key has a session key, and this wants a master key's file"),
    ],
)
@pytest.mark.parametrize("words", [("list",), ("revoke", NAME), ("mint",)], ids=" ".join)
def test_key_that_does_not_do_is_explained(
    tmp_path: Path, words: tuple[str, ...], code: Code, advice: str
) -> None:
    """In the commands' words: what kind of key the option wants, and none of a method in Python."""
    REVOKED.save(tmp_path / "session.key")
    file = (str(tmp_path / "session.key"),) if words == ("mint",) else ()
    with platform(refusal(code)) as (url, _):
        answer = session(tmp_path, url, *words, *file)
    assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1)
    assert answer.stderr.startswith(f"sealgate: {code}: ")
    assert f"; {advice}" in answer.stderr
    assert "submit_" not in answer.stderr


def test_refusal_names_options_and_no_fields(tmp_path: Path) -> None:
    """What people have written is what they can change."""
    REVOKED.save(tmp_path / "session.key")
    details = [{"path": "scope", "message": "is not within the master key's reach"}]
    with platform(outcome(Status.SESSION_SCOPE, session_key=None, details=details)) as (url, _):
        answer = session(tmp_path, url, "mint", str(tmp_path / "session.key"))
    assert "session_rejected_scope: --subaccount: is not within the master key's reach." in answer.stderr


def test_end_of_a_key_is_said_once(tmp_path: Path) -> None:
    """Hours and no end at all contradict each other, hours of the default included."""
    REVOKED.save(tmp_path / "session.key")
    words = ("mint", str(tmp_path / "session.key"), "--never-ends", "--hours")
    for hours in ("12", "24"):
        answer = session(tmp_path, "http://127.0.0.1:9", *words, hours)
        assert answer.exit_code == 2
        assert "--never-ends" in answer.stderr


def test_options_that_stay_the_same_come_from_the_environment(tmp_path: Path) -> None:
    """Address, account, audience and key file; the help names the variables."""
    time = {"now_ns": 1, "audience": "local"}
    KeyPair(bytes(32)).save(tmp_path / "master.key")
    answers = (refusal(Code.SIGNATURE_INVALID), (200, {"success": True, "response": time} | time))
    with platform(*answers) as (url, asked):
        environment = {
            "SEALGATE_URL": url,
            "SEALGATE_ACCOUNT": ACCOUNT,
            "SEALGATE_AUDIENCE": "api.example.com",
            "SEALGATE_KEY_FILE": str(tmp_path / "master.key"),
        }
        answer = session(tmp_path, url, "list", environment=environment)
    assert asked
    assert "signed for api.example.com" in answer.stderr
    text = CliRunner().invoke(main, ["session", "list", "--help"]).output
    assert set(re.findall(r"SEALGATE_\w+", text)) == environment.keys()
    made = CliRunner().invoke(main, ["sign", "payload", "ListSessionKeys"], env=environment)
    assert json.loads(made.output)["account_id"] == ACCOUNT


def test_address_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """A slip in it is the first thing to look for."""
    answer = session(tmp_path, "http://127.0.0.1:9", "list")
    assert answer.exit_code == 1
    assert "No answer came (ConnectError at http://127.0.0.1:9)." in answer.stderr

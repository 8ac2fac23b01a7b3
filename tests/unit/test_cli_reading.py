"""What the commands read, files, stdin and JSON, whatever stands in it; and envelopes that nobody takes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from chassis.limits import SIGNED_PAYLOAD_MAX_BYTES
from cli.main import main
from cli.reading import GIVEN_MAX_BYTES
from sealgate.client import KeyPair, Signer
from sealgate.client.bodies import CREATE_SUBACCOUNT
from sealgate.client.machine import SystemMachine

ACCOUNT: Final = "019b76da-a800-7ac0-8c01-000000000001"
AUDIENCE: Final = "local"
PATH: Final = "/api/v1/api-keys"
SIGNER: Final = Signer(KeyPair(bytes(32)), ACCOUNT, audience=AUDIENCE)
UNREADABLE: Final = {
    "no UTF-8": (b"\xff\xfe{}", "is not UTF-8"),
    "deep": (b"[" * 100_000, "is nested too deep"),
    "endless": (b" " * (GIVEN_MAX_BYTES + 1), "has more than 1024 KiB"),
}
VERIFY_PAYLOAD: Final = ("verify", "payload", "-", "--audience", AUDIENCE)
NOT_TAKEN: Final = "sealgate: it is signed, and would be refused all the same: "


def run(*words: str, stdin: bytes | str | None = None) -> Result:
    return CliRunner().invoke(main, words, input=stdin)


def refused_in_one_line(answer: Result) -> str:
    """What is said by a command that ended with 2 by itself."""
    assert isinstance(answer.exception, SystemExit), repr(answer.exception)
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert answer.stderr.startswith("sealgate: ")
    return answer.stderr


def with_key(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "some.key"
    if not path.exists():
        SIGNER.key.save(path)
    return ("--key", str(path), "--account", ACCOUNT, "--audience", AUDIENCE)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_ends_with_one_line_and_two(tmp_path: Path, name: str) -> None:
    """From a file and from stdin alike, in every command that takes a request from there."""
    content, complaint = UNREADABLE[name]
    file = tmp_path / "envelope.json"
    file.write_bytes(content)
    key = with_key(tmp_path)
    assert complaint in refused_in_one_line(run("verify", "payload", str(file), "--audience", AUDIENCE))
    assert complaint in refused_in_one_line(run(*VERIFY_PAYLOAD, stdin=content))
    words = ("sign", "payload", "CreateSubaccount", *key, "--body", "-")
    assert complaint in refused_in_one_line(run(*words, stdin=content))
    if name != "deep":
        headers = ("verify", "headers", "GET", PATH)
        refused_in_one_line(run(*headers, str(file), "--audience", AUDIENCE))
        refused_in_one_line(run("sign", "headers", "POST", PATH, *key, "--body", "-", stdin=content))


def test_file_that_is_not_there_ends_with_one_line_and_two(tmp_path: Path) -> None:
    """The line names it and says why; so does that of a stdin that is closed."""
    missing = tmp_path / "none"
    said = refused_in_one_line(run("verify", "payload", str(missing), "--audience", AUDIENCE))
    assert said == f"sealgate: {missing} cannot be read: No such file or directory\n"
    program = "import sys; sys.stdin = None; from cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, *VERIFY_PAYLOAD], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (2, "sealgate: stdin cannot be read: it is closed\n")


def test_body_from_stdin_is_signed_to_the_byte(tmp_path: Path) -> None:
    """Line ends as they came: another one would be another body."""
    body = b'{"name":\r\n"x"}\r\n'
    headers = run("sign", "headers", "POST", PATH, *with_key(tmp_path), "--body", "-", stdin=body).stdout
    lines = dict(line.split(": ", 1) for line in headers.splitlines())
    request_id = uuid.UUID(lines["X-REQUEST-ID"])
    expected = SIGNER.headers("POST", PATH, body, request_id)
    assert lines["X-SIGNATURE"] == expected["x-signature"]


def test_name_that_no_file_can_have_is_refused_in_one_line(tmp_path: Path) -> None:
    """What is too long for a file's name is a usual slip: a key's text pasted twice, a wrong variable."""
    name = "a" * 400
    at = ("--url", "http://127.0.0.1:9", *with_key(tmp_path))
    assert "neither a key file nor" in refused_in_one_line(run("session", "revoke", name, *at))
    assert "not a Sealgate data" in refused_in_one_line(run("project", "list", "--data", name))
    refused_in_one_line(run("key", "create", name))


def test_hours_that_are_no_number_are_a_usage_error(tmp_path: Path) -> None:
    """Python's numbers have one that is none, and no range leaves it out."""
    at = ("--url", "http://127.0.0.1:9", *with_key(tmp_path))
    answer = run("session", "mint", str(tmp_path / "some.key"), "--hours", "nan", *at)
    assert (answer.exit_code, "--hours is no number" in answer.stderr) == (2, True)


def test_base64_has_one_form_wherever_it_is_read(tmp_path: Path) -> None:
    """A public key whose spare bits are not zero is refused as the platform would, by `session` too."""
    good = base64.b64encode(SIGNER.key.public_key).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = good[:-2] + alphabet[alphabet.index(good[-2]) + 1] + "="
    assert base64.b64decode(other) == SIGNER.key.public_key
    at = ("--url", "http://127.0.0.1:9", *with_key(tmp_path))
    assert "neither a key file nor" in refused_in_one_line(run("session", "revoke", other, *at))
    words = ("sign", "payload", "RemoveMasterKey", *with_key(tmp_path), "--body")
    said = refused_in_one_line(run(*words, json.dumps({"public_key": other})))
    assert said.endswith("public_key is no base64 in its one canonical form\n")
    assert "--url: " in refused_in_one_line(run("session", "revoke", good, "--url", "x", *at[2:]))


def envelope(name: str = "x") -> dict[str, str]:
    body = CREATE_SUBACCOUNT.encode({"name": name})
    return SIGNER.payload(CREATE_SUBACCOUNT.request_type, SystemMachine().request_id(), body).document()


def test_envelope_that_no_platform_takes_is_not_called_good() -> None:
    """Its signature holds, which is said; for its form it is refused all the same, with exit code 1."""
    good = json.dumps(envelope())
    assert run(*VERIFY_PAYLOAD, stdin=good).exit_code == 0
    twice = good.replace('"account_id"', f'"account_id": "{ACCOUNT}", "account_id"')
    cases = {
        json.dumps(envelope() | {"note": "x"}): "'note' is no member of it",
        json.dumps(envelope() | {"x\n" * 9_000: []}): f"{('x' + chr(10)) * 32!r} is no member of it",
        twice: "account_id is there twice",
        good.replace(ACCOUNT, ACCOUNT.upper()): f"account_id is not written as {ACCOUNT}",
        good.replace(ACCOUNT, ACCOUNT.replace("-", "")): f"account_id is not written as {ACCOUNT}",
        json.dumps(envelope("x" * SIGNED_PAYLOAD_MAX_BYTES)): "its payload has more than 8 KiB",
    }
    for text, complaint in cases.items():
        answer = run(*VERIFY_PAYLOAD, stdin=text)
        assert (answer.exit_code, answer.stderr) == (1, f"{NOT_TAKEN}{complaint}\n")
        assert f"valid for {AUDIENCE}" in answer.stdout


def test_headers_that_no_platform_takes_are_not_called_good() -> None:
    """As with envelopes: a header twice, ids in another form, a path or a body that no signed route has."""

    def verify(path: str = PATH, body: str = "", verb: str = "GET", old: str = "", new: str = "") -> Result:
        headers = SIGNER.headers(verb, path, body.encode(), SystemMachine().request_id())
        text = "".join(f"{name}: {value}\n" for name, value in headers.items()).replace(old, new or old)
        words = ("verify", "headers", verb, path, "-", "--audience", AUDIENCE, "--body", body)
        return run(*words, stdin=text)

    assert verify().exit_code == verify(verb="POST", body="{}").exit_code == 0
    line = f"x-account-id: {ACCOUNT}\n"
    cases = {
        "x-account-id is there twice": verify(old=line, new=line * 2),
        f"x-account-id is not written as {ACCOUNT}": verify(old=ACCOUNT, new=ACCOUNT.upper()),
        "its path is not in normal form": verify(path=f"{PATH}?limit=1"),
        "a GET has no body": verify(body="{}"),
        "its body has more than 8 KiB": verify(verb="POST", body=" " * (SIGNED_PAYLOAD_MAX_BYTES + 1)),
    }
    for complaint, answer in cases.items():
        assert (answer.exit_code, answer.stderr) == (1, f"{NOT_TAKEN}{complaint}\n")
    stdin_twice = run("verify", "headers", "POST", PATH, "-", "--audience", AUDIENCE, "--body", "-", stdin="")
    assert (stdin_twice.exit_code, "either the headers or the body" in stdin_twice.stderr) == (2, True)
    long = run("verify", "headers", "GET", "/a" * 40_000, "-", "--audience", AUDIENCE, stdin="")
    assert (long.exit_code, "longer than any" in long.stderr) == (2, True)


def test_field_that_is_given_twice_is_not_signed(tmp_path: Path) -> None:
    """Which of the two was meant is nobody's to guess."""
    words = ("sign", "payload", "CreateSubaccount", *with_key(tmp_path))
    said = refused_in_one_line(run(*words, "--body", '{"name": "a", "name": "b"}'))
    assert said == "sealgate: --body has 'name' twice\n"


def test_field_that_there_is_not_is_named_in_one_line(tmp_path: Path) -> None:
    """Whatever stands in its name, and however long that is."""
    words = ("sign", "payload", "CreateSubaccount", *with_key(tmp_path))
    said = refused_in_one_line(run(*words, "--body", json.dumps({"x\n" * 9_000: "a"})))
    assert said == f"sealgate: CreateSubaccount has no field {('x' + chr(10)) * 32!r}; it has name\n"

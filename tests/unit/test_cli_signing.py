"""Keys and signatures on the command line: what is made, what is said of it, what is refused."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cli.main import main
from sealgate.client import KeyPair, bodies
from sealgate.client.machine import SystemMachine, uuid_v7
from sealgate.client.wire import Body
from tests.signing_support import SigningKeyPair, possession

ROOT: Final = Path(__file__).parents[2]
VECTORS: Final[dict[str, Any]] = json.loads((ROOT / "tests/vectors/signing.json").read_text(encoding="utf-8"))
ACCOUNT: Final = "019b76da-a800-7ac0-8c01-000000000001"
AUDIENCE: Final = "api.example.com"


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, words, input=stdin)


def key_file(tmp_path: Path, seed: bytes = bytes(32)) -> str:
    path = tmp_path / "some.key"
    KeyPair(seed).save(path)
    return str(path)


def with_key(path: str) -> tuple[str, ...]:
    return ("--key", path, "--account", ACCOUNT, "--audience", AUDIENCE)


def test_generated_key_is_its_owners_alone_and_its_public_half_is_said(tmp_path: Path) -> None:
    """The file has mode 0600 whatever the umask; what is printed is the public key in base64."""
    path = tmp_path / "new.key"
    answer = run("key", "generate", str(path))
    assert answer.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert base64.b64decode(answer.output.strip()) == KeyPair.load(path).public_key
    assert run("key", "generate", str(tmp_path / "other.key")).output != answer.output


def test_generated_key_never_takes_the_place_of_another(tmp_path: Path) -> None:
    """A private key that is written over is lost, and a symbolic link could lead to one."""
    path = key_file(tmp_path)
    before = Path(path).read_bytes()
    link = tmp_path / "link.key"
    link.symlink_to(tmp_path / "elsewhere")
    for target in (path, str(link)):
        answer = run("key", "generate", target)
        assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert Path(path).read_bytes() == before
    assert not (tmp_path / "elsewhere").exists()


def test_key_file_is_one_that_others_read_and_write(tmp_path: Path) -> None:
    """PKCS#8 in PEM: keys come from, and go to, whatever else people use."""
    theirs = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    path = tmp_path / "theirs.key"
    path.write_bytes(theirs.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    assert KeyPair.load(path).public_key == theirs.public_key().public_bytes_raw()
    ours = load_pem_private_key(Path(key_file(tmp_path, bytes(range(32)))).read_bytes(), None)
    assert isinstance(ours, Ed25519PrivateKey)
    assert ours.private_bytes_raw() == bytes(range(32))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_key_file_is_refused_when_others_reach_it(tmp_path: Path, mode: int) -> None:
    """Exit code 2 and the command that sets it right."""
    path = key_file(tmp_path)
    Path(path).chmod(mode)
    answer = run("sign", "possession", *with_key(path))
    assert answer.exit_code == 2
    assert answer.stderr.endswith(f"chmod 600 {path}\n")


@pytest.mark.parametrize(
    "content", ["", "junk", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_key_file_is_refused_when_it_is_none(tmp_path: Path, content: str) -> None:
    """One line, without a byte of the file in it."""
    path = tmp_path / "bad.key"
    path.write_text(content)
    path.chmod(0o600)
    answer = run("sign", "possession", *with_key(str(path)))
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    assert answer.stderr.startswith(f"sealgate: {path} is no Ed25519 private key")


@pytest.mark.parametrize("row", VECTORS["payloads"], ids=lambda row: str(row["name"]))
def test_payload_is_signed_as_the_vectors_have_it(tmp_path: Path, row: dict[str, Any]) -> None:
    """From JSON, from hexadecimal and from stdin alike."""
    path = key_file(tmp_path, bytes.fromhex(row["seed"]))
    words = ("sign", "payload", row["message"], *with_key(path), "--request-id", row["request_id"])
    text = json.dumps(row["fields"])
    for answer in (
        run(*words, "--body", text),
        run(*words, "--body", "-", stdin=text),
        run(*words, f"--body-hex={row['body']}"),
    ):
        assert answer.exit_code == 0, answer.output
        assert json.loads(answer.output) == row["envelope"]
    assert row["seed"] not in answer.output


@pytest.mark.parametrize("row", VECTORS["payloads"], ids=lambda row: str(row["name"]))
def test_payload_is_verified_and_told(row: dict[str, Any]) -> None:
    """What it is, whose it is, and that its signature holds for one deployment and for no other."""
    envelope = json.dumps(row["envelope"])
    answer = run("verify", "payload", "-", "--audience", AUDIENCE, stdin=envelope)
    assert answer.exit_code == 0, answer.output
    said = dict(line.split(maxsplit=1) for line in answer.output.splitlines())
    assert said["request"]
    assert said["signature"] == f"valid for {AUDIENCE}"
    assert {name: json.loads(said["body"]).get(name) for name in row["fields"]} == row["fields"]
    other = run("verify", "payload", "-", "--audience", "staging.example.com", stdin=envelope)
    assert other.exit_code == 1
    assert "NOT VALID" in other.output
    assert other.stderr.endswith("does not hold: another audience, account, payload or key\n")


@pytest.mark.parametrize("row", VECTORS["refused"], ids=lambda row: str(row["name"]))
def test_refused_payload_is_not_called_good(row: dict[str, Any]) -> None:
    """Whatever the platform refuses for its form or its signature, the command does not pass."""
    answer = run("verify", "payload", "-", "--audience", AUDIENCE, stdin=json.dumps(row["envelope"]))
    depends_on_elsewhere = row["code"] == "REQUEST_TIMESTAMP_SKEW" or row["name"] == "other_route"
    assert (answer.exit_code == 0) is depends_on_elsewhere
    assert isinstance(answer.exception, SystemExit | None)


@pytest.mark.parametrize("row", VECTORS["headers"], ids=lambda row: str(row["name"]))
def test_headers_are_signed_and_verified(tmp_path: Path, row: dict[str, Any]) -> None:
    """The lines are those that curl takes, and verifying them needs the same verb, path and body."""
    path = key_file(tmp_path, bytes.fromhex(row["seed"]))
    request = (row["verb"], row["target"])
    body = ("--body", row["body"])
    answer = run("sign", "headers", *request, *with_key(path), *body, "--request-id", row["request_id"])
    assert answer.exit_code == 0, answer.output
    lines = dict(line.split(": ", 1) for line in answer.output.splitlines())
    assert {name.lower(): value for name, value in lines.items()} == row["headers"]
    audience = ("--audience", AUDIENCE)
    good = run("verify", "headers", *request, "-", *audience, *body, stdin=answer.output)
    assert good.exit_code == 0, good.output
    bad = run(
        "verify", "headers", row["verb"], f"{row['target']}x", "-", *audience, *body, stdin=answer.output
    )
    assert bad.exit_code == 1
    assert bad.stderr.endswith("does not hold: another audience, verb, path, body or key\n")


@pytest.mark.parametrize(
    "target",
    [
        "https://api.example.com/api/v1/api-keys",
        "api/v1/api-keys",
        "//api.example.com/api/v1/api-keys",
        "/api/v1/api-keys/",
        "/api/./v1/api-keys",
        "/api/v1/x/../api-keys",
        "/api/v1/api-keys/..",
        "/api/v1/api%2Dkeys",
        "/api/v1/api-keys?limit=1",
        "/api/v1/api-keys#top",
        "/api/v1/api-keys\n",
        "/",
        "",
    ],
)
def test_path_that_the_platform_would_not_know_is_not_signed(tmp_path: Path, target: str) -> None:
    """It is signed to the byte, so what another spelling signs is refused: better here than there."""
    answer = run("sign", "headers", "GET", target, *with_key(key_file(tmp_path)))
    assert answer.exit_code == 2
    assert "no path in normal form" in answer.stderr


def test_paths_of_signed_routes_are_signed(tmp_path: Path) -> None:
    """All that ids hold stays: the platform's own have letters, digits, `-` and `_`."""
    path = key_file(tmp_path)
    for target in ("/api/v1/api-keys/pk_a-Z.9~/delete", "/api/v1/device-keys/...", "/.a/b.."):
        assert run("sign", "headers", "POST", target, *with_key(path)).exit_code == 0


def test_age_of_a_good_signature_is_told(tmp_path: Path) -> None:
    """Whether the platform still takes it, or how long it has not: the exit code is the signature's alone."""
    words = ("sign", "payload", "ListSessionKeys", *with_key(key_file(tmp_path)))
    now = SystemMachine().request_id().int >> 80
    for shift_seconds, told in (
        (0, "within the 15 s"),
        (-100, "past the 15 s"),
        (-7 * 86_400, "7 days past"),
    ):
        request_id = uuid_v7(now + shift_seconds * 1000, bytes(10))
        envelope = run(*words, "--request-id", str(request_id)).output
        answer = run("verify", "payload", "-", "--audience", AUDIENCE, stdin=envelope)
        assert answer.exit_code == 0, answer.stderr
        assert told in answer.output.splitlines()[-1]
    ahead = run(*words, "--request-id", str(uuid_v7(now + 3_600_000, bytes(10)))).output
    answer = run("verify", "payload", "-", "--audience", AUDIENCE, stdin=ahead)
    assert "60 minutes ahead of this machine's clock" in answer.output


def test_message_without_fields_needs_no_body(tmp_path: Path) -> None:
    """There is nothing to say in it, and what is signed is the same as with an empty object."""
    words = ("sign", "payload", "ListSessionKeys", *with_key(key_file(tmp_path)))
    words += ("--request-id", str(uuid_v7(1, bytes(10))))
    answer = run(*words)
    assert answer.exit_code == 0, answer.output
    assert answer.output == run(*words, "--body", "{}").output


@pytest.mark.parametrize("command", ["sign payload", "sign headers", "verify payload", "verify headers"])
def test_help_has_an_example_and_all_messages(command: str) -> None:
    """What can be typed, and with which fields, without a page."""
    text = run(*command.split(), "--help").output
    assert f"sealgate {command} " in text.partition("Examples:")[2]
    if command.endswith("payload"):
        messages = " ".join(text.partition("Messages")[2].split())
        for table in vars(bodies).values():
            if isinstance(table, Body):
                assert f" {table.name}: " in messages
                assert all(field.name in messages for field in table.fields)


def test_possession_is_signed_for_the_registration(tmp_path: Path) -> None:
    """The two members that the project's backend sends."""
    answer = run("sign", "possession", *with_key(key_file(tmp_path)))
    pair = SigningKeyPair(bytes(32))
    signature = base64.b64encode(possession(pair, AUDIENCE, ACCOUNT)).decode()
    assert json.loads(answer.output) == {"public_key": pair.text, "possession_signature": signature}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("payload", "PlaceBet", "--body", "{}"), "PlaceBet is none of the messages that are signed"),
        (("payload", "CreateSubaccount"), "either as --body or as --body-hex"),
        (("payload", "CreateSubaccount", "--body", "[]"), "--body is no JSON object"),
        (("payload", "CreateSubaccount", "--body", '{"nam": "x"}'), "CreateSubaccount has no field 'nam';"),
        (("payload", "CreateSubaccount", "--body", '{"name": 7}'), "name has to be text"),
        (("payload", "CancelAllOrders", "--body", "{}"), "subaccount_index has to be given"),
        (
            ("payload", "RemoveMasterKey", "--body", '{"public_key": "*"}'),
            "public_key is no base64",
        ),
        (("payload", "CreateSubaccount", "--body-hex", "zz"), "--body-hex has to be hexadecimal"),
        (("payload", "CreateSubaccount", "--body", "{}", "--body-hex", ""), "either as --body or as"),
        (("headers", "GET", "/schlüssel"), "no path in normal form"),
    ],
)
def test_request_that_cannot_be_signed_ends_with_two(
    tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    """A usage error, or one line that says what is wrong."""
    answer = run("sign", *words, *with_key(key_file(tmp_path)))
    assert answer.exit_code == 2
    assert complaint in answer.stderr


def test_private_key_is_on_no_command_line() -> None:
    """No option of any command takes one: other people of the machine read command lines."""
    for words in (["sign", "payload"], ["sign", "headers"], ["sign", "possession"], ["session", "mint"]):
        text = run(*words, "--help").output
        assert "--key FILE" in text
        assert "--seed" not in text


def test_session_commands_say_what_is_wrong_when_nobody_answers(tmp_path: Path) -> None:
    """Exit code 1 where no platform is, 2 where the command makes no sense."""
    path = key_file(tmp_path)
    words = ("--key", path, "--account", ACCOUNT)
    lost = run("session", "list", *words, "--url", "http://127.0.0.1:9")
    assert (lost.exit_code, lost.stderr.count("\n")) == (1, 1)
    assert "No answer came" in lost.stderr
    for url in ("no-address", "http://[::1]:8080"):
        answer = run("session", "list", *words, "--url", url)
        assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    answer = run("session", "revoke", "neither", *words, "--url", "http://127.0.0.1:9")
    assert answer.stderr == "sealgate: neither is neither a key file nor a public key in base64\n"

"""Refusals become exceptions by their codes, and nothing that the client shows is secret."""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle

import pytest

import sealgate.client
from chassis.errors import ERROR_TABLE, Code
from sealgate.client import (
    AsyncSealgate,
    Conflict,
    Detail,
    InsufficientBalance,
    IssuedApiKey,
    IssuedSession,
    KeyPair,
    NotFound,
    RegisteredMasterKey,
    RequestRefused,
    RequestStatus,
    RetryPolicy,
    Sealgate,
    SealgateError,
    Signer,
    SubmitCancelOrderResult,
    TransportError,
    UnexpectedAnswerError,
    operations,
)
from sealgate.client.core import Reply, converse
from sealgate.client.refusals import BY_CODE
from tests.client_support import StillMachine, hold

_SECRET = "sk_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTLhNAAk"
_TIME = "2026-01-01T00:00:00Z"


def raised_by(reply: Reply) -> SealgateError:
    machine = StillMachine()
    policy = RetryPolicy(attempts_count=1)
    credential = {"x-api-key": _SECRET}
    steps = converse(
        operations.CREATE_API_KEY,
        {"name": "bot"},
        credential=credential,
        policy=policy,
        timeout_seconds=5,
        machine=machine,
    )
    _, result = hold(steps, machine, [reply])
    with pytest.raises(SealgateError) as raised:
        result()
    return raised.value


def refusal(status: int, code: str) -> Reply:
    details = [{"path": "amount", "message": "at most 12.34"}]
    document = {
        "success": False,
        "response": "Said so.",
        "error": {"code": code, "message": "Said so.", "details": details},
        "request_id": "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000",
    }
    headers = {"x-request-id": "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000", "retry-after": "3"}
    return Reply(status, headers, json.dumps(document).encode())


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_class_of_its_own(code: Code) -> None:
    """By its name in the package, in the family of its status, with all that the answer says."""
    row = ERROR_TABLE[code]
    error = raised_by(refusal(row.http_status, code.value))
    assert type(error) is BY_CODE[code.value]
    assert getattr(sealgate.client, type(error).__name__) is type(error)
    assert type(error).__name__.lower() == code.value.replace("_", "").lower()
    assert (error.code, error.status, error.message) == (code.value, row.http_status, "Said so.")
    assert error.details == (Detail("amount", "at most 12.34"),)
    assert error.retry_after_seconds == 3
    assert error.request_id == "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"


def test_classes_are_one_a_code_and_no_other() -> None:
    """The client knows the codes of the table, and no code is two."""
    assert BY_CODE.keys() == {code.value for code in Code}
    assert len(set(BY_CODE.values())) == len(Code)


def test_refusals_are_caught_by_code_by_family_or_all() -> None:
    """`except` can be as exact as the caller wants."""
    assert issubclass(InsufficientBalance, Conflict)
    assert issubclass(Conflict, SealgateError)
    assert not issubclass(InsufficientBalance, NotFound)
    assert issubclass(TransportError, SealgateError)


def test_code_of_a_newer_server_is_of_its_family() -> None:
    """An older client reads it, and catches it by its status."""
    error = raised_by(refusal(409, "SOMETHING_NEW"))
    assert type(error) is Conflict
    assert error.code == "SOMETHING_NEW"
    assert type(raised_by(refusal(418, "TEAPOT"))) is SealgateError


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error":"no"}', b'{"error":{"code":7}}', b"\xff", b"[" * 100_000]
)
@pytest.mark.parametrize("status", [200, 302, 404, 500, 599])
def test_answer_of_something_else_is_said_to_be_unexpected(status: int, body: bytes) -> None:
    """A proxy's page is neither a success nor a refusal of ours."""
    error = raised_by(Reply(status, {}, body))
    assert type(error) is UnexpectedAnswerError
    assert (error.code, error.status) == (None, status)


def test_answer_that_cannot_be_read_names_the_place() -> None:
    """Where it is, and not what stood there, which may be secret."""
    body = json.dumps({"success": True, "response": {"public_key": 7, "secret_key": _SECRET}}).encode()
    error = raised_by(Reply(201, {}, body))
    assert isinstance(error, UnexpectedAnswerError)
    assert "public_key is no string" in str(error)
    assert _SECRET not in str(error)
    assert error.maybe_done


def test_error_says_all_that_helps() -> None:
    """What was called, the code, its text, the details and the id to quote."""
    assert str(raised_by(refusal(409, "INSUFFICIENT_BALANCE"))) == (
        "create_api_key: INSUFFICIENT_BALANCE: Said so. amount: at most 12.34."
        " (request id 0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000)"
    )


@pytest.mark.parametrize(
    ("status", "details", "told"),
    [
        (
            RequestStatus.ORDER_NOT_OPEN,
            [("order_id", "The order is not open.")],
            "order_id: The order is not open.",
        ),
        (RequestStatus.ORDER_NOT_OPEN, [("", "Too late."), ("a", "no")], "Too late. a: no."),
        (RequestStatus.ORDER_NOT_OPEN, [], "The platform refused the request, for good."),
        (
            RequestStatus.SESSION_KEY_REUSED,
            [("public_key", "was used")],
            "The account has used this key before: make a new key pair. public_key: was used.",
        ),
    ],
)
def test_refused_request_says_why(status: RequestStatus, details: list[tuple[str, str]], told: str) -> None:
    """The call as it is written, the status and the reasons, each a sentence; nothing twice."""
    document = {
        "success": False,
        "status": status,
        "processed_at_ns": 1,
        "request_id": "r",
        "details": [{"path": path, "message": message} for path, message in details],
    }
    with pytest.raises(RequestRefused) as raised:
        SubmitCancelOrderResult.from_json(document).raise_for_status()
    assert str(raised.value) == f"submit_cancel_order: {status}: {told} (request id r)"
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # noqa: S301 - our own


def test_public_keys_of_answers_are_shown_as_they_are_written() -> None:
    """In base64, as a key pair shows its own; they are bytes all the same."""
    pair = KeyPair(bytes(32))
    text = base64.b64encode(pair.public_key).decode()
    shown = RegisteredMasterKey.from_json(
        {"public_key": text, "reach": "ADMIN", "role": "FULL_ACCESS", "created_at": _TIME}
    )
    assert shown.public_key == pair.public_key
    assert f"public_key={text!r}" in repr(shown)
    assert f"public_key={text!r}" in repr(pair)
    assert pickle.loads(pickle.dumps(shown)) == shown  # noqa: S301 - our own


def test_account_that_is_no_uuid_is_refused_by_name() -> None:
    """The text says what is expected, and what was given."""
    with pytest.raises(ValueError, match="account_id has to be the account's UUID, and 'foo' is none"):
        Signer(KeyPair(bytes(32)), "foo")


def test_error_survives_the_way_between_processes() -> None:
    """Workers hand exceptions on by pickling them."""
    error = raised_by(refusal(409, "INSUFFICIENT_BALANCE"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is InsufficientBalance
    assert again.facts == error.facts


@pytest.mark.parametrize("kind", [Sealgate, AsyncSealgate])
@pytest.mark.parametrize("credential", ["project_key", "session_token", "api_key", "device_key"])
def test_client_shows_where_it_goes_and_no_secret(
    kind: type[Sealgate | AsyncSealgate], credential: str
) -> None:
    """Neither the client nor a request of it prints the credential."""
    client = kind("https://api.example.com/", **{credential: _SECRET})  # type: ignore[arg-type]
    assert repr(client) == f"{kind.__name__}('https://api.example.com', {credential}=…)"
    steps = client._converse(operations.LIST_WALLETS, {}, None, None)
    assert _SECRET not in repr(next(steps))


def test_secrets_of_answers_stay_out_of_their_repr() -> None:
    """A log line of a model is no leak, and the secret is there for who asks."""
    times = {"created_at": _TIME, "updated_at": _TIME}
    key = {
        "public_key": "pk_a",
        "secret_key": _SECRET,
        "name": "",
        "scopes": [],
        "origins": [],
        "active": True,
    }
    issued = IssuedApiKey.from_json(key | times)
    assert issued.secret_key == _SECRET
    session = IssuedSession.from_json(
        {"account_id": "a", "session_id": "s", "session_token": "eyJsecret", "created_at": _TIME}
        | {"expires_at": _TIME}
    )
    assert session.session_token == "eyJsecret"
    assert _SECRET not in repr(issued)
    assert "eyJsecret" not in f"{session} {session!r}"
    secrets = {"secret_key", "session_token", "sessionToken", "secret"}
    for name in sealgate.client.__all__:
        kind = getattr(sealgate.client, name)
        if dataclasses.is_dataclass(kind):
            assert not [part for part in dataclasses.fields(kind) if part.name in secrets and part.repr], name


@pytest.mark.parametrize("secret", ["", "two words", "sk_é", "sk_\n"])
def test_credential_that_no_header_can_carry_is_refused_without_repeating_it(secret: str) -> None:
    """The text names the kind alone."""
    with pytest.raises(ValueError, match="api_key is no secret") as raised:
        Sealgate("http://localhost", api_key=secret)
    assert not secret or secret not in str(raised.value)


def test_two_credentials_are_refused() -> None:
    """A request has exactly one, and a client speaks for one."""
    with pytest.raises(ValueError, match="project_key or api_key"):
        Sealgate("http://localhost", project_key="sk_a", api_key="sk_b")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://host",
        "http://",
        "http://host/?a=b",
        "http://h/#x",
        "http://u:p4@h",
        "http://h:p4",
    ],
)
def test_address_that_is_none_is_refused(url: str) -> None:
    """At once, and not with the first call; a password in it would be in every `repr`."""
    with pytest.raises(ValueError, match="base_url") as raised:
        Sealgate(url)
    assert "p4" not in str(raised.value)

"""How errors become HTTP answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from chassis.errors import ERROR_TABLE, Code, Detail, SealgateError
from chassis.methods import Method
from edge.errors import error_answer
from edge.routes import MethodNotAllowedError, load_methods
from sealgate.common.v1 import method_rule_pb2 as rules
from tests.unit.edge_support import DESCRIPTOR, sample_method

REQUEST_ID: Final = UUID("0189abcd-0000-7000-8000-000000000001")
METHODS: Final = {
    row.full_name.rpartition("/")[2]: row
    for row in load_methods(
        DESCRIPTOR,
        [
            "sealgate.auth.v1.TokenKeyService",
            "sealgate.auth.v1.ProjectService",
            "sealgate.auth.v1.SessionService",
            "sealgate.wallet.v1.WalletService",
        ],
    )
}


@pytest.mark.parametrize("code", list(Code))
def test_error_has_the_status_and_text_of_the_table(code: Code) -> None:
    """Every code answers with its row, and never with what is for the log."""
    error = SealgateError(code, details=[Detail("a.b[1]", "is odd")], internal="dsn=secret")
    answer = error_answer(error, REQUEST_ID)
    row = ERROR_TABLE[code]
    assert answer.status == row.http_status
    assert json.loads(answer.body) == {
        "success": False,
        "response": row.message,
        "error": {
            "code": code.value,
            "message": row.message,
            "details": [{"path": "a.b[1]", "message": "is odd"}],
        },
        "request_id": str(REQUEST_ID),
    }
    headers = dict(answer.headers)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == str(len(answer.body)).encode()
    assert headers[b"x-request-id"] == str(REQUEST_ID).encode()
    assert headers[b"cache-control"] == b"no-store"
    assert (b"www-authenticate" in headers) == (row.http_status == 401)


def test_error_has_no_success_member_outside_the_platform_family(tmp_path: Path) -> None:
    """Families other than P answer the error and the request id alone."""
    browser: Method = sample_method(
        tmp_path / "b.binpb", {"post": "/x", "body": "*"}, envelope=rules.ENVELOPE_BROWSER
    )
    for method in (browser, METHODS["GetJsonWebKeySet"]):
        answer = error_answer(SealgateError(Code.UNAVAILABLE), REQUEST_ID, method)
        assert set(json.loads(answer.body)) == {"error", "request_id"}


@pytest.mark.parametrize(
    ("method", "code", "challenge"),
    [
        ("GetProject", Code.API_KEY_REQUIRED, b'ApiKey realm="sealgate"'),
        ("GetProject", Code.API_KEY_INVALID, b'ApiKey realm="sealgate"'),
        ("ListWallets", Code.API_KEY_REQUIRED, b'Bearer realm="sealgate"'),
        ("ExpireCurrentSession", Code.SESSION_REQUIRED, b'Bearer realm="sealgate"'),
        ("ListWallets", Code.SESSION_EXPIRED, b'Bearer realm="sealgate", error="invalid_token"'),
    ],
)
def test_refused_credential_is_challenged_as_its_route_takes_it(
    method: str, code: Code, challenge: bytes
) -> None:
    """A 401 says how to authenticate, and whether what was shown was no good."""
    answer = error_answer(SealgateError(code), REQUEST_ID, METHODS[method])
    assert dict(answer.headers)[b"www-authenticate"] == challenge


@pytest.mark.parametrize(
    ("code", "challenge"),
    [
        (Code.SESSION_REQUIRED, b'BrowserSession realm="sealgate"'),
        (Code.SESSION_INVALID, b'BrowserSession realm="sealgate", error="invalid_token"'),
        (Code.SESSION_EXPIRED, b'BrowserSession realm="sealgate", error="invalid_token"'),
        (Code.API_KEY_REVOKED, b'Bearer realm="sealgate", error="invalid_token"'),
    ],
)
def test_session_beside_an_api_key_is_challenged_as_the_pages(code: Code, challenge: bytes) -> None:
    """A page whose key is good is not told to show another bearer token."""
    answer = error_answer(SealgateError(code), REQUEST_ID, METHODS["CreateWallet"], by_api_key=True)
    assert dict(answer.headers)[b"www-authenticate"] == challenge


def test_pause_becomes_retry_after() -> None:
    """What an error knows of a sensible repeat stands in the header."""
    answer = error_answer(SealgateError(Code.OVERLOADED, retry_after_seconds=7), REQUEST_ID)
    assert dict(answer.headers)[b"retry-after"] == b"7"
    assert b"retry-after" not in dict(error_answer(SealgateError(Code.INTERNAL), REQUEST_ID).headers)


def test_wrong_verb_is_answered_with_the_right_ones() -> None:
    """A 405 has its Allow header."""
    answer = error_answer(MethodNotAllowedError("GET, HEAD"), REQUEST_ID)
    assert (answer.status, dict(answer.headers)[b"allow"]) == (405, b"GET, HEAD")


def test_text_of_a_client_is_printed_as_it_came() -> None:
    """A path with a client's own member name stays valid JSON."""
    error = SealgateError(Code.VALIDATION_ERROR, details=[Detail('é"\\\n', "is not known here")])
    assert json.loads(error_answer(error, REQUEST_ID).body)["error"]["details"][0]["path"] == 'é"\\\n'

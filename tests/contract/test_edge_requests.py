"""The way of a request through the edge: what reaches the services, and what comes back."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from chassis.errors import Code, Detail, SealgateError
from sealgate.auth.v1 import account_pb2, identity_pb2
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.wallet.v1 import wallet_pb2
from tests.contract.edge_harness import (
    CREATE_ACCOUNT,
    CURRENT_SESSION,
    EXCHANGE,
    GET_ACCOUNT,
    IMPATIENT_SECONDS,
    JWKS,
    LIST_ACCOUNTS,
    LIST_WALLETS,
    PASSPORT,
    RunningEdge,
    answers,
    assert_error,
    make_impatient,
    running_edge,
)

REQUEST_ID: Final = "0189abcd-0000-7000-8000-0000000000aa"
PLANTED: Final = "planted-sk_SECRET-postgres://u:p@h/d"


@pytest.fixture(scope="module")
def serving(short_directory: Path) -> Iterator[RunningEdge]:
    """One edge for this module."""
    with running_edge(short_directory / "edge-requests", make_impatient) as running:
        yield running


@pytest.fixture
def edge(serving: RunningEdge) -> RunningEdge:
    """The edge, with services that have no script and no memory."""
    serving.backend.forget()
    return serving


def test_request_reaches_its_service_with_a_passport(edge: RunningEdge) -> None:
    """A credential becomes a passport, the passport goes along, the answer comes back in its envelope."""
    wallet = wallet_pb2.Wallet(wallet_id="w1", name="Wallet 1", position=1)
    wallet.chains["POL"].address = "0xabc"
    wallet.created_at.seconds = 1_767_225_600
    answers(edge, LIST_WALLETS, wallet_pb2.ListWalletsResponse(wallets=[wallet]))

    reply = edge.ask(
        f"GET /api/v1/wallets\nX-API-KEY: sk_abc\nX-Request-Id: {REQUEST_ID}\nUser-Agent: test/1"
    )

    assert (reply.status, reply.headers["x-request-id"]) == (200, REQUEST_ID)
    assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("application/json", "no-store")
    assert "server" not in reply.headers
    assert reply.json == {
        "success": True,
        "response": [
            {
                "wallet_id": "w1",
                "name": "Wallet 1",
                "chains": {"POL": {"address": "0xabc"}},
                "subaccount_index": 0,
                "position": 1,
                "autoredeem": False,
                "created_at": "2026-01-01T00:00:00Z",
            }
        ],
    }
    (exchange,), (call,) = edge.backend.of(EXCHANGE), edge.backend.of(LIST_WALLETS)
    assert exchange.request == identity_pb2.ExchangeCredentialRequest(
        kind=method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY, credential="sk_abc"
    )
    assert call.metadata["sealgate-passport-bin"] == PASSPORT.passport.SerializeToString()
    for seen in (exchange, call):
        assert seen.metadata["x-request-id"] == REQUEST_ID
        assert seen.metadata["sealgate-client-address"] == "127.0.0.1"
        assert seen.metadata["sealgate-user-agent"] == "test/1"


def test_service_sees_nothing_that_a_client_sent_under_an_internal_name(edge: RunningEdge) -> None:
    """Metadata is built from an allow-list: no header of a client's gets through, whatever its name."""
    reply = edge.ask(
        """GET /api/v1/wallets
        X-API-KEY: sk_abc
        Sealgate-Passport-Bin: Zm9yZ2Vk
        Sealgate-Client-Address: 6.6.6.6
        Sealgate-User-Agent: forged
        X-Forwarded-For: 6.6.6.6
        X-Request-Id: not-a-uuid
        Grpc-Timeout: 1n
        Grpc-Status: 0
        Te: trailers
        X-Anything: forged"""
    )
    assert reply.status == 200
    (call,) = edge.backend.of(LIST_WALLETS)
    ours = {"x-request-id", "sealgate-client-address", "sealgate-passport-bin"}
    assert (
        set(call.metadata) - {"user-agent", "te", "content-type", "accept-encoding", "grpc-accept-encoding"}
        == ours
    )
    assert call.metadata["sealgate-client-address"] == "127.0.0.1"
    assert call.metadata["sealgate-passport-bin"] == PASSPORT.passport.SerializeToString()
    UUID(str(call.metadata["x-request-id"]))
    assert call.metadata["x-request-id"] == reply.headers["x-request-id"]


def test_subject_account_of_the_path_goes_into_the_exchange(edge: RunningEdge) -> None:
    """Auth learns which account a project key acts on before the service does."""
    answers(
        edge,
        GET_ACCOUNT,
        account_pb2.GetAccountResponse(account=account_pb2.Account(account_id="a1", account_number=2**60)),
    )
    reply = edge.ask("GET /api/v1/project/account/a1\nX-Project-Api-Key: sk_p\nOrigin: https://page.example")
    assert (reply.status, reply.json["response"]["account_number"]) == (200, 2**60)
    (exchange,) = edge.backend.of(EXCHANGE)
    assert exchange.request == identity_pb2.ExchangeCredentialRequest(
        kind=method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY,
        credential="sk_p",
        origin="https://page.example",
        subject_account_id="a1",
    )
    assert edge.backend.of(GET_ACCOUNT)[0].request.account_id == "a1"


def test_creation_answers_201_with_what_was_made(edge: RunningEdge) -> None:
    """A body becomes the request message, and the method's own success status is answered."""
    answers(
        edge, CREATE_ACCOUNT, account_pb2.CreateAccountResponse(account=account_pb2.Account(account_id="a1"))
    )
    reply = edge.post("/api/v1/project/account", b'{"metadata":{"n":1}}', "x-project-api-key: sk_p")
    assert (reply.status, reply.json["response"]["account_id"]) == (201, "a1")
    (call,) = edge.backend.of(CREATE_ACCOUNT)
    assert call.request.metadata.fields["n"].number_value == 1


@pytest.mark.parametrize("query", ["", "?", "?limit=7&offset=0"])
def test_query_reaches_the_service(edge: RunningEdge, query: str) -> None:
    """Paging goes along as it was asked, and absent stays absent."""
    assert edge.ask(f"GET /api/v1/project/account{query}\nx-project-api-key: sk_p").status == 200
    (call,) = edge.backend.of(LIST_ACCOUNTS)
    assert call.request.HasField("limit") == (query == "?limit=7&offset=0")


@pytest.mark.parametrize("headers", ["", "\ncontent-type: application/json", "\ncontent-length: 0"])
def test_empty_body_is_an_empty_object(edge: RunningEdge, headers: str) -> None:
    """No body is `{}`, with or without a Content-Type."""
    assert edge.ask(f"POST /api/v1/project/account\nx-project-api-key: sk_p{headers}").status == 201


def test_open_route_needs_no_credential(edge: RunningEdge) -> None:
    """An open method is called without asking who calls, and its answer may be cached."""
    answers(edge, JWKS, identity_pb2.GetJsonWebKeySetResponse(keys=[identity_pb2.JsonWebKey(kid="k1")]))
    reply = edge.ask("GET /.well-known/jwks.json")
    assert (reply.status, reply.json["keys"][0]["kid"]) == (200, "k1")
    assert "cache-control" not in reply.headers
    assert edge.backend.of(EXCHANGE) == []
    assert "sealgate-passport-bin" not in edge.backend.of(JWKS)[0].metadata


def test_head_answers_what_get_would_without_the_body(edge: RunningEdge) -> None:
    """HEAD has GET's status and headers."""
    get = edge.ask("GET /.well-known/jwks.json")
    with edge.connect() as connection:
        connection.sendall(b"HEAD /.well-known/jwks.json HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n")
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 200 ")
    assert f"content-length: {len(get.body)}" in answer
    assert answer.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("GET /api/v1/wallets", Code.API_KEY_REQUIRED),
        ("POST /api/v1/account/session/expire", Code.SESSION_REQUIRED),
        ("GET /api/v1/wallets\nx-api-key: a\nx-api-key: a", Code.CREDENTIAL_AMBIGUOUS),
        ("GET /api/v1/wallets\nx-api-key: a\nauthorization: Bearer b", Code.CREDENTIAL_AMBIGUOUS),
        ("GET /api/v1/wallets\nauthorization: Basic eDp5", Code.SESSION_INVALID),
        ("GET /api/v1/nothing\nx-api-key: a", Code.ROUTE_NOT_FOUND),
        ("GET /api/v1/wallet/a%2Fb\nx-api-key: a", Code.ROUTE_NOT_FOUND),
        ("GET /sealgate.wallet.v1.WalletService/ListWallets\nx-api-key: a", Code.ROUTE_NOT_FOUND),
        ("PATCH /api/v1/wallets\nx-api-key: a", Code.METHOD_NOT_ALLOWED),
        ("POST /healthz", Code.METHOD_NOT_ALLOWED),
        ("OPTIONS *", Code.ROUTE_NOT_FOUND),
    ],
)
def test_request_is_refused_before_any_service_hears_of_it(edge: RunningEdge, head: str, code: Code) -> None:
    """What the edge can tell by itself it answers by itself."""
    reply = edge.ask(head)
    assert_error(reply, code)
    assert edge.backend.calls == []
    assert ("allow" in reply.headers) == (code is Code.METHOD_NOT_ALLOWED)
    assert ("www-authenticate" in reply.headers) == (reply.status == 401)


def test_body_on_a_get_is_taken_when_it_is_empty_json_only(edge: RunningEdge) -> None:
    """A method without a body takes `{}` and refuses any member."""
    for body, status in ((b"{}", 200), (b'{"a":1}', 400)):
        head = (
            f"GET /api/v1/wallets\nx-api-key: a\ncontent-type: application/json\ncontent-length: {len(body)}"
        )
        assert edge.ask(head, body).status == status


def test_refusal_of_a_service_arrives_with_its_code_details_and_pause(edge: RunningEdge) -> None:
    """The service's own error is what the client reads."""
    details = [Detail("metadata.é", "is too large")]
    error = SealgateError(Code.VALIDATION_ERROR, details=details, internal=PLANTED, retry_after_seconds=9)
    answers(edge, CREATE_ACCOUNT, error)
    reply = edge.post("/api/v1/project/account", b"{}", "x-project-api-key: sk_p")
    assert_error(reply, Code.VALIDATION_ERROR, *details)
    assert reply.headers["retry-after"] == "9"
    assert reply.headers["cache-control"] == "no-store"


def test_refusal_of_auth_ends_the_request(edge: RunningEdge) -> None:
    """A credential that is no good never reaches the owning service."""
    answers(edge, EXCHANGE, SealgateError(Code.SESSION_EXPIRED))
    assert_error(edge.ask("GET /api/v1/wallets\nauthorization: Bearer x.y.z"), Code.SESSION_EXPIRED)
    assert edge.backend.of(LIST_WALLETS) == []


@pytest.mark.parametrize("method", [EXCHANGE, LIST_WALLETS])
def test_unexpected_failure_behind_the_edge_shows_nothing_of_itself(edge: RunningEdge, method: str) -> None:
    """The text of a service's exception, which gRPC sends along, reaches no client."""
    answers(edge, method, ValueError(PLANTED))
    reply = edge.ask("GET /api/v1/wallets\nx-api-key: sk_abc")
    assert_error(reply, Code.INTERNAL)
    assert b"planted" not in reply.body


@pytest.mark.parametrize("raw", [None, b"\xff\xff\xff\xff", b"\x0a\x05ab"])
def test_answer_that_is_no_message_is_internal(edge: RunningEdge, raw: bytes | None) -> None:
    """No such method, or bytes that are not its response, are our failure, and stay ours."""
    if raw is not None:
        edge.backend.raw_answers[CURRENT_SESSION] = raw
    assert_error(edge.ask("GET /api/v1/account/session\nx-api-key: sk_abc"), Code.INTERNAL)


def test_answer_that_cannot_be_printed_is_internal(edge: RunningEdge) -> None:
    """A response outside of the JSON dialect is our failure, and stays ours."""
    account = account_pb2.Account()
    account.metadata.fields["n"].number_value = float("nan")
    answers(edge, GET_ACCOUNT, account_pb2.GetAccountResponse(account=account))
    assert_error(edge.ask("GET /api/v1/project/account/a1\nx-project-api-key: sk_p"), Code.INTERNAL)


@pytest.mark.parametrize("name", ["auth", "wallet"])
def test_service_that_is_down_is_unavailable_until_it_is_back(edge: RunningEdge, name: str) -> None:
    """A dead service is a 503 with a pause, never a 401, and is used again as soon as it is there."""
    ask = "GET /api/v1/wallets\nx-api-key: sk_abc"
    edge.run(edge.stop_server(name))
    reply = edge.ask(ask)
    assert_error(reply, Code.UNAVAILABLE)
    assert reply.headers["retry-after"] == "1"
    with edge.logged() as lines:
        assert_error(edge.ask("GET /readyz"), Code.UNAVAILABLE, Detail(name, "does not serve"))
    assert any(f'"reason":"does not serve: {name}"' in line for line in lines)
    assert edge.ask("GET /healthz").status == 200
    edge.run(edge.start_server(name))
    deadline = time.monotonic() + 30
    while (reply := edge.ask(ask)).status in (503, 504) and time.monotonic() < deadline:
        pass
    assert reply.status == 200


def test_readiness_asks_every_cluster(edge: RunningEdge) -> None:
    """With all services up the edge is ready."""
    reply = edge.ask("GET /readyz")
    assert (reply.status, reply.json) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "code"), [(EXCHANGE, Code.UNAVAILABLE), (LIST_WALLETS, Code.DEADLINE_EXCEEDED)]
)
def test_request_ends_at_its_deadline(edge: RunningEdge, method: str, code: Code) -> None:
    """A service that hangs costs the route's time and no more; before the exchange nothing is in doubt."""

    async def hang(_: object) -> object:
        return await asyncio.Event().wait()

    edge.backend.behaviours[method] = hang
    started = time.monotonic()
    assert_error(edge.ask("GET /api/v1/wallets\nx-api-key: sk_abc"), code)
    assert time.monotonic() - started < IMPATIENT_SECONDS + 4


def test_requests_beyond_the_bound_are_refused_at_once(edge: RunningEdge) -> None:
    """A full cluster answers OVERLOADED with a pause, and others are not touched."""
    entered, leave = threading.Semaphore(0), threading.Event()

    async def wait_for_leave(_: object) -> object:
        entered.release()
        await asyncio.to_thread(leave.wait, 5)
        return wallet_pb2.ListWalletsResponse()

    edge.backend.behaviours[LIST_WALLETS] = wait_for_leave
    ask = b"GET /api/v1/wallets HTTP/1.1\r\nhost: e\r\nx-api-key: a\r\nconnection: close\r\n\r\n"
    with edge.connect() as first, edge.connect() as second:
        for connection in (first, second):
            connection.sendall(ask)
        assert all(entered.acquire(timeout=30) for _ in range(2))
        reply = edge.ask("GET /api/v1/wallets\nx-api-key: a")
        assert_error(reply, Code.OVERLOADED)
        assert reply.headers["retry-after"] == "1"
        assert edge.ask("GET /api/v1/project/account\nx-project-api-key: a").status == 200
        leave.set()
        for connection in (first, second):
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    assert edge.ask("GET /api/v1/wallets\nx-api-key: a").status == 200


def test_log_has_a_line_for_every_request_and_no_secret(edge: RunningEdge) -> None:
    """Each request leaves its route, outcome and id; credentials, queries and texts of failures stay out."""
    answers(edge, CREATE_ACCOUNT, ValueError(PLANTED))
    with edge.logged() as lines:
        ok = edge.ask(f"GET /api/v1/wallets\nx-api-key: sk_{PLANTED}\nuser-agent: {PLANTED}")
        failed = edge.post("/api/v1/project/account", b"{}", f"x-project-api-key: {PLANTED}")
        unknown = edge.ask(f"GET /{PLANTED}?token={PLANTED}\nauthorization: Bearer {PLANTED}")
    assert "planted" not in "\n".join(lines)
    written = {line["request_id"]: line for line in map(json.loads, lines) if line["message"] == "request"}
    seen = [
        (written[reply.headers["x-request-id"]]["route"], written[reply.headers["x-request-id"]]["outcome"])
        for reply in (ok, failed, unknown)
    ]
    assert seen == [
        ("/api/v1/wallets", "OK"),
        ("/api/v1/project/account", "INTERNAL"),
        (None, "ROUTE_NOT_FOUND"),
    ]


def test_log_names_the_call_that_failed(edge: RunningEdge) -> None:
    """Whoever reads the log learns which hop of a request ran out of time."""

    async def hang(_: object) -> object:
        return await asyncio.Event().wait()

    edge.backend.behaviours[LIST_WALLETS] = hang
    with edge.logged() as lines:
        edge.ask("GET /api/v1/wallets\nx-api-key: sk_abc")
    (line,) = (json.loads(line) for line in lines if '"request"' in line)
    assert line["outcome"] == "DEADLINE_EXCEEDED"
    assert line["reason"] == f"{LIST_WALLETS} ended with DEADLINE_EXCEEDED"


def test_passport_is_passed_on_byte_for_byte(edge: RunningEdge) -> None:
    """The edge neither reads nor changes what auth signed."""
    passport = passport_pb2.Passport(kid="other", claims=bytes(range(256)), signature=b"\0" * 64)
    answers(edge, EXCHANGE, identity_pb2.ExchangeCredentialResponse(passport=passport))
    edge.ask("GET /api/v1/wallets\nx-api-key: sk_abc")
    assert edge.backend.of(LIST_WALLETS)[0].metadata["sealgate-passport-bin"] == passport.SerializeToString()

"""Web pages at the edge, over real sockets: preflights, who may read which answer, and the page's token."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from chassis.errors import Code, SealgateError
from sealgate.auth.v1 import browser_session_pb2, identity_pb2
from sealgate.common.v1 import method_rule_pb2
from tests.contract.edge_harness import (
    CREATE_BROWSER_SESSION,
    CREATE_WALLET,
    EXCHANGE,
    LIST_WALLETS,
    PLACE_ORDER,
    Reply,
    RunningEdge,
    answers,
    assert_error,
    make_impatient,
    replies,
    running_edge,
)
from tests.signing_support import key_pair, payload, request_id_at, sign_payload

PAGE: Final = "https://shop.example"
LET: Final = {"access-control-allow-origin": PAGE}
EXPOSED: Final = (
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, "
    "Retry-After, X-Request-Id"
)
PREFLIGHT: Final = f"Origin: {PAGE}\nAccess-Control-Request-Method: POST"
SIGNED: Final = sign_payload(
    key_pair("edge"),
    "edge.test",
    "0199d3a1-6e2b-7c4d-8f10-0000000000b2",
    payload(1, request_id_at(1_772_357_400 * 10**9), b"\x08\x01"),
)
KEY: Final = f"X-API-KEY: sk_abc\nOrigin: {PAGE}"


@pytest.fixture(scope="module")
def serving(short_directory: Path) -> Iterator[RunningEdge]:
    """One edge for this module."""
    with running_edge(short_directory / "edge-cors", make_impatient) as running:
        yield running


@pytest.fixture
def edge(serving: RunningEdge) -> RunningEdge:
    """The edge, with services that have no script and no memory."""
    serving.backend.forget()
    return serving


def sharing(reply: Reply) -> tuple[str | None, str | None, str | None]:
    """Who may read an answer, which headers of it, and what caches are told."""
    assert "access-control-allow-credentials" not in reply.headers
    return (
        reply.headers.get("access-control-allow-origin"),
        reply.headers.get("access-control-expose-headers"),
        reply.headers.get("vary"),
    )


EVERY_PAGE: Final = ("*", EXPOSED, None)
THE_PAGE: Final = (PAGE, EXPOSED, "Origin")
NO_PAGE: Final = (None, None, "Origin")


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/wallets",
        "/api/v1/sessions",
        "/api/v1/project",
        "/api/v1/trading/order/place",
        "/api/v1/login",
        "/api/v1/time",
        "/healthz",
        "/no/such/path?at=all",
        "/%zz",
        "*",
        "/api/v1/wallet/" + "x" * 8_000,
    ],
)
def test_preflight_is_answered_whatever_its_path(edge: RunningEdge, target: str) -> None:
    """No path is looked up, no credential looked at and nobody asked; the answer is under an id."""
    reply = edge.ask(f"OPTIONS {target}\n{PREFLIGHT}\nX-API-KEY: a\nAuthorization: Bearer b")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
    assert reply.headers["access-control-max-age"] == "600"
    allowed = reply.headers["access-control-allow-headers"].lower().split(", ")
    assert {"x-session-token", "x-signature", "authorization"} <= set(allowed)
    assert "x-project-api-key" not in allowed
    assert sharing(reply) == (PAGE, None, "Origin")
    assert {"x-request-id", "vary"} < set(reply.headers)
    assert "content-length" not in reply.headers
    assert edge.backend.calls == []


def test_preflights_leave_their_connection_open(edge: RunningEdge) -> None:
    """A browser asks and then sends, over one connection."""
    ask = "\r\n".join(["OPTIONS /api/v1/wallets HTTP/1.1", "host: e", *PREFLIGHT.splitlines(), "", ""])
    with edge.connect() as connection:
        stream = replies(connection)
        for _ in range(2):
            connection.sendall(ask.encode())
            assert next(stream).status == 204
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n")
        assert next(stream).status == 200
        assert next(stream, None) is None


def test_preflight_is_logged_without_its_path(edge: RunningEdge) -> None:
    """It leaves the line that every request leaves, and nothing of what it was sent with."""
    with edge.logged() as lines:
        reply = edge.ask(f"OPTIONS /planted?planted\n{PREFLIGHT}\nX-Session-Token: planted")
    (line,) = (line for line in lines if reply.headers["x-request-id"] in line)
    assert '"status":204' in line
    assert "planted" not in "\n".join(lines)


@pytest.mark.parametrize(
    "headers",
    [
        "",
        f"Origin: {PAGE}",
        "Access-Control-Request-Method: GET",
        *(
            f"Origin: {origin}\nAccess-Control-Request-Method: GET"
            for origin in (
                "null",
                "https://SHOP.example",
                "https://shop.example/",
                "https://shop.example:443",
                "https://shop.example https://other.example",
                "https://" + "a" * 30_000,
            )
        ),
        f"Origin: {PAGE}\nOrigin: {PAGE}\nAccess-Control-Request-Method: GET",
    ],
)
@pytest.mark.parametrize(
    ("path", "code"), [("/api/v1/wallets", Code.METHOD_NOT_ALLOWED), ("/nothing", Code.ROUTE_NOT_FOUND)]
)
def test_options_that_is_no_preflight_is_an_unknown_verb(
    edge: RunningEdge, headers: str, path: str, code: Code
) -> None:
    """No origin, one that no browser writes, or two: the path answers as to any other verb."""
    reply = edge.ask(f"OPTIONS {path}\n{headers}")
    assert_error(reply, code)
    assert sharing(reply) == EVERY_PAGE
    assert reply.headers.get("allow") == ("GET, HEAD" if code is Code.METHOD_NOT_ALLOWED else None)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /healthz", 200),
        ("HEAD /healthz", 200),
        ("GET /openapi.json", 200),
        ("GET /docs\nIf-None-Match: *", 304),
        ("GET /.well-known/jwks.json", 200),
        ("GET /.well-known/jwks.json?no=such", 400),
        ("GET /nothing", 404),
        ("GET /api/v1/wallet/%zz", 404),
        ("PATCH /api/v1/wallets", 405),
        ("POST /healthz", 405),
    ],
)
@pytest.mark.parametrize("headers", ["", f"\nOrigin: {PAGE}", "\nOrigin: null", f"\n{KEY}"])
def test_answer_that_needs_no_credential_is_for_every_page(
    edge: RunningEdge, head: str, status: int, headers: str
) -> None:
    """Open routes, the edge's own pages and answers of no route, whoever asks and whatever is shown."""
    with edge.connect() as connection:
        lines = [f"{line}\r\n" for line in f"{head}{headers}".splitlines()]
        request = lines[0].rstrip() + " HTTP/1.1\r\nhost: e\r\nconnection: close\r\n" + "".join(lines[1:])
        connection.sendall(request.encode() + b"\r\n")
        has_body = not head.startswith("HEAD") and status != 304
        reply = _only(connection, has_body=has_body)
    assert reply.status == status
    assert sharing(reply) == EVERY_PAGE


def _only(connection: socket.socket, *, has_body: bool) -> Reply:
    (reply,) = replies(connection, to_head=not has_body)
    return reply


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /api/v1/wallets HTTP/1.1\r\nhost: e\r\nx-api-key: " + b"a" * 33_000 + b"\r\n\r\n", 431),
        (b"OPTIONS / HTTP/1.1\r\nhost: e\r\norigin: https://" + b"a" * 33_000 + b"\r\n\r\n", 431),
        (b"PUT /api/v1/wallet/w HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_refusal_before_a_route_is_known_is_for_every_page(
    edge: RunningEdge, sent: bytes, status: int
) -> None:
    """What is no request of anybody tells nothing of anybody, so a page may read what was wrong with it."""
    (reply,) = edge.send(sent)
    assert reply.status == status
    assert sharing(reply) == EVERY_PAGE


@pytest.mark.parametrize("origin", [PAGE, "null", "https://other.example"])
def test_answer_to_nobody_in_particular_is_for_no_page(edge: RunningEdge, origin: str) -> None:
    """Where no service knows the credential, or there is none, no page learns the answer."""
    unknown = edge.ask(f"GET /api/v1/wallets\nOrigin: {origin}")
    assert_error(unknown, Code.API_KEY_REQUIRED)
    answers(edge, EXCHANGE, SealgateError(Code.API_KEY_INVALID))
    invalid = edge.ask(f"GET /api/v1/wallets\nOrigin: {origin}\nX-API-KEY: sk_abc")
    assert_error(invalid, Code.API_KEY_INVALID)
    twice = edge.ask(f"GET /api/v1/wallets\nOrigin: {origin}\nX-API-KEY: a\nX-DEVICE-KEY: b")
    assert_error(twice, Code.CREDENTIAL_AMBIGUOUS)
    assert [sharing(reply) for reply in (unknown, invalid, twice)] == [NO_PAGE] * 3


def test_answer_to_a_server_names_no_page(edge: RunningEdge) -> None:
    """Without an origin nobody is let in, and caches still learn that it would depend on one."""
    reply = edge.ask("GET /api/v1/wallets\nX-API-KEY: sk_abc")
    assert reply.status == 200
    assert sharing(reply) == NO_PAGE


@pytest.mark.parametrize(
    "code",
    [
        Code.API_KEY_REVOKED,
        Code.API_KEY_EXPIRED,
        Code.SESSION_EXPIRED,
        Code.TENANT_SUSPENDED,
        Code.ACCOUNT_SUSPENDED,
        Code.RATE_LIMITED,
        Code.UNAVAILABLE,
    ],
)
def test_refusal_of_a_recognised_credential_is_for_its_page(edge: RunningEdge, code: Code) -> None:
    """What auth says of a credential that it knows is read by the pages that the credential is for."""
    answers(edge, EXCHANGE, SealgateError(code, retry_after_seconds=7))
    edge.backend.answer_headers[EXCHANGE] = LET
    reply = edge.ask(f"GET /api/v1/wallets\n{KEY}")
    assert_error(reply, code)
    assert sharing(reply) == THE_PAGE
    assert edge.backend.of(LIST_WALLETS) == []


@pytest.mark.parametrize(
    "code",
    [
        Code.VALIDATION_ERROR,
        Code.SESSION_REQUIRED,
        Code.SCOPE_NOT_GRANTED,
        Code.WALLET_NOT_FOUND,
        Code.WALLET_LIMIT_REACHED,
        Code.RATE_LIMITED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
    ],
)
@pytest.mark.parametrize("says", [EXCHANGE, CREATE_WALLET])
def test_refusal_of_a_service_is_for_the_page_that_either_names(
    edge: RunningEdge, code: Code, says: str
) -> None:
    """Auth names the page, or the service does: once named it may read how the request ended."""
    answers(edge, CREATE_WALLET, SealgateError(code))
    edge.backend.answer_headers[says] = LET
    reply = edge.post("/api/v1/wallet", b"{}", *KEY.splitlines())
    assert_error(reply, code)
    assert sharing(reply) == THE_PAGE


def test_answer_with_its_limits_is_for_its_page(edge: RunningEdge) -> None:
    """A listed page reads the answer and every header that is promised to it."""
    edge.backend.answer_headers[LIST_WALLETS] = LET | {"x-ratelimit-limit": "300", "ratelimit": '"read";r=1'}
    reply = edge.ask(f"GET /api/v1/wallets\n{KEY}")
    assert (reply.status, reply.headers["x-ratelimit-limit"]) == (200, "300")
    assert sharing(reply) == THE_PAGE


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", ("content-length: 1",), Code.VALIDATION_ERROR),
        (b"{}", ("content-length: 2", "content-encoding: gzip"), Code.UNSUPPORTED_MEDIA_TYPE),
        (b"", ("content-length: 65537",), Code.PAYLOAD_TOO_LARGE),
        (b"%x\r\n%s\r\n" % (70_000, b" " * 70_000), ("transfer-encoding: chunked",), Code.PAYLOAD_TOO_LARGE),
        (b"{", ("content-length: 2",), Code.DEADLINE_EXCEEDED),
    ],
    ids=["not JSON", "another coding", "announced", "counted", "never whole"],
)
def test_refused_body_of_a_recognised_key_is_for_its_page(
    edge: RunningEdge, body: bytes, headers: tuple[str, ...], code: Code
) -> None:
    """A page reads what was wrong with its body as it reads any refusal, limits included."""
    edge.backend.answer_headers[CREATE_WALLET] = LET | {"x-ratelimit-remaining": "58"}
    head = "\n".join(("POST /api/v1/wallet", "content-type: application/json", *KEY.splitlines(), *headers))
    reply = edge.ask(head, body)
    assert reply.code == code.value
    assert (sharing(reply), reply.headers["x-ratelimit-remaining"]) == (THE_PAGE, "58")


def test_outage_behind_a_recognised_key_is_for_its_page(edge: RunningEdge) -> None:
    """A page can tell that a service is away from not being let in."""
    edge.backend.answer_headers[EXCHANGE] = LET
    ask = f"GET /api/v1/wallets\n{KEY}"
    edge.run(edge.stop_server("wallet"))
    away = edge.ask(ask)
    edge.run(edge.start_server("wallet"))
    deadline = time.monotonic() + 20
    while (reply := edge.ask(ask)).status != 200 and time.monotonic() < deadline:
        pass
    assert (away.status, reply.status) == (503, 200)
    assert [sharing(answer) for answer in (away, reply)] == [THE_PAGE] * 2


def test_signed_request_is_for_the_page_that_its_service_names(edge: RunningEdge) -> None:
    """The page's origin goes along with what was signed, and the service says whether it may read."""
    lines = (f"origin: {PAGE}", "x-session-token: of nobody")
    refused = edge.post("/api/v1/trading/order/place", b"{", *lines)
    assert (refused.status, sharing(refused)) == (400, NO_PAGE)
    edge.backend.answer_headers[PLACE_ORDER] = LET
    reply = edge.post("/api/v1/trading/order/place", json.dumps(SIGNED.json).encode(), *lines)
    assert (reply.status, sharing(reply)) == (200, THE_PAGE)
    (call,) = edge.backend.of(PLACE_ORDER)
    assert call.metadata["origin"] == PAGE
    assert "x-session-token" not in call.metadata


def test_browser_session_is_made_for_a_page(edge: RunningEdge) -> None:
    """The token and its end come in the envelope of browser routes, with lowerCamel members."""
    made = browser_session_pb2.CreateBrowserSessionResponse(session_token="a.b.c")
    made.expires_at.seconds = 1_767_229_200
    answers(edge, CREATE_BROWSER_SESSION, made)
    edge.backend.answer_headers[CREATE_BROWSER_SESSION] = LET
    reply = edge.ask(f"POST /api/v1/sessions\nAuthorization: Bearer sk_abc\nOrigin: {PAGE}")
    assert reply.status == 201
    assert reply.json == {"data": {"sessionToken": "a.b.c", "expiresAt": "2026-01-01T01:00:00Z"}}
    assert reply.headers["cache-control"] == "no-store"
    assert sharing(reply) == THE_PAGE
    (exchange,) = edge.backend.of(EXCHANGE)
    assert exchange.request == identity_pb2.ExchangeCredentialRequest(
        kind=method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY, credential="sk_abc", origin=PAGE
    )
    answers(edge, CREATE_BROWSER_SESSION, SealgateError(Code.ORIGIN_NOT_ALLOWED))
    refused = edge.ask(f"POST /api/v1/sessions\nAuthorization: Bearer sk_abc\nOrigin: {PAGE}")
    assert set(refused.json) == {"error", "request_id"}


@pytest.mark.parametrize(
    ("ask", "headers", "taken"),
    [
        ("POST /api/v1/wallet", f"X-API-KEY: sk_a\nOrigin: {PAGE}", True),
        ("POST /api/v1/wallet", f"Authorization: Bearer sk_a\nOrigin: {PAGE}", True),
        ("POST /api/v1/wallet", "X-API-KEY: sk_a", False),
        ("POST /api/v1/wallet", f"Authorization: Bearer a.b.c\nOrigin: {PAGE}", False),
        ("GET /api/v1/wallets", f"X-API-KEY: sk_a\nOrigin: {PAGE}", False),
        ("GET /api/v1/wallets", f"X-DEVICE-KEY: dk_a\nOrigin: {PAGE}", False),
    ],
)
def test_page_token_goes_with_a_pages_key_to_the_exchange_alone(
    edge: RunningEdge, ask: str, headers: str, *, taken: bool
) -> None:
    """Auth sees it beside an API key that writes from a page; nothing else does, and no line of the log."""
    with edge.logged() as lines:
        reply = edge.ask(
            f"{ask}\n{headers}\nX-Session-Token: planted.page.token\n"
            "Sealgate-Session-Token: forged\nAccess-Control-Allow-Origin: https://forged.example"
        )
    assert reply.status in (200, 201)
    exchange, call = edge.backend.calls
    assert exchange.method == EXCHANGE
    assert exchange.request.session_token == ("planted.page.token" if taken else "")
    assert exchange.request.HasField("session_token") == taken
    for seen in (exchange, call):
        assert not {"x-session-token", "sealgate-session-token", *LET} & set(seen.metadata)
    assert not any(b"planted" in str(value).encode() for value in call.metadata.values())
    assert "planted" not in "\n".join(lines)
    assert sharing(reply) == NO_PAGE


@pytest.mark.parametrize(
    ("headers", "code", "challenge"),
    [
        ("X-API-KEY: sk_a", Code.SESSION_REQUIRED, 'BrowserSession realm="sealgate"'),
        ("X-API-KEY: sk_a", Code.SESSION_EXPIRED, 'BrowserSession realm="sealgate", error="invalid_token"'),
        (
            "Authorization: Bearer sk_a",
            Code.SESSION_INVALID,
            'BrowserSession realm="sealgate", error="invalid_token"',
        ),
        (
            "Authorization: Bearer a.b.c",
            Code.SESSION_EXPIRED,
            'Bearer realm="sealgate", error="invalid_token"',
        ),
        ("X-API-KEY: sk_a", Code.API_KEY_REVOKED, 'Bearer realm="sealgate", error="invalid_token"'),
    ],
)
def test_challenge_names_the_credential_that_is_missing(
    edge: RunningEdge, headers: str, code: Code, challenge: str
) -> None:
    """A page whose key is good is asked for a browser session, and not for another bearer token."""
    answers(edge, CREATE_WALLET, SealgateError(code))
    reply = edge.post("/api/v1/wallet", b"{}", f"Origin: {PAGE}", "X-Session-Token: x", headers)
    assert_error(reply, code)
    assert reply.headers["www-authenticate"] == challenge

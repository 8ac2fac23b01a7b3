"""Bodies at the edge: what is read of them, for how long, and who is told what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from chassis.errors import Code, Detail, SealgateError
from tests.contract.edge_harness import (
    CREATE_ACCOUNT,
    CREATE_WALLET,
    EXCHANGE,
    UPDATE_WALLET,
    RunningEdge,
    answers,
    assert_error,
    make_impatient,
    running_edge,
)

BODY_MAX_BYTES: Final = 64 * 1024


@pytest.fixture(scope="module")
def serving(short_directory: Path) -> Iterator[RunningEdge]:
    """One edge for this module."""
    with running_edge(short_directory / "edge-bodies", make_impatient) as running:
        yield running


@pytest.fixture
def edge(serving: RunningEdge) -> RunningEdge:
    """The edge, with services that have no script and no memory."""
    serving.backend.forget()
    return serving


@pytest.mark.parametrize(
    ("body", "headers", "code", "detail"),
    [
        (b"{", (), Code.VALIDATION_ERROR, Detail("body", "must be JSON as RFC 8259 writes it")),
        (b'{"x":1}', (), Code.VALIDATION_ERROR, Detail("x", "is not known here")),
        (b"{}", ("content-encoding: gzip",), Code.UNSUPPORTED_MEDIA_TYPE, None),
        (b"{}", ("content-type: text/plain",), Code.UNSUPPORTED_MEDIA_TYPE, None),
    ],
)
def test_body_is_refused_when_it_is_not_what_the_method_takes(
    edge: RunningEdge, body: bytes, headers: tuple[str, ...], code: Code, detail: Detail | None
) -> None:
    """A wrong body is refused with its path, and the service gets nothing of it but the refusal."""
    reply = edge.post("/api/v1/project/account", body, "x-project-api-key: sk_p", *headers)
    assert_error(reply, code, *([detail] if detail else []))
    (call,) = edge.backend.of(CREATE_ACCOUNT)
    assert call.refusal is not None
    assert (call.refusal.code, call.request.ByteSize()) == (code, 0)


@pytest.mark.parametrize(
    "request_text",
    [
        "content-type: application/json\r\ncontent-length: 1\r\n\r\n{",
        "content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}",
        f"content-length: {BODY_MAX_BYTES + 1}\r\n\r\n",
        "content-length: 10\r\n\r\n{",
    ],
    ids=["not JSON", "another type", "too large", "never whole"],
)
def test_credential_is_judged_before_the_body(edge: RunningEdge, request_text: str) -> None:
    """Who may not ask is not told what would be wrong with the question."""
    answers(edge, EXCHANGE, SealgateError(Code.API_KEY_INVALID))
    head = "POST /api/v1/wallet HTTP/1.1\r\nhost: e\r\nconnection: close\r\nx-api-key: sk_a\r\n"
    (reply,) = edge.send((head + request_text).encode())
    assert_error(reply, Code.API_KEY_INVALID)
    assert edge.backend.of(CREATE_WALLET) == []


@pytest.mark.parametrize(
    "request_text", ["content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}", "content-length: 10\r\n\r\n{"]
)
def test_refused_body_of_an_open_route_reaches_no_service(edge: RunningEdge, request_text: str) -> None:
    """Where nobody has to be known the edge refuses by itself what it cannot read."""
    head = "GET /api/v1/markets HTTP/1.1\r\nhost: e\r\nconnection: close\r\n"
    (reply,) = edge.send((head + request_text).encode())
    assert reply.code in (Code.UNSUPPORTED_MEDIA_TYPE.value, Code.DEADLINE_EXCEEDED.value)
    assert edge.backend.calls == []


def test_body_that_does_not_come_ends_at_the_deadline(edge: RunningEdge) -> None:
    """A client that sends slowly has the route's time and no more; the service that tells it so counts it."""
    head = b"PUT /api/v1/wallet/w1 HTTP/1.1\r\nhost: e\r\nx-api-key: a\r\ncontent-length: 10\r\n\r\n{"
    (reply,) = edge.send(head)
    assert_error(reply, Code.DEADLINE_EXCEEDED)
    assert reply.headers["connection"] == "close"
    (call,) = edge.backend.of(UPDATE_WALLET)
    assert call.refusal is not None
    assert (call.refusal.code, call.request.ByteSize()) == (Code.DEADLINE_EXCEEDED, 0)


@pytest.mark.parametrize("size", [BODY_MAX_BYTES, BODY_MAX_BYTES + 1])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_is_too_large_beyond_its_limit(edge: RunningEdge, size: int, chunked: bool) -> None:
    """A body is bounded, whether its length was announced or has to be counted."""
    body = b'{"name":"' + b"x" * (size - 11) + b'"}'
    head = "PUT /api/v1/wallet/w1\nx-api-key: a\ncontent-type: application/json\n"
    if chunked:
        parts = [body[start : start + 1000] for start in range(0, size, 1000)]
        framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        reply = edge.ask(head + "transfer-encoding: chunked", framed)
    else:
        reply = edge.ask(head + f"content-length: {size}", body)
    if size > BODY_MAX_BYTES:
        assert_error(reply, Code.PAYLOAD_TOO_LARGE)
        (call,) = edge.backend.of(UPDATE_WALLET)
        assert call.refusal is not None
        assert (call.refusal.code, call.request.ByteSize()) == (Code.PAYLOAD_TOO_LARGE, 0)
    else:
        assert reply.status == 200
        assert len(edge.backend.of(UPDATE_WALLET)[0].request.name) == size - 11


def test_body_is_too_large_as_soon_as_it_is_announced(edge: RunningEdge) -> None:
    """What would be too large is neither asked for nor waited for, whoever sends it."""
    head = f"PUT /api/v1/wallet/w1\nx-api-key: a\nexpect: 100-continue\ncontent-length: {BODY_MAX_BYTES + 1}"
    assert_error(edge.ask(head), Code.PAYLOAD_TOO_LARGE)


def test_slow_bodies_take_no_place_from_others(edge: RunningEdge) -> None:
    """More clients than there are places, all sending slowly, keep nobody else out."""
    head = b"PUT /api/v1/wallet/w1 HTTP/1.1\r\nhost: e\r\nx-api-key: a\r\ncontent-length: 10\r\n\r\n{"
    slow = [edge.connect() for _ in range(3)]
    try:
        for connection in slow:
            connection.sendall(head)
        assert edge.ask("GET /api/v1/wallets\nx-api-key: a").status == 200
    finally:
        for connection in slow:
            connection.close()

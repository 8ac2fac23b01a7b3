"""What the edge reads of a request's headers."""

from __future__ import annotations

from uuid import UUID

import pytest

from chassis.errors import Code, SealgateError
from edge.headers import RequestHeaders

PEER = "203.0.113.9"


def headers(*pairs: tuple[str, str]) -> RequestHeaders:
    """A request's headers, as the HTTP server hands them over."""
    return RequestHeaders([(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs])


@pytest.mark.parametrize(
    ("forwarded", "hops", "address"),
    [
        ([], 0, PEER),
        (["198.51.100.1"], 0, PEER),
        (["198.51.100.1"], 1, "198.51.100.1"),
        (["6.6.6.6, 198.51.100.1"], 1, "198.51.100.1"),
        (["6.6.6.6, 198.51.100.1, 10.0.0.1"], 2, "198.51.100.1"),
        (["6.6.6.6", "198.51.100.1", "10.0.0.1"], 2, "198.51.100.1"),
        (["2001:DB8::1"], 1, "2001:db8::1"),
        ([], 1, PEER),
        (["198.51.100.1"], 2, PEER),
        (["unknown"], 1, PEER),
        (["198.51.100.1:80"], 1, PEER),
        (["198.51.100.1,"], 1, PEER),
    ],
)
def test_client_address_is_counted_from_the_right(forwarded: list[str], hops: int, address: str) -> None:
    """Only what our own proxies wrote is believed; the leftmost entry is the client's own story."""
    request = headers(*(("x-forwarded-for", value) for value in forwarded))
    assert request.client_address(PEER, hops) == address


@pytest.mark.parametrize(
    ("values", "request_id"),
    [
        (["0189abcd-0000-7000-8000-000000000001"], UUID("0189abcd-0000-7000-8000-000000000001")),
        ([" 0189ABCD-0000-7000-8000-000000000001 "], UUID("0189abcd-0000-7000-8000-000000000001")),
        ([], None),
        ([""], None),
        (["not-a-uuid"], None),
        (["{0189abcd-0000-7000-8000-000000000001}"], None),
        (["0189abcd-0000-7000-8000-000000000001", "0189abcd-0000-7000-8000-000000000001"], None),
    ],
)
def test_request_id_is_taken_when_it_is_a_uuid(values: list[str], request_id: UUID | None) -> None:
    """A caller's id is kept if it is one UUID, and is otherwise nobody's."""
    assert headers(*(("x-request-id", value) for value in values)).request_id() == request_id


def test_user_agent_is_cut() -> None:
    """A client's name for itself is bounded."""
    assert headers(("user-agent", "a" * 1000)).user_agent() == "a" * 512
    assert headers().user_agent() == ""


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json ; charset="UTF-8"',
    ],
)
def test_body_is_taken_when_it_is_said_to_be_json(content_type: str) -> None:
    """JSON in UTF-8, in every spelling of it."""
    headers(("content-type", content_type)).require_json()


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("content-type", "")],
        [("content-type", "text/plain")],
        [("content-type", "application/x-www-form-urlencoded")],
        [("content-type", "application/json; charset=latin-1")],
        [("content-type", "application/json; boundary=x")],
        [("content-type", "application/jsonx")],
        [("content-type", "application/json"), ("content-type", "application/json")],
        [("content-type", "application/json"), ("content-encoding", "gzip")],
    ],
)
def test_body_is_refused_when_it_is_said_to_be_something_else(pairs: list[tuple[str, str]]) -> None:
    """Anything but plain JSON in UTF-8 is an unsupported media type."""
    with pytest.raises(SealgateError) as refused:
        headers(*pairs).require_json()
    assert refused.value.code is Code.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    ("pairs", "announced", "length"),
    [
        ([], False, 0),
        ([("content-length", "0")], False, 0),
        ([("content-length", "12")], True, 12),
        ([("content-length", "00")], True, 0),
        ([("transfer-encoding", "chunked")], True, 0),
    ],
)
def test_body_is_announced_by_length_or_chunks(
    pairs: list[tuple[str, str]], announced: bool, length: int
) -> None:
    """Whether to wait for a body is told from the headers."""
    assert (headers(*pairs).announces_body(), headers(*pairs).body_bytes()) == (announced, length)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("x-api-key", "sk_abc", True),
        ("x-api-key", "", True),
        ("authorization", "Bearer sk_abc", True),
        ("authorization", "bearer  sk_abc", True),
        ("authorization", "Bearer a.b.c", False),
        ("authorization", "Basic sk_abc", False),
        ("x-project-api-key", "sk_abc", False),
        ("x-session-token", "a.b.c", False),
    ],
)
def test_api_key_is_told_from_other_credentials(name: str, value: str, *, shown: bool) -> None:
    """Both headers that carry one count, and no other."""
    assert headers((name, value)).shows_api_key() is shown

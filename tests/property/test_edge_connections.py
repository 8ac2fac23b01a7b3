"""Whatever bytes a connection carries, however they are cut, the edge answers or refuses by name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.edge_harness import RunningEdge, running_edge


def hurry(document: dict[str, Any]) -> None:
    """Gives heads, bodies and idle connections little time."""
    listener = document["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["request_headers_timeout"] = "0.1s"
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route["route"]["timeout"] = "0.1s"


@pytest.fixture(scope="module")
def hurried_edge(short_directory: Path) -> Iterator[RunningEdge]:
    """An edge that is soon tired of waiting for bytes, and of work."""
    directory = short_directory / "edge-hurried"
    with running_edge(directory, hurry) as running:
        yield running


@pytest.fixture(scope="module")
def edge(short_directory: Path) -> Iterator[RunningEdge]:
    """An edge as it is."""
    directory = short_directory / "edge-property"
    with running_edge(directory) as running:
        yield running


WORDS: Final = (
    *(b"GET ", b"POST ", b"/", b"/api/v1/wallets", b"/api/v1/project/account", b"?limit=1", b"%00"),
    *(b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"host: e", b"x-api-key: a", b"content-length: ", b"2", b"{}"),
    *(b'{"metadata":1}', b"transfer-encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n", b"\0", b":", b"\xff"),
    *(b"content-type: application/json", b"connection: close", b"expect: 100-continue", b"x-request-id: "),
)
words = st.sampled_from(WORDS)
streams = st.lists(words | st.binary(max_size=8), max_size=14).map(b"".join)
requests = st.builds(
    b"POST /api/v1/project/account HTTP/1.1\r\nhost: e\r\nconnection: close\r\n%s\r\n%s\r\n%s".__mod__,
    st.tuples(streams.map(lambda text: text.replace(b"\r\n", b"")), st.just(b""), streams),
)


@settings(max_examples=60, deadline=None)
@given(streams | requests)
def test_any_bytes_are_answered_without_an_internal_error(hurried_edge: RunningEdge, stream: bytes) -> None:
    """No bytes make the edge fail: every answer is one of the error table, and none is INTERNAL."""
    with hurried_edge.connect() as connection:
        connection.sendall(stream)
        connection.shutdown(1)
        answer = connection.makefile("rb").read()
    assert b"HTTP/1.1 500" not in answer
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")


GOOD = (
    b"POST /api/v1/project/account HTTP/1.1\r\nhost: e\r\nx-project-api-key: sk_a\r\nx-request-id: z\r\n"
    b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    b'c\r\n{"metadata":\r\n8;x=y\r\n{"a":1}}\r\n0\r\ntrailer: t\r\n\r\n'
    b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: e\r\nconnection: close\r\n\r\n"
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, len(GOOD) - 1), max_size=8).map(sorted))
def test_requests_are_understood_however_they_are_cut(edge: RunningEdge, cuts: list[int]) -> None:
    """Where the network cuts the bytes makes no difference to the answers."""
    bounds = [0, *cuts, len(GOOD)]
    chunks = [GOOD[start:end] for start, end in pairwise(bounds) if start < end]
    edge.backend.calls.clear()
    assert [reply.status for reply in edge.send(*chunks)] == [201, 200]

"""Whatever is sent, routing and translation answer or refuse; what was taken comes back as it was."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Code, SealgateError
from chassis.rpc.credentials import collect_credential
from edge.config import SERVICES
from edge.headers import RequestHeaders
from edge.present import answer_encoder
from edge.routes import RouteTable, load_methods, variable_names
from edge.translate import Decode, request_decoder
from tests.unit.edge_support import DESCRIPTOR, sample_method

METHODS: Final = load_methods(DESCRIPTOR, [name for names in SERVICES.values() for name in names])


def routes() -> RouteTable[str]:
    """Everything that is served."""
    table = RouteTable[str]()
    for method in METHODS:
        for binding in method.bindings:
            table.add(binding.verb, binding.template, method.full_name)
    return table


def outcome_of(action: Callable[[], Any]) -> tuple[Any, SealgateError | None]:
    """What an action returned, or the refusal it raised; anything else it raises fails the test."""
    try:
        return action(), None
    except SealgateError as error:
        return None, error


TABLE: Final = routes()
DECODERS: Final[list[tuple[int, Decode]]] = [
    (
        len(variable_names(binding.template)),
        request_decoder(method, binding, variable_names(binding.template)),
    )
    for method in METHODS
    for binding in method.bindings
]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Decode, Callable[[Message], bytes]]:
    """Decoder and encoder of a message with every kind of field."""
    path = tmp_path_factory.mktemp("sample") / "sample.binpb"
    method = sample_method(path, {"post": "/sample/{item_id}", "body": "*"})
    return request_decoder(method, method.bindings[0], ("item_id",)), answer_encoder(method)


segments = st.sampled_from(
    [
        b"api",
        b"v1",
        b"wallet",
        b"wallets",
        b"pol",
        b"project",
        b"account",
        b"api-key",
        b"x",
        b"",
        b"%2F",
        b"..",
    ]
)
paths = st.lists(segments, max_size=9).map(b"/".join) | st.binary(max_size=60)
verbs = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", ""])


@settings(deadline=None)
@given(verbs, paths)
def test_any_path_is_served_or_refused(verb: str, path: bytes) -> None:
    """No verb and path do anything but match, be unknown, or be known for other verbs."""
    _, refusal = outcome_of(lambda: TABLE.match(verb, path))
    assert refusal is None or refusal.code in (Code.ROUTE_NOT_FOUND, Code.METHOD_NOT_ALLOWED)


field_names = st.sampled_from(
    ["metadata", "name", "scopes", "origins", "status", "expires_at", "subaccount_index", "session_policy"]
)
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=10)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | field_names, inner, max_size=4),
    max_leaves=20,
)
bodies = (
    st.binary(max_size=100)
    | values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(field_names | texts, values, max_size=5).map(lambda value: json.dumps(value).encode())
)
queries = st.binary(max_size=60) | st.lists(
    st.tuples(st.sampled_from([b"limit", b"offset", b"x", b"%6c"]), st.binary(max_size=12)), max_size=4
).map(lambda pairs: b"&".join(name + b"=" + value for name, value in pairs))


@settings(deadline=None)
@given(st.sampled_from(DECODERS), queries, bodies)
def test_any_query_and_body_are_translated_or_refused(
    decoder: tuple[int, Decode], query: bytes, body: bytes
) -> None:
    """Whatever is sent becomes a request that can be sent on, or a VALIDATION_ERROR with a path."""
    count, decode = decoder
    message, refusal = outcome_of(lambda: decode(["x"] * count, query, body))
    if refusal is None:
        message.SerializeToString()
    else:
        assert refusal.code is Code.VALIDATION_ERROR
        assert [detail for detail in refusal.details if detail.path and detail.message]


@settings(deadline=None)
@given(bodies)
def test_any_body_of_every_kind_of_field_is_translated_or_refused(
    sample: tuple[Decode, Callable[[Message], bytes]], body: bytes
) -> None:
    """What was taken can be sent on and printed again."""
    decode, encode = sample
    message, refusal = outcome_of(lambda: decode(["x"], b"", body))
    if refusal is None:
        json.loads(encode(type(message).FromString(message.SerializeToString())))
    else:
        assert refusal.code is Code.VALIDATION_ERROR


header_names = st.sampled_from(
    [
        b"x-api-key",
        b"authorization",
        b"origin",
        b"x-request-id",
        b"content-type",
        b"content-length",
        b"user-agent",
        b"x-forwarded-for",
        b"transfer-encoding",
        b"x-project-api-key",
    ]
)


@settings(deadline=None)
@given(st.lists(st.tuples(header_names, st.binary(max_size=50)), max_size=6), st.integers(0, 3))
def test_any_headers_are_read_or_refused(pairs: list[tuple[bytes, bytes]], hops: int) -> None:
    """No header makes anything but an answer of the error table."""
    headers = RequestHeaders(pairs)
    headers.request_id()
    headers.user_agent()
    assert headers.client_address("peer", hops)
    assert headers.body_bytes() >= 0
    headers.announces_body()
    for read in (headers.require_json, lambda: collect_credential(headers.pairs, METHODS[0])):
        _, refusal = outcome_of(read)
        assert refusal is None or refusal.row.http_status < 500


good_text = st.text(st.characters(codec="utf-8"), max_size=12)
doubles = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
struct_values = st.recursive(
    st.none() | st.booleans() | good_text | doubles,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(good_text, inner, max_size=3),
    max_leaves=12,
)
# From the first second of year 1 to the last of year 9999.
moments = st.integers(-62_135_596_800, 253_402_300_799).map(
    lambda seconds: f"{datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}Z".zfill(
        20
    )
)
inners = st.fixed_dictionaries({"name_text": good_text})
documents = st.fixed_dictionaries(
    {
        "text": good_text,
        "flag": st.booleans(),
        "small": st.integers(-(2**31), 2**31 - 1),
        "count": st.integers(0, 2**32 - 1),
        "big": st.integers(-(2**63), 2**63 - 1),
        "huge": st.integers(0, 2**64 - 1),
        "amount": st.decimals(allow_nan=False, allow_infinity=False, places=6).map(
            lambda number: f"{number:f}"
        ),
        "raw": st.binary(max_size=20).map(lambda raw: base64.b64encode(raw).decode()),
        "side": st.sampled_from(["BUY", "SELL"]),
        "moment": moments,
        "data": st.dictionaries(good_text, struct_values, max_size=4),
        "listed": st.lists(struct_values, max_size=4),
        "any_value": struct_values.filter(lambda value: value is not None),
        "inner": inners,
        "tags": st.lists(good_text, max_size=3),
        "inners": st.lists(inners, max_size=3),
        "labels": st.dictionaries(good_text, good_text, max_size=3),
        "nodes": st.dictionaries(good_text, inners, max_size=3),
        "maybe_text": st.none() | good_text,
        "maybe_big": st.none() | st.integers(-(2**63), 2**63 - 1),
    }
)


@settings(deadline=None)
@given(documents)
def test_document_survives_the_way_there_and_back(
    sample: tuple[Decode, Callable[[Message], bytes]], document: dict[str, Any]
) -> None:
    """JSON to message to bytes to message to JSON is the same document."""
    decode, encode = sample
    message = decode(["id"], b"", json.dumps(document).encode())
    again = type(message).FromString(message.SerializeToString())
    assert json.loads(encode(again)) == {"item_id": "id"} | document

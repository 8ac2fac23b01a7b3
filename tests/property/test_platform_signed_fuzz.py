"""Whatever is sent to a signed route: an answer of the contract, no 500, and never taken unless signed.

What is changed here is a good request by its right key, which unchanged would be accepted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Code
from chassis.methods import Method
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from edge.routes import variable_names
from tests.platform_support import private_cluster, sql
from tests.property.platform_shots import HEADER_VALUES, ODD_HEADERS, QUICK, TEXTS, in_url
from tests.property.test_platform_fuzz import is_answer
from tests.signed_cases import GOOD, Signed, World, make_world, sign
from tests.signing_support import SignedHeaders, SignedPayload, base64_of
from tests.signing_world import SIGNED_METHODS, answered

PAYLOAD_ROUTES: Final = [method for method in SIGNED_METHODS.values() if method.takes_payload]
HEADER_ROUTES: Final = [method for method in SIGNED_METHODS.values() if not method.takes_payload]
SIGNED_HEADERS: Final = ("X-ACCOUNT-ID", "X-PUBLIC-KEY", "X-SIGNATURE", "X-REQUEST-ID")
IN_BASE64: Final = ("payload", "signature", "public_key", "X-PUBLIC-KEY", "X-SIGNATURE")
# 400, 401, 403, 404 of a path that is none, 405, 413, 415, 429: whatever it is, not taken.
REFUSED: Final = range(400, 500)
# The refusals of what no key of the account has signed, or of a path that is none; any other would be
# about something else.
UNSIGNED: Final = {
    Code.ROUTE_NOT_FOUND,
    Code.MALFORMED_PAYLOAD,
    Code.UNSUPPORTED_VERSION,
    Code.VALIDATION_ERROR,
    Code.REQUEST_TIMESTAMP_SKEW,
    Code.SIGNATURE_INVALID,
}
NEAR_BYTES: Final = st.binary(max_size=80)


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[World]:
    async with private_cluster(template_databases, short_directory) as cluster:
        yield await make_world(cluster)


@pytest.fixture
async def untouched(world: World) -> AsyncIterator[World]:
    """The account, of which a test shall leave nothing changed."""
    before = await traces_of(world)
    yield world
    assert await traces_of(world) == before


async def traces_of(world: World) -> list[int]:
    """How many requests are on record, and how many keys there are."""
    counts = "SELECT (SELECT count(*) FROM request) AS requests, (SELECT count(*) FROM signer) AS signers"
    found = [await sql(world.signing.cluster, name, counts) for name in ("keys", "wallet")]
    return [number for [row] in found for number in row.values()]


def is_unsigned(answer: httpx.Response, verb: str, method: Method) -> None:
    """A refusal, and for want of a signature."""
    is_answer(answer, verb, method.envelope)
    assert answer.status_code in REFUSED, answer.text
    assert Code(answer.json()["error"]["code"]) in UNSIGNED, answer.text


@pytest.mark.parametrize("name", SIGNED_METHODS)
async def test_unspoilt_request_is_accepted_and_with_a_bit_changed_is_not(world: World, name: str) -> None:
    """What is changed below is good, and it is its signature that lets it in."""
    fresh = await make_world(world.signing.cluster)
    signed = sign(fresh, name)
    first = signed.signature[0] ^ 1
    spoilt = replace(signed, signature=bytes([first]) + signed.signature[1:])
    answer = await fresh.signing.deliver(name, spoilt)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "SIGNATURE_INVALID")
    answered(await fresh.signing.deliver(name, signed))


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Other bytes than `data`, most of them near to it."""
    how = draw(st.sampled_from(["bit", "cut", "more", "middle", "other"]))
    place = draw(st.integers(0, max(len(data) - 1, 0)))
    if how == "bit" and data:
        return data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]
    if how == "cut" and data:
        return data[:place]
    if how == "middle":
        return data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place:]
    if how == "more":
        return data + draw(st.binary(min_size=1, max_size=8))
    return draw(NEAR_BYTES.filter(lambda other: other != data))


@st.composite
def respelt(draw: st.DrawFn, text: str) -> str:
    """A text that might be read as the same, or has one character for another."""
    how = draw(st.sampled_from(["case", "braces", "hyphens", "padding", "alphabet", "character"]))
    if how == "character":
        # The last ones of base64 have bits to spare.
        place = draw(st.integers(0, len(text) - 1) | st.integers(max(len(text) - 3, 0), len(text) - 1))
        return text[:place] + draw(st.sampled_from("ABab019+/=-_")) + text[place + 1 :]
    return {
        "case": text.upper() if text.islower() else text.lower(),
        "braces": f"{{{text}}}",
        "hyphens": text.replace("-", ""),
        "padding": text.rstrip("=") if text.endswith("=") else f"{text}=",
        "alphabet": text.replace("+", "-").replace("/", "_"),
    }[how]


@st.composite
def spoilt(draw: st.DrawFn, part: str, text: str, spare: str, odd: st.SearchStrategy[str]) -> str:
    """Another text than `text`; `spare` is what another good request, by another key, has in its place."""
    near = changed(base64.b64decode(text)).map(base64_of) if part in IN_BASE64 else st.uuids().map(str) | odd
    return draw((near | respelt(text) | st.just(spare)).filter(lambda other: other != text))


def good_pair(world: World, name: str) -> tuple[Signed, Signed]:
    """A method's good request by its right key, and one that another key of the kind signed."""
    spare = {"master": world.spare_master, "session": world.spare_session}[GOOD[name](world).signer]
    return sign(world, name), sign(world, name, spare)


# Three of the spare request's parts would be that request.
CHANGES: Final = st.lists(
    st.sampled_from(["payload", "signature", "public_key", "account_id"]), min_size=1, max_size=2, unique=True
)


@settings(QUICK, max_examples=150)
@given(method=st.sampled_from(PAYLOAD_ROUTES), parts=CHANGES, data=st.data())
async def test_envelope_with_anything_changed_is_never_taken(
    untouched: World, method: Method, parts: list[str], data: st.DataObject
) -> None:
    """Payload, signature, key or account other than it was signed: refused, and leaves no trace."""
    signed, spare = good_pair(untouched, method.descriptor.name)
    assert isinstance(signed, SignedPayload)
    assert isinstance(spare, SignedPayload)
    body = signed.json
    for part in parts:
        body[part] = data.draw(spoilt(part, body[part], spare.json[part], TEXTS))
    [binding] = method.bindings
    answer = await untouched.signing.cluster.http.post(
        binding.template,
        content=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    is_unsigned(answer, "POST", method)


JSON_BODIES: Final = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(
        st.sampled_from(["payload", "signature", "public_key", "account_id", "more"]),
        TEXTS | st.none() | st.integers() | NEAR_BYTES.map(base64_of),
        max_size=5,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(QUICK, max_examples=150)
@given(
    method=st.sampled_from(list(SIGNED_METHODS.values())),
    body=JSON_BODIES,
    headers=ODD_HEADERS,
    signed=st.dictionaries(st.sampled_from(SIGNED_HEADERS), HEADER_VALUES, max_size=4),
)
async def test_any_body_and_headers_are_answered_by_the_contract_and_never_taken(
    untouched: World, method: Method, body: bytes, headers: dict[str, str], signed: dict[str, str]
) -> None:
    """Every signed route, sent whatever is not signed."""
    [binding] = method.bindings
    path = binding.template
    for name in variable_names(path):
        path = path.replace(f"{{{name}}}", "x")
    every = {"content-type": "application/json"} | headers | signed
    answer = await untouched.signing.cluster.http.request(
        binding.verb,
        path,
        content=body,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in every.items()],
    )
    is_answer(answer, binding.verb, method.envelope)
    assert answer.status_code in REFUSED, answer.text


def respoken(draw: st.DrawFn, world: World, signed: SignedHeaders, method: Method) -> SignedHeaders:
    """Another verb, target or body than was signed, under the same signature."""
    how = draw(st.sampled_from(["query", "body", "variable", "route"]))
    if how == "query":
        return replace(signed, target=f"{signed.target}?{in_url(draw(TEXTS))}")
    if how == "body":
        bodies = [b"", b"{}", b"[]", b" ", b'{"name":"x"}', b'{"x":1}', signed.body + b" "]
        return replace(signed, body=draw(st.sampled_from(bodies).filter(lambda body: body != signed.body)))
    variables = GOOD[method.descriptor.name](world).variables
    if how == "variable" and variables:
        [own] = variables.values()
        other = draw((st.uuids().map(str) | TEXTS.filter(bool)).filter(lambda text: text != own))
        return replace(signed, target=signed.target.replace(own, in_url(other)))
    other_method = draw(st.sampled_from([one for one in HEADER_ROUTES if one is not method]))
    route = sign(world, other_method.descriptor.name)
    assert isinstance(route, SignedHeaders)
    return replace(signed, verb=route.verb, target=route.target, body=route.body)


@settings(QUICK, max_examples=150)
@given(method=st.sampled_from(HEADER_ROUTES), data=st.data())
async def test_headers_with_anything_changed_are_never_taken(
    untouched: World, method: Method, data: st.DataObject
) -> None:
    """Verb, target, body or one of the four headers other than it was signed."""
    signed, spare = good_pair(untouched, method.descriptor.name)
    assert isinstance(signed, SignedHeaders)
    assert isinstance(spare, SignedHeaders)
    headers, sent = signed.headers, signed
    change = data.draw(st.sampled_from(["request", *SIGNED_HEADERS]))
    if change == "request":
        sent = data.draw(st.composite(respoken)(untouched, signed, method))
    else:
        headers[change] = data.draw(spoilt(change, headers[change], spare.headers[change], HEADER_VALUES))
    if sent.body:
        headers["content-type"] = "application/json"
    answer = await untouched.signing.cluster.http.request(
        sent.verb,
        sent.target,
        content=sent.body,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    is_unsigned(answer, sent.verb, method)


def other_value(own: bytes | str) -> st.SearchStrategy[bytes] | st.SearchStrategy[str]:
    """What a field may have in place of `own`."""
    if isinstance(own, bytes):
        return changed(own)
    return (st.text(max_size=40) | respelt(own)).filter(lambda other: other != own)


@settings(QUICK, max_examples=150)
@given(method=st.sampled_from(list(SIGNED_METHODS.values())), data=st.data())
async def test_signed_message_with_any_field_changed_is_never_taken(
    untouched: World, method: Method, data: st.DataObject
) -> None:
    """Over gRPC, where there are bytes behind the message too."""
    name = method.descriptor.name
    ask = GOOD[name](untouched)
    fields: dict[str, Any] = {**sign(untouched, name, ask=ask).fields, **ask.variables}
    message = GetMessageClass(method.descriptor.input_type)(**fields)
    parts = st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3, unique=True)
    for part in data.draw(parts):
        setattr(message, part, data.draw(other_value(fields[part])))
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = untouched.signing.cluster.public[
        method.full_name.split(".")[1]
    ].unary_unary(method.full_name)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await rpc(message.SerializeToString() + data.draw(st.binary(max_size=4)), timeout=30)
    error = error_from_rpc(failure.value, method.full_name)
    assert not error.internal
    assert error.code in UNSIGNED

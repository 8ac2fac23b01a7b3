"""Whatever is sent to a signed route: an answer of the contract, no 500, and never taken unless signed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from tests.cluster import AUDIENCE
from tests.platform_support import private_cluster, sql
from tests.property.platform_shots import HEADER_VALUES, ODD_HEADERS, QUICK, TEXTS, in_url
from tests.property.test_platform_fuzz import is_answer
from tests.signing_support import base64_of, payload, sign_headers, sign_payload
from tests.signing_world import SIGNED_METHODS, Signing, make_signing

PAYLOAD_ROUTES: Final = [method for method in SIGNED_METHODS.values() if method.takes_payload]
HEADER_ROUTES: Final = [method for method in SIGNED_METHODS.values() if not method.takes_payload]
SIGNED_HEADERS: Final = ("X-ACCOUNT-ID", "X-PUBLIC-KEY", "X-SIGNATURE", "X-REQUEST-ID")
# 400, 401, 403, 404 of a path that is none, 405, 413, 415, 429: whatever it is, not taken.
REFUSED: Final = range(400, 500)
NEAR_BYTES: Final = st.binary(max_size=80)


@pytest.fixture(scope="module")
async def signing(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Signing]:
    async with private_cluster(template_databases, short_directory) as cluster:
        yield await make_signing(cluster)


@pytest.fixture
async def untouched(signing: Signing) -> AsyncIterator[Signing]:
    """The account, of which a test shall leave nothing changed."""
    before = await traces_of(signing)
    yield signing
    assert await traces_of(signing) == before


async def traces_of(signing: Signing) -> list[int]:
    """How many requests are on record, and how many keys there are."""
    counts = "SELECT (SELECT count(*) FROM request) AS requests, (SELECT count(*) FROM signer) AS signers"
    found = [await sql(signing.cluster, name, counts) for name in ("keys", "wallet")]
    return [number for [row] in found for number in row.values()]


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


@dataclass
class Envelope:
    """A body for a payload's route, good in all but what was changed."""

    method: Method
    parts: tuple[str, ...]
    data: st.DataObject

    def body(self, signing: Signing) -> dict[str, object]:
        """The JSON; signed over what it should have been."""
        pair = signing.master if self.data.draw(st.booleans()) else signing.session
        whole = payload(self.method.request_type, signing.request_id(), b"")
        signed = sign_payload(pair, AUDIENCE, signing.account_id, whole)
        body: dict[str, object] = {**signed.json}
        raw = {"payload": whole, "signature": signed.signature, "public_key": signed.public_key}
        for part in self.parts:
            if part in raw:
                body[part] = base64_of(self.data.draw(changed(raw[part])))
            else:
                body[part] = self.data.draw(TEXTS | st.uuids().map(str))
        return body


CHANGES: Final = st.lists(
    st.sampled_from(["payload", "signature", "public_key", "account_id"]), min_size=1, max_size=2, unique=True
).map(tuple)


@settings(QUICK, max_examples=150)
@given(method=st.sampled_from(PAYLOAD_ROUTES), parts=CHANGES, data=st.data())
async def test_envelope_with_anything_changed_is_never_taken(
    untouched: Signing, method: Method, parts: tuple[str, ...], data: st.DataObject
) -> None:
    """Payload, signature, key or account other than it was signed: refused, and leaves no trace."""
    body = Envelope(method, parts, data).body(untouched)
    [binding] = method.bindings
    answer = await untouched.cluster.http.post(
        binding.template,
        content=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    is_answer(answer, "POST", method.envelope)
    assert answer.status_code in REFUSED, answer.text


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


@settings(QUICK, max_examples=200)
@given(
    method=st.sampled_from(list(SIGNED_METHODS.values())),
    body=JSON_BODIES,
    headers=ODD_HEADERS,
    signed=st.dictionaries(st.sampled_from(SIGNED_HEADERS), HEADER_VALUES, max_size=4),
)
async def test_any_body_and_headers_are_answered_by_the_contract_and_never_taken(
    untouched: Signing, method: Method, body: bytes, headers: dict[str, str], signed: dict[str, str]
) -> None:
    """Every signed route, sent whatever is not signed."""
    [binding] = method.bindings
    path = binding.template
    for name in variable_names(path):
        path = path.replace(f"{{{name}}}", "x")
    every = {"content-type": "application/json"} | headers | signed
    answer = await untouched.cluster.http.request(
        binding.verb,
        path,
        content=body,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in every.items()],
    )
    is_answer(answer, binding.verb, method.envelope)
    assert answer.status_code in REFUSED, answer.text


@settings(QUICK, max_examples=120)
@given(method=st.sampled_from(HEADER_ROUTES), data=st.data())
async def test_headers_with_anything_changed_are_never_taken(
    untouched: Signing, method: Method, data: st.DataObject
) -> None:
    """Verb, target, body or one of the four headers other than it was signed."""
    [binding] = method.bindings
    path = binding.template
    for name in variable_names(path):
        path = path.replace(f"{{{name}}}", "x")
    signed = sign_headers(
        untouched.session, AUDIENCE, untouched.account_id, untouched.request_id(), binding.verb, path
    )
    headers, target, body = dict(signed.headers), path, b""
    change = data.draw(st.sampled_from(["query", "body", *SIGNED_HEADERS]))
    if change == "query":
        target = f"{path}?{in_url(data.draw(TEXTS))}"
    elif change == "body":
        body = data.draw(st.sampled_from([b"{}", b"[]", b" ", b'{"name":"x"}', b'{"x":1}']))
        headers["content-type"] = "application/json"
    else:
        raw = {"X-PUBLIC-KEY": signed.public_key, "X-SIGNATURE": signed.signature}.get(change)
        headers[change] = (
            str(data.draw(st.uuids() | HEADER_VALUES))
            if raw is None
            else base64_of(data.draw(changed(raw))) + data.draw(st.sampled_from(["", "", "=", "A"]))
        )
    answer = await untouched.cluster.http.request(
        binding.verb,
        target,
        content=body,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    is_answer(answer, binding.verb, method.envelope)
    assert answer.status_code in REFUSED, answer.text


@settings(QUICK, max_examples=150)
@given(method=st.sampled_from(list(SIGNED_METHODS.values())), data=st.data())
async def test_any_signed_message_is_answered_by_the_contract_and_never_taken(
    untouched: Signing, method: Method, data: st.DataObject
) -> None:
    """Over gRPC with any bytes in any field, and bytes behind the message."""
    message: Any = GetMessageClass(method.descriptor.input_type)()
    for one in method.descriptor.input_type.fields:
        if one.type == one.TYPE_BYTES:
            setattr(message, one.name, data.draw(NEAR_BYTES | st.binary(min_size=32, max_size=32)))
        elif one.name == "account_id":
            setattr(message, one.name, data.draw(st.just(untouched.account_id) | st.text(max_size=40)))
        else:
            setattr(message, one.name, data.draw(st.text(max_size=40)))
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = untouched.cluster.public[
        method.full_name.split(".")[1]
    ].unary_unary(method.full_name)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await rpc(message.SerializeToString() + data.draw(st.binary(max_size=4)), timeout=10)
    error = error_from_rpc(failure.value, method.full_name)
    assert not error.internal
    assert error.row.http_status in REFUSED
    assert error.code is not Code.INTERNAL


async def test_what_is_changed_above_was_good(signing: Signing) -> None:
    """Unchanged it is past its signature, or everything would be refused for one reason."""
    for method in SIGNED_METHODS.values():
        [binding] = method.bindings
        if method.takes_payload:
            pair = signing.master if "Key" in method.full_name else signing.session
            whole = payload(method.request_type, signing.request_id(), b"")
            signed = sign_payload(pair, AUDIENCE, signing.account_id, whole)
            answer: httpx.Response = await signing.post(method.descriptor.name, signed)
        else:
            path = binding.template
            for name in variable_names(path):
                path = path.replace(f"{{{name}}}", "x")
            answer = await signing.send(
                sign_headers(
                    signing.session, AUDIENCE, signing.account_id, signing.request_id(), binding.verb, path
                )
            )
        code = answer.json().get("error", {}).get("code")
        assert code in (None, "CREDENTIAL_NOT_ACCEPTED", "MALFORMED_PAYLOAD"), answer.text

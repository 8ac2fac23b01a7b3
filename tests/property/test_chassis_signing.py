"""No bytes but those that were signed are taken for signed, and no others get a refusal without a code."""

from __future__ import annotations

import uuid
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import SealgateError
from chassis.ids import uuid7_from
from chassis.methods import Method, method_table
from chassis.rpc.envelope import request_reader
from chassis.signing import (
    check_request_time,
    parse_payload,
    payload_message,
    possession_message,
    request_time_ns,
    session_signature_message,
    verify,
)
from sealgate.keys.v1 import session_signature_pb2, signing_key_pb2
from sealgate.wallet.v1 import signed_pb2
from tests.signing_support import key_pair, payload, sign_headers, sign_payload

AUDIENCE: Final = "property.test"
ACCOUNT: Final = "00112233-4455-6677-8899-aabbccddeeff"
REQUEST: Final = uuid.UUID("0197f0c1-2345-7abc-8def-0123456789ab")
NOW_NS: Final = request_time_ns(REQUEST)
PAIR: Final = key_pair("property")
_METHODS: Final = method_table(
    service
    for module in (signing_key_pb2, session_signature_pb2, signed_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
BY_PAYLOAD: Final = [method for method in _METHODS.values() if method.is_signed and method.takes_payload]
BY_HEADERS: Final = [method for method in _METHODS.values() if method.is_signed and not method.takes_payload]
CREATE_WALLET: Final = _METHODS["/sealgate.wallet.v1.SignedRequestService/SubmitCreateWallet"]
DELETE_KEY: Final = _METHODS["/sealgate.keys.v1.SessionSignatureService/DeleteSessionApiKey"]

# What a request can be refused with before anybody's key is looked up.
_FAULTS: Final = (400, 413)

few_bytes = st.binary(max_size=120)
some_ids = st.builds(uuid7_from, st.integers(0, 2**48 * 10**6 - 1), st.binary(min_size=10, max_size=10))


def is_taken(method: Method, fields: dict[str, Any]) -> bool:
    """Whether a request would be taken for its key's; fails for a refusal that is no 400 and no 413."""
    request: Message = GetMessageClass(method.descriptor.input_type)(**fields)
    try:
        asked = request_reader(method, AUDIENCE)(request)
        check_request_time(asked.request_id, NOW_NS)
    except SealgateError as refusal:
        if refusal.row.http_status not in _FAULTS:
            raise
        return False
    return verify(asked.public_key, asked.message, asked.signature)


def good_payload() -> dict[str, Any]:
    """A request that is taken: subaccount 1, name `n`."""
    return sign_payload(PAIR, AUDIENCE, ACCOUNT, payload(11, REQUEST, b"\x08\x01\x12\x01n")).fields


def good_headers() -> dict[str, Any]:
    """A request that is taken."""
    target = "/api/v1/api-keys/pk_1/delete"
    return sign_headers(PAIR, AUDIENCE, ACCOUNT, REQUEST, "POST", target, b"{}").fields | {"api_key": "pk_1"}


@st.composite
def changed(draw: st.DrawFn, good: bytes) -> bytes:
    """`good` with a few bytes changed, put in or left out; never itself."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "put in", "leave out"]))
        if kind == "put in":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "leave out":
            del data[at : at + draw(st.integers(1, 8))]
        else:
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
    return bytes(data)


def test_good_requests_are_taken() -> None:
    """What the others are changes of."""
    assert is_taken(CREATE_WALLET, good_payload())
    assert is_taken(DELETE_KEY, good_headers())


@settings(deadline=None)
@given(st.data())
def test_changed_payload_request_is_not_taken(data: st.DataObject) -> None:
    """One field of it, changed in a few places."""
    good = good_payload()
    name = data.draw(st.sampled_from(sorted(good)))
    was = good[name] if isinstance(good[name], bytes) else good[name].encode()
    now = data.draw(changed(was).filter(lambda value: value != was))
    value = now if isinstance(good[name], bytes) else now.decode("utf-8", "ignore")
    if value != good[name]:
        assert not is_taken(CREATE_WALLET, good | {name: value})


@settings(deadline=None)
@given(st.data())
def test_changed_header_request_is_not_taken(data: st.DataObject) -> None:
    """One field of it, changed in a few places."""
    good = good_headers()
    name = data.draw(st.sampled_from(sorted(good)))
    was = good[name] if isinstance(good[name], bytes) else good[name].encode()
    now = data.draw(changed(was).filter(lambda value: value != was))
    value = now if isinstance(good[name], bytes) else now.decode("utf-8", "ignore")
    if value != good[name]:
        assert not is_taken(DELETE_KEY, good | {name: value})


@settings(deadline=None)
@given(
    st.sampled_from(BY_PAYLOAD),
    st.fixed_dictionaries(
        {
            "payload": few_bytes | few_bytes.map(lambda body: payload(11, REQUEST, body)),
            "signature": st.binary(min_size=64, max_size=64) | few_bytes,
            "public_key": st.binary(min_size=32, max_size=32) | few_bytes,
            "account_id": st.just(ACCOUNT) | st.text(max_size=40),
        }
    ),
)
def test_any_payload_request_is_refused_with_a_code(method: Method, fields: dict[str, Any]) -> None:
    """Whatever is put into the envelope."""
    assert not is_taken(method, fields)


@settings(deadline=None)
@given(
    st.sampled_from(BY_HEADERS),
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(["GET", "POST"]) | st.text(max_size=8),
            "target": st.just("/api/v1/api-keys") | st.text(max_size=80),
            "body": st.just(b"{}") | few_bytes,
            "account_id": st.just(ACCOUNT) | st.text(max_size=40),
            "public_key": st.binary(min_size=32, max_size=32) | few_bytes,
            "request_id": st.just(str(REQUEST)) | some_ids.map(str) | st.text(max_size=40),
            "signature": st.binary(min_size=64, max_size=64) | few_bytes,
        }
    ),
)
def test_any_header_request_is_refused_with_a_code(method: Method, fields: dict[str, Any]) -> None:
    """Whatever is put into the headers."""
    assert not is_taken(method, fields)


@settings(deadline=None)
@given(st.sampled_from(BY_PAYLOAD), few_bytes)
def test_any_signed_payload_is_read_or_refused_with_a_code(method: Method, body: bytes) -> None:
    """One who holds a key cannot break anything with it either."""
    signed = sign_payload(PAIR, AUDIENCE, ACCOUNT, payload(method.request_type, REQUEST, body)).fields
    is_taken(method, signed)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_a_payload_or_refused_with_a_code(data: bytes) -> None:
    """And what is a payload says itself again."""
    try:
        parts = parse_payload(data)
    except SealgateError as refusal:
        if refusal.row.http_status not in _FAULTS:
            raise
    else:
        assert payload(parts.request_type, parts.request_id, parts.body) == data


@settings(deadline=None)
@given(
    account_id=st.uuids(),
    request_id=some_ids,
    audience=st.text("abcz.:-09", min_size=1, max_size=253),
    target=st.text(max_size=40),
    body=few_bytes,
    signed=few_bytes,
)
def test_no_signature_is_good_for_another_kind(
    account_id: uuid.UUID, request_id: uuid.UUID, audience: str, target: str, body: bytes, signed: bytes
) -> None:
    """One of a payload, one in headers and one of possession are over different bytes, always."""
    messages = [
        payload_message(audience, account_id, signed),
        session_signature_message(audience, account_id, request_id, method="POST", target=target, body=body),
        possession_message(audience, account_id, PAIR.public_key),
    ]
    for made_for in messages:
        signature = PAIR.sign(made_for)
        held = [verify(PAIR.public_key, message, signature) for message in messages]
        assert held == [message is made_for for message in messages]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("ab.", max_size=4), st.sampled_from(["G", "GE"]), st.text("/a", max_size=4), few_bytes
        ),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_no_part_of_what_is_signed_passes_for_another(parts: list[tuple[str, str, str, bytes]]) -> None:
    """Two requests that differ anywhere differ in what is signed: audience, method, target, body."""
    account_id = uuid.UUID(ACCOUNT)
    first, second = (
        session_signature_message(audience, account_id, REQUEST, method=method, target=target, body=body)
        for audience, method, target, body in parts
    )
    assert first != second

"""A signed request has one form; another way to say the same is refused, whoever signed it."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any, Final

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import Code, SealgateError
from chassis.methods import Method, MethodTableError, method_table
from chassis.rpc.envelope import SignedRequest, read_body, request_reader
from sealgate.keys.v1 import session_signature_pb2
from sealgate.wallet.v1 import order_pb2, signed_body_pb2, signed_pb2
from tests.signing_support import key_pair, payload, sign_headers, sign_payload

AUDIENCE: Final = "unit.test"
ACCOUNT: Final = "00112233-4455-6677-8899-aabbccddeeff"
REQUEST: Final = uuid.UUID("0197f0c1-2345-7abc-8def-0123456789ab")
PAIR: Final = key_pair("unit")
METHODS: Final = method_table(
    service
    for module in (session_signature_pb2, signed_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
PLACE_ORDER: Final = METHODS["/sealgate.wallet.v1.SignedRequestService/SubmitPlaceOrder"]
_HEADERS: Final = "/sealgate.keys.v1.SessionSignatureService/"
LIST_KEYS: Final = METHODS[_HEADERS + "ListSessionApiKeys"]
CREATE_KEY: Final = METHODS[_HEADERS + "CreateSessionApiKey"]
DELETE_KEY: Final = METHODS[_HEADERS + "DeleteSessionApiKey"]
ORDER: Final = signed_body_pb2.PlaceOrder(
    subaccount_index=1,
    wallet_id="w",
    token_id="7",
    side=order_pb2.SIDE_BUY,
    type=order_pb2.ORDER_TYPE_LIMIT,
    amount="1",
    units=order_pb2.AMOUNT_UNITS_SHARES,
    price="0.5",
)
GOOD: Final = ORDER.SerializeToString(deterministic=True)


def refused(method: Method, request: Message) -> SealgateError:
    with pytest.raises(SealgateError) as raised:
        request_reader(method, AUDIENCE)(request)
    return raised.value


def order_request(body: bytes = GOOD, /, **changes: Any) -> Message:  # noqa: ANN401 - any of its fields
    signed = sign_payload(PAIR, AUDIENCE, ACCOUNT, payload(1, REQUEST, body))
    return signed_pb2.SubmitPlaceOrderRequest(**(signed.fields | changes))


def key_request(method: Method, target: str, body: bytes = b"", /, **changes: Any) -> Message:  # noqa: ANN401
    verb = method.bindings[0].verb
    fields = sign_headers(PAIR, AUDIENCE, ACCOUNT, REQUEST, verb, target, body).fields | changes
    return GetMessageClass(method.descriptor.input_type)(**fields)


def test_payload_request_is_read_into_its_parts() -> None:
    """What it says, and what the signature has to be over."""
    asked: SignedRequest = request_reader(PLACE_ORDER, AUDIENCE)(order_request())
    assert (asked.account_id, asked.request_id) == (uuid.UUID(ACCOUNT), REQUEST)
    assert (asked.body, asked.json_body) == (ORDER, None)
    assert PAIR.sign(asked.message) == asked.signature


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"public_key": bytes(31)}, "public_key"),
        ({"public_key": bytes(33)}, "public_key"),
        ({"signature": bytes(63)}, "signature"),
        ({"signature": b""}, "signature"),
        ({"account_id": ""}, "account_id"),
        ({"account_id": ACCOUNT.upper()}, "account_id"),
        ({"account_id": f"{{{ACCOUNT}}}"}, "account_id"),
        ({"payload": payload(2, REQUEST, GOOD)}, "payload"),
        ({"payload": payload(1, REQUEST, GOOD)[:-1]}, "payload"),
        ({"payload": payload(1, REQUEST, GOOD + b"\0")}, "payload"),
        ({"payload": b""}, "payload"),
    ],
)
def test_envelope_of_another_form_is_refused(changes: dict[str, Any], path: str) -> None:
    """Lengths, the account's text, the route of another request type, bytes too few and too many."""
    error = refused(PLACE_ORDER, order_request(**changes))
    assert (error.code, error.details[0].path) == (Code.MALFORMED_PAYLOAD, path)


def test_payload_may_have_8_kib() -> None:
    """One byte more is too large, whatever it holds."""
    assert refused(PLACE_ORDER, order_request(payload=bytes(8193))).code is Code.PAYLOAD_TOO_LARGE
    assert refused(PLACE_ORDER, order_request(payload=bytes(8192))).code is Code.UNSUPPORTED_VERSION
    assert refused(CREATE_KEY, key_request(CREATE_KEY, "/api/v1/api-keys", bytes(8193))).code is (
        Code.PAYLOAD_TOO_LARGE
    )


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _varint(number: int) -> bytes:
    return b"%c" % number if number < 128 else b"%c" % (number & 127 | 128) + _varint(number >> 7)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(GOOD + b"\xf8\x01\x01", id="unknown field"),
        pytest.param(GOOD + b"\x08\x01", id="repeated scalar"),
        pytest.param(b"\x08\x81\x00" + GOOD[2:], id="over-long varint"),
        pytest.param(b"\x88\x00\x01" + GOOD[2:], id="over-long tag"),
        pytest.param(GOOD[2:] + GOOD[:2], id="other order"),
        pytest.param(GOOD + b"\x50\x01\x50\x01", id="optional twice"),
        pytest.param(b"\x08\x00" + GOOD[2:], id="default written out"),
        pytest.param(GOOD.replace(b"0.5", b"0.\xff"), id="not UTF-8"),
        pytest.param(GOOD[:-1], id="cut short"),
        pytest.param(b"\x0a\x01x" + GOOD, id="another type"),
        pytest.param(GOOD + b"\x0b\x0c", id="group"),
        pytest.param(b"", id="empty, and without its enums"),
    ],
)
def test_body_has_one_form(body: bytes) -> None:
    """Whatever says the same in other bytes, or more than the message can say, is refused."""
    assert refused(PLACE_ORDER, order_request(body)).code is Code.MALFORMED_PAYLOAD


@pytest.mark.parametrize("number", [0, 3, 77, -1])
@pytest.mark.parametrize("name", ["side", "type", "units", "time_in_force"])
def test_enum_has_a_meaning(name: str, number: int) -> None:
    """Zero, absent where it must be there, and numbers of the future are refused by the field's name."""
    order = signed_body_pb2.PlaceOrder()
    order.CopyFrom(ORDER)
    if name == "time_in_force" and number == 3:
        number = 99
    setattr(order, name, number)
    error = refused(PLACE_ORDER, order_request(order.SerializeToString(deterministic=True)))
    assert (error.code, error.details[0].path) == (Code.MALFORMED_PAYLOAD, name)


@pytest.fixture(scope="module")
def tree() -> type[Message]:
    """A message that holds itself, singly and repeated, beside an enum."""
    file = descriptor_pb2.FileDescriptorProto(name="tree.proto", package="tests", syntax="proto3")
    message = file.message_type.add(name="Tree")
    kind = descriptor_pb2.FieldDescriptorProto
    message.field.add(
        name="left", number=1, type=kind.TYPE_MESSAGE, label=kind.LABEL_OPTIONAL, type_name=".tests.Tree"
    )
    message.field.add(
        name="rest", number=2, type=kind.TYPE_MESSAGE, label=kind.LABEL_REPEATED, type_name=".tests.Tree"
    )
    message.field.add(
        name="hues", number=3, type=kind.TYPE_ENUM, label=kind.LABEL_REPEATED, type_name=".tests.Hue"
    )
    hue = file.enum_type.add(name="Hue")
    for number, name in enumerate(("NONE", "RED")):
        hue.value.add(name=name, number=number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: type[Message] = GetMessageClass(pool.FindMessageTypeByName("tests.Tree"))
    return found


def test_body_is_looked_at_to_its_depth(tree: type[Message]) -> None:
    """What is refused in a message is refused in those that it holds."""
    good = _field(1, _field(2, b"\x1a\x01\x01"))
    assert read_body(tree, good).SerializeToString() == good
    for inner in (b"\x1a\x01\x00", b"\x1a\x01\x02", b"\x20\x01", b"\x18\x01"):
        for body in (_field(1, _field(2, inner)), _field(2, inner), _field(2, b"") + _field(2, inner)):
            with pytest.raises(SealgateError) as raised:
                read_body(tree, body)
            assert raised.value.code is Code.MALFORMED_PAYLOAD
    deep = b""
    for _ in range(2000):
        deep = b"\x0a" + _varint(len(deep)) + deep
    with pytest.raises(SealgateError) as raised:
        read_body(tree, deep)
    assert raised.value.code is Code.MALFORMED_PAYLOAD


def test_header_request_is_read_into_its_parts() -> None:
    """The JSON body's members, and what the signature has to be over."""
    request = key_request(CREATE_KEY, "/api/v1/api-keys", b'{"name": "a"}')
    asked = request_reader(CREATE_KEY, AUDIENCE)(request)
    assert (asked.body, asked.json_body) == (None, {"name": "a"})
    assert PAIR.sign(asked.message) == asked.signature
    listed = request_reader(LIST_KEYS, AUDIENCE)(key_request(LIST_KEYS, "/api/v1/api-keys"))
    assert listed.json_body is None
    named = key_request(DELETE_KEY, "/api/v1/api-keys/pk_1/delete", api_key="pk_1")
    assert request_reader(DELETE_KEY, AUDIENCE)(named).json_body == {}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"account_id": ACCOUNT.upper()}, "X-ACCOUNT-ID"),
        ({"public_key": bytes(31)}, "X-PUBLIC-KEY"),
        ({"signature": bytes(65)}, "X-SIGNATURE"),
        ({"request_id": str(REQUEST).upper()}, "X-REQUEST-ID"),
        ({"request_id": "9f0c1234-5678-4abc-8def-0123456789ab"}, "X-REQUEST-ID"),
        ({"method": "GET"}, "method"),
        ({"method": "post"}, "method"),
        ({"target": "/api/v1/api-keys?"}, "target"),
        ({"target": "/api/v1/api-keys?a=1"}, "target"),
        ({"target": "/api/v1/api-keys/"}, "target"),
        ({"target": "/api/v1/./api-keys"}, "target"),
        ({"target": "/api/v1/api%2Dkeys"}, "target"),
        ({"target": "/api/v1/login"}, "target"),
        ({"body": b"{"}, "body"),
        ({"body": b"[]"}, "body"),
        ({"body": b'{"name": "a", "name": "a"}'}, "body"),
        ({"body": b"\xff"}, "body"),
    ],
)
def test_headers_of_another_form_are_refused(changes: dict[str, Any], path: str) -> None:
    """By the header's own name, or by what of the request line or the body is wrong."""
    error = refused(CREATE_KEY, key_request(CREATE_KEY, "/api/v1/api-keys", b"{}", **changes))
    assert (error.code, error.details[0].path) == (Code.VALIDATION_ERROR, path)


@pytest.mark.parametrize("name", ["", "pk_2", "pk%5F1", "pk/1", "a b", "x" * 256, "é"])
def test_path_names_what_the_request_names(name: str) -> None:
    """The variable in the path is the message's own field, in the only way to write it."""
    request = key_request(DELETE_KEY, "/api/v1/api-keys/pk_1/delete", api_key=name)
    assert refused(DELETE_KEY, request).details[0].path == "target"
    request = key_request(DELETE_KEY, f"/api/v1/api-keys/{name}/delete", api_key=name)
    if name != "pk_2":
        assert refused(DELETE_KEY, request).details[0].path == "target"


def test_request_without_a_body_has_none() -> None:
    """A body that nobody reads must not be signed either."""
    assert refused(LIST_KEYS, key_request(LIST_KEYS, "/api/v1/api-keys", b"{}")).details[0].path == "body"


def test_requests_are_told_apart_by_all_that_is_signed() -> None:
    """Another body, path or payload is another request, whoever signs it."""
    digests = {
        request_reader(method, AUDIENCE)(request).digest
        for method, request in (
            (CREATE_KEY, key_request(CREATE_KEY, "/api/v1/api-keys", b"{}")),
            (CREATE_KEY, key_request(CREATE_KEY, "/api/v1/api-keys", b'{"name":"a"}')),
            (LIST_KEYS, key_request(LIST_KEYS, "/api/v1/api-keys")),
            (DELETE_KEY, key_request(DELETE_KEY, "/api/v1/api-keys/a/delete", api_key="a")),
            (DELETE_KEY, key_request(DELETE_KEY, "/api/v1/api-keys/b/delete", api_key="b")),
            (PLACE_ORDER, order_request()),
        )
    }
    assert len(digests) == 6


@pytest.mark.parametrize(
    "changes", [{"payload_message": "sealgate.wallet.v1.NoSuch"}, {"request_type": 0, "bindings": ()}]
)
def test_method_that_cannot_be_read_is_not_served(changes: dict[str, Any]) -> None:
    """A row without a message to read, or without a path to sign, ends the start."""
    with pytest.raises(MethodTableError):
        request_reader(dataclasses.replace(PLACE_ORDER, **changes), AUDIENCE)

"""JSON to messages and back: the dialect, value by value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import Code, Detail, SealgateError
from chassis.methods import Method
from edge.present import answer_encoder
from edge.routes import load_methods, variable_names
from edge.translate import Decode, TranslationError, request_decoder
from sealgate.common.v1 import method_rule_pb2 as rules
from tests.unit.edge_support import DESCRIPTOR, OPEN_RULE, SERVICE, Rpc, sample_method, write_descriptor

POST: Final = {"post": "/sample/{item_id}", "body": "*"}
GET: Final = {"get": "/sample/{item_id}"}


def decoder_of(method: Method) -> Decode:
    """The decoder of a method's first binding."""
    binding = method.bindings[0]
    return request_decoder(method, binding, variable_names(binding.template))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module's descriptor sets are."""
    return tmp_path_factory.mktemp("descriptors")


@pytest.fixture(scope="module")
def method(directory: Path) -> Method:
    """A method with a body and an answer of every kind of field."""
    return sample_method(directory / "post.binpb", POST)


@pytest.fixture(scope="module")
def decode(method: Method) -> Decode:
    """Its decoder."""
    return decoder_of(method)


@pytest.fixture(scope="module")
def encode(method: Method) -> Callable[[Message], bytes]:
    """Its encoder."""
    return answer_encoder(method)


@pytest.fixture(scope="module")
def decode_query(directory: Path) -> Decode:
    """The decoder of a method without a body."""
    return decoder_of(sample_method(directory / "get.binpb", GET))


def refusal(decode: Decode, body: bytes, query: bytes = b"") -> Detail:
    """The one detail of a refused request."""
    with pytest.raises(SealgateError) as refused:
        decode(["id"], query, body)
    assert refused.value.code is Code.VALIDATION_ERROR
    (detail,) = refused.value.details
    return detail


@pytest.mark.parametrize(
    ("name", "given", "printed"),
    [
        ("text", '"é\\u0000\\ud83d\\ude00"', "é\0😀"),
        ("flag", "true", True),
        ("flag", "false", False),
        ("small", "-2147483648", -(2**31)),
        ("small", "-0", 0),
        ("count", "4294967295", 2**32 - 1),
        ("big", "-9223372036854775808", -(2**63)),
        ("big", "9223372036854775807", 2**63 - 1),
        ("huge", "18446744073709551615", 2**64 - 1),
        ("amount", "1.50", "1.50"),
        ("amount", '"1.50"', "1.50"),
        ("amount", "0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("amount", "123456789012345678901234567890", "123456789012345678901234567890"),
        ("amount", "-7", "-7"),
        ("raw", '"AAH/"', "AAH/"),
        ("raw", '""', ""),
        ("side", '"BUY"', "BUY"),
        ("moment", '"2026-01-31T23:59:59Z"', "2026-01-31T23:59:59Z"),
        ("moment", '"1969-12-31T23:59:59.999999999Z"', "1969-12-31T23:59:59.999999999Z"),
        ("moment", '"2026-01-31T00:00:00.5Z"', "2026-01-31T00:00:00.500Z"),
        ("moment", '"2026-01-31T00:00:00.000010Z"', "2026-01-31T00:00:00.000010Z"),
        ("moment", '"0001-01-01T00:00:00Z"', "0001-01-01T00:00:00Z"),
        ("moment", '"9999-12-31T23:59:59Z"', "9999-12-31T23:59:59Z"),
        (
            "data",
            '{"b":1,"a":[1.5,null,{"c":"x"}],"":false}',
            {"": False, "a": [1.5, None, {"c": "x"}], "b": 1},
        ),
        ("data", '{"n":9007199254740992}', {"n": 2**53}),
        ("data", '{"n":-9007199254740992}', {"n": -(2**53)}),
        ("data", '{"n":1.0}', {"n": 1}),
        ("data", '{"n":1e3}', {"n": 1000}),
        ("data", '{"n":1e300}', {"n": 1e300}),
        ("data", "{}", {}),
        ("listed", '[1,"a",null,[],{}]', [1, "a", None, [], {}]),
        ("listed", "[]", []),
        ("any_value", '"x"', "x"),
        ("inner", '{"name_text":"n"}', {"name_text": "n"}),
        ("inner", "{}", {"name_text": ""}),
        ("tags", '["b","a"]', ["b", "a"]),
        ("inners", '[{},{"name_text":"n"}]', [{"name_text": ""}, {"name_text": "n"}]),
        ("labels", '{"k":"v"}', {"k": "v"}),
        ("nodes", '{"k":{"name_text":"n"}}', {"k": {"name_text": "n"}}),
        ("maybe_text", '""', ""),
        ("maybe_big", "0", 0),
    ],
)
def test_value_survives_the_way_there_and_back(
    decode: Decode, encode: Callable[[Message], bytes], name: str, given: str, printed: object
) -> None:
    """What JSON says of a field, the message holds, and the answer says again."""
    message = decode(["id"], b"", f'{{"{name}":{given}}}'.encode())
    assert json.loads(encode(message))[name] == printed


def test_number_prints_as_an_integer_when_it_is_one(
    decode: Decode, encode: Callable[[Message], bytes]
) -> None:
    """Integral doubles that are exact print without a fraction, others as doubles do."""
    message = decode(["id"], b"", b'{"data":{"a":1.0,"b":-0.0,"c":1e15,"d":1e17,"e":0.5}}')
    assert b'"data":{"a":1,"b":0,"c":1000000000000000,"d":1e+17,"e":0.5}' in encode(message)


def test_empty_message_prints_every_member(decode: Decode, encode: Callable[[Message], bytes]) -> None:
    """Every field is printed; what is optional and unset is null."""
    assert json.loads(encode(decode(["id"], b"", b""))) == {
        "item_id": "id",
        "text": "",
        "flag": False,
        "small": 0,
        "count": 0,
        "big": 0,
        "huge": 0,
        "amount": "",
        "raw": "",
        "side": "UNSPECIFIED",
        "moment": None,
        "data": None,
        "listed": None,
        "any_value": None,
        "inner": None,
        "tags": [],
        "inners": [],
        "labels": {},
        "nodes": {},
        "maybe_text": None,
        "maybe_big": None,
    }


def test_null_equals_absent(decode: Decode) -> None:
    """A null member is as if it were not there, whatever its type."""
    empty = decode(["id"], b"", b"{}")
    names = [field.name for field in empty.DESCRIPTOR.fields if field.name != "item_id"]
    assert decode(["id"], b"", json.dumps(dict.fromkeys(names)).encode()) == empty


UNKNOWN: Final = "is not known here"
MANY_DIGITS: Final = b"9" * 10_000


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b'{"nothing":1}', "nothing", UNKNOWN),
        (b'{"nothing":null}', "nothing", UNKNOWN),
        (b'{"itemId":"x"}', "itemId", UNKNOWN),
        (b'{"nameText":"x"}', "nameText", UNKNOWN),
        (b'{"item_id":"x"}', "item_id", "is given in the path"),
        (b'{"":1}', '""', UNKNOWN),
        (b'{"\\ud800":1}', "?", UNKNOWN),
        (b'{"' + b"n" * 1000 + b'":1}', "n" * 64, UNKNOWN),
        (b'{"text":"a","text":"a"}', "text", "is there twice"),
        (b'{"text":null,"text":"a"}', "text", "is there twice"),
        (b'{"inner":{"name_text":"a","name_text":"b"}}', "inner.name_text", "is there twice"),
        (b'{"data":{"a":[0,{"b":1,"b":2}]}}', "data.a[1].b", "is there twice"),
        (b'{"labels":{"a":"x","a":"x"}}', "labels.a", "is there twice"),
        (b'{"text":1}', "text", "must be a string"),
        (b'{"text":1.5}', "text", "must be a string"),
        (b'{"text":{}}', "text", "must be a string"),
        (b'{"text":"\\ud800"}', "text", "must not hold half of a surrogate pair"),
        (b'{"text":"\\udc00\\ud800"}', "text", "must not hold half of a surrogate pair"),
        (b'{"flag":1}', "flag", "must be true or false"),
        (b'{"flag":"true"}', "flag", "must be true or false"),
        (b'{"small":true}', "small", "must be an integer"),
        (b'{"small":1.0}', "small", "must be an integer"),
        (b'{"small":1e2}', "small", "must be an integer"),
        (b'{"small":"1"}', "small", "must be an integer"),
        (b'{"small":2147483648}', "small", "must be from -2147483648 to 2147483647"),
        (b'{"count":-1}', "count", "must be from 0 to 4294967295"),
        (b'{"big":9223372036854775808}', "big", "must be from -9223372036854775808 to 9223372036854775807"),
        (b'{"huge":' + MANY_DIGITS + b"}", "huge", "must be from 0 to 18446744073709551615"),
        (
            b'{"big":-' + MANY_DIGITS + b"}",
            "big",
            "must be from -9223372036854775808 to 9223372036854775807",
        ),
        (b'{"amount":1e2}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":"1e2"}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":"+1"}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":"01"}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":".5"}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":""}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":"1\\n"}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":true}', "amount", "must be a decimal number without exponent"),
        (b'{"amount":' + MANY_DIGITS + b"}", "amount", "must be a decimal number without exponent"),
        (b'{"raw":"AAE"}', "raw", "must be standard base64 with padding"),
        (b'{"raw":"AAF="}', "raw", "must be standard base64 with padding"),
        (b'{"raw":"A-_="}', "raw", "must be standard base64 with padding"),
        (b'{"raw":"AA==\\n"}', "raw", "must be standard base64 with padding"),
        ('{"raw":"é"}'.encode(), "raw", "must be standard base64 with padding"),
        (b'{"side":"ORDER_SIDE_BUY"}', "side", "must be one of BUY, SELL"),
        (b'{"side":"buy"}', "side", "must be one of BUY, SELL"),
        (b'{"side":"UNSPECIFIED"}', "side", "must be one of BUY, SELL"),
        (b'{"side":1}', "side", "must be one of BUY, SELL"),
        (b'{"side":[]}', "side", "must be one of BUY, SELL"),
        (
            b'{"moment":"2026-02-30T00:00:00Z"}',
            "moment",
            "must be a time in UTC such as 2026-01-31T23:59:59Z",
        ),
        (
            b'{"moment":"2026-01-01T24:00:00Z"}',
            "moment",
            "must be a time in UTC such as 2026-01-31T23:59:59Z",
        ),
        (
            b'{"moment":"2026-01-01T00:00:60Z"}',
            "moment",
            "must be a time in UTC such as 2026-01-31T23:59:59Z",
        ),
        (
            b'{"moment":"2026-01-01T00:00:00+00:00"}',
            "moment",
            "must be a time in UTC such as 2026-01-31T23:59:59Z",
        ),
        (
            b'{"moment":"2026-01-01 00:00:00Z"}',
            "moment",
            "must be a time in UTC such as 2026-01-31T23:59:59Z",
        ),
        (
            b'{"moment":"0000-01-01T00:00:00Z"}',
            "moment",
            "must be a time in UTC such as 2026-01-31T23:59:59Z",
        ),
        (b'{"moment":1767225600}', "moment", "must be a time in UTC such as 2026-01-31T23:59:59Z"),
        (b'{"data":[]}', "data", "must be an object"),
        (b'{"data":"{}"}', "data", "must be an object"),
        (b'{"data":{"a":[0,9007199254740993]}}', "data.a[1]", "must be within 2^53 of zero, or a string"),
        (b'{"data":{"a":-9007199254740993}}', "data.a", "must be within 2^53 of zero, or a string"),
        (b'{"data":{"a":' + MANY_DIGITS + b"}}", "data.a", "must be within 2^53 of zero, or a string"),
        (b'{"data":{"a":1e400}}', "data.a", "must be within the range of a double"),
        (b'{"data":{"a":"\\udfff"}}', "data.a", "must not hold half of a surrogate pair"),
        (b'{"data":{"\\udfff":1}}', "data.?", "must not hold half of a surrogate pair"),
        (b'{"listed":{}}', "listed", "must be an array"),
        (b'{"listed":[1,"\\ud800"]}', "listed[1]", "must not hold half of a surrogate pair"),
        (b'{"inner":[]}', "inner", "must be an object"),
        (b'{"inner":{"x":1}}', "inner.x", UNKNOWN),
        (b'{"tags":"a"}', "tags", "must be an array"),
        (b'{"tags":["a",null]}', "tags[1]", "must be a string"),
        (b'{"inners":[{},{"name_text":1}]}', "inners[1].name_text", "must be a string"),
        (b'{"inners":[null]}', "inners[0]", "must be an object"),
        (b'{"labels":[]}', "labels", "must be an object"),
        (b'{"labels":{"a":1}}', "labels.a", "must be a string"),
        (b'{"nodes":{"a":{"b":1}}}', "nodes.a.b", UNKNOWN),
        (b"[]", "body", "must be a JSON object"),
        (b"null", "body", "must be a JSON object"),
        (b"1", "body", "must be a JSON object"),
        (b" ", "body", "must be JSON as RFC 8259 writes it"),
        (b"{", "body", "must be JSON as RFC 8259 writes it"),
        (b"{} {}", "body", "must be JSON as RFC 8259 writes it"),
        (b"{}\0", "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":NaN}', "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":-Infinity}', "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":01}', "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":"a\tb"}', "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":"\\x"}', "body", "must be JSON as RFC 8259 writes it"),
        (b"{'text':1}", "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":"a",}', "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":"a"//\n}', "body", "must be JSON as RFC 8259 writes it"),
        (b"\xef\xbb\xbf{}", "body", "must be JSON as RFC 8259 writes it"),
        (b'{"text":"\xff"}', "body", "must be UTF-8"),
        ("{}".encode("utf-16"), "body", "must be UTF-8"),
        (b"[" * 60_000, "body", "must not be nested more than 32 deep"),
        (b'{"data":' * 8_000, "body", "must not be nested more than 32 deep"),
        (b'{"listed":' + b"[" * 32 + b"]" * 32 + b"}", "body", "must not be nested more than 32 deep"),
    ],
)
def test_body_is_refused_with_the_path_of_what_is_wrong(
    decode: Decode, body: bytes, path: str, message: str
) -> None:
    """Strict input: every wrong body is a VALIDATION_ERROR that says where and what."""
    assert refusal(decode, body) == Detail(path, message)


def test_body_is_taken_when_it_is_nested_as_deep_as_may_be(
    decode: Decode, encode: Callable[[Message], bytes]
) -> None:
    """The deepest body allowed survives the way to a service and back, as protobuf's own limit allows."""
    deepest = b'{"a":' * 30 + b"{}" + b"}" * 30
    message = decode(["id"], b"", b'{"data":' + deepest + b"}")
    again = type(message).FromString(message.SerializeToString())
    assert b'"data":' + deepest in encode(again)


def test_metadata_fits_into_a_list_of_accounts_when_it_is_nested_as_deep_as_may_be() -> None:
    """The message that wraps metadata the most is still within protobuf's own limit of depth."""
    rows = {row.full_name: row for row in load_methods(DESCRIPTOR, ["sealgate.auth.v1.AccountService"])}
    create = rows["/sealgate.auth.v1.AccountService/CreateAccount"]
    listing = rows["/sealgate.auth.v1.AccountService/ListAccounts"]
    deepest = b'{"a":' * 30 + b"{}" + b"}" * 30
    request: Any = decoder_of(create)([], b"", b'{"metadata":' + deepest + b"}")
    answer: Any = GetMessageClass(listing.descriptor.output_type)()
    answer.accounts.add().metadata.CopyFrom(request.metadata)
    again = type(answer).FromString(answer.SerializeToString())
    assert b'"metadata":' + deepest in answer_encoder(listing)(again)


def test_brackets_in_a_text_are_no_nesting(decode: Decode) -> None:
    """Only structure counts as depth."""
    message: Any = decode(["id"], b"", b'{"text":"' + b"[" * 1000 + b'"}')
    assert message.text == "[" * 1000


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"text=a+b%20c%C3%A9&flag=true&small=-5", {"text": "a b cé", "flag": True, "small": -5}),
        (b"&text=&", {"text": ""}),
        (b"text=a=b", {"text": "a=b"}),
        (b"%74ext=x", {"text": "x"}),
        (b"side=SELL&amount=1.50&maybe_big=0", {"side": 2, "amount": "1.50", "maybe_big": 0}),
    ],
)
def test_query_fills_scalar_fields(decode_query: Decode, query: bytes, expected: dict[str, object]) -> None:
    """A method without a body takes its scalars from the query."""
    message = decode_query(["id"], query, b"")
    assert message == type(message)(item_id="id", **expected)


@pytest.mark.parametrize(
    ("query", "path", "message"),
    [
        (b"nothing=1", "nothing", UNKNOWN),
        (b"=1", '""', UNKNOWN),
        (b"item_id=x", "item_id", "is given in the path"),
        (b"tags=a", "tags", UNKNOWN),
        (b"moment=2026-01-31T23:59:59Z", "moment", UNKNOWN),
        (b"inner.name_text=a", "inner.name_text", UNKNOWN),
        (b"text=a&text=a", "text", "is there twice"),
        (b"text=a&%74ext=b", "text", "is there twice"),
        (b"small", "small", "must be an integer"),
        (b"small=", "small", "must be an integer"),
        (b"small=1.0", "small", "must be an integer"),
        (b"small=+1", "small", "must be an integer"),
        (b"small=01", "small", "must be an integer"),
        (b"small=%D9%A1", "small", "must be an integer"),
        (b"small=null", "small", "must be an integer"),
        (b"small=" + MANY_DIGITS, "small", "must be from -2147483648 to 2147483647"),
        (b"flag=1", "flag", "must be true or false"),
        (b"flag=True", "flag", "must be true or false"),
        (b"side=1", "side", "must be one of BUY, SELL"),
        (b"text=%zz", "text", "must be percent-encoded UTF-8"),
        (b"text=%", "text", "must be percent-encoded UTF-8"),
        (b"text=%ff", "text", "must be percent-encoded UTF-8"),
        (b"text=\xff", "text", "must be percent-encoded UTF-8"),
        (b"%ff=a", "query", "must be percent-encoded UTF-8"),
    ],
)
def test_query_is_refused_with_the_name_of_what_is_wrong(
    decode_query: Decode, query: bytes, path: str, message: str
) -> None:
    """Unknown, repeated and unfit parameters are named."""
    assert refusal(decode_query, b"", query) == Detail(path, message)


def test_query_is_refused_when_the_method_takes_a_body(decode: Decode) -> None:
    """What belongs into the body is not taken from the query."""
    assert refusal(decode, b"", b"text=a") == Detail("text", UNKNOWN)


def test_body_is_refused_when_the_method_takes_none(decode_query: Decode) -> None:
    """A method without a body takes an empty object, and no member."""
    decode_query(["id"], b"", b"{}")
    assert refusal(decode_query, b'{"text":"a"}') == Detail("text", UNKNOWN)


def test_browser_family_spells_members_in_camel_case(directory: Path) -> None:
    """Family B reads and prints lowerCamel names and nothing else."""
    method = sample_method(directory / "camel.binpb", POST, envelope=rules.ENVELOPE_BROWSER)
    decode = decoder_of(method)
    message = decode(["id"], b"", b'{"maybeText":"a","inner":{"nameText":"n"},"data":{"under_score":1}}')
    printed = json.loads(answer_encoder(method)(message))["data"]
    assert (printed["itemId"], printed["maybeText"], printed["inner"]) == ("id", "a", {"nameText": "n"})
    assert printed["data"] == {"under_score": 1}
    assert refusal(decode, b'{"maybe_text":"a"}') == Detail("maybe_text", UNKNOWN)


@pytest.mark.parametrize(
    ("rule", "printed"),
    [
        ({"envelope": rules.ENVELOPE_PLATFORM, "object_field": "inner"}, {"name_text": "n"}),
        ({"envelope": rules.ENVELOPE_PLATFORM, "list_field": "tags"}, ["b", "a"]),
        ({"envelope": rules.ENVELOPE_PLATFORM, "list_field": "inners"}, [{"name_text": "m"}]),
        ({"envelope": rules.ENVELOPE_PLATFORM, "object_field": "moment"}, None),
    ],
)
def test_platform_family_puts_the_named_field_into_response(
    directory: Path, rule: dict[str, Any], printed: object
) -> None:
    """`object_field` and `list_field` become the bare `response`."""
    method = sample_method(directory / "envelope.binpb", POST, **rule)
    body = b'{"inner":{"name_text":"n"},"tags":["b","a"],"inners":[{"name_text":"m"}]}'
    message = decoder_of(method)(["id"], b"", body)
    assert json.loads(answer_encoder(method)(message)) == {"success": True, "response": printed}


def test_enum_prints_its_number_when_it_has_no_name(
    decode: Decode, encode: Callable[[Message], bytes]
) -> None:
    """A value that a newer service sends does not break an answer."""
    message: Any = decode(["id"], b"", b"")
    message.side = 99
    assert json.loads(encode(message))["side"] == 99


@pytest.mark.parametrize(
    "kind",
    [FieldDescriptorProto.TYPE_DOUBLE, FieldDescriptorProto.TYPE_FLOAT, FieldDescriptorProto.TYPE_FIXED64],
)
def test_message_is_refused_when_it_has_no_json_form(
    tmp_path: Path, kind: FieldDescriptorProto.Type.ValueType
) -> None:
    """A field whose type the dialect does not know stops the start instead of being guessed at."""
    extra = FieldDescriptorProto(
        name="odd", json_name="odd", number=99, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    path = write_descriptor(tmp_path / "odd.binpb", [Rpc("Do", POST, OPEN_RULE)], extra)
    (method,) = load_methods(path, [SERVICE])
    with pytest.raises(TranslationError, match="odd has a type"):
        decoder_of(method)

"""What the client reads of answers, against what the edge writes, for every route."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import sealgate.client
from chassis.methods import Envelope, Method, method_table
from edge.present import answer_encoder
from sealgate.client import AsyncSealgate, Sealgate, Side, Wallet, operations, signed_operations, values
from sealgate.client.core import Operation
from sealgate.common.v1 import method_rule_pb2 as rules
from tests.unit.edge_support import DESCRIPTOR


def served() -> Mapping[str, Method]:
    """Every method with a route, but for what web pages alone can call, by the client's name for it."""
    pool = DescriptorPool()
    services = []
    for file in FileDescriptorSet.FromString(DESCRIPTOR.read_bytes()).file:
        pool.Add(file)
        if file.package.startswith("sealgate."):
            services += [pool.FindServiceByName(f"{file.package}.{service.name}") for service in file.service]
    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in row.descriptor.name).lstrip("_"): row
        for row in method_table(services).values()
        if row.bindings and not row.for_pages
    }


METHODS: Final = served()
OPERATIONS: Final = {
    value.name: value
    for module in (operations, signed_operations)
    for value in vars(module).values()
    if isinstance(value, Operation)
}


def fill(message: Any, depth: int = 0) -> Any:  # noqa: ANN401
    """Puts something into every field of a message."""
    for field in message.DESCRIPTOR.fields:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            value = kind.fields_by_name["value"]
            if value.message_type is None:
                getattr(message, field.name)["some key"] = scalar(value, field)
            else:
                fill(getattr(message, field.name)["some key"], depth + 1)
        elif kind is not None and field.is_repeated:
            fill(getattr(message, field.name).add(), depth + 1)
        elif kind is not None and kind.full_name == "google.protobuf.Timestamp":
            getattr(message, field.name).FromJsonString("2026-01-02T03:04:05.123456789Z")
        elif kind is not None and kind.full_name == "google.protobuf.Struct":
            getattr(message, field.name)["name"] = "Ada"
        elif kind is not None:
            fill(getattr(message, field.name), depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).append(scalar(field, field))
        else:
            setattr(message, field.name, scalar(field, field))
    return message


def scalar(field: FieldDescriptor, ruled: FieldDescriptor) -> Any:  # noqa: ANN401
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_STRING:
        return "12.340000" if ruled.GetOptions().Extensions[rules.json].decimal else "some text"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"some bytes"
    return 1


def plain(value: object) -> object:
    """A model as JSON had it, as far as types allow."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        assert value == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
        return "2026-01-02T03:04:05.123456789Z"
    return value


def unwrapped(method: Method, answered: Any) -> object:  # noqa: ANN401
    """An answer, or the list that it is nothing but a wrapping of: a list of signed requests' family."""
    wrapped = method.envelope is Envelope.SIGNED and len(method.descriptor.output_type.fields) == 1
    return next(iter(answered.values())) if wrapped and method.object_field is None else answered


def test_client_has_every_route_of_the_platform() -> None:
    """A route that is added to the contracts is in both clients; iterators for whatever comes in pages."""
    assert OPERATIONS.keys() == METHODS.keys()
    for kind in (Sealgate, AsyncSealgate):
        for name, method in METHODS.items():
            assert callable(getattr(kind, name)), name
            paged = {"limit", "offset"} <= set(method.descriptor.input_type.fields_by_name)
            if name.startswith("list_"):
                assert hasattr(kind, name.replace("list_", "iter_", 1)) is paged


@pytest.mark.parametrize("name", METHODS)
def test_operation_names_the_route(name: str) -> None:
    """The verb and path that the platform serves."""
    [binding, *_] = METHODS[name].bindings
    operation = OPERATIONS[name]
    assert (operation.verb, operation.template) == (binding.verb, binding.template)


@pytest.mark.parametrize("name", METHODS)
def test_answer_is_read_whole(name: str) -> None:
    """What the edge writes of a full answer is what the model holds, member by member and digit by digit."""
    method, operation = METHODS[name], OPERATIONS[name]
    message = fill(GetMessageClass(method.descriptor.output_type)())
    document = json.loads(answer_encoder(method)(message))
    answered = document if operation.bare else document["response"]
    assert plain(operation.read(answered)) == unwrapped(method, answered)


@pytest.mark.parametrize("name", METHODS)
def test_answer_is_read_when_it_grew(name: str) -> None:
    """Members that a newer server adds are passed over, at every depth."""

    def grow(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, list):
            return [grow(item) for item in value]
        if isinstance(value, dict) and "some key" not in value and value != {"name": "Ada"}:
            return {key: grow(item) for key, item in value.items()} | {"brand_new": [1]}
        return value

    method, operation = METHODS[name], OPERATIONS[name]
    message = fill(GetMessageClass(method.descriptor.output_type)())
    document = json.loads(answer_encoder(method)(message))
    answered = document if operation.bare else document["response"]
    assert operation.read(grow(answered)) == operation.read(answered)


@pytest.mark.parametrize("name", METHODS)
def test_absent_members_are_none_when_they_may_be(name: str) -> None:
    """An answer in which all that is optional is null is read, and says None there."""

    def clear(message: Any) -> None:  # noqa: ANN401
        for field in message.DESCRIPTOR.fields:
            if field.containing_oneof is not None:
                message.ClearField(field.name)
            elif field.message_type is not None and field.message_type.GetOptions().map_entry:
                continue
            elif field.message_type is not None and field.message_type.full_name.startswith("sealgate."):
                items = getattr(message, field.name)
                for item in items if field.is_repeated else [items]:
                    clear(item)

    method, operation = METHODS[name], OPERATIONS[name]
    message = fill(GetMessageClass(method.descriptor.output_type)())
    clear(message)
    document = json.loads(answer_encoder(method)(message))
    answered = document if operation.bare else document["response"]
    assert plain(operation.read(answered)) == unwrapped(method, answered)


def test_enum_value_of_a_newer_server_keeps_its_text() -> None:
    """It is of the enum's type, equal to its text, and none of those that are known."""
    side = values.one_of(Side)("HEDGE")
    assert side == "HEDGE"
    assert isinstance(side, Side)
    assert side not in list(Side)
    assert values.one_of(Side)("BUY") is Side.BUY


@pytest.mark.parametrize(
    ("read", "bad"),
    [
        (values.text, 1),
        (values.integer, True),
        (values.integer, 1.5),
        (values.flag, 1),
        (values.decimal, "1e3"),
        (values.decimal, "NaN"),
        (values.decimal, 1),
        (values.moment, "yesterday"),
        (values.moment, 7),
        (values.moment, "2026-01-01T00:00:00"),
        (values.moment, "0001-01-01T00:00:00+23:59"),
        (values.moment, "9999-12-31T23:59:59-23:59"),
        (values.json_object, []),
        (values.list_of(values.text), {}),
        (values.tuple_of(values.text), "abc"),
        (values.map_of(values.text), []),
        (Wallet.from_json, None),
        (Wallet.from_json, {}),
    ],
)
def test_value_of_another_type_is_refused(read: values.Read[object], bad: object) -> None:
    """Nothing is guessed: what is not as the contract says is no answer."""
    with pytest.raises(values.UnreadableError):
        read(bad)


@pytest.mark.parametrize(
    ("text", "microsecond"), [("", 0), (".123", 123000), (".123456", 123456), (".123456789", 123456)]
)
def test_time_is_read_with_every_number_of_digits(text: str, microsecond: int) -> None:
    """None, three, six or nine, as the platform writes them; always aware of its zone."""
    moment = values.moment(f"2026-01-02T03:04:05{text}Z")
    assert moment == datetime(2026, 1, 2, 3, 4, 5, microsecond, tzinfo=UTC)


def test_package_gives_all_names_from_one_place() -> None:
    """What is exported is there, and sorted for those who look for it."""
    assert all(hasattr(sealgate.client, name) for name in sealgate.client.__all__)
    assert len(set(sealgate.client.__all__)) == len(sealgate.client.__all__)

"""What the API's description says of the messages that are signed, held against what services read."""

from __future__ import annotations

import base64
from typing import Any, Final

import pytest
from google.protobuf.message_factory import GetMessageClass

from chassis.methods import Method
from chassis.rpc.envelope import request_reader
from edge.present import json_bytes
from edge.translate import request_decoder
from tests.described import DESCRIPTION, METHODS

AUDIENCE: Final = "api.example.com"
PAYLOADS: Final = [
    pytest.param(method, id=method.descriptor.name) for method in METHODS.values() if method.takes_payload
]


def content_of(method: Method) -> Any:  # noqa: ANN401
    """What the description says of a method's body: schema and example."""
    [binding] = method.bindings
    operation = DESCRIPTION.operation(binding.verb, binding.template)
    return operation["requestBody"]["content"]["application/json"]


def message_schema(method: Method) -> Any:  # noqa: ANN401
    """The schema that the member `payload` leads to."""
    member = DESCRIPTION.resolved(content_of(method)["schema"])["properties"]["payload"]
    assert member["contentEncoding"] == "base64"
    reference = member["contentSchema"]["$ref"]
    assert f"`{reference}`" in member["description"]
    assert reference == f"#/components/schemas/{str(method.payload_message).rpartition('.')[2]}"
    return DESCRIPTION.resolved(member["contentSchema"])


@pytest.mark.parametrize("method", PAYLOADS)
def test_payload_leads_to_the_fields_of_its_message(method: Method) -> None:
    """Each field with its number, type and comment, and the message is said to be protobuf."""
    schema = message_schema(method)
    assert schema["x-protobuf-message"] == method.payload_message
    assert "A protobuf message, not JSON" in schema["description"]
    pool = method.descriptor.containing_service.file.pool
    fields = pool.FindMessageTypeByName(method.payload_message or "").fields
    numbers = {name: item["x-protobuf-number"] for name, item in schema["properties"].items()}
    assert numbers == {field.name: field.number for field in fields}
    optional = {field.name for field in fields if field.containing_oneof is not None}
    assert set(schema.get("required", ())) == set(numbers) - optional
    assert all(item["description"] and item["x-protobuf-type"] for item in schema["properties"].values())
    for field in fields:
        if field.enum_type is not None:
            values = {value.number for value in field.enum_type.values} - {0}
            assert set(schema["properties"][field.name]["enum"]) == values


@pytest.mark.parametrize("method", PAYLOADS)
def test_example_payload_is_read_by_its_service(method: Method) -> None:
    """Header, id and body are in the one form that is taken, and the body is the schema's own example."""
    example = content_of(method)["example"]
    request: Any = GetMessageClass(method.descriptor.input_type)()
    request.MergeFrom(request_decoder(method, method.bindings[0], ())([], b"", json_bytes(example)))
    read = request_reader(method, AUDIENCE)(request)
    schema = message_schema(method)
    [shown] = schema["examples"]
    assert DESCRIPTION.complaint(schema, shown) is None
    body: Any = read.body
    for name, value in shown.items():
        found = getattr(body, name)
        assert (base64.b64encode(found).decode() if isinstance(found, bytes) else found) == value
    assert {field.name for field, _ in body.ListFields()} <= set(shown)


@pytest.mark.parametrize("method", PAYLOADS)
def test_signature_of_the_example_is_said_to_be_none(method: Method) -> None:
    """Nobody takes the zeros for a signature that holds."""
    [binding] = method.bindings
    assert base64.b64decode(content_of(method)["example"]["signature"]) == bytes(64)
    description = DESCRIPTION.operation(binding.verb, binding.template)["description"]
    assert "In the example the signature is nothing but zeros." in description

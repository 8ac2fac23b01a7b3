"""The description of a service made to order: every type of field, and the family with lowerCamel names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from chassis.methods import Method
from edge.openapi import describe
from edge.present import answer_encoder, json_bytes
from edge.routes import variable_names
from edge.translate import request_decoder
from sealgate.common.v1 import method_rule_pb2 as rules
from tests.described import Description
from tests.unit.edge_support import sample_method

TEMPLATE: Final = "/api/v1/items/{item_id}"
HTTP: Final = {"post": TEMPLATE, "body": "*"}
ENVELOPES: Final = [rules.ENVELOPE_PLATFORM, rules.ENVELOPE_BROWSER, rules.ENVELOPE_BARE]


def described(directory: Path, envelope: int) -> tuple[Method, Description, Any]:
    """A method, its description, and its operation."""
    path = directory / "sample.binpb"
    method = sample_method(path, HTTP, envelope=envelope)
    description = Description(describe(path, [method]))
    return method, description, description.operation("POST", TEMPLATE)


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_example_of_every_type_is_valid_and_taken(tmp_path: Path, envelope: int) -> None:
    """The example body keeps to its schema, and the edge reads it."""
    method, description, operation = described(tmp_path, envelope)
    content = operation["requestBody"]["content"]["application/json"]
    assert description.complaint(content["schema"], content["example"]) is None
    decode = request_decoder(method, method.bindings[0], variable_names(TEMPLATE))
    decode(["an-item"], b"", json_bytes(content["example"]))


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_answer_of_every_type_is_as_described(tmp_path: Path, envelope: int, *, full: bool) -> None:
    """What the edge prints of a message is what the description says, whatever is set in it."""
    method, description, operation = described(tmp_path, envelope)
    message: Any = GetMessageClass(method.descriptor.output_type)()
    message.moment.seconds = 1
    message.data.SetInParent()
    message.listed.SetInParent()
    message.any_value.null_value = 0
    message.inner.SetInParent()
    message.side, message.amount = 1, "12.50"
    if full:
        ParseDict(
            {
                "huge": 2**64 - 1,
                "big": -(2**63),
                "raw": "AAEC",
                "side": "ORDER_SIDE_SELL",
                "tags": ["a"],
                "inners": [{"nameText": "b"}],
                "labels": {"c": "d"},
                "nodes": {"e": {"nameText": "f"}},
                "listed": ["g"],
                "data": {"h": [1, None]},
                "maybeText": "",
                "maybeBig": 0,
            },
            message,
        )
    answer = answer_encoder(method)(message)
    content = operation["responses"]["200"]["content"]["application/json"]
    assert description.complaint(content["schema"], json.loads(answer), closed=True) is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"unknown": 1}, "unknown"),
        ({"big": 2**63}, "maximum"),
        ({"count": -1}, "minimum"),
        ({"side": "UNSPECIFIED"}, "not one of"),
        ({"tags": [1]}, "not of type"),
        ({"item_id": "in the path"}, "item_id"),
        ({"moment": "2026-01-01T00:00:00+01:00"}, "does not match"),
        ({"amount": "1e5"}, "does not match"),
        ({"maybe_text": 1}, "not of type"),
    ],
)
def test_schema_refuses_what_the_edge_refuses(
    tmp_path: Path, body: dict[str, object], complaint: str
) -> None:
    """The description is as strict as the edge about members, types and ranges."""
    _, description, operation = described(tmp_path, rules.ENVELOPE_PLATFORM)
    content = operation["requestBody"]["content"]["application/json"]
    found = description.complaint(content["schema"], content["example"] | body)
    assert found is not None
    assert complaint in found


def test_null_stands_for_what_may_be_left_out(tmp_path: Path) -> None:
    """Optional and repeated members take null on input; an optional one is null in an answer."""
    _, description, operation = described(tmp_path, rules.ENVELOPE_PLATFORM)
    content = operation["requestBody"]["content"]["application/json"]
    body = content["example"] | {"maybe_text": None, "maybe_big": None, "tags": None}
    assert description.complaint(content["schema"], body) is None
    required = description.resolved(content["schema"])["required"]
    assert not {"maybe_text", "maybe_big", "tags", "labels"} & set(required)
    answer = description.document["components"]["schemas"]["Everything"]["properties"]
    assert answer["maybe_text"]["type"] == ["string", "null"]
    assert answer["tags"]["type"] == "array"

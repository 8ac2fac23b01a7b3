"""Descriptor sets made to order, for what the edge makes of any proto and not only of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from chassis.methods import Method
from edge.routes import load_methods
from sealgate.common.v1 import method_rule_pb2 as rules

ROOT: Final = Path(__file__).parents[2]
DESCRIPTOR: Final = ROOT / "gen" / "sealgate.binpb"
PACKAGE: Final = "sealgate.sample.v1"
SERVICE: Final = f"{PACKAGE}.SampleService"

_OPTIONAL = FieldDescriptorProto.LABEL_OPTIONAL
_REPEATED = FieldDescriptorProto.LABEL_REPEATED
_MESSAGE = FieldDescriptorProto.TYPE_MESSAGE
_STRING = FieldDescriptorProto.TYPE_STRING
_INT64 = FieldDescriptorProto.TYPE_INT64
_ENUM = FieldDescriptorProto.TYPE_ENUM

# Name, type, type name, repeated.
_FIELDS: Final = (
    ("item_id", _STRING, "", False),
    ("text", _STRING, "", False),
    ("flag", FieldDescriptorProto.TYPE_BOOL, "", False),
    ("small", FieldDescriptorProto.TYPE_INT32, "", False),
    ("count", FieldDescriptorProto.TYPE_UINT32, "", False),
    ("big", _INT64, "", False),
    ("huge", FieldDescriptorProto.TYPE_UINT64, "", False),
    ("amount", _STRING, "", False),
    ("raw", FieldDescriptorProto.TYPE_BYTES, "", False),
    ("side", _ENUM, "OrderSide", False),
    ("moment", _MESSAGE, "google.protobuf.Timestamp", False),
    ("data", _MESSAGE, "google.protobuf.Struct", False),
    ("listed", _MESSAGE, "google.protobuf.ListValue", False),
    ("any_value", _MESSAGE, "google.protobuf.Value", False),
    ("inner", _MESSAGE, "Inner", False),
    ("tags", _STRING, "", True),
    ("inners", _MESSAGE, "Inner", True),
    ("labels", _MESSAGE, "Everything.LabelsEntry", True),
    ("nodes", _MESSAGE, "Everything.NodesEntry", True),
)
_MAPS: Final = {"LabelsEntry": ("", _STRING), "NodesEntry": ("Inner", _MESSAGE)}


@dataclass(frozen=True, slots=True)
class Rpc:
    """A method to put into the sample service; None for `rule` leaves the rule away."""

    name: str
    http: dict[str, Any]
    rule: dict[str, Any] | None = None
    client_streaming: bool = False


OPEN_RULE: Final = {
    "exposure": rules.EXPOSURE_OPEN,
    "effect": rules.EFFECT_READ,
    "envelope": rules.ENVELOPE_BARE,
    "rate_class": rules.RATE_CLASS_NONE,
}


def write_descriptor(
    path: Path, rpcs: Sequence[Rpc], extra_field: FieldDescriptorProto | None = None
) -> Path:
    """A descriptor set file with one service of `rpcs`, all from and to the message Everything."""
    file = FileDescriptorProto(name="sample.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend(
        [
            "google/protobuf/struct.proto",
            "google/protobuf/timestamp.proto",
            "google/api/annotations.proto",
            "sealgate/common/v1/method_rule.proto",
        ]
    )
    side = file.enum_type.add(name="OrderSide")
    for number, name in enumerate(("ORDER_SIDE_UNSPECIFIED", "ORDER_SIDE_BUY", "ORDER_SIDE_SELL")):
        side.value.add(name=name, number=number)
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="name_text", number=1, type=_STRING, label=_OPTIONAL, json_name="nameText")
    _everything(file.message_type.add(name="Everything"), extra_field)
    service = file.service.add(name="SampleService")
    for rpc in rpcs:
        method = service.method.add(
            name=rpc.name,
            input_type=f".{PACKAGE}.Everything",
            output_type=f".{PACKAGE}.Everything",
            client_streaming=rpc.client_streaming,
        )
        method.options.Extensions[annotations_pb2.http].CopyFrom(HttpRule(**rpc.http))
        if rpc.rule is not None:
            method.options.Extensions[rules.rule].CopyFrom(rules.MethodRule(**rpc.rule))
    files = FileDescriptorSet.FromString(DESCRIPTOR.read_bytes())
    wanted = FileDescriptorSet(file=[*files.file, file])
    path.write_bytes(wanted.SerializeToString())
    return path


def _everything(message: DescriptorProto, extra_field: FieldDescriptorProto | None) -> None:
    for number, (name, kind, type_name, repeated) in enumerate(_FIELDS, start=1):
        field = message.field.add(
            name=name, number=number, type=kind, label=_REPEATED if repeated else _OPTIONAL
        )
        field.json_name = _camel(name)
        if type_name:
            field.type_name = (
                f".{type_name}" if type_name.startswith("google.") else f".{PACKAGE}.{type_name}"
            )
        if name == "amount":
            field.options.Extensions[rules.json].decimal = True
    for index, (name, kind) in enumerate((("maybe_text", _STRING), ("maybe_big", _INT64))):
        message.oneof_decl.add(name=f"_{name}")
        message.field.add(
            name=name,
            number=50 + index,
            type=kind,
            label=_OPTIONAL,
            proto3_optional=True,
            oneof_index=index,
            json_name=_camel(name),
        )
    for name, (type_name, kind) in _MAPS.items():
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_STRING, label=_OPTIONAL, json_name="key")
        value = entry.field.add(name="value", number=2, type=kind, label=_OPTIONAL, json_name="value")
        if type_name:
            value.type_name = f".{PACKAGE}.{type_name}"
    if extra_field is not None:
        message.field.append(extra_field)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def sample_method(path: Path, http: dict[str, Any], **rule: Any) -> Method:  # noqa: ANN401
    """The row of one method of the sample service."""
    write_descriptor(path, [Rpc("DoIt", http, OPEN_RULE | rule)])
    return load_methods(path, [SERVICE])[0]

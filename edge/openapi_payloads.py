"""The messages that signed payloads hold: their schemas, and payloads with such a message as examples.

They are protobuf and never JSON. JSON Schema says of them what it can: numbers for enums, base64 for bytes,
and each field's number and type in keywords of our own.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message_factory import GetMessageClass

from chassis.methods import Method
from edge.field_facts import FACTS
from edge.schemas import REFERENCE, Schema, Schemas, Shape
from edge.translate import enum_texts, field_name_of

MESSAGE_KEYWORD: Final = "x-protobuf-message"
"""The full name of the message that a schema describes."""
NUMBER_KEYWORD: Final = "x-protobuf-number"
TYPE_KEYWORD: Final = "x-protobuf-type"

_VERSION: Final = 1
_ED25519: Final = 0


def add_payload(schemas: Schemas, method: Method, body: Schema) -> str:
    """Tells in the schema of a method's body what its payload holds; returns an example of the payload.

    The message's own schema goes to the components, under the message's name.
    """
    shape = _WireShape(schemas, method)
    descriptor = shape.payload_descriptor
    name = schemas.name_of(descriptor, "")
    schemas.components[name] = shape.component()
    example = _payload(method, shape.serialized())
    member = body["properties"]["payload"]
    # No media type of protobuf: 24 bytes come before the message.
    body["properties"]["payload"] = member | {
        "description": (
            f"{member['description']} From byte 24 on it is the protobuf message `{name}`, request type "
            f"{method.request_type}: `{REFERENCE}{name}`."
        ),
        "contentMediaType": "application/octet-stream",
        "contentSchema": {"$ref": REFERENCE + name},
        "examples": [example],
    }
    return example


def _payload(method: Method, body: bytes) -> str:
    head = struct.pack("<BBHI", _VERSION, _ED25519, method.request_type, 0)
    return base64.b64encode(head + UUID(FACTS["request_id"]["example"]).bytes + body).decode("ascii")


class _WireShape(Shape):
    """The shape of a method's payload message, whose fields are scalars and enums."""

    def __init__(self, schemas: Schemas, method: Method) -> None:
        super().__init__(schemas, field_name_of(method.envelope), method.envelope, is_sent=True)
        pool = method.descriptor.containing_service.file.pool
        self.payload_descriptor: Descriptor = pool.FindMessageTypeByName(method.payload_message or "")
        self._request_type = method.request_type

    def component(self) -> Schema:
        """The message's schema, with an example of it."""
        descriptor = self.payload_descriptor
        schema = self.object_of(descriptor, descriptor.fields)
        comment = self._schemas.comment(descriptor.full_name)
        return schema | {
            "description": (
                f"{comment}\n\nA protobuf message, not JSON: what a payload of request type "
                f"{self._request_type} holds. `bytes` are raw there, and in base64 here."
            ),
            "examples": [self.members_example(descriptor.fields)],
            MESSAGE_KEYWORD: descriptor.full_name,
        }

    def serialized(self) -> bytes:
        """The example in protobuf, in the one form that is taken."""
        descriptor = self.payload_descriptor
        message: Any = GetMessageClass(descriptor)()
        for name, value in self.members_example(descriptor.fields).items():
            is_raw = descriptor.fields_by_name[name].type == FieldDescriptor.TYPE_BYTES
            setattr(message, name, base64.b64decode(value) if is_raw else value)
        serialized: bytes = message.SerializeToString(deterministic=True)
        return serialized

    def members_example(self, fields: Sequence[FieldDescriptor]) -> dict[str, Any]:
        """See `Shape.members_example`; without `optional` a field always has a value."""
        required = {field.name: self.example(field) for field in fields if self._is_required(field)}
        return required | super().members_example(fields)

    def item(self, field: FieldDescriptor) -> Schema:
        """See `Shape.item`."""
        if field.enum_type is None:
            return super().item(field)
        numbers = [number for number in enum_texts(field.enum_type) if number != 0]
        return {"type": "integer", "enum": numbers, "examples": [self.item_example(field)]}

    def item_example(self, field: FieldDescriptor) -> Any:  # noqa: ANN401
        """See `Shape.item_example`; of an enum its number."""
        example = super().item_example(field)
        if field.enum_type is None:
            return example
        return next(number for number, text in enum_texts(field.enum_type).items() if text == example)

    def _property(self, field: FieldDescriptor) -> Schema:
        number = FieldDescriptorProto.Type.ValueType(field.type)
        kind = FieldDescriptorProto.Type.Name(number).removeprefix("TYPE_").lower()
        comment = self._schemas.comment(field.full_name)
        if field.enum_type is not None:
            kind = field.enum_type.name
            texts = enum_texts(field.enum_type).items()
            named = ", ".join(f"{number} is `{text}`" for number, text in texts if number != 0)
            comment = f"{comment} In the message {named}."
        on_the_wire = {NUMBER_KEYWORD: field.number, TYPE_KEYWORD: kind}
        return {"description": comment} | self.item(field) | on_the_wire

    def _scalar(self, field: FieldDescriptor) -> Schema:
        schema = super()._scalar(field)
        # Decimals may be numbers in JSON only.
        return schema | {"type": "string"} if isinstance(schema["type"], list) else schema

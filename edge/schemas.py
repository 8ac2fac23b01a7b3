"""Message types as JSON Schemas with examples, in the dialect that `translate` reads and `present` prints.

A type has up to two schemas: what is sent is strict and takes null for what may be left out, what is
answered has every member. What may be absent is `optional` in the proto, messages too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from chassis.methods import Envelope, Method
from chassis.signing import Status
from edge.field_facts import FACTS, Facts
from edge.translate import DECIMAL, INTEGER_RANGES, NameOf, enum_texts, field_name_of
from sealgate.common.v1 import method_rule_pb2 as rules

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/"
_SIGNING_PAGE: Final = ("docs/signing.md", "the section Signing")
_NOTHING: Final[Facts] = {}
# Keywords about an array rather than its items.
_ARRAY_KEYWORDS: Final = frozenset({"minItems", "maxItems", "uniqueItems"})
# What is not a keyword of JSON Schema.
_OWN_KEYWORDS: Final = frozenset({"example", "left_out", "left_empty"})
STATUS_COMPONENT: Final = "SignedStatus"
"""The schema of what can become of a signed request."""
_OUTCOME_STATUS: Final[Facts] = {"example": Status.COMPLETED.value}
_FORMATS: Final = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
}
_TIME_EXAMPLE: Final = "2026-03-01T09:30:00Z"


def comments_of(files: FileDescriptorSet) -> dict[str, str]:
    """What the protos say of every service, method, message, field, enum and value, by full name.

    Where they point to a page of the repository, which nobody serves, it is to the description's own words.
    """
    comments: dict[str, str] = {}
    for file in files.file:
        texts = {
            tuple(place.path): " ".join(place.leading_comments.split()).replace(*_SIGNING_PAGE)
            for place in file.source_code_info.location
            if place.leading_comments
        }
        for path, name in _named_places(file):
            if path in texts:
                comments[f"{file.package}.{name}"] = texts[path]
    return comments


def _named_places(file: Any) -> Iterator[tuple[tuple[int, ...], str]]:  # noqa: ANN401  (FileDescriptorProto)
    """Places of a file as descriptor.proto numbers them, and the names of what is there."""
    for index, message in enumerate(file.message_type):
        yield (4, index), message.name
        for number, field in enumerate(message.field):
            yield (4, index, 2, number), f"{message.name}.{field.name}"
    for index, enum in enumerate(file.enum_type):
        yield (5, index), enum.name
        for number, value in enumerate(enum.value):
            yield (5, index, 2, number), f"{enum.name}.{value.name}"
    for index, service in enumerate(file.service):
        yield (6, index), service.name
        for number, method in enumerate(service.method):
            yield (6, index, 2, number), f"{service.name}.{method.name}"


def json_fields(method: Method, path_names: Sequence[str]) -> list[FieldDescriptor]:
    """What a method takes in its body or query: its request's fields that are not in the path.

    Of a request that is signed in its headers it is what its JSON body is made of, by the names:
    `CreateDeviceKey` takes a `NewDeviceKey`.
    """
    message: Descriptor | None = method.descriptor.input_type
    if method.is_signed and not method.takes_payload:
        of_file = method.descriptor.containing_service.file.message_types_by_name
        message = of_file.get(method.descriptor.name.replace("Create", "New", 1))
    return [field for field in message.fields if field.name not in path_names] if message else []


class Schemas:
    """Gathers the schemas of the message types that it is asked about, by name, in `components`."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments
        self._owners: dict[str, str] = {}

    def answer(self, method: Method) -> tuple[Schema, Any]:
        """Schema and example of what is inside the envelope of a method's answer."""
        shape = Shape(self, field_name_of(method.envelope), method.envelope, is_sent=False)
        descriptor = method.descriptor.output_type
        member = method.list_field or method.object_field
        if member is None:
            return shape.message(descriptor), shape.message_example(descriptor)
        field = descriptor.fields_by_name[member]
        return shape.value(field), shape.example(field)

    def body(self, method: Method, path_names: Sequence[str]) -> tuple[Schema, Any]:
        """Schema and example of a method's body, without the fields that are in the path."""
        shape = Shape(self, field_name_of(method.envelope), method.envelope, is_sent=True)
        fields = json_fields(method, path_names)
        # As the message is named too; the message itself may be in an answer, and has the path's fields.
        name = f"{method.descriptor.name}Request"
        self.components[name] = shape.object_of(method.descriptor.input_type, fields)
        return {"$ref": REFERENCE + name}, shape.members_example(fields)

    def parameters(self, method: Method, path_names: Sequence[str], *, has_body: bool) -> list[Schema]:
        """A method's path and query parameters."""
        shape = Shape(self, field_name_of(method.envelope), method.envelope, is_sent=True)
        by_name = method.descriptor.input_type.fields_by_name
        in_query = [
            field
            for field in ([] if has_body else json_fields(method, path_names))
            if not (field.is_repeated or field.message_type)
        ]
        places = [(by_name[name], "path", name) for name in path_names]
        places += [(field, "query", shape.name_of(field)) for field in in_query]
        found = []
        for field, place, name in places:
            schema = shape.item(field)
            schema.pop("description", None)
            found.append(
                {
                    "name": name,
                    "in": place,
                    "required": place == "path",
                    "description": self.comment(field.full_name),
                    "schema": schema,
                    "example": shape.item_example(field),
                }
            )
        return found

    def comment(self, full_name: str) -> str:
        """What the proto says of something."""
        return self._comments.get(full_name, "")

    def name_of(self, descriptor: Descriptor | EnumDescriptor, suffix: str) -> str:
        """The name of a type's schema: the type's own, with its package where another has that one."""
        name = f"{descriptor.name}{suffix}"
        if self._owners.setdefault(name, descriptor.full_name) == descriptor.full_name:
            return name
        return f"{descriptor.full_name}{suffix}"


class Shape:
    """One of the two shapes of messages: what is sent, or what is answered, in a family's spelling."""

    def __init__(self, schemas: Schemas, name_of: NameOf, envelope: Envelope, *, is_sent: bool) -> None:
        self.name_of = name_of
        self._schemas = schemas
        self._is_sent = is_sent
        self._suffix = ("Input" if is_sent else "") + ("Browser" if envelope is Envelope.BROWSER else "")

    def message(self, descriptor: Descriptor) -> Schema:
        """The schema of a message type, by reference unless it is a well-known one."""
        known = _WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return dict(known)
        name = self._schemas.name_of(descriptor, self._suffix)
        if name not in self._schemas.components:
            self._schemas.components[name] = {}  # taken, should the type hold itself
            self._schemas.components[name] = self.object_of(descriptor, descriptor.fields)
        return {"$ref": REFERENCE + name}

    def object_of(self, descriptor: Descriptor, fields: Sequence[FieldDescriptor]) -> Schema:
        """The schema of an object with these fields of a message type."""
        schema: Schema = {
            "type": "object",
            "description": self._schemas.comment(descriptor.full_name),
            "properties": {self.name_of(field): self._property(field) for field in fields},
        }
        required = [self.name_of(field) for field in fields if self._is_required(field)]
        if required:
            schema["required"] = required
        if self._is_sent:
            schema["additionalProperties"] = False
        return schema

    def _is_required(self, field: FieldDescriptor) -> bool:
        return not self._is_sent or not (_is_optional(field) or field.is_repeated)

    def _property(self, field: FieldDescriptor) -> Schema:
        schema = self.value(field)
        if _is_optional(field) or not self._is_required(field):
            schema = _or_null(schema)
        comment = self._schemas.comment(field.full_name)
        return {"description": comment} | schema if comment else schema

    def value(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value."""
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            members = {"type": "object", "additionalProperties": self.item(kind.fields_by_name["value"])}
            return members | {"examples": [self.example(field)]}
        if field.is_repeated or (kind is not None and kind.full_name == "google.protobuf.ListValue"):
            own = {key: fact for key, fact in self._facts(field).items() if key in _ARRAY_KEYWORDS}
            return {"type": "array", "items": self.item(field)} | own
        return self.item(field)

    def item(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value, or of one of its values."""
        facts = self._facts(field)
        keywords = {key: fact for key, fact in facts.items() if key not in _ARRAY_KEYWORDS | _OWN_KEYWORDS}
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is not None:
            schema = self.message(field.message_type)
            if "$ref" in schema:
                return schema
        elif _is_outcome_status(field):
            return {"$ref": REFERENCE + STATUS_COMPONENT}
        else:
            schema = self._scalar(field)
        return schema | keywords | {"examples": [self.item_example(field)]}

    def _scalar(self, field: FieldDescriptor) -> Schema:
        if field.type in INTEGER_RANGES:
            lowest, highest = INTEGER_RANGES[field.type]
            bounds = {"minimum": lowest, "maximum": highest}
            form = {"format": _FORMATS[field.type]} if field.type in _FORMATS else {}
            return {"type": "integer"} | form | bounds
        if field.type == FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        if self._is_sent and field.GetOptions().Extensions[rules.json].decimal:
            return {"type": ["string", "number"], "pattern": f"^{DECIMAL.pattern}$"}
        return {"type": "string"}

    def _enum(self, descriptor: EnumDescriptor) -> Schema:
        """An enum's schema, by reference: both shapes have the same values."""
        name = self._schemas.name_of(descriptor, "")
        if name not in self._schemas.components:
            texts = {number: text for number, text in enum_texts(descriptor).items() if number != 0}
            meanings = [
                f"`{text}`: {self._schemas.comment(f'{descriptor.full_name}.{value.name}')}"
                for value in descriptor.values
                if (text := texts.get(value.number)) is not None
            ]
            self._schemas.components[name] = {
                "type": "string",
                "description": "\n\n".join([self._schemas.comment(descriptor.full_name), *meanings]),
                "enum": list(texts.values()),
                "examples": [next(iter(texts.values()))],
            }
        return {"$ref": REFERENCE + name}

    def example(self, field: FieldDescriptor) -> Any:  # noqa: ANN401
        """An example of a field's value."""
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
            return {str(self.item_example(key)): self.item_example(value)}
        facts = self._facts(field)
        if facts.get("left_empty"):
            return [] if field.is_repeated else None
        one = self.item_example(field)
        is_list = kind is not None and kind.full_name == "google.protobuf.ListValue"
        return [one] if field.is_repeated or is_list else one

    def item_example(self, field: FieldDescriptor) -> Any:  # noqa: ANN401
        """An example of a field's value, or of one of its values."""
        facts = self._facts(field)
        if "example" in facts and (field.message_type is None or field.message_type.full_name in _WELL_KNOWN):
            return facts["example"]
        if field.enum_type is not None:
            return next(text for number, text in enum_texts(field.enum_type).items() if number != 0)
        if field.message_type is not None:
            return self.message_example(field.message_type)
        return {
            FieldDescriptor.CPPTYPE_BOOL: True,
            FieldDescriptor.CPPTYPE_STRING: "",
        }.get(field.cpp_type, 0)

    def message_example(self, descriptor: Descriptor) -> Any:  # noqa: ANN401
        """An example of a message."""
        if descriptor.full_name in _WELL_KNOWN:
            return _WELL_KNOWN[descriptor.full_name].get("examples", [{}])[0]
        return self.members_example(descriptor.fields)

    def members_example(self, fields: Sequence[FieldDescriptor]) -> dict[str, Any]:
        """An example of an object with these fields, without what is better left out."""
        return {
            self.name_of(field): self.example(field)
            for field in fields
            if not (self._is_sent and self._facts(field).get("left_out"))
        }

    def _facts(self, field: FieldDescriptor) -> Facts:
        owner = field.full_name.split(".")[-2]
        if _is_outcome_status(field):
            return _OUTCOME_STATUS
        raw = FACTS.get(f"Bytes.{field.name}") if field.type == FieldDescriptor.TYPE_BYTES else None
        sent = FACTS.get(f"Request.{field.name}") if self._is_sent else None
        return FACTS.get(f"{owner}.{field.name}") or raw or sent or FACTS.get(field.name, _NOTHING)


def _is_optional(field: FieldDescriptor) -> bool:
    """Whether the proto says `optional`, which is a oneof of one."""
    return field.containing_oneof is not None


def _is_outcome_status(field: FieldDescriptor) -> bool:
    """Whether a field says what became of a signed request."""
    beside = () if field.containing_type is None else field.containing_type.fields_by_name
    return field.name == "status" and field.enum_type is None and "processed_at_ns" in beside


def _or_null(schema: Schema) -> Schema:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]} if schema else schema
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    nullable = schema | {"type": [*types, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


_WELL_KNOWN: Final[Mapping[str, Schema]] = {
    "google.protobuf.Timestamp": {
        "type": "string",
        "format": "date-time",
        "pattern": "Z$",
        "examples": [_TIME_EXAMPLE],
    },
    "google.protobuf.Struct": {"type": "object", "examples": [{}]},
    # Of one item: lists that can be absent hold texts (docs/adr/0005-lists-with-presence.md).
    "google.protobuf.ListValue": {"type": "string", "examples": [""]},
    "google.protobuf.Value": {},
}

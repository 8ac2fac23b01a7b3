"""The contracts as the generator of `sealgate.client` looks at them: methods, models, comments, names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

# What was generated itself is imported where it is used: it may be about to be generated anew.
if TYPE_CHECKING:
    from chassis.methods import Method


@dataclass(frozen=True, slots=True)
class Contracts:
    """What the contracts say that a client has to know."""

    methods: tuple[Method, ...]
    comments: Mapping[str, str]
    """By the full name of a message, field, enum, value or method."""


def read_contracts(files: FileDescriptorSet) -> Contracts:
    """The methods that customers' programs can call over REST, and all comments.

    What needs a web page's origin is not for a program: browsers say it, and nobody else can be believed.
    """
    from chassis.methods import method_table

    pool = DescriptorPool()
    methods: list[Method] = []
    comments: dict[str, str] = {}
    for file in files.file:
        pool.Add(file)
        if not file.package.startswith("sealgate."):
            continue
        places = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for path, name in _named_places(file, file.package):
            comments[name] = " ".join(places.get(path, "").split())
        table = method_table(
            pool.FindServiceByName(f"{file.package}.{service.name}") for service in file.service
        )
        methods += [row for row in table.values() if row.bindings and not row.for_pages]
    return Contracts(tuple(methods), comments)


def _named_places(file: FileDescriptorProto, package: str) -> Iterator[tuple[tuple[int, ...], str]]:
    """Source-info paths of everything that has a name: the numbers are fields of FileDescriptorProto."""
    for number, collection, inner_number, inner in (
        (4, "message_type", 2, "field"),
        (5, "enum_type", 2, "value"),
        (6, "service", 2, "method"),
    ):
        for index, item in enumerate(getattr(file, collection)):
            yield (number, index), f"{package}.{item.name}"
            for inner_index, part in enumerate(getattr(item, inner)):
                path = (number, index, inner_number, inner_index)
                yield path, f"{package}.{item.name}.{part.name}"


def module_of(file_name: str) -> str:
    """The client's module for a contract: what several packages share is in one."""
    path = PurePosixPath(file_name)
    return "common" if path.parts[1] == "common" else path.stem


def models_of(contracts: Contracts) -> list[Descriptor | EnumDescriptor]:
    """Every message and enum that results and arguments are made of, those used by others first."""
    found: dict[str, Descriptor | EnumDescriptor] = {}

    def visit(field: FieldDescriptor) -> None:
        kind = field.message_type or field.enum_type
        if kind is None or not kind.full_name.startswith("sealgate.") or kind.full_name in found:
            return
        for inner in getattr(kind, "fields", ()):
            visit(inner)
        if map_value(field) is None:
            found[kind.full_name] = kind

    for method in contracts.methods:
        for field in (*argument_fields(method), *method.descriptor.output_type.fields):
            visit(field)
        if result_field(method) is None:
            output = method.descriptor.output_type
            found[output.full_name] = output
    return list(found.values())


def argument_fields(method: Method) -> list[FieldDescriptor]:
    """What a call takes: the request's fields, or those of what is signed in their place."""
    fields = list(method.descriptor.input_type.fields)
    if not method.is_signed:
        return fields
    message = signed_message(method)
    named = re.findall(r"\{(\w+)\}", method.bindings[0].template)
    in_path = [field for field in fields if field.name in named]
    return [*in_path, *(message.fields if message else ())]


def signed_message(method: Method) -> Descriptor | None:
    """The message that a signed request is about: its payload's, or that of its JSON body if it has one.

    `CreateDeviceKey`, which is signed in headers, takes a `NewDeviceKey` as its body.
    """
    file = method.descriptor.containing_service.file
    if method.payload_message:
        return file.pool.FindMessageTypeByName(method.payload_message)
    name = method.descriptor.name
    if not name.startswith("Create"):
        return None
    return file.message_types_by_name[f"New{name.removeprefix('Create')}"]


def is_outcome(kind: Descriptor) -> bool:
    """Whether a message is what became of a signed request."""
    return {"success", "status", "processed_at_ns", "request_id", "details"} <= set(kind.fields_by_name)


def wrapped_list(method: Method) -> FieldDescriptor | None:
    """The list that an answer is nothing but a wrapping of; None for another answer."""
    from chassis.methods import Envelope

    fields = method.descriptor.output_type.fields
    only = fields[0] if len(fields) == 1 and method.envelope is Envelope.SIGNED else None
    return only if only is not None and only.is_repeated and method.object_field is None else None


def result_field(method: Method) -> FieldDescriptor | None:
    """The field that is the answer; None when the whole message is."""
    name = method.list_field or method.object_field
    return wrapped_list(method) if name is None else method.descriptor.output_type.fields_by_name[name]


def class_name(kind: Descriptor | EnumDescriptor) -> str:
    """A model's name: `GetCurrentSessionResponse` is a `CurrentSession`, `DeleteWalletResponse` a result."""
    name = kind.name
    if name.endswith("Response"):
        stem = name.removesuffix("Response")
        return stem.removeprefix("Get") if stem.startswith("Get") else f"{stem}Result"
    return name


def snake(name: str) -> str:
    """`ListApiKeys` as Python says it: `list_api_keys`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def camel(name: str) -> str:
    """`INSUFFICIENT_BALANCE` or `api_key` as classes are named."""
    return "".join(part.capitalize() for part in name.split("_"))


def type_name(field: FieldDescriptor) -> str:
    """A field's type, such as `TYPE_STRING`."""
    return FieldDescriptorProto.Type.Name(FieldDescriptorProto.Type.ValueType(field.type))


def is_decimal(field: FieldDescriptor) -> bool:
    """Whether a string, or the values of a map, are decimal numbers."""
    from sealgate.common.v1 import method_rule_pb2 as rules

    return bool(field.GetOptions().Extensions[rules.json].decimal)


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """The values of a field whose names are data; None for any other field."""
    kind = field.message_type
    return kind.fields_by_name["value"] if kind is not None and kind.GetOptions().map_entry else None


def is_optional(field: FieldDescriptor) -> bool:
    """Whether the contract says that it can be absent."""
    # `optional` is a oneof of one.
    return field.containing_oneof is not None


def used_models(field: FieldDescriptor) -> Iterator[Descriptor | EnumDescriptor]:
    """The models that a field's values are."""
    value = map_value(field) or field
    used = value.message_type or value.enum_type
    if used is not None and used.full_name.startswith("sealgate."):
        yield used


def result_models(method: Method) -> list[Descriptor | EnumDescriptor]:
    """The models that a call answers with."""
    field = result_field(method)
    return [method.descriptor.output_type] if field is None else list(used_models(field))


def operation_name(method: Method) -> str:
    """The constant of a method's operation."""
    return snake(method.descriptor.name).upper()


def is_paged(method: Method) -> bool:
    """Whether a list comes in pages."""
    return {"limit", "offset"} <= set(method.descriptor.input_type.fields_by_name)

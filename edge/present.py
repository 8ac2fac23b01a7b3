"""Messages as the JSON of an answer, each member printed, in the envelope of the method's family."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.methods import Envelope, Method
from edge.translate import EXACT_INTEGER_MAX, NameOf, enum_texts, field_name_of

_SECONDS_PER_DAY: Final = 86_400
_DAY_OF_EPOCH: Final = date(1970, 1, 1).toordinal()
_NANOSECONDS_PER_MICROSECOND: Final = 1_000
_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000

_AROUND: Final = {
    Envelope.PLATFORM: (b'{"success":true,"response":', b"}"),
    Envelope.BROWSER: (b'{"data":', b"}"),
    Envelope.SIGNED: (b"", b""),
    Envelope.BARE: (b"", b""),
}

Present = Callable[[Any], Any]
# From a message and a field's value in it to what is printed of that value.
_Print = Callable[[Any, Any], Any]

_to_json: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


def json_bytes(document: object) -> bytes:
    """A document as compact UTF-8 JSON."""
    return _to_json(document).encode("utf-8")


def answer_encoder(method: Method) -> Callable[[Message], bytes]:
    """Makes the function from a method's response to the body of the REST answer."""
    name_of = field_name_of(method.envelope)
    descriptor = method.descriptor.output_type
    before, after = _AROUND[method.envelope]
    member = method.list_field or method.object_field
    if member is None:
        present = _presenter(descriptor, name_of)
        return lambda message: before + json_bytes(present(message)) + after
    show = _printer(descriptor.fields_by_name[member], name_of) or (lambda _, value: value)
    fetch = attrgetter(member)
    return lambda message: before + json_bytes(show(message, fetch(message))) + after


def _presenter(descriptor: Descriptor, name_of: NameOf) -> Present:
    """What makes a message into a JSON value: all plain fields at once, then those that need a hand."""
    known = _WELL_KNOWN.get(descriptor.full_name)
    if known is not None:
        return known
    names = [name_of(field) for field in descriptor.fields]
    fetch = _fetcher([field.name for field in descriptor.fields])
    printers = [
        (name, show)
        for name, show in zip(names, (_printer(field, name_of) for field in descriptor.fields), strict=True)
        if show is not None
    ]

    def present(message: Any) -> dict[str, Any]:  # noqa: ANN401
        document = dict(zip(names, fetch(message), strict=True))
        for name, show in printers:
            document[name] = show(message, document[name])
        return document

    return present


def _fetcher(attributes: list[str]) -> Callable[[Any], Iterable[Any]]:
    if len(attributes) > 1:
        return attrgetter(*attributes)
    return lambda message: [getattr(message, name) for name in attributes]


def _printer(field: FieldDescriptor, name_of: NameOf) -> _Print | None:
    """How a field's value is printed; None when it prints as it is."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        show = _item_printer(kind.fields_by_name["value"], name_of)
        return lambda _, items: {key: show(items[key]) for key in sorted(items)}
    show = _item_printer(field, name_of)
    if field.is_repeated:
        return lambda _, items: [show(item) for item in items]
    if field.has_presence:
        name = field.name
        return lambda message, value: show(value) if message.HasField(name) else None
    return None if show is _as_it_is else lambda _, value: show(value)


def _item_printer(field: FieldDescriptor, name_of: NameOf) -> Present:
    if field.message_type is not None:
        return _presenter(field.message_type, name_of)
    if field.enum_type is not None:
        texts = enum_texts(field.enum_type)
        # A number that this edge has no name for comes from a newer service.
        return lambda number: texts.get(number, number)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode("ascii")
    return _as_it_is


def _as_it_is(value: Any) -> Any:  # noqa: ANN401
    return value


def _present_timestamp(message: Any) -> str:  # noqa: ANN401
    days, seconds = divmod(message.seconds, _SECONDS_PER_DAY)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_day(days)}T{hour:02}:{minute:02}:{second:02}{_fraction(message.nanos)}Z"


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return date.fromordinal(_DAY_OF_EPOCH + days).isoformat()


def _fraction(nanos: int) -> str:
    """Nothing, or 3, 6 or 9 digits, as proto3's own JSON has it."""
    if nanos == 0:
        return ""
    if nanos % _NANOSECONDS_PER_MILLISECOND == 0:
        return f".{nanos // _NANOSECONDS_PER_MILLISECOND:03}"
    if nanos % _NANOSECONDS_PER_MICROSECOND == 0:
        return f".{nanos // _NANOSECONDS_PER_MICROSECOND:06}"
    return f".{nanos:09}"


def _present_struct(message: Any) -> dict[str, Any]:  # noqa: ANN401
    fields = message.fields
    return {name: _present_value(fields[name]) for name in sorted(fields)}


def _present_list(message: Any) -> list[Any]:  # noqa: ANN401
    return [_present_value(value) for value in message.values]


def _present_value(message: Any) -> Any:  # noqa: ANN401
    kind = message.WhichOneof("kind")
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() and abs(number) <= EXACT_INTEGER_MAX else number
    if kind == "struct_value":
        return _present_struct(message.struct_value)
    if kind == "list_value":
        return _present_list(message.list_value)
    return None if kind is None or kind == "null_value" else getattr(message, kind)


_WELL_KNOWN: Final[dict[str, Present]] = {
    "google.protobuf.Timestamp": _present_timestamp,
    "google.protobuf.Struct": _present_struct,
    "google.protobuf.ListValue": _present_list,
    "google.protobuf.Value": _present_value,
}

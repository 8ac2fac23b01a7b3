"""JSON to messages and back, in the dialect of the REST surface.

Everything that can be known of a message type is looked up once and kept in closures, so that a
request pays for its values and not for reflection. Input is strict: what a message type does not
say is refused, with its path.
"""

from __future__ import annotations

import base64
import calendar
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.errors import Code, Detail, SealgateError
from chassis.methods import Envelope, HttpBinding, Method
from chassis.strict_json import IntegerText, NumberText, read_object
from sealgate.common.v1 import method_rule_pb2 as rules

# Beyond it a double no longer tells an integer from its neighbour.
EXACT_INTEGER_MAX: Final = 2**53
_INTEGER_DIGITS_MAX: Final = 20
_DECIMAL_CHARACTERS_MAX: Final = 100
_STEP_CHARACTERS_MAX: Final = 64

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(?:\.(?P<fraction>[0-9]{1,9}))?Z"
)
INTEGER_RANGES: Final[Mapping[int, tuple[int, int]]] = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}

Decode = Callable[[Sequence[str], bytes, bytes], Message]
FillRequest = Callable[[Message, Sequence[str], bytes, bytes], None]
NameOf = Callable[[FieldDescriptor], str]
_Read = Callable[[Any], Any]
_Fill = Callable[[Any, Any], None]


class TranslationError(Exception):
    """A message type that has no form in the JSON dialect; the text names the field."""


class _RefusalError(Exception):
    """What is wrong with one value; on its way out it gathers the path to it, innermost step first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.steps: list[str | int] = []


class _EncodingError(_RefusalError):
    """A text that should be base64."""


def field_name_of(envelope: Envelope) -> NameOf:
    """How an envelope family spells the members of its messages."""
    return (lambda field: field.json_name) if envelope is Envelope.BROWSER else (lambda field: field.name)


def request_decoder(method: Method, binding: HttpBinding, variables: Sequence[str]) -> Decode:
    """Makes the function from (values of the path's `variables`, query string, body) to the request.

    What it makes raises as that of `request_filler`. Raises TranslationError for a message type that has
    no JSON form.
    """
    new_message = GetMessageClass(method.descriptor.input_type)
    fill = request_filler(method, binding, variables)

    def decode(values: Sequence[str], query: bytes, body: bytes) -> Message:
        message = new_message()
        fill(message, values, query, body)
        return message

    return decode


def request_filler(method: Method, binding: HttpBinding, variables: Sequence[str]) -> FillRequest:
    """Makes the function that reads (values of the path's `variables`, query string, body) into a request.

    What it makes raises VALIDATION_ERROR with the path of what is wrong, and for base64 that is none in a
    signed payload's request MALFORMED_PAYLOAD; what it has read until then is in the message. Raises
    TranslationError for a message type that has no JSON form.
    """
    descriptor = method.descriptor.input_type
    name_of = field_name_of(method.envelope)
    free = [field for field in descriptor.fields if field.name not in variables]
    path_names = frozenset(name_of(descriptor.fields_by_name[name]) for name in variables)
    members = free if binding.has_body else []
    fill = _object_filler({name_of(field): _setter(field, name_of) for field in members}, path_names)
    fill_query = _query_filler([] if binding.has_body else free, name_of, path_names)
    encoding_code = Code.MALFORMED_PAYLOAD if method.takes_payload else Code.VALIDATION_ERROR

    def fill_request(message: Message, values: Sequence[str], query: bytes, body: bytes) -> None:
        for name, value in zip(variables, values, strict=True):
            setattr(message, name, value)
        try:
            if query:
                fill_query(message, query)
            if body:
                fill(message, read_object(body))
        except _RefusalError as refusal:
            code = encoding_code if isinstance(refusal, _EncodingError) else Code.VALIDATION_ERROR
            detail = Detail(_path(refusal.steps), refusal.message)
            raise SealgateError(code, details=(detail,)) from None

    return fill_request


def _path(steps: Sequence[str | int]) -> str:
    path = ""
    for step in reversed(steps):
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = step[:_STEP_CHARACTERS_MAX].encode("utf-8", "replace").decode("utf-8") or '""'
            path += f".{name}" if path else name
    return path


def _object_filler(setters: Mapping[str, _Fill], path_names: frozenset[str] = frozenset()) -> _Fill:
    def fill(message: Any, members: Any) -> None:  # noqa: ANN401
        if type(members) is not tuple:
            raise _RefusalError("must be an object")
        seen: set[str] = set()
        for name, value in members:
            try:
                setter = setters.get(name)
                if setter is None:
                    raise _unknown(name, path_names)
                if name in seen:
                    raise _RefusalError("is there twice")
                seen.add(name)
                if value is not None:
                    setter(message, value)
            except _RefusalError as refusal:
                refusal.steps.append(name)
                raise

    return fill


def _unknown(name: str, path_names: frozenset[str]) -> _RefusalError:
    return _RefusalError("is given in the path" if name in path_names else "is not known here")


def _query_filler(fields: Sequence[FieldDescriptor], name_of: NameOf, path_names: frozenset[str]) -> _Fill:
    setters = {
        name_of(field): _scalar_setter(field.name, _text_reader(field))
        for field in fields
        if field.message_type is None and not field.is_repeated
    }

    def fill(message: Any, query: Any) -> None:  # noqa: ANN401
        seen: set[str] = set()
        for pair in query.split(b"&"):
            if not pair:
                continue
            encoded_name, _, encoded_value = pair.partition(b"=")
            name = _query_text(encoded_name, "query")
            try:
                setter = setters.get(name)
                if setter is None:
                    raise _unknown(name, path_names)
                if name in seen:
                    raise _RefusalError("is there twice")
                seen.add(name)
                setter(message, _query_text(encoded_value, None))
            except _RefusalError as refusal:
                refusal.steps.append(name)
                raise

    return fill


def _query_text(encoded: bytes, step: str | None) -> str:
    try:
        if _BROKEN_ESCAPE.search(encoded):
            raise ValueError("broken escape")
        return unquote_to_bytes(encoded.replace(b"+", b" ")).decode("utf-8")
    except ValueError:
        refusal = _RefusalError("must be percent-encoded UTF-8")
        if step is not None:
            refusal.steps.append(step)
        raise refusal from None


def _setter(field: FieldDescriptor, name_of: NameOf) -> _Fill:
    """What puts a JSON value, never null, into a field of a message."""
    name, kind = field.name, field.message_type
    if field.containing_oneof is not None and len(field.containing_oneof.fields) > 1:
        raise TranslationError(f"{field.full_name} is one of several")
    if kind is not None and kind.GetOptions().map_entry:
        return _map_setter(field, kind, name_of)
    if kind is None:
        read = _scalar_reader(field)
        return _scalar_list_setter(name, read) if field.is_repeated else _scalar_setter(name, read)
    fill = _message_filler(kind, name_of)
    return _message_list_setter(name, fill) if field.is_repeated else _message_setter(name, fill)


def _scalar_setter(name: str, read: _Read) -> _Fill:
    return lambda message, value: setattr(message, name, read(value))


def _message_setter(name: str, fill: _Fill) -> _Fill:
    def put(message: Any, value: Any) -> None:  # noqa: ANN401
        inner = getattr(message, name)
        inner.SetInParent()
        fill(inner, value)

    return put


def _scalar_list_setter(name: str, read: _Read) -> _Fill:
    return _list_setter(name, lambda target, item: target.append(read(item)))


def _message_list_setter(name: str, fill: _Fill) -> _Fill:
    return _list_setter(name, lambda target, item: fill(target.add(), item))


def _list_setter(name: str, add: _Fill) -> _Fill:
    def put(message: Any, value: Any) -> None:  # noqa: ANN401
        target = getattr(message, name)
        _each(value, lambda item: add(target, item))

    return put


def _each(value: Any, take: Callable[[Any], None]) -> None:  # noqa: ANN401
    if type(value) is not list:
        raise _RefusalError("must be an array")
    for index, item in enumerate(value):
        try:
            take(item)
        except _RefusalError as refusal:
            refusal.steps.append(index)
            raise


def _map_setter(field: FieldDescriptor, entry: Descriptor, name_of: NameOf) -> _Fill:
    name, members = field.name, entry.fields_by_name
    if members["key"].type != FieldDescriptor.TYPE_STRING:
        raise TranslationError(f"{field.full_name} is keyed by something else than text")
    put_item = _map_item_setter(members["value"], name_of)

    def put(message: Any, value: Any) -> None:  # noqa: ANN401
        target = getattr(message, name)
        _each_member(value, lambda key, item: put_item(target, key, item))

    return put


def _map_item_setter(item: FieldDescriptor, name_of: NameOf) -> Callable[[Any, str, Any], None]:
    if item.message_type is not None:
        fill = _message_filler(item.message_type, name_of)
        return lambda target, key, value: fill(target[key], value)
    read = _scalar_reader(item)
    return lambda target, key, value: target.__setitem__(key, read(value))


def _each_member(value: Any, take: Callable[[str, Any], None]) -> None:  # noqa: ANN401
    """Takes the members of an object whose names are data, not fields."""
    if type(value) is not tuple:
        raise _RefusalError("must be an object")
    seen: set[str] = set()
    for name, item in value:
        try:
            if name in seen:
                raise _RefusalError("is there twice")
            seen.add(name)
            take(_read_text(name), item)
        except _RefusalError as refusal:
            refusal.steps.append(name)
            raise


def _message_filler(descriptor: Descriptor, name_of: NameOf) -> _Fill:
    known = _WELL_KNOWN.get(descriptor.full_name)
    if known is not None:
        return known
    return _object_filler({name_of(field): _setter(field, name_of) for field in descriptor.fields})


def _scalar_reader(field: FieldDescriptor) -> _Read:
    """What reads a JSON value as a field's value."""
    if field.type in INTEGER_RANGES:
        return _integer_reader(*INTEGER_RANGES[field.type])
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    if field.type == FieldDescriptor.TYPE_STRING and field.GetOptions().Extensions[rules.json].decimal:
        return _read_decimal
    read = {
        FieldDescriptor.TYPE_STRING: _read_text,
        FieldDescriptor.TYPE_BOOL: _read_bool,
        FieldDescriptor.TYPE_BYTES: _read_bytes,
    }.get(field.type)
    if read is None:
        raise TranslationError(f"{field.full_name} has a type without a JSON form")
    return read


def _text_reader(field: FieldDescriptor) -> _Read:
    """What reads a query parameter's text as a field's value."""
    read = _scalar_reader(field)
    if field.type in INTEGER_RANGES:
        return lambda text: read(IntegerText(text) if _INTEGER.fullmatch(text) else text)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return lambda text: read({"true": True, "false": False}.get(text))
    return read


def _read_text(value: Any) -> str:  # noqa: ANN401
    # A number is a subclass of str here.
    if type(value) is not str:
        raise _RefusalError("must be a string")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _RefusalError("must not hold half of a surrogate pair") from None
    return value


def _read_bool(value: Any) -> bool:  # noqa: ANN401
    if value is True or value is False:
        return bool(value)
    raise _RefusalError("must be true or false")


def _read_bytes(value: Any) -> bytes:  # noqa: ANN401
    decoded = canonical_base64(_read_text(value))
    if decoded is None:
        raise _EncodingError("must be standard base64 with padding")
    return decoded


def canonical_base64(text: str) -> bytes | None:
    """The bytes of standard base64 with padding; None for any other text.

    Spare bits that are not zero, or white space, would give the same bytes several texts.
    """
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return decoded if base64.b64encode(decoded).decode("ascii") == text else None


def _read_decimal(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not DECIMAL.fullmatch(value) or len(value) > _DECIMAL_CHARACTERS_MAX:
        raise _RefusalError("must be a decimal number without exponent")
    return str(value)


def _integer_reader(lowest: int, highest: int) -> _Read:
    def read(value: Any) -> int:  # noqa: ANN401
        if type(value) is not IntegerText:
            raise _RefusalError("must be an integer")
        # Counting digits first keeps a number of a thousand digits from being computed.
        number = int(value) if len(value) <= _INTEGER_DIGITS_MAX else highest + 1
        if not lowest <= number <= highest:
            raise _RefusalError(f"must be from {lowest} to {highest}")
        return number

    return read


def _enum_reader(descriptor: EnumDescriptor) -> _Read:
    # The zero value says that nothing was said, which on input is said by saying nothing.
    numbers = {text: number for number, text in enum_texts(descriptor).items() if number != 0}
    allowed = "must be one of " + ", ".join(numbers)

    def read(value: Any) -> int:  # noqa: ANN401
        number = numbers.get(value) if type(value) is str else None
        if number is None:
            raise _RefusalError(allowed)
        return number

    return read


def enum_texts(descriptor: EnumDescriptor) -> dict[int, str]:
    """An enum's values as JSON writes them: `SIDE_BUY` of `Side` is `BUY`."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", descriptor.name).upper() + "_"
    return {value.number: value.name.removeprefix(prefix) for value in descriptor.values}


def _fill_timestamp(message: Any, value: Any) -> None:  # noqa: ANN401
    match = _TIME.fullmatch(value) if type(value) is str else None
    try:
        moment = datetime.fromisoformat(match[1]) if match else None
    except ValueError:
        moment = None
    if match is None or moment is None:
        raise _RefusalError("must be a time in UTC such as 2026-01-31T23:59:59Z")
    message.seconds = calendar.timegm(moment.timetuple())
    message.nanos = int((match["fraction"] or "").ljust(9, "0"))


def _fill_struct(message: Any, value: Any) -> None:  # noqa: ANN401
    fields = message.fields
    _each_member(value, lambda name, item: _fill_value(fields[name], item))


def _fill_list(message: Any, value: Any) -> None:  # noqa: ANN401
    values = message.values
    _each(value, lambda item: _fill_value(values.add(), item))


def _fill_value(message: Any, value: Any) -> None:  # noqa: ANN401
    if value is None:
        message.null_value = 0
    elif value is True or value is False:
        message.bool_value = value
    elif type(value) is str:
        message.string_value = _read_text(value)
    elif type(value) is tuple:
        message.struct_value.SetInParent()
        _fill_struct(message.struct_value, value)
    elif type(value) is list:
        message.list_value.SetInParent()
        _fill_list(message.list_value, value)
    else:
        message.number_value = _read_double(value)


def _read_double(value: Any) -> float:  # noqa: ANN401
    if type(value) is NumberText:
        number = float(value)
        if number in (float("inf"), float("-inf")):
            raise _RefusalError("must be within the range of a double")
        return number
    if len(value) > _INTEGER_DIGITS_MAX or abs(int(value)) > EXACT_INTEGER_MAX:
        raise _RefusalError("must be within 2^53 of zero, or a string")
    return float(int(value))


_WELL_KNOWN: Final[Mapping[str, _Fill]] = {
    "google.protobuf.Timestamp": _fill_timestamp,
    "google.protobuf.Struct": _fill_struct,
    "google.protobuf.ListValue": _fill_list,
    "google.protobuf.Value": _fill_value,
}

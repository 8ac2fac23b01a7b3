"""Bodies of signed payloads as bytes: protobuf in its one canonical form, written from a table of fields.

Fields stand in the order of their numbers, each once; one that has no presence of its own is left out
when it holds its default. The tables are in `bodies.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_VARINT: Final = 0
_LENGTH: Final = 2
_VARINT_MAX_BYTES: Final = 10


class Kind(StrEnum):
    """What a field holds."""

    UINT32 = "uint32"
    UINT64 = "uint64"
    INT64 = "int64"
    BOOL = "bool"
    ENUM = "enum"
    STRING = "string"
    BYTES = "bytes"


_RANGES: Final = {
    Kind.UINT32: (0, 2**32 - 1),
    Kind.UINT64: (0, 2**64 - 1),
    Kind.INT64: (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body."""

    name: str
    number: int
    kind: Kind
    optional: bool = False
    """Whether it can be absent, and so is written whatever it holds."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Of an enum: its values."""

    @property
    def default(self) -> int | bytes:
        """What it holds where it is not written."""
        return b"" if self.kind in (Kind.STRING, Kind.BYTES) else 0


@dataclass(frozen=True, slots=True)
class Body:
    """The message that the payload of one request type holds."""

    name: str
    request_type: int
    fields: tuple[Field, ...]

    def encode(self, arguments: Mapping[str, object]) -> bytes:
        """The body's bytes; raises ValueError for a value that its field cannot hold."""
        return b"".join(_encoded(item, arguments.get(item.name)) for item in self.fields)

    def decode(self, data: bytes) -> dict[str, object]:
        """What a body's bytes say; raises ValueError unless they are the only ones that say it."""
        given: dict[int, object] = {}
        rest = memoryview(data)
        while rest:
            tag, rest = _take_varint(rest)
            number, rest = _take_varint(rest)
            if tag & 7 == _LENGTH:
                if number > len(rest):
                    raise ValueError("the body ends before its last field does")
                given[tag >> 3], rest = bytes(rest[:number]), rest[number:]
            else:
                given[tag >> 3] = number
        said: dict[str, object] = {}
        for item in self.fields:
            value = given.get(item.number, None if item.optional else item.default)
            if value is not None:
                said[item.name] = _decoded(item, value)
        if self.encode(said) != data:
            raise ValueError("the body is not in its canonical form")
        return said


def _take_varint(data: memoryview) -> tuple[int, memoryview]:
    number = 0
    for place, octet in enumerate(data[:_VARINT_MAX_BYTES]):
        number |= (octet & 0x7F) << 7 * place
        if octet < 0x80:
            return number, data[place + 1 :]
    raise ValueError("the body has a number without end")


def _decoded(item: Field, value: object) -> object:
    match item.kind, value:
        case Kind.STRING, bytes():
            return value.decode("utf-8")
        case Kind.BYTES, bytes():
            return value
        case Kind.BOOL, int():
            return bool(value)
        case Kind.ENUM, int():
            names = {number: name for name, number in item.numbers.items()}
            return names.get(value, value)
        case Kind.INT64, int():
            return value - 2**64 if value >= 2**63 else value
        case ((Kind.UINT32 | Kind.UINT64), int()):
            return value
    raise ValueError(f"{item.name} is not of its type")


def _encoded(item: Field, value: object) -> bytes:
    if value is None:
        if item.optional:
            return b""
        raise ValueError(f"{item.name} has to be given")
    content = _CONTENT[item.kind](item, value)
    measured = item.kind in (Kind.STRING, Kind.BYTES)
    if not item.optional and content == (b"" if measured else b"\0"):
        return b""
    if measured:
        return varint(item.number << 3 | _LENGTH) + varint(len(content)) + content
    return varint(item.number << 3 | _VARINT) + content


def varint(number: int) -> bytes:
    """A number of no sign as protobuf writes it: seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _integer(item: Field, value: object) -> bytes:
    lowest, highest = _RANGES[item.kind]
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError(f"{item.name} has to be a whole number from {lowest} to {highest}")
    return varint(value & 2**64 - 1)


def _flag(item: Field, value: object) -> bytes:
    if not isinstance(value, bool):
        raise ValueError(f"{item.name} has to be true or false")
    return varint(int(value))


def _enum(item: Field, value: object) -> bytes:
    number = item.numbers.get(value) if isinstance(value, str) else None
    if number is None:
        raise ValueError(f"{item.name} has to be one of {', '.join(item.numbers)}")
    return varint(number)


def _string(item: Field, value: object) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode("utf-8")
    except UnicodeEncodeError:
        pass
    raise ValueError(f"{item.name} has to be text")


def _octets(item: Field, value: object) -> bytes:
    if not isinstance(value, bytes | bytearray):
        raise ValueError(f"{item.name} has to be bytes")
    return bytes(value)


_CONTENT: Final[Mapping[Kind, Callable[[Field, object], bytes]]] = {
    Kind.UINT32: _integer,
    Kind.UINT64: _integer,
    Kind.INT64: _integer,
    Kind.BOOL: _flag,
    Kind.ENUM: _enum,
    Kind.STRING: _string,
    Kind.BYTES: _octets,
}

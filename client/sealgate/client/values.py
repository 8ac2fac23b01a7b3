"""Values as answers write them, read into what a person wants, and arguments written back."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

_T = TypeVar("_T")
_Enum = TypeVar("_Enum", bound=StrEnum)
_DIGITS_MAX: Final = 100
_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

Read = Callable[[object], _T]


class UnreadableError(ValueError):
    """A value that is not what the contract says; the text has its path, not the value."""


def members_of(value: object) -> Mapping[str, object]:
    """The members of an object; those nobody asks for are left alone, so that answers can grow."""
    if isinstance(value, dict):
        return value
    raise UnreadableError("is no object")


def need(members: Mapping[str, object], name: str, read: Read[_T]) -> _T:
    """The member's value; raises UnreadableError when it is not there."""
    try:
        return read(members[name])
    except KeyError:
        raise UnreadableError(f"{name} is not there") from None
    except UnreadableError as error:
        raise UnreadableError(f"{name} {error}") from None


def maybe(members: Mapping[str, object], name: str, read: Read[_T]) -> _T | None:
    """The member's value; None when it is null or not there."""
    return None if members.get(name) is None else need(members, name, read)


def list_of(read: Read[_T]) -> Read[list[_T]]:
    """What reads an array."""

    def read_list(value: object) -> list[_T]:
        if not isinstance(value, list):
            raise UnreadableError("is no array")
        return [read(item) for item in value]

    return read_list


def member(name: str, read: Read[_T]) -> Read[_T]:
    """What reads one member of an object that has nothing else to say."""
    return lambda value: need(members_of(value), name, read)


def tuple_of(read: Read[_T]) -> Read[tuple[_T, ...]]:
    """What reads an array into something that stays as it is."""
    read_list = list_of(read)
    return lambda value: tuple(read_list(value))


def map_of(read: Read[_T]) -> Read[dict[str, _T]]:
    """What reads an object whose names are data."""
    return lambda value: {name: read(item) for name, item in members_of(value).items()}


def one_of(kind: type[_Enum]) -> Read[_Enum]:
    """What reads a value of an enum; one that is newer than this client keeps its text."""

    def read(value: object) -> _Enum:
        name = text(value)
        try:
            return kind(name)
        except ValueError:
            newer = str.__new__(kind, name)
            newer._name_ = newer._value_ = name
            return newer

    return read


def text(value: object) -> str:
    """A string."""
    if isinstance(value, str):
        return value
    raise UnreadableError("is no string")


def integer(value: object) -> int:
    """A whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UnreadableError("is no whole number")


def flag(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise UnreadableError("is neither true nor false")


class Octets(bytes):
    """Bytes whose `repr` is their base64, as keys and signatures are written everywhere else."""

    def __repr__(self) -> str:
        return repr(base64.b64encode(self).decode("ascii"))


def octets(value: object) -> bytes:
    """Bytes, in standard base64."""
    try:
        return Octets(base64.b64decode(text(value), validate=True))
    except binascii.Error:
        raise UnreadableError("is no base64") from None


def decimal(value: object) -> Decimal:
    """A decimal string, every digit kept."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    raise UnreadableError("is no decimal string")


def moment(value: object) -> datetime:
    """A time in UTC; of its nine digits of a second a datetime keeps six."""
    try:
        read = datetime.fromisoformat(text(value))
        in_utc = read.astimezone(UTC)
    except (ValueError, OverflowError):
        # The latter for the first and last hours of the calendar, which other zones have alone.
        raise UnreadableError("is no time") from None
    if read.utcoffset() is None:
        raise UnreadableError("is a time without its zone")
    return in_utc


def json_object(value: object) -> dict[str, Any]:
    """An object of the customer's own."""
    return dict(members_of(value))


def decimal_text(value: object) -> str:
    """An amount or price as requests write it; raises TypeError for a float, whose digits are not yours."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError("give amounts and prices as Decimal, int or str")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError("an amount or price is a decimal number") from None
    if not number.is_finite():
        raise ValueError("an amount or price is a finite number")
    # Far beyond all that the platform takes, and before "1e9999999" becomes as many digits.
    if max(number.adjusted(), -cast(int, number.as_tuple().exponent)) > _DIGITS_MAX:
        raise ValueError(f"an amount or price has at most {_DIGITS_MAX} digits on either side of its point")
    return format(number, "f")


def moment_text(value: datetime) -> str:
    """A time as requests write it; raises ValueError when it does not say its zone."""
    if value.utcoffset() is None:
        raise ValueError("give times with their zone, such as datetime.now(UTC)")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def json_value(value: object) -> object:
    """An argument as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return json_value(dataclasses.asdict(value))
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {name: json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(item) for item in value]
    return value

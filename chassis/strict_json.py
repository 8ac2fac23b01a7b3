"""Strict JSON text to plain values, with nothing decided that a message's fields decide.

Objects become tuples of pairs in their written order, so that a repeated member is still to be seen;
arrays lists; numbers their own text, so that no digit is lost and no huge integer is computed.
"""

from __future__ import annotations

import json
from typing import Final

from chassis.errors import SealgateError, invalid
from chassis.limits import JSON_MAX_DEPTH

WHOLE_BODY: Final = "body"


class IntegerText(str):
    """A JSON number without fraction or exponent, as it was written."""

    __slots__ = ()


class NumberText(str):
    """A JSON number with a fraction or an exponent, as it was written."""

    __slots__ = ()


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


_decoder: Final = json.JSONDecoder(
    parse_int=IntegerText,
    parse_float=NumberText,
    parse_constant=_refuse_constant,
    object_pairs_hook=tuple,
)


def read_object(body: bytes) -> tuple[tuple[str, object], ...]:
    """The members of the JSON object that `body` is; an empty body is an object without any.

    Raises VALIDATION_ERROR about `body` when it is anything else.
    """
    if not body:
        return ()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise invalid(WHOLE_BODY, "must be UTF-8") from None
    try:
        value = _decoder.decode(text)
    except ValueError:
        raise invalid(WHOLE_BODY, "must be JSON as RFC 8259 writes it") from None
    except RecursionError:
        raise _too_deep() from None
    # Only a text with so many brackets can be so deep.
    if text.count("{") + text.count("[") > JSON_MAX_DEPTH:
        _refuse_depth(value)
    if type(value) is not tuple:
        raise invalid(WHOLE_BODY, "must be a JSON object")
    return value


def holds_half_pair(text: str) -> bool:
    """Whether a string holds half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _too_deep() -> SealgateError:
    return invalid(WHOLE_BODY, f"must not be nested more than {JSON_MAX_DEPTH} deep")


def _refuse_depth(value: object) -> None:
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, list | tuple)]:
        depth += 1
        if depth > JSON_MAX_DEPTH:
            raise _too_deep()
        level = [inner for item in level for inner in _items(item)]


def _items(container: list[object] | tuple[tuple[str, object], ...]) -> list[object]:
    return container if isinstance(container, list) else [value for _, value in container]

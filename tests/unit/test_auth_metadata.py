"""Account metadata: an object of bounded size and depth, kept as compact JSON."""

from __future__ import annotations

import json
import math

import pytest

from chassis.errors import Code, SealgateError
from services.auth.domain.account import JsonValue, metadata_text


def refused(metadata: dict[str, JsonValue]) -> None:
    with pytest.raises(SealgateError) as refusal:
        metadata_text(metadata)
    assert refusal.value.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in refusal.value.details] == ["metadata"]


def nested(levels: int) -> dict[str, JsonValue]:
    value: dict[str, JsonValue] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_metadata_is_written_compactly_with_whole_numbers_as_integers() -> None:
    """The text is what the customer wrote, without its spaces."""
    metadata: dict[str, JsonValue] = {
        "name": "Zoë",
        "n": 2.0,
        "f": 0.5,
        "none": None,
        "t": True,
        "l": [1.0, {}],
    }
    assert metadata_text(metadata) == '{"name":"Zoë","n":2,"f":0.5,"none":null,"t":true,"l":[1,{}]}'


def test_metadata_size_is_that_of_its_utf_8_text() -> None:
    """8192 bytes pass, one more does not, and a letter of two bytes counts two."""
    frame = len('{"a":""}')
    assert len(metadata_text({"a": "x" * (8192 - frame)})) == 8192
    refused({"a": "x" * (8192 - frame + 1)})
    metadata_text({"a": "ä" * ((8192 - frame) // 2)})
    refused({"a": "ä" * ((8192 - frame) // 2 + 1)})


def test_metadata_may_nest_31_levels_below_the_body_and_not_one_more() -> None:
    """The request's body is the first of 32 levels, so REST and gRPC refuse the same object."""
    metadata_text(nested(31))
    refused(nested(32))


def test_metadata_counts_arrays_as_levels() -> None:
    """Depth is that of the JSON text, whatever the brackets."""
    value: JsonValue = []
    for _ in range(30):
        value = [value]
    refused({"a": value})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_metadata_refuses_numbers_that_json_cannot_write(number: float) -> None:
    """GRPC callers can send them; they would come back as broken JSON."""
    refused({"deep": [number]})


def test_metadata_keeps_nul_characters_as_escapes() -> None:
    """A NUL in a name or a text survives: the text that is stored has none."""
    text = metadata_text({"a\x00": "b\x00c"})
    assert "\x00" not in text
    assert json.loads(text) == {"a\x00": "b\x00c"}


@pytest.mark.parametrize("number", [2.0**53, -(2.0**53), 2.0**53 + 2, 1e300, 5e-324, -0.5])
def test_metadata_gives_back_the_same_number_whatever_its_size(number: float) -> None:
    """What is read from the text is the double that was written."""
    assert json.loads(metadata_text({"a": number}))["a"] == number

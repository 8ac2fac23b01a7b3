"""API keys and device keys as text: no damage passes."""

from __future__ import annotations

import string

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chassis.secrets import (
    ApiKeyPair,
    device_key_text,
    parse_device_key,
    parse_public_key,
    parse_secret_key,
    public_key_of,
    public_key_text,
)

SEEDS = st.binary(min_size=32, max_size=32)
ALPHABET = string.ascii_letters + string.digits + "-_"


@settings(deadline=None)
@given(seed=SEEDS)
@example(seed=bytes(32))
@example(seed=b"\xff" * 32)
def test_key_survives_the_way_through_text(seed: bytes) -> None:
    """Whatever the seed, both texts are read back as what they were made of."""
    pair = ApiKeyPair.from_seed(seed)
    assert parse_secret_key(pair.secret_text) == seed
    assert parse_public_key(pair.public_text) == pair.public_key == public_key_of(seed)
    assert len(pair.secret_text) == len(pair.public_text) == 51
    assert set(pair.secret_text + pair.public_text) <= set(ALPHABET)
    assert parse_device_key(device_key_text(seed)) == seed


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_key_is_refused_when_any_one_character_is_another(seed: bytes) -> None:
    """A slip of the finger is never a key: every other character at every place is refused."""
    pair = ApiKeyPair.from_seed(seed)
    for text, parse in (
        (pair.secret_text, parse_secret_key),
        (pair.public_text, parse_public_key),
        (device_key_text(seed), parse_device_key),
    ):
        for place, right in enumerate(text):
            for other in ALPHABET.replace(right, ""):
                assert parse(text[:place] + other + text[place + 1 :]) is None


@settings(deadline=None)
@given(seed=SEEDS, place=st.integers(0, 50), other=st.characters())
def test_key_is_refused_when_one_character_is_anything_else(seed: bytes, place: int, other: str) -> None:
    """Characters outside of the alphabet count as damage too, digits of other scripts among them."""
    secret, device = ApiKeyPair.from_seed(seed).secret_text, device_key_text(seed)
    if other != secret[place]:
        assert parse_secret_key(secret[:place] + other + secret[place + 1 :]) is None
    if other != device[place]:
        assert parse_device_key(device[:place] + other + device[place + 1 :]) is None


@settings(deadline=None)
@given(seed=SEEDS, place=st.integers(0, 50), moves=st.integers(1, 5))
def test_key_is_refused_when_characters_are_missing_doubled_or_swapped(
    seed: bytes, place: int, moves: int
) -> None:
    """The other ways to copy a key badly."""
    text = ApiKeyPair.from_seed(seed).secret_text
    assert parse_secret_key(text[:place] + text[place + moves :]) is None
    assert parse_secret_key(text[:place] + text[place : place + moves] + text[place:]) is None
    swapped = text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
    assert swapped == text or parse_secret_key(swapped) is None
    device = device_key_text(seed)
    assert parse_device_key(device[:place] + device[place + moves :]) is None


@settings(deadline=None)
@given(st.text(), st.binary(min_size=32, max_size=32))
def test_any_text_is_read_or_refused_but_never_fails(text: str, public_key: bytes) -> None:
    """Parsers answer None to whatever a stranger sends, and never raise."""
    for prefix in ("", "sk_", "pk_", "dk_"):
        assert parse_device_key(prefix + text) is None
        assert parse_secret_key(prefix + text) is None
        assert parse_public_key(prefix + text) is None
    assert parse_public_key(public_key_text(public_key)) == public_key


@settings(deadline=None)
@given(text=st.text(ALPHABET, min_size=48, max_size=48))
def test_random_text_of_the_right_shape_is_no_key(text: str) -> None:
    """A scanner tells noise from a key: four check bytes let one text in four thousand million through."""
    assert parse_secret_key("sk_" + text) is None
    assert parse_device_key("dk_" + text) is None

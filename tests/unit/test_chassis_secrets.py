"""API keys and device keys as text."""

from __future__ import annotations

import base64
import re
from hashlib import blake2b

import pytest

from chassis.secrets import (
    ApiKeyPair,
    device_key_digest,
    device_key_text,
    looks_like_api_secret,
    parse_device_key,
    parse_public_key,
    parse_secret_key,
    public_key_of,
    public_key_text,
)

# RFC 8032 section 7.1, TEST 1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC_KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def text_of(prefix: str, raw: bytes) -> str:
    """The form as the contract words it, made without the code under test."""
    check = blake2b(prefix.encode() + raw, digest_size=32).digest()[:4]
    return prefix + base64.urlsafe_b64encode(raw + check).decode().rstrip("=")


def test_public_key_is_that_of_the_rfc() -> None:
    """The seed of RFC 8032's first test vector has the RFC's public key."""
    assert public_key_of(SEED) == PUBLIC_KEY


def test_texts_are_known_when_the_seed_is_that_of_the_rfc() -> None:
    """The example that documentation prints; prefix, raw bytes and check exactly as worded."""
    pair = ApiKeyPair.from_seed(SEED)
    assert pair.public_key == PUBLIC_KEY
    assert pair.secret_text == text_of("sk_", SEED)
    assert pair.public_text == text_of("pk_", PUBLIC_KEY) == public_key_text(PUBLIC_KEY)
    assert pair.secret_text == "sk_nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DLc62c"
    assert pair.public_text == "pk_11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURpjnO5-"


def test_texts_have_48_characters_after_the_prefix_without_padding() -> None:
    """32 bytes and 4 check bytes fill 48 characters exactly."""
    pair = ApiKeyPair.from_seed(bytes(32))
    for text in (pair.secret_text, pair.public_text):
        assert re.fullmatch(r"(sk|pk)_[A-Za-z0-9_-]{48}", text)


def test_texts_are_read_back_as_what_they_were_made_of() -> None:
    """Text and bytes are two forms of one thing."""
    pair = ApiKeyPair.from_seed(SEED)
    assert parse_secret_key(pair.secret_text) == SEED
    assert parse_public_key(pair.public_text) == PUBLIC_KEY


def test_key_is_refused_when_it_is_shown_as_the_other_kind() -> None:
    """The prefix is part of the check: a public key with `sk_` in front is no secret, nor the reverse."""
    pair = ApiKeyPair.from_seed(SEED)
    assert parse_secret_key(pair.public_text) is None
    assert parse_public_key(pair.secret_text) is None
    assert parse_secret_key("sk_" + pair.public_text[3:]) is None
    assert parse_public_key("pk_" + pair.secret_text[3:]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk_",
        text_of("sk_", SEED)[:-1],
        text_of("sk_", SEED) + "A",
        text_of("sk_", SEED) + "=",
        text_of("sk_", SEED) + "\n",
        " " + text_of("sk_", SEED),
        text_of("sk_", SEED)[3:],
        text_of("sk_", SEED).upper(),
        text_of("SK_", SEED),
        text_of("dk_", SEED),
        text_of("sk_", SEED).replace("_9", "/9"),
        "sk_" + "a" * 48,
        "sk_" + "é" * 48,
        "sk_" + "\N{ARABIC-INDIC DIGIT THREE}" * 48,
        "sk_" + base64.b64encode(SEED).decode(),
        "sk_" + SEED.hex()[:48],
    ],
)
def test_secret_is_refused_when_its_shape_or_check_is_wrong(text: str) -> None:
    """Noise is told from a key without asking anybody."""
    assert parse_secret_key(text) is None


def test_pair_does_not_print_its_secret() -> None:
    """A key in a log line by accident is the object, not the text."""
    pair = ApiKeyPair.from_seed(SEED)
    assert pair.secret_text not in f"{pair} {pair!r} {[pair]}"


@pytest.mark.parametrize(("text", "answer"), [("sk_x", True), ("sk", False), ("eyJ", False), ("pk_x", False)])
def test_bearer_claims_to_be_a_key_when_it_begins_like_one(text: str, answer: bool) -> None:
    """Only the prefix decides; whether it is a key is decided elsewhere."""
    assert looks_like_api_secret(text) is answer


def test_device_key_text_has_the_shape_of_an_api_key() -> None:
    """The same bytes and check behind a prefix of its own."""
    assert device_key_text(SEED) == text_of("dk_", SEED)
    assert re.fullmatch(r"dk_[A-Za-z0-9_-]{48}", device_key_text(bytes(32)))
    assert parse_device_key(device_key_text(SEED)) == SEED


def test_device_key_and_api_key_are_never_taken_for_each_other() -> None:
    """The prefix is part of the check, so that another prefix in front makes noise of either."""
    device, secret = device_key_text(SEED), text_of("sk_", SEED)
    assert parse_device_key(secret) is None
    assert parse_device_key("dk_" + secret[3:]) is None
    assert parse_secret_key(device) is None
    assert parse_secret_key("sk_" + device[3:]) is None


def test_device_key_is_known_by_the_digest_of_its_bytes() -> None:
    """BLAKE2b of 32 bytes over the secret alone, without key, salt or person."""
    assert device_key_digest(SEED) == blake2b(SEED, digest_size=32).digest()
    assert device_key_digest(SEED).hex() == (
        "e4eaa556453f3574e933a2bb1259567c832ae4d4d672fc16f03fc180c278bb33"
    )

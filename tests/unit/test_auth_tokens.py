"""Session tokens: deterministic, bounded, and only ever our own."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey as NaclSigningKey

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.followed_keyring import FollowedKeyRing
from chassis.keyring import KeyRing, SigningKey, create_key, key_file
from chassis.limits import KEY_RING_REREAD_SECONDS
from chassis.testing.fakes import START_NS, FakeClock
from services.auth.domain.project import SessionPolicy
from services.auth.domain.session import Birth, new_session
from services.auth.domain.token import TokenClaims
from services.auth.tokens import SessionTokens

ISSUER = "sealgate.test"
KEY = SigningKey.from_seed(b"\x01" * 32, 0)
NEXT_KEY = SigningKey.from_seed(b"\x02" * 32, START_NS + 60 * NANOSECONDS_PER_SECOND)
RING = KeyRing([KEY, NEXT_KEY])
SESSION = new_session(
    uuid.UUID("01900000-0000-7000-8000-00000000000a"),
    uuid.UUID("01900000-0000-7000-8000-00000000000b"),
    uuid.UUID("01900000-0000-7000-8000-00000000000c"),
    SessionPolicy(120, 300),
    START_NS + 1,
    Birth("pk", "", ""),
)
HEADER = {"alg": "EdDSA", "typ": "sealgate-session+jwt", "kid": KEY.kid}


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, claims: object, key: SigningKey = KEY) -> str:
    """A token with any header and claims, correctly signed."""
    signing_input = f"{encoded(header)}.{encoded(claims)}"
    signature = NaclSigningKey(key.seed).sign(signing_input.encode()).signature
    return f"{signing_input}.{encoded(signature)}"


def decoded(part: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return parsed


def code_of(token: str) -> Code:
    with pytest.raises(SealgateError) as refusal:
        SessionTokens(ISSUER, RING).verify(token)
    assert not refusal.value.details
    return refusal.value.code


def good_claims() -> dict[str, Any]:
    token = SessionTokens(ISSUER, RING).sign(SESSION)
    return decoded(token.split(".")[1])


def test_token_says_what_the_contract_fixes() -> None:
    """Header and claims by name; the end is rounded up, the start down."""
    header, claims, _ = SessionTokens(ISSUER, RING).sign(SESSION).split(".")
    assert decoded(header) == HEADER
    assert decoded(claims) == {
        "iss": ISSUER,
        "aud": "session",
        "sub": str(SESSION.account_id),
        "sid": str(SESSION.session_id),
        "prj": str(SESSION.project_id),
        "iat": START_NS // NANOSECONDS_PER_SECOND,
        "exp": START_NS // NANOSECONDS_PER_SECOND + 301,
    }


def test_token_names_its_session_when_verified() -> None:
    """What was signed is what is read."""
    tokens = SessionTokens(ISSUER, RING)
    expires_at_ns = START_NS + 301 * NANOSECONDS_PER_SECOND
    expected = TokenClaims(SESSION.session_id, SESSION.account_id, SESSION.project_id, expires_at_ns)
    assert tokens.verify(tokens.sign(SESSION)) == expected


def test_token_is_the_same_when_signed_again_also_after_a_change_of_keys(clock: FakeClock) -> None:
    """A repeated refresh answers the same text, even when a new key signs by then."""
    tokens = SessionTokens(ISSUER, RING)
    before = tokens.sign(SESSION)
    clock.advance(seconds=120)
    assert SessionTokens(ISSUER, RING).sign(SESSION) == before
    later = replace(SESSION, created_at_ns=clock.now_ns())
    assert decoded(tokens.sign(later).split(".")[0])["kid"] == NEXT_KEY.kid


def test_token_of_a_key_that_came_later_is_verified_and_of_one_that_went_is_not(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A running process follows its key directory: nothing is prepared once for all."""
    first = create_key(tmp_path, b"\x01" * 32, 0)
    tokens = SessionTokens(ISSUER, FollowedKeyRing(tmp_path, clock))
    by_first = tokens.sign(SESSION)
    clock.advance(seconds=KEY_RING_REREAD_SECONDS)
    second = create_key(tmp_path, b"\x02" * 32, clock.now_ns() + 10 * NANOSECONDS_PER_SECOND)
    other = SessionTokens(ISSUER, FollowedKeyRing(tmp_path, clock))
    clock.advance(seconds=10)
    by_second = other.sign(replace(SESSION, created_at_ns=clock.now_ns()))
    assert decoded(by_second.split(".")[0])["kid"] == second.kid
    assert tokens.verify(by_second) == tokens.verify(by_first)
    assert {key["kid"] for key in tokens.json_web_keys()} == {first.kid, second.kid}
    key_file(tmp_path, first.kid).unlink()
    clock.advance(seconds=KEY_RING_REREAD_SECONDS)
    with pytest.raises(SealgateError) as refusal:
        tokens.verify(by_first)
    assert refusal.value.code is Code.SESSION_INVALID
    tokens.verify(by_second)


def test_token_is_read_past_its_end_and_says_when_that_was() -> None:
    """Whose it was decides which pages may read that it has expired; nobody learns as much from a token
    that we did not sign.
    """
    token = signed(HEADER, good_claims() | {"exp": 1})
    assert SessionTokens(ISSUER, RING).verify(token).expires_at_ns == NANOSECONDS_PER_SECOND
    head, claims, _ = token.split(".")
    assert code_of(f"{head}.{claims}.{encoded(bytes(64))}") is Code.SESSION_INVALID


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "Ed25519"},
        {"alg": None},
        {"typ": "JWT"},
        {"typ": "sealgate-browser+jwt"},
        {"typ": "SEALGATE-SESSION+JWT"},
        {"typ": None},
        {"kid": None},
        {"kid": 7},
        {"kid": ["a"]},
        {"kid": "unknown"},
        {"kid": NEXT_KEY.kid},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encoded(KEY.public_key)}},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["AA"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": True},
        {"b64": False},
        {"cty": "JWT"},
    ],
    ids=json.dumps,
)
def test_token_is_invalid_with_any_other_header(change: dict[str, object]) -> None:
    """Its signature is good, and still: exactly `alg`, `typ` and `kid` of ours."""
    header = {name: value for name, value in (HEADER | change).items() if value is not None}
    assert code_of(signed(header, good_claims())) is Code.SESSION_INVALID


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other.deployment"},
        {"aud": "browser"},
        {"aud": ["session"]},
        {"exp": None},
        {"exp": "4102444800"},
        {"exp": True},
        {"exp": 4102444800.5},
        {"sid": None},
        {"sid": 7},
        {"sid": "01900000-0000-7000-8000-00000000000A"},
        {"sub": "x"},
        {"prj": None},
    ],
    ids=json.dumps,
)
def test_token_is_invalid_with_claims_that_we_never_write(change: dict[str, object]) -> None:
    """Another use, another deployment, or a claim missing or of another type."""
    claims = {name: value for name, value in (good_claims() | change).items() if value is not None}
    assert code_of(signed(HEADER, claims)) is Code.SESSION_INVALID


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: "..",
        lambda token: token[:-1],
        lambda token: token + "=",
        lambda token: token + ".AA",
        lambda token: token.replace(".", " "),
        lambda token: " " + token,
        lambda token: token + "\n",
        lambda token: "é" + token,
        lambda token: token.split(".")[0] + ".." + token.split(".")[2],
        lambda token: signed(["alg"], good_claims()),
        lambda token: signed("alg kid", good_claims()),
        lambda token: signed(None, good_claims()),
        lambda token: signed(b"\xff", good_claims()),
        lambda token: signed(HEADER, []),
        lambda token: signed(HEADER, b"not json"),
        lambda token: signed(HEADER, b"\xff\xff"),
        lambda token: signed(HEADER, good_claims(), NEXT_KEY),
        lambda token: signed(HEADER, good_claims(), SigningKey.from_seed(b"\x03" * 32, 0)),
    ],
)
def test_token_is_invalid_when_it_is_not_one(spoil: Callable[[str], str]) -> None:
    """Whatever comes in the header, the answer is the same code."""
    token = SessionTokens(ISSUER, RING).sign(SESSION)
    assert code_of(spoil(token)) is Code.SESSION_INVALID


def test_token_of_more_than_2048_bytes_is_invalid_however_good_its_signature() -> None:
    """The size is looked at before anything is parsed."""
    tokens = SessionTokens(ISSUER, RING)
    padded = [signed(HEADER, good_claims() | {"pad": "x" * size}) for size in range(1000, 1200)]
    fitting = [token for token in padded if len(token) <= 2048]
    assert 2046 <= len(fitting[-1]) <= 2048
    tokens.verify(fitting[-1])
    assert code_of(padded[len(fitting)]) is Code.SESSION_INVALID


@given(st.text(max_size=200) | st.text(alphabet='eyJ.{}[]"alg:-_0', max_size=200))
def test_token_of_any_text_is_invalid_and_never_breaks_anything(text: str) -> None:
    """No text but a token raises anything but SESSION_INVALID."""
    assert code_of(text) is Code.SESSION_INVALID


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), st.lists, max_leaves=5))
def test_token_with_any_header_value_is_invalid_and_never_breaks_anything(value: object) -> None:
    """Values of every JSON type in the places of the header's members."""
    for header in (value, {"alg": value, "kid": KEY.kid}, HEADER | {"kid": value}, HEADER | {"typ": value}):
        assert code_of(signed(header, good_claims())) is Code.SESSION_INVALID


def test_json_web_keys_have_every_public_key_and_no_private_one() -> None:
    """Coming keys are published before they sign."""
    keys = SessionTokens(ISSUER, RING).json_web_keys()
    assert [key["kid"] for key in keys] == [KEY.kid, NEXT_KEY.kid]
    assert keys[0] == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": encoded(KEY.public_key),
        "kid": KEY.kid,
        "alg": "EdDSA",
        "use": "sig",
    }

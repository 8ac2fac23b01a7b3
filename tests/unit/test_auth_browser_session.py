"""Browser session tokens: for one key, page and moment, and never to be taken for an account session's."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey as NaclSigningKey

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.keyring import KeyRing, SigningKey
from chassis.limits import ORIGIN_MAX_CHARACTERS, TOKEN_MAX_BYTES
from chassis.testing.fakes import START_NS, FakeClock
from services.auth.domain.browser_session import (
    INVALID_BROWSER_SESSION,
    BrowserSession,
    BrowserSessionState,
    PageBinding,
)
from services.auth.domain.project import SessionPolicy
from services.auth.domain.session import Birth, new_session
from services.auth.tokens import BrowserSessionTokens, SessionTokens

ISSUER: Final = "sealgate.test"
BEGAN: Final = START_NS // NANOSECONDS_PER_SECOND
END_NS: Final = (BEGAN + 3600) * NANOSECONDS_PER_SECOND
KEY: Final = SigningKey.from_seed(b"\x01" * 32, 0)
NEXT_KEY: Final = SigningKey.from_seed(b"\x02" * 32, START_NS + 60 * NANOSECONDS_PER_SECOND)
SESSION_KEY: Final = SigningKey.from_seed(b"\x03" * 32, 0)
RING: Final = KeyRing([KEY, NEXT_KEY])
SESSION_RING: Final = KeyRing([SESSION_KEY])
HEADER: Final = {"alg": "EdDSA", "typ": "sealgate-browser+jwt", "kid": KEY.kid}
BINDING: Final = PageBinding(
    project_id=uuid.UUID("01900000-0000-7000-8000-00000000000c"),
    account_id=uuid.UUID("01900000-0000-7000-8000-00000000000b"),
    account_version=4,
    public_key="pk_one",
    origin="https://shop.example",
    origin_since_ns=START_NS - 17,
)
VALID: Final = BrowserSession(BrowserSessionState.VALID, END_NS)
EXPIRED: Final = BrowserSession(BrowserSessionState.EXPIRED)


def tokens(clock: FakeClock | None = None, issuer: str = ISSUER) -> BrowserSessionTokens:
    return BrowserSessionTokens(issuer, RING, clock or FakeClock())


def good_claims() -> dict[str, Any]:
    return decoded(tokens().sign(BINDING, BEGAN).split(".")[1])


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return parsed


def signed(header: object, claims: object, key: SigningKey = KEY) -> str:
    """A token with any header and claims, correctly signed."""
    signing_input = f"{encoded(header)}.{encoded(claims)}"
    return f"{signing_input}.{encoded(NaclSigningKey(key.seed).sign(signing_input.encode()).signature)}"


def test_browser_token_says_whom_it_is_for_and_from_where() -> None:
    """Header and claims by name; it ends an hour after the second that it began in."""
    header, claims, _ = tokens().sign(BINDING, BEGAN).split(".")
    assert decoded(header) == HEADER
    assert decoded(claims) == {
        "iss": ISSUER,
        "aud": "browser",
        "sub": str(BINDING.account_id),
        "key": "pk_one",
        "prj": str(BINDING.project_id),
        "org": "https://shop.example",
        "ons": START_NS - 17,
        "ver": 4,
        "iat": BEGAN,
        "exp": BEGAN + 3600,
    }


def test_browser_token_is_good_for_an_hour_and_not_a_nanosecond_longer(clock: FakeClock) -> None:
    """EXPIRED from the very instant on that `exp` names."""
    held = tokens(clock)
    token = held.sign(BINDING, BEGAN)
    assert held.judge(token, BINDING) == VALID
    clock.advance_ns(END_NS - clock.now_ns() - 1)
    assert held.judge(token, BINDING) == VALID
    clock.advance_ns(1)
    assert held.judge(token, BINDING) == EXPIRED


@pytest.mark.parametrize(
    "other",
    [
        replace(BINDING, public_key="pk_two"),
        replace(BINDING, origin="https://evil.example"),
        replace(BINDING, origin="https://shop.example:8443"),
        replace(BINDING, project_id=uuid.UUID(int=9)),
        replace(BINDING, account_id=uuid.UUID(int=9)),
        replace(BINDING, account_version=5),
        replace(BINDING, account_version=3),
        replace(BINDING, origin_since_ns=START_NS),
        replace(BINDING, origin_since_ns=0),
    ],
    ids=["key", "origin", "port", "project", "account", "revoked since", "of before", "listed anew", "never"],
)
def test_browser_token_is_invalid_for_anything_but_what_it_was_made_for(
    other: PageBinding, clock: FakeClock
) -> None:
    """Also past its hour: only the right bearer is told that it has expired."""
    held = tokens(clock)
    token = held.sign(BINDING, BEGAN)
    assert held.judge(token, other) == INVALID_BROWSER_SESSION
    clock.advance(seconds=3600)
    assert held.judge(token, other) == INVALID_BROWSER_SESSION
    assert held.judge(token, BINDING) == EXPIRED


def test_browser_token_of_another_deployment_is_invalid() -> None:
    """Even where both have the same keys."""
    token = tokens(issuer="other.test").sign(BINDING, BEGAN)
    assert tokens().judge(token, BINDING) == INVALID_BROWSER_SESSION


def test_browser_token_is_the_same_when_signed_again_also_after_a_change_of_keys() -> None:
    """A repeated answer has the same text; what begins later has the new key's name."""
    clock = FakeClock()
    first = tokens(clock).sign(BINDING, BEGAN)
    clock.advance(seconds=120)
    assert tokens(clock).sign(BINDING, BEGAN) == first
    later = tokens(clock).sign(BINDING, BEGAN + 120)
    assert decoded(later.split(".")[0])["kid"] == NEXT_KEY.kid
    assert tokens(clock).judge(later, BINDING).state is BrowserSessionState.VALID


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "Ed25519"},
        {"alg": None},
        {"typ": "JWT"},
        {"typ": "sealgate-session+jwt"},
        {"typ": "SEALGATE-BROWSER+JWT"},
        {"typ": None},
        {"kid": None},
        {"kid": 7},
        {"kid": "unknown"},
        {"kid": SESSION_KEY.kid},
        {"kid": NEXT_KEY.kid},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encoded(KEY.public_key)}},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"crit": ["exp"]},
        {"cty": "JWT"},
    ],
    ids=json.dumps,
)
def test_browser_token_is_invalid_with_any_other_header(change: dict[str, object]) -> None:
    """Its signature is good, and still: exactly `alg`, `typ` and `kid` of ours."""
    header = {name: value for name, value in (HEADER | change).items() if value is not None}
    assert tokens().judge(signed(header, good_claims()), BINDING) == INVALID_BROWSER_SESSION


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "session"},
        {"aud": ["browser"]},
        {"aud": None},
        {"iss": None},
        {"iat": None},
        {"iat": True},
        {"iat": str(BEGAN)},
        {"iat": float(BEGAN)},
        {"iat": BEGAN + 1},
        {"exp": None},
        {"exp": BEGAN + 7200},
        {"exp": float(BEGAN + 3600)},
        {"ver": 4.0},
        {"ver": "4"},
        {"ons": None},
        {"org": ["https://shop.example"]},
        {"key": None},
        {"sub": None},
        {"prj": None},
        {"nbf": BEGAN},
    ],
    ids=json.dumps,
)
def test_browser_token_is_invalid_with_claims_that_we_never_write(change: dict[str, object]) -> None:
    """Each claim counts, by value and type, and there is no other: also when we signed it ourselves."""
    claims = {name: value for name, value in (good_claims() | change).items() if value is not None}
    assert tokens().judge(signed(HEADER, claims), BINDING) == INVALID_BROWSER_SESSION
    assert tokens().judge(signed(HEADER, good_claims()), BINDING) == VALID


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: token[:-2],
        lambda token: token + "=",
        lambda token: token + ".AA",
        lambda token: "é" + token,
        lambda token: token + "\n",
        lambda token: f"{encoded({'alg': 'none'})}.{token.split('.')[1]}.",
        lambda token: f"{token.split('.')[0]}..{token.split('.')[2]}",
        lambda token: signed(HEADER, []),
        lambda token: signed(HEADER, b"not json"),
        lambda token: signed(HEADER, good_claims(), SESSION_KEY),
        lambda token: signed(HEADER, good_claims(), NEXT_KEY),
    ],
)
def test_browser_token_is_invalid_when_it_is_not_one(spoil: Callable[[str], str]) -> None:
    """Whatever comes in the header, it is nobody's."""
    token = tokens().sign(BINDING, BEGAN)
    assert tokens().judge(spoil(token), BINDING) == INVALID_BROWSER_SESSION


@given(st.text(max_size=200) | st.text(alphabet='eyJ.{}[]"alg:-_0', max_size=200))
def test_browser_token_of_any_text_is_invalid_and_never_breaks_anything(text: str) -> None:
    """No text but a token is anything else."""
    assert tokens().judge(text, BINDING) == INVALID_BROWSER_SESSION


def test_neither_kind_of_token_passes_as_the_other() -> None:
    """As they are, and with one ring for both, with the other's `typ`, with the other's keys."""
    session = new_session(
        uuid.UUID(int=7),
        BINDING.account_id,
        BINDING.project_id,
        SessionPolicy(120, 300),
        START_NS,
        Birth("", "", ""),
    )
    for ring in (SESSION_RING, RING):
        account_tokens = SessionTokens(ISSUER, ring)
        account_token = account_tokens.sign(session)
        key = ring.signing_key(START_NS)
        page_token = tokens().sign(BINDING, BEGAN)
        page_claims, account_claims = (decoded(one.split(".")[1]) for one in (page_token, account_token))
        as_account_tokens = [
            page_token,
            signed(HEADER | {"typ": "sealgate-session+jwt"}, page_claims),
            signed({"alg": "EdDSA", "typ": "sealgate-session+jwt", "kid": key.kid}, page_claims, key),
        ]
        for token in as_account_tokens:
            with pytest.raises(SealgateError) as refusal:
                account_tokens.verify(token)
            assert refusal.value.code is Code.SESSION_INVALID
        as_page_tokens = [
            account_token,
            signed(HEADER, account_claims),
            signed(HEADER | {"kid": key.kid}, page_claims, SESSION_KEY),
        ]
        for token in as_page_tokens:
            assert tokens().judge(token, BINDING) == INVALID_BROWSER_SESSION


def test_longest_browser_token_that_we_make_is_one_that_we_read() -> None:
    """With the longest origin that a key can have, and the largest numbers."""
    binding = replace(
        BINDING,
        public_key="pk_" + "x" * 48,
        origin="https://" + "x" * (ORIGIN_MAX_CHARACTERS - 8),
        origin_since_ns=2**63 - 1,
        account_version=2**63 - 1,
    )
    token = tokens().sign(binding, BEGAN)
    assert len(token) <= TOKEN_MAX_BYTES
    assert tokens().judge(token, binding) == VALID

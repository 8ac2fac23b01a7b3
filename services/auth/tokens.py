"""Tokens: EdDSA JWTs (RFC 7519, RFC 8037), each kind under a media type and a ring of keys of its own.

A kind's token is none of the other's three times over: by its `typ`, by its `aud`, and because neither
ring has the other's keys.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import OKPKey
from joserfc.registry import HeaderParameter, HeaderRegistryDict

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.errors import Code, SealgateError
from chassis.keyring import SigningKeys
from chassis.limits import TOKEN_MAX_BYTES
from services.auth.domain.browser_session import (
    BROWSER_TOKEN_TYPE,
    INVALID_BROWSER_SESSION,
    BrowserSession,
    PageBinding,
    browser_session_claims,
    judge_browser_session,
)
from services.auth.domain.session import Session
from services.auth.domain.token import TOKEN_TYPE, TokenClaims, read_session_claims, session_claims

_ALGORITHM: Final = "EdDSA"


class SignedTokens:
    """Makes and reads signed claims of one kind: `token_type` is their `typ`."""

    def __init__(self, token_type: str, ring: SigningKeys) -> None:
        self._token_type = token_type
        self._ring = ring
        self._registry = _TokenRegistry(token_type)
        self._published: Mapping[str, bytes] = {}
        self._verifying: Mapping[str, OKPKey] = {}

    def sign(self, claims: Mapping[str, object], began_at_ns: int) -> str:
        """The token of `claims`; the same claims have the same token every time.

        It is signed with the key that was current at `began_at_ns`, so that a change of keys between an
        answer and its repetition does not show.
        """
        key = self._ring.signing_key(began_at_ns)
        header = {"alg": _ALGORITHM, "typ": self._token_type, "kid": key.kid}
        payload = json.dumps(claims, separators=(",", ":"))
        private_key = _jwk(key.public_key, key.seed)
        return jws.serialize_compact(header, payload, private_key, registry=self._registry)

    def verify(self, token: str) -> dict[str, object]:
        """The claims of a token; raises SESSION_INVALID for anything that was not signed as one."""
        if len(token) > TOKEN_MAX_BYTES:
            raise SealgateError(Code.SESSION_INVALID)
        try:
            unverified = jws.extract_compact(token.encode("ascii"), registry=self._registry)
            kid = unverified.headers()["kid"]
            verified = jws.validate_compact(unverified, self._verifying_key(kid), registry=self._registry)
            claims = json.loads(unverified.payload) if verified else None
        except (JoseError, LookupError, TypeError, ValueError) as error:
            raise SealgateError(Code.SESSION_INVALID, internal=type(error).__name__) from None
        if not isinstance(claims, dict):
            raise SealgateError(Code.SESSION_INVALID)
        return claims

    def json_web_keys(self) -> list[dict[str, str]]:
        """Every key that verifies tokens, those that do not sign yet included (RFC 7517, RFC 8037)."""
        return [
            {**_members(public_key), "kid": kid, "alg": _ALGORITHM, "use": "sig"}
            for kid, public_key in self._ring.public_keys().items()
        ]

    def _verifying_key(self, kid: str) -> OKPKey:
        published = self._ring.public_keys()
        if published is not self._published:
            # The ring has changed since: keys came, and those that went verify nothing any more.
            self._verifying = {name: _jwk(public_key) for name, public_key in published.items()}
            self._published = published
        return self._verifying[kid]


class SessionTokens:
    """The tokens of sessions; `issuer` is the deployment's name. See `services.auth.ports.Tokens`."""

    def __init__(self, issuer: str, ring: SigningKeys) -> None:
        self._issuer = issuer
        self._tokens = SignedTokens(TOKEN_TYPE, ring)

    def sign(self, session: Session) -> str:
        """See `Tokens.sign`."""
        return self._tokens.sign(session_claims(session, self._issuer), session.created_at_ns)

    def verify(self, token: str) -> TokenClaims:
        """See `Tokens.verify`."""
        return read_session_claims(self._tokens.verify(token), self._issuer)

    def json_web_keys(self) -> list[dict[str, str]]:
        """See `PublishedKeys.json_web_keys`."""
        return self._tokens.json_web_keys()


class BrowserSessionTokens:
    """The tokens of browser sessions; `issuer` as above. See `services.auth.ports.BrowserTokens`."""

    def __init__(self, issuer: str, ring: SigningKeys, clock: Clock) -> None:
        self._issuer = issuer
        self._tokens = SignedTokens(BROWSER_TOKEN_TYPE, ring)
        self._clock = clock

    def sign(self, binding: PageBinding, began_at_seconds: int) -> str:
        """See `BrowserTokens.sign`."""
        claims = browser_session_claims(binding, began_at_seconds, self._issuer)
        return self._tokens.sign(claims, began_at_seconds * NANOSECONDS_PER_SECOND)

    def judge(self, token: str, binding: PageBinding) -> BrowserSession:
        """See `BrowserTokens.judge`."""
        try:
            claims = self._tokens.verify(token)
        except SealgateError:
            return INVALID_BROWSER_SESSION
        return judge_browser_session(claims, binding, self._issuer, self._clock.now_ns())

    def json_web_keys(self) -> list[dict[str, str]]:
        """See `PublishedKeys.json_web_keys`."""
        return self._tokens.json_web_keys()


def _members(public_key: bytes) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(public_key)}


def _jwk(public_key: bytes, seed: bytes | None = None) -> OKPKey:
    private = {} if seed is None else {"d": _base64url(seed)}
    return OKPKey.import_key({**_members(public_key), **private})


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _exactly(expected: str) -> Callable[[object], None]:
    def check(value: object) -> None:
        if value != expected:
            raise ValueError("is not what a token of this kind has")

    return check


def _text(value: object) -> None:
    if not isinstance(value, str):
        raise ValueError("is not text")


class _TokenRegistry(jws.JWSRegistry):
    """Takes the one header that we write: `crit`, `jwk`, `jku`, `x5u` and all others are unknown."""

    default_header_registry: HeaderRegistryDict = {  # noqa: RUF012  (the library's own declaration)
        "alg": HeaderParameter("Algorithm", _exactly(_ALGORITHM), required=True),
        "kid": HeaderParameter("Key ID", _text, required=True),
    }

    def __init__(self, token_type: str) -> None:
        super().__init__({"typ": HeaderParameter("Type", _exactly(token_type), required=True)})

    def get_alg(self, name: str) -> JWSAlgModel:
        """EdDSA and nothing else.

        The library's own look-up warns that RFC 9864 renames the algorithm `Ed25519`; our tokens
        keep the name that today's verifiers know, and a warning per call would say nothing new.
        """
        if name != _ALGORITHM:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]

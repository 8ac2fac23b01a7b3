"""Session tokens: EdDSA JWTs (RFC 7519, RFC 8037) under the keys of one ring."""

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

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.keyring import SigningKeys
from chassis.limits import TOKEN_MAX_BYTES
from services.auth.domain.session import Session
from services.auth.domain.token import TOKEN_TYPE, TokenClaims, read_session_claims, session_claims

_ALGORITHM: Final = "EdDSA"


class SessionTokens:
    """Makes and reads the tokens of sessions; `issuer` is the deployment's name."""

    def __init__(self, issuer: str, ring: SigningKeys, clock: Clock) -> None:
        self._issuer = issuer
        self._ring = ring
        self._clock = clock
        self._published: Mapping[str, bytes] = {}
        self._verifying: Mapping[str, OKPKey] = {}

    def sign(self, session: Session) -> str:
        """The token of a session; the same session has the same token every time.

        It is signed with the key that was current when the session began, so that a change of keys
        between an answer and its repetition does not show.
        """
        key = self._ring.signing_key(session.created_at_ns)
        header = {"alg": _ALGORITHM, "typ": TOKEN_TYPE, "kid": key.kid}
        payload = json.dumps(session_claims(session, self._issuer), separators=(",", ":"))
        private_key = _jwk(key.public_key, key.seed)
        return jws.serialize_compact(header, payload, private_key, registry=_REGISTRY)

    def verify(self, token: str) -> TokenClaims:
        """Which session a token names.

        Raises SESSION_INVALID for anything this deployment did not sign as a session token, and
        SESSION_EXPIRED for a token it did sign that is past its end.
        """
        if len(token) > TOKEN_MAX_BYTES:
            raise SealgateError(Code.SESSION_INVALID)
        try:
            unverified = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY)
            kid = unverified.headers()["kid"]
            verified = jws.validate_compact(unverified, self._verifying_key(kid), registry=_REGISTRY)
            claims = json.loads(unverified.payload) if verified else None
        except (JoseError, LookupError, TypeError, ValueError) as error:
            raise SealgateError(Code.SESSION_INVALID, internal=type(error).__name__) from None
        if not isinstance(claims, dict):
            raise SealgateError(Code.SESSION_INVALID)
        return read_session_claims(claims, self._issuer, self._clock.now_ns())

    def _verifying_key(self, kid: str) -> OKPKey:
        published = self._ring.public_keys()
        if published is not self._published:
            # The ring has changed since: keys came, and those that went verify nothing any more.
            self._verifying = {name: _jwk(public_key) for name, public_key in published.items()}
            self._published = published
        return self._verifying[kid]

    def json_web_keys(self) -> list[dict[str, str]]:
        """Every key that verifies tokens, those that do not sign yet included (RFC 7517, RFC 8037)."""
        return [
            {**_members(public_key), "kid": kid, "alg": _ALGORITHM, "use": "sig"}
            for kid, public_key in self._ring.public_keys().items()
        ]


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
            raise ValueError("is not what a session token has")

    return check


def _text(value: object) -> None:
    if not isinstance(value, str):
        raise ValueError("is not text")


class _SessionTokenRegistry(jws.JWSRegistry):
    """Takes the one header that we write: `crit`, `jwk`, `jku`, `x5u` and all others are unknown."""

    default_header_registry: HeaderRegistryDict = {  # noqa: RUF012  (the library's own declaration)
        "alg": HeaderParameter("Algorithm", _exactly(_ALGORITHM), required=True),
        "typ": HeaderParameter("Type", _exactly(TOKEN_TYPE), required=True),
        "kid": HeaderParameter("Key ID", _text, required=True),
    }

    def get_alg(self, name: str) -> JWSAlgModel:
        """EdDSA and nothing else.

        The library's own look-up warns that RFC 9864 renames the algorithm `Ed25519`; our tokens
        keep the name that today's verifiers know, and a warning per call would say nothing new.
        """
        if name != _ALGORITHM:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


_REGISTRY: Final = _SessionTokenRegistry()

"""Which credential a request carries: exactly one, or a refusal. Shared by REST and gRPC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chassis.errors import Code, SealgateError
from chassis.limits import ORIGIN_MAX_CHARACTERS
from chassis.methods import CredentialKind, Method
from chassis.rpc import metadata
from chassis.rpc.pages import OPAQUE_ORIGIN
from chassis.secrets import looks_like_api_secret

# Header names are lower case, as both HTTP servers and gRPC metadata hand them over.
CREDENTIAL_HEADERS: Final = {
    "x-project-api-key": CredentialKind.PROJECT_KEY,
    "x-api-key": CredentialKind.ACCOUNT_API_KEY,
    "x-device-key": CredentialKind.DEVICE_KEY,
}
# Over HTTP the signature of a request that is signed in its headers.
_SIGNATURE: Final = "x-signature"
_AUTHORIZATION: Final = "authorization"
_READ_HEADERS: Final = frozenset(
    {*CREDENTIAL_HEADERS, _SIGNATURE, _AUTHORIZATION, metadata.ORIGIN, metadata.SESSION_TOKEN}
)


@dataclass(frozen=True, slots=True, repr=False)
class PresentedCredential:
    """A credential as it was shown, and the page it was shown from (None: a server).

    `session_token` is the browser session that a page showed beside an API key.
    """

    kind: CredentialKind
    text: str
    origin: str | None
    session_token: str | None = None


def carries_credential(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether any header of `headers` (lower-case names) is one that carries a credential."""
    return any(name == _AUTHORIZATION or name in CREDENTIAL_HEADERS for name, _ in headers)


def collect_credential(headers: Iterable[tuple[str, str]], method: Method) -> PresentedCredential:
    """Finds the request's one credential among its headers (lower-case names, repeats included).

    Raises CREDENTIAL_AMBIGUOUS for two credentials or a repeated header, SESSION_REQUIRED or
    API_KEY_REQUIRED for none, SESSION_INVALID for an Authorization that is no bearer token. A signature
    that the method does not take is none, but beside a credential one too many. A browser session token
    is none either: it accompanies the API key of a page where the method needs one, and is passed over
    with anything else, so that a token that has ended spoils nothing that goes without.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _READ_HEADERS:
            if name in found:
                raise SealgateError(Code.CREDENTIAL_AMBIGUOUS)
            found[name] = value
    origin = _bounded(found.pop(metadata.ORIGIN, None))
    session_token = found.pop(metadata.SESSION_TOKEN, None)
    if len(found) > 1:
        raise SealgateError(Code.CREDENTIAL_AMBIGUOUS)
    found.pop(_SIGNATURE, None)
    if not found:
        only_session = method.accepts == frozenset({CredentialKind.ACCOUNT_SESSION})
        raise SealgateError(Code.SESSION_REQUIRED if only_session else Code.API_KEY_REQUIRED)
    name, value = found.popitem()
    kind, text = _bearer(value) if name == _AUTHORIZATION else (CREDENTIAL_HEADERS[name], value.strip())
    from_a_page = origin is not None and kind is CredentialKind.ACCOUNT_API_KEY
    if session_token is None or not from_a_page or not method.takes_browser_session:
        return PresentedCredential(kind, text, origin)
    return PresentedCredential(kind, text, origin, session_token.strip())


def origin_of_signed(headers: Iterable[tuple[str, str]]) -> str | None:
    """The page that a signed request was sent from, None for a server, from its headers or metadata.

    Raises CREDENTIAL_AMBIGUOUS for a credential beside the request's own signature, and for an origin or
    a browser session token that is repeated; one such token is passed over.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _READ_HEADERS:
            if name in found or name not in (metadata.ORIGIN, metadata.SESSION_TOKEN):
                raise SealgateError(Code.CREDENTIAL_AMBIGUOUS)
            found[name] = value
    return _bounded(found.get(metadata.ORIGIN))


def _bounded(origin: str | None) -> str | None:
    """`origin`, or an opaque one in place of a longer one than any list can have: it travels on."""
    return origin if origin is None or len(origin) <= ORIGIN_MAX_CHARACTERS else OPAQUE_ORIGIN


def _bearer(value: str) -> tuple[CredentialKind, str]:
    scheme, _, text = value.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise SealgateError(Code.SESSION_INVALID)
    text = text.strip()
    kind = CredentialKind.ACCOUNT_API_KEY if looks_like_api_secret(text) else CredentialKind.ACCOUNT_SESSION
    return kind, text

"""What a session token says: a pure function of its session, so that it can be made again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.ids import parse_uuid
from services.auth.domain.session import Session

TOKEN_TYPE: Final = "sealgate-session+jwt"  # noqa: S105  (a media type, not a secret)
TOKEN_AUDIENCE: Final = "session"  # noqa: S105  (a use, not a secret)


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """Which session a token names, and when the token itself ends."""

    session_id: uuid.UUID
    account_id: uuid.UUID
    project_id: uuid.UUID
    expires_at_ns: int

    def names(self, session: Session) -> bool:
        """Whether all that the token says of its session is so."""
        named = (self.session_id, self.account_id, self.project_id)
        return named == (session.session_id, session.account_id, session.project_id)


def session_claims(session: Session, issuer: str) -> dict[str, object]:
    """The claims of a session's token (RFC 7519 section 4.1 and `sid`, `prj`).

    `exp` is the absolute cap rounded up to a second: the token never ends before its session can,
    and the session's row decides inside that last second.
    """
    return {
        "iss": issuer,
        "aud": TOKEN_AUDIENCE,
        "sub": str(session.account_id),
        "sid": str(session.session_id),
        "prj": str(session.project_id),
        "iat": session.created_at_ns // NANOSECONDS_PER_SECOND,
        "exp": -(-session.cap_at_ns // NANOSECONDS_PER_SECOND),
    }


def read_session_claims(claims: Mapping[str, object], issuer: str) -> TokenClaims:
    """Reads the claims of a token whose signature is good, also past its `exp`.

    Raises SESSION_INVALID for a token of another deployment or use, or without a claim that we write.
    """
    if claims.get("iss") != issuer or claims.get("aud") != TOKEN_AUDIENCE:
        raise SealgateError(Code.SESSION_INVALID)
    expires_at_seconds = claims.get("exp")
    if not isinstance(expires_at_seconds, int) or isinstance(expires_at_seconds, bool):
        raise SealgateError(Code.SESSION_INVALID)
    expires_at_ns = expires_at_seconds * NANOSECONDS_PER_SECOND
    return TokenClaims(_uuid(claims, "sid"), _uuid(claims, "sub"), _uuid(claims, "prj"), expires_at_ns)


def _uuid(claims: Mapping[str, object], name: str) -> uuid.UUID:
    value = claims.get(name)
    parsed = parse_uuid(value) if isinstance(value, str) else None
    if parsed is None:
        raise SealgateError(Code.SESSION_INVALID)
    return parsed

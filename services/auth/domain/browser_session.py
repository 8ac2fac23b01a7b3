"""Browser sessions: what their tokens say, and whether one is good for the request that it came with.

Nothing of them is on record. A token says what it was made for, and is held against how all of that stands
at each request: a key that lost the page's origin, also one that has it again, or an account whose
sessions were all expired, ends it at once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.limits import BROWSER_SESSION_LIFETIME_SECONDS

BROWSER_TOKEN_TYPE: Final = "sealgate-browser+jwt"  # noqa: S105  (a media type, not a secret)
BROWSER_TOKEN_AUDIENCE: Final = "browser"  # noqa: S105  (a use, not a secret)


class BrowserSessionState(StrEnum):
    """What became of the token that came beside an API key; UNSPECIFIED: nobody looked."""

    UNSPECIFIED = "UNSPECIFIED"
    ABSENT = "ABSENT"
    VALID = "VALID"
    INVALID = "INVALID"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """The verdict on a request's browser session; `expires_at_ns` is the end of a valid one."""

    state: BrowserSessionState
    expires_at_ns: int | None = None


NO_BROWSER_SESSION: Final = BrowserSession(BrowserSessionState.UNSPECIFIED)
ABSENT_BROWSER_SESSION: Final = BrowserSession(BrowserSessionState.ABSENT)
INVALID_BROWSER_SESSION: Final = BrowserSession(BrowserSessionState.INVALID)


@dataclass(frozen=True, slots=True)
class PageBinding:
    """Whom a browser session is for and from where, each as it stands when this is asked.

    `public_key` is the API key's `pk_…`, and `origin_since_ns` since when the key has had `origin`.
    """

    project_id: uuid.UUID
    account_id: uuid.UUID
    account_version: int
    public_key: str
    origin: str
    origin_since_ns: int


def browser_session_claims(binding: PageBinding, began_at_seconds: int, issuer: str) -> dict[str, object]:
    """The claims of a browser session's token (RFC 7519 section 4.1 and five of our own)."""
    return {
        "iss": issuer,
        "aud": BROWSER_TOKEN_AUDIENCE,
        "sub": str(binding.account_id),
        "key": binding.public_key,
        "prj": str(binding.project_id),
        "org": binding.origin,
        "ons": binding.origin_since_ns,
        "ver": binding.account_version,
        "iat": began_at_seconds,
        "exp": browser_session_end_seconds(began_at_seconds),
    }


def browser_session_end_seconds(began_at_seconds: int) -> int:
    """When a browser session ends that began then: an hour later, whatever happens in it."""
    return began_at_seconds + BROWSER_SESSION_LIFETIME_SECONDS


def judge_browser_session(
    claims: Mapping[str, object], binding: PageBinding, issuer: str, now_ns: int
) -> BrowserSession:
    """Whether a token whose signature is good is this request's.

    EXPIRED only where its end is all that is wrong with it; INVALID for one of another deployment, use,
    project, account, key or origin, and for one made before the account's last mass revocation or before
    the key had the origin anew. The instant of expiry is past its life.
    """
    began_at_seconds = claims.get("iat")
    if not isinstance(began_at_seconds, int):
        return INVALID_BROWSER_SESSION
    # As texts, which tell 1 from 1.0 and from true.
    if _text(claims) != _text(browser_session_claims(binding, began_at_seconds, issuer)):
        return INVALID_BROWSER_SESSION
    expires_at_ns = browser_session_end_seconds(began_at_seconds) * NANOSECONDS_PER_SECOND
    if now_ns >= expires_at_ns:
        return BrowserSession(BrowserSessionState.EXPIRED)
    return BrowserSession(BrowserSessionState.VALID, expires_at_ns)


def _text(claims: Mapping[str, object]) -> str:
    return json.dumps(claims, sort_keys=True)

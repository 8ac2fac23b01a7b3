"""The metadata names that Sealgate gives a meaning to.

What a client sends under a name of an internal hop is never copied.
"""

from __future__ import annotations

from typing import Final

PASSPORT: Final = "sealgate-passport-bin"
CLIENT_ADDRESS: Final = "sealgate-client-address"
USER_AGENT: Final = "sealgate-user-agent"
REFUSAL: Final = "sealgate-refusal-bin"
REQUEST_ID: Final = "x-request-id"
ORIGIN: Final = "origin"
SESSION_TOKEN: Final = "x-session-token"  # noqa: S105  (a header's name, not a secret)
IDEMPOTENCY_KEY: Final = "idempotency-key"

# What an answer can say beside its message; nothing else of a service's metadata leaves the edge.
RATE_LIMIT_LIMIT: Final = "x-ratelimit-limit"
RATE_LIMIT_REMAINING: Final = "x-ratelimit-remaining"
RATE_LIMIT_RESET: Final = "x-ratelimit-reset"
RATE_LIMIT: Final = "ratelimit"
RATE_LIMIT_POLICY: Final = "ratelimit-policy"
IDEMPOTENT_REPLAYED: Final = "idempotent-replayed"
IDEMPOTENT_OMITTED: Final = "idempotent-omitted"
ALLOW_ORIGIN: Final = "access-control-allow-origin"
ANSWER_HEADERS: Final = frozenset(
    {
        RATE_LIMIT_LIMIT,
        RATE_LIMIT_REMAINING,
        RATE_LIMIT_RESET,
        RATE_LIMIT,
        RATE_LIMIT_POLICY,
        IDEMPOTENT_REPLAYED,
        IDEMPOTENT_OMITTED,
        ALLOW_ORIGIN,
    }
)


def printable(text: str) -> str:
    """`text` as metadata can carry it: gRPC refuses to send anything but printable ASCII, and takes it."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)

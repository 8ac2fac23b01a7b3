"""The metadata names of internal hops. What a client sends under one of them is never copied."""

from __future__ import annotations

from typing import Final

PASSPORT: Final = "sealgate-passport-bin"
CLIENT_ADDRESS: Final = "sealgate-client-address"
USER_AGENT: Final = "sealgate-user-agent"
REQUEST_ID: Final = "x-request-id"


def printable(text: str) -> str:
    """`text` as metadata can carry it: gRPC refuses to send anything but printable ASCII, and takes it."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)

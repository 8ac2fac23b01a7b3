"""The metadata names of internal hops. What a client sends under one of them is never copied."""

from __future__ import annotations

from typing import Final

PASSPORT: Final = "sealgate-passport-bin"
CLIENT_ADDRESS: Final = "sealgate-client-address"
USER_AGENT: Final = "sealgate-user-agent"
REQUEST_ID: Final = "x-request-id"

"""Wallets of the platform itself, whose ids are made from their names."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SystemWallet:
    """A wallet that belongs to no account."""

    wallet_id: uuid.UUID
    name: str


def system_wallet(domain: bytes, name: str) -> SystemWallet:
    """The wallet of a name; its id is the same everywhere and for ever. `domain` tells kinds apart."""
    value = bytearray(hashlib.blake2b(domain + name.encode(), digest_size=16).digest())
    # A UUIDv8 (RFC 9562 section 5.8): made by rules of our own.
    value[6] = (value[6] & 0x0F) | 0x80
    value[8] = (value[8] & 0x3F) | 0x80
    return SystemWallet(uuid.UUID(bytes=bytes(value)), name)

"""What an API key is: who owns it, what it may do, whether it works."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.limits import LAST_USED_RESOLUTION_SECONDS

LAST_USED_RESOLUTION_NS: Final = LAST_USED_RESOLUTION_SECONDS * NANOSECONDS_PER_SECOND


class OwnerKind(StrEnum):
    """Whose keys they are; a key of one kind is unknown where the other is asked for."""

    PROJECT = "PROJECT"
    ACCOUNT = "ACCOUNT"


class KeyState(StrEnum):
    """Whether a key works, and if not, why."""

    LIVE = "LIVE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Owner:
    """A project, or one of its accounts."""

    project_id: uuid.UUID
    account_id: uuid.UUID | None = None

    @property
    def kind(self) -> OwnerKind:
        """Which of the two it is."""
        return OwnerKind.PROJECT if self.account_id is None else OwnerKind.ACCOUNT

    @property
    def owner_id(self) -> uuid.UUID:
        """The account's id for an account, else the project's."""
        return self.project_id if self.account_id is None else self.account_id


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What a caller chooses about a key: its name, what it may do, from where, how long."""

    name: str
    scopes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    subaccount_index: int | None = None
    expires_at_ns: int | None = None


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How many calls of each class the operator lets a key make in any 60 s; None: as many as any key."""

    read_per_minute_count: int | None = None
    write_per_minute_count: int | None = None
    order_per_minute_count: int | None = None
    browser_session_per_minute_count: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: its public half (32 bytes, Ed25519), never its secret."""

    public_key: bytes
    owner: Owner
    rights: KeyRights
    created_at_ns: int
    updated_at_ns: int
    last_used_at_ns: int | None
    ended_at_ns: int | None
    # The public half of the key that it was rotated into, and when it stops working for that.
    replaced_by: bytes | None = None
    retires_at_ns: int | None = None
    # The session key that made it, or made what it was rotated from.
    session_public_key: bytes | None = None
    # For each of its origins since when it has it without a break: newer than all that it ever had then.
    origins_since_ns: tuple[int, ...] = ()
    limits: KeyLimits = KeyLimits()

    @property
    def stops_at_ns(self) -> int | None:
        """When it stops working by itself: at its expiry or the end of its overlap, the first of them."""
        ends = [end for end in (self.rights.expires_at_ns, self.retires_at_ns) if end is not None]
        return min(ends, default=None)

    def state(self, now_ns: int) -> KeyState:
        """Whether it works at `now_ns`; one that was deleted or rotated out stays so past its expiry."""
        if self.ended_at_ns is not None:
            return KeyState.REVOKED
        if self.retires_at_ns is not None and self.retires_at_ns <= now_ns:
            return KeyState.REVOKED
        expires_at_ns = self.rights.expires_at_ns
        if expires_at_ns is not None and expires_at_ns <= now_ns:
            return KeyState.EXPIRED
        return KeyState.LIVE

    def is_live(self, now_ns: int) -> bool:
        """Whether it works at `now_ns`."""
        return self.state(now_ns) is KeyState.LIVE

    def is_use_due(self, now_ns: int) -> bool:
        """Whether a use at `now_ns` is to be noted: at most one write a key and 30 seconds."""
        used_at_ns = self.last_used_at_ns
        return used_at_ns is None or now_ns - used_at_ns >= LAST_USED_RESOLUTION_NS

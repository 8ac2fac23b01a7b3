"""Device keys: what a device reads with, and how long it does."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.limits import DEVICE_KEY_IDLE_SECONDS, DEVICE_KEY_LIFETIME_SECONDS
from services.keys.domain.api_key import LAST_USED_RESOLUTION_NS, KeyState, Owner

_IDLE_NS: Final = DEVICE_KEY_IDLE_SECONDS * NANOSECONDS_PER_SECOND
_LIFETIME_NS: Final = DEVICE_KEY_LIFETIME_SECONDS * NANOSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device key as it is stored, without its secret and without the secret's digest.

    `expires_at_ns` is when it ends if it is not used again, `ends_at_ns` when it ends all the same.
    """

    device_key_id: uuid.UUID
    owner: Owner
    name: str
    subaccount_index: int | None
    session_public_key: bytes
    created_at_ns: int
    last_used_at_ns: int
    expires_at_ns: int
    ends_at_ns: int
    ended_at_ns: int | None = None

    def state(self, now_ns: int) -> KeyState:
        """Whether it works at `now_ns`; one that was ended stays revoked past its expiry."""
        if self.ended_at_ns is not None:
            return KeyState.REVOKED
        return KeyState.EXPIRED if self.expires_at_ns <= now_ns else KeyState.LIVE

    def is_use_due(self, now_ns: int) -> bool:
        """Whether a use at `now_ns` is to be noted: at most one write a key and 30 seconds."""
        return now_ns - self.last_used_at_ns >= LAST_USED_RESOLUTION_NS


def new_device_key(
    device_key_id: uuid.UUID,
    owner: Owner,
    name: str,
    subaccount_index: int | None,
    session_public_key: bytes,
    now_ns: int,
) -> DeviceKey:
    """The key that a session key makes at `now_ns`; it counts as used then."""
    ends_at_ns = now_ns + _LIFETIME_NS
    return DeviceKey(
        device_key_id=device_key_id,
        owner=owner,
        name=name,
        subaccount_index=subaccount_index,
        session_public_key=session_public_key,
        created_at_ns=now_ns,
        last_used_at_ns=now_ns,
        expires_at_ns=idle_end_ns(now_ns, ends_at_ns),
        ends_at_ns=ends_at_ns,
    )


def idle_end_ns(used_at_ns: int, ends_at_ns: int) -> int:
    """When a key ends that is used at `used_at_ns` and not again: never past its own end."""
    return min(used_at_ns + _IDLE_NS, ends_at_ns)

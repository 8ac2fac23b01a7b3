"""What the service needs of its database for device keys."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Protocol

from services.keys.domain.api_key import Owner
from services.keys.domain.authority import Act
from services.keys.domain.device_key import DeviceKey


class DeviceKeyStore(Protocol):
    """Device keys and their audit; every method is one transaction and raises UNAVAILABLE without a
    database.
    """

    async def issue(self, key: DeviceKey, digest: bytes, act: Act) -> None:
        """Adds a live key; `digest` (32 bytes) is all that is kept of its secret.

        Raises KEY_LIMIT_REACHED at the account's cap, and what `refuse_gain` raises of the act.
        """
        ...

    async def list_live(self, owner: Owner, now_ns: int) -> Sequence[DeviceKey]:
        """The account's keys that work at `now_ns`, oldest first."""
        ...

    async def find_live(self, owner: Owner, device_key_id: uuid.UUID, now_ns: int) -> DeviceKey:
        """A key of the account's; raises DEVICE_KEY_NOT_FOUND for another's and for one that has ended."""
        ...

    async def delete(self, key: DeviceKey, act: Act) -> None:
        """Ends a key for good; raises DEVICE_KEY_NOT_FOUND for one that was ended."""
        ...

    async def resolve(self, digest: bytes) -> DeviceKey | None:
        """The key in whatever state, None where there is none."""
        ...

    async def note_use(self, key: DeviceKey, now_ns: int) -> int:
        """Notes a use, unless the last one noted is recent or the row is busy; when the key ends now if it
        is not used again.
        """
        ...

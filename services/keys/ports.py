"""What the service needs of its database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Protocol

from services.keys.domain.api_key import ApiKey, KeyLimits, KeyRights, Owner
from services.keys.domain.authority import Act
from services.keys.domain.changes import RightsChange


class KeyStore(Protocol):
    """Keys and their audit; every method is one transaction and raises UNAVAILABLE without a database."""

    async def issue(
        self,
        owner: Owner,
        public_key: bytes,
        rights: KeyRights,
        act: Act,
        *,
        session_public_key: bytes | None = None,
    ) -> ApiKey:
        """Adds a live key; `session_public_key` is the session key that it comes from, if it does.

        Raises KEY_LIMIT_REACHED at the owner's cap, and what `refuse_gain` raises of the act.
        """
        ...

    async def list_open(self, owner: Owner, now_ns: int) -> Sequence[ApiKey]:
        """The owner's keys that were not ended, expired ones included, oldest first."""
        ...

    async def change(self, owner: Owner, public_key: bytes, change: RightsChange, act: Act) -> ApiKey:
        """Changes a key that was not ended.

        Raises API_KEY_NOT_FOUND for another owner's or an ended one; VALIDATION_ERROR when the rights
        that result contradict each other; what `refuse_gain` raises of the act when it adds rights.
        """
        ...

    async def limit(self, public_key: bytes, limits: KeyLimits, act: Act) -> None:
        """Gives a key of whichever owner new limits, in the place of all that it had.

        Raises API_KEY_NOT_FOUND for an unknown or an ended one.
        """
        ...

    async def rotate(
        self, owner: Owner, public_key: bytes, successor: bytes, overlap_ns: int, act: Act
    ) -> ApiKey:
        """Adds the key `successor` with what `public_key` may do, which works for `overlap_ns` more.

        Raises API_KEY_NOT_FOUND for another owner's or a deleted one; what `refuse_gain` raises of the
        act and `refuse_rotation` of the key; KEY_LIMIT_REACHED where both would work and the owner is at
        the cap.
        """
        ...

    async def delete(self, owner: Owner, public_key: bytes, act: Act) -> None:
        """Ends a key for good.

        Raises API_KEY_NOT_FOUND for another owner's or an ended one; LAST_PROJECT_API_KEY for the only
        live key of a project.
        """
        ...

    async def fence(self, account_id: uuid.UUID, account_version: int, act: Act) -> None:
        """Waits for every issue in flight; no later one under an older version commits."""
        ...

    async def resolve(self, public_key: bytes) -> ApiKey | None:
        """The key in whatever state, None where there is none."""
        ...

    async def note_use(self, public_key: bytes, now_ns: int) -> None:
        """Notes a use, unless the last one noted is recent or the row is busy."""
        ...

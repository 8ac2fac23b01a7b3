"""What the service needs for keys that sign: of its database, and of the wallet service."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chassis.signing import RequestRecord, Signer
from services.keys.domain.api_key import Owner
from services.keys.domain.authority import Act
from services.keys.domain.signing_key import MasterKey, Revocation, SessionKey


@dataclass(frozen=True, slots=True)
class Fence:
    """What the wallet service has yet to be told: that `public_key` signs no more, or, without one, that
    the account has a master key.
    """

    sequence_number: int
    public_key: bytes | None


class SigningKeyStore(Protocol):
    """Master and session keys, their audit, and what the wallet service has to be told of them.

    A change is one transaction, and every method raises UNAVAILABLE without a database. Those that add a
    key raise what `refuse_gain` raises of the act.
    """

    async def register(self, owner: Owner, key: MasterKey, act: Act) -> MasterKey:
        """Adds the first master key of an account, or finds that it is that already.

        Raises MASTER_KEY_EXISTS for an account that has had another; VALIDATION_ERROR for a public key
        that was used on it.
        """
        ...

    async def add(self, owner: Owner, key: MasterKey, act: Act) -> None:
        """Adds a further master key.

        Raises Refused: `master_key_rejected_key_reused`, `master_key_rejected_limit`.
        """
        ...

    async def remove(self, owner: Owner, public_key: bytes, act: Act) -> MasterKey:
        """Ends a master key, its session keys, and the device keys and API keys that came from those.

        Raises Refused: `master_key_rejected_invalid` for an unknown or removed one,
        `master_key_rejected_last_admin` for the last ADMIN key with FULL_ACCESS.
        """
        ...

    async def mint(self, owner: Owner, key: SessionKey, act: Act) -> None:
        """Adds a session key.

        Raises Refused: `session_rejected_key_reused`, `session_rejected_max_sessions`.
        """
        ...

    async def revoke(self, owner: Owner, revocation: Revocation, act: Act) -> SessionKey:
        """Ends a session key and the device keys, perhaps also the API keys, that came from it.

        One past its own end can still be revoked, for what came from it. Raises Refused with
        `session_rejected_invalid` for an unknown, a revoked and an unreachable one.
        """
        ...

    async def list_master_keys(
        self, account_id: uuid.UUID, subaccount_index: int | None
    ) -> Sequence[MasterKey]:
        """The keys that were not removed, oldest first; those of one subaccount alone, or all for None."""
        ...

    async def list_session_keys(
        self,
        account_id: uuid.UUID,
        now_ns: int,
        *,
        subaccount_index: int | None = None,
        master_public_key: bytes | None = None,
    ) -> Sequence[SessionKey]:
        """The keys that are live at `now_ns`, oldest first.

        Those of one subaccount alone and of one master key, or all for None.
        """
        ...

    async def signer(self, account_id: uuid.UUID, public_key: bytes) -> Signer | None:
        """The facts of a key, ended or not; None for one that the account never had."""
        ...

    async def request(
        self, account_id: uuid.UUID, request_id: uuid.UUID, subaccount_index: int | None, now_ns: int
    ) -> RequestRecord:
        """What became of a signed request, for whom sees one subaccount alone, or all for None.

        Sees to it that an unused id which is too old to be used stays so. Raises REQUEST_NOT_FOUND.
        """
        ...


class FenceOutbox(Protocol):
    """What the wallet service has yet to be told; every method raises UNAVAILABLE without a database."""

    async def fences(self, account_id: uuid.UUID, at_most_count: int) -> Sequence[Fence]:
        """What it has to be told of an account, oldest first."""
        ...

    async def accounts(self, at_most_count: int) -> Sequence[uuid.UUID]:
        """The accounts of which it has to be told something, those that wait longest first."""
        ...

    async def remove(self, fences: Sequence[Fence]) -> None:
        """Notes that it was told."""
        ...


class WalletFence(Protocol):
    """The wallet service; every method raises UNAVAILABLE when it cannot be reached, or hangs."""

    async def stop(self, account_id: uuid.UUID, public_keys: Sequence[bytes]) -> None:
        """Stops keys: when this returns, nothing that they signed takes effect any more."""
        ...

    async def require_signatures(self, account_id: uuid.UUID) -> None:
        """Says that the account has a master key: when this returns, it is in force."""
        ...

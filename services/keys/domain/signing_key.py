"""What keys that sign are: master keys, and the session keys that they mint."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from chassis.signing import Role, Signer, SignerKind


class EndReason(StrEnum):
    """Why a key signs no more, beside its own end."""

    REVOKED = "REVOKED"
    LOGGED_OUT = "LOGGED_OUT"
    REMOVED = "REMOVED"
    MASTER_REMOVED = "MASTER_REMOVED"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key; `subaccount_index` is the only subaccount it reaches, None for ADMIN."""

    public_key: bytes
    role: Role
    subaccount_index: int | None
    created_at_ns: int

    @property
    def is_admin(self) -> bool:
        """Whether it reaches the whole account."""
        return self.subaccount_index is None

    def signer(self, account_id: uuid.UUID) -> Signer:
        """Its facts, for whoever verifies what it signed."""
        return Signer(
            account_id,
            self.public_key,
            SignerKind.MASTER_KEY,
            self.role,
            self.subaccount_index,
            admin_rooted=self.is_admin,
            valid_until_ns=None,
        )


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A session key.

    `scope_index` is the subaccount that it was pinned to, None for none; `subaccount_index` the only
    one that it reaches, by its own scope or its master key's. `valid_until_ns` None is never.
    """

    public_key: bytes
    master_public_key: bytes
    role: Role
    scope_index: int | None
    subaccount_index: int | None
    valid_until_ns: int | None
    created_at_ns: int

    @property
    def admin_rooted(self) -> bool:
        """Whether an ADMIN key minted it unpinned: nothing else leaves a session key without bounds."""
        return self.subaccount_index is None

    def signer(self, account_id: uuid.UUID) -> Signer:
        """Its facts, for whoever verifies what it signed."""
        return Signer(
            account_id,
            self.public_key,
            SignerKind.SESSION_KEY,
            self.role,
            self.subaccount_index,
            admin_rooted=self.admin_rooted,
            valid_until_ns=self.valid_until_ns,
        )


@dataclass(frozen=True, slots=True)
class SigningCaps:
    """How many keys may be live: ADMIN keys an account, others a subaccount, session keys a master key."""

    admin_keys_count: int
    scoped_keys_count: int
    sessions_per_master_key_count: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """Which session key is to end, by whom, and what goes with it.

    `master_public_key` is the only master key whose session keys may be ended, None for any.
    """

    public_key: bytes
    reason: EndReason
    master_public_key: bytes | None
    include_api_keys: bool

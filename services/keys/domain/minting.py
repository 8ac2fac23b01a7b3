"""What a key pair must be to become a master or a session key, and how far it may then reach."""

from __future__ import annotations

import uuid
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Detail
from chassis.limits import SESSION_KEY_LIFETIME_MAX_SECONDS, SUBACCOUNT_INDEX_MAX
from chassis.signing import (
    UNPINNED_SCOPE,
    Refused,
    Role,
    Signer,
    Status,
    is_acceptable_point,
    possession_message,
    verify,
)
from services.keys.domain.signing_key import MasterKey, SessionKey

NEVER_NS: Final = 2**64 - 1
"""What stands for no end in a `valid_until_ns` that a master key signs."""

_LIFETIME_MAX_NS: Final = SESSION_KEY_LIFETIME_MAX_SECONDS * NANOSECONDS_PER_SECOND


def minted(master: Signer, public_key: bytes, scope: int, valid_until_ns: int, now_ns: int) -> SessionKey:
    """The session key that `master` mints at `now_ns`; its role is the master key's.

    `scope` is a subaccount, or UNPINNED_SCOPE. Raises Refused: `session_rejected_scope` for a scope that
    the master key does not reach, `session_rejected_invalid` for a key that is no good point or an end
    that is not in the next ten years.
    """
    scope_index = None if scope == UNPINNED_SCOPE else scope
    if scope_index is not None and not _reaches(master, scope_index):
        raise Refused(Status.SESSION_SCOPE, [Detail("scope", "is not within the master key's reach")])
    problem = point_problem(public_key)
    if problem is not None:
        raise Refused(Status.SESSION_INVALID, [Detail("public_key", problem)])
    return SessionKey(
        public_key=public_key,
        master_public_key=master.public_key,
        role=master.role,
        scope_index=scope_index,
        subaccount_index=master.subaccount_index if scope_index is None else scope_index,
        valid_until_ns=_checked_end(valid_until_ns, now_ns),
        created_at_ns=now_ns,
    )


def first_master_key(public_key: bytes, now_ns: int) -> MasterKey:
    """The key that a project registers at `now_ns`: ADMIN and FULL_ACCESS, so that it can add others."""
    return MasterKey(public_key, Role.FULL_ACCESS, subaccount_index=None, created_at_ns=now_ns)


def added(public_key: bytes, role: Role, *, is_admin: bool, subaccount_index: int, now_ns: int) -> MasterKey:
    """The master key that is added at `now_ns`.

    Raises Refused with `master_key_rejected_invalid` for a key that is no good point, and for a
    subaccount that cannot be or that an ADMIN key is given.
    """
    problem = point_problem(public_key)
    if problem is not None:
        raise Refused(Status.MASTER_KEY_INVALID, [Detail("public_key", problem)])
    if is_admin and subaccount_index != 0:
        raise Refused(Status.MASTER_KEY_INVALID, [Detail("subaccount_index", "must be 0 for an ADMIN key")])
    if subaccount_index > SUBACCOUNT_INDEX_MAX:
        detail = Detail("subaccount_index", f"must be at most {SUBACCOUNT_INDEX_MAX}")
        raise Refused(Status.MASTER_KEY_INVALID, [detail])
    return MasterKey(public_key, role, None if is_admin else subaccount_index, now_ns)


def point_problem(public_key: bytes) -> str | None:
    """What is wrong with a public key that is to sign for an account, None if nothing is."""
    if is_acceptable_point(public_key):
        return None
    return "must be 32 bytes: a canonical Ed25519 point of prime order"


def possession_problem(
    audience: str, account_id: uuid.UUID, public_key: bytes, signature: bytes
) -> str | None:
    """What is wrong with the signature by which a new master key shows that somebody has its private half."""
    message = possession_message(audience, account_id, public_key)
    if verify(public_key, message, signature):
        return None
    return "must be the new key's own signature for this account and deployment"


def _reaches(master: Signer, subaccount_index: int) -> bool:
    return master.subaccount_index in (None, subaccount_index) and subaccount_index <= SUBACCOUNT_INDEX_MAX


def _checked_end(valid_until_ns: int, now_ns: int) -> int | None:
    if valid_until_ns == NEVER_NS:
        return None
    if valid_until_ns <= now_ns:
        raise Refused(Status.SESSION_INVALID, [Detail("valid_until_ns", "must be in the future")])
    if valid_until_ns - now_ns > _LIFETIME_MAX_NS:
        raise Refused(Status.SESSION_INVALID, [Detail("valid_until_ns", "must be at most ten years ahead")])
    return valid_until_ns

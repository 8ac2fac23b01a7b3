"""What every change of keys begins and ends with: the owner's lock, and the row that says what was done."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chassis.db.queries import load_queries
from chassis.db.tx import Transaction
from services.keys.domain.api_key import Owner, OwnerKind
from services.keys.domain.authority import Act

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_ENSURE_OWNER: Final = _queries.ensure_owner
_LOCK_OWNER: Final = _queries.lock_owner
_INSERT_AUDIT: Final = _queries.insert_audit


async def lock_new_owner(tx: Transaction, owner: Owner) -> int:
    """As `lock_owner`, of an owner who may have no keys yet."""
    await tx.execute(_ENSURE_OWNER, owner.owner_id, owner.kind)
    return await lock_owner(tx, owner)


async def lock_owner(tx: Transaction, owner: Owner) -> int:
    """Takes the lock under which an owner's keys are added, changed and ended; returns the fence.

    An owner who has never had a key has no fence and nothing to lock: the lowest one, 0.
    """
    fence: int | None = await tx.fetchval(_LOCK_OWNER, owner.owner_id, owner.kind)
    return 0 if fence is None else fence


async def write_audit(
    tx: Transaction,
    act: Act,
    action: str,
    owner_id: uuid.UUID,
    kind: OwnerKind,
    *,
    public_key: bytes | None = None,
    device_key_id: uuid.UUID | None = None,
    facts: Mapping[str, object],
) -> None:
    """Says what was done, to which key, in the transaction that does it."""
    await tx.execute(
        _INSERT_AUDIT,
        act.audit_id,
        act.at_ns,
        action,
        owner_id,
        kind,
        public_key,
        act.actor_kind,
        act.actor_id,
        act.request_id,
        json.dumps(facts),
        device_key_id,
    )

"""What every change of keys begins and ends with: the owner's lock, and the row that says what was done."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from chassis.db.queries import load_queries
from chassis.db.tx import Transaction
from services.keys.domain.api_key import Owner, OwnerKind
from services.keys.domain.authority import Act

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_ENSURE_OWNER: Final = _queries.ensure_owner
_LOCK_OWNER: Final = _queries.lock_owner
_INSERT_AUDIT: Final = _queries.insert_audit


async def lock_new_owner(tx: Transaction, owner: Owner) -> int:
    """Locks an owner who may have no keys yet, and returns the fence; see `lock_owner`."""
    await tx.execute(_ENSURE_OWNER, owner.owner_id, owner.kind)
    fence: int = await lock_owner(tx, owner)
    return fence


async def lock_owner(tx: Transaction, owner: Owner) -> Any:  # noqa: ANN401 - as the database gives it
    """Takes the lock under which an owner's keys are added, changed and ended; returns the fence.

    None for an owner who has never had a key.
    """
    return await tx.fetchval(_LOCK_OWNER, owner.owner_id, owner.kind)


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

"""API keys in Postgres. Every change locks the owner's row first and writes its audit row with it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Final

import asyncpg

from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError
from chassis.limits import API_KEYS_LISTED_COUNT
from chassis.secrets import public_key_text
from services.keys.domain.api_key import (
    LAST_USED_RESOLUTION_NS,
    ApiKey,
    KeyLimits,
    KeyRights,
    Owner,
    OwnerKind,
)
from services.keys.domain.authority import Act, refuse_gain
from services.keys.domain.changes import RightsChange, changed_key, changed_rights, delta
from services.keys.domain.rotation import refuse_rotation
from services.keys.storage_acts import lock_new_owner, lock_owner, write_audit

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_RAISE_FENCE: Final = _queries.raise_fence
_COUNT_LIVE_KEYS: Final = _queries.count_live_keys
_INSERT_KEY: Final = _queries.insert_key
_LIST_KEYS: Final = _queries.list_keys
_FIND_OPEN_KEY: Final = _queries.find_open_key
_FIND_UNDELETED_KEY: Final = _queries.find_undeleted_key
_UPDATE_KEY: Final = _queries.update_key
_LIMIT_KEY: Final = _queries.limit_key
_RETIRE_KEY: Final = _queries.retire_key
_END_RETIRED_KEYS: Final = _queries.end_retired_keys
_END_KEY: Final = _queries.end_key
_RESOLVE_KEY: Final = _queries.resolve_key
_NOTE_USE: Final = _queries.note_use


class KeyStorage:
    """See `services.keys.ports.KeyStore`; `keys_per_owner_count` is the cap on live keys."""

    def __init__(self, database: Database, keys_per_owner_count: int) -> None:
        self._database = database
        self._keys_per_owner_count = keys_per_owner_count

    async def issue(
        self,
        owner: Owner,
        public_key: bytes,
        rights: KeyRights,
        act: Act,
        *,
        session_public_key: bytes | None = None,
    ) -> ApiKey:
        """See `KeyStore.issue`."""
        key = _new_key(owner, public_key, rights, act, session_public_key, KeyLimits())
        async with self._database.transaction() as tx:
            fence = await lock_new_owner(tx, owner)
            refuse_gain(act, rights.scopes, fence)
            if await _live_count(tx, owner, act.at_ns) >= self._keys_per_owner_count:
                raise SealgateError(Code.KEY_LIMIT_REACHED)
            await _insert_key(tx, key, act)
            await _audit_key(tx, act, "KEY_ISSUED", owner, public_key, asdict(rights))
        return key

    async def list_open(self, owner: Owner, now_ns: int) -> Sequence[ApiKey]:
        """See `KeyStore.list_open`; past API_KEYS_LISTED_COUNT the oldest expired keys are left out."""
        rows = await self._database.fetch(
            _LIST_KEYS, owner.owner_id, owner.kind, now_ns, API_KEYS_LISTED_COUNT
        )
        return [_key(row) for row in rows]

    async def change(self, owner: Owner, public_key: bytes, change: RightsChange, act: Act) -> ApiKey:
        """See `KeyStore.change`; a change that changes nothing leaves no trace."""
        async with self._database.transaction() as tx:
            fence = await lock_owner(tx, owner)
            key = await _open_key(tx, owner, public_key, act.at_ns)
            rights = changed_rights(key, change)
            if rights == key.rights:
                return key
            difference = delta(key.rights, rights)
            if difference.widens:
                refuse_gain(act, difference.added_scopes, fence)
            changed = changed_key(key, rights, act.at_ns)
            await tx.execute(
                _UPDATE_KEY,
                public_key,
                rights.name,
                list(rights.scopes),
                list(rights.origins),
                list(changed.origins_since_ns),
                changed.updated_at_ns,
            )
            facts = {"name": rights.name, **asdict(difference)}
            await _audit_key(tx, act, "KEY_CHANGED", owner, public_key, facts)
        return changed

    async def limit(self, public_key: bytes, limits: KeyLimits, act: Act) -> None:
        """See `KeyStore.limit`; what changes nothing leaves no trace."""
        async with self._database.transaction() as tx:
            # Whose it is never changes, and tells which lock to take before the key is really read.
            owner = _found(await tx.fetchrow(_RESOLVE_KEY, public_key)).owner
            await lock_owner(tx, owner)
            key = await _open_key(tx, owner, public_key, act.at_ns)
            if limits == key.limits:
                return
            await tx.execute(_LIMIT_KEY, public_key, *astuple(limits))
            await _audit_key(tx, act, "KEY_LIMITED", owner, public_key, asdict(limits))

    async def rotate(
        self, owner: Owner, public_key: bytes, successor: bytes, overlap_ns: int, act: Act
    ) -> ApiKey:
        """See `KeyStore.rotate`."""
        retires_at_ns = act.at_ns + overlap_ns
        async with self._database.transaction() as tx:
            fence = await lock_owner(tx, owner)
            old = _found(await tx.fetchrow(_FIND_UNDELETED_KEY, public_key, owner.owner_id, owner.kind))
            refuse_gain(act, old.rights.scopes, fence)
            refuse_rotation(old, act.at_ns)
            # Without an overlap one key takes the place of another, and there are no more than before.
            counts = overlap_ns > 0
            if counts and await _live_count(tx, owner, act.at_ns) >= self._keys_per_owner_count:
                raise SealgateError(Code.KEY_LIMIT_REACHED)
            key = _new_key(owner, successor, old.rights, act, old.session_public_key, old.limits)
            await _insert_key(tx, key, act)
            await tx.execute(_RETIRE_KEY, public_key, successor, retires_at_ns)
            await tx.execute(_END_RETIRED_KEYS, owner.owner_id, owner.kind, act.at_ns)
            facts = {"replaced_by": public_key_text(successor), "retires_at_ns": retires_at_ns}
            await _audit_key(tx, act, "KEY_ROTATED", owner, public_key, facts)
        return key

    async def delete(self, owner: Owner, public_key: bytes, act: Act) -> None:
        """See `KeyStore.delete`."""
        async with self._database.transaction() as tx:
            await lock_owner(tx, owner)
            key = await _open_key(tx, owner, public_key, act.at_ns)
            # A project without a key could only be helped by an operator.
            last_counts = owner.kind is OwnerKind.PROJECT and key.is_live(act.at_ns)
            if last_counts and await _live_count(tx, owner, act.at_ns) == 1:
                raise SealgateError(Code.LAST_PROJECT_API_KEY)
            await tx.execute(_END_KEY, public_key, act.at_ns)
            await _audit_key(tx, act, "KEY_DELETED", owner, public_key, {})

    async def fence(self, account_id: uuid.UUID, account_version: int, act: Act) -> None:
        """See `KeyStore.fence`."""
        async with self._database.transaction() as tx:
            await tx.execute(_RAISE_FENCE, account_id, account_version)
            facts = {"account_version": account_version}
            await write_audit(tx, act, "ACCOUNT_FENCED", account_id, OwnerKind.ACCOUNT, facts=facts)

    async def resolve(self, public_key: bytes) -> ApiKey | None:
        """See `KeyStore.resolve`."""
        row = await self._database.fetchrow(_RESOLVE_KEY, public_key)
        return None if row is None else _key(row)

    async def note_use(self, public_key: bytes, now_ns: int) -> None:
        """See `KeyStore.note_use`."""
        await self._database.execute(_NOTE_USE, public_key, now_ns, now_ns - LAST_USED_RESOLUTION_NS)


async def _live_count(tx: Transaction, owner: Owner, now_ns: int) -> int:
    count: int = await tx.fetchval(_COUNT_LIVE_KEYS, owner.owner_id, owner.kind, now_ns)
    return count


def _new_key(
    owner: Owner,
    public_key: bytes,
    rights: KeyRights,
    act: Act,
    session_public_key: bytes | None,
    limits: KeyLimits,
) -> ApiKey:
    return ApiKey(
        public_key,
        owner,
        rights,
        created_at_ns=act.at_ns,
        updated_at_ns=act.at_ns,
        last_used_at_ns=None,
        ended_at_ns=None,
        session_public_key=session_public_key,
        origins_since_ns=(act.at_ns,) * len(rights.origins),
        limits=limits,
    )


async def _open_key(tx: Transaction, owner: Owner, public_key: bytes, now_ns: int) -> ApiKey:
    return _found(await tx.fetchrow(_FIND_OPEN_KEY, public_key, owner.owner_id, owner.kind, now_ns))


def _found(row: asyncpg.Record | None) -> ApiKey:
    if row is None:
        raise SealgateError(Code.API_KEY_NOT_FOUND)
    return _key(row)


async def _insert_key(tx: Transaction, key: ApiKey, act: Act) -> None:
    await tx.execute(
        _INSERT_KEY,
        key.public_key,
        key.owner.owner_id,
        key.owner.kind,
        key.owner.project_id,
        key.owner.account_id,
        key.rights.name,
        list(key.rights.scopes),
        list(key.rights.origins),
        key.rights.subaccount_index,
        key.rights.expires_at_ns,
        key.created_at_ns,
        act.actor_kind,
        act.actor_id,
        key.session_public_key,
        list(key.origins_since_ns),
        *astuple(key.limits),
    )


async def _audit_key(
    tx: Transaction, act: Act, action: str, owner: Owner, public_key: bytes, facts: Mapping[str, object]
) -> None:
    await write_audit(tx, act, action, owner.owner_id, owner.kind, public_key=public_key, facts=facts)


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        public_key=row["public_key"],
        owner=Owner(row["project_id"], row["account_id"]),
        rights=KeyRights(
            name=row["name"],
            scopes=tuple(row["scopes"]),
            origins=tuple(row["origins"]),
            subaccount_index=row["subaccount_index"],
            expires_at_ns=row["expires_at_ns"],
        ),
        created_at_ns=row["created_at_ns"],
        updated_at_ns=row["updated_at_ns"],
        last_used_at_ns=row["last_used_at_ns"],
        ended_at_ns=row["ended_at_ns"],
        replaced_by=row["replaced_by"],
        retires_at_ns=row["retires_at_ns"],
        session_public_key=row["session_public_key"],
        origins_since_ns=tuple(row["origins_since_ns"]),
        limits=KeyLimits(
            read_per_minute_count=row["read_per_minute_count"],
            write_per_minute_count=row["write_per_minute_count"],
            order_per_minute_count=row["order_per_minute_count"],
            browser_session_per_minute_count=row["browser_session_per_minute_count"],
        ),
    )

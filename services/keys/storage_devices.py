"""Device keys in Postgres. Every change locks the owner's row first and writes its audit row with it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError
from services.keys.domain.api_key import LAST_USED_RESOLUTION_NS, Owner
from services.keys.domain.authority import Act, refuse_gain
from services.keys.domain.device_key import DeviceKey, idle_end_ns
from services.keys.storage_acts import lock_new_owner, lock_owner, write_audit

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_COUNT_LIVE_DEVICE_KEYS: Final = _queries.count_live_device_keys
_INSERT_DEVICE_KEY: Final = _queries.insert_device_key
_LIST_LIVE_DEVICE_KEYS: Final = _queries.list_live_device_keys
_FIND_LIVE_DEVICE_KEY: Final = _queries.find_live_device_key
_END_DEVICE_KEY: Final = _queries.end_device_key
_RESOLVE_DEVICE_KEY: Final = _queries.resolve_device_key
_NOTE_DEVICE_KEY_USE: Final = _queries.note_device_key_use


class DeviceKeyStorage:
    """See `services.keys.ports_devices.DeviceKeyStore`; `keys_per_account_count` is the cap on live keys."""

    def __init__(self, database: Database, keys_per_account_count: int) -> None:
        self._database = database
        self._keys_per_account_count = keys_per_account_count

    async def issue(self, key: DeviceKey, digest: bytes, act: Act) -> None:
        """See `DeviceKeyStore.issue`."""
        owner = key.owner
        async with self._database.transaction() as tx:
            refuse_gain(act, (), await lock_new_owner(tx, owner))
            live_count = await tx.fetchval(_COUNT_LIVE_DEVICE_KEYS, owner.owner_id, act.at_ns)
            if live_count >= self._keys_per_account_count:
                raise SealgateError(Code.KEY_LIMIT_REACHED)
            await tx.execute(
                _INSERT_DEVICE_KEY,
                key.device_key_id,
                digest,
                owner.project_id,
                owner.owner_id,
                key.name,
                key.subaccount_index,
                key.session_public_key,
                key.created_at_ns,
                key.expires_at_ns,
                key.ends_at_ns,
            )
            facts = {"name": key.name, "subaccount_index": key.subaccount_index}
            await _audit(tx, act, "DEVICE_KEY_ISSUED", key, facts)

    async def list_live(self, owner: Owner, now_ns: int) -> Sequence[DeviceKey]:
        """See `DeviceKeyStore.list_live`."""
        rows = await self._database.fetch(_LIST_LIVE_DEVICE_KEYS, owner.owner_id, now_ns)
        return [_device_key(row) for row in rows]

    async def find_live(self, owner: Owner, device_key_id: uuid.UUID, now_ns: int) -> DeviceKey:
        """See `DeviceKeyStore.find_live`."""
        row = await self._database.fetchrow(_FIND_LIVE_DEVICE_KEY, owner.owner_id, device_key_id, now_ns)
        if row is None:
            raise SealgateError(Code.DEVICE_KEY_NOT_FOUND)
        return _device_key(row)

    async def delete(self, key: DeviceKey, act: Act) -> None:
        """See `DeviceKeyStore.delete`."""
        async with self._database.transaction() as tx:
            await lock_owner(tx, key.owner)
            if await tx.fetchval(_END_DEVICE_KEY, key.device_key_id, act.at_ns) is None:
                raise SealgateError(Code.DEVICE_KEY_NOT_FOUND)
            await _audit(tx, act, "DEVICE_KEY_DELETED", key, {})

    async def resolve(self, digest: bytes) -> DeviceKey | None:
        """See `DeviceKeyStore.resolve`."""
        row = await self._database.fetchrow(_RESOLVE_DEVICE_KEY, digest)
        return None if row is None else _device_key(row)

    async def note_use(self, key: DeviceKey, now_ns: int) -> int:
        """See `DeviceKeyStore.note_use`."""
        expires_at_ns: int | None = await self._database.fetchval(
            _NOTE_DEVICE_KEY_USE,
            key.device_key_id,
            now_ns,
            now_ns - LAST_USED_RESOLUTION_NS,
            idle_end_ns(now_ns, key.ends_at_ns),
        )
        return key.expires_at_ns if expires_at_ns is None else expires_at_ns


async def _audit(tx: Transaction, act: Act, action: str, key: DeviceKey, facts: Mapping[str, object]) -> None:
    owner = key.owner
    await write_audit(
        tx, act, action, owner.owner_id, owner.kind, device_key_id=key.device_key_id, facts=facts
    )


def _device_key(row: asyncpg.Record) -> DeviceKey:
    return DeviceKey(
        device_key_id=row["device_key_id"],
        owner=Owner(row["project_id"], row["account_id"]),
        name=row["name"],
        subaccount_index=row["subaccount_index"],
        session_public_key=row["session_public_key"],
        created_at_ns=row["created_at_ns"],
        last_used_at_ns=row["last_used_at_ns"],
        expires_at_ns=row["expires_at_ns"],
        ends_at_ns=row["ends_at_ns"],
        ended_at_ns=row["ended_at_ns"],
    )

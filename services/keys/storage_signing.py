"""Master and session keys in Postgres.

Every change locks the owner's row first, as with API keys, and writes with it its audit row and what the
wallet service has to be told.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.db.queries import load_queries
from chassis.db.signed_requests import find_or_close
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.limits import EXPIRY_MARGIN_SECONDS, SCOPED_MASTER_KEYS_PER_ACCOUNT_COUNT
from chassis.secrets import public_key_text
from chassis.signing import Refused, RequestRecord, Role, Signer, SignerKind, Status
from services.keys.domain.api_key import Owner
from services.keys.domain.authority import Act, refuse_gain
from services.keys.domain.signing_key import EndReason, MasterKey, Revocation, SessionKey, SigningCaps
from services.keys.ports_signing import Fence
from services.keys.storage_acts import lock_new_owner, lock_owner, write_audit

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_FIND_FIRST_MASTER_KEYS: Final = _queries.find_first_master_keys
_KEY_WAS_USED: Final = _queries.key_was_used
_INSERT_SIGNER: Final = _queries.insert_signer
_COUNT_MASTER_KEYS: Final = _queries.count_master_keys
_COUNT_SCOPED_MASTER_KEYS: Final = _queries.count_scoped_master_keys
_COUNT_FULL_ADMIN_KEYS: Final = _queries.count_full_admin_keys
_COUNT_LIVE_SESSIONS: Final = _queries.count_live_sessions
_FIND_MASTER_KEY: Final = _queries.find_master_key
_FIND_SESSION_KEY: Final = _queries.find_session_key
_SESSION_KEY_HAS_ENDED: Final = _queries.session_key_has_ended
_END_SIGNER: Final = _queries.end_signer
_END_SESSIONS_OF_MASTER: Final = _queries.end_sessions_of_master
_END_DEVICE_KEYS_OF: Final = _queries.end_device_keys_of
_END_API_KEYS_OF: Final = _queries.end_api_keys_of
_LIST_MASTER_KEYS: Final = _queries.list_master_keys
_LIST_SESSION_KEYS: Final = _queries.list_session_keys
_FIND_SIGNER: Final = _queries.find_signer
_ADD_FENCES: Final = _queries.add_fences
_ADD_REQUIREMENT: Final = _queries.add_requirement
_LIST_FENCES: Final = _queries.list_fences
_LIST_FENCED_ACCOUNTS: Final = _queries.list_fenced_accounts
_REMOVE_FENCES: Final = _queries.remove_fences

_EXPIRY_MARGIN_NS: Final = EXPIRY_MARGIN_SECONDS * NANOSECONDS_PER_SECOND


class SigningKeyStorage:
    """See `services.keys.ports_signing.SigningKeyStore`."""

    def __init__(self, database: Database, caps: SigningCaps) -> None:
        self._database = database
        self._caps = caps

    async def register(self, owner: Owner, key: MasterKey, act: Act) -> MasterKey:
        """See `SigningKeyStore.register`."""
        async with self._database.transaction() as tx:
            refuse_gain(act, (), await lock_new_owner(tx, owner))
            earlier = await tx.fetch(_FIND_FIRST_MASTER_KEYS, owner.owner_id)
            if len(earlier) == 1 and earlier[0]["public_key"] == key.public_key:
                return _master_key(earlier[0])
            if earlier:
                raise SealgateError(Code.MASTER_KEY_EXISTS)
            if await tx.fetchval(_KEY_WAS_USED, owner.owner_id, key.public_key):
                raise invalid("public_key", "was used on this account before")
            await _insert_master_key(tx, owner, key, act)
            await tx.execute(_ADD_REQUIREMENT, owner.owner_id, act.at_ns)
            await _audit(tx, act, "MASTER_KEY_REGISTERED", owner, key.public_key, _facts(key))
        return key

    async def add(self, owner: Owner, key: MasterKey, act: Act) -> None:
        """See `SigningKeyStore.add`."""
        cap_count = self._caps.admin_keys_count if key.is_admin else self._caps.scoped_keys_count
        async with self._database.transaction() as tx:
            refuse_gain(act, (), await lock_new_owner(tx, owner))
            if await tx.fetchval(_KEY_WAS_USED, owner.owner_id, key.public_key):
                raise Refused(Status.MASTER_KEY_REUSED)
            if await tx.fetchval(_COUNT_MASTER_KEYS, owner.owner_id, key.subaccount_index) >= cap_count:
                raise Refused(Status.MASTER_KEY_LIMIT)
            scoped_count = 0 if key.is_admin else await tx.fetchval(_COUNT_SCOPED_MASTER_KEYS, owner.owner_id)
            if scoped_count >= SCOPED_MASTER_KEYS_PER_ACCOUNT_COUNT:
                raise Refused(Status.MASTER_KEY_LIMIT)
            await _insert_master_key(tx, owner, key, act)
            await _audit(tx, act, "MASTER_KEY_ADDED", owner, key.public_key, _facts(key))

    async def remove(self, owner: Owner, public_key: bytes, act: Act) -> MasterKey:
        """See `SigningKeyStore.remove`."""
        async with self._database.transaction() as tx:
            await lock_owner(tx, owner)
            row = await tx.fetchrow(_FIND_MASTER_KEY, owner.owner_id, public_key)
            if row is None:
                problem = "is no master key that has not ended"
                raise Refused(Status.MASTER_KEY_INVALID, [Detail("public_key", problem)])
            key = _master_key(row)
            counts = key.is_admin and key.role is Role.FULL_ACCESS
            if counts and await tx.fetchval(_COUNT_FULL_ADMIN_KEYS, owner.owner_id) == 1:
                raise Refused(Status.MASTER_KEY_LAST_ADMIN)
            await tx.execute(_END_SIGNER, owner.owner_id, public_key, act.at_ns, EndReason.REMOVED)
            sessions = [
                row["public_key"]
                for row in await tx.fetch(
                    _END_SESSIONS_OF_MASTER,
                    owner.owner_id,
                    public_key,
                    act.at_ns,
                    act.at_ns - _EXPIRY_MARGIN_NS,
                )
            ]
            await tx.execute(_ADD_FENCES, owner.owner_id, [public_key, *sessions], act.at_ns)
            facts = {
                "session_keys": [_text(session) for session in sessions],
                "device_keys": await _end_device_keys(tx, owner, public_key, act),
                "api_keys": await _end_api_keys(tx, owner, public_key, act),
            }
            await _audit(tx, act, "MASTER_KEY_REMOVED", owner, public_key, facts)
        return key

    async def mint(self, owner: Owner, key: SessionKey, act: Act) -> None:
        """See `SigningKeyStore.mint`."""
        async with self._database.transaction() as tx:
            refuse_gain(act, (), await lock_new_owner(tx, owner))
            if await tx.fetchval(_KEY_WAS_USED, owner.owner_id, key.public_key):
                raise Refused(Status.SESSION_KEY_REUSED)
            live_count = await tx.fetchval(
                _COUNT_LIVE_SESSIONS, owner.owner_id, key.master_public_key, act.at_ns
            )
            if live_count >= self._caps.sessions_per_master_key_count:
                raise Refused(Status.SESSION_MAX_SESSIONS)
            await _insert_session_key(tx, owner, key, act)
            facts = {
                "master_key": _text(key.master_public_key),
                "role": key.role,
                "scope_index": key.scope_index,
                "subaccount_index": key.subaccount_index,
                "valid_until_ns": key.valid_until_ns,
            }
            await _audit(tx, act, "SESSION_KEY_MINTED", owner, key.public_key, facts)

    async def revoke(self, owner: Owner, revocation: Revocation, act: Act) -> SessionKey:
        """See `SigningKeyStore.revoke`."""
        public_key = revocation.public_key
        async with self._database.transaction() as tx:
            await lock_owner(tx, owner)
            row = await tx.fetchrow(
                _FIND_SESSION_KEY, owner.owner_id, public_key, revocation.master_public_key
            )
            if row is None:
                has_ended = await tx.fetchval(
                    _SESSION_KEY_HAS_ENDED, owner.owner_id, public_key, revocation.master_public_key
                )
                problem = "had ended already" if has_ended else "is no session key in reach"
                raise Refused(Status.SESSION_INVALID, [Detail("public_key", problem)])
            await tx.execute(_END_SIGNER, owner.owner_id, public_key, act.at_ns, revocation.reason)
            await tx.execute(_ADD_FENCES, owner.owner_id, [public_key], act.at_ns)
            facts: dict[str, object] = {
                "reason": revocation.reason,
                "device_keys": await _end_device_keys(tx, owner, public_key, act),
            }
            if revocation.include_api_keys:
                facts["api_keys"] = await _end_api_keys(tx, owner, public_key, act)
            await _audit(tx, act, "SESSION_KEY_REVOKED", owner, public_key, facts)
        return _session_key(row)

    async def list_master_keys(
        self, account_id: uuid.UUID, subaccount_index: int | None
    ) -> Sequence[MasterKey]:
        """See `SigningKeyStore.list_master_keys`."""
        rows = await self._database.fetch(_LIST_MASTER_KEYS, account_id, subaccount_index)
        return [_master_key(row) for row in rows]

    async def list_session_keys(
        self,
        account_id: uuid.UUID,
        now_ns: int,
        *,
        subaccount_index: int | None = None,
        master_public_key: bytes | None = None,
    ) -> Sequence[SessionKey]:
        """See `SigningKeyStore.list_session_keys`."""
        rows = await self._database.fetch(
            _LIST_SESSION_KEYS, account_id, now_ns, subaccount_index, master_public_key
        )
        return [_session_key(row) for row in rows]

    async def signer(self, account_id: uuid.UUID, public_key: bytes) -> Signer | None:
        """See `SigningKeyStore.signer`."""
        row = await self._database.fetchrow(_FIND_SIGNER, account_id, public_key)
        if row is None:
            return None
        key = _master_key(row) if row["master_public_key"] is None else _session_key(row)
        return key.signer(account_id)

    async def request(
        self, account_id: uuid.UUID, request_id: uuid.UUID, subaccount_index: int | None, now_ns: int
    ) -> RequestRecord:
        """See `SigningKeyStore.request`."""
        return await find_or_close(self._database, account_id, request_id, subaccount_index, now_ns)


class FenceOutboxStorage:
    """See `services.keys.ports_signing.FenceOutbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fences(self, account_id: uuid.UUID, at_most_count: int) -> Sequence[Fence]:
        """See `FenceOutbox.fences`."""
        rows = await self._database.fetch(_LIST_FENCES, account_id, at_most_count)
        return [Fence(row["sequence_number"], row["public_key"]) for row in rows]

    async def accounts(self, at_most_count: int) -> Sequence[uuid.UUID]:
        """See `FenceOutbox.accounts`."""
        return [row["account_id"] for row in await self._database.fetch(_LIST_FENCED_ACCOUNTS, at_most_count)]

    async def remove(self, fences: Sequence[Fence]) -> None:
        """See `FenceOutbox.remove`."""
        await self._database.execute(_REMOVE_FENCES, [fence.sequence_number for fence in fences])


async def _insert_master_key(tx: Transaction, owner: Owner, key: MasterKey, act: Act) -> None:
    await tx.execute(
        _INSERT_SIGNER,
        owner.owner_id,
        key.public_key,
        SignerKind.MASTER_KEY,
        key.role,
        None,
        None,
        key.subaccount_index,
        None,
        key.created_at_ns,
        act.actor_kind,
        act.actor_id,
    )


async def _insert_session_key(tx: Transaction, owner: Owner, key: SessionKey, act: Act) -> None:
    await tx.execute(
        _INSERT_SIGNER,
        owner.owner_id,
        key.public_key,
        SignerKind.SESSION_KEY,
        key.role,
        key.master_public_key,
        key.scope_index,
        key.subaccount_index,
        key.valid_until_ns,
        key.created_at_ns,
        act.actor_kind,
        act.actor_id,
    )


async def _end_device_keys(tx: Transaction, owner: Owner, public_key: bytes, act: Act) -> list[str]:
    """Ends the device keys of a session or master key; their ids."""
    rows = await tx.fetch(_END_DEVICE_KEYS_OF, owner.owner_id, public_key, act.at_ns)
    return [str(row["device_key_id"]) for row in rows]


async def _end_api_keys(tx: Transaction, owner: Owner, public_key: bytes, act: Act) -> list[str]:
    """Ends the API keys of a session or master key; their names."""
    rows = await tx.fetch(_END_API_KEYS_OF, owner.owner_id, public_key, act.at_ns)
    return [public_key_text(row["public_key"]) for row in rows]


async def _audit(
    tx: Transaction, act: Act, action: str, owner: Owner, public_key: bytes, facts: Mapping[str, object]
) -> None:
    await write_audit(tx, act, action, owner.owner_id, owner.kind, public_key=public_key, facts=facts)


def _facts(key: MasterKey) -> dict[str, object]:
    return {"role": key.role, "subaccount_index": key.subaccount_index}


def _text(public_key: bytes) -> str:
    """A signing key as it is written everywhere, in standard base64."""
    return base64.b64encode(public_key).decode()


def _master_key(row: asyncpg.Record) -> MasterKey:
    return MasterKey(row["public_key"], Role(row["role"]), row["subaccount_index"], row["created_at_ns"])


def _session_key(row: asyncpg.Record) -> SessionKey:
    return SessionKey(
        public_key=row["public_key"],
        master_public_key=row["master_public_key"],
        role=Role(row["role"]),
        scope_index=row["scope_index"],
        subaccount_index=row["subaccount_index"],
        valid_until_ns=row["valid_until_ns"],
        created_at_ns=row["created_at_ns"],
    )

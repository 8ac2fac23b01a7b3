"""The record of answers under idempotency keys: the table `idempotency` of a service's database."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.db.queries import load_queries
from chassis.db.tx import Transaction
from chassis.limits import IDEMPOTENCY_KEPT_SECONDS, IDEMPOTENCY_SWEPT_COUNT

_queries = load_queries(Path(__file__).with_name("idempotency.sql"))
_TRY_LOCK: Final = _queries.try_lock
_FIND_RECORD: Final = _queries.find_record
_DELETE_RECORD: Final = _queries.delete_record
_INSERT_RECORD: Final = _queries.insert_record
_SWEEP_RECORDS: Final = _queries.sweep_records

_KEPT_NS: Final = IDEMPOTENCY_KEPT_SECONDS * NANOSECONDS_PER_SECOND
_LOCK_BYTES: Final = 8
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Scope:
    """Within what a key is one key: the same text elsewhere is another."""

    key: str
    method: str
    project_id: uuid.UUID
    account_id: uuid.UUID | None

    def lock_number(self) -> int:
        """The advisory lock of the key. Keys that share one by chance only hold each other up."""
        parts = (self.key, self.method, str(self.project_id), str(self.account_id))
        return int.from_bytes(_blake2b((part.encode() for part in parts), _LOCK_BYTES), signed=True)


@dataclass(frozen=True, slots=True)
class Record:
    """What a request was answered: `outcome` is `OK` or a code, `answer` what goes with it."""

    digest: bytes
    outcome: str
    answer: bytes
    created_at_ns: int

    def is_kept(self, now_ns: int) -> bool:
        """Whether the answer is still given again."""
        return now_ns < self.created_at_ns + _KEPT_NS


async def try_lock(tx: Transaction, scope: Scope) -> bool:
    """Takes the key until the transaction ends, without waiting; False when another has it."""
    taken: bool = await tx.fetchval(_TRY_LOCK, scope.lock_number())
    return taken


async def find_record(tx: Transaction, scope: Scope) -> Record | None:
    """What the key was answered last, whether or not it is still kept; the key is locked before."""
    row = await tx.fetchrow(_FIND_RECORD, *astuple(scope))
    return None if row is None else Record(*row)


async def replace_record(tx: Transaction, scope: Scope, old: Record | None, new: Record) -> None:
    """Keeps a new answer in the place of the old one, and removes some that are too old."""
    if old is not None:
        await tx.execute(_DELETE_RECORD, *astuple(scope))
    await tx.execute(_SWEEP_RECORDS, new.created_at_ns - _KEPT_NS, IDEMPOTENCY_SWEPT_COUNT)
    await tx.execute(_INSERT_RECORD, *astuple(scope), *astuple(new))


def digest_of(parts: Iterable[bytes]) -> bytes:
    """What tells one request from another: their digests differ when any part does."""
    return _blake2b(parts, _DIGEST_BYTES)


def _blake2b(parts: Iterable[bytes], size_bytes: int) -> bytes:
    digest = hashlib.blake2b(digest_size=size_bytes)
    for part in parts:
        # With its length, so that no part can pass for the end of the one before.
        digest.update(len(part).to_bytes(4))
        digest.update(part)
    return digest.digest()

"""The record of signed requests: the tables `signed_account` and `request` of a service's database.

Whoever writes a row of `request` has raised the account's row of `signed_account` in the same
transaction. So the signed requests of an account run one by one, and what one of them finds on record
under its id stays true until it ends.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Final

import asyncpg

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError
from chassis.limits import SIGNED_REQUEST_CLOSED_SECONDS, SIGNED_REQUEST_KEPT_SECONDS
from chassis.signing import RequestRecord, Status, request_time_ns

_queries = load_queries(Path(__file__).with_name("signed_requests.sql"))
_CLAIM_REQUEST: Final = _queries.claim_request
_FIND_REPEAT: Final = _queries.find_repeat
_INSERT_REQUEST: Final = _queries.insert_request
_FIND_REQUEST: Final = _queries.find_request
_TAKE_TURN: Final = _queries.take_turn
_REMEMBER_SIGNER: Final = _queries.remember_signer

_CLOSED_NS: Final = SIGNED_REQUEST_CLOSED_SECONDS * NANOSECONDS_PER_SECOND
_KEPT_NS: Final = SIGNED_REQUEST_KEPT_SECONDS * NANOSECONDS_PER_SECOND
_LOOK_UP_PAUSE_SECONDS: Final = 1

# The columns of `insert_request` in their order.
_row: Final = attrgetter(*(field.name for field in fields(RequestRecord)))


@dataclass(frozen=True, slots=True)
class Use:
    """With which key and bytes a request id was used; None for one that was closed unused."""

    public_key: bytes | None
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """Whether a key was revoked, None for one the database does not know, and how an id was used."""

    revoked: bool | None
    use: Use | None


@dataclass(frozen=True, slots=True)
class Claim:
    """An account's turn: when what is done in it counts as decided, and what was found there."""

    processed_at_ns: int
    sighting: Sighting


async def claim_request(
    tx: Transaction, account_id: uuid.UUID, public_key: bytes, request_id: uuid.UUID, now_ns: int
) -> Claim:
    """Takes the account's turn and holds the key as it is, both until the transaction ends.

    Waits for whoever has the turn, and for a revocation of the key that is about to commit. The time is
    `now_ns`, or one nanosecond past the account's last where that is later.
    """
    row = await tx.fetchrow(_CLAIM_REQUEST, account_id, public_key, request_id, now_ns)
    if row is None:
        raise SealgateError(Code.INTERNAL, internal="claim_request returned nothing")
    return Claim(row["processed_at_ns"], _sighting(row))


async def find_repeat(
    database: Database, account_id: uuid.UUID, public_key: bytes, request_id: uuid.UUID
) -> Sighting:
    """What a claim would find, without taking a turn or holding anything."""
    row = await database.fetchrow(_FIND_REPEAT, account_id, public_key, request_id)
    if row is None:
        raise SealgateError(Code.INTERNAL, internal="find_repeat returned nothing")
    return _sighting(row)


async def insert_request(tx: Transaction, record: RequestRecord, now_ns: int) -> None:
    """Puts a claimed request on record.

    Raises UNAVAILABLE for one that is older than 20 s by now, whose id may be closed: nothing of it may
    stay then.
    """
    if now_ns - request_time_ns(record.request_id) > _CLOSED_NS:
        raise SealgateError(Code.UNAVAILABLE, internal="a signed request was held up for too long")
    await tx.execute(_INSERT_REQUEST, *_row(record))


async def find_request(
    reader: Database | Transaction, account_id: uuid.UUID, request_id: uuid.UUID
) -> RequestRecord | None:
    """What is on record under an id."""
    row = await reader.fetchrow(_FIND_REQUEST, account_id, request_id)
    return None if row is None else RequestRecord(*row)


async def find_or_close(
    database: Database,
    account_id: uuid.UUID,
    request_id: uuid.UUID,
    subaccount_index: int | None,
    now_ns: int,
) -> RequestRecord:
    """What is on record under an id; one that is older than 20 s and unused is closed, as `never_ran`.

    `subaccount_index` is the only one that the asker sees, None for all. Raises REQUEST_NOT_FOUND for
    an id that may still run, with the pause after which to ask again, for one too old to be on record,
    and for a request that is not about that subaccount alone.
    """
    # Without a transaction: it is asked again and again, and nearly always there is nothing to close.
    record = await find_request(database, account_id, request_id)
    if record is None:
        _refuse_open(request_id, now_ns)
        async with database.transaction() as tx:
            record = await _close(tx, account_id, request_id, now_ns)
    if subaccount_index in (None, record.subaccount_index) or record.status == Status.NEVER_RAN.value:
        return record
    raise SealgateError(Code.REQUEST_NOT_FOUND, internal="a request of another subaccount")


def _refuse_open(request_id: uuid.UUID, now_ns: int) -> None:
    """Raises REQUEST_NOT_FOUND for an id that is not to be closed: it may still run, or may have run."""
    age_ns = now_ns - request_time_ns(request_id)
    if age_ns > _KEPT_NS:
        raise SealgateError(Code.REQUEST_NOT_FOUND)
    if age_ns <= _CLOSED_NS:
        raise SealgateError(Code.REQUEST_NOT_FOUND, retry_after_seconds=_LOOK_UP_PAUSE_SECONDS)


async def _close(tx: Transaction, account_id: uuid.UUID, request_id: uuid.UUID, now_ns: int) -> RequestRecord:
    """Sees to it that a request never runs, unless it has run by the time its account's turn comes."""
    processed_at_ns = await tx.fetchval(_TAKE_TURN, account_id, now_ns)
    record = await find_request(tx, account_id, request_id)
    if record is None:
        record = RequestRecord(
            account_id=account_id,
            request_id=request_id,
            request_type=0,
            public_key=None,
            digest=None,
            status=Status.NEVER_RAN.value,
            processed_at_ns=processed_at_ns,
            subaccount_index=None,
            outcome=b"",
        )
        await tx.execute(_INSERT_REQUEST, *_row(record))
    return record


async def remember_signer(database: Database, account_id: uuid.UUID, public_key: bytes) -> None:
    """Makes a key of an account known to a database that does not own it; a revoked one stays revoked."""
    await database.execute(_REMEMBER_SIGNER, account_id, public_key)


def _sighting(row: asyncpg.Record) -> Sighting:
    return Sighting(row["revoked"], Use(row["public_key"], row["digest"]) if row["is_used"] else None)

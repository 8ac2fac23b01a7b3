"""The record of signed requests: what is found under an id, what is closed, what is kept for how long."""

from __future__ import annotations

import asyncio
import contextvars
import uuid
from typing import Final

import asyncpg
import pytest
from google.protobuf.message import Message

from chassis.clock import SystemClock
from chassis.db.migrate import MigrationError, maintain
from chassis.db.signed_requests import Claim, Sighting, claim_request, find_or_close, find_repeat
from chassis.errors import Code, SealgateError
from chassis.rpc import context as request_context
from chassis.rpc.outcomes import outcome_message
from chassis.signing import RequestRecord
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import START_NS
from sealgate.wallet.v1 import signed_pb2
from tests.integration.signed_stage_support import ACCOUNT, World, complete, create_world, unreached
from tests.signing_support import request_id_at

SECOND: Final = 10**9
MILLISECOND: Final = 10**6
DAY: Final = 24 * 3600 * SECOND
SERVICES: Final = ("keys", "wallet")
# How each service's database gets to know a key.
_KNOWN_KEYS: Final = {
    "keys": """
        INSERT INTO signer (
          account_id, public_key, kind, role, created_at_ns, created_by_kind, created_by_id
        )
        VALUES ($1, $2, 'MASTER_KEY', 'FULL_ACCESS', 1, 'PROJECT_KEY', 'project')
    """,
    "wallet": "INSERT INTO signer VALUES ($1, $2, false)",
}


@pytest.fixture
async def world(database_factory: DatabaseFactory) -> World:
    return await create_world(database_factory)


async def look_up(world: World, request_id: uuid.UUID, subaccount_index: int | None = None) -> RequestRecord:
    return await find_or_close(world.database, ACCOUNT, request_id, subaccount_index, world.clock.now_ns())


async def not_found(
    world: World, request_id: uuid.UUID, subaccount_index: int | None = None
) -> SealgateError:
    with pytest.raises(SealgateError) as raised:
        await look_up(world, request_id, subaccount_index)
    assert raised.value.code is Code.REQUEST_NOT_FOUND
    return raised.value


async def test_outcome_is_told_long_after(world: World) -> None:
    """What was answered, in the outcome's own message, until it is kept no longer."""
    request_id = world.new_id()
    answer = await world.submit(complete, request_id=request_id)
    world.clock.time_ns += 6 * DAY
    outcome = outcome_message(signed_pb2.RequestOutcome, await look_up(world, request_id))
    assert (outcome.success, outcome.status, outcome.request_type) == (True, "request_completed", 11)
    assert (outcome.processed_at_ns, outcome.request_id) == (answer.processed_at_ns, str(request_id))
    assert outcome.wallet == answer.wallet


async def test_young_id_may_still_run(world: World) -> None:
    """Up to 20 s whoever asks is told to ask again, and the request runs as if nobody had asked."""
    request_id = world.new_id()
    for age_ns in (-5 * SECOND, 0, 15 * SECOND):
        world.clock.time_ns = START_NS + age_ns
        assert (await not_found(world, request_id)).retry_after_seconds == 1
    assert (await world.submit(complete, request_id=request_id)).success
    world.clock.time_ns = START_NS + 20 * SECOND
    assert (await not_found(world, request_id_at(START_NS))).retry_after_seconds == 1


async def test_old_id_is_closed_for_good(world: World) -> None:
    """Whoever is told that it never ran can rely on it: a request that comes later all the same does not."""
    request_id = world.new_id()
    world.clock.time_ns = START_NS + 20 * SECOND + 1
    first = await look_up(world, request_id)
    assert first.status == "never_ran"
    assert await look_up(world, request_id) == first
    # A process whose clock is far behind.
    world.clock.time_ns = START_NS
    again = await world.submit(unreached, request_id=request_id)
    assert (again.status, again.same_payload) == ("duplicate_request_id", False)
    assert (again.original.success, again.original.status) == (False, "never_ran")
    assert (again.original.processed_at_ns, again.original.request_type) == (first.processed_at_ns, 0)


async def test_closed_ids_and_what_runs_have_one_order(world: World) -> None:
    """Each counts as decided later than the one before, also at one instant of the clock."""
    unused = [request_id_at(world.clock.now_ns()) for _ in range(2)]
    world.clock.time_ns += 21 * SECOND
    times = [(await look_up(world, request_id)).processed_at_ns for request_id in unused]
    times.append((await world.submit(complete)).processed_at_ns)
    first_ns = world.clock.now_ns()
    assert times == [first_ns, first_ns + 1, first_ns + 2]


async def test_id_of_more_than_seven_days_is_not_known(world: World) -> None:
    """It may have run, and what it did is forgotten: so it is not closed either."""
    request_id = world.new_id()
    world.clock.time_ns = START_NS + 7 * DAY + 1
    assert (await not_found(world, request_id)).retry_after_seconds is None
    world.clock.time_ns = START_NS + 7 * DAY
    assert (await look_up(world, request_id)).status == "never_ran"


async def test_fifty_who_ask_close_an_id_once(world: World) -> None:
    """They are all told the same."""
    request_id = world.new_id()
    world.clock.time_ns += 21 * SECOND
    records = await asyncio.gather(*(look_up(world, request_id) for _ in range(50)))
    assert len(set(records)) == 1
    assert await world.recorded_count() == 1


async def test_look_up_waits_for_what_runs(world: World) -> None:
    """An id is not closed under a request that is about to commit."""
    request_id = world.new_id()
    asking: list[asyncio.Task[RequestRecord]] = []

    async def ask() -> RequestRecord:
        # By a clock that is ahead: to it the request is long over.
        return await find_or_close(world.database, ACCOUNT, request_id, None, START_NS + 60 * SECOND)

    async def handler(request: object, context: object) -> Message:
        asking.append(asyncio.get_running_loop().create_task(ask(), context=contextvars.Context()))
        while not await world.database.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            assert not asking[0].done()
        return await complete(request, context)

    assert (await world.submit(handler, request_id=request_id)).success
    assert (await asking[0]).status == "request_completed"


@pytest.mark.parametrize(("age_ns", "runs"), [(20 * SECOND, True), (20 * SECOND + 1, False)])
async def test_request_that_was_held_up_does_not_run(world: World, age_ns: int, runs: bool) -> None:
    """Older than 20 s when its record is written, nothing of it stays: its id may have been closed."""
    request_id = world.new_id()

    async def handler(request: object, context: object) -> Message:
        await world.note("effect")
        world.clock.time_ns = START_NS + age_ns
        return await complete(request, context)

    if runs:
        assert (await world.submit(handler, request_id=request_id)).success
    else:
        assert (await world.refusal(handler, request_id=request_id)).code is Code.UNAVAILABLE
        assert (await look_up(world, request_id)).status == "never_ran"
    assert await world.notes() == ["effect"] * runs


async def test_pinned_asker_sees_its_own_subaccount(world: World) -> None:
    """What is about another one or about the whole account is not there for it; what never ran is."""
    for about, asker, is_told in [(1, 1, True), (2, 1, False), (None, 1, False), (1, None, True)]:
        request_id = world.new_id()

        async def handler(request: object, context: object, about: int | None = about) -> Message:
            request_context.signed().subaccount_index = about
            return await complete(request, context)

        assert (await world.submit(handler, request_id=request_id)).success
        if is_told:
            assert (await look_up(world, request_id, asker)).subaccount_index == about
        else:
            assert (await not_found(world, request_id, asker)).retry_after_seconds is None
    request_id = world.new_id()
    world.clock.time_ns += 21 * SECOND
    for _ in range(2):
        assert (await look_up(world, request_id, 1)).status == "never_ran"


@pytest.mark.parametrize("service", SERVICES)
async def test_days_are_made_ahead_and_dropped_after_a_week(
    database_factory: DatabaseFactory, service: str
) -> None:
    """A request's row is kept for seven days of its id's time, wherever it was put, and then is gone."""
    fresh = await database_factory(service)
    owner = fresh.dsn_as(f"sealgate_{service}_owner")

    async def ages(now_ns: int) -> dict[int, str]:
        """The days that have a row, by their distance from the start, with the table that it is in."""
        await maintain(owner, now_ns)
        rows = await fresh.database.fetch(
            "SELECT tableoid::regclass::text AS name, processed_at_ns FROM request"
        )
        return {row["processed_at_ns"]: row["name"] for row in rows}

    for day in (-9, -8, -7, -1, 0, 1, 7, 8):
        # An hour into the day, so that a day's bounds are not what is tested here.
        await _insert(fresh.dsn, START_NS + day * DAY + 3600 * SECOND, day)
    now_ns = START_NS + 2 * 3600 * SECOND
    found = await ages(now_ns)
    assert sorted(found) == [-1, 0, 1, 7, 8]
    assert {day for day, name in found.items() if name == "request_default"} == {8}
    assert found[0] == "request_20260101"
    await _insert(fresh.dsn, now_ns, 100)
    assert (await ages(now_ns))[100] == "request_20260101"
    assert sorted(await ages(now_ns + DAY)) == [-1, 0, 1, 7, 8, 100]
    assert (await ages(now_ns + DAY))[8] == "request_20260109"
    assert sorted(await ages(now_ns + 9 * DAY)) == [7, 8]
    assert await ages(now_ns + 30 * DAY) == {}


@pytest.mark.parametrize("service", SERVICES)
async def test_records_that_somebody_reads_are_maintained_another_time(
    database_factory: DatabaseFactory, service: str
) -> None:
    """A backup that runs for hours does not stop those who sign: nothing waits behind the maintenance."""
    fresh = await database_factory(service)
    owner = fresh.dsn_as(f"sealgate_{service}_owner")
    await maintain(owner, START_NS)
    reader = await asyncpg.connect(fresh.dsn_as())
    try:
        async with reader.transaction():
            await reader.fetch("SELECT FROM request")
            maintaining = asyncio.create_task(maintain(owner, START_NS + 9 * DAY))
            for number in range(20):
                await _insert(fresh.dsn, START_NS + number, number)
            with pytest.raises(MigrationError, match="in use"):
                await maintaining
    finally:
        await reader.close()
    await maintain(owner, START_NS + 9 * DAY)
    assert await fresh.database.fetchval("SELECT count(*) FROM request") == 0


async def test_records_are_not_dropped_by_a_clock_that_is_ahead(database_factory: DatabaseFactory) -> None:
    """A record that is gone too early would let its request run again."""
    fresh = await database_factory("wallet")
    with pytest.raises(MigrationError, match="clock"):
        await maintain(fresh.dsn_as("sealgate_wallet_owner"), SystemClock().now_ns() + 2 * 3600 * SECOND)


@pytest.mark.parametrize("service", SERVICES)
async def test_service_may_neither_change_nor_remove_a_record(
    database_factory: DatabaseFactory, service: str
) -> None:
    """Not by the table's name, not by a partition's, and not by way of the owner's function."""
    fresh = await database_factory(service)
    await _insert(fresh.dsn, START_NS, 1)
    for statement in (
        "UPDATE request SET status = 'request_completed'",
        "DELETE FROM request",
        "TRUNCATE request",
        "DELETE FROM request_default",
        "SELECT maintain_requests(9223372036854775807)",
        "DELETE FROM signed_account",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await fresh.database.execute(statement)


@pytest.mark.parametrize("service", SERVICES)
async def test_record_is_not_changed_by_whoever_has_every_right(
    database_factory: DatabaseFactory, service: str
) -> None:
    """Not by mistake: the rule stands beside the service's rights."""
    fresh = await database_factory(service)
    await _insert(fresh.dsn, START_NS, 1)
    connection = await asyncpg.connect(fresh.dsn_as("postgres"))
    try:
        for statement in ("UPDATE request SET status = 'x'", "DELETE FROM request", "TRUNCATE request"):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
                await connection.execute(statement)
            assert refused.value.constraint_name == "request_is_append_only"
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_record_has_the_form_of_one(database_factory: DatabaseFactory, service: str) -> None:
    """One an account and id, with all of its signer or nothing; the error names the rule."""
    fresh = await database_factory(service)
    insert = "INSERT INTO request VALUES ($1, $2, $3, $4, $5, $6, 1, $7, '')"
    good = (ACCOUNT, request_id_at(START_NS), 11, bytes(32), bytes(32), "request_completed", None)
    await fresh.database.execute(insert, *good)
    other = request_id_at(START_NS)
    for place, wrong, constraint in (
        (2, -1, "request_type_range"),
        (2, 65536, "request_type_range"),
        (3, bytes(31), "request_public_key_length"),
        (3, None, "request_never_ran_has_no_signer"),
        (4, bytes(33), "request_digest_length"),
        (4, None, "request_never_ran_has_no_signer"),
        (5, "Completed", "request_status_shape"),
        (5, "", "request_status_shape"),
        (5, "never_ran", "request_never_ran_has_no_signer"),
        (6, -1, "request_subaccount_range"),
        (6, 2**32 - 1, "request_subaccount_range"),
    ):
        row = [ACCOUNT, other, *good[2:]]
        row[place] = wrong
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await fresh.database.execute(insert, *row)
        assert refused.value.constraint_name == constraint, row
    with pytest.raises(asyncpg.UniqueViolationError):
        await fresh.database.execute(insert, *good)


@pytest.mark.parametrize("service", SERVICES)
async def test_claim_asks_for_no_right_that_the_service_has_not(
    database_factory: DatabaseFactory, service: str
) -> None:
    """The turn is taken as the service's own role; a key that the database does not know is told as such."""
    fresh = await database_factory(service)
    request_id = request_id_at(START_NS)
    unknown = Sighting(revoked=None, use=None)
    for number in range(2):
        async with fresh.database.transaction() as tx:
            claim = await claim_request(tx, ACCOUNT, bytes(32), request_id, START_NS)
        assert claim == Claim(START_NS + number, unknown)
    assert await find_repeat(fresh.database, ACCOUNT, bytes(32), request_id) == unknown


@pytest.mark.parametrize("service", SERVICES)
async def test_claim_holds_its_key_until_its_transaction_ends(
    database_factory: DatabaseFactory, service: str
) -> None:
    """Other claims share it, and whoever would end the key waits, although he needs no turn for that."""
    fresh = await database_factory(service)
    holder = await asyncpg.connect(fresh.dsn)
    try:
        await holder.execute(_KNOWN_KEYS[service], ACCOUNT, bytes(32))
        lock = "SELECT FROM signer WHERE public_key = $1 FOR {} NOWAIT"
        async with fresh.database.transaction() as tx:
            await claim_request(tx, ACCOUNT, bytes(32), request_id_at(START_NS), START_NS)
            assert await holder.execute(lock.format("SHARE"), bytes(32)) == "SELECT 1"
            with pytest.raises(asyncpg.LockNotAvailableError):
                await holder.execute(lock.format("NO KEY UPDATE"), bytes(32))
        assert await holder.execute(lock.format("NO KEY UPDATE"), bytes(32)) == "SELECT 1"
    finally:
        await holder.close()


async def _insert(dsn: str, time_ns: int, mark: int) -> None:
    """A record of an id of that time; `mark` tells it from others."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO request VALUES ($1, $2, 0, NULL, NULL, 'never_ran', $3, NULL, '')",
            ACCOUNT,
            request_id_at(time_ns),
            mark,
        )
    finally:
        await connection.close()


async def test_database_without_signed_requests_is_left_alone(database_factory: DatabaseFactory) -> None:
    """Whoever maintains a service need not know whether it has any."""
    fresh = await database_factory("auth")
    await maintain(fresh.dsn_as("sealgate_auth_owner"), START_NS)

"""What a signed request is refused for before it runs, in which order, and what that leaves of its id."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import asyncpg
import pytest
from google.protobuf.message import Message

from chassis.errors import Code, SealgateError
from chassis.rpc import context as request_context
from chassis.rpc.signers import KnownSigner
from chassis.signing import Role, SignerKind
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import START_NS
from sealgate.common.v1 import passport_pb2
from sealgate.keys.v1 import signing_key_pb2
from sealgate.wallet.v1 import signed_body_pb2
from tests.integration.signed_stage_support import (
    ACCOUNT,
    BODY,
    CREATE_WALLET,
    LIST_SESSIONS,
    WITHDRAW,
    Directory,
    World,
    complete,
    create_world,
    unreached,
)
from tests.signing_support import key_pair

SECOND = 10**9
MILLISECOND = 10**6


@pytest.fixture
async def world(database_factory: DatabaseFactory) -> World:
    return await create_world(database_factory)


@pytest.mark.parametrize(
    ("offset_ns", "code"),
    [
        (-15 * SECOND, None),
        (-15 * SECOND - MILLISECOND, Code.REQUEST_TIMESTAMP_SKEW),
        (5 * SECOND, None),
        (5 * SECOND + MILLISECOND, Code.REQUEST_TIMESTAMP_SKEW),
    ],
)
async def test_window_has_both_its_ends_in_it(world: World, offset_ns: int, code: Code | None) -> None:
    """15 s past and 5 s ahead run; a millisecond more is refused with the server's time."""
    request_id = world.new_id()
    world.clock.time_ns -= offset_ns
    if code is None:
        assert (await world.submit(complete, request_id=request_id)).success
    else:
        error = await world.refusal(unreached, request_id=request_id)
        assert (error.code, error.details[0].path) == (code, "now_ns")
        assert error.details[0].message == f"the server's time is {world.clock.time_ns}"


async def test_unknown_key_and_wrong_signature_are_one_refusal(world: World) -> None:
    """Nobody learns from a refusal which keys an account has; after some, an address is told to wait."""
    world.bad_credentials_per_minute_count = 3
    stranger = key_pair("stranger")
    wrong: Any = world.signed(CREATE_WALLET, world.new_id(), BODY, world.pair)
    wrong.signature = bytes(64)
    elsewhere: Any = world.signed(CREATE_WALLET, world.new_id(), BODY, world.pair)
    elsewhere.account_id = str(uuid.UUID(int=7))
    errors = [await world.refusal(unreached, pair=stranger)]
    for request in (wrong, elsewhere, wrong):
        with pytest.raises(SealgateError) as raised:
            await world.send(unreached, CREATE_WALLET, request)
        errors.append(raised.value)
    assert [error.code for error in errors] == [Code.SIGNATURE_INVALID] * 3 + [Code.RATE_LIMITED]
    assert not any(error.details for error in errors)
    # Nobody was asked about a key whose signature did not hold.
    assert await world.database.fetchval("SELECT count(*) FROM signer") == 0
    assert (await world.submit(complete)).success


async def test_key_of_one_account_signs_for_no_other(world: World) -> None:
    """The same key in two accounts: what it signed for one is wrong for the other."""
    other = uuid.UUID("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002")
    world.add_key("session", account_id=other)
    request: Any = world.signed(CREATE_WALLET, world.new_id(), BODY, world.pair)
    request.account_id = str(other)
    with pytest.raises(SealgateError) as raised:
        await world.send(unreached, CREATE_WALLET, request)
    assert raised.value.code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("standing", "origin", "code"),
    [
        ({"project_status": passport_pb2.PROJECT_STATUS_SUSPENDED}, None, Code.TENANT_SUSPENDED),
        ({"project_status": passport_pb2.PROJECT_STATUS_CANCELLED}, None, Code.SUBSCRIPTION_CANCELLED),
        ({"project_status": passport_pb2.PROJECT_STATUS_PAST_DUE}, None, Code.SUBSCRIPTION_PAST_DUE),
        ({"account_status": passport_pb2.ACCOUNT_STATUS_SUSPENDED}, None, Code.ACCOUNT_SUSPENDED),
        ({"modules": frozenset({"wallet"})}, None, Code.MODULE_NOT_ENABLED),
        ({"modules": frozenset({"signing"})}, None, Code.MODULE_NOT_ENABLED),
        ({"kind": SignerKind.MASTER_KEY}, None, Code.CREDENTIAL_NOT_ACCEPTED),
        ({}, "https://elsewhere.example", Code.ORIGIN_NOT_ALLOWED),
        ({}, "null", Code.ORIGIN_NOT_ALLOWED),
        ({}, "https://pages.example", None),
    ],
)
async def test_account_and_key_must_be_served(
    world: World, standing: dict[str, Any], origin: str | None, code: Code | None
) -> None:
    """Each has its own code, and none of them uses the id up."""
    request_id = world.new_id()
    pair = world.add_key("other", **standing)
    if code is not None:
        assert (await world.refusal(unreached, request_id=request_id, pair=pair, origin=origin)).code is code
        world.add_key("other")
    assert (await world.submit(complete, request_id=request_id, pair=pair)).success


async def test_past_due_project_still_reads(world: World) -> None:
    """Only what changes something waits for the payment."""
    pair = world.add_key(
        "master", kind=SignerKind.MASTER_KEY, project_status=passport_pb2.PROJECT_STATUS_PAST_DUE
    )

    async def handler(request: object, context: object) -> Message:
        return signing_key_pb2.SubmitListSessionKeysResponse()

    body = signing_key_pb2.ListSessionKeys()
    assert (await world.submit(handler, method=LIST_SESSIONS, body=body, pair=pair)).success


@pytest.mark.parametrize(
    ("signer", "status"),
    [
        ({"role": Role.TRADING_ONLY}, "rejected_role"),
        ({"admin_rooted": False}, "rejected_not_admin_rooted"),
        ({"subaccount_index": 1, "admin_rooted": False}, "rejected_not_admin_rooted"),
        ({"role": Role.TRADING_ONLY, "admin_rooted": False}, "rejected_role"),
    ],
)
async def test_key_that_may_not_is_answered_and_recorded(
    world: World, signer: dict[str, Any], status: str
) -> None:
    """What the method needs of the key, the role first."""
    pair, request_id = world.add_key("other", **signer), world.new_id()
    asked: dict[str, Any] = {
        "method": WITHDRAW,
        "body": signed_body_pb2.Withdraw(asset="USDC"),
        "pair": pair,
        "request_id": request_id,
    }
    assert (await world.submit(unreached, **asked)).status == status
    assert (await world.submit(unreached, **asked)).original.status == status
    # It is about no more than the key reaches, so who sees that much is told of it.
    assert await world.recorded_subaccount(request_id) == signer.get("subaccount_index")


async def test_expiry_is_exact_to_the_nanosecond(world: World) -> None:
    """A key signs until the last nanosecond before its end, by the time at which it counts as decided."""
    pair = world.add_key("ending", valid_until_ns=START_NS + 2)
    world.clock.time_ns = START_NS + 1
    assert (await world.submit(complete, pair=pair)).processed_at_ns == START_NS + 1
    # The clock has not moved, and the account's own time has.
    assert (await world.refusal(unreached, pair=pair)).code is Code.SESSION_EXPIRED
    assert await world.recorded_count() == 1


async def test_revoked_key_signs_nothing_more(world: World) -> None:
    """From the commit of the revocation on, and without a record."""
    assert (await world.submit(complete)).success
    await world.database.execute("UPDATE signer SET revoked = true")
    assert (await world.refusal(unreached)).code is Code.SESSION_INVALID
    assert await world.recorded_count() == 1


class _Unremembering(Directory):
    """A directory whose service forgot to make its keys known to the database."""

    async def known_signer(self, account_id: uuid.UUID, public_key: bytes) -> KnownSigner | None:
        return self.known.get((account_id, public_key))


async def test_key_that_the_database_does_not_know_signs_nothing(world: World) -> None:
    """There would be no row to hold, and so nothing for its revocation to wait for."""
    world.directory = _Unremembering(world.database, world.directory.known)
    assert (await world.refusal(unreached)).code is Code.INTERNAL
    assert await world.recorded_count() == 0


async def test_revocation_waits_for_what_runs(world: World) -> None:
    """When a revocation has committed, no effect of the key commits later."""
    order: list[str] = []

    async def revoke() -> None:
        connection = await asyncpg.connect(world.fresh.dsn)
        try:
            await connection.execute("UPDATE signer SET revoked = true")
            order.append("revoked")
        finally:
            await connection.close()

    async def handler(request: object, context: object) -> Message:
        tasks.append(asyncio.create_task(revoke()))
        # Until somebody waits for a lock of ours.
        while not await world.database.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid())"
        ):
            assert not tasks[0].done()
        order.append("ran")
        return await complete(request, context)

    tasks: list[asyncio.Task[None]] = []
    assert (await world.submit(handler)).success
    await tasks[0]
    assert order == ["ran", "revoked"]


async def test_request_waits_for_a_revocation_that_is_on_its_way(world: World) -> None:
    """One that comes meanwhile sees how the revocation ended."""
    assert (await world.submit(complete)).success
    connection = await asyncpg.connect(world.fresh.dsn)
    try:
        await connection.execute("BEGIN; UPDATE signer SET revoked = true")
        task = asyncio.create_task(world.refusal(unreached))
        while not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            assert not task.done()
        await connection.execute("COMMIT")
        assert (await task).code is Code.SESSION_INVALID
    finally:
        await connection.close()


async def _used(world: World, **key: Any) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ANN401
    """What asks again for a request that has run, and what asks for another under its id."""
    pair, request_id = world.add_key("other", **key), world.new_id()
    asked: dict[str, Any] = {"pair": pair, "request_id": request_id}
    assert (await world.submit(complete, **asked)).success
    return asked, asked | {"body": signed_body_pb2.CreateWallet(name="another")}


async def test_repeat_is_told_its_outcome_although_its_key_has_ended(world: World) -> None:
    """A logout whose answer was lost can be repeated; another request under its id can not."""
    same, other = await _used(world)
    await world.database.execute("UPDATE signer SET revoked = true")
    assert (await world.submit(unreached, **same)).original.success
    assert (await world.refusal(unreached, **other)).code is Code.SESSION_INVALID


async def test_repeat_is_told_its_outcome_although_its_key_has_expired(world: World) -> None:
    """As for a revoked one."""
    same, other = await _used(world, valid_until_ns=START_NS + SECOND)
    world.clock.time_ns = START_NS + SECOND
    assert (await world.submit(unreached, **same)).original.success
    assert (await world.refusal(unreached, **other)).code is Code.SESSION_EXPIRED


async def test_same_bytes_signed_by_another_key_are_no_repeat(world: World) -> None:
    """That key has to be good itself before it is told of what the first has done."""
    request_id = world.new_id()
    assert (await world.submit(complete, request_id=request_id)).success
    ended = world.add_key("ended", valid_until_ns=START_NS)
    assert (await world.refusal(unreached, request_id=request_id, pair=ended)).code is Code.SESSION_EXPIRED
    good = world.add_key("good")
    assert (await world.submit(unreached, request_id=request_id, pair=good)).original.success


async def test_page_that_is_not_listed_is_told_that_its_key_has_ended_and_of_no_repeat(world: World) -> None:
    """The key is looked at before the origin, and what became of the first is for listed pages alone."""
    elsewhere = "https://elsewhere.example"
    same, other = await _used(world, valid_until_ns=START_NS + SECOND)
    for asked in (same, other):
        error = await world.refusal(unreached, **asked, origin=elsewhere)
        assert error.code is Code.ORIGIN_NOT_ALLOWED
    for code, end in ((Code.SESSION_INVALID, "UPDATE signer SET revoked = true"), (Code.SESSION_EXPIRED, "")):
        if end:
            await world.database.execute(end)
        else:
            world.clock.time_ns = START_NS + SECOND
        for asked in (same, other):
            assert (await world.refusal(unreached, **asked, origin=elsewhere)).code is code
        again = await world.submit(unreached, **same, origin="https://pages.example")
        assert again.original.success


async def test_ended_key_on_a_page_that_is_not_listed_is_a_bad_credential(world: World) -> None:
    """It counts against its address as from everywhere else; a good one from there does not."""
    world.bad_credentials_per_minute_count = 2
    elsewhere = "https://elsewhere.example"
    good = world.add_key("good")
    codes = [(await world.refusal(unreached, pair=good, origin=elsewhere)).code for _ in range(3)]
    assert codes == [Code.ORIGIN_NOT_ALLOWED] * 3
    ended = world.add_key("ended", valid_until_ns=START_NS)
    codes = [(await world.refusal(unreached, pair=ended, origin=elsewhere)).code for _ in range(3)]
    assert codes == [Code.SESSION_EXPIRED] * 2 + [Code.RATE_LIMITED]


async def test_repeat_is_told_its_outcome_although_its_account_is_suspended(world: World) -> None:
    """An ended key is named before the account's state, and a repeat goes before both."""
    same, other = await _used(world)
    world.add_key("other", account_status=passport_pb2.ACCOUNT_STATUS_SUSPENDED)
    assert (await world.submit(unreached, **same)).original.success
    assert (await world.refusal(unreached, **other)).code is Code.ACCOUNT_SUSPENDED
    await world.database.execute("UPDATE signer SET revoked = true")
    assert (await world.submit(unreached, **same)).original.success
    assert (await world.refusal(unreached, **other)).code is Code.SESSION_INVALID


async def test_repeat_is_told_its_outcome_although_nothing_is_left_of_its_limit(world: World) -> None:
    """What is over the limit and no repeat waits, and its id stays free."""
    world.write_per_minute_count = 1
    same, other = await _used(world)
    assert (await world.submit(unreached, **same)).original.success
    error = await world.refusal(unreached, **other)
    assert error.code is Code.RATE_LIMITED
    assert error.retry_after_seconds is not None
    fresh = same | {"request_id": world.new_id()}
    assert (await world.refusal(unreached, **fresh)).code is Code.RATE_LIMITED
    assert await world.recorded_count() == 1


async def test_pinned_key_is_not_told_of_another_subaccount(world: World) -> None:
    """Under an id that another key has used it learns that, and no more than it reaches."""
    request_id = world.new_id()

    async def handler(request: object, context: object) -> Message:
        request_context.signed().subaccount_index = 2
        return await complete(request, context)

    assert (await world.submit(handler, request_id=request_id)).success
    for label, subaccount_index, is_told in [("a", 1, False), ("b", 2, True), ("c", None, True)]:
        pair = world.add_key(label, subaccount_index=subaccount_index)
        again = await world.submit(unreached, request_id=request_id, pair=pair)
        assert (again.status, again.HasField("original")) == ("duplicate_request_id", is_told)


async def test_processed_at_rises_whatever_the_clock_does(world: World) -> None:
    """Standing still and going back, over repeats and refusals; each account has its own."""
    times = []
    for step_ns in (0, 0, -3 * SECOND, 0, 2 * SECOND, 4 * SECOND):
        world.clock.time_ns += step_ns
        request_id = world.new_id()
        first = await world.submit(complete, request_id=request_id)
        again = await world.submit(unreached, request_id=request_id)
        times += [first.processed_at_ns, again.processed_at_ns]
    assert times == sorted(set(times))
    assert times[-2] == world.clock.now_ns()
    stored = await world.database.fetchval(
        "SELECT processed_at_ns FROM signed_account WHERE account_id = $1", ACCOUNT
    )
    assert stored == times[-1]

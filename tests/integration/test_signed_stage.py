"""A signed request runs once, its record commits with its effect, and a repeat is told what became of it."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import asyncpg
import pytest
from google.protobuf.message import Message

from chassis.db.errors import unavailable
from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.rpc import context as request_context
from chassis.signing import Refused, SignerKind, Status
from chassis.testing.databases import DatabaseFactory
from sealgate.keys.v1 import session_signature_pb2, signing_key_pb2
from sealgate.wallet.v1 import signed_body_pb2
from tests.integration.signed_stage_support import (
    ACCOUNT,
    BODY,
    CREATE_API_KEY,
    CREATE_WALLET,
    LIST_SESSIONS,
    Handler,
    World,
    complete,
    create_world,
    unreached,
)


@pytest.fixture
async def world(database_factory: DatabaseFactory) -> World:
    return await create_world(database_factory)


def noting(world: World, text: str = "effect") -> Handler:
    """A handler whose effect can be counted."""

    async def handler(request: object, context: object) -> Message:
        await world.note(text)
        return await complete(request, context)

    return handler


async def test_handler_is_told_what_was_signed_and_by_whom(world: World) -> None:
    """The message of the payload, the id, the signer, and an identity as of any other credential."""
    request_id = world.new_id()
    seen: list[request_context.RequestContext] = []

    async def handler(request: object, context: object) -> Message:
        seen.append(request_context.current())
        return await complete(request, context)

    answer = await world.submit(handler, request_id=request_id)
    [served] = seen
    assert served.signed is not None
    assert served.identity is not None
    call = served.signed
    assert (call.body, call.json_body, call.request_id) == (BODY, None, request_id)
    assert call.processed_at_ns == world.clock.now_ns() == answer.processed_at_ns
    assert served.request_id == request_id
    assert call.signer.public_key == world.pair.public_key
    assert (served.identity.account_id, served.identity.credential_id) == (ACCOUNT, world.pair.text)
    assert (answer.success, answer.status, answer.request_id) == (True, "request_completed", str(request_id))


async def test_repeat_is_told_the_original_and_does_not_run(world: World) -> None:
    """Whatever it was answered the first time, at the time of the first."""
    request_id = world.new_id()
    first = await world.submit(noting(world), request_id=request_id)
    world.clock.time_ns += 10**9
    again = await world.submit(unreached, request_id=request_id)
    assert (again.success, again.status, again.same_payload) == (False, "duplicate_request_id", True)
    assert again.processed_at_ns == world.clock.now_ns()
    assert not again.HasField("wallet")
    original = again.original
    assert (original.success, original.status) == (True, "request_completed")
    assert (original.processed_at_ns, original.request_id) == (first.processed_at_ns, str(request_id))
    assert (original.request_type, original.wallet) == (11, first.wallet)
    assert await world.notes() == ["effect"]


async def test_id_runs_once_whatever_it_is_sent_with(world: World) -> None:
    """Other bytes under a used id are told so, and neither run nor change the record."""
    request_id = world.new_id()
    await world.submit(noting(world), request_id=request_id)
    other = signed_body_pb2.CreateWallet(subaccount_index=0, name="other")
    again = await world.submit(unreached, request_id=request_id, body=other)
    assert (again.status, again.same_payload) == ("duplicate_request_id", False)
    assert again.original.wallet.name == "made"
    assert await world.recorded_count() == 1


@pytest.mark.parametrize("processes", [1, 2])
async def test_fifty_at_once_run_once(world: World, processes: int) -> None:
    """One of fifty copies runs, whichever of the processes they meet; the others are told what it did."""
    worlds = [world, *[await world.beside() for _ in range(processes - 1)]]
    request_id = world.new_id()
    answers = await asyncio.gather(
        *(
            one.submit(noting(one, f"effect {number}"), request_id=request_id)
            for number in range(50 // processes)
            for one in worlds
        )
    )
    for one in worlds[1:]:
        await one.database.close()
    assert sorted(answer.status for answer in answers) == ["duplicate_request_id"] * 49 + [
        "request_completed"
    ]
    [ran] = [answer for answer in answers if answer.success]
    assert {answer.original.processed_at_ns for answer in answers if not answer.success} == {
        ran.processed_at_ns
    }
    assert len({answer.processed_at_ns for answer in answers}) == 50
    assert len(await world.notes()) == 1


async def test_busy_account_keeps_nobody_else_from_the_database(world: World) -> None:
    """While its requests wait for the one that runs they have no connection, and others go on."""
    other = uuid.UUID("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002")
    pair = world.add_key("other", account_id=other)
    running, done = asyncio.Event(), asyncio.Event()

    async def busy(request: object, context: object) -> Message:
        running.set()
        await done.wait()
        return await complete(request, context)

    tasks = [asyncio.create_task(world.submit(busy)) for _ in range(10)]
    await running.wait()
    for _ in range(3):
        request = world.signed(CREATE_WALLET, world.new_id(), BODY, pair, other)
        assert (await world.send(complete, CREATE_WALLET, request)).success
    done.set()
    assert all(answer.success for answer in await asyncio.gather(*tasks))


async def test_refusal_is_recorded_and_undoes_what_its_handler_did(world: World) -> None:
    """A refusal is an outcome: it uses the id up, and nothing else stays of it."""
    request_id = world.new_id()

    async def handler(request: object, context: object) -> Message:
        await world.note("undone")
        raise Refused(Status.SCOPE, (Detail("subaccount_index", "is another's"),))

    answer = await world.submit(handler, request_id=request_id)
    assert (answer.success, answer.status) == (False, "rejected_scope")
    assert [(detail.path, detail.message) for detail in answer.details] == [
        ("subaccount_index", "is another's")
    ]
    again = await world.submit(unreached, request_id=request_id)
    assert (again.status, again.original.status) == ("duplicate_request_id", "rejected_scope")
    assert list(again.original.details) == list(answer.details)
    assert await world.notes() == []


@pytest.mark.parametrize(
    ("error", "status", "details"),
    [
        (SealgateError(Code.WALLET_NOT_FOUND), "order_rejected_not_open", [("", "There is no such wallet.")]),
        (SealgateError(Code.ORDER_NOT_OPEN), "portfolio_rejected_invalid", [("", "The order is not open.")]),
        (invalid("name", "is too long"), "portfolio_rejected_invalid", [("name", "is too long")]),
    ],
)
async def test_domain_error_is_the_refusal_that_its_method_names(
    world: World, error: SealgateError, status: str, details: list[tuple[str, str]]
) -> None:
    """400, 404 and 409 of the rules become 200 with a status; without details it has the error's text."""

    async def handler(request: object, context: object) -> Message:
        raise error

    answer = await world.submit(handler)
    assert answer.status == status
    assert [(detail.path, detail.message) for detail in answer.details] == details
    assert await world.recorded_count() == 1


@pytest.mark.parametrize(
    "error",
    [
        SealgateError(Code.SESSION_INVALID),
        SealgateError(Code.ACCOUNT_SUSPENDED),
        SealgateError(Code.RATE_LIMITED),
        unavailable("gone"),
        RuntimeError("a bug"),
    ],
)
async def test_what_is_no_outcome_leaves_no_trace(world: World, error: Exception) -> None:
    """401, 403, 429, 503 and a bug undo everything, and the id can be used again."""
    request_id = world.new_id()

    async def handler(request: object, context: object) -> Message:
        await world.note("undone")
        raise error

    with pytest.raises(type(error)) as raised:
        await world.submit(handler, request_id=request_id)
    assert raised.value is error
    assert (await world.notes(), await world.recorded_count()) == ([], 0)
    assert await world.database.fetchval("SELECT count(*) FROM signed_account") == 0
    assert (await world.submit(noting(world), request_id=request_id)).success


async def test_cancelled_request_leaves_no_trace(world: World) -> None:
    """A caller that goes away in the middle has changed nothing, and its retry runs."""
    request_id = world.new_id()
    reached = asyncio.Event()

    async def handler(request: object, context: object) -> Message:
        await world.note("undone")
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    task = asyncio.create_task(world.submit(handler, request_id=request_id))
    await reached.wait()
    world.serving[-1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await world.submit(noting(world), request_id=request_id)).success
    assert await world.notes() == ["effect"]


async def test_lost_answer_is_learned_by_the_retry(world: World) -> None:
    """When the outcome of the commit is not known, the same request tells it."""
    request_id = world.new_id()

    async def lose() -> None:
        raise unavailable("the answer to the commit was lost")

    async def handler(request: object, context: object) -> Message:
        await world.note("effect")
        await world.database.once_committed(lose)
        return await complete(request, context)

    assert (await world.refusal(handler, request_id=request_id)).code is Code.UNAVAILABLE
    again = await world.submit(unreached, request_id=request_id)
    assert (again.status, again.original.status) == ("duplicate_request_id", "request_completed")
    assert await world.notes() == ["effect"]


async def test_lost_connection_leaves_no_trace(world: World) -> None:
    """A server that ends in the middle of a request takes all of it along; the retry runs."""
    request_id = world.new_id()

    async def handler(request: object, context: object) -> Message:
        await world.note("undone")
        own = await world.database.fetchval("SELECT pg_backend_pid()")
        await world.as_owner("SELECT pg_terminate_backend($1)", own)
        await world.note("never")
        return await complete(request, context)

    assert (await world.refusal(handler, request_id=request_id)).code is Code.UNAVAILABLE
    assert (await world.submit(noting(world), request_id=request_id)).success
    assert await world.notes() == ["effect"]


async def test_storage_may_repeat_its_own_transaction(world: World) -> None:
    """A conflict inside costs its part alone: the turn and the record are not lost with it."""
    await world.note("taken")

    async def take() -> None:
        async with world.database.transaction() as tx:
            await tx.execute("INSERT INTO note VALUES ('undone')")
            await tx.execute("INSERT INTO note VALUES ('taken')")

    async def handler(request: object, context: object) -> Message:
        with pytest.raises(asyncpg.UniqueViolationError):
            await take()
        await world.note("second try")
        return await complete(request, context)

    assert (await world.submit(handler)).success
    assert await world.notes() == ["second try", "taken"]
    assert await world.recorded_count() == 1


async def test_deadlock_inside_is_the_storages_own_to_repeat(world: World) -> None:
    """What it held is given back and what it did is undone; the account's turn is still the request's."""
    await world.note("a")
    await world.note("b")
    other = await asyncpg.connect(world.fresh.dsn_as())
    others: list[asyncio.Task[str]] = []

    async def take_both() -> None:
        async with world.database.transaction() as tx:
            await tx.execute("UPDATE note SET text = 'a first' WHERE text = 'a'")
            if not others:
                others.append(
                    asyncio.create_task(other.execute("UPDATE note SET text = 'a' WHERE text = 'a'"))
                )
            await tx.execute("UPDATE note SET text = 'b second' WHERE text = 'b'")

    async def handler(request: object, context: object) -> Message:
        with pytest.raises(SealgateError) as raised:
            await take_both()
        assert isinstance(raised.value.__cause__, asyncpg.DeadlockDetectedError)
        await others[0]
        await other.execute("COMMIT")
        await take_both()
        return await complete(request, context)

    try:
        # It is in no hurry to look for deadlocks, so that the request is the one to be ended.
        await other.execute("SET deadlock_timeout = '1min'")
        await other.execute("BEGIN; UPDATE note SET text = 'b' WHERE text = 'b'")
        request_id = world.new_id()
        assert (await world.submit(handler, request_id=request_id)).success
    finally:
        await other.close()
    assert await world.notes() == ["a first", "b second"]
    assert (await world.submit(unreached, request_id=request_id)).original.success


async def test_read_is_never_recorded_and_uses_no_id_up(world: World) -> None:
    """What only reads can be asked again under the same id, and its id is free for a write."""
    request_id = world.new_id()
    master = world.add_key("master", kind=SignerKind.MASTER_KEY)

    async def handler(request: object, context: object) -> Message:
        return signing_key_pb2.SubmitListSessionKeysResponse()

    for _ in range(2):
        answer = await world.submit(
            handler,
            method=LIST_SESSIONS,
            request_id=request_id,
            body=signing_key_pb2.ListSessionKeys(),
            pair=master,
        )
        assert (answer.success, answer.status) == (True, "request_completed")
    assert await world.recorded_count() == 0
    assert (await world.submit(complete, request_id=request_id)).success


async def test_secret_is_answered_once_and_kept_nowhere(world: World) -> None:
    """The first answer has it; the record and every repeat have not."""
    request_id = world.new_id()
    bodies: list[Any] = []

    async def handler(request: object, context: object) -> Message:
        bodies.append(request_context.signed().json_body)
        return session_signature_pb2.CreateSessionApiKeyResponse(
            api_key=signing_key_pb2.SessionApiKey(public_key="pk_x"), secret_key="sk_secret"
        )

    first = await world.submit(handler, method=CREATE_API_KEY, request_id=request_id)
    assert (first.success, first.secret_key, bodies) == (True, "sk_secret", [{}])
    again = await world.submit(unreached, method=CREATE_API_KEY, request_id=request_id)
    assert again.original.api_key == first.api_key
    assert not again.HasField("secret_key")
    assert b"sk_secret" not in again.SerializeToString()
    outcome = await world.database.fetchval("SELECT outcome FROM request")
    assert b"pk_x" in outcome
    assert b"sk_secret" not in outcome


async def test_what_follows_the_commit_is_done_before_any_answer(world: World) -> None:
    """After the first and after a repeat, when the effect is there; when it fails, the caller knows."""
    request_id = world.new_id()
    seen: list[list[str]] = []

    async def deliver(account_id: object) -> None:
        assert account_id == ACCOUNT
        seen.append(await world.notes())
        if len(seen) == 1:
            raise unavailable("not delivered")

    world.after_commit[CREATE_WALLET.request_type] = deliver
    assert (await world.refusal(noting(world), request_id=request_id)).code is Code.UNAVAILABLE
    assert (await world.submit(unreached, request_id=request_id)).original.success
    assert seen == [["effect"], ["effect"]]

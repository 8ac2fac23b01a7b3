"""The stage itself, over handlers that do what no handler of today does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from chassis.db.idempotency import Record, Scope, find_record, replace_record, try_lock
from chassis.db.tx import Database
from chassis.errors import Code, Detail, SealgateError
from chassis.identity import Identity
from chassis.methods import CredentialKind, Method, method_table
from chassis.rpc import context as request_context
from chassis.rpc.idempotency import IdempotencyStage
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import account_pb2, session_pb2

_TABLE: Final = method_table(
    [
        account_pb2.DESCRIPTOR.services_by_name["AccountService"],
        session_pb2.DESCRIPTOR.services_by_name["SessionService"],
    ]
)
CREATE_ACCOUNT: Final = _TABLE["/sealgate.auth.v1.AccountService/CreateAccount"]
LIST_ACCOUNTS: Final = _TABLE["/sealgate.auth.v1.AccountService/ListAccounts"]
CREATE_SESSION: Final = _TABLE["/sealgate.auth.v1.SessionService/CreateSession"]
PROJECT_ID: Final = uuid.UUID("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000")
DIGEST: Final = b"d" * 32


class Metadata:
    """The one thing that the stage reads of gRPC's own context."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("idempotency-key", "k"),)


class World:
    """A stage over a fresh database of auth's, in which handlers put rows into a table of their own."""

    def __init__(self, fresh: FreshDatabase, clock: FakeClock) -> None:
        self.fresh = fresh
        self.database: Database = fresh.database
        self.clock = clock
        self.ids = CountingIds(clock)
        self.stage = IdempotencyStage(fresh.database, clock)

    async def ask(
        self, method: Method, request: Message, handler: Callable[..., Awaitable[Any]]
    ) -> tuple[Any, dict[str, str]]:
        """The response or the refusal, and what is said beside it."""
        served = request_context.RequestContext(self.ids.uuid7(), identity=_identity())

        async def serve() -> Any:  # noqa: ANN401
            request_context.enter(served)
            wrapped: Any = self.stage.wrap(method, handler)
            try:
                return await wrapped(request, Metadata())
            except SealgateError as error:
                return error

        return await asyncio.create_task(serve()), served.answer_headers

    async def note(self, text: str) -> None:
        """An effect: a row, in a transaction of its own as far as the handler knows."""
        async with self.database.transaction() as tx:
            await tx.execute("INSERT INTO note VALUES ($1)", text)

    async def notes(self) -> list[str]:
        return [row["text"] for row in await self.database.fetch("SELECT text FROM note ORDER BY text")]


@pytest.fixture
async def world(database_factory: DatabaseFactory) -> World:
    fresh = await database_factory("auth")
    connection = await asyncpg.connect(fresh.dsn_as())
    await connection.execute("CREATE TABLE note (text text); GRANT SELECT, INSERT ON note TO sealgate_auth")
    await connection.close()
    return World(fresh, FakeClock())


def _identity() -> Identity:
    return Identity(
        project_id=PROJECT_ID,
        account_id=None,
        account_number=0,
        kind=CredentialKind.PROJECT_KEY,
        credential_id="pk",
        scopes=frozenset(),
        modules=frozenset(),
        subaccount_index=None,
        browser=False,
        origin="",
        project_status=1,
        account_status=0,
        account_version=0,
        issued_at_ns=0,
        expires_at_ns=1,
        credential_expires_at_ns=None,
    )


async def test_recorded_refusal_undoes_what_its_handler_had_done(world: World) -> None:
    """Transactions that had come to their end, and what was to follow them, are part of the refused whole."""
    runs: list[str] = []

    async def follow() -> None:
        runs.append("followed")

    async def handler(request: object, context: object) -> object:
        runs.append("ran")
        await world.note("first")
        await world.database.once_committed(follow)
        raise SealgateError(Code.KEY_LIMIT_REACHED, details=[Detail("name", "is one too many")])

    for said in ({}, {"idempotent-replayed": "true"}):
        refusal, headers = await world.ask(CREATE_ACCOUNT, account_pb2.CreateAccountRequest(), handler)
        assert refusal.code is Code.KEY_LIMIT_REACHED
        assert refusal.details == (Detail("name", "is one too many"),)
        assert headers == said
    assert runs == ["ran"]
    assert await world.notes() == []


async def test_effects_of_several_transactions_are_one_with_the_record(world: World) -> None:
    """Whatever stops the request after its handler has done all, none of it happened."""

    async def handler(request: object, context: object) -> object:
        await world.note("a")
        await world.note("b")
        return account_pb2.CreateAccountResponse()

    connection = await asyncpg.connect(world.fresh.dsn_as())
    await connection.execute("REVOKE INSERT ON idempotency FROM sealgate_auth")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await world.ask(CREATE_ACCOUNT, account_pb2.CreateAccountRequest(), handler)
    assert await world.notes() == []
    await connection.execute("GRANT INSERT ON idempotency TO sealgate_auth")
    await connection.close()
    await world.ask(CREATE_ACCOUNT, account_pb2.CreateAccountRequest(), handler)
    assert await world.notes() == ["a", "b"]


async def test_secret_stays_absent_where_nothing_makes_it_anew(world: World) -> None:
    """What a service cannot say again is cleared, and named to the caller."""

    async def handler(request: object, context: object) -> object:
        issued = session_pb2.IssuedSession(session_id="s", session_token="the secret")
        return session_pb2.CreateSessionResponse(session=issued)

    first, headers = await world.ask(CREATE_SESSION, session_pb2.CreateSessionRequest(), handler)
    assert (first.session.session_token, headers) == ("the secret", {})
    again, headers = await world.ask(CREATE_SESSION, session_pb2.CreateSessionRequest(), handler)
    assert again.session == session_pb2.IssuedSession(session_id="s")
    assert headers == {"idempotent-replayed": "true", "idempotent-omitted": "session_token"}


async def test_answer_is_made_whole_without_a_transaction(world: World) -> None:
    """Whatever that waits for, it has neither a connection nor the key meanwhile."""
    repeated: list[Any] = []

    async def complete(response: session_pb2.CreateSessionResponse) -> None:
        assert not world.database.in_shared_transaction()
        response.session.session_token = "the same secret"
        if not repeated:
            repeated.append(None)
            repeated[0] = await world.ask(CREATE_SESSION, session_pb2.CreateSessionRequest(), handler)

    async def handler(request: object, context: object) -> object:
        return session_pb2.CreateSessionResponse(session=session_pb2.IssuedSession(session_id="s"))

    completions = {CREATE_SESSION.full_name: complete}
    world.stage = IdempotencyStage(world.database, world.clock, completions=completions)
    await world.ask(CREATE_SESSION, session_pb2.CreateSessionRequest(), handler)
    again = await world.ask(CREATE_SESSION, session_pb2.CreateSessionRequest(), handler)
    assert again[0].session.session_token == "the same secret"
    assert again == repeated[0]


async def test_answers_with_maps_and_lists_are_kept_whole(world: World) -> None:
    """Looking for secrets goes through every shape of field and touches nothing else."""
    metadata = Struct()
    metadata.update({"a": [1, {"b": None}], "c": {}})
    response = account_pb2.CreateAccountResponse(account=account_pb2.Account(metadata=metadata))

    async def handler(request: object, context: object) -> object:
        return response

    answers = [await world.ask(CREATE_ACCOUNT, account_pb2.CreateAccountRequest(), handler) for _ in range(2)]
    assert [answer for answer, _ in answers] == [response, response]


async def test_method_that_is_no_post_is_left_alone(world: World) -> None:
    """It runs as often as it is asked, and keeps nothing."""

    async def handler(request: object, context: object) -> object:
        await world.note("read")
        return account_pb2.ListAccountsResponse()

    for _ in range(2):
        _, headers = await world.ask(LIST_ACCOUNTS, account_pb2.ListAccountsRequest(), handler)
        assert headers == {}
    assert await world.notes() == ["read", "read"]


async def test_record_that_cannot_be_read_is_an_internal_error(world: World) -> None:
    """Such as a refusal with a code of a version to come: nothing is run, nothing is made up."""

    async def refuse(request: object, context: object) -> object:
        raise SealgateError(Code.KEY_LIMIT_REACHED)

    async def run(request: object, context: object) -> object:
        raise AssertionError("was run again")

    await world.ask(CREATE_ACCOUNT, account_pb2.CreateAccountRequest(), refuse)
    connection = await asyncpg.connect(world.fresh.dsn_as())
    await connection.execute("UPDATE idempotency SET answer = ''")
    await connection.close()
    refusal, _ = await world.ask(CREATE_ACCOUNT, account_pb2.CreateAccountRequest(), run)
    assert refusal.code is Code.INTERNAL


async def test_scopes_that_differ_in_anything_are_different_keys(world: World) -> None:
    """With an account or without, and however their parts are cut."""
    account_id = uuid.UUID(int=1)
    scopes = [
        Scope("k", "m", PROJECT_ID, None),
        Scope("k", "m", PROJECT_ID, account_id),
        Scope("k", "m", account_id, None),
        Scope("km", "", PROJECT_ID, None),
        Scope("k", "n", PROJECT_ID, None),
        Scope("l", "m", PROJECT_ID, None),
    ]
    assert len({scope.lock_number() for scope in scopes}) == len(scopes)
    for number, scope in enumerate(scopes):
        async with world.database.transaction() as tx:
            assert await try_lock(tx, scope)
            assert await find_record(tx, scope) is None
            await replace_record(tx, scope, None, Record(DIGEST, "OK", b"%d" % number, number))
    for number, scope in enumerate(scopes):
        async with world.database.transaction() as tx:
            assert await find_record(tx, scope) == Record(DIGEST, "OK", b"%d" % number, number)


@pytest.mark.parametrize("account_id", [None, uuid.UUID(int=1)], ids=["no account", "an account"])
async def test_database_keeps_a_key_once(world: World, account_id: uuid.UUID | None) -> None:
    """Whatever the service does: one answer a key, with a key and a digest of the right size."""
    record = Record(DIGEST, "OK", b"", 1)
    scope = Scope("k", "m", PROJECT_ID, account_id)
    for bad_scope, bad_record, constraint in (
        (scope, record, "idempotency_key_is_unique"),
        (Scope("", "m", PROJECT_ID, account_id), record, "idempotency_key_is_short"),
        (Scope("k" * 256, "m", PROJECT_ID, account_id), record, "idempotency_key_is_short"),
        (scope, Record(b"short", "OK", b"", 1), "idempotency_digest_has_32_bytes"),
    ):

        async def insert(scope: Scope, record: Record) -> None:
            async with world.database.transaction() as tx:
                await replace_record(tx, scope, None, record)

        if constraint == "idempotency_key_is_unique":
            await insert(scope, record)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
            await insert(bad_scope, bad_record)
        assert caught.value.as_dict()["constraint_name"] == constraint

"""Whose key it is, asked of auth: facts once, the account's standing each time."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from chassis.errors import Code, SealgateError
from chassis.limits import DEADLINE_RESERVE_SECONDS
from chassis.rpc import context as request_context
from chassis.rpc.client import open_channel
from chassis.rpc.signers import KnownSigner, RemoteSigners, RemoteStandings
from chassis.signing import Role, Signer, SignerKind
from chassis.testing.fakes import FakeClock
from sealgate.auth.v1 import signer_pb2
from sealgate.auth.v1.signer_pb2_grpc import SignerServiceServicer, add_SignerServiceServicer_to_server
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.keys.v1 import signer_facts_pb2

ACCOUNT: Final = uuid.UUID("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001")
PROJECT: Final = uuid.UUID("0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000")
KEY: Final = b"k" * 32
FACTS: Final = (ACCOUNT, KEY, SignerKind.SESSION_KEY, Role.TRADING_ONLY, 0, False, 5)
_sockets = itertools.count()


@dataclass(slots=True)
class Auth(SignerServiceServicer):
    """Auth's answers as a test scripts them, and what it was asked."""

    facts: dict[bytes, signer_facts_pb2.SignerFacts] = field(default_factory=dict)
    standing: signer_pb2.AccountStanding | None = None
    asked: list[bytes] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def ResolveSigner(  # noqa: N802 - gRPC gives the methods their names
        self,
        request: signer_pb2.ResolveSignerRequest,
        context: Any,  # noqa: ANN401
    ) -> signer_pb2.ResolveSignerResponse:
        self.asked.append(request.public_key)
        answer = signer_pb2.ResolveSignerResponse(
            facts=self.facts.get(request.public_key), standing=self.standing
        )
        if self.gate is not None:
            await self.gate.wait()
        return answer


@dataclass(slots=True)
class World:
    """A directory before a scripted auth; `known` is what its database was told, in order."""

    auth: Auth
    clock: FakeClock
    channel: grpc.aio.Channel
    known: list[bytes] = field(default_factory=list)

    def signers(self, kept_count: int = 10) -> RemoteSigners:
        return RemoteSigners(RemoteStandings(self.channel, self.clock), self.remember, kept_count=kept_count)

    async def remember(self, account_id: uuid.UUID, public_key: bytes) -> None:
        assert account_id == ACCOUNT
        self.known.append(public_key)


@pytest.fixture
async def world(clock: FakeClock, short_directory: Path) -> AsyncIterator[World]:
    auth = Auth({KEY: facts(valid_until_ns=5, subaccount_index=0)}, standing())
    server = grpc.aio.server()
    add_SignerServiceServicer_to_server(auth, server)
    address = f"unix:{short_directory}/signers-{next(_sockets)}.sock"
    server.add_insecure_port(address)
    await server.start()
    channel = open_channel(address)
    try:
        yield World(auth, clock, channel)
    finally:
        await channel.close()
        await server.stop(None)


def facts(**changes: Any) -> signer_facts_pb2.SignerFacts:  # noqa: ANN401 - any of its fields
    return signer_facts_pb2.SignerFacts(
        kind=method_rule_pb2.CREDENTIAL_KIND_SESSION_KEY,
        role=signer_facts_pb2.SIGNING_ROLE_TRADING_ONLY,
        **changes,
    )


def standing(**changes: Any) -> signer_pb2.AccountStanding:  # noqa: ANN401 - any of its fields
    return signer_pb2.AccountStanding(
        project_id=str(PROJECT),
        account_number=3,
        account_version=4,
        modules=["signing"],
        allowed_origins=["https://a.example"],
        **changes,
    )


async def test_key_is_known_with_its_account(world: World) -> None:
    """Facts and standing in the types that the stage uses, under the names that were asked for."""
    known = await world.signers().known_signer(ACCOUNT, KEY)
    assert known is not None
    assert known.signer == Signer(*FACTS)
    assert (known.standing.project_id, known.standing.account_number) == (PROJECT, 3)
    assert (known.standing.account_version, known.standing.modules) == (4, frozenset({"signing"}))
    assert known.standing.allowed_origins == {"https://a.example"}
    assert world.known == [KEY]


async def test_facts_are_asked_once_and_the_standing_each_time(world: World) -> None:
    """A suspension holds at once; a key costs one answer with facts for as long as it is kept."""
    signers = world.signers()
    first = await signers.known_signer(ACCOUNT, KEY)
    world.auth.standing = standing(account_status=passport_pb2.ACCOUNT_STATUS_SUSPENDED)
    again = await signers.known_signer(ACCOUNT, KEY)
    assert first is not None
    assert again is not None
    assert again.signer == first.signer
    assert again.standing.account_status == passport_pb2.ACCOUNT_STATUS_SUSPENDED
    assert (world.auth.asked, world.known) == ([KEY, b""], [KEY])
    world.auth.standing = None
    assert await signers.known_signer(ACCOUNT, KEY) is None


async def begun(world: World, signers: RemoteSigners, count: int) -> list[asyncio.Task[KnownSigner | None]]:
    """So many who ask about the key at once, while auth thinks about the first one's question."""
    world.auth.gate = asyncio.Event()
    asking = [asyncio.create_task(signers.known_signer(ACCOUNT, KEY)) for _ in range(count)]
    while not world.auth.asked:
        await asyncio.wait(asking, timeout=0)
    return asking


async def test_new_key_is_asked_about_once_by_all_who_come_together(world: World) -> None:
    """Whoever joined asks for the standing himself, because the one answered may be older than he."""
    asking = await begun(world, world.signers(), 50)
    assert world.auth.gate is not None
    world.auth.standing = standing(account_status=passport_pb2.ACCOUNT_STATUS_SUSPENDED)
    world.auth.gate.set()
    found = await asyncio.gather(*asking)
    assert all(known is not None and known.signer == Signer(*FACTS) for known in found)
    told = [known.standing.account_status for known in found if known is not None]
    suspended = passport_pb2.ACCOUNT_STATUS_SUSPENDED
    assert told == [passport_pb2.ACCOUNT_STATUS_UNSPECIFIED] + [suspended] * 49
    assert (world.auth.asked, world.known) == ([KEY] + [b""] * 49, [KEY])


async def test_first_to_ask_who_gives_up_takes_the_answer_from_nobody(world: World) -> None:
    """His deadline is his own."""
    first, *others = await begun(world, world.signers(), 3)
    assert world.auth.gate is not None
    first.cancel()
    await asyncio.wait([first])
    world.auth.gate.set()
    assert None not in await asyncio.gather(*others)
    assert world.auth.asked.count(KEY) == 1


async def test_key_that_came_after_the_question_is_asked_about_again(world: World) -> None:
    """Who joins a question that was too early for his key is not told that there is no such key."""
    known_facts = world.auth.facts.pop(KEY)
    signers = world.signers()
    first, *_ = await begun(world, signers, 1)
    world.auth.facts[KEY] = known_facts
    second = asyncio.create_task(signers.known_signer(ACCOUNT, KEY))
    await asyncio.wait([second], timeout=0)
    assert world.auth.gate is not None
    world.auth.gate.set()
    assert await first is None
    assert await second is not None


async def test_closing_ends_the_questions_on_their_way(world: World) -> None:
    """Nothing is asked over a channel that is about to be closed."""
    signers = world.signers()
    asking = await begun(world, signers, 2)
    await signers.close()
    await asyncio.wait(asking)
    assert all(task.cancelled() for task in asking)
    assert world.known == []


async def test_unknown_key_is_never_remembered(world: World) -> None:
    """A key works as soon as it is there, however often somebody tried it before."""
    signers, new = world.signers(), b"n" * 32
    assert await signers.known_signer(ACCOUNT, new) is None
    world.auth.facts[new] = facts()
    assert await signers.known_signer(ACCOUNT, new) is not None
    assert world.known == [new]


async def test_only_so_many_keys_are_kept(world: World) -> None:
    """What was used last stays; another is asked for again."""
    keys = [bytes([number]) * 32 for number in range(3)]
    world.auth.facts |= dict.fromkeys(keys, facts())
    signers = world.signers(kept_count=2)
    for number in (0, 1, 0, 2, 0, 1):
        assert await signers.known_signer(ACCOUNT, keys[number]) is not None
    assert world.auth.asked == [keys[0], keys[1], b"", keys[2], b"", keys[1]]


async def test_key_is_not_used_before_the_database_knows_it(world: World) -> None:
    """A fence can only hold a key that has a row; without one the request waits for another time."""
    signers = world.signers()

    async def fail(account_id: uuid.UUID, public_key: bytes) -> None:
        raise SealgateError(Code.UNAVAILABLE)

    failing = RemoteSigners(RemoteStandings(world.channel, world.clock), fail)
    for _ in range(2):
        with pytest.raises(SealgateError):
            await failing.known_signer(ACCOUNT, KEY)
    assert world.auth.asked == [KEY, KEY]
    assert await signers.known_signer(ACCOUNT, KEY) is not None


async def test_auth_that_takes_all_of_the_time_is_unavailable(world: World) -> None:
    """Before it is known who asks nothing has happened, whatever became of the time."""

    async def ask() -> None:
        request_context.enter(
            request_context.RequestContext(uuid.UUID(int=7), deadline_ns=world.clock.monotonic_ns())
        )
        await world.signers().known_signer(ACCOUNT, KEY)

    with pytest.raises(SealgateError) as raised:
        await asyncio.create_task(ask())
    assert raised.value.code is Code.UNAVAILABLE


async def test_who_joins_a_question_waits_no_longer_than_his_own_time(world: World) -> None:
    """The question goes on for whoever has more of it."""
    signers = world.signers()
    first, *_ = await begun(world, signers, 1)

    async def hasty() -> KnownSigner | None:
        deadline_ns = world.clock.monotonic_ns() + int((DEADLINE_RESERVE_SECONDS + 0.01) * 10**9)
        request_context.enter(request_context.RequestContext(uuid.UUID(int=7), deadline_ns=deadline_ns))
        return await signers.known_signer(ACCOUNT, KEY)

    with pytest.raises(SealgateError) as raised:
        await asyncio.create_task(hasty())
    assert raised.value.code is Code.UNAVAILABLE
    assert world.auth.gate is not None
    world.auth.gate.set()
    assert await first is not None


async def test_words_that_nobody_knows_are_no_facts(world: World) -> None:
    """A kind or a role of a future version is a fault of ours, not a right of somebody's."""
    for name in ("kind", "role"):
        world.auth.facts[KEY] = facts()
        world.auth.facts[KEY].ClearField(name)
        with pytest.raises(SealgateError) as raised:
            await world.signers().known_signer(ACCOUNT, KEY)
        assert raised.value.code is Code.INTERNAL


async def test_auth_that_is_away_is_unavailable(world: World) -> None:
    """Nothing has happened yet, so a repeat is safe, and the caller is told so."""
    channel = open_channel("unix:/nonexistent/auth.sock")
    try:
        with pytest.raises(SealgateError) as raised:
            await RemoteStandings(channel, world.clock).standing(ACCOUNT)
    finally:
        await channel.close()
    assert raised.value.code is Code.UNAVAILABLE

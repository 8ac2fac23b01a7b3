"""Any sequence of session operations: the service answers as a naive model of the rules does.

The model keeps what happened in a list and knows no SQL, no locks and none of the service's own rules;
time is in whole seconds, and at most three sessions may live.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.keyring import KeyRing, SigningKey
from chassis.methods import CredentialKind as ShownKind
from chassis.rpc.credentials import PresentedCredential
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.keys.v1.signer_facts_pb2 import SignerFacts
from services.auth.domain.account import AccountStatus
from services.auth.domain.exchange import CredentialKind, DeadKey, LiveApiKey, LiveDeviceKey
from services.auth.domain.session import Session
from services.auth.exchange import CredentialExchange
from services.auth.ports import AccountRef
from services.auth.storage import AuthStorage
from services.auth.tokens import BrowserSessionTokens, SessionTokens
from tests.integration.auth_support import SHORT_POLICY, AuthWorld, auth_world

IDLE: Final = SHORT_POLICY.idle_timeout_seconds
CAP: Final = SHORT_POLICY.absolute_cap_seconds
LIMIT: Final = 3

# Most of what can go wrong needs several uses, refreshes and pauses of one session, and whatever ends
# everything cuts such a story short.
_WEIGHTS: Final = {
    "advance": 7,
    "use": 7,
    "refresh": 7,
    "create": 3,
    "activate": 2,
    "expire": 1,
    "expire_all": 1,
    "suspend": 1,
}
_NAMES: Final = tuple(name for name, weight in _WEIGHTS.items() for _ in range(weight))
_PAUSES_SECONDS: Final = (1, 29, 30, 30, 30, 60, 90, 120)
OPERATIONS: Final = st.lists(
    st.tuples(st.sampled_from(_NAMES), st.integers(0, len(_PAUSES_SECONDS) - 1)), min_size=20, max_size=50
)


@dataclass
class ModelSession:
    """What the model remembers of one session."""

    name: uuid.UUID
    started: int
    used: int
    end: str = ""
    ended: int = 0
    successor: ModelSession | None = None

    def lives(self, now: int) -> bool:
        return not self.end and now < self.used + IDLE and now < self.started + CAP


@dataclass
class Model:
    """The rules, once more and plainly. Each operation says what the service must answer."""

    now: int = 0
    suspended: bool = False
    version: int = 0
    sessions: list[ModelSession] = field(default_factory=list)

    def living(self) -> list[ModelSession]:
        return [session for session in self.sessions if session.lives(self.now)]

    def create(self) -> Code | None:
        if self.suspended:
            return Code.ACCOUNT_SUSPENDED
        return Code.SESSION_LIMIT_REACHED if len(self.living()) >= LIMIT else None

    def refresh(self, session: ModelSession) -> Code | ModelSession | None:
        if self.suspended:
            return Code.ACCOUNT_SUSPENDED
        if session.lives(self.now):
            return None
        if session.successor is None:
            return Code.SESSION_NOT_LIVE
        if self.now <= session.ended + 30 and session.successor.lives(self.now):
            return session.successor
        return Code.SESSION_ALREADY_REFRESHED

    def use(self, session: ModelSession) -> Code | None:
        if self.now >= session.started + CAP:
            return Code.SESSION_EXPIRED
        if session.end:
            return Code.SESSION_INVALID
        if not session.lives(self.now):
            return Code.SESSION_EXPIRED
        if self.now >= session.used + 30:
            session.used = self.now
        return None

    def end_all(self, reason: str) -> int:
        living = self.living()
        for session in living:
            session.end, session.ended = reason, self.now
        return len(living)


class NoKeys:
    """No session ever asks the keys service."""

    async def resolve(self, public_key: bytes, kind: CredentialKind) -> DeadKey | LiveApiKey:
        raise AssertionError("keys was asked")

    async def resolve_device(self, digest: bytes) -> DeadKey | LiveDeviceKey:
        raise AssertionError("keys was asked")

    async def note_use(self, public_key: bytes) -> None:
        raise AssertionError("keys was asked")

    async def note_device_use(self, digest: bytes) -> int | None:
        raise AssertionError("keys was asked")

    async def signer_facts(self, account_id: uuid.UUID, public_key: bytes) -> SignerFacts | None:
        raise AssertionError("keys was asked")

    async def fence(self, account_id: uuid.UUID, account_version: int) -> None:
        raise AssertionError("keys was asked")


async def outcome(operation: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it answers
    try:
        return await operation
    except SealgateError as error:
        return error.code


class Run:
    """One account under test beside its model."""

    def __init__(self, world: AuthWorld, ref: AccountRef) -> None:
        self.world = world
        self.ref = ref
        self.model = Model()
        ring = KeyRing([SigningKey.from_seed(b"\x01" * 32, 0)])
        self.tokens = SessionTokens("test", ring)
        browser_tokens = BrowserSessionTokens("test", ring, world.clock)
        self.exchange = CredentialExchange(self.tokens, browser_tokens, world.store, NoKeys(), world.clock)
        self.made: dict[uuid.UUID, Session] = {}

    async def step(self, name: str, number: int) -> None:
        """Does one thing in both and compares the answers, then all that can be seen."""
        model = self.model
        if name == "advance":
            model.now += _PAUSES_SECONDS[number]
            self.world.clock.advance(seconds=_PAUSES_SECONDS[number])
        elif name in ("refresh", "expire", "use"):
            if model.sessions:
                # The last few: those before them are long dead.
                session = model.sessions[-1 - number % min(3, len(model.sessions))]
                await getattr(self, f"_{name}")(session)
        else:
            await getattr(self, f"_{name}")()
        expected = {session.name for session in model.living()}
        assert set(await self.world.live(self.ref)) == expected
        account = await self.world.store.account(self.ref)
        assert (account.status is AccountStatus.SUSPENDED, account.version) == (
            model.suspended,
            model.version,
        )

    async def _create(self) -> None:
        expected = self.model.create()
        answer = await outcome(self.world.session(self.ref))
        if expected is None:
            self._add(answer)
        else:
            assert answer is expected

    async def _refresh(self, session: ModelSession) -> None:
        expected = self.model.refresh(session)
        answer = await outcome(self.world.refresh(self.ref, session.name))
        if expected is None:
            session.end, session.ended, session.successor = "refreshed", self.model.now, self._add(answer)
        elif isinstance(expected, ModelSession):
            assert answer.session_id == expected.name
            assert self.tokens.sign(answer) == self.tokens.sign(self.made[expected.name])
        else:
            assert answer is expected

    async def _expire(self, session: ModelSession) -> None:
        expected = session.lives(self.model.now)
        assert await self.world.store.expire_session(self.ref, session.name, self.world.act()) is expected
        if expected:
            session.end, session.ended = "expired", self.model.now

    async def _use(self, session: ModelSession) -> None:
        expected = self.model.use(session)
        token = self.tokens.sign(self.made[session.name])
        shown = PresentedCredential(ShownKind.ACCOUNT_SESSION, token, origin=None)
        answer = await outcome(self.exchange.exchange(CredentialKind.ACCOUNT_SESSION, shown, None))
        if expected is None:
            assert answer.credential_id == str(session.name)
            end = min(session.used + IDLE, session.started + CAP) - self.model.now
            assert answer.expires_at_ns == self.world.clock.now_ns() + end * NANOSECONDS_PER_SECOND
        else:
            assert answer is expected

    async def _expire_all(self) -> None:
        count = self.model.end_all("expired")
        self.model.version += 1
        answer = await self.world.store.expire_all_sessions(self.ref, self.world.act())
        assert answer == (count, self.model.version)

    async def _suspend(self) -> None:
        if not self.model.suspended:
            self.model.end_all("suspended")
            self.model.suspended, self.model.version = True, self.model.version + 1
        await self.world.store.set_status(self.ref, AccountStatus.SUSPENDED, self.world.act())

    async def _activate(self) -> None:
        self.model.suspended = False
        await self.world.store.set_status(self.ref, AccountStatus.ACTIVE, self.world.act())

    def _add(self, session: Session) -> ModelSession:
        added = ModelSession(session.session_id, self.model.now, self.model.now)
        self.model.sessions.append(added)
        self.made[added.name] = session
        return added


@pytest.fixture
async def world(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthWorld]:
    async with auth_world(database_factory, clock, ids) as opened:
        opened.store = AuthStorage(opened.database, LIMIT)
        yield opened


# Stories that chance tells too seldom. A number is an index of a pause, or counts sessions from the last.
_REPEATED_AT_30_SECONDS: Final = ["create 0", "refresh 0", "advance 2", "refresh 1", "advance 0", "refresh 1"]
_REPEATED_AFTER_THE_SUCCESSOR: Final = ["create 0", "refresh 0", "expire 0", "refresh 1"]
_USED_UP_TO_THE_CAP: Final = ["create 0", *["advance 6", "use 0"] * 3, "advance 2", "use 0"]


def _story(steps: list[str]) -> list[tuple[str, int]]:
    return [(step.split()[0], int(step.split()[1])) for step in steps]


# One database for all examples: each has a project and an account of its own.
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(operations=_story(_REPEATED_AT_30_SECONDS))
@example(operations=_story(_REPEATED_AFTER_THE_SUCCESSOR))
@example(operations=_story(_USED_UP_TO_THE_CAP))
@given(operations=OPERATIONS)
async def test_sessions_behave_as_their_rules_say_whatever_is_done_in_whatever_order(
    operations: list[tuple[str, int]], world: AuthWorld
) -> None:
    """Every answer, the live sessions after it, the account's status and version: as in the model."""
    run = Run(world, await world.account())
    for name, number in operations:
        await run.step(name, number)

"""Whatever is done to signing keys in whatever order, they are what a model of a page says they are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.signing import UNPINNED_SCOPE, Refused, Role, Status
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from services.keys.domain.api_key import Owner
from services.keys.domain.authority import Act, ActorKind
from services.keys.domain.minting import NEVER_NS, added, first_master_key, minted
from services.keys.domain.signing_key import EndReason, MasterKey, Revocation, SessionKey, SigningCaps
from services.keys.storage_signing import FenceOutboxStorage, SigningKeyStorage
from tests.signing_support import key_pair

SECOND_NS: Final = 1_000_000_000
CAPS: Final = SigningCaps(admin_keys_count=3, scoped_keys_count=2, sessions_per_master_key_count=2)
# Few, so that keys are used again and again.
POOL: Final = [key_pair(f"pool {number}").public_key for number in range(10)]
FIRST: Final = key_pair("first").public_key


@dataclass(frozen=True)
class Add:
    """A further master key; None reaches all."""

    key: int
    reach: int | None
    role: Role


@dataclass(frozen=True)
class Remove:
    """An end of a master key; -1 is the first one."""

    key: int


@dataclass(frozen=True)
class Mint:
    """A session key, minted by whichever master key is the n-th of the living ones."""

    master: int
    key: int
    scope: int
    lives_seconds: int | None


@dataclass(frozen=True)
class Revoke:
    """An end of a session key, by a master key."""

    master: int
    key: int


@dataclass(frozen=True)
class Wait:
    """Time that passes."""

    seconds: int


Step = Add | Remove | Mint | Revoke | Wait
_KEYS = st.integers(0, len(POOL) - 1)
_MASTERS = st.integers(0, 3)
STEPS: Final = st.lists(
    st.one_of(
        st.builds(Add, _KEYS, st.sampled_from([None, 0, 1]), st.sampled_from(list(Role))),
        st.builds(Remove, st.integers(-1, len(POOL) - 1)),
        st.builds(
            Mint, _MASTERS, _KEYS, st.sampled_from([UNPINNED_SCOPE, 0, 1]), st.sampled_from([None, 1, 3])
        ),
        st.builds(Revoke, _MASTERS, _KEYS),
        st.builds(Wait, st.integers(1, 3)),
    ),
    max_size=25,
)


@dataclass
class Model:
    """What the account's keys should be: every one that it ever had, and which of them were ended."""

    masters: dict[bytes, MasterKey] = field(default_factory=dict)
    sessions: dict[bytes, SessionKey] = field(default_factory=dict)
    ended: set[bytes] = field(default_factory=set)

    def live_masters(self) -> list[MasterKey]:
        """Those that were not removed, oldest first."""
        return [key for name, key in self.masters.items() if name not in self.ended]

    def live_sessions(self, now_ns: int, master: bytes | None = None) -> list[SessionKey]:
        """Those that were not ended and are not past their end, of one master key or of all."""
        return [
            key
            for name, key in self.sessions.items()
            if name not in self.ended
            and (key.valid_until_ns is None or key.valid_until_ns > now_ns)
            and master in (None, key.master_public_key)
        ]

    def add(self, key: MasterKey) -> Status | None:
        """Why it is refused, None if it is not."""
        if key.public_key in self.masters or key.public_key in self.sessions:
            return Status.MASTER_KEY_REUSED
        alike = [each for each in self.live_masters() if each.subaccount_index == key.subaccount_index]
        if len(alike) >= (CAPS.admin_keys_count if key.is_admin else CAPS.scoped_keys_count):
            return Status.MASTER_KEY_LIMIT
        self.masters[key.public_key] = key
        return None

    def remove(self, public_key: bytes) -> Status | None:
        """As `add`."""
        key = self.masters.get(public_key)
        if key is None or public_key in self.ended:
            return Status.MASTER_KEY_INVALID
        full = [each for each in self.live_masters() if each.is_admin and each.role is Role.FULL_ACCESS]
        if full == [key]:
            return Status.MASTER_KEY_LAST_ADMIN
        self.ended.add(public_key)
        self.ended |= {name for name, each in self.sessions.items() if each.master_public_key == public_key}
        return None

    def mint(self, key: SessionKey, now_ns: int) -> Status | None:
        """As `add`."""
        if key.public_key in self.masters or key.public_key in self.sessions:
            return Status.SESSION_KEY_REUSED
        if len(self.live_sessions(now_ns, key.master_public_key)) >= CAPS.sessions_per_master_key_count:
            return Status.SESSION_MAX_SESSIONS
        self.sessions[key.public_key] = key
        return None

    def revoke(self, public_key: bytes, by: MasterKey) -> Status | None:
        """As `add`."""
        key = self.sessions.get(public_key)
        unseen = key is None or (not by.is_admin and key.master_public_key != by.public_key)
        if unseen or public_key in self.ended:
            return Status.SESSION_INVALID
        self.ended.add(public_key)
        return None


class Run:
    """One account on the shared database, and its model."""

    def __init__(self, store: SigningKeyStorage, clock: FakeClock, ids: CountingIds) -> None:
        self.store = store
        self.clock = clock
        self.ids = ids
        self.owner = Owner(ids.uuid7(), ids.uuid7())
        self.account_id: uuid.UUID = self.owner.owner_id
        self.model = Model()

    async def begin(self) -> None:
        """Registers the first master key."""
        key = first_master_key(FIRST, self.clock.now_ns())
        await self.store.register(self.owner, key, self._act(ActorKind.PROJECT_KEY))
        self.model.masters[FIRST] = key

    async def take(self, step: Step) -> None:
        """Does a step, and compares how it ends with how it should."""
        # What was removed signs nothing; which requests get as far as here is decided elsewhere.
        masters = self.model.live_masters()
        now_ns = self.clock.now_ns()
        done: object = None
        expected: Status | None = None
        try:
            match step:
                case Wait():
                    self.clock.advance(seconds=step.seconds)
                case Add():
                    master = added(
                        POOL[step.key],
                        step.role,
                        is_admin=step.reach is None,
                        subaccount_index=step.reach or 0,
                        now_ns=now_ns,
                    )
                    expected = self.model.add(master)
                    await self.store.add(self.owner, master, self._act())
                case Remove():
                    public_key = FIRST if step.key < 0 else POOL[step.key]
                    expected = self.model.remove(public_key)
                    await self.store.remove(self.owner, public_key, self._act())
                case Mint():
                    signer = masters[step.master % len(masters)].signer(self.account_id)
                    if signer.subaccount_index not in (None, step.scope) and step.scope != UNPINNED_SCOPE:
                        expected = Status.SESSION_SCOPE
                    until_ns = (
                        NEVER_NS if step.lives_seconds is None else now_ns + step.lives_seconds * SECOND_NS
                    )
                    session = minted(signer, POOL[step.key], step.scope, until_ns, now_ns)
                    expected = self.model.mint(session, now_ns)
                    await self.store.mint(self.owner, session, self._act())
                case Revoke():
                    by = masters[step.master % len(masters)]
                    expected = self.model.revoke(POOL[step.key], by)
                    seen = None if by.is_admin else by.public_key
                    revocation = Revocation(POOL[step.key], EndReason.REVOKED, seen, include_api_keys=True)
                    await self.store.revoke(self.owner, revocation, self._act())
        except Refused as refused:
            done = refused.status
        assert done == expected, step

    async def compare(self, outbox: FenceOutboxStorage) -> None:
        """Holds what can be seen against the model."""
        now_ns = self.clock.now_ns()
        assert list(await self.store.list_master_keys(self.account_id, None)) == self.model.live_masters()
        live = self.model.live_sessions(now_ns)
        assert list(await self.store.list_session_keys(self.account_id, now_ns)) == live
        for index in (0, 1):
            pinned = await self.store.list_session_keys(self.account_id, now_ns, subaccount_index=index)
            assert list(pinned) == [key for key in live if key.subaccount_index == index]
        told = await outbox.fences(self.account_id, 1000)
        assert {fence.public_key for fence in told} == self.model.ended | {None}
        every: list[MasterKey | SessionKey] = [*self.model.masters.values(), *self.model.sessions.values()]
        for key in every:
            assert await self.store.signer(self.account_id, key.public_key) == key.signer(self.account_id)

    def _act(self, kind: ActorKind = ActorKind.MASTER_KEY) -> Act:
        return Act(
            kind, "actor", audit_id=self.ids.uuid7(), request_id=self.ids.uuid7(), at_ns=self.clock.now_ns()
        )


@pytest.fixture
async def storages(database_factory: DatabaseFactory) -> tuple[SigningKeyStorage, FenceOutboxStorage]:
    database = (await database_factory("keys")).database
    return SigningKeyStorage(database, CAPS), FenceOutboxStorage(database)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_signing_keys_are_what_the_model_says(
    storages: tuple[SigningKeyStorage, FenceOutboxStorage],
    clock: FakeClock,
    ids: CountingIds,
    steps: list[Step],
) -> None:
    """Caps, reuse, reach, the last ADMIN key and what ends with what hold after every sequence of acts."""
    store, outbox = storages
    run = Run(store, clock, ids)
    await run.begin()
    for step in steps:
        await run.take(step)
    await run.compare(outbox)

"""Whatever is done to keys in whatever order, they are what a model of a page says they are."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import SealgateError
from chassis.identity import Identity
from chassis.limits import LAST_USED_RESOLUTION_SECONDS
from chassis.methods import CredentialKind
from chassis.secrets import parse_public_key
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.keys.v1 import api_key_pb2
from sealgate.keys.v1.resolution_pb2 import ApiKeyState
from services.keys.domain.rights import DEFAULT_SCOPES, DEFAULT_SCOPES_WITH_ORIGINS, SCOPES
from tests.integration.keys_support import SESSION_SCOPES, KeysWorld, scopes_of, timestamp

_Answer = TypeVar("_Answer")

CAP_COUNT: Final = 3
SECOND_NS: Final = 1_000_000_000
HARMFUL: Final = {"keys:write", "withdrawals:write"}
PROJECT_OWNER: Final = -1
"""The owners of an example are its project and two accounts, 0 and 1."""


@dataclass(frozen=True)
class Create:
    """A new key of an account, asked for by a session or the project; for PROJECT_OWNER a project key."""

    owner: int
    by_session: bool
    stale: bool
    scopes: tuple[str, ...] | None
    origins: tuple[str, ...]
    lives_seconds: int | None


@dataclass(frozen=True)
class Update:
    """A change of the n-th key made so far, asked for by an account."""

    caller: int
    key: int
    by_session: bool
    stale: bool
    name: str | None
    scopes: tuple[str, ...] | None
    origins: tuple[str, ...] | None


@dataclass(frozen=True)
class Rotate:
    """The n-th key made so far gets a successor, asked for by the project for an account."""

    account: int
    key: int
    stale: bool
    overlap_seconds: int


@dataclass(frozen=True)
class Delete:
    """The end of the n-th key made so far, asked for by an owner."""

    caller: int
    key: int


@dataclass(frozen=True)
class Resolve:
    """The n-th key made so far is shown, in either header."""

    key: int
    as_project_key: bool


@dataclass(frozen=True)
class Fence:
    """A mass revocation of an account; `again` repeats the last one."""

    account: int
    again: bool


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: int


Command = Create | Update | Rotate | Delete | Resolve | Fence | Wait

_ACCOUNTS = st.integers(0, 1)
_OWNERS = st.integers(PROJECT_OWNER, 1)
_KEYS = st.integers(0, 11)
_SCOPES = st.lists(st.sampled_from(SCOPES), min_size=1, max_size=4, unique=True).map(tuple)
_ORIGINS = st.lists(st.sampled_from(["https://a.example", "https://b.example"]), unique=True).map(tuple)
_RARELY = st.integers(0, 4).map(lambda number: number == 4)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        Create, _OWNERS, st.booleans(), _RARELY, st.none() | _SCOPES, _ORIGINS, st.none() | st.integers(1, 60)
    ),
    st.builds(
        Update,
        _ACCOUNTS,
        _KEYS,
        st.booleans(),
        _RARELY,
        st.none() | st.sampled_from(["x", "y"]),
        st.none() | _SCOPES,
        st.none() | _ORIGINS,
    ),
    st.builds(Rotate, _ACCOUNTS, _KEYS, _RARELY, st.just(0) | st.integers(1, 60)),
    st.builds(Delete, _OWNERS, _KEYS),
    st.builds(Resolve, _KEYS, st.booleans()),
    st.builds(Fence, _ACCOUNTS, st.booleans()),
    st.builds(Wait, st.integers(1, 40)),
)


@dataclass
class ModelKey:
    """What is known of one key."""

    owner: int
    public_key: str
    name: str
    scopes: tuple[str, ...]
    origins: tuple[str, ...]
    expires_at_ns: int | None
    deleted: bool = False
    last_used_at_ns: int | None = None
    retires_at_ns: int | None = None

    def is_gone(self, now_ns: int) -> bool:
        return self.deleted or (self.retires_at_ns is not None and self.retires_at_ns <= now_ns)

    def is_live(self, now_ns: int) -> bool:
        return not self.is_gone(now_ns) and (self.expires_at_ns is None or self.expires_at_ns > now_ns)


@dataclass
class Example:
    """One run: the real service, the model beside it, and owners that no other run has."""

    keys: KeysWorld
    project_id: uuid.UUID
    account_ids: tuple[uuid.UUID, uuid.UUID]
    made: list[ModelKey] = field(default_factory=list)
    fences: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def now_ns(self) -> int:
        return self.keys.clock.now_ns()

    def caller(self, owner: int, *, by_session: bool, stale: bool) -> Identity:
        if owner == PROJECT_OWNER:
            return self.keys.by_project(self.project_id)
        version = max(0, self.fences[owner] - 1) if stale else self.fences[owner]
        identify = self.keys.by_session if by_session else self.keys.by_project
        return identify(self.project_id, self.account_ids[owner], version=version)

    def refused_gain(self, identity: Identity, owner: int, scopes: set[str]) -> str | None:
        session = identity.kind is CredentialKind.ACCOUNT_SESSION
        if identity.account_version < self.fences[owner]:
            return "SESSION_INVALID" if session else "UNAVAILABLE"
        return "SCOPE_NOT_GRANTED" if session and scopes - SESSION_SCOPES else None

    def live_count(self, owner: int) -> int:
        return sum(key.owner == owner and key.is_live(self.now_ns) for key in self.made)

    def key(self, number: int) -> ModelKey | None:
        return self.made[number % len(self.made)] if self.made else None

    async def run(self, command: Command) -> None:
        match command:
            case Create():
                await self.create(command)
            case Update():
                await self.update(command)
            case Rotate():
                await self.rotate(command)
            case Delete():
                await self.delete(command)
            case Resolve():
                await self.resolve(command)
            case Fence(account, again):
                self.fences[account] += 0 if again else 1
                await self.keys.fence(self.account_ids[account], self.fences[account])
            case Wait(seconds):
                self.keys.clock.advance(seconds=seconds)

    async def create(self, command: Create) -> None:
        identity = self.caller(command.owner, by_session=command.by_session, stale=command.stale)
        call: Awaitable[api_key_pb2.CreateProjectApiKeyResponse | api_key_pb2.CreateAccountApiKeyResponse]
        if command.owner == PROJECT_OWNER:
            request = api_key_pb2.CreateProjectApiKeyRequest()
            call = self.keys.call(self.keys.api.CreateProjectApiKey, request, identity)
            expected = ModelKey(PROJECT_OWNER, "", "", (), (), None)
            refusal = None
        else:
            expected = self._expected_key(command)
            refusal = _contradiction(expected) or self.refused_gain(
                identity, command.owner, set(expected.scopes)
            )
            call = self.keys.call(self.keys.api.CreateAccountApiKey, self._creation(command), identity)
        if refusal is None and self.live_count(command.owner) >= CAP_COUNT:
            refusal = "KEY_LIMIT_REACHED"
        answer = await expect(call, refusal)
        if answer is not None:
            self.made.append(replace(expected, public_key=answer.api_key.public_key))

    def _creation(self, command: Create) -> api_key_pb2.CreateAccountApiKeyRequest:
        seconds = command.lives_seconds
        return api_key_pb2.CreateAccountApiKeyRequest(
            account_id=str(self.account_ids[command.owner]),
            scopes=None if command.scopes is None else scopes_of(*command.scopes),
            origins=command.origins,
            expires_at=None if seconds is None else timestamp(self.now_ns + seconds * SECOND_NS),
        )

    def _expected_key(self, command: Create) -> ModelKey:
        scopes = command.scopes or (DEFAULT_SCOPES_WITH_ORIGINS if command.origins else DEFAULT_SCOPES)
        seconds = command.lives_seconds
        end_ns = None if seconds is None else self.now_ns + seconds * SECOND_NS
        return ModelKey(command.owner, "", "", scopes, command.origins, end_ns)

    async def update(self, command: Update) -> None:
        key = self.key(command.key)
        if key is None:
            return
        identity = self.caller(command.caller, by_session=command.by_session, stale=command.stale)
        after = replace(
            key,
            name=command.name or key.name,
            scopes=command.scopes or key.scopes,
            origins=key.origins if command.origins is None else command.origins,
        )
        gained = set(after.scopes) - set(key.scopes)
        if key.is_gone(self.now_ns) or key.owner != command.caller:
            refusal: str | None = "API_KEY_NOT_FOUND"
        elif gained or set(after.origins) - set(key.origins):
            refusal = _contradiction(after) or self.refused_gain(identity, command.caller, gained)
        else:
            refusal = _contradiction(after)
        request = api_key_pb2.UpdateAccountApiKeyRequest(
            account_id=str(self.account_ids[command.caller]),
            public_key=key.public_key,
            name=command.name,
            scopes=None if command.scopes is None else scopes_of(*command.scopes),
            origins=None if command.origins is None else scopes_of(*command.origins),
        )
        answer = await expect(self.keys.call(self.keys.api.UpdateAccountApiKey, request, identity), refusal)
        if answer is not None:
            key.name, key.scopes, key.origins = after.name, after.scopes, after.origins

    async def rotate(self, command: Rotate) -> None:
        key = self.key(command.key)
        if key is None:
            return
        identity = self.caller(command.account, by_session=False, stale=command.stale)
        at_cap = command.overlap_seconds > 0 and self.live_count(command.account) >= CAP_COUNT
        if key.deleted or key.owner != command.account:
            refusal: str | None = "API_KEY_NOT_FOUND"
        elif self.refused_gain(identity, command.account, set()):
            refusal = self.refused_gain(identity, command.account, set())
        elif key.retires_at_ns is not None:
            refusal = "KEY_ALREADY_ROTATED"
        elif not key.is_live(self.now_ns):
            refusal = "VALIDATION_ERROR"
        else:
            refusal = "KEY_LIMIT_REACHED" if at_cap else None
        issued = await expect(self.keys.rotate(identity, key.public_key, command.overlap_seconds), refusal)
        if issued is not None:
            self.made.append(replace(key, public_key=issued.public_key, last_used_at_ns=None))
            key.retires_at_ns = self.now_ns + command.overlap_seconds * SECOND_NS

    async def delete(self, command: Delete) -> None:
        key = self.key(command.key)
        if key is None:
            return
        identity = self.caller(command.caller, by_session=True, stale=False)
        refusal = None
        if key.is_gone(self.now_ns) or key.owner != command.caller:
            refusal = "API_KEY_NOT_FOUND"
        elif command.caller == PROJECT_OWNER and self.live_count(PROJECT_OWNER) == 1:
            refusal = "LAST_PROJECT_API_KEY"
        by_project = command.caller == PROJECT_OWNER
        delete = self.keys.delete_of_project if by_project else self.keys.delete
        if await expect(delete(identity, key.public_key), refusal):
            key.deleted = True

    async def resolve(self, command: Resolve) -> None:
        key = self.key(command.key)
        if key is None:
            return
        public_key = parse_public_key(key.public_key)
        assert public_key is not None
        kind = CredentialKind.PROJECT_KEY if command.as_project_key else CredentialKind.ACCOUNT_API_KEY
        answer = await self.keys.use(public_key, kind)
        if command.as_project_key != (key.owner == PROJECT_OWNER):
            state = "UNKNOWN"
        elif key.is_gone(self.now_ns):
            state = "REVOKED"
        else:
            state = "LIVE" if key.is_live(self.now_ns) else "EXPIRED"
        assert ApiKeyState.Name(answer.state) == f"API_KEY_STATE_{state}"
        if state == "LIVE":
            assert tuple(answer.scopes) == key.scopes
            assert tuple(answer.origins) == key.origins
            used_at_ns = key.last_used_at_ns
            if used_at_ns is None or self.now_ns - used_at_ns >= LAST_USED_RESOLUTION_SECONDS * SECOND_NS:
                key.last_used_at_ns = self.now_ns

    async def compare(self) -> None:
        """The lists are the model's, and hold what must always hold."""
        for owner in (PROJECT_OWNER, 0, 1):
            identity = self.caller(owner, by_session=True, stale=False)
            by_project = owner == PROJECT_OWNER
            listed = await (self.keys.list_project_keys if by_project else self.keys.list_keys)(identity)
            expected = [key for key in self.made if key.owner == owner and not key.is_gone(self.now_ns)]
            assert {key.public_key: _shown(key) for key in listed} == {
                key.public_key: (
                    key.name,
                    key.scopes,
                    key.origins,
                    key.is_live(self.now_ns),
                    None if key.last_used_at_ns is None else timestamp(key.last_used_at_ns),
                )
                for key in expected
            }
            assert self.live_count(owner) <= CAP_COUNT
            assert not any(key.origins and HARMFUL & set(key.scopes) for key in listed)
        if any(key.owner == PROJECT_OWNER for key in self.made):
            assert self.live_count(PROJECT_OWNER) >= 1


def _shown(key: api_key_pb2.ApiKey) -> tuple[object, ...]:
    used = key.last_used_at if key.HasField("last_used_at") else None
    return key.name, tuple(key.scopes), tuple(key.origins), key.active, used


def _contradiction(key: ModelKey) -> str | None:
    return "VALIDATION_ERROR" if key.origins and HARMFUL & set(key.scopes) else None


async def expect(call: Awaitable[_Answer], refusal: str | None) -> _Answer | None:
    """The call's answer, or None when it is refused as it should be."""
    if refusal is None:
        return await call
    with pytest.raises(SealgateError) as caught:
        await call
    assert caught.value.code.value == refusal
    return None


@pytest.fixture
async def keys(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> KeysWorld:
    return KeysWorld(await database_factory("keys"), clock, ids, keys_per_owner_count=CAP_COUNT)


@settings(
    max_examples=60,
    deadline=None,
    # One database serves all examples; each has owners of its own in it.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(commands=st.lists(COMMANDS, min_size=10, max_size=40))
async def test_keys_are_what_the_model_says_after_any_life(keys: KeysWorld, commands: list[Command]) -> None:
    """Every answer, refusal and list is the model's; caps, last keys and fences hold throughout."""
    example = Example(keys, keys.ids.uuid7(), (keys.ids.uuid7(), keys.ids.uuid7()))
    for command in commands:
        await example.run(command)
    await example.compare()

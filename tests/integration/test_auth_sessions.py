"""Sessions over gRPC: made by a customer's backend, used by its end user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import account_pb2, identity_pb2, session_pb2
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from tests.integration.auth_server import AuthServer, auth_server, bearer


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        yield running


async def refresh(server: AuthServer, account_id: str, session_id: str) -> session_pb2.IssuedSession:
    request = session_pb2.RefreshSessionRequest(account_id=account_id, session_id=session_id)
    answer: session_pb2.RefreshSessionResponse = await server.call(server.sessions.RefreshSession, request)
    return answer.session


async def expire(server: AuthServer, account_id: str, session_id: str) -> bool:
    request = session_pb2.ExpireSessionRequest(account_id=account_id, session_id=session_id)
    answer: session_pb2.ExpireSessionResponse = await server.call(server.sessions.ExpireSession, request)
    return answer.expired


async def live(server: AuthServer, account_id: str) -> list[session_pb2.Session]:
    request = session_pb2.ListSessionsRequest(account_id=account_id)
    return list((await server.call(server.sessions.ListSessions, request)).sessions)


async def set_status(server: AuthServer, account_id: str, status: Any) -> None:  # noqa: ANN401 - an enum value
    request = account_pb2.SetAccountStatusRequest(account_id=account_id, status=status)
    await server.call(server.accounts.SetAccountStatus, request)


async def test_session_token_tells_who_its_bearer_is(server: AuthServer) -> None:
    """Account, project, kind, scopes and end, and no subaccount pin."""
    account_id = await server.account()
    session = await server.session(account_id)
    assert session.account_id == account_id
    assert session.expires_at.seconds == session.created_at.seconds + 120
    current = await server.current(session.session_token)
    assert current == session_pb2.GetCurrentSessionResponse(
        authenticated=True,
        account_id=account_id,
        project_id=server.project_id,
        kind=method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_SESSION,
        credential_id=session.session_id,
        scopes=["account:read", "keys:write", "orders:write", "wallet:read", "wallet:write"],
        expires_at=session.expires_at,
    )


async def test_session_list_shows_where_a_session_came_from(server: AuthServer) -> None:
    """The creator's user agent and network address, and the four times."""
    account_id = await server.account()
    session = await server.session(account_id)
    (listed,) = await live(server, account_id)
    assert listed.session_id == session.session_id
    assert listed.created_at == listed.last_used_at == session.created_at
    assert listed.expires_at == session.expires_at
    assert listed.user_agent.startswith("grpc-python")
    assert listed.address == "127.0.0.1"


async def test_use_moves_the_idle_end_until_the_cap(server: AuthServer) -> None:
    """Written at most once in 30 s, as the list shows; nothing moves the cap."""
    account_id = await server.account()
    session = await server.session(account_id)
    start = session.created_at.seconds
    steps = ((29, 0, 120), (30, 30, 150), (59, 30, 150), (149, 149, 269), (268, 268, 300))
    for passed, last_used, expires in steps:
        server.clock.advance_ns((start + passed) * NANOSECONDS_PER_SECOND - server.clock.now_ns())
        current = await server.current(session.session_token)
        assert current.expires_at.seconds == start + expires
        (listed,) = await live(server, account_id)
        assert listed.last_used_at.seconds == start + last_used
        assert listed.expires_at == current.expires_at
    server.clock.advance(seconds=32)
    assert await server.current_code(bearer(session.session_token)) is Code.SESSION_EXPIRED


async def test_refused_use_does_not_prolong_a_session(server: AuthServer) -> None:
    """A page of a foreign origin cannot keep a session alive."""
    account_id = await server.account()
    session = await server.session(account_id)
    server.clock.advance(seconds=60)
    code = await server.current_code(bearer(session.session_token), ("origin", "https://evil.example"))
    assert code is Code.ORIGIN_NOT_ALLOWED
    (listed,) = await live(server, account_id)
    assert listed.last_used_at == session.created_at


async def test_unused_session_is_expired_and_an_ended_one_invalid(server: AuthServer) -> None:
    """Two codes: it ran out, or somebody ended it."""
    account_id = await server.account()
    expired, refreshed, ended, left = [await server.session(account_id) for _ in range(4)]
    await refresh(server, account_id, refreshed.session_id)
    await expire(server, account_id, ended.session_id)
    await expire(server, account_id, expired.session_id)
    for session in (refreshed, ended, expired):
        assert await server.current_code(bearer(session.session_token)) is Code.SESSION_INVALID
    server.clock.advance(seconds=120)
    assert await server.current_code(bearer(left.session_token)) is Code.SESSION_EXPIRED
    assert await server.current_code(bearer(ended.session_token)) is Code.SESSION_INVALID


async def test_refresh_ends_one_session_and_starts_the_next(server: AuthServer) -> None:
    """Both clocks start anew; the old token is dead, the new one lives."""
    account_id = await server.account()
    old = await server.session(account_id)
    server.clock.advance(seconds=100)
    new = await refresh(server, account_id, old.session_id)
    assert new.session_id != old.session_id
    assert new.expires_at.seconds == old.created_at.seconds + 100 + 120
    assert await server.current_code(bearer(old.session_token)) is Code.SESSION_INVALID
    assert (await server.current(new.session_token)).credential_id == new.session_id


async def test_refresh_repeated_answers_the_identical_token(server: AuthServer) -> None:
    """To the letter, for thirty seconds; later 409."""
    account_id = await server.account()
    old = await server.session(account_id)
    new = await refresh(server, account_id, old.session_id)
    server.clock.advance(seconds=30)
    await server.current(new.session_token)
    again = await refresh(server, account_id, old.session_id)
    assert again.session_token == new.session_token
    assert (again.session_id, again.created_at) == (new.session_id, new.created_at)
    server.clock.advance(seconds=1)
    request = session_pb2.RefreshSessionRequest(account_id=account_id, session_id=old.session_id)
    assert await server.code(server.sessions.RefreshSession, request) is Code.SESSION_ALREADY_REFRESHED


async def test_session_id_that_is_unknown_malformed_or_of_another_account_is_not_found(
    server: AuthServer,
) -> None:
    """For refreshing and for expiring."""
    account_id, other_id = await server.account(), await server.account()
    foreign = (await server.session(other_id)).session_id
    for session_id in (foreign, str(server.ids.uuid7()), "x", "", foreign.upper()):
        names = {"account_id": account_id, "session_id": session_id}
        refresh_request = session_pb2.RefreshSessionRequest(**names)
        expire_request = session_pb2.ExpireSessionRequest(**names)
        assert await server.code(server.sessions.RefreshSession, refresh_request) is Code.SESSION_NOT_FOUND
        assert await server.code(server.sessions.ExpireSession, expire_request) is Code.SESSION_NOT_FOUND
    assert len(await live(server, other_id)) == 1


async def test_session_expires_itself_once(server: AuthServer) -> None:
    """After that its token is not good for saying it again; the audit names the session as actor."""
    account_id = await server.account()
    session = await server.session(account_id)
    request = session_pb2.ExpireCurrentSessionRequest()
    header = bearer(session.session_token)
    answer = await server.call(server.sessions.ExpireCurrentSession, request, header)
    assert answer.expired is True
    assert await server.code(server.sessions.ExpireCurrentSession, request, header) is Code.SESSION_INVALID
    assert await expire(server, account_id, session.session_id) is False
    rows = await server.rows("SELECT actor_kind, actor_id FROM audit WHERE action = 'SESSION_EXPIRED'")
    assert [tuple(row) for row in rows] == [("ACCOUNT_SESSION", session.session_id)]


async def test_expire_all_ends_sessions_here_and_fences_the_account_in_keys(server: AuthServer) -> None:
    """The count, dead tokens, and a fence at the new version every time."""
    account_id = await server.account()
    sessions = [await server.session(account_id) for _ in range(2)]
    request = session_pb2.ExpireAllSessionsRequest(account_id=account_id)
    assert (await server.call(server.sessions.ExpireAllSessions, request)).expired == 2
    assert (await server.call(server.sessions.ExpireAllSessions, request)).expired == 0
    for session in sessions:
        assert await server.current_code(bearer(session.session_token)) is Code.SESSION_INVALID
    assert server.keys.fences == [(account_id, 1), (account_id, 2)]


async def test_mass_revocation_is_in_force_when_keys_is_away_and_finished_by_repeating(
    server: AuthServer,
) -> None:
    """503 instead of a promise that only half holds; the repetition tells keys what is still unsaid."""
    account_id = await server.account()
    session = await server.session(account_id)
    # Keys goes away between the exchange of the credential and the call.
    passport = await server.passport(
        kind=method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY,
        credential=server.project_key,
        subject_account_id=account_id,
    )
    suspend = account_pb2.SetAccountStatusRequest(
        account_id=account_id, status=passport_pb2.ACCOUNT_STATUS_SUSPENDED
    )
    await server.keys.stop()
    code = await server.code(server.internal_accounts.SetAccountStatus, suspend, passport)
    assert code is Code.UNAVAILABLE
    assert await server.current_code(bearer(session.session_token)) is Code.SESSION_INVALID
    assert server.keys.fences == []
    await server.keys.start()
    await server.call_until_available(server.internal_accounts.SetAccountStatus, suspend, passport)
    assert server.keys.fences == [(account_id, 1)]


async def test_suspended_account_has_no_sessions_and_gets_none(server: AuthServer) -> None:
    """Creating and refreshing are 403, its token is dead, and stays so when it is active again."""
    account_id = await server.account()
    session = await server.session(account_id)
    await set_status(server, account_id, passport_pb2.ACCOUNT_STATUS_SUSPENDED)
    create = session_pb2.CreateSessionRequest(account_id=account_id)
    again = session_pb2.RefreshSessionRequest(account_id=account_id, session_id=session.session_id)
    assert await server.code(server.sessions.CreateSession, create) is Code.ACCOUNT_SUSPENDED
    assert await server.code(server.sessions.RefreshSession, again) is Code.ACCOUNT_SUSPENDED
    assert await server.current_code(bearer(session.session_token)) is Code.SESSION_INVALID
    await set_status(server, account_id, passport_pb2.ACCOUNT_STATUS_ACTIVE)
    assert await server.current_code(bearer(session.session_token)) is Code.SESSION_INVALID
    await server.session(account_id)


async def test_session_limit_is_one_hundred(server: AuthServer) -> None:
    """The hundred and first is 409."""
    account_id = await server.account()
    for _ in range(100):
        await server.session(account_id)
    request = session_pb2.CreateSessionRequest(account_id=account_id)
    assert await server.code(server.sessions.CreateSession, request) is Code.SESSION_LIMIT_REACHED
    assert len(await live(server, account_id)) == 100


async def test_json_web_key_set_verifies_tokens_without_any_credential(server: AuthServer) -> None:
    """Anybody can check a token with what the open method answers."""
    token = (await server.session(await server.account())).session_token
    answer = await server.token_keys.GetJsonWebKeySet(identity_pb2.GetJsonWebKeySetRequest())
    # Those of browser sessions come after those of account sessions.
    key, _ = answer.keys
    members = {field.name: value for field, value in key.ListFields()}
    assert set(members) == {"kty", "crv", "x", "kid", "alg", "use"}
    registry = jws.JWSRegistry(algorithms=["EdDSA"])
    with pytest.warns(match="EdDSA is deprecated"):
        jws.deserialize_compact(token, OKPKey.import_key(members), registry=registry)

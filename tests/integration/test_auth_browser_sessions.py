"""Browser sessions: what auth makes of the token beside a key, and which pages read its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code
from chassis.rpc.errors import error_from_rpc
from chassis.secrets import ApiKeyPair
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import browser_session_pb2, identity_pb2, session_pb2
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.keys.v1 import resolution_pb2
from tests.integration.auth_server import AuthServer, auth_server

PROJECT_KEY: Final = method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY
SESSION: Final = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_SESSION
ACCOUNT_KEY: Final = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY
PAGE: Final = "https://shop.example"
OTHER_PAGE: Final = "https://other.example"
ABSENT: Final = passport_pb2.BROWSER_SESSION_STATE_ABSENT
VALID: Final = passport_pb2.BROWSER_SESSION_STATE_VALID
INVALID: Final = passport_pb2.BROWSER_SESSION_STATE_INVALID
EXPIRED: Final = passport_pb2.BROWSER_SESSION_STATE_EXPIRED
UNLOOKED: Final = passport_pb2.BROWSER_SESSION_STATE_UNSPECIFIED


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        yield running


async def made(
    server: AuthServer, pair: ApiKeyPair, *more: tuple[str, str]
) -> browser_session_pb2.CreateBrowserSessionResponse:
    """A browser session of a key from the page."""
    headers = (("x-api-key", pair.secret_text), ("origin", PAGE), *more)
    request = browser_session_pb2.CreateBrowserSessionRequest()
    answer: browser_session_pb2.CreateBrowserSessionResponse = await server.call(
        server.browser_sessions.CreateBrowserSession, request, *headers
    )
    return answer


async def state(server: AuthServer, pair: ApiKeyPair, token: str, origin: str = PAGE) -> int:
    """What an exchange says of the token beside a key."""
    fields = {"credential": pair.secret_text, "origin": origin, "session_token": token}
    return (await server.exchange(kind=ACCOUNT_KEY, **fields)).browser_session


def answer_of(server: AuthServer, pair: ApiKeyPair) -> resolution_pb2.ResolveApiKeyResponse:
    """What keys answers about a key, to be changed by a test."""
    return server.keys.answers[pair.public_key, ACCOUNT_KEY]


async def test_browser_session_is_made_for_an_hour_and_good_beside_its_key(server: AuthServer) -> None:
    """To the nanosecond; the passport never outlives it, and says since when the key has its page."""
    since_ns = server.clock.now_ns()
    pair = server.account_api_key(await server.account(), origins=[OTHER_PAGE, PAGE])
    server.clock.advance_ns(1_500_000_000)
    answer = await made(server, pair)
    end_ns = (server.clock.now_ns() // NANOSECONDS_PER_SECOND + 3600) * NANOSECONDS_PER_SECOND
    assert answer.expires_at.ToNanoseconds() == end_ns
    fields: dict[str, Any] = {"credential": pair.secret_text, "session_token": answer.session_token}
    claims = await server.exchange(kind=ACCOUNT_KEY, origin=PAGE, **fields)
    assert (claims.browser_session, claims.browser_session_expires_at_ns) == (VALID, end_ns)
    assert (claims.origin_allowed, claims.origin_since_ns) == (True, since_ns)
    server.clock.advance_ns(end_ns - server.clock.now_ns() - 1)
    claims = await server.exchange(kind=ACCOUNT_KEY, origin=PAGE, **fields)
    assert (claims.browser_session, claims.expires_at_ns) == (VALID, end_ns)
    server.clock.advance_ns(1)
    claims = await server.exchange(kind=ACCOUNT_KEY, origin=PAGE, **fields)
    assert claims.browser_session == EXPIRED
    assert not claims.HasField("browser_session_expires_at_ns")


async def test_browser_session_is_looked_at_only_beside_a_key_that_works_from_the_page(
    server: AuthServer,
) -> None:
    """Servers need none, pages where the key does not work get none, and other kinds have no use for one."""
    account_id = await server.account()
    await server.allow_pages(PAGE)
    pair = server.account_api_key(account_id, origins=[PAGE])
    token = (await made(server, pair)).session_token
    claims = await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text, origin=PAGE)
    assert claims.browser_session == ABSENT
    claims = await server.exchange(kind=ACCOUNT_KEY, credential=pair.secret_text, session_token=token)
    assert claims.browser_session == UNLOOKED
    assert await state(server, pair, token, OTHER_PAGE) == UNLOOKED
    session_token = (await server.session(account_id)).session_token
    for kind, credential in ((SESSION, session_token), (PROJECT_KEY, server.project_key)):
        claims = await server.exchange(kind=kind, credential=credential, origin=PAGE, session_token=token)
        assert claims.browser_session == UNLOOKED


async def test_browser_session_is_of_one_key_and_page(server: AuthServer) -> None:
    """Beside another key of the account, or on another page of the key, it is as good as none."""
    account_id = await server.account()
    pair = server.account_api_key(account_id, origins=[PAGE, OTHER_PAGE])
    twin = server.account_api_key(account_id, origins=[PAGE, OTHER_PAGE])
    token = (await made(server, pair)).session_token
    assert await state(server, pair, token) == VALID
    assert await state(server, twin, token) == INVALID
    assert await state(server, pair, token, OTHER_PAGE) == INVALID


async def test_browser_session_ends_with_the_page_and_does_not_come_back_with_it(server: AuthServer) -> None:
    """Listed anew, the page needs a new one; a list that is only extended ends nothing."""
    pair = server.account_api_key(await server.account(), origins=[PAGE])
    token = (await made(server, pair)).session_token
    answer = answer_of(server, pair)
    answer.origins.append(OTHER_PAGE)
    answer.origins_since_ns.append(server.clock.now_ns() + 1)
    assert await state(server, pair, token) == VALID
    answer.origins_since_ns[0] += 2
    assert await state(server, pair, token) == INVALID
    assert await state(server, pair, (await made(server, pair)).session_token) == VALID


async def test_browser_session_ends_with_a_mass_revocation_of_its_account(server: AuthServer) -> None:
    """Expire-all ends it at once, though the key lives on, and so does suspending for ever."""
    account_id = await server.account()
    pair = server.account_api_key(account_id, origins=[PAGE])
    token = (await made(server, pair)).session_token
    request = session_pb2.ExpireAllSessionsRequest(account_id=account_id)
    await server.call(server.sessions.ExpireAllSessions, request)
    assert await state(server, pair, token) == INVALID
    assert await state(server, pair, (await made(server, pair)).session_token) == VALID


async def test_tokens_of_neither_kind_pass_as_the_other(server: AuthServer) -> None:
    """A browser session's is no bearer token, and an account session's nothing beside a key."""
    account_id = await server.account()
    pair = server.account_api_key(account_id, origins=[PAGE])
    token = (await made(server, pair)).session_token
    assert await server.exchange_code(kind=SESSION, credential=token) is Code.SESSION_INVALID
    session_token = (await server.session(account_id)).session_token
    assert await state(server, pair, session_token) == INVALID
    for text in ("", "x", token[:-4], token + "x", "x" * 5_000):
        assert await state(server, pair, text) == INVALID


async def test_published_keys_are_those_of_both_kinds_of_token(server: AuthServer) -> None:
    """Two rings in one set, those of account sessions first, and no key twice."""
    pair = server.account_api_key(await server.account(), origins=[PAGE])
    await made(server, pair)
    answer = await server.token_keys.GetJsonWebKeySet(identity_pb2.GetJsonWebKeySetRequest())
    assert len({key.kid for key in answer.keys}) == len({key.x for key in answer.keys}) == 2


async def test_browser_session_is_not_made_without_a_page(server: AuthServer) -> None:
    """400 naming `Origin`; from a page that the key does not have it is 403."""
    pair = server.account_api_key(await server.account(), origins=[PAGE])
    create = server.browser_sessions.CreateBrowserSession
    request = browser_session_pb2.CreateBrowserSessionRequest()
    key = ("x-api-key", pair.secret_text)
    refusal = await server.refusal(create, request, key)
    assert (refusal.code, [detail.path for detail in refusal.details]) == (Code.VALIDATION_ERROR, ["Origin"])
    assert await server.code(create, request, key, ("origin", OTHER_PAGE)) is Code.ORIGIN_NOT_ALLOWED


async def test_repeated_request_is_answered_the_same_token(server: AuthServer) -> None:
    """Under one key, as long as it is kept; what ended the session since ends that of the repeat too."""
    account_id = await server.account()
    pair = server.account_api_key(account_id, origins=[PAGE])
    first = await made(server, pair, ("idempotency-key", "one"))
    server.clock.advance(seconds=100)
    assert await made(server, pair, ("idempotency-key", "one")) == first
    assert (await made(server, pair, ("idempotency-key", "two"))).session_token != first.session_token
    (row,) = await server.rows("SELECT answer FROM idempotency WHERE idempotency_key = 'one'")
    assert first.session_token.encode() not in bytes(row["answer"])


async def test_repeat_by_another_key_or_from_another_page_is_another_request(server: AuthServer) -> None:
    """A token is for one of each, so that neither is answered the other's."""
    account_id = await server.account()
    pair = server.account_api_key(account_id, origins=[PAGE, OTHER_PAGE])
    twin = server.account_api_key(account_id, origins=[PAGE])
    await made(server, pair, ("idempotency-key", "one"))
    create = server.browser_sessions.CreateBrowserSession
    request = browser_session_pb2.CreateBrowserSessionRequest()
    for secret, origin in ((pair.secret_text, OTHER_PAGE), (twin.secret_text, PAGE)):
        headers = (("x-api-key", secret), ("origin", origin), ("idempotency-key", "one"))
        assert await server.code(create, request, *headers) is Code.IDEMPOTENCY_CONFLICT


async def test_too_many_bad_browser_tokens_are_too_many_bad_credentials(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """Each counts as one, an expired one does not; the key alone still works from that address."""
    few = {"bad-credentials": 2}
    async with auth_server(database_factory, short_directory, clock, ids, **few) as server:
        pair = server.account_api_key(await server.account(), origins=[PAGE])
        token = (await made(server, pair)).session_token
        fields: dict[str, Any] = {"kind": ACCOUNT_KEY, "credential": pair.secret_text, "origin": PAGE}
        address = ("sealgate-client-address", "192.0.2.9")

        async def shown(token: str | None) -> Code | None:
            request = identity_pb2.ExchangeCredentialRequest(**fields, session_token=token)
            try:
                await server.call(server.identities.ExchangeCredential, request, address)
            except grpc.aio.AioRpcError as failure:
                return error_from_rpc(failure, "test").code
            return None

        clock.advance(seconds=3600)
        assert [await shown(token) for _ in range(4)] == [None] * 4
        assert [await shown("x") for _ in range(4)] == [None, None, Code.RATE_LIMITED, Code.RATE_LIMITED]
        assert [await shown(None), await shown(token)] == [None, None]

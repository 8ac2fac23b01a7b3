"""Which web pages may read auth's answers: those of whoever was recognised, and refusals too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from chassis.errors import Code
from chassis.secrets import ApiKeyPair, device_key_digest, parse_device_key
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import session_pb2
from sealgate.common.v1 import method_rule_pb2
from sealgate.keys.v1 import resolution_pb2
from tests.integration.auth_server import AuthServer, auth_server

PROJECT_KEY: Final = method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY
SESSION: Final = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_SESSION
ACCOUNT_KEY: Final = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY
DEVICE_KEY: Final = method_rule_pb2.CREDENTIAL_KIND_DEVICE_KEY
# The project's, and that of the account's API keys.
PROJECT_PAGE: Final = "https://project.example"
KEY_PAGE: Final = "https://key.example"
STRANGE_PAGES: Final = (
    "https://evil.example",
    "null",
    "",
    "*",
    "http://key.example",
    "http://project.example",
)
REVOKED: Final = resolution_pb2.API_KEY_STATE_REVOKED
EXPIRED: Final = resolution_pb2.API_KEY_STATE_EXPIRED
DEAD: Final = {REVOKED: Code.API_KEY_REVOKED, EXPIRED: Code.API_KEY_EXPIRED}


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        await running.allow_pages(PROJECT_PAGE)
        yield running


async def read_by(server: AuthServer, code: Code | None, page: str, **fields: Any) -> None:  # noqa: ANN401
    """An exchange is answered with `code`, which this page and the project's may read, and no other."""
    for reader in {page, PROJECT_PAGE}:
        assert await server.answered_to_page(**fields, origin=reader) == (code, reader)
    for stranger in {KEY_PAGE, *STRANGE_PAGES} - {page}:
        assert await server.answered_to_page(**fields, origin=stranger) == (code, None)
    assert await server.answered_to_page(**fields) == (code, None)


async def credentials(server: AuthServer, account_id: str) -> list[tuple[str, dict[str, Any]]]:
    """A good credential of each kind, as an exchange is asked for it, after the page that it works from."""
    key = server.account_api_key(account_id, origins=[KEY_PAGE])
    return [
        (PROJECT_PAGE, {"kind": SESSION, "credential": (await server.session(account_id)).session_token}),
        (PROJECT_PAGE, {"kind": DEVICE_KEY, "credential": server.device_key(account_id)}),
        (PROJECT_PAGE, {"kind": PROJECT_KEY, "credential": server.project_key}),
        (KEY_PAGE, {"kind": ACCOUNT_KEY, "credential": key.secret_text}),
    ]


async def test_page_reads_the_answer_to_a_credential_that_lists_it(server: AuthServer) -> None:
    """The project's pages, and an API key's own; whether it works from them is another question."""
    for page, fields in await credentials(server, await server.account()):
        await read_by(server, None, page, **fields)


@pytest.mark.parametrize(
    ("status", "code"),
    [("SUSPENDED", Code.TENANT_SUSPENDED), ("CANCELLED", Code.SUBSCRIPTION_CANCELLED)],
)
async def test_page_reads_that_its_project_is_not_served(status: str, code: Code, server: AuthServer) -> None:
    """Whatever kind of credential it has shown."""
    shown = await credentials(server, await server.account())
    await server.set_project_status(status)
    for page, fields in shown:
        await read_by(server, code, page, **fields)


async def test_page_reads_that_its_account_is_suspended(server: AuthServer) -> None:
    """Its sessions are ended then, which is what the page of one is told."""
    account_id = await server.account()
    shown = await credentials(server, account_id)
    await server.rows("UPDATE account SET status = 'SUSPENDED'")
    for page, fields in shown:
        code = None if fields["kind"] == PROJECT_KEY else Code.ACCOUNT_SUSPENDED
        await read_by(server, code, page, **fields)


async def test_page_reads_how_its_session_ended(server: AuthServer) -> None:
    """By running out, by being expired, and past its token's own end."""
    account_id = await server.account()
    ended, lapsed = await server.session(account_id), await server.session(account_id)
    request = session_pb2.ExpireSessionRequest(account_id=account_id, session_id=ended.session_id)
    await server.call(server.sessions.ExpireSession, request)
    shown: dict[str, Any] = {"kind": SESSION, "credential": ended.session_token}
    await read_by(server, Code.SESSION_INVALID, PROJECT_PAGE, **shown)
    shown = {"kind": SESSION, "credential": lapsed.session_token}
    for seconds in (120, 300):
        server.clock.advance(seconds=seconds)
        await read_by(server, Code.SESSION_EXPIRED, PROJECT_PAGE, **shown)


@pytest.mark.parametrize("state", DEAD)
async def test_page_reads_how_its_api_key_ended(
    state: resolution_pb2.ApiKeyState.ValueType, server: AuthServer
) -> None:
    """With what keys says of dead keys: also the second time, when nobody is asked about a revoked one."""
    pair = ApiKeyPair.from_seed(server.ids.seed())
    for kind, page in ((ACCOUNT_KEY, KEY_PAGE), (PROJECT_KEY, PROJECT_PAGE)):
        server.keys.answers[pair.public_key, kind] = resolution_pb2.ResolveApiKeyResponse(
            state=state,
            project_id=server.project_id,
            origins=[KEY_PAGE] if kind == ACCOUNT_KEY else [],
        )
        asked = server.keys.resolved_count
        await read_by(server, DEAD[state], page, kind=kind, credential=pair.secret_text)
        assert (server.keys.resolved_count == asked + 1) is (state == REVOKED)


@pytest.mark.parametrize("state", DEAD)
async def test_page_reads_how_its_device_key_ended(
    state: resolution_pb2.ApiKeyState.ValueType, server: AuthServer
) -> None:
    """The project's pages do."""
    text = server.device_key(await server.account(), state=state)
    await read_by(server, DEAD[state], PROJECT_PAGE, kind=DEVICE_KEY, credential=text)


async def test_no_page_reads_the_answer_to_a_credential_that_is_nobody_s(server: AuthServer) -> None:
    """Unknown keys, texts that are none, keys of a project that is not there, tokens of no session."""
    account_id = await server.account()
    token = (await server.session(account_id)).session_token
    unknown = ApiKeyPair.from_seed(server.ids.seed()).secret_text
    device_key = server.device_key(account_id)
    secret = parse_device_key(device_key)
    assert secret is not None
    del server.keys.device_answers[device_key_digest(secret)]
    lost = server.project_api_key(str(server.ids.uuid7()))
    await server.rows("DELETE FROM session")
    for kind, credential, code in (
        (ACCOUNT_KEY, unknown, Code.API_KEY_INVALID),
        (ACCOUNT_KEY, "sk_x", Code.API_KEY_INVALID),
        (PROJECT_KEY, unknown, Code.API_KEY_INVALID),
        (PROJECT_KEY, lost, Code.API_KEY_INVALID),
        (DEVICE_KEY, device_key, Code.API_KEY_INVALID),
        (SESSION, token, Code.SESSION_INVALID),
        (SESSION, "x.y.z", Code.SESSION_INVALID),
    ):
        for page in (KEY_PAGE, PROJECT_PAGE):
            answer = await server.answered_to_page(kind=kind, credential=credential, origin=page)
            assert answer == (code, None)


async def test_page_reads_that_it_has_to_wait(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> None:
    """A 429 in the place of a recognised key's 401."""
    few = {"bad-credentials": 1}
    async with auth_server(database_factory, short_directory, clock, ids, **few) as server:
        pair = ApiKeyPair.from_seed(ids.seed())
        server.keys.answers[pair.public_key, ACCOUNT_KEY] = resolution_pb2.ResolveApiKeyResponse(
            state=REVOKED, project_id=server.project_id, origins=[KEY_PAGE]
        )
        headers = (("x-api-key", pair.secret_text), ("origin", KEY_PAGE))
        answers = []
        for _ in range(2):
            call = server.sessions.GetCurrentSession(
                session_pb2.GetCurrentSessionRequest(), metadata=headers, timeout=10
            )
            code = (await server.refusal_of(call)).code
            answers.append((code, dict(await call.trailing_metadata())["access-control-allow-origin"]))
        assert answers == [(Code.API_KEY_REVOKED, KEY_PAGE), (Code.RATE_LIMITED, KEY_PAGE)]

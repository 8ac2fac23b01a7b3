"""The exchange of device keys for passports, against a real database and a keys service on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code
from chassis.secrets import ApiKeyPair, device_key_digest, device_key_text, parse_device_key
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.keys.v1 import resolution_pb2
from tests.integration.auth_server import AUDIENCE, AuthServer, auth_server

ACCOUNT_KEY = method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY
DEVICE_KEY = method_rule_pb2.CREDENTIAL_KIND_DEVICE_KEY
PAGE = "https://shop.example"


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        yield running


async def test_passport_of_a_device_key_reads_and_does_nothing_else(server: AuthServer) -> None:
    """The two scopes for reading, the key's own pin and id, and a life that never passes the key's."""
    account_id = await server.account()
    (row,) = await server.rows("SELECT account_number FROM account")
    now_ns = server.clock.now_ns()
    end_ns = now_ns + 10 * NANOSECONDS_PER_SECOND
    device_key_id = str(server.ids.uuid7())
    text = server.device_key(
        account_id, device_key_id=device_key_id, subaccount_index=3, expires_at_ns=end_ns
    )
    assert await server.exchange(kind=DEVICE_KEY, credential=text) == passport_pb2.PassportClaims(
        audience=AUDIENCE,
        project_id=server.project_id,
        account_id=account_id,
        account_number=row["account_number"],
        credential_kind=DEVICE_KEY,
        credential_id=device_key_id,
        scopes=["account:read", "wallet:read"],
        modules=["wallet", "trading", "browser", "signing"],
        subaccount_index=3,
        channel=passport_pb2.CHANNEL_SERVER,
        issued_at_ns=now_ns,
        expires_at_ns=end_ns,
        credential_expires_at_ns=end_ns,
        project_status=passport_pb2.PROJECT_STATUS_ACTIVE,
        account_status=passport_pb2.ACCOUNT_STATUS_ACTIVE,
        account_version=0,
    )


async def test_device_key_that_is_pinned_to_nothing_sees_all_of_its_account(server: AuthServer) -> None:
    """No pin is told from subaccount 0."""
    account_id = await server.account()
    claims = await server.exchange(kind=DEVICE_KEY, credential=server.device_key(account_id))
    assert not claims.HasField("subaccount_index")
    pinned = await server.exchange(
        kind=DEVICE_KEY, credential=server.device_key(account_id, subaccount_index=0)
    )
    assert pinned.HasField("subaccount_index")


@pytest.mark.parametrize(
    "credential", ["", "dk_", "dk_" + "A" * 48, "x" * 5_000, "dk_é", "dk_\x00" + "A" * 47]
)
async def test_device_key_without_the_right_shape_is_invalid_without_asking_anybody(
    credential: str, server: AuthServer
) -> None:
    """Noise costs no look-up."""
    asked = server.keys.resolved_count
    assert await server.exchange_code(kind=DEVICE_KEY, credential=credential) is Code.API_KEY_INVALID
    assert server.keys.resolved_count == asked


async def test_key_of_one_kind_is_unknown_in_the_header_of_the_other(server: AuthServer) -> None:
    """An API key is no device key and a device key no API key, whatever stands in front of the bytes."""
    account_id = await server.account()
    device, pair = server.device_key(account_id), server.account_api_key(account_id)
    secret = parse_device_key(device)
    assert secret is not None
    for text in (pair.secret_text, "dk_" + pair.secret_text[3:]):
        assert await server.exchange_code(kind=DEVICE_KEY, credential=text) is Code.API_KEY_INVALID
    for text in (device, ApiKeyPair.from_seed(secret).secret_text):
        assert await server.exchange_code(kind=ACCOUNT_KEY, credential=text) is Code.API_KEY_INVALID
    assert (await server.exchange(kind=DEVICE_KEY, credential=device)).account_id == account_id


@pytest.mark.parametrize(
    ("state", "code", "asked_again"),
    [
        (resolution_pb2.API_KEY_STATE_UNKNOWN, Code.API_KEY_INVALID, False),
        (resolution_pb2.API_KEY_STATE_REVOKED, Code.API_KEY_REVOKED, False),
        (resolution_pb2.API_KEY_STATE_EXPIRED, Code.API_KEY_EXPIRED, True),
    ],
)
async def test_dead_device_key_is_told_by_its_state_and_only_a_hopeless_one_is_remembered(
    state: Any,  # noqa: ANN401 - an enum value
    code: Code,
    asked_again: bool,
    server: AuthServer,
) -> None:
    """For thirty seconds nobody is asked about it again."""
    secret = server.ids.seed()
    answer = resolution_pb2.ResolveDeviceKeyResponse(state=state)
    server.keys.device_answers[device_key_digest(secret)] = answer
    text, asked = device_key_text(secret), server.keys.resolved_count
    for _ in range(2):
        assert await server.exchange_code(kind=DEVICE_KEY, credential=text) is code
    assert server.keys.resolved_count - asked == (2 if asked_again else 1)
    server.clock.advance(seconds=30)
    assert await server.exchange_code(kind=DEVICE_KEY, credential=text) is code
    assert server.keys.resolved_count - asked == (3 if asked_again else 2)


async def test_live_device_key_is_asked_about_every_time(server: AuthServer) -> None:
    """Nothing positive is remembered: it is dead with the next request after its end."""
    text = server.device_key(await server.account())
    secret = parse_device_key(text)
    assert secret is not None
    await server.exchange(kind=DEVICE_KEY, credential=text)
    revoked = resolution_pb2.ResolveDeviceKeyResponse(state=resolution_pb2.API_KEY_STATE_REVOKED)
    server.keys.device_answers[device_key_digest(secret)] = revoked
    assert await server.exchange_code(kind=DEVICE_KEY, credential=text) is Code.API_KEY_REVOKED


async def test_device_key_works_from_the_pages_of_its_project(server: AuthServer) -> None:
    """By the project's list, to the letter; it has none of its own."""
    await server.allow_pages(PAGE)
    text = server.device_key(await server.account())
    claims = await server.exchange(kind=DEVICE_KEY, credential=text, origin=PAGE)
    assert (claims.channel, claims.origin) == (passport_pb2.CHANNEL_BROWSER, PAGE)
    assert claims.origin_allowed
    for origin in ("null", "", "https://evil.example", "http://shop.example", PAGE + ":443"):
        claims = await server.exchange(kind=DEVICE_KEY, credential=text, origin=origin)
        assert not claims.origin_allowed


@pytest.mark.parametrize(
    ("status", "code"),
    [("SUSPENDED", Code.TENANT_SUSPENDED), ("CANCELLED", Code.SUBSCRIPTION_CANCELLED)],
)
async def test_device_key_is_refused_by_the_state_of_its_project(
    status: str, code: Code, server: AuthServer
) -> None:
    """As every other credential is."""
    text = server.device_key(await server.account())
    await server.set_project_status(status)
    assert await server.exchange_code(kind=DEVICE_KEY, credential=text) is code


async def test_device_key_is_refused_by_the_state_of_its_account(server: AuthServer) -> None:
    """403 while it is suspended; invalid where the account is not there or another project's."""
    account_id = await server.account()
    text = server.device_key(account_id)
    await server.rows("UPDATE account SET status = 'SUSPENDED'")
    assert await server.exchange_code(kind=DEVICE_KEY, credential=text) is Code.ACCOUNT_SUSPENDED
    await server.open_project()
    for stranger_id in (account_id, str(server.ids.uuid7())):
        stray = server.device_key(stranger_id)
        assert await server.exchange_code(kind=DEVICE_KEY, credential=stray) is Code.API_KEY_INVALID


async def test_device_key_is_unavailable_while_keys_is_away(server: AuthServer) -> None:
    """Never a 401 for one that may be good."""
    text = server.device_key(await server.account())
    await server.keys.stop()
    assert await server.exchange_code(kind=DEVICE_KEY, credential=text) is Code.UNAVAILABLE


async def test_accepted_use_of_a_device_key_is_noted_when_one_is_due(server: AuthServer) -> None:
    """And the passport says when the key ends now; while keys has noted one just now it is not asked."""
    account_id = await server.account()
    end_ns = server.clock.now_ns() + 10 * NANOSECONDS_PER_SECOND
    due = server.device_key(account_id, is_use_due=True, expires_at_ns=end_ns)
    for used_end_ns in (end_ns + 5, None):
        server.keys.used_expires_at_ns = used_end_ns
        claims = await server.exchange(kind=DEVICE_KEY, credential=due)
        assert claims.credential_expires_at_ns == (used_end_ns or end_ns)
    await server.exchange(kind=DEVICE_KEY, credential=server.device_key(account_id))
    assert server.keys.uses == [device_key_digest(parse_device_key(due) or b"")] * 2


async def test_refused_use_does_not_prolong_a_device_key(server: AuthServer) -> None:
    """Neither from a foreign page nor while project or account is suspended can it be kept alive."""
    await server.allow_pages(PAGE)
    text = server.device_key(await server.account(), is_use_due=True)
    server.keys.uses.clear()
    for origin in ("https://evil.example", "null"):
        claims = await server.exchange(kind=DEVICE_KEY, credential=text, origin=origin)
        assert not claims.origin_allowed
    for suspend, serve in (
        ("UPDATE project SET status = 'SUSPENDED'", "UPDATE project SET status = 'ACTIVE'"),
        ("UPDATE account SET status = 'SUSPENDED'", "UPDATE account SET status = 'ACTIVE'"),
    ):
        await server.rows(suspend)
        await server.exchange_code(kind=DEVICE_KEY, credential=text)
        await server.rows(serve)
    assert server.keys.uses == []
    await server.exchange(kind=DEVICE_KEY, credential=text, origin=PAGE)
    assert len(server.keys.uses) == 1

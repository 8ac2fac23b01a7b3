"""Who stands behind a signature, and what time it is: what services and clients ask to sign and verify."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import ListValue, Value

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import project_pb2, signer_pb2, time_pb2
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from sealgate.keys.v1 import signer_facts_pb2
from tests.integration.auth_server import AUDIENCE, AuthServer, auth_server

KEY = b"\x07" * 32
PAGE = "https://shop.example"
NOBODY = ("x-none", "")


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        yield running


async def resolve(
    server: AuthServer, account_id: str, public_key: bytes = KEY
) -> signer_pb2.ResolveSignerResponse:
    request = signer_pb2.ResolveSignerRequest(account_id=account_id, public_key=public_key)
    answer: signer_pb2.ResolveSignerResponse = await server.call(
        server.signers.ResolveSigner, request, NOBODY
    )
    return answer


def register(server: AuthServer, account_id: str) -> signer_facts_pb2.SignerFacts:
    """Facts that keys has from now on of the account's key."""
    facts = signer_facts_pb2.SignerFacts(
        account_id=account_id,
        public_key=KEY,
        kind=method_rule_pb2.CREDENTIAL_KIND_SESSION_KEY,
        role=signer_facts_pb2.SIGNING_ROLE_TRADING_ONLY,
        subaccount_index=4,
        valid_until_ns=2**63 + 5,
    )
    server.keys.facts[account_id, KEY] = facts
    return facts


async def test_signer_is_resolved_with_its_facts_and_its_account_as_of_now(server: AuthServer) -> None:
    """Facts as keys has them; project, modules, states, origins and version from auth's own rows."""
    account_id = await server.account()
    facts = register(server, account_id)
    origins = ListValue(values=[Value(string_value=PAGE)])
    await server.call(
        server.projects.UpdateProject, project_pb2.UpdateProjectRequest(allowed_origins=origins)
    )
    (row,) = await server.rows("SELECT account_number FROM account")
    standing = signer_pb2.AccountStanding(
        project_id=server.project_id,
        account_number=row["account_number"],
        project_status=passport_pb2.PROJECT_STATUS_ACTIVE,
        account_status=passport_pb2.ACCOUNT_STATUS_ACTIVE,
        modules=["wallet", "trading", "browser", "signing"],
        allowed_origins=[PAGE],
        account_version=0,
    )
    expected = signer_pb2.ResolveSignerResponse(facts=facts, standing=standing)
    assert await resolve(server, account_id) == expected
    await server.rows("UPDATE account SET status = 'SUSPENDED', version = 7")
    await server.set_project_status("PAST_DUE")
    changed = (await resolve(server, account_id)).standing
    assert changed.account_status == passport_pb2.ACCOUNT_STATUS_SUSPENDED
    assert changed.account_version == 7
    assert changed.project_status == passport_pb2.PROJECT_STATUS_PAST_DUE


async def test_standing_is_as_of_after_the_answer_about_the_key(server: AuthServer) -> None:
    """What happens to the account while keys is asked is told with the key's facts."""
    account_id = await server.account()
    register(server, account_id)
    server.keys.while_facts_are_asked = lambda: server.rows("UPDATE account SET status = 'SUSPENDED'")
    answer = await resolve(server, account_id)
    assert answer.HasField("facts")
    assert answer.standing.account_status == passport_pb2.ACCOUNT_STATUS_SUSPENDED


async def test_standing_alone_is_answered_without_asking_keys(server: AuthServer) -> None:
    """An empty key says that the caller has the facts: also while keys is away."""
    account_id = await server.account()
    register(server, account_id)
    await server.keys.stop()
    answer = await resolve(server, account_id, b"")
    assert answer.HasField("standing")
    assert not answer.HasField("facts")
    assert server.keys.facts_asked_count == 0


async def test_nothing_about_a_key_is_remembered(server: AuthServer) -> None:
    """Keys is asked each time: a key that is minted is found with the next request."""
    account_id = await server.account()
    assert not (await resolve(server, account_id)).HasField("facts")
    register(server, account_id)
    assert (await resolve(server, account_id)).HasField("facts")
    assert server.keys.facts_asked_count == 2


async def test_key_of_another_account_has_no_facts_here(server: AuthServer) -> None:
    """A key is looked up with its account, so that a stranger's registration changes nothing."""
    account_id, other_id = await server.account(), await server.account()
    register(server, other_id)
    answer = await resolve(server, account_id)
    assert answer.HasField("standing")
    assert not answer.HasField("facts")


@pytest.mark.parametrize(
    "account_id", ["", "x", str(uuid.UUID(int=7)), "0190AAAA-bbbb-7ccc-8ddd-eeeeffff0000"]
)
async def test_account_that_is_not_there_has_no_standing(account_id: str, server: AuthServer) -> None:
    """Unknown or malformed, it is an empty answer and no failure."""
    assert await resolve(server, account_id) == signer_pb2.ResolveSignerResponse()


async def test_resolution_is_unavailable_while_keys_is_away(server: AuthServer) -> None:
    """Never the answer that there is no such key."""
    account_id = await server.account()
    await server.keys.stop()
    request = signer_pb2.ResolveSignerRequest(account_id=account_id, public_key=KEY)
    assert await server.code(server.signers.ResolveSigner, request, NOBODY) is Code.UNAVAILABLE


async def test_signers_are_resolved_for_services_alone(server: AuthServer) -> None:
    """The listener for customers does not have the method."""
    request = signer_pb2.ResolveSignerRequest(account_id=await server.account(), public_key=KEY)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.public_signers.ResolveSigner(request, timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_time_is_told_to_everybody_with_the_name_that_is_signed_for(server: AuthServer) -> None:
    """In nanoseconds, without a credential."""
    server.clock.advance_ns(1)
    answer = await server.time.GetTime(time_pb2.GetTimeRequest(), timeout=30)
    assert answer == time_pb2.GetTimeResponse(now_ns=server.clock.now_ns(), audience=AUDIENCE)

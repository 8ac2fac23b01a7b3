"""Signed methods on both listeners: the request's own signature, and nothing else, says whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from chassis.errors import Code, SealgateError, invalid
from chassis.identity import PassportVerifier
from chassis.ids import SystemIds
from chassis.limits import BAD_CREDENTIALS_PER_MINUTE_COUNT
from chassis.methods import MethodTableError
from chassis.rpc import metadata as names
from chassis.rpc.client import open_channel
from chassis.rpc.errors import status_from_error
from chassis.rpc.server import RpcServer, Service
from chassis.rpc.signed import SignedRequests
from chassis.signing import Rejections, Status
from chassis.testing.databases import DatabaseFactory
from sealgate.wallet.v1 import signed_pb2
from sealgate.wallet.v1.signed_pb2_grpc import add_SignedRequestServiceServicer_to_server
from tests.contract.rpc_harness import (
    AUDIENCE,
    Issuer,
    Metadata,
    Script,
    ScriptedServicer,
    call,
    fixed_ring,
    passport_metadata,
    refusal,
    service_config,
)
from tests.integration.signed_stage_support import ACCOUNT, BODY, Directory, LooseClock, World
from tests.signing_support import key_pair, payload, sign_payload

METHOD: Final = "/sealgate.wallet.v1.SignedRequestService/SubmitCreateWallet"
SERVICE: Final = signed_pb2.DESCRIPTOR.services_by_name["SignedRequestService"]
API_KEY: Final[Metadata] = (("x-api-key", "sk_" + "a" * 48),)


@dataclass(slots=True)
class Harness:
    """A running server of one signed service, and the way to both of its listeners."""

    server: RpcServer
    script: Script
    issuer: Issuer
    world: World
    public: grpc.aio.Channel
    internal: grpc.aio.Channel

    @property
    def channels(self) -> Sequence[grpc.aio.Channel]:
        """Both listeners."""
        return self.public, self.internal

    def request(self) -> bytes:
        """A new request that is signed."""
        signed = payload(11, self.world.new_id(), BODY.SerializeToString())
        fields: Any = sign_payload(self.world.pair, AUDIENCE, str(ACCOUNT), signed).fields
        return signed_pb2.SubmitCreateWalletRequest(**fields).SerializeToString()


NO_REJECTIONS: Final[Mapping[str, Rejections]] = {}


def build(
    world: World,
    script: Script,
    directory: Path,
    *,
    is_wired: bool = True,
    rejections: Mapping[str, Rejections] = NO_REJECTIONS,
) -> tuple[RpcServer, Issuer, str]:
    """The server, not started; who signs passports for it; its internal address."""
    issuer = Issuer(world.clock, fixed_ring())
    config = service_config(directory)
    signed = SignedRequests(
        world.database,
        world.clock,
        AUDIENCE,
        world.directory,
        signed_pb2.RequestOutcome,
        rejections=rejections,
    )
    server = RpcServer(
        config,
        [Service(SERVICE, ScriptedServicer(SERVICE, script), add_SignedRequestServiceServicer_to_server)],
        clock=world.clock,
        ids=SystemIds(world.clock),
        verifier=PassportVerifier(AUDIENCE, world.clock, issuer.public_keys),
        exchanger=issuer,
        closers=(),
        signed=signed if is_wired else None,
    )
    return server, issuer, config.internal


@pytest.fixture
async def harness(database_factory: DatabaseFactory, short_directory: Path) -> AsyncIterator[Harness]:
    fresh = await database_factory("wallet")
    world = World(fresh, fresh.database, LooseClock(), Directory(fresh.database))
    script = Script()
    server, issuer, address = build(world, script, short_directory)
    await server.start()
    public, internal = open_channel(f"127.0.0.1:{server.public_port}"), open_channel(address)
    try:
        yield Harness(server, script, issuer, world, public, internal)
    finally:
        await public.close()
        await internal.close()
        await server.stop()


async def submit(channel: grpc.aio.Channel, request: bytes, metadata: Metadata = ()) -> Any:  # noqa: ANN401
    return signed_pb2.SubmitCreateWalletResponse.FromString(await call(channel, METHOD, request, metadata))


async def test_both_listeners_serve_without_any_credential(harness: Harness) -> None:
    """The handler knows who it is, and the request's id is the one that was signed."""
    for channel in harness.channels:
        answer = await submit(channel, harness.request())
        assert answer.success
        context = harness.script.served[-1].context
        assert (context.passport, str(context.request_id)) == (None, answer.request_id)
        assert context.identity is not None
        assert context.identity.account_id == ACCOUNT


@pytest.mark.parametrize(
    "credential",
    [API_KEY, (("authorization", "Bearer x"),), (("x-project-api-key", ""),), (("x-device-key", "x"),)],
)
async def test_credential_beside_the_signature_is_one_too_many(
    harness: Harness, credential: Metadata
) -> None:
    """Nobody can be meant by two; on the internal listener credentials are never taken."""
    request = harness.request()
    error = await refusal(harness.public, METHOD, request, credential)
    assert error.code is Code.CREDENTIAL_AMBIGUOUS
    error = await refusal(harness.internal, METHOD, request, credential)
    assert error.code is Code.CREDENTIAL_NOT_ACCEPTED
    assert (await submit(harness.public, request)).success


async def test_passport_says_nothing_for_a_signed_request(harness: Harness) -> None:
    """Nothing behind the edge believes that a signature was verified already."""
    passport = passport_metadata(harness.issuer.passport(harness.issuer.claims()))
    for channel in harness.channels:
        error = await refusal(channel, METHOD, harness.request(), passport)
        assert error.code is Code.CREDENTIAL_NOT_ACCEPTED
    unsigned = signed_pb2.SubmitCreateWalletRequest.FromString(harness.request())
    unsigned.signature = bytes(64)
    error = await refusal(harness.internal, METHOD, unsigned.SerializeToString())
    assert error.code is Code.SIGNATURE_INVALID
    assert not harness.script.served


async def test_page_must_be_the_projects(harness: Harness) -> None:
    """An origin counts on both listeners, and only one of it is taken, as of browser sessions."""
    for channel in harness.channels:
        assert (await submit(channel, harness.request(), (("origin", "https://pages.example"),))).success
        error = await refusal(channel, METHOD, harness.request(), (("origin", "https://other.example"),))
        assert error.code is Code.ORIGIN_NOT_ALLOWED
        for header in (("origin", "https://pages.example"), ("x-session-token", "e.y.J")):
            error = await refusal(channel, METHOD, harness.request(), (header, header))
            assert error.code is Code.CREDENTIAL_AMBIGUOUS


async def test_what_the_edge_refuses_uses_no_id_up(harness: Harness) -> None:
    """A request that came with a refusal is not looked at, and can be sent again."""
    request = harness.request()
    refused = status_from_error(invalid("payload", "is not base64")).SerializeToString()
    error = await refusal(harness.internal, METHOD, request, ((names.REFUSAL, refused),))
    assert error.code is Code.VALIDATION_ERROR
    assert (await submit(harness.internal, request)).success


async def test_idempotency_key_changes_nothing(harness: Harness) -> None:
    """The signed id is what a request is known by."""
    request, key = harness.request(), ((names.IDEMPOTENCY_KEY, "k"),)
    assert (await submit(harness.internal, request, key)).success
    assert (await submit(harness.internal, request, key)).status == "duplicate_request_id"
    assert (await submit(harness.internal, harness.request(), key)).success


async def test_limits_are_counted_once_and_shown(harness: Harness) -> None:
    """By key and by account, over both listeners, and told beside every answer."""
    remaining = []
    for channel in harness.channels:
        stub: Any = channel.unary_unary(METHOD)
        answer = stub(harness.request(), timeout=30.0)
        await answer
        trailing = dict(await answer.trailing_metadata())
        assert '"account-write"' in trailing[names.RATE_LIMIT]
        remaining.append(int(trailing[names.RATE_LIMIT_REMAINING]))
    assert remaining == [59, 58]
    for _ in range(58):
        assert (await submit(harness.public, harness.request())).success
    last = harness.request()
    error = await refusal(harness.public, METHOD, last)
    assert error.code is Code.RATE_LIMITED
    assert error.retry_after_seconds is not None
    harness.world.clock.time_ns += 61 * 10**9
    assert (await refusal(harness.public, METHOD, last)).code is Code.REQUEST_TIMESTAMP_SKEW
    assert (await submit(harness.public, harness.request())).success


async def test_refusal_of_a_key_that_may_not_is_not_counted_and_says_how_things_stand(
    harness: Harness,
) -> None:
    """As with any other credential: what it may not do takes nothing from what it may."""
    for _ in range(2):
        stub: Any = harness.public.unary_unary(METHOD)
        answer = stub(harness.request(), metadata=(("origin", "https://other.example"),), timeout=30.0)
        trailing = dict(await answer.trailing_metadata())
        assert await answer.code() is grpc.StatusCode.PERMISSION_DENIED
        assert trailing[names.RATE_LIMIT_REMAINING] == "60"


async def test_bad_credentials_beyond_their_limit_are_told_of_it_where_the_key_is_known(
    harness: Harness,
) -> None:
    """Whose key has ended reads what limit has nothing left, and not that he has calls to make."""
    assert (await submit(harness.public, harness.request())).success
    await harness.world.database.execute("UPDATE signer SET revoked = true")
    for _ in range(BAD_CREDENTIALS_PER_MINUTE_COUNT):
        error = await refusal(harness.public, METHOD, harness.request())
        assert error.code is Code.SESSION_INVALID
    known, stranger = harness.world.pair, key_pair("stranger")
    for harness.world.pair, figures in ((known, '"bad-credentials";r=0;t=60'), (stranger, None)):
        stub: Any = harness.public.unary_unary(METHOD)
        answer = stub(harness.request(), timeout=30.0)
        trailing = dict(await answer.trailing_metadata())
        assert await answer.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert trailing.get(names.RATE_LIMIT) == figures


async def test_fifty_connections_with_one_request_run_it_once(harness: Harness) -> None:
    """Whichever arrives first runs; each of the others is told what it did."""
    request = harness.request()
    address = f"127.0.0.1:{harness.server.public_port}"
    channels = [open_channel(address) for _ in range(50)]
    try:
        answers = await asyncio.gather(*(submit(channel, request) for channel in channels))
    finally:
        for channel in channels:
            await channel.close()
    assert len(harness.script.served) == 1
    [ran] = [answer for answer in answers if answer.success]
    told = [answer for answer in answers if not answer.success]
    assert {answer.status for answer in told} == {"duplicate_request_id"}
    assert {answer.original.processed_at_ns for answer in told} == {ran.processed_at_ns}


async def test_handlers_own_refusal_is_not_what_grpc_makes_of_it(harness: Harness) -> None:
    """What is no outcome reaches the caller by its code."""

    async def behave(request: object, context: object) -> object:
        raise SealgateError(Code.UNAVAILABLE, internal="for the log")

    harness.script.behaviours[METHOD] = behave
    assert (await refusal(harness.public, METHOD, harness.request())).code is Code.UNAVAILABLE


async def test_signed_method_that_nothing_runs_ends_the_start(
    database_factory: DatabaseFactory, short_directory: Path
) -> None:
    """A service that forgot the stage would otherwise serve everybody."""
    fresh = await database_factory("wallet")
    world = World(fresh, fresh.database, LooseClock(), Directory(fresh.database))
    with pytest.raises(MethodTableError, match="is signed"):
        build(world, Script(), short_directory, is_wired=False)


async def test_rejections_of_what_is_no_signed_method_end_the_start(
    database_factory: DatabaseFactory, short_directory: Path
) -> None:
    """A name written wrong would let refusals out as errors, off the record."""
    fresh = await database_factory("wallet")
    world = World(fresh, fresh.database, LooseClock(), Directory(fresh.database))
    wrong = {"/sealgate.wallet.v1.SignedRequestService/Place": Rejections({}, Status.ORDER_INVALID)}
    with pytest.raises(MethodTableError, match="Place is not signed"):
        build(world, Script(), short_directory, rejections=wrong)

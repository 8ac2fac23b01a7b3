"""Calls to other Sealgate processes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis.clock import SystemClock
from chassis.errors import Code, Detail, SealgateError
from chassis.ids import SystemIds
from chassis.limits import DEADLINE_RESERVE_SECONDS
from chassis.methods import CredentialKind
from chassis.rpc.client import call, open_channel
from chassis.rpc.context import RequestContext
from chassis.rpc.credentials import PresentedCredential
from chassis.rpc.deadline import deadline_after, remaining_seconds, request_budget_seconds
from chassis.rpc.exchange import RemoteExchanger
from chassis.rpc.pages import let_page_read
from chassis.rpc.signers import RemoteStandings
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import identity_pb2
from sealgate.auth.v1.identity_pb2_grpc import TokenKeyServiceStub
from sealgate.auth.v1.session_pb2 import GetCurrentSessionRequest
from sealgate.auth.v1.session_pb2_grpc import SessionServiceStub
from sealgate.common.v1.passport_pb2 import Passport
from services.auth.domain.exchange import CredentialKind as KeyKind
from services.auth.keys_client import RemoteKeys
from tests.contract.rpc_harness import ACCOUNT_ID, INTERNAL, OPEN, Harness, request_being_served, serving

EXCHANGE = "/sealgate.auth.v1.IdentityService/ExchangeCredential"
REQUEST_ID = uuid.UUID("0189abcd-0000-7000-8000-0000000000aa")
ACCOUNT = uuid.UUID(ACCOUNT_ID)
JWKS = identity_pb2.GetJsonWebKeySetRequest()
API_KEY = PresentedCredential(CredentialKind.ACCOUNT_API_KEY, "sk", None)


@pytest.fixture
async def peer(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    """The process that is called."""
    async with serving(clock, ids, short_directory) as running:
        yield running


async def test_call_carries_id_address_and_user_agent_of_the_request_it_serves(
    peer: Harness, clock: FakeClock
) -> None:
    """One request keeps its name and its origin over every hop."""
    served = RequestContext(REQUEST_ID, client_address="2001:db8::1", user_agent="curl/8")
    with request_being_served(served):
        await call(TokenKeyServiceStub(peer.internal).GetJsonWebKeySet, JWKS, clock)
    arrived = peer.script.served[0].context
    assert (arrived.request_id, arrived.client_address, arrived.user_agent) == (
        REQUEST_ID,
        "2001:db8::1",
        "curl/8",
    )


@pytest.mark.parametrize("user_agent", ["café", "\x00\x1f\x7f", "line\r\nbreak", "日本", "\udcff"])
async def test_call_goes_through_when_a_user_agent_is_not_ascii(
    peer: Harness, clock: FakeClock, user_agent: str
) -> None:
    """Anybody can send any user agent; it must not break the hops behind."""
    with request_being_served(RequestContext(REQUEST_ID, user_agent=user_agent)):
        await call(TokenKeyServiceStub(peer.internal).GetJsonWebKeySet, JWKS, clock)
    arrived = peer.script.served[0].context.user_agent
    assert len(arrived) == len(user_agent)
    assert arrived.isascii()
    assert arrived.isprintable()


async def test_call_acts_under_the_passport_when_it_is_given_one(peer: Harness, clock: FakeClock) -> None:
    """A passport goes along only when the caller says so."""
    passport = peer.as_session()[0][1]
    method = SessionServiceStub(peer.internal).GetCurrentSession
    await call(method, GetCurrentSessionRequest(), clock, passport=passport)
    with pytest.raises(SealgateError) as raised:
        await call(method, GetCurrentSessionRequest(), clock)
    assert raised.value.code is Code.API_KEY_REQUIRED


async def test_call_raises_what_the_peer_answered_when_it_refuses(peer: Harness, clock: FakeClock) -> None:
    """Code, details and pause arrive as the peer raised them."""
    details = (Detail("name", "must not be empty"),)

    async def refuse(request: Any, context: Any) -> identity_pb2.GetJsonWebKeySetResponse:  # noqa: ANN401
        raise SealgateError(Code.VALIDATION_ERROR, details=details, retry_after_seconds=3)

    peer.script.behaviours[OPEN] = refuse
    with pytest.raises(SealgateError) as raised:
        await call(TokenKeyServiceStub(peer.internal).GetJsonWebKeySet, JWKS, clock)
    error = raised.value
    assert (error.code, error.details, error.retry_after_seconds) == (Code.VALIDATION_ERROR, details, 3)


async def test_call_is_unavailable_by_name_when_nobody_listens(
    clock: FakeClock, short_directory: Path
) -> None:
    """A dead peer is UNAVAILABLE, and the log will name the call."""
    channel = open_channel(f"unix:{short_directory}/nobody.sock")
    with pytest.raises(SealgateError) as raised:
        await call(TokenKeyServiceStub(channel).GetJsonWebKeySet, JWKS, clock)
    assert raised.value.code is Code.UNAVAILABLE
    assert OPEN in raised.value.internal
    await channel.close()


async def test_call_ends_when_its_own_time_is_over(peer: Harness, clock: FakeClock) -> None:
    """`at_most_seconds` bounds a call that serves no request."""

    async def wait(request: Any, context: Any) -> identity_pb2.GetJsonWebKeySetResponse:  # noqa: ANN401
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    peer.script.behaviours[OPEN] = wait
    with pytest.raises(SealgateError) as raised:
        await call(TokenKeyServiceStub(peer.internal).GetJsonWebKeySet, JWKS, clock, at_most_seconds=0.1)
    assert raised.value.code is Code.DEADLINE_EXCEEDED


class Silence(grpc.GenericRpcHandler):
    """A peer that takes every call and answers none."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        async def wait(request: object, context: object) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        return grpc.unary_unary_rpc_method_handler(wait)


@pytest.fixture
async def silent(short_directory: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to such a peer."""
    server = grpc.aio.server(handlers=[Silence()])
    server.add_insecure_port(f"unix:{short_directory}/silent")
    await server.start()
    channel = open_channel(f"unix:{short_directory}/silent")
    yield channel
    await channel.close()
    await server.stop(None)


@pytest.mark.parametrize(
    "question",
    [
        lambda channel, clock: RemoteExchanger(channel, clock).exchange(API_KEY, None),
        lambda channel, clock: RemoteExchanger(channel, clock).passport_keys(),
        lambda channel, clock: RemoteStandings(channel, clock).standing(ACCOUNT),
        lambda channel, clock: RemoteKeys(channel, clock).resolve(bytes(32), KeyKind.ACCOUNT_API_KEY),
        lambda channel, clock: RemoteKeys(channel, clock).resolve_device(bytes(32)),
        lambda channel, clock: RemoteKeys(channel, clock).signer_facts(ACCOUNT, bytes(32)),
        lambda channel, clock: RemoteKeys(channel, clock).fence(ACCOUNT, 1),
    ],
    ids=["exchange", "passport keys", "standing", "API key", "device key", "signer", "fence"],
)
async def test_question_without_an_answer_in_time_leaves_nothing_in_doubt(
    silent: grpc.aio.Channel, clock: FakeClock, question: Callable[..., Awaitable[object]]
) -> None:
    """Whoever waited for it is told to try again, and not that something may have happened."""
    served = RequestContext(REQUEST_ID, deadline_ns=deadline_after(clock, 0.1))
    with request_being_served(served), pytest.raises(SealgateError) as raised:
        await question(silent, clock)
    assert raised.value.code is Code.UNAVAILABLE


async def test_call_is_not_made_when_no_time_is_left(peer: Harness, clock: FakeClock) -> None:
    """A request that has used up its budget asks nobody any more."""
    served = RequestContext(REQUEST_ID, deadline_ns=deadline_after(clock, DEADLINE_RESERVE_SECONDS))
    with request_being_served(served), pytest.raises(SealgateError) as raised:
        await call(TokenKeyServiceStub(peer.internal).GetJsonWebKeySet, JWKS, clock)
    assert raised.value.code is Code.DEADLINE_EXCEEDED
    assert peer.script.served == []


def test_remaining_time_is_the_budget_less_the_reserve(clock: FakeClock) -> None:
    """A further call gets what is left less 20 ms, or less when it asks for less."""
    assert remaining_seconds(clock, 3.0) == 3.0
    with request_being_served(RequestContext(REQUEST_ID, deadline_ns=deadline_after(clock, 2.0))):
        assert remaining_seconds(clock, 5.0) == pytest.approx(1.98)
        assert remaining_seconds(clock, 1.0) == 1.0
        clock.advance(seconds=1.5)
        assert remaining_seconds(clock, 5.0) == pytest.approx(0.48)
        clock.advance(seconds=1.5)
        with pytest.raises(SealgateError) as raised:
            remaining_seconds(clock, 5.0)
    assert raised.value.code is Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("asked", "given"), [(None, 5.0), (0.0, 0.0), (1.5, 1.5), (30.0, 30.0), (31.0, 30.0)]
)
def test_request_budget_is_the_callers_within_bounds(asked: float | None, given: float) -> None:
    """Five seconds unless the caller says otherwise, never more than thirty."""
    assert request_budget_seconds(asked) == given


async def test_remote_exchanger_asks_auth_for_a_passport(peer: Harness, clock: FakeClock) -> None:
    """Kind, text, origin, browser session and subject reach auth; the passport's own bytes come back."""
    passport = Passport(kid="k", claims=b"claims", signature=b"s" * 64)

    async def exchange(request: Any, context: Any) -> identity_pb2.ExchangeCredentialResponse:  # noqa: ANN401
        return identity_pb2.ExchangeCredentialResponse(passport=passport)

    peer.script.behaviours[EXCHANGE] = exchange
    exchanger = RemoteExchanger(peer.internal, clock)
    credential = PresentedCredential(CredentialKind.PROJECT_KEY, "sk_x", "https://a.example")
    assert Passport.FromString(await exchanger.exchange(credential, ACCOUNT_ID)) == passport
    asked = peer.script.served[0].request
    assert (asked.kind, asked.credential, asked.origin, asked.subject_account_id) == (
        CredentialKind.PROJECT_KEY,
        "sk_x",
        "https://a.example",
        ACCOUNT_ID,
    )
    await exchanger.exchange(PresentedCredential(CredentialKind.PROJECT_KEY, "sk_x", None), None)
    asked = peer.script.served[1].request
    assert not asked.HasField("origin")
    assert not asked.HasField("session_token")
    assert not asked.HasField("subject_account_id")
    kind = CredentialKind.ACCOUNT_API_KEY
    await exchanger.exchange(PresentedCredential(kind, "sk_x", "https://a.example", "e.y.J"), None)
    assert peer.script.served[2].request.session_token == "e.y.J"


@pytest.mark.parametrize("is_good", [True, False])
async def test_remote_exchanger_hands_on_what_auth_says_to_the_page(
    peer: Harness, clock: FakeClock, *, is_good: bool
) -> None:
    """Auth knows whose a credential is also when it refuses it, and so which page may read the refusal."""

    async def exchange(request: Any, context: Any) -> identity_pb2.ExchangeCredentialResponse:  # noqa: ANN401
        let_page_read(request.origin)
        if not is_good:
            raise SealgateError(Code.API_KEY_REVOKED)
        return identity_pb2.ExchangeCredentialResponse()

    peer.script.behaviours[EXCHANGE] = exchange
    served = RequestContext(REQUEST_ID)
    credential = PresentedCredential(CredentialKind.ACCOUNT_API_KEY, "sk_x", "https://a.example")
    with request_being_served(served), suppress(SealgateError):
        await RemoteExchanger(peer.internal, clock).exchange(credential, None)
    assert served.answer_headers == {"access-control-allow-origin": "https://a.example"}


async def test_remote_exchanger_is_unavailable_when_auth_does_not_answer_in_time(
    peer: Harness, clock: FakeClock
) -> None:
    """Nothing has happened yet, so the caller hears that it may try again, not that who knows what did."""

    async def wait(request: Any, context: Any) -> identity_pb2.ExchangeCredentialResponse:  # noqa: ANN401
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    peer.script.behaviours[EXCHANGE] = wait
    exchanger = RemoteExchanger(peer.internal, clock, at_most_seconds=0.1)
    with pytest.raises(SealgateError) as raised:
        await exchanger.exchange(PresentedCredential(CredentialKind.PROJECT_KEY, "sk_x", None), None)
    assert raised.value.code is Code.UNAVAILABLE
    assert raised.value.retry_after_seconds == 1


async def test_remote_exchanger_fetches_auths_keys(peer: Harness, clock: FakeClock) -> None:
    """Public keys come by name."""

    async def keys(request: Any, context: Any) -> identity_pb2.ListPassportKeysResponse:  # noqa: ANN401
        key = identity_pb2.PassportKey(kid="k", public_key=b"p" * 32)
        return identity_pb2.ListPassportKeysResponse(keys=[key])

    peer.script.behaviours[INTERNAL] = keys
    assert await RemoteExchanger(peer.internal, clock).passport_keys() == {"k": b"p" * 32}


async def test_channel_waits_for_a_busy_peer_when_it_connects() -> None:
    """A peer that takes a moment over its handshake is not called unavailable."""
    finished = asyncio.Event()

    async def greet_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Nothing that can be awaited says "300 ms without a greeting"; gRPC gave up after 50 ms once.
        greeting = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, greeting.set)
        await greeting.wait()
        writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")  # SETTINGS
        await finished.wait()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet_late, "127.0.0.1", 0)
    channel = open_channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    stub: Any = channel.unary_unary(OPEN)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub(b"", timeout=3.0)
    # It connected and sent the call, which this peer never answers.
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await channel.close()
    finished.set()
    server.close()
    await server.wait_closed()


async def test_channel_finds_its_peer_again_when_it_was_restarted(short_directory: Path) -> None:
    """A restarted peer is reached within a second, over the same channel."""
    clock = SystemClock()
    ids = SystemIds(clock)
    async with serving(clock, ids, short_directory) as first:
        address = first.internal_address.removeprefix("unix:")
        link = short_directory / "restarted.sock"
        link.symlink_to(address)
        channel = open_channel(f"unix:{link}")
        stub: Any = channel.unary_unary(OPEN)
        assert await stub(b"", timeout=30) == b""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub(b"", timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    async with serving(clock, ids, short_directory) as second:
        link.unlink()
        link.symlink_to(second.internal_address.removeprefix("unix:"))
        assert await stub(b"", timeout=30, wait_for_ready=True) == b""
    await channel.close()

"""The client against the platform: every call of both kinds, over good lines and bad ones."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import httpx
import pytest

from sealgate.client import (
    AccountStatus,
    AmountUnits,
    ApiKeyRevoked,
    AsyncSealgate,
    IdempotencyConflict,
    JsonWebKeySet,
    KeyLimitReached,
    OrderNotFound,
    OrderStatus,
    OrderType,
    ProjectStatus,
    RetryPolicy,
    Sealgate,
    SealgateError,
    SessionInvalid,
    SessionPolicy,
    Side,
    TransportError,
    Unavailable,
    UnexpectedAnswerError,
    WalletNotFound,
    operations,
)
from sealgate.client.core import Operation
from sealgate.client.machine import Machine, SystemMachine
from sealgate.wallet.v1 import operator_pb2
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub
from tests.client_support import (
    CUT,
    PASS,
    SEND_AWAY,
    SIGNING_CALLS,
    SWALLOW,
    Caller,
    StillMachine,
    bad_line,
)
from tests.cluster import Cluster, Tenant

pytestmark = pytest.mark.usefixtures("closing_clients")

ROUTES: Final = {value.name for value in vars(operations).values() if isinstance(value, Operation)}
KINDS: Final = [pytest.param(AsyncSealgate, id="async"), pytest.param(Sealgate, id="sync")]
Kind = type[AsyncSealgate] | type[Sealgate]


def address(cluster: Cluster) -> str:
    return str(cluster.http.base_url)


def port(cluster: Cluster) -> int:
    return cluster.http.base_url.port or 0


def caller(kind: Kind, url: str, machine: Machine | None = None, **credential: Any) -> Caller:  # noqa: ANN401
    return Caller(kind(url, machine=machine or StillMachine(), **credential))


async def walk_project(backend: Caller, created_at: datetime) -> None:
    """What a customer's backend does with its own project."""
    project = await backend.get_project()
    assert project.status is ProjectStatus.ACTIVE
    assert project.created_at == created_at
    policy = SessionPolicy(idle_timeout_seconds=600, absolute_cap_seconds=3600)
    changed = await backend.update_project(
        name="Renamed", allowed_origins=["https://shop.example"], session_policy=policy
    )
    assert (changed.name, changed.session_policy) == ("Renamed", policy)
    assert changed.allowed_origins == ("https://shop.example",)
    key = await backend.create_project_api_key(name="second")
    listed = await backend.list_project_api_keys()
    assert [item.name for item in listed] == ["", "second"]
    assert listed[1].last_used_at is None
    assert (await backend.delete_project_api_key(public_key=key.public_key)).deleted
    assert isinstance(await backend.get_json_web_key_set(), JsonWebKeySet)


async def walk_accounts(backend: Caller) -> str:
    """Accounts, their sessions and keys; gives the id of one."""
    account = await backend.create_account(metadata={"name": "Ada", "score": 1.5, "tags": [1, None]})
    assert account.metadata == {"name": "Ada", "score": 1.5, "tags": [1, None]}
    account_id = account.account_id
    assert await backend.get_account(account_id=account_id) == account
    assert account in await backend.list_accounts(limit=10)
    assert await backend.iter_accounts(page_size=1) == await backend.list_accounts()
    replaced = await backend.replace_account_metadata(account_id=account_id, metadata={})
    assert replaced.metadata == {}
    suspended = await backend.set_account_status(account_id=account_id, status=AccountStatus.SUSPENDED)
    assert suspended.status is AccountStatus.SUSPENDED
    await backend.set_account_status(account_id=account_id, status=AccountStatus.ACTIVE)
    session = await backend.create_session(account_id=account_id)
    second = await backend.refresh_session(account_id=account_id, session_id=session.session_id)
    assert [item.session_id for item in await backend.list_sessions(account_id=account_id)] == [
        second.session_id
    ]
    done = await backend.expire_session(account_id=account_id, session_id=second.session_id)
    assert done.expired is True
    done = await backend.expire_all_sessions(account_id=account_id)
    assert done.expired == 0
    with pytest.raises(SessionInvalid):
        await backend.with_session(second.session_token).get_current_session()
    return str(account_id)


async def walk_keys(backend: Caller, account_id: str) -> Caller:
    """Keys of an account, made by its backend and by itself; gives calls with one."""
    made = await backend.create_account_api_key(account_id=account_id, name="bot", subaccount_index=0)
    assert made.subaccount_index == 0
    narrowed = await backend.update_account_api_key(
        account_id=account_id, public_key=made.public_key, scopes=["wallet:read"]
    )
    assert narrowed.scopes == ("wallet:read",)
    rotated = await backend.rotate_account_api_key(
        account_id=account_id, public_key=made.public_key, overlap_seconds=60
    )
    listed = await backend.list_account_api_keys(account_id=account_id)
    assert rotated.public_key in {item.public_key for item in listed}
    await backend.delete_account_api_key(account_id=account_id, public_key=rotated.public_key)
    with pytest.raises(ApiKeyRevoked):
        await backend.with_api_key(rotated.secret_key).list_wallets()
    session = await backend.create_session(account_id=account_id)
    user = backend.with_session(session.session_token)
    current = await user.get_current_session()
    assert (current.authenticated, current.credential_id) == (True, session.session_id)
    own = await user.create_api_key(name="own", origins=[], expires_at=datetime(2027, 1, 1, tzinfo=UTC))
    assert own.expires_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert own.public_key in {item.public_key for item in await user.list_api_keys()}
    assert (await user.update_api_key(public_key=own.public_key, name="mine")).name == "mine"
    further = await user.create_api_key()
    assert (await user.delete_api_key(public_key=further.public_key)).deleted
    assert (await user.expire_current_session()).expired
    return user.with_api_key(own.secret_key)


async def walk_wallets(cluster: Cluster, user: Caller) -> str:
    """Wallets and what is in them; gives the id of one with money."""
    [wallet] = await user.list_wallets()
    assert wallet.chains["POL"].address.startswith("0x")
    assert [item.wallet_id for item in await user.list_chain_wallets()] == [wallet.wallet_id]
    assert await user.get_wallet(wallet_id=wallet.wallet_id) == wallet
    second = await user.create_wallet(name="Savings", subaccount_index=0)
    assert (await user.update_wallet(wallet_id=second.wallet_id, name="Trips")).name == "Trips"
    assert (await user.delete_wallet(wallet_id=second.wallet_id)).deleted
    with pytest.raises(WalletNotFound):
        await user.get_wallet(wallet_id=second.wallet_id)
    for number, amount in enumerate(("100", "0.000001")):
        await cluster.deposit(wallet.wallet_id, amount, f"{wallet.wallet_id}/{number}")
    balance = await user.get_chain_balance(wallet_id=wallet.wallet_id)
    assert balance.balance["USDC"] == Decimal("100.000001")
    assert [item.total for item in balance.assets if item.asset == "USDC"] == [Decimal("100.000001")]
    assert await user.list_balances(wallet_id=wallet.wallet_id) == [balance]
    moved = await user.list_transfers(wallet_id=wallet.wallet_id)
    assert [str(item.amount) for item in moved] == ["0.000001", "100.000000"]
    assert await user.iter_transfers(wallet_id=wallet.wallet_id, page_size=1) == moved
    return str(wallet.wallet_id)


async def walk_trading(cluster: Cluster, user: Caller, wallet_id: str) -> None:
    """Markets, and an order from its placing to its end."""
    made = await OperatorServiceStub(cluster.internal["wallet"]).CreateMarket(
        operator_pb2.CreateMarketRequest(question="Will it rain?")
    )
    condition_id = made.market.condition_id
    market = await user.get_market(condition_id=condition_id)
    assert (market.tick, market.active, market.ends_at) == (Decimal("0.001"), True, None)
    assert market.condition_id in {item.condition_id for item in await user.list_markets(limit=1000)}
    assert market.condition_id in {item.condition_id for item in await user.iter_markets()}
    order = await user.place_order(
        wallet_id=wallet_id,
        token_id=market.left_token_id,
        side=Side.BUY,
        type=OrderType.LIMIT,
        amount=Decimal(10),
        units=AmountUnits.SHARES,
        price=Decimal("0.4"),
    )
    assert (order.status, order.price, order.expires_at) == (OrderStatus.OPEN, Decimal("0.4"), None)
    book = await user.get_book(condition_id=condition_id)
    assert [(level.price, level.shares) for level in book.bids] == [(Decimal("0.4"), 10)]
    quote = await user.quote_order(
        wallet_id=wallet_id,
        token_id=market.left_token_id,
        side=Side.BUY,
        amount="5",
        units=AmountUnits.USDC,
    )
    assert (quote.amount, quote.best_price) == (0, 0)
    where = {"wallet_id": wallet_id}
    assert await user.get_order(order_id=order.order_id, **where) == order
    for name in ("orders", "active_orders"):
        [listed] = await getattr(user, f"list_{name}")(**where)
        assert (listed.order, listed.market.condition_id) == (order, condition_id)
        assert await getattr(user, f"iter_{name}")(**where) == [listed]
    assert (await user.cancel_order(order_id=order.order_id, **where)).order_id == order.order_id
    assert (await user.cancel_all_orders(**where)).order_ids == ()
    for name in ("trades", "positions"):
        assert await getattr(user, f"list_{name}")(**where) == []
        assert await getattr(user, f"iter_{name}")(**where) == []
    with pytest.raises(OrderNotFound):
        await user.get_order(order_id=wallet_id, **where)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_call_works_against_the_platform(cluster: Cluster, kind: Kind) -> None:
    """Each method of the client is called once at least and means what its model says."""
    _, project_key = await cluster.project()
    backend = caller(kind, address(cluster), project_key=project_key)
    # Its time as it is now: other tests of the same platform move it.
    now = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=cluster.clock.now_ns() // 1000)
    await walk_project(backend, now)
    account_id = await walk_accounts(backend)
    user = await walk_keys(backend, account_id)
    wallet_id = await walk_wallets(cluster, user)
    await walk_trading(cluster, user, wallet_id)
    assert {name for name in user.called if not name.startswith("iter_")} == ROUTES - SIGNING_CALLS
    await backend.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fates", "pauses"),
    [
        ([CUT, CUT, PASS], [0.05, 0.1]),
        ([SWALLOW, PASS], [0.05]),
        ([SEND_AWAY, SWALLOW, SEND_AWAY, PASS], [7.05, 0.1, 7.2]),
    ],
)
async def test_call_over_a_bad_line_works_once(
    cluster: Cluster, tenant: Tenant, kind: Kind, fates: list[str], pauses: list[float]
) -> None:
    """However often a POST is sent, it has one effect, and its answer is that effect's."""
    machine = StillMachine()
    async with bad_line(port(cluster), *fates) as url:
        backend = caller(kind, url, machine, project_key=tenant.project_key)
        account = await backend.create_account(metadata={"name": "Ada"})
        facts = backend.client.last_answer
        await backend.close()
    assert machine.pauses == pytest.approx(pauses)
    assert facts.attempts_count == len(fates)
    assert facts.idempotent_replayed is (SWALLOW in fates)
    direct = caller(kind, address(cluster), project_key=tenant.project_key)
    accounts = await direct.list_accounts()
    assert [item.account_id for item in accounts] == [tenant.account_id, account.account_id]
    await direct.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_secret_of_a_lost_answer_is_said_to_be_omitted(
    cluster: Cluster, tenant: Tenant, kind: Kind
) -> None:
    """A key whose first answer was lost exists, and its secret is nowhere: the caller is told."""
    async with bad_line(port(cluster), SWALLOW, PASS) as url:
        backend = caller(kind, url, project_key=tenant.project_key)
        key = await backend.create_account_api_key(account_id=tenant.account_id)
        assert key.secret_key is None
        assert backend.client.last_answer.idempotent_omitted == ("secret_key",)
        assert len(await backend.list_account_api_keys(account_id=tenant.account_id)) == 1
        await backend.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_deletion_whose_answer_was_lost_is_said_to_be_doubtful(
    cluster: Cluster, tenant: Tenant, kind: Kind
) -> None:
    """The second attempt finds nothing: it is a 404 that says that it may be the first one's doing."""
    key = await cluster.api_key(tenant)
    async with bad_line(port(cluster), SWALLOW, PASS) as url:
        backend = caller(kind, url, project_key=tenant.project_key)
        with pytest.raises(SealgateError) as raised:
            await backend.delete_account_api_key(account_id=tenant.account_id, public_key=key["public_key"])
        await backend.close()
    assert raised.value.code == "API_KEY_NOT_FOUND"
    assert raised.value.maybe_done


@pytest.mark.parametrize("kind", KINDS)
async def test_call_fails_by_name_when_nobody_answers(cluster: Cluster, kind: Kind) -> None:
    """A dead line is a TransportError, and a platform that stays busy its own refusal."""
    async with bad_line(port(cluster), CUT) as url:
        calls = caller(kind, url, retry=RetryPolicy(attempts_count=3))
        with pytest.raises(TransportError) as raised:
            await calls.list_markets()
        assert raised.value.facts.attempts_count == 3
        await calls.close()
    calls = caller(kind, url)
    with pytest.raises(TransportError, match="ConnectError") as raised:
        await calls.list_markets()
    assert not raised.value.maybe_done
    await calls.close()
    async with bad_line(port(cluster), SEND_AWAY) as url:
        calls = caller(kind, url)
        with pytest.raises(SealgateError) as refused:
            await calls.get_json_web_key_set(timeout_seconds=10.0)
        assert (refused.value.code, refused.value.facts.attempts_count) == ("OVERLOADED", 2)
        assert not isinstance(refused.value, Unavailable)
        await calls.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_call_ends_in_time_when_the_answer_does_not_come(kind: Kind) -> None:
    """A server that takes the request and says nothing costs the call's time and no more."""
    heard: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: heard.append(writer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    policy = RetryPolicy(attempts_count=2, attempt_timeout_seconds=1.0)
    calls = caller(kind, url, retry=policy)
    with pytest.raises(TransportError, match="Timeout") as raised:
        await calls.list_markets()
    assert len(heard) == 2
    assert raised.value.maybe_done
    for writer in heard:
        writer.close()
    await calls.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_call_ends_in_time_when_the_answer_does_not_end(kind: Kind) -> None:
    """Neither does one that goes on saying something, each time soon enough."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        policy = RetryPolicy(attempts_count=1, attempt_timeout_seconds=1.0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        # On the machine's own time: it is the wire that takes it.
        calls = caller(kind, url, SystemMachine(), retry=policy)
        with pytest.raises(TransportError, match="Timeout") as raised:
            await calls.list_markets()
        assert raised.value.maybe_done
        await calls.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
async def test_answer_without_end_is_not_taken_in(kind: Kind, status: bytes) -> None:
    """What is longer than any answer of the platform's is given up, and not in the call's memory."""
    sent_bytes = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
        part = b" " * 2**20
        while not writer.is_closing() and sent_bytes < 2**28:
            writer.write(part)
            sent_bytes += len(part)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(pour, "127.0.0.1", 0) as server:
        calls = caller(kind, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(UnexpectedAnswerError):
            await calls.list_markets()
        await calls.close()
    assert sent_bytes < 2**27


@pytest.mark.parametrize("kind", KINDS)
async def test_packed_answer_is_not_unpacked(kind: Kind) -> None:
    """A few bytes that stand for any number of them stay a few: nothing packed is asked for, or read."""
    asked: list[bytes] = []
    body = gzip.compress(gzip.compress(b'{"success":true,"response":[]}'))

    async def pack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip\r\n")
        writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(pack, "127.0.0.1", 0) as server:
        calls = caller(kind, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(UnexpectedAnswerError):
            await calls.list_markets()
        await calls.close()
    [request] = asked
    assert b"accept-encoding: identity\r\n" in request.lower()


@pytest.mark.parametrize("kind", KINDS)
async def test_redirect_is_not_followed(kind: Kind) -> None:
    """A credential goes where the caller said and nowhere else."""
    asked: list[bytes] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
        calls = caller(kind, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(SealgateError, match="307"):
            await calls.list_markets()
        await calls.close()
    assert len(asked) == 1


async def test_own_key_of_the_caller_replays_and_conflicts(cluster: Cluster, tenant: Tenant) -> None:
    """A program that crashed repeats its call under the same key; another call under it is refused."""
    async with AsyncSealgate(address(cluster), project_key=tenant.project_key) as backend:
        first = await backend.create_account(metadata={"n": 1}, idempotency_key="job-1")
        again = await backend.create_account(metadata={"n": 1}, idempotency_key="job-1")
        assert again == first
        assert backend.last_answer.idempotent_replayed
        with pytest.raises(IdempotencyConflict):
            await backend.create_account(metadata={"n": 2}, idempotency_key="job-1")


async def test_client_closes_its_own_connections_only(cluster: Cluster) -> None:
    """One that was given stays open; a derived client leaves its origin's alone."""
    async with httpx.AsyncClient() as http:
        async with AsyncSealgate(address(cluster), http=http):
            pass
        assert not http.is_closed
    origin = AsyncSealgate(address(cluster))
    async with origin.with_api_key("sk_a"):
        pass
    await origin.list_markets()
    await origin.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await origin.list_markets()


async def test_figures_of_the_rate_limit_are_on_the_last_answer(cluster: Cluster, tenant: Tenant) -> None:
    """Each client has its own last answer; open routes count nothing."""
    async with AsyncSealgate(address(cluster), project_key=tenant.project_key) as backend:
        with pytest.raises(LookupError):
            backend.last_answer  # noqa: B018 - it is the property that raises
        await backend.get_project()
        first = backend.last_answer
        await backend.get_project()
        second = backend.last_answer
        assert first.rate_limit is not None
        assert second.rate_limit is not None
        assert second.rate_limit.remaining == first.rate_limit.remaining - 1
        assert first.rate_limit.limit > first.rate_limit.remaining
        other = backend.with_session("eyJ")
        await other.get_json_web_key_set()
        assert other.last_answer.rate_limit is None
        assert backend.last_answer is second


async def test_limit_that_is_reached_is_raised_by_its_code(cluster: Cluster, tenant: Tenant) -> None:
    """A refusal of the business is an exception that can be caught by name."""
    async with AsyncSealgate(address(cluster), project_key=tenant.project_key) as backend:
        for _ in range(50):
            await backend.create_account_api_key(account_id=tenant.account_id)
        with pytest.raises(KeyLimitReached):
            await backend.create_account_api_key(account_id=tenant.account_id)


async def test_hook_that_reads_the_answer_leaves_it_to_the_client(cluster: Cluster) -> None:
    """A caller's HTTP client may log what comes back; the call is answered all the same."""
    seen: list[int] = []

    async def look(answer: httpx.Response) -> None:
        seen.append(len(await answer.aread()))

    def look_at_once(answer: httpx.Response) -> None:
        seen.append(len(answer.read()))

    url = str(cluster.http.base_url)
    async with httpx.AsyncClient(event_hooks={"response": [look]}) as http:
        assert isinstance(await AsyncSealgate(url, http=http).list_markets(), list)
    with httpx.Client(event_hooks={"response": [look_at_once]}) as http_sync:
        listed = await asyncio.to_thread(Sealgate(url, http=http_sync).list_markets)
        assert isinstance(listed, list)
    assert len(seen) == 2

"""Rate limits in a real store: counted together, exact over races, and never waited for."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from chassis import shared_limits
from chassis.clock import SystemClock
from chassis.errors import Code, SealgateError
from chassis.limits import RATE_LIMIT_STORE_BUDGET_SECONDS
from chassis.ratelimit import Claim, Limit, RateLimiter
from chassis.rpc import context as request_context
from chassis.shared_limits import SharedRateLimiter
from chassis.testing.fakes import CountingIds, FakeClock
from tests.certificates import NAME, Certificates
from tests.store_server import StoreServer, store_server
from tests.store_time import follow_clock

WINDOW_NS: Final = 60 * 10**9
# Ample for a machine that has much to do: it is not the budget that these tests are about.
PATIENCE_SECONDS: Final = 20.0


@pytest.fixture(scope="module")
def running() -> Iterator[StoreServer]:
    with store_server() as server:
        yield server


@pytest.fixture
def store(running: StoreServer) -> StoreServer:
    """The module's server, as empty as a new one."""
    running.kill()
    running.start()
    return running


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """All the time that a loaded machine may need."""
    monkeypatch.setattr(shared_limits, "RATE_LIMIT_STORE_BUDGET_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock that the library's storage goes by as well."""
    fake = FakeClock()
    follow_clock(monkeypatch, fake)
    return fake


@asynccontextmanager
async def limiter(
    store: StoreServer,
    clock: FakeClock | SystemClock,
    *,
    audience: str = "test",
    refuses: bool = False,
    url: str | None = None,
) -> AsyncIterator[SharedRateLimiter]:
    """What one process has."""
    made = SharedRateLimiter(url or store.url, audience, clock, refuses=refuses)
    try:
        yield made
    finally:
        await made.close()


async def taken(limiter: RateLimiter, *claims: Claim) -> bool:
    return (await limiter.take(claims))[0]


def reads(count: int, holder: str = "somebody") -> Claim:
    return Claim(Limit.per_minute("read", count), holder)


@pytest.mark.usefixtures("patience")
async def test_processes_share_a_window(store: StoreServer, clock: FakeClock) -> None:
    """What one takes the other has less; the figures are those of both."""
    async with limiter(store, clock) as one, limiter(store, clock) as other:
        for left, process in ((2, one), (1, other), (0, one)):
            is_taken, (standing,) = await process.take([reads(3)])
            assert (is_taken, standing.remaining_count) == (True, left)
            assert standing.wait_ns == WINDOW_NS
        for process in (one, other):
            assert not await taken(process, reads(3))
            (standing,) = await process.look([reads(3)])
            assert standing.remaining_count == 0
        assert one.decisions_without_store_count == other.decisions_without_store_count == 0


@pytest.mark.usefixtures("patience")
async def test_place_is_free_again_a_minute_after_it_was_taken(store: StoreServer, clock: FakeClock) -> None:
    """One at a time, as each was taken, and the wait says when, to a tenth of a millisecond."""
    async with limiter(store, clock) as one, limiter(store, clock) as other:
        assert await taken(one, reads(2))
        clock.advance(seconds=10)
        assert await taken(other, reads(2))
        clock.advance(seconds=20)
        is_taken, (standing,) = await one.take([reads(2)])
        assert not is_taken
        assert abs(standing.wait_ns - 30 * 10**9) <= 10**5
        clock.advance_ns(standing.wait_ns + 10**6)
        assert await taken(one, reads(2))
        assert not await taken(other, reads(2))


@pytest.mark.usefixtures("patience")
async def test_race_never_takes_more_than_the_limit(store: StoreServer, clock: FakeClock) -> None:
    """Eighty calls at once over two processes, fifty places: fifty, and every claim of each or a refusal."""
    own, shared = reads(50, "key"), Claim(Limit.per_minute("account-read", 500), "account")
    async with limiter(store, clock) as one, limiter(store, clock) as other:
        answers = await asyncio.gather(*((one, other)[n % 2].take([own, shared]) for n in range(80)))
        assert sum(is_taken for is_taken, _ in answers) == 50
        (_, account) = await one.look([own, shared])
        # Who lost the race for the credential's last places took none of the account's.
        assert account.remaining_count == 500 - 50
        assert not await taken(other, own, shared)
        (_, account) = await other.look([own, shared])
        assert account.remaining_count == 500 - 50


@pytest.mark.usefixtures("patience")
async def test_wait_is_told_within_the_window_whatever_another_clock_says(
    store: StoreServer, clock: FakeClock
) -> None:
    """A place that another process took is free again in a minute at most, and never in the past."""
    slow, fast = FakeClock(), FakeClock()
    slow.advance_ns(clock.now_ns() - slow.now_ns())
    fast.advance_ns(clock.now_ns() + 2 * WINDOW_NS - fast.now_ns())
    clock.advance(seconds=30)
    async with limiter(store, clock) as one:
        assert await taken(one, reads(2))
    for other, wait_ns in ((slow, WINDOW_NS), (fast, 0)):
        async with limiter(store, other) as process:
            (standing,) = await process.look([reads(2)])
            assert (standing.remaining_count, standing.wait_ns) == (1, wait_ns)


@pytest.mark.usefixtures("patience")
async def test_who_loses_the_race_for_the_last_place_is_told_to_wait_for_it(
    store: StoreServer, clock: FakeClock
) -> None:
    """As long as the place is taken, although it was free when he looked."""
    async with limiter(store, clock) as one, limiter(store, clock) as other:
        answers = await asyncio.gather(*((one, other)[n % 2].take([reads(1)]) for n in range(20)))
        assert sum(is_taken for is_taken, _ in answers) == 1
        for _, (standing,) in answers:
            assert standing.remaining_count == 0
            assert abs(standing.wait_ns - WINDOW_NS) <= 10**5


@pytest.mark.usefixtures("patience")
async def test_race_for_a_full_account_costs_each_call_one_place_at_most(
    store: StoreServer, clock: FakeClock
) -> None:
    """Of the credential's own; the account's figure is never exceeded."""
    own, shared = reads(500, "key"), Claim(Limit.per_minute("account-read", 10), "account")
    async with limiter(store, clock) as one, limiter(store, clock) as other:
        answers = await asyncio.gather(*((one, other)[n % 2].take([own, shared]) for n in range(40)))
        assert sum(is_taken for is_taken, _ in answers) == 10
        (credential, account) = await one.look([own, shared])
        assert account.remaining_count == 0
        assert 500 - 40 <= credential.remaining_count <= 500 - 10


@pytest.mark.usefixtures("patience")
async def test_call_over_one_limit_takes_nothing_of_the_other(store: StoreServer, clock: FakeClock) -> None:
    """Neither a full account of the credential's, nor a full credential of the account's."""
    account = Claim(Limit.per_minute("account-read", 3), "account")
    async with limiter(store, clock) as one:
        for _ in range(3):
            assert await taken(one, reads(5), account)
        for _ in range(4):
            is_taken, (own, of_account) = await one.take([reads(5), account])
            assert (is_taken, own.remaining_count, of_account.remaining_count) == (False, 2, 0)


@pytest.mark.usefixtures("patience")
async def test_deployments_counts_and_holders_have_windows_of_their_own(
    store: StoreServer, clock: FakeClock
) -> None:
    """In one store: another audience, another limit of the same name, another holder."""
    async with limiter(store, clock) as one, limiter(store, clock, audience="other") as other:
        assert [await taken(one, reads(1)) for _ in range(2)] == [True, False]
        assert await taken(one, reads(2))
        assert await taken(one, reads(1, "somebody else"))
        assert await taken(other, reads(1))


@pytest.mark.usefixtures("patience")
async def test_user_needs_the_rights_that_the_page_names(store: StoreServer, clock: FakeClock) -> None:
    """And a password with everything in it that is special in a URL."""
    page = (Path(__file__).parents[2] / "docs" / "rate-limits.md").read_text(encoding="utf-8")
    (rights,) = re.findall(r"`(~sealgate:\*[^`]*)`", page)
    store.kill()
    store.start("--user", "sealgate", "on", ">p/w#?@:%", *rights.split())
    url = store.url.replace("://", "://sealgate:p%2Fw%23%3F%40%3A%25@").replace("/0", "/1")
    async with limiter(store, clock, url=url) as one:
        assert [await taken(one, reads(1)) for _ in range(2)] == [True, False]
        await one.watch()
        assert (one.is_store_up, one.decisions_without_store_count) == (True, 0)


@asynccontextmanager
async def behind_tls(store: StoreServer, certificates: Certificates) -> AsyncIterator[int]:
    """The store behind a port that speaks TLS; the wheel's server does not by itself."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", store.port)
        await asyncio.gather(carry(reader, store_writer), carry(store_reader, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.chain, certificates.key)
    async with await asyncio.start_server(join, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
async def test_store_is_asked_over_tls_when_its_certificate_holds(
    store: StoreServer,
    clock: FakeClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    """By the system's roots, or those of SSL_CERT_FILE; one of another root, or for another name, is away."""
    certificates = Certificates(tmp_path)
    async with behind_tls(store, certificates) as port:
        url = f"{scheme}://{NAME}:{port}/0"
        async with limiter(store, clock, url=url) as stranger:
            await stranger.watch()
            assert not stranger.is_store_up
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.root))
        async with limiter(store, clock, url=url) as one:
            assert [await taken(one, reads(1)) for _ in range(2)] == [True, False]
            await one.watch()
            assert (one.is_store_up, one.decisions_without_store_count) == (True, 0)
        async with limiter(store, clock, url=url.replace(NAME, "127.0.0.1")) as other_name:
            await other_name.watch()
            assert not other_name.is_store_up


@pytest.mark.usefixtures("patience")
async def test_empty_store_counts_from_nothing_and_needs_no_restart(
    store: StoreServer, clock: FakeClock
) -> None:
    """Restarted without its data it has the scripts no more, which are loaded again."""
    async with limiter(store, clock) as one:
        await asyncio.gather(*(one.take([reads(20)]) for _ in range(20)))
        assert not await taken(one, reads(20))
        store.kill()
        store.start()
        await one.watch()
        await one.watch()
        assert one.is_store_up
        assert [await taken(one, reads(1)) for _ in range(2)] == [True, False]
        assert one.decisions_without_store_count == 0


async def spoil(store: StoreServer, how: str) -> None:
    """Makes the store useless in one of the ways there are."""
    if how == "killed":
        store.kill()
    elif how == "hanging":
        store.hang()
    else:
        settings = {
            "read-only": ("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "yes"),
            "away from its primary": ("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no"),
            "full": ("--maxmemory", "1"),
            "asking for a password": ("--requirepass", "another"),
        }
        store.kill()
        store.start(*settings[how])


WAYS: Final = (
    "killed",
    "hanging",
    "read-only",
    "away from its primary",
    "full",
    "asking for a password",
)


@pytest.mark.parametrize("how", WAYS)
async def test_store_that_is_no_use_is_done_without(store: StoreServer, how: str) -> None:
    """Every call is decided by the process itself; told so, and back to the store when that is well again."""
    clock = SystemClock()
    async with limiter(store, clock) as one:
        await until_up(one)
        await spoil(store, how)
        for _ in range(20):
            await one.take([reads(1000, "warm")])
        assert not one.is_store_up
        before = one.decisions_without_store_count
        assert before > 0
        assert [await taken(one, reads(2, "alone")) for _ in range(3)] == [True, True, False]
        assert one.decisions_without_store_count == before + 3
        await one.watch()
        assert not one.is_store_up
        store.kill()
        store.start()
        await until_up(one)


@pytest.mark.parametrize("how", WAYS)
async def test_strict_process_refuses_while_the_store_is_no_use(store: StoreServer, how: str) -> None:
    """With UNAVAILABLE and a pause: rather nobody than more than the limit."""
    async with limiter(store, SystemClock(), refuses=True) as one:
        await until_up(one)
        await spoil(store, how)
        codes = []
        for ask in (one.take, one.take, one.look):
            with pytest.raises(SealgateError) as refused:
                await ask([reads(2)])
            codes.append((refused.value.code, refused.value.retry_after_seconds))
        assert codes == [(Code.UNAVAILABLE, 1)] * 3
        assert one.decisions_without_store_count == 3
        store.kill()
        store.start()
        await until_up(one)


async def until_up(one: SharedRateLimiter) -> None:
    """Returns when the store is used; asks as often as it takes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not one.is_store_up:
        assert time.monotonic() < deadline, "the store did not come back"
        await one.watch()


async def test_hanging_store_costs_no_request_more_than_the_budget(
    store: StoreServer, ids: CountingIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many at once wait once, side by side; whoever asks again or comes later waits no more."""
    assert RATE_LIMIT_STORE_BUDGET_SECONDS == 0.05
    # So much that what a loaded machine adds is little beside it.
    monkeypatch.setattr(shared_limits, "RATE_LIMIT_STORE_BUDGET_SECONDS", 1.0)
    async with limiter(store, SystemClock()) as one:
        await until_up(one)
        store.hang()

        async def request(number: int) -> float:
            served = request_context.RequestContext(ids.uuid7())
            request_context.enter(served)
            for _ in range(3):
                await one.take([reads(5, f"holder {number}"), reads(50, "account")])
            return served.store_waited_seconds

        waited = await asyncio.gather(*(asyncio.create_task(request(number)) for number in range(100)))
        assert 0.9 < max(waited) < 2
        began = time.monotonic()
        for number in range(200):
            await one.take([reads(5, f"later {number}")])
        assert time.monotonic() - began < 1
        store.resume()
        await until_up(one)


async def test_connections_to_a_store_that_failed_are_given_up(store: StoreServer) -> None:
    """All at once: where nothing says that they are dead, each would fail once more, a second apart."""
    async with limiter(store, SystemClock()) as one:
        await until_up(one)
        await asyncio.gather(*(one.take([reads(20), reads(30)]) for _ in range(10)))
        await until_up(one)
        store.hang()
        for _ in range(2):
            await one.watch()
        assert not any(connection.is_connected for connection in one._pool._available_connections)
        store.resume()
        await until_up(one)


async def test_slow_answers_count_as_none(store: StoreServer) -> None:
    """A store that takes longer than the budget for a question is as good as away."""
    store.kill()
    store.start("--enable-debug-command", "local")
    async with limiter(store, SystemClock()) as one:
        await until_up(one)
        sleeper = await asyncio.open_connection("127.0.0.1", store.port)
        # The server does one thing at a time: for two seconds this.
        sleeper[1].write(b"DEBUG SLEEP 2\r\n")
        await sleeper[1].drain()
        await one.take([reads(1000)])
        while one.is_store_up:
            await one.take([reads(1000)])
        assert one.decisions_without_store_count > 0
        sleeper[1].close()
        await until_up(one)


async def test_unreachable_store_is_found_when_it_comes(store: StoreServer) -> None:
    """Nothing waits for it at the start."""
    store.kill()
    async with limiter(store, SystemClock()) as one:
        assert await taken(one, reads(1))
        assert not one.is_store_up
        store.start()
        await until_up(one)
        assert await taken(one, reads(1))

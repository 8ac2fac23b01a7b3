"""How often a page may mint, and against whom bad browser sessions count, with the published figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from chassis.limits import BAD_CREDENTIALS_PER_MINUTE_COUNT, BROWSER_SESSION_PER_MINUTE_COUNT
from chassis.testing.databases import TemplateDatabases
from tests.cluster import Cluster
from tests.contract.channel_support import (
    HOUR_SECONDS,
    PAGE,
    TRANSPORTS,
    Answer,
    Caller,
    Page,
    make_page,
    told,
)
from tests.platform_support import make_world, narrow_front, private_cluster

MINT: Final = "CreateBrowserSession"
WALLETS: Final = "/api/v1/wallets"
MINTS_COUNT: Final = BROWSER_SESSION_PER_MINUTE_COUNT
BAD_COUNT: Final = BAD_CREDENTIALS_PER_MINUTE_COUNT


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    async with private_cluster(template_databases, short_directory, rate_limits={}) as running:
        yield running


@pytest.fixture
async def page(cluster: Cluster) -> Page:
    # A minute of its own, because tests share the client's address.
    cluster.clock.advance(seconds=60)
    return await make_page(await make_world(cluster))


async def test_key_mints_thirty_sessions_a_minute(caller: Caller, page: Page, cluster: Cluster) -> None:
    """The next is told when; reading and writing go on meanwhile, and so does another key's minting."""
    for left in reversed(range(MINTS_COUNT - 1)):
        answer = await caller.ask(MINT, page.reading)
        assert (answer.code, answer.headers["x-ratelimit-remaining"]) == ("OK", str(left))
    answer = await caller.ask(MINT, page.reading)
    assert (answer.code, answer.status, answer.page) == ("RATE_LIMITED", 429, PAGE)
    assert answer.headers["x-ratelimit-limit"] == str(MINTS_COUNT)
    assert (await caller.ask("CreateWallet", page.writing)).code == "OK"
    other = await make_page(page.world)
    assert (await caller.ask(MINT, other.reading)).code == "OK"
    cluster.clock.advance(seconds=60)
    assert (await caller.ask(MINT, page.reading)).code == "OK"


async def test_refused_mint_takes_nothing(caller: Caller, page: Page) -> None:
    """From an unlisted page, or from none, however often."""
    for _ in range(MINTS_COUNT):
        answer = await caller.ask(MINT, page.reading | {"origin": "https://evil.example"})
        assert answer.code == "ORIGIN_NOT_ALLOWED"
    assert (await caller.ask(MINT, page.reading)).code == "OK"


async def test_browser_sessions_that_are_none_are_counted_against_their_address(
    caller: Caller, page: Page
) -> None:
    """Past thirty a minute they are told to wait; not so good ones, missing ones, and what needs none."""
    bad = page.reading | {"x-session-token": "garbage"}
    for _ in range(BAD_COUNT):
        assert (await caller.ask("CreateWallet", bad)).code == "SESSION_INVALID"
    answer = await caller.ask("CreateWallet", bad)
    assert (answer.code, answer.status, answer.page) == ("RATE_LIMITED", 429, PAGE)
    # The key is known, so it is told, as of every limit, what it is that has none left.
    assert answer.headers["x-ratelimit-limit"] == str(BAD_COUNT)
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert answer.headers["ratelimit"] == '"bad-credentials";r=0;t=60'
    assert answer.headers["ratelimit-policy"] == f'"bad-credentials";q={BAD_COUNT};w=60'
    elsewhere = bad | {"origin": "https://evil.example"}
    assert (await caller.ask("CreateWallet", elsewhere)).code == "ORIGIN_NOT_ALLOWED"
    assert (await caller.ask("CreateWallet", page.writing)).code == "OK"
    assert (await caller.ask("CreateWallet", page.reading)).code == "SESSION_REQUIRED"
    assert (await caller.ask("ListWallets", bad)).code == "OK"
    assert (await caller.ask(MINT, bad)).code == "OK"


async def test_expired_browser_session_is_no_bad_credential(
    caller: Caller, page: Page, cluster: Cluster
) -> None:
    """A page that goes on after its hour is told so each time, and slows down nobody at its address."""
    cluster.clock.advance(seconds=HOUR_SECONDS)
    for _ in range(BAD_COUNT + 5):
        assert (await caller.ask("CreateWallet", page.writing)).code == "SESSION_EXPIRED"
    bad = page.reading | {"x-session-token": "garbage"}
    assert (await caller.ask("CreateWallet", bad)).code == "SESSION_INVALID"


async def test_missing_browser_session_is_no_bad_credential(caller: Caller, page: Page) -> None:
    """A page that forgets its token slows nobody down."""
    for _ in range(BAD_COUNT + 5):
        assert (await caller.ask("CreateWallet", page.reading)).code == "SESSION_REQUIRED"
    bad = page.reading | {"x-session-token": "garbage"}
    assert (await caller.ask("CreateWallet", bad)).code == "SESSION_INVALID"


async def bad_write(http: httpx.AsyncClient, page: Page, forwarded: str | None) -> Answer:
    """A write with a browser session that is none, as so many proxies hand it on."""
    headers = page.reading | {"x-session-token": "garbage"}
    if forwarded is not None:
        headers["x-forwarded-for"] = forwarded
    return told(await http.post("/api/v1/wallet", headers=headers))


@pytest.mark.parametrize(
    ("hops_count", "own", "others"),
    [
        (0, ("203.0.113.{0}", "203.0.113.{0}, 198.51.100.7"), ()),
        (1, ("203.0.113.{0}, 198.51.100.7",), ("198.51.100.7, 198.51.100.8", None)),
        (
            2,
            ("203.0.113.{0}, 198.51.100.7, 192.0.2.1", "198.51.100.7, 192.0.2.{0}"),
            ("198.51.100.7, 198.51.100.8, 192.0.2.1", "198.51.100.7"),
        ),
    ],
    ids=["no proxy", "one proxy", "two proxies"],
)
async def test_bad_browser_sessions_count_for_the_address_that_the_trusted_hops_say(
    cluster: Cluster, page: Page, hops_count: int, own: tuple[str, ...], others: tuple[str | None, ...]
) -> None:
    """Counted from the right, never the leftmost: what a client writes itself gives it no further tries.

    Where there are fewer entries than proxies, it is the one who connects.
    """
    async with narrow_front(cluster, trusted_hops_count=hops_count) as http:
        for number in range(BAD_COUNT):
            answer = await bad_write(http, page, own[number % len(own)].format(number))
            assert answer.code == "SESSION_INVALID"
        for forwarded in own:
            assert (await bad_write(http, page, forwarded.format(200))).code == "RATE_LIMITED"
        for other in others:
            assert (await bad_write(http, page, other)).code == "SESSION_INVALID"
        good = await http.get(WALLETS, headers=page.reading | {"x-forwarded-for": own[0].format(1)})
        assert good.status_code == 200


async def test_caller_of_grpc_has_the_address_that_it_connects_from(cluster: Cluster, page: Page) -> None:
    """Whatever its metadata says of others: there is no proxy of ours before that port."""
    caller = Caller(cluster, TRANSPORTS[1])
    bad = page.reading | {"x-session-token": "garbage"}
    for number in range(BAD_COUNT):
        claimed = {"x-forwarded-for": f"203.0.113.{number}", "sealgate-client-address": f"203.0.113.{number}"}
        assert (await caller.ask("CreateWallet", bad | claimed)).code == "SESSION_INVALID"
    claimed = {"x-forwarded-for": "203.0.113.250", "sealgate-client-address": "203.0.113.250"}
    assert (await caller.ask("CreateWallet", bad | claimed)).code == "RATE_LIMITED"

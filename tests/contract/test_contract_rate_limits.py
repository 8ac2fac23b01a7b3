"""Rate limits as the published figures have them, over REST and gRPC, on a platform of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest

from chassis.errors import SealgateError
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from sealgate.wallet.v1 import wallet_pb2
from sealgate.wallet.v1.wallet_pb2_grpc import WalletServiceStub
from tests.cluster import Cluster
from tests.platform_support import (
    BAD_TOKEN,
    RATE_HEADERS,
    UNKNOWN_ID,
    UNKNOWN_SECRET,
    World,
    good,
    make_world,
    narrow_front,
    private_cluster,
    refused,
)

WALLETS: Final = "/api/v1/wallets"
BAD_COUNT: Final = 30


@pytest.fixture(scope="module")
async def platform(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    async with private_cluster(template_databases, short_directory, rate_limits={}) as running:
        yield running


@pytest.fixture
async def world(platform: Cluster) -> World:
    # A minute of its own, because tests share the client's address.
    platform.clock.advance(seconds=60)
    return await make_world(platform)


def figures(answer: httpx.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in RATE_HEADERS}


async def together(calls: Sequence[Any]) -> list[httpx.Response]:
    """The answers to requests of which a few are on the way at once."""
    places = asyncio.Semaphore(8)

    async def in_turn(call: Any) -> httpx.Response:  # noqa: ANN401
        async with places:
            answer: httpx.Response = await call
            return answer

    return await asyncio.gather(*(in_turn(call) for call in calls))


async def test_read_over_the_limit_is_refused_until_retry_after_is_over(world: World) -> None:
    """300 a minute and credential, and after `Retry-After` one more, over REST and gRPC alike."""
    clock = world.cluster.clock
    good(await world.by_key("GET", WALLETS))
    clock.advance(seconds=12.5)
    answers = await together([world.by_key("GET", WALLETS) for _ in range(298)])
    assert sorted(int(answer.headers["x-ratelimit-remaining"]) for answer in answers) == list(range(1, 299))
    wallets = WalletServiceStub(world.cluster.public["wallet"])
    metadata = (("x-api-key", world.secret_key),)
    call: Any = wallets.ListWallets(wallet_pb2.ListWalletsRequest(), metadata=metadata)
    await call
    said = dict(await call.trailing_metadata())
    assert said["ratelimit"] == '"read";r=0;t=48, "account-read";r=2700;t=48'
    answer = await world.by_key("GET", WALLETS)
    refused(answer, 429, "RATE_LIMITED", retry_after="48")
    assert figures(answer) == {name: said[name] for name in RATE_HEADERS}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wallets.ListWallets(wallet_pb2.ListWalletsRequest(), metadata=metadata)
    over_grpc: SealgateError = error_from_rpc(caught.value, "")
    assert (over_grpc.code, over_grpc.retry_after_seconds) == ("RATE_LIMITED", 48)
    # Another credential of the account still reads.
    good(await world.by_session("GET", WALLETS))
    clock.advance(seconds=47.5)
    good(await world.by_key("GET", WALLETS))
    refused(await world.by_key("GET", WALLETS), 429, "RATE_LIMITED", retry_after="13")


async def test_every_answer_to_somebody_known_carries_the_figures(world: World) -> None:
    """Successes and refusals, whoever of us refuses; x-ratelimit-reset is wall-clock time."""
    now = world.cluster.clock.now_ns() // 10**9
    unknown_account = f"/api/v1/project/account/{UNKNOWN_ID}"
    taken = good(await world.by_project("POST", "/api/v1/project/api-key"), 201)["public_key"]
    good(await world.by_project("DELETE", f"/api/v1/project/api-key/{taken}"))
    for answer, status in (
        (await world.by_key("GET", WALLETS), 200),
        (await world.by_key("GET", f"/api/v1/wallet/{UNKNOWN_ID}"), 404),
        (await world.by_key("GET", WALLETS + "?unknown=1"), 400),
        (await world.by_key("POST", "/api/v1/wallet", {"name": 7}), 400),
        (await world.by_key("POST", "/api/v1/account/api-key", {}), 403),
        (await world.by_project("GET", WALLETS), 403),
        (await world.by_project("PUT", world.account("/metadata"), {}), 400),
        (await world.by_project("PUT", world.account("/metadata"), {"unknown": 1}), 400),
        (await world.by_project("GET", unknown_account), 404),
        (await world.by_project("PUT", f"{unknown_account}/metadata", {"unknown": 1}), 404),
        (await world.by_project("DELETE", f"/api/v1/project/api-key/{taken}"), 404),
    ):
        assert answer.status_code == status, answer.text
        assert figures(answer)["x-ratelimit-reset"] in (str(now), str(now + 60))


async def test_unreadable_request_counts_and_says_what_is_wrong(world: World) -> None:
    """As a good one; whoever may not call at all is not told what would be wrong with the call."""
    path = "/api/v1/wallet"
    for left in (59, 58, 57):
        answer = await world.by_key("POST", path, {"name": 7})
        refused(answer, 400, "VALIDATION_ERROR", paths=["name"])
        assert answer.headers["x-ratelimit-remaining"] == str(left)
    refused(await world.by_key("POST", "/api/v1/account/api-key", {"x": 1}), 403, "CREDENTIAL_NOT_ACCEPTED")
    bad = await world.cluster.rest("POST", path, json={"name": 7}, x_api_key=UNKNOWN_SECRET)
    refused(bad, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    wallets = good(await world.by_key("GET", WALLETS))
    assert [wallet["name"] for wallet in wallets] == [wallets[0]["name"]]


async def bad(http: httpx.AsyncClient, address: str | None = None) -> httpx.Response:
    """A request with a key that is nobody's; the rightmost entry of the header is `address`."""
    headers = {"x-api-key": UNKNOWN_SECRET}
    if address is not None:
        headers["x-forwarded-for"] = address
    return await http.get(WALLETS, headers=headers)


async def test_bad_credentials_are_told_to_wait_after_thirty(world: World) -> None:
    """The 31st is 429; a good credential always works; after the pause there is one more try."""
    cluster = world.cluster
    for _ in range(BAD_COUNT):
        refused(await bad(cluster.http), 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    refused(await bad(cluster.http), 429, "RATE_LIMITED", retry_after="60")
    # Whatever is wrong with it, and wherever it is shown from that address.
    refused(
        await cluster.rest("GET", WALLETS, authorization="Bearer nonsense"),
        429,
        "RATE_LIMITED",
        retry_after="60",
    )
    for service in ("wallet", "auth"):
        stub: Any = cluster.public[service].unary_unary(
            "/sealgate.auth.v1.SessionService/GetCurrentSession"
            if service == "auth"
            else "/sealgate.wallet.v1.WalletService/ListWallets"
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(b"", metadata=(("x-api-key", UNKNOWN_SECRET),))
        assert error_from_rpc(caught.value, "").code == "RATE_LIMITED"
    good(await world.by_key("GET", WALLETS))
    cluster.clock.advance(seconds=59.5)
    refused(await bad(cluster.http), 429, "RATE_LIMITED", retry_after="1")
    cluster.clock.advance(seconds=0.5)
    refused(await bad(cluster.http), 401, "API_KEY_INVALID", challenge=BAD_TOKEN)


async def test_bad_credentials_count_for_the_address_that_our_own_proxy_saw(world: World) -> None:
    """Counted from the right by the trusted hops; what the client wrote before them changes nothing."""
    cluster = world.cluster
    async with narrow_front(cluster, trusted_hops_count=1) as http:
        for number in range(BAD_COUNT):
            answer = await bad(http, f"203.0.113.{number}, 198.51.100.7")
            refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
        over = await bad(http, "203.0.113.99, 198.51.100.7")
        refused(over, 429, "RATE_LIMITED", retry_after="60")
        # Another address behind the same proxy, and the proxy's own, are not affected.
        answer = await bad(http, "198.51.100.7, 198.51.100.8")
        refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
        refused(await bad(http), 401, "API_KEY_INVALID", challenge=BAD_TOKEN)


async def test_forwarded_address_is_ignored_when_no_proxy_is_trusted(world: World) -> None:
    """Whoever writes another address into each request is counted all the same."""
    cluster = world.cluster
    for number in range(BAD_COUNT):
        answer = await bad(cluster.http, f"203.0.113.{number}")
        refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    refused(await bad(cluster.http, "192.0.2.1"), 429, "RATE_LIMITED", retry_after="60")


async def test_refused_rights_are_no_bad_credential(world: World) -> None:
    """What a good credential may not do never slows its address down."""
    for _ in range(BAD_COUNT + 5):
        refused(await world.by_project("GET", WALLETS), 403, "CREDENTIAL_NOT_ACCEPTED")
    refused(await bad(world.cluster.http), 401, "API_KEY_INVALID", challenge=BAD_TOKEN)

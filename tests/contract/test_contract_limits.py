"""What there can be only so much of: sessions, keys, wallets, bytes, requests on the way, time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Final

import httpx
import pytest

from chassis.limits import (
    API_KEYS_PER_OWNER_COUNT,
    BODY_MAX_BYTES,
    HEADERS_MAX_BYTES,
    LIVE_SESSIONS_PER_ACCOUNT_COUNT,
    WALLETS_PER_ACCOUNT_COUNT,
)
from tests.cluster import Cluster
from tests.platform_support import World, account_held, good, make_world, narrow_front, raw_exchange, refused

PROJECT: Final = "/api/v1/project"
OWN_KEYS: Final = "/api/v1/account/api-key"
WALLETS: Final = "/api/v1/wallets"


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


async def fill(call: Callable[[], Awaitable[httpx.Response]], limit_count: int, code: str) -> None:
    """Calls until one more is refused: `limit_count` of all these calls, and those before, are good."""
    # No more at once than the service has connections: who waits too long for one is told so.
    places = asyncio.Semaphore(4)

    async def in_turn() -> httpx.Response:
        async with places:
            return await call()

    answers_ = await asyncio.gather(*(in_turn() for _ in range(limit_count + 2)))
    made = [answer for answer in answers_ if answer.status_code == 201]
    for answer in answers_:
        if answer.status_code != 201:
            refused(answer, 409, code)
    assert len(made) == limit_count


async def test_sessions_are_limited_to_100_live_ones_an_account(world: World) -> None:
    """100 live ones an account; refreshing needs no room, ending one makes some."""
    path = world.account("/session")
    await fill(
        lambda: world.by_project("POST", path), LIVE_SESSIONS_PER_ACCOUNT_COUNT - 1, "SESSION_LIMIT_REACHED"
    )
    fresh = good(await world.by_project("POST", f"{path}/{world.session_id}/refresh"))
    refused(await world.by_project("POST", path), 409, "SESSION_LIMIT_REACHED")
    good(await world.by_project("POST", f"{path}/{fresh['session_id']}/expire"))
    good(await world.by_project("POST", path), 201)


async def test_keys_are_limited_to_50_live_ones_an_owner(world: World) -> None:
    """50 live ones an account, and 50 a project."""
    path = world.account("/api-key")
    await fill(lambda: world.by_project("POST", path), API_KEYS_PER_OWNER_COUNT - 1, "KEY_LIMIT_REACHED")
    refused(await world.by_session("POST", OWN_KEYS), 409, "KEY_LIMIT_REACHED")
    good(await world.by_project("DELETE", f"{path}/{world.public_key}"))
    good(await world.by_session("POST", OWN_KEYS), 201)
    project_path = f"{PROJECT}/api-key"
    await fill(
        lambda: world.by_project("POST", project_path), API_KEYS_PER_OWNER_COUNT - 1, "KEY_LIMIT_REACHED"
    )


async def test_wallets_are_limited_to_64_an_account(world: World) -> None:
    """64 an account; deleting one makes room."""
    first = await world.wallet_id()
    path = "/api/v1/wallet"
    await fill(lambda: world.by_key("POST", path), WALLETS_PER_ACCOUNT_COUNT - 1, "WALLET_LIMIT_REACHED")
    good(await world.by_key("DELETE", f"{path}/{first}"))
    good(await world.by_key("POST", path), 201)


async def test_body_is_refused_from_its_first_byte_over_the_limit(world: World) -> None:
    """One byte more than 64 KiB, announced or in chunks; 64 KiB are read."""
    headers = {"x-project-api-key": world.tenant.project_key, "content-type": "application/json"}
    path = f"{PROJECT}/account"

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    fitting = b"{}".ljust(BODY_MAX_BYTES)
    for content in (fitting, chunks(fitting)):
        good(await world.cluster.http.post(path, content=content, headers=headers), 201)
    for content in (fitting + b" ", chunks(fitting + b" ")):
        answer = await world.cluster.http.post(path, content=content, headers=headers)
        refused(answer, 413, "PAYLOAD_TOO_LARGE")


async def test_request_head_is_refused_beyond_its_limit(world: World) -> None:
    """Beyond 32 KiB in one header, in many, or in the path."""
    many = {f"x-filler-{number}": "a" * 900 for number in range(HEADERS_MAX_BYTES // 900)}
    for headers in ({"x-filler": "a" * HEADERS_MAX_BYTES}, many):
        refused(await world.cluster.http.get(PROJECT, headers=headers), 431, "HEADERS_TOO_LARGE")
    answer = await world.cluster.http.get("/" + "a" * HEADERS_MAX_BYTES)
    refused(answer, 431, "HEADERS_TOO_LARGE")


async def test_request_is_refused_at_once_when_too_many_are_on_the_way(world: World) -> None:
    """One more than may be on the way is refused at once, and told when to come again."""
    async with narrow_front(world.cluster, at_once_count=1) as http, account_held(world) as hold:
        front = replace(world, cluster=replace(world.cluster, http=http))
        first = asyncio.create_task(front.by_project("POST", world.account("/session")))
        await hold.until_waiting()
        refused(await front.by_project("GET", PROJECT), 503, "OVERLOADED", retry_after="1")
        # Another service's places are its own.
        good(await front.by_key("GET", WALLETS))
        first.cancel()


async def test_request_is_given_up_at_its_deadline(world: World) -> None:
    """A request that cannot be answered in its time is given up on, and says what that means."""
    async with narrow_front(world.cluster, route_timeout="0.4s") as http, account_held(world):
        front = replace(world, cluster=replace(world.cluster, http=http))
        refused(await front.by_project("POST", world.account("/session")), 504, "DEADLINE_EXCEEDED")


async def test_body_that_does_not_arrive_is_given_up_at_the_deadline(world: World) -> None:
    """A client that announces more than it sends takes nobody's place for longer than a request's time."""
    key = f"x-project-api-key: {world.tenant.project_key}"
    head = f"POST {PROJECT}/account HTTP/1.1\r\nhost: edge\r\n{key}\r\ncontent-length: 10\r\n\r\n{{"
    async with narrow_front(world.cluster, at_once_count=1, route_timeout="0.4s") as http:
        assert http.base_url.port is not None
        slow = asyncio.create_task(raw_exchange(http.base_url.port, head.encode()))
        front = replace(world, cluster=replace(world.cluster, http=http))
        good(await front.by_project("GET", PROJECT))
        (answer,) = await slow
    refused(answer, 504, "DEADLINE_EXCEEDED")

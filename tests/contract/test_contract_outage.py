"""A part that does not answer: a named 503, never a 401 for a good credential, never a false yes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from chassis.testing.databases import TemplateDatabases
from tests.cluster import Cluster
from tests.platform_support import (
    ANY_PAGE,
    BAD_TOKEN,
    UNKNOWN_SECRET,
    World,
    good,
    make_world,
    private_cluster,
    refused,
)

PROJECT: Final = "/api/v1/project"
CURRENT: Final = "/api/v1/account/session"
WALLETS: Final = "/api/v1/wallets"


@pytest.fixture
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of the test's own: its parts are stopped."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def unavailable(answer: httpx.Response) -> None:
    refused(answer, 503, "UNAVAILABLE", retry_after="1")


async def test_wallet_service_is_missed_by_its_own_routes_alone(world: World) -> None:
    """Everything else goes on, and the probe says that not all is well."""
    good(await world.by_key("GET", WALLETS))
    assert (await world.cluster.rest("GET", "/readyz")).json() == {"status": "ok"}
    await world.cluster.servers.pop("wallet").stop()
    unavailable(await world.by_key("GET", WALLETS))
    answer = await world.cluster.rest("GET", "/readyz")
    refused(answer, 503, "UNAVAILABLE", paths=["wallet"], retry_after="1", page=ANY_PAGE)
    assert (await world.cluster.rest("GET", "/healthz")).json() == {"status": "ok"}
    good(await world.by_key("GET", CURRENT))
    good(await world.by_project("POST", world.account("/session")), 201)
    # Who cannot say who they are is told so all the same.
    refused(
        await world.cluster.rest("GET", WALLETS, x_api_key=UNKNOWN_SECRET),
        401,
        "API_KEY_INVALID",
        challenge=BAD_TOKEN,
    )


async def test_keys_service_is_missed_by_keys_and_not_by_sessions(world: World) -> None:
    """A good key is not called bad because nobody can look it up; a revocation says that it is not whole."""
    await world.cluster.servers.pop("keys").stop()
    unavailable(await world.by_project("GET", PROJECT))
    unavailable(await world.by_key("GET", WALLETS))
    unavailable(await world.cluster.rest("GET", WALLETS, x_api_key=UNKNOWN_SECRET))
    good(await world.by_session("GET", WALLETS))
    assert good(await world.by_session("POST", f"{CURRENT}/expire")) == {"expired": True}
    refused(await world.by_session("GET", WALLETS), 401, "SESSION_INVALID", challenge=BAD_TOKEN)


async def test_auth_service_is_missed_by_everybody(world: World) -> None:
    """No identity outlives the request it was made for, and nobody is called a stranger."""
    for answer in await asyncio.gather(
        world.by_key("GET", WALLETS), world.by_session("GET", WALLETS), world.by_project("GET", PROJECT)
    ):
        good(answer)
    await world.cluster.servers.pop("auth").stop()
    unavailable(await world.by_project("GET", PROJECT))
    unavailable(await world.by_key("GET", WALLETS))
    unavailable(await world.by_session("GET", WALLETS))
    unavailable(await world.cluster.rest("GET", WALLETS, authorization="Bearer nonsense"))
    # What needs nobody to decide it is decided.
    answer = await world.cluster.rest("GET", WALLETS, authorization="Basic nonsense")
    refused(answer, 401, "SESSION_INVALID", challenge=BAD_TOKEN)
    refused(await world.by_project("GET", "/nowhere"), 404, "ROUTE_NOT_FOUND")

"""Who calls in the tests of the contract, unless a module says otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster import Cluster
from tests.contract.channel_support import TRANSPORTS, Caller
from tests.platform_support import World, make_world


@pytest.fixture
async def world(cluster: Cluster) -> World:
    """A project with one account, and one credential of each kind."""
    return await make_world(cluster)


@pytest.fixture(params=TRANSPORTS)
def caller(cluster: Cluster, request: pytest.FixtureRequest) -> Caller:
    """Every test that takes it runs over both transports."""
    return Caller(cluster, request.param)


@pytest.fixture
async def closing_clients() -> AsyncIterator[None]:
    """The client's connections end with the test, also when it fails."""
    # Imported here, so that only tests of the client pay for it.
    from tests.client_support import close_clients

    yield
    await close_clients()

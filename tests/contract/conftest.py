"""Who calls in the tests of the contract, unless a module says otherwise."""

from __future__ import annotations

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

"""The keys service and who calls it, for the tests of it that want nothing else."""

from __future__ import annotations

import pytest

from chassis.identity import Identity
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.keys_support import ACCOUNT, PROJECT, KeysWorld, open_keys


@pytest.fixture
async def keys(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> KeysWorld:
    """The service on a database of the test's own."""
    return await open_keys(database_factory, clock, ids, pool_size_count=20)


@pytest.fixture
def session(keys: KeysWorld) -> Identity:
    """The account by a session."""
    return keys.by_session(PROJECT, ACCOUNT)


@pytest.fixture
def project(keys: KeysWorld) -> Identity:
    """The account by its project's key."""
    return keys.by_project(PROJECT, ACCOUNT)

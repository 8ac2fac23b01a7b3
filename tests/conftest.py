"""Fixtures that need the whole platform."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chassis.testing.databases import DatabaseFactory, TemplateDatabases

if TYPE_CHECKING:
    from tests.cluster import Cluster, Tenant


@pytest.fixture(scope="session")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """The platform of this worker; tests keep apart by each making a project of its own."""
    # Imported here, so that a unit test does not pay for all services and the edge.
    from tests.cluster import run_cluster

    databases = DatabaseFactory(template_databases)
    directory = Path(tempfile.mkdtemp(prefix="c", dir=short_directory))
    async with run_cluster(databases, directory) as running:
        yield running
    await databases.close()


@pytest.fixture
async def tenant(cluster: Cluster) -> Tenant:
    """A project of the test's own, with one account."""
    return await cluster.tenant()

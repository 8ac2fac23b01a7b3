"""One Chromium for all these tests, and two sites whose pages it opens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.browser.desk import Desk, open_desk
from tests.browser.pages import BLANK, Browser
from tests.cluster import Cluster
from tools.demo_browser.chromium import MISSING, find_chromium, running
from tools.demo_browser.page_server import PageServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps these tests on one worker: they share a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """A browser without a window; the tests are skipped where there is none."""
    found = find_chromium()
    if found is None:
        pytest.skip(MISSING)
    with (
        tempfile.TemporaryDirectory(prefix="sealgate-chromium-") as profile,
        running(found, Path(profile)) as browser,
    ):
        yield browser


@pytest.fixture(scope="session")
def sites() -> Iterator[PageServer]:
    """Empty pages under two sites; a test puts others beside them."""
    with PageServer(port=0) as server:
        server.pages |= BLANK
        yield server


@pytest.fixture
def browser(chromium: Chrome) -> Browser:
    """The browser as a visitor's: nothing is left of what the last test's pages said."""
    return Browser.fresh(chromium)


@pytest.fixture
async def desk(cluster: Cluster, sites: PageServer) -> Desk:
    """An account with money, a market, and a key that lists the site `localhost` alone."""
    return await open_desk(cluster, origins=[sites.localhost])

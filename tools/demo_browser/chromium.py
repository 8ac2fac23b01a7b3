"""A Chromium without a window, driven over WebDriver; nothing of it reaches the network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

MISSING: Final = "there is no Chromium on this machine; `make browser` installs Debian's"
# Also how long a page's own requests may take on a busy machine.
PAGE_SECONDS: Final = 45.0
_FLAGS: Final = (
    "--headless=new",
    "--window-size=1280,1024",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # In containers it is often too small for a page's memory.
    "--disable-dev-shm-usage",
    # It wants a user that is not root and namespaces that containers do not give; the pages are our own.
    "--no-sandbox",
)


@dataclass(frozen=True, slots=True)
class Chromium:
    """Where the browser and its driver are."""

    browser: str
    driver: str


def find_chromium() -> Chromium | None:
    """Debian's Chromium and its driver; None unless both are there."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return Chromium(browser, driver) if browser and driver else None


@contextmanager
def running(chromium: Chromium, profile: Path) -> Iterator[Chrome]:
    """A browser with a new profile in `profile`, which keeps what its pages say and request.

    It ends with the block.
    """
    options = ChromeOptions()
    options.binary_location = chromium.browser
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Told where the driver is, Selenium looks for none elsewhere.
    browser = Chrome(options=options, service=ChromeService(executable_path=chromium.driver))
    try:
        browser.set_page_load_timeout(PAGE_SECONDS)
        browser.set_script_timeout(PAGE_SECONDS)
        yield browser
    finally:
        browser.quit()

"""Takes the README's picture of the example page: `python -m tools.demo_browser.screenshot FILE`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tools.demo_browser.chromium import MISSING, PAGE_SECONDS, find_chromium, running
from tools.demo_browser.stage import example_stage

WIDTH: Final = 1100


def main() -> None:
    """Shows the page with an order in the book, as somebody sees it who has just placed one."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit(MISSING)
    with (
        tempfile.TemporaryDirectory(prefix="sealgate-chromium-") as profile,
        example_stage(0) as stage,
        running(chromium, Path(profile)) as browser,
    ):
        browser.get(stage.page)
        _wait_for_status(browser, "Ready.")
        browser.find_element(By.ID, "place").click()
        _wait_for_status(browser, "The order is OPEN.")
        _fit(browser)
        if not browser.save_screenshot(sys.argv[1]):
            sys.exit(f"cannot write {sys.argv[1]}")


def _fit(browser: Chrome) -> None:
    """Gives the page as much room as it takes, whatever the window has around it."""
    screen = {"width": WIDTH, "height": 1, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen | {"height": height})


def _wait_for_status(browser: Chrome, text: str) -> None:
    WebDriverWait(browser, PAGE_SECONDS).until(lambda page: page.find_element(By.ID, "status").text == text)


if __name__ == "__main__":
    main()

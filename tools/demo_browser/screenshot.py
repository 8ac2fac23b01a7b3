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
from tools.demo_browser.page_server import PageServer
from tools.demo_browser.stage import example_stage

WIDTH: Final = 1100


def main() -> None:
    """Shows the page with two orders, of which the second was refused until the page had a new session."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit(MISSING)
    with (
        tempfile.TemporaryDirectory(prefix="sealgate-chromium-") as profile,
        PageServer(port=0) as server,
        example_stage(server) as stage,
        running(chromium, Path(profile)) as browser,
    ):
        browser.get(stage.page)
        _wait_for_status(browser, "Ready.")
        browser.find_element(By.ID, "place").click()
        _wait_for_status(browser, "The order is OPEN.")
        stage.end_sessions()
        browser.find_element(By.ID, "place").click()
        WebDriverWait(browser, PAGE_SECONDS).until(_has_two_orders)
        _fit(browser)
        if not browser.save_screenshot(sys.argv[1]):
            sys.exit(f"cannot write {sys.argv[1]}")


def _fit(browser: Chrome) -> None:
    """Gives the page as much room as it takes, whatever the window has around it."""
    screen = {"width": WIDTH, "height": 1, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen | {"height": height})


def _has_two_orders(page: Chrome) -> bool:
    listed = page.find_elements(By.CSS_SELECTOR, "#orders button")
    return len(listed) == 2 and page.find_element(By.ID, "place").is_enabled()


def _wait_for_status(browser: Chrome, text: str) -> None:
    WebDriverWait(browser, PAGE_SECONDS).until(lambda page: page.find_element(By.ID, "status").text == text)


if __name__ == "__main__":
    main()

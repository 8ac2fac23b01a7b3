"""The example of a web page in `docs/examples/browser`, used as a visitor uses it."""

from __future__ import annotations

import re
from typing import Final

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.browser.desk import Desk
from tests.browser.pages import Browser
from tools.demo_browser.page_server import EXAMPLE, PageServer, example_pages

HOUR_SECONDS: Final = 3600
CANCEL: Final = "#orders button"


@pytest.fixture
async def visitor(browser: Browser, sites: PageServer, desk: Desk) -> Browser:
    """Somebody before the page, in the market of this test's own."""
    sites.pages |= example_pages(desk.api, desk.secret)
    await browser.open(f"{sites.localhost}/")
    await browser.wait_for_text("status", "Ready.")
    await browser.wait_for(lambda page: choose(page, desk.market.condition_id))
    await browser.wait_for_text("book", "Nobody is waiting.")
    return browser


def choose(page: Chrome, condition_id: str) -> bool:
    """Takes a market from the list."""
    Select(page.find_element(By.ID, "market")).select_by_value(condition_id)
    return True


async def expires_at(visitor: Browser) -> str:
    """When the page believes that its session ends."""
    return str(await visitor.run("arguments[0](document.getElementById('session').dataset.expiresAt)"))


async def test_visitor_places_an_order_and_cancels_it(visitor: Browser, desk: Desk) -> None:
    """Every part of the page shows what the platform has; no script or style broke the page's own policy."""
    assert await visitor.text("available") == "1000"
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")
    assert await desk.bids() == ["0.500000"]
    assert (await visitor.text("book")).split() == ["10", "0.5"]
    assert await visitor.text("orders") == "BUY 10 Yes at 0.5 OPEN Cancel"
    assert (await visitor.text("available"), await visitor.text("held")) == ("995", "5")
    assert (await visitor.text("session")).startswith("Ends at ")
    for policy in ("read", "order", "browser-session"):
        assert re.fullmatch(rf"{policy}\s+\d+ of \d+", await visitor.text(f"limit-{policy}"))
    await visitor.click(CANCEL)
    await visitor.wait_for_text("status", "The order is cancelled.")
    assert await desk.bids() == []
    assert await visitor.text("orders") == "None."
    assert await visitor.text("available") == "1000"
    assert [line for line in await visitor.said() if "favicon.ico" not in line] == []


async def test_page_makes_another_session_when_its_hour_is_over(visitor: Browser, desk: Desk) -> None:
    """The visitor notices nothing but a new time: the order is placed, and once."""
    await visitor.click("#mint")
    await visitor.wait_for_text("status", "The page has a session.")
    first = await expires_at(visitor)
    desk.cluster.clock.advance(seconds=HOUR_SECONDS)
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")
    assert "401 SESSION_EXPIRED POST" in await visitor.text("calls")
    assert await expires_at(visitor) > first
    [bid] = (await desk.cluster.ok("GET", f"/api/v1/markets/{desk.market.condition_id}/book"))["bids"]
    assert bid == {"price": "0.500000", "shares": "10.000000"}


async def test_page_says_what_a_refusal_says(visitor: Browser, desk: Desk) -> None:
    """Which field is wrong and what would do is on the page, and so is the end of its key."""
    await visitor.run("document.getElementById('price').value = '0.12345'; arguments[0]()")
    await visitor.click("#place")
    await visitor.wait_for_text("status", "PRICE_OFF_TICK: ")
    await desk.delete_key()
    await visitor.click("#place")
    await visitor.wait_for_text("status", "API_KEY_REVOKED: ")


async def test_same_page_on_another_site_can_only_look_at_markets(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """What needs the key fails, and the page tells the visitor what is the matter."""
    sites.pages |= example_pages(desk.api, desk.secret)
    await browser.open(f"{sites.numeric}/")
    await browser.wait_for_text("status", "UNREADABLE: ")
    assert "does the key list its origin?" in await browser.text("status")
    await browser.click("#mint")
    await browser.wait_for(lambda page: "POST /api/v1/sessions" in page.find_element(By.ID, "calls").text)
    assert (await browser.text("session")).startswith("None yet.")


async def test_every_control_of_the_page_has_a_name(visitor: Browser) -> None:
    """Somebody who does not see the page is told what each field, button and meter is for."""
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")

    def unnamed(page: Chrome) -> list[str]:
        found = page.find_elements(By.CSS_SELECTOR, "input, select, button, meter, section, table")
        return [item.tag_name for item in found if not item.accessible_name]

    await visitor.wait_for(lambda page: unnamed(page) == [])
    language = await visitor.run("arguments[0](document.documentElement.lang)")
    assert language == "en"


def test_example_stays_short_and_brings_nothing_from_elsewhere() -> None:
    """What somebody reads in one sitting, with scripts and styles in files and no secret in any."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLE.iterdir()}
    assert sorted(texts) == ["index.html", "page.css", "page.js"]
    assert len(texts["page.js"].splitlines()) <= 250
    for text in texts.values():
        assert re.search(r"https?://|\bsk_\w|innerHTML|eval\(", text) is None
    assert re.search(r"<style|style=|<script>|\son\w+=", texts["index.html"]) is None

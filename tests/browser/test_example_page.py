"""The example of a web page in `docs/examples/browser`, used as a visitor uses it."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Final

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from sealgate.common.v1.method_rule_pb2 import RATE_CLASS_ORDER
from sealgate.common.v1.passport_pb2 import CredentialLimit
from sealgate.keys.v1.operator_pb2 import SetApiKeyLimitsRequest
from sealgate.keys.v1.operator_pb2_grpc import OperatorServiceStub
from tests.browser.desk import Desk
from tests.browser.pages import Browser
from tools.demo_browser.page_server import EXAMPLE, Page, PageServer, example_pages

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


def take(page: Chrome, name: str, text: str) -> bool:
    """Takes from another list what reads so."""
    Select(page.find_element(By.ID, name)).select_by_visible_text(text)
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
    assert re.fullmatch(r"Ends in (59|60) min\.", await visitor.text("session"))
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


async def test_page_over_its_limit_says_how_long_to_wait(visitor: Browser, desk: Desk) -> None:
    """Once, and in seconds; the meter is empty."""
    limit = CredentialLimit(rate_class=RATE_CLASS_ORDER, per_minute_count=1)
    keys = OperatorServiceStub(desk.cluster.internal["keys"])
    await keys.SetApiKeyLimits(SetApiKeyLimitsRequest(public_key=desk.public_key, limits=[limit]))
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")
    await visitor.click("#place")
    await visitor.wait_for_text("status", "RATE_LIMITED: ")
    assert re.fullmatch(r"RATE_LIMITED: Wait \d+ s and try again\.", await visitor.text("status"))
    assert (await visitor.text("limit-order")).endswith("0 of 1")


async def test_price_is_that_of_the_chosen_outcome_and_side(visitor: Browser, desk: Desk) -> None:
    """A bid for Yes at 0.4 is an offer of No at 0.6; where nobody waits the price is the middle."""
    await visitor.run("document.getElementById('price').value = '0.4'; arguments[0]()")
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")
    assert await desk.bids() == ["0.400000"]
    prices = {}
    for outcome in ("No", "Yes"):
        for side in ("Sell", "Buy"):
            await visitor.wait_for(partial(take, name="token", text=outcome))
            await visitor.wait_for(partial(take, name="side", text=side))
            prices[outcome, side] = await visitor.run("arguments[0](document.getElementById('price').value)")
    assert prices == {
        ("No", "Sell"): "0.6",
        ("No", "Buy"): "0.5",
        ("Yes", "Sell"): "0.5",
        ("Yes", "Buy"): "0.4",
    }


@pytest.mark.parametrize(
    "settings",
    [
        None,
        b"{",
        b"null",
        b'{"api": "localhost:8080", "apiKey": "sk_x"}',
        (EXAMPLE / "settings.example.json").read_bytes(),
    ],
)
async def test_page_without_settings_says_so_and_starts_when_they_are_there(
    browser: Browser, sites: PageServer, desk: Desk, settings: bytes | None
) -> None:
    """Whoever copied the example is told what is missing, and needs nothing but the page's own button."""
    pages = example_pages(desk.api, desk.secret)
    good = pages.pop("/settings.json")
    sites.pages.pop("/settings.json", None)
    if settings is not None:
        pages["/settings.json"] = Page("application/json", settings)
    sites.pages |= pages
    await browser.open(f"{sites.localhost}/")
    await browser.wait_for_text("status", "SETTINGS: ")
    assert "settings.example.json" in await browser.text("status")
    await browser.wait_for_text("place", "Try again")
    sites.pages["/settings.json"] = good
    await browser.click("#place")
    await browser.wait_for_text("status", "Ready.")
    await browser.wait_for_text("place", "Place the order")
    assert await desk.bids() == []


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
    assert sorted(texts) == ["index.html", "page.css", "page.js", "settings.example.json"]
    assert len(texts["page.js"].splitlines()) <= 270
    assert json.loads(texts.pop("settings.example.json")) == {
        "api": "http://127.0.0.1:8080",
        "apiKey": "sk_…",
    }
    for text in texts.values():
        assert re.search(r"https?://|\bsk_\w|innerHTML|eval\(", text) is None
    assert re.search(r"<style|style=|<script>|\son\w+=", texts["index.html"]) is None

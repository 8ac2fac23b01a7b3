"""The example of a web page in `docs/examples/browser`, used as a visitor uses it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from sealgate.common.v1.method_rule_pb2 import RATE_CLASS_ORDER
from tests.browser.desk import Desk
from tests.browser.line import CUT, HALVE, PASS, RUN_OUT, RUNNING, SWALLOW, Line, lossy_line
from tests.browser.pages import Browser
from tools.demo_browser.page_server import EXAMPLE, Page, PageServer, example_pages

HOUR_SECONDS: Final = 3600
CANCEL: Final = "#orders button"
ORDER: Final = "POST /api/v1/wallet/"


@pytest.fixture
async def visitor(browser: Browser, sites: PageServer, desk: Desk) -> Browser:
    """Somebody before the page, in the market of this test's own."""
    return await visit(browser, sites, desk, desk.api)


@pytest.fixture
async def line(desk: Desk) -> AsyncIterator[Line]:
    """Between the page and the platform, for `at_line`."""
    async with lossy_line(desk.cluster.http.base_url.port or 0) as line:
        yield line


@pytest.fixture
async def at_line(browser: Browser, sites: PageServer, desk: Desk, line: Line) -> Browser:
    """The same somebody, at the end of a line that can lose answers."""
    return await visit(browser, sites, desk, line.url)


async def visit(browser: Browser, sites: PageServer, desk: Desk, api: str) -> Browser:
    """Opens the page, with this address in its settings, and takes the test's own market."""
    sites.pages |= example_pages(api, desk.secret)
    await browser.open(f"{sites.localhost}/")
    await browser.wait_for_text("status", "Ready.")
    await browser.wait_for(lambda page: choose(page, desk.market.condition_id))
    await browser.wait_for(lambda page: page.find_element(By.ID, "place").is_enabled())
    assert await browser.text("book") == "Nobody is waiting."
    return browser


def choose(page: Chrome, condition_id: str) -> bool:
    """Takes a market from the list."""
    Select(page.find_element(By.ID, "market")).select_by_value(condition_id)
    return True


def take(page: Chrome, name: str, text: str) -> bool:
    """Takes from another list what reads so."""
    Select(page.find_element(By.ID, name)).select_by_visible_text(text)
    return True


def says(text: str) -> Callable[[Chrome], bool]:
    """Whether this is among what the page says."""
    return lambda page: text in page.find_element(By.ID, "status").text


def has_orders(count: int) -> Callable[[Chrome], bool]:
    """Whether the page lists so many open orders."""
    return lambda page: len(page.find_elements(By.CSS_SELECTOR, CANCEL)) == count


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
    await desk.limit(RATE_CLASS_ORDER, 1)
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")
    await visitor.click("#place")
    await visitor.wait_for_text("status", "RATE_LIMITED: ")
    assert re.fullmatch(r"RATE_LIMITED: Wait \d+ s and try again\.", await visitor.text("status"))
    assert (await visitor.text("limit-order")).endswith("0 of 1")


@pytest.mark.parametrize("fate", [CUT, SWALLOW, HALVE, RUN_OUT, RUNNING])
async def test_order_whose_answer_was_lost_is_placed_once(
    at_line: Browser, line: Line, desk: Desk, fate: str
) -> None:
    """Trying the same again finds out what became of it; what is asked after that is another order."""
    line.spoil(ORDER, fate)
    await at_line.click("#place")
    await at_line.wait_for(says("The order may have been placed. Trying the same again is safe."))
    assert await at_line.text("orders") == ("None." if fate == CUT else "BUY 10 Yes at 0.5 OPEN Cancel")
    await at_line.click("#place")
    await at_line.wait_for_text("status", "The order is OPEN.")
    assert await desk.resting() == ["10.000000"]
    await at_line.click("#place")
    await at_line.wait_for(has_orders(2))
    assert await desk.resting() == ["10.000000"] * 2


async def test_refusal_that_says_nothing_of_a_lost_answer_leaves_it_open(
    at_line: Browser, line: Line, desk: Desk
) -> None:
    """Over its limit the page is still not told what became of the order: it is placed once all the same."""
    await desk.limit(RATE_CLASS_ORDER, 1)
    line.spoil(ORDER, SWALLOW)
    await at_line.click("#place")
    await at_line.wait_for(says("The order may have been placed."))
    await at_line.click("#place")
    await at_line.wait_for_text("status", "RATE_LIMITED: Wait ")
    assert "The order may have been placed." in await at_line.text("status")
    desk.cluster.clock.advance(seconds=HOUR_SECONDS)
    await at_line.click("#place")
    await at_line.wait_for_text("status", "The order is OPEN.")
    assert await desk.resting() == ["10.000000"]


async def test_lost_refusal_is_read_once_and_does_not_stay(at_line: Browser, line: Line, desk: Desk) -> None:
    """The platform repeats it under its key: when its cause has gone, the next attempt is a new one."""
    await at_line.run("document.getElementById('shares').value = '4000'; arguments[0]()")
    line.spoil(ORDER, SWALLOW)
    await at_line.click("#place")
    await at_line.wait_for(says("The order may have been placed."))
    await desk.cluster.deposit(desk.wallet_id, "1000", f"more-{desk.tenant.account_id}")
    await at_line.click("#place")
    await at_line.wait_for_text("status", "INSUFFICIENT_BALANCE: ")
    assert "may have been" not in await at_line.text("status")
    await at_line.click("#place")
    await at_line.wait_for_text("status", "The order is OPEN.")
    assert await desk.resting() == ["4000.000000"]


async def test_other_fields_after_a_lost_answer_are_another_order(
    at_line: Browser, line: Line, desk: Desk
) -> None:
    """And the first ones again are the first order, while nothing is known of it."""
    line.spoil(ORDER, SWALLOW, PASS, PASS)
    await at_line.click("#place")
    await at_line.wait_for(says("The order may have been placed."))
    for shares, resting in (("20", ["10.000000", "20.000000"]), ("10", ["10.000000", "20.000000"])):
        await at_line.run(f"document.getElementById('shares').value = '{shares}'; arguments[0]()")
        await at_line.click("#place")
        await at_line.wait_for_text("status", "The order is OPEN.")
        assert await desk.resting() == resting


async def test_cancelling_again_is_safe_and_the_list_says_what_became_of_it(
    at_line: Browser, line: Line, desk: Desk
) -> None:
    """The order whose cancelling was not answered is out of the list when it has gone."""
    await at_line.click("#place")
    await at_line.wait_for_text("status", "The order is OPEN.")
    line.spoil("DELETE ", CUT, SWALLOW)
    await at_line.click(CANCEL)
    await at_line.wait_for(says("The order may have been cancelled. Trying the same again is safe."))
    assert await at_line.text("orders") == "BUY 10 Yes at 0.5 OPEN Cancel"
    await at_line.click(CANCEL)
    await at_line.wait_for_text("orders", "None.")
    assert await desk.resting() == []


async def test_order_that_was_placed_is_not_called_failed_because_a_read_is(
    at_line: Browser, line: Line, desk: Desk
) -> None:
    """Whoever is told of a failure tries again: it is said of the wallet, which is not as it is now."""
    line.spoil(f"GET /api/v1/wallet/pol/{desk.wallet_id}/balance", CUT)
    await at_line.click("#place")
    await at_line.wait_for_text("status", "The order is OPEN.")
    await at_line.wait_for_text("stale", "Not as it is now")
    await at_line.click("#place")
    await at_line.wait_for(has_orders(2))
    await at_line.wait_for(lambda page: not page.find_element(By.ID, "stale").is_displayed())


async def test_page_keeps_injected_script_out_wherever_it_is_served(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """The policy is the page's own, so a server without one will do, and everything works under it."""
    pages = {path: replace(page, headers={}) for path, page in example_pages(desk.api, desk.secret).items()}
    injected = (
        b"<script>document.title = 'Injected'</script><p onclick='document.title = 1' id=injected>Text</p>"
    )
    index = pages["/"]
    pages["/"] = replace(index, content=index.content.replace(b"<main>", injected + b"<main>"))
    sites.pages |= pages
    await browser.open(f"{sites.localhost}/")
    await browser.wait_for_text("status", "Ready.")
    await browser.click("#injected")
    assert await browser.run("arguments[0](document.title)") == "Trading from a web page"
    said = [line for line in await browser.said() if "favicon.ico" not in line]
    assert ["Content Security Policy directive" in line for line in said] == [True, True]
    await browser.click("#place")
    await browser.wait_for_text("status", "The order is OPEN.")
    assert [line for line in await browser.said() if "favicon.ico" not in line] == []


async def test_keyboard_stays_where_it_was(visitor: Browser) -> None:
    """Whoever presses a button with a key can press it again; one that has gone leaves them at its list."""
    focused = "arguments[0](document.activeElement.id || document.activeElement.innerText)"
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")
    assert await visitor.run(focused) == "place"
    await visitor.click(CANCEL)
    await visitor.wait_for_text("status", "The order is cancelled.")
    assert await visitor.run(focused) == "orders-title"


async def test_same_outcome_twice_is_said_twice(visitor: Browser) -> None:
    """A screen reader reads changes alone: between two outcomes the page says that it is at work."""
    watch = (
        "window.texts = []; const said = document.getElementById('status');"
        "new MutationObserver(() => texts.push(said.textContent)).observe(said, {childList: true});"
        "arguments[0]()"
    )
    await visitor.run(watch)
    for count in (1, 2):
        await visitor.click("#place")
        await visitor.wait_for(has_orders(count))
        await visitor.wait_for_text("status", "The order is OPEN.")
    assert await visitor.run("arguments[0](texts)") == ["One moment…", "The order is OPEN."] * 2


@pytest.mark.parametrize("width", [320, 640, 1100])
async def test_page_fits_into_narrow_windows(visitor: Browser, width: int) -> None:
    """Nothing is beside the screen, and what became of a request is in view wherever one has scrolled to."""
    await visitor.click("#place")
    await visitor.wait_for_text("status", "The order is OPEN.")
    with visitor.width(width):
        beside = await visitor.run("arguments[0](document.documentElement.scrollWidth - innerWidth)")
        await visitor.run("scrollTo(0, document.body.scrollHeight); arguments[0]()")
        top = await visitor.run("arguments[0](document.getElementById('status').getBoundingClientRect().top)")
    assert beside <= 0
    assert top >= 0


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
    assert len(texts["page.js"].splitlines()) <= 295
    assert json.loads(texts.pop("settings.example.json")) == {
        "api": "http://127.0.0.1:8080",
        "apiKey": "sk_…",
    }
    for text in texts.values():
        assert re.search(r"https?://|\bsk_\w|innerHTML|eval\(", text) is None
    assert re.search(r"<style|style=|<script>|\son\w+=", texts["index.html"]) is None

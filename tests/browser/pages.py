"""What a page gets to see: its requests are made by the browser, from the page's own origin."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tools.demo_browser.chromium import PAGE_SECONDS
from tools.demo_browser.page_server import Page

_SENT: Final = "Network.requestWillBeSent"
# Of what came over the wire, before it is decided whether the page may see it.
_ANSWERED: Final = "Network.responseReceivedExtraInfo"
# Without a policy, because frames inherit it and one of the tests has a script in its frame.
BLANK: Final = {"/blank": Page("text/html; charset=utf-8", b"<!doctype html><title>Blank</title><body>")}

# Gives what a script can read of an answer, or that the browser lets it read nothing.
_FETCH: Final = """
const read = async (url, init) => {
  try {
    const answer = await fetch(url, init);
    const body = await answer.text();
    return {status: answer.status, headers: Object.fromEntries(answer.headers), body};
  } catch (error) {
    return {kept: String(error)};
  }
};
"""
_ONE: Final = _FETCH + "const [url, init, done] = arguments; read(url, init).then(done);"
_MANY: Final = (
    _FETCH + "const [url, init, count, done] = arguments;"
    "Promise.all(Array.from({length: count}, () => read(url, init))).then(done);"
)
# The frame has no origin: it says what it read to the page around it.
_FRAMED: Final = (
    "const [program, url, init, done] = arguments;"
    "addEventListener('message', (event) => done(event.data), {once: true});"
    "const frame = document.createElement('iframe');"
    "frame.sandbox = 'allow-scripts';"
    "const call = `read(${JSON.stringify(url)}, ${JSON.stringify(init)})`;"
    "const tell = `${call}.then((seen) => parent.postMessage(seen, '*'))`;"
    "frame.srcdoc = `<script>${program}${tell}<` + '/script>';"
    "document.body.append(frame);"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page's script could read of an answer; without a status the browser kept all of it back."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From what the script said."""
        return cls(None) if "kept" in told else cls(told["status"], told["headers"], told["body"])

    @property
    def document(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The refusal's code, when it is a refusal and could be read."""
        if self.status is None or self.status < 400:
            return None
        return str(self.document["error"]["code"])


KEPT_BACK: Final = Seen(None)


class Browser:
    """One page at a time; what blocks is done beside the event loop, in which the platform runs."""

    def __init__(self, chrome: Chrome) -> None:
        self.chrome = chrome
        self._events: list[Any] = []

    @classmethod
    def fresh(cls, chrome: Chrome) -> Self:
        """Away from the last test's page, with nothing on record."""
        chrome.get("about:blank")
        fresh = cls(chrome)
        fresh._log("browser")
        fresh._log("performance")
        return fresh

    async def open(self, url: str) -> None:
        await asyncio.to_thread(self.chrome.get, url)

    async def fetch(self, method: str, url: str, *, body: object = None, **headers: str) -> Seen:
        """One request by the page; `x_api_key="…"` becomes X-API-KEY."""
        return Seen.of(await self.run(_ONE, url, _init(method, body, headers)))

    async def fetch_in_frame(self, method: str, url: str, **headers: str) -> Seen:
        """One request by a sandboxed frame in the page."""
        return Seen.of(await self.run(_FRAMED, _FETCH, url, _init(method, None, headers)))

    async def fetch_many(self, count: int, method: str, url: str, **headers: str) -> list[Seen]:
        """The same request so many times at once."""
        return [Seen.of(told) for told in await self.run(_MANY, url, _init(method, None, headers), count)]

    async def run(self, program: str, *arguments: object) -> Any:  # noqa: ANN401
        """A script in the page that says when it is done."""
        return await asyncio.to_thread(self.chrome.execute_async_script, program, *arguments)

    async def said(self) -> list[str]:
        """What the console got since the last time: errors of scripts, what the browser refused."""
        lines = await asyncio.to_thread(self._log, "browser")
        return [str(line["message"]) for line in lines]

    async def exchanges(self, url: str) -> list[tuple[str, int | None]]:
        """Method and status of every request of the test's to an address, preflights included.

        It is the browser that tells, also of answers that it kept from the page; None: nothing was sent.
        """
        lines = await asyncio.to_thread(self._log, "performance")
        self._events += [json.loads(str(line["message"]))["message"] for line in lines]
        sent = [event["params"] for event in self._events if event["method"] == _SENT]
        answered = [event["params"] for event in self._events if event["method"] == _ANSWERED]
        status = {answer["requestId"]: int(answer["statusCode"]) for answer in answered}
        return [
            (item["request"]["method"], status.get(item["requestId"]))
            for item in sent
            if item["request"]["url"] == url
        ]

    async def text(self, name: str) -> str:
        """What stands in the element with an id."""
        return str(await asyncio.to_thread(lambda: self.chrome.find_element(By.ID, name).text))

    @contextmanager
    def width(self, pixels: int) -> Iterator[None]:
        """A window that is so wide, for the block."""
        screen = {"width": pixels, "height": 700, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        try:
            yield
        finally:
            self.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    async def click(self, selector: str) -> None:
        """Clicks what a CSS selector finds, as soon as it can be clicked."""
        await self.wait_for(lambda page: page.find_element(By.CSS_SELECTOR, selector).is_enabled())
        await asyncio.to_thread(lambda: self.chrome.find_element(By.CSS_SELECTOR, selector).click())

    async def wait_for(self, condition: Callable[[Chrome], bool]) -> None:
        """Returns as soon as something is true of the page."""
        waiting = WebDriverWait(self.chrome, PAGE_SECONDS, poll_frequency=0.1)
        await asyncio.to_thread(waiting.until, condition)

    async def wait_for_text(self, name: str, text: str) -> None:
        """Returns when an element's text begins with `text`; tells what it was, if it never does."""
        try:
            await self.wait_for(lambda page: page.find_element(By.ID, name).text.startswith(text))
        except Exception as failure:
            failure.add_note(f"#{name} says: {await self.text(name)}")
            raise

    def _log(self, kind: str) -> list[dict[str, object]]:
        lines: list[dict[str, object]] = self.chrome.get_log(kind)  # type: ignore[no-untyped-call]
        return lines


def _init(method: str, body: object, headers: Mapping[str, str]) -> dict[str, object]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is None:
        return {"method": method, "headers": named}
    sent = json.dumps(body)
    return {"method": method, "headers": named | {"content-type": "application/json"}, "body": sent}

"""What the platform promises of web pages, as a real browser sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from sealgate.common.v1.method_rule_pb2 import RATE_CLASS_BROWSER_SESSION
from tests.browser.desk import Desk, open_desk
from tests.browser.pages import KEPT_BACK, Browser, Seen
from tests.cluster import Cluster
from tools.demo_browser.page_server import PageServer

HOUR_SECONDS: Final = 3600
DOCS: Final = Path(__file__).parents[2] / "docs"


async def mint(browser: Browser, desk: Desk) -> str:
    """A session of the page that is open."""
    made = await browser.fetch("POST", desk.sessions, x_api_key=desk.secret)
    assert made.status == 201, made
    return str(made.document["data"]["sessionToken"])


async def place(browser: Browser, desk: Desk, token: str | None = None, price: str = "0.4") -> Seen:
    """An order of the page that is open, with a session or without."""
    session = {} if token is None else {"x_session_token": token}
    return await browser.fetch("POST", desk.orders, body=desk.order(price), x_api_key=desk.secret, **session)


async def refusals(browser: Browser) -> list[str]:
    """What the browser said of answers that it kept back; at least one."""
    said = [line for line in await browser.said() if "blocked by CORS policy" in line]
    assert said
    return said


async def test_listed_page_mints_a_token_and_its_order_is_in_the_book(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """The whole of it, from an empty page to an order that others can meet."""
    await browser.open(f"{sites.localhost}/blank")
    token = await mint(browser, desk)
    placed = await place(browser, desk, token)
    assert placed.status == 201, placed
    assert placed.document["response"]["status"] == "OPEN"
    assert await desk.bids() == ["0.400000"]


async def test_unlisted_page_is_refused_by_the_platform_and_by_the_browser(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """The page reads nothing of the answer, and the answer is a refusal; nothing has happened."""
    await browser.open(f"{sites.numeric}/blank")
    assert await browser.fetch("POST", desk.sessions, x_api_key=desk.secret) == KEPT_BACK
    assert await browser.fetch("GET", desk.balance, x_api_key=desk.secret) == KEPT_BACK
    assert await place(browser, desk, "stolen") == KEPT_BACK
    assert all("No 'Access-Control-Allow-Origin' header" in line for line in await refusals(browser))
    for method, url in (("POST", desk.sessions), ("GET", desk.balance), ("POST", desk.orders)):
        assert (method, 403) in await browser.exchanges(url)
        # What the browser did not show, asked for as it has asked.
        body = desk.order() if url == desk.orders else None
        answer = await desk.cluster.rest(method, url, json=body, origin=sites.numeric, x_api_key=desk.secret)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ORIGIN_NOT_ALLOWED")
        assert "access-control-allow-origin" not in answer.headers
    assert await desk.bids() == []


async def test_token_copied_to_another_listed_page_is_refused(
    browser: Browser, sites: PageServer, cluster: Cluster
) -> None:
    """A session is bound to the origin it was made on, also where the key works on both."""
    desk = await open_desk(cluster, origins=[sites.localhost, sites.numeric])
    await browser.open(f"{sites.localhost}/blank")
    token = await mint(browser, desk)
    await browser.open(f"{sites.numeric}/blank")
    copied = await place(browser, desk, token)
    assert (copied.status, copied.code) == (401, "SESSION_INVALID")
    own = await mint(browser, desk)
    placed = await place(browser, desk, own)
    assert placed.status == 201
    await browser.open(f"{sites.localhost}/blank")
    placed = await place(browser, desk, token, price="0.3")
    assert placed.status == 201
    assert await desk.bids() == ["0.400000", "0.300000"]


async def test_page_reads_without_a_session_and_writes_with_one(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """A read has no session token, and a write without one is a refusal that the page can read."""
    await browser.open(f"{sites.localhost}/blank")
    read = await browser.fetch("GET", desk.balance, x_api_key=desk.secret)
    assert read.document["response"]["balance"]["USDC"] == "1000.000000"
    # The browser asks before this header as well. Here the answer that it keeps is enough: it names both.
    as_bearer = await browser.fetch("GET", desk.balance, authorization=f"Bearer {desk.secret}")
    assert as_bearer.body == read.body
    write = await place(browser, desk)
    assert (write.status, write.code) == (401, "SESSION_REQUIRED")
    assert await desk.bids() == []


async def test_limits_and_request_id_are_readable(browser: Browser, sites: PageServer, desk: Desk) -> None:
    """A page can show how often it may still call, and name the request that it asks about."""
    await browser.open(f"{sites.localhost}/blank")
    chosen = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
    read = await browser.fetch("GET", desk.balance, x_api_key=desk.secret, x_request_id=chosen)
    assert read.headers["x-request-id"] == chosen
    assert int(read.headers["x-ratelimit-limit"]) > int(read.headers["x-ratelimit-remaining"]) > 0
    assert int(read.headers["x-ratelimit-reset"]) > 0
    assert read.headers["ratelimit"].startswith('"read";r=')
    assert read.headers["ratelimit-policy"].startswith('"read";q=')
    # The browser shows these because they are exposed, and keeps back what is not.
    assert "vary" not in read.headers


async def test_page_over_its_limit_reads_when_to_come_back(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """Of requests beyond the limit each is refused, and says how long to wait."""
    await desk.limit(RATE_CLASS_BROWSER_SESSION, 3)
    await browser.open(f"{sites.localhost}/blank")
    seen = await browser.fetch_many(5, "POST", desk.sessions, x_api_key=desk.secret)
    assert sorted(answer.status or 0 for answer in seen) == [201, 201, 201, 429, 429]
    for late in (answer for answer in seen if answer.status == 429):
        assert late.code == "RATE_LIMITED"
        assert 0 < int(late.headers["retry-after"]) <= 60
        assert late.headers["x-ratelimit-limit"] == "3"
        assert late.headers["x-ratelimit-remaining"] == "0"


async def test_documented_reading_of_limits_takes_no_figure_for_none(
    browser: Browser, sites: PageServer
) -> None:
    """A page that pastes it says of an answer without figures neither that nothing is left nor: at once."""
    text = (DOCS / "browser.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"```js\n([^`]*Retry-After[^`]*)```", text)
    program = f"""
        const [status, headers, told] = arguments;
        const setTimeout = (done) => done();
        const placed = new Response("", {{ status, headers }});
        (async () => {{ {snippet}; told([left ?? null, seconds]); }})();
    """
    await browser.open(f"{sites.localhost}/blank")
    figures = {"X-RateLimit-Remaining": "0", "Retry-After": "7"}
    assert await browser.run(program, 429, figures) == [0, 7]
    assert await browser.run(program, 429, {}) == [None, 1]
    assert await browser.run(program, 201, {"X-RateLimit-Remaining": "9"}) == [9, 0]


async def test_account_session_works_from_the_projects_origins_alone(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """Its pages are those of the project, whatever keys list, and it needs no browser session."""
    bearer = f"Bearer {(await desk.cluster.session(desk.tenant))['session_token']}"
    await browser.open(f"{sites.numeric}/blank")
    assert await browser.fetch("GET", desk.balance, authorization=bearer) == KEPT_BACK
    await desk.allow_project_origins(sites.numeric)
    assert (await browser.fetch("GET", desk.balance, authorization=bearer)).status == 200
    placed = await browser.fetch("POST", desk.orders, body=desk.order(), authorization=bearer)
    assert placed.status == 201, placed
    await browser.open(f"{sites.localhost}/blank")
    assert await browser.fetch("GET", desk.balance, authorization=bearer) == KEPT_BACK
    answer = await desk.cluster.rest("GET", desk.balance, authorization=bearer, origin=sites.localhost)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ORIGIN_NOT_ALLOWED")


async def test_browser_asks_once_before_many_requests(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """The answer to a preflight is kept: the next requests to the same address come without one."""
    await browser.open(f"{sites.localhost}/blank")
    for _ in range(3):
        assert (await browser.fetch("GET", desk.balance, x_api_key=desk.secret)).status == 200
    exchanged = await browser.exchanges(desk.balance)
    assert sorted(exchanged) == [("GET", 200), ("GET", 200), ("GET", 200), ("OPTIONS", 204)]


async def test_page_cannot_send_a_project_key(browser: Browser, sites: PageServer, desk: Desk) -> None:
    """The browser is told that the header is none for pages; sent all the same, the key is refused."""
    await desk.allow_project_origins(sites.localhost)
    await browser.open(f"{sites.localhost}/blank")
    project = f"{desk.api}/api/v1/project"
    key = desk.tenant.project_key
    assert await browser.fetch("GET", project, x_project_api_key=key) == KEPT_BACK
    assert any("header field x-project-api-key is not allowed" in line for line in await refusals(browser))
    # It was asked for, and never sent.
    assert sorted(await browser.exchanges(project)) == [("GET", None), ("OPTIONS", 204)]
    answer = await desk.cluster.rest("GET", project, x_project_api_key=key, origin=sites.localhost)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ORIGIN_NOT_ALLOWED")


async def test_deleting_a_key_ends_its_pages_at_once(browser: Browser, sites: PageServer, desk: Desk) -> None:
    """The very next request of the page is refused, and the page can read why."""
    await browser.open(f"{sites.localhost}/blank")
    token = await mint(browser, desk)
    assert (await place(browser, desk, token)).status == 201
    await desk.delete_key()
    for seen in (
        await place(browser, desk, token),
        await browser.fetch("GET", desk.balance, x_api_key=desk.secret),
        await browser.fetch("POST", desk.sessions, x_api_key=desk.secret),
    ):
        assert (seen.status, seen.code) == (401, "API_KEY_REVOKED")
    assert await desk.bids() == ["0.400000"]


async def test_removing_an_origin_ends_its_sessions_for_good(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """Without the origin the page is locked out; with it again, it needs another session."""
    await browser.open(f"{sites.localhost}/blank")
    token = await mint(browser, desk)
    await desk.change_key(origins=["https://elsewhere.test"])
    assert await place(browser, desk, token) == KEPT_BACK
    await desk.change_key(origins=["https://elsewhere.test", sites.localhost])
    again = await place(browser, desk, token)
    assert (again.status, again.code) == (401, "SESSION_INVALID")
    token = await mint(browser, desk)
    assert (await place(browser, desk, token)).status == 201


async def test_session_ends_after_an_hour(browser: Browser, sites: PageServer, desk: Desk) -> None:
    """To the nanosecond, and the page is told so; the key goes on and makes another."""
    await browser.open(f"{sites.localhost}/blank")
    token = await mint(browser, desk)
    assert (await place(browser, desk, token)).status == 201
    desk.cluster.clock.advance(seconds=HOUR_SECONDS)
    ended = await place(browser, desk, token)
    assert (ended.status, ended.code) == (401, "SESSION_EXPIRED")
    token = await mint(browser, desk)
    assert (await place(browser, desk, token)).status == 201


async def test_page_without_an_origin_is_refused(browser: Browser, sites: PageServer, desk: Desk) -> None:
    """A sandboxed frame and a `data:` page send the origin `null`, which no list can have."""
    await browser.open(f"{sites.localhost}/blank")
    for method, url in (("POST", desk.sessions), ("GET", desk.balance)):
        assert await browser.fetch_in_frame(method, url, x_api_key=desk.secret) == KEPT_BACK
    for header in ("null", "file://"):
        answer = await desk.cluster.rest("GET", desk.balance, x_api_key=desk.secret, origin=header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    # A browser does not even let such a page call this machine.
    await browser.open("data:text/html,<title>Nobody's</title>")
    assert await browser.fetch("GET", desk.balance, authorization=f"Bearer {desk.secret}") == KEPT_BACK


async def test_open_routes_are_readable_from_any_page(
    browser: Browser, sites: PageServer, desk: Desk
) -> None:
    """Markets are for everybody: for a page that no key lists, and for a frame without an origin."""
    book = f"{desk.api}/api/v1/markets/{desk.market.condition_id}/book"
    await browser.open(f"{sites.numeric}/blank")
    for seen in (await browser.fetch("GET", book), await browser.fetch_in_frame("GET", book)):
        assert seen.status == 200
        assert json.loads(seen.body)["response"]["bids"] == []
    unknown = await browser.fetch("GET", f"{desk.api}/api/v1/nowhere")
    assert (unknown.status, unknown.code) == (404, "ROUTE_NOT_FOUND")
    assert unknown.headers["x-request-id"]

"""What a web page can do with an API key, played with the `Origin` that a browser would send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from sealgate.client import IssuedApiKey, Sealgate
from tools.demo.guide import Guide, operate

SHOP: Final = "https://shop.example"
PARTNER: Final = "https://partner.example"
STRANGER: Final = "https://stranger.example"
_MINT: Final = "/api/v1/sessions"
_ALLOW_METHODS: Final = "access-control-allow-methods"
_ALLOW_HEADERS: Final = "access-control-allow-headers"
_MAX_AGE: Final = "access-control-max-age"
_PREFLIGHT_SECONDS: Final = "600"
_MINTED_PER_MINUTE: Final = 2
_LIMITED: Final[dict[str, Any]] = {"status": 429, "code": "RATE_LIMITED"}


@dataclass(frozen=True, slots=True)
class Page:
    """Asks as a browser does for a page's scripts; the origin is the browser's to say, not the page's."""

    guide: Guide
    http: httpx.Client
    url: str
    origin: str | None
    credential: Mapping[str, str]

    def ask(
        self,
        title: str,
        method: str,
        path: str,
        *,
        status: int = 200,
        code: str | None = None,
        readable: bool = True,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401
        """One step; the answer's content. Its status, code, and whether the page may read it are checked."""
        self.guide.say(title)
        origin = {} if self.origin is None else {"Origin": self.origin}
        said = {**origin, **self.credential, **(headers or {})}
        answer = self.http.request(method, self.url + path, json=json, headers=said)
        document = answer.json()
        self.guide.check(answer.status_code == status, f"status {status}")
        self.guide.check(document.get("error", {}).get("code") == code, f"code {code}")
        allowed = answer.headers.get("access-control-allow-origin")
        self.guide.check(allowed == (self.origin if readable else None), f"readable is {readable}")
        return document.get("response", document.get("data"))

    def mint(self, title: str) -> Page:
        """A page with a session; the answer has the B envelope's member."""
        made = self.ask(title, "POST", _MINT, status=201)
        token = self.guide.need(made, "a session")["sessionToken"]
        return replace(self, credential={**self.credential, "X-Session-Token": token})

    def on(self, origin: str | None) -> Page:
        """The same credentials elsewhere, as a thief has them; None: on a server."""
        return replace(self, origin=origin)


@dataclass(frozen=True, slots=True)
class Shop:
    """A customer whose page trades for one of its accounts."""

    guide: Guide
    backend: Sealgate
    account_id: str
    project_id: str
    key: IssuedApiKey
    orders: str
    order: Mapping[str, str]
    data: Path

    def list_origins(self, title: str, *origins: str) -> None:
        """A step: from now on the page's key works on these."""
        with self.guide.step(title):
            changed = self.backend.update_account_api_key(
                account_id=self.account_id, public_key=self.key.public_key, origins=origins
            )
        self.guide.check(set(changed.origins) == set(origins), "these origins")

    def place(self, page: Page, title: str, **expected: Any) -> Any:  # noqa: ANN401
        """A step: an order of the page; `expected` is what `Page.ask` takes."""
        return page.ask(title, "POST", self.orders, json=self.order, **expected)


def browser_flow(
    guide: Guide, http: httpx.Client, backend: Sealgate, ready: Mapping[str, Any], data: Path
) -> None:
    """A page's key from its making to its end, in the hands of its page and of others."""
    shop = open_shop(guide, backend, ready, data)
    key_header = {"X-API-KEY": str(shop.key.secret_key)}
    page = Page(guide, http, ready["base_url"], SHOP, key_header)
    preflight_flow(page, shop)
    page.ask("The page reads without a session", "GET", "/api/v1/wallets")
    shop.place(page, "To write it needs one", status=401, code="SESSION_REQUIRED")
    live = page.mint("So it makes one, for an hour")
    order = shop.place(live, "With it the page places an order", status=201)
    cancel = f"{shop.orders}/{order['order_id']}"
    live.ask("And cancels it", "DELETE", cancel)
    stranger_flow(page, live, shop)
    session_flow(page, shop)
    limit_flow(page, shop)
    state_flow(page, live, shop)
    end_flow(live, shop)


def open_shop(guide: Guide, backend: Sealgate, ready: Mapping[str, Any], data: Path) -> Shop:
    """A key for a page of the demo's account, which has money."""
    with guide.step("Create an API key for a web page: it lists the page's origin", status=201):
        key = backend.create_account_api_key(account_id=ready["account_id"], name="page", origins=[SHOP])
    guide.check("withdrawals:write" not in key.scopes, "no scope that a page must not have")
    with guide.silence():
        own = backend.with_api_key(str(key.secret_key))
        [wallet], market = own.list_wallets(), own.list_markets()[0]
    order = {
        "token_id": market.left_token_id,
        "side": "BUY",
        "type": "LIMIT",
        "amount": "10",
        "units": "SHARES",
        "price": str(market.tick),
    }
    orders = f"/api/v1/wallet/pol/{wallet.wallet_id}/order"
    return Shop(guide, backend, ready["account_id"], ready["project_id"], key, orders, order, data)


def preflight_flow(page: Page, shop: Shop) -> None:
    """What a browser asks before it sends a page's request; it tells nothing about any key."""
    guide = page.guide
    guide.say("A browser asks whether a page may send what it wants to send; any page may ask")
    headers = {"Origin": STRANGER, "Access-Control-Request-Method": "POST"}
    answer = page.http.options(page.url + shop.orders, headers=headers)
    guide.check(answer.status_code == httpx.codes.NO_CONTENT, "status 204")
    said = answer.headers
    for name in (_ALLOW_METHODS, _ALLOW_HEADERS, _MAX_AGE):
        print(f"      {name}: {said[name]}")
    guide.check(said["access-control-allow-origin"] == STRANGER, "its origin")
    guide.check(said[_MAX_AGE] == _PREFLIGHT_SECONDS, "for ten minutes")
    guide.check("X-API-KEY" in said[_ALLOW_HEADERS], "the header of API keys")
    guide.check("X-PROJECT-API-KEY" not in said[_ALLOW_HEADERS], "no project keys")
    guide.check("access-control-allow-credentials" not in said, "no cookies")


def stranger_flow(page: Page, live: Page, shop: Shop) -> None:
    """The page's key and session in other hands."""
    refused: dict[str, Any] = {"status": 403, "code": "ORIGIN_NOT_ALLOWED", "readable": False}
    page.on(STRANGER).ask("Another page is refused, and cannot read why", "GET", "/api/v1/wallets", **refused)
    page.on("null").ask("So is a page that hides its origin", "POST", _MINT, **refused)
    shop.list_origins("The key's owner lists a partner's page too", SHOP, PARTNER)
    invalid: dict[str, Any] = {"status": 401, "code": "SESSION_INVALID"}
    shop.place(live.on(PARTNER), "The partner cannot use the shop's session", **invalid)
    own = page.on(PARTNER).mint("It makes its own")
    shop.place(own, "And trades with that", status=201)
    shop.place(own.on(SHOP), "Which is of no use on the shop's page", **invalid)
    detail: dict[str, Any] = {"status": 400, "code": "VALIDATION_ERROR", "readable": False}
    page.on(None).ask("A server makes no sessions", "POST", _MINT, **detail)
    shop.place(page.on(None), "It needs none", status=201, readable=False)


def session_flow(page: Page, shop: Shop) -> None:
    """Credentials that are not made for pages, on a page."""
    guide, backend = shop.guide, shop.backend
    with guide.silence():
        token = backend.create_session(account_id=shop.account_id).session_token
    user = replace(page, credential={"Authorization": f"Bearer {token}"})
    refused: dict[str, Any] = {"status": 403, "code": "ORIGIN_NOT_ALLOWED"}
    user.ask(
        "An account's session works on pages that the project lists, which are none yet",
        "GET",
        "/api/v1/wallets",
        readable=False,
        **refused,
    )
    with guide.step("The project lists the shop"):
        backend.update_project(allowed_origins=[SHOP])
    shop.place(user, "Now it trades there, without a browser session", status=201)
    with guide.silence():
        key = backend.create_project_api_key(name="page")
        stolen = replace(page, credential={"X-PROJECT-API-KEY": str(key.secret_key)})
    stolen.ask("A project's key works on no page", "GET", "/api/v1/project", **refused)
    with guide.silence():
        backend.delete_project_api_key(public_key=key.public_key)
        backend.update_project(allowed_origins=[])


def limit_flow(page: Page, shop: Shop) -> None:
    """How often a page may call, as it can read it, and as the operator sets it for one key."""
    command = f"key limits {shop.key.public_key}"
    each = f"{command} --browser-session {_MINTED_PER_MINUTE}"
    operate(page.guide, "The operator gives the key limits of its own", each, shop.data)
    for number in range(_MINTED_PER_MINUTE):
        page.mint(f"Session {number + 1} of {_MINTED_PER_MINUTE} in this minute")
    page.ask("One more is too many; the page can read when to come back", "POST", _MINT, **_LIMITED)
    operate(page.guide, "The operator takes the limits away", f"{command} --reset", shop.data)


def state_flow(page: Page, live: Page, shop: Shop) -> None:
    """What the operator decides of a project holds for its pages from the next request on."""
    guide, command = page.guide, f"project set {shop.project_id}"
    wallets = "/api/v1/wallets"
    operate(guide, "The operator suspends the project", f"{command} --status SUSPENDED", shop.data)
    page.ask("Its pages are refused, reads too", "GET", wallets, status=403, code="TENANT_SUSPENDED")
    operate(guide, "A bill is open", f"{command} --status PAST_DUE", shop.data)
    page.ask("Pages read again", "GET", wallets)
    shop.place(live, "But do not trade", status=403, code="SUBSCRIPTION_PAST_DUE")
    live.ask("What is in the book can still be taken out", "DELETE", f"{shop.orders}s")
    operate(guide, "The bill is paid", f"{command} --status ACTIVE", shop.data)
    modules = "wallet,trading,signing"
    operate(guide, "The module for pages is taken away", f"{command} --modules {modules}", shop.data)
    page.ask("Pages make no sessions", "POST", _MINT, status=403, code="MODULE_NOT_ENABLED")
    shop.place(live, "And those there are do nothing", status=403, code="MODULE_NOT_ENABLED")
    operate(guide, "It is given back", f"{command} --modules {modules},browser", shop.data)
    shop.place(live, "The session's hour is not over", status=201)


def end_flow(live: Page, shop: Shop) -> None:
    """How a page's session ends before its hour."""
    refused: dict[str, Any] = {"status": 403, "code": "ORIGIN_NOT_ALLOWED", "readable": False}
    invalid: dict[str, Any] = {"status": 401, "code": "SESSION_INVALID"}
    shop.list_origins("The key's owner takes the shop off the list", PARTNER)
    shop.place(live, "The page is out at once", **refused)
    shop.list_origins("The shop is listed again", SHOP)
    shop.place(live, "Sessions from before stay ended", **invalid)
    again = replace(live, credential={"X-API-KEY": str(shop.key.secret_key)}).mint("The page makes another")
    shop.place(again, "Which works", status=201)
    with shop.guide.step("The key is deleted"):
        shop.backend.delete_account_api_key(account_id=shop.account_id, public_key=shop.key.public_key)
    revoked: dict[str, Any] = {"status": 401, "code": "API_KEY_REVOKED"}
    shop.place(again, "With it ends the session, and the page can read that", **revoked)

"""What a page may do with an API key, method by method: read, and write beside a browser session."""

from __future__ import annotations

from typing import Any, Final

import pytest

from chassis.methods import CredentialKind, Effect
from tests.cluster import Cluster
from tests.contract.channel_support import (
    BY_RPC,
    PAGE,
    SECOND_PAGE,
    UNLISTED_PAGE,
    Caller,
    Page,
    make_page,
)
from tests.contract.good_calls import GOOD, make_world
from tests.contract.good_calls import World as GoodWorld
from tests.platform_support import World
from tests.platform_support import make_world as make_plain_world

OF_KEYS: Final = {
    rpc: method
    for rpc, method in BY_RPC.items()
    if CredentialKind.ACCOUNT_API_KEY in method.accepts and not method.for_pages
}
WRITES: Final = [rpc for rpc, method in OF_KEYS.items() if method.effect is not Effect.READ]
READS: Final = [rpc for rpc, method in OF_KEYS.items() if method.effect is Effect.READ]
# What no key for pages can have.
NEVER_ON_PAGES: Final = frozenset({"withdrawals:write", "keys:write"})
WRITE: Final = "CreateWallet"


async def page_of(cluster: Cluster, world: GoodWorld) -> Page:
    """A page with a key of the good world's account."""
    first = (world.api_public, world.api_secret)
    return await make_page(World(cluster, world.tenant, world.session_id, world.token, *first))


def fields_of(rpc: str, world: GoodWorld) -> dict[str, Any]:
    """What a good call of a method asks for."""
    return GOOD[BY_RPC[rpc].full_name][1](world)


def test_there_are_writes_and_reads_of_keys() -> None:
    """The tables below are made of the access table, and not empty."""
    assert set(WRITES) >= {"CreateWallet", "PlaceOrder", "CancelOrder", "CancelAllOrders", "CreateWithdrawal"}
    assert len(READS) >= 15


@pytest.mark.parametrize("rpc", WRITES)
async def test_write_of_a_page_needs_a_browser_session(caller: Caller, cluster: Cluster, rpc: str) -> None:
    """Without the token or with none of ours it is refused, with it done; a server needs none."""
    world = await make_world(cluster)
    page = await page_of(cluster, world)
    fields = fields_of(rpc, world)
    is_given = BY_RPC[rpc].scope not in NEVER_ON_PAGES
    for headers, code in (
        (page.reading, "SESSION_REQUIRED"),
        (page.reading | {"x-session-token": ""}, "SESSION_INVALID"),
        (page.reading | {"x-session-token": "garbage"}, "SESSION_INVALID"),
        (page.writing | {"origin": UNLISTED_PAGE}, "ORIGIN_NOT_ALLOWED"),
        (page.writing, "OK"),
    ):
        answer = await caller.ask(rpc, headers, **fields)
        is_unlisted = code == "ORIGIN_NOT_ALLOWED"
        expected = code if is_given or is_unlisted else "SCOPE_NOT_GRANTED"
        assert answer.code == expected
        # A page's developer is told what to show, and where it comes from.
        assert answer.paths == (("X-Session-Token",) if expected == "SESSION_REQUIRED" else ())
        assert answer.page == (None if is_unlisted else PAGE)


@pytest.fixture(scope="module")
async def reading(cluster: Cluster) -> tuple[GoodWorld, Page]:
    """A world and a page for what changes nothing."""
    world = await make_world(cluster)
    return world, await page_of(cluster, world)


@pytest.mark.parametrize("rpc", READS)
async def test_read_of_a_page_needs_the_key_alone(
    caller: Caller, reading: tuple[GoodWorld, Page], rpc: str
) -> None:
    """Whatever token comes along; from a page that is not listed it is refused."""
    world, page = reading
    fields = fields_of(rpc, world)
    for more in ({}, {"x-session-token": page.token}, {"x-session-token": "garbage"}):
        answer = await caller.ask(rpc, page.reading | more, **fields)
        assert (answer.code, answer.page) == ("OK", PAGE)
    answer = await caller.ask(rpc, page.reading | {"origin": UNLISTED_PAGE}, **fields)
    assert (answer.code, answer.status, answer.page) == ("ORIGIN_NOT_ALLOWED", 403, None)


async def test_write_works_with_the_key_as_a_bearer(caller: Caller, cluster: Cluster) -> None:
    """The browser session accompanies the key, whichever header that is in."""
    page = await make_page(await make_plain_world(cluster))
    bearer = {"authorization": f"Bearer {page.secret_key}", "origin": PAGE}
    assert (await caller.ask(WRITE, bearer)).code == "SESSION_REQUIRED"
    assert (await caller.ask(WRITE, bearer | {"x-session-token": page.token})).code == "OK"


async def test_server_s_browser_session_is_ignored(caller: Caller, cluster: Cluster) -> None:
    """Whatever a caller without an origin sends under that name, a key of pages or of servers writes."""
    world = await make_plain_world(cluster)
    page = await make_page(world)
    for secret in (world.secret_key, page.secret_key):
        for token in (page.token, "garbage", "", "x" * 4000):
            answer = await caller.ask(WRITE, {"x-api-key": secret, "x-session-token": token})
            assert (answer.code, answer.page) == ("OK", None)


async def test_browser_session_beside_another_credential_is_ignored(caller: Caller, cluster: Cluster) -> None:
    """It says nothing about an account's session, nor about a project's key."""
    world = await make_plain_world(cluster)
    for credential, rpc in (
        ({"authorization": f"Bearer {world.token}"}, WRITE),
        ({"x-project-api-key": world.tenant.project_key}, "GetProject"),
    ):
        assert (await caller.ask(rpc, credential | {"x-session-token": "garbage"})).code == "OK"


async def test_header_that_comes_twice_is_ambiguous(caller: Caller, cluster: Cluster) -> None:
    """Two tokens, or two origins, are none; also from a server, and when both say the same."""
    page = await make_page(await make_plain_world(cluster))
    pairs = list(page.writing.items())
    for headers in (
        [*pairs, ("x-session-token", page.token)],
        [*pairs, ("x-session-token", "garbage")],
        [*pairs, ("origin", PAGE)],
        [*pairs, ("origin", UNLISTED_PAGE)],
        [("x-api-key", page.secret_key), *[("x-session-token", page.token)] * 2],
    ):
        for rpc in (WRITE, "ListWallets", "CreateBrowserSession"):
            answer = await caller.ask(rpc, headers)
            assert (answer.code, answer.status) == ("CREDENTIAL_AMBIGUOUS", 400)


async def test_browser_session_is_worth_nothing_beside_another_key_page_or_project(
    caller: Caller, cluster: Cluster
) -> None:
    """Each of these may have sessions of its own; none of them may use this one."""
    world = await make_plain_world(cluster)
    page = await make_page(world, origins=[PAGE, SECOND_PAGE])
    same_account = await make_page(world, origins=[PAGE])
    other_project = await make_page(await make_plain_world(cluster), origins=[PAGE])
    for headers in (
        page.writing | {"origin": SECOND_PAGE},
        page.reading | {"x-session-token": same_account.token},
        same_account.reading | {"x-session-token": page.token},
        other_project.reading | {"x-session-token": page.token},
        page.reading | {"x-session-token": other_project.token},
    ):
        answer = await caller.ask(WRITE, headers)
        assert (answer.code, answer.status, answer.page) == ("SESSION_INVALID", 401, headers["origin"])
        assert (await caller.ask("ListWallets", headers)).code == "OK"
    assert (await caller.ask(WRITE, page.writing)).code == "OK"


async def test_page_does_not_mint_change_or_delete_keys(caller: Caller, cluster: Cluster) -> None:
    """An API key never does, with a browser session neither."""
    page = await make_page(await make_plain_world(cluster))
    for rpc, fields in (
        ("CreateApiKey", {}),
        ("UpdateApiKey", {"public_key": page.public_key}),
        ("DeleteApiKey", {"public_key": page.public_key}),
    ):
        answer = await caller.ask(rpc, page.writing, **fields)
        assert (answer.code, answer.page) == ("CREDENTIAL_NOT_ACCEPTED", PAGE)


async def test_write_of_a_page_has_its_own_key_s_scopes(caller: Caller, cluster: Cluster) -> None:
    """A browser session adds no right: what the key may not do, the page may not."""
    page = await make_page(await make_plain_world(cluster), scopes=["wallet:read"])
    answer = await caller.ask(WRITE, page.writing)
    assert (answer.code, answer.page) == ("SCOPE_NOT_GRANTED", PAGE)

"""What ends a browser session before its hour: at once, over REST and gRPC, and nothing else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.testing.databases import TemplateDatabases
from tests.cluster import Cluster
from tests.contract.channel_support import (
    PAGE,
    PAGE_SCOPES,
    SECOND_PAGE,
    Caller,
    Page,
    make_page,
    mint,
)
from tests.platform_support import World, good, make_world, private_cluster, rfc3339

WRITE: Final = "CreateWallet"
READ: Final = "ListWallets"
MINT: Final = "CreateBrowserSession"
WITHOUT_PAGES: Final = ("wallet", "trading", "signing")
ALL_MODULES: Final = ("wallet", "trading", "browser", "signing")


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


async def codes(caller: Caller, page: Page) -> tuple[str, str, str]:
    """What a read, a write and a mint of the page are answered."""
    read = await caller.ask(READ, page.writing)
    write = await caller.ask(WRITE, page.writing)
    minted = await caller.ask(MINT, page.reading)
    return read.code, write.code, minted.code


WORKS: Final = ("OK", "OK", "OK")
# The key goes on, and makes another session.
TOKEN_ENDED: Final = ("OK", "SESSION_INVALID", "OK")


def all_refused(code: str) -> tuple[str, str, str]:
    """Nothing at all goes on."""
    return (code,) * 3


@pytest.mark.parametrize("by_owner", [True, False], ids=["by the session", "by the project"])
async def test_deleting_the_key_ends_its_browser_sessions(
    caller: Caller, world: World, *, by_owner: bool
) -> None:
    """The next request of the page is refused, and says that the key is gone."""
    page = await make_page(world)
    assert await codes(caller, page) == WORKS
    if by_owner:
        good(await world.by_session("DELETE", f"/api/v1/account/api-key/{page.public_key}"))
    else:
        await page.delete_key()
    assert await codes(caller, page) == all_refused("API_KEY_REVOKED")


async def test_removing_the_page_ends_its_browser_sessions_also_when_it_is_added_again(
    caller: Caller, world: World
) -> None:
    """While it is away nothing works; once it is back the key does, and the old token does not."""
    page = await make_page(world, origins=[PAGE, SECOND_PAGE])
    second = replace(page, origin=SECOND_PAGE, token=await mint(world.cluster, page.secret_key, SECOND_PAGE))
    await page.change_key(origins=[SECOND_PAGE])
    assert await codes(caller, page) == all_refused("ORIGIN_NOT_ALLOWED")
    assert await codes(caller, second) == WORKS
    await page.change_key(origins=[SECOND_PAGE, PAGE])
    assert await codes(caller, page) == TOKEN_ENDED
    assert await codes(caller, second) == WORKS
    renewed = replace(page, token=await mint(world.cluster, page.secret_key))
    assert await codes(caller, renewed) == WORKS


@pytest.mark.parametrize("times", [1, 3])
async def test_page_that_comes_and_goes_has_the_sessions_of_its_present_stay_alone(
    caller: Caller, world: World, times: int
) -> None:
    """However often, and though time stands still meanwhile."""
    page = await make_page(world)
    stays = [page]
    for _ in range(times):
        await page.change_key(origins=[])
        await page.change_key(origins=[PAGE])
        stays.append(replace(page, token=await mint(world.cluster, page.secret_key)))
    for past in stays[:-1]:
        assert await codes(caller, past) == TOKEN_ENDED
    assert await codes(caller, stays[-1]) == WORKS


async def test_other_changes_of_the_key_end_no_browser_session(caller: Caller, world: World) -> None:
    """Its name, the list's order, a further page, the same page once more, scopes that come and go."""
    page = await make_page(world)
    await page.change_key(name="renamed")
    await page.change_key(origins=[SECOND_PAGE, PAGE])
    await page.change_key(origins=[PAGE, SECOND_PAGE])
    await page.change_key(origins=[PAGE])
    assert await codes(caller, page) == WORKS
    await page.change_key(scopes=["wallet:read"])
    assert await codes(caller, page) == ("OK", "SCOPE_NOT_GRANTED", "OK")
    await page.change_key(scopes=list(PAGE_SCOPES))
    assert await codes(caller, page) == WORKS


async def test_rotating_the_key_ends_its_browser_sessions_with_it(caller: Caller, world: World) -> None:
    """At once without an overlap; the new key, with the same pages, makes sessions of its own."""
    page = await make_page(world)
    path = world.account(f"/api-key/{page.public_key}/rotate")
    rotated = good(await world.by_project("POST", path), 201)
    assert await codes(caller, page) == all_refused("API_KEY_REVOKED")
    successor = replace(page, public_key=rotated["public_key"], secret_key=rotated["secret_key"])
    assert await codes(caller, successor) == TOKEN_ENDED
    renewed = replace(successor, token=await mint(world.cluster, successor.secret_key))
    assert await codes(caller, renewed) == WORKS


async def test_browser_session_of_a_rotated_key_lasts_through_its_overlap(
    caller: Caller, world: World
) -> None:
    """A page that has not been told of the new key yet goes on, to the second."""
    page = await make_page(world)
    path = world.account(f"/api-key/{page.public_key}/rotate")
    good(await world.by_project("POST", path, {"overlap_seconds": 60}), 201)
    world.cluster.clock.advance(seconds=59)
    assert await codes(caller, page) == WORKS
    world.cluster.clock.advance(seconds=1)
    assert await codes(caller, page) == all_refused("API_KEY_REVOKED")


async def test_browser_session_ends_with_a_key_that_expires(caller: Caller, world: World) -> None:
    """An hour is the most that it lasts."""
    end = rfc3339(world.cluster.clock.now_ns() + 60 * NANOSECONDS_PER_SECOND)
    page = await make_page(world, expires_at=end)
    world.cluster.clock.advance(seconds=59)
    assert await codes(caller, page) == WORKS
    world.cluster.clock.advance(seconds=1)
    assert await codes(caller, page) == all_refused("API_KEY_EXPIRED")


async def test_suspending_the_account_ends_its_browser_sessions(caller: Caller, world: World) -> None:
    """For good: made active again, the account's keys work and their old sessions do not."""
    page = await make_page(world)
    good(await world.by_project("PUT", world.account("/status"), {"status": "SUSPENDED"}))
    assert await codes(caller, page) == all_refused("ACCOUNT_SUSPENDED")
    good(await world.by_project("PUT", world.account("/status"), {"status": "ACTIVE"}))
    assert await codes(caller, page) == TOKEN_ENDED


async def test_expiring_all_sessions_of_the_account_ends_those_of_pages_too(
    caller: Caller, world: World
) -> None:
    """Of every key and page of the account; other accounts' go on."""
    pages = [await make_page(world), await make_page(world, origins=[SECOND_PAGE])]
    neighbour = await make_page(await make_world(world.cluster))
    good(await world.by_project("POST", world.account("/sessions/expire-all")))
    for page in pages:
        assert await codes(caller, page) == TOKEN_ENDED
    assert await codes(caller, neighbour) == WORKS


async def test_ending_one_account_session_ends_no_browser_session(caller: Caller, world: World) -> None:
    """They were made by a key, not by it."""
    page = await make_page(world)
    good(await world.by_session("POST", "/api/v1/account/session/expire"))
    assert await codes(caller, page) == WORKS


async def test_browser_sessions_do_not_work_while_the_project_has_no_module_for_pages(
    caller: Caller, world: World
) -> None:
    """A page reads with the key; it writes nothing and makes no session until the module is back."""
    page = await make_page(world)
    project_id = world.tenant.project_id
    await world.cluster.set_project(project_id, modules=WITHOUT_PAGES)
    assert await codes(caller, page) == ("OK", "MODULE_NOT_ENABLED", "MODULE_NOT_ENABLED")
    assert (await caller.ask(WRITE, {"x-api-key": page.secret_key})).code == "OK"
    await world.cluster.set_project(project_id, modules=ALL_MODULES)
    assert await codes(caller, page) == WORKS

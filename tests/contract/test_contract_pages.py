"""Credentials other than API keys on web pages, and which page may read which answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.secrets import device_key_text
from chassis.testing.databases import TemplateDatabases
from sealgate.wallet.v1 import signed_body_pb2 as wallet_pb2
from tests.cluster import UNLIMITED, Cluster
from tests.contract.channel_support import (
    BY_RPC,
    PAGE,
    REST,
    SECOND_PAGE,
    UNLISTED_PAGE,
    Caller,
    Page,
    make_page,
)
from tests.platform_support import (
    UNKNOWN_SECRET,
    World,
    good,
    make_world,
    private_cluster,
    refused,
    rfc3339,
)
from tests.signing_support import new_pair
from tests.signing_world import Signing, make_signing

PROJECT: Final = "/api/v1/project"
BAD_PAGES: Final = ("null", "", UNLISTED_PAGE, f"{PAGE}/", f"{PAGE}:443", "https://SHOP.example")
SIGNED_WRITE: Final = "SubmitCreateWallet"
SIGNED_READ: Final = "ListDeviceKeys"
WRITES_COUNT: Final = 2


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved, and orders are few."""
    limits = {**UNLIMITED, "order": WRITES_COUNT}
    async with private_cluster(template_databases, short_directory, rate_limits=limits) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    """A project that lists PAGE, with an account."""
    return await listing(await make_world(cluster))


@pytest.fixture
async def signing(cluster: Cluster) -> Signing:
    """A project that lists PAGE, with an account whose owner signs."""
    made = await make_signing(cluster)
    await listing(made.world)
    return made


async def listing(world: World, *origins: str) -> World:
    good(await world.by_project("PUT", PROJECT, {"allowed_origins": list(origins or (PAGE,))}))
    return world


def by_session(world: World, origin: str = PAGE) -> dict[str, str]:
    return {"authorization": f"Bearer {world.token}", "origin": origin}


async def test_account_session_reads_and_writes_on_the_project_s_pages_without_a_browser_session(
    caller: Caller, world: World
) -> None:
    """It is not copied into pages by anybody but the project: its origins are enough."""
    for rpc in ("ListWallets", "CreateWallet", "CreateApiKey"):
        answer = await caller.ask(rpc, by_session(world))
        assert (answer.code, answer.page) == ("OK", PAGE)


@pytest.mark.parametrize("origin", BAD_PAGES)
async def test_account_session_works_on_no_other_page(caller: Caller, world: World, origin: str) -> None:
    """To the byte, reads included; those of a key are not the project's."""
    await make_page(world, origins=[UNLISTED_PAGE])
    for rpc in ("ListWallets", "CreateWallet"):
        answer = await caller.ask(rpc, by_session(world, origin))
        assert (answer.code, answer.status, answer.page) == ("ORIGIN_NOT_ALLOWED", 403, None)


async def test_project_s_pages_count_from_the_next_request_on(caller: Caller, world: World) -> None:
    """Added and removed at once; the session itself is not touched by it."""
    await listing(world, SECOND_PAGE)
    assert (await caller.ask("ListWallets", by_session(world))).code == "ORIGIN_NOT_ALLOWED"
    assert (await caller.ask("ListWallets", by_session(world, SECOND_PAGE))).code == "OK"
    await listing(world, PAGE)
    assert (await caller.ask("ListWallets", by_session(world))).code == "OK"


async def test_device_key_reads_on_the_project_s_pages_alone(caller: Caller, signing: Signing) -> None:
    """As an account's session."""
    made = await signing.submit_headers("CreateDeviceKey", signing.session, b"{}")
    key = {"x-device-key": made["secret_key"]}
    answer = await caller.ask("ListWallets", key | {"origin": PAGE})
    assert (answer.code, answer.page) == ("OK", PAGE)
    for origin in BAD_PAGES:
        answer = await caller.ask("ListWallets", key | {"origin": origin})
        assert (answer.code, answer.page) == ("ORIGIN_NOT_ALLOWED", None)
    variables = {"device_key_id": made["device_key"]["device_key_id"]}
    await signing.submit_headers("DeleteDeviceKey", signing.session, b"{}", variables=variables)
    answer = await caller.ask("ListWallets", key | {"origin": PAGE})
    assert (answer.code, answer.page) == ("API_KEY_REVOKED", PAGE)
    unknown = {"x-device-key": device_key_text(b"u" * 32), "origin": PAGE}
    answer = await caller.ask("ListWallets", unknown)
    assert (answer.code, answer.page) == ("API_KEY_INVALID", None)


@pytest.mark.parametrize("origin", [PAGE, *BAD_PAGES])
async def test_project_key_never_works_on_a_page(caller: Caller, world: World, origin: str) -> None:
    """Whatever the project lists: its key has no business there, as one of its own pages may read."""
    headers = {"x-project-api-key": world.tenant.project_key, "origin": origin}
    for rpc, fields in (
        ("GetProject", {}),
        ("UpdateProject", {"name": "x"}),
        ("CreateSession", {"account_id": world.tenant.account_id}),
        ("ListAccountApiKeys", {"account_id": world.tenant.account_id}),
    ):
        answer = await caller.ask(rpc, headers, **fields)
        told = PAGE if origin == PAGE else None
        assert (answer.code, answer.status, answer.page) == ("ORIGIN_NOT_ALLOWED", 403, told)


async def test_page_that_a_key_does_not_work_on_does_not_prolong_it(signing: Signing) -> None:
    """Of a device key that would be its idle end; neither that nor an API key was used."""
    world, clock = signing.world, signing.cluster.clock
    device = await signing.submit_headers("CreateDeviceKey", signing.session, b"{}")

    async def used() -> tuple[Any, Any, Any]:
        (key,) = good(await world.by_project("GET", world.account("/api-key")))
        [shown] = (await signing.submit_headers("ListDeviceKeys", signing.session))["device_keys"]
        return key["last_used_at"], shown["last_used_at_ns"], shown["expires_at_ns"]

    keys = ({"x_device_key": device["secret_key"]}, {"x_api_key": world.secret_key})
    unused = (None, *(await used())[1:])
    clock.advance(seconds=60)
    for key in keys:
        answer = await signing.cluster.rest("GET", "/api/v1/wallets", **key, origin=UNLISTED_PAGE)
        refused(answer, 403, "ORIGIN_NOT_ALLOWED")
    assert await used() == unused
    for key in keys:
        good(await signing.cluster.rest("GET", "/api/v1/wallets", **key))
    now_ns, (_, made_ns, end_ns) = clock.now_ns(), unused
    assert await used() == (rfc3339(now_ns), now_ns, end_ns + now_ns - made_ns)


async def test_page_of_no_measure_is_refused_as_any_other(cluster: Cluster, world: World) -> None:
    """As long as a head may be, and of bytes that are no text: what is sent on has its bounds."""
    origin = b"\xff" * 20_000
    for path, header in (
        ("/api/v1/wallets", ("x-api-key", world.secret_key)),
        ("/api/v1/project", ("x-project-api-key", world.tenant.project_key)),
    ):
        headers = [(header[0].encode(), header[1].encode()), (b"origin", origin)]
        answer = await cluster.http.get(path, headers=headers)
        refused(answer, 403, "ORIGIN_NOT_ALLOWED")


def wallet_of(signing: Signing) -> Any:  # noqa: ANN401
    """A signed request that makes a wallet."""
    return signing.signed(SIGNED_WRITE, signing.session, wallet_pb2.CreateWallet(name="Mine"))


async def test_signed_request_works_on_the_project_s_pages_alone(caller: Caller, signing: Signing) -> None:
    """Payload and headers alike; a refused one is not used up, and works from a listed page later."""
    signed = wallet_of(signing)
    for origin in BAD_PAGES:
        answer = await caller.ask_signed(signing, SIGNED_WRITE, signed, origin=origin)
        assert (answer.code, answer.status, answer.page) == ("ORIGIN_NOT_ALLOWED", 403, None)
    answer = await caller.ask_signed(signing, SIGNED_WRITE, signed, origin=PAGE)
    assert (answer.body["status"], answer.page) == ("request_completed", PAGE)
    for origin in BAD_PAGES:
        repeat = await caller.ask_signed(signing, SIGNED_WRITE, signed, origin=origin)
        assert (repeat.code, repeat.page) == ("ORIGIN_NOT_ALLOWED", None)
    for origin, code in ((PAGE, "OK"), (UNLISTED_PAGE, "ORIGIN_NOT_ALLOWED")):
        read = signing.signed_headers(SIGNED_READ, signing.session)
        assert (await caller.ask_signed(signing, SIGNED_READ, read, origin=origin)).code == code


async def test_browser_session_beside_a_signature_is_ignored(caller: Caller, signing: Signing) -> None:
    """It is no second credential, on a page or from a server."""
    for headers in ({"origin": PAGE}, {}):
        answer = await caller.ask_signed(
            signing, SIGNED_WRITE, wallet_of(signing), x_session_token="garbage", **headers
        )
        assert answer.body["status"] == "request_completed"


async def test_signed_request_of_a_page_is_told_the_project_s_state_before_its_origin(
    caller: Caller, signing: Signing
) -> None:
    """And its origin before its limit, of which the refused took nothing."""
    project_id = signing.world.tenant.project_id
    signed = wallet_of(signing)
    for state, code in (
        ({"status": "SUSPENDED"}, "TENANT_SUSPENDED"),
        ({"status": "PAST_DUE"}, "SUBSCRIPTION_PAST_DUE"),
        ({"status": "ACTIVE", "modules": ("trading",)}, "MODULE_NOT_ENABLED"),
        ({"modules": ("wallet", "trading", "signing")}, "ORIGIN_NOT_ALLOWED"),
    ):
        await signing.cluster.set_project(project_id, **state)
        answer = await caller.ask_signed(signing, SIGNED_WRITE, signed, origin=UNLISTED_PAGE)
        assert (answer.code, answer.page) == (code, None)
    # Signed requests of a page are none of API keys: they do not need the module for pages.
    answer = await caller.ask_signed(signing, SIGNED_WRITE, signed, origin=PAGE)
    assert answer.body["status"] == "request_completed"


async def test_refusal_of_a_signed_request_can_be_read_by_a_listed_page_once_its_signature_holds(
    caller: Caller, signing: Signing
) -> None:
    """Whose request it is, is not known before; a forged one tells no page anything."""
    body = wallet_pb2.CreateWallet(name="Mine")
    forged = signing.signed(SIGNED_WRITE, new_pair(), body)
    answer = await caller.ask_signed(signing, SIGNED_WRITE, forged, origin=PAGE)
    assert (answer.code, answer.page) == ("SIGNATURE_INVALID", None)
    await signing.cluster.set_project(signing.world.tenant.project_id, status="SUSPENDED")
    answer = await caller.ask_signed(signing, SIGNED_WRITE, wallet_of(signing), origin=PAGE)
    assert (answer.code, answer.page) == ("TENANT_SUSPENDED", PAGE)


async def pages_told(caller: Caller, page: Page, rpc: str, **fields: Any) -> list[tuple[str, str | None]]:  # noqa: ANN401
    """What the key's page, and one that it does not list, are answered."""
    found = []
    for origin in (PAGE, UNLISTED_PAGE):
        answer = await caller.ask(rpc, page.writing | {"origin": origin}, **fields)
        found.append((answer.code, answer.page))
    return found


async def test_answer_to_a_recognised_key_can_be_read_by_its_page(caller: Caller, world: World) -> None:
    """200, 400, 401, 403, 404; an unlisted page reads none of them, and is told of the origin alone."""
    page = await make_page(world)
    unlisted = ("ORIGIN_NOT_ALLOWED", None)
    assert await pages_told(caller, page, "ListWallets") == [("OK", PAGE), unlisted]
    answer = await caller.ask("GetWallet", page.reading, wallet_id="nobody's")
    assert (answer.code, answer.page) == ("WALLET_NOT_FOUND", PAGE)
    answer = await caller.ask("CreateWallet", page.writing, name="x" * 1000)
    assert (answer.code, answer.page) == ("VALIDATION_ERROR", PAGE)
    for headers, code in (
        (page.reading, "SESSION_REQUIRED"),
        (page.reading | {"x-session-token": "garbage"}, "SESSION_INVALID"),
    ):
        answer = await caller.ask("CreateWallet", headers)
        assert (answer.code, answer.page) == (code, PAGE)
    answer = await caller.ask("CreateApiKey", page.writing)
    assert (answer.code, answer.page) == ("CREDENTIAL_NOT_ACCEPTED", PAGE)


async def test_refusal_that_knows_the_key_can_be_read_by_its_page_before_anything_is_allowed(
    caller: Caller, world: World
) -> None:
    """A page learns why its key stopped: suspended, cancelled, deleted, expired; others learn nothing."""
    page = await make_page(world)
    project_id = world.tenant.project_id
    for status, code in (("SUSPENDED", "TENANT_SUSPENDED"), ("CANCELLED", "SUBSCRIPTION_CANCELLED")):
        await world.cluster.set_project(project_id, status=status)
        assert await pages_told(caller, page, "ListWallets") == [(code, PAGE), (code, None)]
    await world.cluster.set_project(project_id, status="ACTIVE")
    good(await world.by_project("PUT", world.account("/status"), {"status": "SUSPENDED"}))
    code = "ACCOUNT_SUSPENDED"
    assert await pages_told(caller, page, "ListWallets") == [(code, PAGE), (code, None)]
    good(await world.by_project("PUT", world.account("/status"), {"status": "ACTIVE"}))
    await page.delete_key()
    code = "API_KEY_REVOKED"
    # The second time from memory.
    for _ in range(2):
        assert await pages_told(caller, page, "ListWallets") == [(code, PAGE), (code, None)]


async def test_refusal_of_an_expired_key_can_be_read_by_its_page(caller: Caller, world: World) -> None:
    """As that of a deleted one."""
    end = rfc3339(world.cluster.clock.now_ns() + NANOSECONDS_PER_SECOND)
    page = await make_page(world, expires_at=end)
    world.cluster.clock.advance(seconds=1)
    code = "API_KEY_EXPIRED"
    for _ in range(2):
        assert await pages_told(caller, page, "ListWallets") == [(code, PAGE), (code, None)]


async def test_refusal_of_an_ended_session_can_be_read_by_the_project_s_pages(
    caller: Caller, world: World
) -> None:
    """Ended or run out, it is known whose it was; a token of nobody's is read by nobody."""
    policy = {"idle_timeout_seconds": 120, "absolute_cap_seconds": 120}
    good(await world.by_project("PUT", PROJECT, {"session_policy": policy}))
    short = (await world.cluster.session(world.tenant))["session_token"]
    good(await world.by_session("POST", "/api/v1/account/session/expire"))
    world.cluster.clock.advance(seconds=120)
    for token, code, page in (
        (world.token, "SESSION_INVALID", PAGE),
        (short, "SESSION_EXPIRED", PAGE),
        ("nonsense", "SESSION_INVALID", None),
        (f"{world.token[:-4]}AAAA", "SESSION_INVALID", None),
    ):
        answer = await caller.ask("ListWallets", {"authorization": f"Bearer {token}", "origin": PAGE})
        assert (answer.code, answer.page) == (code, page)
        answer = await caller.ask(
            "ListWallets", {"authorization": f"Bearer {token}", "origin": UNLISTED_PAGE}
        )
        assert (answer.code, answer.page) == (code, None)


async def test_refusal_for_the_rate_can_be_read_by_the_key_s_page(caller: Caller, world: World) -> None:
    """With the figures and the pause, so that a page can wait as long as it has to."""
    page = await make_page(world)
    for _ in range(WRITES_COUNT):
        assert (
            await caller.ask("CancelAllOrders", page.writing, wallet_id="none")
        ).code == "WALLET_NOT_FOUND"
    answer = await caller.ask("CancelAllOrders", page.writing, wallet_id="none")
    assert (answer.code, answer.status, answer.page) == ("RATE_LIMITED", 429, PAGE)
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "ratelimit"} <= set(answer.headers)
    if caller.transport == REST:
        assert answer.headers["retry-after"] == "60"
    answer = await caller.ask("CancelAllOrders", page.writing | {"origin": UNLISTED_PAGE}, wallet_id="none")
    assert (answer.code, answer.page) == ("ORIGIN_NOT_ALLOWED", None)


async def test_refusal_of_a_key_that_nobody_has_can_be_read_by_no_page(caller: Caller, world: World) -> None:
    """Of a key that is not known there are no pages; nor of two credentials, nor of none."""
    page = await make_page(world)
    for headers in (
        {"x-api-key": UNKNOWN_SECRET},
        {"x-api-key": "nonsense"},
        {"authorization": "Bearer nonsense"},
        {"x-api-key": page.secret_key, "x-device-key": "dk_x"},
        {},
    ):
        answer = await caller.ask("ListWallets", headers | {"origin": PAGE, "x-session-token": page.token})
        assert answer.code != "OK"
        assert answer.page is None


async def test_answer_to_a_server_names_no_page(caller: Caller, world: World) -> None:
    """Whoever sends no origin is none."""
    page = await make_page(world)
    for credential in ({"x-api-key": page.secret_key}, {"authorization": f"Bearer {world.token}"}):
        answer = await caller.ask("ListWallets", credential)
        assert (answer.code, answer.page) == ("OK", None)


async def test_every_method_of_an_account_s_session_names_the_page(caller: Caller, world: World) -> None:
    """Also those that end what they are called with, and those that refuse."""
    for rpc, method in BY_RPC.items():
        if method.descriptor.input_type.fields or method.effect.name != "READ" or not method.accepts:
            continue
        answer = await caller.ask(rpc, by_session(world))
        assert answer.page == PAGE, rpc
    answer = await caller.ask("ExpireCurrentSession", by_session(world))
    assert (answer.code, answer.page) == ("OK", PAGE)

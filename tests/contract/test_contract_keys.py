"""The published flow of API keys, word by word: made once, shown once, dead at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.secrets import parse_secret_key, public_key_of, public_key_text
from chassis.testing.databases import TemplateDatabases
from tests.cluster import Cluster
from tests.platform_support import (
    BAD_TOKEN,
    NO_KEY,
    UNKNOWN_ID,
    UNKNOWN_SECRET,
    World,
    by_token,
    good,
    make_world,
    private_cluster,
    refused,
    rfc3339,
    sql,
)

PROJECT: Final = "/api/v1/project"
PROJECT_KEYS: Final = "/api/v1/project/api-key"
CURRENT: Final = "/api/v1/account/session"
OWN_KEYS: Final = "/api/v1/account/api-key"
WALLETS: Final = "/api/v1/wallets"
ORIGIN: Final = "https://shop.example"
OTHER_ORIGIN: Final = "https://till.example"
DEFAULT_SCOPES: Final = ["account:read", "wallet:read", "wallet:write", "orders:write"]
ALL_SCOPES: Final = [*DEFAULT_SCOPES, "keys:write", "withdrawals:write"]
COMMON_FIELDS: Final = ["name", "scopes", "origins", "subaccount_index", "active", "created_at", "updated_at"]
ISSUED_FIELDS: Final = ["public_key", "secret_key", *COMMON_FIELDS, "expires_at"]
# Of a key that was neither used nor rotated; a rotated one is in a file of its own.
UNSET: Final = {"last_used_at": None, "replaced_by": None, "retires_at": None}
LISTED_FIELDS: Final = ["public_key", *COMMON_FIELDS, "expires_at", *UNSET]


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def now(world: World, later_ns: int = 0) -> str:
    return rfc3339(world.cluster.clock.now_ns() + later_ns)


async def with_key(world: World, secret: str, verb: str = "GET", path: str = WALLETS) -> httpx.Response:
    return await world.cluster.rest(verb, path, x_api_key=secret)


async def listed(world: World) -> Any:  # noqa: ANN401
    return good(await world.by_project("GET", world.account("/api-key")))


async def test_key_is_made_with_its_secret_and_the_published_fields(world: World) -> None:
    """201 and ten members; the public key is the secret's own."""
    body = {"name": "bot-1_A", "scopes": ["wallet:read"], "origins": [ORIGIN], "subaccount_index": 0}
    end = now(world, 3600 * NANOSECONDS_PER_SECOND)
    answer = await world.by_project("POST", world.account("/api-key"), {**body, "expires_at": end})
    key = good(answer, 201)
    assert list(key) == ISSUED_FIELDS
    seed = parse_secret_key(key["secret_key"])
    assert seed is not None
    assert key["public_key"] == public_key_text(public_key_of(seed))
    assert {name: key[name] for name in body} == body
    assert (key["created_at"], key["updated_at"], key["expires_at"]) == (now(world), now(world), end)
    assert key["active"] is True


async def test_secret_is_in_one_answer_and_nowhere_else(world: World) -> None:
    """Not in a list, not in a change, not in the database, not even as its seed."""
    key = good(await world.by_session("POST", OWN_KEYS, {"name": "mine"}), 201)
    path = world.account(f"/api-key/{key['public_key']}")
    seed = parse_secret_key(key["secret_key"])
    assert seed is not None
    for answer in (
        await world.by_project("GET", world.account("/api-key")),
        await world.by_session("GET", OWN_KEYS),
        await with_key(world, key["secret_key"], path=OWN_KEYS),
        await with_key(world, key["secret_key"], path=CURRENT),
        await world.by_project("PUT", path, {"name": "other"}),
    ):
        good(answer)
        assert "sk_" not in answer.text
        assert "secret" not in answer.text
        assert key["public_key"] in answer.text
    for table in ("api_key", "owner", "audit"):
        stored = str(await sql(world.cluster, "keys", f"SELECT t::text FROM {table} t"))  # noqa: S608
        assert stored.count(seed.hex()) == 0
        assert stored.count(key["secret_key"][3:]) == 0


async def test_keys_are_listed_oldest_first_without_secrets(world: World) -> None:
    """By the project, a session and a key of the account, all the same; other accounts' are not in it."""
    world.cluster.clock.advance(seconds=1)
    made = [await world.cluster.api_key(world.tenant, name=f"key-{number}") for number in range(3)]
    await make_world(world.cluster)
    listing = await listed(world)
    assert [key["public_key"] for key in listing] == [world.public_key, *(key["public_key"] for key in made)]
    assert all(list(key) == LISTED_FIELDS for key in listing)
    assert [{**key, "last_used_at": None} for key in listing[1:]] == [
        {name: key[name] for name in LISTED_FIELDS if name not in UNSET} | UNSET for key in made
    ]
    assert good(await world.by_session("GET", OWN_KEYS)) == listing
    seen_by_key = good(await with_key(world, world.secret_key, path=OWN_KEYS))
    assert [key["public_key"] for key in seen_by_key] == [key["public_key"] for key in listing]


async def test_key_identifies_its_account_in_either_header(world: World) -> None:
    """`X-API-KEY` and `Authorization: Bearer` are the same to everything behind them."""
    expected = {
        "authenticated": True,
        "account_id": world.tenant.account_id,
        "project_id": world.tenant.project_id,
        "kind": "ACCOUNT_API_KEY",
        "credential_id": world.public_key,
        "scopes": sorted(DEFAULT_SCOPES),
        "subaccount_index": None,
        "expires_at": None,
    }
    assert good(await world.by_key("GET", CURRENT)) == expected
    assert good(await by_token(world.cluster, world.secret_key, "GET", CURRENT)) == expected
    assert good(await by_token(world.cluster, world.secret_key, "GET", WALLETS)) == good(
        await world.by_key("GET", WALLETS)
    )


async def test_deleted_key_is_revoked_at_once(world: World) -> None:
    """In both headers and for every service; deleting it again finds nothing, and no list shows it."""
    good(await world.by_key("GET", WALLETS))
    path = f"/api-key/{world.public_key}"
    assert good(await world.by_project("DELETE", world.account(path))) == {"deleted": True}
    for answer in (
        await world.by_key("GET", WALLETS),
        await world.by_key("GET", CURRENT),
        await world.by_key("GET", OWN_KEYS),
        await by_token(world.cluster, world.secret_key, "GET", WALLETS),
    ):
        refused(answer, 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)
    # For ever: also when the memory of bad keys has forgotten it.
    world.cluster.clock.advance(seconds=60)
    refused(await world.by_key("GET", WALLETS), 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)
    refused(await world.by_project("DELETE", world.account(path)), 404, "API_KEY_NOT_FOUND")
    refused(await world.by_project("PUT", world.account(path), {"name": "x"}), 404, "API_KEY_NOT_FOUND")
    assert await listed(world) == []


async def test_key_that_is_unknown_or_noise_is_invalid(world: World) -> None:
    """Every character counts: one changed makes noise; a whole key that nobody has is refused alike."""
    secret = world.secret_key
    for position in range(3, len(secret), 5):
        changed = secret[:position] + ("A" if secret[position] != "A" else "B") + secret[position + 1 :]
        refused(await with_key(world, changed), 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    for text in (UNKNOWN_SECRET, secret[:-1], secret + "A", secret.upper(), secret.replace("sk_", "pk_")):
        refused(await with_key(world, text), 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    answer = await with_key(world, world.public_key)
    refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    good(await with_key(world, secret))


@pytest.mark.parametrize(
    ("verb", "path", "scope"),
    [
        ("GET", CURRENT, "account:read"),
        ("GET", OWN_KEYS, "account:read"),
        ("GET", "/api/v1/wallets", "wallet:read"),
        ("GET", "/api/v1/wallet", "wallet:read"),
        ("GET", "/api/v1/wallet/pol", "wallet:read"),
        ("GET", "/api/v1/wallet/{wallet}", "wallet:read"),
        ("GET", "/api/v1/wallet/{wallet}/balance", "wallet:read"),
        ("GET", "/api/v1/wallet/{wallet}/transfers", "wallet:read"),
        ("GET", "/api/v1/wallet/pol/{wallet}/balance", "wallet:read"),
        ("GET", "/api/v1/wallet/pol/{wallet}/transfers", "wallet:read"),
        ("POST", "/api/v1/wallet", "wallet:write"),
        ("PUT", "/api/v1/wallet/{wallet}", "wallet:write"),
        ("DELETE", "/api/v1/wallet/{wallet}", "wallet:write"),
    ],
)
async def test_route_is_open_to_its_scope_alone(world: World, verb: str, path: str, scope: str) -> None:
    """A key with every other scope is refused, before anything is looked at; one with this alone is not."""
    path = path.format(wallet=await world.wallet_id())
    others = [name for name in ALL_SCOPES if name != scope]
    without = await world.cluster.api_key(world.tenant, scopes=others)
    refused(await with_key(world, without["secret_key"], verb, path), 403, "SCOPE_NOT_GRANTED")
    only = await world.cluster.api_key(world.tenant, scopes=[scope])
    assert (await with_key(world, only["secret_key"], verb, path)).status_code in (200, 201)


async def test_key_without_scopes_named_gets_the_default(world: World) -> None:
    """A session's less `keys:write`; for a page the reading ones and orders, whoever makes it."""
    for origins, scopes in (
        ([], DEFAULT_SCOPES),
        ([ORIGIN], ["account:read", "wallet:read", "orders:write"]),
    ):
        for made in (
            await world.by_project("POST", world.account("/api-key"), {"origins": origins}),
            await world.by_session("POST", OWN_KEYS, {"origins": origins}),
        ):
            assert good(made, 201)["scopes"] == scopes
    body = {"scopes": ["withdrawals:write", "keys:write"]}
    made = await world.by_project("POST", world.account("/api-key"), body)
    assert good(made, 201)["scopes"] == body["scopes"]


async def test_key_with_origins_works_from_those_and_from_servers(world: World) -> None:
    """Exactly those; a page may read with it and needs more to write."""
    key = await world.cluster.api_key(world.tenant, origins=[ORIGIN], scopes=DEFAULT_SCOPES)
    secret = key["secret_key"]
    good(await with_key(world, secret))
    good(await world.cluster.rest("GET", WALLETS, x_api_key=secret, origin=ORIGIN))
    for origin in ("https://shop.example.evil.example", "http://shop.example", f"{ORIGIN}:8443", "null"):
        answer = await world.cluster.rest("GET", WALLETS, x_api_key=secret, origin=origin)
        refused(answer, 403, "ORIGIN_NOT_ALLOWED")
    write = await world.cluster.rest("POST", "/api/v1/wallet", x_api_key=secret, origin=ORIGIN)
    assert (write.status_code, write.json()["error"]["code"]) == (401, "SESSION_REQUIRED")
    good(await with_key(world, secret, "POST", "/api/v1/wallet"), 201)


@pytest.mark.parametrize("by_session", [False, True], ids=["by_project", "by_session"])
async def test_key_works_from_what_its_last_change_left(world: World, by_session: bool) -> None:
    """Name, scopes and origins are put by the project and by the account; the next request has them."""
    issued = await world.cluster.api_key(world.tenant, origins=[OTHER_ORIGIN])
    assert issued["scopes"] == ["account:read", "wallet:read", "orders:write"]
    own = f"{OWN_KEYS}/{issued['public_key']}"

    async def put(**fields: object) -> httpx.Response:
        if by_session:
            return await world.by_session("PUT", own, fields)
        return await world.by_project("PUT", world.account(f"/api-key/{issued['public_key']}"), fields)

    async def from_page(origin: str, path: str = WALLETS) -> tuple[int, str]:
        answer = await world.cluster.rest("GET", path, x_api_key=issued["secret_key"], origin=origin)
        return answer.status_code, "" if answer.is_success else answer.json()["error"]["code"]

    assert await from_page(ORIGIN) == (403, "ORIGIN_NOT_ALLOWED")
    changed = good(await put(name="shop", origins=[OTHER_ORIGIN, ORIGIN]))
    assert (changed["name"], changed["origins"]) == ("shop", [OTHER_ORIGIN, ORIGIN])
    assert await from_page(ORIGIN) == (200, "")
    changed = good(await put(scopes=["account:read"], origins=[ORIGIN]))
    assert (changed["name"], changed["scopes"], changed["origins"]) == ("shop", ["account:read"], [ORIGIN])
    assert await from_page(OTHER_ORIGIN) == (403, "ORIGIN_NOT_ALLOWED")
    assert await from_page(ORIGIN) == (403, "SCOPE_NOT_GRANTED")
    assert await from_page(ORIGIN, CURRENT) == (200, "")
    for fields, path in (
        ({"scopes": ["account:read", "keys:write"]}, "scopes"),
        ({"scopes": ["withdrawals:write"]}, "scopes"),
        ({"origins": [ORIGIN, "https://*.example"]}, "origins[1]"),
        ({"origins": ["null"]}, "origins[0]"),
        ({"origins": [ORIGIN, ORIGIN]}, "origins[1]"),
    ):
        refused(await put(**fields), 400, "VALIDATION_ERROR", paths=[path])
    good(await put(scopes=["keys:write"], origins=[]))
    refused(await put(origins=[ORIGIN]), 400, "VALIDATION_ERROR", paths=["scopes"])


async def test_key_ends_at_its_own_end_to_the_nanosecond(world: World) -> None:
    """Kept and shown with all its digits; a nanosecond before it the key works."""
    end = now(world, 90 * NANOSECONDS_PER_SECOND + 7)
    key = await world.cluster.api_key(world.tenant, expires_at=end)
    assert key["expires_at"] == end
    secret = key["secret_key"]
    assert good(await with_key(world, secret, path=CURRENT))["expires_at"] == end
    world.cluster.clock.advance_ns(90 * NANOSECONDS_PER_SECOND + 6)
    good(await with_key(world, secret))
    world.cluster.clock.advance_ns(1)
    refused(await with_key(world, secret), 401, "API_KEY_EXPIRED", challenge=BAD_TOKEN)
    (shown,) = [one for one in await listed(world) if one["public_key"] == key["public_key"]]
    assert (shown["active"], shown["expires_at"]) == (False, end)
    good(await world.by_project("DELETE", world.account(f"/api-key/{key['public_key']}")))
    refused(await with_key(world, secret), 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)


async def test_last_use_is_noted_once_in_30_seconds(world: World) -> None:
    """Null until the first use, whichever service it was for; a look at the list is no use."""

    async def last_used() -> str | None:
        (shown,) = await listed(world)
        assert isinstance(shown["last_used_at"], str | None)
        return shown["last_used_at"]

    assert await last_used() is None
    good(await world.by_key("GET", WALLETS))
    first = now(world)
    assert await last_used() == first
    world.cluster.clock.advance_ns(30 * NANOSECONDS_PER_SECOND - 1)
    good(await world.by_key("GET", CURRENT))
    assert await last_used() == first
    world.cluster.clock.advance_ns(1)
    good(await world.by_key("GET", CURRENT))
    assert await last_used() == now(world)


async def test_key_never_makes_changes_or_deletes_keys(world: World) -> None:
    """Whatever its scopes, its own rights and other keys included: 403, and nothing has happened."""
    mighty = await world.cluster.api_key(world.tenant, scopes=ALL_SCOPES)
    before = await listed(world)
    for public_key in (mighty["public_key"], world.public_key, "nonsense"):
        path = f"{OWN_KEYS}/{public_key}"
        for verb, target, body in (
            ("POST", OWN_KEYS, {"scopes": ["account:read"]}),
            ("PUT", path, {"name": "changed"}),
            ("DELETE", path, None),
        ):
            answer = await world.cluster.rest(verb, target, json=body, x_api_key=mighty["secret_key"])
            refused(answer, 403, "CREDENTIAL_NOT_ACCEPTED")
    after = await listed(world)
    assert [{**key, "last_used_at": None} for key in after] == [
        {**key, "last_used_at": None} for key in before
    ]


async def test_session_manages_its_accounts_keys(world: World) -> None:
    """Makes, changes and deletes them, but never gives more than a session has."""
    key = good(await world.by_session("POST", OWN_KEYS, {"name": "a", "scopes": ["account:read"]}), 201)
    path = f"{OWN_KEYS}/{key['public_key']}"
    world.cluster.clock.advance(seconds=1)
    changed = good(await world.by_session("PUT", path, {"scopes": ["wallet:read"], "name": "b"}))
    assert list(changed) == LISTED_FIELDS
    assert (changed["name"], changed["scopes"]) == ("b", ["wallet:read"])
    assert (changed["created_at"], changed["updated_at"]) == (key["created_at"], now(world))
    refused(await with_key(world, key["secret_key"], path=CURRENT), 403, "SCOPE_NOT_GRANTED")
    good(await with_key(world, key["secret_key"], path=WALLETS))
    answer = await world.by_session("PUT", path, {"scopes": ["withdrawals:write"]})
    refused(answer, 403, "SCOPE_NOT_GRANTED", paths=["scopes"])
    assert good(await world.by_session("PUT", path, {"origins": [ORIGIN]}))["origins"] == [ORIGIN]
    assert good(await world.by_session("PUT", path, {}))["origins"] == [ORIGIN]
    assert good(await world.by_session("PUT", path, {"origins": []}))["origins"] == []
    assert good(await world.by_session("DELETE", path)) == {"deleted": True}
    refused(await with_key(world, key["secret_key"]), 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)


async def test_project_key_is_rotated_by_hand(world: World) -> None:
    """Make a second, delete the first with it; the last one stays, and is nothing on account routes."""
    (first,) = good(await world.by_project("GET", PROJECT_KEYS))
    second = good(await world.by_project("POST", PROJECT_KEYS, {"name": "second"}), 201)
    assert list(second) == ISSUED_FIELDS
    assert (second["name"], second["scopes"], second["origins"]) == ("second", [], [])

    async def with_second(verb: str, path: str) -> httpx.Response:
        return await world.cluster.rest(verb, path, x_project_api_key=second["secret_key"])

    keys = good(await with_second("GET", PROJECT_KEYS))
    assert [key["public_key"] for key in keys] == [first["public_key"], second["public_key"]]
    assert all(list(key) == LISTED_FIELDS for key in keys)
    path = f"{PROJECT_KEYS}/{first['public_key']}"
    assert good(await with_second("DELETE", path)) == {"deleted": True}
    refused(await world.by_project("GET", PROJECT), 401, "API_KEY_REVOKED", challenge=NO_KEY)
    refused(await with_second("DELETE", path), 404, "API_KEY_NOT_FOUND")
    refused(
        await with_second("DELETE", f"{PROJECT_KEYS}/{second['public_key']}"), 409, "LAST_PROJECT_API_KEY"
    )
    good(await with_second("GET", PROJECT))
    for verb, account_path in (("GET", CURRENT), ("GET", WALLETS), ("POST", OWN_KEYS), ("GET", OWN_KEYS)):
        refused(await with_second(verb, account_path), 403, "CREDENTIAL_NOT_ACCEPTED")


async def test_account_key_is_not_found_among_the_projects_and_the_other_way_round(world: World) -> None:
    """A public key is looked for where the path says it is."""
    (project_key,) = good(await world.by_project("GET", PROJECT_KEYS))
    for answer in (
        await world.by_project("DELETE", f"{PROJECT_KEYS}/{world.public_key}"),
        await world.by_project("DELETE", world.account(f"/api-key/{project_key['public_key']}")),
        await world.by_session("DELETE", f"{OWN_KEYS}/{project_key['public_key']}"),
        await world.by_session("DELETE", f"{OWN_KEYS}/{UNKNOWN_ID}"),
    ):
        refused(answer, 404, "API_KEY_NOT_FOUND")
    good(await world.by_key("GET", CURRENT))
    good(await world.by_project("GET", PROJECT))

"""Making browser sessions over REST and gRPC: who may, from where, and what the token says."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.testing.databases import TemplateDatabases
from tests.cluster import AUDIENCE, Cluster
from tests.contract.channel_support import (
    HOUR_SECONDS,
    PAGE,
    REST,
    SECOND_PAGE,
    SESSIONS,
    TRANSPORTS,
    UNLISTED_PAGE,
    Answer,
    Caller,
    make_page,
    mint,
)
from tests.platform_support import (
    NO_TOKEN,
    UNKNOWN_SECRET,
    World,
    by_token,
    good,
    private_cluster,
    rfc3339,
)
from tests.signing_world import make_signing

MINT: Final = "CreateBrowserSession"
CURRENT: Final = "/api/v1/account/session"
JWKS: Final = "/.well-known/jwks.json"


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


async def key_of(world: World, *origins: str, **fields: object) -> str:
    """A new key of the account for these pages."""
    made = await world.cluster.api_key(world.tenant, origins=list(origins), **fields)
    return str(made["secret_key"])


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_key_on_a_listed_page_is_given_a_token_for_an_hour(
    caller: Caller, world: World, header: str
) -> None:
    """Either way of showing the key; the answer is that of pages, with the end to the second."""
    secret = await key_of(world, PAGE)
    shown = secret if header == "x-api-key" else f"Bearer {secret}"
    answer = await caller.ask(MINT, {header: shown, "origin": PAGE})
    assert (answer.code, answer.status, list(answer.body)) == ("OK", 201, ["data"])
    assert list(answer.body["data"]) == ["sessionToken", "expiresAt"]
    end_ns = world.cluster.clock.now_ns() + HOUR_SECONDS * NANOSECONDS_PER_SECOND
    assert answer.body["data"]["expiresAt"] == rfc3339(end_ns)
    assert answer.page == PAGE
    assert '"browser-session"' in answer.headers["ratelimit-policy"]


async def test_answer_of_a_mint_is_a_page_s_in_every_header(world: World) -> None:
    """Over REST: JSON, never stored, and readable by the page with the headers it may look at."""
    secret = await key_of(world, PAGE)
    answer = await world.cluster.rest("POST", SESSIONS, x_api_key=secret, origin=PAGE)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"x-ratelimit-remaining", "retry-after", "x-request-id"}


async def test_refusal_of_a_mint_is_in_the_envelope_of_pages(world: World) -> None:
    """`error` and `request_id`, nothing around them; a 401 has its challenge."""
    answer = await world.cluster.rest("POST", SESSIONS, origin=PAGE)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, NO_TOKEN)
    assert list(answer.json()) == ["error", "request_id"]
    assert answer.json()["error"]["code"] == "API_KEY_REQUIRED"


async def test_token_names_key_origin_and_account_and_the_published_keys_verify_it(
    caller: Caller, world: World
) -> None:
    """Of a kind of its own, with a key of its own; `exp` is what the answer says."""
    page = await make_page(world)
    answer = await caller.ask(MINT, page.reading)
    token = answer.body["data"]["sessionToken"]
    published = (await world.cluster.rest("GET", JWKS)).json()
    with warnings.catch_warnings():
        # The library wants RFC 9864's newer name for the same algorithm.
        warnings.simplefilter("ignore", SecurityWarning)
        keys = KeySet.import_key_set(published)
        read = jwt.decode(token, keys, algorithms=["EdDSA"])
        session = jwt.decode(world.token, keys, algorithms=["EdDSA"])
    assert read.header == {"alg": "EdDSA", "typ": "sealgate-browser+jwt", "kid": read.header["kid"]}
    assert read.header["kid"] != session.header["kid"]
    now_seconds = world.cluster.clock.now_ns() // NANOSECONDS_PER_SECOND
    claims = dict(read.claims)
    assert claims.pop("ons") > 0
    assert claims.pop("ver") >= 0
    assert claims == {
        "iss": AUDIENCE,
        "aud": "browser",
        "sub": world.tenant.account_id,
        "key": page.public_key,
        "prj": world.tenant.project_id,
        "org": PAGE,
        "iat": now_seconds,
        "exp": now_seconds + HOUR_SECONDS,
    }


async def test_published_keys_are_those_of_both_kinds_of_token(world: World) -> None:
    """Account sessions' first; all of one form, each with a name of its own."""
    keys = (await world.cluster.rest("GET", JWKS)).json()["keys"]
    assert len({key["kid"] for key in keys}) == len(keys) == 2
    for key in keys:
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")


async def test_mint_without_an_origin_is_told_what_is_missing(caller: Caller, world: World) -> None:
    """400 that names the header, also where the key has no origins or fewer scopes."""
    for secret in (
        await key_of(world, PAGE),
        world.secret_key,
        await key_of(world, PAGE, scopes=["orders:write"]),
    ):
        answer = await caller.ask(MINT, {"x-api-key": secret})
        assert (answer.code, answer.status, answer.paths) == ("VALIDATION_ERROR", 400, ("Origin",))
        assert answer.page is None


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "null",
            "",
            UNLISTED_PAGE,
            f"{PAGE}/",
            f"{PAGE}:443",
            "http://shop.example",
            "https://SHOP.example",
        ),
        *(f"{PAGE}.evil.example", "https://a.shop.example", "*", f"{PAGE}, {PAGE}"),
    ],
)
async def test_mint_is_refused_on_a_page_that_the_key_does_not_list(
    caller: Caller, world: World, origin: str
) -> None:
    """To the byte: another scheme, host or port, a page without an origin, more than one."""
    secret = await key_of(world, PAGE, SECOND_PAGE)
    answer = await caller.ask(MINT, {"x-api-key": secret, "origin": origin})
    assert (answer.code, answer.status, answer.page) == ("ORIGIN_NOT_ALLOWED", 403, None)


async def test_mint_is_refused_for_a_key_that_is_for_servers(caller: Caller, world: World) -> None:
    """A key without origins is on no page, whatever the project lists; the project's pages may read it."""
    good(await world.by_project("PUT", "/api/v1/project", {"allowed_origins": [PAGE]}))
    answer = await caller.ask(MINT, {"x-api-key": world.secret_key, "origin": PAGE})
    assert (answer.code, answer.page) == ("ORIGIN_NOT_ALLOWED", PAGE)


@pytest.mark.parametrize("origin", [{"origin": PAGE}, {}], ids=["page", "server"])
async def test_mint_is_for_api_keys_of_accounts_alone(
    caller: Caller, cluster: Cluster, origin: dict[str, str]
) -> None:
    """A session token, a device key and a project key are other credentials, from wherever they come."""
    signing = await make_signing(cluster)
    good(await signing.world.by_project("PUT", "/api/v1/project", {"allowed_origins": [PAGE]}))
    device = await signing.submit_headers("CreateDeviceKey", signing.session, b"{}")
    for credential in (
        {"authorization": f"Bearer {signing.world.token}"},
        {"x-device-key": device["secret_key"]},
        {"x-project-api-key": signing.world.tenant.project_key},
    ):
        answer = await caller.ask(MINT, credential | origin)
        assert (answer.code, answer.status) == ("CREDENTIAL_NOT_ACCEPTED", 403)


async def test_mint_is_refused_for_a_key_that_proves_nothing(caller: Caller, world: World) -> None:
    """Unknown, of the wrong form, of another kind, none, and two."""
    page = {"origin": PAGE}
    for shown, code in (
        ({"x-api-key": UNKNOWN_SECRET}, "API_KEY_INVALID"),
        ({"x-api-key": "nonsense"}, "API_KEY_INVALID"),
        ({"x-api-key": world.tenant.project_key}, "API_KEY_INVALID"),
        ({"authorization": "Bearer nonsense"}, "SESSION_INVALID"),
        ({}, "API_KEY_REQUIRED"),
        ({"x-api-key": world.secret_key, "authorization": f"Bearer {world.token}"}, "CREDENTIAL_AMBIGUOUS"),
    ):
        answer = await caller.ask(MINT, shown | page)
        assert (answer.code, answer.page) == (code, None)


async def test_session_is_minted_whatever_token_comes_along(caller: Caller, world: World) -> None:
    """There is no refresh: an old token beside the key, a live or a dead one, is nothing to a mint."""
    page = await make_page(world)
    for token in (page.token, "garbage", ""):
        answer = await caller.ask(MINT, page.reading | {"x-session-token": token})
        assert answer.code == "OK"


async def test_body_of_a_mint_has_no_members(world: World) -> None:
    """Key and origin say all; nothing, `{}` and nothing else is a body."""
    page = await make_page(world)
    headers = {**page.reading, "content-type": "application/json"}
    for content in (b"", b"{}", b"{ }"):
        assert (await world.cluster.http.post(SESSIONS, content=content, headers=headers)).status_code == 201
    answer = await world.cluster.http.post(SESSIONS, content=b'{"origin":"x"}', headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert [detail["path"] for detail in answer.json()["error"]["details"]] == ["origin"]
    assert answer.headers["access-control-allow-origin"] == PAGE


async def test_minted_sessions_stand_beside_each_other(caller: Caller, world: World) -> None:
    """A new one ends none; each lasts its own hour."""
    page = await make_page(world)
    world.cluster.clock.advance(seconds=1800)
    second = await mint(world.cluster, page.secret_key)
    assert second != page.token
    world.cluster.clock.advance(seconds=1799)
    for token in (page.token, second):
        answer = await caller.ask("CreateWallet", page.reading | {"x-session-token": token})
        assert answer.code == "OK"
    world.cluster.clock.advance(seconds=1)
    answer = await caller.ask("CreateWallet", page.writing)
    assert (answer.code, answer.status, answer.page) == ("SESSION_EXPIRED", 401, PAGE)
    answer = await caller.ask("CreateWallet", page.reading | {"x-session-token": second})
    assert answer.code == "OK"


def replayed(answer: Answer) -> bool:
    """Whether an answer is one that was given before."""
    return answer.headers.get("idempotent-replayed") == "true"


async def test_mint_under_one_idempotency_key_answers_the_same_token(caller: Caller, world: World) -> None:
    """For the same key and origin; for another of either it is another request."""
    page = await make_page(world, origins=[PAGE, SECOND_PAGE])
    once = {"idempotency-key": "one mint"}
    first = await caller.ask(MINT, page.reading | once)
    world.cluster.clock.advance(seconds=60)
    second = await caller.ask(MINT, page.reading | once)
    assert (first.code, replayed(first), second.code, replayed(second)) == ("OK", False, "OK", True)
    assert second.body == first.body
    assert second.page == PAGE
    elsewhere = await caller.ask(MINT, page.reading | once | {"origin": SECOND_PAGE})
    assert (elsewhere.code, elsewhere.page) == ("IDEMPOTENCY_CONFLICT", SECOND_PAGE)
    other = await make_page(world)
    assert (await caller.ask(MINT, other.reading | once)).code == "IDEMPOTENCY_CONFLICT"
    answer = await caller.ask(
        "CreateWallet", page.reading | {"x-session-token": second.body["data"]["sessionToken"]}
    )
    assert answer.code == "OK"


async def test_repeat_over_the_other_transport_is_a_repeat(world: World, cluster: Cluster) -> None:
    """REST and gRPC share the record."""
    page = await make_page(world)
    once = page.reading | {"idempotency-key": "either way"}
    answers = [await Caller(cluster, transport).ask(MINT, once) for transport in TRANSPORTS]
    assert answers[0].body == answers[1].body
    assert [replayed(answer) for answer in answers] == [False, True]


async def test_browser_session_is_no_bearer_token_and_an_account_session_no_browser_session(
    caller: Caller, world: World
) -> None:
    """Each kind in the other's header proves nothing, on a listed page too."""
    good(await world.by_project("PUT", "/api/v1/project", {"allowed_origins": [PAGE]}))
    page = await make_page(world)
    for headers in ({}, {"origin": PAGE}):
        answer = await caller.ask("GetCurrentSession", {"authorization": f"Bearer {page.token}"} | headers)
        assert (answer.code, answer.status, answer.page) == ("SESSION_INVALID", 401, None)
    answer = await caller.ask("CreateWallet", page.reading | {"x-session-token": world.token})
    assert (answer.code, answer.status, answer.page) == ("SESSION_INVALID", 401, PAGE)
    if caller.transport == REST:
        answered = await by_token(world.cluster, page.token, "GET", CURRENT)
        assert answered.json()["error"]["code"] == "SESSION_INVALID"

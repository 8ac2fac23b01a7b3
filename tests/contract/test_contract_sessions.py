"""The published flow of account sessions, word by word, on a clock that the tests move."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.testing.databases import TemplateDatabases
from tests.cluster import Cluster
from tests.platform_support import (
    BAD_TOKEN,
    UNKNOWN_ID,
    World,
    by_token,
    good,
    make_world,
    private_cluster,
    refused,
    rfc3339,
)

PROJECT: Final = "/api/v1/project"
CURRENT: Final = "/api/v1/account/session"
WALLETS: Final = "/api/v1/wallets"
DAY_SECONDS: Final = 24 * 3600
ISSUED_FIELDS: Final = ["account_id", "session_id", "session_token", "created_at", "expires_at"]
LISTED_FIELDS: Final = ["session_id", "created_at", "last_used_at", "expires_at", "user_agent", "address"]


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    # Off the whole second, so that times show what they keep of it.
    cluster.clock.advance_ns(1_234_567)
    return await make_world(cluster)


def in_seconds(world: World, seconds: float) -> str:
    """The time so many seconds from now, as answers write it."""
    return rfc3339(world.cluster.clock.now_ns() + round(seconds * NANOSECONDS_PER_SECOND))


async def create(world: World, **headers: str) -> Any:  # noqa: ANN401
    return good(await world.by_project("POST", world.account("/session"), **headers), 201)


async def listed(world: World) -> Any:  # noqa: ANN401
    return good(await world.by_project("GET", world.account("/sessions")))


async def listed_ids(world: World) -> list[str]:
    return [session["session_id"] for session in await listed(world)]


def of(world: World, session: Any, verb: str) -> str:  # noqa: ANN401
    """The path that refreshes or expires a session."""
    return world.account(f"/session/{session['session_id']}/{verb}")


async def policy(world: World, idle_seconds: int, cap_seconds: int) -> None:
    """Sets how long the sessions live that are made from now on."""
    wanted = {"idle_timeout_seconds": idle_seconds, "absolute_cap_seconds": cap_seconds}
    changed = good(await world.by_project("PUT", PROJECT, {"session_policy": wanted}))
    assert changed["session_policy"] == wanted


async def works(world: World, session: Any, path: str = CURRENT) -> None:  # noqa: ANN401
    good(await by_token(world.cluster, session["session_token"], "GET", path))


async def dead(world: World, session: Any, code: str) -> None:  # noqa: ANN401
    """The token is refused with `code`, by auth's own routes and by another service's."""
    for path in (CURRENT, WALLETS):
        answer = await by_token(world.cluster, session["session_token"], "GET", path)
        refused(answer, 401, code, challenge=BAD_TOKEN)


async def test_created_session_has_the_published_fields(world: World) -> None:
    """201, five members, the end that an unused session comes to."""
    session = await create(world)
    assert list(session) == ISSUED_FIELDS
    assert session["account_id"] == world.tenant.account_id
    assert session["created_at"] == in_seconds(world, 0)
    assert session["expires_at"] == in_seconds(world, 7 * DAY_SECONDS)
    assert re.fullmatch(r"2026-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", session["created_at"])
    assert session["session_id"] in await listed_ids(world)
    assert session["session_token"].count(".") == 2


async def test_current_session_says_who_the_caller_is(world: World) -> None:
    """Eight members, with every scope but the one that is only given by name."""
    assert good(await world.by_session("GET", CURRENT)) == {
        "authenticated": True,
        "account_id": world.tenant.account_id,
        "project_id": world.tenant.project_id,
        "kind": "ACCOUNT_SESSION",
        "credential_id": world.session_id,
        "scopes": ["account:read", "keys:write", "orders:write", "wallet:read", "wallet:write"],
        "subaccount_index": None,
        "expires_at": in_seconds(world, 7 * DAY_SECONDS),
    }


async def test_unused_session_ends_with_its_idle_timeout_to_the_nanosecond(world: World) -> None:
    """Default 7 days: one nanosecond before, the token works; at that instant it has expired."""
    used, unused = await create(world), await create(world)
    world.cluster.clock.advance_ns(7 * DAY_SECONDS * NANOSECONDS_PER_SECOND - 1)
    await works(world, used)
    world.cluster.clock.advance_ns(1)
    await works(world, used)
    await dead(world, unused, "SESSION_EXPIRED")
    assert await listed_ids(world) == [used["session_id"]]


async def test_used_session_ends_with_its_absolute_cap_to_the_nanosecond(world: World) -> None:
    """Use moves the idle end, but never past the cap, which answers show as soon as it is the nearer."""
    await policy(world, 120, 300)
    session = await create(world)
    assert session["expires_at"] == in_seconds(world, 120)
    for end_seconds in (120, 120, 100):
        answer = await by_token(world.cluster, session["session_token"], "GET", CURRENT)
        assert good(answer)["expires_at"] == in_seconds(world, end_seconds)
        world.cluster.clock.advance(seconds=100 - 1e-9 if end_seconds == 100 else 100)
    await works(world, session)
    world.cluster.clock.advance_ns(1)
    await dead(world, session, "SESSION_EXPIRED")


async def test_session_policy_holds_for_sessions_made_after_it(world: World) -> None:
    """An older session keeps the clocks it was given, and a refreshed one gets the new."""
    old = await create(world)
    await policy(world, 120, 300)
    young = await create(world)
    world.cluster.clock.advance(seconds=120)
    await works(world, old)
    await dead(world, young, "SESSION_EXPIRED")
    fresh = good(await world.by_project("POST", of(world, old, "refresh")))
    assert fresh["expires_at"] == in_seconds(world, 120)


async def test_use_is_noted_once_in_30_seconds(world: World) -> None:
    """Within 30 s of a noted use nothing is written, and what is shown does not move; listing is no use."""
    await policy(world, 120, 3600)
    session = await create(world)

    async def last_used() -> tuple[str, str]:
        (shown,) = [one for one in await listed(world) if one["session_id"] == session["session_id"]]
        return shown["last_used_at"], shown["expires_at"]

    made = (in_seconds(world, 0), in_seconds(world, 120))
    world.cluster.clock.advance_ns(30 * NANOSECONDS_PER_SECOND - 1)
    assert await last_used() == made
    await works(world, session)
    assert await last_used() == made
    world.cluster.clock.advance_ns(1)
    assert await last_used() == made
    # A use through another service counts as well.
    await works(world, session, WALLETS)
    assert await last_used() == (in_seconds(world, 0), in_seconds(world, 120))


async def test_refresh_ends_the_session_and_starts_both_clocks_anew(world: World) -> None:
    """200, the same members, another session; the old token is no longer anybody's."""
    await policy(world, 120, 300)
    old = await create(world)
    world.cluster.clock.advance(seconds=100)
    fresh = good(await world.by_project("POST", of(world, old, "refresh")))
    assert list(fresh) == ISSUED_FIELDS
    assert fresh["account_id"] == world.tenant.account_id
    assert fresh["session_id"] != old["session_id"]
    assert fresh["session_token"] != old["session_token"]
    assert (fresh["created_at"], fresh["expires_at"]) == (in_seconds(world, 0), in_seconds(world, 120))
    await dead(world, old, "SESSION_INVALID")
    for _ in range(2):
        world.cluster.clock.advance(seconds=110)
        await works(world, fresh)
    world.cluster.clock.advance(seconds=80)
    await dead(world, fresh, "SESSION_EXPIRED")


async def test_refresh_repeated_within_30_seconds_answers_the_same_token(world: World) -> None:
    """A lost answer is had again, letter by letter, and nothing more is made; after that it is told off."""
    old = await create(world)
    first = await world.by_project("POST", of(world, old, "refresh"))
    for wait_ns in (0, 10 * NANOSECONDS_PER_SECOND, 20 * NANOSECONDS_PER_SECOND - 1):
        world.cluster.clock.advance_ns(wait_ns)
        again = await world.by_project("POST", of(world, old, "refresh"))
        assert (again.status_code, again.content) == (200, first.content)
    assert await listed_ids(world) == [good(first)["session_id"], world.session_id]
    world.cluster.clock.advance_ns(2)
    refused(await world.by_project("POST", of(world, old, "refresh")), 409, "SESSION_ALREADY_REFRESHED")
    await works(world, good(first))


async def test_refresh_is_repeated_only_while_the_successor_lives(world: World) -> None:
    """A successor that was refreshed, expired or revoked is not handed out again."""
    for verb in ("refresh", "expire"):
        old = await create(world)
        fresh = good(await world.by_project("POST", of(world, old, "refresh")))
        good(await world.by_project("POST", of(world, fresh, verb)))
        answer = await world.by_project("POST", of(world, old, "refresh"))
        refused(answer, 409, "SESSION_ALREADY_REFRESHED")


async def test_refresh_of_an_ended_session_is_refused(world: World) -> None:
    """Expired by call, or run out: it is not live, and stays so."""
    await policy(world, 120, 300)
    ended, lapsed = await create(world), await create(world)
    good(await world.by_project("POST", of(world, ended, "expire")))
    world.cluster.clock.advance(seconds=120)
    for session in (ended, lapsed, ended):
        answer = await world.by_project("POST", of(world, session, "refresh"))
        refused(answer, 409, "SESSION_NOT_LIVE")
    await dead(world, ended, "SESSION_INVALID")


async def test_expire_says_whether_the_session_was_live(world: World) -> None:
    """True once, false ever after; false as well for one that ran out or was refreshed."""
    await policy(world, 120, 300)
    session, lapsed, refreshed = [await create(world) for _ in range(3)]
    good(await world.by_project("POST", of(world, refreshed, "refresh")))
    answers = [good(await world.by_project("POST", of(world, session, "expire"))) for _ in range(3)]
    assert answers == [{"expired": True}, {"expired": False}, {"expired": False}]
    await dead(world, session, "SESSION_INVALID")
    world.cluster.clock.advance(seconds=120)
    for over in (lapsed, refreshed):
        assert good(await world.by_project("POST", of(world, over, "expire"))) == {"expired": False}
    await dead(world, lapsed, "SESSION_EXPIRED")


async def test_session_of_another_account_is_not_found(world: World) -> None:
    """Of the same project or of another: the answer is that of a session that never was."""
    account = good(await world.by_project("POST", f"{PROJECT}/account"), 201)["account_id"]
    stranger = await make_world(world.cluster)
    for verb in ("refresh", "expire"):
        for path in (
            f"{PROJECT}/account/{account}/session/{world.session_id}/{verb}",
            world.account(f"/session/{stranger.session_id}/{verb}"),
            world.account(f"/session/{UNKNOWN_ID}/{verb}"),
        ):
            refused(await world.by_project("POST", path), 404, "SESSION_NOT_FOUND")
        path = stranger.account(f"/session/{stranger.session_id}/{verb}")
        refused(await world.by_project("POST", path), 404, "ACCOUNT_NOT_FOUND")
    await works(world, {"session_token": stranger.token})
    good(await world.by_session("GET", CURRENT))


async def test_expire_all_counts_the_live_sessions_that_it_ends(world: World) -> None:
    """Neither those that had ended nor another account's; a second time there are none."""
    await policy(world, 120, 300)
    lapsed = await create(world)
    world.cluster.clock.advance(seconds=120)
    ended, refreshed, live = [await create(world) for _ in range(3)]
    good(await world.by_project("POST", of(world, ended, "expire")))
    good(await world.by_project("POST", of(world, refreshed, "refresh")))
    other = await make_world(world.cluster)
    path = world.account("/sessions/expire-all")
    # The world's own, the refreshed one's successor, and the live one.
    assert good(await world.by_project("POST", path)) == {"expired": 3}
    assert good(await world.by_project("POST", path)) == {"expired": 0}
    assert await listed(world) == []
    await dead(world, live, "SESSION_INVALID")
    await dead(world, lapsed, "SESSION_EXPIRED")
    good(await other.by_session("GET", CURRENT))
    # Keys are no sessions.
    good(await world.by_key("GET", CURRENT))
    await works(world, await create(world))


async def test_suspension_ends_sessions_for_good(world: World) -> None:
    """They do not come back with the account; its keys do."""
    suspended = await world.by_project("PUT", world.account("/status"), {"status": "SUSPENDED"})
    assert good(suspended)["status"] == "SUSPENDED"
    await dead(world, {"session_token": world.token}, "SESSION_INVALID")
    refused(await world.by_key("GET", WALLETS), 403, "ACCOUNT_SUSPENDED")
    refused(await world.by_project("POST", world.account("/session")), 403, "ACCOUNT_SUSPENDED")
    assert await listed(world) == []
    assert good(await world.by_project("GET", world.account()))["status"] == "SUSPENDED"
    good(await world.by_project("PUT", world.account("/status"), {"status": "ACTIVE"}))
    await dead(world, {"session_token": world.token}, "SESSION_INVALID")
    assert await listed(world) == []
    good(await world.by_key("GET", WALLETS))
    await works(world, await create(world))


async def test_session_ends_itself(world: World) -> None:
    """Only itself, and only once: the second time nobody is there to be told."""
    other = await create(world)
    assert good(await world.by_session("POST", f"{CURRENT}/expire")) == {"expired": True}
    answer = await world.by_session("POST", f"{CURRENT}/expire")
    refused(answer, 401, "SESSION_INVALID", challenge=BAD_TOKEN)
    await works(world, other)
    assert await listed_ids(world) == [other["session_id"]]


async def test_list_shows_live_sessions_newest_first(world: World) -> None:
    """Six members each, no token, and where each came from."""
    world.cluster.clock.advance(seconds=1)
    agent = "Browser/1.0 (X11; Linux) \u00e9"
    second = good(
        await world.cluster.http.post(
            world.account("/session"),
            headers=[
                (b"x-project-api-key", world.tenant.project_key.encode()),
                (b"user-agent", agent.encode("latin-1")),
                # Nobody of ours stands before this edge, so nobody can vouch for another address.
                (b"x-forwarded-for", b"203.0.113.9"),
                (b"x-sealgate-client-address", b"203.0.113.9"),
            ],
        ),
        201,
    )
    world.cluster.clock.advance(seconds=1)
    third = await create(world, user_agent="a" * 5000)
    fourth = await create(world, user_agent="")
    sessions = await listed(world)
    assert [session["session_id"] for session in sessions] == [
        fourth["session_id"],
        third["session_id"],
        second["session_id"],
        world.session_id,
    ]
    assert all(list(session) == LISTED_FIELDS for session in sessions)
    assert [session["user_agent"] for session in sessions[:3]] == [
        "",
        "a" * 512,
        agent.replace("\u00e9", "?"),
    ]
    assert {session["address"] for session in sessions} == {"127.0.0.1"}
    assert sessions[2]["created_at"] == second["created_at"]
    assert sessions[2]["last_used_at"] == second["created_at"]
    assert sessions[2]["expires_at"] == second["expires_at"]


async def test_session_works_from_the_projects_origins_alone(world: World) -> None:
    """For reads and writes; a list that changes counts at once."""
    good(
        await world.by_project(
            "PUT", PROJECT, {"allowed_origins": ["https://a.example", "https://b.example"]}
        )
    )
    good(await world.by_session("GET", WALLETS, origin="https://b.example"))
    good(await world.by_session("POST", "/api/v1/wallet", origin="https://a.example"), 201)
    good(await world.by_project("PUT", PROJECT, {"allowed_origins": ["https://a.example"]}))
    answer = await world.by_session("GET", WALLETS, origin="https://b.example")
    refused(answer, 403, "ORIGIN_NOT_ALLOWED")


async def test_one_answer_refreshes_for_all_who_ask_at_once(world: World) -> None:
    """Ten callers with the same old session get one successor."""
    calls = [
        world.by_project("POST", world.account(f"/session/{world.session_id}/refresh")) for _ in range(10)
    ]
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await listed_ids(world) == [good(answers[0])["session_id"]]

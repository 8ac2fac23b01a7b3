"""What is on record for a key: which answers, and nothing secret; and what follows an answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from chassis.secrets import parse_secret_key
from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from tests.cluster import UNLIMITED, Cluster, run_cluster
from tests.contract.idempotency_support import KEY, REPLAYED, post_grpc, records
from tests.platform_support import (
    BAD_TOKEN,
    UNKNOWN_ID,
    UNKNOWN_SECRET,
    World,
    account_held,
    good,
    held,
    make_world,
    private_cluster,
    refused,
    script,
    set_project_status,
    sql,
)

ACCOUNTS: Final = "/api/v1/project/account"
OWN_KEYS: Final = "/api/v1/account/api-key"
CURRENT: Final = "/api/v1/account/session"
REFRESH: Final = "/sealgate.auth.v1.SessionService/RefreshSession"
WRITES_COUNT: Final = 2


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its parts are broken."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def named(key: str) -> dict[str, str]:
    """The header, as `Cluster.rest` takes it."""
    return {"idempotency_key": key}


def replayed(answer: httpx.Response, status: int = 200) -> Any:  # noqa: ANN401
    """The `response` of an answer that must have been given before."""
    assert answer.headers.get(REPLAYED) == "true", answer.text
    return good(answer, status)


async def test_secret_is_in_the_first_answer_and_on_no_record(world: World) -> None:
    """Neither as text nor as bytes; the key that it belongs to works, and its repeat names it."""
    first = good(await world.by_session("POST", OWN_KEYS, {"name": "mine"}, **named("k")), 201)
    again = replayed(await world.by_session("POST", OWN_KEYS, {"name": "mine"}, **named("k")), 201)
    assert again == {**first, "secret_key": None}
    seed = parse_secret_key(first["secret_key"])
    assert seed is not None
    rows = await sql(world.cluster, "keys", "SELECT answer, t::text AS text FROM idempotency t")
    assert any(first["public_key"].encode() in row["answer"] for row in rows)
    for row in rows:
        for form in (first["secret_key"].encode(), first["secret_key"][3:].encode(), seed):
            assert form not in row["answer"]
            assert form.hex() not in row["text"]
            assert form not in row["text"].encode()
    good(await world.cluster.rest("GET", CURRENT, x_api_key=first["secret_key"]))


async def test_session_token_is_said_again_and_on_no_record(world: World) -> None:
    """Creation and refresh give the same token as the first time, signed anew and not read from anywhere."""
    path = world.account("/session")
    first = good(await world.by_project("POST", path, {}, **named("k")), 201)
    again = await world.by_project("POST", path, {}, **named("k"))
    assert replayed(again, 201) == first
    refresh = f"{path}/{first['session_id']}/refresh"
    fresher = good(await world.by_project("POST", refresh, {}, **named("r")))
    # Long after the service itself would still answer a refresh that is repeated.
    world.cluster.clock.advance(seconds=3600)
    assert replayed(await world.by_project("POST", refresh, {}, **named("r"))) == fresher
    good(await world.cluster.rest("GET", CURRENT, authorization=f"Bearer {fresher['session_token']}"))
    rows = await sql(world.cluster, "auth", "SELECT answer FROM idempotency")
    assert any(first["session_id"].encode() in row["answer"] for row in rows)
    for token in (first["session_token"], fresher["session_token"]):
        for part in token.split("."):
            assert all(part.encode() not in row["answer"] for row in rows)


async def test_domain_refusal_is_on_record_and_said_again(world: World) -> None:
    """A 409 of the method's own is an answer: the repeat has its words, under its own request id."""
    path = world.account(f"/session/{world.session_id}")
    good(await world.by_project("POST", f"{path}/expire"))
    first = await world.by_project("POST", f"{path}/refresh", {}, **named("k"))
    refused(first, 409, "SESSION_NOT_LIVE")
    assert await records(world.cluster, "auth", world.tenant.project_id) == [("k", "SESSION_NOT_LIVE")]
    again = await world.by_project("POST", f"{path}/refresh", {}, **named("k"))
    assert again.headers[REPLAYED] == "true"
    assert {**again.json(), "request_id": ""} == {**first.json(), "request_id": ""}
    same_id = {"x_request_id": first.headers["x-request-id"]}
    third = await world.by_project("POST", f"{path}/refresh", {}, **named("k"), **same_id)
    assert (third.status_code, third.content) == (409, first.content)
    fields = {"account_id": world.tenant.account_id, "session_id": world.session_id}
    pairs = [("x-project-api-key", world.tenant.project_key), (KEY, "k")]
    sent = await post_grpc(world.cluster, REFRESH, fields, pairs)
    assert (sent.code, sent.headers[REPLAYED]) == ("SESSION_NOT_LIVE", "true")
    other = await world.by_project("POST", f"{world.account('/session')}/{UNKNOWN_ID}/refresh", **named("k"))
    refused(other, 409, "IDEMPOTENCY_CONFLICT")


async def test_refusals_that_can_pass_are_not_on_record(world: World) -> None:
    """400, 401, 403, 404: once the cause is gone the same key runs, for the first time."""
    tenant, cluster = world.tenant, world.cluster
    keys, sessions = world.account("/api-key"), world.account("/session")
    refused(
        await world.by_project("POST", keys, {"scopes": []}, **named("k")),
        400,
        "VALIDATION_ERROR",
        paths=["scopes"],
    )
    refused(
        await world.by_project("POST", keys, {"unknown": 1}, **named("k")),
        400,
        "VALIDATION_ERROR",
        paths=["unknown"],
    )
    stranger = await cluster.rest("POST", keys, x_project_api_key=UNKNOWN_SECRET, **named("k"))
    refused(stranger, 401, "API_KEY_INVALID", challenge=stranger.headers["www-authenticate"])
    unknown = f"{sessions}/{UNKNOWN_ID}/refresh"
    refused(await world.by_project("POST", unknown, **named("k")), 404, "SESSION_NOT_FOUND")
    await set_project_status(tenant, cluster, "PAST_DUE")
    refused(await world.by_project("POST", keys, **named("k")), 403, "SUBSCRIPTION_PAST_DUE")
    await set_project_status(tenant, cluster, "ACTIVE")
    good(await world.by_project("PUT", world.account("/status"), {"status": "SUSPENDED"}))
    refused(await world.by_project("POST", keys, **named("k")), 403, "ACCOUNT_SUSPENDED")
    refused(await world.by_project("POST", sessions, **named("k")), 403, "ACCOUNT_SUSPENDED")
    good(await world.by_project("PUT", world.account("/status"), {"status": "ACTIVE"}))
    for service in ("auth", "keys"):
        assert await records(cluster, service, tenant.project_id) == []
    for path in (keys, sessions):
        answer = await world.by_project("POST", path, **named("k"))
        good(answer, 201)
        assert REPLAYED not in answer.headers


async def test_failures_are_not_on_record(world: World) -> None:
    """500 and 503 leave no effect and no record; the same key runs when all is well again."""
    path = world.account("/session")
    async with account_held(world):
        refused(await world.by_project("POST", path, {}, **named("k")), 503, "UNAVAILABLE", retry_after="1")
    await script(world.cluster, "auth", "ALTER TABLE audit RENAME action TO elsewhere")
    try:
        refused(await world.by_project("POST", path, {}, **named("k")), 500, "INTERNAL")
    finally:
        await script(world.cluster, "auth", "ALTER TABLE audit RENAME elsewhere TO action")
    assert await records(world.cluster, "auth", world.tenant.project_id) == []
    assert len(good(await world.by_project("GET", world.account("/sessions")))) == 1
    answer = await world.by_project("POST", path, {}, **named("k"))
    good(answer, 201)
    assert REPLAYED not in answer.headers


async def test_effect_and_record_are_one(world: World) -> None:
    """An answer that cannot be kept has had no effect: here, because the record is refused."""
    await script(
        world.cluster,
        "auth",
        "ALTER TABLE idempotency ADD CONSTRAINT not_now CHECK (idempotency_key <> 'refused')",
    )
    try:
        refused(await world.by_project("POST", ACCOUNTS, {}, **named("refused")), 500, "INTERNAL")
        assert len(good(await world.by_project("GET", ACCOUNTS))) == 1
    finally:
        await script(world.cluster, "auth", "ALTER TABLE idempotency DROP CONSTRAINT not_now")
    good(await world.by_project("POST", ACCOUNTS, {}, **named("refused")), 201)


async def test_limited_request_is_not_on_record(
    template_databases: TemplateDatabases, short_directory: Path
) -> None:
    """429 comes before the key is looked at, for repeats too: a replay is a request like any other."""
    databases = DatabaseFactory(template_databases)
    directory = short_directory / "limited"
    directory.mkdir(mode=0o700)
    async with run_cluster(databases, directory, rate_limits={**UNLIMITED, "write": WRITES_COUNT}) as cluster:
        project_id, key = await cluster.project()
        for number in range(WRITES_COUNT):
            answer = await cluster.rest("POST", ACCOUNTS, x_project_api_key=key, **named(f"k{number}"))
            good(answer, 201)
        for name in ("k0", "new"):
            limited = await cluster.rest("POST", ACCOUNTS, x_project_api_key=key, **named(name))
            assert (limited.status_code, limited.json()["error"]["code"]) == (429, "RATE_LIMITED")
            assert REPLAYED not in limited.headers
        kept = await records(cluster, "auth", project_id)
        assert kept == [(f"k{number}", "OK") for number in range(WRITES_COUNT)]
        cluster.clock.advance(seconds=61)
        replayed(await cluster.rest("POST", ACCOUNTS, x_project_api_key=key, **named("k0")), 201)
    await databases.close()


async def test_revocation_is_in_force_and_finished_by_its_repeat(world: World) -> None:
    """When keys cannot be told, sessions end all the same; the repeat under the key tells it."""
    path = world.account("/sessions/expire-all")
    account_id = uuid.UUID(world.tenant.account_id)
    fence = "SELECT minimum_account_version AS version FROM owner WHERE owner_id = $1"

    async def fenced_version() -> int:
        (row,) = await sql(world.cluster, "keys", fence, account_id)
        return int(row["version"])

    async with held(world.cluster, "keys", f"{fence} FOR UPDATE", account_id):
        answer = await world.by_project("POST", path, {}, **named("k"))
        refused(answer, 503, "UNAVAILABLE", retry_after="1")
        refused(await world.by_session("GET", CURRENT), 401, "SESSION_INVALID", challenge=BAD_TOKEN)
        again = await world.by_project("POST", path, {}, **named("k"))
        refused(again, 503, "UNAVAILABLE", retry_after="1")
        assert await fenced_version() == 0
    assert replayed(await world.by_project("POST", path, {}, **named("k"))) == {"expired": 1}
    assert await fenced_version() == 1
    (row,) = await sql(world.cluster, "auth", "SELECT version FROM account WHERE account_id = $1", account_id)
    assert row["version"] == 1


async def test_repeat_waits_for_nobody(world: World) -> None:
    """A replay takes no lock of the account's: it is answered while the account is held."""
    path = world.account("/session")
    first = good(await world.by_project("POST", path, {}, **named("k")), 201)
    async with account_held(world):
        async with asyncio.timeout(30):
            assert replayed(await world.by_project("POST", path, {}, **named("k")), 201) == first

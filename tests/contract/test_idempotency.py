"""One key, one effect: what is answered again, what is refused, what is forgotten."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from chassis.db.idempotency import Scope
from chassis.limits import IDEMPOTENCY_KEPT_SECONDS, IDEMPOTENCY_SWEPT_COUNT
from chassis.testing.databases import TemplateDatabases
from tests.cluster import Cluster
from tests.contract.idempotency_support import KEY, OMITTED, REPLAYED, Sent, post_grpc, records
from tests.platform_support import (
    UNKNOWN_ID,
    World,
    account_held,
    good,
    held,
    make_world,
    private_cluster,
    refused,
    sql,
)

ACCOUNTS: Final = "/api/v1/project/account"
PROJECT_KEYS: Final = "/api/v1/project/api-key"
WALLET: Final = "/api/v1/wallet"
CREATE_ACCOUNT: Final = "/sealgate.auth.v1.AccountService/CreateAccount"
CREATE_WALLET: Final = "/sealgate.wallet.v1.WalletService/CreateWallet"
REPEATS_COUNT: Final = 50


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
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


def fresh(answer: httpx.Response, status: int = 200) -> Any:  # noqa: ANN401
    """The `response` of an answer that must not have been given before."""
    assert REPLAYED not in answer.headers
    return good(answer, status)


async def account_count(world: World) -> int:
    return len(good(await world.by_project("GET", ACCOUNTS)))


async def test_other_request_under_the_key_is_a_conflict(world: World) -> None:
    """It is refused, does nothing, and the first answer stays what the key stands for."""
    first = fresh(await world.by_project("POST", ACCOUNTS, {"metadata": {"a": 1}}, **named("k")), 201)
    other = await world.by_project("POST", ACCOUNTS, {"metadata": {"a": 2}}, **named("k"))
    refused(other, 409, "IDEMPOTENCY_CONFLICT")
    assert await account_count(world) == 2
    again = await world.by_project("POST", ACCOUNTS, {"metadata": {"a": 1}}, **named("k"))
    assert replayed(again, 201) == first


async def test_other_request_under_the_key_is_a_conflict_over_grpc(world: World) -> None:
    """The same code from the service itself."""
    pairs = [("x-project-api-key", world.tenant.project_key), (KEY, "k")]
    asked: tuple[dict[str, Any], dict[str, Any]] = ({"metadata": {"a": 1}}, {"metadata": {}})
    assert (await post_grpc(world.cluster, CREATE_ACCOUNT, asked[0], pairs)).code == "OK"
    assert (await post_grpc(world.cluster, CREATE_ACCOUNT, asked[1], pairs)).code == "IDEMPOTENCY_CONFLICT"


async def test_same_request_in_other_words_is_a_repeat(world: World) -> None:
    """What counts is what was asked: order of members, blanks and a `null` are not part of it."""
    members = {f"member-{number}": number for number in range(20)}
    headers = {"x-project-api-key": world.tenant.project_key, "content-type": "application/json", KEY: "k"}
    texts = (
        json.dumps({"metadata": members}),
        json.dumps({"metadata": dict(reversed(members.items()))}, indent=1),
    )
    answers = [await world.cluster.http.post(ACCOUNTS, content=text, headers=headers) for text in texts]
    assert replayed(answers[1], 201) == fresh(answers[0], 201)
    assert answers[1].content == answers[0].content
    pairs = [("x-project-api-key", world.tenant.project_key), (KEY, "other")]
    sent = [await post_grpc(world.cluster, CREATE_ACCOUNT, {"metadata": members}, pairs) for _ in range(3)]
    assert [answer.headers.get(REPLAYED) for answer in sent] == [None, "true", "true"]
    assert len({answer.answer for answer in sent}) == 1


async def test_key_whose_request_still_runs_is_refused_by_name(world: World) -> None:
    """While another transaction has the key, nothing is done and nothing waits; then it runs."""
    scope = Scope("k", CREATE_ACCOUNT, uuid.UUID(world.tenant.project_id), None)
    pairs = [("x-project-api-key", world.tenant.project_key), (KEY, "k")]
    lock = "SELECT pg_advisory_xact_lock($1)"
    async with held(world.cluster, "auth", lock, scope.lock_number()):
        refused(await world.by_project("POST", ACCOUNTS, {}, **named("k")), 409, "REQUEST_IN_PROGRESS")
        sent = await post_grpc(world.cluster, CREATE_ACCOUNT, {}, pairs)
        assert (sent.code, sent.answer) == ("REQUEST_IN_PROGRESS", b"[]")
        fresh(await world.by_project("POST", ACCOUNTS, {}, **named("other")), 201)
    fresh(await world.by_project("POST", ACCOUNTS, {}, **named("k")), 201)


async def test_fifty_repeats_at_once_have_one_effect(world: World) -> None:
    """Each gets the one answer or is told to come again, over both ways in; none does it again."""
    headers = {**named("k"), "x_api_key": world.secret_key}
    pairs = [("x-api-key", world.secret_key), (KEY, "k")]

    async def over_rest() -> tuple[str, bool]:
        answer = await world.cluster.rest("POST", WALLET, json={"name": "Once"}, **headers)
        code = "OK" if answer.status_code == 201 else answer.json()["error"]["code"]
        return code, REPLAYED in answer.headers

    async def over_grpc() -> tuple[str, bool]:
        sent: Sent = await post_grpc(world.cluster, CREATE_WALLET, {"name": "Once"}, pairs)
        return sent.code, REPLAYED in sent.headers

    works = [over_rest() if number % 2 else over_grpc() for number in range(REPEATS_COUNT)]
    answers = Counter(await asyncio.gather(*works))
    assert answers[("OK", False)] == 1
    # UNAVAILABLE is said to whom a busy machine has no connection to its database for.
    again = {("REQUEST_IN_PROGRESS", False), ("UNAVAILABLE", False)}
    assert answers.keys() <= {("OK", False), ("OK", True), *again}, answers
    assert await over_rest() == ("OK", True)
    wallets = good(await world.by_key("GET", "/api/v1/wallets"))
    assert [wallet["name"] for wallet in wallets].count("Once") == 1


@pytest.mark.parametrize("over", ["rest", "grpc"])
async def test_key_that_is_none_is_named(world: World, over: str) -> None:
    """Empty, past 255 characters or sent twice: 400 with the header's name, and nothing is done."""
    for sent_keys in ([""], ["k" * 256], ["a", "b"], ["a", "a"]):
        pairs = [("x-project-api-key", world.tenant.project_key), *((KEY, key) for key in sent_keys)]
        if over == "rest":
            refused(
                await world.cluster.http.post(ACCOUNTS, headers=pairs), 400, "VALIDATION_ERROR", paths=[KEY]
            )
        else:
            sent = await post_grpc(world.cluster, CREATE_ACCOUNT, {}, pairs)
            assert (sent.code, json.loads(sent.answer)[0][0]) == ("VALIDATION_ERROR", KEY)
    assert await account_count(world) == 1


async def test_key_is_printable_ascii(world: World) -> None:
    """Bytes beyond it are refused and not rewritten; every character within, and 255 of them, are good."""
    headers = [
        (b"x-project-api-key", world.tenant.project_key.encode()),
        (KEY.encode(), "schlüssel".encode()),
    ]
    refused(await world.cluster.http.post(ACCOUNTS, headers=headers), 400, "VALIDATION_ERROR", paths=[KEY])
    printable = "".join(chr(code) for code in range(ord("!"), ord("~") + 1))
    for key in (f"{printable} {printable}"[:255], "k" * 255, "k"):
        first = fresh(await world.by_project("POST", ACCOUNTS, {}, **named(key)), 201)
        assert replayed(await world.by_project("POST", ACCOUNTS, {}, **named(key)), 201) == first


async def test_key_is_nothing_to_other_verbs(world: World) -> None:
    """A read or a PUT with a key is what it is without: a PUT is its own repeat."""
    path = world.account("/metadata")
    for number in (1, 2):
        answer = await world.by_project("PUT", path, {"metadata": {"n": number}}, **named("k"))
        assert fresh(answer)["metadata"] == {"n": number}
    fresh(await world.by_project("GET", ACCOUNTS, **named("")))
    assert await records(world.cluster, "auth", world.tenant.project_id) == []


async def test_key_is_of_its_project_account_and_method(cluster: Cluster, world: World) -> None:
    """The same text elsewhere is another key: nobody is answered what somebody else asked."""
    other = await make_world(cluster)
    mine = fresh(await world.by_project("POST", ACCOUNTS, {}, **named("k")), 201)
    theirs = fresh(await other.by_project("POST", ACCOUNTS, {}, **named("k")), 201)
    assert mine["account_id"] != theirs["account_id"]
    paths = [world.account("/session"), f"{ACCOUNTS}/{mine['account_id']}/session"]
    sessions = [fresh(await world.by_project("POST", path, {}, **named("k")), 201) for path in paths]
    assert [session["account_id"] for session in sessions] == [world.tenant.account_id, mine["account_id"]]
    keys = [world.account("/api-key"), PROJECT_KEYS]
    made = [fresh(await world.by_project("POST", path, {}, **named("k")), 201) for path in keys]
    assert made[0]["public_key"] != made[1]["public_key"]
    # The caller's own account, by whichever credential, is one account.
    by_key = fresh(await world.by_key("POST", WALLET, {"name": "W"}, **named("k")), 201)
    assert replayed(await world.by_session("POST", WALLET, {"name": "W"}, **named("k")), 201) == by_key


async def test_pinned_credential_is_not_answered_what_a_wider_one_asked(world: World) -> None:
    """What a request could reach is part of it."""
    pinned = await world.cluster.api_key(world.tenant, subaccount_index=0)
    fresh(await world.by_key("POST", WALLET, {"name": "W"}, **named("k")), 201)
    answer = await world.cluster.rest(
        "POST", WALLET, json={"name": "W"}, x_api_key=pinned["secret_key"], **named("k")
    )
    refused(answer, 409, "IDEMPOTENCY_CONFLICT")


async def test_repeat_is_somebody_s_first(cluster: Cluster, world: World) -> None:
    """Who may not ask is not answered, however often it was answered before."""
    fresh(await world.by_key("POST", WALLET, {"name": "W"}, **named("k")), 201)
    good(await world.by_project("DELETE", world.account(f"/api-key/{world.public_key}")))
    answer = await world.by_key("POST", WALLET, {"name": "W"}, **named("k"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "API_KEY_REVOKED")
    reader = await cluster.api_key(world.tenant, scopes=["wallet:read"])
    answer = await cluster.rest(
        "POST", WALLET, json={"name": "W"}, x_api_key=reader["secret_key"], **named("k")
    )
    refused(answer, 403, "SCOPE_NOT_GRANTED")


async def test_answer_is_kept_for_a_day(world: World) -> None:
    """To the nanosecond; then the key is new, and the old answer makes room."""
    first = fresh(await world.by_project("POST", ACCOUNTS, {}, **named("k")), 201)
    world.cluster.clock.advance_ns(IDEMPOTENCY_KEPT_SECONDS * 1_000_000_000 - 1)
    assert replayed(await world.by_project("POST", ACCOUNTS, {}, **named("k")), 201) == first
    world.cluster.clock.advance_ns(1)
    # Another request, even: the key stands for nothing any more.
    second = fresh(await world.by_project("POST", ACCOUNTS, {"metadata": {"a": 1}}, **named("k")), 201)
    assert second["account_id"] != first["account_id"]
    assert await records(world.cluster, "auth", world.tenant.project_id) == [("k", "OK")]


async def test_old_answers_go_as_new_ones_come(world: World) -> None:
    """Each new answer removes a few that are a day old, whoever they were for, and no younger one."""
    await sql(world.cluster, "auth", "DELETE FROM idempotency")
    old_count = IDEMPOTENCY_SWEPT_COUNT + 2
    for number in range(old_count):
        fresh(await world.by_project("POST", ACCOUNTS, {}, **named(f"old-{number}")), 201)
    world.cluster.clock.advance(seconds=IDEMPOTENCY_KEPT_SECONDS - 1)
    fresh(await world.by_project("POST", ACCOUNTS, {}, **named("young")), 201)
    assert len(await records(world.cluster, "auth", world.tenant.project_id)) == old_count + 1
    world.cluster.clock.advance(seconds=1)
    other = await make_world(world.cluster)
    fresh(await other.by_project("POST", ACCOUNTS, {}, **named("new")), 201)
    left = await records(world.cluster, "auth", world.tenant.project_id)
    assert [key for key, _ in left] == [f"old-{number}" for number in range(8, old_count)] + ["young"]


async def test_old_key_is_new_however_many_are_older(world: World) -> None:
    """It does not depend on whether its turn to be removed has come."""
    await sql(world.cluster, "auth", "DELETE FROM idempotency")
    keys = [f"old-{number}" for number in range(IDEMPOTENCY_SWEPT_COUNT + 1)]
    for key in keys:
        fresh(await world.by_project("POST", ACCOUNTS, {}, **named(key)), 201)
        world.cluster.clock.advance_ns(1)
    world.cluster.clock.advance(seconds=IDEMPOTENCY_KEPT_SECONDS)
    fresh(await world.by_project("POST", ACCOUNTS, {}, **named(keys[-1])), 201)
    assert await records(world.cluster, "auth", world.tenant.project_id) == [(keys[-1], "OK")]


async def test_caller_that_hangs_up_leaves_nothing_behind(world: World) -> None:
    """What was begun is undone with its record, and the key is free for the repeat."""
    path = world.account("/session")
    async with account_held(world) as hold:
        request = asyncio.create_task(world.by_project("POST", path, {}, **named("k")))
        await hold.until_waiting()
        refused(await world.by_project("POST", path, {}, **named("k")), 409, "REQUEST_IN_PROGRESS")
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    answer = await world.by_project("POST", path, {}, **named("k"))
    while answer.status_code == 409:
        answer = await world.by_project("POST", path, {}, **named("k"))
    good(answer, 201)
    assert len(good(await world.by_project("GET", world.account("/sessions")))) == 2


async def test_unknown_account_has_no_keys(world: World) -> None:
    """A key under an account that is not the project's is never looked at."""
    path = f"{ACCOUNTS}/{UNKNOWN_ID}/session"
    refused(await world.by_project("POST", path, {}, **named("k")), 404, "ACCOUNT_NOT_FOUND")
    assert await records(world.cluster, "auth", world.tenant.project_id) == []


async def test_omission_is_said_where_there_is_one(world: World) -> None:
    """A replay says which member is absent, and only a replay does."""
    first = await world.by_project("POST", PROJECT_KEYS, {}, **named("k"))
    assert OMITTED not in first.headers
    again = await world.by_project("POST", PROJECT_KEYS, {}, **named("k"))
    assert again.headers[OMITTED] == "secret_key"
    assert replayed(again, 201) == {**fresh(first, 201), "secret_key": None}

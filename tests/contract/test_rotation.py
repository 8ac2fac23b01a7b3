"""Rotation through the whole platform: API keys with an overlap, and the keys that auth signs with."""

from __future__ import annotations

import asyncio
import base64
import json
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

import grpc
import httpx
import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.ids import SystemIds
from chassis.keyring import key_file
from chassis.limits import API_KEY_OVERLAP_MAX_SECONDS, KEY_RING_REREAD_SECONDS
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from cli.key_rotation import Rotation, rotate_signing_keys
from sealgate.auth.v1.identity_pb2 import ListPassportKeysRequest
from sealgate.auth.v1.identity_pb2_grpc import IdentityServiceStub
from sealgate.keys.v1.api_key_pb2 import ListApiKeysRequest
from sealgate.keys.v1.api_key_pb2_grpc import ApiKeyServiceStub
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

CURRENT: Final = "/api/v1/account/session"
WALLETS: Final = "/api/v1/wallets"
JWKS: Final = "/.well-known/jwks.json"
LEAD_SECONDS: Final = 10


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved and its keys are changed."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


async def rotate(world: World, public_key: str, **fields: object) -> Any:  # noqa: ANN401
    """The key's successor."""
    path = world.account(f"/api-key/{public_key}/rotate")
    return good(await world.by_project("POST", path, fields), 201)


async def shown(cluster: Cluster, secret: str) -> list[httpx.Response]:
    """What the key is answered in every place that takes it."""
    return [
        await cluster.rest("GET", CURRENT, x_api_key=secret),
        await cluster.rest("GET", WALLETS, x_api_key=secret),
        await by_token(cluster, secret, "GET", WALLETS),
    ]


async def over_grpc(cluster: Cluster, *header: tuple[str, str]) -> str:
    """OK, or the code that a direct call of the keys service is refused with."""
    try:
        await ApiKeyServiceStub(cluster.public["keys"]).ListApiKeys(
            ListApiKeysRequest(), metadata=header, timeout=30
        )
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error, "ListApiKeys").code.value
    return "OK"


def rotate_signing(cluster: Cluster, purpose: str, lead_seconds: int = LEAD_SECONDS) -> Rotation:
    """What `sealgate key rotate-signing` does, at the platform's own time."""
    ids = SystemIds(cluster.clock)
    return rotate_signing_keys(cluster.directory / purpose, purpose, lead_seconds, cluster.clock, ids)


async def published(cluster: Cluster) -> set[str]:
    """The names of the keys in the public key set."""
    return {key["kid"] for key in (await cluster.rest("GET", JWKS)).json()["keys"]}


async def passport_kids(cluster: Cluster) -> set[str]:
    """The names of the keys that services are given to verify passports with."""
    stub = IdentityServiceStub(cluster.internal["auth"])
    return {key.kid for key in (await stub.ListPassportKeys(ListPassportKeysRequest())).keys}


def kid_of(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


async def test_old_key_works_until_the_overlap_ends_and_not_a_nanosecond_longer(
    cluster: Cluster, world: World
) -> None:
    """Over REST in both headers and over gRPC; then it is REVOKED everywhere, and stays so."""
    new = await rotate(world, world.public_key, overlap_seconds=60)
    end_ns = cluster.clock.now_ns() + 60 * NANOSECONDS_PER_SECOND
    cluster.clock.advance_ns(60 * NANOSECONDS_PER_SECOND - 1)
    answers = await shown(cluster, world.secret_key)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json()["response"]["expires_at"] == rfc3339(end_ns)
    assert await over_grpc(cluster, ("x-api-key", world.secret_key)) == "OK"
    cluster.clock.advance_ns(1)
    for _ in range(2):
        for answer in await shown(cluster, world.secret_key):
            refused(answer, 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)
        assert await over_grpc(cluster, ("x-api-key", world.secret_key)) == "API_KEY_REVOKED"
        cluster.clock.advance(seconds=3600)
    assert [answer.status_code for answer in await shown(cluster, new["secret_key"])] == [200] * 3


async def test_old_key_is_revoked_at_once_when_no_overlap_is_asked_for(
    cluster: Cluster, world: World
) -> None:
    """An empty body, and the successor works from the answer on."""
    good(await world.by_key("GET", CURRENT))
    new = await rotate(world, world.public_key)
    for answer in await shown(cluster, world.secret_key):
        refused(answer, 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)
    assert [answer.status_code for answer in await shown(cluster, new["secret_key"])] == [200] * 3


async def test_list_shows_both_keys_and_when_each_was_used(cluster: Cluster, world: World) -> None:
    """The old one says what it was replaced by and when it goes; no secret is in the list."""
    start_ns = cluster.clock.now_ns()
    new = await rotate(world, world.public_key, overlap_seconds=600)
    good(await world.by_key("GET", CURRENT))
    cluster.clock.advance(seconds=40)
    good(await cluster.rest("GET", CURRENT, x_api_key=new["secret_key"]))
    old, successor = good(await world.by_project("GET", world.account("/api-key")))
    retires_at = rfc3339(start_ns + 600 * NANOSECONDS_PER_SECOND)
    assert (old["public_key"], old["replaced_by"], old["retires_at"]) == (
        world.public_key,
        new["public_key"],
        retires_at,
    )
    assert (old["active"], old["last_used_at"]) == (True, rfc3339(start_ns))
    assert (successor["public_key"], successor["replaced_by"], successor["retires_at"]) == (
        new["public_key"],
        None,
        None,
    )
    assert successor["last_used_at"] == rfc3339(start_ns + 40 * NANOSECONDS_PER_SECOND)
    assert "secret_key" not in old | successor
    assert {name: new[name] for name in ("name", "scopes", "origins", "expires_at")} == {
        name: old[name] for name in ("name", "scopes", "origins", "expires_at")
    }


async def test_second_rotation_is_refused_and_says_what_the_first_one_made(world: World) -> None:
    """KEY_ALREADY_ROTATED, over both ways, whether the first one's overlap is over or not."""
    new = await rotate(world, world.public_key, overlap_seconds=60)
    path = world.account(f"/api-key/{world.public_key}/rotate")
    for _ in range(2):
        answer = await world.by_project("POST", path)
        refused(answer, 409, "KEY_ALREADY_ROTATED", paths=["public_key"])
        assert new["public_key"] in answer.text
        world.cluster.clock.advance(seconds=60)


async def test_repeated_rotation_answers_the_same_key_without_its_secret(world: World) -> None:
    """Under one Idempotency-Key a lost answer rotates nothing a second time."""
    path = world.account(f"/api-key/{world.public_key}/rotate")
    first = good(await world.by_project("POST", path, {}, idempotency_key="rotation-1"), 201)
    again = await world.by_project("POST", path, {}, idempotency_key="rotation-1")
    assert good(again, 201) == first | {"secret_key": None}
    assert (again.headers["idempotent-replayed"], again.headers["idempotent-omitted"]) == (
        "true",
        "secret_key",
    )
    (listed,) = good(await world.by_project("GET", world.account("/api-key")))
    assert listed["public_key"] == first["public_key"]


async def test_rotation_refuses_a_key_that_is_not_there_and_an_overlap_out_of_range(world: World) -> None:
    """Unknown, deleted and another account's are 404; the 400 names the nearest overlap that would do."""
    path = world.account(f"/api-key/{world.public_key}/rotate")
    for overlap, nearest in ((-1, 0), (API_KEY_OVERLAP_MAX_SECONDS + 1, API_KEY_OVERLAP_MAX_SECONDS)):
        answer = await world.by_project("POST", path, {"overlap_seconds": overlap})
        refused(answer, 400, "VALIDATION_ERROR", paths=["overlap_seconds"])
        assert f"the nearest is {nearest}" in answer.text
    no_counts: list[object] = ["soon", 1.5, [], True]
    for wrong in no_counts:
        answer = await world.by_project("POST", path, {"overlap_seconds": wrong})
        refused(answer, 400, "VALIDATION_ERROR", paths=["overlap_seconds"])
    other = await make_world(world.cluster)
    for name in (other.public_key, "nonsense"):
        refused(
            await world.by_project("POST", world.account(f"/api-key/{name}/rotate")), 404, "API_KEY_NOT_FOUND"
        )
    stranger = f"/api/v1/project/account/{UNKNOWN_ID}/api-key/{world.public_key}/rotate"
    refused(await world.by_project("POST", stranger), 404, "ACCOUNT_NOT_FOUND")
    refused(await world.by_session("POST", path), 403, "CREDENTIAL_NOT_ACCEPTED")
    good(await world.by_project("DELETE", world.account(f"/api-key/{world.public_key}")))
    refused(await world.by_project("POST", path), 404, "API_KEY_NOT_FOUND")


async def test_new_signing_keys_are_published_before_they_sign(cluster: Cluster, world: World) -> None:
    """Both key sets have them within seconds; what is signed until their time has the old names."""
    old = kid_of(world.token)
    session, passport = rotate_signing(cluster, "session"), rotate_signing(cluster, "passport")
    cluster.clock.advance(seconds=KEY_RING_REREAD_SECONDS)
    assert session.made.kid in await published(cluster)
    assert passport.made.kid in await passport_kids(cluster)
    assert kid_of((await cluster.session(world.tenant))["session_token"]) == old
    cluster.clock.advance(seconds=LEAD_SECONDS - KEY_RING_REREAD_SECONDS)
    token = (await cluster.session(world.tenant))["session_token"]
    assert kid_of(token) == session.made.kid
    key_set = (await cluster.rest("GET", JWKS)).json()
    assert {old, session.made.kid} <= {key["kid"] for key in key_set["keys"]}
    assert not any("d" in key for key in key_set["keys"])
    with warnings.catch_warnings():
        # The library wants RFC 9864's newer name for the same algorithm.
        warnings.simplefilter("ignore", SecurityWarning)
        for one in (token, world.token):
            jwt.decode(one, KeySet.import_key_set(key_set), algorithms=["EdDSA"])
            good(await by_token(cluster, one, "GET", WALLETS))


async def test_session_is_answered_the_same_token_again_across_a_change_of_keys(
    cluster: Cluster, world: World
) -> None:
    """A refresh that is repeated after the new key began to sign answers what the first one did."""
    rotate_signing(cluster, "session")
    cluster.clock.advance(seconds=LEAD_SECONDS - 1)
    path = world.account(f"/session/{world.session_id}/refresh")
    first = good(await world.by_project("POST", path))
    cluster.clock.advance(seconds=20)
    assert good(await world.by_project("POST", path)) == first
    good(await by_token(cluster, first["session_token"], "GET", WALLETS))


async def test_key_whose_file_was_deleted_signs_and_verifies_nothing_more(
    cluster: Cluster, world: World
) -> None:
    """What an operator does about a leaked key: rotate, wait for the lead, delete the file."""
    rotate_signing(cluster, "session")
    cluster.clock.advance(seconds=LEAD_SECONDS)
    later = (await cluster.session(world.tenant))["session_token"]
    key_file(cluster.directory / "session", kid_of(world.token)).unlink()
    cluster.clock.advance(seconds=KEY_RING_REREAD_SECONDS)
    refused(await world.by_session("GET", WALLETS), 401, "SESSION_INVALID", challenge=BAD_TOKEN)
    good(await by_token(cluster, later, "GET", WALLETS))


class Load:
    """Requests that never pause, each worker's on a connection of its own; what they were answered."""

    def __init__(self, cluster: Cluster, works: Sequence[Callable[[], Awaitable[str]]]) -> None:
        self._clock = cluster.clock
        self._works = works
        self._served = [0] * len(works)
        self._progress = asyncio.Condition()
        self._stopping = False
        self.outcomes: Counter[str] = Counter()

    async def _work_on(self, number: int) -> None:
        while not self._stopping:
            self.outcomes[await self._works[number]()] += 1
            async with self._progress:
                self._served[number] += 1
                self._progress.notify_all()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work_on(number)) for number in range(len(self._works))]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def pass_seconds(self, seconds: int) -> None:
        """Moves time a second at a time, amid requests: at each every worker is served twice."""
        for _ in range(seconds):
            self._clock.advance(seconds=1)
            goals = [served + 2 for served in self._served]
            async with self._progress:
                await self._progress.wait_for(
                    lambda goals=goals: all(map(int.__ge__, self._served, goals))  # type: ignore[misc]
                )


async def test_no_request_is_refused_while_everything_is_rotated(cluster: Cluster, world: World) -> None:
    """API keys with an overlap and both signing keys, again and again, under requests without a pause."""
    held = {"key": world.secret_key, "token": world.token}

    async def rest(client: httpx.AsyncClient, headers: dict[str, str]) -> str:
        answer = await client.get(WALLETS, headers=headers)
        return "OK" if answer.status_code == 200 else answer.text

    def bearer(token: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token}"}

    public_key = world.public_key
    async with AsyncExitStack() as opened:
        connections = [
            await opened.enter_async_context(httpx.AsyncClient(base_url=cluster.http.base_url, timeout=30))
            for _ in range(3)
        ]
        works: list[Callable[[], Awaitable[str]]] = [
            lambda: rest(connections[0], {"x-api-key": held["key"]}),
            lambda: rest(connections[1], bearer(world.token)),
            lambda: rest(connections[2], bearer(held["token"])),
            lambda: over_grpc(cluster, ("x-api-key", held["key"])),
            lambda: over_grpc(cluster, *bearer(held["token"]).items()),
        ]
        load = await opened.enter_async_context(Load(cluster, works))
        for _ in range(2):
            made = [rotate_signing(cluster, purpose) for purpose in ("passport", "session")]
            new = await rotate(world, public_key, overlap_seconds=8)
            # The old secret is shown on for some of its overlap, as by a client that is being changed.
            await load.pass_seconds(4)
            held["key"], public_key = new["secret_key"], new["public_key"]
            await load.pass_seconds(LEAD_SECONDS - 4)
            held["token"] = (await cluster.session(world.tenant))["session_token"]
            assert kid_of(held["token"]) == made[1].made.kid
            await load.pass_seconds(3)
    assert set(load.outcomes) == {"OK"}
    assert load.outcomes["OK"] >= len(works) * 2 * 2 * (LEAD_SECONDS + 3)

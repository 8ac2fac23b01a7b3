"""Two calls at once over REST, pair by pair: nothing is issued past a revocation, and nothing twice.

Each pair is run many times, with the revoking call at another place among the others each time. What
counts is what there is once the revoking call has answered: it never grows after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

import grpc
import httpx
import pytest

from chassis.methods import CredentialKind
from chassis.rpc import metadata
from chassis.rpc.errors import error_from_rpc
from sealgate.auth.v1 import identity_pb2, session_pb2
from sealgate.auth.v1.identity_pb2_grpc import IdentityServiceStub
from sealgate.auth.v1.session_pb2_grpc import SessionServiceStub
from sealgate.keys.v1 import api_key_pb2
from sealgate.keys.v1.api_key_pb2_grpc import ApiKeyServiceStub
from tests.cluster import Cluster
from tests.platform_support import BAD_TOKEN, World, by_token, good, make_world, refused

PROJECT_KEYS: Final = "/api/v1/project/api-key"
OWN_KEYS: Final = "/api/v1/account/api-key"
CURRENT: Final = "/api/v1/account/session"
WALLETS: Final = "/api/v1/wallets"
ROUNDS_COUNT: Final = 7
AT_ONCE_COUNT: Final = 6

_Result = TypeVar("_Result")
Call = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def codes(answers: list[httpx.Response]) -> set[str]:
    """What those answers say that are no success."""
    return {answer.json()["error"]["code"] for answer in answers if answer.status_code >= 400}


def successes(answers: list[httpx.Response]) -> list[Any]:
    return [answer.json()["response"] for answer in answers if answer.status_code < 400]


async def amid(
    world: World, call: Call, revoke: Callable[[], Awaitable[_Result]], round_number: int
) -> tuple[list[httpx.Response], _Result]:
    """Many of `call` at once with `revoke` among them, at a place that moves from round to round."""
    place = round_number % (AT_ONCE_COUNT + 1)

    async def answered() -> httpx.Response:
        return await call()

    before = [asyncio.create_task(answered()) for _ in range(place)]
    for _ in range(round_number % 4):
        # A moment for some of them to get half way.
        await world.cluster.rest("GET", "/healthz")
    revoking = asyncio.ensure_future(revoke())
    after = [asyncio.create_task(answered()) for _ in range(AT_ONCE_COUNT - place)]
    result = await revoking
    return list(await asyncio.gather(*before, *after)), result


async def sessions(world: World) -> list[str]:
    listing = good(await world.by_project("GET", world.account("/sessions")))
    return [session["session_id"] for session in listing]


async def keys(world: World) -> set[str]:
    return {key["public_key"] for key in good(await world.by_project("GET", world.account("/api-key")))}


async def set_status(world: World, status: str) -> None:
    answer = await world.by_project("PUT", world.account("/status"), {"status": status})
    assert good(answer)["status"] == status


async def expire_all(world: World) -> int:
    return int(good(await world.by_project("POST", world.account("/sessions/expire-all")))["expired"])


async def dead(world: World, token: str) -> None:
    answer = await by_token(world.cluster, token, "GET", WALLETS)
    refused(answer, 401, "SESSION_INVALID", challenge=BAD_TOKEN)


async def test_no_session_outlives_a_suspension(world: World) -> None:
    """Created before, it is ended; after, it is refused; and being active again brings none back."""
    for number in range(ROUNDS_COUNT):

        async def suspend() -> list[str]:
            await set_status(world, "SUSPENDED")
            return await sessions(world)

        answers, left = await amid(
            world, partial(world.by_project, "POST", world.account("/session")), suspend, number
        )
        assert left == []
        assert codes(answers) <= {"ACCOUNT_SUSPENDED"}
        assert await sessions(world) == []
        await set_status(world, "ACTIVE")
        assert await sessions(world) == []
        for made in successes(answers):
            await dead(world, made["session_token"])


async def test_no_successor_outlives_an_expiry_of_all(world: World) -> None:
    """Whichever came first: the successor is ended with the rest, or there was nothing to refresh."""
    for number in range(ROUNDS_COUNT):
        old = await world.cluster.session(world.tenant)

        async def revoke() -> tuple[int, list[str]]:
            return await expire_all(world), await sessions(world)

        answers, (ended_count, left) = await amid(
            world,
            partial(world.by_project, "POST", world.account(f"/session/{old['session_id']}/refresh")),
            revoke,
            number,
        )
        assert left == []
        assert ended_count == (2 if number == 0 else 1)
        assert codes(answers) <= {"SESSION_NOT_LIVE", "SESSION_ALREADY_REFRESHED"}
        assert await sessions(world) == []
        assert len({made["session_token"] for made in successes(answers)}) <= 1
        for made in successes(answers):
            await dead(world, made["session_token"])
        await dead(world, old["session_token"])


async def test_session_is_refreshed_or_expired_and_not_both(world: World) -> None:
    """Who says `expired: true` ended it for good; else its one successor lives."""
    for number in range(ROUNDS_COUNT):
        old = await world.cluster.session(world.tenant)
        path = world.account(f"/session/{old['session_id']}")
        answers, expired = await amid(
            world,
            partial(world.by_project, "POST", f"{path}/refresh"),
            partial(world.by_project, "POST", f"{path}/expire"),
            number,
        )
        tokens = {made["session_token"] for made in successes(answers)}
        assert len(tokens) == (0 if good(expired)["expired"] else 1)
        assert codes(answers) <= {"SESSION_NOT_LIVE"}
        assert len(await sessions(world)) == 1 + len(tokens)
        await dead(world, old["session_token"])
        assert await expire_all(world) == 1 + len(tokens)
        good(await world.by_project("POST", world.account("/session")), 201)


async def test_session_ends_itself_once(world: World) -> None:
    """Of many calls at once one says that it ended it; the others found it ended, or were nobody's."""
    for _ in range(ROUNDS_COUNT):
        token = (await world.cluster.session(world.tenant))["session_token"]
        answers = await asyncio.gather(
            *(by_token(world.cluster, token, "POST", f"{CURRENT}/expire") for _ in range(AT_ONCE_COUNT))
        )
        assert [made["expired"] for made in successes(answers)].count(True) == 1
        assert codes(answers) <= {"SESSION_INVALID"}
        await dead(world, token)


async def test_no_key_is_issued_past_a_suspension(world: World) -> None:
    """The account's keys are what they were when the suspending call answered, also when active again.

    A call that knew the account from before the suspension is told to come again: UNAVAILABLE.
    """
    for number in range(ROUNDS_COUNT):
        before = await keys(world)

        async def suspend() -> set[str]:
            await set_status(world, "SUSPENDED")
            return await keys(world)

        answers, left = await amid(
            world, partial(world.by_project, "POST", world.account("/api-key")), suspend, number
        )
        assert codes(answers) <= {"ACCOUNT_SUSPENDED", "UNAVAILABLE"}
        made = successes(answers)
        assert left == before | {key["public_key"] for key in made}
        assert await keys(world) == left
        for key in made:
            answer = await world.cluster.rest("GET", WALLETS, x_api_key=key["secret_key"])
            refused(answer, 403, "ACCOUNT_SUSPENDED")
        await set_status(world, "ACTIVE")
        assert await keys(world) == left
        for key in made:
            good(await world.by_project("DELETE", world.account(f"/api-key/{key['public_key']}")))


@pytest.mark.parametrize("revocation", ["expire-all", "suspend"])
async def test_ended_session_makes_no_key(world: World, revocation: str) -> None:
    """Once a revocation of all sessions has answered, none of them makes another key."""
    for number in range(ROUNDS_COUNT):
        token = (await world.cluster.session(world.tenant))["session_token"]
        before = await keys(world)

        async def revoke() -> set[str]:
            if revocation == "suspend":
                await set_status(world, "SUSPENDED")
            else:
                await expire_all(world)
            return await keys(world)

        answers, left = await amid(
            world,
            partial(by_token, world.cluster, token, "POST", OWN_KEYS),
            revoke,
            number,
        )
        assert codes(answers) <= {"SESSION_INVALID", "ACCOUNT_SUSPENDED"}
        made = {key["public_key"] for key in successes(answers)}
        assert left == before | made
        if revocation == "suspend":
            await set_status(world, "ACTIVE")
        assert await keys(world) == left
        await dead(world, token)
        for public_key in made:
            good(await world.by_project("DELETE", world.account(f"/api-key/{public_key}")))


async def passport(world: World, kind: CredentialKind, credential: str) -> tuple[tuple[str, bytes], ...]:
    """What the edge has in hand between a request's exchange and the call it is for."""
    request = identity_pb2.ExchangeCredentialRequest(
        kind=kind.value, credential=credential, subject_account_id=world.tenant.account_id
    )
    answer = await IdentityServiceStub(world.cluster.internal["auth"]).ExchangeCredential(request)
    return ((metadata.PASSPORT, answer.passport.SerializeToString()),)


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return error_from_rpc(failure.value, "call").code.value


@pytest.mark.parametrize("revocation", ["expire-all", "suspend", "suspend and activate"])
async def test_identity_from_before_a_revocation_makes_no_key(world: World, revocation: str) -> None:
    """However late the call of a request arrives whose credential was good when it was looked at."""
    project = await passport(world, CredentialKind.PROJECT_KEY, world.tenant.project_key)
    session = await passport(world, CredentialKind.ACCOUNT_SESSION, world.token)
    before = await keys(world)
    if revocation == "expire-all":
        await expire_all(world)
    else:
        await set_status(world, "SUSPENDED")
    if revocation == "suspend and activate":
        await set_status(world, "ACTIVE")
    stub = ApiKeyServiceStub(world.cluster.internal["keys"])
    own = stub.CreateApiKey(api_key_pb2.CreateApiKeyRequest(), metadata=session)
    assert await code_of(own) == "SESSION_INVALID"
    request = api_key_pb2.CreateAccountApiKeyRequest(account_id=world.tenant.account_id)
    # The project's authority goes on, so it is to ask again, and learns then how the account is.
    assert await code_of(stub.CreateAccountApiKey(request, metadata=project)) == "UNAVAILABLE"
    assert await keys(world) == before
    wanted = 403 if revocation == "suspend" else 201
    assert (await world.by_project("POST", world.account("/api-key"))).status_code == wanted


async def test_identity_from_before_a_suspension_makes_no_session(world: World) -> None:
    """What counts is the account as it is when the session would be made."""
    project = await passport(world, CredentialKind.PROJECT_KEY, world.tenant.project_key)
    await set_status(world, "SUSPENDED")
    stub = SessionServiceStub(world.cluster.internal["auth"])
    create = session_pb2.CreateSessionRequest(account_id=world.tenant.account_id)
    refresh = session_pb2.RefreshSessionRequest(
        account_id=world.tenant.account_id, session_id=world.session_id
    )
    assert await code_of(stub.CreateSession(create, metadata=project)) == "ACCOUNT_SUSPENDED"
    assert await code_of(stub.RefreshSession(refresh, metadata=project)) == "ACCOUNT_SUSPENDED"
    await set_status(world, "ACTIVE")
    assert await sessions(world) == []
    assert await code_of(stub.RefreshSession(refresh, metadata=project)) == "SESSION_NOT_LIVE"


async def test_deleted_key_is_used_by_nobody(world: World) -> None:
    """A use that begins when the deletion has answered is refused, however many were under way."""
    for number in range(ROUNDS_COUNT):
        key = await world.cluster.api_key(world.tenant)
        path = world.account(f"/api-key/{key['public_key']}")

        async def use(secret: str = key["secret_key"]) -> httpx.Response:
            return await world.cluster.rest("GET", WALLETS, x_api_key=secret)

        async def delete(path: str = path, use: Call = use) -> httpx.Response:
            assert good(await world.by_project("DELETE", path)) == {"deleted": True}
            return await use()

        answers, later = await amid(world, use, delete, number)
        refused(later, 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)
        assert codes(answers) <= {"API_KEY_REVOKED"}


async def test_ended_session_is_used_by_nobody(world: World) -> None:
    """As a deleted key; and a use that is noted at the same time does not bring it back to life."""
    for number in range(ROUNDS_COUNT):
        session = await world.cluster.session(world.tenant)
        world.cluster.clock.advance(seconds=30)

        async def use(token: str = session["session_token"]) -> httpx.Response:
            return await by_token(world.cluster, token, "GET", WALLETS)

        async def expire(session_id: str = session["session_id"], use: Call = use) -> httpx.Response:
            path = world.account(f"/session/{session_id}/expire")
            assert good(await world.by_project("POST", path)) == {"expired": True}
            return await use()

        answers, later = await amid(world, use, expire, number)
        refused(later, 401, "SESSION_INVALID", challenge=BAD_TOKEN)
        assert codes(answers) <= {"SESSION_INVALID"}
        assert await sessions(world) == [world.session_id]


async def test_key_is_deleted_once(world: World) -> None:
    """Of many calls at once one deletes it, and the others find nothing."""
    for _ in range(ROUNDS_COUNT):
        key = await world.cluster.api_key(world.tenant)
        path = world.account(f"/api-key/{key['public_key']}")
        answers = await asyncio.gather(*(world.by_project("DELETE", path) for _ in range(AT_ONCE_COUNT)))
        assert successes(answers) == [{"deleted": True}]
        assert codes(answers) == {"API_KEY_NOT_FOUND"}


async def test_projects_last_two_keys_never_delete_each_other(cluster: Cluster) -> None:
    """One of them is left, whoever was first."""
    for _ in range(ROUNDS_COUNT):
        _, first = await cluster.project()
        second = await cluster.ok("POST", PROJECT_KEYS, x_project_api_key=first)
        secrets = (first, second["secret_key"])
        listing = await cluster.ok("GET", PROJECT_KEYS, x_project_api_key=first)
        names = [key["public_key"] for key in listing]
        answers = await asyncio.gather(
            *(
                cluster.rest("DELETE", f"{PROJECT_KEYS}/{name}", x_project_api_key=secret)
                for name in names
                for secret in secrets
            )
        )
        assert successes(list(answers)) == [{"deleted": True}]
        assert codes(list(answers)) <= {"LAST_PROJECT_API_KEY", "API_KEY_REVOKED", "API_KEY_NOT_FOUND"}
        left = [await cluster.rest("GET", PROJECT_KEYS, x_project_api_key=secret) for secret in secrets]
        assert sorted(answer.status_code for answer in left) == [200, 401]


async def test_wallet_is_deleted_or_credited_and_not_both(world: World) -> None:
    """Money never goes into a wallet that is gone: the deposit is refused, or the deletion."""
    for number in range(ROUNDS_COUNT):
        wallet = good(await world.by_key("POST", "/api/v1/wallet"), 201)
        path = f"/api/v1/wallet/{wallet['wallet_id']}"

        async def credit(wallet_id: str = wallet["wallet_id"]) -> str:
            try:
                await world.cluster.deposit(wallet_id, "1", wallet_id)
            except grpc.aio.AioRpcError as failure:
                return error_from_rpc(failure, "RecordDeposit").code.value
            return "credited"

        answers, credited = await amid(
            world,
            partial(world.by_key, "DELETE", path),
            credit,
            number,
        )
        deleted = successes(answers)
        assert len(deleted) == (0 if credited == "credited" else 1)
        assert codes(answers) <= {"WALLET_NOT_EMPTY", "WALLET_NOT_FOUND"}
        if credited == "credited":
            (balance,) = good(await world.by_key("GET", f"{path}/balance"))
            assert balance["balance"] == {"USDC": "1.000000"}
        else:
            assert credited == "WALLET_NOT_FOUND"
            assert (await world.by_key("GET", path)).status_code == 404

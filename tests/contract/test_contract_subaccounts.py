"""Subaccounts, transfers and the look-up of signed requests, over REST."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from sealgate.keys.v1.signing_key_pb2 import RevokeSessionKey
from sealgate.wallet.v1 import signed_body_pb2
from tests.cluster import Cluster
from tests.platform_support import good, refused
from tests.signing_support import SCOPED, TRADING_ONLY
from tests.signing_world import Signing, answered, make_signing

SUBACCOUNTS = "/api/v1/subaccounts"
REQUESTS = "/api/v1/requests"
WALLET_FIELDS = [
    "wallet_id",
    "name",
    "chains",
    "subaccount_index",
    "position",
    "autoredeem",
    "created_at_ns",
]


@pytest.fixture
async def signing(cluster: Cluster) -> Signing:
    """An account with a master key and a session key of it."""
    return await make_signing(cluster)


async def _read(signing: Signing, path: str, secret_key: str | None = None) -> Any:  # noqa: ANN401
    key = secret_key or signing.world.secret_key
    answer = await signing.cluster.rest("GET", path, x_api_key=key)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _subaccount(signing: Signing, **fields: str) -> Any:  # noqa: ANN401
    body = signed_body_pb2.CreateSubaccount(**fields)
    return (await signing.submit("SubmitCreateSubaccount", signing.session, body))["subaccount"]


def _transfer(source: Any, target: Any, amount: str) -> signed_body_pb2.TransferFunds:  # noqa: ANN401
    return signed_body_pb2.TransferFunds(
        from_subaccount_index=source["subaccount_index"],
        from_wallet_id=source["wallet_id"],
        to_subaccount_index=target["subaccount_index"],
        to_wallet_id=target["wallet_id"],
        asset="USDC",
        amount=amount,
    )


async def test_subaccounts_are_listed_with_their_wallets(signing: Signing) -> None:
    """The first comes by itself; times are nanoseconds, as numbers."""
    (first,) = (await _read(signing, SUBACCOUNTS))["subaccounts"]
    made = await _subaccount(signing, name="Bots")

    assert list(first) == ["subaccount_index", "name", "created_at_ns", "wallets"]
    assert (first["subaccount_index"], first["name"]) == (0, "Subaccount 0")
    assert list(first["wallets"][0]) == WALLET_FIELDS
    assert (made["subaccount_index"], made["name"]) == (1, "Bots")
    assert isinstance(made["created_at_ns"], int)
    assert (await _read(signing, SUBACCOUNTS))["subaccounts"] == [first, made]


async def test_key_pinned_to_a_further_subaccount_sees_and_makes_its_wallets_only(signing: Signing) -> None:
    """A key may be pinned before there is such a subaccount, and sees nothing until then."""
    world = signing.world
    pinned = (await signing.cluster.api_key(world.tenant, subaccount_index=1))["secret_key"]
    assert (await _read(signing, SUBACCOUNTS, pinned))["subaccounts"] == []
    assert (await _read(signing, "/api/v1/wallets", pinned))["response"] == []
    answer = await signing.cluster.rest("POST", "/api/v1/wallet", json={}, x_api_key=pinned)
    refused(answer, 404, "SUBACCOUNT_NOT_FOUND")

    made = await _subaccount(signing)

    assert (await _read(signing, SUBACCOUNTS, pinned))["subaccounts"] == [made]
    (seen,) = (await _read(signing, "/api/v1/wallets", pinned))["response"]
    assert seen["wallet_id"] == made["wallets"][0]["wallet_id"]
    further = good(await signing.cluster.rest("POST", "/api/v1/wallet", json={}, x_api_key=pinned), 201)
    assert (further["subaccount_index"], further["position"]) == (1, 3)
    first = (await _read(signing, SUBACCOUNTS))["subaccounts"][0]["wallets"][0]["wallet_id"]
    refused(
        await signing.cluster.rest("GET", f"/api/v1/wallet/{first}", x_api_key=pinned),
        404,
        "WALLET_NOT_FOUND",
    )


async def test_transfer_is_answered_listed_and_looked_up(signing: Signing) -> None:
    """The same facts in the answer, in both wallets' transfers, and under the request's id."""
    made = await _subaccount(signing)
    source = (await _read(signing, SUBACCOUNTS))["subaccounts"][0]["wallets"][0]
    target = made["wallets"][0]
    await signing.cluster.deposit(source["wallet_id"], "5", f"to {source['wallet_id']}")

    body = await signing.submit("SubmitTransferFunds", signing.session, _transfer(source, target, "1.25"))

    moved = body["transfer"]
    assert moved == {
        "from_wallet_id": source["wallet_id"],
        "to_wallet_id": target["wallet_id"],
        "asset": "USDC",
        "amount": "1.250000",
        "txn_seq": moved["txn_seq"],
    }
    for wallet, direction in ((source, "OUT"), (target, "IN")):
        listed = (await _read(signing, f"/api/v1/wallet/{wallet['wallet_id']}/transfers"))["response"][0]
        assert (listed["transfer_type"], listed["type"], listed["amount"]) == (
            direction,
            "TRANSFER",
            "1.250000",
        )
        assert listed["from_address"] == source["chains"]["POL"]["address"]
        assert listed["to_address"] == target["chains"]["POL"]["address"]
    told = await _read(signing, f"{REQUESTS}/{body['request_id']}")
    assert (told["success"], told["status"], told["request_type"]) == (True, "request_completed", 6)
    assert told["transfer"] == moved
    assert told["processed_at_ns"] == body["processed_at_ns"]


async def test_transfer_is_refused_with_a_status_and_a_reason(signing: Signing) -> None:
    """200 with what is wrong; the refusal is on record as well."""
    made = await _subaccount(signing)
    source = (await _read(signing, SUBACCOUNTS))["subaccounts"][0]["wallets"][0]
    target = made["wallets"][0]

    for body, status in (
        (_transfer(source, target, "1"), "transfer_rejected_insufficient_balance"),
        (_transfer(source, target, "0"), "transfer_rejected_invalid"),
        (_transfer(source, source, "1"), "transfer_rejected_invalid"),
    ):
        answer = await signing.submit("SubmitTransferFunds", signing.session, body, status=status)
        told = await _read(signing, f"{REQUESTS}/{answer['request_id']}")
        assert (told["success"], told["status"]) == (False, status)
        assert told["details"] == answer["details"]


async def test_keys_change_what_they_reach_and_are_trusted_with(signing: Signing) -> None:
    """Real keys of each sort, from their minting to the refusal."""
    made = await _subaccount(signing)
    there = made["wallets"][0]
    here = (await _read(signing, SUBACCOUNTS))["subaccounts"][0]["wallets"][0]
    pinned = await signing.mint(scope=1)
    scoped = await signing.mint(master=await signing.add_master(reach=SCOPED, subaccount_index=1))
    trading = await signing.mint(master=await signing.add_master(role=TRADING_ONLY))
    create, rename = signed_body_pb2.CreateWallet, signed_body_pb2.UpdateWallet

    for key in (pinned, scoped):
        body = await signing.submit("SubmitCreateWallet", key, create(subaccount_index=1, name="Bot"))
        assert list(body["wallet"]) == WALLET_FIELDS
        away = rename(subaccount_index=0, wallet_id=here["wallet_id"], name="x")
        await signing.submit("SubmitUpdateWallet", key, away, status="rejected_scope")
        await signing.submit("SubmitTransferFunds", key, _transfer(there, here, "1"), status="rejected_scope")
        await signing.submit("SubmitCreateSubaccount", key, status="rejected_not_admin_rooted")
    await signing.submit("SubmitCreateSubaccount", trading, status="rejected_role")
    await signing.submit("SubmitTransferFunds", trading, _transfer(here, there, "1"), status="rejected_role")
    renamed = rename(subaccount_index=1, wallet_id=there["wallet_id"], name="y")
    assert (await signing.submit("SubmitUpdateWallet", trading, renamed))["wallet"]["name"] == "y"


async def test_revoked_key_moves_nothing_any_more(signing: Signing) -> None:
    """From the moment at which its revocation was answered."""
    made = await _subaccount(signing)
    source = (await _read(signing, SUBACCOUNTS))["subaccounts"][0]["wallets"][0]
    await signing.cluster.deposit(source["wallet_id"], "5", f"to {source['wallet_id']}")
    doomed = await signing.mint()
    move = _transfer(source, made["wallets"][0], "1")
    signed = signing.signed("SubmitTransferFunds", doomed, move)
    answered(await signing.post("SubmitTransferFunds", signed))
    await signing.submit("SubmitLogout", doomed, RevokeSessionKey(public_key=doomed.public_key))

    late = await signing.post("SubmitTransferFunds", signing.signed("SubmitTransferFunds", doomed, move))
    assert (late.status_code, late.json()["error"]["code"]) == (401, "SESSION_INVALID")
    repeat = answered(await signing.post("SubmitTransferFunds", signed), "duplicate_request_id")
    assert repeat["original"]["transfer"]["amount"] == "1.000000"


async def test_absent_request_is_not_found_yet_and_then_never_ran(signing: Signing) -> None:
    """Whoever lost an answer learns in the end that he may sign anew."""
    request_id = signing.request_id()
    key = signing.world.secret_key
    for absent, retry_after in (
        (str(request_id), "1"),
        ("nonsense", None),
        ("0190aaaa-bbbb-4ccc-8ddd-eeeeffff0000", None),
    ):
        answer = await signing.cluster.rest("GET", f"{REQUESTS}/{absent}", x_api_key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "REQUEST_NOT_FOUND")
        assert answer.headers.get("retry-after") == retry_after

    old = signing.request_id(ahead_ns=-21 * NANOSECONDS_PER_SECOND)
    told = await _read(signing, f"{REQUESTS}/{old}")
    assert (told["success"], told["status"]) == (False, "never_ran")

"""Withdrawals over REST: the published flow, what is refused without a signature and with one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from chassis.errors import Code
from chassis.limits import (
    BACKGROUND_PAUSE_SECONDS,
    WITHDRAWAL_ADDRESS_WAIT_SECONDS,
    WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT,
    WITHDRAWAL_DELAY_SECONDS,
    WITHDRAWAL_LIMIT_PER_DAY,
)
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from sealgate.wallet.v1 import operator_pb2, signed_body_pb2
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub
from tests.cluster import Cluster
from tests.platform_support import (
    UNKNOWN_ID,
    World,
    good,
    make_world,
    private_cluster,
    refused,
    sql,
    usable_address,
)
from tests.signing_support import new_pair
from tests.signing_world import Signing, make_every_signer, make_signing, register_master

ADDRESS: Final = "0x" + "5f" * 20
ADDRESSES: Final = "/api/v1/trading/withdrawal-addresses"


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    """An account with 100 USDC in its wallet and an API key that may withdraw them."""
    world = await make_world(cluster)
    await cluster.deposit(await world.wallet_id(), "100", f"funding of {await world.wallet_id()}")
    return world


async def withdrawing(world: World) -> dict[str, str]:
    """The header of an API key of the account's that may withdraw."""
    scopes = ["wallet:read", "withdrawals:write"]
    key = await world.cluster.api_key(world.tenant, scopes=scopes)
    return {"x_api_key": key["secret_key"]}


async def path_of(world: World, rest: str) -> str:
    """A path below the wallet's."""
    return f"/api/v1/wallet/pol/{await world.wallet_id()}{rest}"


def asked(**fields: str) -> dict[str, str]:
    """A withdrawal of 5 USDC, but for what `fields` say."""
    return {"token": "USDC", "amount": "5", "address": ADDRESS} | fields


async def until_listed(world: World, state: str) -> Any:  # noqa: ANN401
    """The account's one withdrawal when it has come to a state, which it does by itself."""
    async with asyncio.timeout(30):
        while True:
            (listed,) = good(await world.by_key("GET", await path_of(world, "/withdrawals")))
            if listed["state"] == state:
                return listed
            # The rail looks once a second, and may have looked while the time was moved.
            world.cluster.clock.advance(seconds=BACKGROUND_PAUSE_SECONDS)


async def test_published_flow_of_an_unsigned_withdrawal(cluster: Cluster, world: World) -> None:
    """Register an address, wait, withdraw, and see it leave; each answer has the published members."""
    key = await withdrawing(world)
    sent = {"chain": "POL", "address": ADDRESS}
    added = good(await world.by_project("POST", world.account("/withdrawal-address"), sent), 201)
    assert added.keys() == {"chain", "address", "usable_at", "created_at"}
    path = await path_of(world, "/withdraw")
    early = await cluster.rest("POST", path, json=asked(), **key)
    refused(early, 409, "ADDRESS_NOT_USABLE", paths=["address"])
    cluster.clock.advance(seconds=WITHDRAWAL_ADDRESS_WAIT_SECONDS)

    (listed_address,) = (await world.by_key("GET", ADDRESSES)).json()["addresses"]
    assert listed_address["address"] == ADDRESS
    begun = good(await cluster.rest("POST", path, json=asked(), **key), 201)
    assert begun.keys() == {
        *("withdrawal_id", "wallet_id", "token", "amount", "chain", "address"),
        *("state", "tx_hash", "created_at", "updated_at"),
    }
    assert (begun["state"], begun["amount"], begun["tx_hash"]) == ("PENDING", "5.000000", "")

    cluster.clock.advance(seconds=WITHDRAWAL_DELAY_SECONDS)
    paid = await until_listed(world, "CONFIRMED")
    assert paid["tx_hash"] == f"embedded/{begun['withdrawal_id']}"
    (transfer, _) = good(await world.by_key("GET", await path_of(world, "/transfers")))
    assert (transfer["type"], transfer["transfer_type"]) == ("WITHDRAWAL", "OUT")
    assert (transfer["to_address"], transfer["tx_hash"]) == (ADDRESS, paid["tx_hash"])


async def test_unsigned_withdrawal_is_refused_in_the_words_of_the_contract(
    cluster: Cluster, world: World
) -> None:
    """Each refusal with its status, code and path."""
    key, path = await withdrawing(world), await path_of(world, "/withdraw")
    await usable_address(cluster, world.tenant.account_id, ADDRESS)
    over_limit = f"{WITHDRAWAL_LIMIT_PER_DAY}.000001"
    for fields, status, code, paths in (
        ({"amount": "0"}, 400, "VALIDATION_ERROR", ["amount"]),
        ({"address": "0x12"}, 400, "VALIDATION_ERROR", ["address"]),
        ({"token": "EUR"}, 404, "ASSET_NOT_FOUND", []),
        ({"address": "0x" + "00" * 20}, 409, "ADDRESS_NOT_USABLE", ["address"]),
        ({"amount": "101"}, 409, "INSUFFICIENT_BALANCE", ["amount"]),
        ({"amount": over_limit}, 409, "WITHDRAWAL_LIMIT_REACHED", ["amount"]),
    ):
        answer = await cluster.rest("POST", path, json=asked(**fields), **key)
        refused(answer, status, code, paths=paths)
    assert good(await world.by_key("GET", await path_of(world, "/withdrawals"))) == []


async def test_withdrawal_needs_its_scope(cluster: Cluster, world: World) -> None:
    """Keys that do not say so withdraw nothing."""
    await usable_address(cluster, world.tenant.account_id, ADDRESS)

    refused(await world.by_key("POST", await path_of(world, "/withdraw"), asked()), 403, "SCOPE_NOT_GRANTED")


async def test_withdrawal_repeated_with_its_idempotency_key_is_one(cluster: Cluster, world: World) -> None:
    """The answer to the first is the answer to the second."""
    key, path = await withdrawing(world), await path_of(world, "/withdraw")
    await usable_address(cluster, world.tenant.account_id, ADDRESS)

    first = good(await cluster.rest("POST", path, json=asked(), idempotency_key="once", **key), 201)
    second = good(await cluster.rest("POST", path, json=asked(), idempotency_key="once", **key), 201)

    assert first == second
    assert len(good(await world.by_key("GET", await path_of(world, "/withdrawals")))) == 1


async def test_deposit_address_is_told_for_the_chain_there_is(world: World) -> None:
    """The one that the wallet shows; another chain is a 404."""
    (wallet,) = good(await world.by_key("GET", "/api/v1/wallets"))
    told = good(await world.by_key("GET", await path_of(world, "/deposit/pol")))
    assert told == {
        "wallet_id": wallet["wallet_id"],
        "chain": "POL",
        "address": wallet["chains"]["POL"]["address"],
    }
    refused(await world.by_key("GET", await path_of(world, "/deposit/eth")), 404, "CHAIN_NOT_FOUND")


async def test_addresses_that_the_project_adds_are_bounded(world: World) -> None:
    """One more than there may be is a conflict."""
    path = world.account("/withdrawal-address")
    for number in range(WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT):
        good(await world.by_project("POST", path, {"chain": "POL", "address": f"0x{number:040x}"}), 201)

    one_more = await world.by_project("POST", path, {"chain": "POL", "address": "0x" + "ff" * 20})

    refused(one_more, 409, "ADDRESS_LIMIT_REACHED")


async def test_addresses_that_are_signed_for_are_bounded(cluster: Cluster) -> None:
    """One more than there may be is refused as a limit: nothing is wrong with the address itself."""
    made, rpc = await make_signing(cluster, with_session=False), "SubmitAddWithdrawalAddress"
    for number in range(WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT):
        new = signed_body_pb2.AddWithdrawalAddress(chain="POL", address=f"0x{number:040x}")
        await made.submit(rpc, made.master, new)

    one_more = signed_body_pb2.AddWithdrawalAddress(chain="POL", address="0x" + "ff" * 20)

    await made.submit(rpc, made.master, one_more, status="withdrawal_rejected_limit")


async def test_master_key_ends_what_goes_without_a_signature(cluster: Cluster, world: World) -> None:
    """From its registration on: no unsigned withdrawal, and no address of the project's."""
    key = await withdrawing(world)
    await usable_address(cluster, world.tenant.account_id, ADDRESS)
    good(await register_master(world, new_pair()), 201)

    answer = await cluster.rest("POST", await path_of(world, "/withdraw"), json=asked(), **key)
    refused(answer, 403, "SIGNATURE_REQUIRED")
    sent = {"chain": "POL", "address": "0x" + "01" * 20}
    answer = await world.by_project("POST", world.account("/withdrawal-address"), sent)
    refused(answer, 403, "SIGNATURE_REQUIRED")


async def signers(cluster: Cluster) -> Signing:
    """An account with a key of every sort, 100 USDC in its wallet, and an address that it may use."""
    made = await make_every_signer(cluster)
    wallet_id = await made.world.wallet_id()
    await cluster.deposit(wallet_id, "100", f"funding of {wallet_id}")
    await usable_address(cluster, made.account_id, ADDRESS)
    return made


async def body(made: Signing, **fields: str) -> signed_body_pb2.Withdraw:
    """What is signed for a withdrawal of 5 USDC, but for what `fields` say."""
    given = {
        "wallet_id": await made.world.wallet_id(),
        "asset": "USDC",
        "amount": "5",
        "chain": "POL",
        "address": ADDRESS,
    }
    return signed_body_pb2.Withdraw(**given | fields)


async def test_published_flow_of_a_signed_withdrawal(cluster: Cluster) -> None:
    """A master key registers the address, a session key withdraws, either removes the address."""
    made = await signers(cluster)
    new = signed_body_pb2.AddWithdrawalAddress(chain="POL", address="0x" + "ab" * 20)
    old = signed_body_pb2.RemoveWithdrawalAddress(chain="POL", address=ADDRESS)

    added = (await made.submit("SubmitAddWithdrawalAddress", made.master, new))["address"]
    assert added["address"] == new.address
    assert int(added["usable_at_ns"]) - int(added["created_at_ns"]) == WITHDRAWAL_ADDRESS_WAIT_SECONDS * 10**9
    begun = (await made.submit("SubmitWithdraw", made.session, await body(made)))["withdrawal"]
    assert (begun["state"], begun["amount"], begun["asset"]) == ("PENDING", "5.000000", "USDC")
    removed = (await made.submit("SubmitRemoveWithdrawalAddress", made.session, old))["address"]
    assert removed["address"] == ADDRESS
    await made.submit("SubmitWithdraw", made.session, await body(made), status="withdrawal_rejected_address")

    # Requests are decided one nanosecond after another where the clock stands still.
    cluster.clock.advance(seconds=WITHDRAWAL_DELAY_SECONDS + 1)
    assert (await until_listed(made.world, "CONFIRMED"))["withdrawal_id"] == begun["withdrawal_id"]


async def test_clock_that_once_ran_ahead_takes_no_address_out_of_its_wait(cluster: Cluster) -> None:
    """What an account's requests count as decided at never goes back; its addresses wait by the clock."""
    made = await signers(cluster)
    new = signed_body_pb2.AddWithdrawalAddress(chain="POL", address="0x" + "cd" * 20)
    await made.submit("SubmitAddWithdrawalAddress", made.master, new)
    await sql(
        cluster,
        "wallet",
        "UPDATE signed_account SET processed_at_ns = $2 WHERE account_id = $1",
        uuid.UUID(made.account_id),
        cluster.clock.now_ns() + 2 * WITHDRAWAL_ADDRESS_WAIT_SECONDS * 10**9,
    )
    waiting = await body(made, address=new.address)
    await made.submit("SubmitWithdraw", made.session, waiting, status="withdrawal_rejected_address")


async def test_signed_withdrawal_is_refused_on_record(cluster: Cluster) -> None:
    """Each reason has its status, and a withdrawal that was refused leaves nothing behind."""
    made = await signers(cluster)
    for fields, status, path in (
        ({"amount": "0"}, "withdrawal_rejected_invalid", "amount"),
        ({"chain": "ETH"}, "withdrawal_rejected_invalid", "chain"),
        ({"asset": "EUR"}, "withdrawal_rejected_invalid", None),
        ({"wallet_id": UNKNOWN_ID}, "withdrawal_rejected_invalid", None),
        ({"address": "0x" + "00" * 20}, "withdrawal_rejected_address", "address"),
        ({"amount": "101"}, "withdrawal_rejected_insufficient_balance", "amount"),
        ({"amount": f"{WITHDRAWAL_LIMIT_PER_DAY + 1}"}, "withdrawal_rejected_limit", "amount"),
    ):
        answer = await made.submit("SubmitWithdraw", made.session, await body(made, **fields), status=status)
        assert path is None or answer["details"][0]["path"] == path
    unknown = signed_body_pb2.RemoveWithdrawalAddress(chain="POL", address="0x" + "00" * 20)
    rpc = "SubmitRemoveWithdrawalAddress"
    await made.submit(rpc, made.master, unknown, status="withdrawal_rejected_address")
    assert good(await made.world.by_key("GET", await path_of(made.world, "/withdrawals"))) == []


@pytest.mark.parametrize(
    ("signer", "status"),
    [
        ("pinned", "rejected_not_admin_rooted"),
        ("scoped_root", "rejected_not_admin_rooted"),
        ("trading", "rejected_role"),
    ],
)
async def test_signed_withdrawal_is_refused_to_a_key_that_may_not(
    cluster: Cluster, signer: str, status: str
) -> None:
    """Pinned, of a scoped master, or for trading alone: none of them moves money out."""
    made = await signers(cluster)

    await made.submit("SubmitWithdraw", made.pairs[signer], await body(made), status=status)

    assert good(await made.world.by_key("GET", await path_of(made.world, "/withdrawals"))) == []


async def test_address_is_registered_by_an_admin_master_with_full_access(cluster: Cluster) -> None:
    """Other masters are refused on record; a session key is no key for it at all."""
    made, rpc = await signers(cluster), "SubmitAddWithdrawalAddress"
    new = signed_body_pb2.AddWithdrawalAddress(chain="POL", address="0x" + "ab" * 20)

    await made.submit(rpc, made.pairs["scoped"], new, status="rejected_not_admin_rooted")
    await made.submit(rpc, made.pairs["trading_only"], new, status="rejected_role")
    answer = await made.post(rpc, made.signed(rpc, made.session, new))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "CREDENTIAL_NOT_ACCEPTED")


async def settle(cluster: Cluster, withdrawal_id: str, state: int, reference: str = "") -> Code:
    """The code of what the operator is answered."""
    request = operator_pb2.SettleWithdrawalRequest(
        withdrawal_id=withdrawal_id,
        state=signed_body_pb2.WithdrawalState.ValueType(state),
        external_ref=reference,
    )
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await OperatorServiceStub(cluster.internal["wallet"]).SettleWithdrawal(request)
    return error_from_rpc(refusal.value, "operator").code


async def test_operator_is_told_of_a_step_that_cannot_be_taken(cluster: Cluster, world: World) -> None:
    """No such withdrawal, or not from where it stands."""
    await usable_address(cluster, world.tenant.account_id, ADDRESS)
    key, path = await withdrawing(world), await path_of(world, "/withdraw")
    begun = good(await cluster.rest("POST", path, json=asked(), **key), 201)

    confirmed = signed_body_pb2.WITHDRAWAL_STATE_CONFIRMED
    assert await settle(cluster, UNKNOWN_ID, confirmed) == "WITHDRAWAL_NOT_FOUND"
    assert await settle(cluster, begun["withdrawal_id"], confirmed) == "WITHDRAWAL_STATE_CONFLICT"

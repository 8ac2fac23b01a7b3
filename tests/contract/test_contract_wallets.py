"""The published flow of wallets, word by word: the first one, further ones, and what is in them."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from typing import Any, Final

import httpx
import pytest

from tests.cluster import Cluster
from tests.platform_support import (
    UNKNOWN_ID,
    World,
    by_token,
    good,
    held,
    make_world,
    refused,
    rfc3339,
    script,
    sql,
)

WALLET: Final = "/api/v1/wallet"
WALLETS: Final = "/api/v1/wallets"
CHAIN_WALLETS: Final = "/api/v1/wallet/pol"
WALLET_FIELDS: Final = [
    "wallet_id",
    "name",
    "chains",
    "subaccount_index",
    "position",
    "autoredeem",
    "created_at",
]
CHAIN_WALLET_FIELDS: Final = [
    "wallet_id",
    "chain_id",
    "name",
    "address",
    "position",
    "autoredeem",
    "created_at",
]
TRANSFER_FIELDS: Final = [
    "transfer_type",
    "asset_id",
    "amount",
    "type",
    "from_address",
    "to_address",
    "tx_hash",
    "created_at",
]


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


async def deposit(world: World, wallet_id: str, *amounts: str) -> None:
    """Money from outside, under references of the wallet's own."""
    for number, amount in enumerate(amounts):
        await world.cluster.deposit(wallet_id, amount, f"{wallet_id}/{number}")


async def wallets(world: World) -> Any:  # noqa: ANN401
    return good(await world.by_session("GET", WALLETS))


@pytest.mark.parametrize("path", [WALLETS, WALLET, CHAIN_WALLETS])
@pytest.mark.parametrize("credential", ["session", "key", "bearer key"])
async def test_first_look_makes_the_first_wallet(world: World, path: str, credential: str) -> None:
    """Whatever the credential and the path; the next look finds it and makes no more."""

    async def look() -> httpx.Response:
        if credential == "session":
            return await world.by_session("GET", path)
        if credential == "key":
            return await world.by_key("GET", path)
        return await by_token(world.cluster, world.secret_key, "GET", path)

    (first,) = good(await look())
    assert good(await look()) == [first]
    (wallet,) = await wallets(world)
    assert first["wallet_id"] == wallet["wallet_id"]


async def test_wallet_has_the_published_fields(world: World) -> None:
    """Seven members, and over a chain seven others."""
    (wallet,) = await wallets(world)
    assert list(wallet) == WALLET_FIELDS
    address = wallet["chains"]["POL"]["address"]
    assert re.fullmatch("0x[0-9a-f]{40}", address)
    assert wallet == {
        "wallet_id": wallet["wallet_id"],
        "name": "Wallet 1",
        "chains": {"POL": {"address": address}},
        "subaccount_index": 0,
        "position": 1,
        "autoredeem": False,
        "created_at": rfc3339(world.cluster.clock.now_ns()),
    }
    assert good(await world.by_key("GET", f"{WALLET}/{wallet['wallet_id']}")) == wallet
    (on_chain,) = good(await world.by_key("GET", CHAIN_WALLETS))
    assert list(on_chain) == CHAIN_WALLET_FIELDS
    assert on_chain == {
        "wallet_id": wallet["wallet_id"],
        "chain_id": "POL",
        "name": "Wallet 1",
        "address": address,
        "position": 1,
        "autoredeem": False,
        "created_at": wallet["created_at"],
    }


async def test_twenty_first_looks_at_once_make_one_wallet(world: World) -> None:
    """By every kind of credential and every path, mixed: all see the same one."""
    # Nobody can make a wallet until several have seen that there is none.
    async with held(world.cluster, "wallet", "LOCK TABLE subaccount IN SHARE ROW EXCLUSIVE MODE") as hold:
        calls = [
            asyncio.create_task(caller("GET", path))
            for path in (WALLETS, CHAIN_WALLETS)
            for _ in range(5)
            for caller in (world.by_session, world.by_key)
        ]
        await hold.until_waiting(4)
    answers = await asyncio.gather(*calls)
    assert {wallet["wallet_id"] for answer in answers for wallet in good(answer)} == {await world.wallet_id()}
    assert {len(good(answer)) for answer in answers} == {1}
    rows = await sql(
        world.cluster,
        "wallet",
        "SELECT wallet_id FROM wallet JOIN subaccount USING (account_id, subaccount_index)"
        " WHERE account_id::text = $1",
        world.tenant.account_id,
    )
    assert len(rows) == 1


async def test_further_wallets_are_made_renamed_and_deleted(world: World) -> None:
    """201 with the wallet; positions go on counting; a deleted wallet is found by nobody."""
    await world.wallet_id()
    second = good(await world.by_session("POST", WALLET), 201)
    assert list(second) == WALLET_FIELDS
    assert (second["name"], second["position"], second["subaccount_index"]) == ("Wallet 2", 2, 0)
    body = {"name": "Ersparnis ☂", "subaccount_index": 0}
    third = good(await world.by_key("POST", WALLET, body), 201)
    assert (third["name"], third["position"]) == ("Ersparnis ☂", 3)
    path = f"{WALLET}/{second['wallet_id']}"
    renamed = good(await world.by_session("PUT", path, {"name": "x" * 64}))
    assert renamed == second | {"name": "x" * 64}
    changed = good(await world.by_key("PUT", path, {"autoredeem": True}))
    assert changed == renamed | {"autoredeem": True}
    assert good(await world.by_key("PUT", path, {})) == changed
    assert good(await world.by_session("GET", path)) == changed
    assert good(await world.by_session("DELETE", path)) == {"deleted": True}
    for verb in ("GET", "PUT", "DELETE"):
        refused(await world.by_session(verb, path), 404, "WALLET_NOT_FOUND")
    refused(await world.by_session("GET", f"{path}/balance"), 404, "WALLET_NOT_FOUND")
    refused(await world.by_session("GET", f"{path}/transfers"), 404, "WALLET_NOT_FOUND")
    assert [wallet["position"] for wallet in await wallets(world)] == [1, 3]
    assert good(await world.by_session("POST", WALLET), 201)["name"] == "Wallet 4"


async def test_wallet_of_a_subaccount_that_is_not_there_is_not_made(world: World) -> None:
    """404, up to the greatest number that JSON can ask for."""
    for index in (1, 2**31 - 1, 2**32 - 1):
        answer = await world.by_session("POST", WALLET, {"subaccount_index": index})
        refused(answer, 404, "SUBACCOUNT_NOT_FOUND")


async def test_account_without_wallets_is_given_none_again(world: World) -> None:
    """The first wallet is made on the first look only; who deletes it has said so."""
    good(await world.by_session("DELETE", f"{WALLET}/{await world.wallet_id()}"))
    assert await wallets(world) == []


async def test_balance_shows_cash_at_its_scale(world: World) -> None:
    """Zero before the first deposit; then the exact sum, as an array over chains and as one object."""
    (wallet,) = await wallets(world)
    path = f"{WALLET}/{wallet['wallet_id']}/balance"
    empty = {"asset": "USDC", "total": "0.000000", "available": "0.000000", "held": "0.000000"}
    expected = {
        "wallet_id": wallet["wallet_id"],
        "chain_id": "POL",
        "address": wallet["chains"]["POL"]["address"],
        "balance": {"USDC": "0.000000"},
        "assets": [empty],
    }
    assert good(await world.by_session("GET", path)) == [expected]
    amounts = ["12.345", "0.000001", "1000000000000", "0.1", "0.2"]
    await deposit(world, wallet["wallet_id"], *amounts)
    total = "1000000000012.645001"
    assert Decimal(total) == sum(map(Decimal, amounts))
    expected |= {"balance": {"USDC": total}, "assets": [empty | {"total": total, "available": total}]}
    (balance,) = good(await world.by_session("GET", path))
    assert list(balance) == ["wallet_id", "chain_id", "address", "balance", "assets"]
    assert list(balance["assets"][0]) == ["asset", "total", "available", "held"]
    assert balance == expected
    chain_path = f"{CHAIN_WALLETS}/{wallet['wallet_id']}/balance"
    assert good(await world.by_key("GET", chain_path)) == expected


async def test_transfers_are_listed_newest_first(world: World) -> None:
    """Eight members, one item a deposit, the same on both paths."""
    (wallet,) = await wallets(world)
    path = f"{WALLET}/{wallet['wallet_id']}/transfers"
    assert good(await world.by_session("GET", path)) == []
    await deposit(world, wallet["wallet_id"], "1", "2.5")
    transfers = good(await world.by_session("GET", path))
    assert all(list(transfer) == TRANSFER_FIELDS for transfer in transfers)
    assert transfers == [
        {
            "transfer_type": "IN",
            "asset_id": "USDC",
            "amount": amount,
            "type": "DEPOSIT",
            "from_address": "",
            "to_address": wallet["chains"]["POL"]["address"],
            "tx_hash": f"{wallet['wallet_id']}/{number}",
            "created_at": rfc3339(world.cluster.clock.now_ns()),
        }
        for number, amount in ((1, "2.500000"), (0, "1.000000"))
    ]
    chain_path = f"{CHAIN_WALLETS}/{wallet['wallet_id']}/transfers"
    assert good(await world.by_key("GET", chain_path)) == transfers


async def test_lists_are_paged_by_limit_and_offset(world: World) -> None:
    """Nothing at 0, what there is past the end, lowered beyond the cap; the pages make up the whole."""
    wallet_id = await world.wallet_id()
    await deposit(world, wallet_id, *("1" for _ in range(7)))
    for _ in range(6):
        good(await world.by_project("POST", "/api/v1/project/account"), 201)
    far = 2**63 - 1
    for caller, path in (
        (world.by_session, f"{WALLET}/{wallet_id}/transfers"),
        (world.by_project, "/api/v1/project/account"),
    ):
        whole = good(await caller("GET", path))
        assert len(whole) == 7
        for query, part in (
            ("limit=0", []),
            ("limit=1", whole[:1]),
            ("limit=7", whole),
            ("limit=8", whole),
            (f"limit={far}", whole),
            ("offset=0", whole),
            ("offset=6", whole[6:]),
            ("offset=7", []),
            (f"offset={far}", []),
            (f"limit={far}&offset={far}", []),
            ("offset=2&limit=3", whole[2:5]),
            ("limit=3&&offset=2&", whole[2:5]),
            ("%6Cimit=%33", whole[:3]),
        ):
            assert good(await caller("GET", f"{path}?{query}")) == part, query


async def test_transfers_are_lowered_to_their_cap(world: World) -> None:
    """100 unless asked for more, never more than 1000."""
    wallet_id = await world.wallet_id()
    await script(
        world.cluster,
        "wallet",
        f"""
        SET session_replication_role = replica;  -- no triggers: these books need not balance
        WITH booked AS (
            INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
            SELECT nextval('txn_seq'), 'DEPOSIT', gen_random_uuid(), 'OPERATOR', 'operator', 1
              FROM generate_series(1, 1001)
            RETURNING seq
        )
        INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version)
        SELECT seq, 1, '{wallet_id}', 1, 1, row_number() OVER (), row_number() OVER () FROM booked;
        """,  # noqa: S608 - an id of our own
    )
    path = f"{WALLET}/{wallet_id}/transfers"
    for query, count in (("", 100), ("?limit=1000", 1000), ("?limit=1001", 1000), ("?offset=1000", 1)):
        assert len(good(await world.by_key("GET", f"{path}{query}"))) == count


async def test_accounts_are_lowered_to_their_cap(world: World) -> None:
    """1000 unless asked for more, never more than 5000."""
    await sql(
        world.cluster,
        "auth",
        "INSERT INTO account"
        " (account_id, project_id, metadata, status, version, created_at_ns, updated_at_ns)"
        " SELECT gen_random_uuid(), $1::text::uuid, '{}', 'ACTIVE', 0, 1, 1 FROM generate_series(1, 5000)",
        world.tenant.project_id,
    )
    path = "/api/v1/project/account"
    for query, count in (("", 1000), ("?limit=5001", 5000), ("?limit=5001&offset=5000", 1)):
        assert len(good(await world.by_project("GET", f"{path}{query}"))) == count


async def test_key_pinned_to_the_first_subaccount_sees_its_wallets(world: World) -> None:
    """Which is every wallet, until there is a further subaccount."""
    key = await world.cluster.api_key(world.tenant, subaccount_index=0)
    assert key["subaccount_index"] == 0
    answer = await world.cluster.rest("GET", WALLETS, x_api_key=key["secret_key"])
    assert good(answer) == await wallets(world)
    current = await world.cluster.rest("GET", "/api/v1/account/session", x_api_key=key["secret_key"])
    assert good(current)["subaccount_index"] == 0


async def test_strangers_wallet_is_not_found(world: World) -> None:
    """Of another account of the project and of another project, for every verb; it keeps what it has."""
    stranger = await make_world(world.cluster)
    theirs = await stranger.wallet_id()
    await deposit(stranger, theirs, "3")
    for wallet_id in (theirs, UNKNOWN_ID):
        path = f"{WALLET}/{wallet_id}"
        for verb, target, body in (
            ("GET", path, None),
            ("PUT", path, {"name": "mine"}),
            ("DELETE", path, None),
            ("GET", f"{path}/balance", None),
            ("GET", f"{path}/transfers", None),
            ("GET", f"{CHAIN_WALLETS}/{wallet_id}/balance", None),
            ("GET", f"{CHAIN_WALLETS}/{wallet_id}/transfers", None),
        ):
            refused(await world.by_session(verb, target, body), 404, "WALLET_NOT_FOUND")
            refused(await world.by_key(verb, target, body), 404, "WALLET_NOT_FOUND")
    (balance,) = good(await stranger.by_key("GET", f"{WALLET}/{theirs}/balance"))
    assert balance["balance"] == {"USDC": "3.000000"}

"""Wallets of an account: the first one by itself, further ones up to the cap, and what is out of reach."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import wallet_pb2
from tests.integration.wallet_support import WalletWorld, code_of, open_wallet, patiently, refusal


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> WalletWorld:
    """The service on a fresh database."""
    return await open_wallet(database_factory, clock, ids)


async def test_first_list_makes_wallet_1_on_an_untouched_account(world: WalletWorld) -> None:
    """An account that was never here has one wallet as soon as it looks."""
    caller = world.caller()

    (wallet,) = await world.list_wallets(caller)

    assert (wallet.name, wallet.position, wallet.subaccount_index) == ("Wallet 1", 1, 0)
    assert not wallet.autoredeem
    assert wallet.created_at.ToNanoseconds() == world.clock.now_ns()
    assert list(wallet.chains) == ["POL"]
    assert await world.list_wallets(caller) == [wallet]


async def test_chain_list_shows_the_same_wallets_and_makes_the_first_one(world: WalletWorld) -> None:
    """Both lists are one: whichever comes first makes the wallet."""
    caller = world.caller()

    response = await world.call(world.api.ListChainWallets, wallet_pb2.ListChainWalletsRequest(), caller)

    (wallet,) = await world.list_wallets(caller)
    (chain_wallet,) = response.wallets
    assert chain_wallet.wallet_id == wallet.wallet_id
    assert (chain_wallet.chain_id, chain_wallet.name) == ("POL", "Wallet 1")
    assert chain_wallet.address == wallet.chains["POL"].address
    assert chain_wallet.created_at == wallet.created_at


async def test_first_lists_make_exactly_one_wallet_when_twenty_come_at_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """The first call may be made by many at once; all see the same one wallet."""
    world = await open_wallet(database_factory, clock, ids, pool_size_count=10)
    caller = world.caller()

    lists = await asyncio.gather(*(patiently(lambda: world.list_wallets(caller)) for _ in range(20)))

    assert {tuple(wallet.wallet_id for wallet in wallets) for wallets in lists} == {(lists[0][0].wallet_id,)}


async def test_first_list_waits_for_another_one_that_is_making_the_wallet(world: WalletWorld) -> None:
    """Whoever comes second, while the first has not committed, sees its wallet and makes none."""
    caller = world.caller()
    connection = await world.connect()
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO subaccount VALUES ($1, 0, $2, 1, 1)", caller.account_id, caller.project_id
        )
        await connection.execute(
            "INSERT INTO wallet (wallet_id, kind, account_id, subaccount_index, position, name, pol_address,"
            " created_at_ns) VALUES ($1, 'ACCOUNT', $2, 0, 1, 'Theirs', $3, 1)",
            uuid.UUID(int=77),
            caller.account_id,
            "0x" + "7" * 40,
        )
        second = asyncio.create_task(world.list_wallets(caller))
        await world.wait_until_blocked()
    await connection.close()

    assert [wallet.name for wallet in await second] == ["Theirs"]


async def test_list_writes_nothing_for_a_known_account(world: WalletWorld) -> None:
    """The usual call only reads: no transaction id is used up by it."""
    caller = world.caller()
    await world.list_wallets(caller)
    before = await world.administer("SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next")

    await world.list_wallets(caller)

    assert before == await world.administer("SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next")


async def test_list_is_empty_after_all_wallets_were_deleted(world: WalletWorld) -> None:
    """The first wallet comes once; an account that deleted it does not get another by looking."""
    caller = world.caller()
    await world.delete(caller, await world.first_wallet(caller))

    assert await world.list_wallets(caller) == []


async def test_create_names_a_wallet_after_its_position(world: WalletWorld) -> None:
    """Without a name it is `Wallet <position>`, and positions are never given twice."""
    caller = world.caller()
    first = await world.first_wallet(caller)
    second = await world.create(caller)
    await world.delete(caller, second.wallet_id)

    third = await world.create(caller, subaccount_index=0)

    assert (second.name, second.position) == ("Wallet 2", 2)
    assert (third.name, third.position) == ("Wallet 3", 3)
    assert [wallet.wallet_id for wallet in await world.list_wallets(caller)] == [first, third.wallet_id]


async def test_create_makes_the_first_wallet_of_an_untouched_account(world: WalletWorld) -> None:
    """Nobody has to list before creating, and nothing else is made beside what was asked for."""
    caller = world.caller()

    made = await world.create(caller, name="Savings 💶")

    assert (made.name, made.position) == ("Savings 💶", 1)
    assert await world.list_wallets(caller) == [made]


@pytest.mark.parametrize("name", ["", "x" * 65, "a\x00b", "a\nb", "\u202eevil"])
async def test_create_and_update_refuse_a_name_out_of_bounds(world: WalletWorld, name: str) -> None:
    """Empty, over 64 characters, or with control characters: 400 on `name`."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    for error in (
        await refusal(world.create(caller, name=name)),
        await refusal(world.update(caller, wallet_id, name=name)),
    ):
        assert error.code is Code.VALIDATION_ERROR
        assert [detail.path for detail in error.details] == ["name"]


@pytest.mark.parametrize("index", [1, 2**31, 2**32 - 1])
async def test_create_refuses_a_subaccount_that_is_not_there(world: WalletWorld, index: int) -> None:
    """Nothing is made then, not even the account's first subaccount."""
    assert await code_of(world.create(world.caller(), subaccount_index=index)) is Code.SUBACCOUNT_NOT_FOUND
    assert await world.administer("SELECT FROM subaccount") == []


async def test_create_stops_at_the_cap(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """One more than the cap is refused; a deleted one makes room."""
    world = await open_wallet(database_factory, clock, ids, wallets_count=3)
    caller = world.caller()
    await world.list_wallets(caller)
    await world.create(caller)
    last = await world.create(caller)

    assert await code_of(world.create(caller)) is Code.WALLET_LIMIT_REACHED
    await world.delete(caller, last.wallet_id)
    assert (await world.create(caller)).position == 4


async def test_creates_fill_the_cap_exactly_when_many_come_at_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Forty callers for the last free places: as many win as there are places."""
    world = await open_wallet(database_factory, clock, ids, pool_size_count=10, wallets_count=10)
    caller = world.caller()

    outcomes = await asyncio.gather(
        *(patiently(lambda: world.create(caller)) for _ in range(40)), return_exceptions=True
    )

    made = [outcome for outcome in outcomes if isinstance(outcome, wallet_pb2.Wallet)]
    assert sorted(wallet.position for wallet in made) == list(range(1, 11))
    assert len(await world.list_wallets(caller)) == 10


async def test_update_changes_what_is_given_and_leaves_the_rest(world: WalletWorld) -> None:
    """Absent fields stay as they are."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    renamed = await world.update(caller, wallet_id, name="Rent")
    redeeming = await world.update(caller, wallet_id, autoredeem=True)
    unchanged = await world.update(caller, wallet_id)

    assert (renamed.name, renamed.autoredeem) == ("Rent", False)
    assert (redeeming.name, redeeming.autoredeem) == ("Rent", True)
    assert unchanged == redeeming == await world.get(caller, wallet_id)


async def test_delete_writes_who_did_it(world: WalletWorld) -> None:
    """The audit has one row for a deletion, made in its transaction."""
    caller = world.caller()
    wallet_id = await world.first_wallet(caller)

    assert await world.delete(caller, wallet_id)

    (row,) = await world.administer("SELECT * FROM audit")
    assert (row["action"], row["subject"]) == ("WALLET_DELETED", wallet_id)
    assert (row["actor_kind"], row["actor_id"]) == ("ACCOUNT_SESSION", "session-credential")
    assert (row["project_id"], row["account_id"]) == (caller.project_id, caller.account_id)
    assert row["at_ns"] == world.clock.now_ns()


async def test_delete_refuses_a_wallet_that_holds_something(world: WalletWorld) -> None:
    """What has money, free or kept back, stays; nothing is written."""
    caller = world.caller()
    wallet_id = await world.funded_wallet(caller)

    assert await code_of(world.delete(caller, wallet_id)) is Code.WALLET_NOT_EMPTY
    assert [wallet.wallet_id for wallet in await world.list_wallets(caller)] == [wallet_id]
    assert await world.administer("SELECT FROM audit WHERE action = 'WALLET_DELETED'") == []


_Use = Callable[[WalletWorld, str], Awaitable[object]]
_USES: dict[str, Callable[..., Awaitable[object]]] = {
    "get": WalletWorld.get,
    "update": WalletWorld.update,
    "delete": WalletWorld.delete,
    "balance": WalletWorld.balance,
    "balances": WalletWorld.balances,
    "transfers": WalletWorld.transfers,
}


@pytest.mark.parametrize("use", _USES)
async def test_wallet_out_of_reach_is_the_same_404_everywhere(world: WalletWorld, use: str) -> None:
    """Unknown, malformed, deleted, somebody else's, another subaccount's, a rail's: no way to tell."""
    caller = world.caller()
    await world.list_wallets(caller)
    strangers = await world.funded_wallet(world.caller())
    gone = (await world.create(caller)).wallet_id
    await world.delete(caller, gone)
    (rail,) = await world.administer("SELECT wallet_id::text FROM wallet WHERE kind = 'RAIL'")
    own = await world.first_wallet(caller)
    pinned_elsewhere = world.caller(account_id=caller.account_id, subaccount_index=1)

    for wallet_id in (str(uuid.UUID(int=7)), "", "nonsense", own.upper(), gone, strangers, rail["wallet_id"]):
        error = await refusal(_USES[use](world, caller, wallet_id))
        assert (error.code, error.details) == (Code.WALLET_NOT_FOUND, ())
    error = await refusal(_USES[use](world, pinned_elsewhere, own))
    assert (error.code, error.details) == (Code.WALLET_NOT_FOUND, ())
    await _USES[use](world, caller, own)


async def test_pinned_credential_sees_only_its_subaccount(world: WalletWorld) -> None:
    """A credential pinned to subaccount 0 sees all of it; one pinned to where nothing is makes nothing."""
    caller = world.caller()
    nowhere = world.caller(subaccount_index=1)
    assert await world.list_wallets(nowhere) == []
    assert await world.administer("SELECT FROM wallet") == []
    wallets = await world.list_wallets(caller)
    pinned_here = world.caller(account_id=caller.account_id, subaccount_index=0)
    pinned_elsewhere = world.caller(account_id=caller.account_id, subaccount_index=1)

    assert await world.list_wallets(pinned_here) == wallets
    assert await world.list_wallets(pinned_elsewhere) == []
    assert await code_of(world.create(pinned_elsewhere)) is Code.SUBACCOUNT_NOT_FOUND
    assert await code_of(world.create(pinned_elsewhere, subaccount_index=0)) is Code.WALLET_NOT_FOUND
    assert (await world.create(pinned_here)).position == 2

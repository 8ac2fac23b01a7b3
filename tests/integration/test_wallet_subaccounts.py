"""Subaccounts: made by signed requests, seen by whom they belong to, each with wallets of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import Message

from chassis.errors import Code
from chassis.signing import Role
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import signed_body_pb2
from tests.integration.signed_wallet_support import SignedWorld, open_signed_wallet
from tests.integration.wallet_support import code_of


@pytest.fixture
async def world(database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds) -> SignedWorld:
    """The service on a fresh database."""
    return await open_signed_wallet(database_factory, clock, ids)


async def _statuses(world: SignedWorld, method: str, bodies: Sequence[Message], **holder: Any) -> list[str]:  # noqa: ANN401
    key = world.holder(**holder)
    return [(await world.sign(key, method, body)).status for body in bodies]


async def test_first_list_makes_subaccount_0_with_its_wallet(world: SignedWorld) -> None:
    """An untouched account has both as soon as it looks, the same that the list of wallets shows."""
    caller = world.caller()

    (subaccount,) = await world.list_subaccounts(caller)

    assert (subaccount.subaccount_index, subaccount.name) == (0, "Subaccount 0")
    assert subaccount.created_at_ns == world.clock.now_ns()
    (wallet,) = await world.list_wallets(caller)
    (listed,) = subaccount.wallets
    assert (listed.wallet_id, listed.name, listed.position) == (wallet.wallet_id, "Wallet 1", 1)
    assert listed.chains["POL"].address == wallet.chains["POL"].address
    assert listed.created_at_ns == wallet.created_at.ToNanoseconds()


async def test_further_subaccounts_count_on_and_have_a_wallet_each(world: SignedWorld) -> None:
    """Also as an account's first act: what its first look would have made is there too."""
    holder = world.holder()

    first = await world.create_subaccount(holder)
    second = await world.create_subaccount(holder, "Bots")

    assert (first.subaccount_index, first.name) == (1, "Subaccount 1")
    assert (second.subaccount_index, second.name) == (2, "Bots")
    listed = await world.list_subaccounts(holder.identity)
    assert [(one.subaccount_index, [w.position for w in one.wallets]) for one in listed] == [
        (0, [1]),
        (1, [2]),
        (2, [3]),
    ]
    assert listed[1:] == [first, second]
    assert [wallet.name for wallet in await world.list_wallets(holder.identity)] == [
        "Wallet 1",
        "Wallet 2",
        "Wallet 3",
    ]


async def test_subaccount_is_refused_to_keys_that_are_not_rooted_or_not_of_full_access(
    world: SignedWorld,
) -> None:
    """What makes a part of an account must reach all of it."""
    body = signed_body_pb2.CreateSubaccount()

    assert await _statuses(world, "SubmitCreateSubaccount", [body], admin_rooted=False) == [
        "rejected_not_admin_rooted"
    ]
    assert await _statuses(world, "SubmitCreateSubaccount", [body], role=Role.TRADING_ONLY) == [
        "rejected_role"
    ]
    assert await world.administer("SELECT FROM subaccount") == []


async def test_subaccount_with_a_bad_name_is_refused_and_told_why(world: SignedWorld) -> None:
    """Of a refused request nothing stays but its record."""
    holder = world.holder()

    answer = await world.sign(holder, "SubmitCreateSubaccount", signed_body_pb2.CreateSubaccount(name=""))

    assert (answer.status, answer.success) == ("portfolio_rejected_invalid", False)
    assert [detail.path for detail in answer.details] == ["name"]
    assert await world.administer("SELECT FROM subaccount") == []
    assert len(await world.administer("SELECT FROM request")) == 1


async def test_subaccounts_fill_their_cap_exactly_when_many_come_at_once(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Ten requests for three free places: three win, and their indexes have no gap.

    Straight at the storage, since the stage lets an account's requests go one by one.
    """
    world = await open_signed_wallet(database_factory, clock, ids, subaccounts_count=4)
    caller = world.caller()
    await world.list_wallets(caller)
    reach = world.reach(caller)

    outcomes = await asyncio.gather(
        *(world.subaccounts.create_subaccount(reach, ids.uuid7(), None, clock.now_ns()) for _ in range(10)),
        return_exceptions=True,
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert {getattr(error, "code", error) for error in refused} == {Code.SUBACCOUNT_LIMIT_REACHED}
    assert len(refused) == 7
    listed = await world.list_subaccounts(caller)
    assert [(one.subaccount_index, len(one.wallets)) for one in listed] == [(0, 1), (1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("caps", [{"subaccounts_count": 2}, {"wallets_count": 2}])
async def test_subaccount_past_either_cap_is_rejected_for_the_limit(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds, caps: dict[str, int]
) -> None:
    """A subaccount has a wallet, so the cap on wallets counts too; the refused one takes no position."""
    world = await open_signed_wallet(database_factory, clock, ids, **caps)
    holder = world.holder()
    await world.create_subaccount(holder)

    answer = await world.sign(holder, "SubmitCreateSubaccount", signed_body_pb2.CreateSubaccount())

    assert answer.status == "subaccount_rejected_limit"
    rows = await world.administer("SELECT wallets_made_count FROM subaccount WHERE subaccount_index = 0")
    assert [row["wallets_made_count"] for row in rows] == [2]


async def test_deleted_wallet_is_not_listed_and_leaves_its_place(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """Its subaccount stays without it, and another may have a wallet instead."""
    world = await open_signed_wallet(database_factory, clock, ids, wallets_count=2)
    holder = world.holder()
    made = await world.create_subaccount(holder)
    await world.delete(holder.identity, made.wallets[0].wallet_id)
    listed = await world.list_subaccounts(holder.identity)
    assert [(one.subaccount_index, len(one.wallets)) for one in listed] == [(0, 1), (1, 0)]
    await world.create_subaccount(holder)


async def test_pinned_credential_sees_its_subaccount_and_nothing_else(world: SignedWorld) -> None:
    """Its list has that one; of one that is not there it is empty, and looking makes nothing."""
    holder = world.holder()
    made = await world.create_subaccount(holder)
    account_id = holder.account_id

    assert await world.list_subaccounts(world.caller(account_id=account_id, subaccount_index=1)) == [made]
    pinned = world.caller(account_id=account_id, subaccount_index=1)
    assert [wallet.wallet_id for wallet in await world.list_wallets(pinned)] == [made.wallets[0].wallet_id]
    assert await world.list_subaccounts(world.caller(account_id=account_id, subaccount_index=7)) == []
    assert await world.list_subaccounts(world.caller(subaccount_index=7)) == []
    assert len(await world.administer("SELECT FROM subaccount")) == 2


async def test_unsigned_wallet_is_made_in_the_named_subaccount_or_the_callers_own(world: SignedWorld) -> None:
    """Whoever is pinned needs not name it, and reaches no other."""
    holder = world.holder()
    await world.create_subaccount(holder)
    pinned = world.caller(account_id=holder.account_id, subaccount_index=1)

    named = await world.create(holder.identity, subaccount_index=1)
    own = await world.create(pinned)
    first = await world.create(holder.identity)

    assert [(w.subaccount_index, w.position) for w in (named, own, first)] == [(1, 3), (1, 4), (0, 5)]
    assert await code_of(world.create(pinned, subaccount_index=0)) is Code.WALLET_NOT_FOUND
    assert await code_of(world.create(holder.identity, subaccount_index=2)) is Code.SUBACCOUNT_NOT_FOUND


async def test_signed_wallet_is_made_and_changed_in_its_subaccount(world: SignedWorld) -> None:
    """By a key that is pinned to it, too; the answer is the wallet as it is then."""
    holder = world.holder()
    await world.create_subaccount(holder)
    pinned = world.holder(holder.identity, subaccount_index=1)

    made = await world.sign(
        pinned, "SubmitCreateWallet", signed_body_pb2.CreateWallet(subaccount_index=1, name="Bot")
    )
    changed = await world.sign(
        pinned,
        "SubmitUpdateWallet",
        signed_body_pb2.UpdateWallet(subaccount_index=1, wallet_id=made.wallet.wallet_id, autoredeem=True),
    )

    assert (made.status, made.wallet.name, made.wallet.subaccount_index) == ("request_completed", "Bot", 1)
    assert (changed.wallet.name, changed.wallet.autoredeem, changed.wallet.position) == ("Bot", True, 3)
    listed = await world.list_subaccounts(holder.identity)
    assert listed[1].wallets[1] == changed.wallet


async def test_signed_wallet_is_refused_outside_of_the_keys_reach_before_anything_else(
    world: SignedWorld,
) -> None:
    """Whether the subaccount is there, or the name any good, is not told."""
    create, update = signed_body_pb2.CreateWallet, signed_body_pb2.UpdateWallet
    asked: dict[str, list[Message]] = {
        "SubmitCreateWallet": [create(), create(subaccount_index=2**32 - 1), create(name="")],
        "SubmitUpdateWallet": [update(), update(wallet_id="nonsense")],
    }
    for method, bodies in asked.items():
        assert set(await _statuses(world, method, bodies, subaccount_index=1)) == {"rejected_scope"}


async def test_signed_wallet_is_refused_for_whatever_is_wrong(world: SignedWorld) -> None:
    """Unknown subaccounts and wallets, a wallet of another subaccount, a bad name."""
    holder = world.holder()
    made = await world.create_subaccount(holder)
    elsewhere = made.wallets[0].wallet_id
    create, update = signed_body_pb2.CreateWallet, signed_body_pb2.UpdateWallet
    asked: dict[str, list[Message]] = {
        "SubmitCreateWallet": [
            create(subaccount_index=2),
            create(subaccount_index=2**31),
            create(subaccount_index=2**32 - 1),
            create(name="a\nb"),
        ],
        "SubmitUpdateWallet": [
            update(wallet_id=elsewhere, name="x"),
            update(subaccount_index=2**31, wallet_id=elsewhere),
            update(subaccount_index=1, wallet_id="nonsense"),
            update(subaccount_index=1, wallet_id=elsewhere, name=""),
            update(subaccount_index=1),
        ],
    }
    for method, bodies in asked.items():
        for body in bodies:
            answer = await world.sign(holder, method, body)
            assert answer.status == "portfolio_rejected_invalid", body
            assert answer.details[0].message
    assert [len(one.wallets) for one in await world.list_subaccounts(holder.identity)] == [1, 1]


async def test_signed_wallet_past_the_cap_is_refused(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> None:
    """The cap is the account's, whoever asks and wherever the wallet would be."""
    world = await open_signed_wallet(database_factory, clock, ids, wallets_count=2)
    holder = world.holder()
    await world.create_subaccount(holder)

    body = signed_body_pb2.CreateWallet(subaccount_index=1)
    assert (await world.sign(holder, "SubmitCreateWallet", body)).status == "portfolio_rejected_invalid"

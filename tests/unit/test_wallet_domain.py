"""Rules of wallets, postings, deposits and statements, without a database."""

from __future__ import annotations

import uuid

import pytest

from chassis.errors import Code, SealgateError
from services.wallet.domain.deposit import (
    RAIL_SHARD_COUNT,
    Deposit,
    check_reference,
    deposit_legs,
    rail_wallet,
)
from services.wallet.domain.money import Asset, AssetClass
from services.wallet.domain.posting import Leg, balanced
from services.wallet.domain.statement import (
    Holding,
    Page,
    Transfer,
    TransferKind,
    list_page,
    shown_holdings,
)
from services.wallet.domain.wallet import (
    Reach,
    check_name,
    chosen_subaccount,
    default_name,
    embedded_address,
    wallet_id_of,
)

_A, _B, _C = (uuid.UUID(int=number) for number in (1, 2, 3))


def _reach(subaccount_index: int | None = None) -> Reach:
    return Reach(_A, _B, subaccount_index)


@pytest.mark.parametrize("text", ["", "x", str(_A).upper() + "x", "{" + str(_A) + "}", _A.hex])
def test_wallet_id_of_answers_not_found_for_what_cannot_be_one(text: str) -> None:
    """A malformed id is a wallet that does not exist."""
    with pytest.raises(SealgateError) as refused:
        wallet_id_of(text)
    assert refused.value.code is Code.WALLET_NOT_FOUND


@pytest.mark.parametrize("name", ["a", "x" * 64, "Grüße 🎉", " "])
def test_check_name_accepts_one_to_64_characters(name: str) -> None:
    """Characters are counted, not bytes."""
    check_name(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a\tb", "a\x7f", "a\u200bb"])
def test_check_name_refuses_a_name_out_of_bounds(name: str) -> None:
    """Too short, too long, or with characters that nobody sees."""
    with pytest.raises(SealgateError) as refused:
        check_name(name)
    assert [detail.path for detail in refused.value.details] == ["name"]


def test_default_name_counts_from_one() -> None:
    """The first wallet is called `Wallet 1`."""
    assert default_name(1) == "Wallet 1"


@pytest.mark.parametrize(
    ("requested", "pin", "chosen"),
    [
        (None, None, 0),
        (0, None, 0),
        (7, None, 7),
        (2**31 - 1, None, 2**31 - 1),
        (2**31, None, Code.SUBACCOUNT_NOT_FOUND),
        (2**32 - 1, None, Code.SUBACCOUNT_NOT_FOUND),
        (None, 0, 0),
        (None, 3, 3),
        (3, 3, 3),
        (0, 3, Code.WALLET_NOT_FOUND),
        (2**32 - 1, 3, Code.WALLET_NOT_FOUND),
    ],
)
def test_chosen_subaccount_is_the_wished_one_within_reach_or_the_callers_own(
    requested: int | None, pin: int | None, chosen: int | Code
) -> None:
    """Without a wish it is the one that the caller is pinned to, or the first."""
    if isinstance(chosen, int):
        assert chosen_subaccount(requested, _reach(pin)) == chosen
        return
    with pytest.raises(SealgateError) as refused:
        chosen_subaccount(requested, _reach(pin))
    assert refused.value.code is chosen


def test_account_is_opened_only_by_who_sees_its_first_wallet() -> None:
    """Whoever is pinned beyond subaccount 0 would make a wallet that he cannot see."""
    assert [_reach(pin).opens_account() for pin in (None, 0, 1)] == [True, True, False]


def test_embedded_address_is_the_same_for_ever() -> None:
    """A published address keeps naming its wallet; this is the value it had on the first day."""
    assert embedded_address(_A, "POL") == "0x4be6fefac07d76c545fe10046802929bc62289aa"
    assert len({embedded_address(wallet_id, chain) for wallet_id in (_A, _B) for chain in ("POL", "X")}) == 4


def test_balanced_orders_legs_as_they_lock() -> None:
    """Whoever moves money between the same balances takes them in the same order."""
    legs = [Leg(_C, 1, 5), Leg(_A, 2, -1), Leg(_A, 1, -5), Leg(_B, 2, 1)]

    assert balanced(legs) == balanced(reversed(legs))
    assert [(leg.wallet_id, leg.asset_id) for leg in balanced(legs)] == [(_A, 1), (_A, 2), (_B, 2), (_C, 1)]


@pytest.mark.parametrize(
    "legs",
    [
        (),
        (Leg(_A, 1, 5),),
        (Leg(_A, 1, 5), Leg(_B, 1, -4)),
        (Leg(_A, 1, 5), Leg(_B, 2, -5)),
        (Leg(_A, 1, 0), Leg(_B, 1, 0)),
        (Leg(_A, 1, 5), Leg(_A, 1, -5)),
    ],
    ids=["none", "one", "sum", "assets", "zero", "same balance"],
)
def test_balanced_refuses_legs_that_make_or_lose_money(legs: tuple[Leg, ...]) -> None:
    """Legs sum to zero per asset, move something, and each is of another balance."""
    with pytest.raises(ValueError, match="leg"):
        balanced(legs)


def test_deposit_legs_move_the_amount_from_the_rail_to_the_wallet() -> None:
    """The rail's side has no floor, the wallet's has zero."""
    deposit = Deposit("embedded", "ref", _A, Asset(1, "USDC", 6, AssetClass.CASH), 5)
    source = rail_wallet("embedded", "ref").wallet_id

    legs = {leg.wallet_id: leg for leg in deposit_legs(deposit)}

    assert legs == {_A: Leg(_A, 1, 5, floor=0), source: Leg(source, 1, -5, floor=None)}


def test_rail_wallet_is_the_same_for_ever() -> None:
    """Ids and names of system wallets are facts of the books; these are from the first day."""
    wallet = rail_wallet("embedded", "ref-1")

    assert wallet.name == "rail/embedded/12"
    assert str(wallet.wallet_id) == "6238b1fb-3e76-8f67-997b-64c4ee2a02b6"
    assert wallet.wallet_id.version == 8


def test_rail_wallet_spreads_references_over_all_shards() -> None:
    """No wallet of a rail gets much more than its share."""
    names = [rail_wallet("embedded", str(number)).name for number in range(1600)]

    counts = [names.count(name) for name in set(names)]
    assert len(counts) == RAIL_SHARD_COUNT
    assert max(counts) < 200


@pytest.mark.parametrize(
    ("rail", "reference"), [("embedded", "0xab"), ("x-2", "SEPA 2026/01 Ünïcode"), ("a", "x" * 128)]
)
def test_check_reference_accepts(rail: str, reference: str) -> None:
    """What rails and their references look like."""
    check_reference(rail, reference)


@pytest.mark.parametrize(
    ("rail", "reference", "path"),
    [
        ("", "r", "rail"),
        ("a b", "r", "rail"),
        ("A", "r", "rail"),
        ("a\n", "r", "rail"),
        ("x" * 33, "r", "rail"),
        ("a", "", "external_ref"),
        ("a", "x" * 129, "external_ref"),
        ("a", " r", "external_ref"),
        ("a", "r ", "external_ref"),
        ("a", "r\x00", "external_ref"),
        ("a", "r\u200b", "external_ref"),
        ("a", "r\u2028s", "external_ref"),
    ],
)
def test_check_reference_refuses(rail: str, reference: str, path: str) -> None:
    """What would let one deposit look like two, or two like one."""
    with pytest.raises(SealgateError) as refused:
        check_reference(rail, reference)
    assert [detail.path for detail in refused.value.details] == [path]


def test_shown_holdings_are_cash_and_test_assets_that_there_are() -> None:
    """Cash even at zero, test assets from the first unit, outcome shares never."""
    cash = Asset(1, "USDC", 6, AssetClass.CASH)
    play = Asset(2, "PLAY", 6, AssetClass.TEST)
    share = Asset(3, "123", 6, AssetClass.OUTCOME)

    assert shown_holdings([Holding(cash, 0, 0), Holding(play, 0, 0), Holding(share, 9, 0)]) == (
        Holding(cash, 0, 0),
    )
    assert shown_holdings([Holding(play, 1, 0)]) == (Holding(play, 1, 0),)
    assert Holding(cash, 10, 3).available == 7


@pytest.mark.parametrize(("amount", "addresses"), [(5, ("", "0xme")), (-5, ("0xme", ""))])
def test_transfer_shows_the_wallets_address_on_its_own_side(amount: int, addresses: tuple[str, str]) -> None:
    """Where the other side has no address there is none."""
    transfer = Transfer(TransferKind.DEPOSIT, "USDC", 6, amount, "0xme", "", "ref", 1)

    assert (transfer.from_address, transfer.to_address) == addresses


@pytest.mark.parametrize(
    ("limit", "offset", "page"),
    [
        (None, None, Page(100, 0)),
        (0, 0, Page(0, 0)),
        (1000, 7, Page(1000, 7)),
        (1001, None, Page(1000, 0)),
        (2**63 - 1, 2**63 - 1, Page(1000, 2**63 - 1)),
    ],
)
def test_list_page_lowers_a_limit_over_the_cap(limit: int | None, offset: int | None, page: Page) -> None:
    """100 by default, 1000 at most."""
    assert list_page(limit, offset) == page


@pytest.mark.parametrize(("limit", "offset", "path"), [(-1, None, "limit"), (None, -1, "offset")])
def test_list_page_refuses_a_negative_bound(limit: int | None, offset: int | None, path: str) -> None:
    """A page cannot be negative."""
    with pytest.raises(SealgateError) as refused:
        list_page(limit, offset)
    assert [detail.path for detail in refused.value.details] == [path]

"""Withdrawals as rules alone: amounts, addresses, limits, and the steps from one state to the next."""

from __future__ import annotations

import uuid
from typing import Final

import pytest

from chassis.errors import Code, SealgateError
from services.wallet.domain.deposit import rail_wallet
from services.wallet.domain.destination import (
    Destination,
    Target,
    chain_of,
    check_usable,
    read_target,
)
from services.wallet.domain.money import Asset, AssetClass
from services.wallet.domain.withdrawal import (
    Rail,
    Step,
    Withdrawal,
    WithdrawalState,
    check_funds,
    check_limit,
    embedded_step,
    is_repetition,
    read_step,
    withdrawable_amount,
    withdrawal_id_of,
    withdrawal_legs,
)

USDC: Final = Asset(1, "USDC", 6, AssetClass.CASH)
ADDRESS: Final = "0x" + "0f" * 20
STATES: Final = tuple(WithdrawalState)
ALLOWED: Final = {
    ("PENDING", "SENT"),
    ("PENDING", "FAILED"),
    ("PENDING", "REJECTED"),
    ("SENT", "CONFIRMED"),
    ("SENT", "FAILED"),
}


def withdrawal(state: WithdrawalState, external_ref: str | None = None) -> Withdrawal:
    """A withdrawal of 5 USDC."""
    return Withdrawal(
        withdrawal_id=uuid.UUID(int=7),
        wallet_id=uuid.UUID(int=8),
        asset=USDC,
        amount=5_000_000,
        chain="POL",
        address=ADDRESS,
        state=state,
        rail=Rail.OPERATOR,
        external_ref=external_ref,
        created_at_ns=1,
        updated_at_ns=1,
    )


def refused(error: SealgateError) -> tuple[Code, str, str]:
    """A refusal's code and its one detail."""
    (detail,) = error.details
    return error.code, detail.path, detail.message


def standing(state: WithdrawalState) -> Withdrawal:
    """A withdrawal that came to a state, under a reference where it was sent."""
    was_sent = state in (WithdrawalState.SENT, WithdrawalState.CONFIRMED)
    return withdrawal(state, "ref" if was_sent else None)


@pytest.mark.parametrize("to", STATES[1:])
@pytest.mark.parametrize("at", STATES)
def test_withdrawal_takes_a_step_forward_or_stays_or_is_refused(
    at: WithdrawalState, to: WithdrawalState
) -> None:
    """Forward is new, where it stands is a repetition, and everything else a conflict that says where."""
    step = Step(to, "ref" if to is WithdrawalState.SENT else None)

    was_sent = to is WithdrawalState.SENT and standing(at).external_ref is not None
    if at is to or was_sent:
        assert is_repetition(standing(at), step)
    elif (at, to) in ALLOWED:
        assert not is_repetition(standing(at), step)
    else:
        with pytest.raises(SealgateError) as error:
            is_repetition(standing(at), step)
        assert refused(error.value) == (
            Code.WITHDRAWAL_STATE_CONFLICT,
            "state",
            f"the withdrawal is {at}",
        )


@pytest.mark.parametrize("at", ["SENT", "CONFIRMED", "FAILED"])
def test_withdrawal_that_was_sent_is_not_sent_under_another_reference(at: str) -> None:
    """A second payment would hide behind it."""
    with pytest.raises(SealgateError) as error:
        is_repetition(withdrawal(WithdrawalState(at), "ref"), Step(WithdrawalState.SENT, "other"))
    assert error.value.code is Code.WITHDRAWAL_STATE_CONFLICT


def test_withdrawal_failed_after_it_was_sent_remembers_that_it_was() -> None:
    """The rail's report of the sending may come late, and is no news then."""
    sent = Step(WithdrawalState.SENT, "ref")
    assert is_repetition(withdrawal(WithdrawalState.FAILED, "ref"), sent)
    with pytest.raises(SealgateError):
        is_repetition(withdrawal(WithdrawalState.FAILED), sent)


def test_step_is_read_with_its_reference() -> None:
    """SENT names a reference, the others none."""
    assert read_step(WithdrawalState.SENT, "0xab") == Step(WithdrawalState.SENT, "0xab")
    for state in ("CONFIRMED", "FAILED", "REJECTED"):
        assert read_step(WithdrawalState(state), "") == Step(WithdrawalState(state), None)


@pytest.mark.parametrize(
    ("state", "reference", "path"),
    [
        (None, "", "state"),
        (WithdrawalState.PENDING, "", "state"),
        (WithdrawalState.SENT, "", "external_ref"),
        (WithdrawalState.SENT, " ref", "external_ref"),
        (WithdrawalState.SENT, "x" * 129, "external_ref"),
        (WithdrawalState.SENT, "a\x00b", "external_ref"),
        (WithdrawalState.CONFIRMED, "ref", "external_ref"),
    ],
)
def test_step_refuses_what_is_none(state: WithdrawalState | None, reference: str, path: str) -> None:
    """No step back to the beginning, no sending without a name, and no name for what sends nothing."""
    with pytest.raises(SealgateError) as error:
        read_step(state, reference)
    assert refused(error.value)[:2] == (Code.VALIDATION_ERROR, path)


def test_embedded_rail_sends_under_the_withdrawals_own_id_and_then_confirms() -> None:
    """Its reference follows from the id, so that a repeated round cannot make up a second one."""
    first = embedded_step(withdrawal(WithdrawalState.PENDING))
    assert first == Step(WithdrawalState.SENT, "embedded/00000000-0000-0000-0000-000000000007")
    assert embedded_step(withdrawal(WithdrawalState.SENT, first.external_ref)) == Step(
        WithdrawalState.CONFIRMED, None
    )


def test_withdrawal_leaves_the_wallet_for_the_rails() -> None:
    """Two legs that sum to zero; the rail's wallet is that of the reference and has no floor."""
    legs = withdrawal_legs(withdrawal(WithdrawalState.SENT, "ref"))

    target = rail_wallet("operator", "ref").wallet_id
    assert {(leg.wallet_id, leg.amount, leg.floor) for leg in legs} == {
        (uuid.UUID(int=8), -5_000_000, 0),
        (target, 5_000_000, None),
    }
    with pytest.raises(ValueError, match="reference"):
        withdrawal_legs(withdrawal(WithdrawalState.PENDING))


def test_withdrawal_needs_what_is_available() -> None:
    """To the last unit; one more is refused with what there is."""
    check_funds(USDC, 10, 10)
    with pytest.raises(SealgateError) as error:
        check_funds(USDC, 11, 10)
    assert refused(error.value) == (
        Code.INSUFFICIENT_BALANCE,
        "amount",
        "needs 0.000011 USDC, has 0.00001",
    )


def test_withdrawal_limit_is_met_to_the_last_unit() -> None:
    """What was withdrawn before counts; the refusal names what would still do."""
    check_limit(USDC, 1, 9_999_999, 10)
    with pytest.raises(SealgateError) as error:
        check_limit(USDC, 2, 9_999_999, 10)
    assert refused(error.value) == (
        Code.WITHDRAWAL_LIMIT_REACHED,
        "amount",
        "an account may withdraw 10 USDC in any 24 hours; 0.000001 would do now",
    )
    with pytest.raises(SealgateError) as error:
        check_limit(USDC, 1, 20_000_000, 10)
    assert refused(error.value)[2].endswith("; 0 would do now")


@pytest.mark.parametrize("asset_class", [AssetClass.TEST, AssetClass.OUTCOME])
def test_only_cash_is_withdrawn(asset_class: AssetClass) -> None:
    """Shares and play money never leave: for a withdrawal there is no such asset."""
    assert withdrawable_amount("12.5", USDC) == 12_500_000
    with pytest.raises(SealgateError) as error:
        withdrawable_amount("1", Asset(2, "X", 6, asset_class))
    assert error.value.code is Code.ASSET_NOT_FOUND


@pytest.mark.parametrize("text", ["", "0", "0.000000", "-1", "+1", "1e3", "NaN", "1.0000001", "1 ", "1" * 39])
def test_withdrawal_refuses_an_amount_that_is_none(text: str) -> None:
    """A positive decimal within the asset's scale, and nothing is rounded."""
    with pytest.raises(SealgateError) as error:
        withdrawable_amount(text, USDC)
    assert refused(error.value)[:2] == (Code.VALIDATION_ERROR, "amount")


def test_address_has_one_way_of_writing() -> None:
    """0x and 40 digits in small letters, on the one chain."""
    assert read_target("POL", ADDRESS) == Target("POL", ADDRESS)


@pytest.mark.parametrize(
    ("chain", "address", "path"),
    [
        ("", ADDRESS, "chain"),
        ("pol", ADDRESS, "chain"),
        ("ETH", ADDRESS, "chain"),
        ("POL", "", "address"),
        ("POL", ADDRESS.upper(), "address"),
        ("POL", ADDRESS.replace("f", "F"), "address"),
        ("POL", ADDRESS[2:], "address"),
        ("POL", ADDRESS + "0", "address"),
        ("POL", ADDRESS[:-1], "address"),
        ("POL", ADDRESS + "\n", "address"),
        ("POL", ADDRESS[:-1] + "g", "address"),
        ("POL", ADDRESS[:-1] + "\u0661", "address"),
    ],
)
def test_address_refuses_any_other(chain: str, address: str, path: str) -> None:
    """Two texts for one place would be two addresses with a wait each."""
    with pytest.raises(SealgateError) as error:
        read_target(chain, address)
    assert refused(error.value)[:2] == (Code.VALIDATION_ERROR, path)


def test_chain_of_a_path_is_written_like_paths_or_like_chains() -> None:
    """`pol` or `POL`, and nothing between."""
    assert chain_of("pol") == chain_of("POL") == "POL"
    for other in ("", "Pol", "eth", "pol "):
        with pytest.raises(SealgateError) as error:
            chain_of(other)
        assert error.value.code is Code.CHAIN_NOT_FOUND


def test_address_is_usable_from_its_nanosecond_on() -> None:
    """Not one before."""
    destination = Destination(uuid.UUID(int=1), "POL", ADDRESS, 1000, 1)
    check_usable(destination, 1000)
    with pytest.raises(SealgateError) as error:
        check_usable(destination, 999)
    assert refused(error.value) == (
        Code.ADDRESS_NOT_USABLE,
        "address",
        "can be used from 1000 on, Unix nanoseconds",
    )


@pytest.mark.parametrize("text", ["", "nonsense", "00000000000000000000000000000007"])
def test_withdrawal_id_that_is_none_names_nothing(text: str) -> None:
    """Malformed is as unknown as unknown is."""
    with pytest.raises(SealgateError) as error:
        withdrawal_id_of(text)
    assert error.value.code is Code.WITHDRAWAL_NOT_FOUND

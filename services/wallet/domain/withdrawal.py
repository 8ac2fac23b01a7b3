"""Withdrawals: money that leaves over a rail, and the few steps that it takes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.ids import parse_uuid
from services.wallet.domain.deposit import check_reference, rail_wallet
from services.wallet.domain.destination import Target
from services.wallet.domain.money import Asset, AssetClass, parse_amount, plain_amount
from services.wallet.domain.posting import Leg, balanced

LIMIT_WINDOW_NS: Final = 24 * 3600 * NANOSECONDS_PER_SECOND
"""Over how long what an account withdraws is added up."""


class WithdrawalState(StrEnum):
    """How far a withdrawal is."""

    PENDING = "PENDING"
    SENT = "SENT"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"


class Rail(StrEnum):
    """What a withdrawal leaves over: the embedded one acts by itself, the operator's waits for him."""

    EMBEDDED = "embedded"
    OPERATOR = "operator"


_NEXT: Final[Mapping[WithdrawalState, frozenset[WithdrawalState]]] = {
    WithdrawalState.PENDING: frozenset(
        {WithdrawalState.SENT, WithdrawalState.FAILED, WithdrawalState.REJECTED}
    ),
    WithdrawalState.SENT: frozenset({WithdrawalState.CONFIRMED, WithdrawalState.FAILED}),
}


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A withdrawal as it stands; `amount` in the asset's smallest units."""

    withdrawal_id: uuid.UUID
    wallet_id: uuid.UUID
    asset: Asset
    amount: int
    chain: str
    address: str
    state: WithdrawalState
    rail: str
    external_ref: str | None
    created_at_ns: int
    updated_at_ns: int


@dataclass(frozen=True, slots=True)
class NewWithdrawal:
    """A withdrawal that is asked for; `amount` in the asset's smallest units."""

    withdrawal_id: uuid.UUID
    wallet_id: uuid.UUID
    asset: Asset
    amount: int
    target: Target


@dataclass(frozen=True, slots=True)
class Step:
    """Where a withdrawal is to be moved; `external_ref` is the rail's own and comes with SENT alone."""

    state: WithdrawalState
    external_ref: str | None


def withdrawal_id_of(text: str) -> uuid.UUID:
    """Reads a withdrawal's id; raises WITHDRAWAL_NOT_FOUND for what cannot be one."""
    withdrawal_id = parse_uuid(text)
    if withdrawal_id is None:
        raise SealgateError(Code.WITHDRAWAL_NOT_FOUND)
    return withdrawal_id


def withdrawable_amount(text: str, asset: Asset) -> int:
    """The amount in `text` in the asset's smallest units.

    Raises ASSET_NOT_FOUND for what is no cash, which never leaves, and VALIDATION_ERROR.
    """
    if asset.asset_class is not AssetClass.CASH:
        raise SealgateError(Code.ASSET_NOT_FOUND)
    return parse_amount(text, asset, "amount")


def read_step(state: WithdrawalState | None, external_ref: str) -> Step:
    """The step that an operator asks for.

    Raises VALIDATION_ERROR for PENDING, in which every withdrawal begins, for no state, for SENT
    without a reference of the shape that deposits have, and for one with anything else.
    """
    if state is None or state is WithdrawalState.PENDING:
        raise invalid("state", "must be SENT, CONFIRMED, FAILED or REJECTED")
    if state is WithdrawalState.SENT:
        check_reference(Rail.OPERATOR, external_ref)
        return Step(state, external_ref)
    if external_ref:
        raise invalid("external_ref", "only SENT has one")
    return Step(state, None)


def is_repetition(withdrawal: Withdrawal, step: Step) -> bool:
    """Whether the step was taken before; raises WITHDRAWAL_STATE_CONFLICT if it cannot be any more."""
    if step.state is WithdrawalState.SENT and withdrawal.external_ref is not None:
        # Whatever became of it since: under this reference it was sent.
        repeated = withdrawal.external_ref == step.external_ref
    else:
        repeated = withdrawal.state is step.state
    if not repeated and step.state not in _NEXT.get(withdrawal.state, frozenset()):
        detail = Detail("state", f"the withdrawal is {withdrawal.state}")
        raise SealgateError(Code.WITHDRAWAL_STATE_CONFLICT, details=(detail,))
    return repeated


def embedded_step(withdrawal: Withdrawal) -> Step:
    """What the embedded rail does next with a withdrawal that is PENDING or SENT."""
    if withdrawal.state is WithdrawalState.PENDING:
        return Step(WithdrawalState.SENT, f"{Rail.EMBEDDED}/{withdrawal.withdrawal_id}")
    return Step(WithdrawalState.CONFIRMED, None)


def withdrawal_legs(withdrawal: Withdrawal) -> tuple[Leg, ...]:
    """Out of the account's wallet, into the rail's that its reference picks.

    Raises ValueError for one that was not sent.
    """
    if withdrawal.external_ref is None:
        raise ValueError("a withdrawal leaves under a reference")
    target = rail_wallet(withdrawal.rail, withdrawal.external_ref)
    return balanced(
        (
            Leg(withdrawal.wallet_id, withdrawal.asset.asset_id, -withdrawal.amount),
            Leg(target.wallet_id, withdrawal.asset.asset_id, withdrawal.amount, floor=None),
        )
    )


def check_funds(asset: Asset, amount: int, available: int) -> None:
    """Raises INSUFFICIENT_BALANCE for more than there is."""
    if amount > available:
        needed, has = (plain_amount(units, asset.scale) for units in (amount, available))
        detail = Detail("amount", f"needs {needed} {asset.code}, has {has}")
        raise SealgateError(Code.INSUFFICIENT_BALANCE, details=(detail,))


def check_limit(asset: Asset, amount: int, withdrawn: int, limit_per_day: int) -> None:
    """Raises WITHDRAWAL_LIMIT_REACHED when it and what was `withdrawn` in 24 h come to more than may be.

    `limit_per_day` is in whole ones of the asset, the amounts are in its smallest units.
    """
    most = limit_per_day * 10**asset.scale
    if withdrawn + amount > most:
        left = plain_amount(max(most - withdrawn, 0), asset.scale)
        detail = Detail(
            "amount",
            f"an account may withdraw {limit_per_day} {asset.code} in any 24 hours; {left} would do now",
        )
        raise SealgateError(Code.WITHDRAWAL_LIMIT_REACHED, details=(detail,))

"""Withdrawals and their addresses in Postgres, each change in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError, gravest
from chassis.ids import Ids
from chassis.limits import (
    WALLET_LIST_MAX_COUNT,
    WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT,
    WITHDRAWAL_STEPS_AT_ONCE_COUNT,
)
from services.wallet.domain.audit import Act, ActorKind
from services.wallet.domain.deposit import rail_wallet
from services.wallet.domain.destination import Destination, Target, check_usable, not_registered
from services.wallet.domain.money import Asset, AssetClass
from services.wallet.domain.statement import Page
from services.wallet.domain.wallet import Reach
from services.wallet.domain.withdrawal import (
    LIMIT_WINDOW_NS,
    NewWithdrawal,
    Rail,
    Step,
    Withdrawal,
    WithdrawalState,
    check_funds,
    check_limit,
    embedded_step,
    is_repetition,
    withdrawal_legs,
)
from services.wallet.storage import found, within
from services.wallet.storage_signers import refuse_if_signatures_required

_queries = load_queries(Path(__file__).with_name("queries_withdrawals.sql"))
_HOLD_TURN: Final = _queries.hold_turn
_LIST_DESTINATIONS: Final = _queries.list_destinations
_INSERT_DESTINATION: Final = _queries.insert_destination
_REMOVE_DESTINATION: Final = _queries.remove_destination
_LOCK_WALLET_AND_DESTINATION: Final = _queries.lock_wallet_and_destination
_LOCK_WITHDRAWABLE: Final = _queries.lock_withdrawable
_INSERT_WITHDRAWAL: Final = _queries.insert_withdrawal
_LIST_WITHDRAWALS: Final = _queries.list_withdrawals
_LIST_OPEN_WITHDRAWALS: Final = _queries.list_open_withdrawals
_LOCK_WITHDRAWAL: Final = _queries.lock_withdrawal
_LOCK_NEXT_OF_RAIL: Final = _queries.lock_next_of_rail
_SEND_WITHDRAWAL: Final = _queries.send_withdrawal
_FREE_WITHDRAWAL: Final = _queries.free_withdrawal
_LOCK_PAID_BALANCES: Final = _queries.lock_paid_balances
_CONFIRM_WITHDRAWAL: Final = _queries.confirm_withdrawal


@dataclass(frozen=True, slots=True)
class WithdrawalTerms:
    """How withdrawals go here: over what, how soon, how much.

    `limit_per_day` is what an account may withdraw of an asset in any 24 h, in whole ones.
    """

    rail: Rail
    delay_seconds: int
    limit_per_day: int


class DestinationStorage:
    """See `services.wallet.ports.DestinationStore`; an address waits `wait_seconds` before its use."""

    def __init__(self, database: Database, wait_seconds: int) -> None:
        self._database = database
        self._wait_ns = wait_seconds * NANOSECONDS_PER_SECOND

    async def list_destinations(self, account_id: uuid.UUID) -> list[Destination]:
        """See `DestinationStore.list_destinations`."""
        return [_destination(row) for row in await self._database.fetch(_LIST_DESTINATIONS, account_id)]

    async def add_destination(
        self, reach: Reach, target: Target, destination_id: uuid.UUID, act: Act, *, is_signed: bool
    ) -> Destination:
        """See `DestinationStore.add_destination`."""
        async with self._database.transaction() as tx:
            await _take_turn(tx, reach.account_id, is_signed=is_signed)
            # A statement of its own: its snapshot is younger than the account's turn.
            rows = await tx.fetch(_LIST_DESTINATIONS, reach.account_id)
            for known in map(_destination, rows):
                if (known.chain, known.address) == (target.chain, target.address):
                    return known
            if len(rows) >= WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT:
                raise SealgateError(Code.ADDRESS_LIMIT_REACHED)
            added = Destination(
                destination_id, target.chain, target.address, act.at_ns + self._wait_ns, act.at_ns
            )
            await tx.execute(
                _INSERT_DESTINATION,
                destination_id,
                reach.account_id,
                target.chain,
                target.address,
                added.usable_at_ns,
                added.created_at_ns,
                act.actor_kind,
                act.actor_id,
                act.request_id,
                reach.project_id,
            )
            return added

    async def remove_destination(self, reach: Reach, target: Target, act: Act) -> Destination:
        """See `DestinationStore.remove_destination`; one statement."""
        row = await self._database.fetchrow(
            _REMOVE_DESTINATION,
            reach.account_id,
            target.chain,
            target.address,
            act.at_ns,
            act.actor_kind,
            act.actor_id,
            act.request_id,
            reach.project_id,
        )
        if row is None:
            raise not_registered()
        return _destination(row)


class WithdrawalStorage:
    """See `services.wallet.ports.WithdrawalStore`."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, terms: WithdrawalTerms) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._terms = terms

    async def create_withdrawal(
        self, reach: Reach, new: NewWithdrawal, act: Act, *, is_signed: bool
    ) -> Withdrawal:
        """See `WithdrawalStore.create_withdrawal`; four statements."""
        asset = new.asset
        async with self._database.transaction() as tx:
            await _take_turn(tx, reach.account_id, is_signed=is_signed)
            row = found(
                await tx.fetchrow(
                    _LOCK_WALLET_AND_DESTINATION,
                    *within(reach, new.wallet_id),
                    new.target.chain,
                    new.target.address,
                )
            )
            if row["destination_id"] is None:
                raise not_registered()
            # By the clock, and not when the request counts as decided: that never goes back, and would
            # let a clock that once ran ahead take the place of the wait.
            now_ns = self._clock.now_ns()
            check_usable(_destination(row), now_ns)
            counted_from_ns = now_ns - LIMIT_WINDOW_NS
            funds = found(
                await tx.fetchrow(
                    _LOCK_WITHDRAWABLE, new.wallet_id, asset.asset_id, reach.account_id, counted_from_ns
                )
            )
            check_limit(asset, new.amount, funds["withdrawn"], self._terms.limit_per_day)
            check_funds(asset, new.amount, funds["available"])
            await tx.execute(
                _INSERT_WITHDRAWAL,
                new.withdrawal_id,
                reach.account_id,
                new.wallet_id,
                asset.asset_id,
                new.amount,
                row["destination_id"],
                new.target.chain,
                new.target.address,
                self._terms.rail,
                now_ns,
                act.actor_kind,
                act.actor_id,
                act.request_id,
                reach.project_id,
            )
        return Withdrawal(
            withdrawal_id=new.withdrawal_id,
            wallet_id=new.wallet_id,
            asset=asset,
            amount=new.amount,
            chain=new.target.chain,
            address=new.target.address,
            state=WithdrawalState.PENDING,
            rail=self._terms.rail,
            external_ref=None,
            created_at_ns=now_ns,
            updated_at_ns=now_ns,
        )

    async def list_withdrawals(self, reach: Reach, wallet_id: uuid.UUID, page: Page) -> Sequence[Withdrawal]:
        """See `WithdrawalStore.list_withdrawals`; one statement."""
        rows = await self._database.fetch(
            _LIST_WITHDRAWALS, *within(reach, wallet_id), page.limit, page.offset
        )
        found(rows[0] if rows else None)
        return [_withdrawal(row) for row in rows if row["withdrawal_id"] is not None]

    async def list_open_withdrawals(self) -> Sequence[Withdrawal]:
        """See `WithdrawalStore.list_open_withdrawals`."""
        rows = await self._database.fetch(_LIST_OPEN_WITHDRAWALS, WALLET_LIST_MAX_COUNT)
        return [_withdrawal(row) for row in rows]

    async def settle_withdrawal(self, withdrawal_id: uuid.UUID, step: Step, act: Act) -> Withdrawal:
        """See `WithdrawalStore.settle_withdrawal`."""
        async with self._database.transaction() as tx:
            row = await tx.fetchrow(_LOCK_WITHDRAWAL, withdrawal_id)
            if row is None:
                raise SealgateError(Code.WITHDRAWAL_NOT_FOUND)
            withdrawal = _withdrawal(row)
            if not is_repetition(withdrawal, step):
                await _take(tx, withdrawal, step, act)
            return _withdrawal(found(await tx.fetchrow(_LOCK_WITHDRAWAL, withdrawal_id)))

    async def pay_by_itself(self) -> int:
        """See `WithdrawalStore.pay_by_itself`; a transaction for each step.

        A step that was committed is never taken again, wherever the round before ended: the next one
        begins with what the database says. A withdrawal whose step fails is passed over for this round, so
        that it holds up no other; the failure is told when all were tried.
        """
        taken_count, failed_ids, failures = 0, list[uuid.UUID](), list[Exception]()
        while taken_count + len(failed_ids) < WITHDRAWAL_STEPS_AT_ONCE_COUNT:
            now_ns, next_id = self._clock.now_ns(), None
            delayed_since_ns = now_ns - self._terms.delay_seconds * NANOSECONDS_PER_SECOND
            act = Act(ActorKind.RAIL, Rail.EMBEDDED, self._ids.uuid7(), now_ns)
            try:
                async with self._database.transaction() as tx:
                    row = await tx.fetchrow(_LOCK_NEXT_OF_RAIL, Rail.EMBEDDED, delayed_since_ns, failed_ids)
                    if row is None:
                        break
                    withdrawal = _withdrawal(row)
                    next_id = withdrawal.withdrawal_id
                    await _take(tx, withdrawal, embedded_step(withdrawal), act)
                taken_count += 1
            except Exception as error:
                if next_id is None:
                    raise
                failed_ids.append(next_id)
                failures.append(error)
        if failures:
            raise gravest(failures)
        return taken_count


async def _take_turn(tx: Transaction, account_id: uuid.UUID, *, is_signed: bool) -> None:
    """Keeps the account's other changes of this kind waiting until the transaction's end.

    A signed request has its account's turn already. Raises SIGNATURE_REQUIRED for another one where
    the account has had a master key.
    """
    if not is_signed:
        await refuse_if_signatures_required(tx, account_id)
        await tx.execute(_HOLD_TURN, account_id)


async def _take(tx: Transaction, withdrawal: Withdrawal, step: Step, act: Act) -> None:
    """Takes a step that a locked withdrawal can take."""
    who = (act.actor_kind, act.actor_id, act.request_id)
    if step.state is WithdrawalState.SENT:
        await tx.execute(_SEND_WITHDRAWAL, withdrawal.withdrawal_id, step.external_ref, act.at_ns, *who)
    elif step.state is WithdrawalState.CONFIRMED:
        await _pay(tx, withdrawal, act)
    else:
        await tx.execute(_FREE_WITHDRAWAL, withdrawal.withdrawal_id, step.state, act.at_ns, *who)


async def _pay(tx: Transaction, withdrawal: Withdrawal, act: Act) -> None:
    legs = withdrawal_legs(withdrawal)
    target = rail_wallet(withdrawal.rail, withdrawal.external_ref or "")
    wallet_ids = [leg.wallet_id for leg in legs]
    await tx.execute(_LOCK_PAID_BALANCES, wallet_ids, withdrawal.asset.asset_id)
    await tx.execute(
        _CONFIRM_WITHDRAWAL,
        withdrawal.withdrawal_id,
        act.at_ns,
        act.actor_kind,
        act.actor_id,
        act.request_id,
        target.wallet_id,
        target.name,
        wallet_ids,
        [leg.amount for leg in legs],
    )


def _destination(row: asyncpg.Record) -> Destination:
    return Destination(
        destination_id=row["destination_id"],
        chain=row["chain"],
        address=row["address"],
        usable_at_ns=row["usable_at_ns"],
        created_at_ns=row["created_at_ns"],
    )


def _withdrawal(row: asyncpg.Record) -> Withdrawal:
    return Withdrawal(
        withdrawal_id=row["withdrawal_id"],
        wallet_id=row["wallet_id"],
        asset=Asset(row["asset_id"], row["code"], row["scale"], AssetClass(row["class"])),
        amount=row["amount"],
        chain=row["chain"],
        address=row["address"],
        state=WithdrawalState(row["state"]),
        rail=row["rail"],
        external_ref=row["external_ref"],
        created_at_ns=row["created_at_ns"],
        updated_at_ns=row["updated_at_ns"],
    )

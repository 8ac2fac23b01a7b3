"""The operator's methods: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from typing import Final, Literal

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.errors import invalid
from chassis.ids import Ids
from chassis.rpc.timestamps import timestamp
from sealgate.wallet.v1 import operator_pb2, operator_pb2_grpc
from services.wallet.domain.deposit import Deposit, check_reference
from services.wallet.domain.market import condition_id_of, read_terms
from services.wallet.domain.money import format_amount, parse_amount
from services.wallet.domain.new_market import read_new_market
from services.wallet.domain.wallet import wallet_id_of
from services.wallet.domain.withdrawal import read_step, withdrawal_id_of
from services.wallet.ports import DepositStore, MarketStore, OrderStore, WithdrawalStore
from services.wallet.transport.market import listed_market_message
from services.wallet.transport.messages import Context, act_of_operator
from services.wallet.transport.withdrawal import STATES, withdrawal_message

_OptionalText = Literal[
    "event_id", "event_title", "left_outcome", "right_outcome", "tick", "lot", "min_amount"
]
_STATES: Final = {message: state for state, message in STATES.items()}
_FIRST_SECOND: Final = 0
# Of 2261, the last whole year whose nanoseconds a bigint can count.
_LAST_SECOND: Final = 9_214_646_399


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """For the people and chain watchers that run the platform."""

    def __init__(
        self,
        deposits: DepositStore,
        withdrawals: WithdrawalStore,
        markets: MarketStore,
        orders: OrderStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._deposits = deposits
        self._withdrawals = withdrawals
        self._markets = markets
        self._orders = orders
        self._clock = clock
        self._ids = ids

    async def RecordDeposit(
        self, request: operator_pb2.RecordDepositRequest, context: Context
    ) -> operator_pb2.RecordDepositResponse:
        """Credits a wallet with money that arrived outside, once per reference of its rail."""
        check_reference(request.rail, request.external_ref)
        asset = await self._deposits.depositable_asset(request.asset)
        deposit = Deposit(
            rail=request.rail,
            external_ref=request.external_ref,
            wallet_id=wallet_id_of(request.wallet_id),
            asset=asset,
            amount=parse_amount(request.amount, asset, "amount"),
        )
        act = act_of_operator(self._clock)
        booking = await self._deposits.record_deposit(deposit, self._ids.uuid7(), act)
        return operator_pb2.RecordDepositResponse(
            txn_seq=booking.txn_seq,
            posted_after=format_amount(booking.posted_after, asset.scale),
            created_at=timestamp(booking.created_at_ns),
            replayed=booking.replayed,
        )

    async def ListOpenWithdrawals(
        self, request: operator_pb2.ListOpenWithdrawalsRequest, context: Context
    ) -> operator_pb2.ListOpenWithdrawalsResponse:
        """Lists withdrawals that are on their way, oldest first."""
        found = await self._withdrawals.list_open_withdrawals()
        return operator_pb2.ListOpenWithdrawalsResponse(
            withdrawals=[withdrawal_message(one) for one in found]
        )

    async def SettleWithdrawal(
        self, request: operator_pb2.SettleWithdrawalRequest, context: Context
    ) -> operator_pb2.SettleWithdrawalResponse:
        """Moves a withdrawal on; repeated with the same facts, it changes nothing."""
        withdrawal_id = withdrawal_id_of(request.withdrawal_id)
        step = read_step(_STATES.get(request.state), request.external_ref)
        act = act_of_operator(self._clock)
        settled = await self._withdrawals.settle_withdrawal(withdrawal_id, step, act)
        return operator_pb2.SettleWithdrawalResponse(withdrawal=withdrawal_message(settled))

    async def CreateMarket(
        self, request: operator_pb2.CreateMarketRequest, context: Context
    ) -> operator_pb2.CreateMarketResponse:
        """Makes a market with its two tokens."""
        new = read_new_market(
            event_id=_optional(request, "event_id"),
            event_title=_optional(request, "event_title"),
            tags=request.tags,
            question=request.question,
            outcome=request.outcome,
            description=request.description,
            left_outcome=_optional(request, "left_outcome"),
            right_outcome=_optional(request, "right_outcome"),
            terms=read_terms(
                tick=_optional(request, "tick"),
                lot=_optional(request, "lot"),
                min_amount=_optional(request, "min_amount"),
                maker_fee_bps=request.maker_fee_bps,
                taker_fee_bps=request.taker_fee_bps,
            ),
            ends_at_ns=_ends_at_ns(request),
        )
        act = act_of_operator(self._clock)
        market = await self._markets.create_market(new, self._ids.uuid7(), self._ids.uuid7(), act)
        return operator_pb2.CreateMarketResponse(market=listed_market_message(market))

    async def CloseMarket(
        self, request: operator_pb2.CloseMarketRequest, context: Context
    ) -> operator_pb2.CloseMarketResponse:
        """Ends trading in a market for good; repeated, it cancels nothing more."""
        known = await self._markets.by_condition(condition_id_of(request.condition_id))
        canceled_count = await self._orders.close_market(known, act_of_operator(self._clock))
        market = await self._markets.get_market(known, self._clock.now_ns())
        return operator_pb2.CloseMarketResponse(
            market=listed_market_message(market), canceled_orders_count=canceled_count
        )


def _optional(request: operator_pb2.CreateMarketRequest, field: _OptionalText) -> str | None:
    return str(getattr(request, field)) if request.HasField(field) else None


def _ends_at_ns(request: operator_pb2.CreateMarketRequest) -> int | None:
    if not request.HasField("ends_at"):
        return None
    at = request.ends_at
    if not _FIRST_SECOND <= at.seconds <= _LAST_SECOND or not 0 <= at.nanos < NANOSECONDS_PER_SECOND:
        raise invalid("ends_at", "must be a time of the years 1970 to 2261")
    return at.seconds * NANOSECONDS_PER_SECOND + at.nanos

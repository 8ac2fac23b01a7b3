"""Withdrawals and their addresses: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.ids import Ids
from chassis.rpc import context as request_context
from chassis.rpc.timestamps import timestamp
from sealgate.common.v1 import passport_pb2
from sealgate.wallet.v1 import signed_body_pb2, withdrawal_pb2, withdrawal_pb2_grpc
from services.wallet.domain.destination import Destination, chain_of, read_target
from services.wallet.domain.money import format_amount
from services.wallet.domain.wallet import CHAIN, wallet_id_of
from services.wallet.domain.withdrawal import (
    NewWithdrawal,
    Withdrawal,
    WithdrawalState,
    withdrawable_amount,
)
from services.wallet.ports import DepositStore, DestinationStore, WalletStore, WithdrawalStore
from services.wallet.transport.messages import Context, act_of_caller, page_of, reach

STATES: Final = {
    WithdrawalState.PENDING: signed_body_pb2.WITHDRAWAL_STATE_PENDING,
    WithdrawalState.SENT: signed_body_pb2.WITHDRAWAL_STATE_SENT,
    WithdrawalState.CONFIRMED: signed_body_pb2.WITHDRAWAL_STATE_CONFIRMED,
    WithdrawalState.FAILED: signed_body_pb2.WITHDRAWAL_STATE_FAILED,
    WithdrawalState.REJECTED: signed_body_pb2.WITHDRAWAL_STATE_REJECTED,
}
"""The states as messages have them."""


class WithdrawalServicer(withdrawal_pb2_grpc.WithdrawalServiceServicer):
    """What leaves the caller's own wallets, where to, and where deposits to them are sent."""

    def __init__(
        self,
        withdrawals: WithdrawalStore,
        destinations: DestinationStore,
        wallets: WalletStore,
        deposits: DepositStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._withdrawals = withdrawals
        self._destinations = destinations
        self._wallets = wallets
        self._deposits = deposits
        self._clock = clock
        self._ids = ids

    async def CreateWithdrawal(
        self, request: withdrawal_pb2.CreateWithdrawalRequest, context: Context
    ) -> withdrawal_pb2.CreateWithdrawalResponse:
        """Withdraws money to a registered address, for accounts without a master key."""
        wallet_id = wallet_id_of(request.wallet_id)
        asset = await self._deposits.depositable_asset(request.token)
        new = NewWithdrawal(
            withdrawal_id=self._ids.uuid7(),
            wallet_id=wallet_id,
            asset=asset,
            amount=withdrawable_amount(request.amount, asset),
            target=read_target(CHAIN, request.address),
        )
        act = act_of_caller(self._clock)
        withdrawal = await self._withdrawals.create_withdrawal(reach(), new, act, is_signed=False)
        return withdrawal_pb2.CreateWithdrawalResponse(withdrawal=withdrawal_message(withdrawal))

    async def ListWithdrawals(
        self, request: withdrawal_pb2.ListWithdrawalsRequest, context: Context
    ) -> withdrawal_pb2.ListWithdrawalsResponse:
        """Lists a wallet's withdrawals, newest first."""
        wallet_id = wallet_id_of(request.wallet_id)
        found = await self._withdrawals.list_withdrawals(reach(), wallet_id, page_of(request))
        return withdrawal_pb2.ListWithdrawalsResponse(withdrawals=[withdrawal_message(one) for one in found])

    async def GetDepositAddress(
        self, request: withdrawal_pb2.GetDepositAddressRequest, context: Context
    ) -> withdrawal_pb2.GetDepositAddressResponse:
        """Returns the address that deposits to a wallet are sent to."""
        chain = chain_of(request.chain)
        wallet = await self._wallets.get_wallet(reach(), wallet_id_of(request.wallet_id))
        return withdrawal_pb2.GetDepositAddressResponse(
            deposit=withdrawal_pb2.DepositAddress(
                wallet_id=str(wallet.wallet_id), chain=chain, address=wallet.pol_address
            )
        )

    async def ListWithdrawalAddresses(
        self, request: withdrawal_pb2.ListWithdrawalAddressesRequest, context: Context
    ) -> withdrawal_pb2.ListWithdrawalAddressesResponse:
        """Lists the account's withdrawal addresses, oldest first; none to a pinned credential.

        They belong to the account as a whole and not to a subaccount.
        """
        within = reach()
        if within.subaccount_index is not None:
            return withdrawal_pb2.ListWithdrawalAddressesResponse()
        found = await self._destinations.list_destinations(within.account_id)
        return withdrawal_pb2.ListWithdrawalAddressesResponse(
            addresses=[address_message(one) for one in found]
        )

    async def AddAccountWithdrawalAddress(
        self, request: withdrawal_pb2.AddAccountWithdrawalAddressRequest, context: Context
    ) -> withdrawal_pb2.AddAccountWithdrawalAddressResponse:
        """Registers an address for one of the project's accounts that never had a master key."""
        target = read_target(request.chain, request.address)
        if request_context.identity().account_status != passport_pb2.ACCOUNT_STATUS_ACTIVE:
            raise SealgateError(Code.ACCOUNT_SUSPENDED)
        added = await self._destinations.add_destination(
            reach(), target, self._ids.uuid7(), act_of_caller(self._clock), is_signed=False
        )
        return withdrawal_pb2.AddAccountWithdrawalAddressResponse(
            address=withdrawal_pb2.RegisteredAddress(
                chain=added.chain,
                address=added.address,
                usable_at=timestamp(added.usable_at_ns),
                created_at=timestamp(added.created_at_ns),
            )
        )


def withdrawal_message(withdrawal: Withdrawal) -> withdrawal_pb2.Withdrawal:
    """A withdrawal as it stands."""
    return withdrawal_pb2.Withdrawal(
        withdrawal_id=str(withdrawal.withdrawal_id),
        wallet_id=str(withdrawal.wallet_id),
        token=withdrawal.asset.code,
        amount=format_amount(withdrawal.amount, withdrawal.asset.scale),
        chain=withdrawal.chain,
        address=withdrawal.address,
        state=STATES[withdrawal.state],
        tx_hash=withdrawal.external_ref or "",
        created_at=timestamp(withdrawal.created_at_ns),
        updated_at=timestamp(withdrawal.updated_at_ns),
    )


def address_message(destination: Destination) -> signed_body_pb2.WithdrawalAddress:
    """A registered address, its times in nanoseconds."""
    return signed_body_pb2.WithdrawalAddress(
        chain=destination.chain,
        address=destination.address,
        usable_at_ns=destination.usable_at_ns,
        created_at_ns=destination.created_at_ns,
    )

"""Signed withdrawals, and the signed changes of the addresses that they go to."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chassis.errors import Code
from chassis.ids import Ids
from chassis.methods import method_path
from chassis.rpc import context as request_context
from chassis.signing import Rejections, Status
from sealgate.wallet.v1 import signed_body_pb2, signed_pb2
from services.wallet.domain.destination import read_target
from services.wallet.domain.money import format_amount
from services.wallet.domain.wallet import wallet_id_of
from services.wallet.domain.withdrawal import NewWithdrawal, Withdrawal, withdrawable_amount
from services.wallet.ports import DepositStore, DestinationStore, WithdrawalStore
from services.wallet.transport.messages import SIGNED_REQUESTS, Context, act_of_signer, reach
from services.wallet.transport.withdrawal import STATES, address_message

_WITHDRAWAL: Final = Rejections(
    by_code={
        Code.INSUFFICIENT_BALANCE: Status.WITHDRAWAL_INSUFFICIENT_BALANCE,
        Code.ADDRESS_NOT_USABLE: Status.WITHDRAWAL_ADDRESS,
        Code.ADDRESS_LIMIT_REACHED: Status.WITHDRAWAL_LIMIT,
        Code.WITHDRAWAL_LIMIT_REACHED: Status.WITHDRAWAL_LIMIT,
    },
    otherwise=Status.WITHDRAWAL_INVALID,
)

REJECTIONS: Final[Mapping[str, Rejections]] = {
    method_path(SIGNED_REQUESTS, name): _WITHDRAWAL
    for name in ("SubmitWithdraw", "SubmitAddWithdrawalAddress", "SubmitRemoveWithdrawalAddress")
}
"""How the refusals of these methods are answered."""


class SignedWithdrawals:
    """The part of `SignedRequestService` about money that leaves.

    Who may call is said in the methods' rows: the key is admin-rooted, so it reaches every wallet.
    """

    _withdrawals: WithdrawalStore
    _destinations: DestinationStore
    _deposits: DepositStore
    _ids: Ids

    async def SubmitWithdraw(
        self, request: signed_pb2.SubmitWithdrawRequest, context: Context
    ) -> signed_pb2.SubmitWithdrawResponse:
        """Withdraws money to a registered address."""
        call = request_context.signed()
        body: signed_body_pb2.Withdraw = call.body
        asset = await self._deposits.depositable_asset(body.asset)
        new = NewWithdrawal(
            withdrawal_id=self._ids.uuid7(),
            wallet_id=wallet_id_of(body.wallet_id),
            asset=asset,
            amount=withdrawable_amount(body.amount, asset),
            target=read_target(body.chain, body.address),
        )
        begun = await self._withdrawals.create_withdrawal(reach(), new, act_of_signer(call), is_signed=True)
        return signed_pb2.SubmitWithdrawResponse(withdrawal=_submitted(begun))

    async def SubmitAddWithdrawalAddress(
        self, request: signed_pb2.SubmitAddWithdrawalAddressRequest, context: Context
    ) -> signed_pb2.SubmitAddWithdrawalAddressResponse:
        """Registers an address; one that is live already is answered as it is."""
        call = request_context.signed()
        body: signed_body_pb2.AddWithdrawalAddress = call.body
        target = read_target(body.chain, body.address)
        added = await self._destinations.add_destination(
            reach(), target, self._ids.uuid7(), act_of_signer(call), is_signed=True
        )
        return signed_pb2.SubmitAddWithdrawalAddressResponse(address=address_message(added))

    async def SubmitRemoveWithdrawalAddress(
        self, request: signed_pb2.SubmitRemoveWithdrawalAddressRequest, context: Context
    ) -> signed_pb2.SubmitRemoveWithdrawalAddressResponse:
        """Ends an address at once."""
        call = request_context.signed()
        body: signed_body_pb2.RemoveWithdrawalAddress = call.body
        target = read_target(body.chain, body.address)
        removed = await self._destinations.remove_destination(reach(), target, act_of_signer(call))
        return signed_pb2.SubmitRemoveWithdrawalAddressResponse(address=address_message(removed))


def _submitted(withdrawal: Withdrawal) -> signed_body_pb2.SubmittedWithdrawal:
    return signed_body_pb2.SubmittedWithdrawal(
        withdrawal_id=str(withdrawal.withdrawal_id),
        wallet_id=str(withdrawal.wallet_id),
        asset=withdrawal.asset.code,
        amount=format_amount(withdrawal.amount, withdrawal.asset.scale),
        chain=withdrawal.chain,
        address=withdrawal.address,
        state=STATES[withdrawal.state],
        created_at_ns=withdrawal.created_at_ns,
    )

"""Signed changes of subaccounts and wallets, transfers between them, and what became of signed requests."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.ids import Ids
from chassis.methods import method_path
from chassis.rpc import context as request_context
from chassis.rpc.outcomes import outcome_message
from chassis.signing import Rejections, Status, parse_request_id
from sealgate.wallet.v1 import signed_body_pb2, signed_pb2
from services.wallet.domain.money import format_amount, parse_amount
from services.wallet.domain.transfer import NewTransfer, Place
from services.wallet.domain.wallet import (
    WalletChange,
    check_name,
    check_subaccount_index,
    wallet_id_of,
)
from services.wallet.ports import (
    DepositStore,
    ListingStore,
    RequestStore,
    SubaccountStore,
    TransferStore,
    WalletStore,
)
from services.wallet.transport.messages import (
    SIGNED_REQUESTS,
    Context,
    act_of_signer,
    named_subaccount,
    reach,
)
from services.wallet.transport.signed_orders import outcome_of_order
from services.wallet.transport.subaccount import subaccount_message, subaccount_wallet_message

_WALLET: Final = Rejections(by_code={}, otherwise=Status.PORTFOLIO_INVALID)
REJECTIONS: Final[Mapping[str, Rejections]] = {
    method_path(SIGNED_REQUESTS, name): rejections
    for name, rejections in {
        "SubmitTransferFunds": Rejections(
            by_code={Code.INSUFFICIENT_BALANCE: Status.TRANSFER_INSUFFICIENT_BALANCE},
            otherwise=Status.TRANSFER_INVALID,
        ),
        "SubmitCreateWallet": _WALLET,
        "SubmitUpdateWallet": _WALLET,
        "SubmitCreateSubaccount": Rejections(
            by_code={
                Code.SUBACCOUNT_LIMIT_REACHED: Status.SUBACCOUNT_LIMIT,
                Code.WALLET_LIMIT_REACHED: Status.SUBACCOUNT_LIMIT,
            },
            otherwise=Status.PORTFOLIO_INVALID,
        ),
    }.items()
}
"""How the refusals of these methods are answered."""


class SignedWallets:
    """The part of `SignedRequestService` about wallets, and the look-up of all signed requests."""

    _wallets: WalletStore
    _subaccounts: SubaccountStore
    _transfers: TransferStore
    _deposits: DepositStore
    _requests: RequestStore
    _listings: ListingStore
    _clock: Clock
    _ids: Ids

    async def SubmitTransferFunds(
        self, request: signed_pb2.SubmitTransferFundsRequest, context: Context
    ) -> signed_pb2.SubmitTransferFundsResponse:
        """Moves money between two of the account's wallets, both within the key's reach."""
        call = request_context.signed()
        body: signed_body_pb2.TransferFunds = call.body
        for index in (body.from_subaccount_index, body.to_subaccount_index):
            call.signer.require_reach(index)
        for index in (body.from_subaccount_index, body.to_subaccount_index):
            check_subaccount_index(index)
        if body.from_subaccount_index == body.to_subaccount_index:
            call.subaccount_index = body.from_subaccount_index
        asset = await self._deposits.depositable_asset(body.asset)
        new = NewTransfer(
            source=Place(body.from_subaccount_index, wallet_id_of(body.from_wallet_id)),
            target=Place(body.to_subaccount_index, wallet_id_of(body.to_wallet_id)),
            asset=asset,
            amount=parse_amount(body.amount, asset, "amount"),
        )
        txn_seq = await self._transfers.transfer_funds(reach(), new, act_of_signer(call))
        return signed_pb2.SubmitTransferFundsResponse(
            transfer=signed_body_pb2.FundsTransfer(
                from_wallet_id=body.from_wallet_id,
                to_wallet_id=body.to_wallet_id,
                asset=asset.code,
                amount=format_amount(new.amount, asset.scale),
                txn_seq=txn_seq,
            )
        )

    async def SubmitCreateWallet(
        self, request: signed_pb2.SubmitCreateWalletRequest, context: Context
    ) -> signed_pb2.SubmitCreateWalletResponse:
        """Makes a further wallet of a subaccount within the key's reach."""
        call = request_context.signed()
        body: signed_body_pb2.CreateWallet = call.body
        within = named_subaccount(call, body.subaccount_index)
        name = body.name if body.HasField("name") else None
        if name is not None:
            check_name(name)
        wallet = await self._wallets.create_wallet(
            within, body.subaccount_index, self._ids.uuid7(), name, call.processed_at_ns
        )
        return signed_pb2.SubmitCreateWalletResponse(wallet=subaccount_wallet_message(wallet))

    async def SubmitUpdateWallet(
        self, request: signed_pb2.SubmitUpdateWalletRequest, context: Context
    ) -> signed_pb2.SubmitUpdateWalletResponse:
        """Changes a wallet of a subaccount within the key's reach."""
        call = request_context.signed()
        body: signed_body_pb2.UpdateWallet = call.body
        within = named_subaccount(call, body.subaccount_index)
        wallet_id = wallet_id_of(body.wallet_id)
        change = WalletChange(
            name=body.name if body.HasField("name") else None,
            autoredeem=body.autoredeem if body.HasField("autoredeem") else None,
        )
        if change.name is not None:
            check_name(change.name)
        wallet = await self._wallets.update_wallet(within, wallet_id, change)
        return signed_pb2.SubmitUpdateWalletResponse(wallet=subaccount_wallet_message(wallet))

    async def SubmitCreateSubaccount(
        self, request: signed_pb2.SubmitCreateSubaccountRequest, context: Context
    ) -> signed_pb2.SubmitCreateSubaccountResponse:
        """Makes a further subaccount with a wallet; on an account's first call also those of index 0."""
        call = request_context.signed()
        body: signed_body_pb2.CreateSubaccount = call.body
        name = body.name if body.HasField("name") else None
        if name is not None:
            check_name(name)
        within = reach()
        await self._wallets.open_account(within, self._ids.uuid7(), call.processed_at_ns)
        made = await self._subaccounts.create_subaccount(
            within, self._ids.uuid7(), name, call.processed_at_ns
        )
        return signed_pb2.SubmitCreateSubaccountResponse(subaccount=subaccount_message(made))

    async def GetRequest(
        self, request: signed_pb2.GetRequestRequest, context: Context
    ) -> signed_pb2.GetRequestResponse:
        """Tells what became of a signed request; what is no request id was never a request.

        One that placed an order is told of for ever: when it is on record no more, by the order as it is.
        """
        request_id = parse_request_id(request.request_id)
        if request_id is None:
            raise SealgateError(Code.REQUEST_NOT_FOUND)
        now_ns = self._clock.now_ns()
        try:
            record = await self._requests.find_request(reach(), request_id, now_ns)
        except SealgateError as error:
            if error.code is not Code.REQUEST_NOT_FOUND:
                raise
            placed = await self._listings.order_of_request(reach(), request_id)
            if placed is None:
                raise
            return signed_pb2.GetRequestResponse(request=outcome_of_order(request_id, placed, now_ns))
        return signed_pb2.GetRequestResponse(request=outcome_message(signed_pb2.RequestOutcome, record))

"""Subaccounts: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from chassis.clock import Clock
from chassis.ids import Ids
from sealgate.wallet.v1 import signed_body_pb2, subaccount_pb2, subaccount_pb2_grpc, wallet_pb2
from services.wallet.domain.subaccount import Subaccount
from services.wallet.domain.wallet import CHAIN, Wallet
from services.wallet.ports import SubaccountStore, WalletStore
from services.wallet.transport.messages import Context, reach


class SubaccountServicer(subaccount_pb2_grpc.SubaccountServiceServicer):
    """The parts of the caller's own account."""

    def __init__(self, subaccounts: SubaccountStore, wallets: WalletStore, clock: Clock, ids: Ids) -> None:
        self._subaccounts = subaccounts
        self._wallets = wallets
        self._clock = clock
        self._ids = ids

    async def ListSubaccounts(
        self, request: subaccount_pb2.ListSubaccountsRequest, context: Context
    ) -> subaccount_pb2.ListSubaccountsResponse:
        """Lists the subaccounts with their wallets; an account's first call makes the first of both."""
        within = reach()
        listed = await self._subaccounts.list_subaccounts(within)
        if not listed and within.opens_account():
            await self._wallets.open_account(within, self._ids.uuid7(), self._clock.now_ns())
            listed = await self._subaccounts.list_subaccounts(within)
        return subaccount_pb2.ListSubaccountsResponse(subaccounts=[subaccount_message(one) for one in listed])


def subaccount_message(subaccount: Subaccount) -> signed_body_pb2.Subaccount:
    """A subaccount with its wallets, times in nanoseconds."""
    return signed_body_pb2.Subaccount(
        subaccount_index=subaccount.index,
        name=subaccount.name,
        created_at_ns=subaccount.created_at_ns,
        wallets=[subaccount_wallet_message(wallet) for wallet in subaccount.wallets],
    )


def subaccount_wallet_message(wallet: Wallet) -> signed_body_pb2.SubaccountWallet:
    """A wallet, its time in nanoseconds."""
    return signed_body_pb2.SubaccountWallet(
        wallet_id=str(wallet.wallet_id),
        name=wallet.name,
        chains={CHAIN: wallet_pb2.ChainAddress(address=wallet.pol_address)},
        subaccount_index=wallet.subaccount_index,
        position=wallet.position,
        autoredeem=wallet.autoredeem,
        created_at_ns=wallet.created_at_ns,
    )

"""Signed requests: one servicer out of the parts that the modules beside this one have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chassis.clock import Clock
from chassis.ids import Ids
from chassis.signing import Rejections
from sealgate.wallet.v1 import signed_pb2_grpc
from services.wallet.ports import (
    DepositStore,
    DestinationStore,
    ListingStore,
    MarketStore,
    OrderStore,
    RequestStore,
    SubaccountStore,
    TransferStore,
    WalletStore,
    WithdrawalStore,
)
from services.wallet.transport import signed_orders, signed_wallets, signed_withdrawals
from services.wallet.transport.signed_orders import SignedOrders
from services.wallet.transport.signed_wallets import SignedWallets
from services.wallet.transport.signed_withdrawals import SignedWithdrawals

REJECTIONS: Final[Mapping[str, Rejections]] = {
    **signed_orders.REJECTIONS,
    **signed_wallets.REJECTIONS,
    **signed_withdrawals.REJECTIONS,
}
"""How the refusals of all signed methods are answered."""


class SignedRequestServicer(
    SignedOrders, SignedWithdrawals, SignedWallets, signed_pb2_grpc.SignedRequestServiceServicer
):
    """Writes that a session key, or a master key, has signed."""

    def __init__(
        self,
        *,
        wallets: WalletStore,
        subaccounts: SubaccountStore,
        transfers: TransferStore,
        deposits: DepositStore,
        withdrawals: WithdrawalStore,
        destinations: DestinationStore,
        markets: MarketStore,
        orders: OrderStore,
        listings: ListingStore,
        requests: RequestStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._wallets = wallets
        self._subaccounts = subaccounts
        self._transfers = transfers
        self._deposits = deposits
        self._withdrawals = withdrawals
        self._destinations = destinations
        self._markets = markets
        self._orders = orders
        self._listings = listings
        self._requests = requests
        self._clock = clock
        self._ids = ids

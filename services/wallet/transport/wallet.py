"""Wallets: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import uuid
from typing import Final

from chassis.clock import Clock
from chassis.ids import Ids
from chassis.rpc.timestamps import timestamp
from sealgate.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from services.wallet.domain.money import format_amount
from services.wallet.domain.statement import Holding, Transfer, TransferKind, WalletBalance
from services.wallet.domain.wallet import (
    CHAIN,
    Wallet,
    WalletChange,
    check_name,
    chosen_subaccount,
    wallet_id_of,
)
from services.wallet.ports import WalletStore
from services.wallet.transport.messages import Context, act_of_caller, page_of, reach

_KINDS: Final = {
    TransferKind.DEPOSIT: wallet_pb2.TRANSFER_KIND_DEPOSIT,
    TransferKind.WITHDRAWAL: wallet_pb2.TRANSFER_KIND_WITHDRAWAL,
    TransferKind.TRANSFER: wallet_pb2.TRANSFER_KIND_TRANSFER,
    TransferKind.MINT: wallet_pb2.TRANSFER_KIND_MINT,
    TransferKind.MERGE: wallet_pb2.TRANSFER_KIND_MERGE,
    TransferKind.REDEEM: wallet_pb2.TRANSFER_KIND_REDEEM,
}


class WalletServicer(wallet_pb2_grpc.WalletServiceServicer):
    """The caller's own wallets."""

    def __init__(self, store: WalletStore, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def ListWallets(
        self, request: wallet_pb2.ListWalletsRequest, context: Context
    ) -> wallet_pb2.ListWalletsResponse:
        """Lists the wallets; an account's first call makes the first one."""
        return wallet_pb2.ListWalletsResponse(wallets=[_wallet(wallet) for wallet in await self._list()])

    async def ListChainWallets(
        self, request: wallet_pb2.ListChainWalletsRequest, context: Context
    ) -> wallet_pb2.ListChainWalletsResponse:
        """Lists the wallets with their addresses on the chain; otherwise as `ListWallets`."""
        wallets = [_chain_wallet(wallet) for wallet in await self._list()]
        return wallet_pb2.ListChainWalletsResponse(wallets=wallets)

    async def GetWallet(
        self, request: wallet_pb2.GetWalletRequest, context: Context
    ) -> wallet_pb2.GetWalletResponse:
        """Returns one wallet."""
        wallet = await self._store.get_wallet(reach(), wallet_id_of(request.wallet_id))
        return wallet_pb2.GetWalletResponse(wallet=_wallet(wallet))

    async def CreateWallet(
        self, request: wallet_pb2.CreateWalletRequest, context: Context
    ) -> wallet_pb2.CreateWalletResponse:
        """Makes a further wallet."""
        within = reach()
        name = request.name if request.HasField("name") else None
        if name is not None:
            check_name(name)
        wish = request.subaccount_index if request.HasField("subaccount_index") else None
        index = chosen_subaccount(wish, within)
        wallet = await self._store.create_wallet(within, index, self._ids.uuid7(), name, self._clock.now_ns())
        return wallet_pb2.CreateWalletResponse(wallet=_wallet(wallet))

    async def UpdateWallet(
        self, request: wallet_pb2.UpdateWalletRequest, context: Context
    ) -> wallet_pb2.UpdateWalletResponse:
        """Changes a wallet's name or its automatic redemption."""
        wallet_id = wallet_id_of(request.wallet_id)
        change = WalletChange(
            name=request.name if request.HasField("name") else None,
            autoredeem=request.autoredeem if request.HasField("autoredeem") else None,
        )
        if change.name is not None:
            check_name(change.name)
        wallet = await self._store.update_wallet(reach(), wallet_id, change)
        return wallet_pb2.UpdateWalletResponse(wallet=_wallet(wallet))

    async def DeleteWallet(
        self, request: wallet_pb2.DeleteWalletRequest, context: Context
    ) -> wallet_pb2.DeleteWalletResponse:
        """Deletes a wallet that holds nothing."""
        await self._store.delete_wallet(reach(), wallet_id_of(request.wallet_id), act_of_caller(self._clock))
        return wallet_pb2.DeleteWalletResponse(deleted=True)

    async def ListBalances(
        self, request: wallet_pb2.ListBalancesRequest, context: Context
    ) -> wallet_pb2.ListBalancesResponse:
        """Lists what a wallet holds, one item a chain."""
        return wallet_pb2.ListBalancesResponse(balances=[await self._balance(request.wallet_id)])

    async def GetChainBalance(
        self, request: wallet_pb2.GetChainBalanceRequest, context: Context
    ) -> wallet_pb2.GetChainBalanceResponse:
        """Returns what a wallet holds on the chain."""
        return wallet_pb2.GetChainBalanceResponse(balance=await self._balance(request.wallet_id))

    async def ListTransfers(
        self, request: wallet_pb2.ListTransfersRequest, context: Context
    ) -> wallet_pb2.ListTransfersResponse:
        """Lists what came into a wallet and left it, newest first."""
        wallet_id = wallet_id_of(request.wallet_id)
        transfers = await self._store.list_transfers(reach(), wallet_id, page_of(request))
        return wallet_pb2.ListTransfersResponse(transfers=[_transfer(transfer) for transfer in transfers])

    async def _list(self) -> list[Wallet]:
        within = reach()
        wallets = await self._store.list_wallets(within)
        if wallets is None and within.opens_account():
            await self._store.open_account(within, self._ids.uuid7(), self._clock.now_ns())
            wallets = await self._store.list_wallets(within)
        return wallets or []

    async def _balance(self, wallet_id_text: str) -> wallet_pb2.ChainBalance:
        wallet_id = wallet_id_of(wallet_id_text)
        return _chain_balance(wallet_id, await self._store.get_balance(reach(), wallet_id))


def _wallet(wallet: Wallet) -> wallet_pb2.Wallet:
    return wallet_pb2.Wallet(
        wallet_id=str(wallet.wallet_id),
        name=wallet.name,
        chains={CHAIN: wallet_pb2.ChainAddress(address=wallet.pol_address)},
        subaccount_index=wallet.subaccount_index,
        position=wallet.position,
        autoredeem=wallet.autoredeem,
        created_at=timestamp(wallet.created_at_ns),
    )


def _chain_wallet(wallet: Wallet) -> wallet_pb2.ChainWallet:
    return wallet_pb2.ChainWallet(
        wallet_id=str(wallet.wallet_id),
        chain_id=CHAIN,
        name=wallet.name,
        address=wallet.pol_address,
        position=wallet.position,
        autoredeem=wallet.autoredeem,
        created_at=timestamp(wallet.created_at_ns),
    )


def _chain_balance(wallet_id: uuid.UUID, balance: WalletBalance) -> wallet_pb2.ChainBalance:
    return wallet_pb2.ChainBalance(
        wallet_id=str(wallet_id),
        chain_id=CHAIN,
        address=balance.pol_address,
        balance={
            holding.asset.code: format_amount(holding.available, holding.asset.scale)
            for holding in balance.holdings
        },
        assets=[_asset_balance(holding) for holding in balance.holdings],
    )


def _asset_balance(holding: Holding) -> wallet_pb2.AssetBalance:
    scale = holding.asset.scale
    return wallet_pb2.AssetBalance(
        asset=holding.asset.code,
        total=format_amount(holding.posted, scale),
        available=format_amount(holding.available, scale),
        held=format_amount(holding.held, scale),
    )


def _transfer(transfer: Transfer) -> wallet_pb2.Transfer:
    direction = wallet_pb2.TRANSFER_DIRECTION_IN if transfer.amount > 0 else wallet_pb2.TRANSFER_DIRECTION_OUT
    return wallet_pb2.Transfer(
        transfer_type=direction,
        asset_id=transfer.asset_code,
        amount=format_amount(abs(transfer.amount), transfer.asset_scale),
        type=_KINDS[transfer.kind],
        from_address=transfer.from_address,
        to_address=transfer.to_address,
        tx_hash=transfer.external_ref,
        created_at=timestamp(transfer.created_at_ns),
    )

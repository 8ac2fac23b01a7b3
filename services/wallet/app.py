"""The composition root of the wallet service: what it is made of and how the parts are joined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from chassis.clock import Clock
from chassis.db.pool import create_database
from chassis.db.signed_requests import remember_signer
from chassis.db.tx import Database
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.rpc.client import open_channel
from chassis.rpc.exchange import RemoteExchanger
from chassis.rpc.idempotency import IdempotencyStage
from chassis.rpc.server import RpcServer, Service
from chassis.rpc.signed import SignedRequests
from chassis.rpc.signers import RemoteSigners, RemoteStandings
from sealgate.wallet.v1 import (
    market_pb2,
    market_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
    position_pb2,
    position_pb2_grpc,
    signed_pb2,
    signed_pb2_grpc,
    signer_fence_pb2,
    signer_fence_pb2_grpc,
    subaccount_pb2,
    subaccount_pb2_grpc,
    wallet_pb2,
    wallet_pb2_grpc,
    withdrawal_pb2,
    withdrawal_pb2_grpc,
)
from services.wallet.config import WalletConfig
from services.wallet.domain.audit import Breach
from services.wallet.domain.withdrawal import Rail
from services.wallet.storage import CONSTRAINT_ERRORS, DepositStorage, WalletStorage
from services.wallet.storage_audit import AUDIT_RULES, audit
from services.wallet.storage_listings import ListingStorage
from services.wallet.storage_markets import MarketStorage
from services.wallet.storage_orders import OrderStorage
from services.wallet.storage_requests import RequestStorage
from services.wallet.storage_signers import SignerFenceStorage
from services.wallet.storage_subaccounts import SubaccountStorage
from services.wallet.storage_transfers import TransferStorage
from services.wallet.storage_withdrawals import DestinationStorage, WithdrawalStorage, WithdrawalTerms
from services.wallet.transport.market import MarketServicer
from services.wallet.transport.operator import OperatorServicer
from services.wallet.transport.order import OrderServicer
from services.wallet.transport.position import PositionServicer
from services.wallet.transport.signed import REJECTIONS, SignedRequestServicer
from services.wallet.transport.signer_fence import SignerFenceServicer
from services.wallet.transport.subaccount import SubaccountServicer
from services.wallet.transport.wallet import WalletServicer
from services.wallet.transport.withdrawal import WithdrawalServicer

__all__ = ["AUDIT_RULES", "SERVICE_NAME", "Breach", "audit", "build"]

SERVICE_NAME: Final = "wallet"


@dataclass(frozen=True, slots=True)
class _Stores:
    """What the servicers work with."""

    wallets: WalletStorage
    subaccounts: SubaccountStorage
    transfers: TransferStorage
    requests: RequestStorage
    fence: SignerFenceStorage
    deposits: DepositStorage
    withdrawals: WithdrawalStorage
    destinations: DestinationStorage
    markets: MarketStorage
    orders: OrderStorage
    listings: ListingStorage


async def build(config: WalletConfig, clock: Clock, ids: Ids) -> RpcServer:
    """The service, ready to be started; it connects to nothing yet."""
    database = await create_database(
        config.database.dsn,
        pool_size_count=config.database.pool_size_count,
        application_name=f"sealgate-{SERVICE_NAME}",
        constraint_errors=CONSTRAINT_ERRORS,
    )
    auth_channel = open_channel(config.auth_target)
    auth = RemoteExchanger(auth_channel, clock)
    # Keys are another service's, and known here by their fence.
    signers = RemoteSigners(RemoteStandings(auth_channel, clock), partial(remember_signer, database))
    stores = _stores(config, database, clock, ids)

    async def close_auth_channel() -> None:
        await auth_channel.close()

    async def end_expired_orders() -> None:
        await stores.orders.end_expired_orders()

    async def pay_withdrawals() -> None:
        await stores.withdrawals.pay_by_itself()

    pays_by_itself = Rail(config.withdrawal_rail) is Rail.EMBEDDED
    return RpcServer(
        config,
        [*_services(stores, clock, ids), *_signed_services(stores, clock, ids)],
        clock=clock,
        ids=ids,
        verifier=PassportVerifier(config.audience, clock, auth.passport_keys),
        exchanger=auth,
        closers=[signers.close, close_auth_channel, database.close],
        background=[end_expired_orders, *([pay_withdrawals] if pays_by_itself else [])],
        idempotency=IdempotencyStage(database, clock),
        signed=_signed_requests(config, database, signers, clock),
    )


def _stores(config: WalletConfig, database: Database, clock: Clock, ids: Ids) -> _Stores:
    markets = MarketStorage(database)
    withdrawal_terms = WithdrawalTerms(
        rail=Rail(config.withdrawal_rail),
        delay_seconds=config.withdrawal_delay_seconds,
        limit_per_day=config.withdrawal_limit_per_day,
    )
    return _Stores(
        wallets=WalletStorage(database, config.wallets_per_account_count),
        subaccounts=SubaccountStorage(
            database, config.subaccounts_per_account_count, config.wallets_per_account_count
        ),
        transfers=TransferStorage(database),
        requests=RequestStorage(database),
        fence=SignerFenceStorage(database),
        deposits=DepositStorage(database),
        withdrawals=WithdrawalStorage(database, clock, ids, withdrawal_terms),
        destinations=DestinationStorage(database, config.withdrawal_address_wait_seconds),
        markets=markets,
        orders=OrderStorage(database, clock, config.open_orders_per_wallet_count),
        listings=ListingStorage(database, markets),
    )


def _signed_requests(
    config: WalletConfig, database: Database, signers: RemoteSigners, clock: Clock
) -> SignedRequests:
    """How signed requests are run."""
    return SignedRequests(
        database=database,
        clock=clock,
        audience=config.audience,
        directory=signers,
        outcome_type=signed_pb2.RequestOutcome,
        rejections=REJECTIONS,
    )


def _services(stores: _Stores, clock: Clock, ids: Ids) -> list[Service]:
    """What is served, each proto service by its own servicer."""
    markets, orders, deposits = stores.markets, stores.orders, stores.deposits
    return [
        Service(
            wallet_pb2.DESCRIPTOR.services_by_name["WalletService"],
            WalletServicer(stores.wallets, clock, ids),
            wallet_pb2_grpc.add_WalletServiceServicer_to_server,
        ),
        Service(
            market_pb2.DESCRIPTOR.services_by_name["MarketService"],
            MarketServicer(markets, clock),
            market_pb2_grpc.add_MarketServiceServicer_to_server,
        ),
        Service(
            order_pb2.DESCRIPTOR.services_by_name["OrderService"],
            OrderServicer(markets, orders, stores.listings, clock, ids),
            order_pb2_grpc.add_OrderServiceServicer_to_server,
        ),
        Service(
            position_pb2.DESCRIPTOR.services_by_name["PositionService"],
            PositionServicer(stores.listings, clock),
            position_pb2_grpc.add_PositionServiceServicer_to_server,
        ),
        Service(
            subaccount_pb2.DESCRIPTOR.services_by_name["SubaccountService"],
            SubaccountServicer(stores.subaccounts, stores.wallets, clock, ids),
            subaccount_pb2_grpc.add_SubaccountServiceServicer_to_server,
        ),
        Service(
            withdrawal_pb2.DESCRIPTOR.services_by_name["WithdrawalService"],
            WithdrawalServicer(stores.withdrawals, stores.destinations, stores.wallets, deposits, clock, ids),
            withdrawal_pb2_grpc.add_WithdrawalServiceServicer_to_server,
        ),
        Service(
            operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
            OperatorServicer(deposits, stores.withdrawals, markets, orders, clock, ids),
            operator_pb2_grpc.add_OperatorServiceServicer_to_server,
        ),
    ]


def _signed_services(stores: _Stores, clock: Clock, ids: Ids) -> list[Service]:
    """The two proto services of signed requests."""
    signed_requests = SignedRequestServicer(
        wallets=stores.wallets,
        subaccounts=stores.subaccounts,
        transfers=stores.transfers,
        deposits=stores.deposits,
        withdrawals=stores.withdrawals,
        destinations=stores.destinations,
        markets=stores.markets,
        orders=stores.orders,
        listings=stores.listings,
        requests=stores.requests,
        clock=clock,
        ids=ids,
    )
    return [
        Service(
            signed_pb2.DESCRIPTOR.services_by_name["SignedRequestService"],
            signed_requests,
            signed_pb2_grpc.add_SignedRequestServiceServicer_to_server,
        ),
        Service(
            signer_fence_pb2.DESCRIPTOR.services_by_name["SignerFenceService"],
            SignerFenceServicer(stores.fence),
            signer_fence_pb2_grpc.add_SignerFenceServiceServicer_to_server,
        ),
    ]

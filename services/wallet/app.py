"""The composition root of the wallet service: what it is made of and how the parts are joined."""

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.db.pool import create_database
from chassis.db.tx import Database
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.rpc.client import open_channel
from chassis.rpc.exchange import RemoteExchanger
from chassis.rpc.idempotency import IdempotencyStage
from chassis.rpc.server import RpcServer, Service
from sealgate.wallet.v1 import (
    market_pb2,
    market_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
    position_pb2,
    position_pb2_grpc,
    wallet_pb2,
    wallet_pb2_grpc,
)
from services.wallet.config import WalletConfig
from services.wallet.domain.audit import Breach
from services.wallet.storage import CONSTRAINT_ERRORS, DepositStorage, WalletStorage
from services.wallet.storage_audit import AUDIT_RULES, audit
from services.wallet.storage_listings import ListingStorage
from services.wallet.storage_markets import MarketStorage
from services.wallet.storage_orders import OrderStorage
from services.wallet.transport.market import MarketServicer
from services.wallet.transport.operator import OperatorServicer
from services.wallet.transport.order import OrderServicer
from services.wallet.transport.position import PositionServicer
from services.wallet.transport.wallet import WalletServicer

__all__ = ["AUDIT_RULES", "SERVICE_NAME", "Breach", "audit", "build"]

SERVICE_NAME: Final = "wallet"


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

    async def close_auth_channel() -> None:
        await auth_channel.close()

    orders = OrderStorage(database, clock, config.open_orders_per_wallet_count)

    async def end_expired_orders() -> None:
        await orders.end_expired_orders()

    return RpcServer(
        config,
        _services(config, database, orders, clock, ids),
        clock=clock,
        ids=ids,
        verifier=PassportVerifier(config.audience, clock, auth.passport_keys),
        exchanger=auth,
        closers=[close_auth_channel, database.close],
        background=[end_expired_orders],
        idempotency=IdempotencyStage(database, clock),
    )


def _services(
    config: WalletConfig, database: Database, orders: OrderStorage, clock: Clock, ids: Ids
) -> list[Service]:
    """What is served, each proto service by its own servicer."""
    wallets = WalletStorage(database, config.wallets_per_account_count)
    markets = MarketStorage(database)
    listings = ListingStorage(database, markets)
    operator = OperatorServicer(DepositStorage(database), markets, orders, clock, ids)
    return [
        Service(
            wallet_pb2.DESCRIPTOR.services_by_name["WalletService"],
            WalletServicer(wallets, clock, ids),
            wallet_pb2_grpc.add_WalletServiceServicer_to_server,
        ),
        Service(
            market_pb2.DESCRIPTOR.services_by_name["MarketService"],
            MarketServicer(markets, clock),
            market_pb2_grpc.add_MarketServiceServicer_to_server,
        ),
        Service(
            order_pb2.DESCRIPTOR.services_by_name["OrderService"],
            OrderServicer(markets, orders, listings, clock, ids),
            order_pb2_grpc.add_OrderServiceServicer_to_server,
        ),
        Service(
            position_pb2.DESCRIPTOR.services_by_name["PositionService"],
            PositionServicer(listings, clock),
            position_pb2_grpc.add_PositionServiceServicer_to_server,
        ),
        Service(
            operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
            operator,
            operator_pb2_grpc.add_OperatorServiceServicer_to_server,
        ),
    ]

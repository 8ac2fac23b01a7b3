"""The composition root of the wallet service: what it is made of and how the parts are joined."""

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.db.pool import create_database
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.rpc.client import open_channel
from chassis.rpc.exchange import RemoteExchanger
from chassis.rpc.server import RpcServer, Service
from sealgate.wallet.v1 import operator_pb2, operator_pb2_grpc, wallet_pb2, wallet_pb2_grpc
from services.wallet.config import WalletConfig
from services.wallet.storage import CONSTRAINT_ERRORS, DepositStorage, WalletStorage
from services.wallet.transport import OperatorServicer, WalletServicer

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

    services = [
        Service(
            wallet_pb2.DESCRIPTOR.services_by_name["WalletService"],
            WalletServicer(WalletStorage(database, config.wallets_per_account_count), clock, ids),
            wallet_pb2_grpc.add_WalletServiceServicer_to_server,
        ),
        Service(
            operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
            OperatorServicer(DepositStorage(database), clock, ids),
            operator_pb2_grpc.add_OperatorServiceServicer_to_server,
        ),
    ]
    return RpcServer(
        config,
        services,
        clock=clock,
        ids=ids,
        verifier=PassportVerifier(config.audience, clock, auth.passport_keys),
        exchanger=auth,
        closers=[close_auth_channel, database.close],
    )

"""The composition root of the keys service: what it is made of and how the parts are joined."""

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.db.pool import create_database
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.rpc.client import open_channel
from chassis.rpc.exchange import RemoteExchanger
from chassis.rpc.idempotency import IdempotencyStage
from chassis.rpc.server import RpcServer, Service
from sealgate.keys.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    resolution_pb2,
    resolution_pb2_grpc,
)
from services.keys.config import KeysConfig
from services.keys.ports import KeyStore
from services.keys.storage import KeyStorage
from services.keys.transport import ApiKeyServicer, OperatorServicer, ResolutionServicer

SERVICE_NAME: Final = "keys"


async def build(config: KeysConfig, clock: Clock, ids: Ids) -> RpcServer:
    """The service, ready to be started; it connects to nothing yet."""
    database = await create_database(
        config.database.dsn,
        pool_size_count=config.database.pool_size_count,
        application_name=f"sealgate-{SERVICE_NAME}",
    )
    auth_channel = open_channel(config.auth_target)
    auth = RemoteExchanger(auth_channel, clock)

    async def close_auth_channel() -> None:
        await auth_channel.close()

    return RpcServer(
        config,
        _services(KeyStorage(database, config.api_keys_per_owner_count), clock, ids),
        clock=clock,
        ids=ids,
        verifier=PassportVerifier(config.audience, clock, auth.passport_keys),
        exchanger=auth,
        closers=[close_auth_channel, database.close],
        idempotency=IdempotencyStage(database, clock),
    )


def _services(store: KeyStore, clock: Clock, ids: Ids) -> list[Service]:
    """Every proto service of the package with what implements it."""
    return [
        Service(
            api_key_pb2.DESCRIPTOR.services_by_name["ApiKeyService"],
            ApiKeyServicer(store, clock, ids),
            api_key_pb2_grpc.add_ApiKeyServiceServicer_to_server,
        ),
        Service(
            resolution_pb2.DESCRIPTOR.services_by_name["ResolutionService"],
            ResolutionServicer(store, clock, ids),
            resolution_pb2_grpc.add_ResolutionServiceServicer_to_server,
        ),
        Service(
            operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
            OperatorServicer(store, clock, ids),
            operator_pb2_grpc.add_OperatorServiceServicer_to_server,
        ),
    ]

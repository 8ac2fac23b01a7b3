"""The composition root of the keys service: what it is made of and how the parts are joined."""

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.db.pool import create_database
from chassis.db.tx import Database
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.methods import method_path
from chassis.rpc.client import open_channel
from chassis.rpc.exchange import RemoteExchanger
from chassis.rpc.idempotency import IdempotencyStage
from chassis.rpc.server import RpcServer, Service
from chassis.rpc.signed import SignedRequests
from chassis.rpc.signers import RemoteStandings
from sealgate.keys.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    resolution_pb2,
    resolution_pb2_grpc,
    session_signature_pb2,
    session_signature_pb2_grpc,
    signing_key_pb2,
    signing_key_pb2_grpc,
)
from services.keys.config import KeysConfig
from services.keys.domain.signing_key import SigningCaps
from services.keys.fences import FenceDelivery
from services.keys.signers import OwnSigners
from services.keys.storage import KeyStorage
from services.keys.storage_devices import DeviceKeyStorage
from services.keys.storage_signing import FenceOutboxStorage, SigningKeyStorage
from services.keys.transport.api_key import ApiKeyServicer
from services.keys.transport.operator import OperatorServicer
from services.keys.transport.resolution import ResolutionServicer
from services.keys.transport.session_signature import SessionSignatureServicer
from services.keys.transport.signing_key import TELLS_WALLET, SigningKeyServicer
from services.keys.wallet_client import RemoteWallet

SERVICE_NAME: Final = "keys"

_SIGNING_KEYS: Final = signing_key_pb2.DESCRIPTOR.services_by_name["SigningKeyService"]


async def build(config: KeysConfig, clock: Clock, ids: Ids) -> RpcServer:
    """The service, ready to be started; it connects to nothing yet."""
    database = await create_database(
        config.database.dsn,
        pool_size_count=config.database.pool_size_count,
        application_name=f"sealgate-{SERVICE_NAME}",
    )
    auth_channel = open_channel(config.auth_target)
    wallet_channel = open_channel(config.wallet_target)
    auth = RemoteExchanger(auth_channel, clock)
    fences = FenceDelivery(FenceOutboxStorage(database), RemoteWallet(wallet_channel, clock))
    signing_keys = _signing_keys(config, database)
    registrar = SigningKeyServicer(signing_keys, fences, database.once_committed, config.audience, clock, ids)

    async def close_channels() -> None:
        await auth_channel.close()
        await wallet_channel.close()

    return RpcServer(
        config,
        _services(config, database, signing_keys, registrar, clock, ids),
        clock=clock,
        ids=ids,
        verifier=PassportVerifier(config.audience, clock, auth.passport_keys),
        exchanger=auth,
        closers=[close_channels, database.close],
        background=[fences.deliver_all],
        idempotency=IdempotencyStage(
            database,
            clock,
            completions={method_path(_SIGNING_KEYS, "RegisterMasterKey"): registrar.complete_registration},
        ),
        signed=SignedRequests(
            database,
            clock,
            config.audience,
            OwnSigners(signing_keys, RemoteStandings(auth_channel, clock)),
            signing_key_pb2.KeyRequestOutcome,
            after_commit=dict.fromkeys(TELLS_WALLET, fences.deliver),
        ),
    )


def _signing_keys(config: KeysConfig, database: Database) -> SigningKeyStorage:
    return SigningKeyStorage(
        database,
        SigningCaps(
            admin_keys_count=config.admin_master_keys_per_account_count,
            scoped_keys_count=config.scoped_master_keys_per_subaccount_count,
            sessions_per_master_key_count=config.max_sessions_per_master_key,
        ),
    )


def _services(
    config: KeysConfig,
    database: Database,
    signing_keys: SigningKeyStorage,
    registrar: SigningKeyServicer,
    clock: Clock,
    ids: Ids,
) -> list[Service]:
    """Every proto service of the package with what implements it."""
    store = KeyStorage(database, config.api_keys_per_owner_count)
    device_keys = DeviceKeyStorage(database, config.device_keys_per_account_count)
    return [
        Service(
            api_key_pb2.DESCRIPTOR.services_by_name["ApiKeyService"],
            ApiKeyServicer(store, clock, ids),
            api_key_pb2_grpc.add_ApiKeyServiceServicer_to_server,
        ),
        Service(
            _SIGNING_KEYS,
            registrar,
            signing_key_pb2_grpc.add_SigningKeyServiceServicer_to_server,
        ),
        Service(
            session_signature_pb2.DESCRIPTOR.services_by_name["SessionSignatureService"],
            SessionSignatureServicer(store, device_keys, ids),
            session_signature_pb2_grpc.add_SessionSignatureServiceServicer_to_server,
        ),
        Service(
            resolution_pb2.DESCRIPTOR.services_by_name["ResolutionService"],
            ResolutionServicer(store, device_keys, signing_keys, clock, ids),
            resolution_pb2_grpc.add_ResolutionServiceServicer_to_server,
        ),
        Service(
            operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
            OperatorServicer(store, clock, ids),
            operator_pb2_grpc.add_OperatorServiceServicer_to_server,
        ),
    ]

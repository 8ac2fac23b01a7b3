"""The composition root of the auth service: what it is made of and how the parts are joined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chassis.clock import Clock
from chassis.config import ConfigError
from chassis.db.pool import create_database
from chassis.followed_keyring import FollowedKeyRing
from chassis.identity import PassportVerifier
from chassis.ids import Ids
from chassis.keyring import KeyRingError
from chassis.rpc.bad_credentials import BadCredentials
from chassis.rpc.client import open_channel
from chassis.rpc.idempotency import IdempotencyStage
from chassis.rpc.server import RpcServer, Service
from chassis.shared_limits import rate_limiter
from sealgate.auth.v1 import (
    account_pb2,
    account_pb2_grpc,
    browser_session_pb2,
    browser_session_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    signer_pb2,
    signer_pb2_grpc,
    time_pb2,
    time_pb2_grpc,
)
from services.auth.config import AuthConfig
from services.auth.exchange import CredentialExchange
from services.auth.keys_client import RemoteKeys
from services.auth.passports import PassportOffice
from services.auth.replay import METHODS_BY_CREDENTIAL, Replay
from services.auth.revocation import MassRevocation
from services.auth.storage import AuthStorage
from services.auth.tokens import BrowserSessionTokens, SessionTokens
from services.auth.transport.account import AccountServicer
from services.auth.transport.browser_session import BrowserSessionServicer
from services.auth.transport.identity import IdentityServicer, TokenKeyServicer
from services.auth.transport.operator import OperatorServicer
from services.auth.transport.project import ProjectServicer
from services.auth.transport.session import SessionServicer
from services.auth.transport.signer import SignerServicer
from services.auth.transport.time import TimeServicer

SERVICE_NAME: Final = "auth"


async def build(config: AuthConfig, clock: Clock, ids: Ids) -> RpcServer:
    """The service, ready to be started; it connects to nothing yet.

    Raises ConfigError for a key directory that cannot be used.
    """
    passport_ring = _key_ring("passport_key_dir", config.passport_key_dir, clock)
    tokens = SessionTokens(config.audience, _key_ring("session_key_dir", config.session_key_dir, clock))
    browser_tokens = BrowserSessionTokens(
        config.audience, _key_ring("browser_key_dir", config.browser_key_dir, clock), clock
    )
    database = await create_database(
        config.database.dsn,
        pool_size_count=config.database.pool_size_count,
        application_name=f"sealgate-{SERVICE_NAME}",
    )
    store = AuthStorage(database, config.live_sessions_per_account_count)
    keys_channel = open_channel(config.keys_target)
    keys = RemoteKeys(keys_channel, clock)
    limiter = rate_limiter(config.rate_limits, config.audience, clock)
    office = PassportOffice(
        config.audience,
        CredentialExchange(tokens, browser_tokens, store, keys, clock),
        BadCredentials(config.rate_limits.bad_credentials_per_minute_count, limiter, clock),
        passport_ring,
        clock,
    )
    revocation = MassRevocation(store, store, keys, database.once_committed)

    async def own_passport_keys() -> Mapping[str, bytes]:
        return office.public_keys()

    async def close_keys_channel() -> None:
        await keys_channel.close()

    return RpcServer(
        config,
        [
            *_services(store, revocation, tokens, clock, ids),
            *_token_services(office, tokens, browser_tokens, clock),
            *_signing_services(store, keys, config.audience, clock),
        ],
        clock=clock,
        ids=ids,
        verifier=PassportVerifier(config.audience, clock, own_passport_keys),
        exchanger=office,
        limiter=limiter,
        closers=[close_keys_channel, database.close],
        idempotency=IdempotencyStage(
            database,
            clock,
            completions=Replay(store, tokens, browser_tokens, revocation).completions(),
            by_credential=METHODS_BY_CREDENTIAL,
        ),
    )


def _services(
    store: AuthStorage,
    revocation: MassRevocation,
    tokens: SessionTokens,
    clock: Clock,
    ids: Ids,
) -> list[Service]:
    """The proto services of projects, accounts and sessions with what implements them."""
    return [
        Service(
            project_pb2.DESCRIPTOR.services_by_name["ProjectService"],
            ProjectServicer(store, clock),
            project_pb2_grpc.add_ProjectServiceServicer_to_server,
        ),
        Service(
            account_pb2.DESCRIPTOR.services_by_name["AccountService"],
            AccountServicer(store, revocation, clock, ids),
            account_pb2_grpc.add_AccountServiceServicer_to_server,
        ),
        Service(
            session_pb2.DESCRIPTOR.services_by_name["SessionService"],
            SessionServicer(store, revocation, tokens, clock, ids),
            session_pb2_grpc.add_SessionServiceServicer_to_server,
        ),
        Service(
            operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
            OperatorServicer(store, clock, ids),
            operator_pb2_grpc.add_OperatorServiceServicer_to_server,
        ),
    ]


def _token_services(
    office: PassportOffice, tokens: SessionTokens, browser_tokens: BrowserSessionTokens, clock: Clock
) -> list[Service]:
    """The proto services of passports and tokens with what implements them."""
    return [
        Service(
            identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
            IdentityServicer(office),
            identity_pb2_grpc.add_IdentityServiceServicer_to_server,
        ),
        Service(
            identity_pb2.DESCRIPTOR.services_by_name["TokenKeyService"],
            TokenKeyServicer((tokens, browser_tokens)),
            identity_pb2_grpc.add_TokenKeyServiceServicer_to_server,
        ),
        Service(
            browser_session_pb2.DESCRIPTOR.services_by_name["BrowserSessionService"],
            BrowserSessionServicer(browser_tokens, clock),
            browser_session_pb2_grpc.add_BrowserSessionServiceServicer_to_server,
        ),
    ]


def _signing_services(store: AuthStorage, keys: RemoteKeys, audience: str, clock: Clock) -> list[Service]:
    """The proto services that signed requests need, with what implements them."""
    return [
        Service(
            signer_pb2.DESCRIPTOR.services_by_name["SignerService"],
            SignerServicer(store, keys),
            signer_pb2_grpc.add_SignerServiceServicer_to_server,
        ),
        Service(
            time_pb2.DESCRIPTOR.services_by_name["TimeService"],
            TimeServicer(audience, clock),
            time_pb2_grpc.add_TimeServiceServicer_to_server,
        ),
    ]


def _key_ring(member: str, directory: Path, clock: Clock) -> FollowedKeyRing:
    """The keys of a directory; ConfigError with the member of the configuration that names it."""
    try:
        return FollowedKeyRing(directory, clock)
    except KeyRingError as error:
        raise ConfigError(member, str(error)) from None

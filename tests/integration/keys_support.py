"""The keys service on a real database, called as its interceptors would call it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg
from google.protobuf.struct_pb2 import ListValue
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.identity import Identity
from chassis.limits import (
    ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT,
    API_KEYS_PER_OWNER_COUNT,
    DEVICE_KEYS_PER_ACCOUNT_COUNT,
    SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT,
    SESSION_KEYS_PER_MASTER_KEY_COUNT,
)
from chassis.methods import CredentialKind
from chassis.rpc import context as request_context
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_ACTIVE, PROJECT_STATUS_ACTIVE
from sealgate.keys.v1 import api_key_pb2, operator_pb2, resolution_pb2
from services.keys.domain.signing_key import SigningCaps
from services.keys.storage import KeyStorage
from services.keys.storage_devices import DeviceKeyStorage
from services.keys.storage_signing import SigningKeyStorage
from services.keys.transport.api_key import ApiKeyServicer
from services.keys.transport.operator import OperatorServicer
from services.keys.transport.resolution import ResolutionServicer
from services.keys.transport.session_signature import SessionSignatureServicer

PROJECT: Final = uuid.UUID(int=1)
ACCOUNT: Final = uuid.UUID(int=2)
SESSION_SCOPES: Final = frozenset(
    {"account:read", "keys:write", "wallet:read", "wallet:write", "orders:write"}
)

_WAITING: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usename = 'sealgate_keys' AND wait_event_type = 'Lock'
"""

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class KeysWorld:
    """The servicers over one fresh database, and who calls them.

    The service is connected as its serving role, so every test also shows that the role's rights
    suffice; `administer` connects as the superuser, to look at what the service may not see.
    """

    def __init__(
        self,
        fresh: FreshDatabase,
        clock: FakeClock,
        ids: CountingIds,
        keys_per_owner_count: int = API_KEYS_PER_OWNER_COUNT,
    ) -> None:
        self.clock = clock
        self.ids = ids
        self.store = KeyStorage(fresh.database, keys_per_owner_count)
        self.api = ApiKeyServicer(self.store, clock, ids)
        self.devices = DeviceKeyStorage(fresh.database, DEVICE_KEYS_PER_ACCOUNT_COUNT)
        self.signing_keys = SigningKeyStorage(
            fresh.database,
            SigningCaps(
                admin_keys_count=ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT,
                scoped_keys_count=SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT,
                sessions_per_master_key_count=SESSION_KEYS_PER_MASTER_KEY_COUNT,
            ),
        )
        self.resolution = ResolutionServicer(self.store, self.devices, self.signing_keys, clock, ids)
        self.session_signatures = SessionSignatureServicer(self.store, self.devices, ids)
        self.operator = OperatorServicer(self.store, clock, ids)
        self._administrator_dsn = fresh.dsn_as("postgres")

    async def administer(self) -> asyncpg.Connection[asyncpg.Record]:
        """A superuser's connection of its own; the caller closes it."""
        return await asyncpg.connect(self._administrator_dsn)

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """What a superuser reads."""
        connection = await self.administer()
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def blocked(self, count: int) -> None:
        """Returns when `count` of the service's statements wait for a lock."""
        connection = await self.administer()
        try:
            while await connection.fetchval(_WAITING) < count:
                pass
        finally:
            await connection.close()

    def by_project(
        self, project_id: uuid.UUID, account_id: uuid.UUID | None = None, *, version: int = 0
    ) -> Identity:
        """A project key's identity, acting on `account_id` if there is one."""
        return self._identity(CredentialKind.PROJECT_KEY, project_id, account_id, frozenset(), version)

    def by_session(
        self,
        project_id: uuid.UUID,
        account_id: uuid.UUID,
        *,
        version: int = 0,
        status: int = ACCOUNT_STATUS_ACTIVE,
    ) -> Identity:
        """An account session's identity."""
        kind = CredentialKind.ACCOUNT_SESSION
        return self._identity(kind, project_id, account_id, SESSION_SCOPES, version, status)

    async def call(
        self,
        handler: Callable[[_Request, Any], Awaitable[_Response]],
        request: _Request,
        identity: Identity | None = None,
    ) -> _Response:
        """Serves one request in a task, and so in a context, of its own."""

        async def serve() -> _Response:
            request_context.enter(
                request_context.RequestContext(request_id=self.ids.uuid7(), identity=identity)
            )
            return await handler(request, None)

        return await asyncio.create_task(serve())

    async def create(self, identity: Identity, **fields: Any) -> api_key_pb2.IssuedApiKey:  # noqa: ANN401
        """A new key of the identity's account."""
        response = await self.call(self.api.CreateApiKey, api_key_pb2.CreateApiKeyRequest(**fields), identity)
        return response.api_key

    async def create_for_project(self, project_id: uuid.UUID) -> api_key_pb2.IssuedApiKey:
        """A project key, as the operator makes the first one."""
        request = operator_pb2.IssueProjectApiKeyRequest(project_id=str(project_id))
        return (await self.call(self.operator.IssueProjectApiKey, request)).api_key

    async def list_keys(self, identity: Identity) -> list[api_key_pb2.ApiKey]:
        """The keys of the identity's account."""
        return list(
            (await self.call(self.api.ListApiKeys, api_key_pb2.ListApiKeysRequest(), identity)).api_keys
        )

    async def list_project_keys(self, identity: Identity) -> list[api_key_pb2.ApiKey]:
        """The keys of the identity's project."""
        request = api_key_pb2.ListProjectApiKeysRequest()
        return list((await self.call(self.api.ListProjectApiKeys, request, identity)).api_keys)

    async def update(self, identity: Identity, public_key: str, **fields: Any) -> api_key_pb2.ApiKey:  # noqa: ANN401
        """Changes a key of the identity's account."""
        request = api_key_pb2.UpdateApiKeyRequest(public_key=public_key, **fields)
        return (await self.call(self.api.UpdateApiKey, request, identity)).api_key

    async def rotate(
        self, identity: Identity, public_key: str, overlap_seconds: int | None = None
    ) -> api_key_pb2.IssuedApiKey:
        """Replaces a key of the account that a project's identity acts on."""
        request = api_key_pb2.RotateAccountApiKeyRequest(
            account_id=str(identity.account_id), public_key=public_key, overlap_seconds=overlap_seconds
        )
        return (await self.call(self.api.RotateAccountApiKey, request, identity)).api_key

    async def delete(self, identity: Identity, public_key: str) -> bool:
        """Deletes a key of the identity's account."""
        request = api_key_pb2.DeleteApiKeyRequest(public_key=public_key)
        return (await self.call(self.api.DeleteApiKey, request, identity)).deleted

    async def delete_of_project(self, identity: Identity, public_key: str) -> bool:
        """Deletes a key of the identity's project."""
        request = api_key_pb2.DeleteProjectApiKeyRequest(public_key=public_key)
        return (await self.call(self.api.DeleteProjectApiKey, request, identity)).deleted

    async def resolve(
        self, public_key: bytes, kind: CredentialKind = CredentialKind.ACCOUNT_API_KEY
    ) -> resolution_pb2.ResolveApiKeyResponse:
        """What auth learns of a key that was shown to it."""
        request = resolution_pb2.ResolveApiKeyRequest(public_key=public_key, kind=kind.value)
        return await self.call(self.resolution.ResolveApiKey, request)

    async def use(
        self, public_key: bytes, kind: CredentialKind = CredentialKind.ACCOUNT_API_KEY
    ) -> resolution_pb2.ResolveApiKeyResponse:
        """What auth learns of a key that it then accepts, and so notes the use of, if one is due."""
        found = await self.resolve(public_key, kind)
        if found.is_use_due:
            request = resolution_pb2.NoteApiKeyUseRequest(public_key=public_key)
            await self.call(self.resolution.NoteApiKeyUse, request)
        return found

    async def fence(self, account_id: uuid.UUID, version: int) -> None:
        """What auth does after it has suspended an account or expired its sessions."""
        request = resolution_pb2.FenceAccountRequest(account_id=str(account_id), account_version=version)
        await self.call(self.resolution.FenceAccount, request)

    def _identity(
        self,
        kind: CredentialKind,
        project_id: uuid.UUID,
        account_id: uuid.UUID | None,
        scopes: frozenset[str],
        version: int,
        status: int = ACCOUNT_STATUS_ACTIVE,
    ) -> Identity:
        now_ns = self.clock.now_ns()
        return Identity(
            project_id=project_id,
            account_id=account_id,
            account_number=1,
            kind=kind,
            credential_id=f"{kind.name.lower()}-credential",
            scopes=scopes,
            modules=frozenset(),
            subaccount_index=None,
            browser=False,
            origin="",
            project_status=PROJECT_STATUS_ACTIVE,
            account_status=status,
            account_version=version,
            issued_at_ns=now_ns,
            expires_at_ns=now_ns + 30_000_000_000,
            credential_expires_at_ns=None,
        )


async def open_keys(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds, *, pool_size_count: int = 5
) -> KeysWorld:
    """The service on a fresh database."""
    return KeysWorld(await database_factory("keys", pool_size_count=pool_size_count), clock, ids)


def scopes_of(*values: object) -> ListValue:
    """A list on the wire, of strings or of whatever a client sends."""
    message = ListValue()
    message.extend(list(values))  # type: ignore[arg-type]  # on purpose: clients send anything
    return message


def timestamp(at_ns: int) -> Timestamp:
    """A time on the wire."""
    return Timestamp(seconds=at_ns // 1_000_000_000, nanos=at_ns % 1_000_000_000)

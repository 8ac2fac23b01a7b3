"""API keys for customers: of the project, of its accounts, of the caller's own account."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from google.protobuf.struct_pb2 import ListValue
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.errors import invalid
from chassis.ids import Ids
from chassis.rpc import context as request_context
from chassis.rpc.timestamps import timestamp, timestamp_or_none
from chassis.secrets import ApiKeyPair, public_key_text
from sealgate.keys.v1 import api_key_pb2, api_key_pb2_grpc
from services.keys.domain.api_key import ApiKey, KeyRights, Owner
from services.keys.domain.authority import Act
from services.keys.domain.changes import RightsChange
from services.keys.domain.rights import (
    account_key_rights,
    checked_name,
    checked_origins,
    checked_scopes,
    project_key_rights,
)
from services.keys.domain.rotation import checked_overlap_ns
from services.keys.ports import KeyStore
from services.keys.transport.messages import Context, account, act_of_caller, named_key

_CreateRequest = api_key_pb2.CreateAccountApiKeyRequest | api_key_pb2.CreateApiKeyRequest
_UpdateRequest = api_key_pb2.UpdateAccountApiKeyRequest | api_key_pb2.UpdateApiKeyRequest


class Issuer:
    """Makes keys: the only place where a secret exists, between its seed and its one answer."""

    def __init__(self, store: KeyStore, ids: Ids) -> None:
        self._store = store
        self._ids = ids

    async def issue(self, owner: Owner, rights: KeyRights, act: Act) -> api_key_pb2.IssuedApiKey:
        """A new key with its secret; raises what `KeyStore.issue` raises."""
        pair = ApiKeyPair.from_seed(self._ids.seed())
        return _issued(pair, await self._store.issue(owner, pair.public_key, rights, act), act.at_ns)

    async def replace(
        self, owner: Owner, public_key: bytes, overlap_ns: int, act: Act
    ) -> api_key_pb2.IssuedApiKey:
        """The successor of a key with its secret; raises what `KeyStore.rotate` raises."""
        pair = ApiKeyPair.from_seed(self._ids.seed())
        key = await self._store.rotate(owner, public_key, pair.public_key, overlap_ns, act)
        return _issued(pair, key, act.at_ns)


class ApiKeyServicer(api_key_pb2_grpc.ApiKeyServiceServicer):
    """Keys for customers: of the project, of one of its accounts, of the caller's own account."""

    def __init__(self, store: KeyStore, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._issuer = Issuer(store, ids)
        self._clock = clock
        self._ids = ids

    async def CreateProjectApiKey(
        self, request: api_key_pb2.CreateProjectApiKeyRequest, context: Context
    ) -> api_key_pb2.CreateProjectApiKeyResponse:
        """Makes a further key for the caller's project."""
        rights = project_key_rights(request.name if request.HasField("name") else None)
        issued = await self._issuer.issue(_project(), rights, act_of_caller(self._clock, self._ids))
        return api_key_pb2.CreateProjectApiKeyResponse(api_key=issued)

    async def ListProjectApiKeys(
        self, request: api_key_pb2.ListProjectApiKeysRequest, context: Context
    ) -> api_key_pb2.ListProjectApiKeysResponse:
        """Lists the keys of the caller's project."""
        return api_key_pb2.ListProjectApiKeysResponse(api_keys=await self._list(_project()))

    async def DeleteProjectApiKey(
        self, request: api_key_pb2.DeleteProjectApiKeyRequest, context: Context
    ) -> api_key_pb2.DeleteProjectApiKeyResponse:
        """Deletes a key of the caller's project, which may be the one it shows, but not the last."""
        await self._store.delete(
            _project(), named_key(request.public_key), act_of_caller(self._clock, self._ids)
        )
        return api_key_pb2.DeleteProjectApiKeyResponse(deleted=True)

    async def CreateAccountApiKey(
        self, request: api_key_pb2.CreateAccountApiKeyRequest, context: Context
    ) -> api_key_pb2.CreateAccountApiKeyResponse:
        """Makes a key for one of the project's accounts."""
        return api_key_pb2.CreateAccountApiKeyResponse(api_key=await self._create(request))

    async def ListAccountApiKeys(
        self, request: api_key_pb2.ListAccountApiKeysRequest, context: Context
    ) -> api_key_pb2.ListAccountApiKeysResponse:
        """Lists the keys of one of the project's accounts."""
        return api_key_pb2.ListAccountApiKeysResponse(api_keys=await self._list(account()))

    async def UpdateAccountApiKey(
        self, request: api_key_pb2.UpdateAccountApiKeyRequest, context: Context
    ) -> api_key_pb2.UpdateAccountApiKeyResponse:
        """Changes a key of one of the project's accounts."""
        return api_key_pb2.UpdateAccountApiKeyResponse(api_key=await self._update(request))

    async def RotateAccountApiKey(
        self, request: api_key_pb2.RotateAccountApiKeyRequest, context: Context
    ) -> api_key_pb2.RotateAccountApiKeyResponse:
        """Replaces a key of one of the project's accounts; without an overlap unless one is asked for."""
        overlap_ns = checked_overlap_ns(request.overlap_seconds)
        public_key = named_key(request.public_key)
        issued = await self._issuer.replace(
            account(), public_key, overlap_ns, act_of_caller(self._clock, self._ids)
        )
        return api_key_pb2.RotateAccountApiKeyResponse(api_key=issued)

    async def DeleteAccountApiKey(
        self, request: api_key_pb2.DeleteAccountApiKeyRequest, context: Context
    ) -> api_key_pb2.DeleteAccountApiKeyResponse:
        """Deletes a key of one of the project's accounts."""
        await self._store.delete(
            account(), named_key(request.public_key), act_of_caller(self._clock, self._ids)
        )
        return api_key_pb2.DeleteAccountApiKeyResponse(deleted=True)

    async def CreateApiKey(
        self, request: api_key_pb2.CreateApiKeyRequest, context: Context
    ) -> api_key_pb2.CreateApiKeyResponse:
        """Makes a key for the caller's own account."""
        return api_key_pb2.CreateApiKeyResponse(api_key=await self._create(request))

    async def ListApiKeys(
        self, request: api_key_pb2.ListApiKeysRequest, context: Context
    ) -> api_key_pb2.ListApiKeysResponse:
        """Lists the keys of the caller's own account; a pinned caller sees those of its pin alone."""
        pin = request_context.identity().subaccount_index
        return api_key_pb2.ListApiKeysResponse(api_keys=await self._list(account(), pin))

    async def UpdateApiKey(
        self, request: api_key_pb2.UpdateApiKeyRequest, context: Context
    ) -> api_key_pb2.UpdateApiKeyResponse:
        """Changes a key of the caller's own account."""
        return api_key_pb2.UpdateApiKeyResponse(api_key=await self._update(request))

    async def DeleteApiKey(
        self, request: api_key_pb2.DeleteApiKeyRequest, context: Context
    ) -> api_key_pb2.DeleteApiKeyResponse:
        """Deletes a key of the caller's own account."""
        await self._store.delete(
            account(), named_key(request.public_key), act_of_caller(self._clock, self._ids)
        )
        return api_key_pb2.DeleteApiKeyResponse(deleted=True)

    async def _create(self, request: _CreateRequest) -> api_key_pb2.IssuedApiKey:
        act = act_of_caller(self._clock, self._ids)
        rights = account_key_rights(
            name=request.name if request.HasField("name") else None,
            scopes=_strings(request.scopes, "scopes") if request.HasField("scopes") else None,
            origins=request.origins,
            subaccount_index=request.subaccount_index if request.HasField("subaccount_index") else None,
            expires_at_ns=_nanoseconds(request.expires_at) if request.HasField("expires_at") else None,
            now_ns=act.at_ns,
        )
        return await self._issuer.issue(account(), rights, act)

    async def _list(self, owner: Owner, pin: int | None = None) -> list[api_key_pb2.ApiKey]:
        now_ns = self._clock.now_ns()
        keys = await self._store.list_open(owner, now_ns)
        return [_message(key, now_ns) for key in keys if pin is None or key.rights.subaccount_index == pin]

    async def _update(self, request: _UpdateRequest) -> api_key_pb2.ApiKey:
        act = act_of_caller(self._clock, self._ids)
        public_key = named_key(request.public_key)
        change = RightsChange(
            name=checked_name(request.name) if request.HasField("name") else None,
            scopes=(
                checked_scopes(_strings(request.scopes, "scopes")) if request.HasField("scopes") else None
            ),
            origins=(
                checked_origins(_strings(request.origins, "origins")) if request.HasField("origins") else None
            ),
        )
        return _message(await self._store.change(account(), public_key, change, act), act.at_ns)


def _project() -> Owner:
    return Owner(request_context.identity().project_id)


def _strings(values: ListValue, path: str) -> list[str]:
    for index, value in enumerate(values.values):
        if value.WhichOneof("kind") != "string_value":
            raise invalid(f"{path}[{index}]", "must be a string")
    return [value.string_value for value in values.values]


def _nanoseconds(moment: Timestamp) -> int:
    if not 0 <= moment.nanos < NANOSECONDS_PER_SECOND:
        raise invalid("expires_at", "must be a valid timestamp")
    return moment.seconds * NANOSECONDS_PER_SECOND + moment.nanos


def _message(key: ApiKey, now_ns: int) -> api_key_pb2.ApiKey:
    return api_key_pb2.ApiKey(
        public_key=public_key_text(key.public_key),
        name=key.rights.name,
        scopes=key.rights.scopes,
        origins=key.rights.origins,
        subaccount_index=key.rights.subaccount_index,
        active=key.is_live(now_ns),
        created_at=timestamp(key.created_at_ns),
        updated_at=timestamp(key.updated_at_ns),
        expires_at=timestamp_or_none(key.rights.expires_at_ns),
        last_used_at=timestamp_or_none(key.last_used_at_ns),
        replaced_by=None if key.replaced_by is None else public_key_text(key.replaced_by),
        retires_at=timestamp_or_none(key.retires_at_ns),
    )


def _issued(pair: ApiKeyPair, key: ApiKey, now_ns: int) -> api_key_pb2.IssuedApiKey:
    return api_key_pb2.IssuedApiKey(
        public_key=pair.public_text,
        secret_key=pair.secret_text,
        name=key.rights.name,
        scopes=key.rights.scopes,
        origins=key.rights.origins,
        subaccount_index=key.rights.subaccount_index,
        active=key.is_live(now_ns),
        created_at=timestamp(key.created_at_ns),
        updated_at=timestamp(key.updated_at_ns),
        expires_at=timestamp_or_none(key.rights.expires_at_ns),
    )

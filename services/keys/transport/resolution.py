"""What auth asks while it turns a credential into an identity."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from typing import Final

from chassis.clock import Clock
from chassis.errors import Code, SealgateError, invalid
from chassis.ids import Ids, parse_uuid
from chassis.methods import CredentialKind
from sealgate.keys.v1 import resolution_pb2, resolution_pb2_grpc
from services.keys.domain.api_key import KeyState, OwnerKind
from services.keys.domain.authority import ActorKind
from services.keys.ports import KeyStore
from services.keys.ports_devices import DeviceKeyStore
from services.keys.ports_signing import SigningKeyStore
from services.keys.transport.limits import limit_messages
from services.keys.transport.messages import Context, act_of
from services.keys.transport.signing_messages import facts_message

_OWNER_KINDS: Final[dict[int, OwnerKind]] = {
    CredentialKind.PROJECT_KEY: OwnerKind.PROJECT,
    CredentialKind.ACCOUNT_API_KEY: OwnerKind.ACCOUNT,
}
_STATES: Final = {
    KeyState.LIVE: resolution_pb2.API_KEY_STATE_LIVE,
    KeyState.REVOKED: resolution_pb2.API_KEY_STATE_REVOKED,
    KeyState.EXPIRED: resolution_pb2.API_KEY_STATE_EXPIRED,
}


class ResolutionServicer(resolution_pb2_grpc.ResolutionServiceServicer):
    """What auth asks while it turns a credential into an identity."""

    def __init__(
        self,
        store: KeyStore,
        device_keys: DeviceKeyStore,
        signing_keys: SigningKeyStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._device_keys = device_keys
        self._signing_keys = signing_keys
        self._clock = clock
        self._ids = ids

    async def ResolveApiKey(
        self, request: resolution_pb2.ResolveApiKeyRequest, context: Context
    ) -> resolution_pb2.ResolveApiKeyResponse:
        """The key's state, whose it is and where it works; if it does, also the rest."""
        now_ns = self._clock.now_ns()
        key = await self._store.resolve(request.public_key)
        if key is None or key.owner.kind is not _OWNER_KINDS.get(request.kind):
            return resolution_pb2.ResolveApiKeyResponse(state=resolution_pb2.API_KEY_STATE_UNKNOWN)
        state = key.state(now_ns)
        response = resolution_pb2.ResolveApiKeyResponse(
            state=_STATES[state],
            project_id=str(key.owner.project_id),
            account_id="" if key.owner.account_id is None else str(key.owner.account_id),
            origins=key.rights.origins,
        )
        if state is not KeyState.LIVE:
            return response
        facts = resolution_pb2.ResolveApiKeyResponse(
            scopes=key.rights.scopes,
            subaccount_index=key.rights.subaccount_index,
            expires_at_ns=key.stops_at_ns,
            retires_at_ns=key.retires_at_ns,
            origins_since_ns=key.origins_since_ns,
            limits=limit_messages(key.limits),
            is_use_due=key.is_use_due(now_ns),
        )
        response.MergeFrom(facts)
        return response

    async def ResolveDeviceKey(
        self, request: resolution_pb2.ResolveDeviceKeyRequest, context: Context
    ) -> resolution_pb2.ResolveDeviceKeyResponse:
        """The device key's state and project; if it works also the rest."""
        now_ns = self._clock.now_ns()
        key = await self._device_keys.resolve(request.digest)
        if key is None:
            return resolution_pb2.ResolveDeviceKeyResponse(state=resolution_pb2.API_KEY_STATE_UNKNOWN)
        state = key.state(now_ns)
        project_id = str(key.owner.project_id)
        if state is not KeyState.LIVE:
            return resolution_pb2.ResolveDeviceKeyResponse(state=_STATES[state], project_id=project_id)
        return resolution_pb2.ResolveDeviceKeyResponse(
            state=_STATES[state],
            device_key_id=str(key.device_key_id),
            project_id=project_id,
            account_id=str(key.owner.owner_id),
            subaccount_index=key.subaccount_index,
            expires_at_ns=key.expires_at_ns,
            is_use_due=key.is_use_due(now_ns),
        )

    async def NoteApiKeyUse(
        self, request: resolution_pb2.NoteApiKeyUseRequest, context: Context
    ) -> resolution_pb2.NoteApiKeyUseResponse:
        """Notes a use of a key, unless one was noted just now."""
        await self._store.note_use(request.public_key, self._clock.now_ns())
        return resolution_pb2.NoteApiKeyUseResponse()

    async def NoteDeviceKeyUse(
        self, request: resolution_pb2.NoteDeviceKeyUseRequest, context: Context
    ) -> resolution_pb2.NoteDeviceKeyUseResponse:
        """Notes a use of a device key, unless one was noted just now; when it ends now."""
        now_ns = self._clock.now_ns()
        key = await self._device_keys.resolve(request.digest)
        if key is None or key.state(now_ns) is not KeyState.LIVE:
            return resolution_pb2.NoteDeviceKeyUseResponse()
        return resolution_pb2.NoteDeviceKeyUseResponse(
            expires_at_ns=await self._device_keys.note_use(key, now_ns)
        )

    async def GetSignerFacts(
        self, request: resolution_pb2.GetSignerFactsRequest, context: Context
    ) -> resolution_pb2.GetSignerFactsResponse:
        """What never changes of a master or session key, revoked or not."""
        account_id = parse_uuid(request.account_id)
        signer = None
        if account_id is not None:
            signer = await self._signing_keys.signer(account_id, request.public_key)
        return resolution_pb2.GetSignerFactsResponse(facts=None if signer is None else facts_message(signer))

    async def FenceAccount(
        self, request: resolution_pb2.FenceAccountRequest, context: Context
    ) -> resolution_pb2.FenceAccountResponse:
        """Answers when no issue under an older version can commit any more."""
        account_id = parse_uuid(request.account_id)
        if account_id is None:
            raise SealgateError(Code.ACCOUNT_NOT_FOUND)
        if request.account_version < 0:
            raise invalid("account_version", "must not be negative")
        act = act_of(ActorKind.SERVICE, "auth", self._clock, self._ids)
        await self._store.fence(account_id, request.account_version, act)
        return resolution_pb2.FenceAccountResponse()

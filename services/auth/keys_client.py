"""The keys service, over its internal listener."""

from __future__ import annotations

import uuid
from typing import Final

import grpc

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.rpc.client import ask
from sealgate.common.v1 import method_rule_pb2
from sealgate.keys.v1 import resolution_pb2 as resolution
from sealgate.keys.v1.resolution_pb2_grpc import ResolutionServiceStub
from sealgate.keys.v1.signer_facts_pb2 import SignerFacts
from services.auth.domain.exchange import CredentialKind, DeadKey, DeadState, LiveApiKey, LiveDeviceKey

_DEAD: Final = {
    resolution.API_KEY_STATE_UNKNOWN: DeadState.UNKNOWN,
    resolution.API_KEY_STATE_REVOKED: DeadState.REVOKED,
    resolution.API_KEY_STATE_EXPIRED: DeadState.EXPIRED,
}
_KINDS: Final = {
    CredentialKind.PROJECT_KEY: method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY,
    CredentialKind.ACCOUNT_API_KEY: method_rule_pb2.CREDENTIAL_KIND_ACCOUNT_API_KEY,
}


class RemoteKeys:
    """See `services.auth.ports.KeyDirectory`."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._keys = ResolutionServiceStub(channel)
        self._clock = clock

    async def resolve(self, public_key: bytes, kind: CredentialKind) -> DeadKey | LiveApiKey:
        """See `KeyDirectory.resolve`."""
        request = resolution.ResolveApiKeyRequest(public_key=public_key, kind=_KINDS[kind])
        found = await ask(self._keys.ResolveApiKey, request, self._clock)
        dead = _DEAD.get(found.state)
        if dead is None:
            return _live(public_key, found)
        return DeadKey(dead, _id_or_none(found.project_id), tuple(found.origins))

    async def resolve_device(self, digest: bytes) -> DeadKey | LiveDeviceKey:
        """See `KeyDirectory.resolve_device`."""
        request = resolution.ResolveDeviceKeyRequest(digest=digest)
        found = await ask(self._keys.ResolveDeviceKey, request, self._clock)
        dead = _DEAD.get(found.state)
        return _live_device(digest, found) if dead is None else DeadKey(dead, _id_or_none(found.project_id))

    async def note_use(self, public_key: bytes) -> None:
        """See `KeyDirectory.note_use`."""
        await ask(
            self._keys.NoteApiKeyUse, resolution.NoteApiKeyUseRequest(public_key=public_key), self._clock
        )

    async def note_device_use(self, digest: bytes) -> int | None:
        """See `KeyDirectory.note_device_use`."""
        request = resolution.NoteDeviceKeyUseRequest(digest=digest)
        noted = await ask(self._keys.NoteDeviceKeyUse, request, self._clock)
        return noted.expires_at_ns if noted.HasField("expires_at_ns") else None

    async def signer_facts(self, account_id: uuid.UUID, public_key: bytes) -> SignerFacts | None:
        """See `KeyDirectory.signer_facts`."""
        request = resolution.GetSignerFactsRequest(account_id=str(account_id), public_key=public_key)
        found = await ask(self._keys.GetSignerFacts, request, self._clock)
        return found.facts if found.HasField("facts") else None

    async def fence(self, account_id: uuid.UUID, account_version: int) -> None:
        """See `KeyDirectory.fence`."""
        request = resolution.FenceAccountRequest(account_id=str(account_id), account_version=account_version)
        await ask(self._keys.FenceAccount, request, self._clock)


def _live(public_key: bytes, found: resolution.ResolveApiKeyResponse) -> LiveApiKey:
    _refuse_unknown_state(found.state)
    if len(found.origins) != len(found.origins_since_ns):
        raise SealgateError(Code.INTERNAL, internal="keys answered origins without their times")
    return LiveApiKey(
        public_key=public_key,
        project_id=uuid.UUID(found.project_id),
        account_id=_id_or_none(found.account_id),
        scopes=tuple(found.scopes),
        origins=dict(zip(found.origins, found.origins_since_ns, strict=True)),
        subaccount_index=found.subaccount_index if found.HasField("subaccount_index") else None,
        expires_at_ns=found.expires_at_ns if found.HasField("expires_at_ns") else None,
        retires_at_ns=found.retires_at_ns if found.HasField("retires_at_ns") else None,
        limits=tuple((limit.rate_class, limit.per_minute_count) for limit in found.limits),
        is_use_due=found.is_use_due,
    )


def _live_device(digest: bytes, found: resolution.ResolveDeviceKeyResponse) -> LiveDeviceKey:
    _refuse_unknown_state(found.state)
    return LiveDeviceKey(
        digest=digest,
        device_key_id=uuid.UUID(found.device_key_id),
        project_id=uuid.UUID(found.project_id),
        account_id=uuid.UUID(found.account_id),
        subaccount_index=found.subaccount_index if found.HasField("subaccount_index") else None,
        expires_at_ns=found.expires_at_ns,
        is_use_due=found.is_use_due,
    )


def _id_or_none(text: str) -> uuid.UUID | None:
    return uuid.UUID(text) if text else None


def _refuse_unknown_state(state: int) -> None:
    if state != resolution.API_KEY_STATE_LIVE:
        raise SealgateError(Code.INTERNAL, internal=f"keys answered an unknown state {state}")

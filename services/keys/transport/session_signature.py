"""API keys and device keys that a session key manages over plain JSON, signed in headers."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from chassis.errors import Code, SealgateError
from chassis.ids import Ids, parse_uuid
from chassis.rpc import context as request_context
from chassis.secrets import (
    ApiKeyPair,
    device_key_digest,
    device_key_text,
    parse_public_key,
    public_key_text,
)
from chassis.signing import Status, refused_for
from sealgate.keys.v1 import session_signature_pb2, session_signature_pb2_grpc, signing_key_pb2
from services.keys.domain.api_key import ApiKey, KeyRights
from services.keys.domain.device_key import DeviceKey, new_device_key
from services.keys.domain.rights import checked_name
from services.keys.domain.session_reach import (
    READING_SCOPES,
    device_key_pin,
    refuse_impossible_pin,
    require_api_key_rights,
    require_sight,
    sees,
)
from services.keys.ports import KeyStore
from services.keys.ports_devices import DeviceKeyStore
from services.keys.transport.json_members import refuse_unknown_members, text_member, uint32_member
from services.keys.transport.messages import Context, account, act_of_signer

_NEW_KEY_MEMBERS: Final = tuple(
    field.name for field in session_signature_pb2.NewSessionApiKey.DESCRIPTOR.fields
)


class SessionSignatureServicer(session_signature_pb2_grpc.SessionSignatureServiceServicer):
    """What a session key manages. Each secret exists between its seed and its one answer."""

    def __init__(self, api_keys: KeyStore, device_keys: DeviceKeyStore, ids: Ids) -> None:
        self._api_keys = api_keys
        self._device_keys = device_keys
        self._ids = ids

    async def ListSessionApiKeys(
        self, request: session_signature_pb2.ListSessionApiKeysRequest, context: Context
    ) -> session_signature_pb2.ListSessionApiKeysResponse:
        """The account's API keys within the signing key's reach."""
        call = request_context.signed()
        keys = await self._api_keys.list_open(account(), call.processed_at_ns)
        return session_signature_pb2.ListSessionApiKeysResponse(
            api_keys=[_api_key_message(key) for key in keys if sees(call.signer, key.rights.subaccount_index)]
        )

    async def CreateSessionApiKey(
        self, request: session_signature_pb2.CreateSessionApiKeyRequest, context: Context
    ) -> session_signature_pb2.CreateSessionApiKeyResponse:
        """A new read-only API key with its secret."""
        call, asked = request_context.signed(), _new_key()
        require_api_key_rights(call.signer, asked.subaccount_index)
        refuse_impossible_pin(asked.subaccount_index)
        call.subaccount_index = asked.subaccount_index
        pair = ApiKeyPair.from_seed(self._ids.seed())
        with _refusals_on_record():
            rights = KeyRights(_name(asked), scopes=READING_SCOPES, subaccount_index=asked.subaccount_index)
            key = await self._api_keys.issue(
                account(),
                pair.public_key,
                rights,
                act_of_signer(self._ids),
                session_public_key=call.signer.public_key,
            )
        return session_signature_pb2.CreateSessionApiKeyResponse(
            api_key=_api_key_message(key), secret_key=pair.secret_text
        )

    async def DeleteSessionApiKey(
        self, request: session_signature_pb2.DeleteSessionApiKeyRequest, context: Context
    ) -> session_signature_pb2.DeleteSessionApiKeyResponse:
        """Deletes an API key, whoever made it, that the signing key could have made."""
        call = request_context.signed()
        refuse_unknown_members(call.json_body or {}, ())
        with _refusals_on_record():
            key = await self._own_api_key(request.api_key)
            require_api_key_rights(call.signer, key.rights.subaccount_index)
            call.subaccount_index = key.rights.subaccount_index
            await self._api_keys.delete(key.owner, key.public_key, act_of_signer(self._ids))
        return session_signature_pb2.DeleteSessionApiKeyResponse(api_key=_api_key_message(key))

    async def CreateDeviceKey(
        self, request: session_signature_pb2.CreateDeviceKeyRequest, context: Context
    ) -> session_signature_pb2.CreateDeviceKeyResponse:
        """A new device key with its secret."""
        call, asked = request_context.signed(), _new_key()
        pin = device_key_pin(call.signer, asked.subaccount_index)
        refuse_impossible_pin(pin)
        call.subaccount_index = pin
        secret = self._ids.seed()
        with _refusals_on_record():
            key = new_device_key(
                self._ids.uuid7(), account(), _name(asked), pin, call.signer.public_key, call.processed_at_ns
            )
            await self._device_keys.issue(key, device_key_digest(secret), act_of_signer(self._ids))
        return session_signature_pb2.CreateDeviceKeyResponse(
            device_key=_device_key_message(key), secret_key=device_key_text(secret)
        )

    async def ListDeviceKeys(
        self, request: session_signature_pb2.ListDeviceKeysRequest, context: Context
    ) -> session_signature_pb2.ListDeviceKeysResponse:
        """The account's live device keys within the signing key's reach."""
        call = request_context.signed()
        keys = await self._device_keys.list_live(account(), call.processed_at_ns)
        return session_signature_pb2.ListDeviceKeysResponse(
            device_keys=[_device_key_message(key) for key in keys if sees(call.signer, key.subaccount_index)]
        )

    async def DeleteDeviceKey(
        self, request: session_signature_pb2.DeleteDeviceKeyRequest, context: Context
    ) -> session_signature_pb2.DeleteDeviceKeyResponse:
        """Deletes a device key within the signing key's reach, whichever session key made it."""
        call = request_context.signed()
        refuse_unknown_members(call.json_body or {}, ())
        with _refusals_on_record():
            device_key_id = parse_uuid(request.device_key_id)
            if device_key_id is None:
                raise SealgateError(Code.DEVICE_KEY_NOT_FOUND)
            key = await self._device_keys.find_live(account(), device_key_id, call.processed_at_ns)
            require_sight(call.signer, key.subaccount_index)
            call.subaccount_index = key.subaccount_index
            await self._device_keys.delete(key, act_of_signer(self._ids))
        return session_signature_pb2.DeleteDeviceKeyResponse(device_key=_device_key_message(key))

    async def _own_api_key(self, text: str) -> ApiKey:
        """The account's key of a `pk_…` name, ended or not; raises API_KEY_NOT_FOUND where it has none."""
        public_key = parse_public_key(text)
        key = None if public_key is None else await self._api_keys.resolve(public_key)
        if key is None or key.owner != account():
            raise SealgateError(Code.API_KEY_NOT_FOUND)
        return key


@dataclass(frozen=True, slots=True)
class _NewKey:
    """What the JSON body asks for: its members have the right types, and may still make no sense."""

    name: str | None
    subaccount_index: int | None


def _new_key() -> _NewKey:
    """The body of the request; raises VALIDATION_ERROR, which leaves the signed id unused."""
    members = request_context.signed().json_body or {}
    refuse_unknown_members(members, _NEW_KEY_MEMBERS)
    return _NewKey(text_member(members, "name"), uint32_member(members, "subaccount_index"))


def _name(asked: _NewKey) -> str:
    return "" if asked.name is None else checked_name(asked.name)


@contextmanager
def _refusals_on_record() -> Iterator[None]:
    """Has what keys refuse stay on record as the outcome, with the one status that there is for it."""
    try:
        yield
    except SealgateError as error:
        refused = refused_for(error, Status.SESSION_INVALID)
        if refused is None:
            raise
        raise refused from None


def _api_key_message(key: ApiKey) -> signing_key_pb2.SessionApiKey:
    return signing_key_pb2.SessionApiKey(
        public_key=public_key_text(key.public_key),
        name=key.rights.name,
        scopes=key.rights.scopes,
        subaccount_index=key.rights.subaccount_index,
        created_at_ns=key.created_at_ns,
        session_public_key=key.session_public_key or b"",
    )


def _device_key_message(key: DeviceKey) -> signing_key_pb2.DeviceKey:
    return signing_key_pb2.DeviceKey(
        device_key_id=str(key.device_key_id),
        name=key.name,
        subaccount_index=key.subaccount_index,
        created_at_ns=key.created_at_ns,
        last_used_at_ns=key.last_used_at_ns,
        expires_at_ns=key.expires_at_ns,
        session_public_key=key.session_public_key,
    )

"""An account of the keys service with session keys, and calls that they have signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from chassis.methods import CredentialKind
from chassis.rpc import context as request_context
from chassis.secrets import device_key_digest, parse_device_key
from chassis.signing import Role, Signer
from chassis.strict_json import read_object
from sealgate.keys.v1 import resolution_pb2, session_signature_pb2, signing_key_pb2
from services.keys.domain.api_key import Owner
from services.keys.domain.authority import Act, ActorKind
from services.keys.domain.signing_key import EndReason, MasterKey, Revocation, SessionKey
from tests.integration.keys_support import KeysWorld

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_numbers: Final = itertools.count(1)


def new_public_key() -> bytes:
    """32 bytes that nothing else has; nobody signs with them here."""
    return hashlib.sha256(b"public key %d" % next(_numbers)).digest()


@dataclass(frozen=True, slots=True)
class SignedAccount:
    """An account with a master key of each sort; its calls come as the signed stage hands them on.

    `subaccounts` has what each call that was not refused turned out to be about, in their order.
    """

    keys: KeysWorld
    owner: Owner
    admin: MasterKey
    subaccounts: list[int | None] = field(default_factory=list)

    @property
    def account_id(self) -> uuid.UUID:
        """The account."""
        return self.owner.owner_id

    def act(self) -> Act:
        """An act of the master key, now."""
        now_ns = self.keys.clock.now_ns()
        text = base64.b64encode(self.admin.public_key).decode()
        return Act(ActorKind.MASTER_KEY, text, self.keys.ids.uuid7(), self.keys.ids.uuid7(), now_ns)

    async def session(
        self,
        scope_index: int | None = None,
        *,
        role: Role = Role.FULL_ACCESS,
        master_index: int | None = None,
        valid_until_ns: int | None = None,
    ) -> Signer:
        """A new session key, minted by the ADMIN key or by a new one of a subaccount."""
        master = self.admin
        if master_index is not None:
            master = MasterKey(new_public_key(), role, master_index, self.keys.clock.now_ns())
            await self.keys.signing_keys.add(self.owner, master, self.act())
        key = SessionKey(
            public_key=new_public_key(),
            master_public_key=master.public_key,
            role=role,
            scope_index=scope_index,
            subaccount_index=master.subaccount_index if scope_index is None else scope_index,
            valid_until_ns=valid_until_ns,
            created_at_ns=self.keys.clock.now_ns(),
        )
        await self.keys.signing_keys.mint(self.owner, key, self.act())
        return key.signer(self.account_id)

    async def revoke(self, signer: Signer, *, include_api_keys: bool = False) -> None:
        """Revokes a session key."""
        revocation = Revocation(signer.public_key, EndReason.REVOKED, None, include_api_keys)
        await self.keys.signing_keys.revoke(self.owner, revocation, self.act())

    async def sign(
        self,
        signer: Signer,
        handler: Callable[[_Request, Any], Awaitable[_Response]],
        request: _Request,
        body: dict[str, object] | None = None,
        *,
        account_version: int = 0,
    ) -> _Response:
        """Serves one request that `signer` has signed, with a JSON body if there is one."""
        now_ns, request_id = self.keys.clock.now_ns(), self.keys.ids.uuid7()
        identity = replace(
            self.keys.by_session(self.owner.project_id, self.account_id, version=account_version),
            kind=CredentialKind.SESSION_KEY,
            credential_id=base64.b64encode(signer.public_key).decode(),
            scopes=frozenset(),
            subaccount_index=signer.subaccount_index,
        )
        members = None if body is None else dict(read_object(json.dumps(body).encode()))
        call = request_context.SignedCall(None, members, request_id, now_ns, signer, signer.subaccount_index)

        async def serve() -> _Response:
            request_context.enter(
                request_context.RequestContext(request_id=request_id, identity=identity, signed=call)
            )
            answer = await handler(request, None)
            self.subaccounts.append(call.subaccount_index)
            return answer

        return await asyncio.create_task(serve())

    async def login(self, signer: Signer, **body: object) -> session_signature_pb2.CreateDeviceKeyResponse:
        """A new device key."""
        request = session_signature_pb2.CreateDeviceKeyRequest()
        return await self.sign(signer, self.keys.session_signatures.CreateDeviceKey, request, body)

    async def device_keys(self, signer: Signer) -> list[signing_key_pb2.DeviceKey]:
        """The device keys that a session key sees."""
        request = session_signature_pb2.ListDeviceKeysRequest()
        answer = await self.sign(signer, self.keys.session_signatures.ListDeviceKeys, request)
        return list(answer.device_keys)

    async def delete_device_key(self, signer: Signer, device_key_id: str) -> signing_key_pb2.DeviceKey:
        """Deletes a device key."""
        request = session_signature_pb2.DeleteDeviceKeyRequest(device_key_id=device_key_id)
        answer = await self.sign(signer, self.keys.session_signatures.DeleteDeviceKey, request, {})
        return answer.device_key

    async def create_api_key(
        self, signer: Signer, **body: object
    ) -> session_signature_pb2.CreateSessionApiKeyResponse:
        """A new API key."""
        request = session_signature_pb2.CreateSessionApiKeyRequest()
        return await self.sign(signer, self.keys.session_signatures.CreateSessionApiKey, request, body)

    async def api_keys(self, signer: Signer) -> list[signing_key_pb2.SessionApiKey]:
        """The API keys that a session key sees."""
        request = session_signature_pb2.ListSessionApiKeysRequest()
        answer = await self.sign(signer, self.keys.session_signatures.ListSessionApiKeys, request)
        return list(answer.api_keys)

    async def delete_api_key(self, signer: Signer, text: str) -> signing_key_pb2.SessionApiKey:
        """Deletes an API key."""
        request = session_signature_pb2.DeleteSessionApiKeyRequest(api_key=text)
        answer = await self.sign(signer, self.keys.session_signatures.DeleteSessionApiKey, request, {})
        return answer.api_key

    def deletions(self, name: str) -> list[tuple[Callable[[Any, Any], Awaitable[Any]], Any]]:
        """The handlers that delete, each with a request for `name`."""
        servicer = self.keys.session_signatures
        return [
            (servicer.DeleteSessionApiKey, session_signature_pb2.DeleteSessionApiKeyRequest(api_key=name)),
            (servicer.DeleteDeviceKey, session_signature_pb2.DeleteDeviceKeyRequest(device_key_id=name)),
        ]

    async def resolve(self, text: str) -> resolution_pb2.ResolveDeviceKeyResponse:
        """What auth learns of a device key that was shown to it."""
        request = resolution_pb2.ResolveDeviceKeyRequest(digest=_digest(text))
        return await self.keys.call(self.keys.resolution.ResolveDeviceKey, request)

    async def use(self, text: str) -> resolution_pb2.ResolveDeviceKeyResponse:
        """What auth knows of a device key that it has accepted: it notes the use, if one is due."""
        found = await self.resolve(text)
        if found.is_use_due:
            request = resolution_pb2.NoteDeviceKeyUseRequest(digest=_digest(text))
            noted = await self.keys.call(self.keys.resolution.NoteDeviceKeyUse, request)
            found.expires_at_ns = noted.expires_at_ns
        return found


def _digest(text: str) -> bytes:
    secret = parse_device_key(text)
    assert secret is not None
    return device_key_digest(secret)


async def signed_account(keys: KeysWorld) -> SignedAccount:
    """A new account with its first master key."""
    owner = Owner(keys.ids.uuid7(), keys.ids.uuid7())
    admin = MasterKey(new_public_key(), Role.FULL_ACCESS, None, keys.clock.now_ns())
    act = Act(ActorKind.PROJECT_KEY, "pk_x", keys.ids.uuid7(), keys.ids.uuid7(), keys.clock.now_ns())
    await keys.signing_keys.register(owner, admin, act)
    return SignedAccount(keys, owner, admin)

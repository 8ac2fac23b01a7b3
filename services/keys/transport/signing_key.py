"""Master and session keys: registered by the project, managed by what master and session keys sign."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from chassis.clock import Clock
from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.ids import Ids
from chassis.rpc import context as request_context
from chassis.rpc.outcomes import outcome_message
from chassis.signing import Refused, Signer, Status, parse_request_id
from sealgate.keys.v1 import signer_facts_pb2, signing_key_pb2, signing_key_pb2_grpc
from services.keys.domain.minting import (
    added,
    first_master_key,
    minted,
    point_problem,
    possession_problem,
)
from services.keys.domain.signing_key import EndReason, MasterKey, Revocation
from services.keys.fences import FenceDelivery
from services.keys.ports_signing import SigningKeyStore
from services.keys.transport.messages import Context, account, act_of_caller, act_of_signer
from services.keys.transport.signing_messages import (
    ROLES,
    master_key_message,
    registered_message,
    session_key_message,
)

OnceCommitted = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Does something when what was done before is committed; see `chassis.db.tx.Database.once_committed`."""

_REVOKE_SESSION_KEY: Final = 14
_ADD_MASTER_KEY: Final = 28
_REMOVE_MASTER_KEY: Final = 29

TELLS_WALLET: Final = frozenset({_REVOKE_SESSION_KEY, _ADD_MASTER_KEY, _REMOVE_MASTER_KEY})
"""The request types that are answered only when the wallet service knows all that it has to be told of the
account. Adding a key tells it nothing new, but the account's first one may be untold still.
"""


class SigningKeyServicer(signing_key_pb2_grpc.SigningKeyServiceServicer):
    """The keys that sign; `audience` is the deployment that new master keys sign their possession for."""

    def __init__(
        self,
        store: SigningKeyStore,
        fences: FenceDelivery,
        once_committed: OnceCommitted,
        audience: str,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._fences = fences
        self._once_committed = once_committed
        self._audience = audience
        self._clock = clock
        self._ids = ids

    async def RegisterMasterKey(
        self, request: signing_key_pb2.RegisterMasterKeyRequest, context: Context
    ) -> signing_key_pb2.RegisterMasterKeyResponse:
        """Registers the first master key of one of the project's accounts."""
        owner = account()
        problem = point_problem(request.public_key)
        if problem is not None:
            raise invalid("public_key", problem)
        problem = possession_problem(
            self._audience, owner.owner_id, request.public_key, request.possession_signature
        )
        if problem is not None:
            raise invalid("possession_signature", problem)
        act = act_of_caller(self._clock, self._ids)
        key = await self._store.register(owner, first_master_key(request.public_key, act.at_ns), act)
        await self._once_committed(lambda: self._fences.deliver(owner.owner_id))
        return signing_key_pb2.RegisterMasterKeyResponse(master_key=registered_message(key))

    async def complete_registration(self, response: signing_key_pb2.RegisterMasterKeyResponse) -> None:
        """What a registration needs to be answered again: that the wallet service knows of it."""
        del response
        await self._fences.deliver(account().owner_id)

    async def SubmitMintSessionKey(
        self, request: signing_key_pb2.SubmitMintSessionKeyRequest, context: Context
    ) -> signing_key_pb2.SubmitMintSessionKeyResponse:
        """Mints a session key for the key pair that the master key names."""
        call = request_context.signed()
        body = call.body
        key = minted(call.signer, body.public_key, body.scope, body.valid_until_ns, call.processed_at_ns)
        call.subaccount_index = key.subaccount_index
        await self._store.mint(account(), key, act_of_signer(self._ids))
        return signing_key_pb2.SubmitMintSessionKeyResponse(session_key=session_key_message(key))

    async def SubmitRevokeSessionKey(
        self, request: signing_key_pb2.SubmitRevokeSessionKeyRequest, context: Context
    ) -> signing_key_pb2.SubmitRevokeSessionKeyResponse:
        """Revokes a session key that the master key can see."""
        signer = request_context.signed().signer
        master = None if signer.admin_rooted else signer.public_key
        key = await self._revoke(EndReason.REVOKED, master)
        return signing_key_pb2.SubmitRevokeSessionKeyResponse(session_key=key)

    async def SubmitLogout(
        self, request: signing_key_pb2.SubmitLogoutRequest, context: Context
    ) -> signing_key_pb2.SubmitLogoutResponse:
        """Revokes the session key that signs."""
        call = request_context.signed()
        if call.body.public_key != call.signer.public_key:
            raise Refused(Status.SESSION_INVALID, [Detail("public_key", "must be the key that signs")])
        key = await self._revoke(EndReason.LOGGED_OUT, None)
        return signing_key_pb2.SubmitLogoutResponse(session_key=key)

    async def SubmitAddMasterKey(
        self, request: signing_key_pb2.SubmitAddMasterKeyRequest, context: Context
    ) -> signing_key_pb2.SubmitAddMasterKeyResponse:
        """Adds a master key that shows that it wants to be one."""
        call = request_context.signed()
        key = self._added_key(call.body, call.signer, call.processed_at_ns)
        call.subaccount_index = key.subaccount_index
        await self._store.add(account(), key, act_of_signer(self._ids))
        return signing_key_pb2.SubmitAddMasterKeyResponse(master_key=master_key_message(key))

    async def SubmitRemoveMasterKey(
        self, request: signing_key_pb2.SubmitRemoveMasterKeyRequest, context: Context
    ) -> signing_key_pb2.SubmitRemoveMasterKeyResponse:
        """Removes a master key, which may be the one that signs, and all that came from it."""
        call = request_context.signed()
        key = await self._store.remove(account(), call.body.public_key, act_of_signer(self._ids))
        call.subaccount_index = key.subaccount_index
        return signing_key_pb2.SubmitRemoveMasterKeyResponse(master_key=master_key_message(key))

    async def SubmitListSessionKeys(
        self, request: signing_key_pb2.SubmitListSessionKeysRequest, context: Context
    ) -> signing_key_pb2.SubmitListSessionKeysResponse:
        """Lists the live session keys that the master key can see."""
        call = request_context.signed()
        keys = await self._store.list_session_keys(
            call.signer.account_id,
            call.processed_at_ns,
            master_public_key=None if call.signer.admin_rooted else call.signer.public_key,
        )
        return signing_key_pb2.SubmitListSessionKeysResponse(session_keys=map(session_key_message, keys))

    async def ListSessionKeys(
        self, request: signing_key_pb2.ListSessionKeysRequest, context: Context
    ) -> signing_key_pb2.ListSessionKeysResponse:
        """Lists the live session keys of the caller's account; a pinned credential's own subaccount's."""
        identity = request_context.identity()
        keys = await self._store.list_session_keys(
            identity.account(), self._clock.now_ns(), subaccount_index=identity.subaccount_index
        )
        return signing_key_pb2.ListSessionKeysResponse(session_keys=map(session_key_message, keys))

    async def ListMasterKeys(
        self, request: signing_key_pb2.ListMasterKeysRequest, context: Context
    ) -> signing_key_pb2.ListMasterKeysResponse:
        """Lists the master keys of the caller's account; a pinned credential's own subaccount's."""
        identity = request_context.identity()
        keys = await self._store.list_master_keys(identity.account(), identity.subaccount_index)
        return signing_key_pb2.ListMasterKeysResponse(master_keys=map(master_key_message, keys))

    async def GetKeyRequest(
        self, request: signing_key_pb2.GetKeyRequestRequest, context: Context
    ) -> signing_key_pb2.GetKeyRequestResponse:
        """What became of a signed request of the caller's account."""
        request_id = parse_request_id(request.request_id)
        if request_id is None:
            raise SealgateError(Code.REQUEST_NOT_FOUND)
        identity = request_context.identity()
        record = await self._store.request(
            identity.account(), request_id, identity.subaccount_index, self._clock.now_ns()
        )
        if record.request_type in TELLS_WALLET:
            await self._fences.deliver(identity.account())
        outcome = outcome_message(signing_key_pb2.KeyRequestOutcome, record)
        return signing_key_pb2.GetKeyRequestResponse(request=outcome)

    async def _revoke(self, reason: EndReason, master: bytes | None) -> signing_key_pb2.SessionKey:
        call = request_context.signed()
        revocation = Revocation(call.body.public_key, reason, master, call.body.include_api_keys)
        key = await self._store.revoke(account(), revocation, act_of_signer(self._ids))
        call.subaccount_index = key.subaccount_index
        return session_key_message(key)

    def _added_key(self, body: signing_key_pb2.AddMasterKey, signer: Signer, now_ns: int) -> MasterKey:
        key = added(
            body.public_key,
            ROLES[body.role],
            is_admin=body.reach == signer_facts_pb2.MASTER_KEY_REACH_ADMIN,
            subaccount_index=body.subaccount_index,
            now_ns=now_ns,
        )
        problem = possession_problem(
            self._audience, signer.account_id, body.public_key, body.possession_signature
        )
        if problem is not None:
            raise Refused(Status.MASTER_KEY_INVALID, [Detail("possession_signature", problem)])
        return key

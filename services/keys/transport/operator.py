"""RPCs for the people who run the platform."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.ids import Ids, parse_uuid
from sealgate.keys.v1 import operator_pb2, operator_pb2_grpc
from services.keys.domain.api_key import KeyState, Owner
from services.keys.domain.authority import Act, ActorKind
from services.keys.domain.rights import project_key_rights
from services.keys.ports import KeyStore
from services.keys.transport.api_key import Issuer
from services.keys.transport.limits import checked_limits, limit_messages
from services.keys.transport.messages import Context, act_of, named_key


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """For the people who run the platform."""

    def __init__(self, store: KeyStore, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._issuer = Issuer(store, ids)
        self._clock = clock
        self._ids = ids

    async def IssueProjectApiKey(
        self, request: operator_pb2.IssueProjectApiKeyRequest, context: Context
    ) -> operator_pb2.IssueProjectApiKeyResponse:
        """Makes a project key without one; whether the project exists is the operator's to know."""
        project_id = parse_uuid(request.project_id)
        if project_id is None:
            raise SealgateError(Code.PROJECT_NOT_FOUND)
        rights = project_key_rights(request.name if request.HasField("name") else None)
        issued = await self._issuer.issue(Owner(project_id), rights, self._act())
        return operator_pb2.IssueProjectApiKeyResponse(api_key=issued)

    async def SetApiKeyLimits(
        self, request: operator_pb2.SetApiKeyLimitsRequest, context: Context
    ) -> operator_pb2.SetApiKeyLimitsResponse:
        """Gives a key limits of its own; without any it is back at what is configured for all."""
        limits = checked_limits(request.limits)
        await self._store.limit(named_key(request.public_key), limits, self._act())
        return operator_pb2.SetApiKeyLimitsResponse()

    async def GetApiKeyLimits(
        self, request: operator_pb2.GetApiKeyLimitsRequest, context: Context
    ) -> operator_pb2.GetApiKeyLimitsResponse:
        """The limits that `SetApiKeyLimits` could change now: a key that has ended has none."""
        key = await self._store.resolve(named_key(request.public_key))
        if key is None or key.state(self._clock.now_ns()) is KeyState.REVOKED:
            raise SealgateError(Code.API_KEY_NOT_FOUND)
        return operator_pb2.GetApiKeyLimitsResponse(limits=limit_messages(key.limits))

    def _act(self) -> Act:
        return act_of(ActorKind.OPERATOR, "operator", self._clock, self._ids)

"""Who stands behind a signature."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from chassis.ids import parse_uuid
from sealgate.auth.v1 import signer_pb2, signer_pb2_grpc
from sealgate.common.v1 import passport_pb2
from services.auth.domain.exchange import Holder, Tenant
from services.auth.ports import KeyDirectory, StandingStore
from services.auth.transport.messages import Context


class SignerServicer(signer_pb2_grpc.SignerServiceServicer):
    """Who stands behind a signature."""

    def __init__(self, store: StandingStore, keys: KeyDirectory) -> None:
        self._store = store
        self._keys = keys

    async def ResolveSigner(
        self, request: signer_pb2.ResolveSignerRequest, context: Context
    ) -> signer_pb2.ResolveSignerResponse:
        """A key's facts and its account's standing; keys are not asked about an empty key."""
        account_id = parse_uuid(request.account_id)
        if account_id is None:
            return signer_pb2.ResolveSignerResponse()
        facts = None
        if request.public_key:
            facts = await self._keys.signer_facts(account_id, request.public_key)
        # Read last: where the key is good, the standing is as of now and not of before the question.
        standing = await self._store.account_standing(account_id)
        return signer_pb2.ResolveSignerResponse(
            facts=facts, standing=None if standing is None else _standing(*standing)
        )


def _standing(tenant: Tenant, holder: Holder) -> signer_pb2.AccountStanding:
    return signer_pb2.AccountStanding(
        project_id=str(tenant.project_id),
        account_number=holder.account_number,
        project_status=passport_pb2.ProjectStatus.Value(f"PROJECT_STATUS_{tenant.status}"),
        account_status=passport_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{holder.status}"),
        modules=tenant.modules,
        allowed_origins=tenant.allowed_origins,
        account_version=holder.version,
    )

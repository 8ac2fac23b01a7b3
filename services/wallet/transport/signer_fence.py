"""What keys tells of signing keys: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import uuid

from chassis.errors import invalid
from chassis.ids import parse_uuid
from chassis.signing import PUBLIC_KEY_BYTES
from sealgate.wallet.v1 import signer_fence_pb2, signer_fence_pb2_grpc
from services.wallet.ports import SignerFenceStore
from services.wallet.transport.messages import Context


class SignerFenceServicer(signer_fence_pb2_grpc.SignerFenceServiceServicer):
    """For the keys service alone."""

    def __init__(self, fence: SignerFenceStore) -> None:
        self._fence = fence

    async def FenceSigners(
        self, request: signer_fence_pb2.FenceSignersRequest, context: Context
    ) -> signer_fence_pb2.FenceSignersResponse:
        """Ends keys of an account; answered when nothing that they signed can commit any more."""
        for number, public_key in enumerate(request.public_keys):
            if len(public_key) != PUBLIC_KEY_BYTES:
                raise invalid(f"public_keys[{number}]", f"must have {PUBLIC_KEY_BYTES} bytes")
        await self._fence.fence_signers(_account_id(request.account_id), request.public_keys)
        return signer_fence_pb2.FenceSignersResponse()

    async def RequireSignatures(
        self, request: signer_fence_pb2.RequireSignaturesRequest, context: Context
    ) -> signer_fence_pb2.RequireSignaturesResponse:
        """Ends unsigned withdrawals of an account; answered when none can commit any more."""
        await self._fence.require_signatures(_account_id(request.account_id))
        return signer_fence_pb2.RequireSignaturesResponse()


def _account_id(text: str) -> uuid.UUID:
    account_id = parse_uuid(text)
    if account_id is None:
        raise invalid("account_id", "must be a UUID")
    return account_id

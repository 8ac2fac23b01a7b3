"""The wallet service, over its internal listener."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import grpc

from chassis.clock import Clock
from chassis.rpc.client import call
from sealgate.wallet.v1 import signer_fence_pb2
from sealgate.wallet.v1.signer_fence_pb2_grpc import SignerFenceServiceStub


class RemoteWallet:
    """See `services.keys.ports_signing.WalletFence`."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._fence = SignerFenceServiceStub(channel)
        self._clock = clock

    async def stop(self, account_id: uuid.UUID, public_keys: Sequence[bytes]) -> None:
        """See `WalletFence.stop`."""
        request = signer_fence_pb2.FenceSignersRequest(account_id=str(account_id), public_keys=public_keys)
        await call(self._fence.FenceSigners, request, self._clock)

    async def require_signatures(self, account_id: uuid.UUID) -> None:
        """See `WalletFence.require_signatures`."""
        request = signer_fence_pb2.RequireSignaturesRequest(account_id=str(account_id))
        await call(self._fence.RequireSignatures, request, self._clock)

"""The wallet service, over its internal listener."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import grpc

from chassis.clock import Clock
from chassis.limits import FENCE_CALL_SECONDS
from chassis.rpc.client import ask
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
        await ask(self._fence.FenceSigners, request, self._clock, at_most_seconds=FENCE_CALL_SECONDS)

    async def require_signatures(self, account_id: uuid.UUID) -> None:
        """See `WalletFence.require_signatures`."""
        request = signer_fence_pb2.RequireSignaturesRequest(account_id=str(account_id))
        await ask(self._fence.RequireSignatures, request, self._clock, at_most_seconds=FENCE_CALL_SECONDS)

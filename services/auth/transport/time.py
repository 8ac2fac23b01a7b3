"""The clock that requests are judged by."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from chassis.clock import Clock
from sealgate.auth.v1 import time_pb2, time_pb2_grpc
from services.auth.transport.messages import Context


class TimeServicer(time_pb2_grpc.TimeServiceServicer):
    """The clock that requests are judged by, and the name that they are signed for."""

    def __init__(self, audience: str, clock: Clock) -> None:
        self._audience = audience
        self._clock = clock

    async def GetTime(self, request: time_pb2.GetTimeRequest, context: Context) -> time_pb2.GetTimeResponse:
        """The time and the deployment's name."""
        return time_pb2.GetTimeResponse(now_ns=self._clock.now_ns(), audience=self._audience)

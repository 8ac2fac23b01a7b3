"""The empty server: a bare grpc.aio process with one handler that does nothing, on a Unix socket."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, Final

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2_grpc

SERVICE: Final = "sealgate.bench.v1.FloorService"
METHOD: Final = f"/{SERVICE}/Touch"


async def touch(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    """The empty handler; an empty message is no bytes."""
    return b""


async def serve(address: str) -> None:
    """Serves on `address` until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Touch": grpc.unary_unary_rpc_method_handler(touch)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    # The edge in front asks it whether it is ready.
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    server.add_insecure_port(address)
    await server.start()
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))

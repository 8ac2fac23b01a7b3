"""grpc.health.v1 and server reflection, served by every process on both listeners."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from chassis.methods import FOREIGN_SERVICES


async def add_health_and_reflection(server: grpc.aio.Server, service_names: Sequence[str]) -> HealthServicer:
    """Adds both services; the returned servicer says SERVING for all until told otherwise."""
    servicer = health.aio.HealthServicer()
    for name in service_names:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((*service_names, *FOREIGN_SERVICES), server)
    return servicer

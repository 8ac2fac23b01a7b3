"""grpc.health.v1 and server reflection, served by every process on both listeners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from chassis.methods import FOREIGN_SERVICES


async def add_health_and_reflection(
    server: Any,  # noqa: ANN401  (whatever generated code can add handlers to)
    service_names: Sequence[str],
) -> HealthServicer:
    """Adds both services; the returned servicer says SERVING for all until told otherwise."""
    servicer = HealthServicer()
    for name in service_names:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    described = ReflectionServicer((*service_names, *FOREIGN_SERVICES))
    add: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server  # it ships no types
    add(described, server)
    return servicer

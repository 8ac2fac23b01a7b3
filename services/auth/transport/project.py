"""The customer's own settings."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from google.protobuf.struct_pb2 import ListValue

from chassis.clock import Clock
from chassis.errors import invalid
from chassis.rpc import context as request_context
from sealgate.auth.v1 import project_pb2, project_pb2_grpc
from services.auth.domain.project import ProjectChange, SessionPolicy
from services.auth.ports import ProjectStore
from services.auth.transport.messages import Context, act_of_caller, project_message


class ProjectServicer(project_pb2_grpc.ProjectServiceServicer):
    """The customer's own settings."""

    def __init__(self, store: ProjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def GetProject(
        self, request: project_pb2.GetProjectRequest, context: Context
    ) -> project_pb2.GetProjectResponse:
        """The caller's project."""
        project = await self._store.project(request_context.identity().project_id)
        return project_pb2.GetProjectResponse(project=project_message(project))

    async def UpdateProject(
        self, request: project_pb2.UpdateProjectRequest, context: Context
    ) -> project_pb2.UpdateProjectResponse:
        """The caller's project after a change of settings."""
        change = _change(request)
        change.check()
        project = await self._store.update_project(
            request_context.identity().project_id, change, act_of_caller(self._clock)
        )
        return project_pb2.UpdateProjectResponse(project=project_message(project))


def _change(request: project_pb2.UpdateProjectRequest) -> ProjectChange:
    policy = request.session_policy
    return ProjectChange(
        name=request.name if request.HasField("name") else None,
        allowed_origins=_origins(request.allowed_origins) if request.HasField("allowed_origins") else None,
        session_policy=(
            SessionPolicy(policy.idle_timeout_seconds, policy.absolute_cap_seconds)
            if request.HasField("session_policy")
            else None
        ),
    )


def _origins(values: ListValue) -> tuple[str, ...]:
    for index, value in enumerate(values.values):
        if value.WhichOneof("kind") != "string_value":
            raise invalid(f"allowed_origins[{index}]", "must be a string")
    return tuple(value.string_value for value in values.values)

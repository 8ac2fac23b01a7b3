"""RPCs for the people who run the platform."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from chassis.clock import Clock
from chassis.errors import Code, SealgateError, invalid
from chassis.ids import Ids, parse_uuid
from sealgate.auth.v1 import operator_pb2, operator_pb2_grpc
from sealgate.common.v1 import passport_pb2
from services.auth.domain.project import ProjectStatus, StateChange, new_project, ordered_modules
from services.auth.ports import ProjectStore
from services.auth.transport.messages import Context, act_of_caller, page, project_message


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """For the people who run the platform."""

    def __init__(self, store: ProjectStore, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def CreateProject(
        self, request: operator_pb2.CreateProjectRequest, context: Context
    ) -> operator_pb2.CreateProjectResponse:
        """A new project."""
        act = act_of_caller(self._clock)
        project = new_project(self._ids.uuid7(), request.name, request.modules, act.at_ns)
        await self._store.create_project(project, act)
        return operator_pb2.CreateProjectResponse(project=project_message(project))

    async def SetProjectState(
        self, request: operator_pb2.SetProjectStateRequest, context: Context
    ) -> operator_pb2.SetProjectStateResponse:
        """A project in its new state."""
        project_id = parse_uuid(request.project_id)
        if project_id is None:
            raise SealgateError(Code.PROJECT_NOT_FOUND)
        change = StateChange(_status(request.status), ordered_modules(request.modules) or None)
        project = await self._store.set_project_state(project_id, change, act_of_caller(self._clock))
        return operator_pb2.SetProjectStateResponse(project=project_message(project))

    async def ListProjects(
        self, request: operator_pb2.ListProjectsRequest, context: Context
    ) -> operator_pb2.ListProjectsResponse:
        """A page of all projects."""
        projects = await self._store.list_projects(page(request))
        return operator_pb2.ListProjectsResponse(projects=[project_message(project) for project in projects])


def _status(status: passport_pb2.ProjectStatus.ValueType) -> ProjectStatus | None:
    if status == passport_pb2.PROJECT_STATUS_UNSPECIFIED:
        return None
    if status not in passport_pb2.ProjectStatus.values():
        raise invalid("status", f"must be one of {', '.join(ProjectStatus)}")
    return ProjectStatus(passport_pb2.ProjectStatus.Name(status).removeprefix("PROJECT_STATUS_"))

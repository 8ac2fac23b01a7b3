"""What all servicers share: who calls, and what he is about to do; pages of lists; projects."""

from __future__ import annotations

from typing import Any

import grpc

from chassis.clock import Clock
from chassis.errors import invalid
from chassis.identity import Identity
from chassis.limits import LIST_ACCOUNTS_DEFAULT_COUNT, LIST_ACCOUNTS_MAX_COUNT
from chassis.rpc import context as request_context
from chassis.rpc.timestamps import timestamp
from sealgate.auth.v1 import account_pb2, operator_pb2, project_pb2
from sealgate.common.v1 import passport_pb2
from services.auth.domain.audit import Act, ActorKind
from services.auth.domain.project import Project
from services.auth.ports import AccountRef, Page

Context = grpc.aio.ServicerContext[Any, Any]


def act_of_caller(clock: Clock) -> Act:
    """What the caller is about to do; a method without an identity is an operator's."""
    served = request_context.current()
    identity: Identity | None = served.identity
    if identity is None:
        return Act(ActorKind.OPERATOR, "operator", served.request_id, clock.now_ns())
    return Act(ActorKind(identity.kind.name), identity.credential_id, served.request_id, clock.now_ns())


def account() -> AccountRef:
    """The account acted on; the interceptors have held the request's own account id against it."""
    identity = request_context.identity()
    return AccountRef(identity.project_id, identity.account())


def page(request: account_pb2.ListAccountsRequest | operator_pb2.ListProjectsRequest) -> Page:
    """The part of a list that a request asks for; raises VALIDATION_ERROR for a negative number."""
    for name in ("limit", "offset"):
        if getattr(request, name) < 0:
            raise invalid(name, "must not be negative")
    limit = request.limit if request.HasField("limit") else LIST_ACCOUNTS_DEFAULT_COUNT
    return Page(min(limit, LIST_ACCOUNTS_MAX_COUNT), request.offset)


def project_message(project: Project) -> project_pb2.Project:
    """A project as answers show it."""
    return project_pb2.Project(
        project_id=str(project.project_id),
        name=project.name,
        status=passport_pb2.ProjectStatus.Value(f"PROJECT_STATUS_{project.status}"),
        modules=project.modules,
        allowed_origins=project.allowed_origins,
        session_policy=project_pb2.SessionPolicy(
            idle_timeout_seconds=project.session_policy.idle_timeout_seconds,
            absolute_cap_seconds=project.session_policy.absolute_cap_seconds,
        ),
        created_at=timestamp(project.created_at_ns),
        updated_at=timestamp(project.updated_at_ns),
    )

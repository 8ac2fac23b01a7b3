"""What operators decide of a project: its status and its modules, in force with the next request."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import operator_pb2, project_pb2
from sealgate.common.v1 import method_rule_pb2, passport_pb2
from services.auth.domain.project import MODULES, ProjectChange, ProjectStatus, StateChange
from tests.integration.auth_server import AuthServer, auth_server
from tests.integration.auth_support import AuthWorld, auth_world

PROJECT_KEY = method_rule_pb2.CREDENTIAL_KIND_PROJECT_KEY
STATUS_ACTIONS = {
    ProjectStatus.ACTIVE: "PROJECT_ACTIVATED",
    ProjectStatus.PAST_DUE: "PROJECT_MARKED_PAST_DUE",
    ProjectStatus.SUSPENDED: "PROJECT_SUSPENDED",
    ProjectStatus.CANCELLED: "PROJECT_CANCELLED",
}


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        yield running


@pytest.fixture
async def world(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthWorld]:
    async with auth_world(database_factory, clock, ids) as world:
        yield world


async def set_state(server: AuthServer, **fields: Any) -> project_pb2.Project:  # noqa: ANN401 - field values
    """The project after a change of its state."""
    request = operator_pb2.SetProjectStateRequest(**{"project_id": server.project_id, **fields})
    answer: operator_pb2.SetProjectStateResponse = await server.operator.SetProjectState(request)
    return answer.project


async def refused(server: AuthServer, **fields: Any) -> tuple[Code, list[str]]:  # noqa: ANN401 - field values
    """The code that a change is refused with, and the paths of its details."""
    request = operator_pb2.SetProjectStateRequest(**{"project_id": server.project_id, **fields})
    refusal = await server.refusal_of(server.operator.SetProjectState(request))
    return refusal.code, [detail.path for detail in refusal.details]


async def test_project_goes_from_any_status_to_any_other(world: AuthWorld) -> None:
    """Each change has its time and its audit row; all else stays as it is."""
    project_id = await world.project()
    first = await world.store.project(project_id)
    for before, after in itertools.permutations(ProjectStatus, 2):
        await world.store.set_project_state(project_id, StateChange(status=before), world.act())
        audited = await world.audited(STATUS_ACTIONS[after])
        world.clock.advance(seconds=1)
        changed = await world.store.set_project_state(project_id, StateChange(status=after), world.act())
        assert changed == await world.store.project(project_id)
        assert (changed.status, changed.updated_at_ns) == (after, world.clock.now_ns())
        assert (changed.name, changed.modules, changed.session_policy) == (
            first.name,
            first.modules,
            first.session_policy,
        )
        assert await world.audited(STATUS_ACTIONS[after]) == audited + 1


async def test_modules_are_replaced_and_audited_by_themselves(world: AuthWorld) -> None:
    """The status is no business of theirs."""
    project_id = await world.project()
    change = StateChange(modules=("wallet", "browser"))
    changed = await world.store.set_project_state(project_id, change, world.act())
    assert (changed.modules, changed.status) == (("wallet", "browser"), ProjectStatus.ACTIVE)
    both = StateChange(ProjectStatus.PAST_DUE, MODULES)
    changed = await world.store.set_project_state(project_id, both, world.act())
    assert (changed.modules, changed.status) == (MODULES, ProjectStatus.PAST_DUE)
    assert await world.audited("PROJECT_MODULES_SET") == 2
    assert await world.audited("PROJECT_MARKED_PAST_DUE") == 1


async def test_what_is_so_already_is_no_change(world: AuthWorld) -> None:
    """Neither the project's time nor the audit moves."""
    project_id = await world.project()
    first = await world.store.project(project_id)
    world.clock.advance(seconds=1)
    for change in (StateChange(), StateChange(status=first.status), StateChange(first.status, first.modules)):
        assert await world.store.set_project_state(project_id, change, world.act()) == first
    assert await world.store.project(project_id) == first
    for action in ("PROJECT_ACTIVATED", "PROJECT_MODULES_SET"):
        assert await world.audited(action) == 0


async def test_state_and_settings_changed_at_once_are_both_kept(world: AuthWorld) -> None:
    """The operator's change and the customer's do not undo one another."""
    project_id = await world.project()
    await asyncio.gather(
        world.store.set_project_state(project_id, StateChange(ProjectStatus.SUSPENDED), world.act()),
        world.store.update_project(project_id, ProjectChange(name="Kiosk"), world.act()),
        world.store.set_project_state(project_id, StateChange(modules=("trading",)), world.act()),
    )
    project = await world.store.project(project_id)
    assert (project.status, project.name, project.modules) == (
        ProjectStatus.SUSPENDED,
        "Kiosk",
        ("trading",),
    )


async def test_operator_sets_status_and_modules(server: AuthServer) -> None:
    """The answer is the project as it stands; modules come in their fixed order, the unsaid stays."""
    project = await set_state(server, modules=["signing", "wallet"])
    assert (project.project_id, list(project.modules)) == (server.project_id, ["wallet", "signing"])
    project = await set_state(server, status=passport_pb2.PROJECT_STATUS_SUSPENDED)
    assert project.status == passport_pb2.PROJECT_STATUS_SUSPENDED
    assert list(project.modules) == ["wallet", "signing"]
    assert await set_state(server) == project
    (row,) = await server.rows("SELECT actor_kind, actor_id FROM audit WHERE action = 'PROJECT_SUSPENDED'")
    assert tuple(row) == ("OPERATOR", "operator")


async def test_state_is_in_force_with_the_next_request(server: AuthServer) -> None:
    """There and back again; the passport has the modules of the moment."""
    fields = {"kind": PROJECT_KEY, "credential": server.project_key}
    for status, code in (("SUSPENDED", Code.TENANT_SUSPENDED), ("CANCELLED", Code.SUBSCRIPTION_CANCELLED)):
        await server.set_project_status(status)
        assert await server.exchange_code(**fields) is code
    await set_state(server, status=passport_pb2.PROJECT_STATUS_ACTIVE, modules=["browser"])
    claims = await server.exchange(**fields)
    assert (claims.project_status, list(claims.modules)) == (
        passport_pb2.PROJECT_STATUS_ACTIVE,
        ["browser"],
    )


async def test_state_that_there_is_not_is_refused(server: AuthServer) -> None:
    """By the path of what is wrong; the project stays as it is."""
    assert await refused(server, status=9) == (Code.VALIDATION_ERROR, ["status"])
    assert await refused(server, modules=["wallet", "casino"]) == (Code.VALIDATION_ERROR, ["modules[1]"])
    assert await refused(server, modules=["wallet", "wallet"]) == (Code.VALIDATION_ERROR, ["modules[1]"])
    assert await refused(server, modules=[""]) == (Code.VALIDATION_ERROR, ["modules[0]"])
    for project_id in ("", "x", str(uuid.UUID(int=7))):
        fields = {"project_id": project_id, "status": passport_pb2.PROJECT_STATUS_SUSPENDED}
        assert await refused(server, **fields) == (Code.PROJECT_NOT_FOUND, [])
    (row,) = await server.rows("SELECT status, modules FROM project")
    assert tuple(row) == ("ACTIVE", list(MODULES))

"""Projects and accounts over gRPC, as a customer's backend and an operator use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.auth.v1 import account_pb2, operator_pb2, project_pb2
from sealgate.common.v1 import passport_pb2
from tests.integration.auth_server import AuthServer, auth_server

SUSPENDED = passport_pb2.ACCOUNT_STATUS_SUSPENDED
ACTIVE = passport_pb2.ACCOUNT_STATUS_ACTIVE


@pytest.fixture
async def server(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[AuthServer]:
    async with auth_server(database_factory, short_directory, clock, ids) as running:
        yield running


def struct(members: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(members)
    return made


def nested(levels: int) -> Struct:
    """An object of so many levels."""
    made = Struct()
    for _ in range(levels - 1):
        outer = Struct()
        outer.fields["a"].struct_value.CopyFrom(made)
        made = outer
    return made


async def test_project_is_read_and_changed_by_its_key(server: AuthServer) -> None:
    """What was not named stays; an empty list of origins clears it."""
    origins = ListValue(values=[Value(string_value="https://shop.example")])
    update = project_pb2.UpdateProjectRequest(name="Renamed", allowed_origins=origins)
    changed = (await server.call(server.projects.UpdateProject, update)).project
    read = (await server.call(server.projects.GetProject, project_pb2.GetProjectRequest())).project
    assert read == changed
    assert (read.project_id, read.name) == (server.project_id, "Renamed")
    assert list(read.allowed_origins) == ["https://shop.example"]
    assert list(read.modules) == ["wallet", "trading", "browser", "signing"]
    assert read.status == passport_pb2.PROJECT_STATUS_ACTIVE
    assert read.session_policy.idle_timeout_seconds == 120
    update = project_pb2.UpdateProjectRequest(allowed_origins=ListValue())
    changed = (await server.call(server.projects.UpdateProject, update)).project
    assert (changed.name, list(changed.allowed_origins)) == ("Renamed", [])


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (project_pb2.UpdateProjectRequest(name=""), "name"),
        (project_pb2.UpdateProjectRequest(name="a\x00b"), "name"),
        (
            project_pb2.UpdateProjectRequest(allowed_origins=ListValue(values=[Value(number_value=1)])),
            "allowed_origins[0]",
        ),
        (
            project_pb2.UpdateProjectRequest(allowed_origins=ListValue(values=[Value()])),
            "allowed_origins[0]",
        ),
        (
            project_pb2.UpdateProjectRequest(allowed_origins=ListValue(values=[Value(string_value="*")])),
            "allowed_origins[0]",
        ),
        (
            project_pb2.UpdateProjectRequest(
                session_policy=project_pb2.SessionPolicy(idle_timeout_seconds=120)
            ),
            "session_policy.absolute_cap_seconds",
        ),
    ],
)
async def test_project_refuses_settings_it_cannot_have(
    request_: project_pb2.UpdateProjectRequest, path: str, server: AuthServer
) -> None:
    """400 with the path, and nothing is changed."""
    before = await server.call(server.projects.GetProject, project_pb2.GetProjectRequest())
    refusal = await server.refusal(server.projects.UpdateProject, request_)
    assert refusal.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in refusal.details] == [path]
    assert await server.call(server.projects.GetProject, project_pb2.GetProjectRequest()) == before


async def test_account_is_made_read_and_listed(server: AuthServer) -> None:
    """The same account every time, active and with its metadata."""
    metadata = struct(
        {"plan": "gold", "n": 3, "tags": ["a", None, {"b": 0.5}], "empty": [{}, []], "nul\x00": "\x00"}
    )
    request = account_pb2.CreateAccountRequest(metadata=metadata)
    made = (await server.call(server.accounts.CreateAccount, request)).account
    assert made.metadata == metadata
    assert made.status == ACTIVE
    assert made.account_number > 0
    assert made.created_at == made.updated_at
    get = account_pb2.GetAccountRequest(account_id=made.account_id)
    assert (await server.call(server.accounts.GetAccount, get)).account == made
    listed = await server.call(server.accounts.ListAccounts, account_pb2.ListAccountsRequest())
    assert list(listed.accounts) == [made]


async def test_account_without_metadata_has_an_empty_object(server: AuthServer) -> None:
    """It is an object, never absent."""
    made = (await server.call(server.accounts.CreateAccount, account_pb2.CreateAccountRequest())).account
    assert made.HasField("metadata")
    assert not made.metadata.fields


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [
        (None, None, [0, 1, 2]),
        (2, None, [0, 1]),
        (2, 2, [2]),
        (0, 0, []),
        (10**12, 0, [0, 1, 2]),
        (1, 10**18, []),
    ],
)
async def test_account_list_has_pages(
    limit: int | None, offset: int | None, expected: list[int], server: AuthServer
) -> None:
    """A limit over the cap is lowered, zero is an empty page."""
    made = [await server.account() for _ in range(3)]
    request = account_pb2.ListAccountsRequest(limit=limit, offset=offset)
    listed = await server.call(server.accounts.ListAccounts, request)
    assert [account.account_id for account in listed.accounts] == [made[index] for index in expected]


async def test_account_list_has_1000_by_default_and_never_more_than_5000(server: AuthServer) -> None:
    """A limit over the cap is lowered."""
    await server.rows(
        "INSERT INTO account"
        " (account_id, project_id, metadata, status, version, created_at_ns, updated_at_ns)"
        " SELECT gen_random_uuid(), project_id, '{}', 'ACTIVE', 0, 0, 0"
        " FROM project, generate_series(1, 5001)"
    )
    for limit, expected in ((None, 1000), (5001, 5000), (2**63 - 1, 5000)):
        request = account_pb2.ListAccountsRequest(limit=limit)
        listed = await server.call(server.accounts.ListAccounts, request)
        assert len(listed.accounts) == expected


@pytest.mark.parametrize("fields", [{"limit": -1}, {"offset": -1}])
async def test_account_list_refuses_negative_pages(fields: dict[str, int], server: AuthServer) -> None:
    """400 with the path."""
    request = account_pb2.ListAccountsRequest(**fields)
    refusal = await server.refusal(server.accounts.ListAccounts, request)
    assert [detail.path for detail in refusal.details] == list(fields)


async def test_account_id_that_is_unknown_malformed_or_of_another_project_is_not_found(
    server: AuthServer,
) -> None:
    """One code for all of them."""
    foreign = await server.account()
    own_key = server.project_key
    await server.open_project()
    for account_id in (
        foreign,
        str(server.ids.uuid7()),
        "x",
        "",
        foreign.upper(),
        "{" + foreign + "}",
        "a" * 10_000,
    ):
        get = account_pb2.GetAccountRequest(account_id=account_id)
        assert await server.code(server.accounts.GetAccount, get) is Code.ACCOUNT_NOT_FOUND
    get = account_pb2.GetAccountRequest(account_id=foreign)
    assert await server.call(server.accounts.GetAccount, get, ("x-project-api-key", own_key))


async def test_metadata_is_replaced_whole(server: AuthServer) -> None:
    """What is not in the new object is gone."""
    account_id = await server.account()
    for metadata in ({"a": 1, "b": 2}, {"b": 3}, {}):
        request = account_pb2.ReplaceAccountMetadataRequest(account_id=account_id, metadata=struct(metadata))
        changed = (await server.call(server.accounts.ReplaceAccountMetadata, request)).account
        assert changed.metadata == struct(metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        struct({"a": "x" * 8192}),
        struct({"a": float("nan")}),
        struct({"a": float("inf")}),
        nested(32),
        Struct(fields={"a": Value()}),
        Struct(fields={"a": Value(list_value=ListValue(values=[Value()]))}),
    ],
    ids=["absent", "large", "nan", "infinite", "deep", "unset", "unset in a list"],
)
async def test_metadata_is_refused_when_it_is_absent_too_large_too_deep_or_not_json(
    metadata: Struct | None, server: AuthServer
) -> None:
    """400 on `metadata`, and the old one stays."""
    account_id = await server.account()
    request = account_pb2.ReplaceAccountMetadataRequest(account_id=account_id, metadata=metadata)
    refusal = await server.refusal(server.accounts.ReplaceAccountMetadata, request)
    assert refusal.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in refusal.details] == ["metadata"]
    get = account_pb2.GetAccountRequest(account_id=account_id)
    assert not (await server.call(server.accounts.GetAccount, get)).account.metadata.fields


async def test_metadata_of_the_greatest_depth_and_size_comes_back(server: AuthServer) -> None:
    """What is accepted can also be read, by every reader in between."""
    account_id = await server.account()
    for metadata in (nested(31), struct({"a": "x" * 8184})):
        request = account_pb2.ReplaceAccountMetadataRequest(account_id=account_id, metadata=metadata)
        changed = (await server.call(server.accounts.ReplaceAccountMetadata, request)).account
        assert changed.metadata == metadata
    listed = await server.call(server.accounts.ListAccounts, account_pb2.ListAccountsRequest())
    assert len(listed.accounts) == 1


@pytest.mark.parametrize("status", [passport_pb2.ACCOUNT_STATUS_UNSPECIFIED, 99, -1])
async def test_status_is_refused_unless_it_is_one(status: Any, server: AuthServer) -> None:  # noqa: ANN401
    """400 on `status`."""
    request = account_pb2.SetAccountStatusRequest(account_id=await server.account(), status=status)
    refusal = await server.refusal(server.accounts.SetAccountStatus, request)
    assert [detail.path for detail in refusal.details] == ["status"]


async def test_suspending_fences_the_account_in_keys_every_time_it_is_asked_for(server: AuthServer) -> None:
    """A repetition tells the keys service again; making it active does not."""
    account_id = await server.account()
    for status in (SUSPENDED, SUSPENDED, ACTIVE, SUSPENDED):
        request = account_pb2.SetAccountStatusRequest(account_id=account_id, status=status)
        answer = await server.call(server.accounts.SetAccountStatus, request)
        assert answer.account.status == status
    assert server.keys.fences == [(account_id, 1), (account_id, 1), (account_id, 2)]


async def test_operator_makes_and_lists_projects(server: AuthServer) -> None:
    """With the modules asked for, oldest first; each act is the operator's in the audit."""
    request = operator_pb2.CreateProjectRequest(name="Second", modules=["wallet"])
    made = (await server.operator.CreateProject(request)).project
    assert list(made.modules) == ["wallet"]
    listed = (await server.operator.ListProjects(operator_pb2.ListProjectsRequest())).projects
    assert [project.project_id for project in listed] == [server.project_id, made.project_id]
    assert listed[1] == made
    page = await server.operator.ListProjects(operator_pb2.ListProjectsRequest(limit=1, offset=1))
    assert list(page.projects) == [made]
    rows = await server.rows("SELECT actor_kind, actor_id FROM audit WHERE action = 'PROJECT_CREATED'")
    assert {tuple(row) for row in rows} == {("OPERATOR", "operator")}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"name": "x", "modules": ["casino"]}, "modules[0]"),
    ],
)
async def test_operator_is_told_what_is_wrong_with_a_project(
    fields: dict[str, Any], path: str, server: AuthServer
) -> None:
    """400 with the path."""
    refusal = await server.refusal(
        server.operator.CreateProject, operator_pb2.CreateProjectRequest(**fields), ("x-none", "")
    )
    assert [detail.path for detail in refusal.details] == [path]

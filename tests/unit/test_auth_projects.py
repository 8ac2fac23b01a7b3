"""Rules of projects: names, modules, origins, session policy, and which states are served."""

from __future__ import annotations

import uuid

import pytest

from chassis.errors import Code, SealgateError
from services.auth.domain.project import (
    DEFAULT_SESSION_POLICY,
    MODULES,
    ProjectChange,
    ProjectStatus,
    SessionPolicy,
    new_project,
    refuse_unserved,
)

PROJECT_ID = uuid.UUID("01900000-0000-7000-8000-000000000001")
DAY = 24 * 3600


def paths_refused(change: ProjectChange) -> list[str]:
    with pytest.raises(SealgateError) as refusal:
        change.check()
    assert refusal.value.code is Code.VALIDATION_ERROR
    return [detail.path for detail in refusal.value.details]


def test_project_has_every_module_and_the_default_policy_when_nothing_is_said() -> None:
    """No module at all means all of them; 7 days idle, 30 days at most."""
    project = new_project(PROJECT_ID, "Shop", [], 5)
    assert project.modules == MODULES
    assert project.session_policy == DEFAULT_SESSION_POLICY == SessionPolicy(7 * DAY, 30 * DAY)
    assert project.status is ProjectStatus.ACTIVE
    assert (project.created_at_ns, project.updated_at_ns) == (5, 5)


def test_project_lists_modules_in_the_fixed_order_whatever_order_is_asked_for() -> None:
    """Answers are the same however the operator wrote the list."""
    assert new_project(PROJECT_ID, "Shop", ["signing", "wallet"], 5).modules == ("wallet", "signing")


@pytest.mark.parametrize(
    ("modules", "path"),
    [(["wallet", "casino"], "modules[1]"), (["wallet", "wallet"], "modules[1]"), ([""], "modules[0]")],
)
def test_project_refuses_modules_that_do_not_exist_or_come_twice(modules: list[str], path: str) -> None:
    """The detail names the entry at fault."""
    with pytest.raises(SealgateError) as refusal:
        new_project(PROJECT_ID, "Shop", modules, 5)
    assert [detail.path for detail in refusal.value.details] == [path]


@pytest.mark.parametrize("name", ["", "x" * 65, "a\x00b", "a\nb", "\u202eevil", "tab\t"])
def test_project_refuses_a_name_that_is_empty_long_or_has_control_characters(name: str) -> None:
    """A name is 1 to 64 characters that are safe to print."""
    assert paths_refused(ProjectChange(name=name)) == ["name"]


@pytest.mark.parametrize("name", ["x", "x" * 64, "Müller & Söhne", "店"])
def test_project_takes_any_printable_name_of_64_characters(name: str) -> None:
    """Characters are counted, not bytes."""
    ProjectChange(name=name).check()


def test_project_takes_one_hundred_origins_and_refuses_one_more() -> None:
    """The list is bounded."""
    origins = tuple(f"https://shop{number}.example" for number in range(101))
    ProjectChange(allowed_origins=origins[:100]).check()
    assert paths_refused(ProjectChange(allowed_origins=origins)) == ["allowed_origins"]


def test_project_names_every_bad_origin_by_its_place() -> None:
    """Whoever pastes a list sees all that is wrong with it at once."""
    origins = ("https://ok.example", "null", "https://ok.example", "https://a.example/", "http://ok.example")
    assert paths_refused(ProjectChange(allowed_origins=origins)) == [
        "allowed_origins[1]",
        "allowed_origins[2]",
        "allowed_origins[3]",
    ]


@pytest.mark.parametrize(
    ("idle", "cap", "path"),
    [
        (119, 3600, "session_policy.idle_timeout_seconds"),
        (0, 0, "session_policy.idle_timeout_seconds"),
        (-1, 3600, "session_policy.idle_timeout_seconds"),
        (3600, 3599, "session_policy.absolute_cap_seconds"),
        (120, 365 * DAY + 1, "session_policy.absolute_cap_seconds"),
        (2**63 - 1, 2**63 - 1, "session_policy.absolute_cap_seconds"),
    ],
)
def test_session_policy_is_refused_outside_its_bounds(idle: int, cap: int, path: str) -> None:
    """120 s ≤ idle timeout ≤ absolute cap ≤ 365 days."""
    assert paths_refused(ProjectChange(session_policy=SessionPolicy(idle, cap))) == [path]


@pytest.mark.parametrize(("idle", "cap"), [(120, 120), (120, 365 * DAY), (365 * DAY, 365 * DAY)])
def test_session_policy_is_taken_at_its_bounds(idle: int, cap: int) -> None:
    """The bounds themselves are allowed."""
    ProjectChange(session_policy=SessionPolicy(idle, cap)).check()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ProjectStatus.ACTIVE, None),
        (ProjectStatus.PAST_DUE, None),
        (ProjectStatus.SUSPENDED, Code.TENANT_SUSPENDED),
        (ProjectStatus.CANCELLED, Code.SUBSCRIPTION_CANCELLED),
    ],
)
def test_project_is_refused_altogether_only_when_suspended_or_cancelled(
    status: ProjectStatus, code: Code | None
) -> None:
    """A project that is past due passes: what it may still do depends on the method."""
    if code is None:
        refuse_unserved(status)
        return
    with pytest.raises(SealgateError) as refusal:
        refuse_unserved(status)
    assert refusal.value.code is code

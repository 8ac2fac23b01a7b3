"""Projects: their settings, and which states of them are served."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.errors import Code, Detail, SealgateError, invalid
from chassis.limits import (
    NAME_MAX_CHARACTERS,
    ORIGINS_COUNT,
    SESSION_CAP_DEFAULT_SECONDS,
    SESSION_CAP_MAX_SECONDS,
    SESSION_IDLE_DEFAULT_SECONDS,
    SESSION_IDLE_MIN_SECONDS,
)
from chassis.origins import check_origin

# In the order in which answers list them.
MODULES: Final = ("wallet", "trading", "browser", "signing")


class ProjectStatus(StrEnum):
    """Whether a project is served."""

    ACTIVE = "ACTIVE"
    PAST_DUE = "PAST_DUE"
    SUSPENDED = "SUSPENDED"
    CANCELLED = "CANCELLED"


# PAST_DUE is missing on purpose: whether it refuses depends on the method, which only the
# service that serves the method knows.
_REFUSED: Final = {
    ProjectStatus.SUSPENDED: Code.TENANT_SUSPENDED,
    ProjectStatus.CANCELLED: Code.SUBSCRIPTION_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long a project's sessions live unused, and at most."""

    idle_timeout_seconds: int
    absolute_cap_seconds: int


DEFAULT_SESSION_POLICY: Final = SessionPolicy(SESSION_IDLE_DEFAULT_SECONDS, SESSION_CAP_DEFAULT_SECONDS)


@dataclass(frozen=True, slots=True)
class Project:
    """A customer of the platform."""

    project_id: uuid.UUID
    name: str
    status: ProjectStatus
    modules: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    session_policy: SessionPolicy
    created_at_ns: int
    updated_at_ns: int


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """New settings of a project; None leaves a setting as it is."""

    name: str | None = None
    allowed_origins: tuple[str, ...] | None = None
    session_policy: SessionPolicy | None = None

    def check(self) -> None:
        """Raises VALIDATION_ERROR for settings that a project cannot have."""
        if self.name is not None:
            check_name(self.name)
        if self.allowed_origins is not None:
            check_allowed_origins(self.allowed_origins)
        if self.session_policy is not None:
            check_session_policy(self.session_policy)


@dataclass(frozen=True, slots=True)
class StateChange:
    """What the operator decides of a project; None leaves it as it is."""

    status: ProjectStatus | None = None
    modules: tuple[str, ...] | None = None


def new_project(project_id: uuid.UUID, name: str, modules: Sequence[str], now_ns: int) -> Project:
    """An active project with the default policy; raises VALIDATION_ERROR for a bad name or module.

    No module at all means every module.
    """
    check_name(name)
    return Project(
        project_id=project_id,
        name=name,
        status=ProjectStatus.ACTIVE,
        modules=ordered_modules(modules) or MODULES,
        allowed_origins=(),
        session_policy=DEFAULT_SESSION_POLICY,
        created_at_ns=now_ns,
        updated_at_ns=now_ns,
    )


def ordered_modules(modules: Sequence[str]) -> tuple[str, ...]:
    """`modules` in the order in which answers list them; raises VALIDATION_ERROR for one that there is not,
    and for one that comes twice.
    """
    for index, module in enumerate(modules):
        if module not in MODULES:
            raise invalid(f"modules[{index}]", f"must be one of {', '.join(MODULES)}")
        if module in modules[:index]:
            raise invalid(f"modules[{index}]", "must not be listed twice")
    return tuple(module for module in MODULES if module in modules)


def check_name(name: str) -> None:
    """Raises VALIDATION_ERROR unless `name` has 1 to 64 characters, none of them a control character."""
    if not 1 <= len(name) <= NAME_MAX_CHARACTERS:
        raise invalid("name", f"must have 1 to {NAME_MAX_CHARACTERS} characters")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise invalid("name", "must not have control characters")


def check_allowed_origins(origins: Sequence[str]) -> None:
    """Raises VALIDATION_ERROR unless `origins` are at most 100 different exact web origins."""
    if len(origins) > ORIGINS_COUNT:
        raise invalid("allowed_origins", f"must have at most {ORIGINS_COUNT} entries")
    details = []
    seen: set[str] = set()
    for index, origin in enumerate(origins):
        problem = "must not be listed twice" if origin in seen else check_origin(origin)
        if problem is not None:
            details.append(Detail(f"allowed_origins[{index}]", problem))
        seen.add(origin)
    if details:
        raise SealgateError(Code.VALIDATION_ERROR, details=details)


def check_session_policy(policy: SessionPolicy) -> None:
    """Raises VALIDATION_ERROR unless 120 s ≤ idle timeout ≤ absolute cap ≤ 365 days."""
    if policy.idle_timeout_seconds < SESSION_IDLE_MIN_SECONDS:
        raise invalid("session_policy.idle_timeout_seconds", f"must be at least {SESSION_IDLE_MIN_SECONDS}")
    if policy.absolute_cap_seconds > SESSION_CAP_MAX_SECONDS:
        raise invalid("session_policy.absolute_cap_seconds", f"must be at most {SESSION_CAP_MAX_SECONDS}")
    if policy.idle_timeout_seconds > policy.absolute_cap_seconds:
        raise invalid("session_policy.absolute_cap_seconds", "must not be below idle_timeout_seconds")


def refuse_unserved(status: ProjectStatus) -> None:
    """Raises TENANT_SUSPENDED or SUBSCRIPTION_CANCELLED for a project that is refused altogether."""
    code = _REFUSED.get(status)
    if code is not None:
        raise SealgateError(code)

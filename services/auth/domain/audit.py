"""Who does what: the facts that every change leaves behind."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """What somebody who changes something has shown."""

    OPERATOR = "OPERATOR"
    PROJECT_KEY = "PROJECT_KEY"
    ACCOUNT_SESSION = "ACCOUNT_SESSION"


class Action(StrEnum):
    """What was done."""

    PROJECT_CREATED = "PROJECT_CREATED"
    PROJECT_UPDATED = "PROJECT_UPDATED"
    PROJECT_ACTIVATED = "PROJECT_ACTIVATED"
    PROJECT_MARKED_PAST_DUE = "PROJECT_MARKED_PAST_DUE"
    PROJECT_SUSPENDED = "PROJECT_SUSPENDED"
    PROJECT_CANCELLED = "PROJECT_CANCELLED"
    PROJECT_MODULES_SET = "PROJECT_MODULES_SET"
    ACCOUNT_CREATED = "ACCOUNT_CREATED"
    ACCOUNT_METADATA_REPLACED = "ACCOUNT_METADATA_REPLACED"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    ACCOUNT_ACTIVATED = "ACCOUNT_ACTIVATED"
    SESSION_CREATED = "SESSION_CREATED"
    SESSION_REFRESHED = "SESSION_REFRESHED"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    SESSIONS_EXPIRED = "SESSIONS_EXPIRED"


@dataclass(frozen=True, slots=True)
class Act:
    """One request that changes something: by whom (`actor_id` is a credential's public name), when."""

    actor_kind: ActorKind
    actor_id: str
    request_id: uuid.UUID
    at_ns: int

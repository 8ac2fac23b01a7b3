"""Who does what: the facts that every change of money leaves behind."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """What somebody who changes something has shown."""

    OPERATOR = "OPERATOR"
    ACCOUNT_SESSION = "ACCOUNT_SESSION"
    ACCOUNT_API_KEY = "ACCOUNT_API_KEY"


@dataclass(frozen=True, slots=True)
class Act:
    """One request that changes something: by whom (`actor_id` is a credential's public name), when."""

    actor_kind: ActorKind
    actor_id: str
    request_id: uuid.UUID
    at_ns: int


@dataclass(frozen=True, slots=True)
class Breach:
    """A row of the books that breaks a rule: which rule, which row, and how."""

    rule: str
    subject: str
    problem: str

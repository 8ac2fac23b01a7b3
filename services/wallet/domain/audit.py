"""Who does what: the facts that every change of money leaves behind."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """What somebody who changes something has shown; a rail acts by itself."""

    OPERATOR = "OPERATOR"
    ACCOUNT_SESSION = "ACCOUNT_SESSION"
    ACCOUNT_API_KEY = "ACCOUNT_API_KEY"
    PROJECT_KEY = "PROJECT_KEY"
    MASTER_KEY = "MASTER_KEY"
    SESSION_KEY = "SESSION_KEY"
    RAIL = "RAIL"


@dataclass(frozen=True, slots=True)
class Act:
    """One request that changes something: by whom (`actor_id` is a credential's public name), when."""

    actor_kind: ActorKind
    actor_id: str
    request_id: uuid.UUID
    at_ns: int

    @property
    def is_signed(self) -> bool:
        """Whether `request_id` was signed: it is the account's own, and runs once."""
        return self.actor_kind in (ActorKind.MASTER_KEY, ActorKind.SESSION_KEY)


@dataclass(frozen=True, slots=True)
class Breach:
    """A row of the books that breaks a rule: which rule, which row, and how."""

    rule: str
    subject: str
    problem: str

"""Under whose authority keys are issued and changed, and when that authority no longer holds."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chassis.errors import Code, Detail, SealgateError


class ActorKind(StrEnum):
    """Who can act on keys."""

    PROJECT_KEY = "PROJECT_KEY"
    ACCOUNT_SESSION = "ACCOUNT_SESSION"
    OPERATOR = "OPERATOR"
    SERVICE = "SERVICE"
    MASTER_KEY = "MASTER_KEY"
    SESSION_KEY = "SESSION_KEY"


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """What auth knew of the account when it signed the caller's identity."""

    suspended: bool
    version: int


@dataclass(frozen=True, slots=True)
class Act:
    """One act on keys: who does it, when, for which request, and the id of its audit row.

    `account` is None where no account is acted on. `grantable_scopes` is what the actor may give to
    a key; None means everything.
    """

    actor_kind: ActorKind
    actor_id: str
    audit_id: uuid.UUID
    request_id: uuid.UUID
    at_ns: int
    account: AccountStanding | None = None
    grantable_scopes: frozenset[str] | None = None


def refuse_gain(act: Act, gained_scopes: Iterable[str], minimum_account_version: int) -> None:
    """Refuses an act that gives a key rights for which the actor has no authority.

    `minimum_account_version` is the account's fence. Raises ACCOUNT_SUSPENDED; SESSION_INVALID or
    UNAVAILABLE for an identity behind the fence; SCOPE_NOT_GRANTED for a scope the actor cannot give.
    """
    if act.account is not None:
        if act.account.suspended:
            raise SealgateError(Code.ACCOUNT_SUSPENDED)
        if act.account.version < minimum_account_version:
            raise _behind_fence(act)
    _refuse_escalation(act, gained_scopes)


def _behind_fence(act: Act) -> SealgateError:
    """The refusal of an identity that is older than the account's last mass revocation.

    A session that old was ended by it. A project key lives on, and only what its identity says of the
    account is out of date: repeated, it gets a fresh identity and finds the account suspended, or not.
    """
    internal = "the caller's identity is behind the account's fence"
    if act.actor_kind is ActorKind.ACCOUNT_SESSION:
        return SealgateError(Code.SESSION_INVALID, internal=internal)
    return SealgateError(Code.UNAVAILABLE, internal=internal)


def _refuse_escalation(act: Act, gained_scopes: Iterable[str]) -> None:
    """Nobody gives away more than they have: a stolen session, which cannot withdraw, would else make
    itself a key that can.
    """
    if act.grantable_scopes is None:
        return
    excess = sorted(set(gained_scopes) - act.grantable_scopes)
    if excess:
        detail = Detail("scopes", "this credential cannot give " + ", ".join(excess))
        raise SealgateError(Code.SCOPE_NOT_GRANTED, details=(detail,))

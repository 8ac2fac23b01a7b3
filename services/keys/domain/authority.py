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


def refuse_suspended(act: Act) -> None:
    """Raises ACCOUNT_SUSPENDED when the account was suspended as the identity was made."""
    if act.account is not None and act.account.suspended:
        raise SealgateError(Code.ACCOUNT_SUSPENDED)


def refuse_fenced(act: Act, minimum_account_version: int) -> None:
    """Refuses an identity that is older than the account's last mass revocation.

    A session that old was ended by it: SESSION_INVALID. A project key lives on, and only what its
    identity says of the account is out of date: UNAVAILABLE, to be repeated with a fresh identity,
    which then finds the account suspended, or not.
    """
    if act.account is None or act.account.version >= minimum_account_version:
        return
    if act.actor_kind is ActorKind.ACCOUNT_SESSION:
        raise SealgateError(Code.SESSION_INVALID, internal="the session's identity is behind the fence")
    raise SealgateError(
        Code.UNAVAILABLE, internal="the caller's identity is behind the account's fence", retry_after_seconds=1
    )


def refuse_escalation(act: Act, given_scopes: Iterable[str]) -> None:
    """Raises SCOPE_NOT_GRANTED when the actor would give a key a scope that it does not have itself.

    Else a stolen session, which cannot withdraw, would make itself a key that can.
    """
    if act.grantable_scopes is None:
        return
    excess = sorted(set(given_scopes) - act.grantable_scopes)
    if excess:
        raise SealgateError(
            Code.SCOPE_NOT_GRANTED,
            details=(Detail("scopes", "the credential cannot give " + ", ".join(excess)),),
        )

"""The life of a session: how long it lives, how it ends, what a refresh answers."""

from __future__ import annotations

import unicodedata
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.limits import REFRESH_REPLAY_SECONDS, USER_AGENT_MAX_CHARACTERS
from services.auth.domain.project import SessionPolicy

_REPLAY_NS: Final = REFRESH_REPLAY_SECONDS * NANOSECONDS_PER_SECOND


class EndReason(StrEnum):
    """Why a session was ended; one that merely ran out has no reason."""

    REFRESHED = "REFRESHED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True)
class Birth:
    """Who started a session, and from where: `created_by` is the public name of a credential."""

    created_by: str
    user_agent: str
    address: str


@dataclass(frozen=True, slots=True)
class Session:
    """One session of an account; times are Unix nanoseconds."""

    session_id: uuid.UUID
    account_id: uuid.UUID
    project_id: uuid.UUID
    created_at_ns: int
    last_used_at_ns: int
    idle_timeout_seconds: int
    cap_at_ns: int
    ended_at_ns: int | None
    end_reason: EndReason | None
    successor_id: uuid.UUID | None
    birth: Birth

    @property
    def expires_at_ns(self) -> int:
        """When it ends if it is not used again."""
        return min(self.last_used_at_ns + self.idle_timeout_seconds * NANOSECONDS_PER_SECOND, self.cap_at_ns)

    def has_lapsed(self, now_ns: int) -> bool:
        """Whether it has run out by itself; the instant of expiry is past its life."""
        return now_ns >= self.expires_at_ns

    def is_live(self, now_ns: int) -> bool:
        """Whether it has neither been ended nor run out."""
        return self.ended_at_ns is None and not self.has_lapsed(now_ns)


def new_birth(created_by: str, user_agent: str, address: str) -> Birth:
    """Where a session starts; a client's own words about itself are cut short and cleaned."""
    shown = "".join(letter for letter in user_agent if not unicodedata.category(letter).startswith("C"))
    return Birth(created_by, shown[:USER_AGENT_MAX_CHARACTERS], address)


def new_session(
    session_id: uuid.UUID,
    account_id: uuid.UUID,
    project_id: uuid.UUID,
    policy: SessionPolicy,
    now_ns: int,
    birth: Birth,
) -> Session:
    """A session that starts now, with both clocks of `policy`."""
    return Session(
        session_id=session_id,
        account_id=account_id,
        project_id=project_id,
        created_at_ns=now_ns,
        last_used_at_ns=now_ns,
        idle_timeout_seconds=policy.idle_timeout_seconds,
        cap_at_ns=now_ns + policy.absolute_cap_seconds * NANOSECONDS_PER_SECOND,
        ended_at_ns=None,
        end_reason=None,
        successor_id=None,
        birth=birth,
    )


def successor_to_repeat(session: Session, successor: Session | None, now_ns: int) -> Session | None:
    """What refreshing `session` answers: the successor it already has, or None to start one.

    A caller whose answer got lost asks again; for 30 s, the thirtieth included, it is told the same
    successor while that one lives. Raises SESSION_ALREADY_REFRESHED for a refreshed session after
    that, or whose successor has ended, whatever ended it; SESSION_NOT_LIVE for one that was ended
    otherwise or has run out.
    """
    if session.is_live(now_ns):
        return None
    if session.end_reason is not EndReason.REFRESHED or session.ended_at_ns is None:
        raise SealgateError(Code.SESSION_NOT_LIVE)
    if successor is None or not successor.is_live(now_ns) or now_ns - session.ended_at_ns > _REPLAY_NS:
        raise SealgateError(Code.SESSION_ALREADY_REFRESHED)
    return successor


def refuse_over_limit(live_count: int, limit_count: int) -> None:
    """Raises SESSION_LIMIT_REACHED when an account with `live_count` live sessions may have no more."""
    if live_count >= limit_count:
        raise SealgateError(Code.SESSION_LIMIT_REACHED)

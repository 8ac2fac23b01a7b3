"""The life of a session, to the nanosecond."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from services.auth.domain.project import SessionPolicy
from services.auth.domain.session import (
    Birth,
    EndReason,
    Session,
    new_birth,
    new_session,
    refuse_over_limit,
    successor_to_repeat,
)

START = 1_767_225_600 * NANOSECONDS_PER_SECOND
SECOND = NANOSECONDS_PER_SECOND
SESSION = new_session(
    uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3), SessionPolicy(120, 300), START, Birth("pk", "", "")
)
SUCCESSOR = replace(SESSION, session_id=uuid.UUID(int=4))


def ended(reason: EndReason, at_ns: int = START + SECOND) -> Session:
    successor_id = SUCCESSOR.session_id if reason is EndReason.REFRESHED else None
    return replace(SESSION, ended_at_ns=at_ns, end_reason=reason, successor_id=successor_id)


def refusal(session: Session, successor: Session | None, now_ns: int) -> Code:
    with pytest.raises(SealgateError) as raised:
        successor_to_repeat(session, successor, now_ns)
    return raised.value.code


def test_session_expires_idle_after_its_timeout_and_not_before() -> None:
    """The last nanosecond of the timeout is still the session's."""
    assert SESSION.expires_at_ns == START + 120 * SECOND
    assert SESSION.is_live(START + 120 * SECOND - 1)
    assert not SESSION.is_live(START + 120 * SECOND)


def test_session_in_use_expires_at_its_cap() -> None:
    """Use moves the idle end, never the cap."""
    used = replace(SESSION, last_used_at_ns=START + 250 * SECOND)
    assert used.expires_at_ns == START + 300 * SECOND
    assert used.is_live(START + 300 * SECOND - 1)
    assert not used.is_live(START + 300 * SECOND)


@pytest.mark.parametrize("reason", list(EndReason))
def test_session_is_not_live_once_it_was_ended(reason: EndReason) -> None:
    """Whatever ended it, at whatever time is asked about."""
    assert not ended(reason).is_live(START)


def test_refresh_starts_a_successor_for_a_live_session() -> None:
    """There is nothing to repeat yet."""
    assert successor_to_repeat(SESSION, None, START + 119 * SECOND) is None


def test_refresh_repeats_its_successor_for_thirty_seconds_inclusive() -> None:
    """The thirtieth second after the refresh is still one of them."""
    old = ended(EndReason.REFRESHED, at_ns=START)
    assert successor_to_repeat(old, SUCCESSOR, START + 30 * SECOND) is SUCCESSOR
    assert refusal(old, SUCCESSOR, START + 30 * SECOND + 1) is Code.SESSION_ALREADY_REFRESHED


@pytest.mark.parametrize("reason", list(EndReason))
def test_refresh_says_already_refreshed_once_the_successor_has_ended(reason: EndReason) -> None:
    """A dead successor is not given out again, whatever ended it."""
    successor = replace(ended(reason), session_id=SUCCESSOR.session_id)
    assert (
        refusal(ended(EndReason.REFRESHED), successor, START + 2 * SECOND) is Code.SESSION_ALREADY_REFRESHED
    )


@pytest.mark.parametrize("reason", [EndReason.EXPIRED, EndReason.SUSPENDED])
def test_refresh_says_not_live_for_a_session_that_was_ended(reason: EndReason) -> None:
    """It has no successor to tell of."""
    assert refusal(ended(reason), None, START + 2 * SECOND) is Code.SESSION_NOT_LIVE


def test_refresh_says_not_live_for_a_session_that_ran_out() -> None:
    """Past its idle end it is as dead as any."""
    assert refusal(SESSION, None, START + 120 * SECOND) is Code.SESSION_NOT_LIVE


def test_session_limit_lets_the_last_one_in_and_no_more() -> None:
    """With 99 live sessions there is room for one."""
    refuse_over_limit(99, 100)
    with pytest.raises(SealgateError) as raised:
        refuse_over_limit(100, 100)
    assert raised.value.code is Code.SESSION_LIMIT_REACHED


def test_birth_keeps_a_user_agent_short_and_printable() -> None:
    """A client's words about itself cannot break a log, a page or the database."""
    assert new_birth("pk", "curl/8\x00\x1b[31m\r\n", "::1") == Birth("pk", "curl/8[31m", "::1")
    assert len(new_birth("pk", "x" * 10_000, "").user_agent) == 512

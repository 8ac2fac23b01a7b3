"""The decision of an exchange: which refusal comes first, and what is granted."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.secrets import public_key_text
from services.auth.domain.account import AccountStatus
from services.auth.domain.browser_session import BrowserSession, BrowserSessionState
from services.auth.domain.exchange import (
    SESSION_SCOPES,
    CredentialKind,
    Grant,
    Holder,
    LiveApiKey,
    LiveDeviceKey,
    SessionStanding,
    Standing,
    Tenant,
    WebPage,
    admit_account_key,
    admit_device_key,
    admit_project_key,
    admit_session,
)
from services.auth.domain.project import ProjectStatus, SessionPolicy
from services.auth.domain.session import Birth, EndReason, new_session
from services.auth.domain.token import TokenClaims

SECOND = NANOSECONDS_PER_SECOND
NOW = 1_767_225_600 * SECOND
PROJECT_ID, ACCOUNT_ID, SESSION_ID = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)
PAGE = WebPage("https://shop.example", is_allowed=True, since_ns=5)
STRANGE_PAGE = WebPage("https://evil.example", is_allowed=False)
TENANT = Tenant(PROJECT_ID, ProjectStatus.ACTIVE, ("wallet",), (PAGE.origin,))
HOLDER = Holder(ACCOUNT_ID, 77, AccountStatus.ACTIVE, 4)
SESSION = new_session(SESSION_ID, ACCOUNT_ID, PROJECT_ID, SessionPolicy(120, 300), NOW, Birth("pk_x", "", ""))
CLAIMS = TokenClaims(SESSION_ID, ACCOUNT_ID, PROJECT_ID, NOW + 300 * SECOND)
STANDING = SessionStanding(SESSION, TENANT, HOLDER)
KEY = LiveApiKey(b"1" * 32, PROJECT_ID, ACCOUNT_ID, ("wallet:read",), {PAGE.origin: 5}, 0, NOW + 10 * SECOND)
PROJECT_KEY = LiveApiKey(b"2" * 32, PROJECT_ID, None, (), {}, None, None)
DEVICE_KEY = LiveDeviceKey(b"d" * 32, uuid.UUID(int=4), PROJECT_ID, ACCOUNT_ID, 3, NOW + 10 * SECOND)

SUSPENDED_PROJECT = replace(TENANT, status=ProjectStatus.SUSPENDED)
CANCELLED_PROJECT = replace(TENANT, status=ProjectStatus.CANCELLED)
SUSPENDED_ACCOUNT = replace(HOLDER, status=AccountStatus.SUSPENDED)


def code_of(decide: Callable[[], Grant]) -> Code:
    with pytest.raises(SealgateError) as refusal:
        decide()
    assert not refusal.value.details
    return refusal.value.code


def session_code(standing: SessionStanding | None, page: WebPage | None = None, now_ns: int = NOW) -> Code:
    return code_of(lambda: admit_session(CLAIMS, standing, page, now_ns))


def test_session_is_granted_with_its_scopes_account_and_end() -> None:
    """All scopes but withdrawals:write; it ends when the session does if not used again."""
    grant = admit_session(CLAIMS, STANDING, PAGE, NOW)
    assert grant == Grant(
        kind=CredentialKind.ACCOUNT_SESSION,
        credential_id=str(SESSION_ID),
        tenant=TENANT,
        holder=HOLDER,
        scopes=SESSION_SCOPES,
        subaccount_index=None,
        page=PAGE,
        expires_at_ns=NOW + 120 * SECOND,
    )
    assert "withdrawals:write" not in SESSION_SCOPES


def test_session_that_is_not_there_or_of_another_account_or_project_is_invalid() -> None:
    """The token's claims and the row have to agree in all three."""
    assert session_code(None) is Code.SESSION_INVALID
    for other in (
        replace(SESSION, session_id=uuid.UUID(int=9)),
        replace(SESSION, account_id=uuid.UUID(int=9)),
        replace(SESSION, project_id=uuid.UUID(int=9)),
    ):
        assert session_code(replace(STANDING, session=other)) is Code.SESSION_INVALID


@pytest.mark.parametrize("reason", list(EndReason))
def test_session_that_was_ended_is_invalid_also_after_it_would_have_expired(reason: EndReason) -> None:
    """Ended is ended: the clock does not turn it into an expired one."""
    ended = replace(STANDING, session=replace(SESSION, ended_at_ns=NOW, end_reason=reason))
    assert session_code(ended) is Code.SESSION_INVALID
    assert session_code(ended, now_ns=NOW + 299 * SECOND) is Code.SESSION_INVALID


def test_session_that_ran_out_is_expired_from_that_instant_on() -> None:
    """SESSION_EXPIRED at the idle end and at the cap."""
    admit_session(CLAIMS, STANDING, None, NOW + 120 * SECOND - 1)
    assert session_code(STANDING, now_ns=NOW + 120 * SECOND) is Code.SESSION_EXPIRED
    used = replace(STANDING, session=replace(SESSION, last_used_at_ns=NOW + 290 * SECOND))
    assert session_code(used, now_ns=NOW + 300 * SECOND) is Code.SESSION_EXPIRED


def test_session_token_past_its_end_is_expired_whatever_its_row_says() -> None:
    """From that instant on, also where the session was ended or is not there."""
    used = replace(STANDING, session=replace(SESSION, last_used_at_ns=NOW + 299 * SECOND))
    admit_session(replace(CLAIMS, expires_at_ns=NOW + 299 * SECOND + 1), used, None, NOW + 299 * SECOND)
    shorter = replace(CLAIMS, expires_at_ns=NOW + 299 * SECOND)
    assert code_of(lambda: admit_session(shorter, used, None, NOW + 299 * SECOND)) is Code.SESSION_EXPIRED
    assert session_code(None, now_ns=NOW + 300 * SECOND) is Code.SESSION_EXPIRED


def test_session_refusals_come_in_the_fixed_order() -> None:
    """Credential, project, account: each is only told to who passed the ones before; the page is granted."""
    everything = SessionStanding(
        replace(SESSION, ended_at_ns=NOW, end_reason=EndReason.SUSPENDED),
        SUSPENDED_PROJECT,
        SUSPENDED_ACCOUNT,
    )
    assert session_code(everything, STRANGE_PAGE) is Code.SESSION_INVALID
    assert session_code(replace(everything, session=SESSION), STRANGE_PAGE) is Code.TENANT_SUSPENDED
    assert (
        session_code(SessionStanding(SESSION, TENANT, SUSPENDED_ACCOUNT), STRANGE_PAGE)
        is Code.ACCOUNT_SUSPENDED
    )
    assert admit_session(CLAIMS, STANDING, STRANGE_PAGE, NOW).page is STRANGE_PAGE


@pytest.mark.parametrize(
    ("tenant", "code"),
    [(SUSPENDED_PROJECT, Code.TENANT_SUSPENDED), (CANCELLED_PROJECT, Code.SUBSCRIPTION_CANCELLED)],
)
def test_every_credential_is_refused_by_the_state_of_its_project(tenant: Tenant, code: Code) -> None:
    """Whatever kind it is."""
    assert session_code(replace(STANDING, tenant=tenant)) is code
    assert code_of(lambda: admit_account_key(KEY, Standing(tenant, HOLDER), None, NOW)) is code
    assert project_key_code(Standing(tenant, HOLDER)) is code


def test_every_credential_passes_while_its_project_is_past_due() -> None:
    """What it may still do depends on the method, and that is decided where the method is served."""
    tenant = replace(TENANT, status=ProjectStatus.PAST_DUE)
    assert admit_session(CLAIMS, replace(STANDING, tenant=tenant), None, NOW).tenant is tenant
    assert admit_account_key(KEY, Standing(tenant, HOLDER), None, NOW).tenant is tenant


def test_account_key_is_granted_what_its_row_says() -> None:
    """Scopes, pin and end are the key's."""
    grant = admit_account_key(KEY, Standing(TENANT, HOLDER), None, NOW)
    assert grant.credential_id == public_key_text(KEY.public_key)
    assert (grant.scopes, grant.subaccount_index) == (("wallet:read",), 0)
    assert grant.expires_at_ns == NOW + 10 * SECOND


@pytest.mark.parametrize("late_ns", [0, 1, SECOND])
def test_account_key_past_its_end_is_expired_before_anything_else_is_said(late_ns: int) -> None:
    """The keys service and auth may read their clocks a moment apart."""
    now_ns = NOW + 10 * SECOND + late_ns
    assert code_of(lambda: admit_account_key(KEY, None, None, now_ns)) is Code.API_KEY_EXPIRED


@pytest.mark.parametrize("late_ns", [0, 1, 10 * SECOND])
def test_key_that_was_rotated_out_is_revoked_and_never_expired(late_ns: int) -> None:
    """Also when its overlap ended between the two services' looks at their clocks."""
    now_ns = NOW + 10 * SECOND + late_ns
    retiring = replace(KEY, expires_at_ns=NOW + 10 * SECOND, retires_at_ns=NOW + 10 * SECOND)
    assert code_of(lambda: admit_account_key(retiring, None, None, now_ns)) is Code.API_KEY_REVOKED
    of_project = replace(retiring, account_id=None)
    assert (
        code_of(lambda: admit_project_key(of_project, None, names_subject=False, page=None, now_ns=now_ns))
        is Code.API_KEY_REVOKED
    )


def test_grant_says_which_of_two_ends_comes_first() -> None:
    """A rotated key's grant ends with the overlap as a revocation, or before it as an expiry."""
    standing = Standing(TENANT, HOLDER)
    retiring = replace(KEY, retires_at_ns=KEY.expires_at_ns)
    assert admit_account_key(retiring, standing, None, NOW).ends_revoked
    expiring = replace(KEY, retires_at_ns=NOW + 20 * SECOND)
    assert not admit_account_key(expiring, standing, None, NOW).ends_revoked
    assert code_of(lambda: admit_account_key(expiring, None, None, NOW + 10 * SECOND)) is Code.API_KEY_EXPIRED
    assert not admit_account_key(KEY, standing, None, NOW).ends_revoked


@pytest.mark.parametrize("standing", [None, Standing(TENANT, None)])
def test_account_key_without_its_account_is_invalid(standing: Standing | None) -> None:
    """Two databases that disagree open nothing."""
    assert code_of(lambda: admit_account_key(KEY, standing, None, NOW)) is Code.API_KEY_INVALID


def test_account_key_of_a_suspended_account_is_refused() -> None:
    """Its account's status counts at every use."""
    standing = Standing(TENANT, SUSPENDED_ACCOUNT)
    assert code_of(lambda: admit_account_key(KEY, standing, None, NOW)) is Code.ACCOUNT_SUSPENDED


def project_key_code(
    standing: Standing | None, *, names_subject: bool = False, page: WebPage | None = None
) -> Code:
    return code_of(
        lambda: admit_project_key(PROJECT_KEY, standing, names_subject=names_subject, page=page, now_ns=NOW)
    )


def test_project_key_acts_on_the_account_it_names_also_when_that_is_suspended() -> None:
    """Its project reads it and makes it active again."""
    standing = Standing(TENANT, SUSPENDED_ACCOUNT)
    grant = admit_project_key(PROJECT_KEY, standing, names_subject=True, page=None, now_ns=NOW)
    assert grant.holder is SUSPENDED_ACCOUNT
    assert (grant.scopes, grant.expires_at_ns) == ((), None)


def test_project_key_refusals_come_in_the_fixed_order() -> None:
    """Key, project, account; the page that it is shown from is no reason here."""
    assert project_key_code(None, names_subject=True, page=PAGE) is Code.API_KEY_INVALID
    suspended = Standing(SUSPENDED_PROJECT, None)
    assert project_key_code(suspended, names_subject=True, page=PAGE) is Code.TENANT_SUSPENDED
    standing = Standing(TENANT, None)
    assert project_key_code(standing, names_subject=True, page=STRANGE_PAGE) is Code.ACCOUNT_NOT_FOUND
    assert project_key_code(standing, names_subject=True) is Code.ACCOUNT_NOT_FOUND
    grant = admit_project_key(PROJECT_KEY, standing, names_subject=False, page=None, now_ns=NOW)
    assert grant.holder is None


def device_key_code(standing: Standing | None, page: WebPage | None = None, now_ns: int = NOW) -> Code:
    return code_of(lambda: admit_device_key(DEVICE_KEY, standing, page, now_ns))


def test_device_key_is_granted_reading_within_its_pin() -> None:
    """The two scopes for reading and no other, whatever keys says of it."""
    grant = admit_device_key(DEVICE_KEY, Standing(TENANT, HOLDER), PAGE, NOW)
    assert grant == Grant(
        kind=CredentialKind.DEVICE_KEY,
        credential_id=str(DEVICE_KEY.device_key_id),
        tenant=TENANT,
        holder=HOLDER,
        scopes=("account:read", "wallet:read"),
        subaccount_index=3,
        page=PAGE,
        expires_at_ns=NOW + 10 * SECOND,
    )


def test_device_key_refusals_come_in_the_fixed_order() -> None:
    """Key, project, account: each is only told to who passed the ones before; the page is granted."""
    everything = Standing(SUSPENDED_PROJECT, SUSPENDED_ACCOUNT)
    assert device_key_code(everything, STRANGE_PAGE, NOW + 10 * SECOND) is Code.API_KEY_EXPIRED
    assert device_key_code(None, STRANGE_PAGE) is Code.API_KEY_INVALID
    assert device_key_code(Standing(TENANT, None), STRANGE_PAGE) is Code.API_KEY_INVALID
    assert device_key_code(everything, STRANGE_PAGE) is Code.TENANT_SUSPENDED
    assert device_key_code(Standing(CANCELLED_PROJECT, HOLDER), STRANGE_PAGE) is Code.SUBSCRIPTION_CANCELLED
    assert device_key_code(Standing(TENANT, SUSPENDED_ACCOUNT), STRANGE_PAGE) is Code.ACCOUNT_SUSPENDED
    assert admit_device_key(DEVICE_KEY, Standing(TENANT, HOLDER), STRANGE_PAGE, NOW).page is STRANGE_PAGE


def test_device_key_works_until_the_instant_of_its_end() -> None:
    """Auth's own clock counts too, should keys' be behind."""
    standing = Standing(TENANT, HOLDER)
    admit_device_key(DEVICE_KEY, standing, None, NOW + 10 * SECOND - 1)
    assert device_key_code(standing, now_ns=NOW + 10 * SECOND) is Code.API_KEY_EXPIRED


def test_passport_ends_after_thirty_seconds_but_never_past_its_credential() -> None:
    """The smaller of the two; without an end of its own, 30 s."""
    grant = admit_account_key(KEY, Standing(TENANT, HOLDER), None, NOW)
    assert grant.passport_expires_at_ns(NOW) == NOW + 10 * SECOND
    assert replace(grant, expires_at_ns=NOW + 31 * SECOND).passport_expires_at_ns(NOW) == NOW + 30 * SECOND
    assert replace(grant, expires_at_ns=None).passport_expires_at_ns(NOW) == NOW + 30 * SECOND


def test_passport_ends_with_the_browser_session_beside_the_key() -> None:
    """A page's write is not let through on a passport that outlived its hour."""
    session = BrowserSession(BrowserSessionState.VALID, NOW + 3 * SECOND)
    grant = replace(admit_account_key(KEY, Standing(TENANT, HOLDER), PAGE, NOW), browser_session=session)
    assert grant.passport_expires_at_ns(NOW) == NOW + 3 * SECOND
    later = replace(grant, browser_session=replace(session, expires_at_ns=NOW + 11 * SECOND))
    assert later.passport_expires_at_ns(NOW) == NOW + 10 * SECOND

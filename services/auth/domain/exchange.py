"""Who a credential makes its bearer: the checks of an exchange, in the order they are answered in.

First the credential itself (401), then its project, then its account (403): whoever cannot prove who
they are learns nothing of what stands behind the credential. Whether it works from the page that shows it
is said and not refused here: what comes before that depends on the method.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, SealgateError
from chassis.limits import PASSPORT_LIFETIME_SECONDS
from chassis.secrets import public_key_text
from services.auth.domain.account import AccountStatus, refuse_suspended
from services.auth.domain.browser_session import NO_BROWSER_SESSION, BrowserSession
from services.auth.domain.project import ProjectStatus, refuse_unserved
from services.auth.domain.session import Session
from services.auth.domain.token import TokenClaims

# All there are but `withdrawals:write`, which is only ever given by name.
SESSION_SCOPES: Final = ("account:read", "keys:write", "wallet:read", "wallet:write", "orders:write")

# A device reads what its owner reads, and moves nothing.
DEVICE_KEY_SCOPES: Final = ("account:read", "wallet:read")

_PASSPORT_LIFETIME_NS: Final = PASSPORT_LIFETIME_SECONDS * NANOSECONDS_PER_SECOND


class CredentialKind(StrEnum):
    """The kinds of credential that identify a request."""

    PROJECT_KEY = "PROJECT_KEY"
    ACCOUNT_SESSION = "ACCOUNT_SESSION"
    ACCOUNT_API_KEY = "ACCOUNT_API_KEY"
    DEVICE_KEY = "DEVICE_KEY"


class DeadState(StrEnum):
    """Why an API key or a device key does not work, as the keys service says."""

    UNKNOWN = "UNKNOWN"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


_DEAD_KEY_CODES: Final = {
    DeadState.UNKNOWN: Code.API_KEY_INVALID,
    DeadState.REVOKED: Code.API_KEY_REVOKED,
    DeadState.EXPIRED: Code.API_KEY_EXPIRED,
}


@dataclass(frozen=True, slots=True)
class DeadKey:
    """A key that does not work; an unknown one is nobody's. `origins` are an API key's own."""

    state: DeadState
    project_id: uuid.UUID | None = None
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveApiKey:
    """The facts of a key that works; a project key has no account and needs no scopes.

    `origins` says of each since when the key has it without a break, and `limits` how many calls of a
    rate class it has a minute where that is its own figure. `expires_at_ns` is when it stops, whatever
    stops it; `retires_at_ns` when a rotation revokes it. `is_use_due` is whether a use is to be noted.
    """

    public_key: bytes
    project_id: uuid.UUID
    account_id: uuid.UUID | None
    scopes: tuple[str, ...]
    origins: Mapping[str, int]
    subaccount_index: int | None
    expires_at_ns: int | None
    retires_at_ns: int | None = None
    limits: tuple[tuple[int, int], ...] = ()
    is_use_due: bool = False


@dataclass(frozen=True, slots=True)
class LiveDeviceKey:
    """The facts of a device key that works; `expires_at_ns` is when it ends if it is not used again.

    `digest` is that of its secret, and `is_use_due` whether a use is to be noted.
    """

    digest: bytes
    device_key_id: uuid.UUID
    project_id: uuid.UUID
    account_id: uuid.UUID
    subaccount_index: int | None
    expires_at_ns: int
    is_use_due: bool = False


@dataclass(frozen=True, slots=True)
class Tenant:
    """What an exchange needs to know of a project."""

    project_id: uuid.UUID
    status: ProjectStatus
    modules: tuple[str, ...]
    allowed_origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """What an exchange needs to know of an account."""

    account_id: uuid.UUID
    account_number: int
    status: AccountStatus
    version: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A project, and the account of it that is asked about if there is such a one."""

    tenant: Tenant
    holder: Holder | None


@dataclass(frozen=True, slots=True)
class SessionStanding:
    """A session with its account and project, all as of one instant."""

    session: Session
    tenant: Tenant
    holder: Holder


@dataclass(frozen=True, slots=True)
class WebPage:
    """The page that shows a credential: whether that works from there and, of a key, since when it does."""

    origin: str
    is_allowed: bool
    since_ns: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """Who a good credential makes its bearer.

    `page` is None on the server channel. `expires_at_ns` is the credential's own end, and `ends_revoked`
    whether a rotation is what ends it. `browser_session` is what came beside it.
    """

    kind: CredentialKind
    credential_id: str
    tenant: Tenant
    holder: Holder | None
    scopes: tuple[str, ...]
    subaccount_index: int | None
    page: WebPage | None
    expires_at_ns: int | None
    ends_revoked: bool = False
    limits: tuple[tuple[int, int], ...] = ()
    browser_session: BrowserSession = NO_BROWSER_SESSION

    @property
    def is_use(self) -> bool:
        """Whether the credential was used: not by a page that it does not work from, which is refused."""
        return self.page is None or self.page.is_allowed

    def passport_expires_at_ns(self, now_ns: int) -> int:
        """30 s from now, but never past the credential, nor past the browser session beside it."""
        ends = (now_ns + _PASSPORT_LIFETIME_NS, self.expires_at_ns, self.browser_session.expires_at_ns)
        return min(end for end in ends if end is not None)


def dead_key_error(state: DeadState) -> SealgateError:
    """The API_KEY_INVALID, API_KEY_REVOKED or API_KEY_EXPIRED of a key of any kind that does not work."""
    return SealgateError(_DEAD_KEY_CODES[state])


def admit_session(
    claims: TokenClaims, standing: SessionStanding | None, page: WebPage | None, now_ns: int
) -> Grant:
    """Decides about a session token whose signature is good.

    Raises SESSION_EXPIRED for a token past its end; SESSION_INVALID for a session that is not there or
    was ended, SESSION_EXPIRED for one that ran out; then TENANT_SUSPENDED, SUBSCRIPTION_CANCELLED,
    ACCOUNT_SUSPENDED.
    """
    if now_ns >= claims.expires_at_ns:
        raise SealgateError(Code.SESSION_EXPIRED)
    if standing is None or not claims.names(standing.session) or standing.session.ended_at_ns is not None:
        raise SealgateError(Code.SESSION_INVALID)
    session = standing.session
    if session.has_lapsed(now_ns):
        raise SealgateError(Code.SESSION_EXPIRED)
    refuse_unserved(standing.tenant.status)
    refuse_suspended(standing.holder.status)
    return Grant(
        kind=CredentialKind.ACCOUNT_SESSION,
        credential_id=str(session.session_id),
        tenant=standing.tenant,
        holder=standing.holder,
        scopes=SESSION_SCOPES,
        subaccount_index=None,
        page=page,
        expires_at_ns=session.expires_at_ns,
    )


def admit_account_key(key: LiveApiKey, standing: Standing | None, page: WebPage | None, now_ns: int) -> Grant:
    """Decides about a live account API key.

    Raises API_KEY_REVOKED for a key that was rotated out since it was looked up, API_KEY_EXPIRED past
    its own end, API_KEY_INVALID when its account is not there; then TENANT_SUSPENDED,
    SUBSCRIPTION_CANCELLED, ACCOUNT_SUSPENDED.
    """
    _refuse_stopped_key(key, now_ns)
    if standing is None or standing.holder is None:
        raise SealgateError(Code.API_KEY_INVALID, internal="a live key of an account that is not there")
    refuse_unserved(standing.tenant.status)
    refuse_suspended(standing.holder.status)
    return _key_grant(CredentialKind.ACCOUNT_API_KEY, key, standing, page)


def admit_device_key(
    key: LiveDeviceKey, standing: Standing | None, page: WebPage | None, now_ns: int
) -> Grant:
    """Decides about a live device key.

    Raises API_KEY_EXPIRED past its end, API_KEY_INVALID when its account is not there; then
    TENANT_SUSPENDED, SUBSCRIPTION_CANCELLED, ACCOUNT_SUSPENDED.
    """
    if now_ns >= key.expires_at_ns:
        raise SealgateError(Code.API_KEY_EXPIRED)
    if standing is None or standing.holder is None:
        raise SealgateError(
            Code.API_KEY_INVALID, internal="a live device key of an account that is not there"
        )
    refuse_unserved(standing.tenant.status)
    refuse_suspended(standing.holder.status)
    return Grant(
        kind=CredentialKind.DEVICE_KEY,
        credential_id=str(key.device_key_id),
        tenant=standing.tenant,
        holder=standing.holder,
        scopes=DEVICE_KEY_SCOPES,
        subaccount_index=key.subaccount_index,
        page=page,
        expires_at_ns=key.expires_at_ns,
    )


def admit_project_key(
    key: LiveApiKey, standing: Standing | None, *, names_subject: bool, page: WebPage | None, now_ns: int
) -> Grant:
    """Decides about a live project key; `standing.holder` is the account it is to act on.

    A suspended account is not refused here: its project reads it and makes it active again, and what
    issues something under it looks at its status. Raises API_KEY_REVOKED and API_KEY_EXPIRED as
    above, API_KEY_INVALID when its project is not there; then TENANT_SUSPENDED,
    SUBSCRIPTION_CANCELLED, and ACCOUNT_NOT_FOUND when the account it names is not one of the project's.
    """
    _refuse_stopped_key(key, now_ns)
    if standing is None:
        raise SealgateError(Code.API_KEY_INVALID, internal="a live key of a project that is not there")
    refuse_unserved(standing.tenant.status)
    if names_subject and standing.holder is None:
        raise SealgateError(Code.ACCOUNT_NOT_FOUND)
    return _key_grant(CredentialKind.PROJECT_KEY, key, standing, page)


def _key_grant(kind: CredentialKind, key: LiveApiKey, standing: Standing, page: WebPage | None) -> Grant:
    return Grant(
        kind=kind,
        credential_id=public_key_text(key.public_key),
        tenant=standing.tenant,
        holder=standing.holder,
        scopes=key.scopes,
        subaccount_index=key.subaccount_index,
        page=page,
        expires_at_ns=key.expires_at_ns,
        ends_revoked=key.retires_at_ns is not None and key.retires_at_ns == key.expires_at_ns,
        limits=key.limits,
    )


def _refuse_stopped_key(key: LiveApiKey, now_ns: int) -> None:
    if key.retires_at_ns is not None and now_ns >= key.retires_at_ns:
        raise SealgateError(Code.API_KEY_REVOKED)
    if key.expires_at_ns is not None and now_ns >= key.expires_at_ns:
        raise SealgateError(Code.API_KEY_EXPIRED)

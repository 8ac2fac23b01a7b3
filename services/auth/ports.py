"""What auth needs of the world: a store, the keys service, and signatures."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealgate.keys.v1.signer_facts_pb2 import SignerFacts
from services.auth.domain.account import Account, AccountStatus
from services.auth.domain.audit import Act
from services.auth.domain.browser_session import BrowserSession, PageBinding
from services.auth.domain.exchange import (
    CredentialKind,
    DeadKey,
    Holder,
    LiveApiKey,
    LiveDeviceKey,
    SessionStanding,
    Standing,
    Tenant,
)
from services.auth.domain.project import Project, ProjectChange, StateChange
from services.auth.domain.session import Birth, Session
from services.auth.domain.token import TokenClaims


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: `limit` items at most, after skipping `offset`."""

    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class AccountRef:
    """An account as its project names it; another project's account is not found by it."""

    project_id: uuid.UUID
    account_id: uuid.UUID


class ProjectStore(Protocol):
    """Projects. Every change leaves an audit row in its own transaction."""

    async def create_project(self, project: Project, act: Act) -> None:
        """Keeps a new project."""
        ...

    async def project(self, project_id: uuid.UUID) -> Project:
        """The project; raises PROJECT_NOT_FOUND."""
        ...

    async def update_project(self, project_id: uuid.UUID, change: ProjectChange, act: Act) -> Project:
        """The project after a change; raises PROJECT_NOT_FOUND."""
        ...

    async def set_project_state(self, project_id: uuid.UUID, change: StateChange, act: Act) -> Project:
        """The project in its new state; raises PROJECT_NOT_FOUND.

        What is so already is no change, and leaves no audit row.
        """
        ...

    async def list_projects(self, page: Page) -> list[Project]:
        """All projects, oldest first."""
        ...


class AccountStore(Protocol):
    """Accounts. Every change leaves an audit row in its own transaction."""

    async def create_account(self, ref: AccountRef, metadata: str, act: Act) -> Account:
        """A new active account under the ids of `ref`."""
        ...

    async def account(self, ref: AccountRef) -> Account:
        """The account; raises ACCOUNT_NOT_FOUND."""
        ...

    async def list_accounts(self, project_id: uuid.UUID, page: Page) -> list[Account]:
        """The project's accounts, oldest first."""
        ...

    async def replace_metadata(self, ref: AccountRef, metadata: str, act: Act) -> Account:
        """The account with new metadata; raises ACCOUNT_NOT_FOUND."""
        ...

    async def set_status(self, ref: AccountRef, status: AccountStatus, act: Act) -> Account:
        """The account in its new status; raises ACCOUNT_NOT_FOUND.

        Suspending ends its live sessions and raises its version. What is in that status already
        stays as it is.
        """
        ...


class SessionStore(Protocol):
    """Sessions. Every change leaves an audit row in its own transaction."""

    async def create_session(self, ref: AccountRef, session_id: uuid.UUID, birth: Birth, act: Act) -> Session:
        """A new session; raises ACCOUNT_NOT_FOUND, ACCOUNT_SUSPENDED, SESSION_LIMIT_REACHED."""
        ...

    async def session(self, ref: AccountRef, session_id: uuid.UUID) -> Session:
        """A session of the account, live or not; raises SESSION_NOT_FOUND."""
        ...

    async def list_sessions(self, ref: AccountRef, now_ns: int) -> list[Session]:
        """The account's live sessions, newest first."""
        ...

    async def refresh_session(
        self, ref: AccountRef, session_id: uuid.UUID, successor_id: uuid.UUID, birth: Birth, act: Act
    ) -> Session:
        """The successor of a session: a new one, or the one it already has.

        Raises ACCOUNT_NOT_FOUND, ACCOUNT_SUSPENDED, SESSION_NOT_FOUND, SESSION_ALREADY_REFRESHED,
        SESSION_NOT_LIVE.
        """
        ...

    async def expire_session(self, ref: AccountRef, session_id: uuid.UUID, act: Act) -> bool:
        """Ends a session; False when it was not live any more. Raises SESSION_NOT_FOUND."""
        ...

    async def expire_all_sessions(self, ref: AccountRef, act: Act) -> tuple[int, int]:
        """Ends all live sessions: how many, and the account's raised version.

        Raises ACCOUNT_NOT_FOUND.
        """
        ...


class StandingStore(Protocol):
    """What an exchange reads, each answer from one snapshot."""

    async def session_standing(self, session_id: uuid.UUID) -> SessionStanding | None:
        """A session with its account and project."""
        ...

    async def standing(self, project_id: uuid.UUID, account_id: uuid.UUID | None) -> Standing | None:
        """A project, and the account if it is one of the project's."""
        ...

    async def account_standing(self, account_id: uuid.UUID) -> tuple[Tenant, Holder] | None:
        """An account with its project, whichever that is."""
        ...

    async def touch_session(self, session_id: uuid.UUID, now_ns: int) -> int | None:
        """Notes a use, once in 30 s; the time now on record, None when nothing was written."""
        ...


class KeyDirectory(Protocol):
    """The keys service."""

    async def resolve(self, public_key: bytes, kind: CredentialKind) -> DeadKey | LiveApiKey:
        """What a public key (32 bytes) is as a key of `kind`; raises UNAVAILABLE."""
        ...

    async def resolve_device(self, digest: bytes) -> DeadKey | LiveDeviceKey:
        """What a digest (32 bytes) is as a device key's; raises UNAVAILABLE."""
        ...

    async def note_use(self, public_key: bytes) -> None:
        """Notes a use of an API key (32 bytes); raises UNAVAILABLE."""
        ...

    async def note_device_use(self, digest: bytes) -> int | None:
        """Notes a use of a device key; when it ends now, None for one that has ended; raises UNAVAILABLE."""
        ...

    async def signer_facts(self, account_id: uuid.UUID, public_key: bytes) -> SignerFacts | None:
        """The facts of an account's master or session key as keys words them, None where there is no such
        key; raises UNAVAILABLE.
        """
        ...

    async def fence(self, account_id: uuid.UUID, account_version: int) -> None:
        """Has nothing issued any more under an identity older than the version; raises UNAVAILABLE."""
        ...


class PublishedKeys(Protocol):
    """Whatever signs tokens that others verify too."""

    def json_web_keys(self) -> Sequence[Mapping[str, str]]:
        """The public keys that verify tokens (RFC 7517)."""
        ...


class Tokens(Protocol):
    """Session tokens."""

    def sign(self, session: Session) -> str:
        """The token of a session, the same every time."""
        ...

    def verify(self, token: str) -> TokenClaims:
        """Which session a token names, also past its end.

        Raises SESSION_INVALID for anything that this deployment did not sign as a session token.
        """
        ...


class BrowserTokens(Protocol):
    """Browser session tokens."""

    def sign(self, binding: PageBinding, began_at_seconds: int) -> str:
        """The token of a browser session that began then (Unix seconds), the same every time."""
        ...

    def judge(self, token: str, binding: PageBinding) -> BrowserSession:
        """Whether a token is good for a request now, as `binding` says whose that is."""
        ...

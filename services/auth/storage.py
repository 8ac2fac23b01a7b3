"""Projects, accounts, sessions and the audit in Postgres. Every method is one transaction."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import asyncpg

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError
from chassis.limits import LAST_USED_RESOLUTION_SECONDS
from services.auth.domain.account import Account, AccountStatus, refuse_suspended
from services.auth.domain.audit import Act, Action
from services.auth.domain.exchange import Holder, SessionStanding, Standing, Tenant
from services.auth.domain.project import Project, ProjectChange, ProjectStatus, SessionPolicy, StateChange
from services.auth.domain.session import (
    Birth,
    EndReason,
    Session,
    new_session,
    refuse_over_limit,
    successor_to_repeat,
)
from services.auth.ports import AccountRef, Page

_queries = load_queries(Path(__file__).with_name("queries.sql"))
_INSERT_PROJECT: Final = _queries.insert_project
_FIND_PROJECT: Final = _queries.find_project
_UPDATE_PROJECT: Final = _queries.update_project
_LOCK_PROJECT: Final = _queries.lock_project
_SET_PROJECT_STATE: Final = _queries.set_project_state
_LIST_PROJECTS: Final = _queries.list_projects
_INSERT_ACCOUNT: Final = _queries.insert_account
_FIND_ACCOUNT: Final = _queries.find_account
_LIST_ACCOUNTS: Final = _queries.list_accounts
_REPLACE_METADATA: Final = _queries.replace_metadata
_LOCK_ACCOUNT_TO_ISSUE: Final = _queries.lock_account_to_issue
_LOCK_ACCOUNT_TO_REVOKE: Final = _queries.lock_account_to_revoke
_ACTIVATE_ACCOUNT: Final = _queries.activate_account
_SUSPEND_ACCOUNT: Final = _queries.suspend_account
_RAISE_ACCOUNT_VERSION: Final = _queries.raise_account_version
_INSERT_SESSION: Final = _queries.insert_session
_COUNT_LIVE_SESSIONS: Final = _queries.count_live_sessions
_LIST_LIVE_SESSIONS: Final = _queries.list_live_sessions
_LOCK_SESSION: Final = _queries.lock_session
_FIND_SESSION: Final = _queries.find_session
_END_SESSION: Final = _queries.end_session
_END_LIVE_SESSIONS: Final = _queries.end_live_sessions
_FIND_SESSION_STANDING: Final = _queries.find_session_standing
_FIND_STANDING: Final = _queries.find_standing
_FIND_ACCOUNT_STANDING: Final = _queries.find_account_standing
_TOUCH_SESSION: Final = _queries.touch_session
_INSERT_AUDIT: Final = _queries.insert_audit

_STATUS_ACTIONS: Final = {
    ProjectStatus.ACTIVE: Action.PROJECT_ACTIVATED,
    ProjectStatus.PAST_DUE: Action.PROJECT_MARKED_PAST_DUE,
    ProjectStatus.SUSPENDED: Action.PROJECT_SUSPENDED,
    ProjectStatus.CANCELLED: Action.PROJECT_CANCELLED,
}
_RESOLUTION_NS: Final = LAST_USED_RESOLUTION_SECONDS * NANOSECONDS_PER_SECOND


class AuthStorage:
    """The stores of `services.auth.ports` on one database; raises UNAVAILABLE when it does not answer."""

    def __init__(self, database: Database, live_sessions_per_account_count: int) -> None:
        self._database = database
        self._live_sessions_per_account_count = live_sessions_per_account_count

    async def create_project(self, project: Project, act: Act) -> None:
        """See `ProjectStore.create_project`."""
        async with self._database.transaction() as tx:
            await tx.execute(
                _INSERT_PROJECT,
                project.project_id,
                project.name,
                project.status.value,
                list(project.modules),
                list(project.allowed_origins),
                project.session_policy.idle_timeout_seconds,
                project.session_policy.absolute_cap_seconds,
                project.created_at_ns,
            )
            await _audit(tx, Action.PROJECT_CREATED, act, project.project_id)

    async def project(self, project_id: uuid.UUID) -> Project:
        """See `ProjectStore.project`."""
        return _project(await self._database.fetchrow(_FIND_PROJECT, project_id))

    async def update_project(self, project_id: uuid.UUID, change: ProjectChange, act: Act) -> Project:
        """See `ProjectStore.update_project`."""
        origins, policy = change.allowed_origins, change.session_policy
        async with self._database.transaction() as tx:
            row = await tx.fetchrow(
                _UPDATE_PROJECT,
                project_id,
                change.name,
                None if origins is None else list(origins),
                None if policy is None else policy.idle_timeout_seconds,
                None if policy is None else policy.absolute_cap_seconds,
                act.at_ns,
            )
            project = _project(row)
            await _audit(tx, Action.PROJECT_UPDATED, act, project_id)
        return project

    async def set_project_state(self, project_id: uuid.UUID, change: StateChange, act: Act) -> Project:
        """See `ProjectStore.set_project_state`."""
        async with self._database.transaction() as tx:
            before = _project(await tx.fetchrow(_LOCK_PROJECT, project_id))
            status, modules = change.status or before.status, change.modules or before.modules
            if (status, modules) == (before.status, before.modules):
                return before
            row = await tx.fetchrow(_SET_PROJECT_STATE, project_id, status.value, list(modules), act.at_ns)
            if status is not before.status:
                await _audit(tx, _STATUS_ACTIONS[status], act, project_id)
            if modules != before.modules:
                await _audit(tx, Action.PROJECT_MODULES_SET, act, project_id)
        return _project(row)

    async def list_projects(self, page: Page) -> list[Project]:
        """See `ProjectStore.list_projects`."""
        rows = await self._database.fetch(_LIST_PROJECTS, page.limit, page.offset)
        return [_project(row) for row in rows]

    async def create_account(self, ref: AccountRef, metadata: str, act: Act) -> Account:
        """See `AccountStore.create_account`."""
        async with self._database.transaction() as tx:
            row = await tx.fetchrow(_INSERT_ACCOUNT, ref.account_id, ref.project_id, metadata, act.at_ns)
            await _audit(tx, Action.ACCOUNT_CREATED, act, ref.project_id, ref.account_id)
        return _account(row)

    async def account(self, ref: AccountRef) -> Account:
        """See `AccountStore.account`."""
        return _account(await self._database.fetchrow(_FIND_ACCOUNT, ref.account_id, ref.project_id))

    async def list_accounts(self, project_id: uuid.UUID, page: Page) -> list[Account]:
        """See `AccountStore.list_accounts`."""
        rows = await self._database.fetch(_LIST_ACCOUNTS, project_id, page.limit, page.offset)
        return [_account(row) for row in rows]

    async def replace_metadata(self, ref: AccountRef, metadata: str, act: Act) -> Account:
        """See `AccountStore.replace_metadata`."""
        async with self._database.transaction() as tx:
            row = await tx.fetchrow(_REPLACE_METADATA, ref.account_id, ref.project_id, metadata, act.at_ns)
            account = _account(row)
            await _audit(tx, Action.ACCOUNT_METADATA_REPLACED, act, ref.project_id, ref.account_id)
        return account

    async def set_status(self, ref: AccountRef, status: AccountStatus, act: Act) -> Account:
        """See `AccountStore.set_status`."""
        suspends = status is AccountStatus.SUSPENDED
        async with self._database.transaction() as tx:
            account = await _lock_to_revoke(tx, ref)
            if account.status is status:
                return account
            statement = _SUSPEND_ACCOUNT if suspends else _ACTIVATE_ACCOUNT
            row = await tx.fetchrow(statement, ref.account_id, act.at_ns)
            if suspends:
                await tx.fetch(_END_LIVE_SESSIONS, ref.account_id, act.at_ns, EndReason.SUSPENDED.value)
            action = Action.ACCOUNT_SUSPENDED if suspends else Action.ACCOUNT_ACTIVATED
            await _audit(tx, action, act, ref.project_id, ref.account_id)
        return _account(row)

    async def create_session(self, ref: AccountRef, session_id: uuid.UUID, birth: Birth, act: Act) -> Session:
        """See `SessionStore.create_session`."""
        async with self._database.transaction() as tx:
            policy = await _lock_to_issue(tx, ref)
            live_count = await tx.fetchval(_COUNT_LIVE_SESSIONS, ref.account_id, act.at_ns)
            refuse_over_limit(live_count, self._live_sessions_per_account_count)
            session = new_session(session_id, ref.account_id, ref.project_id, policy, act.at_ns, birth)
            await _insert_session(tx, session)
            await _audit(tx, Action.SESSION_CREATED, act, ref.project_id, ref.account_id, session_id)
        return session

    async def session(self, ref: AccountRef, session_id: uuid.UUID) -> Session:
        """See `SessionStore.session`."""
        row = await self._database.fetchrow(_FIND_SESSION, session_id, ref.account_id, ref.project_id)
        if row is None:
            raise SealgateError(Code.SESSION_NOT_FOUND)
        return _session(row)

    async def list_sessions(self, ref: AccountRef, now_ns: int) -> list[Session]:
        """See `SessionStore.list_sessions`."""
        rows = await self._database.fetch(_LIST_LIVE_SESSIONS, ref.account_id, ref.project_id, now_ns)
        return [_session(row) for row in rows]

    async def refresh_session(
        self, ref: AccountRef, session_id: uuid.UUID, successor_id: uuid.UUID, birth: Birth, act: Act
    ) -> Session:
        """See `SessionStore.refresh_session`."""
        async with self._database.transaction() as tx:
            policy = await _lock_to_issue(tx, ref)
            session = await _lock_session(tx, ref, session_id)
            successor = await _successor(tx, ref, session)
            repeated = successor_to_repeat(session, successor, act.at_ns)
            if repeated is not None:
                return repeated
            fresh = new_session(successor_id, ref.account_id, ref.project_id, policy, act.at_ns, birth)
            await _insert_session(tx, fresh)
            await tx.execute(_END_SESSION, session_id, act.at_ns, EndReason.REFRESHED.value, successor_id)
            await _audit(tx, Action.SESSION_REFRESHED, act, ref.project_id, ref.account_id, session_id)
        return fresh

    async def expire_session(self, ref: AccountRef, session_id: uuid.UUID, act: Act) -> bool:
        """See `SessionStore.expire_session`."""
        async with self._database.transaction() as tx:
            session = await _lock_session(tx, ref, session_id)
            if not session.is_live(act.at_ns):
                return False
            await tx.execute(_END_SESSION, session_id, act.at_ns, EndReason.EXPIRED.value, None)
            await _audit(tx, Action.SESSION_EXPIRED, act, ref.project_id, ref.account_id, session_id)
        return True

    async def expire_all_sessions(self, ref: AccountRef, act: Act) -> tuple[int, int]:
        """See `SessionStore.expire_all_sessions`."""
        async with self._database.transaction() as tx:
            await _lock_to_revoke(tx, ref)
            ended = await tx.fetch(_END_LIVE_SESSIONS, ref.account_id, act.at_ns, EndReason.EXPIRED.value)
            version: int = await tx.fetchval(_RAISE_ACCOUNT_VERSION, ref.account_id)
            await _audit(tx, Action.SESSIONS_EXPIRED, act, ref.project_id, ref.account_id)
        return len(ended), version

    async def session_standing(self, session_id: uuid.UUID) -> SessionStanding | None:
        """See `StandingStore.session_standing`."""
        row = await self._database.fetchrow(_FIND_SESSION_STANDING, session_id)
        return None if row is None else SessionStanding(_session(row), _tenant(row), _holder(row))

    async def standing(self, project_id: uuid.UUID, account_id: uuid.UUID | None) -> Standing | None:
        """See `StandingStore.standing`."""
        row = await self._database.fetchrow(_FIND_STANDING, project_id, account_id)
        if row is None:
            return None
        return Standing(_tenant(row), None if row["account_id"] is None else _holder(row))

    async def account_standing(self, account_id: uuid.UUID) -> tuple[Tenant, Holder] | None:
        """See `StandingStore.account_standing`."""
        row = await self._database.fetchrow(_FIND_ACCOUNT_STANDING, account_id)
        return None if row is None else (_tenant(row), _holder(row))

    async def touch_session(self, session_id: uuid.UUID, now_ns: int) -> int | None:
        """See `StandingStore.touch_session`."""
        last_used_at_ns: int | None = await self._database.fetchval(
            _TOUCH_SESSION, session_id, now_ns, now_ns - _RESOLUTION_NS
        )
        return last_used_at_ns


async def _lock_to_issue(tx: Transaction, ref: AccountRef) -> SessionPolicy:
    """Locks an account that something is to be issued under; the policy for its new session.

    Raises ACCOUNT_NOT_FOUND, ACCOUNT_SUSPENDED.
    """
    row = await tx.fetchrow(_LOCK_ACCOUNT_TO_ISSUE, ref.account_id, ref.project_id)
    if row is None:
        raise SealgateError(Code.ACCOUNT_NOT_FOUND)
    refuse_suspended(AccountStatus(row["status"]))
    return SessionPolicy(row["idle_timeout_seconds"], row["absolute_cap_seconds"])


async def _lock_to_revoke(tx: Transaction, ref: AccountRef) -> Account:
    return _account(await tx.fetchrow(_LOCK_ACCOUNT_TO_REVOKE, ref.account_id, ref.project_id))


async def _lock_session(tx: Transaction, ref: AccountRef, session_id: uuid.UUID) -> Session:
    row = await tx.fetchrow(_LOCK_SESSION, session_id, ref.account_id, ref.project_id)
    if row is None:
        raise SealgateError(Code.SESSION_NOT_FOUND)
    return _session(row)


async def _successor(tx: Transaction, ref: AccountRef, session: Session) -> Session | None:
    if session.successor_id is None:
        return None
    row = await tx.fetchrow(_FIND_SESSION, session.successor_id, ref.account_id, ref.project_id)
    return None if row is None else _session(row)


async def _insert_session(tx: Transaction, session: Session) -> None:
    await tx.execute(
        _INSERT_SESSION,
        session.session_id,
        session.account_id,
        session.created_at_ns,
        session.idle_timeout_seconds,
        session.cap_at_ns,
        session.birth.user_agent,
        session.birth.address,
        session.birth.created_by,
    )


async def _audit(
    tx: Transaction,
    action: Action,
    act: Act,
    project_id: uuid.UUID,
    account_id: uuid.UUID | None = None,
    session_id: uuid.UUID | None = None,
) -> None:
    """Writes what was done to the innermost of project, account and session."""
    subject = session_id or account_id or project_id
    await tx.execute(
        _INSERT_AUDIT,
        act.at_ns,
        project_id,
        account_id,
        act.actor_kind.value,
        act.actor_id,
        action.value,
        str(subject),
        act.request_id,
    )


def _project(row: asyncpg.Record | None) -> Project:
    if row is None:
        raise SealgateError(Code.PROJECT_NOT_FOUND)
    return Project(
        project_id=row["project_id"],
        name=row["name"],
        status=ProjectStatus(row["status"]),
        modules=tuple(row["modules"]),
        allowed_origins=tuple(row["allowed_origins"]),
        session_policy=SessionPolicy(row["idle_timeout_seconds"], row["absolute_cap_seconds"]),
        created_at_ns=row["created_at_ns"],
        updated_at_ns=row["updated_at_ns"],
    )


def _account(row: asyncpg.Record | None) -> Account:
    if row is None:
        raise SealgateError(Code.ACCOUNT_NOT_FOUND)
    return Account(
        account_id=row["account_id"],
        project_id=row["project_id"],
        account_number=row["account_number"],
        metadata=row["metadata"],
        status=AccountStatus(row["status"]),
        version=row["version"],
        created_at_ns=row["created_at_ns"],
        updated_at_ns=row["updated_at_ns"],
    )


def _session(row: asyncpg.Record) -> Session:
    return Session(
        session_id=row["session_id"],
        account_id=row["account_id"],
        project_id=row["project_id"],
        created_at_ns=row["created_at_ns"],
        last_used_at_ns=row["last_used_at_ns"],
        idle_timeout_seconds=row["idle_timeout_seconds"],
        cap_at_ns=row["cap_at_ns"],
        ended_at_ns=row["ended_at_ns"],
        end_reason=None if row["end_reason"] is None else EndReason(row["end_reason"]),
        successor_id=row["successor_id"],
        birth=Birth(row["created_by"], row["user_agent"], row["address"]),
    )


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(
        project_id=row["project_id"],
        status=ProjectStatus(row["project_status"]),
        modules=tuple(row["modules"]),
        allowed_origins=tuple(row["allowed_origins"]),
    )


def _holder(row: asyncpg.Record) -> Holder:
    return Holder(
        account_id=row["account_id"],
        account_number=row["account_number"],
        status=AccountStatus(row["account_status"]),
        version=row["version"],
    )

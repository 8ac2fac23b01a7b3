"""The service's RPCs: messages to domain values and back, without rules or SQL."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import json
import uuid
from typing import Any

import grpc
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from chassis.clock import Clock
from chassis.errors import Code, SealgateError, invalid
from chassis.identity import Identity
from chassis.ids import Ids, parse_uuid
from chassis.limits import LIST_ACCOUNTS_DEFAULT_COUNT, LIST_ACCOUNTS_MAX_COUNT
from chassis.rpc import context as request_context
from chassis.rpc.timestamps import timestamp, timestamp_or_none
from sealgate.auth.v1 import (
    account_pb2,
    account_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    signer_pb2,
    signer_pb2_grpc,
    time_pb2,
    time_pb2_grpc,
)
from sealgate.common.v1 import passport_pb2
from services.auth.domain.account import Account, AccountStatus, JsonValue, metadata_text
from services.auth.domain.audit import Act, ActorKind
from services.auth.domain.exchange import Holder, Tenant
from services.auth.domain.project import Project, ProjectChange, SessionPolicy, new_project
from services.auth.domain.session import Birth, Session, new_birth
from services.auth.passports import PassportOffice
from services.auth.ports import (
    AccountRef,
    AccountStore,
    KeyDirectory,
    Page,
    ProjectStore,
    SessionStore,
    StandingStore,
    Tokens,
)
from services.auth.revocation import MassRevocation

Context = grpc.aio.ServicerContext[Any, Any]

_STATUSES = {
    passport_pb2.ACCOUNT_STATUS_ACTIVE: AccountStatus.ACTIVE,
    passport_pb2.ACCOUNT_STATUS_SUSPENDED: AccountStatus.SUSPENDED,
}


class ProjectServicer(project_pb2_grpc.ProjectServiceServicer):
    """The customer's own settings."""

    def __init__(self, store: ProjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def GetProject(
        self, request: project_pb2.GetProjectRequest, context: Context
    ) -> project_pb2.GetProjectResponse:
        """The caller's project."""
        project = await self._store.project(request_context.identity().project_id)
        return project_pb2.GetProjectResponse(project=_project(project))

    async def UpdateProject(
        self, request: project_pb2.UpdateProjectRequest, context: Context
    ) -> project_pb2.UpdateProjectResponse:
        """The caller's project after a change of settings."""
        change = _change(request)
        change.check()
        project = await self._store.update_project(
            request_context.identity().project_id, change, _act(self._clock)
        )
        return project_pb2.UpdateProjectResponse(project=_project(project))


class AccountServicer(account_pb2_grpc.AccountServiceServicer):
    """The project's end users."""

    def __init__(self, store: AccountStore, revocation: MassRevocation, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._revocation = revocation
        self._clock = clock
        self._ids = ids

    async def CreateAccount(
        self, request: account_pb2.CreateAccountRequest, context: Context
    ) -> account_pb2.CreateAccountResponse:
        """A new account of the caller's project."""
        ref = AccountRef(request_context.identity().project_id, self._ids.uuid7())
        metadata = metadata_text(_struct(request.metadata))
        account = await self._store.create_account(ref, metadata, _act(self._clock))
        return account_pb2.CreateAccountResponse(account=_account(account))

    async def ListAccounts(
        self, request: account_pb2.ListAccountsRequest, context: Context
    ) -> account_pb2.ListAccountsResponse:
        """A page of the project's accounts."""
        project_id = request_context.identity().project_id
        accounts = await self._store.list_accounts(project_id, _page(request))
        return account_pb2.ListAccountsResponse(accounts=[_account(account) for account in accounts])

    async def GetAccount(
        self, request: account_pb2.GetAccountRequest, context: Context
    ) -> account_pb2.GetAccountResponse:
        """The account that the request names."""
        account = await self._store.account(_ref())
        return account_pb2.GetAccountResponse(account=_account(account))

    async def ReplaceAccountMetadata(
        self, request: account_pb2.ReplaceAccountMetadataRequest, context: Context
    ) -> account_pb2.ReplaceAccountMetadataResponse:
        """The account with new metadata."""
        if not request.HasField("metadata"):
            raise invalid("metadata", "is required")
        metadata = metadata_text(_struct(request.metadata))
        account = await self._store.replace_metadata(_ref(), metadata, _act(self._clock))
        return account_pb2.ReplaceAccountMetadataResponse(account=_account(account))

    async def SetAccountStatus(
        self, request: account_pb2.SetAccountStatusRequest, context: Context
    ) -> account_pb2.SetAccountStatusResponse:
        """The account in its new status."""
        status = _STATUSES.get(request.status)
        if status is None:
            raise invalid("status", "must be ACTIVE or SUSPENDED")
        account = await self._revocation.set_status(_ref(), status, _act(self._clock))
        return account_pb2.SetAccountStatusResponse(account=_account(account))


class SessionServicer(session_pb2_grpc.SessionServiceServicer):
    """Account sessions."""

    def __init__(
        self, store: SessionStore, revocation: MassRevocation, tokens: Tokens, clock: Clock, ids: Ids
    ) -> None:
        self._store = store
        self._revocation = revocation
        self._tokens = tokens
        self._clock = clock
        self._ids = ids

    async def CreateSession(
        self, request: session_pb2.CreateSessionRequest, context: Context
    ) -> session_pb2.CreateSessionResponse:
        """A new session with its token."""
        session = await self._store.create_session(_ref(), self._ids.uuid7(), _birth(), _act(self._clock))
        return session_pb2.CreateSessionResponse(session=self._issued(session))

    async def ListSessions(
        self, request: session_pb2.ListSessionsRequest, context: Context
    ) -> session_pb2.ListSessionsResponse:
        """The account's live sessions."""
        sessions = await self._store.list_sessions(_ref(), self._clock.now_ns())
        return session_pb2.ListSessionsResponse(sessions=[_session(session) for session in sessions])

    async def RefreshSession(
        self, request: session_pb2.RefreshSessionRequest, context: Context
    ) -> session_pb2.RefreshSessionResponse:
        """A session's successor with its token."""
        successor = await self._store.refresh_session(
            _ref(), _session_id(request.session_id), self._ids.uuid7(), _birth(), _act(self._clock)
        )
        return session_pb2.RefreshSessionResponse(session=self._issued(successor))

    async def ExpireSession(
        self, request: session_pb2.ExpireSessionRequest, context: Context
    ) -> session_pb2.ExpireSessionResponse:
        """Whether the session was still live."""
        session_id = _session_id(request.session_id)
        expired = await self._store.expire_session(_ref(), session_id, _act(self._clock))
        return session_pb2.ExpireSessionResponse(expired=expired)

    async def ExpireAllSessions(
        self, request: session_pb2.ExpireAllSessionsRequest, context: Context
    ) -> session_pb2.ExpireAllSessionsResponse:
        """How many sessions were still live."""
        ended_count = await self._revocation.expire_all(_ref(), _act(self._clock))
        return session_pb2.ExpireAllSessionsResponse(expired=ended_count)

    async def GetCurrentSession(
        self, request: session_pb2.GetCurrentSessionRequest, context: Context
    ) -> session_pb2.GetCurrentSessionResponse:
        """The identity of the request."""
        identity = request_context.identity()
        expires_at_ns = identity.credential_expires_at_ns
        return session_pb2.GetCurrentSessionResponse(
            authenticated=True,
            account_id=str(identity.account()),
            project_id=str(identity.project_id),
            kind=identity.kind.value,
            credential_id=identity.credential_id,
            scopes=sorted(identity.scopes),
            subaccount_index=identity.subaccount_index,
            expires_at=timestamp_or_none(expires_at_ns),
        )

    async def ExpireCurrentSession(
        self, request: session_pb2.ExpireCurrentSessionRequest, context: Context
    ) -> session_pb2.ExpireCurrentSessionResponse:
        """Whether the request's own session was still live."""
        session_id = _session_id(request_context.identity().credential_id)
        expired = await self._store.expire_session(_ref(), session_id, _act(self._clock))
        return session_pb2.ExpireCurrentSessionResponse(expired=expired)

    def _issued(self, session: Session) -> session_pb2.IssuedSession:
        return session_pb2.IssuedSession(
            account_id=str(session.account_id),
            session_id=str(session.session_id),
            session_token=self._tokens.sign(session),
            created_at=timestamp(session.created_at_ns),
            expires_at=timestamp(session.expires_at_ns),
        )


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    """Passports for the edge and the other services."""

    def __init__(self, office: PassportOffice) -> None:
        self._office = office

    async def ExchangeCredential(
        self, request: identity_pb2.ExchangeCredentialRequest, context: Context
    ) -> identity_pb2.ExchangeCredentialResponse:
        """The passport of whoever shows a credential."""
        passport = await self._office.issue(
            request.kind,
            request.credential,
            request.origin if request.HasField("origin") else None,
            request.subject_account_id if request.HasField("subject_account_id") else None,
        )
        return identity_pb2.ExchangeCredentialResponse(passport=passport)

    async def ListPassportKeys(
        self, request: identity_pb2.ListPassportKeysRequest, context: Context
    ) -> identity_pb2.ListPassportKeysResponse:
        """The keys that verify passports."""
        keys = self._office.public_keys()
        return identity_pb2.ListPassportKeysResponse(
            keys=[identity_pb2.PassportKey(kid=kid, public_key=key) for kid, key in keys.items()]
        )


class TokenKeyServicer(identity_pb2_grpc.TokenKeyServiceServicer):
    """The public keys of session tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def GetJsonWebKeySet(
        self, request: identity_pb2.GetJsonWebKeySetRequest, context: Context
    ) -> identity_pb2.GetJsonWebKeySetResponse:
        """The keys as a JSON Web Key Set."""
        keys = [identity_pb2.JsonWebKey(**members) for members in self._tokens.json_web_keys()]
        return identity_pb2.GetJsonWebKeySetResponse(keys=keys)


class SignerServicer(signer_pb2_grpc.SignerServiceServicer):
    """Who stands behind a signature."""

    def __init__(self, store: StandingStore, keys: KeyDirectory) -> None:
        self._store = store
        self._keys = keys

    async def ResolveSigner(
        self, request: signer_pb2.ResolveSignerRequest, context: Context
    ) -> signer_pb2.ResolveSignerResponse:
        """A key's facts and its account's standing; keys are not asked about an empty key."""
        account_id = parse_uuid(request.account_id)
        if account_id is None:
            return signer_pb2.ResolveSignerResponse()
        facts = None
        if request.public_key:
            facts = await self._keys.signer_facts(account_id, request.public_key)
        # Read last: where the key is good, the standing is as of now and not of before the question.
        standing = await self._store.account_standing(account_id)
        return signer_pb2.ResolveSignerResponse(
            facts=facts, standing=None if standing is None else _standing(*standing)
        )


class TimeServicer(time_pb2_grpc.TimeServiceServicer):
    """The clock that requests are judged by, and the name that they are signed for."""

    def __init__(self, audience: str, clock: Clock) -> None:
        self._audience = audience
        self._clock = clock

    async def GetTime(self, request: time_pb2.GetTimeRequest, context: Context) -> time_pb2.GetTimeResponse:
        """The time and the deployment's name."""
        return time_pb2.GetTimeResponse(now_ns=self._clock.now_ns(), audience=self._audience)


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """For the people who run the platform."""

    def __init__(self, store: ProjectStore, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids

    async def CreateProject(
        self, request: operator_pb2.CreateProjectRequest, context: Context
    ) -> operator_pb2.CreateProjectResponse:
        """A new project."""
        act = _act(self._clock)
        project = new_project(self._ids.uuid7(), request.name, request.modules, act.at_ns)
        await self._store.create_project(project, act)
        return operator_pb2.CreateProjectResponse(project=_project(project))

    async def ListProjects(
        self, request: operator_pb2.ListProjectsRequest, context: Context
    ) -> operator_pb2.ListProjectsResponse:
        """A page of all projects."""
        projects = await self._store.list_projects(_page(request))
        return operator_pb2.ListProjectsResponse(projects=[_project(project) for project in projects])


def _act(clock: Clock) -> Act:
    """What the caller is about to do; a method without an identity is an operator's."""
    served = request_context.current()
    identity: Identity | None = served.identity
    if identity is None:
        return Act(ActorKind.OPERATOR, "operator", served.request_id, clock.now_ns())
    return Act(ActorKind(identity.kind.name), identity.credential_id, served.request_id, clock.now_ns())


def _ref() -> AccountRef:
    """The account acted on; the interceptors have held the request's own account id against it."""
    identity = request_context.identity()
    return AccountRef(identity.project_id, identity.account())


def _birth() -> Birth:
    served = request_context.current()
    return new_birth(request_context.identity().credential_id, served.user_agent, served.client_address)


def _session_id(text: str) -> uuid.UUID:
    session_id = parse_uuid(text)
    if session_id is None:
        raise SealgateError(Code.SESSION_NOT_FOUND)
    return session_id


def _page(request: account_pb2.ListAccountsRequest | operator_pb2.ListProjectsRequest) -> Page:
    for name in ("limit", "offset"):
        if getattr(request, name) < 0:
            raise invalid(name, "must not be negative")
    limit = request.limit if request.HasField("limit") else LIST_ACCOUNTS_DEFAULT_COUNT
    return Page(min(limit, LIST_ACCOUNTS_MAX_COUNT), request.offset)


def _change(request: project_pb2.UpdateProjectRequest) -> ProjectChange:
    policy = request.session_policy
    return ProjectChange(
        name=request.name if request.HasField("name") else None,
        allowed_origins=_origins(request.allowed_origins) if request.HasField("allowed_origins") else None,
        session_policy=(
            SessionPolicy(policy.idle_timeout_seconds, policy.absolute_cap_seconds)
            if request.HasField("session_policy")
            else None
        ),
    )


def _origins(values: ListValue) -> tuple[str, ...]:
    for index, value in enumerate(values.values):
        if value.WhichOneof("kind") != "string_value":
            raise invalid(f"allowed_origins[{index}]", "must be a string")
    return tuple(value.string_value for value in values.values)


def _struct(struct: Struct) -> dict[str, JsonValue]:
    return {name: _json(value) for name, value in struct.fields.items()}


def _json(value: Value) -> JsonValue:
    kind = value.WhichOneof("kind")
    if kind is None:
        raise invalid("metadata", "must not have members without a value")
    if kind == "null_value":
        return None
    if kind == "struct_value":
        return _struct(value.struct_value)
    if kind == "list_value":
        return [_json(item) for item in value.list_value.values]
    plain: bool | float | str = getattr(value, kind)
    return plain


def _project(project: Project) -> project_pb2.Project:
    return project_pb2.Project(
        project_id=str(project.project_id),
        name=project.name,
        status=passport_pb2.ProjectStatus.Value(f"PROJECT_STATUS_{project.status}"),
        modules=project.modules,
        allowed_origins=project.allowed_origins,
        session_policy=project_pb2.SessionPolicy(
            idle_timeout_seconds=project.session_policy.idle_timeout_seconds,
            absolute_cap_seconds=project.session_policy.absolute_cap_seconds,
        ),
        created_at=timestamp(project.created_at_ns),
        updated_at=timestamp(project.updated_at_ns),
    )


def _account(account: Account) -> account_pb2.Account:
    # Given whole, so that an empty object is present too and not printed as null.
    metadata = Struct()
    metadata.update(json.loads(account.metadata))
    return account_pb2.Account(
        account_id=str(account.account_id),
        account_number=account.account_number,
        metadata=metadata,
        status=passport_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{account.status}"),
        created_at=timestamp(account.created_at_ns),
        updated_at=timestamp(account.updated_at_ns),
    )


def _session(session: Session) -> session_pb2.Session:
    return session_pb2.Session(
        session_id=str(session.session_id),
        created_at=timestamp(session.created_at_ns),
        last_used_at=timestamp(session.last_used_at_ns),
        expires_at=timestamp(session.expires_at_ns),
        user_agent=session.birth.user_agent,
        address=session.birth.address,
    )


def _standing(tenant: Tenant, holder: Holder) -> signer_pb2.AccountStanding:
    return signer_pb2.AccountStanding(
        project_id=str(tenant.project_id),
        account_number=holder.account_number,
        project_status=passport_pb2.ProjectStatus.Value(f"PROJECT_STATUS_{tenant.status}"),
        account_status=passport_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{holder.status}"),
        modules=tenant.modules,
        allowed_origins=tenant.allowed_origins,
        account_version=holder.version,
    )

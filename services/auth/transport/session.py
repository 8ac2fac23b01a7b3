"""Account sessions."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import uuid

from chassis.clock import Clock
from chassis.errors import Code, SealgateError
from chassis.ids import Ids, parse_uuid
from chassis.rpc import context as request_context
from chassis.rpc.timestamps import timestamp, timestamp_or_none
from sealgate.auth.v1 import session_pb2, session_pb2_grpc
from services.auth.domain.session import Birth, Session, new_birth
from services.auth.ports import SessionStore, Tokens
from services.auth.revocation import MassRevocation
from services.auth.transport.messages import Context, account, act_of_caller


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
        session = await self._store.create_session(
            account(), self._ids.uuid7(), _birth(), act_of_caller(self._clock)
        )
        return session_pb2.CreateSessionResponse(session=self._issued(session))

    async def ListSessions(
        self, request: session_pb2.ListSessionsRequest, context: Context
    ) -> session_pb2.ListSessionsResponse:
        """The account's live sessions."""
        sessions = await self._store.list_sessions(account(), self._clock.now_ns())
        return session_pb2.ListSessionsResponse(sessions=[_session(session) for session in sessions])

    async def RefreshSession(
        self, request: session_pb2.RefreshSessionRequest, context: Context
    ) -> session_pb2.RefreshSessionResponse:
        """A session's successor with its token."""
        successor = await self._store.refresh_session(
            account(),
            _session_id(request.session_id),
            self._ids.uuid7(),
            _birth(),
            act_of_caller(self._clock),
        )
        return session_pb2.RefreshSessionResponse(session=self._issued(successor))

    async def ExpireSession(
        self, request: session_pb2.ExpireSessionRequest, context: Context
    ) -> session_pb2.ExpireSessionResponse:
        """Whether the session was still live."""
        session_id = _session_id(request.session_id)
        expired = await self._store.expire_session(account(), session_id, act_of_caller(self._clock))
        return session_pb2.ExpireSessionResponse(expired=expired)

    async def ExpireAllSessions(
        self, request: session_pb2.ExpireAllSessionsRequest, context: Context
    ) -> session_pb2.ExpireAllSessionsResponse:
        """How many sessions were still live."""
        ended_count = await self._revocation.expire_all(account(), act_of_caller(self._clock))
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
        expired = await self._store.expire_session(account(), session_id, act_of_caller(self._clock))
        return session_pb2.ExpireCurrentSessionResponse(expired=expired)

    def _issued(self, session: Session) -> session_pb2.IssuedSession:
        return session_pb2.IssuedSession(
            account_id=str(session.account_id),
            session_id=str(session.session_id),
            session_token=self._tokens.sign(session),
            created_at=timestamp(session.created_at_ns),
            expires_at=timestamp(session.expires_at_ns),
        )


def _birth() -> Birth:
    served = request_context.current()
    return new_birth(request_context.identity().credential_id, served.user_agent, served.client_address)


def _session_id(text: str) -> uuid.UUID:
    session_id = parse_uuid(text)
    if session_id is None:
        raise SealgateError(Code.SESSION_NOT_FOUND)
    return session_id


def _session(session: Session) -> session_pb2.Session:
    return session_pb2.Session(
        session_id=str(session.session_id),
        created_at=timestamp(session.created_at_ns),
        last_used_at=timestamp(session.last_used_at_ns),
        expires_at=timestamp(session.expires_at_ns),
        user_agent=session.birth.user_agent,
        address=session.birth.address,
    )

"""What an answer needs before it is given again under its idempotency key."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from chassis.rpc import context as request_context
from chassis.rpc.idempotency import Complete
from sealgate.auth.v1 import session_pb2
from services.auth.ports import AccountRef, SessionStore, Tokens
from services.auth.revocation import MassRevocation


class Replay:
    """Signs tokens anew, which are on no record, and finishes revocations that were not heard of."""

    def __init__(self, sessions: SessionStore, tokens: Tokens, revocation: MassRevocation) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._revocation = revocation

    def completions(self) -> Mapping[str, Complete]:
        """By method, as `chassis.rpc.idempotency.IdempotencyStage` takes them."""
        return {
            session_method("CreateSession"): self._sign_token,
            session_method("RefreshSession"): self._sign_token,
            session_method("ExpireAllSessions"): self._fence_again,
        }

    async def _sign_token(
        self, response: session_pb2.CreateSessionResponse | session_pb2.RefreshSessionResponse
    ) -> None:
        """The same token as the first time, because the same session has the same one."""
        session = await self._sessions.session(_ref(), uuid.UUID(response.session.session_id))
        response.session.session_token = self._tokens.sign(session)

    async def _fence_again(self, response: session_pb2.ExpireAllSessionsResponse) -> None:
        """The sessions are ended, but whether the keys service was told is on no record."""
        del response
        await self._revocation.fence(_ref())


def session_method(name: str) -> str:
    """The full name of a method of `SessionService`; KeyError for one that it does not have."""
    service = session_pb2.DESCRIPTOR.services_by_name["SessionService"]
    return f"/{service.full_name}/{service.methods_by_name[name].name}"


def _ref() -> AccountRef:
    identity = request_context.identity()
    return AccountRef(identity.project_id, identity.account())

"""What an answer needs before it is given again under its idempotency key."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from chassis.limits import BROWSER_SESSION_LIFETIME_SECONDS
from chassis.methods import method_path
from chassis.rpc.idempotency import Complete
from sealgate.auth.v1 import browser_session_pb2, session_pb2
from services.auth.ports import BrowserTokens, SessionStore, Tokens
from services.auth.revocation import MassRevocation
from services.auth.transport.browser_session import page_binding
from services.auth.transport.messages import account

_SESSIONS: Final = session_pb2.DESCRIPTOR.services_by_name["SessionService"]
_BROWSER_SESSIONS: Final = browser_session_pb2.DESCRIPTOR.services_by_name["BrowserSessionService"]


class Replay:
    """Signs tokens anew, which are on no record, and finishes revocations that were not heard of."""

    def __init__(
        self,
        sessions: SessionStore,
        tokens: Tokens,
        browser_tokens: BrowserTokens,
        revocation: MassRevocation,
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._browser_tokens = browser_tokens
        self._revocation = revocation

    def completions(self) -> Mapping[str, Complete]:
        """By method, as `chassis.rpc.idempotency.IdempotencyStage` takes them."""
        return {
            method_path(_SESSIONS, "CreateSession"): self._sign_token,
            method_path(_SESSIONS, "RefreshSession"): self._sign_token,
            method_path(_SESSIONS, "ExpireAllSessions"): self._fence_again,
            method_path(_BROWSER_SESSIONS, "CreateBrowserSession"): self._sign_browser_token,
        }

    async def _sign_token(
        self, response: session_pb2.CreateSessionResponse | session_pb2.RefreshSessionResponse
    ) -> None:
        """The same token as the first time, because the same session has the same one."""
        session = await self._sessions.session(account(), uuid.UUID(response.session.session_id))
        response.session.session_token = self._tokens.sign(session)

    async def _sign_browser_token(self, response: browser_session_pb2.CreateBrowserSessionResponse) -> None:
        """The same token as the first time, because the end says when it began.

        If something has ended it since, this is one that is good for as long as it would have been.
        """
        began_at_seconds = response.expires_at.seconds - BROWSER_SESSION_LIFETIME_SECONDS
        response.session_token = self._browser_tokens.sign(page_binding(), began_at_seconds)

    async def _fence_again(self, response: session_pb2.ExpireAllSessionsResponse) -> None:
        """The sessions are ended, but whether the keys service was told is on no record."""
        del response
        await self._revocation.fence(account())


METHODS_BY_CREDENTIAL: Final = (
    method_path(_SESSIONS, "ExpireCurrentSession"),
    method_path(_BROWSER_SESSIONS, "CreateBrowserSession"),
)
"""Those that act on the credential that they are called with, or bind something to it."""

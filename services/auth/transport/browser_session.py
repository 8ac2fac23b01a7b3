"""Browser sessions: what web pages write with."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.rpc import context as request_context
from chassis.rpc.timestamps import timestamp
from sealgate.auth.v1 import browser_session_pb2, browser_session_pb2_grpc
from services.auth.domain.browser_session import PageBinding, browser_session_end_seconds
from services.auth.ports import BrowserTokens
from services.auth.transport.messages import Context


class BrowserSessionServicer(browser_session_pb2_grpc.BrowserSessionServiceServicer):
    """Makes browser sessions; nothing of them is kept."""

    def __init__(self, tokens: BrowserTokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def CreateBrowserSession(
        self, request: browser_session_pb2.CreateBrowserSessionRequest, context: Context
    ) -> browser_session_pb2.CreateBrowserSessionResponse:
        """A token for the request's key and page, from this second on."""
        began_at_seconds = self._clock.now_ns() // NANOSECONDS_PER_SECOND
        return browser_session_pb2.CreateBrowserSessionResponse(
            session_token=self._tokens.sign(page_binding(), began_at_seconds),
            expires_at=timestamp(browser_session_end_seconds(began_at_seconds) * NANOSECONDS_PER_SECOND),
        )


def page_binding() -> PageBinding:
    """What the request's own browser session is bound to, by its identity."""
    identity = request_context.identity()
    return PageBinding(
        project_id=identity.project_id,
        account_id=identity.account(),
        account_version=identity.account_version,
        public_key=identity.credential_id,
        origin=identity.origin,
        origin_since_ns=identity.origin_since_ns,
    )

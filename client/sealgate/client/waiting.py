"""What became of a signed request whose answer did not come, for both kinds of client."""

from __future__ import annotations

from sealgate.client import operations
from sealgate.client.models.signed import RequestOutcome
from sealgate.client.models.signing_key import KeyRequestOutcome
from sealgate.client.transport import AsyncTransport, SyncTransport


class WaitingMethods(SyncTransport):
    """Waits for outcomes."""

    def wait_outcome(self, *, request_id: str, timeout_seconds: float | None = None) -> RequestOutcome:
        """What became of a signed request about money: done, refused, or `never_ran`.

        It is final within twenty seconds of the request's making: one that did not run by then never will,
        and a new one can be signed. Asks with the client's credential, which has to be one that reads, once
        a second and on through outages. Raises what the last look-up raised when `timeout_seconds`, the
        client's own unless given, are over before that: RequestNotFound where the platform was there.
        That comes at once for a request of more than a week ago.
        """
        return self._wait(operations.GET_REQUEST, request_id, timeout_seconds=timeout_seconds)

    def wait_key_outcome(self, *, request_id: str, timeout_seconds: float | None = None) -> KeyRequestOutcome:
        """As `wait_outcome`, of a request about keys."""
        return self._wait(operations.GET_KEY_REQUEST, request_id, timeout_seconds=timeout_seconds)


class AsyncWaitingMethods(AsyncTransport):
    """Waits for outcomes."""

    async def wait_outcome(self, *, request_id: str, timeout_seconds: float | None = None) -> RequestOutcome:
        """What became of a signed request about money: done, refused, or `never_ran`.

        It is final within twenty seconds of the request's making: one that did not run by then never will,
        and a new one can be signed. Asks with the client's credential, which has to be one that reads, once
        a second and on through outages. Raises what the last look-up raised when `timeout_seconds`, the
        client's own unless given, are over before that: RequestNotFound where the platform was there.
        That comes at once for a request of more than a week ago.
        """
        return await self._wait(operations.GET_REQUEST, request_id, timeout_seconds=timeout_seconds)

    async def wait_key_outcome(
        self, *, request_id: str, timeout_seconds: float | None = None
    ) -> KeyRequestOutcome:
        """As `wait_outcome`, of a request about keys."""
        return await self._wait(operations.GET_KEY_REQUEST, request_id, timeout_seconds=timeout_seconds)

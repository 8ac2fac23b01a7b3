"""Taking everything from an account at once: in auth's own database, then in the keys service.

Both calls are in force here when they answer, and also when they raise UNAVAILABLE because the keys
service cannot be told; repeating them tells it again, whatever was done before.

The keys service is told once the change is committed, also when an idempotency key makes the whole
request one transaction. Told before, it would raise the fence to a version that a change which is
rolled back never reaches, and issue nothing under the account until somebody revokes again; and while
it cannot be told, the change itself would be undone with the request, and the sessions would live on.
The price is that the answer is on record before the fence is raised. So a request that is answered
again raises it again (see `services.auth.replay`): no success is ever said without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.auth.domain.account import Account, AccountStatus
from services.auth.domain.audit import Act
from services.auth.ports import AccountRef, AccountStore, KeyDirectory, SessionStore

OnceCommitted = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Does something when what was done before is committed; see `chassis.db.tx.Database.once_committed`."""


class MassRevocation:
    """Suspends accounts and ends all their sessions, so that nothing is issued past it."""

    def __init__(
        self,
        accounts: AccountStore,
        sessions: SessionStore,
        keys: KeyDirectory,
        once_committed: OnceCommitted,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._keys = keys
        self._once_committed = once_committed

    async def set_status(self, ref: AccountRef, status: AccountStatus, act: Act) -> Account:
        """The account in its new status; raises ACCOUNT_NOT_FOUND, UNAVAILABLE."""
        account = await self._accounts.set_status(ref, status, act)
        if status is AccountStatus.SUSPENDED:
            await self._once_committed(lambda: self._keys.fence(account.account_id, account.version))
        return account

    async def expire_all(self, ref: AccountRef, act: Act) -> int:
        """Ends all live sessions and says how many; raises ACCOUNT_NOT_FOUND, UNAVAILABLE."""
        ended_count, version = await self._sessions.expire_all_sessions(ref, act)
        await self._once_committed(lambda: self._keys.fence(ref.account_id, version))
        return ended_count

    async def fence(self, ref: AccountRef) -> None:
        """Tells the keys service where the account stands; raises ACCOUNT_NOT_FOUND, UNAVAILABLE."""
        account = await self._accounts.account(ref)
        await self._keys.fence(account.account_id, account.version)

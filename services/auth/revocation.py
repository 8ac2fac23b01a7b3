"""Taking everything from an account at once: in auth's own database, then in the keys service.

Both calls are in force here when they answer, and also when they raise UNAVAILABLE because the keys
service cannot be told; repeating them tells it again, whatever was done before.
"""

from __future__ import annotations

from services.auth.domain.account import Account, AccountStatus
from services.auth.domain.audit import Act
from services.auth.ports import AccountRef, AccountStore, KeyDirectory, SessionStore


class MassRevocation:
    """Suspends accounts and ends all their sessions, so that nothing is issued past it."""

    def __init__(self, accounts: AccountStore, sessions: SessionStore, keys: KeyDirectory) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._keys = keys

    async def set_status(self, ref: AccountRef, status: AccountStatus, act: Act) -> Account:
        """The account in its new status; raises ACCOUNT_NOT_FOUND, UNAVAILABLE."""
        account = await self._accounts.set_status(ref, status, act)
        if status is AccountStatus.SUSPENDED:
            await self._keys.fence(account.account_id, account.version)
        return account

    async def expire_all(self, ref: AccountRef, act: Act) -> int:
        """Ends all live sessions and says how many; raises ACCOUNT_NOT_FOUND, UNAVAILABLE."""
        ended_count, version = await self._sessions.expire_all_sessions(ref, act)
        await self._keys.fence(ref.account_id, version)
        return ended_count

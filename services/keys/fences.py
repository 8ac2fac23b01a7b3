"""Telling the wallet service which keys sign no more, and which accounts have a master key.

What there is to tell is written with the change that makes it true and is removed when the wallet
service has answered. A call that made such a change is answered only then: until then it raises
UNAVAILABLE, the change stays, and the server itself tries again until it succeeds.
"""

from __future__ import annotations

import asyncio
import uuid

from chassis.errors import Code, SealgateError, gravest
from chassis.limits import (
    FENCED_ACCOUNTS_AT_ONCE_COUNT,
    FENCED_KEYS_AT_ONCE_COUNT,
    FENCES_TOLD_AT_ONCE_COUNT,
)
from services.keys.ports_signing import FenceOutbox, WalletFence


class FenceDelivery:
    """Empties the outbox. Telling something twice does no harm, so nobody waits for anybody else here."""

    def __init__(self, outbox: FenceOutbox, wallet: WalletFence) -> None:
        self._outbox = outbox
        self._wallet = wallet

    async def deliver(self, account_id: uuid.UUID) -> None:
        """Returns when the wallet service knows all that has changed of an account until now.

        Raises UNAVAILABLE when it cannot be told, or the database does not answer.
        """
        while fences := await self._outbox.fences(account_id, FENCED_KEYS_AT_ONCE_COUNT):
            stopped = [fence.public_key for fence in fences if fence.public_key is not None]
            try:
                if len(stopped) < len(fences):
                    await self._wallet.require_signatures(account_id)
                if stopped:
                    await self._wallet.stop(account_id, stopped)
            except SealgateError as error:
                internal = f"the wallet service was not told: {error.code} {error.internal}"
                raise SealgateError(Code.UNAVAILABLE, internal=internal) from None
            await self._outbox.remove(fences)

    async def deliver_all(self) -> None:
        """One round of what the server does by itself; raises as `deliver` does, when all were tried.

        One account that wallet hangs on or refuses keeps no other waiting. Cancelled, it ends when no
        telling goes on any more.
        """
        places = asyncio.Semaphore(FENCES_TOLD_AT_ONCE_COUNT)

        async def deliver_in_place(account_id: uuid.UUID) -> None:
            async with places:
                await self.deliver(account_id)

        accounts = await self._outbox.accounts(FENCED_ACCOUNTS_AT_ONCE_COUNT)
        outcomes = await asyncio.gather(*map(deliver_in_place, accounts), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            raise gravest(failures)

"""Who may sign for an account, and whether it has to be signed for at all."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chassis.db.queries import load_queries
from chassis.db.tx import Database, Transaction
from chassis.errors import Code, SealgateError

_queries = load_queries(Path(__file__).with_name("queries_signed.sql"))
_FENCE_SIGNERS: Final = _queries.fence_signers
_REQUIRE_SIGNATURES: Final = _queries.require_signatures
_HOLD_SIGNATURE_RULE: Final = _queries.hold_signature_rule


class SignerFenceStorage:
    """See `services.wallet.ports.SignerFenceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fence_signers(self, account_id: uuid.UUID, public_keys: Sequence[bytes]) -> None:
        """See `SignerFenceStore.fence_signers`; one statement."""
        await self._database.execute(_FENCE_SIGNERS, account_id, public_keys)

    async def require_signatures(self, account_id: uuid.UUID) -> None:
        """See `SignerFenceStore.require_signatures`; one statement."""
        await self._database.execute(_REQUIRE_SIGNATURES, account_id)


async def refuse_if_signatures_required(tx: Transaction, account_id: uuid.UUID) -> None:
    """Raises SIGNATURE_REQUIRED if the account has had a master key; else it has none until `tx` ends.

    The first lock of a transaction, before its wallet's. Requests of one account that hold it go one by
    one.
    """
    if await tx.fetchval(_HOLD_SIGNATURE_RULE, account_id):
        raise SealgateError(Code.SIGNATURE_REQUIRED)

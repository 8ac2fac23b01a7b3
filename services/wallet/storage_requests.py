"""What became of signed requests, in Postgres."""

from __future__ import annotations

import uuid

from chassis.db.signed_requests import find_or_close
from chassis.db.tx import Database
from chassis.signing import RequestRecord
from services.wallet.domain.wallet import Reach


class RequestStorage:
    """See `services.wallet.ports.RequestStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_request(self, reach: Reach, request_id: uuid.UUID, now_ns: int) -> RequestRecord:
        """See `RequestStore.find_request`."""
        return await find_or_close(
            self._database, reach.account_id, request_id, reach.subaccount_index, now_ns
        )

"""What the results of signed requests have in common: each of them is an outcome that stays on record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self

from sealgate.client.errors import REFUSED_FOR_GOOD, Detail, Facts, RequestRefused
from sealgate.client.models.common import RefusalDetail
from sealgate.client.statuses import RequestStatus
from sealgate.client.values import members_of

_KEY_REUSED: Final = "The account has used this key before: make a new key pair."
_MESSAGES: Final[Mapping[str, str]] = {
    RequestStatus.SESSION_KEY_REUSED: _KEY_REUSED,
    RequestStatus.MASTER_KEY_REUSED: _KEY_REUSED,
    RequestStatus.NEVER_RAN: "The request did not run and never will.",
    RequestStatus.DUPLICATE: "The request id was used before, and nothing was done now.",
}


class Outcome:
    """A request that was carried to its end, done or refused."""

    __slots__ = ()

    success: bool
    status: str
    request_id: str
    details: tuple[RefusalDetail, ...]

    def raise_for_status(self) -> Self:
        """The outcome itself when the request was done; raises RequestRefused when it was refused."""
        if self.success:
            return self
        raise RequestRefused(
            Facts(
                operation=_operation(type(self).__name__),
                message=_MESSAGES.get(self.status, REFUSED_FOR_GOOD),
                code=self.status,
                status=200,
                details=tuple(Detail(item.path, item.message) for item in self.details),
                request_id=self.request_id,
            )
        )


def _operation(kind: str) -> str:
    """The method that answers with this class of outcomes, as it is called."""
    return re.sub(r"\B[A-Z]", r"_\g<0>", kind.removesuffix("Result")).lower()


def first_outcome(document: object) -> object:
    """The answer to a repeat as the first answer was: what `original` has stands in its place.

    `original` stays, and says that it was a repeat. The answer itself when it is none, or is the answer to
    another payload under the same id.
    """
    members = members_of(document)
    original = members.get("original")
    if members.get("same_payload") is True and isinstance(original, Mapping):
        kept = {name: members.get(name) for name in ("request_id", "original", "same_payload")}
        return {**members, **original, **kept}
    return document

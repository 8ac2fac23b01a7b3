"""What the results of signed requests have in common: each of them is an outcome that stays on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from sealgate.client.errors import Detail, Facts, RequestRefused
from sealgate.client.models.common import RefusalDetail
from sealgate.client.values import members_of


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
                operation=type(self).__name__,
                message="The platform refused the request, for good.",
                code=self.status,
                status=200,
                details=tuple(Detail(item.path, item.message) for item in self.details),
                request_id=self.request_id,
            )
        )


def first_outcome(document: object) -> object:
    """The answer to a repeat as the first answer was: what `original` has stands in its place.

    `original` stays, and says that it was a repeat. The answer itself when it is none, or is the answer to
    another payload under the same id.
    """
    members = members_of(document)
    original = members.get("original")
    if members.get("same_payload") is True and isinstance(original, Mapping):
        return {**members, **original}
    return document

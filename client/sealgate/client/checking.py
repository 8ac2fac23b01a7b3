"""Whether an outcome is one of the request that was asked about, and says no two things at once."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, TypeVar

from sealgate.client import bodies
from sealgate.client.outcomes import Outcome
from sealgate.client.statuses import RequestStatus
from sealgate.client.values import Read, UnreadableError
from sealgate.client.wire import Body

_T = TypeVar("_T")
# What outcomes say beside their effect. A secret is no effect: repeats do not have it.
_COMMON: Final = frozenset(
    {
        "success",
        "status",
        "processed_at_ns",
        "request_id",
        "details",
        "original",
        "same_payload",
        "request_type",
        "secret_key",
    }
)
# Of what is newer than this client, and of what found nothing to cancel, an outcome has no effect to show.
_EFFECTIVE_TYPES: Final = (
    {0} | {value.request_type for value in vars(bodies).values() if isinstance(value, Body)}
) - {bodies.CANCEL_ALL_ORDERS.request_type}


def read_outcome(read: Read[_T], request_id: str) -> Read[_T]:
    """What reads as `read` does, and raises UnreadableError for an outcome that is none of this request."""

    def read_ours(value: object) -> _T:
        result = read(value)
        if isinstance(result, Outcome):
            _check(result, request_id)
        return result

    return read_ours


def _check(outcome: Outcome, request_id: str) -> None:
    if outcome.request_id != request_id:
        raise UnreadableError("request_id is that of another request")
    original = getattr(outcome, "original", None)
    if original is not None:
        _check(original, request_id)
    if outcome.success != (outcome.status == RequestStatus.COMPLETED):
        raise UnreadableError("success contradicts status")
    if outcome.success and not _has_effect(outcome):
        raise UnreadableError("what was done is not there")


def _has_effect(outcome: Any) -> bool:  # noqa: ANN401 - a model of any method
    names = {field.name for field in dataclasses.fields(outcome)} - _COMMON
    effects = [getattr(outcome, name) for name in names]
    if not hasattr(outcome, "request_type"):
        # A list is there even when nothing is in it.
        return any(effect is not None for effect in effects)
    return outcome.request_type not in _EFFECTIVE_TYPES or any(effect not in (None, ()) for effect in effects)

"""What becomes of a signed request: as it is answered, as it stays on record, as it is told later."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.signing import RequestRecord, Status

_Outcome = TypeVar("_Outcome", bound=Message)

# What a record has in columns.
_COLUMNS: Final = frozenset({"success", "status", "processed_at_ns", "request_id", "request_type"})


def outcome_message(outcome_type: type[_Outcome], record: RequestRecord) -> _Outcome:
    """What is on record of a request, as the outcome's message of the service that ran it."""
    outcome = outcome_type.FromString(record.outcome)
    told: Any = outcome
    told.success = record.status == Status.COMPLETED.value
    told.status = record.status
    told.processed_at_ns = record.processed_at_ns
    told.request_id = str(record.request_id)
    told.request_type = record.request_type
    return outcome


class OutcomeFields:
    """The fields of a method's answer that are its outcome too: those of the same name.

    Secrets (`debug_redact`) and what a record has in columns are left out.
    """

    def __init__(self, answer: Descriptor, outcome_type: type[Message]) -> None:
        self._outcome_type = outcome_type
        self._fields = tuple(
            field
            for field in answer.fields
            if field.name in outcome_type.DESCRIPTOR.fields_by_name
            and field.name not in _COLUMNS
            and not field.GetOptions().debug_redact
        )

    def serialized(self, answer: Message) -> bytes:
        """The outcome of an answer, as it stays on record."""
        outcome = self._outcome_type()
        for field in self._fields:
            _copy(field, answer, outcome)
        return outcome.SerializeToString(deterministic=True)


def _copy(field: FieldDescriptor, source: Any, target: Any) -> None:  # noqa: ANN401  (any two messages)
    value = getattr(source, field.name)
    if field.is_repeated:
        getattr(target, field.name).extend(value)
    elif field.message_type is None:
        setattr(target, field.name, value)
    elif source.HasField(field.name):
        getattr(target, field.name).CopyFrom(value)

"""Accounts: their status, and the customer's own data about them."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chassis.errors import Code, SealgateError, invalid
from chassis.limits import JSON_MAX_DEPTH, METADATA_MAX_BYTES

# `metadata` is a member of the request's body, and the body's own braces are the first level.
_OUTER_LEVELS: Final = 1
# Up to here every integer is a double of its own, so that writing one without its point loses nothing.
_EXACT_INTEGER_MAX: Final = 2**53

# What `google.protobuf.Struct` can hold.
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class AccountStatus(StrEnum):
    """Whether an account is served."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True)
class Account:
    """One end user of a project. `metadata` is compact JSON text; `version` counts mass revocations."""

    account_id: uuid.UUID
    project_id: uuid.UUID
    account_number: int
    metadata: str
    status: AccountStatus
    version: int
    created_at_ns: int
    updated_at_ns: int


def refuse_suspended(status: AccountStatus) -> None:
    """Raises ACCOUNT_SUSPENDED for a suspended account."""
    if status is AccountStatus.SUSPENDED:
        raise SealgateError(Code.ACCOUNT_SUSPENDED)


def metadata_text(metadata: dict[str, JsonValue]) -> str:
    """The compact JSON text of an account's metadata.

    Raises VALIDATION_ERROR on `metadata` for more than 8192 bytes of UTF-8, for nesting over 32
    levels (the request's body is the first), and for numbers that JSON cannot write.
    """
    plain = _plain(metadata, _OUTER_LEVELS + 1)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if len(text.encode("utf-8")) > METADATA_MAX_BYTES:
        raise invalid("metadata", f"must be at most {METADATA_MAX_BYTES} bytes of compact JSON")
    return text


def _plain(value: JsonValue, level: int) -> JsonValue:
    """`value` with whole doubles as integers, which is how the customer wrote them."""
    if isinstance(value, dict | list):
        if level > JSON_MAX_DEPTH:
            raise invalid("metadata", f"must not make the request nest deeper than {JSON_MAX_DEPTH} levels")
        if isinstance(value, list):
            return [_plain(item, level + 1) for item in value]
        return {name: _plain(item, level + 1) for name, item in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise invalid("metadata", "must hold finite numbers only")
        if value.is_integer() and abs(value) <= _EXACT_INTEGER_MAX:
            return int(value)
    return value

"""The members of a JSON body that was signed as it stands, and is therefore read here and not at the edge."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from chassis.errors import invalid
from chassis.strict_json import IntegerText

Members = Mapping[str, object]
"""Values by name, as `chassis.strict_json` reads them; null is the same as absent."""

_UINT32_MAX: Final = 2**32 - 1
# Nothing longer is looked at: a number of many digits costs time to read.
_UINT32_TEXT: Final = re.compile(r"[0-9]{1,10}")


def refuse_unknown_members(members: Members, known: Collection[str]) -> None:
    """Raises VALIDATION_ERROR about the first member that is not known."""
    for name in members:
        if name not in known:
            raise invalid(name, "is not known here")


def text_member(members: Members, name: str) -> str | None:
    """A string, None where there is none; raises VALIDATION_ERROR for anything else."""
    value = members.get(name)
    # Numbers are texts of a kind of their own.
    if value is None or type(value) is str:
        return value
    raise invalid(name, "must be a string")


def uint32_member(members: Members, name: str) -> int | None:
    """A number from 0 to 2^32 - 1, None where there is none; raises VALIDATION_ERROR for anything else."""
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, IntegerText):
        raise invalid(name, "must be an integer")
    if not _UINT32_TEXT.fullmatch(value) or int(value) > _UINT32_MAX:
        raise invalid(name, f"must be from 0 to {_UINT32_MAX}")
    return int(value)

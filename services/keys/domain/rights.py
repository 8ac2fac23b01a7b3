"""What a key may be given: names, scopes, origins, pins and ends, and how they go together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import SealgateError, invalid
from chassis.limits import (
    API_KEY_LIFETIME_MAX_SECONDS,
    NAME_MAX_CHARACTERS,
    ORIGINS_COUNT,
    SUBACCOUNT_INDEX_MAX,
)
from chassis.origins import check_origin
from services.keys.domain.api_key import KeyRights

SCOPES: Final = (
    "account:read",
    "keys:write",
    "wallet:read",
    "wallet:write",
    "orders:write",
    "withdrawals:write",
)
DEFAULT_SCOPES: Final = ("account:read", "wallet:read", "wallet:write", "orders:write")
# A key that a page holds can be read by whoever reads the page, so it gets less of its own accord
# and never what moves money out or makes further keys.
DEFAULT_SCOPES_WITH_ORIGINS: Final = ("account:read", "wallet:read", "orders:write")
SCOPES_WITHOUT_ORIGINS: Final = frozenset({"keys:write", "withdrawals:write"})

_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME_MAX_CHARACTERS}}}")
_LIFETIME_MAX_NS: Final = API_KEY_LIFETIME_MAX_SECONDS * NANOSECONDS_PER_SECOND


def project_key_rights(name: str | None) -> KeyRights:
    """The rights of a new project key, which has nothing but a name; VALIDATION_ERROR for a bad one."""
    return KeyRights(name="" if name is None else checked_name(name))


def account_key_rights(
    *,
    name: str | None,
    scopes: Sequence[str] | None,
    origins: Sequence[str],
    subaccount_index: int | None,
    expires_at_ns: int | None,
    now_ns: int,
) -> KeyRights:
    """The rights of a new account key, with the defaults for what is None.

    Raises VALIDATION_ERROR with the path of the first thing that is wrong.
    """
    rights = KeyRights(
        name="" if name is None else checked_name(name),
        scopes=_default_scopes(origins) if scopes is None else checked_scopes(scopes),
        origins=checked_origins(origins),
        subaccount_index=_checked_subaccount(subaccount_index),
        expires_at_ns=_checked_end(expires_at_ns, now_ns),
    )
    refuse_contradiction(rights)
    return rights


def checked_name(name: str) -> str:
    """The name as it is; VALIDATION_ERROR unless it is 1 to 64 of letters, digits, `-` and `_`."""
    if not _NAME.fullmatch(name):
        raise invalid("name", f"must be 1 to {NAME_MAX_CHARACTERS} letters, digits, '-' or '_'")
    return name


def checked_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes in the order given; VALIDATION_ERROR for none, an unknown or a repeated one."""
    if not scopes:
        raise invalid("scopes", "must name at least one scope; leave it out for the default")
    for index, scope in enumerate(scopes):
        if scope not in SCOPES:
            raise invalid(f"scopes[{index}]", "must be one of " + ", ".join(SCOPES))
        if scope in scopes[:index]:
            raise _repeated(f"scopes[{index}]")
    return tuple(scopes)


def checked_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """The origins in the order given; VALIDATION_ERROR for too many, an inexact or a repeated one."""
    if len(origins) > ORIGINS_COUNT:
        raise invalid("origins", f"must have at most {ORIGINS_COUNT} items")
    for index, origin in enumerate(origins):
        problem = check_origin(origin)
        if problem is not None:
            raise invalid(f"origins[{index}]", problem)
        if origin in origins[:index]:
            raise _repeated(f"origins[{index}]")
    return tuple(origins)


def refuse_contradiction(rights: KeyRights) -> None:
    """Raises VALIDATION_ERROR on `scopes` for a key with origins that could mint keys or withdraw."""
    if rights.origins and not SCOPES_WITHOUT_ORIGINS.isdisjoint(rights.scopes):
        refused = " and ".join(sorted(SCOPES_WITHOUT_ORIGINS.intersection(rights.scopes)))
        raise invalid("scopes", f"a key with origins cannot hold {refused}")


def _default_scopes(origins: Sequence[str]) -> tuple[str, ...]:
    return DEFAULT_SCOPES_WITH_ORIGINS if origins else DEFAULT_SCOPES


def _checked_subaccount(index: int | None) -> int | None:
    # Whether it exists is wallet's to say: a key may be pinned to one that is made later.
    if index is not None and not 0 <= index <= SUBACCOUNT_INDEX_MAX:
        raise invalid("subaccount_index", f"must be 0 to {SUBACCOUNT_INDEX_MAX}")
    return index


def _checked_end(expires_at_ns: int | None, now_ns: int) -> int | None:
    if expires_at_ns is None:
        return None
    if expires_at_ns <= now_ns:
        raise invalid("expires_at", "must be in the future")
    if expires_at_ns - now_ns > _LIFETIME_MAX_NS:
        raise invalid("expires_at", "must be at most ten years ahead")
    return expires_at_ns


def _repeated(path: str) -> SealgateError:
    return invalid(path, "must not be repeated")

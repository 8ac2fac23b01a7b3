"""What a session key may make, see and end: credentials that reach no further than itself."""

from __future__ import annotations

from typing import Final

from chassis.errors import Detail
from chassis.limits import SUBACCOUNT_INDEX_MAX
from chassis.signing import Refused, Role, Signer, Status

READING_SCOPES: Final = ("account:read", "wallet:read")
"""All that a key may do which a session key has made."""


def sees(signer: Signer, subaccount_index: int | None) -> bool:
    """Whether what is pinned to a subaccount, None for what is not pinned, is within the key's reach."""
    return signer.subaccount_index is None or signer.subaccount_index == subaccount_index


def require_sight(signer: Signer, subaccount_index: int | None) -> None:
    """Raises Refused with `rejected_scope` for what is not within the key's reach."""
    if not sees(signer, subaccount_index):
        raise Refused(Status.SCOPE)


def require_api_key_rights(signer: Signer, subaccount_index: int | None) -> None:
    """Refuses to make or to end an API key that is pinned to a subaccount, None for one that is not.

    Raises Refused: `rejected_scope` for a subaccount that the session key does not reach; without a pin
    `rejected_role` unless it is FULL_ACCESS, then `rejected_not_admin_rooted` unless it is that.
    """
    if subaccount_index is not None:
        require_sight(signer, subaccount_index)
    elif signer.role is not Role.FULL_ACCESS:
        raise Refused(Status.ROLE)
    elif not signer.admin_rooted:
        raise Refused(Status.NOT_ADMIN_ROOTED)


def device_key_pin(signer: Signer, requested_index: int | None) -> int | None:
    """The subaccount that a device key sees: the one asked for, else what the session key reaches.

    Raises Refused with `rejected_scope` for one that the session key does not reach.
    """
    if requested_index is None:
        return signer.subaccount_index
    require_sight(signer, requested_index)
    return requested_index


def refuse_impossible_pin(subaccount_index: int | None) -> None:
    """Raises Refused with `session_rejected_invalid` for a number that no subaccount has."""
    if subaccount_index is not None and subaccount_index > SUBACCOUNT_INDEX_MAX:
        detail = Detail("subaccount_index", f"must be at most {SUBACCOUNT_INDEX_MAX}")
        raise Refused(Status.SESSION_INVALID, [detail])

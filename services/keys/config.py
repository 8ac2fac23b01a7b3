"""What the keys service is told when it starts."""

from __future__ import annotations

from pydantic import Field

from chassis.config import ServiceConfig, UnixTarget
from chassis.limits import (
    ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT,
    API_KEYS_PER_OWNER_COUNT,
    DEVICE_KEYS_PER_ACCOUNT_COUNT,
    SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT,
    SESSION_KEYS_PER_MASTER_KEY_COUNT,
)


class KeysConfig(ServiceConfig):
    """The common part, where auth and wallet are, and the caps on live keys of each kind."""

    auth_target: UnixTarget
    wallet_target: UnixTarget
    api_keys_per_owner_count: int = Field(default=API_KEYS_PER_OWNER_COUNT, ge=1)
    device_keys_per_account_count: int = Field(default=DEVICE_KEYS_PER_ACCOUNT_COUNT, ge=1)
    admin_master_keys_per_account_count: int = Field(default=ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT, ge=1)
    scoped_master_keys_per_subaccount_count: int = Field(
        default=SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT, ge=1
    )
    max_sessions_per_master_key: int = Field(default=SESSION_KEYS_PER_MASTER_KEY_COUNT, ge=1)

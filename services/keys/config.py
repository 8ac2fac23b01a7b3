"""What the keys service is told when it starts."""

from __future__ import annotations

from pydantic import Field

from chassis.config import ServiceConfig, UnixTarget
from chassis.limits import API_KEYS_PER_OWNER_COUNT


class KeysConfig(ServiceConfig):
    """The common part, where auth is, and the cap on an owner's live keys."""

    auth_target: UnixTarget
    api_keys_per_owner_count: int = Field(default=API_KEYS_PER_OWNER_COUNT, ge=1)

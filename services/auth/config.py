"""What the auth service is told when it starts."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from chassis.config import ServiceConfig, UnixTarget
from chassis.limits import LIVE_SESSIONS_PER_ACCOUNT_COUNT


class AuthConfig(ServiceConfig):
    """The common part, where its private keys and the keys service are, and the cap on live sessions.

    Each directory holds the keys of one kind of signature, one file a key.
    """

    passport_key_dir: Path
    session_key_dir: Path
    keys_target: UnixTarget
    live_sessions_per_account_count: int = Field(default=LIVE_SESSIONS_PER_ACCOUNT_COUNT, ge=1)

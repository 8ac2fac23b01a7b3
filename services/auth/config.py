"""What the auth service is told when it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from chassis.config import ServiceConfig, UnixTarget
from chassis.limits import LIVE_SESSIONS_PER_ACCOUNT_COUNT


class AuthConfig(ServiceConfig):
    """The common part, where its private keys and the keys service are, and the cap on live sessions.

    Each directory holds the keys of one kind of signature, one file a key.
    """

    passport_key_dir: Path
    session_key_dir: Path
    browser_key_dir: Path
    keys_target: UnixTarget
    live_sessions_per_account_count: int = Field(default=LIVE_SESSIONS_PER_ACCOUNT_COUNT, ge=1)

    @model_validator(mode="after")
    def _keep_kinds_apart(self) -> Self:
        directories = {self.passport_key_dir, self.session_key_dir, self.browser_key_dir}
        if len({directory.resolve() for directory in directories}) < 3:
            raise ValueError("passport_key_dir, session_key_dir and browser_key_dir must be different")
        return self

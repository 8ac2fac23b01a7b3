"""What the wallet service is told when it starts."""

from __future__ import annotations

from pydantic import Field

from chassis.config import ServiceConfig, UnixTarget
from chassis.limits import WALLETS_PER_ACCOUNT_COUNT


class WalletConfig(ServiceConfig):
    """The common part, where auth is, and the cap on an account's wallets."""

    auth_target: UnixTarget
    wallets_per_account_count: int = Field(default=WALLETS_PER_ACCOUNT_COUNT, ge=1)

"""What the wallet service is told when it starts."""

from __future__ import annotations

from pydantic import Field

from chassis.config import ServiceConfig, UnixTarget
from chassis.limits import OPEN_ORDERS_PER_WALLET_COUNT, WALLETS_PER_ACCOUNT_COUNT


class WalletConfig(ServiceConfig):
    """The common part, where auth is, and the caps on an account's wallets and a wallet's orders."""

    auth_target: UnixTarget
    wallets_per_account_count: int = Field(default=WALLETS_PER_ACCOUNT_COUNT, ge=1)
    open_orders_per_wallet_count: int = Field(default=OPEN_ORDERS_PER_WALLET_COUNT, ge=1)

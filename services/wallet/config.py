"""What the wallet service is told when it starts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chassis.config import ServiceConfig, UnixTarget
from chassis.limits import (
    OPEN_ORDERS_PER_WALLET_COUNT,
    SUBACCOUNTS_PER_ACCOUNT_COUNT,
    WALLETS_PER_ACCOUNT_COUNT,
    WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS,
    WITHDRAWAL_ADDRESS_WAIT_SECONDS,
    WITHDRAWAL_DELAY_MAX_SECONDS,
    WITHDRAWAL_DELAY_SECONDS,
    WITHDRAWAL_LIMIT_MAX_PER_DAY,
    WITHDRAWAL_LIMIT_PER_DAY,
)


class WalletConfig(ServiceConfig):
    """The common part, where auth is, caps on subaccounts, wallets and orders, and how money leaves."""

    auth_target: UnixTarget
    wallets_per_account_count: int = Field(default=WALLETS_PER_ACCOUNT_COUNT, ge=1)
    subaccounts_per_account_count: int = Field(default=SUBACCOUNTS_PER_ACCOUNT_COUNT, ge=1)
    open_orders_per_wallet_count: int = Field(default=OPEN_ORDERS_PER_WALLET_COUNT, ge=1)
    withdrawal_rail: Literal["embedded", "operator"] = "embedded"
    withdrawal_delay_seconds: int = Field(
        default=WITHDRAWAL_DELAY_SECONDS, ge=0, le=WITHDRAWAL_DELAY_MAX_SECONDS
    )
    withdrawal_address_wait_seconds: int = Field(
        default=WITHDRAWAL_ADDRESS_WAIT_SECONDS, ge=0, le=WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS
    )
    # Whole ones of an asset that an account may withdraw in any 24 hours.
    withdrawal_limit_per_day: int = Field(
        default=WITHDRAWAL_LIMIT_PER_DAY, ge=0, le=WITHDRAWAL_LIMIT_MAX_PER_DAY
    )

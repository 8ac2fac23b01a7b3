"""What a local stack is asked for, and what its seed answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.network import Address


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What `sealgate up` was asked for.

    `rate_limits` has calls a minute by class; the wait is of a withdrawal address before its first use.
    `rate_limit_store` is where the services count together, None: each by itself.
    """

    data: Path
    http: Address
    ready_file: Path | None
    seeded: bool
    rate_limits: Mapping[str, int]
    withdrawal_address_wait_seconds: int
    rate_limit_store: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Seeded:
    """What the demo seed gives a newcomer; None where nothing was seeded."""

    project_id: str | None = None
    project_api_key: str | None = None
    account_id: str | None = None
    wallet_id: str | None = None
    token_id: str | None = None

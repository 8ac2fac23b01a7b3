"""What the vectors are made of: keys that everybody knows, one moment, one deployment, one account."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, Final

from sealgate.client.machine import uuid_v7
from sealgate.client.signing import NEVER, UNPINNED, KeyPair, Signer

AUDIENCE: Final = "api.example.com"
# 2026-01-01T00:00:00Z
NOW_MS: Final = 1_767_225_600_000
ACCOUNT: Final = uuid.UUID("019b76da-a800-7ac0-8c01-000000000001")
OTHER_ACCOUNT: Final = uuid.UUID("019b76da-a800-7ac0-8c02-000000000002")
WALLET: Final = "019b76da-a800-7a11-8e01-000000000003"
OTHER_WALLET: Final = "019b76da-a800-7a11-8e02-000000000004"
ORDER: Final = "019b76da-a800-70de-8001-000000000005"
DEVICE_KEY: Final = "019b76da-a800-7dec-8001-000000000006"
OUTCOME: Final = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
ADDRESS: Final = "0x52908400098527886e0f7030069857d2e4169ee7"

Row = dict[str, Any]


def key(label: str) -> KeyPair:
    """The key pair of a label."""
    return KeyPair(hashlib.sha256(f"sealgate vector {label}".encode()).digest())


MASTER: Final = key("master")
SESSION: Final = key("session")
NEW: Final = key("new")


def request_id(name: str, offset_ms: int = 0) -> uuid.UUID:
    """The id of a named request, made so long after the vectors' moment."""
    return uuid_v7(NOW_MS + offset_ms, hashlib.sha256(name.encode()).digest()[:10])


def signer(pair: KeyPair) -> Signer:
    """The pair, for the vectors' account and deployment."""
    return Signer(pair, ACCOUNT, audience=AUDIENCE)


PLACE: Final = {
    "subaccount_index": 0,
    "wallet_id": WALLET,
    "token_id": OUTCOME,
    "side": "BUY",
    "type": "LIMIT",
    "amount": "10",
    "units": "SHARES",
    "price": "0.5",
}
MINT: Final = {"public_key": NEW.public_key, "scope": UNPINNED, "valid_until_ns": NEVER}
REVOKE: Final = {"public_key": NEW.public_key, "include_api_keys": True}

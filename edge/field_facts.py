"""What a field's name says about its values, for the API's description and nothing else.

The types say the rest; the services check. Rows are JSON Schema keywords and an `example`. A row of
`Message.field` comes before one of `Bytes.field` (raw bytes), that before one of `Request.field` (what is
sent), and that before one of `field`. An example leaves out what is `left_out` of what is sent, and shows as
absent or empty what is `left_empty`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chassis.limits import (
    NAME_MAX_CHARACTERS,
    ORIGINS_COUNT,
    SESSION_CAP_MAX_SECONDS,
    SESSION_IDLE_MIN_SECONDS,
    SUBACCOUNT_INDEX_MAX,
)

Facts = Mapping[str, Any]

_SCOPES: Final = (
    "account:read",
    "keys:write",
    "wallet:read",
    "wallet:write",
    "orders:write",
    "withdrawals:write",
)
_MODULES: Final = ("wallet", "trading", "browser", "signing")
_ORIGIN: Final = r"^https?://[^/?#@]+$"
_LATER: Final = "2030-01-01T00:00:00Z"
_LONG_LATER_S: Final = 1_893_456_000


def _uuid(last_digits: str) -> Facts:
    return {"format": "uuid", "example": f"0199d3a1-6e2b-7c4d-8f10-{last_digits:0>12}"}


def _decimal(example: str) -> Facts:
    return {"format": "decimal", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$", "example": example}


def _signed(example: str) -> Facts:
    return {"format": "decimal", "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$", "example": example}


def _token(example: str) -> Facts:
    return {"pattern": r"^[0-9]+$", "example": example}


def _text(example: str) -> Facts:
    return {"example": example}


def _raw(bytes_count: int) -> Facts:
    """Raw bytes of one length, as base64 writes them."""
    rest = bytes_count % 3
    digits = bytes_count // 3 * 4 + (rest + 1 if rest else 0)
    padding = "=" * (3 - rest) if rest else ""
    return {"pattern": f"^[A-Za-z0-9+/]{{{digits}}}{padding}$"}


_PUBLIC_KEY: Final = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
# Zeros, which no key makes: what is signed has the name of a deployment in it.
_SIGNATURE: Final = "A" * 86 + "=="
_NANOSECONDS: Final = {"minimum": 0, "example": 1_772_357_400_000_000_001}
_ADDRESS: Final = {
    "pattern": r"^0x[0-9a-f]{40}$",
    "example": "0x5f2d8e1c0b7a49d3e6f8a1b2c3d4e5f60718293a",
}
_KEY_NAME: Final = {
    "pattern": rf"^[A-Za-z0-9_-]{{1,{NAME_MAX_CHARACTERS}}}$",
    "example": "trading-bot",
}
_DISPLAY_NAME: Final = {
    "minLength": 1,
    "maxLength": NAME_MAX_CHARACTERS,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
}
_LEFT_SHARES: Final = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
_RIGHT_SHARES: Final = "71321045679252212594626385532706912750332728571942532289631379312455583992563"

FACTS: Final[Mapping[str, Facts]] = {
    # Who
    "project_id": _uuid("a1"),
    "account_id": _uuid("b2"),
    "session_id": _uuid("c3"),
    "wallet_id": _uuid("d4"),
    "order_id": _uuid("e5"),
    "order_ids": _uuid("e5"),
    "event_id": _uuid("f6"),
    "account_number": {"minimum": 1, "example": 4021},
    "subaccount_index": {"minimum": 0, "example": 0},
    "Request.subaccount_index": {
        "minimum": 0,
        "maximum": SUBACCOUNT_INDEX_MAX,
        "example": 0,
        "left_out": True,
    },
    "ApiKey.subaccount_index": {"example": None},
    "IssuedApiKey.subaccount_index": {"example": None},
    "GetCurrentSessionResponse.subaccount_index": {"example": None},
    "MasterKey.subaccount_index": {"example": None},
    "SessionKey.subaccount_index": {"example": None},
    "SessionApiKey.subaccount_index": {"example": None},
    "DeviceKey.subaccount_index": {"example": None},
    "Project.name": _text("Example Exchange"),
    "UpdateProjectRequest.name": {**_DISPLAY_NAME, "example": "Example Exchange"},
    "modules": {"enum": list(_MODULES), "example": "wallet"},
    "allowed_origins": {
        "pattern": _ORIGIN,
        "maxItems": ORIGINS_COUNT,
        "uniqueItems": True,
        "example": "https://shop.example",
    },
    "idle_timeout_seconds": {"minimum": SESSION_IDLE_MIN_SECONDS, "example": 604_800},
    "absolute_cap_seconds": {
        "minimum": SESSION_IDLE_MIN_SECONDS,
        "maximum": SESSION_CAP_MAX_SECONDS,
        "example": 2_592_000,
    },
    "metadata": {"example": {"customer": "C-1009", "tier": "gold"}},
    # Credentials
    "session_token": {
        "example": "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIiwidHlwIjoic2VhbGdhdGUtc2Vzc2lvbitqd3QifQ.e30.c2ln"
    },
    "CreateBrowserSessionResponse.session_token": {
        "example": "eyJhbGciOiJFZERTQSIsImtpZCI6ImIxIiwidHlwIjoic2VhbGdhdGUtYnJvd3Nlcitqd3QifQ.e30.c2ln"
    },
    "user_agent": _text("ExampleApp/2.4"),
    "Session.address": _text("203.0.113.7"),
    "kind": {"example": "ACCOUNT_SESSION"},
    "credential_id": _text("0199d3a1-6e2b-7c4d-8f10-0000000000c3"),
    "authenticated": {"const": True, "example": True},
    "expired": {"example": True},
    "ExpireAllSessionsResponse.expired": {"minimum": 0, "example": 2},
    "deleted": {"const": True, "example": True},
    "public_key": {
        "pattern": "^pk_[A-Za-z0-9_-]{48}$",
        "example": "pk_A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg2yYBm",
    },
    "replaced_by": {"pattern": "^pk_[A-Za-z0-9_-]{48}$", "example": None},
    "secret_key": {
        "pattern": "^sk_[A-Za-z0-9_-]{48}$",
        "example": "sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8yrtIL",
    },
    "Request.name": _KEY_NAME,
    "name": _text("trading-bot"),
    "scopes": {"enum": list(_SCOPES), "example": "wallet:read"},
    "Request.scopes": {
        "enum": list(_SCOPES),
        "minItems": 1,
        "uniqueItems": True,
        "example": "wallet:read",
    },
    "origins": {"pattern": _ORIGIN, "example": "https://shop.example"},
    "Request.origins": {
        "pattern": _ORIGIN,
        "maxItems": ORIGINS_COUNT,
        "uniqueItems": True,
        "example": "https://shop.example",
    },
    "active": {"example": True},
    "overlap_seconds": {"minimum": 0, "maximum": 604_800, "example": 3600},
    "device_key_id": _uuid("d1"),
    "api_key": {
        "pattern": "^pk_[A-Za-z0-9_-]{48}$",
        "example": "pk_A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg2yYBm",
    },
    "CreateDeviceKeyResponse.secret_key": {
        "pattern": "^dk_[A-Za-z0-9_-]{48}$",
        "example": "dk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh_TpMqH",
    },
    "DeviceKey.name": _text("phone"),
    # Signed requests and the keys that sign
    "Bytes.payload": {"example": ""},
    "Bytes.signature": {**_raw(64), "example": _SIGNATURE},
    "Bytes.possession_signature": {**_raw(64), "example": _SIGNATURE},
    "Bytes.public_key": {**_raw(32), "example": _PUBLIC_KEY},
    "Bytes.master_public_key": {**_raw(32), "example": _PUBLIC_KEY},
    "Bytes.session_public_key": {**_raw(32), "example": _PUBLIC_KEY},
    "SessionApiKey.session_public_key": {"example": _PUBLIC_KEY},
    "request_id": _uuid("aa02"),
    "request_type": {"minimum": 0, "maximum": 65535, "example": 1},
    "processed_at_ns": _NANOSECONDS,
    "details": {"left_empty": True},
    "original": {"left_empty": True},
    "same_payload": {"left_empty": True},
    "RefusalDetail.path": _text("amount"),
    "RefusalDetail.message": _text("must be more than zero"),
    "scope": {"minimum": 0, "example": 4_294_967_295},
    "admin_rooted": {"example": True},
    "valid_until_ns": {"minimum": 0, "example": 1_803_893_400_000_000_000},
    "now_ns": _NANOSECONDS,
    "audience": _text("api.example.com"),
    # Keys that verify tokens
    "kty": {"const": "OKP", "example": "OKP"},
    "crv": {"const": "Ed25519", "example": "Ed25519"},
    "x": _text("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
    "kid": _text("0199d3a16e2b7c4d"),
    "alg": {"const": "EdDSA", "example": "EdDSA"},
    "use": {"const": "sig", "example": "sig"},
    # Wallets
    "Wallet.name": _text("Wallet 1"),
    "ChainWallet.name": _text("Wallet 1"),
    "CreateWalletRequest.name": {**_DISPLAY_NAME, "example": "Savings"},
    "UpdateWalletRequest.name": {**_DISPLAY_NAME, "example": "Savings"},
    "CreateWallet.name": {**_DISPLAY_NAME, "example": "Savings"},
    "UpdateWallet.name": {**_DISPLAY_NAME, "example": "Savings"},
    "CreateSubaccount.name": {**_DISPLAY_NAME, "example": "Market making"},
    "position": {"minimum": 1, "example": 1},
    "autoredeem": {"example": False},
    "chain_id": _text("POL"),
    "ChainsEntry.key": _text("POL"),
    "BalanceEntry.key": _text("USDC"),
    "BalanceEntry.value": _decimal("87.500000"),
    "address": _ADDRESS,
    "asset": _text("USDC"),
    "token": _text("USDC"),
    "chain": _text("POL"),
    "withdrawal_id": _uuid("e7"),
    "from_wallet_id": _uuid("d4"),
    "to_wallet_id": _uuid("d5"),
    "from_subaccount_index": {"minimum": 0, "maximum": SUBACCOUNT_INDEX_MAX, "example": 0},
    "to_subaccount_index": {"minimum": 0, "maximum": SUBACCOUNT_INDEX_MAX, "example": 7},
    "txn_seq": {"minimum": 1, "example": 812},
    "Subaccount.name": _text("Subaccount 1"),
    "SubaccountWallet.name": _text("Wallet 1"),
    "Withdrawal.tx_hash": _text(""),
    "total": _decimal("100.000000"),
    "available": _decimal("87.500000"),
    "held": _decimal("12.500000"),
    "asset_id": _text("USDC"),
    "Transfer.amount": _decimal("100.000000"),
    "Transfer.type": {"example": "DEPOSIT"},
    "transfer_type": {"example": "IN"},
    "from_address": _text(""),
    "to_address": _text(_ADDRESS["example"]),
    "tx_hash": _text("bank-2041"),
    # Markets
    "condition_id": {"pattern": "^0x[0-9a-f]{64}$", "example": "0x" + "3b6f09d2" * 8},
    "title": _text("Rain in Bergen"),
    "question": _text("Will it rain in Bergen on the first of March?"),
    "slug": _text("rain-in-bergen"),
    "description": _text("Decided by the official gauge."),
    "image": _text("https://images.example/rain.png"),
    "tags": _text("weather"),
    "labels": _text("daily"),
    "neg_risk": {"example": False},
    "liquidity": _decimal("0"),
    "volume": _decimal("5200.00"),
    "volume24hr": _decimal("0"),
    "outcome": _text("Yes"),
    "left_outcome": _text("Yes"),
    "right_outcome": _text("No"),
    "left_price": _decimal("0.52"),
    "right_price": _decimal("0.48"),
    "left_token_id": _token(_LEFT_SHARES),
    "right_token_id": _token(_RIGHT_SHARES),
    "winner_token_id": {"pattern": "^[0-9]*$", "example": ""},
    "resolved": {"example": False},
    "maker_bps": {"minimum": 0, "maximum": 1000, "example": 0},
    "taker_bps": {"minimum": 0, "maximum": 1000, "example": 20},
    "decimals": {"example": 6},
    "tick": _decimal("0.001"),
    "lot": _decimal("0.01"),
    "min_amount": _decimal("1"),
    "seq": {"minimum": 0, "example": 812},
    # Orders
    "token_id": _token(_LEFT_SHARES),
    "side": {"example": "BUY"},
    "type": {"example": "LIMIT"},
    "time_in_force": {"example": "GTC"},
    "units": {"example": "SHARES"},
    "Order.status": {"example": "PARTIAL"},
    "SubmittedOrder.status": {"example": "PARTIAL"},
    "amount": _decimal("100"),
    "shares": _decimal("100"),
    "filled": _decimal("40"),
    "price": _decimal("0.52"),
    "fee": _decimal("0.0416"),
    "Trade.shares": _decimal("40"),
    "Trade.amount": _decimal("20.8"),
    "Quote.amount": _decimal("52"),
    "average_price": _decimal("0.520000"),
    "best_price": _decimal("0.52"),
    "slippage": _signed("0"),
    "client_order_id": {"pattern": "^[A-Za-z0-9._:-]{1,64}$", "example": "bot-7:000123"},
    "expiration": {"minimum": 0, "example": _LONG_LATER_S, "left_out": True},
    "not_after": {"minimum": 0, "example": _LONG_LATER_S, "left_out": True},
    "post_only": {"example": False},
    "reduce_only": {"example": False},
    "venue": _text("embedded"),
    # Positions
    "avg_price": _decimal("0.520000"),
    "current_price": _decimal("0.55"),
    "initial_value": _decimal("52"),
    "current_value": _decimal("55"),
    "amount_pnl": _signed("3"),
    "percent_pnl": _signed("5.77"),
    "redeemable": {"example": False},
    # Pages and times
    "limit": {"minimum": 0, "example": 50},
    "offset": {"minimum": 0, "example": 0},
    "Order.expires_at": {"example": None},
    "created_at": {"example": "2026-03-01T09:30:00Z"},
    "created_at_ns": _NANOSECONDS,
    "updated_at_ns": _NANOSECONDS,
    "last_used_at_ns": _NANOSECONDS,
    "expires_at_ns": {"minimum": 0, "example": 1_772_962_200_000_000_000},
    "usable_at_ns": {"minimum": 0, "example": 1_772_443_800_000_000_000},
    "usable_at": {"example": "2026-03-02T09:30:00Z"},
    "updated_at": {"example": "2026-03-01T09:31:12.25Z"},
    "last_used_at": {"example": "2026-03-01T09:31:00Z"},
    "expires_at": {"example": "2026-03-08T09:30:00Z"},
    "IssuedApiKey.expires_at": {"example": _LATER},
    "ApiKey.expires_at": {"example": _LATER},
    "Request.expires_at": {"example": _LATER},
    "retires_at": {"example": None},
    "ends_at": {"example": "2026-03-02T00:00:00Z"},
    "status": {"example": "ACTIVE"},
}

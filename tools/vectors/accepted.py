"""What is signed as it should be, in all the stages that a signer goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sealgate.client import signed_operations
from sealgate.client.signed_call import SignedOperation
from sealgate.client.signing import (
    KeyPair,
    Signer,
    base64_text,
    payload_message,
    possession_message,
    session_message,
)
from tools.vectors.parts import (
    ACCOUNT,
    ADDRESS,
    AUDIENCE,
    DEVICE_KEY,
    MASTER,
    MINT,
    NEW,
    NOW_MS,
    ORDER,
    OTHER_WALLET,
    PLACE,
    REVOKE,
    SESSION,
    WALLET,
    Row,
    request_id,
    signer,
)

PAYLOADS: Final[tuple[tuple[str, KeyPair, Mapping[str, object]], ...]] = (
    ("SUBMIT_PLACE_ORDER", SESSION, PLACE),
    (
        "SUBMIT_PLACE_ORDER",
        SESSION,
        PLACE
        | {
            "subaccount_index": 7,
            "time_in_force": "GTD",
            "expiration": 1_767_312_000,
            "post_only": True,
            "reduce_only": False,
            "client_order_id": "ladder:3.bid",
            "not_after": 1_767_225_610,
        },
    ),
    ("SUBMIT_CANCEL_ORDER", SESSION, {"subaccount_index": 7, "wallet_id": WALLET, "order_id": ORDER}),
    ("SUBMIT_CANCEL_ALL_ORDERS", SESSION, {"subaccount_index": 7, "wallet_id": WALLET}),
    (
        "SUBMIT_AMEND_ORDER",
        SESSION,
        {"subaccount_index": 0, "wallet_id": WALLET, "order_id": ORDER, "price": "0.55", "shares": "12.5"},
    ),
    (
        "SUBMIT_TRANSFER_FUNDS",
        SESSION,
        {
            "from_subaccount_index": 0,
            "from_wallet_id": WALLET,
            "to_subaccount_index": 300,
            "to_wallet_id": OTHER_WALLET,
            "asset": "USDC",
            "amount": "12.345678",
        },
    ),
    (
        "SUBMIT_WITHDRAW",
        SESSION,
        {"wallet_id": WALLET, "asset": "USDC", "amount": "25", "chain": "POL", "address": ADDRESS},
    ),
    ("SUBMIT_CREATE_WALLET", SESSION, {"subaccount_index": 1, "name": "Märkte"}),
    (
        "SUBMIT_UPDATE_WALLET",
        SESSION,
        {"subaccount_index": 1, "wallet_id": WALLET, "autoredeem": False},
    ),
    ("SUBMIT_CREATE_SUBACCOUNT", SESSION, {"name": "Market making"}),
    ("SUBMIT_CREATE_SUBACCOUNT", SESSION, {}),
    ("SUBMIT_ADD_WITHDRAWAL_ADDRESS", MASTER, {"chain": "POL", "address": ADDRESS}),
    ("SUBMIT_REMOVE_WITHDRAWAL_ADDRESS", MASTER, {"chain": "POL", "address": ADDRESS}),
    ("SUBMIT_MINT_SESSION_KEY", MASTER, MINT),
    (
        "SUBMIT_MINT_SESSION_KEY",
        MASTER,
        {"public_key": SESSION.public_key, "scope": 0, "valid_until_ns": (NOW_MS + 3_600_000) * 1_000_000},
    ),
    ("SUBMIT_REVOKE_SESSION_KEY", MASTER, REVOKE),
    ("SUBMIT_LOGOUT", SESSION, {"public_key": SESSION.public_key, "include_api_keys": False}),
    (
        "SUBMIT_ADD_MASTER_KEY",
        MASTER,
        {
            "public_key": NEW.public_key,
            "reach": "SCOPED",
            "role": "TRADING_ONLY",
            "subaccount_index": 7,
            "possession_signature": Signer(NEW, ACCOUNT, audience=AUDIENCE).possession(),
        },
    ),
    ("SUBMIT_REMOVE_MASTER_KEY", MASTER, {"public_key": NEW.public_key}),
    ("SUBMIT_LIST_SESSION_KEYS", MASTER, {}),
)
HEADERS: Final[tuple[tuple[str, str, bytes], ...]] = (
    ("GET", "/api/v1/api-keys", b""),
    ("POST", "/api/v1/api-keys", b'{"name":"reader","subaccount_index":7}'),
    ("POST", "/api/v1/api-keys/pk_Zm9vYmFyZm9vYmFyZm9vYg/delete", b"{}"),
    ("POST", "/api/v1/login", b'{"name":"phone"}'),
    ("GET", "/api/v1/device-keys", b""),
    ("POST", f"/api/v1/device-keys/{DEVICE_KEY}/delete", b"{}"),
)


def key_row(pair: KeyPair) -> Row:
    """What makes a vector's signature reproducible."""
    seed = bytes(pair._key)  # noqa: SLF001 - a vector's private key is public
    return {"seed": seed.hex(), "public_key": pair.public_key.hex()}


def payload_row(constant: str, pair: KeyPair, arguments: Mapping[str, object], number: int) -> Row:
    """One signed payload, in all its stages."""
    operation: SignedOperation[Any] = getattr(signed_operations, constant)
    table = operation.payload
    if table is None:
        raise ValueError(f"{constant} takes no payload")
    made = request_id(f"{constant} {number}")
    body = table.encode(arguments)
    envelope = signer(pair).payload(table.request_type, made, body)
    return {
        "name": f"{operation.name}_{number}",
        "request_type": table.request_type,
        "message": table.name,
        "route": operation.template,
        **key_row(pair),
        "audience": AUDIENCE,
        "account_id": str(ACCOUNT),
        "request_id": str(made),
        "fields": {
            name: base64_text(value) if isinstance(value, bytes) else value
            for name, value in arguments.items()
        },
        "body": body.hex(),
        "payload": envelope.payload.hex(),
        "signed": payload_message(AUDIENCE, ACCOUNT, envelope.payload).hex(),
        "signature": envelope.signature.hex(),
        "envelope": envelope.document(),
    }


def headers_row(verb: str, target: str, body: bytes) -> Row:
    """One request that is signed in headers, in all its stages."""
    made = request_id(f"{verb} {target}")
    return {
        "name": f"{verb} {target}",
        "verb": verb,
        "target": target,
        "body": body.decode("ascii"),
        **key_row(SESSION),
        "audience": AUDIENCE,
        "account_id": str(ACCOUNT),
        "request_id": str(made),
        "signed": session_message(AUDIENCE, ACCOUNT, made, verb, target, body).hex(),
        "headers": signer(SESSION).headers(verb, target, body, made),
    }


def possession_row(pair: KeyPair) -> Row:
    """One proof of possession, in all its stages."""
    return {
        **key_row(pair),
        "audience": AUDIENCE,
        "account_id": str(ACCOUNT),
        "signed": possession_message(AUDIENCE, ACCOUNT, pair.public_key).hex(),
        "signature": signer(pair).possession().hex(),
    }

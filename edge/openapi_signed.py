"""What the API's description says of signed requests: their headers, examples and statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chassis.limits import SIGNED_REQUEST_AGE_SECONDS, SIGNED_REQUEST_LEAD_SECONDS
from chassis.methods import CredentialKind, Method, SignerNeed
from chassis.signing import Status
from edge.field_facts import FACTS

Json = dict[str, Any]

# Every signed method needs it beside its own.
_SIGNING: Final = "signing"

SIGNING_TAG: Final[Json] = {
    "name": "Signing",
    "description": f"""\
Keys are Ed25519 (RFC 8032, nothing hashed before), signatures have 64 bytes, public keys 32. JSON and headers
have them, and payloads, in standard base64 with padding; examples have signatures of nothing but zeros.

In what is signed, lengths are two bytes, little endian, ids are their 16 bytes, and the audience is the name
of the deployment: take it from your own configuration. The request id is a UUIDv7, whose time is at most
{SIGNED_REQUEST_AGE_SECONDS} s past and {SIGNED_REQUEST_LEAD_SECONDS} s ahead when it arrives.

A payload is, without anything between:

- 1 byte: version, 1
- 1 byte: signature type, 0 for Ed25519
- 2 bytes: request type, little endian; each route says its own
- 4 bytes: zeros
- 16 bytes: request id
- the rest: the protobuf message of the request type, its fields in the order of their numbers, each once; one
without `optional` that is 0, false or empty is left out, and there is no unknown field and no unknown enum

The signature of a payload is over these bytes:

- `sealgate/payload/v1` and a zero byte
- length of the audience, audience
- account id
- payload, as it is sent

A signature in headers is over these:

- `sealgate/session-signature/v1` and a zero byte
- length of the audience, audience
- account id
- request id
- length of the HTTP method, HTTP method
- length of the target, target: path and query as they are sent
- SHA-256 of the body, as it is sent

A new master key's own signature, which shows that its private half is at hand, is over these:

- `sealgate/possession/v1` and a zero byte
- length of the audience, audience
- account id
- public key of the new master key

A session key is rooted in an ADMIN master key when such a one minted it with the scope 4294967295; with the
role FULL_ACCESS it may then withdraw. What can become of a request is in the type `SignedStatus`.""",
}

SIGNED_SECURITY_SCHEMES: Final[Json] = {
    "sessionSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-SIGNATURE",
        "description": (
            "Ed25519 signature by a session key over verb, target and body: 64 bytes in base64. The headers "
            "`X-ACCOUNT-ID`, `X-PUBLIC-KEY` and `X-REQUEST-ID` belong to it; the bytes are in the section "
            "Signing."
        ),
    },
}

SIGNED_PARAMETERS: Final[Json] = {
    "SignedAccountId": {
        "name": "X-ACCOUNT-ID",
        "in": "header",
        "required": True,
        "description": "The account that the key belongs to.",
        "schema": {"type": "string", "format": "uuid"},
        "example": FACTS["account_id"]["example"],
    },
    "SignedPublicKey": {
        "name": "X-PUBLIC-KEY",
        "in": "header",
        "required": True,
        "description": "The session key that signed: 32 bytes in base64.",
        "schema": {"type": "string", "contentEncoding": "base64", "minLength": 44, "maxLength": 44},
        "example": FACTS["Bytes.public_key"]["example"],
    },
    "SignedRequestId": {
        "name": "X-REQUEST-ID",
        "in": "header",
        "required": True,
        "description": "The signed request id: a UUIDv7 that was never used, of the present time.",
        "schema": {"type": "string", "format": "uuid"},
        "example": FACTS["request_id"]["example"],
    },
}

_MEANINGS: Final[Mapping[Status, str]] = {
    Status.COMPLETED: "It was done.",
    Status.DUPLICATE: "The request id was used before; `original` says what became of it then.",
    Status.NEVER_RAN: "It did not arrive in time and never will be done.",
    Status.SESSION_MAX_SESSIONS: "The master key has as many live session keys as it may.",
    Status.SESSION_INVALID: "The session, API or device key cannot be made, or there is none such to end.",
    Status.SESSION_SCOPE: "The scope is beyond the master key's reach.",
    Status.SESSION_KEY_REUSED: "The public key was used on the account before.",
    Status.MASTER_KEY_INVALID: "The master key cannot be added, or there is none such to remove.",
    Status.MASTER_KEY_LIMIT: "There are as many master keys of this reach as there may be.",
    Status.MASTER_KEY_LAST_ADMIN: "It is the last ADMIN key with FULL_ACCESS.",
    Status.MASTER_KEY_REUSED: "The public key was used on the account before.",
    Status.NOT_ADMIN_ROOTED: "The key is not rooted in an ADMIN master key, or is pinned.",
    Status.ROLE: "The key's role does not allow it.",
    Status.SCOPE: "The subaccount is beyond the key's reach.",
    Status.ORDER_INVALID: "The order is not one that the market takes.",
    Status.ORDER_INSUFFICIENT_BALANCE: "The wallet has not enough for it.",
    Status.ORDER_MARKET_CLOSED: "The market is closed.",
    Status.ORDER_WOULD_CROSS: "A post-only order would have been filled at once.",
    Status.ORDER_NOT_FILLED: "A FOK order could not be filled whole.",
    Status.ORDER_NOT_OPEN: "There is no such open order.",
    Status.WITHDRAWAL_INVALID: "The withdrawal is not valid.",
    Status.WITHDRAWAL_INSUFFICIENT_BALANCE: "The wallet has not enough for it.",
    Status.WITHDRAWAL_ADDRESS: "The address is not registered, or has to wait still.",
    Status.WITHDRAWAL_LIMIT: "It is beyond what may be withdrawn, or one address more than there may be.",
    Status.TRANSFER_INVALID: "The transfer is not valid.",
    Status.TRANSFER_INSUFFICIENT_BALANCE: "The wallet has not enough for it.",
    Status.SUBACCOUNT_LIMIT: "The account has no place for a subaccount more, or for its wallet.",
    Status.PORTFOLIO_INVALID: "The wallet cannot be made or changed like this, or is one too many.",
}
STATUS_SCHEMA: Final[Json] = {
    "type": "string",
    "description": "\n\n".join(
        [
            "What became of a signed request. One that is not known here is a rejection.",
            *(f"`{status}`: {_MEANINGS[status]}" for status in Status),
        ]
    ),
    "enum": [status.value for status in Status],
    "examples": [Status.COMPLETED.value],
}

_WORDS: Final = {CredentialKind.MASTER_KEY: "a master key", CredentialKind.SESSION_KEY: "a session key"}
_NEEDS: Final = {
    SignerNeed.FULL_ACCESS: "has the role FULL_ACCESS",
    SignerNeed.ADMIN_ROOTED: "is rooted in an ADMIN master key and not pinned",
}


def signed_words(method: Method) -> tuple[str, ...]:
    """What a caller has to sign, with what key, and what a refusal looks like, in paragraphs."""
    signer = " or ".join(_WORDS[kind] for kind in sorted(method.accepts))
    if method.takes_payload:
        what = (
            f"Needs the signature of {signer} over a payload of request type {method.request_type}, whose "
            f"body is the protobuf message `{method.payload_message}`; the body of the request carries all "
            "of it, and no header does. In the example the signature is nothing but zeros."
        )
    else:
        what = f"Needs the signature of {signer} over verb, target and body, in headers."
    needs = " and ".join(_NEEDS[need] for need in sorted(method.signer_needs))
    required = (f"It is refused unless the key {needs}.",) if needs else ()
    modules = " and ".join(f"`{name}`" for name in dict.fromkeys((method.module, _SIGNING)))
    return (
        what,
        *required,
        "A request that was refused once its signature held is answered 200: read `status`.",
        f"The project must have the {'module' if method.module == _SIGNING else 'modules'} {modules}.",
    )

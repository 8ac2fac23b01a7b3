"""Which errors a route can answer: what its row of the method table and its path bring along, by status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chassis.errors import ERROR_TABLE, Code
from chassis.methods import CredentialKind, Effect, Exposure, HttpBinding, Method
from chassis.rpc.idempotency_key import takes_key
from edge.routes import variable_names

# An id in a path that names nothing, or is no id.
_NOUNS: Final[Mapping[str, Code]] = {
    "account_id": Code.ACCOUNT_NOT_FOUND,
    "session_id": Code.SESSION_NOT_FOUND,
    "public_key": Code.API_KEY_NOT_FOUND,
    "wallet_id": Code.WALLET_NOT_FOUND,
    "order_id": Code.ORDER_NOT_FOUND,
    "condition_id": Code.MARKET_NOT_FOUND,
    "request_id": Code.REQUEST_NOT_FOUND,
    "chain": Code.CHAIN_NOT_FOUND,
}
_ALWAYS: Final = frozenset(
    {
        Code.VALIDATION_ERROR,
        Code.PAYLOAD_TOO_LARGE,
        Code.UNSUPPORTED_MEDIA_TYPE,
        Code.HEADERS_TOO_LARGE,
        Code.INTERNAL,
        Code.OVERLOADED,
        Code.UNAVAILABLE,
        Code.DEADLINE_EXCEEDED,
    }
)
# Any credential that is shown is checked, also one of a kind that the route does not take.
_WITH_A_CREDENTIAL: Final = frozenset(
    {
        Code.CREDENTIAL_AMBIGUOUS,
        Code.API_KEY_INVALID,
        Code.API_KEY_REVOKED,
        Code.API_KEY_EXPIRED,
        Code.SESSION_INVALID,
        Code.SESSION_EXPIRED,
        Code.ORIGIN_NOT_ALLOWED,
        Code.CREDENTIAL_NOT_ACCEPTED,
        Code.TENANT_SUSPENDED,
        Code.SUBSCRIPTION_CANCELLED,
        Code.RATE_LIMITED,
    }
)
# Signatures and headers of signed requests, in the place of what credentials bring along.
_WITH_A_SIGNATURE: Final = frozenset(
    {
        Code.CREDENTIAL_AMBIGUOUS,
        Code.REQUEST_TIMESTAMP_SKEW,
        Code.SIGNATURE_INVALID,
        Code.SESSION_INVALID,
        Code.ORIGIN_NOT_ALLOWED,
        Code.CREDENTIAL_NOT_ACCEPTED,
        Code.TENANT_SUSPENDED,
        Code.SUBSCRIPTION_CANCELLED,
        Code.ACCOUNT_SUSPENDED,
        Code.MODULE_NOT_ENABLED,
        Code.RATE_LIMITED,
    }
)
_OF_PAYLOADS: Final = frozenset({Code.MALFORMED_PAYLOAD, Code.UNSUPPORTED_VERSION})
_IDEMPOTENCY: Final = frozenset({Code.IDEMPOTENCY_CONFLICT, Code.REQUEST_IN_PROGRESS})


def refusals_of(method: Method, binding: HttpBinding) -> dict[int, list[Code]]:
    """The codes that a route can answer, by HTTP status, both in their order in the error table."""
    codes = set(_ALWAYS) | set(method.refusals)
    names = variable_names(binding.template)
    codes |= {_NOUNS[name] for name in names if name in _NOUNS}
    if names:
        codes.add(Code.ROUTE_NOT_FOUND)
    if takes_key(method):
        codes |= _IDEMPOTENCY
    if method.is_signed:
        codes |= _of_signatures(method)
    elif method.exposure is Exposure.PUBLIC:
        codes |= _of_credentials(method)
    by_status: dict[int, list[Code]] = {}
    for row in ERROR_TABLE.values():
        if row.code in codes:
            by_status.setdefault(row.http_status, []).append(row.code)
    return dict(sorted(by_status.items()))


def _of_signatures(method: Method) -> set[Code]:
    conditions = {
        Code.SESSION_EXPIRED: CredentialKind.SESSION_KEY in method.accepts,
        Code.SUBSCRIPTION_PAST_DUE: method.effect is Effect.WRITE,
    }
    found = {*_WITH_A_SIGNATURE, *(code for code, applies in conditions.items() if applies)}
    return found | _OF_PAYLOADS if method.takes_payload else found


def _of_credentials(method: Method) -> set[Code]:
    conditions = {
        Code.SESSION_REQUIRED: method.takes_browser_session
        or method.accepts == {CredentialKind.ACCOUNT_SESSION},
        Code.API_KEY_REQUIRED: method.accepts != {CredentialKind.ACCOUNT_SESSION},
        Code.ACCOUNT_SUSPENDED: method.accepts != {CredentialKind.PROJECT_KEY},
        Code.SUBSCRIPTION_PAST_DUE: method.effect is Effect.WRITE,
        Code.SCOPE_NOT_GRANTED: method.scope is not None,
        # Without the module `browser` no page writes with an API key.
        Code.MODULE_NOT_ENABLED: method.module is not None or method.takes_browser_session,
    }
    return {*_WITH_A_CREDENTIAL, *(code for code, applies in conditions.items() if applies)}

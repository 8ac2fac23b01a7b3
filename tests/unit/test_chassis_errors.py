"""The error table against the contract's, written down here a second time."""

from __future__ import annotations

import pytest

from chassis.errors import ERROR_TABLE, Code, Detail, SealgateError, invalid

# HTTP status, gRPC status, codes; the first lines are the contract's own, the last the codes it
# leaves to us ("and the like").
CONTRACT = (
    (
        400,
        "INVALID_ARGUMENT",
        (
            "VALIDATION_ERROR MALFORMED_PAYLOAD CREDENTIAL_AMBIGUOUS REQUEST_TIMESTAMP_SKEW "
            "UNSUPPORTED_VERSION ORDER_NOT_FILLED"
        ),
    ),
    (
        401,
        "UNAUTHENTICATED",
        (
            "API_KEY_REQUIRED API_KEY_INVALID API_KEY_REVOKED API_KEY_EXPIRED SESSION_REQUIRED "
            "SESSION_INVALID SESSION_EXPIRED SIGNATURE_INVALID"
        ),
    ),
    (
        403,
        "PERMISSION_DENIED",
        (
            "ORIGIN_NOT_ALLOWED SCOPE_NOT_GRANTED CREDENTIAL_NOT_ACCEPTED SIGNATURE_REQUIRED "
            "TENANT_SUSPENDED SUBSCRIPTION_CANCELLED SUBSCRIPTION_PAST_DUE MODULE_NOT_ENABLED "
            "ACCOUNT_SUSPENDED"
        ),
    ),
    (
        404,
        "NOT_FOUND",
        (
            "ACCOUNT_NOT_FOUND SESSION_NOT_FOUND API_KEY_NOT_FOUND WALLET_NOT_FOUND ORDER_NOT_FOUND "
            "MARKET_NOT_FOUND REQUEST_NOT_FOUND ROUTE_NOT_FOUND"
        ),
    ),
    (405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED"),
    (415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE"),
    (409, "ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT"),
    (409, "ABORTED", "REQUEST_IN_PROGRESS"),
    (
        409,
        "FAILED_PRECONDITION",
        (
            "SESSION_ALREADY_REFRESHED SESSION_NOT_LIVE INSUFFICIENT_BALANCE ORDER_NOT_OPEN "
            "MARKET_CLOSED WALLET_NOT_EMPTY KEY_LIMIT_REACHED"
        ),
    ),
    (413, "RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE"),
    (431, "RESOURCE_EXHAUSTED", "HEADERS_TOO_LARGE"),
    (429, "RESOURCE_EXHAUSTED", "RATE_LIMITED"),
    (503, "UNAVAILABLE", "OVERLOADED UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    (500, "INTERNAL", "INTERNAL"),
    (404, "NOT_FOUND", "PROJECT_NOT_FOUND ASSET_NOT_FOUND TOKEN_NOT_FOUND EVENT_NOT_FOUND"),
    (
        400,
        "INVALID_ARGUMENT",
        "PRICE_OUT_OF_RANGE PRICE_OFF_TICK AMOUNT_OUT_OF_RANGE AMOUNT_OFF_LOT EXPIRATION_OUT_OF_RANGE",
    ),
    (409, "ALREADY_EXISTS", "CLIENT_ORDER_ID_USED"),
    (409, "FAILED_PRECONDITION", "ORDER_WOULD_CROSS ORDER_LIMIT_REACHED"),
    (409, "FAILED_PRECONDITION", "SESSION_LIMIT_REACHED WALLET_LIMIT_REACHED LAST_PROJECT_API_KEY"),
    (409, "FAILED_PRECONDITION", "KEY_ALREADY_ROTATED"),
    (409, "ALREADY_EXISTS", "DEPOSIT_CONFLICT MASTER_KEY_EXISTS"),
    (404, "NOT_FOUND", "DEVICE_KEY_NOT_FOUND SUBACCOUNT_NOT_FOUND WITHDRAWAL_NOT_FOUND CHAIN_NOT_FOUND"),
    (409, "FAILED_PRECONDITION", "SUBACCOUNT_LIMIT_REACHED ADDRESS_LIMIT_REACHED ADDRESS_NOT_USABLE"),
    (409, "FAILED_PRECONDITION", "WITHDRAWAL_LIMIT_REACHED WITHDRAWAL_STATE_CONFLICT"),
)
ROWS = [(code, http, grpc) for http, grpc, codes in CONTRACT for code in codes.split()]


@pytest.mark.parametrize(("code", "http_status", "grpc_status"), ROWS, ids=[row[0] for row in ROWS])
def test_code_has_the_statuses_of_the_contract(code: str, http_status: int, grpc_status: str) -> None:
    """One code, one row, and the row says what the contract says."""
    row = ERROR_TABLE[Code(code)]
    assert (row.code, row.http_status, row.grpc_status) == (code, http_status, grpc_status)


def test_table_has_the_codes_of_the_contract_and_no_others() -> None:
    """A code that is not written down above does not exist, and none is written down twice."""
    assert sorted(code for code, _, _ in ROWS) == sorted(Code)
    assert set(ERROR_TABLE) == set(Code)


@pytest.mark.parametrize("code", list(Code))
def test_message_is_one_sentence_for_the_public(code: Code) -> None:
    """Every text is a whole sentence, and no two codes share one."""
    message = ERROR_TABLE[code].message
    assert message[0].isupper()
    assert message.endswith(".")
    assert len(message) <= 80
    assert [row.code for row in ERROR_TABLE.values() if row.message == message] == [code]


def test_order_of_codes_never_changes() -> None:
    """The position of a code is its number in the proto enum: new ones are appended."""
    assert [list(Code).index(code) for code in (Code.VALIDATION_ERROR, Code.RATE_LIMITED, Code.INTERNAL)] == [
        0,
        50,
        54,
    ]


def test_error_says_no_more_than_its_code_when_it_is_printed() -> None:
    """What is for the log does not slip out through the exception's text."""
    error = SealgateError(Code.INTERNAL, internal="postgres://secret", details=[Detail("a", "b")])
    assert (str(error), repr(error)) == ("INTERNAL", "SealgateError('INTERNAL')")


def test_error_keeps_sixteen_details_with_short_paths_at_most() -> None:
    """An answer must fit into a client's metadata, whatever a request was made of."""
    many = [Detail(f"items[{number}]" + "x" * 500, "must be text") for number in range(100)]
    error = SealgateError(Code.VALIDATION_ERROR, details=many)
    assert [detail.path[:8] for detail in error.details] == [f"items[{number}]"[:8] for number in range(16)]
    assert {len(detail.path) for detail in error.details} == {128}


def test_invalid_names_the_field() -> None:
    """The short form of the most common refusal."""
    error = invalid("metadata.name", "must be text")
    assert (error.code, error.details) == (Code.VALIDATION_ERROR, (Detail("metadata.name", "must be text"),))
    assert error.row is ERROR_TABLE[Code.VALIDATION_ERROR]

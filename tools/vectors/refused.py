"""What is refused, each vector with one thing wrong with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from nacl.bindings import crypto_core_ed25519_add

from sealgate.client import bodies, signed_operations
from sealgate.client.signing import Signer, base64_text, payload_bytes, payload_message, session_message
from sealgate.client.wire import varint
from tools.vectors.parts import (
    ACCOUNT,
    AUDIENCE,
    MASTER,
    MINT,
    NEW,
    NOW_MS,
    OTHER_ACCOUNT,
    PLACE,
    SESSION,
    Row,
    request_id,
    signer,
)

# The order of Ed25519's prime-order group.
_L: Final = 2**252 + 27742317777372353535851937790883648493
_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ORDER_EIGHT: Final = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


def refused(name: str, why: str, code: str, envelope: Mapping[str, str], **more: object) -> Row:
    """An envelope that is refused at the route of PlaceOrder, unless `more` names another."""
    status = 401 if code == "SIGNATURE_INVALID" else 400
    row = {"name": name, "why": why, "route": signed_operations.SUBMIT_PLACE_ORDER.template}
    now_ns = NOW_MS * 1_000_000
    return row | {"now_ns": now_ns, "http_status": status, "code": code, "envelope": dict(envelope)} | more


def signed_raw(name: str, body: bytes, **changes: Any) -> dict[str, str]:  # noqa: ANN401
    """An envelope over any bytes as body, signed as it should be."""
    made = changes.get("made") or request_id(name)
    payload = changes.get("cut", lambda whole: whole)(
        payload_bytes(bodies.PLACE_ORDER.request_type, made, body)
    )
    account: uuid.UUID = changes.get("account", ACCOUNT)
    message = payload_message(changes.get("audience", AUDIENCE), account, payload)
    return {
        "payload": base64_text(payload),
        "signature": base64_text(SESSION.sign(message)),
        "public_key": base64_text(SESSION.public_key),
        "account_id": str(ACCOUNT),
    }


def refused_rows() -> list[Row]:
    """Envelopes with one thing wrong with each of them."""
    body = bodies.PLACE_ORDER.encode(PLACE)
    return [
        *_refused_forms(body),
        *_refused_bodies(body),
        *_refused_signatures(body),
    ]


def _refused_forms(body: bytes) -> list[Row]:
    malformed, skew = "MALFORMED_PAYLOAD", "REQUEST_TIMESTAMP_SKEW"
    form = signed_raw("form", body)
    slashed = _until(lambda number: signed_raw(f"url-safe {number}", body), lambda e: "/" in e["signature"])
    # 88 characters of 64 bytes: the last before the padding has four spare bits.
    last = _BASE64[_BASE64.index(form["signature"][85]) + 1]
    spare = form["signature"][:85] + last + "=="
    url_safe = slashed | {"signature": slashed["signature"].replace("/", "_").replace("+", "-")}
    four = uuid.UUID(bytes=request_id("four").bytes, version=4)
    return [
        refused("url_safe_base64", "`_` and `-` in place of `/` and `+`", malformed, url_safe),
        refused(
            "base64_without_padding", "no `=`", malformed, form | {"signature": form["signature"].rstrip("=")}
        ),
        refused(
            "non_canonical_base64",
            "spare bits that are not zero",
            malformed,
            form | {"signature": spare},
        ),
        refused("short_signature", "63 bytes", malformed, form | {"signature": base64_text(bytes(63))}),
        refused("short_public_key", "31 bytes", malformed, form | {"public_key": base64_text(bytes(31))}),
        refused("uuid_version_4", "its request id has no time", malformed, signed_raw("", body, made=four)),
        refused(
            "15001_ms_old",
            "one millisecond past the window",
            skew,
            signed_raw("", body, made=request_id("old", -15_001)),
        ),
        refused(
            "5001_ms_ahead",
            "one millisecond ahead of the window",
            skew,
            signed_raw("", body, made=request_id("ahead", 5_001)),
        ),
        refused(
            "version_2",
            "another version of the payload",
            "UNSUPPORTED_VERSION",
            signed_raw("two", body, cut=lambda whole: b"\x02" + whole[1:]),
        ),
        refused(
            "signature_type_1",
            "reserved for secp256k1",
            malformed,
            signed_raw("type", body, cut=lambda whole: whole[:1] + b"\x01" + whole[2:]),
        ),
        refused(
            "reserved_not_zero",
            "bytes 4 to 7 are zero",
            malformed,
            signed_raw("reserved", body, cut=lambda whole: whole[:7] + b"\x01" + whole[8:]),
        ),
        refused(
            "other_route",
            "a PlaceOrder at the route of CancelOrder",
            malformed,
            signed_raw("route", body),
            route=signed_operations.SUBMIT_CANCEL_ORDER.template,
        ),
    ]


def _refused_bodies(body: bytes) -> list[Row]:
    malformed = "MALFORMED_PAYLOAD"
    fields = PLACE | {"subaccount_index": 7}
    repeated = bodies.PLACE_ORDER.encode(fields)
    long_form = b"\x08\x87\x00" + repeated[2:]
    nested = varint(15 << 3 | 2) + b"\x04" + varint(1 << 3 | 2) + b"\x02\x08\x01"
    cases: list[tuple[str, str, bytes, Callable[[bytes], bytes]]] = [
        ("trailing_bytes", "two bytes behind the body", body, lambda whole: whole + b"\x00\x00"),
        ("truncated_header", "23 bytes of the 24 before the body", b"", lambda whole: whole[:23]),
        ("truncated_body", "its last byte is missing", body, lambda whole: whole[:-1]),
        ("unknown_field", "field 15 is none of PlaceOrder's", body + b"\x78\x01", bytes),
        ("unknown_field_at_depth", "an unknown field that holds messages", body + nested, bytes),
        ("repeated_scalar", "the subaccount's index twice", b"\x08\x07" + repeated, bytes),
        ("overlong_varint", "7 in two bytes", long_form, bytes),
        ("default_written_out", "index 0 without presence", b"\x08\x00" + body, bytes),
        ("fields_out_of_order", "field 1 comes last", repeated[2:] + repeated[:2], bytes),
        ("enum_zero", "no side", bodies.PLACE_ORDER.encode(PLACE).replace(b"\x20\x01\x28", b"\x28"), bytes),
        ("enum_unknown", "side 9", body.replace(b"\x20\x01\x28", b"\x20\x09\x28"), bytes),
    ]
    return [refused(name, why, malformed, signed_raw(name, part, cut=cut)) for name, why, part, cut in cases]


def _refused_signatures(body: bytes) -> list[Row]:
    invalid = "SIGNATURE_INVALID"
    good = signed_raw("signature", body)
    made = request_id("signature")
    route = signed_operations.SUBMIT_PLACE_ORDER.template
    payload = payload_bytes(bodies.PLACE_ORDER.request_type, made, body)
    in_headers = session_message(AUDIENCE, ACCOUNT, made, "POST", route, payload)
    raw = SESSION.sign(payload_message(AUDIENCE, ACCOUNT, payload))
    shifted = (int.from_bytes(raw[32:], "little") + _L).to_bytes(32, "little")
    return [
        refused(
            "s_plus_l",
            "the other S that satisfies the equation",
            invalid,
            good | {"signature": base64_text(raw[:32] + shifted)},
        ),
        refused(
            "other_audience",
            "signed for staging.example.com",
            invalid,
            signed_raw("audience", body, audience="staging.example.com"),
        ),
        refused(
            "other_account",
            "signed for another account that has the same key",
            invalid,
            signed_raw("account", body, account=OTHER_ACCOUNT),
        ),
        refused(
            "other_payload",
            "one bit of the payload differs from what was signed",
            invalid,
            good | {"payload": base64_text(payload_bytes(1, made, body.replace(b"0.5", b"0.4")))},
        ),
        refused(
            "signature_of_headers",
            "a signature of the kind that comes in headers",
            invalid,
            good | {"signature": base64_text(SESSION.sign(in_headers))},
        ),
    ]


def refused_headers_rows() -> list[Row]:
    """Requests that are signed in headers, with one thing wrong with each of them."""
    made = request_id("headers")
    good = signer(SESSION).headers("GET", "/api/v1/api-keys", b"", made)
    crossed = SESSION.sign(payload_message(AUDIENCE, ACCOUNT, payload_bytes(0, made, b"")))
    staging = Signer(SESSION, ACCOUNT, audience="staging.example.com")
    stranger = Signer(SESSION, OTHER_ACCOUNT, audience=AUDIENCE)
    body = b'{"name":"reader"}'
    for_body = signer(SESSION).headers("POST", "/api/v1/api-keys", body, made)
    query = signer(SESSION).headers("GET", "/api/v1/api-keys?a=1", b"", made)
    four = uuid.UUID(bytes=made.bytes, version=4)
    in_time = signer(SESSION).headers("GET", "/api/v1/api-keys", b"", request_id("old", -15_001))
    invalid, path = "SIGNATURE_INVALID", "/api/v1/api-keys"
    cases = [
        (
            "signature_of_payload",
            "a payload's signature",
            "GET",
            path,
            b"",
            invalid,
            good | {"x-signature": base64_text(crossed)},
        ),
        ("other_path", "signed for the list of API keys", "GET", "/api/v1/device-keys", b"", invalid, good),
        ("other_verb", "signed for the list of API keys", "POST", path, b"{}", invalid, good),
        ("other_body", "one letter differs", "POST", path, b'{"name":"Reader"}', invalid, for_body),
        (
            "other_audience",
            "signed for staging",
            "GET",
            path,
            b"",
            invalid,
            staging.headers("GET", path, b"", made),
        ),
        (
            "other_account",
            "signed for another account with the same key",
            "GET",
            path,
            b"",
            invalid,
            stranger.headers("GET", path, b"", made) | {"x-account-id": str(ACCOUNT)},
        ),
        ("with_query", "no such route takes one", "GET", f"{path}?a=1", b"", "VALIDATION_ERROR", query),
        (
            "uuid_version_4",
            "its request id has no time",
            "GET",
            path,
            b"",
            "VALIDATION_ERROR",
            signer(SESSION).headers("GET", path, b"", four),
        ),
        ("15001_ms_old", "one millisecond past", "GET", path, b"", "REQUEST_TIMESTAMP_SKEW", in_time),
    ]
    names = ("name", "why", "verb", "target", "body", "code", "headers")
    return [
        dict(zip(names, case, strict=True))
        | {
            "body": case[4].decode("ascii"),
            "now_ns": NOW_MS * 1_000_000,
            "http_status": 401 if case[5] == invalid else 400,
        }
        for case in cases
    ]


def _until(make: Callable[[int], dict[str, str]], fits: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """The first of what is made that fits."""
    number = 0
    while not fits(made := make(number)):
        number += 1
    return made


def point_rows() -> list[Row]:
    """Public keys that are refused where keys are registered, and one that is not."""
    points = {
        "identity": b"\x01" + bytes(31),
        "order_eight": _ORDER_EIGHT,
        "mixed_order": crypto_core_ed25519_add(NEW.public_key, _ORDER_EIGHT),
        "non_canonical": b"\xee" + b"\xff" * 30 + b"\x7f",
        "not_on_the_curve": b"\x02" + bytes(31),
        "good": NEW.public_key,
    }
    rows = []
    for name, point in points.items():
        body = bodies.MINT_SESSION_KEY.encode(MINT | {"public_key": point})
        made = request_id(f"point {name}")
        envelope = signer(MASTER).payload(bodies.MINT_SESSION_KEY.request_type, made, body)
        status = "request_completed" if name == "good" else "session_rejected_invalid"
        rows.append({"name": name, "public_key": point.hex(), "status": status, "mint": envelope.document()})
    return rows

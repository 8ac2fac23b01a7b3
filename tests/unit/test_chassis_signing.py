"""Which bytes are signed, which are refused before anybody's key is looked up, and which points are keys."""

from __future__ import annotations

import uuid
from typing import Any, Final

import pytest

from chassis.errors import Code, SealgateError
from chassis.signing import (
    Refused,
    Role,
    Signer,
    SignerKind,
    check_request_time,
    is_acceptable_point,
    parse_payload,
    parse_request_id,
    payload_message,
    possession_message,
    request_time_ns,
    session_signature_message,
    verify,
)
from tests.signing_support import key_pair

ACCOUNT: Final = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
ACCOUNT_HEX: Final = "00112233445566778899aabbccddeeff"
REQUEST: Final = uuid.UUID("0197f0c1-2345-7abc-8def-0123456789ab")
REQUEST_HEX: Final = "0197f0c123457abc8def0123456789ab"
HEADER: Final = bytes.fromhex("01 00 0b00 00000000" + REQUEST_HEX)
PAIR: Final = key_pair("unit")
# The order of the group, by which a signature's scalar has to be the smallest.
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
PRIME: Final = 2**255 - 19


def test_payload_is_signed_with_deployment_and_account() -> None:
    """Name, zero byte, length and text of the audience, account, and the payload as it was received."""
    assert payload_message("ex.org", ACCOUNT, b"\x01\x02").hex() == (
        "7365616c676174652f7061796c6f61642f7631" + "00" + "0600" + "65782e6f7267" + ACCOUNT_HEX + "0102"
    )


def test_headers_are_signed_with_method_target_and_body() -> None:
    """Every part of unknown length has its length before it, and the body is there by its digest."""
    message = session_signature_message("ex.org", ACCOUNT, REQUEST, method="GET", target="/a", body=b"")
    assert message.hex() == (
        "7365616c676174652f73657373696f6e2d7369676e61747572652f7631"
        "00"
        "0600"
        "65782e6f7267"
        + ACCOUNT_HEX
        + REQUEST_HEX
        + "0300"
        + "474554"
        + "0200"
        + "2f61"
        + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_possession_is_signed_with_deployment_account_and_key() -> None:
    """A key that was shown to be had for one account shows nothing for another."""
    assert possession_message("ex.org", ACCOUNT, b"\xaa" * 32).hex() == (
        "7365616c676174652f706f7373657373696f6e2f763100060065782e6f7267" + ACCOUNT_HEX + "aa" * 32
    )


def test_payload_has_its_parts_where_they_are_published() -> None:
    """Type, id and body; an empty body is one."""
    payload = parse_payload(HEADER + b"\x08\x01")
    assert (payload.request_type, payload.request_id, payload.body) == (11, REQUEST, b"\x08\x01")
    assert parse_payload(HEADER).body == b""
    assert parse_payload(HEADER[:2] + b"\x02\x01" + HEADER[4:]).request_type == 258


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", Code.MALFORMED_PAYLOAD),
        (HEADER[:23], Code.MALFORMED_PAYLOAD),
        (b"\x00" + HEADER[1:], Code.UNSUPPORTED_VERSION),
        (b"\x02" + HEADER[1:], Code.UNSUPPORTED_VERSION),
        (b"\x02", Code.UNSUPPORTED_VERSION),
        (HEADER[:1] + b"\x01" + HEADER[2:], Code.MALFORMED_PAYLOAD),
        (HEADER[:1] + b"\x02" + HEADER[2:], Code.MALFORMED_PAYLOAD),
        *((HEADER[:at] + b"\x01" + HEADER[at + 1 :], Code.MALFORMED_PAYLOAD) for at in range(4, 8)),
        (HEADER[:8] + uuid.UUID(int=REQUEST.int ^ 3 << 76).bytes, Code.MALFORMED_PAYLOAD),
        (HEADER[:8] + uuid.UUID(int=REQUEST.int | 1 << 62).bytes, Code.MALFORMED_PAYLOAD),
        (HEADER[:8] + bytes(16), Code.MALFORMED_PAYLOAD),
    ],
)
def test_payload_of_another_form_is_refused(payload: bytes, code: Code) -> None:
    """Version, signature type, reserved bytes, length, version and variant of the id."""
    with pytest.raises(SealgateError) as raised:
        parse_payload(payload)
    assert raised.value.code is code


def test_request_id_says_when_it_was_made() -> None:
    """In milliseconds, and only as a UUIDv7 in its one text form."""
    assert request_time_ns(REQUEST) == 0x0197F0C12345 * 1_000_000
    assert parse_request_id(str(REQUEST)) == REQUEST
    for text in (
        "",
        str(REQUEST).upper(),
        f"{{{REQUEST}}}",
        REQUEST.hex,
        str(uuid.UUID(int=5)),
        str(ACCOUNT),
    ):
        assert parse_request_id(text) is None


@pytest.mark.parametrize(
    ("offset_ns", "is_good"),
    [
        (15_000_000_000, True),
        (15_000_000_001, False),
        (-5_000_000_000, True),
        (-5_000_000_001, False),
        (0, True),
    ],
)
def test_window_is_exact_to_the_nanosecond(offset_ns: int, is_good: bool) -> None:
    """Both ends are in it, and the refusal tells the server's time."""
    now_ns = request_time_ns(REQUEST) + offset_ns
    if is_good:
        check_request_time(REQUEST, now_ns)
        return
    with pytest.raises(SealgateError) as raised:
        check_request_time(REQUEST, now_ns)
    assert raised.value.code is Code.REQUEST_TIMESTAMP_SKEW
    assert str(now_ns) in raised.value.details[0].message


def test_signature_holds_for_its_own_bytes_alone() -> None:
    """Not for others, not by another key, and not in another length."""
    signature = PAIR.sign(b"message")
    assert verify(PAIR.public_key, b"message", signature)
    assert not verify(PAIR.public_key, b"massage", signature)
    assert not verify(key_pair("another").public_key, b"message", signature)
    for cut in (signature[:-1], signature + b"\0", b""):
        assert not verify(PAIR.public_key, b"message", cut)
    for cut in (PAIR.public_key[:-1], PAIR.public_key + b"\0", b""):
        assert not verify(cut, b"message", signature)


def test_signature_has_one_form() -> None:
    """The scalar with the group's order added says the same, and is refused."""
    signature = PAIR.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(PAIR.public_key, b"message", signature[:32] + scalar.to_bytes(32, "little"))


def test_neutral_point_signs_nothing() -> None:
    """Under it, a signature of zeros would hold for every message."""
    neutral = (1).to_bytes(32, "little")
    assert not verify(neutral, b"anything", neutral + bytes(32))


LOW_ORDER: Final = [
    (1).to_bytes(32, "little"),
    bytes(32),
    (PRIME - 1).to_bytes(32, "little"),
    bytes(31) + b"\x80",
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


@pytest.mark.parametrize(
    "public_key",
    [
        *LOW_ORDER,
        (PRIME + 3).to_bytes(32, "little"),
        b"\xff" * 32,
        PAIR.public_key[:31],
        PAIR.public_key + b"\0",
        b"",
    ],
)
def test_weak_point_is_no_key(public_key: bytes) -> None:
    """Of low order, written in a second way, on no curve, or of another length."""
    assert not is_acceptable_point(public_key)


def test_point_of_mixed_order_is_no_key() -> None:
    """A good point with one of low order added verifies, and is no key all the same."""
    mixed = _add(PAIR.public_key, LOW_ORDER[2])
    assert is_acceptable_point(PAIR.public_key)
    assert not is_acceptable_point(mixed)


def test_key_reaches_its_subaccount() -> None:
    """A pinned one its own, an unpinned one all."""
    facts: dict[str, Any] = {
        "account_id": ACCOUNT,
        "public_key": PAIR.public_key,
        "kind": SignerKind.SESSION_KEY,
        "role": Role.FULL_ACCESS,
        "admin_rooted": False,
        "valid_until_ns": None,
    }
    Signer(subaccount_index=None, **facts).require_reach(7)
    pinned = Signer(subaccount_index=0, **facts)
    pinned.require_reach(0)
    with pytest.raises(Refused) as raised:
        pinned.require_reach(7)
    assert raised.value.status == "rejected_scope"


def _add(first: bytes, second: bytes) -> bytes:
    """The sum of two points of edwards25519, by the affine formula of RFC 8032 section 5.1.4."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    (x1, y1), (x2, y2) = _point(first, d), _point(second, d)
    product = d * x1 * x2 * y1 * y2 % PRIME
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, PRIME) % PRIME
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME) % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _point(encoded: bytes, d: int) -> tuple[int, int]:
    number = int.from_bytes(encoded, "little")
    y, sign = number % 2**255, number >> 255
    square = (y * y - 1) * pow(d * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if x * x % PRIME != square:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return (x if x % 2 == sign else -x % PRIME), y

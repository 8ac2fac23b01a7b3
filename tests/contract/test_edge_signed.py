"""Signed requests on their way through the edge: what reaches the services, and what never does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from chassis.errors import ERROR_TABLE, Code, SealgateError
from chassis.limits import SIGNED_PAYLOAD_MAX_BYTES
from edge.routes import variable_names
from sealgate.keys.v1 import session_signature_pb2
from sealgate.wallet.v1 import signed_pb2
from tests.contract.edge_harness import EXCHANGE, PLACE_ORDER, Reply, RunningEdge, running_edge
from tests.described import METHODS
from tests.signing_support import (
    base64_of,
    key_pair,
    payload,
    request_id_at,
    sign_headers,
    sign_payload,
)

ACCOUNT_ID: Final = "0199d3a1-6e2b-7c4d-8f10-0000000000b2"
NOW_NS: Final = 1_772_357_400 * 10**9
REQUEST_ID: Final = request_id_at(NOW_NS)
PLACE: Final = "/api/v1/trading/order/place"
SIGNED: Final = sign_payload(key_pair("edge"), "edge.test", ACCOUNT_ID, payload(1, REQUEST_ID, b"\x08\x01"))
CREDENTIALS: Final = (
    "Authorization: Bearer abc",
    "X-Api-Key: sk_abc",
    "X-Project-Api-Key: sk_abc",
    "X-Device-Key: dk_abc",
)
TRIPLES: Final = {
    method.descriptor.name: method
    for method in METHODS.values()
    if method.is_signed and not method.takes_payload
}


@pytest.fixture(scope="module")
def serving(short_directory: Path) -> Iterator[RunningEdge]:
    """One edge for this module."""
    with running_edge(short_directory / "edge-signed") as running:
        yield running


@pytest.fixture
def edge(serving: RunningEdge) -> RunningEdge:
    """The edge, with services that have no script and no memory."""
    serving.backend.forget()
    return serving


def post(edge: RunningEdge, body: object, *headers: str) -> Reply:
    return edge.post(PLACE, json.dumps(body).encode(), *headers)


def assert_refused(reply: Reply, code: Code, *paths: str) -> None:
    """The error object of the signed family, whole."""
    row = ERROR_TABLE[code]
    assert reply.status == row.http_status
    assert set(reply.json) == {"error", "request_id"}
    assert (reply.json["error"]["code"], reply.json["error"]["message"]) == (code.value, row.message)
    assert [detail["path"] for detail in reply.json["error"]["details"]] == list(paths)
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    assert reply.headers["cache-control"] == "no-store"


def test_signed_payload_reaches_its_service_as_it_was_sent(edge: RunningEdge) -> None:
    """Nobody is asked who the caller is: the service gets the very bytes, and no passport."""
    answer = signed_pb2.SubmitPlaceOrderResponse(
        success=True, status="request_completed", processed_at_ns=NOW_NS + 1, request_id=str(REQUEST_ID)
    )
    answer.order.order_id = "o1"

    async def behave(_: Any) -> Any:  # noqa: ANN401
        return answer

    edge.backend.behaviours[PLACE_ORDER] = behave
    reply = post(edge, SIGNED.json, "Origin: https://shop.example", "Idempotency-Key: heeded-elsewhere")

    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    document = reply.json
    assert {name: document[name] for name in ("success", "status", "processed_at_ns", "request_id")} == {
        "success": True,
        "status": "request_completed",
        "processed_at_ns": NOW_NS + 1,
        "request_id": str(REQUEST_ID),
    }
    assert (document["order"]["order_id"], document["original"], document["same_payload"]) == (
        "o1",
        None,
        None,
    )
    (call,) = edge.backend.calls
    assert call.request == signed_pb2.SubmitPlaceOrderRequest(
        payload=SIGNED.payload,
        signature=SIGNED.signature,
        public_key=SIGNED.public_key,
        account_id=ACCOUNT_ID,
    )
    assert call.metadata["origin"] == "https://shop.example"
    assert not {"sealgate-passport-bin", "idempotency-key"} & set(call.metadata)


def test_signed_request_goes_by_the_id_in_its_payload(edge: RunningEdge) -> None:
    """Answer, log and hop have the signed id, whatever X-Request-Id says."""
    with edge.logged() as lines:
        reply = post(edge, SIGNED.json, f"X-Request-Id: {request_id_at(NOW_NS)}")
    assert reply.headers["x-request-id"] == str(REQUEST_ID)
    (call,) = edge.backend.calls
    assert call.metadata["x-request-id"] == str(REQUEST_ID)
    [line] = [json.loads(line) for line in lines if '"request"' in line]
    assert line["request_id"] == str(REQUEST_ID)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (SIGNED.payload[:24], str(REQUEST_ID)),
        (SIGNED.payload[:23], None),
        (b"", None),
        (SIGNED.payload[:8] + b"\xff" * 16, None),
    ],
    ids=["just long enough", "one byte short", "empty", "no uuid"],
)
def test_id_is_the_edges_own_while_the_payload_has_none(
    edge: RunningEdge, sent: bytes, seen: str | None
) -> None:
    """A payload that is too short for its id, or has no UUID there, is known by X-Request-Id as anything."""
    own = str(request_id_at(NOW_NS))
    reply = post(edge, SIGNED.json | {"payload": base64_of(sent)}, f"X-Request-Id: {own}")
    assert reply.headers["x-request-id"] == (seen or own)


def test_refusal_that_the_edge_finds_after_the_payload_has_the_signed_id(edge: RunningEdge) -> None:
    """What is wrong behind the payload is told under the id that the caller knows."""
    body = SIGNED.json | {"signature": "A"}
    reply = post(edge, body)
    assert_refused(reply, Code.MALFORMED_PAYLOAD, "signature")
    assert reply.json["request_id"] == str(REQUEST_ID)


# Of bytes whose base64 has both special characters, padding, and bits to spare.
SPECIAL: Final = b"\xfb\xef\xbe\xff"
VARIANTS: Final = {
    "url-safe": base64.urlsafe_b64encode(SPECIAL).decode(),
    "unpadded": base64_of(SPECIAL).rstrip("="),
    "overpadded": base64_of(SPECIAL) + "=",
    "spare bits": "++++/x==",
    "line end": base64_of(SPECIAL) + "\n",
    "space": "++++ /w==",
    "padding inside": "+w==+w==",
    "hexadecimal": SPECIAL.hex() + "0",
    "not ascii": "++++/ẇ==",
}


@pytest.mark.parametrize("field", ["payload", "signature", "public_key"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_base64_has_one_form_only(edge: RunningEdge, field: str, variant: str) -> None:
    """Another text of the same bytes, or of none, is malformed and reaches nobody."""
    assert base64_of(SPECIAL) == "++++/w=="
    reply = post(edge, SIGNED.json | {field: VARIANTS[variant]})
    assert_refused(reply, Code.MALFORMED_PAYLOAD, field)
    assert edge.backend.calls == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"more": 1}, "more"),
        ({"payload": 5}, "payload"),
        ({"signature": ["A"]}, "signature"),
        ({"account_id": True}, "account_id"),
    ],
)
def test_body_around_a_payload_is_read_as_strictly_as_any(
    edge: RunningEdge, change: dict[str, object], path: str
) -> None:
    """Unknown members and wrong types are told by their path."""
    assert_refused(post(edge, SIGNED.json | change), Code.VALIDATION_ERROR, path)
    assert edge.backend.calls == []


@pytest.mark.parametrize("header", [*CREDENTIALS, f"X-Signature: {base64_of(SIGNED.signature)}"])
def test_credential_beside_a_signed_payload_is_one_too_many(edge: RunningEdge, header: str) -> None:
    """A signature is a credential: another beside it is refused, whatever it is worth."""
    assert_refused(post(edge, SIGNED.json, header), Code.CREDENTIAL_AMBIGUOUS)
    assert edge.backend.calls == []


def test_payload_is_bounded_by_its_service_and_its_body_by_the_edge(edge: RunningEdge) -> None:
    """8 KiB and more of payload are the service's to refuse, a body beyond 64 KiB is not read."""
    large = SIGNED.json | {"payload": base64_of(bytes(8 * 1024 + 1))}
    assert post(edge, large).status == 200
    assert len(edge.backend.of(PLACE_ORDER)[0].request.payload) == 8 * 1024 + 1
    assert_refused(post(edge, SIGNED.json | {"payload": "A" * 64 * 1024}), Code.PAYLOAD_TOO_LARGE)
    assert len(edge.backend.calls) == 1


EIGHT_KIB: Final = base64_of(bytes(SIGNED_PAYLOAD_MAX_BYTES))
LARGE: Final = base64_of(bytes(SIGNED_PAYLOAD_MAX_BYTES + 1))
UNREADABLE: Final[dict[str, Callable[[str], dict[str, object]]]] = {
    "signature behind the payload": lambda payload: {"payload": payload, "signature": "A"},
    "key before the payload": lambda payload: {"public_key": "A", "payload": payload},
    "unknown member": lambda payload: {"more": 1, "payload": payload},
    "member of another type": lambda payload: {"account_id": 1, "payload": payload},
    "payload itself": lambda payload: {"payload": "-" + payload[1:]},
    "payload twice": lambda payload: {"payload": payload},
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_size_of_a_payload_is_refused_before_all_else(edge: RunningEdge, case: str) -> None:
    """As its service does, whatever is wrong with what stands beside it; one that fits is told of that."""

    def refused(payload: str) -> Reply:
        text = json.dumps(UNREADABLE[case](payload))
        if case == "payload twice":
            text = text[:-1] + ', "payload": ""}'
        return edge.post(PLACE, text.encode())

    assert_refused(refused(LARGE), Code.PAYLOAD_TOO_LARGE)
    reply = refused(EIGHT_KIB)
    assert (reply.status, bool(reply.json["error"]["details"])) == (400, True)
    assert edge.backend.calls == []


def test_payload_must_be_said_to_be_json(edge: RunningEdge) -> None:
    """A form that a page can send without being asked is no signed request."""
    body = json.dumps(SIGNED.json).encode()
    head = f"POST {PLACE}\ncontent-type: text/plain\ncontent-length: {len(body)}"
    assert_refused(edge.ask(head, body), Code.UNSUPPORTED_MEDIA_TYPE)


def test_refused_signature_is_told_with_its_own_challenge(edge: RunningEdge) -> None:
    """A 401 of a signed route asks for a signature, not for a bearer token."""

    async def refuse(_: Any) -> Any:  # noqa: ANN401
        raise SealgateError(Code.SIGNATURE_INVALID)

    edge.backend.behaviours[PLACE_ORDER] = refuse
    reply = post(edge, SIGNED.json)
    assert_refused(reply, Code.SIGNATURE_INVALID)
    assert reply.headers["www-authenticate"] == 'Signature realm="sealgate"'
    assert reply.json["request_id"] == str(REQUEST_ID)


def target_of(name: str) -> str:
    """A path of a method, its variable filled in."""
    [binding] = TRIPLES[name].bindings
    path = binding.template
    for variable in variable_names(path):
        path = path.replace(f"{{{variable}}}", "some-key")
    return path


def send_triple(edge: RunningEdge, verb: str, target: str, body: bytes = b"", *headers: str) -> Reply:
    """A request that is signed in its headers; `headers` come on top."""
    signed = sign_headers(key_pair("edge"), "edge.test", ACCOUNT_ID, REQUEST_ID, verb, target, body)
    lines = [f"{name}: {value}" for name, value in signed.headers.items()]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return edge.ask("\n".join([f"{verb} {target}", *lines, *headers]), body)


@pytest.mark.parametrize("name", TRIPLES)
def test_request_signed_in_headers_reaches_its_service_as_it_was_sent(edge: RunningEdge, name: str) -> None:
    """Verb, target and body are handed over untouched, with the headers' bytes and the path's variables."""
    [binding] = TRIPLES[name].bindings
    body = b' { "name":"bot" } ' if binding.has_body else b""
    target = target_of(name)
    reply = send_triple(edge, binding.verb, target, body, "Origin: https://shop.example")
    assert (reply.status, reply.headers["x-request-id"]) == (200, str(REQUEST_ID))
    (call,) = edge.backend.calls
    signed = sign_headers(key_pair("edge"), "edge.test", ACCOUNT_ID, REQUEST_ID, binding.verb, target, body)
    variables = dict.fromkeys(variable_names(binding.template), "some-key")
    assert call.request == getattr(session_signature_pb2, f"{name}Request")(**signed.fields, **variables)
    assert call.metadata["origin"] == "https://shop.example"
    assert "sealgate-passport-bin" not in call.metadata
    assert call.metadata["x-request-id"] == str(REQUEST_ID)
    assert not edge.backend.of(EXCHANGE)


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/api-keys",
        "/api/v1/api-keys?",
        "/api/v1/api-keys?limit=5&x=%2f",
        "/api/v1/api-keys?a?b",
        "http://edge/api/v1/api-keys",
    ],
)
def test_target_is_handed_over_to_the_byte(edge: RunningEdge, target: str) -> None:
    """What was signed is what was sent: nothing is decoded, trimmed or put in order on the way."""
    assert send_triple(edge, "GET", target).status == 200
    assert edge.backend.calls[0].request.target == target


def test_head_is_handed_over_as_head(edge: RunningEdge) -> None:
    """A signed GET is no signed HEAD, so the service hears which it was."""
    with edge.connect() as connection:
        signed = sign_headers(
            key_pair("edge"), "edge.test", ACCOUNT_ID, REQUEST_ID, "GET", "/api/v1/api-keys"
        )
        lines = [f"{name}: {value}" for name, value in signed.headers.items()]
        head = "\r\n".join(["HEAD /api/v1/api-keys HTTP/1.1", "host: edge", "connection: close", *lines])
        connection.sendall(head.encode() + b"\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
    assert edge.backend.calls[0].request.method == "HEAD"


GOOD: Final = {
    "X-ACCOUNT-ID": ACCOUNT_ID,
    "X-PUBLIC-KEY": base64_of(SIGNED.public_key),
    "X-SIGNATURE": base64_of(SIGNED.signature),
    "X-REQUEST-ID": str(REQUEST_ID),
}
BAD_VALUES: Final = {
    "X-ACCOUNT-ID": [ACCOUNT_ID.upper(), "{" + ACCOUNT_ID + "}", "", "1"],
    "X-PUBLIC-KEY": [
        "",
        base64_of(bytes(31)),
        base64_of(bytes(33)),
        GOOD["X-PUBLIC-KEY"].rstrip("="),
        "pk_A",
    ],
    "X-SIGNATURE": ["", base64_of(bytes(63)), base64_of(bytes(64)).rstrip("="), base64_of(bytes(65))],
    "X-REQUEST-ID": [
        "",
        str(REQUEST_ID).upper(),
        REQUEST_ID.hex,
        str(UUID(int=REQUEST_ID.int & ~(0xF << 76) | 0x4 << 76)),
    ],
}


def ask_with(edge: RunningEdge, *headers: tuple[str, str]) -> Reply:
    lines = [f"{name}: {value}" for name, value in headers]
    return edge.ask("\n".join(["GET /api/v1/api-keys", *lines]))


@pytest.mark.parametrize(
    ("name", "value"), [(name, bad) for name, bads in BAD_VALUES.items() for bad in bads]
)
def test_signed_header_is_refused_by_its_name_when_it_is_malformed(
    edge: RunningEdge, name: str, value: str
) -> None:
    """Each of the four has one form."""
    reply = ask_with(edge, *(GOOD | {name: value}).items())
    assert_refused(reply, Code.VALIDATION_ERROR, name)
    assert edge.backend.calls == []


@pytest.mark.parametrize("name", GOOD)
def test_signed_header_is_refused_by_its_name_when_it_is_missing_or_repeated(
    edge: RunningEdge, name: str
) -> None:
    """One header is not to be had from another, nor the first from the last."""
    without = {other: value for other, value in GOOD.items() if other != name}
    assert_refused(ask_with(edge, *without.items()), Code.VALIDATION_ERROR, name)
    assert_refused(ask_with(edge, *GOOD.items(), (name, GOOD[name])), Code.VALIDATION_ERROR, name)
    assert edge.backend.calls == []


def test_signed_headers_are_refused_together(edge: RunningEdge) -> None:
    """A caller hears of all that is wrong at once."""
    assert_refused(ask_with(edge), Code.VALIDATION_ERROR, *GOOD)
    reply = ask_with(edge, ("X-ACCOUNT-ID", "1"), ("X-REQUEST-ID", str(REQUEST_ID)))
    assert_refused(reply, Code.VALIDATION_ERROR, "X-ACCOUNT-ID", "X-PUBLIC-KEY", "X-SIGNATURE")


def test_size_of_a_body_is_refused_before_the_headers_that_sign_it(edge: RunningEdge) -> None:
    """As its service does; one that fits is told of the headers."""

    def refused(size_bytes: int, *headers: str) -> Reply:
        return edge.post("/api/v1/login", b" " * size_bytes, *headers)

    for headers in ((), ("X-Signature: A", "X-Account-Id: 1")):
        assert_refused(refused(SIGNED_PAYLOAD_MAX_BYTES + 1, *headers), Code.PAYLOAD_TOO_LARGE)
        assert_refused(refused(SIGNED_PAYLOAD_MAX_BYTES, *headers), Code.VALIDATION_ERROR, *GOOD)
    assert edge.backend.calls == []


@pytest.mark.parametrize("header", CREDENTIALS)
def test_credential_beside_signed_headers_is_one_too_many(edge: RunningEdge, header: str) -> None:
    """As beside a signed payload."""
    assert_refused(send_triple(edge, "GET", "/api/v1/api-keys", b"", header), Code.CREDENTIAL_AMBIGUOUS)
    assert edge.backend.calls == []


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize(
    "twice",
    [("Origin: https://a.example", "Origin: https://b.example"), ("X-Session-Token: a",) * 2],
    ids=["origin", "browser session"],
)
def test_header_of_a_page_that_is_sent_twice_is_refused(
    edge: RunningEdge, verb: str, twice: tuple[str, str]
) -> None:
    """Two pages cannot both have sent a request, nor two sessions be one page's."""
    reply = (
        send_triple(edge, "GET", "/api/v1/api-keys", b"", *twice)
        if verb == "GET"
        else post(edge, SIGNED.json, *twice)
    )
    assert_refused(reply, Code.CREDENTIAL_AMBIGUOUS)
    assert edge.backend.calls == []


def test_signature_on_an_ordinary_route_is_no_credential_but_one_too_many_beside_one(
    edge: RunningEdge,
) -> None:
    """Alone it is not what the route takes; with a key two things claim to say who asks."""
    signature = f"X-Signature: {base64_of(SIGNED.signature)}"
    assert edge.ask(f"GET /api/v1/wallets\n{signature}").code == Code.API_KEY_REQUIRED
    both = edge.ask(f"GET /api/v1/wallets\n{signature}\nX-Api-Key: sk_abc")
    assert both.code == Code.CREDENTIAL_AMBIGUOUS
    assert edge.backend.calls == []

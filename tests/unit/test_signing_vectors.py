"""The published vectors: the platform and its client make of them, byte by byte, what the file says."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message_factory import GetMessageClass

from chassis import signing
from chassis.errors import Code, SealgateError
from chassis.methods import Method, method_table
from chassis.rpc.envelope import request_reader
from edge.translate import canonical_base64
from sealgate.client import KeyPair, Signer, bodies, signed_operations
from sealgate.client.signing import payload_message, possession_message, session_message
from sealgate.client.wire import Body
from sealgate.keys.v1 import session_signature_pb2, signing_key_pb2
from sealgate.wallet.v1 import signed_pb2
from tests.signing_support import key_pair, sign_headers, sign_payload
from tools.vectors import file, parts

ROOT: Final = Path(__file__).parents[2]
FILE: Final[dict[str, Any]] = json.loads((ROOT / "tests/vectors/signing.json").read_text(encoding="utf-8"))
TABLES: Final = {value.name: value for value in vars(bodies).values() if isinstance(value, Body)}
METHODS: Final = [
    method
    for method in method_table(
        service
        for module in (signing_key_pb2, session_signature_pb2, signed_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    ).values()
    if method.is_signed
]
PAYLOAD_METHODS: Final = {method.bindings[0].template: method for method in METHODS if method.takes_payload}


def rows(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in FILE[name]])


def judged(method: Method, fields: dict[str, Any], now_ns: int, audience: str) -> str | None:
    """The code that the platform refuses a request with before it looks its key up; None for none."""
    request = GetMessageClass(method.descriptor.input_type)(**fields)
    try:
        signed = request_reader(method, audience)(request)
        signing.check_request_time(signed.request_id, now_ns)
    except SealgateError as refusal:
        return refusal.code
    held = signing.verify(signed.public_key, signed.message, signed.signature)
    return None if held else Code.SIGNATURE_INVALID


def judged_envelope(row: dict[str, Any], envelope: dict[str, str], now_ns: int) -> str | None:
    fields: dict[str, Any] = {"account_id": envelope["account_id"]}
    for name in ("payload", "signature", "public_key"):
        fields[name] = canonical_base64(envelope[name])
        if fields[name] is None:
            return Code.MALFORMED_PAYLOAD
    return judged(PAYLOAD_METHODS[row["route"]], fields, now_ns, parts.AUDIENCE)


def judged_headers(row: dict[str, Any], now_ns: int) -> str | None:
    target, headers = row["target"], row["headers"]
    [method] = [method for method in METHODS if _variables(method, row["verb"], target) is not None]
    fields: dict[str, Any] = {
        "method": row["verb"],
        "target": target,
        "body": row["body"].encode(),
        "account_id": headers["x-account-id"],
        "public_key": base64.b64decode(headers["x-public-key"]),
        "request_id": headers["x-request-id"],
        "signature": base64.b64decode(headers["x-signature"]),
    }
    fields |= _variables(method, row["verb"], target) or {}
    return judged(method, fields, now_ns, parts.AUDIENCE)


def _variables(method: Method, verb: str, target: str) -> dict[str, str] | None:
    """The values of a template's variables when a request is the method's; None when it is not."""
    [binding] = method.bindings
    wanted, found = binding.template.split("/"), target.partition("?")[0].split("/")
    if method.takes_payload or binding.verb != verb or len(wanted) != len(found):
        return None
    pairs = list(zip(wanted, found, strict=True))
    if any(part != value for part, value in pairs if not part.startswith("{")):
        return None
    return {part[1:-1]: value for part, value in pairs if part.startswith("{")}


def test_file_is_what_the_tool_makes() -> None:
    """Nobody edits a vector by hand, and every machine makes the same ones."""
    assert (ROOT / "tests/vectors/signing.json").read_text(encoding="utf-8") == file.text()


def test_every_signed_method_has_a_vector() -> None:
    """A request type that is added comes with its vector."""
    assert {row["route"] for row in FILE["payloads"]} == PAYLOAD_METHODS.keys()
    in_headers = [method for method in METHODS if not method.takes_payload]
    assert all(
        any(_variables(method, row["verb"], row["target"]) is not None for row in FILE["headers"])
        for method in in_headers
    )


@rows("payloads")
def test_payload_is_what_the_platform_reads(row: dict[str, Any]) -> None:
    """Its own reader takes the envelope, finds the fields in it, and the signature holds."""
    method = PAYLOAD_METHODS[row["route"]]
    assert judged_envelope(row, row["envelope"], parts.NOW_MS * 1_000_000) is None
    message = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(method.payload_message or ""))()
    prefixed = {name: _with_prefix(message, name, value) for name, value in row["fields"].items()}
    json_format.ParseDict(prefixed, message)
    assert message.SerializeToString(deterministic=True).hex() == row["body"]
    payload = bytes.fromhex(row["payload"])
    parsed = signing.parse_payload(payload)
    assert (parsed.request_type, str(parsed.request_id)) == (row["request_type"], row["request_id"])
    account_id = uuid.UUID(row["account_id"])
    assert signing.payload_message(row["audience"], account_id, payload).hex() == row["signed"]


def _with_prefix(message: Any, name: str, value: Any) -> Any:  # noqa: ANN401
    enum = message.DESCRIPTOR.fields_by_name[name].enum_type
    return value if enum is None else enum.values[0].name.removesuffix("UNSPECIFIED") + value


@rows("payloads")
def test_payload_is_what_the_client_signs(row: dict[str, Any]) -> None:
    """From seed and fields to the envelope, every stage of it."""
    table = TABLES[row["message"]]
    kinds = {field.name: field.kind for field in table.fields}
    fields = {
        name: base64.b64decode(value) if kinds[name] == "bytes" else value
        for name, value in row["fields"].items()
    }
    body = table.encode(fields)
    assert body.hex() == row["body"]
    pair = KeyPair(bytes.fromhex(row["seed"]))
    signer = Signer(pair, row["account_id"], audience=row["audience"])
    envelope = signer.payload(row["request_type"], uuid.UUID(row["request_id"]), body)
    assert envelope.document() == row["envelope"]
    assert envelope.payload.hex() == row["payload"]
    assert envelope.signature.hex() == row["signature"]
    message = payload_message(row["audience"], uuid.UUID(row["account_id"]), envelope.payload)
    assert message.hex() == row["signed"]


@rows("payloads")
def test_payload_is_what_the_tests_sign(row: dict[str, Any]) -> None:
    """The third signer of the repository, which shares no code with the others, agrees."""
    pair = type(key_pair(""))(bytes.fromhex(row["seed"]))
    signed = sign_payload(pair, row["audience"], row["account_id"], bytes.fromhex(row["payload"]))
    assert signed.json == row["envelope"]


@rows("headers")
def test_headers_are_what_everybody_makes_of_them(row: dict[str, Any]) -> None:
    """The platform reads them; the client, and the tests' own signer, sign them so."""
    assert judged_headers(row, parts.NOW_MS * 1_000_000) is None
    request_id, account_id = uuid.UUID(row["request_id"]), uuid.UUID(row["account_id"])
    body, audience = row["body"].encode(), row["audience"]
    message = session_message(audience, account_id, request_id, row["verb"], row["target"], body)
    assert message.hex() == row["signed"]
    signer = Signer(KeyPair(bytes.fromhex(row["seed"])), account_id, audience=audience)
    assert signer.headers(row["verb"], row["target"], body, request_id) == row["headers"]
    pair = type(key_pair(""))(bytes.fromhex(row["seed"]))
    own = sign_headers(pair, audience, str(account_id), request_id, row["verb"], row["target"], body)
    assert {name.lower(): value for name, value in own.headers.items()} == row["headers"]


@pytest.mark.parametrize("row", FILE["possessions"], ids=lambda row: str(row["public_key"][:8]))
def test_possession_is_what_everybody_makes_of_it(row: dict[str, Any]) -> None:
    """The platform verifies what the client signs."""
    account_id, public_key = uuid.UUID(row["account_id"]), bytes.fromhex(row["public_key"])
    message = signing.possession_message(row["audience"], account_id, public_key)
    assert message.hex() == row["signed"]
    assert possession_message(row["audience"], account_id, public_key) == message
    signer = Signer(KeyPair(bytes.fromhex(row["seed"])), account_id, audience=row["audience"])
    assert signer.possession().hex() == row["signature"]
    assert signing.verify(public_key, message, bytes.fromhex(row["signature"]))


@rows("refused")
def test_wrong_payload_is_refused_as_it_says(row: dict[str, Any]) -> None:
    """Each has one thing wrong, and is refused for it."""
    assert judged_envelope(row, row["envelope"], row["now_ns"]) == row["code"]


@rows("refused_headers")
def test_wrong_headers_are_refused_as_they_say(row: dict[str, Any]) -> None:
    """Each has one thing wrong, and is refused for it."""
    assert judged_headers(row, row["now_ns"]) == row["code"]


@rows("points")
def test_weak_point_is_no_key(row: dict[str, Any]) -> None:
    """Only canonical points of the prime-order group are taken where keys are registered."""
    good = row["status"] == signing.Status.COMPLETED
    assert signing.is_acceptable_point(bytes.fromhex(row["public_key"])) is good
    now_ns = parts.NOW_MS * 1_000_000
    mint = {"route": signed_operations.SUBMIT_MINT_SESSION_KEY.template}
    assert judged_envelope(mint, row["mint"], now_ns) is None


def test_window_is_closed_at_both_ends_of_the_vectors_millisecond() -> None:
    """What is a millisecond outside in a vector is inside for a platform whose time is that much closer."""
    by_name = {row["name"]: row for row in FILE["refused"]}
    for name, closer_ns in (("15001_ms_old", -1_000_000), ("5001_ms_ahead", 1_000_000)):
        row = by_name[name]
        assert judged_envelope(row, row["envelope"], row["now_ns"] + closer_ns) is None


def test_behaviour_is_proven_by_tests_that_exist() -> None:
    """What no bytes can show names the test that shows it."""
    for row in FILE["behaviour"]:
        file, _, name = row["proven_by"].partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), row["name"]

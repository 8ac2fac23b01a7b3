"""What is no signed request, byte by byte: refused alike over REST and gRPC, under its id, with no trace."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import grpc
import pytest

from chassis.rpc.errors import error_from_rpc
from sealgate.keys.v1 import signing_key_pb2 as keys_pb2
from sealgate.wallet.v1 import signed_body_pb2 as wallet_pb2
from tests.cluster import AUDIENCE, Cluster
from tests.platform_support import sql
from tests.signing_support import (
    NEVER,
    SignedHeaders,
    SignedPayload,
    new_pair,
    payload,
    payload_message,
    sign_headers,
    sign_payload,
    triple_message,
)
from tests.signing_world import Signing, make_signing

CREATE: Final = "SubmitCreateWallet"
TYPE: Final = 11
BODY: Final = wallet_pb2.CreateWallet(name="Savings").SerializeToString()
NAME_FIELD: Final = 0x12
PAYLOAD_MAX_BYTES: Final = 8 * 1024
HEADER_BYTES: Final = 24


@pytest.fixture(scope="session")
async def signing(cluster: Cluster) -> Signing:
    """An account that nothing here changes."""
    return await make_signing(cluster)


def signed_bytes(signing: Signing, data: bytes) -> SignedPayload:
    """Any bytes with a signature that holds."""
    return sign_payload(signing.session, AUDIENCE, signing.account_id, data)


async def refusal_of(
    signing: Signing, rpc: str, signed: SignedPayload | SignedHeaders
) -> tuple[str, list[str]]:
    """Code and paths of the refusal, which is the same over both."""
    answer = await signing.deliver(rpc, signed)
    assert answer.status_code >= 400, answer.text
    assert set(answer.json()) == {"error", "request_id"}
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await signing.call(rpc, signed)
    direct = error_from_rpc(failed.value, rpc)
    error = answer.json()["error"]
    assert (error["code"], answer.status_code) == (direct.code, direct.row.http_status)
    details = [{"path": detail.path, "message": detail.message} for detail in direct.details]
    assert error["details"] == details
    return error["code"], [detail["path"] for detail in details]


Change = Callable[[uuid.UUID], bytes]

MALFORMED: Final[dict[str, Change]] = {
    "nothing": lambda _: b"",
    "one byte": lambda _: b"\x01",
    "no request id": lambda i: payload(TYPE, i, b"")[:8],
    "request id cut": lambda i: payload(TYPE, i, b"")[:23],
    "secp256k1": lambda i: payload(TYPE, i, BODY, signature_type=1),
    "passkey": lambda i: payload(TYPE, i, BODY, signature_type=2),
    "reserved": lambda i: payload(TYPE, i, BODY, reserved=1),
    "reserved high": lambda i: payload(TYPE, i, BODY, reserved=2**31),
    "other type": lambda i: payload(12, i, BODY),
    "no type": lambda i: payload(0, i, BODY),
    "big-endian type": lambda i: payload(TYPE << 8, i, BODY),
    "uuid v4": lambda i: payload(TYPE, uuid.UUID(int=i.int & ~(0xF << 76) | 0x4 << 76), BODY),
    "uuid v1": lambda i: payload(TYPE, uuid.UUID(int=i.int & ~(0xF << 76) | 0x1 << 76), BODY),
    "uuid of another variant": lambda i: payload(TYPE, uuid.UUID(int=i.int | 0x3 << 62), BODY),
    "nil uuid": lambda i: payload(TYPE, uuid.UUID(int=0), BODY),
    "trailing byte": lambda i: payload(TYPE, i, BODY + b"\0"),
    "truncated body": lambda i: payload(TYPE, i, BODY[:-1]),
    "unknown field": lambda i: payload(TYPE, i, BODY + b"\xf8\x01\x01"),
    "repeated scalar": lambda i: payload(TYPE, i, BODY + BODY),
    "explicit default": lambda i: payload(TYPE, i, b"\x08\x00" + BODY),
    "over-long varint": lambda i: payload(TYPE, i, b"\x08\x81\x00" + BODY),
    "over-long length": lambda i: payload(TYPE, i, bytes([NAME_FIELD, 0x87, 0x00]) + b"Savings"),
    "fields out of order": lambda i: payload(TYPE, i, BODY + b"\x08\x01"),
    "name is no text": lambda i: payload(TYPE, i, bytes([NAME_FIELD, 1, 0xFF])),
    "other wire type": lambda i: payload(TYPE, i, b"\x0a\x01\x01"),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_payload_is_malformed_unless_each_byte_is_as_it_must_be(signing: Signing, case: str) -> None:
    """A signature that holds does not make a request of other bytes."""
    signed = signed_bytes(signing, MALFORMED[case](signing.request_id()))
    code, _ = await refusal_of(signing, CREATE, signed)
    assert code == "MALFORMED_PAYLOAD"


@pytest.mark.parametrize("version", [0, 2, 255])
async def test_payload_of_another_version_is_told_so(signing: Signing, version: int) -> None:
    """A client that is ahead learns that it is the version, and nothing else."""
    signed = signed_bytes(signing, payload(TYPE, signing.request_id(), BODY, version=version))
    assert (await refusal_of(signing, CREATE, signed))[0] == "UNSUPPORTED_VERSION"


@pytest.mark.parametrize("excess_bytes", [1, 20_000])
async def test_payload_beyond_eight_kib_is_too_large(signing: Signing, excess_bytes: int) -> None:
    """Size comes before all else, a wrong signature included."""
    data = payload(TYPE, signing.request_id(), bytes(PAYLOAD_MAX_BYTES - HEADER_BYTES + excess_bytes))
    signed = replace(signed_bytes(signing, data), signature=bytes(64))
    assert await refusal_of(signing, CREATE, signed) == ("PAYLOAD_TOO_LARGE", [])


async def test_payload_of_eight_kib_is_read(signing: Signing) -> None:
    """The bound itself is within it: what is refused is its body."""
    data = payload(TYPE, signing.request_id(), bytes(PAYLOAD_MAX_BYTES - HEADER_BYTES))
    assert (await refusal_of(signing, CREATE, signed_bytes(signing, data)))[0] == "MALFORMED_PAYLOAD"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"public_key": bytes(31)}, "public_key"),
        ({"public_key": bytes(33)}, "public_key"),
        ({"public_key": b""}, "public_key"),
        ({"signature": bytes(63)}, "signature"),
        ({"signature": bytes(65)}, "signature"),
        ({"signature": b""}, "signature"),
        ({"account_id": ""}, "account_id"),
        ({"account_id": "{0199d3a1-6e2b-7c4d-8f10-0000000000b2}"}, "account_id"),
        ({"account_id": "0199D3A1-6E2B-7C4D-8F10-0000000000B2"}, "account_id"),
    ],
)
async def test_what_goes_with_a_payload_has_its_own_length_and_form(
    signing: Signing, change: dict[str, bytes], path: str
) -> None:
    """Key, signature and account are refused by their name, under the request's own id."""
    request_id = signing.request_id()
    signed = replace(signed_bytes(signing, payload(TYPE, request_id, BODY)), **change)  # type: ignore[arg-type]
    assert await refusal_of(signing, CREATE, signed) == ("MALFORMED_PAYLOAD", [path])
    answer = await signing.post(CREATE, signed)
    assert answer.json()["request_id"] == str(request_id)


async def test_signature_holds_for_its_own_bytes_account_and_deployment_only(
    cluster: Cluster, signing: Signing
) -> None:
    """Whatever of it is another's, the answer is the one for a key that nobody knows."""
    other = await make_signing(cluster, with_session=False)
    same_key = await other.mint(pair=signing.session)
    data = payload(TYPE, signing.request_id(), BODY)
    signed = signed_bytes(signing, data)
    target = "/api/v1/portfolio/create"
    request_id = uuid.UUID(bytes=data[8:24])
    as_headers = triple_message(AUDIENCE, signing.account_id, request_id, "POST", target, data)
    small_order = replace(signed, public_key=bytes(32), signature=bytes(64))
    no_length = signing.session.sign(
        b"sealgate/payload/v1\0" + AUDIENCE.encode() + uuid.UUID(signing.account_id).bytes + data
    )
    wrong = {
        "another account that has the key": replace(signed, account_id=other.account_id),
        "an account that is not there": replace(signed, account_id=str(request_id)),
        "other bytes": replace(signed, payload=payload(TYPE, signing.request_id(), BODY)),
        "another deployment": sign_payload(signing.session, "elsewhere.test", signing.account_id, data),
        "headers": replace(signed, signature=signing.session.sign(as_headers)),
        "the payload alone": replace(signed, signature=signing.session.sign(data)),
        "no length": replace(signed, signature=no_length),
        "another's key": replace(signed, public_key=new_pair().public_key),
        "a point of small order": small_order,
        "S + L": replace(signed, signature=with_order_added(signed.signature)),
    }
    for case, sent in wrong.items():
        assert (await refusal_of(signing, CREATE, sent)) == ("SIGNATURE_INVALID", []), case
    assert same_key == signing.session
    assert (await signing.post(CREATE, signed)).json()["status"] == "request_completed"


def with_order_added(signature: bytes) -> bytes:
    """The same signature with the group's order added to S, which lax verifiers take too."""
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    return signature[:32] + s.to_bytes(32, "little")


async def test_payload_is_taken_at_the_route_of_its_type_only(signing: Signing) -> None:
    """The route is signed too: what was signed for one is malformed at another, even for the same key."""
    signed = signing.signed(CREATE, signing.session, wallet_pb2.CreateWallet(name="Mine"))
    for rpc in ("SubmitCreateSubaccount", "SubmitUpdateWallet", "SubmitWithdraw", "SubmitLogout"):
        assert (await refusal_of(signing, rpc, signed))[0] == "MALFORMED_PAYLOAD"


DEVICE: Final = "CreateDeviceKey"
LOGIN: Final = "/api/v1/login"


def login(signing: Signing, verb: str = "POST", target: str = LOGIN, body: bytes = b"{}") -> SignedHeaders:
    """A signed request for a device key, or for whatever else."""
    request_id = signing.request_id()
    return sign_headers(signing.session, AUDIENCE, signing.account_id, request_id, verb, target, body)


@pytest.mark.parametrize(
    "target", [f"{LOGIN}?", f"{LOGIN}?a=1", "/api/v1/%6cogin", "http://edge/api/v1/login", f"{LOGIN}?%2f"]
)
async def test_target_is_signed_in_its_normal_form_only(signing: Signing, target: str) -> None:
    """What would reach the same route by another spelling is refused, though it was signed so."""
    signed = login(signing, target=target)
    if "%6c" in target:
        assert (await signing.send(signed)).json()["error"]["code"] == "ROUTE_NOT_FOUND"
        return
    if target.startswith("http"):
        # httpx sends no absolute form; the service itself refuses it.
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await signing.call(DEVICE, signed)
        assert error_from_rpc(failed.value, DEVICE).details[0].path == "target"
        return
    assert await refusal_of(signing, DEVICE, signed) == ("VALIDATION_ERROR", ["target"])


@pytest.mark.parametrize("segment", [".", ".."])
async def test_dot_segment_names_nothing(signing: Signing, segment: str) -> None:
    """A target with one is in no normal form: whoever goes by the path may take it for another route's."""
    rpc, variables = "DeleteSessionApiKey", {"api_key": segment}
    request_id = signing.request_id()
    signed = signing.signed_headers(rpc, signing.session, request_id=request_id, variables=variables)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await signing.call(rpc, signed, variables=variables)
    error = error_from_rpc(failed.value, rpc)
    assert (error.code, error.details[0].path) == ("VALIDATION_ERROR", "target")
    rows = await sql(signing.cluster, "keys", "SELECT FROM request WHERE request_id = $1", request_id)
    assert rows == []


async def test_signature_in_headers_holds_for_its_own_request_only(signing: Signing) -> None:
    """Another path, body, verb, id, account or deployment is an unknown signature."""
    good = login(signing)
    request_id = uuid.UUID(good.request_id)
    args = (AUDIENCE, signing.account_id, request_id)
    over = {
        "another path": triple_message(*args, "POST", "/api/v1/api-keys", b"{}"),
        "another verb": triple_message(*args, "GET", LOGIN, b"{}"),
        "another body": triple_message(*args, "POST", LOGIN, b'{"name":"x"}'),
        "no body": triple_message(*args, "POST", LOGIN, b""),
        "another id": triple_message(
            AUDIENCE, signing.account_id, signing.request_id(), "POST", LOGIN, b"{}"
        ),
        "another account": triple_message(AUDIENCE, str(request_id), request_id, "POST", LOGIN, b"{}"),
        "another deployment": triple_message(
            "elsewhere.test", signing.account_id, request_id, "POST", LOGIN, b"{}"
        ),
        "a payload": payload_message(AUDIENCE, signing.account_id, b"{}"),
    }
    for case, message in over.items():
        sent = replace(good, signature=signing.session.sign(message))
        assert await refusal_of(signing, DEVICE, sent) == ("SIGNATURE_INVALID", []), case
    assert (await signing.send(good)).json()["status"] == "request_completed"


async def test_signed_get_is_no_signed_head(cluster: Cluster, signing: Signing) -> None:
    """HEAD is what was asked, and nobody can have signed it for this route."""
    for verb in ("GET", "HEAD"):
        signed = sign_headers(
            signing.session, AUDIENCE, signing.account_id, signing.request_id(), verb, "/api/v1/device-keys"
        )
        answer = await cluster.http.request("HEAD", signed.target, headers=signed.headers)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"name":"a","name":"b"}',
        b'{"more":1}',
        b'{"name":5}',
        b"\xff",
        b'{"a":NaN}',
        b'{"\\ud800":1}',
        b'{"name":"\\udfff"}',
    ],
)
async def test_body_of_a_request_signed_in_headers_is_strict_json(signing: Signing, body: bytes) -> None:
    """It is verified as it came in, and then read as strictly as any."""
    signed = login(signing, body=body)
    assert (await refusal_of(signing, DEVICE, signed))[0] == "VALIDATION_ERROR"


async def test_request_that_is_refused_before_its_signature_held_uses_no_id_up(
    cluster: Cluster, signing: Signing
) -> None:
    """400 and 401 leave nothing behind: the same id is good for the request that is right."""
    request_id = signing.request_id()
    pair = new_pair()
    mint = keys_pb2.MintSessionKey(public_key=pair.public_key, scope=0, valid_until_ns=NEVER)
    good = signing.signed("SubmitMintSessionKey", signing.master, mint, request_id=request_id)
    bad = [
        replace(good, signature=bytes(64)),
        replace(good, signature=good.signature[:-1]),
        signing.signed("SubmitMintSessionKey", new_pair(), mint, request_id=request_id),
        signing.signed("SubmitRevokeSessionKey", signing.master, request_id=request_id),
    ]
    for signed in bad:
        assert (await signing.post("SubmitMintSessionKey", signed)).status_code in (400, 401)
    rows = await sql(cluster, "keys", "SELECT 1 FROM request WHERE request_id = $1", request_id)
    assert rows == []
    answer = await signing.post("SubmitMintSessionKey", good)
    assert json.loads(answer.text)["status"] == "request_completed"

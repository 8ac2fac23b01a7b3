"""Session API keys and device keys over REST: from a signed login to what a device may read."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from chassis.log import JsonFormatter
from chassis.secrets import device_key_text, parse_device_key
from sealgate.keys.v1 import signing_key_pb2
from tests.cluster import Cluster
from tests.platform_support import sql
from tests.signing_support import new_pair
from tests.signing_world import Signing, answered, make_every_signer, make_signing

PAGE = "https://shop.example"
READS = ("/api/v1/wallets", "/api/v1/account/session", "/api/v1/auth/sessions")


@pytest.fixture
async def signing(cluster: Cluster) -> Signing:
    """An account with keys of its own."""
    return await make_signing(cluster)


async def login(signing: Signing, **members: object) -> Any:  # noqa: ANN401
    """A new device key, made by the session key."""
    body = json.dumps(members).encode()
    return await signing.submit_headers("CreateDeviceKey", signing.session, body)


async def get(signing: Signing, path: str, secret: str, **headers: str) -> httpx.Response:
    """A read with a device key."""
    return await signing.cluster.rest("GET", path, x_device_key=secret, **headers)


def refused(answer: httpx.Response, status: int) -> str:
    """The code of a refusal that has this HTTP status."""
    assert answer.status_code == status, answer.text
    code: str = answer.json()["error"]["code"]
    return code


async def test_device_reads_what_its_owner_reads_and_writes_nothing(signing: Signing) -> None:
    """Its kind is told, its scopes are two, and every write is refused for its kind."""
    secret = (await login(signing, name="phone"))["secret_key"]
    for path in READS:
        assert (await get(signing, path, secret)).status_code == 200
    shown = (await get(signing, "/api/v1/account/session", secret)).json()["response"]
    assert (shown["kind"], shown["scopes"]) == ("DEVICE_KEY", ["account:read", "wallet:read"])
    assert shown["account_id"] == signing.account_id
    for path in ("/api/v1/wallet", "/api/v1/account/api-key"):
        answer = await signing.cluster.rest("POST", path, json={}, x_device_key=secret)
        assert refused(answer, 403) == "CREDENTIAL_NOT_ACCEPTED"


async def test_device_key_is_read_from_its_own_header_alone(signing: Signing) -> None:
    """As a bearer or an API key it is nothing, and beside another credential one too many."""
    secret = (await login(signing))["secret_key"]
    rest = signing.cluster.rest
    assert refused(await rest("GET", "/api/v1/wallets", x_api_key=secret), 401) == "API_KEY_INVALID"
    bearer = await rest("GET", "/api/v1/wallets", authorization=f"Bearer {secret}")
    assert refused(bearer, 401) == "SESSION_INVALID"
    both = await rest("GET", "/api/v1/wallets", x_device_key=secret, x_api_key=secret)
    assert refused(both, 400) == "CREDENTIAL_AMBIGUOUS"


async def test_device_key_that_was_deleted_is_revoked_and_an_unknown_one_invalid(signing: Signing) -> None:
    """With the very next request."""
    made = await login(signing)
    variables = {"device_key_id": made["device_key"]["device_key_id"]}
    await signing.submit_headers("DeleteDeviceKey", signing.session, b"{}", variables=variables)
    assert refused(await get(signing, READS[0], made["secret_key"]), 401) == "API_KEY_REVOKED"
    unknown = device_key_text(uuid.uuid5(uuid.NAMESPACE_DNS, "unknown").bytes * 2)
    assert refused(await get(signing, READS[0], unknown), 401) == "API_KEY_INVALID"


async def test_device_key_works_from_the_projects_pages_and_from_no_other(signing: Signing) -> None:
    """By the project's list of origins."""
    made = await login(signing)
    await signing.world.by_project("PUT", "/api/v1/project", {"allowed_origins": [PAGE]})
    assert (await get(signing, READS[0], made["secret_key"], origin=PAGE)).status_code == 200
    elsewhere = await get(signing, READS[0], made["secret_key"], origin="https://evil.example")
    assert refused(elsewhere, 403) == "ORIGIN_NOT_ALLOWED"


async def test_pinned_device_key_is_told_its_pin(cluster: Cluster) -> None:
    """It comes from the session key unless the body narrows it."""
    signing = await make_every_signer(cluster)
    body = b"{}"
    made = await signing.submit_headers("CreateDeviceKey", signing.pairs["pinned_elsewhere"], body)
    shown = (await get(signing, "/api/v1/account/session", made["secret_key"])).json()["response"]
    assert shown["subaccount_index"] == made["device_key"]["subaccount_index"] == 1


async def test_secret_of_a_device_key_is_in_one_answer_and_nowhere_else(
    signing: Signing, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the repeat's answer, not in the record, the lists, a log line or a database of the platform."""
    caplog.set_level("DEBUG")
    signed = signing.signed_headers("CreateDeviceKey", signing.session, b'{"name":"phone"}')
    made = answered(await signing.send(signed))
    secret = made["secret_key"]
    raw = parse_device_key(secret)
    assert raw is not None
    again = await signing.send(signed)
    repeat = answered(again, "duplicate_request_id")
    assert repeat["secret_key"] is None
    assert repeat["original"]["device_key"] == made["device_key"]
    looked_up = await get(signing, f"/api/v1/auth/requests/{made['request_id']}", secret)
    listed = await signing.send(signing.signed_headers("ListDeviceKeys", signing.session))
    assert looked_up.status_code == listed.status_code == 200
    assert caplog.records
    formatter = JsonFormatter("test")
    texts = [again.text, looked_up.text, listed.text]
    texts += [formatter.format(record) for record in caplog.records]
    texts += [record.getMessage() for record in caplog.records]
    texts += [text for service in ("auth", "keys", "wallet") for text in await rows_of(signing, service)]
    for text in texts:
        assert secret not in text
        assert raw.hex() not in text


async def rows_of(signing: Signing, service: str) -> list[str]:
    """Every row of every table of a service's database, as text."""
    cluster, found = signing.cluster, []
    for table in await sql(cluster, service, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        rows = await sql(cluster, service, f"SELECT t::text FROM public.{table[0]} AS t")  # noqa: S608
        found += [row[0] for row in rows]
    return found


async def test_logout_ends_the_sessions_device_keys(signing: Signing) -> None:
    """In the transaction that revokes the session key."""
    secret = (await login(signing))["secret_key"]
    answered(await signing.post("SubmitLogout", revocation_of(signing)))
    assert refused(await get(signing, READS[0], secret), 401) == "API_KEY_REVOKED"


def revocation_of(signing: Signing) -> Any:  # noqa: ANN401
    """The session key's own end, signed by it."""
    body = signing_key_pb2.RevokeSessionKey(public_key=signing.session.public_key)
    return signing.signed("SubmitLogout", signing.session, body)


async def test_session_api_key_reads_and_is_told_apart_by_its_scopes(signing: Signing) -> None:
    """A key like any other, with two scopes: it reads wallets and makes none."""
    made = await signing.submit_headers("CreateSessionApiKey", signing.session, b'{"name":"bot"}')
    rest = signing.cluster.rest
    assert (await rest("GET", "/api/v1/wallets", x_api_key=made["secret_key"])).status_code == 200
    answer = await rest("POST", "/api/v1/wallet", json={}, x_api_key=made["secret_key"])
    assert refused(answer, 403) == "SCOPE_NOT_GRANTED"
    listed = await signing.submit_headers("ListSessionApiKeys", signing.session)
    assert [key["public_key"] for key in listed["api_keys"]][-1] == made["api_key"]["public_key"]


@pytest.mark.parametrize(
    ("rpc", "body", "expected"),
    [
        ("CreateSessionApiKey", {}, [None, "role", "not_admin_rooted", "not_admin_rooted"]),
        ("CreateSessionApiKey", {"subaccount_index": 1}, [None, None, None, "scope"]),
        ("CreateDeviceKey", {}, [None, None, None, None]),
        ("CreateDeviceKey", {"subaccount_index": 1}, [None, None, None, "scope"]),
    ],
)
async def test_what_a_session_key_may_make_is_the_tables(
    rpc: str, body: dict[str, object], expected: list[str | None], cluster: Cluster
) -> None:
    """For an admin-rooted key, one of TRADING_ONLY, one that a scoped master minted, one pinned elsewhere."""
    signing = await make_every_signer(cluster)
    signers = ("session", "trading", "scoped_root", "pinned")
    for name, word in zip(signers, expected, strict=True):
        status = "request_completed" if word is None else f"rejected_{word}"
        signed = signing.signed_headers(rpc, signing.pairs[name], json.dumps(body).encode())
        answered(await signing.send(signed), status)


async def test_master_key_manages_no_keys_by_headers(signing: Signing) -> None:
    """Only session keys do, and an unknown key is nobody."""
    for pair, status, code in (
        (signing.master, 403, "CREDENTIAL_NOT_ACCEPTED"),
        (new_pair(), 401, "SIGNATURE_INVALID"),
    ):
        signed = signing.signed_headers("CreateDeviceKey", pair, b"{}")
        assert refused(await signing.send(signed), status) == code


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"name":"a","x":1}', "x"),
        (b'{"name":1}', "name"),
        (b'{"subaccount_index":"1"}', "subaccount_index"),
        (b'{"name":"a","name":"a"}', "body"),
        (b"[]", "body"),
        (b"{", "body"),
    ],
)
async def test_body_out_of_form_is_a_400_that_leaves_the_id_unused(
    body: bytes, path: str, signing: Signing
) -> None:
    """The same id runs with a good body."""
    request_id = signing.request_id()
    for rpc in ("CreateDeviceKey", "CreateSessionApiKey"):
        signed = signing.signed_headers(rpc, signing.session, body, request_id=request_id)
        answer = await signing.send(signed)
        assert refused(answer, 400) == "VALIDATION_ERROR"
        assert [detail["path"] for detail in answer.json()["error"]["details"]] == [path]
    good = signing.signed_headers("CreateDeviceKey", signing.session, b"", request_id=request_id)
    answered(await signing.send(good))


async def test_refusals_of_keys_stay_on_record_with_their_reason(signing: Signing) -> None:
    """What is unknown, and a name that is none: 200, told again to a repeat."""
    unknown = {"device_key_id": str(signing.request_id())}
    signed = signing.signed_headers("DeleteDeviceKey", signing.session, b"", variables=unknown)
    first = answered(await signing.send(signed), "session_rejected_invalid")
    assert first["details"] == [{"path": "", "message": "There is no such device key."}]
    repeat = answered(await signing.send(signed), "duplicate_request_id")
    assert repeat["original"]["status"] == "session_rejected_invalid"
    assert repeat["original"]["details"] == first["details"]
    bad_name = signing.signed_headers("CreateDeviceKey", signing.session, b'{"name":"a b"}')
    named = answered(await signing.send(bad_name), "session_rejected_invalid")
    assert [detail["path"] for detail in named["details"]] == ["name"]


@pytest.mark.parametrize("rpc", ["CreateDeviceKey", "CreateSessionApiKey"])
async def test_pin_that_no_subaccount_can_have_is_refused_on_record(rpc: str, signing: Signing) -> None:
    """Every number of 32 bits gets an answer, the one that stands for no pin elsewhere too."""
    for index in (2**31, 2**32 - 1):
        body = json.dumps({"subaccount_index": index}).encode()
        signed = signing.signed_headers(rpc, signing.session, body)
        refusal = answered(await signing.send(signed), "session_rejected_invalid")
        assert [detail["path"] for detail in refusal["details"]] == ["subaccount_index"]


async def test_time_is_open_to_everybody(cluster: Cluster) -> None:
    """The platform's clock in nanoseconds, and the name that signatures are made for."""
    answer = await cluster.rest("GET", "/api/v1/time")
    assert answer.status_code == 200
    body = answer.json()
    assert body["now_ns"] == cluster.clock.now_ns()
    assert set(body) == {"now_ns", "audience"}

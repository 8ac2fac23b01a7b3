"""Wrong JSON, wrong values and wrong queries of every kind: 400 with the path of what is wrong."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from chassis.limits import METADATA_MAX_BYTES
from tests.cluster import Cluster
from tests.platform_support import World, good, make_world, refused

PROJECT: Final = "/api/v1/project"
ACCOUNTS: Final = "/api/v1/project/account"


@pytest.fixture(scope="module")
async def world(cluster: Cluster) -> World:
    """One for all: what is asked of it is refused."""
    return await make_world(cluster)


def path_of(world: World, template: str) -> str:
    """A path with the world's own ids in it."""
    return template.format(account=world.account(), session=world.session_id, key=world.public_key)


async def send(world: World, verb: str, path: str, body: bytes) -> Any:  # noqa: ANN401
    """A request with a body as it stands, with the credential that the path takes."""
    credential = (
        {"x-project-api-key": world.tenant.project_key}
        if path.startswith(PROJECT)
        else {"authorization": f"Bearer {world.token}"}
    )
    headers = credential | {"content-type": "application/json"}
    return await world.cluster.http.request(verb, path, content=body, headers=headers)


NOT_JSON: Final = {
    "nothing but space": b" ",
    "cut short": b'{"metadata":',
    "a comma too many": b'{"metadata":{},}',
    "two documents": b"{}{}",
    "a tail": b"{} x",
    "single quotes": b"{'metadata':{}}",
    "no quotes": b"{metadata:{}}",
    "a comment": b"{/* */}",
    "NaN": b'{"metadata":{"a":NaN}}',
    "Infinity": b'{"metadata":{"a":Infinity}}',
    "-Infinity": b'{"metadata":{"a":-Infinity}}',
    "a leading zero": b'{"metadata":{"a":01}}',
    "a plus": b'{"metadata":{"a":+1}}',
    "a bare point": b'{"metadata":{"a":.5}}',
    "hexadecimal": b'{"metadata":{"a":0x1}}',
    "a control character": b'{"metadata":{"a":"\x01"}}',
    "a bad escape": b'{"metadata":{"a":"\\x41"}}',
    "Latin-1": b'{"metadata":{"a":"\xe9"}}',
    "overlong UTF-8": b'{"metadata":{"a":"\xc0\x80"}}',
    "a surrogate in UTF-8": b'{"metadata":{"a":"\xed\xa0\x80"}}',
    "UTF-16": '{"metadata":{}}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "an array": b"[]",
    "a string": b'"metadata"',
    "a number": b"1",
    "null": b"null",
    "33 levels": b'{"metadata":' + b'{"a":' * 32 + b"1" + b"}" * 32 + b"}",
    "33 levels of arrays": b'{"metadata":{"a":' + b"[" * 31 + b"]" * 31 + b"}}",
    "no end of levels": b'{"metadata":{"a":' + b"[" * 60_000,
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in NOT_JSON.items()])
async def test_body_that_is_no_object_of_strict_json_is_refused_as_a_whole(world: World, body: bytes) -> None:
    """The path is the body's, whatever part of it is wrong."""
    refused(await send(world, "POST", ACCOUNTS, body), 400, "VALIDATION_ERROR", paths=["body"])


# Verb, path, body as JSON text, path of what is wrong.
WRONG_BODIES: Final = [
    # Members
    ("POST", ACCOUNTS, '{"metadata":{},"more":1}', "more"),
    ("POST", ACCOUNTS, '{"Metadata":{}}', "Metadata"),
    ("POST", ACCOUNTS, '{"":1}', '""'),
    ("POST", ACCOUNTS, '{"metadata":{},"metadata":{}}', "metadata"),
    ("POST", ACCOUNTS, '{"metadata":{"a":1,"a":1}}', "metadata.a"),
    ("POST", ACCOUNTS, '{"metadata":{"a":[0,{"b":1,"b":2}]}}', "metadata.a[1].b"),
    ("PUT", PROJECT, '{"session_policy":{"idle_timeout_seconds":1,"more":1}}', "session_policy.more"),
    ("PUT", PROJECT, '{"modules":["wallet"]}', "modules"),
    ("PUT", PROJECT, '{"status":"ACTIVE"}', "status"),
    ("POST", "{account}/session", '{"account_id":"x"}', "account_id"),
    ("POST", "{account}/session/{session}/refresh", '{"session_id":null}', "session_id"),
    ("POST", "{account}/session", '{"sessionId":"x"}', "sessionId"),
    ("PUT", "{account}/api-key/{key}", '{"public_key":"x"}', "public_key"),
    ("PUT", "{account}/api-key/{key}", '{"expires_at":"2030-01-01T00:00:00Z"}', "expires_at"),
    # Types
    ("POST", ACCOUNTS, '{"metadata":"{}"}', "metadata"),
    ("POST", ACCOUNTS, '{"metadata":[]}', "metadata"),
    ("PUT", PROJECT, '{"name":1}', "name"),
    ("PUT", PROJECT, '{"name":true}', "name"),
    ("PUT", PROJECT, '{"name":["x"]}', "name"),
    ("PUT", PROJECT, '{"allowed_origins":"https://a.example"}', "allowed_origins"),
    ("PUT", PROJECT, '{"allowed_origins":{"0":"https://a.example"}}', "allowed_origins"),
    ("PUT", PROJECT, '{"allowed_origins":["https://a.example",1]}', "allowed_origins[1]"),
    ("PUT", PROJECT, '{"allowed_origins":[null]}', "allowed_origins[0]"),
    ("PUT", PROJECT, '{"session_policy":120}', "session_policy"),
    (
        "PUT",
        PROJECT,
        '{"session_policy":{"idle_timeout_seconds":"120"}}',
        "session_policy.idle_timeout_seconds",
    ),
    (
        "PUT",
        PROJECT,
        '{"session_policy":{"idle_timeout_seconds":120.0}}',
        "session_policy.idle_timeout_seconds",
    ),
    (
        "PUT",
        PROJECT,
        '{"session_policy":{"idle_timeout_seconds":1e3}}',
        "session_policy.idle_timeout_seconds",
    ),
    ("POST", "{account}/api-key", '{"scopes":"wallet:read"}', "scopes"),
    ("POST", "{account}/api-key", '{"scopes":[{"a":1}]}', "scopes[0]"),
    ("POST", "{account}/api-key", '{"origins":[null]}', "origins[0]"),
    ("POST", "{account}/api-key", '{"subaccount_index":"0"}', "subaccount_index"),
    ("POST", "{account}/api-key", '{"subaccount_index":0.0}', "subaccount_index"),
    ("POST", "{account}/api-key", '{"subaccount_index":-1}', "subaccount_index"),
    ("POST", "{account}/api-key", '{"subaccount_index":4294967296}', "subaccount_index"),
    ("PUT", "/api/v1/wallet/{session}", '{"autoredeem":"true"}', "autoredeem"),
    ("PUT", "/api/v1/wallet/{session}", '{"autoredeem":1}', "autoredeem"),
    # Enums
    ("PUT", "{account}/status", '{"status":"suspended"}', "status"),
    ("PUT", "{account}/status", '{"status":"ACCOUNT_STATUS_SUSPENDED"}', "status"),
    ("PUT", "{account}/status", '{"status":"UNSPECIFIED"}', "status"),
    ("PUT", "{account}/status", '{"status":2}', "status"),
    ("PUT", "{account}/status", "{}", "status"),
    ("PUT", "{account}/status", '{"status":null}', "status"),
    # Times
    ("POST", "{account}/api-key", '{"expires_at":1893456000}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2030-01-01"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2030-01-01T00:00:00"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2030-01-01T00:00:00+00:00"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2030-02-30T00:00:00Z"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2030-01-01T24:00:00Z"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2030-01-01T00:00:60Z"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2030-01-01T00:00:00.1234567890Z"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"0000-01-01T00:00:00Z"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2026-01-01T00:00:00Z"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"2046-01-01T00:00:00Z"}', "expires_at"),
    ("POST", "{account}/api-key", '{"expires_at":"9999-12-31T23:59:59Z"}', "expires_at"),
    # Numbers and texts that a message cannot hold
    ("POST", ACCOUNTS, '{"metadata":{"a":9007199254740993}}', "metadata.a"),
    ("POST", ACCOUNTS, '{"metadata":{"a":-9007199254740993}}', "metadata.a"),
    ("POST", ACCOUNTS, '{"metadata":{"a":' + "9" * 5000 + "}}", "metadata.a"),
    ("POST", ACCOUNTS, '{"metadata":{"a":1e400}}', "metadata.a"),
    ("POST", ACCOUNTS, '{"metadata":{"a":"\\ud800"}}', "metadata.a"),
    ("POST", ACCOUNTS, '{"metadata":{"\\udc00":1}}', "metadata.?"),
    ("PUT", PROJECT, '{"name":"\\ud800"}', "name"),
    # Values
    ("POST", ACCOUNTS, json.dumps({"metadata": {"a": "x" * METADATA_MAX_BYTES}}), "metadata"),
    ("PUT", "{account}/metadata", "{}", "metadata"),
    ("PUT", "{account}/metadata", '{"metadata":null}', "metadata"),
    ("PUT", PROJECT, '{"name":""}', "name"),
    ("PUT", PROJECT, json.dumps({"name": "x" * 65}), "name"),
    ("PUT", PROJECT, '{"name":"a\\u0000b"}', "name"),
    ("PUT", PROJECT, '{"name":"a\\u200bb"}', "name"),
    ("PUT", PROJECT, '{"allowed_origins":["https://a.example/"]}', "allowed_origins[0]"),
    ("PUT", PROJECT, '{"allowed_origins":["https://a.example","*"]}', "allowed_origins[1]"),
    ("PUT", PROJECT, '{"allowed_origins":["null"]}', "allowed_origins[0]"),
    ("PUT", PROJECT, json.dumps({"allowed_origins": ["https://a.example"] * 2}), "allowed_origins[1]"),
    ("PUT", PROJECT, json.dumps({"allowed_origins": ["x"] * 101}), "allowed_origins"),
    (
        "PUT",
        PROJECT,
        '{"session_policy":{"idle_timeout_seconds":119,"absolute_cap_seconds":300}}',
        "session_policy.idle_timeout_seconds",
    ),
    (
        "PUT",
        PROJECT,
        '{"session_policy":{"idle_timeout_seconds":120,"absolute_cap_seconds":119}}',
        "session_policy.absolute_cap_seconds",
    ),
    (
        "PUT",
        PROJECT,
        '{"session_policy":{"idle_timeout_seconds":120,"absolute_cap_seconds":31536001}}',
        "session_policy.absolute_cap_seconds",
    ),
    ("PUT", PROJECT, '{"session_policy":{}}', "session_policy.idle_timeout_seconds"),
    ("POST", "{account}/api-key", '{"name":""}', "name"),
    ("POST", "{account}/api-key", '{"name":"a b"}', "name"),
    ("POST", "{account}/api-key", '{"name":"a\\n"}', "name"),
    ("POST", "{account}/api-key", '{"name":"é"}', "name"),
    ("POST", "{account}/api-key", json.dumps({"name": "x" * 65}), "name"),
    ("POST", "{account}/api-key", '{"scopes":[]}', "scopes"),
    ("POST", "{account}/api-key", '{"scopes":["wallet:read","wallet:*"]}', "scopes[1]"),
    ("POST", "{account}/api-key", '{"scopes":["wallet:read","wallet:read"]}', "scopes[1]"),
    ("POST", "{account}/api-key", '{"origins":["https://a.example:443"]}', "origins[0]"),
    (
        "POST",
        "{account}/api-key",
        '{"origins":["https://a.example"],"scopes":["withdrawals:write"]}',
        "scopes",
    ),
    ("POST", "{account}/api-key", '{"origins":["https://a.example"],"scopes":["keys:write"]}', "scopes"),
    ("POST", "{account}/api-key", '{"subaccount_index":2147483648}', "subaccount_index"),
    ("PUT", "{account}/api-key/{key}", '{"scopes":[]}', "scopes"),
    ("PUT", "{account}/api-key/{key}", '{"name":""}', "name"),
    ("POST", "/api/v1/project/api-key", '{"scopes":["wallet:read"]}', "scopes"),
    ("POST", "/api/v1/account/api-key", '{"name":"/"}', "name"),
    ("POST", "/api/v1/wallet", '{"name":""}', "name"),
    ("POST", "/api/v1/wallet", '{"name":"\\t"}', "name"),
    ("POST", "/api/v1/wallet", '{"subaccount_index":-1}', "subaccount_index"),
]


@pytest.mark.parametrize(("verb", "template", "body", "path"), WRONG_BODIES)
async def test_body_with_something_wrong_in_it_is_refused_with_its_path(
    world: World, verb: str, template: str, body: str, path: str
) -> None:
    """Unknown, repeated, of another type, out of range: the path says which member it is."""
    answer = await send(world, verb, path_of(world, template), body.encode())
    refused(answer, 400, "VALIDATION_ERROR", paths=[path])


WRONG_QUERIES: Final = [
    (ACCOUNTS, "limit=1&limit=1", "limit"),
    (ACCOUNTS, "limit=-1", "limit"),
    (ACCOUNTS, "offset=-1", "offset"),
    (ACCOUNTS, "limit=", "limit"),
    (ACCOUNTS, "limit", "limit"),
    (ACCOUNTS, "limit=abc", "limit"),
    (ACCOUNTS, "limit=1.0", "limit"),
    (ACCOUNTS, "limit=1e3", "limit"),
    (ACCOUNTS, "limit=+1", "limit"),
    (ACCOUNTS, "limit=%201", "limit"),
    (ACCOUNTS, "limit=01", "limit"),
    (ACCOUNTS, "limit=0x10", "limit"),
    (ACCOUNTS, "limit=%D9%A1", "limit"),
    (ACCOUNTS, "offset=9223372036854775808", "offset"),
    (ACCOUNTS, "offset=" + "9" * 5000, "offset"),
    (ACCOUNTS, "limits=1", "limits"),
    (ACCOUNTS, "Limit=1", "Limit"),
    ("{account}", "account_id=1", "account_id"),
    ("/api/v1/wallet/{session}/transfers", "wallet_id=1", "wallet_id"),
    ("/api/v1/wallet/{session}/transfers", "limit=-1", "limit"),
    ("/api/v1/wallets", "limit=1", "limit"),
    (PROJECT, "x", "x"),
]


@pytest.mark.parametrize(("template", "query", "path"), WRONG_QUERIES)
async def test_query_with_something_wrong_in_it_is_refused_with_its_path(
    world: World, template: str, query: str, path: str
) -> None:
    """Unknown, repeated, bound in the path, or no integer as integers are written."""
    answer = await send(world, "GET", f"{path_of(world, template)}?{query}", b"")
    refused(answer, 400, "VALIDATION_ERROR", paths=[path])


async def test_post_takes_no_query(world: World) -> None:
    """Its fields are in the body, and one place is enough."""
    answer = await send(world, "POST", f"{ACCOUNTS}?metadata=1", b"{}")
    refused(answer, 400, "VALIDATION_ERROR", paths=["metadata"])


async def test_get_takes_no_body(world: World) -> None:
    """What would be ignored is refused."""
    answer = await send(world, "GET", PROJECT, b'{"name":"x"}')
    refused(answer, 400, "VALIDATION_ERROR", paths=["name"])


async def test_null_is_the_same_as_absent(world: World) -> None:
    """On input; on output everything is printed, and what is unset is null."""
    body = dict.fromkeys(("name", "scopes", "origins", "subaccount_index", "expires_at"))
    answer = await send(world, "POST", f"{world.account()}/api-key", json.dumps(body).encode())
    key = good(answer, 201)
    assert key["scopes"] == ["account:read", "wallet:read", "wallet:write", "orders:write"]
    assert (key["name"], key["origins"], key["subaccount_index"], key["expires_at"]) == ("", [], None, None)
    body = dict.fromkeys(("name", "allowed_origins", "session_policy"))
    before = good(await world.by_project("GET", PROJECT))
    changed = good(await send(world, "PUT", PROJECT, json.dumps(body).encode()))
    assert changed == before


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"": ""},
        {"a": None, "b": True, "c": False, "d": "", "e": [], "f": {}},
        {"numbers": [0, -1, 2**53, -(2**53), 0.1, 1.5, -2.25, 1e-300, 1.7976931348623157e308]},
        {"text": 'é 漢字 🙂 \u0000 \u007f \u2028 " \\ /', "ключ": "значение"},
        {"a" * 500: {"b" * 500: ["c" * 500]}},
        {"deep": json.loads("[" * 30 + "]" * 30)},
        {"full": "x" * (METADATA_MAX_BYTES - len('{"full":""}'))},
    ],
    ids=["empty", "no name", "every type", "numbers", "texts", "long names", "deep", "full"],
)
async def test_metadata_comes_back_as_it_was_sent(world: World, metadata: dict[str, object]) -> None:
    """Every value that JSON can say and a double can hold, when made, replaced, read and listed."""
    body = {"metadata": metadata}
    made = good(await world.by_project("POST", ACCOUNTS, body), 201)
    assert made["metadata"] == metadata
    path = f"{ACCOUNTS}/{made['account_id']}"
    assert good(await world.by_project("GET", path)) == made
    assert good(await world.by_project("PUT", f"{path}/metadata", body))["metadata"] == metadata
    listed = good(await world.by_project("GET", ACCOUNTS))
    assert next(item for item in listed if item["account_id"] == made["account_id"])["metadata"] == metadata

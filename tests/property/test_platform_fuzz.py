"""Whatever is sent to any route, by whomever: an answer of the contract, and never a 500."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import ERROR_TABLE, Code
from chassis.methods import Effect, HttpBinding, Method
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from edge.config import SERVICES
from edge.routes import load_methods, variable_names
from tests.cluster import DESCRIPTOR
from tests.platform_support import (
    UNKNOWN_ID,
    UNKNOWN_SECRET,
    World,
    make_world,
    private_cluster,
    raw_exchange,
)

METHODS: Final = load_methods(DESCRIPTOR, [name for names in SERVICES.values() for name in names])
ROUTES: Final = [(method, binding) for method in METHODS for binding in method.bindings]
JWKS: Final = "/.well-known/jwks.json"
QUICK: Final = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
REQUEST_HEADERS: Final = ("x-api-key", "x-project-api-key", "x-device-key", "authorization", "origin")


@dataclass(repr=False)
class Target:
    """A world to shoot at, made anew when a shot may have changed what it is worth."""

    world: World
    ids: dict[str, str] = field(default_factory=dict)

    async def renew(self) -> None:
        """Another world, and its values for every path variable."""
        self.world = await make_world(self.world.cluster)
        self.ids = {
            "account_id": self.world.tenant.account_id,
            "session_id": self.world.session_id,
            "public_key": self.world.public_key,
            "wallet_id": await self.world.wallet_id(),
        }

    def credential(self, kind: str) -> dict[str, str]:
        """The headers that say who asks."""
        world = self.world
        return {
            "project": {"x-project-api-key": world.tenant.project_key},
            "session": {"authorization": f"Bearer {world.token}"},
            "key": {"x-api-key": world.secret_key},
            "bearer key": {"authorization": f"Bearer {world.secret_key}"},
            "unknown key": {"x-api-key": UNKNOWN_SECRET},
            "bad token": {"authorization": f"Bearer {world.token[:-2]}"},
            "two": {"x-api-key": world.secret_key, "x-project-api-key": world.tenant.project_key},
            "nobody": {},
        }[kind]


@pytest.fixture(scope="module")
async def target(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Target]:
    async with private_cluster(template_databases, short_directory) as cluster:
        aimed = Target(await make_world(cluster))
        await aimed.renew()
        yield aimed


def right_kind(method: Method) -> str:
    """A credential that the method takes."""
    return {1: "project", 2: "session"}.get(min(method.accepts, default=0), "nobody")


def changes(method: Method) -> bool:
    """Whether a call can have cost the world something that further shots need."""
    return method.effect is not Effect.READ and "/Create" not in method.full_name


def is_answer(answer: httpx.Response, verb: str = "GET", path: str = "") -> None:
    """An answer of the contract: status, envelope and headers belong together, and it is no 500."""
    uuid.UUID(answer.headers["x-request-id"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.status_code != 500, answer.text
    if verb == "HEAD":
        return
    body = answer.json()
    if answer.status_code < 400:
        assert answer.status_code in (200, 201)
        assert list(body) in (["success", "response"], ["keys"])
        return
    row = ERROR_TABLE[Code(body["error"]["code"])]
    assert answer.status_code == row.http_status
    # The key set belongs to no family.
    assert list(body)[-2:] == ["error", "request_id"]
    assert list(body)[:-2] == ["success", "response"] or path == JWKS
    assert (body.get("success", False), body.get("response", row.message)) == (False, row.message)
    assert body["error"]["message"] == row.message
    assert list(body["error"]) == ["code", "message", "details"]
    assert all(list(detail) == ["path", "message"] for detail in body["error"]["details"])
    assert body["request_id"] == answer.headers["x-request-id"]
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    assert ("allow" in answer.headers) == (answer.status_code == 405)


# Values

ODD_TEXTS: Final = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "a\0b",
        "'",
        '"',
        "\\",
        "%",
        "%s",
        "{}",
        "\u202e",
        "\ud800",
        "\uffff",
        "🙂",
        "null",
        "pk_",
        "sk_",
    ]
)
TEXTS: Final = ODD_TEXTS | st.text(max_size=20) | st.text(alphabet="aA1-_. /%", max_size=70)
ODD_NUMBERS: Final = st.sampled_from(
    [0, -0.0, 1e308, 5e-324, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -1, 0.1]
)
SCALARS: Final = st.none() | st.booleans() | ODD_NUMBERS | st.integers() | TEXTS
ANYTHING: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
TIMES: Final = st.sampled_from(
    [
        "2026-01-01T00:00:00Z",
        "2027-06-30T12:00:00.000000001Z",
        "9999-12-31T23:59:59.999999999Z",
        "0001-01-01T00:00:00Z",
    ]
)
ORIGINS: Final = st.sampled_from(
    [
        "https://a.example",
        "https://a.example:8443",
        "http://[::1]:3000",
        "null",
        "*",
        "https://a.example/",
        "https://",
    ]
)
SCOPES: Final = st.sampled_from(["account:read", "keys:write", "wallet:read", "withdrawals:write", "all"])


def plausible(descriptor_field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values of about the right kind for a field, good and bad ones."""
    name, kind = descriptor_field.name, descriptor_field.message_type
    if name == "scopes":
        return st.lists(SCOPES, max_size=4)
    if name in ("origins", "allowed_origins"):
        return st.lists(ORIGINS, max_size=3)
    if kind is not None and kind.full_name == "google.protobuf.Timestamp":
        return TIMES
    if kind is not None and kind.full_name == "google.protobuf.Struct":
        return st.dictionaries(TEXTS, ANYTHING, max_size=3)
    if kind is not None:
        return st.fixed_dictionaries({}, optional={inner.name: plausible(inner) for inner in kind.fields})
    if descriptor_field.enum_type is not None:
        return st.sampled_from(["ACTIVE", "SUSPENDED", "UNSPECIFIED", 1])
    if descriptor_field.type == FieldDescriptor.TYPE_STRING:
        return TEXTS
    if descriptor_field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    return st.integers(-2, 400) | ODD_NUMBERS


def bodies(method: Method) -> st.SearchStrategy[bytes]:
    """Bodies that have the method's members, any JSON, and any bytes."""
    fields = {one.name: plausible(one) | ANYTHING for one in method.descriptor.input_type.fields}
    members = st.fixed_dictionaries({}, optional=fields)
    return st.one_of(
        members.map(lambda value: json.dumps(value).encode()),
        members.map(lambda value: json.dumps(value).encode()),
        ANYTHING.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=60),
        st.just(b""),
    )


HEADER_VALUES: Final = st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30
).map(str.strip)
ODD_HEADERS: Final = st.dictionaries(
    st.sampled_from(
        [
            *REQUEST_HEADERS,
            *("x-request-id", "user-agent", "x-forwarded-for", "content-type", "accept", "cookie", "range"),
            *("x-session-token", "sealgate-passport-bin", "grpc-timeout", "traceparent", "idempotency-key"),
        ]
    ),
    HEADER_VALUES,
    max_size=2,
)
CREDENTIALS: Final = st.sampled_from(
    ["right"] * 8 + ["project", "session", "key", "bearer key", "unknown key", "bad token", "two", "nobody"]
)


def in_url(text: str) -> str:
    """A text as it stands in a path or query: everything but the plainest characters escaped."""
    data = text.encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in data)


Shot = tuple[Method, HttpBinding, str, dict[str, str], str, bytes, dict[str, str], str]


@st.composite
def shots(draw: st.DrawFn) -> Shot:
    """A route, who asks, what stands in its path, its query, body and headers, and the verb."""
    method, binding = draw(st.sampled_from(ROUTES))
    variables = {
        name: draw(st.sampled_from(["own"] * 6 + ["unknown"]) | TEXTS.filter(bool))
        for name in variable_names(binding.template)
    }
    names = [one.name for one in method.descriptor.input_type.fields]
    parameter = st.tuples(st.sampled_from([*names, "x", ""]), TEXTS | st.integers(-2, 2**65).map(str))
    query = "&".join(
        f"{in_url(name)}={in_url(value)}"
        for name, value in draw(st.just([]) | st.lists(parameter, max_size=3))
    )
    verb = draw(st.sampled_from([binding.verb] * 12 + ["HEAD", "PATCH", "OPTIONS", "GET", "DELETE"]))
    headers = draw(st.just({}) | st.just({}) | ODD_HEADERS)
    return method, binding, draw(CREDENTIALS), variables, query, draw(bodies(method)), headers, verb


@settings(QUICK, max_examples=400)
@given(shot=shots())
async def test_any_request_is_answered_by_the_contract(target: Target, shot: Shot) -> None:
    """Every route with arbitrary path, query, headers and body, by good and bad credentials."""
    method, binding, kind, variables, query, body, odd_headers, verb = shot
    path = binding.template
    for name, value in variables.items():
        text = {"own": target.ids[name], "unknown": UNKNOWN_ID}.get(value, value)
        path = path.replace(f"{{{name}}}", in_url(text))
    credential = target.credential(right_kind(method) if kind == "right" else kind)
    headers = {"content-type": "application/json"} | credential | odd_headers
    answer = await target.world.cluster.http.request(
        verb,
        f"{path}?{query}" if query else path,
        content=body,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    is_answer(answer, verb, path)
    if answer.status_code < 400:
        if verb == binding.verb:
            assert answer.status_code == method.success_status
        if verb not in ("GET", "HEAD") and (verb != binding.verb or changes(method)):
            await target.renew()


PLAIN: Final = b"GET /healthz HTTP/1.1\r\nhost: edge\r\n\r\n"
PIECES: Final = st.sampled_from(
    [
        b"GET ",
        b"POST ",
        b"/api/v1/project",
        b"/api/v1/project/account",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/2.0\r\n",
        b"host: edge\r\n",
        b"content-length: 5\r\n",
        b"content-length: -1\r\n",
        b"content-length: 99999999999999999999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"expect: 100-continue\r\n",
        b"content-type: application/json\r\n",
        b" folded\r\n",
        b": \r\n",
        b"\0",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01",
        PLAIN,
    ]
)


@settings(QUICK, max_examples=80)
@given(data=st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join))
async def test_any_bytes_are_answered_by_the_contract_or_not_at_all(target: Target, data: bytes) -> None:
    """What is no request gets the error object or nothing, and the next connection is served."""
    http = target.world.cluster.http
    assert http.base_url.port is not None
    for answer in await raw_exchange(http.base_url.port, data, hang_up=True):
        if answer.status_code == 100:
            continue
        if answer.status_code != 200:
            is_answer(answer)
    assert (await http.get("/healthz")).status_code == 200


WIRE_TEXTS: Final = (TEXTS | SCOPES | ORIGINS).map(lambda text: text.encode("utf-8", "replace").decode())
INT32: Final = st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 999_999_999, 1_000_000_000]) | st.integers(
    0, 400
)
INT64: Final = INT32 | st.sampled_from([2**63 - 1, -(2**63), 253_402_300_799, 1_800_000_000, 2**40])


def fill(draw: st.DrawFn, message: Message, depth: int = 0) -> None:
    """Gives some of a message's fields values that their types allow, the unlikely ones first of all."""
    for one in message.DESCRIPTOR.fields:
        if depth > 4 or not draw(st.booleans()):
            continue
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            for name in draw(st.lists(WIRE_TEXTS, max_size=2)):
                fill(draw, getattr(message, one.name)[name], depth + 1)
        elif one.message_type is not None:
            target = getattr(message, one.name)
            if one.is_repeated:
                for _ in range(draw(st.integers(0, 2))):
                    fill(draw, target.add(), depth + 1)
            else:
                target.SetInParent()
                fill(draw, target, depth + 1)
        elif one.is_repeated:
            getattr(message, one.name).extend(draw(st.lists(WIRE_TEXTS, max_size=3)))
        else:
            setattr(message, one.name, draw(wire_value(one)))


def wire_value(one: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401
    """Values of a plain field, as far as its type goes."""
    if one.enum_type is not None:
        return INT32
    return {
        FieldDescriptor.TYPE_STRING: WIRE_TEXTS,
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_DOUBLE: st.floats(),
        FieldDescriptor.TYPE_INT32: INT32,
        FieldDescriptor.TYPE_INT64: INT64,
        FieldDescriptor.TYPE_UINT32: st.sampled_from([0, 1, 2**32 - 1]),
    }[one.type]


@st.composite
def calls(draw: st.DrawFn) -> tuple[Method, Message, bytes, str]:
    """A method, a request message, bytes behind it, and who asks."""
    method = draw(st.sampled_from(METHODS))
    message = GetMessageClass(method.descriptor.input_type)()
    fill(draw, message)
    behind = draw(st.just(b"") | st.just(b"") | st.just(b"") | st.binary(max_size=10))
    return method, message, behind, draw(CREDENTIALS)


@settings(QUICK, max_examples=250)
@given(call=calls())
async def test_any_message_is_answered_by_the_contract(
    target: Target, call: tuple[Method, Message, bytes, str]
) -> None:
    """Every method over gRPC with arbitrary messages, which say more than JSON can."""
    method, message, behind, kind = call
    for name in variable_names(method.bindings[0].template):
        # What names nothing is refused before anything is looked at.
        if len(getattr(message, name)) % 8:
            setattr(message, name, target.ids[name])
    credential = target.credential(right_kind(method) if kind == "right" else kind)
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = target.world.cluster.public[
        method.full_name.split(".")[1]
    ].unary_unary(method.full_name)
    request = message.SerializeToString() + behind
    call_ = rpc(request, metadata=tuple(credential.items()), timeout=10)
    code = await call_.code()
    if code is not grpc.StatusCode.OK:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call_
        error = error_from_rpc(failure.value, method.full_name)
        assert not error.internal, f"a bare {code} came back"
        assert error.code is not Code.INTERNAL
        assert code.name == error.row.grpc_status
        assert failure.value.details() == error.row.message
    elif changes(method):
        await target.renew()

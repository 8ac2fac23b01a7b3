"""Whatever is sent to any route, by whomever: an answer of the contract, and never a 500."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import ERROR_TABLE, Code
from chassis.methods import Effect, HttpBinding, Method
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from edge.config import SERVICES
from edge.routes import load_methods, variable_names
from edge.translate import request_decoder
from tests.cluster import DESCRIPTOR
from tests.platform_support import (
    UNKNOWN_ID,
    UNKNOWN_SECRET,
    World,
    good,
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
        path = "/api/v1/project/api-key"
        spare = good(await self.world.by_project("POST", path), 201)
        self.ids = {
            "spare_key": spare["public_key"],
            "account_id": self.world.tenant.account_id,
            "session_id": self.world.session_id,
            "public_key": self.world.public_key,
            "wallet_id": await self.world.wallet_id(),
        }

    def own_id(self, method: Method, name: str) -> str:
        """The world's value of a path variable; a project's key is not an account's."""
        return self.ids["spare_key" if "ProjectApiKey" in method.full_name else name]

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


def costs_the_world(method: Method) -> bool:
    """Whether a call can have taken something that further shots need."""
    taking = ("RefreshSession", "SetAccountStatus", "DeleteWallet")
    return method.effect is Effect.REVOKE or method.full_name.endswith(taking)


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
TEXTS: Final = st.one_of(
    ODD_TEXTS,
    st.text(max_size=20),
    st.text(alphabet="aA1-_. /%", max_size=70),
    st.text(alphabet="a\0\ud800\x7f\u2028", min_size=1, max_size=4),
)
ODD_NUMBERS: Final = st.sampled_from(
    [0, -0.0, 1e308, 5e-324, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -1, 0.1]
)
SCALARS: Final = st.none() | st.booleans() | ODD_NUMBERS | st.integers() | TEXTS
ANYTHING: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
MOMENTS: Final = (
    "2026-01-01T00:00:00Z",
    "2027-06-30T12:00:00.000000001Z",
    "2300-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "0001-01-01T00:00:00Z",
)
ORIGINS: Final = st.sampled_from(
    ["https://a.example", "https://a.example:8443", "http://[::1]:3000", "null", "*", "https://", ""]
)
SCOPES: Final = st.sampled_from(["account:read", "keys:write", "wallet:read", "withdrawals:write", "all"])
# A good value of each member of a body or query, and what else about right might be there.
MEMBERS: Final[dict[str, tuple[object, st.SearchStrategy[Any]]]] = {
    "metadata": ({"a": [1, {"b": None}]}, st.dictionaries(TEXTS, ANYTHING, max_size=3)),
    "status": ("ACTIVE", st.sampled_from(["SUSPENDED", "UNSPECIFIED", 1])),
    "limit": (5, st.integers(-2, 10**6)),
    "offset": (1, st.integers(-2, 10**6)),
    "name": ("bot", TEXTS),
    "allowed_origins": (["https://a.example"], st.lists(ORIGINS, max_size=3)),
    "session_policy": (
        {"idle_timeout_seconds": 3600, "absolute_cap_seconds": 86400},
        st.fixed_dictionaries({"idle_timeout_seconds": ODD_NUMBERS, "absolute_cap_seconds": ODD_NUMBERS}),
    ),
    "scopes": (["wallet:read"], st.lists(SCOPES, max_size=4)),
    "origins": ([], st.lists(ORIGINS, max_size=3)),
    "subaccount_index": (0, st.integers(0, 2**32 - 1)),
    "expires_at": ("2027-01-01T00:00:00Z", st.sampled_from(MOMENTS)),
    "autoredeem": (True, st.booleans()),
}
ODD_MEMBERS: Final = {
    name: about_right | about_right | ANYTHING for name, (_, about_right) in MEMBERS.items()
}
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
    min_size=1,
    max_size=2,
)
CREDENTIALS: Final = ("project", "session", "key", "bearer key", "unknown key", "bad token", "two", "nobody")
VERBS: Final = ("HEAD", "PATCH", "OPTIONS", "GET", "DELETE", "POST", "PUT")
# What else can be odd about a request than the value of a member.
ODDITIES: Final = st.sampled_from(["more", "body", "bytes", "id", "query", "header", "credential", "verb"])


def in_url(text: str) -> str:
    """A text as it stands in a path or query: everything but the plainest characters escaped."""
    data = text.encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in data)


@dataclass
class Shot:
    """A request that would be good, but for what was made odd about it. None as an id is the world's own."""

    method: Method
    binding: HttpBinding
    ids: dict[str, str | None]
    members: dict[str, object]
    verb: str
    credential: str
    headers: dict[str, str] = field(default_factory=dict)
    query: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None

    def make_odd(self, draw: st.DrawFn) -> None:
        """Spoils one thing that is no member's value."""
        oddity = draw(ODDITIES)
        if oddity == "id" and self.ids:
            self.ids[draw(st.sampled_from(sorted(self.ids)))] = draw(st.just(UNKNOWN_ID) | TEXTS.filter(bool))
        elif oddity == "more":
            self.members[draw(TEXTS)] = draw(ANYTHING)
        elif oddity == "body":
            self.body = json.dumps(draw(ANYTHING)).encode()
        elif oddity == "bytes":
            self.body = draw(st.binary(max_size=60))
        elif oddity == "query":
            names = st.sampled_from([*MEMBERS, "x", ""])
            self.query = draw(st.lists(st.tuples(names, TEXTS | st.integers(-2, 2**65).map(str)), max_size=3))
        elif oddity == "credential":
            self.credential = draw(st.sampled_from(CREDENTIALS))
        elif oddity == "verb":
            self.verb = draw(st.sampled_from(VERBS))
        else:
            self.headers = draw(ODD_HEADERS)

    def url(self, target: Target) -> str:
        """Path and query; without a body the members are in the query."""
        path = self.binding.template
        for name, value in self.ids.items():
            path = path.replace(
                f"{{{name}}}", in_url(target.own_id(self.method, name) if value is None else value)
            )
        pairs = self.query + ([] if self.binding.has_body else [(k, str(v)) for k, v in self.members.items()])
        query = "&".join(f"{in_url(name)}={in_url(value)}" for name, value in pairs)
        return f"{path}?{query}" if query else path

    def content(self) -> bytes:
        """The body's bytes."""
        if self.body is not None:
            return self.body
        return json.dumps(self.members).encode() if self.binding.has_body else b""


def good_shot(method: Method, binding: HttpBinding) -> Shot:
    """Everything that the method takes, in order."""
    ids = dict.fromkeys(variable_names(binding.template))
    names = [one.name for one in method.descriptor.input_type.fields if one.name not in ids]
    members = {name: MEMBERS[name][0] for name in names}
    return Shot(method, binding, {**ids}, members, binding.verb, right_kind(method))


MEMBERS_OF_ROUTES: Final = [
    (method, binding, name) for method, binding in ROUTES for name in good_shot(method, binding).members
]


@st.composite
def shots(draw: st.DrawFn) -> Shot:
    """A request to any route with one odd member, or something else odd about it, or both."""
    if draw(st.booleans()):
        method, binding, name = draw(st.sampled_from(MEMBERS_OF_ROUTES))
        shot = good_shot(method, binding)
        shot.members[name] = draw(ODD_MEMBERS[name])
        if draw(st.sampled_from([False, False, False, True])):
            shot.make_odd(draw)
        return shot
    shot = good_shot(*draw(st.sampled_from(ROUTES)))
    shot.make_odd(draw)
    return shot


@pytest.mark.parametrize(
    ("method", "binding"),
    [pytest.param(*route, id=f"{route[1].verb} {route[1].template}") for route in ROUTES],
)
async def test_unspoilt_request_is_good(target: Target, method: Method, binding: HttpBinding) -> None:
    """What the odd requests are made of is good, or they would all be refused for one reason."""
    shot = good_shot(method, binding)
    answer = await target.world.cluster.http.request(
        shot.verb,
        shot.url(target),
        content=shot.content(),
        headers={"content-type": "application/json"} | target.credential(shot.credential),
    )
    assert answer.status_code == method.success_status, answer.text
    if costs_the_world(method):
        await target.renew()


@settings(QUICK, max_examples=500)
@given(shot=shots())
async def test_any_request_is_answered_by_the_contract(target: Target, shot: Shot) -> None:
    """Every route with arbitrary path, query, headers and body, by good and bad credentials."""
    headers = {"content-type": "application/json"} | target.credential(shot.credential) | shot.headers
    answer = await target.world.cluster.http.request(
        shot.verb,
        shot.url(target),
        content=shot.content(),
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    is_answer(answer, shot.verb, shot.binding.template)
    if answer.status_code < 400:
        if shot.verb == shot.binding.verb:
            assert answer.status_code == shot.method.success_status
        if shot.verb not in ("GET", "HEAD") and (
            shot.verb != shot.binding.verb or costs_the_world(shot.method)
        ):
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


@settings(QUICK, max_examples=60)
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
INT32: Final = st.sampled_from([0, 1, 5, -1, 2**31 - 1, -(2**31), 999_999_999, 1_000_000_000])
INT64: Final = INT32 | st.sampled_from([2**63 - 1, -(2**63), 253_402_300_799, 1_800_000_000, 2**40])
WIRE_VALUES: Final[dict[int, st.SearchStrategy[Any]]] = {
    FieldDescriptor.TYPE_STRING: WIRE_TEXTS,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats() | ODD_NUMBERS.map(float),
    FieldDescriptor.TYPE_ENUM: INT32,
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_UINT32: st.sampled_from([0, 1, 2**32 - 1]),
}


def spoil(draw: st.DrawFn, message: Any, name: str, depth: int = 0) -> None:  # noqa: ANN401
    """Gives a field a value that its type allows; messages within are filled here and there."""
    one = message.DESCRIPTOR.fields_by_name[name]
    if one.message_type is None:
        if one.is_repeated:
            getattr(message, name)[:] = draw(st.lists(WIRE_TEXTS, max_size=3))
        else:
            setattr(message, name, draw(WIRE_VALUES[one.type]))
        return
    value = getattr(message, name)
    if one.message_type.GetOptions().map_entry:
        inner = [value[key] for key in draw(st.lists(WIRE_TEXTS, max_size=2))]
    elif one.is_repeated:
        inner = [value.add() for _ in range(draw(st.integers(0, 2)))]
    else:
        message.ClearField(name)
        value.SetInParent()
        inner = [value]
    names = [field.name for field in one.message_type.fields]
    if one.message_type.GetOptions().map_entry:
        names = [field.name for field in one.message_type.fields_by_name["value"].message_type.fields]
    for part in inner if depth < 4 else []:
        for chosen in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
            spoil(draw, part, chosen, depth + 1)


def struct(*numbers: float, depth: int = 0, absent: bool = False) -> Struct:
    """What JSON cannot say: numbers that are none, a value without a kind, more levels than we take."""
    made = Struct()
    values = made.fields["list"].list_value.values
    for number in numbers:
        values.add().number_value = number
    if absent:
        values.add()
    inner = made
    for _ in range(depth):
        inner = inner.fields["in"].struct_value
    return made


STRUCTS: Final = st.sampled_from(
    [
        struct(float("nan")),
        struct(float("inf")),
        struct(-0.0, 1e308, 2.0**53, 2.0**53 + 2),
        struct(absent=True),
        struct(depth=31),
        struct(depth=45),
    ]
)
FIELDS: Final = [
    (method, method.bindings[0], one.name)
    for method in METHODS
    for one in method.descriptor.input_type.fields
]


@st.composite
def calls(draw: st.DrawFn) -> tuple[Shot, Any, bytes]:
    """A good shot's message with one field spoilt, or bytes behind it, or shown by somebody else."""
    method, binding, name = draw(st.sampled_from(FIELDS))
    shot = good_shot(method, binding)
    decode = request_decoder(method, replace(binding, has_body=True), ())
    message = decode([], b"", json.dumps(shot.members).encode())
    oddity = draw(st.sampled_from(["field"] * 8 + ["bytes", "credential"]))
    if oddity == "credential":
        shot.credential = draw(st.sampled_from(CREDENTIALS))
    elif oddity == "field" and name == "metadata" and draw(st.booleans()):
        getattr(message, name).CopyFrom(draw(STRUCTS))
    elif oddity == "field":
        spoil(draw, message, name)
        shot.ids.pop(name, None)
    return shot, message, draw(st.binary(max_size=10)) if oddity == "bytes" else b""


@settings(QUICK, max_examples=350)
@given(call=calls())
async def test_any_message_is_answered_by_the_contract(target: Target, call: tuple[Shot, Any, bytes]) -> None:
    """Every method over gRPC with arbitrary messages, which say more than JSON can."""
    shot, message, behind = call
    for name in shot.ids:
        setattr(message, name, target.own_id(shot.method, name))
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = target.world.cluster.public[
        shot.method.full_name.split(".")[1]
    ].unary_unary(shot.method.full_name)
    answer = rpc(
        message.SerializeToString() + behind,
        metadata=tuple(target.credential(shot.credential).items()),
        timeout=10,
    )
    code = await answer.code()
    if code is not grpc.StatusCode.OK:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await answer
        error = error_from_rpc(failure.value, shot.method.full_name)
        assert not error.internal, f"a bare {code} came back"
        assert error.code is not Code.INTERNAL
        assert code.name == error.row.grpc_status
        assert failure.value.details() == error.row.message
    elif costs_the_world(shot.method):
        await target.renew()

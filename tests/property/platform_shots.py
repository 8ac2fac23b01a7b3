"""Requests to every route that nobody signs, good but for one thing, and the world they are shot at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.methods import Effect, HttpBinding, Method
from edge.config import SERVICES
from edge.routes import load_methods, variable_names
from tests.cluster import AUDIENCE, DESCRIPTOR
from tests.platform_support import (
    UNKNOWN_ID,
    UNKNOWN_SECRET,
    World,
    good,
    make_world,
    usable_address,
)
from tests.signing_support import base64_of, key_pair, possession, request_id_at

METHODS: Final = [
    method
    for method in load_methods(DESCRIPTOR, [name for names in SERVICES.values() for name in names])
    if not method.is_signed
]
ROUTES: Final = [(method, binding) for method in METHODS for binding in method.bindings]
QUICK: Final = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
REQUEST_HEADERS: Final = ("x-api-key", "x-project-api-key", "x-device-key", "authorization", "origin")


@dataclass(repr=False)
class Target:
    """A world to shoot at, made anew when a shot may have changed what it is worth."""

    world: World
    ids: dict[str, str] = field(default_factory=dict)
    withdrawing_key: str = ""
    page_key: str = ""

    async def renew(self) -> None:
        """Another world, and its values for every path variable."""
        self.world = await make_world(self.world.cluster)
        path = "/api/v1/project/api-key"
        spare = good(await self.world.by_project("POST", path), 201)
        trading = await self.world.trading()
        cluster, account_id = self.world.cluster, self.world.tenant.account_id
        await usable_address(cluster, account_id, ADDRESS)
        scopes = ["wallet:read", "withdrawals:write"]
        self.withdrawing_key = (await cluster.api_key(self.world.tenant, scopes=scopes))["secret_key"]
        self.page_key = (await cluster.api_key(self.world.tenant, origins=[PAGE]))["secret_key"]
        self.ids = {
            "trading_wallet_id": trading.wallet_id,
            "order_id": trading.order_id,
            "condition_id": trading.condition_id,
            "token_id": trading.token_id,
            "spare_key": spare["public_key"],
            "account_id": account_id,
            "request_id": str(request_id_at(cluster.clock.now_ns() - 60 * NANOSECONDS_PER_SECOND)),
            "chain": "POL",
            "possession_signature": base64_of(possession(MASTER, AUDIENCE, account_id)),
            "session_id": self.world.session_id,
            "public_key": self.world.public_key,
            "wallet_id": await self.world.wallet_id(),
        }

    def own_id(self, method: Method, name: str) -> str:
        """The world's value of a path variable.

        A project's key is not an account's, and the wallet that orders are in is not an empty one.
        """
        if "ProjectApiKey" in method.full_name:
            return self.ids["spare_key"]
        with_money = ("OrderService", "CreateWithdrawal")
        if name == "wallet_id" and any(part in method.full_name for part in with_money):
            return self.ids["trading_wallet_id"]
        return self.ids[name]

    def credential(self, kind: str) -> dict[str, str]:
        """The headers that say who asks."""
        world = self.world
        return {
            "project": {"x-project-api-key": world.tenant.project_key},
            "session": {"authorization": f"Bearer {world.token}"},
            "key": {"x-api-key": world.secret_key},
            "bearer key": {"authorization": f"Bearer {world.secret_key}"},
            "withdrawing key": {"x-api-key": self.withdrawing_key},
            "page key": {"x-api-key": self.page_key, "origin": PAGE},
            "unknown key": {"x-api-key": UNKNOWN_SECRET},
            "bad token": {"authorization": f"Bearer {world.token[:-2]}"},
            "two": {"x-api-key": world.secret_key, "x-project-api-key": world.tenant.project_key},
            "nobody": {},
        }[kind]


def right_kind(method: Method) -> str:
    """A credential that the method takes."""
    if method.scope == "withdrawals:write":
        return "withdrawing key"
    if method.for_pages:
        return "page key"
    return {1: "project", 2: "session"}.get(min(method.accepts, default=0), "nobody")


def costs_the_world(method: Method) -> bool:
    """Whether a call can have taken something that further shots need."""
    taking = (
        *("RefreshSession", "SetAccountStatus", "RotateAccountApiKey", "DeleteWallet"),
        *("RegisterMasterKey", "CreateWithdrawal"),
    )
    return method.effect is Effect.REVOKE or method.full_name.endswith(taking)


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
DECIMALS: Final = st.sampled_from(
    [
        "0",
        "0.0001",
        "0.001",
        "0.5",
        "0.9995",
        "1",
        "1e-1",
        "-1",
        "0.0000001",
        "9" * 39,
        "NaN",
        "",
        0.25,
        10**40,
    ]
) | st.decimals(0, 1000, places=3).map(str)
# Stands for a token of the world's own, which is not known before it is made.
OWN_TOKEN: Final = "the world's own token"
# Stands for the signature of the key below for the world's account.
OWN_POSSESSION: Final = base64_of(bytes(64))
MASTER: Final = key_pair("a first master key")
ADDRESS: Final = "0x" + "5f" * 20
PAGE: Final = "https://shop.example"
OWN_VALUES: Final = {"token_id": OWN_TOKEN, "possession_signature": OWN_POSSESSION}
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
    "overlap_seconds": (60, st.integers(-2, 10**6)),
    "autoredeem": (True, st.booleans()),
    "token_id": (OWN_TOKEN, st.integers(0, 2**257).map(str)),
    "side": ("BUY", st.sampled_from(["SELL", "UNSPECIFIED", "buy", 1])),
    "type": ("LIMIT", st.sampled_from(["MARKET", "STOPLOSS", 0])),
    "amount": ("2", DECIMALS),
    "units": ("SHARES", st.sampled_from(["USDC", "POL"])),
    "price": ("0.4", DECIMALS),
    "time_in_force": ("GTD", st.sampled_from(["GTC", "FOK", "FAK"])),
    "expiration": (1_790_000_000, ODD_NUMBERS | st.integers(0, 2**40)),
    "post_only": (True, st.booleans()),
    "reduce_only": (False, st.booleans()),
    "client_order_id": (None, TEXTS),
    "public_key": (MASTER.text, TEXTS | st.binary(max_size=40).map(base64_of)),
    "possession_signature": (OWN_POSSESSION, TEXTS | st.binary(max_size=70).map(base64_of)),
    "token": ("USDC", TEXTS),
    "chain": ("POL", TEXTS),
    "address": (ADDRESS, TEXTS | st.just(ADDRESS.upper())),
    "not_after": (1_790_000_000, ODD_NUMBERS | st.integers(0, 2**40)),
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
CREDENTIALS: Final = (
    *("project", "session", "key", "bearer key", "withdrawing key", "page key"),
    *("unknown key", "bad token", "two", "nobody"),
)
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

    def content(self, target: Target) -> bytes:
        """The body's bytes."""
        if self.body is not None:
            return self.body
        if not self.binding.has_body:
            return b""
        own = {name: target.ids[name] for name, mark in OWN_VALUES.items() if self.members.get(name) == mark}
        return json.dumps(self.members | own).encode()


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
    if draw(st.sampled_from([True, True, False])):
        method, binding, name = draw(st.sampled_from(MEMBERS_OF_ROUTES))
        shot = good_shot(method, binding)
        shot.members[name] = draw(ODD_MEMBERS[name])
        if draw(st.sampled_from([False, False, False, True])):
            shot.make_odd(draw)
        return shot
    shot = good_shot(*draw(st.sampled_from(ROUTES)))
    shot.make_odd(draw)
    return shot

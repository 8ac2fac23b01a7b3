"""Which method serves a verb and a path, and what stops the edge from starting."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from chassis.errors import Code, SealgateError
from chassis.methods import MethodTableError
from edge.config import SERVICES
from edge.routes import MethodNotAllowedError, RouteError, RouteTable, load_methods, variable_names
from sealgate.common.v1 import method_rule_pb2 as rules
from tests.unit.edge_support import DESCRIPTOR, OPEN_RULE, SERVICE, Rpc, write_descriptor

ALL_SERVICES: Final = [service for services in SERVICES.values() for service in services]


@pytest.fixture(scope="module")
def table() -> RouteTable[str]:
    """Everything that is served, by method name."""
    routes = RouteTable[str]()
    for method in load_methods(DESCRIPTOR, ALL_SERVICES):
        for binding in method.bindings:
            routes.add(binding.verb, binding.template, method.full_name.rpartition("/")[2])
    return routes


@pytest.mark.parametrize(
    ("verb", "path", "endpoint", "variables"),
    [
        ("GET", b"/api/v1/wallets", "ListWallets", []),
        ("GET", b"/api/v1/wallet", "ListWallets", []),
        ("HEAD", b"/api/v1/wallet", "ListWallets", []),
        ("GET", b"/api/v1/wallet/pol", "ListChainWallets", []),
        ("GET", b"/api/v1/wallet/poll", "GetWallet", ["poll"]),
        ("GET", b"/api/v1/wallet/w1", "GetWallet", ["w1"]),
        ("GET", b"/api/v1/wallet/w1/balance", "ListBalances", ["w1"]),
        ("GET", b"/api/v1/wallet/pol/w1/balance", "GetChainBalance", ["w1"]),
        # No longer path starts with the literal here, so the variable it is.
        ("GET", b"/api/v1/wallet/pol/balance", "ListBalances", ["pol"]),
        ("POST", b"/api/v1/project/account/a/session/s/refresh", "RefreshSession", ["a", "s"]),
        ("PUT", b"/api/v1/project/account/a/api-key/pk_1", "UpdateAccountApiKey", ["a", "pk_1"]),
        ("GET", b"/api/v1/wallet/%C3%A9%41", "GetWallet", ["éA"]),
        ("GET", b"/api/v1/wallet/...", "GetWallet", ["..."]),
        ("GET", b"/.well-known/jwks.json", "GetJsonWebKeySet", []),
    ],
)
def test_path_is_served_by_its_method(
    table: RouteTable[str], verb: str, path: bytes, endpoint: str, variables: list[str]
) -> None:
    """A literal segment beats a variable one, HEAD is served by GET, values arrive decoded."""
    found = table.match(verb, path)
    assert (found.endpoint, found.variables) == (endpoint, variables)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"*",
        b"/",
        b"//",
        b"api/v1/wallet",
        b"/api/v1/wallet/",
        b"/api/v1//wallet",
        b"//api/v1/wallet",
        b"/api/v1/wallets/x",
        b"/api/v1/Wallet",
        b"/api/v1/wallet/a%2Fb",
        b"/api/v1/wallet/a%2fbalance",
        b"/api/v1/wallet/%00",
        b"/api/v1/wallet/x%00",
        b"/api/v1/wallet/.",
        b"/api/v1/wallet/..",
        b"/api/v1/wallet/%2e%2E",
        b"/api/v1/x/../wallet",
        b"/api/v1/wallet/%",
        b"/api/v1/wallet/%zz",
        b"/api/v1/wallet/%4",
        b"/api/v1/wallet/%ff",
        b"/api/v1/wallet/\xff",
        b"/api/v1/wallet/%ED%A0%80",
        b"/api/v1/" + b"x/" * 5000,
    ],
)
def test_path_is_not_found_when_no_route_has_it(table: RouteTable[str], path: bytes) -> None:
    """Encoded slashes, dot segments, empty segments and what is no UTF-8 never match."""
    with pytest.raises(SealgateError) as refused:
        table.match("GET", path)
    assert refused.value.code is Code.ROUTE_NOT_FOUND


@pytest.mark.parametrize(
    ("verb", "path", "allow"),
    [
        ("PUT", b"/api/v1/wallet/pol", "GET, HEAD"),
        ("PATCH", b"/api/v1/wallet/w1", "DELETE, GET, HEAD, PUT"),
        ("GET", b"/api/v1/account/session/expire", "POST"),
        ("OPTIONS", b"/api/v1/project", "GET, HEAD, PUT"),
    ],
)
def test_verb_is_refused_with_the_allowed_ones(
    table: RouteTable[str], verb: str, path: bytes, allow: str
) -> None:
    """A path that is served for other verbs says for which."""
    with pytest.raises(MethodNotAllowedError) as refused:
        table.match(verb, path)
    assert refused.value.allow == allow


def test_route_is_refused_when_another_has_its_paths() -> None:
    """Two routes that differ in the names of their variables only cannot both be served."""
    routes = RouteTable[str]()
    routes.add("GET", "/things/{thing_id}", "one")
    routes.add("PUT", "/things/{name}", "other verb")
    routes.add("GET", "/things/new", "literal")
    with pytest.raises(RouteError, match="served twice"):
        routes.add("GET", "/things/{name}", "two")


@pytest.mark.parametrize(
    "template",
    ["", "x", "/", "/a/", "/a//b", "/{a=*}", "/{a.b}", "/{A}", "/a{b}", "/a:verb", "/é", "/a/{b}/**"],
)
def test_template_is_refused_when_it_is_not_plain(template: str) -> None:
    """Only whole literal segments and whole variables are understood."""
    with pytest.raises(RouteError):
        variable_names(template)


def load(path: Path, *rpcs: Rpc) -> None:
    """Loads the sample service made of `rpcs`."""
    load_methods(write_descriptor(path / "sample.binpb", rpcs), [SERVICE])


GET: Final[dict[str, Any]] = {"get": "/sample/{item_id}"}
PUBLIC_RULE: Final = OPEN_RULE | {
    "exposure": rules.EXPOSURE_PUBLIC,
    "accepts": [rules.CREDENTIAL_KIND_PROJECT_KEY],
    "rate_class": rules.RATE_CLASS_READ,
}

SIGNED_RULE: Final = PUBLIC_RULE | {
    "accepts": [rules.CREDENTIAL_KIND_SESSION_KEY],
    "envelope": rules.ENVELOPE_SIGNED,
}


@pytest.mark.parametrize(
    ("rpc", "complaint"),
    [
        (Rpc("Do", GET, OPEN_RULE, client_streaming=True), "is a stream"),
        (Rpc("Do", {"custom": {"kind": "LIST", "path": "/x"}}, OPEN_RULE), "maps another verb"),
        (Rpc("Do", {"post": "/x", "body": "inner"}, OPEN_RULE), "maps a part of a message"),
        (Rpc("Do", {"get": "/x", "response_body": "inner"}, OPEN_RULE), "maps a part of a message"),
        (Rpc("Do", GET, SIGNED_RULE), "no fields for that"),
        (
            Rpc("Do", GET, SIGNED_RULE | {"request_type": 1, "payload_message": "sample"}),
            "no fields for that",
        ),
        (Rpc("Do", {"get": "/x/{nothing}"}, OPEN_RULE), "no string field"),
        (Rpc("Do", {"get": "/x/{big}"}, OPEN_RULE), "no string field"),
        (Rpc("Do", {"get": "/x/{tags}"}, OPEN_RULE), "no string field"),
        (Rpc("Do", {"get": "/x/{text}/{text}"}, OPEN_RULE), "path variable twice"),
        (Rpc("Do", {"get": "/x"}, PUBLIC_RULE | {"subject_account_field": "item_id"}), "subject account"),
    ],
)
def test_method_is_refused_when_the_edge_cannot_serve_it(tmp_path: Path, rpc: Rpc, complaint: str) -> None:
    """A mapping that would be served wrongly stops the start, by the method's name."""
    with pytest.raises(RouteError, match=complaint) as refused:
        load(tmp_path, rpc)
    assert f"/{SERVICE}/Do" in str(refused.value)


def test_method_is_refused_when_it_has_no_rule(tmp_path: Path) -> None:
    """Without its row in the method table nothing is served."""
    with pytest.raises(MethodTableError, match="has no access rule"):
        load(tmp_path, Rpc("Good", GET, OPEN_RULE), Rpc("Bad", {"get": "/y"}))


def test_method_is_refused_when_it_is_not_for_customers(tmp_path: Path) -> None:
    """An internal method with a REST path is a mistake, not a route."""
    with pytest.raises(MethodTableError, match="not for customers"):
        load(tmp_path, Rpc("Do", GET, OPEN_RULE | {"exposure": rules.EXPOSURE_INTERNAL}))


def test_service_is_refused_when_the_descriptor_lacks_it() -> None:
    """A service that is configured and not described stops the start."""
    with pytest.raises(RouteError, match="Nobody is not in"):
        load_methods(DESCRIPTOR, ["sealgate.auth.v1.Nobody"])


def test_service_is_refused_when_it_serves_no_path() -> None:
    """A service without REST paths among those to be served is a mistake in the configuration."""
    with pytest.raises(RouteError, match="no method with a REST path"):
        load_methods(DESCRIPTOR, ["sealgate.auth.v1.OperatorService"])


@pytest.mark.parametrize("content", [None, b"\xff\xff\xff", FileDescriptorSet().SerializeToString()])
def test_descriptor_is_refused_when_it_is_none(tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing, broken or empty is said so."""
    path = tmp_path / "broken.binpb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RouteError):
        load_methods(path, ["sealgate.auth.v1.SessionService"])

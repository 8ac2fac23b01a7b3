"""What the edge says to browsers: which requests are preflights, and which pages may read an answer."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import pytest

from chassis.methods import Method
from chassis.rpc.credentials import CREDENTIAL_HEADERS
from edge.cors import preflight_answer, with_sharing
from edge.headers import RequestHeaders
from edge.routes import load_methods
from tests.unit.edge_support import DESCRIPTOR

REQUEST_ID: Final = UUID("0189abcd-0000-7000-8000-000000000001")
PAGE: Final = "https://shop.example"
METHODS: Final = {
    row.full_name.rpartition("/")[2]: row
    for row in load_methods(
        DESCRIPTOR,
        [
            "sealgate.auth.v1.TokenKeyService",
            "sealgate.wallet.v1.SignedRequestService",
            "sealgate.wallet.v1.WalletService",
        ],
    )
}
EXPOSED: Final = {
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
}


def asked(verb: str, *headers: tuple[str, str]) -> dict[str, str] | None:
    """The headers of the answer to a preflight, None for a request that is none."""
    raw = [(name.encode(), value.encode()) for name, value in headers]
    answer = preflight_answer(verb, RequestHeaders(raw), REQUEST_ID)
    if answer is None:
        return None
    assert (answer.status, answer.body) == (204, b"")
    return {name.decode(): value.decode() for name, value in answer.headers}


@pytest.mark.parametrize(
    "origin", [PAGE, "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:8080", "https://a"]
)
def test_preflight_of_a_well_formed_origin_is_answered_alike(origin: str) -> None:
    """Whoever asks is told the same, under its own name and under the request's id."""
    asks = ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-whatever")
    said = asked("OPTIONS", ("origin", origin), *asks)
    assert said is not None
    allowed = set(said.pop("access-control-allow-headers").split(", "))
    assert said == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST, PUT, DELETE",
        "access-control-max-age": "600",
        "vary": "Origin",
        "x-request-id": str(REQUEST_ID),
    }
    assert {name.lower() for name in allowed} == {
        *("authorization", "content-type", "idempotency-key", "x-request-id", "x-session-token"),
        *({*CREDENTIAL_HEADERS} - {"x-project-api-key"}),
        *("x-account-id", "x-public-key", "x-signature"),
    }


@pytest.mark.parametrize(
    ("verb", "headers"),
    [
        ("GET", (("origin", PAGE), ("access-control-request-method", "GET"))),
        ("POST", (("origin", PAGE), ("access-control-request-method", "POST"))),
        ("OPTIONS", (("origin", PAGE),)),
        ("OPTIONS", (("access-control-request-method", "GET"),)),
        ("OPTIONS", (("origin", PAGE), ("origin", PAGE), ("access-control-request-method", "GET"))),
        *(
            ("OPTIONS", (("origin", origin), ("access-control-request-method", "GET")))
            for origin in (
                "",
                "null",
                "*",
                "https://Shop.example",
                "HTTPS://shop.example",
                "https://shop.example/",
                "https://shop.example/path",
                "https://shop.example:443",
                "http://shop.example:80",
                "https://shop.example:",
                "https://user@shop.example",
                "https://shop.example, https://other.example",
                "ftp://shop.example",
                "chrome-extension://abcdefgh",
                "shop.example",
                "https://shop.example?q",
                "https://" + "a" * 300,
                "https://[::0001]",
            )
        ),
    ],
)
def test_what_is_no_preflight_is_not_answered_as_one(verb: str, headers: tuple[tuple[str, str], ...]) -> None:
    """It takes an OPTIONS, one origin as browsers write it, and the method that the page wants."""
    assert asked(verb, *headers) is None


@pytest.mark.parametrize("method", [None, METHODS["GetJsonWebKeySet"]])
@pytest.mark.parametrize("said", [{}, {"access-control-allow-origin": PAGE}])
def test_answer_that_needs_no_credential_is_for_every_page(
    method: Method | None, said: dict[str, str]
) -> None:
    """Open methods, and what no method answers; nobody's origin is named there."""
    shared = with_sharing(method, {"x-other": "1", **said})
    exposed = set(shared["access-control-expose-headers"].split(", "))
    assert exposed == EXPOSED
    assert {name: value for name, value in shared.items() if name != "access-control-expose-headers"} == {
        "x-other": "1",
        "access-control-allow-origin": "*",
    }


@pytest.mark.parametrize("method", ["ListWallets", "SubmitPlaceOrder"])
def test_other_answer_is_for_the_page_that_a_service_names(method: str) -> None:
    """Without a name no page may read it, and no cache mixes the two up."""
    assert with_sharing(METHODS[method], {"x-other": "1"}) == {"x-other": "1", "vary": "Origin"}
    shared = with_sharing(METHODS[method], {"access-control-allow-origin": PAGE})
    assert (shared["access-control-allow-origin"], shared["vary"]) == (PAGE, "Origin")
    assert set(shared["access-control-expose-headers"].split(", ")) == EXPOSED
    assert len(shared) == 3

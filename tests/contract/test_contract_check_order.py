"""Which of two refusals a page is told: key, project, origin, scope, session, rate, then what it asks.

Every pair of faults is put into one request, and the earlier one is the answer, over REST and gRPC. An
account session that has expired is not among them: what it takes, two minutes at least, would undo others.
Signed requests follow in the same way; they have neither scopes nor browser sessions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.testing.databases import TemplateDatabases
from sealgate.keys.v1 import signing_key_pb2
from sealgate.wallet.v1 import order_pb2, signed_body_pb2
from tests.cluster import UNLIMITED, Cluster
from tests.contract.channel_support import (
    HOUR_SECONDS,
    PAGE,
    SECOND_PAGE,
    TRANSPORTS,
    UNLISTED_PAGE,
    Caller,
    Page,
    make_page,
    mint,
)
from tests.platform_support import UNKNOWN_ID, UNKNOWN_SECRET, World, good, private_cluster, rfc3339
from tests.signing_support import SigningKeyPair, new_pair
from tests.signing_world import Signing, make_signing

# A write of the class whose limit is low below; its token is of no market, so that what passes is a 404.
WRITE: Final = "PlaceOrder"
ORDER: Final[dict[str, Any]] = {
    "wallet_id": UNKNOWN_ID,
    "token_id": "1",
    "side": "BUY",
    "type": "LIMIT",
    "price": "0.4",
    "amount": "1",
    "units": "SHARES",
}
PASSES: Final = "TOKEN_NOT_FOUND"
# The same, signed: it is carried out, and refused on record.
SIGNED_WRITE: Final = "SubmitPlaceOrder"
SIGNED_ORDER: Final = signed_body_pb2.PlaceOrder(
    wallet_id=UNKNOWN_ID,
    token_id="1",
    side=order_pb2.SIDE_BUY,
    type=order_pb2.ORDER_TYPE_LIMIT,
    amount="1",
    units=order_pb2.AMOUNT_UNITS_SHARES,
    price="0.4",
)
ORDERS_COUNT: Final = 1
KEY_SECONDS: Final = 10


@dataclass(slots=True)
class Request:
    """A request in the making: who sends it from where, with what."""

    page: Page
    headers: dict[str, str]
    fields: dict[str, Any] = field(default_factory=lambda: dict(ORDER))

    @property
    def world(self) -> World:
        """Whose key it is."""
        return self.page.world

    async def set_project(self, **state: Any) -> None:  # noqa: ANN401
        """As the operator."""
        await self.world.cluster.set_project(self.world.tenant.project_id, **state)


Spoil = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a request, and what it is told when nothing earlier is wrong."""

    name: str
    stage: str
    code: str
    spoil: Spoil


FAULTS: Final[list[Fault]] = []


def fault(stage: str, code: str) -> Callable[[Spoil], Spoil]:
    """Notes a way to spoil a request."""

    def note(spoil: Spoil) -> Spoil:
        FAULTS.append(Fault(spoil.__name__.replace("_", " "), stage, code, spoil))
        return spoil

    return note


@fault("key", "API_KEY_REQUIRED")
async def no_credential(request: Request) -> None:
    del request.headers["x-api-key"]


@fault("key", "SESSION_INVALID")
async def ended_account_session(request: Request) -> None:
    world = request.world
    session = await world.cluster.session(world.tenant)
    good(await world.by_project("POST", world.account("/sessions/expire-all")))
    del request.headers["x-api-key"]
    request.headers["authorization"] = f"Bearer {session['session_token']}"


@fault("key", "API_KEY_INVALID")
async def unknown_key(request: Request) -> None:
    request.headers["x-api-key"] = UNKNOWN_SECRET


@fault("key", "API_KEY_REVOKED")
async def deleted_key(request: Request) -> None:
    await request.page.delete_key()


@fault("key", "API_KEY_EXPIRED")
async def expired_key(request: Request) -> None:
    # Less than the minute after which there is a call again.
    request.world.cluster.clock.advance(seconds=KEY_SECONDS)


@fault("project", "TENANT_SUSPENDED")
async def suspended_project(request: Request) -> None:
    await request.set_project(status="SUSPENDED")


@fault("project", "SUBSCRIPTION_CANCELLED")
async def cancelled_project(request: Request) -> None:
    await request.set_project(status="CANCELLED")


@fault("project", "SUBSCRIPTION_PAST_DUE")
async def project_past_due(request: Request) -> None:
    await request.set_project(status="PAST_DUE")


@fault("project", "MODULE_NOT_ENABLED")
async def module_off(request: Request) -> None:
    await request.set_project(modules=("wallet", "browser", "signing"))


@fault("project", "MODULE_NOT_ENABLED")
async def module_for_pages_off(request: Request) -> None:
    await request.set_project(modules=("wallet", "trading", "signing"))


@fault("origin", "ORIGIN_NOT_ALLOWED")
async def unlisted_page(request: Request) -> None:
    request.headers["origin"] = UNLISTED_PAGE


@fault("origin", "ORIGIN_NOT_ALLOWED")
async def page_without_an_origin(request: Request) -> None:
    request.headers["origin"] = "null"


@fault("scope", "SCOPE_NOT_GRANTED")
async def missing_scope(request: Request) -> None:
    await request.page.change_key(scopes=["wallet:read"])


@fault("session", "SESSION_REQUIRED")
async def no_session(request: Request) -> None:
    del request.headers["x-session-token"]


@fault("session", "SESSION_INVALID")
async def session_that_is_none(request: Request) -> None:
    request.headers["x-session-token"] = "garbage"


@fault("session", "SESSION_INVALID")
async def session_of_another_page(request: Request) -> None:
    token = await mint(request.world.cluster, request.page.secret_key, SECOND_PAGE)
    request.headers["x-session-token"] = token


@fault("session", "SESSION_EXPIRED")
async def expired_session(request: Request) -> None:
    request.headers["x-session-token"] = request.page.token


@fault("rate", "RATE_LIMITED")
async def too_many_orders(request: Request) -> None:
    token = await mint(request.world.cluster, request.page.secret_key)
    headers = request.page.writing | {"x-session-token": token}
    for _ in range(ORDERS_COUNT):
        answer = await Caller(request.world.cluster, TRANSPORTS[0]).ask(WRITE, headers, **ORDER)
        assert answer.code == PASSES


@fault("request", "VALIDATION_ERROR")
async def amount_that_is_none(request: Request) -> None:
    request.fields["amount"] = "-1"


STAGES: Final = ("key", "project", "origin", "scope", "session", "rate", "request")
# Faults are put in so that each still can be: a key that is deleted makes no order too many.
PUT_IN: Final = ("rate", "session", "scope", "request", "origin", "key", "project")
PAIRS: Final = [(first, second) for first, second in combinations(FAULTS, 2) if first.stage != second.stage]


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved, and orders are few."""
    limits = {**UNLIMITED, "order": ORDERS_COUNT}
    async with private_cluster(template_databases, short_directory, rate_limits=limits) as running:
        yield running


async def request_with(cluster: Cluster, *faults: Fault) -> Request:
    """A request with these faults, of a world of its own."""
    world = World(cluster, await cluster.tenant(), "", "", "", "")
    end = rfc3339(cluster.clock.now_ns() + (HOUR_SECONDS + KEY_SECONDS) * NANOSECONDS_PER_SECOND)
    page = await make_page(world, origins=[PAGE, SECOND_PAGE], expires_at=end)
    # So that the page has a session that has expired and may have one that has not.
    cluster.clock.advance(seconds=HOUR_SECONDS)
    request = Request(page, replace(page, token=await mint(cluster, page.secret_key)).writing)
    for one in sorted(faults, key=lambda one: PUT_IN.index(one.stage)):
        await one.spoil(request)
    return request


async def codes_of(cluster: Cluster, request: Request) -> list[str]:
    """What it is told over each transport."""
    return [
        (await Caller(cluster, transport).ask(WRITE, request.headers, **request.fields)).code
        for transport in TRANSPORTS
    ]


def test_faults_are_in_the_order_of_the_stages() -> None:
    """Every stage has one, and the pairs below are of all fifteen pairs of the six, and the request's."""
    assert tuple(dict.fromkeys(one.stage for one in FAULTS)) == STAGES
    pairs = {(first.stage, second.stage) for first, second in PAIRS}
    assert pairs == set(combinations(STAGES, 2))


async def test_request_without_a_fault_passes(cluster: Cluster) -> None:
    """What the faults below are put into would be carried out."""
    for transport in TRANSPORTS:
        request = await request_with(cluster)
        answer = await Caller(cluster, transport).ask(WRITE, request.headers, **request.fields)
        assert answer.code == PASSES


@pytest.mark.parametrize("only", FAULTS, ids=lambda one: one.name)
async def test_fault_alone_is_told(cluster: Cluster, only: Fault) -> None:
    """By its own code; of the limit, the first of the two requests would take the last call."""
    for transport in TRANSPORTS:
        request = await request_with(cluster, only)
        answer = await Caller(cluster, transport).ask(WRITE, request.headers, **request.fields)
        assert answer.code == only.code


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda one: one.name)
async def test_earlier_of_two_faults_is_told(cluster: Cluster, first: Fault, second: Fault) -> None:
    """And nothing of the later one: whoever is stopped at one check learns of no other."""
    request = await request_with(cluster, first, second)
    assert await codes_of(cluster, request) == [first.code] * len(TRANSPORTS)


@dataclass(slots=True)
class SignedRequest:
    """A signed request in the making: who signs it, and the page it is sent from."""

    signing: Signing
    pair: SigningKeyPair
    origin: str = PAGE

    async def set_project(self, **state: Any) -> None:  # noqa: ANN401
        """As the operator."""
        await self.signing.cluster.set_project(self.signing.world.tenant.project_id, **state)

    async def codes(self, *transports: str) -> list[str]:
        """What it is told over each transport, each time under an id of its own."""
        return [
            (
                await Caller(self.signing.cluster, transport).ask_signed(
                    self.signing,
                    SIGNED_WRITE,
                    self.signing.signed(SIGNED_WRITE, self.pair, SIGNED_ORDER),
                    origin=self.origin,
                )
            ).code
            for transport in transports
        ]


SignedSpoil = Callable[[SignedRequest], Awaitable[None]]


async def unknown_signer(request: SignedRequest) -> None:
    request.pair = new_pair()


async def revoked_signer(request: SignedRequest) -> None:
    revocation = signing_key_pb2.RevokeSessionKey(public_key=request.pair.public_key)
    await request.signing.submit("SubmitRevokeSessionKey", request.signing.master, revocation)


async def expired_signer(request: SignedRequest) -> None:
    request.signing.cluster.clock.advance(seconds=KEY_SECONDS)


async def suspended_account_of_the_signer(request: SignedRequest) -> None:
    world = request.signing.world
    good(await world.by_project("PUT", world.account("/status"), {"status": "SUSPENDED"}))


async def signer_on_an_unlisted_page(request: SignedRequest) -> None:
    request.origin = UNLISTED_PAGE


async def signer_on_a_page_without_an_origin(request: SignedRequest) -> None:
    request.origin = "null"


async def too_many_signed_orders(request: SignedRequest) -> None:
    for _ in range(ORDERS_COUNT):
        signed = request.signing.signed(SIGNED_WRITE, request.pair, SIGNED_ORDER)
        assert (await request.signing.deliver(SIGNED_WRITE, signed)).status_code == 200


def of_project(**state: Any) -> SignedSpoil:  # noqa: ANN401
    """Puts the signer's project into a state."""

    async def spoil(request: SignedRequest) -> None:
        await request.set_project(**state)

    return spoil


SIGNED_FAULTS: Final[Mapping[str, tuple[str, str, SignedSpoil]]] = {
    "unknown key": ("key", "SIGNATURE_INVALID", unknown_signer),
    "revoked key": ("key", "SESSION_INVALID", revoked_signer),
    "expired key": ("key", "SESSION_EXPIRED", expired_signer),
    "suspended project": ("project", "TENANT_SUSPENDED", of_project(status="SUSPENDED")),
    "cancelled project": ("project", "SUBSCRIPTION_CANCELLED", of_project(status="CANCELLED")),
    "suspended account": ("project", "ACCOUNT_SUSPENDED", suspended_account_of_the_signer),
    "project past due": ("project", "SUBSCRIPTION_PAST_DUE", of_project(status="PAST_DUE")),
    "module off": ("project", "MODULE_NOT_ENABLED", of_project(modules=("wallet", "trading"))),
    "unlisted page": ("origin", "ORIGIN_NOT_ALLOWED", signer_on_an_unlisted_page),
    "page without an origin": ("origin", "ORIGIN_NOT_ALLOWED", signer_on_a_page_without_an_origin),
    "too many orders": ("rate", "RATE_LIMITED", too_many_signed_orders),
}
SIGNED_PAIRS: Final = [
    (first, second)
    for first, second in combinations(SIGNED_FAULTS, 2)
    if SIGNED_FAULTS[first][0] != SIGNED_FAULTS[second][0]
]


async def signed_request_with(cluster: Cluster, *names: str) -> SignedRequest:
    """A signed request with these faults, by a key of an account of its own."""
    signing = await make_signing(cluster)
    good(await signing.world.by_project("PUT", "/api/v1/project", {"allowed_origins": [PAGE]}))
    end_ns = cluster.clock.now_ns() + KEY_SECONDS * NANOSECONDS_PER_SECOND
    request = SignedRequest(signing, await signing.mint(valid_until_ns=end_ns))
    for name in sorted(names, key=lambda name: PUT_IN.index(SIGNED_FAULTS[name][0])):
        await SIGNED_FAULTS[name][2](request)
    return request


async def test_signed_request_without_a_fault_passes(cluster: Cluster) -> None:
    """What the faults below are put into would be carried out, as far as such an order can be."""
    for transport in TRANSPORTS:
        assert await (await signed_request_with(cluster)).codes(transport) == ["OK"]


@pytest.mark.parametrize("name", SIGNED_FAULTS)
async def test_fault_of_a_signed_request_alone_is_told(cluster: Cluster, name: str) -> None:
    """By its own code, over both transports."""
    request = await signed_request_with(cluster, name)
    assert await request.codes(*TRANSPORTS) == [SIGNED_FAULTS[name][1]] * len(TRANSPORTS)


@pytest.mark.parametrize(("first", "second"), SIGNED_PAIRS)
async def test_earlier_of_two_faults_of_a_signed_request_is_told(
    cluster: Cluster, first: str, second: str
) -> None:
    """An ended key before all else, and the origin before the limit."""
    request = await signed_request_with(cluster, first, second)
    assert await request.codes(*TRANSPORTS) == [SIGNED_FAULTS[first][1]] * len(TRANSPORTS)

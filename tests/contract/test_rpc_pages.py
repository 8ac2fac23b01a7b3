"""What holds for calls that come from a web page: the channel's place among the checks, on both listeners."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from chassis.errors import Code, Detail, SealgateError
from chassis.methods import CredentialKind
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1 import passport_pb2
from sealgate.common.v1.passport_pb2 import (
    BROWSER_SESSION_STATE_ABSENT,
    BROWSER_SESSION_STATE_EXPIRED,
    BROWSER_SESSION_STATE_INVALID,
    BROWSER_SESSION_STATE_UNSPECIFIED,
    BROWSER_SESSION_STATE_VALID,
    PassportClaims,
)
from tests.contract.rpc_harness import (
    CREATE_BROWSER_SESSION,
    CREATE_WALLET,
    CURRENT_SESSION,
    EXPIRE_CURRENT,
    GET_WALLET,
    OPEN,
    Harness,
    Metadata,
    call,
    passport_metadata,
    refusal,
    serving,
)

PAGE: Final = "https://shop.example"
API_SECRET: Final = "sk_" + "a" * 48
SESSION_TOKEN: Final = "eyJhbGciOiJFZERTQSJ9.e30.c2ln"
BROWSER_TOKEN: Final = "eyJhbGciOiJFZERTQSJ9.e30.YnJv"
PROJECT_SECRET: Final = "sk_" + "p" * 48
KEY: Final = ("x-api-key", API_SECRET)
FROM_PAGE: Final = ("origin", PAGE)
BROWSER_SESSION: Final = ("x-session-token", BROWSER_TOKEN)


@pytest.fixture
async def harness(clock: FakeClock, ids: CountingIds, short_directory: Path) -> AsyncIterator[Harness]:
    """A server that knows an API key of a page with a browser session, a session and a project key."""
    async with serving(clock, ids, short_directory) as running:
        known = running.issuer.known
        known[API_SECRET] = page_claims(running)
        known[SESSION_TOKEN] = running.issuer.claims()
        known[PROJECT_SECRET] = running.issuer.claims(CredentialKind.PROJECT_KEY)
        yield running


def page_claims(harness: Harness, **changes: Any) -> PassportClaims:  # noqa: ANN401
    """Claims of an API key on a page that it works from, beside a good browser session."""
    page: dict[str, Any] = {"origin": PAGE, "browser_session": BROWSER_SESSION_STATE_VALID}
    return harness.issuer.claims(CredentialKind.ACCOUNT_API_KEY, **page | changes)


def as_page(harness: Harness, **changes: Any) -> Metadata:  # noqa: ANN401
    """Metadata of an internal call under such a passport."""
    return passport_metadata(harness.issuer.passport(page_claims(harness, **changes)))


Spoil = Callable[[PassportClaims], object]


def without_module(name: str) -> Spoil:
    """Takes a module away."""
    return lambda claims: claims.modules.remove(name)


def with_session(state: passport_pb2.BrowserSessionState.ValueType) -> Spoil:
    """Has the browser session in another state."""
    return lambda claims: setattr(claims, "browser_session", state)


# What can be wrong with a page's write, in the order in which it is told.
FAULTS: Final[Mapping[str, tuple[Spoil, Code]]] = {
    "kind": (
        lambda claims: setattr(claims, "credential_kind", CredentialKind.DEVICE_KEY),
        Code.CREDENTIAL_NOT_ACCEPTED,
    ),
    "past due": (
        lambda claims: setattr(claims, "project_status", passport_pb2.PROJECT_STATUS_PAST_DUE),
        Code.SUBSCRIPTION_PAST_DUE,
    ),
    "module": (without_module("wallet"), Code.MODULE_NOT_ENABLED),
    "module for pages": (without_module("browser"), Code.MODULE_NOT_ENABLED),
    "origin": (lambda claims: setattr(claims, "origin_allowed", False), Code.ORIGIN_NOT_ALLOWED),
    "scope": (lambda claims: claims.scopes.remove("wallet:write"), Code.SCOPE_NOT_GRANTED),
    "no session": (with_session(BROWSER_SESSION_STATE_ABSENT), Code.SESSION_REQUIRED),
    "session that nobody looked at": (
        with_session(BROWSER_SESSION_STATE_UNSPECIFIED),
        Code.SESSION_REQUIRED,
    ),
    "invalid session": (with_session(BROWSER_SESSION_STATE_INVALID), Code.SESSION_INVALID),
    "expired session": (with_session(BROWSER_SESSION_STATE_EXPIRED), Code.SESSION_EXPIRED),
}
SESSION_FAULTS: Final = frozenset(name for name in FAULTS if "session" in name)
PAIRS: Final = [
    pytest.param(first, second, id=f"{first}, {second}")
    for first, second in combinations(FAULTS, 2)
    # A session has one state.
    if not {first, second} <= SESSION_FAULTS
]


async def test_page_writes_beside_a_good_browser_session(harness: Harness) -> None:
    """What the refusals below change one or two things of passes itself."""
    assert await call(harness.internal, CREATE_WALLET, metadata=as_page(harness)) == b""


@pytest.mark.parametrize("fault", FAULTS)
async def test_page_s_write_is_refused_for_one_fault(harness: Harness, fault: str) -> None:
    """Each alone is its code, and the handler is not reached."""
    spoil, code = FAULTS[fault]
    claims = page_claims(harness)
    spoil(claims)
    metadata = passport_metadata(harness.issuer.passport(claims))
    assert (await refusal(harness.internal, CREATE_WALLET, metadata=metadata)).code is code
    assert harness.script.served == []


async def test_page_without_a_session_is_told_how_to_get_one(harness: Harness) -> None:
    """The code's own text is about tokens of accounts, which a page cannot make."""
    metadata = as_page(harness, browser_session=BROWSER_SESSION_STATE_ABSENT)
    error = await refusal(harness.internal, CREATE_WALLET, metadata=metadata)
    (detail,) = error.details
    assert detail.path == "X-Session-Token"
    assert "POST /api/v1/sessions" in detail.message


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_page_s_write_is_refused_for_the_first_of_two_faults(
    harness: Harness, first: str, second: str
) -> None:
    """Kind, project, module, origin, scope, session: whoever is stopped by one is told of no later one."""
    claims = page_claims(harness)
    FAULTS[second][0](claims)
    FAULTS[first][0](claims)
    metadata = passport_metadata(harness.issuer.passport(claims))
    error = await refusal(harness.internal, CREATE_WALLET, metadata=metadata)
    assert error.code is FAULTS[first][1]


@pytest.mark.parametrize("fault", sorted(SESSION_FAULTS | {"past due", "module for pages"}))
async def test_page_reads_whatever_its_browser_session_is_worth(harness: Harness, fault: str) -> None:
    """A browser session is for writing; the key alone reads, also where pages are not enabled."""
    claims = page_claims(harness)
    FAULTS[fault][0](claims)
    metadata = passport_metadata(harness.issuer.passport(claims))
    assert await call(harness.internal, GET_WALLET, metadata=metadata) == b""


@pytest.mark.parametrize("state", [BROWSER_SESSION_STATE_ABSENT, BROWSER_SESSION_STATE_INVALID])
async def test_browser_session_is_made_without_one(
    harness: Harness, state: passport_pb2.BrowserSessionState.ValueType
) -> None:
    """The one write of a page that needs no session, or there would never be one."""
    metadata = as_page(harness, browser_session=state)
    assert await call(harness.internal, CREATE_BROWSER_SESSION, metadata=metadata) == b""


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"origin": ""}, Code.VALIDATION_ERROR),
        ({"origin": "", "scopes": ()}, Code.VALIDATION_ERROR),
        ({"origin": "", "modules": ("wallet",)}, Code.MODULE_NOT_ENABLED),
        ({"origin": "", "kind": CredentialKind.ACCOUNT_SESSION}, Code.CREDENTIAL_NOT_ACCEPTED),
        ({"origin_allowed": False}, Code.ORIGIN_NOT_ALLOWED),
    ],
    ids=["no page", "no page before scope", "module first", "kind first", "page that is not listed"],
)
async def test_browser_session_is_not_made_for_a_server(
    harness: Harness, changes: dict[str, Any], code: Code
) -> None:
    """What is for pages needs an origin, and a listed one; without it the refusal names the header."""
    asked: dict[str, Any] = {"kind": CredentialKind.ACCOUNT_API_KEY, "origin": PAGE}
    claims = harness.issuer.claims(**asked | changes)
    metadata = passport_metadata(harness.issuer.passport(claims))
    error = await refusal(harness.internal, CREATE_BROWSER_SESSION, metadata=metadata)
    assert error.code is code
    if code is Code.VALIDATION_ERROR:
        said = "must be sent: this is for web pages, and bound to the page's origin"
        assert error.details == (Detail("Origin", said),)


@pytest.mark.parametrize("kind", [CredentialKind.ACCOUNT_SESSION, CredentialKind.DEVICE_KEY])
async def test_other_credentials_of_a_page_need_no_browser_session(
    harness: Harness, kind: CredentialKind
) -> None:
    """They are bound to the project's origins, and that is all."""
    listed, unlisted = (
        harness.as_session(kind=kind, origin=PAGE, origin_allowed=allowed) for allowed in (True, False)
    )
    assert await call(harness.internal, GET_WALLET, metadata=listed) == b""
    assert (await refusal(harness.internal, GET_WALLET, metadata=unlisted)).code is Code.ORIGIN_NOT_ALLOWED
    if kind is CredentialKind.ACCOUNT_SESSION:
        assert await call(harness.internal, CREATE_WALLET, metadata=listed) == b""
        # With the module for pages off, it is the keys' writes that end.
        changes: dict[str, Any] = {"kind": kind, "origin": PAGE, "modules": ("wallet",)}
        assert await call(harness.internal, CREATE_WALLET, metadata=harness.as_session(**changes)) == b""


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ((KEY, FROM_PAGE, BROWSER_SESSION), BROWSER_TOKEN),
        ((("authorization", f"Bearer {API_SECRET}"), FROM_PAGE, BROWSER_SESSION), BROWSER_TOKEN),
        ((KEY, FROM_PAGE, ("x-session-token", "")), ""),
        ((KEY, FROM_PAGE), None),
        ((KEY, BROWSER_SESSION), None),
        ((KEY, ("x-session-token", "garbage")), None),
        ((("authorization", f"Bearer {SESSION_TOKEN}"), FROM_PAGE, BROWSER_SESSION), None),
        ((("x-project-api-key", PROJECT_SECRET), FROM_PAGE, BROWSER_SESSION), None),
        ((("x-device-key", "dk_x"), FROM_PAGE, BROWSER_SESSION), None),
    ],
    ids=[
        "key on a page",
        "bearer key on a page",
        "empty",
        "none",
        "server",
        "server's garbage",
        "account session",
        "project key",
        "device key",
    ],
)
async def test_browser_session_goes_to_auth_beside_the_key_of_a_page_alone(
    harness: Harness, metadata: Metadata, token: str | None
) -> None:
    """Whatever stands beside another credential, or comes from a server, is passed over."""
    with suppress(SealgateError):
        await call(harness.public, CREATE_WALLET, metadata=metadata)
    [(credential, _)] = harness.issuer.asked
    assert credential.session_token == token


@pytest.mark.parametrize("name", [CURRENT_SESSION, CREATE_BROWSER_SESSION], ids=["read", "mint"])
async def test_browser_session_is_passed_over_where_none_is_needed(harness: Harness, name: str) -> None:
    """One that has ended spoils neither what goes without nor the making of another."""
    with suppress(SealgateError):
        await call(harness.public, name, metadata=(KEY, FROM_PAGE, BROWSER_SESSION))
    [(credential, _)] = harness.issuer.asked
    assert credential.session_token is None


@pytest.mark.parametrize(
    "others", [(KEY, FROM_PAGE), (KEY,), (("authorization", f"Bearer {SESSION_TOKEN}"),)]
)
async def test_browser_session_that_comes_twice_is_ambiguous(harness: Harness, others: Metadata) -> None:
    """As every header that comes twice; nobody is asked what either is worth."""
    metadata = (*others, BROWSER_SESSION, BROWSER_SESSION)
    error = await refusal(harness.public, CURRENT_SESSION, metadata=metadata)
    assert error.code is Code.CREDENTIAL_AMBIGUOUS
    assert harness.issuer.asked == []


async def test_browser_session_alone_is_no_credential(harness: Harness) -> None:
    """It accompanies a key; by itself it says nothing of who calls."""
    for method, code in ((CURRENT_SESSION, Code.API_KEY_REQUIRED), (EXPIRE_CURRENT, Code.SESSION_REQUIRED)):
        error = await refusal(harness.public, method, metadata=(FROM_PAGE, BROWSER_SESSION))
        assert error.code is code
    # Where nobody is asked who they are, it is in nobody's way.
    assert await call(harness.public, OPEN, metadata=(FROM_PAGE, BROWSER_SESSION)) == b""


async def said(channel: grpc.aio.Channel, method: str, metadata: Metadata) -> Mapping[str, str]:
    """What an answer, or a refusal, says beside its message."""
    stub: Any = channel.unary_unary(method)
    answer = stub(b"", metadata=tuple(metadata), timeout=10)
    with suppress(grpc.aio.AioRpcError):
        await answer
    return {name: value for name, value in await answer.trailing_metadata() if isinstance(value, str)}


@pytest.mark.parametrize(
    ("method", "changes", "is_told"),
    [
        (CREATE_WALLET, {}, True),
        (CREATE_WALLET, {"browser_session": BROWSER_SESSION_STATE_ABSENT}, True),
        (CREATE_WALLET, {"scopes": ()}, True),
        (EXPIRE_CURRENT, {}, True),
        (CREATE_WALLET, {"project_status": passport_pb2.PROJECT_STATUS_PAST_DUE}, True),
        (GET_WALLET, {"origin_allowed": False}, False),
        (EXPIRE_CURRENT, {"origin_allowed": False}, False),
        (GET_WALLET, {"origin": ""}, False),
        (GET_WALLET, {"origin": "null"}, False),
    ],
    ids=[
        "good",
        "no session",
        "no scope",
        "wrong kind",
        "past due",
        "unlisted page",
        "unlisted page and wrong kind",
        "server",
        "page without an origin",
    ],
)
async def test_answer_says_which_page_may_read_it(
    harness: Harness, method: str, changes: dict[str, Any], *, is_told: bool
) -> None:
    """The listed one, refusals included; others are not told, and browsers keep the answer from them."""
    expected = PAGE if is_told else None
    inside = await said(harness.internal, method, as_page(harness, **changes))
    assert inside.get("access-control-allow-origin") == expected
    harness.issuer.known[API_SECRET] = page_claims(harness, **changes)
    direct = await said(harness.public, method, (KEY, FROM_PAGE))
    assert direct.get("access-control-allow-origin") == expected


async def test_failure_of_a_handler_can_be_read_by_the_page(harness: Harness) -> None:
    """Also what nobody foresaw: a page is told that it failed, and under which id."""

    async def fail(request: Any, context: Any) -> Any:  # noqa: ANN401
        raise RuntimeError

    harness.script.behaviours[CREATE_WALLET] = fail
    headers = await said(harness.internal, CREATE_WALLET, as_page(harness))
    assert headers["access-control-allow-origin"] == PAGE


async def test_passport_that_ends_with_its_browser_session_says_that_it_expired(
    harness: Harness, clock: FakeClock
) -> None:
    """The page is to make another session, not to look for what is wrong with its key."""
    claims = page_claims(harness)
    claims.browser_session_expires_at_ns = claims.expires_at_ns = claims.issued_at_ns + 1_000
    metadata = passport_metadata(harness.issuer.passport(claims))
    clock.advance_ns(999)
    assert await call(harness.internal, CREATE_WALLET, metadata=metadata) == b""
    clock.advance_ns(1)
    error = await refusal(harness.internal, CREATE_WALLET, metadata=metadata)
    assert error.code is Code.SESSION_EXPIRED

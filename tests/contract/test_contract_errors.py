"""Every error code that the platform can answer today, with its status, headers and exact words."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from chassis.errors import ERROR_TABLE
from chassis.rpc.errors import error_from_rpc
from chassis.testing.databases import TemplateDatabases
from sealgate.keys.v1 import operator_pb2 as keys_operator
from sealgate.keys.v1.operator_pb2_grpc import OperatorServiceStub as KeysOperator
from sealgate.wallet.v1 import operator_pb2 as wallet_operator
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub as WalletOperator
from tests.cluster import Cluster
from tests.platform_support import (
    BAD_TOKEN,
    NO_KEY,
    NO_TOKEN,
    RATE_HEADERS,
    UNKNOWN_ID,
    UNKNOWN_SECRET,
    World,
    by_token,
    good,
    make_world,
    private_cluster,
    refused,
    rfc3339,
    set_project_status,
)

PROJECT: Final = "/api/v1/project"
CURRENT: Final = "/api/v1/account/session"
OWN_KEYS: Final = "/api/v1/account/api-key"
WALLETS: Final = "/api/v1/wallets"
ORIGIN: Final = "https://shop.example"
NO_BROWSER_SESSION: Final = 'BrowserSession realm="sealgate"'
SECOND_NS: Final = 1_000_000_000

Case = Callable[[World], Awaitable[None]]
CASES: Final[list[tuple[Case, tuple[str, ...]]]] = []


def answers(*codes: str) -> Callable[[Case], Case]:
    """Notes a case as one that shows `codes`; `test_error_is_answered_word_by_word` runs it."""

    def note(case: Case) -> Case:
        CASES.append((case, codes))
        return case

    return note


@pytest.fixture(scope="module")
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of this module's own: its time is moved."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


@answers("CREDENTIAL_AMBIGUOUS")
async def two_credentials(world: World) -> None:
    """Two kinds at once, or one header twice, whatever each is worth."""
    key, project = ("x-api-key", world.secret_key), ("x-project-api-key", world.tenant.project_key)
    bearer = ("authorization", f"Bearer {world.token}")
    origin = ("origin", ORIGIN)
    pairs = [[key, project], [key, bearer], [project, bearer], [key, key], [bearer, bearer]]
    for headers in [*pairs, [key, origin, origin], [key, ("x-device-key", "dk_nonsense")]]:
        refused(await world.cluster.http.get(CURRENT, headers=headers), 400, "CREDENTIAL_AMBIGUOUS")


@answers("API_KEY_REQUIRED")
async def no_credential(world: World) -> None:
    """A route that takes more than sessions asks for a key; a project's asks in its own scheme."""
    refused(await world.cluster.rest("GET", PROJECT), 401, "API_KEY_REQUIRED", challenge=NO_KEY)
    refused(await world.cluster.rest("GET", WALLETS), 401, "API_KEY_REQUIRED", challenge=NO_TOKEN)


@answers("API_KEY_INVALID")
async def bad_key(world: World) -> None:
    """Noise, wrong check bytes, an unknown key and another kind's key are told apart by nobody."""
    secret = world.secret_key
    wrong_check = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for text in ("nonsense", "sk_", "sk_short", wrong_check, UNKNOWN_SECRET, world.tenant.project_key):
        answer = await world.cluster.rest("GET", WALLETS, x_api_key=text)
        refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    answer = await world.cluster.rest("GET", WALLETS, x_device_key="dk_" + "A" * 48)
    refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    answer = await by_token(world.cluster, world.tenant.project_key, "GET", WALLETS)
    refused(answer, 401, "API_KEY_INVALID", challenge=BAD_TOKEN)
    answer = await world.cluster.rest("GET", PROJECT, x_project_api_key=secret)
    refused(answer, 401, "API_KEY_INVALID", challenge=NO_KEY)


@answers("API_KEY_REVOKED")
async def deleted_key(world: World) -> None:
    """A deleted key is told from one that never was."""
    good(await world.by_project("DELETE", world.account(f"/api-key/{world.public_key}")))
    refused(await world.by_key("GET", WALLETS), 401, "API_KEY_REVOKED", challenge=BAD_TOKEN)


@answers("API_KEY_EXPIRED")
async def expired_key(world: World) -> None:
    """At the very instant of its end."""
    end = rfc3339(world.cluster.clock.now_ns() + SECOND_NS)
    key = await world.cluster.api_key(world.tenant, expires_at=end)
    world.cluster.clock.advance(seconds=1)
    answer = await world.cluster.rest("GET", WALLETS, x_api_key=key["secret_key"])
    refused(answer, 401, "API_KEY_EXPIRED", challenge=BAD_TOKEN)


@answers("SESSION_REQUIRED")
async def no_session(world: World) -> None:
    """Where only a session is accepted, and for a write by a page's key."""
    for path in (f"{CURRENT}/expire", OWN_KEYS):
        refused(await world.cluster.rest("POST", path), 401, "SESSION_REQUIRED", challenge=NO_TOKEN)
    key = await world.cluster.api_key(world.tenant, origins=[ORIGIN], scopes=["wallet:write"])
    answer = await world.cluster.rest("POST", "/api/v1/wallet", x_api_key=key["secret_key"], origin=ORIGIN)
    paths = ["X-Session-Token"]
    refused(answer, 401, "SESSION_REQUIRED", paths=paths, challenge=NO_BROWSER_SESSION, page=ORIGIN)


@answers("SESSION_INVALID")
async def bad_session(world: World) -> None:
    """A bearer that is neither a key nor a token of ours, and another scheme than Bearer."""
    for text in ("Bearer nonsense", "Bearer a.b.c", "Bearer", "Basic dXNlcjpwYXNz", "nonsense", ""):
        answer = await world.cluster.rest("GET", CURRENT, authorization=text)
        refused(answer, 401, "SESSION_INVALID", challenge=BAD_TOKEN)


@answers("SESSION_EXPIRED")
async def expired_session(world: World) -> None:
    """A session that ran out."""
    policy = {"idle_timeout_seconds": 120, "absolute_cap_seconds": 120}
    good(await world.by_project("PUT", PROJECT, {"session_policy": policy}))
    token = (await world.cluster.session(world.tenant))["session_token"]
    world.cluster.clock.advance(seconds=120)
    refused(await by_token(world.cluster, token, "GET", CURRENT), 401, "SESSION_EXPIRED", challenge=BAD_TOKEN)


@answers("ORIGIN_NOT_ALLOWED")
async def wrong_origin(world: World) -> None:
    """A project key from any page; the others from a page that nobody listed."""
    good(await world.by_project("PUT", PROJECT, {"allowed_origins": [ORIGIN]}))
    answer = await world.by_project("GET", PROJECT, origin=ORIGIN)
    refused(answer, 403, "ORIGIN_NOT_ALLOWED", page=ORIGIN)
    good(await world.by_session("GET", CURRENT, origin=ORIGIN))
    # The project's origins are its sessions', not its keys'; its pages may read as much.
    refused(await world.by_key("GET", CURRENT, origin=ORIGIN), 403, "ORIGIN_NOT_ALLOWED", page=ORIGIN)
    for origin in ("null", f"{ORIGIN}:444", "http://shop.example", "https://SHOP.example", f"{ORIGIN}/", ""):
        refused(await world.by_session("GET", CURRENT, origin=origin), 403, "ORIGIN_NOT_ALLOWED")


@answers("SCOPE_NOT_GRANTED")
async def missing_scope(world: World) -> None:
    """A key without the route's scope; a session that would give away what it has not."""
    key = await world.cluster.api_key(world.tenant, scopes=["account:read"])
    answer = await world.cluster.rest("GET", WALLETS, x_api_key=key["secret_key"])
    refused(answer, 403, "SCOPE_NOT_GRANTED")
    answer = await world.by_session("POST", OWN_KEYS, {"scopes": ["withdrawals:write"]})
    refused(answer, 403, "SCOPE_NOT_GRANTED", paths=["scopes"])


@answers("CREDENTIAL_NOT_ACCEPTED")
async def wrong_kind(world: World) -> None:
    """A good credential on a route for others, before its scopes are looked at."""
    narrow = await world.cluster.api_key(world.tenant, scopes=["wallet:read"])
    for answer in (
        await world.by_project("GET", CURRENT),
        await world.by_project("GET", WALLETS),
        await world.by_session("GET", PROJECT),
        await world.by_key("GET", PROJECT),
        await world.by_key("POST", OWN_KEYS),
        await world.cluster.rest("POST", OWN_KEYS, x_api_key=narrow["secret_key"]),
        await world.by_key("POST", f"{CURRENT}/expire"),
    ):
        refused(answer, 403, "CREDENTIAL_NOT_ACCEPTED")


@answers("TENANT_SUSPENDED", "SUBSCRIPTION_CANCELLED")
async def unserved_project(world: World) -> None:
    """Reads included, whatever the credential; a bad credential learns nothing of it."""
    for status, code in (("SUSPENDED", "TENANT_SUSPENDED"), ("CANCELLED", "SUBSCRIPTION_CANCELLED")):
        await set_project_status(world.tenant, world.cluster, status)
        refused(await world.by_project("GET", PROJECT), 403, code)
        refused(await world.by_session("GET", CURRENT), 403, code)
        refused(await world.by_key("GET", WALLETS), 403, code)
        refused(await world.by_session("POST", f"{CURRENT}/expire"), 403, code)
    refused(
        await world.cluster.rest("GET", WALLETS, x_api_key=UNKNOWN_SECRET),
        401,
        "API_KEY_INVALID",
        challenge=BAD_TOKEN,
    )


@answers("SUBSCRIPTION_PAST_DUE")
async def past_due(world: World) -> None:
    """Refuses writes; reading, revoking, expiring and deleting credentials go on."""
    await set_project_status(world.tenant, world.cluster, "PAST_DUE")
    for answer in (
        await world.by_project("PUT", PROJECT, {"name": "x"}),
        await world.by_project("POST", f"{PROJECT}/account"),
        await world.by_project("POST", f"{PROJECT}/api-key"),
        await world.by_project("POST", world.account("/session")),
        await world.by_project("POST", world.account(f"/session/{world.session_id}/refresh")),
        await world.by_session("POST", OWN_KEYS),
        await world.by_key("POST", "/api/v1/wallet"),
    ):
        refused(answer, 403, "SUBSCRIPTION_PAST_DUE")
    assert good(await world.by_project("GET", PROJECT))["status"] == "PAST_DUE"
    # The first wallet that a GET makes is a read.
    assert len(good(await world.by_key("GET", WALLETS))) == 1
    path = world.account(f"/session/{world.session_id}/expire")
    assert good(await world.by_project("POST", path)) == {"expired": True}
    assert good(await world.by_project("POST", world.account("/sessions/expire-all"))) == {"expired": 0}
    path = world.account(f"/api-key/{world.public_key}")
    assert good(await world.by_project("DELETE", path)) == {"deleted": True}


@answers("MODULE_NOT_ENABLED")
async def module_off(world: World) -> None:
    """A wallet route of a project without the module, before the scope is looked at."""
    bare = await make_world(world.cluster, "trading")
    refused(await bare.by_session("GET", WALLETS), 403, "MODULE_NOT_ENABLED")
    key = await bare.cluster.api_key(bare.tenant, scopes=["account:read"])
    answer = await bare.cluster.rest("GET", WALLETS, x_api_key=key["secret_key"])
    refused(answer, 403, "MODULE_NOT_ENABLED")
    good(await bare.by_session("GET", CURRENT))


@answers("ACCOUNT_SUSPENDED")
async def suspended_account(world: World) -> None:
    """Its keys are refused, and nothing is issued under it."""
    good(await world.by_project("PUT", world.account("/status"), {"status": "SUSPENDED"}))
    for answer in (
        await world.by_key("GET", CURRENT),
        await world.by_project("POST", world.account("/session")),
        await world.by_project("POST", world.account(f"/session/{world.session_id}/refresh")),
        await world.by_project("POST", world.account("/api-key")),
    ):
        refused(answer, 403, "ACCOUNT_SUSPENDED")


@answers("ACCOUNT_NOT_FOUND", "SESSION_NOT_FOUND", "API_KEY_NOT_FOUND", "WALLET_NOT_FOUND")
async def missing_things(world: World) -> None:
    """An id that names nothing, or is no id, is the 404 of its noun."""
    for name in (
        UNKNOWN_ID,
        "1",
        "%20",
        UNKNOWN_ID.replace("-", ""),
        f"{{{UNKNOWN_ID}}}",
        UNKNOWN_ID.upper(),
    ):
        refused(await world.by_project("GET", f"{PROJECT}/account/{name}"), 404, "ACCOUNT_NOT_FOUND")
        path = world.account(f"/session/{name}/expire")
        refused(await world.by_project("POST", path), 404, "SESSION_NOT_FOUND")
        refused(await world.by_project("DELETE", world.account(f"/api-key/{name}")), 404, "API_KEY_NOT_FOUND")
        refused(await world.by_key("GET", f"/api/v1/wallet/{name}"), 404, "WALLET_NOT_FOUND")


@answers("ROUTE_NOT_FOUND")
async def no_route(world: World) -> None:
    """Paths are taken as they stand: no prefix, no slash too many, no encoded slash."""
    for path in (
        "/",
        "/api/v1",
        "/api/v1/projects",
        f"{PROJECT}/",
        "/api//v1/project",
        "/api/v1/wallet/a%2Fb",
    ):
        refused(await world.by_project("GET", path), 404, "ROUTE_NOT_FOUND")


@answers("METHOD_NOT_ALLOWED")
async def wrong_verb(world: World) -> None:
    """With the verbs that the path takes."""
    for verb, path, allow in (
        ("DELETE", PROJECT, "GET, HEAD, PUT"),
        ("PATCH", f"{PROJECT}/account", "GET, HEAD, POST"),
        ("GET", world.account("/session"), "POST"),
        ("POST", WALLETS, "GET, HEAD"),
        ("PUT", "/.well-known/jwks.json", "GET, HEAD"),
        ("GET", f"{OWN_KEYS}/{world.public_key}", "DELETE, PUT"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
    ):
        refused(await world.by_project(verb, path), 405, "METHOD_NOT_ALLOWED", allow=allow)


@answers("UNSUPPORTED_MEDIA_TYPE")
async def wrong_media_type(world: World) -> None:
    """A body that is not said to be plain JSON in UTF-8; an empty one needs no saying."""
    key = {"x-project-api-key": world.tenant.project_key}
    for more in (
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ):
        answer = await world.cluster.http.post(f"{PROJECT}/account", content=b"{}", headers=key | more)
        refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    for more in ({}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=UTF-8"}):
        good(await world.cluster.http.post(f"{PROJECT}/account", headers=key | more), 201)


@answers("SESSION_ALREADY_REFRESHED")
async def refreshed_twice(world: World) -> None:
    """A refresh repeated after its 30 s."""
    path = world.account(f"/session/{world.session_id}/refresh")
    good(await world.by_project("POST", path))
    world.cluster.clock.advance(seconds=31)
    refused(await world.by_project("POST", path), 409, "SESSION_ALREADY_REFRESHED")


@answers("SESSION_NOT_LIVE")
async def refreshed_after_its_end(world: World) -> None:
    """A session that was ended cannot be refreshed."""
    good(await world.by_session("POST", f"{CURRENT}/expire"))
    path = world.account(f"/session/{world.session_id}/refresh")
    refused(await world.by_project("POST", path), 409, "SESSION_NOT_LIVE")


@answers("LAST_PROJECT_API_KEY")
async def last_project_key(world: World) -> None:
    """A project cannot lock itself out."""
    (key,) = good(await world.by_project("GET", f"{PROJECT}/api-key"))
    answer = await world.by_project("DELETE", f"{PROJECT}/api-key/{key['public_key']}")
    refused(answer, 409, "LAST_PROJECT_API_KEY")
    good(await world.by_project("GET", PROJECT))


@answers("WALLET_NOT_EMPTY")
async def wallet_with_money(world: World) -> None:
    """The smallest amount keeps a wallet."""
    wallet_id = await world.wallet_id()
    await world.cluster.deposit(wallet_id, "0.000001", f"kept-{wallet_id}")
    refused(await world.by_session("DELETE", f"/api/v1/wallet/{wallet_id}"), 409, "WALLET_NOT_EMPTY")


async def rpc_code(call: Awaitable[Any]) -> tuple[str, str]:
    """The gRPC status and our code that an operator's call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error = error_from_rpc(failure.value, "operator")
    assert failure.value.details() == error.row.message
    return failure.value.code().name, error.code.value


@answers("DEPOSIT_CONFLICT", "ASSET_NOT_FOUND")
async def deposit_that_differs(world: World) -> None:
    """A reference counts once: the same facts answer the first booking, others are refused."""
    operator = WalletOperator(world.cluster.internal["wallet"])
    first = wallet_operator.RecordDepositRequest(
        rail="embedded",
        external_ref=f"once-{UNKNOWN_ID}",
        wallet_id=await world.wallet_id(),
        asset="USDC",
        amount="5",
    )
    assert (await operator.RecordDeposit(first)).posted_after == "5.000000"
    assert (await operator.RecordDeposit(first)).replayed
    other = wallet_operator.RecordDepositRequest()
    other.CopyFrom(first)
    other.amount = "6"
    assert await rpc_code(operator.RecordDeposit(other)) == ("ALREADY_EXISTS", "DEPOSIT_CONFLICT")
    other.asset = "GOLD"
    assert await rpc_code(operator.RecordDeposit(other)) == ("NOT_FOUND", "ASSET_NOT_FOUND")


@answers("PROJECT_NOT_FOUND")
async def no_project(world: World) -> None:
    """Only operators name projects."""
    operator = KeysOperator(world.cluster.internal["keys"])
    request = keys_operator.IssueProjectApiKeyRequest(project_id="nonsense")
    assert await rpc_code(operator.IssueProjectApiKey(request)) == ("NOT_FOUND", "PROJECT_NOT_FOUND")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.__name__) for case, _ in CASES])
async def test_error_is_answered_word_by_word(world: World, case: Case) -> None:
    """The case's refusals have the contract's status, code, object and headers, and no other text."""
    await case(world)


# What other files show, which a test below holds them to.
ELSEWHERE: Final = {
    "ORDER_NOT_FILLED": "contract/test_contract_orders.py",
    "ORDER_NOT_FOUND": "contract/test_contract_orders.py",
    "ORDER_NOT_OPEN": "contract/test_contract_orders.py",
    "INSUFFICIENT_BALANCE": "contract/test_contract_orders.py",
    "MARKET_NOT_FOUND": "contract/test_contract_orders.py",
    "MARKET_CLOSED": "contract/test_contract_orders.py",
    "PRICE_OUT_OF_RANGE": "contract/test_contract_orders.py",
    "PRICE_OFF_TICK": "contract/test_contract_orders.py",
    "AMOUNT_OUT_OF_RANGE": "contract/test_contract_orders.py",
    "AMOUNT_OFF_LOT": "contract/test_contract_orders.py",
    "EXPIRATION_OUT_OF_RANGE": "contract/test_contract_orders.py",
    "TOKEN_NOT_FOUND": "contract/test_contract_orders.py",
    "EVENT_NOT_FOUND": "contract/test_contract_orders.py",
    "CLIENT_ORDER_ID_USED": "contract/test_contract_orders.py",
    "ORDER_WOULD_CROSS": "contract/test_contract_orders.py",
    "ORDER_LIMIT_REACHED": "contract/test_contract_orders.py",
    "MASTER_KEY_EXISTS": "contract/test_contract_master_keys.py",
    "SUBACCOUNT_NOT_FOUND": "contract/test_contract_subaccounts.py",
    "CHAIN_NOT_FOUND": "contract/test_contract_withdrawals.py",
    "ADDRESS_LIMIT_REACHED": "contract/test_contract_withdrawals.py",
    "ADDRESS_NOT_USABLE": "contract/test_contract_withdrawals.py",
    "WITHDRAWAL_LIMIT_REACHED": "contract/test_contract_withdrawals.py",
    "WITHDRAWAL_NOT_FOUND": "contract/test_contract_withdrawals.py",
    "WITHDRAWAL_STATE_CONFLICT": "contract/test_contract_withdrawals.py",
    "SIGNATURE_REQUIRED": "contract/test_contract_withdrawals.py",
    "MALFORMED_PAYLOAD": "contract/test_signed_envelopes.py",
    "UNSUPPORTED_VERSION": "contract/test_signed_envelopes.py",
    "SIGNATURE_INVALID": "contract/test_signed_envelopes.py",
    "REQUEST_TIMESTAMP_SKEW": "contract/test_signed_rest_equals_grpc.py",
    "REQUEST_NOT_FOUND": "contract/test_contract_subaccounts.py",
    "VALIDATION_ERROR": "contract/test_contract_validation.py",
    "SESSION_LIMIT_REACHED": "contract/test_contract_limits.py",
    "KEY_LIMIT_REACHED": "contract/test_contract_limits.py",
    "WALLET_LIMIT_REACHED": "contract/test_contract_limits.py",
    "KEY_ALREADY_ROTATED": "contract/test_rotation.py",
    "PAYLOAD_TOO_LARGE": "contract/test_contract_limits.py",
    "HEADERS_TOO_LARGE": "contract/test_contract_limits.py",
    "OVERLOADED": "contract/test_contract_limits.py",
    "RATE_LIMITED": "contract/test_contract_rate_limits.py",
    "DEADLINE_EXCEEDED": "contract/test_contract_limits.py",
    "UNAVAILABLE": "contract/test_contract_outage.py",
    "INTERNAL": "integration/test_platform_secrets.py",
}
# What only signed requests run into, who answer 200 and a status of their own.
ON_RECORD: Final = {
    "DEVICE_KEY_NOT_FOUND": "session_rejected_invalid",
    "SUBACCOUNT_LIMIT_REACHED": "subaccount_rejected_limit",
}
# What no route can answer yet, and what will.
LATER: Final = {
    "IDEMPOTENCY_CONFLICT": "idempotency keys",
    "REQUEST_IN_PROGRESS": "idempotency keys",
}


def test_every_code_of_the_table_has_a_case_or_a_reason() -> None:
    """A code that is added to the table is shown here, or belongs to what is not served yet."""
    shown = {code for _, codes in CASES for code in codes}
    others = ELSEWHERE.keys() | ON_RECORD.keys() | LATER.keys()
    assert shown | others == {code.value for code in ERROR_TABLE}
    assert not shown & others
    for code, file in ELSEWHERE.items():
        assert f'"{code}"' in (Path(__file__).parents[1] / file).read_text("utf-8")


async def test_request_id_is_the_callers_own_when_it_is_a_uuid(world: World) -> None:
    """It is echoed on good and bad answers, in lower case; anything else is replaced by a new UUIDv7."""
    own = "0123ABCD-0000-4000-8000-00000000abcd"
    for answer in (
        await world.by_project("GET", PROJECT, x_request_id=own),
        await world.cluster.rest("GET", PROJECT, x_request_id=own),
        await world.cluster.rest("GET", "/nowhere", x_request_id=own),
        await world.cluster.rest("GET", "/healthz", x_request_id=own),
        await world.cluster.rest("GET", "/.well-known/jwks.json", x_request_id=own),
    ):
        assert answer.headers["x-request-id"] == own.lower()
    for other in ("", "nonsense", own[:-1], own.replace("-", ""), f"{{{own}}}", f"{own},{own}"):
        answer = await world.by_project("GET", PROJECT, x_request_id=other)
        assert uuid.UUID(answer.headers["x-request-id"]).version == 7
    twice = [("x-request-id", own), ("x-request-id", own)]
    answer = await world.cluster.http.get("/healthz", headers=twice)
    assert uuid.UUID(answer.headers["x-request-id"]).version == 7


async def test_head_answers_the_headers_of_get_and_no_body(world: World) -> None:
    """HEAD is served wherever GET is, also where that is refused."""
    key = {"x-project-api-key": world.tenant.project_key}
    for path, headers in ((PROJECT, key), (PROJECT, {}), ("/nowhere", {}), ("/healthz", {})):
        head = await world.cluster.http.head(path, headers=headers)
        get = await world.cluster.http.get(path, headers=headers)
        assert head.content == b""
        assert head.status_code == get.status_code
        # Each of the two counts, so that the second has one call less left.
        skipped = {"x-request-id", "date"} | RATE_HEADERS
        assert {name: value for name, value in head.headers.items() if name not in skipped} == {
            name: value for name, value in get.headers.items() if name not in skipped
        }

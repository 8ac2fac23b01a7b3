"""What tests over the whole platform share: callers, the error object word by word, broken parts."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import yaml

import edge.app
import edge.config
from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.db.embedded import SUPERUSER
from chassis.errors import ERROR_TABLE, Code
from chassis.ids import SystemIds
from chassis.limits import OPEN_ORDERS_PER_WALLET_COUNT
from chassis.rpc.metadata import ANSWER_HEADERS
from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from tests.cluster import AUDIENCE, DESCRIPTOR, SERVICES, UNLIMITED, Cluster, Tenant, run_cluster

UNKNOWN_ID: Final = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
UNKNOWN_SECRET: Final = "sk_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTLhNAAk"
"""Of the right shape and with the right check bytes, but nobody's."""
NO_KEY: Final = 'ApiKey realm="sealgate"'
NO_TOKEN: Final = 'Bearer realm="sealgate"'
RATE_HEADERS: Final = frozenset(name for name in ANSWER_HEADERS if "ratelimit" in name)
BAD_TOKEN: Final = 'Bearer realm="sealgate", error="invalid_token"'
ANY_PAGE: Final = "*"
"""Instead of a page's origin: the answer is one that every page may read."""
_OF_NO_ROUTE: Final = frozenset({Code.ROUTE_NOT_FOUND, Code.METHOD_NOT_ALLOWED, Code.HEADERS_TOO_LARGE})
_EXPOSED: Final = (
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, "
    "Retry-After, X-Request-Id"
)

# As long as a busy machine may take until a session is seen to wait.
_WAIT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Trading:
    """A wallet with money and an open order in a market, made for one world."""

    wallet_id: str
    order_id: str
    condition_id: str
    token_id: str


@dataclass(frozen=True, slots=True)
class World:
    """A project with one account, and one credential of each kind."""

    cluster: Cluster
    tenant: Tenant
    session_id: str
    token: str
    public_key: str
    secret_key: str

    def account(self, rest: str = "") -> str:
        """The path of the account's project-key routes."""
        return f"/api/v1/project/account/{self.tenant.account_id}{rest}"

    async def by_project(self, verb: str, path: str, json: object = None, **headers: str) -> httpx.Response:
        """A request with the project key."""
        return await self.cluster.rest(
            verb, path, json=json, x_project_api_key=self.tenant.project_key, **headers
        )

    async def by_session(self, verb: str, path: str, json: object = None, **headers: str) -> httpx.Response:
        """A request with the session token."""
        return await by_token(self.cluster, self.token, verb, path, json, **headers)

    async def by_key(self, verb: str, path: str, json: object = None, **headers: str) -> httpx.Response:
        """A request with the account's API key."""
        return await self.cluster.rest(verb, path, json=json, x_api_key=self.secret_key, **headers)

    async def wallet_id(self) -> str:
        """The account's first wallet."""
        return str(good(await self.by_key("GET", "/api/v1/wallets"))[0]["wallet_id"])

    async def trading(self) -> Trading:
        """A further wallet, and what it trades in; the first one stays empty."""
        await self.wallet_id()
        wallet_id = good(await self.by_key("POST", "/api/v1/wallet"), 201)["wallet_id"]
        await self.cluster.deposit(wallet_id, "100000", f"trading {wallet_id}")
        market = await self.cluster.market()
        order = {
            "token_id": market.left_token_id,
            "side": "BUY",
            "type": "LIMIT",
            "price": "0.4",
            "amount": "10",
            "units": "SHARES",
        }
        placed = good(await self.by_key("POST", f"/api/v1/wallet/pol/{wallet_id}/order", order), 201)
        return Trading(wallet_id, placed["order_id"], market.condition_id, market.left_token_id)


async def make_world(cluster: Cluster, *modules: str) -> World:
    """A world of the test's own."""
    tenant = await cluster.tenant(*modules)
    session = await cluster.session(tenant)
    key = await cluster.api_key(tenant)
    return World(
        cluster,
        tenant,
        session["session_id"],
        session["session_token"],
        key["public_key"],
        key["secret_key"],
    )


async def by_token(
    cluster: Cluster, token: str, verb: str, path: str, json: object = None, **headers: str
) -> httpx.Response:
    """A request with a bearer token."""
    return await cluster.rest(verb, path, json=json, authorization=f"Bearer {token}", **headers)


def good(answer: httpx.Response, status: int = 200) -> Any:  # noqa: ANN401
    """The `response` of an answer that must be a success of family P, in its exact envelope."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    uuid.UUID(answer.headers["x-request-id"])
    body = answer.json()
    assert list(body) == ["success", "response"]
    assert body["success"] is True
    return body["response"]


def refused(
    answer: httpx.Response,
    status: int,
    code: str,
    *,
    paths: Sequence[str] = (),
    challenge: str | None = None,
    allow: str | None = None,
    retry_after: str | None = None,
    page: str | None = None,
) -> None:
    """The answer is this refusal, down to the last header and word.

    `paths` are those of the details; `challenge` is WWW-Authenticate, which only a 401 has; `page` is the
    one that may read it, which every page may when it is of no route.
    """
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    message = ERROR_TABLE[Code(code)].message
    details = answer.json()["error"]["details"]
    request_id = answer.headers["x-request-id"]
    assert answer.json() == {
        "success": False,
        "response": message,
        "error": {"code": code, "message": message, "details": details},
        "request_id": str(uuid.UUID(request_id)),
    }
    assert [set(detail) for detail in details] == [{"path", "message"}] * len(paths)
    assert tuple(detail["path"] for detail in details) == tuple(paths)
    assert all(detail["message"] for detail in details)
    expected = {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-request-id": request_id,
        "content-length": str(len(answer.content)),
        "www-authenticate": challenge,
        "allow": allow,
        "retry-after": retry_after,
        **sharing(ANY_PAGE if Code(code) in _OF_NO_ROUTE else page),
    }
    # The figures of the rate limits have tests of their own; here they are all there or none is.
    assert set(answer.headers) & RATE_HEADERS in (set(), RATE_HEADERS)
    unsaid = RATE_HEADERS | {"date", "connection"}
    headers = {name: value for name, value in answer.headers.items() if name not in unsaid}
    assert headers == {name: value for name, value in expected.items() if value is not None}


def sharing(page: str | None) -> dict[str, str]:
    """What an answer says to browsers: who may read it, and that it depends on who asks."""
    said = {} if page == ANY_PAGE else {"vary": "Origin"}
    if page is not None:
        said |= {"access-control-allow-origin": page, "access-control-expose-headers": _EXPOSED}
    return said


async def raw_exchange(port: int, data: bytes, *, hang_up: bool = False) -> list[httpx.Response]:
    """The answers to bytes as they stand, until the edge closes the connection.

    The test says when that is: by `Connection: close`, by bytes that are no request, or with `hang_up`
    by saying that no more will come, which may cost the answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if hang_up:
        writer.write_eof()
    rest = await reader.read()
    writer.close()
    answers = []
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        headers = httpx.Headers(
            [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        )
        length = int(headers["content-length"])
        assert status_line.startswith(b"HTTP/1.1 ")
        answers.append(httpx.Response(int(status_line.split()[1]), headers=headers, content=rest[:length]))
        assert len(rest) >= length
        rest = rest[length:]
    return answers


def rfc3339(at_ns: int) -> str:
    """A time as answers write it: UTC with `Z`, and 0, 3, 6 or 9 digits of a second."""
    seconds, nanos = divmod(at_ns, NANOSECONDS_PER_SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z" if digits else f"{text}Z"


async def administer(cluster: Cluster, service: str) -> asyncpg.Connection[asyncpg.Record]:
    """A superuser's connection to a service's database; the caller closes it."""
    return await asyncpg.connect(cluster.dsns[service], user=SUPERUSER)


async def sql(cluster: Cluster, service: str, statement: str, *args: object) -> list[asyncpg.Record]:
    """What a superuser reads or does in a service's database."""
    connection = await administer(cluster, service)
    try:
        return await connection.fetch(statement, *args)
    finally:
        await connection.close()


async def script(cluster: Cluster, service: str, statements: str) -> None:
    """Runs statements without arguments as a superuser of a service's database."""
    connection = await administer(cluster, service)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def usable_address(cluster: Cluster, account_id: str, address: str = "0x" + "5f" * 20) -> str:
    """An address that the account may withdraw to at once: as one that was added a while ago."""
    await sql(
        cluster,
        "wallet",
        "INSERT INTO destination"
        " (destination_id, account_id, chain, address, usable_at_ns, actor_kind, actor_id, created_at_ns)"
        " VALUES (gen_random_uuid(), $1, 'POL', $2, $3, 'PROJECT_KEY', 'test', $3)",
        uuid.UUID(account_id),
        address,
        cluster.clock.now_ns(),
    )
    return address


async def set_project_status(tenant: Tenant, cluster: Cluster, status: str) -> None:
    """What the operator decides of a project."""
    await cluster.set_project(tenant.project_id, status=status)


class Hold:
    """A row that a test keeps locked, and a look at who waits for it."""

    def __init__(self, watcher: asyncpg.Connection[asyncpg.Record]) -> None:
        self._watcher = watcher

    async def until_waiting(self, waiting_count: int = 1) -> None:
        """Returns when the server says that at least so many of its sessions wait for a lock."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while True:
                waiting = await self._watcher.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                if waiting >= waiting_count:
                    return


@asynccontextmanager
async def held(cluster: Cluster, service: str, statement: str, *args: object) -> AsyncIterator[Hold]:
    """Keeps locked what `statement` locks, until the end of the block."""
    holder, watcher = await administer(cluster, service), await administer(cluster, service)
    try:
        async with holder.transaction():
            await holder.fetch(statement, *args)
            yield Hold(watcher)
    finally:
        await holder.close()
        await watcher.close()


@asynccontextmanager
async def account_held(world: World) -> AsyncIterator[Hold]:
    """Keeps the account's row in auth locked, so that nothing is issued under it meanwhile."""
    statement = "SELECT 1 FROM account WHERE account_id = $1 FOR UPDATE"
    async with held(world.cluster, "auth", statement, uuid.UUID(world.tenant.account_id)) as hold:
        yield hold


@asynccontextmanager
async def private_cluster(
    templates: TemplateDatabases,
    short_directory: Path,
    *,
    rate_limits: Mapping[str, int] = UNLIMITED,
    open_orders_per_wallet_count: int = OPEN_ORDERS_PER_WALLET_COUNT,
) -> AsyncIterator[Cluster]:
    """A platform whose time may be moved and whose parts may be broken; limits as `run_cluster`'s."""
    databases = DatabaseFactory(templates)
    directory = Path(tempfile.mkdtemp(prefix="c", dir=short_directory))
    try:
        async with run_cluster(
            databases,
            directory,
            rate_limits=rate_limits,
            open_orders_per_wallet_count=open_orders_per_wallet_count,
        ) as running:
            yield running
    finally:
        await databases.close()


@asynccontextmanager
async def narrow_front(
    cluster: Cluster, *, at_once_count: int = 512, route_timeout: str = "5s", trusted_hops_count: int = 0
) -> AsyncIterator[httpx.AsyncClient]:
    """A second edge before the same services, with limits that a test can reach."""
    sockets = {name: cluster.directory / f"{name}.sock" for name in SERVICES}
    document = edge.config.bootstrap(
        host="127.0.0.1", port=0, sockets=sockets, descriptor=DESCRIPTOR, audience=AUDIENCE
    )
    resources = document["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["xff_num_trusted_hops"] = trusted_hops_count
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route["route"]["timeout"] = route_timeout
    for entry in resources["clusters"]:
        entry["circuit_breakers"]["thresholds"][0]["max_requests"] = at_once_count
    path = cluster.directory / "narrow.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    front = await edge.app.build(edge.config.load(path), cluster.clock, SystemIds(cluster.clock))
    await front.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}", timeout=30) as http:
            yield http
    finally:
        await front.stop()

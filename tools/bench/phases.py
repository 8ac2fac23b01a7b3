"""Runs one load after the other and watches who does the work meanwhile."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from tools.bench.processes import cpu_seconds, machine_busy_seconds
from tools.bench.stack import ROOT, BenchError

LOAD: Final = "load"
_LOAD_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one load came to: throughput, latencies, and how many cores each process used."""

    phase: str
    number: int
    requests: int
    seconds: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    outcomes: Mapping[str, int]
    cores_used: Mapping[str, float]
    machine_cores_used: float

    @property
    def failed_count(self) -> int:
        """Answers that were no success."""
        good = ("OK", "200", "201", "request_completed")
        return sum(count for outcome, count in self.outcomes.items() if outcome not in good)


class Phase(Protocol):
    """Something that is measured, over and over."""

    @property
    def name(self) -> str:
        """What the results call it."""
        ...

    def run(self, number: int, watch: Watch) -> Round:
        """One round; raises BenchError when it cannot be run."""
        ...


@dataclass
class Watch:
    """Samples the processor time of the processes that are there, from `begin` to `end`."""

    clock: Clock
    pids: Mapping[str, int]
    warm_seconds: float
    seconds: float
    _started_ns: int = 0
    _before: dict[str, float] = field(default_factory=dict)
    _machine_before: float = 0.0

    def begin(self, load_pid: int) -> None:
        """The load is warm: what is used counts from now on."""
        self._started_ns = self.clock.monotonic_ns()
        self._before = self._sample(load_pid)
        self._machine_before = machine_busy_seconds()

    def end(self, load_pid: int) -> tuple[dict[str, float], float]:
        """How many cores each process used since `begin`, and the whole machine."""
        after = self._sample(load_pid)
        machine_after = machine_busy_seconds()
        seconds = (self.clock.monotonic_ns() - self._started_ns) / NANOSECONDS_PER_SECOND
        used = {name: (after[name] - self._before[name]) / seconds for name in after}
        return used, (machine_after - self._machine_before) / seconds

    def _sample(self, load_pid: int) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in {**self.pids, LOAD: load_pid}.items()}


@dataclass(frozen=True, slots=True)
class ModulePhase:
    """A load that a process of ours makes, from a plan."""

    name: str
    module: str
    plan: Mapping[str, Any]

    def run(self, number: int, watch: Watch) -> Round:
        """See `Phase.run`."""
        plan = {**self.plan, "warm_seconds": watch.warm_seconds, "seconds": watch.seconds}
        used: tuple[dict[str, float], float] = ({}, 0.0)
        result: dict[str, Any] = {}
        with _load_process(self.module, plan) as (process, events):
            for event in events:
                kind = event.pop("event")
                if kind == "measuring":
                    watch.begin(process.pid)
                elif kind == "measured":
                    used = watch.end(process.pid)
                elif kind == "result":
                    result = event
        if not result:
            raise BenchError(f"the load of {self.name} ended with exit code {process.returncode}")
        return Round(self.name, number, **result, cores_used=used[0], machine_cores_used=used[1])


@contextlib.contextmanager
def _load_process(
    module: str, plan: Mapping[str, Any]
) -> Iterator[tuple[subprocess.Popen[str], Iterator[dict[str, Any]]]]:
    process = subprocess.Popen(
        (sys.executable, "-P", "-m", module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - they were asked for
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps(plan))
        process.stdin.close()
        yield process, (json.loads(line) for line in process.stdout)
    finally:
        process.terminate()
        process.wait(_LOAD_SECONDS)
        process.stdout.close()


def http_phase(name: str, base_url: str, connections: list[list[str]]) -> ModulePhase:
    """A load of HTTP requests; `connections` has what each connection sends in turn."""
    host, _, port = base_url.removeprefix("http://").rpartition(":")
    plan = {"host": host, "port": int(port), "connections": connections}
    return ModulePhase(name, "tools.bench.http_load", plan)


def signed_phase(
    name: str, base_url: str, binding: Mapping[str, Any], connections: list[dict[str, Any]]
) -> ModulePhase:
    """A load of signed requests: `binding` has their path, type and audience; see `signed_load`."""
    host, _, port = base_url.removeprefix("http://").rpartition(":")
    plan = {"host": host, "port": int(port), **binding, "connections": connections}
    return ModulePhase(name, "tools.bench.signed_load", plan)


def verify_phase(name: str, *, with_libsodium: bool) -> ModulePhase:
    """One thread that verifies signatures."""
    return ModulePhase(name, "tools.bench.verify_load", {"with_libsodium": with_libsodium})


def grpc_phase(name: str, target: str, method: str, request: bytes, callers_count: int) -> ModulePhase:
    """A load of unary gRPC calls that all send the same message."""
    plan = {"target": target, "method": method, "request": request.hex(), "callers": callers_count}
    return ModulePhase(name, "tools.bench.grpc_load", plan)


def http_request(
    verb: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None
) -> str:
    """A request as it goes over the wire."""
    content = "" if body is None else json.dumps(body)
    lines = [f"{verb} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", content])


def chosen_round(rounds: list[Round]) -> Round:
    """The round whose throughput is the median; of an even number the lower one."""
    return sorted(rounds, key=lambda one: one.requests_per_second)[(len(rounds) - 1) // 2]

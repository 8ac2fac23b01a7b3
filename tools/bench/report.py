"""What a run found, for a person and for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from tools.bench.phases import LOAD, Round, chosen_round

# What is compared with what, and why the second is the measure of the first.
RATIOS: Final = (
    ("balance", "floor", "the same hop with nothing behind it"),
    ("session", "floor", "the same"),
    ("exchange", "empty-rpc", "a gRPC call that does nothing"),
    ("limit-order", "pgbench", "small transactions on the same Postgres"),
    ("market-order", "pgbench", "the same"),
    ("signed-order", "limit-order", "the same order with an API key, unsigned"),
    ("signed-order", "floor", "the same hop with nothing behind it"),
    ("verify", "libsodium", "libsodium's own verification of the same bytes"),
)
TITLES: Final[Mapping[str, str]] = {
    "balance": "GET balance with an API key, through the edge",
    "floor": "GET through an edge to an empty handler, no identity",
    "session": "POST session with a project key, through the edge",
    "exchange": "ExchangeCredential of an API key, auth's socket",
    "empty-rpc": "empty grpc.aio method, Unix socket",
    "limit-order": "POST LIMIT order that rests, through the edge",
    "signed-order": "POST signed LIMIT order that rests, through the edge",
    "market-order": "POST MARKET order that fills, through the edge",
    "verify": "verification of a signature, one thread",
    "libsodium": "crypto_sign_open of the same, one thread",
    "pgbench": "pgbench simple-update, the stack's Postgres",
}
# From here on all is said to be busy: what is left goes into switching between processes.
_BUSY_CORES: Final = 0.85
_BUSY_MACHINE: Final = 0.85
# A process a connection: no single one of them is the limit.
_MANY_PROCESSES: Final = frozenset({"postgres"})
# From here on somebody else's work on the machine makes the figures doubtful.
_WORTH_COMPLAINING: Final = 0.1
_WORTH_NAMING_CORES: Final = 0.03
_MIB: Final = 1 << 20


@dataclass
class Findings:
    """All that one run measured."""

    facts: Mapping[str, str | int]
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    start_seconds: dict[str, list[float]] = field(default_factory=dict)
    memory_bytes: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)

    def chosen(self) -> Iterator[Round]:
        """The median round of every phase."""
        yield from (chosen_round(rounds) for rounds in self.rounds.values())

    def failures(self) -> Iterator[str]:
        """Phases some of whose answers were no success."""
        for rounds in self.rounds.values():
            for one in rounds:
                if one.failed_count or not one.requests:
                    yield f"{one.phase}, round {one.number}: answers were {dict(one.outcomes)}"


def text(findings: Findings) -> str:
    """The page that a person reads: ratios first."""
    sections = {
        "Ratios (median of rounds; each against its neighbour of the same round)": _ratios(findings),
        "Loads (the median round of each)": _table(findings),
        "What limited each (cores used while it was measured)": _limits(findings),
        "Start of `sealgate up` in seconds (median; all)": _starts(findings.start_seconds),
        "Resident memory in MiB (proportional share: PSS)": _memory(findings.memory_bytes),
        "Machine": (f"  {name:<12} {value}" for name, value in findings.facts.items()),
    }
    lines: list[str] = []
    for title, content in sections.items():
        found = list(content)
        if found:
            lines += [title, "", *found, ""]
    return "\n".join(lines)


def json_lines(findings: Findings) -> Iterator[str]:
    """Everything that was measured, one JSON object a line."""
    yield json.dumps({"kind": "machine", **findings.facts})
    for phase, rounds in findings.rounds.items():
        yield from (json.dumps({"kind": "round", "phase": phase, **_rounded(one)}) for one in rounds)
    for name, seconds in findings.start_seconds.items():
        yield json.dumps({"kind": "start", "data": name, "seconds": [round(one, 3) for one in seconds]})
    for when, processes in findings.memory_bytes.items():
        yield json.dumps({"kind": "memory", "when": when, "bytes": processes})


def ratio(rounds: Mapping[str, Sequence[Round]], one: str, other: str) -> float | None:
    """The median over all rounds of a load's throughput to another's; None where one is missing."""
    pairs = zip(rounds.get(one, ()), rounds.get(other, ()), strict=False)
    quotients = [
        left.requests_per_second / right.requests_per_second
        for left, right in pairs
        if right.requests_per_second
    ]
    return median(quotients) if quotients else None


def cpu_ms(one: Round) -> float:
    """The processor time, in milliseconds, that serving one request took of all processes together."""
    serving_cores = sum(cores for name, cores in one.cores_used.items() if name != LOAD)
    return 1000 * serving_cores / one.requests_per_second if one.requests_per_second else 0.0


def limit(one: Round, cores_count: int) -> str:
    """What kept a load from being faster, as far as the processor times tell."""
    busiest = max(one.cores_used, key=lambda name: one.cores_used[name], default=LOAD)
    cores = one.cores_used.get(busiest, 0.0)
    part = one.machine_cores_used / cores_count
    if busiest not in _MANY_PROCESSES and cores >= _BUSY_CORES:
        what = f"{busiest}: its one thread had {cores:.2f} cores, the libraries' own threads counted in"
    elif part >= _BUSY_MACHINE:
        what = (
            f"the processor: {100 * part:.0f} % of {cores_count} cores were busy, most of all with {busiest}"
        )
    else:
        what = f"waiting for locks or the disk: {100 * part:.0f} % of the cores were busy"
    others = one.machine_cores_used - sum(one.cores_used.values())
    if others >= _WORTH_COMPLAINING * cores_count:
        what += f"; other programs took {others:.2f} cores from it"
    return what


def _ratios(findings: Findings) -> Iterator[str]:
    for one, other, why in RATIOS:
        value = ratio(findings.rounds, one, other)
        if value is not None:
            yield f"  {f'{one} / {other}':<27} {value:5.2f}   {why}"


def _table(findings: Findings) -> Iterator[str]:
    yield f"  {'':<13} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'cpu ms':>8}"
    for one in findings.chosen():
        times = " ".join(f"{ms:>8.2f}" for ms in (one.p50_ms, one.p99_ms, cpu_ms(one)))
        yield f"  {one.phase:<13} {one.requests_per_second:>10.0f} {times}   {TITLES[one.phase]}"


def _limits(findings: Findings) -> Iterator[str]:
    cores_count = int(findings.facts["cores"])
    for one in findings.chosen():
        yield f"  {one.phase:<13} {limit(one, cores_count)}"
        shares = sorted(one.cores_used.items(), key=lambda item: -item[1])
        named = ", ".join(f"{name} {cores:.2f}" for name, cores in shares if cores >= _WORTH_NAMING_CORES)
        yield f"  {'':<13} {named}; the machine {one.machine_cores_used:.2f} of {cores_count}"


def _starts(start_seconds: Mapping[str, Sequence[float]]) -> Iterator[str]:
    for name, seconds in start_seconds.items():
        every = ", ".join(f"{one:.2f}" for one in seconds)
        yield f"  {name + ' data directory':<20} {median(seconds):.2f}   ({every})"


def _memory(memory: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for processes in memory.values() for name in processes))
    if not names:
        return
    yield f"  {'':<12}" + "".join(f"{when:>14}" for when in memory)
    for name in names:
        sizes = (processes.get(name, {}).get("pss", 0) / _MIB for processes in memory.values())
        yield f"  {name:<12}" + "".join(f"{size:>14.1f}" for size in sizes)
    sums = (sum(one["pss"] for one in processes.values()) / _MIB for processes in memory.values())
    yield f"  {'together':<12}" + "".join(f"{size:>14.1f}" for size in sums)


def _rounded(one: Round) -> dict[str, Any]:
    """Without the digits that mean nothing."""
    return {name: _shortened(value) for name, value in asdict(one).items() if name != "phase"}


def _shortened(value: Any) -> Any:  # noqa: ANN401 - whatever a round holds
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _shortened(inner) for name, inner in value.items()}
    return value


def lines_of(parts: Iterable[str]) -> str:
    """Lines as a file has them."""
    return "".join(f"{part}\n" for part in parts)

"""The bench's own arithmetic: a figure that is computed wrongly is worse than none."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from chassis.signing import payload_message, verify
from chassis.testing.fakes import CountingIds, FakeClock
from edge.routes import load_methods
from tools.bench.floor_server import METHOD, SERVICE
from tools.bench.load import Recorder, quantile, summary
from tools.bench.phases import Round, chosen_round, http_request
from tools.bench.processes import cpu_seconds, facts, machine_busy_seconds, memory_bytes
from tools.bench.report import Findings, cpu_ms, json_lines, limit, ratio, text
from tools.bench.signed_load import signed_requests, signed_status
from tools.bench.stack import compile_descriptor
from tools.bench.verify_load import verification
from tools.bench.world import dealt

ROUND = Round(
    phase="balance",
    number=1,
    requests=1000,
    seconds=1.0,
    requests_per_second=1000.0,
    p50_ms=1.0,
    p99_ms=2.0,
    outcomes={"200": 1000},
    cores_used={"edge": 0.5, "wallet": 0.25, "load": 0.1},
    machine_cores_used=0.9,
)


def at(requests_per_second: float, number: int = 1, phase: str = "balance") -> Round:
    """A round of that speed."""
    return replace(ROUND, requests_per_second=requests_per_second, number=number, phase=phase)


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [
        ([], 0.5, 0),
        ([7], 0.99, 7),
        ([1, 2], 0.5, 1),
        ([1, 2, 3], 0.5, 2),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 102)), 0.99, 100),
        (list(range(1, 1001)), 0.5, 500),
    ],
)
def test_quantile_is_a_value_that_was_measured(values: list[int], part: float, expected: int) -> None:
    """The least value that at least that part does not exceed."""
    assert quantile(values, part) == expected


def test_summary_counts_per_second_of_the_window() -> None:
    """Throughput is over the time that was measured, latencies are in milliseconds."""
    assert summary([3_000_000, 1_000_000, 2_000_000], 0.5) == {
        "requests": 3,
        "seconds": 0.5,
        "requests_per_second": 6.0,
        "p50_ms": 2.0,
        "p99_ms": 3.0,
    }


def test_chosen_round_is_the_median_and_never_the_better_of_two() -> None:
    """One lucky round is not reported."""
    assert chosen_round([at(3.0), at(1.0), at(2.0)]).requests_per_second == 2.0
    assert chosen_round([at(2.0), at(1.0)]).requests_per_second == 1.0


def test_ratio_compares_neighbours_of_a_round() -> None:
    """A slow minute of the machine that meets both loads of a round changes no ratio."""
    rounds = {"balance": [at(100.0), at(10.0)], "floor": [at(400.0), at(40.0)]}
    assert ratio(rounds, "balance", "floor") == 0.25
    assert ratio(rounds, "balance", "pgbench") is None


@pytest.mark.parametrize(
    ("cores_used", "machine", "expected"),
    [
        ({"edge": 0.97, "wallet": 0.5}, 1.5, "edge: its one thread had 0.97 cores"),
        (
            {"edge": 0.7, "wallet": 0.6, "postgres": 0.6},
            1.95,
            "98 % of 2 cores were busy, most of all with edge",
        ),
        ({"postgres": 1.2, "load": 0.2}, 1.4, "waiting for locks or the disk: 70 % of the cores were busy"),
        ({"edge": 0.6}, 1.9, "; other programs took 1.30 cores from it"),
    ],
)
def test_limit_is_said_from_what_was_measured(
    cores_used: dict[str, float], machine: float, expected: str
) -> None:
    """A busy thread, busy cores, waiting, or somebody else: as the processor times have it."""
    assert expected in limit(replace(ROUND, cores_used=cores_used, machine_cores_used=machine), 2)


def test_limit_blames_nobody_else_when_the_rest_is_small() -> None:
    """What the kernel does on the side is not worth a word."""
    assert "other programs" not in limit(ROUND, 2)


def test_processor_time_of_a_request_leaves_out_the_load() -> None:
    """Making requests is not serving them."""
    assert cpu_ms(ROUND) == pytest.approx(0.75)


def test_failures_name_the_phase_when_an_answer_was_none() -> None:
    """Figures of refusals are never taken for figures of work, nor is silence."""
    findings = Findings({"cores": 2})
    findings.rounds = {
        "balance": [ROUND, replace(ROUND, number=2, outcomes={"200": 990, "429": 10})],
        "floor": [replace(ROUND, phase="floor", requests=0, outcomes={})],
    }
    assert list(findings.failures()) == [
        "balance, round 2: answers were {'200': 990, '429': 10}",
        "floor, round 1: answers were {}",
    ]


def test_page_has_the_ratios_first_and_every_line_of_the_rest_is_json() -> None:
    """A person reads the top, a program reads everything; neither finds where this was measured."""
    findings = Findings({"commit": "abc", **facts()})
    findings.rounds = {"balance": [at(250.0)], "floor": [at(1000.0, phase="floor")]}
    findings.start_seconds = {"new": [3.0, 2.0, 4.0]}
    findings.memory_bytes = {"when ready": {"edge": {"pss": 1 << 20, "rss": 2 << 20}}}
    page = text(findings)
    assert page.splitlines()[2].split()[:4] == ["balance", "/", "floor", "0.25"]
    assert "new data directory   3.00   (3.00, 2.00, 4.00)" in page
    lines = [json.loads(line) for line in json_lines(findings)]
    assert [line["kind"] for line in lines] == ["machine", "round", "round", "start", "memory"]
    for written in (page, *json_lines(findings)):
        assert socket.gethostname() not in written
        assert str(Path.cwd()) not in written


def test_kernel_s_figures_are_read_for_this_process() -> None:
    """Time and memory are there, and a process that is gone has used none."""
    assert 0 < cpu_seconds(os.getpid()) <= machine_busy_seconds()
    memory = memory_bytes(os.getpid())
    assert 1 << 20 < memory["pss"] <= memory["rss"]
    assert (cpu_seconds(2**30), memory_bytes(2**30)) == (0.0, {"pss": 0, "rss": 0})


def test_request_is_whole_as_it_goes_over_the_wire() -> None:
    """A body is announced with its length; without one there is nothing to announce."""
    request = http_request("POST", "/x", {"X-API-KEY": "k"}, {"a": 1})
    head, _, body = request.partition("\r\n\r\n")
    assert head.splitlines() == [
        "POST /x HTTP/1.1",
        "Host: 127.0.0.1",
        "X-API-KEY: k",
        "Content-Type: application/json",
        "Content-Length: 8",
    ]
    assert body == '{"a": 1}'
    assert http_request("GET", "/x", {}).endswith("\r\n\r\n")


def test_signed_requests_differ_in_their_ids_and_are_signed_by_their_key(
    ids: CountingIds,
) -> None:
    """Each of a connection's requests is a new one over the next of its bodies."""
    plan = {"audience": "bench", "path": "/x", "request_type": 1}
    account = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
    requests = signed_requests(plan, {"account_id": account, "seed": "07" * 32, "bodies": ["0a", "0b"]}, ids)
    sent = [json.loads(next(requests).partition(b"\r\n\r\n")[2]) for _ in range(3)]
    payloads = [base64.b64decode(one["payload"]) for one in sent]
    assert [payload[24:] for payload in payloads] == [b"\x0a", b"\x0b", b"\x0a"]
    assert len({payload[8:24] for payload in payloads}) == 3
    for one, payload in zip(sent, payloads, strict=True):
        message = payload_message("bench", uuid.UUID(account), payload)
        key, signature = base64.b64decode(one["public_key"]), base64.b64decode(one["signature"])
        assert verify(key, message, signature)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b'HTTP/1.1 200 OK\r\n\r\n{"success": true, "status": "request_completed"}', "request_completed"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"status":"rejected_scope","order":{"status":"OPEN"}}', "rejected_scope"),
        (b'HTTP/1.1 503 No\r\n\r\n{"error_code": "UNAVAILABLE"}', "503"),
    ],
)
def test_a_signed_answer_counts_as_what_became_of_the_request(answer: bytes, outcome: str) -> None:
    """A refusal that comes with 200 is none of the successes."""
    assert signed_status(answer) == outcome
    counted = replace(ROUND, outcomes={outcome: 1})
    assert counted.failed_count == (outcome != "request_completed")


@pytest.mark.parametrize("with_libsodium", [True, False])
def test_what_is_verified_is_a_good_signature(with_libsodium: bool) -> None:
    """A refused one would be another measurement."""
    assert verification(with_libsodium=with_libsodium)()


def test_requests_are_dealt_out_without_remainder_or_repeat() -> None:
    """Every connection has requests of its own."""
    assert dealt(["a", "b", "c", "d", "e"], 2) == [["a", "c", "e"], ["b", "d"]]


def test_floor_is_a_method_that_the_edge_serves_and_the_product_does_not(tmp_path: Path) -> None:
    """The empty method is compiled for the run, open to everybody, and in none of the product's files."""
    [method] = load_methods(compile_descriptor(tmp_path), [SERVICE])
    assert method.full_name == METHOD
    assert not method.accepts
    shipped = Path(__file__).parents[2] / "gen" / "sealgate.binpb"
    assert b"FloorService" not in shipped.read_bytes()


async def test_recorder_counts_only_what_comes_while_it_measures(
    clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither warming up nor the last answers after the end are counted; both ends are told at once."""
    recorder = Recorder(clock)
    measuring = asyncio.create_task(recorder.measure(1.0, 2.0))
    await asyncio.sleep(0)
    recorder.add(1_000_000, "200")
    clock.advance(seconds=1.0)
    await asyncio.sleep(0)
    recorder.add(2_000_000, "200")
    clock.advance(seconds=2.0)
    await measuring
    recorder.add(3_000_000, "200")
    recorder.tell_result()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in told] == ["measuring", "measured", "result"]
    assert not recorder.running
    assert (told[-1]["requests"], told[-1]["seconds"], told[-1]["outcomes"]) == (1, 2.0, {"200": 1})

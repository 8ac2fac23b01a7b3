"""`make bench`, short: every load can be run, and every answer under it is a success."""

from __future__ import annotations

import subprocess
import sys

from tools.bench.report import TITLES

SECONDS = 240


def test_bench_measures_every_load_when_it_is_run_briefly() -> None:
    """Each load comes to something; figures of so short a run say no more than that."""
    arguments = ["--rounds=1", "--seconds=0.4", "--warm-seconds=0", "--connections=4"]
    # Named one by one, so that starts are not measured: that would be two more of them.
    arguments += [f"--only={name}" for name in TITLES]
    run = subprocess.run(
        [sys.executable, "-m", "tools.bench", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Ratios ")
    table = run.stdout.partition("Loads ")[2].partition("What limited each")[0]
    measured = {line.split()[0]: float(line.split()[1]) for line in table.splitlines()[3:] if line}
    assert list(measured) == list(TITLES)
    assert min(measured.values()) > 0
    assert run.stderr == ""

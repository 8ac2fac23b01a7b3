"""Requests made up from the API's description, against a stack of their own; run by `make fuzz`.

Schemathesis makes them: valid ones, ones with one thing wrong, and sequences. Each answer is held against
the description that the stack itself serves. The same seed makes the same requests again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from chassis.methods import SIGNER_KINDS
from cli.data_directory import DataDirectory
from cli.rate_limits import RATE_CLASSES
from tests.described import DESCRIPTION
from tests.e2e.stack_process import StackProcess

ROOT: Final = Path(__file__).parents[1]
KINDS: Final = {
    "project": "PROJECT_KEY",
    "session": "ACCOUNT_SESSION",
    "key": "ACCOUNT_API_KEY",
    "page": "ACCOUNT_API_KEY",
    "nobody": None,
}
SIGNATURES: Final = {kind.name for kind in SIGNER_KINDS}
SEED: Final = 20_260_301
EXAMPLES_COUNT: Final = 10
LIMIT_PER_MINUTE_COUNT: Final = 1_000_000
# Past it a run has hung; each takes well under a minute.
RUN_SECONDS: Final = 300


def operations_for(kind: str | None) -> list[str]:
    """The operations that take a kind of credential; for None those that take none but signatures.

    Nothing here signs: what is sent to a signed route has to be refused.
    """
    taken = {
        operation["operationId"]: {*operation.get("x-sealgate-credentials", ())} - SIGNATURES
        for _, _, operation in DESCRIPTION.operations()
    }
    return [name for name, kinds in taken.items() if (kind in kinds if kind else not kinds)]


def fuzz(stack: StackProcess, kind: str, *, seed: int, examples_count: int) -> bool:
    """Whether every answer to one kind of credential was as described; schemathesis says what was not."""
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        "SEALGATE_FUZZ_BASE_URL": stack.base_url,
        "SEALGATE_FUZZ_OPERATOR": DataDirectory(stack.data).socket_target("wallet"),
        "SEALGATE_FUZZ_PROJECT_KEY": stack.ready["project_api_key"],
        "SEALGATE_FUZZ_KIND": kind,
    }
    arguments = [
        f"--seed={seed}",
        f"--max-examples={examples_count}",
        "--checks=all",
        "--exclude-checks=not_a_server_error,positive_data_acceptance",
        "--generation-database=none",
        "--generation-with-security-parameters=false",
        "--continue-on-failure",
        # That services refuse more than a schema can say is known.
        "--warnings=off",
        "--no-color",
        *(f"--include-operation-id={name}" for name in operations_for(KINDS[kind])),
        f"{stack.base_url}/openapi.json",
    ]
    command = (sys.executable, "-m", "schemathesis.cli", "run", *arguments)
    ended = subprocess.run(command, cwd=ROOT, env=environment, timeout=RUN_SECONDS, check=False)
    return ended.returncode == 0


def main() -> int:
    """Runs all kinds; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=SEED, help="other requests (default: %(default)s)")
    parser.add_argument(
        "--examples",
        type=int,
        default=EXAMPLES_COUNT,
        help="at most so many per route (default: %(default)s)",
    )
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this credential (default: all)")
    asked = parser.parse_args()
    limits = (f"--rate-limit={name}={LIMIT_PER_MINUTE_COUNT}" for name in RATE_CLASSES)
    failed = []
    with tempfile.TemporaryDirectory(prefix="sealgate-fuzz-") as scratch:
        stack = StackProcess(Path(scratch) / "data", *limits)
        try:
            stack.wait_until_ready()
            for kind in asked.kind or KINDS:
                print(f"\n== {kind}, seed {asked.seed}, {asked.examples} examples", flush=True)
                if not fuzz(stack, kind, seed=asked.seed, examples_count=asked.examples):
                    failed.append(kind)
        finally:
            stack.stop()
    for kind in failed:
        print(f"failed; again: make fuzz FUZZ_ARGS='--kind {kind} --seed {asked.seed}'", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

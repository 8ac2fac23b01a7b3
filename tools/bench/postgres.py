"""`pgbench` on the stack's own Postgres: what that server can commit in a second."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.db.embedded import SUPERUSER, find_binaries
from tools.bench.load import summary
from tools.bench.phases import Round, Watch

DATABASE: Final = "bench"
# Of 100,000 rows each: more clients than this would wait for one another's rows.
SCALE: Final = 5
_NANOSECONDS_PER_MICROSECOND: Final = 1000


def prepare(sockets: Path) -> None:
    """Makes the bench's database beside the stack's and fills it."""

    async def create() -> None:
        connection = await asyncpg.connect(host=str(sockets), user=SUPERUSER, database="postgres")
        try:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    asyncio.run(create())
    subprocess.run(
        (*_command(sockets), "--initialize", "--quiet", f"--scale={SCALE}", DATABASE),
        check=True,
        capture_output=True,
    )


@dataclass(frozen=True, slots=True)
class PgbenchPhase:
    """Its `simple-update` script: an update, a select and an insert, committed one by one."""

    sockets: Path
    scratch: Path
    clients_count: int
    name: str = "pgbench"

    def run(self, number: int, watch: Watch) -> Round:
        """See `Phase.run`; pgbench knows no warm-up, so its log is read from after it."""
        prefix = self.scratch / f"pgbench-{number}"
        whole_seconds = max(round(watch.warm_seconds + watch.seconds), 1)
        command = (
            *_command(self.sockets),
            "--builtin=simple-update",
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={self.clients_count}",
            f"--time={whole_seconds}",
            "--log",
            f"--log-prefix={prefix}",
            DATABASE,
        )
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            asyncio.run(watch.clock.sleep(watch.warm_seconds))
            begun_ns = watch.clock.now_ns()
            watch.begin(process.pid)
            seconds = max(whole_seconds - watch.warm_seconds - 0.1, 0.1)
            asyncio.run(watch.clock.sleep(seconds))
            used, machine = watch.end(process.pid)
            ended_ns = watch.clock.now_ns()
            process.wait(60.0)
        finally:
            process.kill()
            process.wait()
        took_ns = _logged(prefix.with_name(f"{prefix.name}.{process.pid}"), begun_ns, ended_ns)
        counted = summary(took_ns, (ended_ns - begun_ns) / NANOSECONDS_PER_SECOND)
        outcomes = {"OK": len(took_ns)}
        return Round(
            self.name, number, **counted, outcomes=outcomes, cores_used=used, machine_cores_used=machine
        )


def _command(sockets: Path) -> tuple[str, ...]:
    return (str(find_binaries() / "pgbench"), f"--host={sockets}", f"--username={SUPERUSER}")


def _logged(path: Path, begun_ns: int, ended_ns: int) -> list[int]:
    """What the transactions took that ended between the two times."""
    took_ns = []
    for line in path.read_text(encoding="ascii").splitlines():
        _client, _number, took_us, _script, epoch, epoch_us, *_ = line.split()
        at_ns = int(epoch) * NANOSECONDS_PER_SECOND + int(epoch_us) * _NANOSECONDS_PER_MICROSECOND
        if begun_ns <= at_ns < ended_ns:
            took_ns.append(int(took_us) * _NANOSECONDS_PER_MICROSECOND)
    return took_ns

"""What processes take of the machine, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")
_BYTES_PER_KIB: Final = 1024


def cores_count() -> int:
    """How many cores this process, and so what it starts, may use."""
    return len(os.sched_getaffinity(0))


def cpu_seconds(pid: int) -> float:
    """The processor time that a process and its children, ended or not, have used; 0.0 once it is gone.

    The children that still run are asked one by one: those of Postgres work on its behalf.
    """
    return sum(_own_cpu_seconds(one) for one in (pid, *_children(pid)))


def _own_cpu_seconds(pid: int) -> float:
    try:
        # The second field is a name in parentheses, which may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    # proc_pid_stat(5): utime, stime, and those of children that were waited for.
    return sum(int(field) for field in fields[11:15]) / _TICKS_PER_SECOND


def machine_busy_seconds() -> float:
    """The processor time that the whole machine has used, all cores together."""
    words = (_PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in words[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND


def memory_bytes(pid: int) -> dict[str, int]:
    """The resident memory of a process and its children: `pss`, which shares what is shared, and `rss`."""
    total = {"pss": 0, "rss": 0}
    for one in (pid, *_children(pid)):
        for name, size_bytes in _own_memory(one).items():
            total[name] += size_bytes
    return total


def _own_memory(pid: int) -> Mapping[str, int]:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        if name in ("Pss", "Rss"):
            found[name.lower()] = int(rest.split()[0]) * _BYTES_PER_KIB
    return found


def _children(pid: int) -> Iterable[int]:
    try:
        words = (_PROC / str(pid) / "task" / str(pid) / "children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(word) for word in words]


def facts() -> dict[str, str | int]:
    """What the machine is, without its name."""
    processor = "unknown"
    for line in (_PROC / "cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    total_kib = int((_PROC / "meminfo").read_text(encoding="ascii").split()[1])
    return {
        "cores": cores_count(),
        "processor": processor,
        "memory_mib": total_kib // 1024,
        "kernel": os.uname().release.split("-")[0],
    }

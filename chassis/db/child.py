"""Who a child process runs as, and the command that makes it die with its parent."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# <linux/capability.h>
_CAP_DAC_OVERRIDE: Final = 1
_CAP_DAC_READ_SEARCH: Final = 2

_LAUNCHER: Final = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class ChildUser:
    """Who a child of root runs as, and the one capability it keeps, if it needs one."""

    uid: int
    gid: int
    capability: int | None = None


def unprivileged_user(names: Iterable[str]) -> ChildUser | None:
    """The first of these users that this machine has."""
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ChildUser(entry.pw_uid, entry.pw_gid)
    return None


def missing_capability(user: ChildUser, program: Path, directories: Iterable[Path]) -> int | None:
    """The capability without which `user` could not run `program` or reach the directories.

    A clone below a directory of mode 0700 (/root, or one that mktemp made) is root's business; we do
    not open it up, but let the child through. The weaker capability, to search and read, is enough
    unless the program may be executed by its owner only. None if no capability is needed; raises
    PermissionError if one is and this process does not have it.
    """
    blocked = [path for path in (program, *directories) if not _reachable(path, user)]
    if not blocked and _allowed(program, user, stat.S_IROTH | stat.S_IXOTH):
        return None
    executable = _allowed(program, user, stat.S_IXOTH)
    candidates = (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if executable else (_CAP_DAC_OVERRIDE,)
    permitted = _permitted_capabilities()
    for capability in candidates:
        if permitted & (1 << capability):
            return capability
    raise PermissionError(f"user {user.uid} cannot reach {(blocked or [program])[0]}")


def launch_command(death_signal: int, user: ChildUser | None, command: Sequence[str]) -> list[str]:
    """A command that becomes `command`, run as `user`, to which the kernel sends `death_signal` when
    the parent ends.

    "Parent" is the thread that starts it, so start it from one that lasts as long as the process.
    """
    who = ""
    if user is not None:
        who = ":".join(str(number) for number in (user.uid, user.gid, user.capability) if number is not None)
    return [
        sys.executable,
        "-I",
        "-S",
        str(_LAUNCHER),
        str(int(death_signal)),
        str(os.getpid()),
        who,
        *command,
    ]


def _reachable(path: Path, user: ChildUser) -> bool:
    """Whether `user` may pass through every directory above `path`."""
    return all(_allowed(parent, user, stat.S_IXOTH) for parent in path.resolve().parents)


def _allowed(path: Path, user: ChildUser, bits: int) -> bool:
    """Whether the mode of `path` gives `user` these permissions, named as those of others."""
    status = path.stat()
    if status.st_uid == user.uid:
        bits <<= 6
    elif status.st_gid == user.gid:
        bits <<= 3
    return status.st_mode & bits == bits


def _permitted_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0

"""What a child process does between fork and exec: change its user, and die with its parent.

Everything that could fail to import or to compile is prepared before the fork; the child itself
only makes system calls.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# <linux/prctl.h>
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECUREBITS: Final = 28
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2

# <linux/securebits.h>: a change of the user leaves capabilities alone, and access(2), by which Postgres
# finds its own programs, takes them into account.
_SECBIT_NO_SETUID_FIXUP: Final = 1 << 2

# <linux/capability.h>
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_DAC_OVERRIDE: Final = 1
_CAP_DAC_READ_SEARCH: Final = 2

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_LIBC.prctl.restype = ctypes.c_int


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


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
    needed = stat.S_IROTH | stat.S_IXOTH
    blocked = [path for path in (program, *directories) if not _reachable(path, user)]
    if not blocked and _allowed(program, user, needed):
        return None
    executable = _allowed(program, user, stat.S_IXOTH)
    candidates = (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if executable else (_CAP_DAC_OVERRIDE,)
    permitted = _permitted_capabilities()
    for capability in candidates:
        if permitted & (1 << capability):
            return capability
    raise PermissionError(f"user {user.uid} cannot reach {(blocked or [program])[0]}")


def child_setup(death_signal: int, user: ChildUser | None) -> Callable[[], None]:
    """A `preexec_fn`: becomes `user`, and has the kernel send `death_signal` when the parent ends.

    "Parent" is the thread that forks, so fork from one that lasts as long as the process. The
    user changes first: the change clears the signal.
    """
    parent = os.getpid()
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    sets = (_CapabilityData * 2)()
    if user is not None and user.capability is not None:
        mask = 1 << user.capability
        sets[0] = _CapabilityData(mask, mask, mask)

    def setup() -> None:
        if user is not None:
            if user.capability is not None:
                _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
            os.setgroups([])
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
            if user.capability is not None:
                _check(_LIBC.capset(ctypes.byref(header), sets))
                _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, user.capability)
        _prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            # It ended before the kernel knew that we wanted to hear of it.
            os._exit(1)

    return setup


def _prctl(operation: int, first: int, second: int = 0) -> None:
    _check(_LIBC.prctl(operation, first, second, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "system call failed")


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

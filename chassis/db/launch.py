"""Becomes another program: as another user if asked, and only for as long as the parent lives.

Run as a script, `launch.py SIGNAL PARENT USER PROGRAM ARGUMENT…`, by a command that
`chassis.db.child.launch_command` makes. It is a program and not a function between fork and exec,
because a fork runs gRPC's handlers in the child, which crash it now and then when gRPC is in use.
It starts without site-packages and imports little: it costs some 20 ms.
"""

from __future__ import annotations

import ctypes
import os
import sys

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2

# <linux/securebits.h>: a change of the user leaves capabilities alone, and access(2), by which Postgres
# finds its own programs, takes them into account.
_SECBIT_NO_SETUID_FIXUP = 1 << 2

# <linux/capability.h>
_CAPABILITY_VERSION_3 = 0x20080522

_LIBC = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Does what the arguments say; ends with one line on stderr when it cannot."""
    death_signal, parent, user, *command = arguments
    try:
        if user:
            uid, gid, *capabilities = (int(number) for number in user.split(":"))
            become(uid, gid, capabilities)
        # After the change of the user, which clears it.
        prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != int(parent):
            sys.exit("the parent ended before this program began")
        os.execv(command[0], command)  # noqa: S606 - this is what we are for
    except OSError as error:
        sys.exit(
            f"cannot run {command[0]} as user {user.partition(':')[0] or os.geteuid()}: {error.strerror}"
        )


def become(uid: int, gid: int, capabilities: list[int]) -> None:
    """Changes the user for good, keeping at most one capability, which also outlasts the exec."""
    if capabilities:
        prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    for capability in capabilities:
        mask = 1 << capability
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        # Effective, permitted and inheritable, twice: of the lower 32 capabilities and of the upper.
        check(_LIBC.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)))
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def prctl(operation: int, first: int, second: int = 0) -> None:
    """One control of this process, with up to two arguments; raises OSError."""
    zero = ctypes.c_ulong(0)
    check(_LIBC.prctl(operation, ctypes.c_ulong(first), ctypes.c_ulong(second), zero, zero))


def check(result: int) -> None:
    """Raises OSError for the result of a system call that failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])

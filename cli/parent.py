"""How a child process learns of its parent's end, however that comes."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

# Passed on to a child, which asks the kernel to end it together with this very parent.
PARENT_VARIABLE: Final = "SEALGATE_PARENT_PID"
# <linux/prctl.h>
_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent_pid: int) -> None:
    """Has the kernel kill this process when its parent ends; ends it now if that has happened."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        # It ended before the kernel was asked.
        os.kill(os.getpid(), signal.SIGKILL)

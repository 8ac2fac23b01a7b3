"""A stack of the demo's own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from chassis.db.child import launch_command
from tools.demo.guide import SEALGATE, SurpriseError

STOP_SECONDS: Final = 60.0
# Of a withdrawal address, instead of a day: long enough to be seen.
ADDRESS_WAIT_SECONDS: Final = 4


@contextmanager
def own_stack(directory: Path) -> Iterator[Mapping[str, Any]]:
    """A stack in `directory` on ports that are free; gives the contents of its ready-file.

    It ends with the block, which no signal cuts short, and with this process however that ends. Raises
    SurpriseError when it does not start. For programs whose end is the end of the block.
    """
    ready_file = directory / "ready.json"
    arguments = ("up", "--data", directory / "data", "--http", "127.0.0.1:0", "--ready-file", ready_file)
    waits = ("--withdrawal-address-wait", str(ADDRESS_WAIT_SECONDS))
    command = launch_command(signal.SIGKILL, None, [str(part) for part in (*SEALGATE, *arguments, *waits)])
    # In a session of its own: Ctrl-C is for us, and we stop it in order.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        if not any(line.startswith("Sealgate is ready") for line in process.stdout):
            raise SurpriseError("the stack did not start")
        yield json.loads(ready_file.read_text(encoding="utf-8"))
    finally:
        ignore_signals()
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)


def ignore_signals() -> None:
    """From here on Ctrl-C and SIGTERM change nothing: the end is on its way, and is left to be whole."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

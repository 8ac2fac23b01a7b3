"""The programs a supervisor keeps running, and how one of them starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from cli.parent import PARENT_VARIABLE

ORPHAN_SECONDS: Final = 10.0


class ProgramError(Exception):
    """A program that could not be started; the text is for a person."""


class Program(Protocol):
    """Something that runs as a process of its own."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    async def start(self) -> int:
        """Starts it and answers its process id; raises ProgramError."""
        ...

    async def wait(self) -> int:
        """Returns its exit status (negative: the signal that ended it) once it has ended."""
        ...

    async def stop(self, grace_seconds: float) -> bool:
        """Asks it to end and returns when it has; False when it had to be killed."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class ServiceProgram:
    """A command as a child process in a session of its own, its output appended to a log file.

    The session keeps a terminal's Ctrl-C away from it: only the parent decides the order of the end.
    """

    def __init__(
        self, name: str, command: Sequence[str], log_file: Path, environment: Mapping[str, str]
    ) -> None:
        self._name = name
        self._command = tuple(command)
        self._log_file = log_file
        self._environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """See `Program.name`."""
        return self._name

    async def start(self) -> int:
        """See `Program.start`."""
        environment = self._environment | {PARENT_VARIABLE: str(os.getpid())}
        try:
            with self._log_file.open("ab") as log:
                # Here and not in a worker: a parent-death signal follows the thread that forked.
                self._child = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise ProgramError(f"{error.strerror or error}") from error
        return self._child.pid

    async def wait(self) -> int:
        """See `Program.wait`."""
        if self._child is None:
            return 0
        if self._child.poll() is None:
            await process_end(self._child.pid)
        return self._child.wait()

    async def stop(self, grace_seconds: float) -> bool:
        """See `Program.stop`; the request to end is SIGTERM."""
        if self._child is None or self._child.poll() is not None:
            return True
        self._child.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self.wait()
                return True
        self.kill()
        await self.wait()
        return False

    def kill(self) -> None:
        """See `Program.kill`."""
        if self._child is not None:
            self._child.kill()


class Cluster(Protocol):
    """A database cluster whose calls block."""

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while there is one."""
        ...

    def start(self) -> None:
        """Starts it and returns when it answers."""
        ...

    def stop(self) -> None:
        """Stops it in order and returns when it has ended."""
        ...

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        ...


class PostgresProgram:
    """The database cluster.

    It starts on the main thread, which meanwhile does nothing else: the kernel ties a child's life
    to the thread that forked it, and only the main thread lasts as long as the process.
    """

    def __init__(self, cluster: Cluster, data: Path, errors: tuple[type[Exception], ...]) -> None:
        self._cluster = cluster
        self._data = data
        self._errors = errors

    @property
    def name(self) -> str:
        """See `Program.name`."""
        return "postgres"

    async def start(self) -> int:
        """See `Program.start`; returns when the cluster takes connections."""
        await wait_for_orphan(self._data)
        try:
            self._cluster.start()
        except self._errors as error:
            raise ProgramError(str(error)) from error
        return self._cluster.pid or 0

    async def wait(self) -> int:
        """See `Program.wait`."""
        if self._cluster.pid is not None and self._cluster.poll() is None:
            await process_end(self._cluster.pid)
        return self._cluster.poll() or 0

    async def stop(self, grace_seconds: float) -> bool:
        """See `Program.stop`; the cluster bounds its own shutdown."""
        await asyncio.to_thread(self._cluster.stop)
        return True

    def kill(self) -> None:
        """See `Program.kill`; SIGQUIT makes the postmaster take its children with it."""
        if self._cluster.pid is not None and self._cluster.poll() is None:
            os.kill(self._cluster.pid, signal.SIGQUIT)


async def wait_for_orphan(data: Path) -> None:
    """Returns when no postmaster works in `data` any more, after a bounded time in any case.

    The data is under our lock, so it can only be one whose parent was killed a moment ago: the
    kernel has told it to shut down, and it may still be writing its checkpoint.
    """
    pid = _postmaster(data)
    if pid is None:
        return
    # Nothing to wait for, or no longer: whoever starts the cluster says what is wrong.
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        async with asyncio.timeout(ORPHAN_SECONDS):
            await process_end(pid)


def _postmaster(data: Path) -> int | None:
    """The process that the lock file in `data` names, if it is a living one that works there."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0])
        return pid if Path(f"/proc/{pid}/cwd").readlink() == data.resolve() else None
    except (OSError, ValueError):
        return None


async def process_end(pid: int) -> None:
    """Returns when a process has ended, leaving it to be reaped."""
    descriptor = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def finish() -> None:
        if not ended.done():
            ended.set_result(None)

    try:
        loop.add_reader(descriptor, finish)
        try:
            await ended
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


def describe_status(status: int) -> str:
    """What an exit status means, in words."""
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"

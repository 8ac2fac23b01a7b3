"""The programs a supervisor keeps running, and how one of them starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

# Passed on to a child, which asks the kernel to end it together with this very parent.
PARENT_VARIABLE: Final = "SEALGATE_PARENT_PID"


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

    def __init__(self, name: str, command: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> None:
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
                # From the main thread: a parent-death signal follows the thread that forked.
                self._child = subprocess.Popen(
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
    """The database cluster, driven from one thread that lives as long as this process.

    It must be one lasting thread: the kernel sends a parent-death signal when the thread that
    forked ends, not when its process does.
    """

    def __init__(self, cluster: Cluster, errors: tuple[type[Exception], ...]) -> None:
        self._cluster = cluster
        self._errors = errors
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="postgres")

    @property
    def name(self) -> str:
        """See `Program.name`."""
        return "postgres"

    async def start(self) -> int:
        """See `Program.start`; returns when the cluster takes connections."""
        try:
            await self._run(self._cluster.start)
        except self._errors as error:
            raise ProgramError(str(error)) from error
        if self._cluster.pid is None:
            raise ProgramError("it ended as soon as it had started")
        return self._cluster.pid

    async def wait(self) -> int:
        """See `Program.wait`."""
        pid = self._cluster.pid
        if pid is not None and self._cluster.poll() is None:
            await process_end(pid)
        return self._cluster.poll() or 0

    async def stop(self, grace_seconds: float) -> bool:
        """See `Program.stop`."""
        stopping = asyncio.ensure_future(self._run(self._cluster.stop))
        done, _ = await asyncio.wait({stopping}, timeout=grace_seconds)
        if done:
            stopping.result()
            return True
        self.kill()
        await stopping
        return False

    def kill(self) -> None:
        """See `Program.kill`; SIGQUIT makes the postmaster take its children with it."""
        pid = self._cluster.pid
        if pid is not None and self._cluster.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)

    async def _run(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call)


async def process_end(pid: int) -> None:
    """Returns when a child process has ended, leaving it to be reaped."""
    descriptor = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    try:
        loop.add_reader(descriptor, lambda: ended.done() or ended.set_result(None))
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

"""Keeps programs running: starts them again when they die, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from cli.programs import Program, ProgramError, describe_status

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 5.0
# A program that lived so long has recovered: its next death starts from the first delay again.
STEADY_AFTER_SECONDS: Final = 10.0


class Backoff:
    """How long to wait before a program that died is started again: doubling, bounded."""

    def __init__(self) -> None:
        self._next_seconds = FIRST_DELAY_SECONDS

    def after(self, lived_seconds: float) -> float:
        """The delay in seconds after a life of so many seconds."""
        if lived_seconds >= STEADY_AFTER_SECONDS:
            self._next_seconds = FIRST_DELAY_SECONDS
        delay = self._next_seconds
        self._next_seconds = min(2 * delay, LONGEST_DELAY_SECONDS)
        return delay


class Supervisor:
    """Owns running programs from their first start to their end.

    `report` gets one line for everything a person should know; `changed` is called whenever
    `pids` has changed after a restart.
    """

    def __init__(self, clock: Clock, report: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._report = report
        self._changed = changed
        self._programs: dict[str, Program] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self.pids: dict[str, int] = {}

    async def start(self, program: Program) -> None:
        """Starts a program and keeps it running from now on; raises ProgramError if it cannot start."""
        started_ns = self._clock.monotonic_ns()
        self._programs[program.name] = program
        self.pids[program.name] = await program.start()
        self._keepers[program.name] = asyncio.create_task(self._keep(program, started_ns))

    async def _keep(self, program: Program, started_ns: int) -> None:
        backoff = Backoff()
        name = program.name
        while True:
            status = await program.wait()
            what = f"{name} (pid {self.pids.pop(name)}) {describe_status(status)}"
            while name not in self.pids:
                lived_ns = self._clock.monotonic_ns() - started_ns
                delay = backoff.after(lived_ns / NANOSECONDS_PER_SECOND)
                self._report(f"{what}; starting it again in {delay:.1f} s")
                await self._clock.sleep(delay)
                started_ns = self._clock.monotonic_ns()
                try:
                    self.pids[name] = await program.start()
                except ProgramError as error:
                    what = f"{name} did not start ({error})"
            self._changed()
            self._report(f"{name} runs again (pid {self.pids[name]})")

    async def stop(self, steps: Sequence[tuple[str, float]]) -> None:
        """Ends programs one after the other; a step is a name and the seconds of grace it gets.

        Names that were never started are skipped.
        """
        for keeper in self._keepers.values():
            keeper.cancel()
        for keeper in self._keepers.values():
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        self._keepers.clear()
        for name, grace_seconds in steps:
            program = self._programs.get(name)
            if program is not None and not await program.stop(grace_seconds):
                self._report(f"{name} did not stop within {grace_seconds:g} s and was killed")

    def kill(self) -> None:
        """Ends everything at once."""
        for program in self._programs.values():
            program.kill()

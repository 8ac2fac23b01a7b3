"""The supervisor with real child processes: tiny ones, under a clock that the test moves."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.testing.fakes import FakeClock
from cli.programs import ProgramError, ServiceProgram, wait_for_orphan
from cli.supervisor import STEADY_AFTER_SECONDS, Backoff, Supervisor

PATIENT_SECONDS = 30.0
WAITS = "import signal; print('up', flush=True); signal.pause()"
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS


class Scene:
    """A supervisor, what it says, and programs for it."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.changes = 0
        self.supervisor = Supervisor(self.clock, self.lines.put_nowait, self._changed)
        self._directory = directory
        self._names: list[str] = []

    async def close(self) -> None:
        self.supervisor.kill()
        await self.supervisor.stop([(name, PATIENT_SECONDS) for name in self._names])

    def _changed(self) -> None:
        self.changes += 1

    def program(self, name: str, code: str = WAITS, executable: str = sys.executable) -> ServiceProgram:
        self._names.append(name)
        return ServiceProgram(name, (executable, "-c", code), self.log(name), os.environ)

    def log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    async def line(self) -> str:
        return await asyncio.wait_for(self.lines.get(), PATIENT_SECONDS)

    async def until_up(self, name: str) -> None:
        """Returns when the program has printed its first line, so that its signal handlers stand."""
        async with asyncio.timeout(PATIENT_SECONDS):
            while not self.log(name).read_text(encoding="utf-8"):
                await asyncio.to_thread(os.sched_yield)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    await made.close()


def ended(pid: int) -> bool:
    """Whether a process that is not our child ends in good time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENT_SECONDS)[0])
    finally:
        os.close(descriptor)


def test_backoff_doubles_to_a_bound_when_lives_are_short() -> None:
    """A program that keeps dying is started ever more rarely, but at least every five seconds."""
    backoff = Backoff()
    assert [backoff.after(0.0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_backoff_starts_over_when_a_life_was_long() -> None:
    """One death after a long life is no reason to wait."""
    backoff = Backoff()
    for _ in range(8):
        backoff.after(0.0)
    assert backoff.after(STEADY_AFTER_SECONDS - 0.001) == 5.0
    assert backoff.after(STEADY_AFTER_SECONDS) == 0.1


async def test_supervisor_starts_a_program_again_when_it_was_killed(scene: Scene) -> None:
    """A death is said in one line, the program is back after the delay, and its new id is known."""
    await scene.supervisor.start(scene.program("auth"))
    first = scene.supervisor.pids["auth"]
    os.kill(first, signal.SIGKILL)
    assert await scene.line() == f"auth (pid {first}) was ended by SIGKILL; starting it again in 0.1 s"
    assert "auth" not in scene.supervisor.pids
    scene.clock.advance(seconds=0.1)
    assert await scene.line() == f"auth runs again (pid {scene.supervisor.pids['auth']})"
    assert scene.supervisor.pids["auth"] != first
    assert scene.changes == 1


async def test_supervisor_waits_longer_when_a_program_keeps_dying(scene: Scene) -> None:
    """The delays grow from death to death."""
    await scene.supervisor.start(scene.program("auth", "raise SystemExit(3)"))
    for delay in (0.1, 0.2, 0.4):
        line = await scene.line()
        assert line.endswith(f"ended with exit code 3; starting it again in {delay} s")
        scene.clock.advance(seconds=delay)
        assert "runs again" in await scene.line()


async def test_supervisor_tries_again_when_a_start_fails(scene: Scene, tmp_path: Path) -> None:
    """A start that fails counts as a short life: it is said and tried again."""
    executable = tmp_path / "python"
    executable.symlink_to(sys.executable)
    await scene.supervisor.start(scene.program("auth", executable=str(executable)))
    executable.unlink()
    os.kill(scene.supervisor.pids["auth"], signal.SIGKILL)
    assert "was ended by SIGKILL" in await scene.line()
    scene.clock.advance(seconds=0.1)
    assert await scene.line() == "auth did not start (No such file or directory); starting it again in 0.2 s"
    executable.symlink_to(sys.executable)
    scene.clock.advance(seconds=0.2)
    assert "runs again" in await scene.line()


async def test_supervisor_raises_when_the_first_start_fails(scene: Scene) -> None:
    """What cannot start at all is the caller's to know."""
    with pytest.raises(ProgramError, match="No such file"):
        await scene.supervisor.start(scene.program("auth", executable="/nowhere/python"))


async def test_supervisor_stops_programs_one_after_the_other_when_told(scene: Scene) -> None:
    """The next program is asked to end only when the one before it is gone."""
    says_what_lives = (
        "import os, signal, sys\n"
        "def end(*_):\n"
        "    print(os.path.exists(f'/proc/{os.environ[\"OTHER\"]}'), flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n" + WAITS
    )
    first = scene.program("first", IGNORES_SIGTERM.replace("SIG_IGN", "default_int_handler"))
    await scene.supervisor.start(first)
    environment = {**os.environ, "OTHER": str(scene.supervisor.pids["first"])}
    command = (sys.executable, "-c", says_what_lives)
    await scene.supervisor.start(ServiceProgram("second", command, scene.log("second"), environment))
    await scene.until_up("first")
    await scene.until_up("second")
    await scene.supervisor.stop([("first", PATIENT_SECONDS), ("second", PATIENT_SECONDS)])
    assert scene.log("second").read_text(encoding="utf-8").splitlines() == ["up", "False"]
    assert scene.lines.empty()


async def test_supervisor_kills_a_program_when_it_does_not_stop(scene: Scene) -> None:
    """A program that ignores the request to end costs its grace and no more, and it is said."""
    await scene.supervisor.start(scene.program("auth", IGNORES_SIGTERM))
    await scene.until_up("auth")
    pid = scene.supervisor.pids["auth"]
    await scene.supervisor.stop([("auth", 0.05)])
    assert ended(pid)
    assert await scene.line() == "auth did not stop within 0.05 s and was killed"


async def test_supervisor_starts_nothing_again_when_it_is_stopping(scene: Scene) -> None:
    """A death in the course of the end is no accident."""
    await scene.supervisor.start(scene.program("auth"))
    await scene.supervisor.stop([("auth", PATIENT_SECONDS)])
    scene.clock.advance(seconds=60)
    assert scene.lines.empty()


async def test_start_waits_when_an_orphan_still_works_in_the_data(tmp_path: Path) -> None:
    """A server whose parent was killed a moment ago gets the time to write its checkpoint."""
    command = (sys.executable, "-c", WAITS)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as orphan:  # noqa: ASYNC220
        (tmp_path / "postmaster.pid").write_text(f"{orphan.pid}\n{tmp_path}\n", encoding="ascii")
        waiting = asyncio.create_task(wait_for_orphan(tmp_path))
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        orphan.kill()
        await asyncio.wait_for(waiting, PATIENT_SECONDS)


async def test_start_does_not_wait_when_the_lock_file_names_a_stranger(tmp_path: Path) -> None:
    """A number that another process got since, or no number at all, costs no time."""
    for text in (f"{os.getpid()}\n", "999999999\n", "", "?"):
        (tmp_path / "postmaster.pid").write_text(text, encoding="ascii")
        await asyncio.wait_for(wait_for_orphan(tmp_path), 0.5)


def test_children_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    """Kill -9 of the parent leaves no child running, also not one that ignores requests to end."""
    child = (
        "import os; from cli.parent import PARENT_VARIABLE, end_with_parent; "
        "end_with_parent(int(os.environ[PARENT_VARIABLE])); " + IGNORES_SIGTERM
    )
    parent = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from chassis.clock import SystemClock\n"
        "from cli.programs import ServiceProgram\n"
        "from cli.supervisor import Supervisor\n"
        "async def main():\n"
        "    supervisor = Supervisor(SystemClock(), print, print)\n"
        "    for name in ('one', 'two'):\n"
        "        command = (sys.executable, '-c', sys.argv[1])\n"
        "        log = Path(sys.argv[2]) / name\n"
        "        os.mkfifo(log)\n"
        "        reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)\n"
        "        os.set_blocking(reader, True)\n"
        "        await supervisor.start(ServiceProgram(name, command, log, os.environ))\n"
        "        os.read(reader, 2)\n"
        "    print(*supervisor.pids.values(), flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, child, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        process.kill()
    assert len(pids) == 2
    assert all(ended(pid) for pid in pids)


def test_child_ends_at_once_when_its_parent_is_gone_already() -> None:
    """A parent that died before the kernel was asked is noticed all the same."""
    code = "from cli.parent import end_with_parent; end_with_parent(1); print('alive')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (-signal.SIGKILL, "")

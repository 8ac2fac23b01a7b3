"""The pytest plugin: fixtures `postgres`, `database_factory`, `clock` and `ids`.

Loaded by `-p chassis.testing.plugin`. Each xdist worker has a Postgres of its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from chassis.db.embedded import EmbeddedPostgres
from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds, FakeClock

_PREFIX: Final = "sealgate-test-"

# What one worker's server needs at most, with room to spare.
_MEMORY_MIN_BYTES: Final = 1 << 30


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until it is moved."""
    return FakeClock()


@pytest.fixture
def ids(clock: FakeClock) -> CountingIds:
    """Identifiers that are the same in every run."""
    return CountingIds(clock)


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """A private directory, in memory if there is enough, with a path that leaves room for a socket's name.

    Pytest's own temporary directories and TMPDIR may be too long for the 107 bytes of a socket's path.
    """
    base = _base_directory()
    _remove_abandoned(base)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    lock = _lock(directory)
    yield directory
    shutil.rmtree(directory)
    if lock is not None:
        os.close(lock)


@pytest.fixture(scope="session")
def postgres(short_directory: Path) -> Iterator[EmbeddedPostgres]:
    """The worker's server; its data goes with it."""
    server = EmbeddedPostgres(short_directory / "data", short_directory / "run", durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template_databases(postgres: EmbeddedPostgres) -> TemplateDatabases:
    """The templates from which `database_factory` copies."""
    return TemplateDatabases(postgres)


@pytest.fixture
async def database_factory(template_databases: TemplateDatabases) -> AsyncIterator[DatabaseFactory]:
    """Makes fresh databases, dropped after the test; see `DatabaseFactory`."""
    factory = DatabaseFactory(template_databases)
    yield factory
    await factory.close()


def _base_directory() -> Path:
    """Shared memory where it is large enough: a copy of a template is ten times faster there."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private directory in it
    try:
        free_bytes = shutil.disk_usage(memory).free
    except OSError:
        free_bytes = 0
    if free_bytes >= _MEMORY_MIN_BYTES and os.access(memory, os.W_OK):
        return memory
    return Path("/tmp")  # noqa: S108 - the same


def _remove_abandoned(base: Path) -> None:
    """Removes what killed runs left: memory in use until the machine starts again."""
    for directory in base.glob(f"{_PREFIX}*"):
        if directory.stat().st_uid != os.geteuid():
            continue
        lock = _lock(directory)
        if lock is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def _lock(directory: Path) -> int | None:
    """Takes the lock of a run's directory for as long as this process lives; None if it is taken."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor

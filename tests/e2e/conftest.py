"""One stack that all end-to-end tests share, and further ones for those that break things."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.stack_process import UNLIMITED, StackProcess

StackMaker = Callable[..., StackProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps these tests on one worker: they share a stack, and load one another's machine."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("e2e"))
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def e2e_directory() -> Iterator[Path]:
    """A place with a short name, because sockets will be in it."""
    directory = Path(tempfile.mkdtemp(prefix="sealgate-e2e-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def shared_stack(e2e_directory: Path) -> Iterator[StackProcess]:
    """A seeded stack for tests that leave it as healthy as they found it."""
    stack = StackProcess(e2e_directory / "shared", *UNLIMITED)
    try:
        yield stack.wait_until_ready()
    finally:
        stack.stop()


@pytest.fixture(autouse=True)
def books_are_clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Audits the shared stack after every test that used it; every other one is audited when it stops."""
    stack = request.getfixturevalue("shared_stack") if "shared_stack" in request.fixturenames else None
    yield
    if stack is not None:
        stack.check_books()


_numbers = itertools.count(1)


@pytest.fixture
def start_stack(e2e_directory: Path) -> Iterator[StackMaker]:
    """Starts stacks of a test's own, on new data unless told otherwise; they end with the test."""
    started: list[StackProcess] = []

    def start(*arguments: str, data: Path | None = None) -> StackProcess:
        stack = StackProcess(data or e2e_directory / f"own-{next(_numbers)}", *arguments)
        started.append(stack)
        return stack

    yield start
    for stack in started:
        stack.stop()

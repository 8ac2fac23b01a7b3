"""How the house writes Python and SQL."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.architecture.guards import (
    AMBIENT,
    PROCESSES,
    ROOT,
    ambient_sql,
    call_status_changes,
    committed_files,
    composed_log_lines,
    forbidden_names,
    imported_modules,
    long_parts,
    name_of,
    python_files,
    sleeps,
    sql_texts,
)

CALL_STATUS_OWNERS = frozenset({"chassis/rpc/errors.py"})
# A domain is rules: the language, and these of the chassis.
DOMAIN_MAY_IMPORT = frozenset(
    f"chassis.{name}" for name in ("clock", "errors", "ids", "limits", "origins", "secrets", "signing")
)
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/__init__.py"))


def read(path: Path) -> str:
    """The text of a source file."""
    return path.read_text(encoding="utf-8")


def test_functions_files_and_lines_are_short() -> None:
    """Over 70 lines a function, over 500 a file, over 110 characters a line wants splitting."""
    offences = [
        f"{name_of(path)}: {what}" for path in python_files(*PROCESSES) for what in long_parts(read(path))
    ]
    assert offences == []


def test_time_chance_and_waiting_are_arguments_outside_of_the_chassis() -> None:
    """Nobody but the chassis asks the machine for the time, a random number or a pause."""
    offences = [
        f"{name_of(path)}: {what}"
        for path in python_files("services", "edge", "cli")
        for what in forbidden_names(read(path), AMBIENT)
    ]
    assert offences == []


def test_chassis_asks_the_machine_in_two_modules_only() -> None:
    """Inside of the chassis too, time comes from `clock` and chance from `ids`."""
    offences = [
        f"{name_of(path)}: {what}"
        for path in python_files("chassis")
        for what in forbidden_names(read(path), AMBIENT)
        if name_of(path) not in ("chassis/clock.py", "chassis/ids.py")
    ]
    # The wall clock of a child process, which is no part of any test's world.
    assert [item for item in offences if not item.startswith("chassis/db/embedded.py")] == []


def test_client_asks_the_machine_in_one_module_only() -> None:
    """Outside of `machine` the client takes time, chance and pauses from an argument."""
    offences = [
        f"{name_of(path)}: {what}"
        for path in python_files("client")
        for what in forbidden_names(read(path), AMBIENT)
    ]
    assert [item for item in offences if not item.startswith("client/sealgate/client/machine.py")] == []
    assert offences != []


def test_tests_never_sleep() -> None:
    """A test that sleeps is slow on a good day and wrong on a bad one."""
    offences = [f"{name_of(path)}: {what}" for path in python_files("tests") for what in sleeps(read(path))]
    assert offences == []


def test_calls_end_in_one_place_only() -> None:
    """Handlers raise; only the translator of errors writes a call's status."""
    offences = [
        f"{name_of(path)}: {what}"
        for path in python_files("chassis/rpc", "services")
        if name_of(path) not in CALL_STATUS_OWNERS
        for what in call_status_changes(read(path))
    ]
    assert offences == []


def test_log_lines_have_a_fixed_text() -> None:
    """Values go into the fields of an event, where they are looked at, and never into its text."""
    offences = [
        f"{name_of(path)}: {what}"
        for path in python_files(*PROCESSES)
        if name_of(path) != "chassis/log.py"
        for what in composed_log_lines(read(path))
    ]
    assert offences == []


@pytest.mark.parametrize("service", SERVICES)
def test_domain_imports_rules_only(service: str) -> None:
    """The domain stands on the standard library and a few words of the chassis, by list and not by taste."""
    own = f"services.{service}.domain"
    offences = [
        f"{name_of(path)}: {module}"
        for path in python_files(f"services/{service}/domain")
        for module in imported_modules(read(path))
        if module.partition(".")[0] not in sys.stdlib_module_names
        and module not in DOMAIN_MAY_IMPORT
        and not f"{module}.".startswith(f"{own}.")
    ]
    assert offences == []


COMPARES_CLOCKS = "chassis/db/migrate.py"


def test_sql_takes_time_and_chance_as_arguments() -> None:
    """No `now()`, no `random()`, no timestamp column: times are nanoseconds that the caller brings.

    One statement compares the caller's clock with the database's, and needs both for that.
    """
    offences = [
        f"{name_of(path)}: {what}"
        for path in committed_files()
        if path.suffix == ".sql"
        for what in ambient_sql(read(path))
    ]
    offences += [
        f"{name_of(path)}: {what}"
        for path in python_files(*PROCESSES)
        if name_of(path) != COMPARES_CLOCKS
        for text in sql_texts(read(path))
        for what in ambient_sql(text)
    ]
    assert offences == []


@pytest.mark.parametrize("service", SERVICES)
def test_service_has_the_files_that_every_service_has(service: str) -> None:
    """A reader who knows one service knows where to look in the others."""
    directory = ROOT / "services" / service
    names = {path.name for path in directory.iterdir()}
    expected = {"README.md", "app.py", "config.py", "domain", "ports.py", "storage.py"}
    expected |= {"queries.sql", "schema.sql", "migrations"}
    assert expected - names == set()
    assert (directory / "transport" / "__init__.py").exists()
    assert (directory / "migrations" / "0001_initial.sql").exists()


def test_guard_of_lengths_sees_what_is_too_long() -> None:
    """A planted offence of each kind is found, and its shorter neighbour is not."""
    body = "    x = 1\n" * 69
    assert list(long_parts(f"def short():\n{body}")) == []
    assert list(long_parts(f"async def long():\n{body}    y = 1\n")) == ["long has 71 lines"]
    assert list(long_parts("x = 1\n" * 501)) == ["501 lines"]
    assert list(long_parts("x = '" + "a" * 105 + "'\n")) == ["line 1 has 111 characters"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", "time.time"),
        ("import time as clock\nclock.monotonic_ns()", "time.monotonic_ns"),
        ("from time import time as t\nt()", "time.time"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import UTC, datetime\ndatetime.now(UTC)", "datetime.datetime.now"),
        ("from datetime import date\ndate.today()", "datetime.date.today"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4"),
        ("from uuid import uuid7\ndefault = uuid7", "uuid.uuid7"),
        ("import os\nos.urandom(8)", "os.urandom"),
        ("import random\nrandom.choice([1])", "random.choice"),
        ("from random import Random\nRandom()", "random.Random"),
        ("import secrets\nsecrets.token_bytes()", "secrets.token_bytes"),
        ("import asyncio\nawait asyncio.sleep(0)", "asyncio.sleep"),
        ("from asyncio import sleep as nap\nawait nap(1)", "asyncio.sleep"),
    ],
)
def test_guard_of_ambient_calls_sees_them_under_any_name(source: str, found: str) -> None:
    """However it was imported, asking the machine is found."""
    assert found in [offence.partition(": ")[2] for offence in forbidden_names(source, AMBIENT)]


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.fromtimestamp(1)",
        "async def wait(clock):\n    await clock.sleep(1)",
        "from chassis.secrets import parse_secret_key\nparse_secret_key('x')",
        "import asyncio\nasyncio.timeout(1)",
        "import uuid\nuuid.UUID(int=0)",
        "# time.time()\ntext = 'time.time()'",
    ],
)
def test_guard_of_ambient_calls_leaves_others_alone(source: str) -> None:
    """A clock that is an argument is what the house wants."""
    assert list(forbidden_names(source, AMBIENT)) == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT now()",
        "SELECT Now ( )",
        "VALUES (CURRENT_TIMESTAMP)",
        "DEFAULT gen_random_uuid()",
        "created_at timestamptz",
        "SELECT clock_timestamp() AS t",
        "ORDER BY random()",
    ],
)
def test_guard_of_sql_sees_time_and_chance(text: str) -> None:
    """Whatever the case and the spaces."""
    assert len(list(ambient_sql(text))) == 1


@pytest.mark.parametrize(
    "text",
    ["SELECT now_ns", "-- never now()\nSELECT 1", "SELECT 'now()'", "created_at_ns bigint", "/* now() */"],
)
def test_guard_of_sql_leaves_others_alone(text: str) -> None:
    """Comments and literals may say the word."""
    assert list(ambient_sql(text)) == []


def test_guard_of_sleeps_sees_a_pause_and_not_a_yield() -> None:
    """Letting others run is no sleep."""
    assert list(sleeps("import asyncio\nasyncio.sleep(0)")) == []
    assert list(sleeps("import asyncio\nasyncio.sleep(0.1)")) == ["line 2: asyncio.sleep"]
    assert list(sleeps("import time\nwait = time.sleep")) == ["line 2: time.sleep"]


def test_guard_of_log_lines_sees_a_text_that_is_put_together() -> None:
    """Arguments and f-strings are found; a fixed text with an exception beside it is not."""
    assert list(composed_log_lines("_logger.error('failed: %s', error)")) == ["line 1: _logger.error"]
    assert list(composed_log_lines("_logger.info(f'{x}')")) == ["line 1: _logger.info"]
    assert list(composed_log_lines("_logger.error('failed', exc_info=error)")) == []
    assert list(composed_log_lines("log_event(_logger, logging.INFO, 'call', took=1)")) == []


def test_guard_of_call_status_sees_a_handler_that_ends_its_call() -> None:
    """An `abort` in a handler is found."""
    assert list(call_status_changes("await context.abort(code, 'text')")) == ["line 1: .abort"]

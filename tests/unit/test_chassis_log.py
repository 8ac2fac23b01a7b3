"""Log lines: one JSON object each, with the request's id and without secrets."""

from __future__ import annotations

import io
import json
import logging
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chassis.log import JsonFormatter, configure_logging, describe, log_event, redact
from chassis.rpc import context as request_context

REQUEST_ID = uuid.UUID("0189abcd-0000-7000-8000-0000000000aa")
SECRET = "sk_nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DLc62c"
TOKEN = "eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl-_A"
DSN = "postgresql://sealgate:hunter2@db.internal:5432/auth?sslmode=require"


class Lines:
    """A logger and the lines it wrote."""

    def __init__(self, logger: logging.Logger, stream: io.StringIO) -> None:
        self.logger = logger
        self._stream = stream

    def raw(self) -> str:
        """All that was written."""
        return self._stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        """Every line as an object."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in self.raw().splitlines()]

    def only(self) -> dict[str, Any]:
        """The one line there is."""
        [line] = self.all()
        return line


class StrictStream(io.StringIO):
    """Takes what a UTF-8 stream takes, and fails where that would fail."""

    def write(self, text: str) -> int:
        """See `io.StringIO`."""
        text.encode("utf-8")
        return super().write(text)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """A logger whose lines go nowhere else."""
    stream = StrictStream()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("auth"))
    logger = logging.Logger("chassis.test")
    logger.addHandler(handler)
    raise_exceptions, logging.raiseExceptions = logging.raiseExceptions, True
    yield Lines(logger, stream)
    logging.raiseExceptions = raise_exceptions


def test_line_has_time_level_service_logger_and_message(lines: Lines) -> None:
    """What every line has, in names that do not change."""
    lines.logger.warning("something %s", "happened")
    line = lines.only()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "service": "auth",
        "logger": "chassis.test",
        "message": "something happened",
    }


def test_line_has_the_request_id_when_a_request_is_served(lines: Lines) -> None:
    """Inside a request the line can be found by its id; outside there is none."""
    token = request_context._current.set(request_context.RequestContext(REQUEST_ID))
    lines.logger.info("inside")
    request_context._current.reset(token)
    lines.logger.info("outside")
    inside, outside = lines.all()
    assert inside["request_id"] == str(REQUEST_ID)
    assert "request_id" not in outside


def test_line_has_the_fields_of_an_event(lines: Lines) -> None:
    """Numbers stay numbers, nothing stays null, the rest is text."""
    log_event(lines.logger, logging.INFO, "call", took_us=12, ratio=0.5, who=REQUEST_ID, none=None, ok=True)
    line = lines.only()
    fields = {name: line[name] for name in ("took_us", "ratio", "who", "none", "ok")}
    assert fields == {"took_us": 12, "ratio": 0.5, "who": str(REQUEST_ID), "none": None, "ok": True}


def test_event_costs_no_line_when_its_level_is_off(lines: Lines) -> None:
    """A debug event on a quiet logger writes nothing."""
    lines.logger.setLevel(logging.INFO)
    log_event(lines.logger, logging.DEBUG, "call")
    assert lines.raw() == ""


class HostileError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Hostile:
    """A value that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("two\nlines\r\nand\u2028more", ()),
        ("\x00\x1b[31m\x7f", ()),
        ("lone surrogate \udcff", ()),
        ("not ASCII: €🙂", ()),
        ('"quotes" and \\ backslashes', ()),
        ("%d is no number", ("x",)),
        ("%s too few", ()),
        ("too many", ("x", "y")),
        ("%s %s", ("one",)),
        ("%(name)s", ({"other": 1},)),
        ("%(name)s", ({"name": "x"},)),
        ("100%", ("x",)),
        ("%s", (Hostile(),)),
        (Hostile(), ()),
        (None, ()),
        (b"bytes", ()),
        ({"a": 1}, ()),
        ("", ()),
    ],
)
def test_every_record_is_one_json_line_whatever_is_logged(
    lines: Lines, message: object, arguments: tuple[object, ...]
) -> None:
    """Nobody's message breaks a line, loses it or makes it unreadable."""
    lines.logger.warning(message, *arguments)
    assert lines.raw().endswith("\n")
    assert lines.raw().isascii()
    assert isinstance(lines.only()["message"], str)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), 10**400, "a\nb", "\udcff", b"\xff", Hostile(), [1], {"a": 1}],
)
def test_every_field_is_json_whatever_its_value_is(lines: Lines, value: object) -> None:
    """A field of any type leaves the line readable by any JSON reader."""
    log_event(lines.logger, logging.INFO, "event", field=value)
    assert "field" in lines.only()


@pytest.mark.parametrize("text", [SECRET, "dk_" + SECRET[3:], TOKEN, DSN, DSN.replace("ql", ""), SECRET[:20]])
@pytest.mark.parametrize("frame", ["{}", "before {} after", "'{}'", "key={};", "({})", "x{}"])
def test_secret_is_blanked_when_a_message_or_field_holds_one(lines: Lines, text: str, frame: str) -> None:
    """Keys, tokens and DSNs do not pass, wherever in a text they stand, whole or cut short."""
    lines.logger.info(frame.format(text))
    lines.logger.info("%s", frame.format(text))
    log_event(lines.logger, logging.INFO, "event", field=frame.format(text))
    assert "[redacted]" in lines.raw()
    assert text[5:17] not in lines.raw()
    assert "hunter2" not in lines.raw()


@pytest.mark.parametrize("text", ["password=hunter2", "Password = hunter2", "user=x PASSWORD=hunter2 host=y"])
def test_password_is_blanked_when_a_connection_text_holds_one(text: str) -> None:
    """The other way to write a DSN is covered too."""
    assert "hunter2" not in redact(text)


@pytest.mark.parametrize("text", ["pk_nWGxne_9WmC6hEr0kuwsxERJxWl7", str(REQUEST_ID), "task_list", "risk_of"])
def test_text_is_left_alone_when_it_is_no_secret(text: str) -> None:
    """Public names stay, so that lines stay useful."""
    assert redact(text) == text


def test_exception_is_described_without_its_text(lines: Lines) -> None:
    """Type, what caused it and where it passed; never what it says."""

    def fail() -> None:
        try:
            raise KeyError("hunter2-inner")
        except KeyError as error:
            raise ValueError("hunter2-outer") from error

    try:
        fail()
    except ValueError:
        lines.logger.exception("it broke")
    line = lines.only()
    assert line["error"]["type"] == "ValueError"
    assert line["error"]["caused_by"] == ["KeyError"]
    assert [place.rpartition(":")[2] for place in line["error"]["at"]] == [
        "test_exception_is_described_without_its_text",
        "fail",
    ]
    assert "hunter2" not in lines.raw()


def test_exception_is_named_by_its_type_when_it_is_the_message_or_a_field(lines: Lines) -> None:
    """Whoever logs an exception itself writes its type."""
    lines.logger.error(ValueError("hunter2"))
    lines.logger.error(HostileError())
    log_event(lines.logger, logging.ERROR, "failed", error_was=ValueError("hunter2"))
    assert "hunter2" not in lines.raw()
    assert lines.raw().count("ValueError") == 2
    assert lines.raw().count("HostileError") == 1


@pytest.mark.parametrize(
    ("name", "message", "arguments", "written"),
    [
        ("grpc._cython.cygrpc", "Invalid encoding on %s", (b"hunter2",), "Invalid encoding on %s"),
        ("asyncpg.pool", "failed: %r", (ValueError("hunter2"),), "failed: %r"),
        (
            "asyncio",
            "Task exception was never retrieved\nfuture: <Task exception=ValueError('hunter2')>",
            (),
            "Task exception was never retrieved",
        ),
        ("servicesx", "%s", ("hunter2",), "%s"),
        ("", "%s", ("hunter2",), "%s"),
    ],
)
def test_line_of_a_library_is_its_fixed_text_only(
    name: str, message: str, arguments: tuple[object, ...], written: str
) -> None:
    """What a library puts into its text, or into further lines, is whatever it had in hand."""
    record = logging.LogRecord(name, logging.ERROR, "x.py", 1, message, arguments, None)
    line = JsonFormatter("auth").format(record)
    assert json.loads(line)["message"] == written
    assert "hunter2" not in line


def test_description_ends_when_exceptions_go_in_a_circle() -> None:
    """Whatever somebody chains together, the line is finite."""
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert len(str(describe(first))) < 2000


def test_exc_info_without_an_exception_is_no_error(lines: Lines) -> None:
    """`exc_info=True` outside of an except block is a line like any other."""
    lines.logger.error("nothing happened", exc_info=True)
    assert "error" not in lines.only()


def test_process_logs_to_stderr_at_its_level_and_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Configured once, every library's records are JSON lines on stderr too."""
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    try:
        configure_logging("wallet", "warning")
        assert root.handlers[0].__class__ is logging.StreamHandler
        assert len(root.handlers) == 1
        logging.getLogger("some.library").warning("seen %s", 1)
        logging.getLogger("some.library").info("unseen")
        logging.getLogger("some.library").warning("%d", "broken")
    finally:
        root.handlers[:], logging.raiseExceptions = handlers, raises
        root.setLevel(level)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(line)["service"] for line in captured.err.splitlines()] == ["wallet", "wallet"]
    assert "unseen" not in captured.err
    assert sys.stderr is not None

"""JSON log lines on stderr, each with the request id it belongs to.

The text of an exception is never written: it can hold whatever was in hand when something broke, a
secret or a DSN included. What is written is the exception's type and where it passed. A last filter
blanks what looks like a credential in any message that a library composes.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from chassis.rpc.context import current_or_none

_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode
_FIELDS: Final = "sealgate_fields"
_FRAMES_COUNT: Final = 20
_SECRETS: Final = re.compile(
    r"(?:sk|dk)_[A-Za-z0-9_-]{8,}"  # API secrets and device keys, whole or cut short
    r"|eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*"  # JSON Web Tokens
    r"|postgres(?:ql)?://\S+"  # DSNs
    r"|(?i:password)\s*=\s*\S+"
)
_OWN_PACKAGES: Final = frozenset({"chassis", "services", "edge", "cli"})
_REDACTED: Final = "[redacted]"


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, service, logger, message, request id, fields, error."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Renders a record; whatever fields it carries, it renders."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": redact(_message(record)),
        }
        request = current_or_none()
        if request is not None:
            line["request_id"] = str(request.request_id)
        fields: Mapping[str, object] = getattr(record, _FIELDS, {})
        line.update({name: _rendered(value) for name, value in fields.items()})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return _to_json(line)


def redact(text: str) -> str:
    """`text` with everything that looks like a credential blanked."""
    return _SECRETS.sub(_REDACTED, text)


def describe(error: BaseException) -> dict[str, object]:
    """An exception's type, the types behind it and the places it passed, without any of its text."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_COUNT:]
    chain: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(chain) < _FRAMES_COUNT:
        chain.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return {
        "type": type(error).__name__,
        "caused_by": chain,
        "at": [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in frames],
    }


def configure_logging(service: str, level: str = "info") -> None:
    """Sends every log record of the process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False
    # Nobody reads these, and finding them out is a good part of the cost of a line.
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False


def log_event(logger: logging.Logger, level: int, message: str, **fields: object) -> None:
    """Writes one event; `fields` become members of its JSON line."""
    if logger.isEnabledFor(level):
        logger.log(level, message, extra={_FIELDS: fields})


def _message(record: logging.LogRecord) -> str:
    """The record's text; of a library's record only the fixed part, and its first line.

    What a library puts into its text is whatever it had in hand: gRPC, for one, logs the bytes of
    metadata that it cannot decode, and asyncio the exceptions that nobody waited for.
    """
    if isinstance(record.msg, BaseException):
        return type(record.msg).__name__
    if record.name.partition(".")[0] not in _OWN_PACKAGES:
        return str(record.msg).partition("\n")[0]
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  (a line that cannot be composed must not be lost)
        return f"unreadable log message from {record.filename}:{record.lineno}"


def _rendered(value: object) -> object:
    if isinstance(value, BaseException):
        return type(value).__name__
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    try:
        return redact(str(value))
    except Exception:  # noqa: BLE001  (a line that cannot be composed must not be lost)
        return f"unreadable {type(value).__name__}"

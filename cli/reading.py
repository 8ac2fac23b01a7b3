"""What commands are given to read: files, stdin, JSON, base64. What cannot be read ends with exit code 2."""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from cli.output import CommandRefused

# Far more than any request has, and little enough to be read whole.
GIVEN_MAX_BYTES: Final = 1024 * 1024


def text_of(name: str) -> str:
    """The text of a file, to the byte; `-` is stdin."""
    where = "stdin" if name == "-" else name
    try:
        data = _read_stdin() if name == "-" else _read_file(Path(name))
    except OSError as error:
        raise CommandRefused(f"{where} cannot be read: {error.strerror}") from None
    if len(data) > GIVEN_MAX_BYTES:
        raise CommandRefused(f"{where} has more than {GIVEN_MAX_BYTES // 1024} KiB; no request is so large")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandRefused(f"{where} is not UTF-8") from None


def _read_stdin() -> bytes:
    # As text, it would be in whatever encoding the terminal has, and its line ends would be others.
    if sys.stdin is None:
        raise CommandRefused("stdin cannot be read: it is closed")
    return sys.stdin.buffer.read(GIVEN_MAX_BYTES + 1)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(GIVEN_MAX_BYTES + 1)


def object_of(text: str, what: str) -> tuple[dict[str, object], list[str]]:
    """The JSON object that `what`, a text, is, and the names that an object in it has more than once."""
    repeated: list[str] = []

    def collect(pairs: list[tuple[str, object]]) -> dict[str, object]:
        repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        document = json.loads(text, object_pairs_hook=collect)
    except RecursionError:
        raise CommandRefused(f"{what} is nested too deep") from None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandRefused(f"{what} is no JSON object")
    return document, repeated


def octets_of(value: object) -> bytes | None:
    """The bytes of base64 in its one canonical form; None for what the platform would not take as such."""
    if not isinstance(value, str):
        return None
    try:
        decoded = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    return decoded if base64.b64encode(decoded).decode("ascii") == value else None

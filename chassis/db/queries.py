"""SQL kept in its own file: `queries.sql` holds named, commented statements, read once at start.

A statement begins with a line `-- name: snake_name`; comment lines below it say what it is for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_HEADER: Final = re.compile(r"^--\s*name:(.*)$")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class QueriesError(Exception):
    """A `queries.sql` that cannot be read as named statements; the message names file and line."""


class Queries:
    """The statements of one file, each an attribute: `queries.insert_session`.

    Take them where the module is imported (`_INSERT_SESSION = queries.insert_session`), so that a
    misspelt name ends the start and not a request.
    """

    def __init__(self, path: Path, statements: dict[str, str]) -> None:
        self._path = path
        self._statements = statements
        self.__dict__.update(statements)

    def __getattr__(self, name: str) -> str:
        # Only reached when the attribute does not exist: those that do are in __dict__.
        raise AttributeError(f"{self._path} has no statement named {name}")

    @property
    def names(self) -> frozenset[str]:
        """The names of all statements of the file."""
        return frozenset(self._statements)


def load_queries(path: Path) -> Queries:
    """Reads a `queries.sql`.

    Raises QueriesError for text before the first header, a name that is not snake_case or used
    twice, a statement without a comment or without SQL; OSError if the file cannot be read.
    """
    statements: dict[str, str] = {}
    name = ""
    header_line = 0
    lines: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        header = _HEADER.match(line)
        if header is None:
            if not name and line.strip() and not line.startswith("--"):
                raise QueriesError(f"{path}:{number}: SQL before the first '-- name:' line")
            lines.append(line)
            continue
        if name:
            statements[name] = _statement(path, header_line, name, lines)
        name, header_line, lines = header.group(1).strip(), number, []
        if not _NAME.fullmatch(name):
            raise QueriesError(f"{path}:{number}: {name!r} is not a snake_case name")
        if name in statements or name == "names":
            raise QueriesError(f"{path}:{number}: the name {name} is taken")
    if name:
        statements[name] = _statement(path, header_line, name, lines)
    return Queries(path, statements)


def _statement(path: Path, header_line: int, name: str, lines: list[str]) -> str:
    """The SQL below one header, without its comment lines and final semicolon."""
    comments = [line for line in lines if line.startswith("--")]
    sql = "\n".join(line for line in lines if not line.startswith("--")).strip().removesuffix(";")
    if not sql:
        raise QueriesError(f"{path}:{header_line}: {name} has no SQL")
    if not comments:
        raise QueriesError(f"{path}:{header_line}: {name} has no comment that says what it is for")
    return sql

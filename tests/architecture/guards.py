"""What the house forbids, as functions from a text to the offences in it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
GIT: Final = shutil.which("git") or "git"
PROCESSES: Final = ("chassis", "services", "edge", "cli", "client")

FUNCTION_MAX_LINES: Final = 70
FILE_MAX_LINES: Final = 500
LINE_MAX_CHARACTERS: Final = 110

# Time, chance and waiting are arguments (`Clock`, `Ids`) everywhere but in the chassis.
AMBIENT: Final = re.compile(
    r"time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|sleep|clock_gettime|gmtime)"
    r"|datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today"
    r"|uuid\.uuid[1-8]|os\.urandom|os\.getrandom|random(\..*)?|secrets\.(?!__).*"
    r"|asyncio\.sleep|asyncio\.tasks\.sleep"
)
SLEEP: Final = re.compile(r"time\.sleep|asyncio\.sleep|asyncio\.tasks\.sleep")
# SQL that asks the database for time or chance, or keeps time in another form than nanoseconds.
AMBIENT_SQL: Final = re.compile(
    r"\b(now|random|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday"
    r"|gen_random_uuid|uuidv4|uuidv7|uuid_generate_v\w+)\s*\("
    r"|\b(current_timestamp|current_time|current_date|localtime|localtimestamp)\b"
    r"|\b(timestamptz|timestamp|interval)\b",
    re.IGNORECASE,
)
_SQL: Final = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE)\b")
_SQL_NOISE: Final = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_LOGGERS: Final = frozenset({"_logger", "logger", "logging", "self._logger"})
_LOG_CALLS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
_CALL_STATUS: Final = frozenset(
    {"abort", "abort_with_status", "set_code", "set_details", "set_trailing_metadata"}
)


def python_files(*folders: str) -> list[Path]:
    """Every Python file that people write below the folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def committed_files() -> tuple[Path, ...]:
    """Every file that is or would be part of a commit."""
    listed = subprocess.run(
        [GIT, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in sorted(paths) if path.is_file())


def name_of(path: Path) -> str:
    """A file's name as people say it."""
    return str(path.relative_to(ROOT))


def long_parts(source: str) -> Iterator[str]:
    """Functions, lines and files that want splitting."""
    lines = source.splitlines()
    if len(lines) > FILE_MAX_LINES:
        yield f"{len(lines)} lines"
    for number, line in enumerate(lines, start=1):
        # A single word cannot be broken; ruff lets it stand too.
        if len(line) > LINE_MAX_CHARACTERS and len(line.split()) > 1:
            yield f"line {number} has {len(line)} characters"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_MAX_LINES:
                yield f"{node.name} has {length} lines"


def forbidden_names(source: str, forbidden: re.Pattern[str]) -> Iterator[str]:
    """Mentions of a forbidden function, under whatever name it was imported."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                top = item.name.partition(".")[0]
                known[item.asname or top] = item.name if item.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for item in node.names:
                known[item.asname or item.name] = f"{node.module}.{item.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            full_name = _full_name(node, known)
            if full_name is not None and forbidden.fullmatch(full_name):
                yield f"line {node.lineno}: {full_name}"


def sleeps(source: str) -> Iterator[str]:
    """Pauses; `asyncio.sleep(0)`, which only lets others run, is none."""
    zeros = {
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and [ast.unparse(item) for item in node.args] == ["0"]
    }
    for offence in forbidden_names(source, SLEEP):
        if int(offence.split()[1].rstrip(":")) not in zeros:
            yield offence


def _full_name(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _full_name(node.value, known)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


def call_status_changes(source: str) -> Iterator[str]:
    """Places where a handler ends a call or writes its status by itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in _CALL_STATUS:
            yield f"line {node.lineno}: .{node.attr}"


def composed_log_lines(source: str) -> Iterator[str]:
    """Log calls whose text is put together from values, which are then in the line unseen."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            logs = owner in _LOGGERS and node.func.attr in _LOG_CALLS
            fixed = len(node.args) == 1 and isinstance(node.args[0], ast.Constant)
            if logs and not fixed:
                yield f"line {node.lineno}: {owner}.{node.func.attr}"


def imported_modules(source: str) -> Iterator[str]:
    """Full names of the modules that a file imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def ambient_sql(text: str) -> Iterator[str]:
    """SQL that asks for time or chance, comments and literals aside."""
    for match in AMBIENT_SQL.finditer(_SQL_NOISE.sub(" ", text)):
        yield match.group(0)


def sql_texts(source: str) -> Iterator[str]:
    """String constants of a Python file that look like SQL."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.search(node.value):
            yield node.value


def paths_named(markdown: str, folders: frozenset[str]) -> Iterator[str]:
    """Paths between backticks that begin in one of the repository's folders, and link targets."""
    for quoted in re.findall(r"`([^`\n]+)`", markdown):
        for word in quoted.split():
            path = word.strip(".,;:()")
            if path.partition("/")[0] in folders and "/" in path and not re.search(r"[*{}<>$…]", path):
                yield path.partition("::")[0]
    for target in re.findall(r"\]\(([^)\s]+)\)", markdown):
        if not re.match(r"[a-z]+:|#", target):
            yield target.partition("#")[0]

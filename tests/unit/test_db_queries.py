"""Named statements read from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.db.queries import QueriesError, load_queries

GOOD = """-- What these statements are about.

-- name: find_item
-- One item,
-- by its name.
SELECT number
FROM item
WHERE name = $1;

-- name: insert_item
-- A new item.
INSERT INTO item VALUES ($1, $2)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queries.sql"


def test_queries_are_attributes_without_comments_and_final_semicolon(path: Path) -> None:
    """A statement's text is what goes to the server, the same for every reader of the file."""
    path.write_text(GOOD)
    queries = load_queries(path)
    assert queries.find_item == "SELECT number\nFROM item\nWHERE name = $1"
    assert queries.insert_item == "INSERT INTO item VALUES ($1, $2)"
    assert queries.names == {"find_item", "insert_item"}


def test_queries_refuse_a_name_the_file_does_not_have(path: Path) -> None:
    """A misspelt name says which file it is missing from."""
    path.write_text(GOOD)
    with pytest.raises(AttributeError, match=r"queries.sql has no statement named find_itme"):
        _ = load_queries(path).find_itme


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;\n" + GOOD, "queries.sql:1: SQL before the first"),
        (GOOD + "-- name: find_item\n-- Again.\nSELECT 1;", "queries.sql:13: the name find_item is taken"),
        ("-- name: names\n-- Not free.\nSELECT 1;", "queries.sql:1: the name names is taken"),
        ("-- name: FindItem\n-- Text.\nSELECT 1;", "queries.sql:1: 'FindItem' is not a snake_case name"),
        ("-- name:\n-- Text.\nSELECT 1;", "queries.sql:1: '' is not a snake_case name"),
        ("-- name: bare\nSELECT 1;", "queries.sql:1: bare has no comment"),
        ("-- name: empty\n-- Text.\n\n-- name: b\n-- Text.\nSELECT 1;", "queries.sql:1: empty has no SQL"),
        (GOOD + "-- name: last\n-- Text.\n;", "queries.sql:13: last has no SQL"),
    ],
    ids=["before", "twice", "reserved", "capitals", "nameless", "uncommented", "empty", "empty-last"],
)
def test_queries_refuse_a_file_that_is_not_named_commented_statements(
    path: Path, text: str, complaint: str
) -> None:
    """A file that does not say what its statements are ends the start, with the line to look at."""
    path.write_text(text)
    with pytest.raises(QueriesError, match=complaint):
        load_queries(path)

"""Every statement of a service is used, and every one that is used exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from chassis.db.queries import load_queries

ROOT = Path(__file__).parents[2]
# The directories whose modules use the statements of the files in them.
PACKAGES = {
    package: sorted(package.glob(pattern))
    for package, pattern in (
        *((path.parent, "queries*.sql") for path in sorted(ROOT.glob("services/*/queries.sql"))),
        (ROOT / "chassis" / "db", "*.sql"),
    )
}


def used_names(source: str) -> set[str]:
    """The attributes read from whatever `load_queries(…)` was assigned to."""
    tree = ast.parse(source)
    holders = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "load_queries"
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in holders
    }


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_service_uses_exactly_the_statements_it_has(package: Path) -> None:
    """A misspelt name fails here and not in a request; a statement nobody uses is deleted.

    Those that prove the ledger begin with `audit_` and are run by that, all of them.
    """
    used: set[str] = set()
    for module in package.rglob("*.py"):
        used |= used_names(module.read_text(encoding="utf-8"))
    names = {name for path in PACKAGES[package] for name in load_queries(path).names}
    assert used <= names
    assert {name for name in names - used if not name.startswith("audit_")} == set()

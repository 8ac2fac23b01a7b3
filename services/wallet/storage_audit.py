"""The proof that the books are sound, run on a live system by whoever owns its database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from chassis.db.pool import create_database
from chassis.db.queries import Queries, load_queries
from services.wallet.domain.audit import Breach

_PREFIX: Final = "audit_"


def _rules(queries: Queries) -> dict[str, str]:
    """The statements that prove something, under the names of the rules."""
    names = sorted(name for name in queries.names if name.startswith(_PREFIX))
    return {name.removeprefix(_PREFIX): str(getattr(queries, name)) for name in names}


AUDIT_STATEMENTS: Final = {
    name: sql
    for path in sorted(Path(__file__).parent.glob("queries*.sql"))
    for name, sql in _rules(load_queries(path)).items()
}
"""What proves the books, by the names of the rules: each returns the rows that break its rule."""

AUDIT_RULES: Final = tuple(AUDIT_STATEMENTS)

# A rule reads whole tables, beside everybody who works.
_STATEMENT_TIMEOUT_SECONDS: Final = 600.0


async def audit(dsn: str) -> list[Breach]:
    """Every row of the wallet's database that breaks a rule, at most 100 a rule; empty for sound books.

    Each rule is one statement and so sees one moment. `dsn` names a role that may read all tables.
    Raises SealgateError(UNAVAILABLE) when the database does not answer or a rule takes over 10 min.
    """
    database = await create_database(
        dsn,
        pool_size_count=1,
        application_name="sealgate-audit",
        statement_timeout_seconds=_STATEMENT_TIMEOUT_SECONDS,
    )
    try:
        return [
            Breach(rule, row["subject"], row["problem"])
            for rule, sql in AUDIT_STATEMENTS.items()
            for row in await database.fetch(sql)
        ]
    finally:
        await database.close()

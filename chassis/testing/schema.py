"""A database's schema as text, so that two can be compared."""

from __future__ import annotations

import subprocess
from typing import Final

from chassis.db.embedded import find_binaries

_TIMEOUT_SECONDS: Final = 30.0

# Lines of pg_dump's that say how to restore and not what there is; \restrict holds a random word.
_NOISE: Final = ("--", "SET ", "SELECT pg_catalog.set_config(", "\\restrict ", "\\unrestrict ")


def schema_dump(dsn: str) -> str:
    """What the database is: types, tables, constraints, functions, triggers, owners and grants.

    Equal texts mean equal schemas: pg_dump orders by name. Data and the table of migrations are left
    out. Raises subprocess.CalledProcessError if pg_dump fails.
    """
    result = subprocess.run(  # noqa: S603 - our own binary, no shell
        [
            str(find_binaries() / "pg_dump"),
            "--schema-only",
            "--exclude-table=schema_migration",
            f"--dbname={dsn}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={"LC_ALL": "C"},
        timeout=_TIMEOUT_SECONDS,
        check=True,
    )
    lines = (line.rstrip() for line in result.stdout.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(_NOISE)) + "\n"

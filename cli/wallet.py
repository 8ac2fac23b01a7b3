"""`sealgate wallet`: money that comes in from outside, and the proof that none got lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.help import TaughtCommand
from cli.operating import data_option, operate
from cli.output import CommandFailed, CommandRefused, say

if TYPE_CHECKING:
    from services.wallet.app import Breach


@click.group()
def wallet() -> None:
    """Record money that arrived, and audit the books."""


@wallet.command(
    cls=TaughtCommand,
    sections={"Examples": ["sealgate wallet deposit --wallet ID --amount 12.5 --reference bank-2041"]},
)
@click.option("--wallet", "wallet_id", required=True, metavar="ID", help="Wallet to credit.")
@click.option("--amount", required=True, metavar="DECIMAL", help="How much, such as 12.5.")
@click.option("--asset", default="USDC", show_default=True, metavar="CODE", help="What.")
@click.option("--rail", default="embedded", show_default=True, metavar="NAME", help="What it came over.")
@click.option(
    "--reference", "external_ref", required=True, metavar="REF", help="The rail's own name of the payment."
)
@data_option
def deposit(wallet_id: str, amount: str, asset: str, rail: str, external_ref: str, data: Path) -> None:
    """Credit a wallet with money that arrived.

    A reference counts once on its rail: repeated with the same facts it changes nothing, with
    others it is refused.
    """
    booked = operate(
        data,
        lambda client: client.record_deposit(
            rail=rail, reference=external_ref, wallet_id=wallet_id, asset=asset, amount=amount
        ),
    )
    done = "was booked before" if booked.replayed else "booked"
    say(f"{done} as transaction {booked.txn_seq}; the wallet holds {booked.posted_after} {asset}")


@wallet.command(
    cls=TaughtCommand,
    sections={
        "Examples": [
            "sealgate wallet audit",
            "sealgate wallet audit --data /tmp/try",
            "sealgate wallet audit --dsn 'postgresql://sealgate_wallet_owner@/sealgate_wallet?host=/run/pg'",
        ],
        "Exit codes": [
            "0  the books are clean",
            "1  they are not: a line on stdout for each row that breaks a rule, with the rule, the row",
            "   and what is wrong, two spaces apart",
            "2  the audit could not be run",
        ],
    },
)
@data_option
@click.option(
    "--dsn",
    envvar="SEALGATE_AUDIT_DSN",
    metavar="DSN",
    show_envvar=True,
    help="Audit this database instead, as a role that may read all tables.",
)
def audit(data: Path, dsn: str | None) -> None:
    """Prove that the books are clean, while everything goes on.

    Every transaction sums to zero, every balance equals its entries, what is held is what open
    orders need, every market's collateral equals its shares, no book is crossed. Reads whole tables
    of the wallet's database and changes nothing. A rule prints at most 100 rows.

    Give the DSN in the environment where others can read the command line.
    """
    from services.wallet.app import AUDIT_RULES

    breaches = _breaches(dsn or _dsn_of_stack(data))
    for breach in breaches:
        say(f"{breach.rule}  {breach.subject}  {breach.problem}")
    if breaches:
        rules = sorted({breach.rule for breach in breaches})
        raise CommandFailed(f"the books are not clean: {len(breaches)} rows break {', '.join(rules)}")
    say(f"books are clean: {len(AUDIT_RULES)} rules")


def _dsn_of_stack(data: Path) -> str:
    """The wallet's database in a data directory, as the role that owns its tables."""
    from chassis.db.embedded import EmbeddedPostgres
    from cli.data_directory import DataDirectory, DataDirectoryError
    from cli.database_names import database_name, owner_role

    directory = DataDirectory(data)
    try:
        directory.check_marker()
    except DataDirectoryError as error:
        raise CommandRefused(str(error)) from None
    postgres = EmbeddedPostgres(directory.postgres, directory.postgres_sockets)
    return postgres.dsn(database_name("wallet"), owner_role("wallet"))


def _breaches(dsn: str) -> list[Breach]:
    import asyncio

    import asyncpg

    from chassis.errors import SealgateError
    from services.wallet.app import audit

    try:
        return asyncio.run(audit(dsn))
    except SealgateError as error:
        # None of these texts is the server's or the driver's: they may quote the DSN with its password.
        raise CommandRefused(
            f"the database did not answer ({error.internal or error.code}); "
            "start it, or name another one with --dsn"
        ) from None
    except (asyncpg.InterfaceError, ValueError) as error:
        raise CommandRefused(f"the DSN cannot be used ({type(error).__name__})") from None
    except (asyncpg.PostgresError, OSError) as error:
        raise CommandRefused(f"the database refused the audit ({type(error).__name__})") from None

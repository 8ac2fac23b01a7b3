"""`sealgate migrate`: bring one service's database up to date."""

from __future__ import annotations

import click

from cli.help import TaughtCommand
from cli.output import CommandFailed, CommandRefused, say


@click.command(
    cls=TaughtCommand,
    sections={
        "Examples": [
            "sealgate migrate wallet --dsn 'postgresql://sealgate_wallet_owner@/sealgate_wallet?host=/run/pg'"
        ]
    },
)
@click.argument("service", type=click.Choice(["auth", "keys", "wallet"]))
@click.option(
    "--dsn",
    envvar="SEALGATE_MIGRATE_DSN",
    metavar="DSN",
    required=True,
    show_envvar=True,
    help="The database, as the role that owns its tables.",
)
def migrate(service: str, dsn: str) -> None:
    """Apply the migrations that a service's database does not have yet.

    Also makes room for the signed requests of the next days, and removes those of more than seven days
    ago: run it every day.

    Give the DSN in the environment where others can read the command line.
    """
    import asyncio

    import asyncpg

    from chassis.db.migrate import MigrationError
    from cli.databases import bring_up_to_date

    try:
        applied = asyncio.run(bring_up_to_date(dsn, service))
    except MigrationError as error:
        raise CommandFailed(str(error)) from None
    except (asyncpg.InterfaceError, ValueError) as error:
        raise CommandRefused(f"the DSN cannot be used ({type(error).__name__})") from None
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        # Not the error's text: it may quote the DSN with its password.
        raise CommandFailed(f"the database refused or cannot be reached ({type(error).__name__})") from None
    for name in applied:
        say(f"applied {name}")
    say(f"{service} is up to date")

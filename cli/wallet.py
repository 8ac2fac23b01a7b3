"""`sealgate wallet`: money that comes in from outside and leaves, and the proof that none got lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.help import TaughtCommand, TaughtGroup
from cli.operating import data_option, operate
from cli.output import CommandFailed, CommandRefused, say

if TYPE_CHECKING:
    from sealgate.wallet.v1.withdrawal_pb2 import Withdrawal
    from services.wallet.app import Breach

_STATE_PREFIX: Final = "WITHDRAWAL_STATE_"


@click.group(cls=TaughtGroup, short_help="Record deposits, settle withdrawals, audit the books.")
def wallet() -> None:
    """Record money that arrived, pay out what leaves, and audit the books."""


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
        "Example": [
            "sealgate wallet withdrawals",
            "0197f3a2-…  PENDING  12.500000 USDC  POL 0x52908400098527886e0f7030069857d2e4169ee7  -",
        ]
    },
    short_help="List withdrawals that are on their way.",
)
@data_option
def withdrawals(data: Path) -> None:
    """List withdrawals that are on their way, oldest first, at most 1000.

    A line each: id, state, amount and asset, chain and address, and the rail's reference once it was
    sent, two spaces apart. PENDING ones wait for somebody to send them, SENT ones for somebody to say
    that they arrived; both are said with `sealgate wallet settle`. The embedded rail says them by
    itself.
    """
    for row in operate(data, lambda client: client.list_open_withdrawals()):
        say(
            f"{row.withdrawal_id}  {_state(row):<7}  {row.amount} {row.token}"
            f"  {row.chain} {row.address}  {row.tx_hash or '-'}"
        )


@wallet.command(
    cls=TaughtCommand,
    sections={
        "States": [
            "sent       it was handed to the rail; from PENDING, with --reference",
            "confirmed  it arrived, the money leaves the wallet; from SENT",
            "failed     the rail could not do it, the money is free again; from PENDING or SENT",
            "rejected   it is not to be sent, the money is free again; from PENDING",
        ],
        "Examples": [
            "sealgate wallet settle ID --state sent --reference 0x9fc76417374aa880d4449a1f7f31ec597f00b1f6",
            "sealgate wallet settle ID --state confirmed",
        ],
    },
)
@click.argument("withdrawal_id", metavar="ID")
@click.option(
    "--state",
    required=True,
    type=click.Choice(["sent", "confirmed", "failed", "rejected"]),
    help="Where the withdrawal stands now.",
)
@click.option(
    "--reference",
    "external_ref",
    default="",
    metavar="REF",
    help="With sent: the rail's own name of the payment, which no other withdrawal has.",
)
@data_option
def settle(withdrawal_id: str, state: str, external_ref: str, data: Path) -> None:
    """Move the withdrawal ID on.

    Say `sent` before the payment is made, so that nobody makes it a second time: of two who try, the
    one with another reference is refused. Repeated with the same facts, it changes nothing.
    """
    from sealgate.wallet.v1.operator_pb2 import SettleWithdrawalRequest
    from sealgate.wallet.v1.signed_body_pb2 import WithdrawalState

    if state == "sent" and not external_ref:
        raise click.UsageError("--state sent needs --reference: the rail's own name of the payment")
    if state != "sent" and external_ref:
        raise click.UsageError(f"--reference has nothing to do with --state {state}: only sent has one")
    request = SettleWithdrawalRequest(
        withdrawal_id=withdrawal_id,
        state=WithdrawalState.Value(f"{_STATE_PREFIX}{state.upper()}"),
        external_ref=external_ref,
    )
    settled = operate(data, lambda client: client.settle_withdrawal(request))
    say(
        f"{settled.withdrawal_id} is {_state(settled)}: {settled.amount} {settled.token} to {settled.address}"
    )


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
    orders and withdrawals need, every market's collateral equals its shares, no book is crossed, no
    withdrawal was paid twice. Reads whole tables of the wallet's database and changes nothing. A rule
    prints at most 100 rows.

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


def _state(row: Withdrawal) -> str:
    from sealgate.wallet.v1.signed_body_pb2 import WithdrawalState

    return WithdrawalState.Name(row.state).removeprefix(_STATE_PREFIX)


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
            "is it running, migrated, and the wallet's? --dsn names another one"
        ) from None
    except (asyncpg.InterfaceError, ValueError) as error:
        raise CommandRefused(f"the DSN cannot be used ({type(error).__name__})") from None
    except (asyncpg.PostgresError, OSError) as error:
        raise CommandRefused(f"the database refused the audit ({type(error).__name__})") from None

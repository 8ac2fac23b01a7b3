"""`sealgate wallet`: money that comes in from outside."""

from __future__ import annotations

from pathlib import Path

import click

from cli.help import TaughtCommand
from cli.operating import data_option, operate
from cli.output import say


@click.group()
def wallet() -> None:
    """Record what happens to wallets outside the platform."""


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

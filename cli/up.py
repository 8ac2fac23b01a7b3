"""`sealgate up`: the whole platform on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from chassis.limits import WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS, WITHDRAWAL_ADDRESS_WAIT_SECONDS
from cli.help import TaughtCommand
from cli.network import Address, parse_address
from cli.rate_limits import parse_rate_limit
from cli.store_option import store_option


class AddressType(click.ParamType[Address]):
    """`HOST:PORT` on the command line."""

    name = "HOST:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Reads the address or ends with a usage error."""
        try:
            return parse_address(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RateLimitType(click.ParamType[tuple[str, int]]):
    """`CLASS=COUNT` on the command line."""

    name = "CLASS=COUNT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Reads the limit or ends with a usage error."""
        try:
            return parse_rate_limit(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    cls=TaughtCommand,
    sections={
        "Examples": [
            "sealgate up",
            "sealgate up --data /tmp/try --http 127.0.0.1:9000 --seed none",
            "sealgate up --ready-file ready.json &",
            "sealgate up --rate-limit order=100000 --rate-limit read=100000",
            "sealgate up --withdrawal-address-wait 0",
        ]
    },
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".sealgate"),
    show_default=True,
    help="Keeps everything; made if it is not there.",
)
@click.option(
    "--http",
    type=AddressType(),
    default="127.0.0.1:8080",
    show_default=True,
    help="Where REST is served, on loopback; port 0 takes any that is free.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Written as JSON when all is ready: addresses, demo credentials, process ids.",
)
@click.option(
    "--seed",
    type=click.Choice(["demo", "none"]),
    default="demo",
    show_default=True,
    help="Whether to make a demo project with an account, a funded wallet and markets to trade in.",
)
@click.option(
    "--rate-limit",
    "rate_limits",
    type=RateLimitType(),
    multiple=True,
    help="Calls a minute that each credential may make of a class: read, write, order or"
    " browser-session; bad-credentials is for each client address. Can be given several times.",
)
@store_option
@click.option(
    "--withdrawal-address-wait",
    "withdrawal_address_wait_seconds",
    type=click.IntRange(0, WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS),
    metavar="SECONDS",
    default=WITHDRAWAL_ADDRESS_WAIT_SECONDS,
    show_default=True,
    help="How long a withdrawal address waits, from being registered, until money can go to it. A short"
    " wait is for trying things out: a day is the time to stop a thief who has registered one.",
)
def up(
    data: Path,
    http: Address,
    ready_file: Path | None,
    seed: str,
    rate_limits: tuple[tuple[str, int], ...],
    rate_limit_store: str | None,
    withdrawal_address_wait_seconds: int,
) -> None:
    """Run the whole platform on this machine until Ctrl-C.

    Starts Postgres, the services auth, keys and wallet, and the HTTP edge, each as a process of
    its own, starts again whichever dies, and stops them in order. What it stores stays in the data
    directory, and the next start finds it again.

    Exit code 2 means that nothing was started: the port is taken, or the data directory is foreign,
    in use or not writable.
    """
    import asyncio

    from cli.stack import Stack
    from cli.stack_options import StackOptions

    options = StackOptions(
        data,
        http,
        ready_file,
        seed == "demo",
        dict(rate_limits),
        withdrawal_address_wait_seconds,
        rate_limit_store,
    )
    asyncio.run(Stack(options).run())

"""`sealgate up`: the whole platform on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from cli.help import TaughtCommand
from cli.network import Address, parse_address


class AddressType(click.ParamType[Address]):
    """`HOST:PORT` on the command line."""

    name = "HOST:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Reads the address or ends with a usage error."""
        try:
            return parse_address(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    cls=TaughtCommand,
    sections={
        "Examples": [
            "sealgate up",
            "sealgate up --data /tmp/try --http 127.0.0.1:9000 --seed none",
            "sealgate up --ready-file ready.json &",
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
    help="Whether to make a demo project with an account and a funded wallet.",
)
def up(data: Path, http: Address, ready_file: Path | None, seed: str) -> None:
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

    asyncio.run(Stack(StackOptions(data, http, ready_file, seed == "demo")).run())

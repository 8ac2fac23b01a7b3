"""`sealgate serve`: one process of the platform, in the foreground."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click

from cli.help import TaughtCommand
from cli.parent import PARENT_VARIABLE, end_with_parent
from cli.store_option import store_option

PROCESSES = ("auth", "keys", "wallet", "edge")


@click.command(cls=TaughtCommand, sections={"Examples": ["sealgate serve wallet --config wallet.yaml"]})
# Eager, because what the others may be depends on it.
@click.argument("name", type=click.Choice(PROCESSES), is_eager=True)
@click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The process's configuration (YAML).",
)
@store_option
def serve(name: str, config_file: Path, rate_limit_store: str | None) -> None:
    """Run one process of the platform until SIGTERM, which drains it.

    A rate limit store that is given takes the place of the one in the configuration. The edge counts nothing:
    it refuses the option and passes the variable over.

    Logs are JSON lines on stderr.
    """
    parent = os.environ.pop(PARENT_VARIABLE, "")
    if parent:
        end_with_parent(int(parent))
    # Loading makes hundreds of thousands of objects and frees few: collecting amid it is a seventh
    # of the start. `run` turns it on again.
    gc.disable()
    from cli.serving import run

    run(name, config_file, rate_limit_store)

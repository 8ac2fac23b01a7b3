"""`sealgate config`: what a configuration file says."""

from __future__ import annotations

from pathlib import Path

import click

from cli.help import TaughtCommand
from cli.output import CommandRefused, say


@click.group()
def config() -> None:
    """Work with configuration files."""


@config.command(cls=TaughtCommand, sections={"Examples": ["sealgate config check deploy/edge.yaml"]})
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Read an edge configuration as strictly as the edge does; change nothing."""
    from chassis.config import ConfigError
    from edge.config import load

    try:
        load(file)
    except ConfigError as error:
        raise CommandRefused(str(error)) from None
    say(f"{file} is valid")

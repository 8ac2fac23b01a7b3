"""`sealgate config`: what a configuration file says."""

from __future__ import annotations

from pathlib import Path

import click

from cli.help import TaughtCommand, TaughtGroup
from cli.output import CommandRefused, say


@click.group(cls=TaughtGroup)
def config() -> None:
    """Work with configuration files."""


@config.command(
    cls=TaughtCommand,
    sections={"Examples": ["sealgate config check deploy/edge.yaml"]},
    short_help="Read an edge configuration as the edge does.",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Read an edge configuration as strictly as the edge does; start and change nothing.

    The descriptor set that it names is read too, and every route is made. A service reads its own
    configuration when it starts.
    """
    import asyncio

    from chassis.clock import SystemClock
    from chassis.config import ConfigError
    from chassis.ids import SystemIds
    from chassis.methods import MethodTableError
    from edge.app import build
    from edge.config import load

    async def make_and_drop() -> None:
        clock = SystemClock()
        edge = await build(load(file), clock, SystemIds(clock))
        await edge.stop()

    try:
        asyncio.run(make_and_drop())
    except (ConfigError, MethodTableError) as error:
        what = str(error).removeprefix(f"{file}: ")
        raise CommandRefused(f"{file} is no usable edge configuration: {what}") from None
    say(f"{file} is a usable edge configuration")

"""`sealgate key`: the private keys that auth signs with."""

from __future__ import annotations

from pathlib import Path

import click

from cli.help import TaughtCommand
from cli.output import CommandRefused, say


@click.group()
def key() -> None:
    """Make the private keys that auth signs with."""


@key.command(cls=TaughtCommand, sections={"Examples": ["sealgate key create keys/passport"]})
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def create(directory: Path) -> None:
    """Make a signing key in DIRECTORY, as a file that only its owner can read.

    The directory is made if it is not there. Auth takes one for passports and another for session
    tokens, reads both when it starts, and signs with the newest key; older keys go on verifying.
    """
    from chassis.clock import SystemClock
    from chassis.ids import SystemIds
    from chassis.keyring import create_key, key_file

    clock = SystemClock()
    try:
        made = create_key(directory, SystemIds(clock).seed(), clock.now_ns())
    except OSError as error:
        raise CommandRefused(f"cannot write to {directory}: {error.strerror}") from None
    say(f"kid   {made.kid}")
    say(f"file  {key_file(directory, made.kid)}")

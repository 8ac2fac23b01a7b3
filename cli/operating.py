"""How a command reaches the operator's methods of a running stack, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cli.output import CommandFailed, CommandRefused

if TYPE_CHECKING:
    from chassis.errors import SealgateError
    from cli.operator_client import OperatorClient

_Result = TypeVar("_Result")

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".sealgate"),
    show_default=True,
    help="Data directory of the running stack.",
)


def operate(data: Path, use: Callable[[OperatorClient], Awaitable[_Result]]) -> _Result:
    """Answers what `use` makes of an operator client.

    Raises CommandRefused where there is no stack, CommandFailed when it does not answer or refuses.
    """
    import asyncio

    from chassis.clock import SystemClock
    from chassis.errors import Code, SealgateError
    from cli.data_directory import DataDirectory, DataDirectoryError
    from cli.operator_client import OperatorClient

    directory = DataDirectory(data)

    async def run() -> _Result:
        async with OperatorClient(directory, SystemClock()) as client:
            return await use(client)

    try:
        directory.check_marker()
        return asyncio.run(run())
    except DataDirectoryError as error:
        raise CommandRefused(str(error)) from None
    except SealgateError as error:
        if error.code is Code.UNAVAILABLE:
            raise CommandFailed(
                f"the stack in {directory.root} does not answer; is `sealgate up` running there?"
            ) from None
        raise CommandFailed(explain(error)) from None


def explain(error: SealgateError) -> str:
    """A refusal in one line: its code, its text and its details."""
    details = "; ".join(f"{detail.path}: {detail.message}" for detail in error.details)
    return f"{error.code}: {error.row.message}" + (f" ({details})" if details else "")

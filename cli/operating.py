"""How a command reaches the operator's methods of a running stack, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
        parameters = click.get_current_context().command.params
        # An option's parameter has the name of the field that it fills.
        raise CommandFailed(explain(error, {one.name or "": one.opts[0] for one in parameters})) from None


def explain(error: SealgateError, options: Mapping[str, str] | None = None) -> str:
    """A refusal in one line: its code and its details, or its text where it has none.

    `options` has what people write for a field of the request, by the field's name.
    """
    named = options or {}
    details = "; ".join(f"{_named(one.path, named)}: {one.message}" for one in error.details)
    return f"{error.code}: {details or error.row.message}"


def _named(path: str, options: Mapping[str, str]) -> str:
    """What people write for a field; for an entry of a list, what they write for the list."""
    return options.get(path.partition("[")[0], path)

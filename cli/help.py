"""Help that ends with lines printed exactly as they are written: examples, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli.output import say

Sections = Mapping[str, Sequence[str]]


class _Told(click.Command):
    """Literal sections below the options, and help that says so when it cannot be written."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own
        sections: Sections | None = None,
        **options: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(*args, **options)
        self._sections = sections or {}

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """As click's, whose own way to print ends in a traceback on a full disk."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _say_help
        return option

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        write_sections(self._sections, formatter)


def _say_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    del param
    if value and not ctx.resilient_parsing:
        say(ctx.get_help())
        ctx.exit()


class TaughtCommand(_Told):
    """A command with literal sections below its options."""


class TaughtGroup(_Told, click.Group):
    """A group of commands with literal sections below them; its commands are taught ones, too."""

    command_class = TaughtCommand

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; refuses what no text of a terminal is, which could not be sent on."""
        for number, argument in enumerate(args, start=1):
            if any(0xD800 <= ord(character) <= 0xDFFF for character in argument):
                raise click.UsageError(f"argument {number} is not UTF-8; write it anew")
        return super().parse_args(ctx, args)


def write_sections(sections: Sections, formatter: click.HelpFormatter) -> None:
    """Writes literal sections, indented as the others are."""
    for title, lines in sections.items():
        with formatter.section(title):
            for line in lines:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")

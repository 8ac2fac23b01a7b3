"""Help that ends with lines printed exactly as they are written: examples, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

Sections = Mapping[str, Sequence[str]]


class TaughtCommand(click.Command):
    """A command with literal sections below its options."""

    def __init__(self, *args: Any, sections: Sections, **options: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **options)
        self._sections = sections

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        write_sections(self._sections, formatter)


class TaughtGroup(click.Group):
    """A group of commands with literal sections below them."""

    def __init__(self, *args: Any, sections: Sections, **options: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **options)
        self._sections = sections

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; refuses what no text of a terminal is, which could not be sent on."""
        for number, argument in enumerate(args, start=1):
            if any(0xD800 <= ord(character) <= 0xDFFF for character in argument):
                raise click.UsageError(f"argument {number} is not UTF-8; write it anew")
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        write_sections(self._sections, formatter)


def write_sections(sections: Sections, formatter: click.HelpFormatter) -> None:
    """Writes literal sections, indented as the others are."""
    for title, lines in sections.items():
        with formatter.section(title):
            for line in lines:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")

"""What the commands say to a person, and the errors they end with."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TextIO

import click


class CommandFailed(click.ClickException):
    """Something did not work: one line and exit code 1."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        """Prints the one line."""
        complain(self.message)


class CommandRefused(CommandFailed):
    """The command cannot work as it was called or where it was called: one line and exit code 2."""

    exit_code = 2


def complain(line: str) -> None:
    """One line on stderr, under the program's name."""
    with contextlib.suppress(OSError):
        click.echo(f"{paint('sealgate:', 'red', _is_terminal(sys.stderr))} {line}", err=True)


def say(line: str = "") -> None:
    """One line on stdout; a reader that has gone away is no reason to stop, any other loss of the line is."""
    try:
        _print(line)
    except BrokenPipeError:
        pass
    except OSError as error:
        # Whoever calls may have done its work already: a key that is shown once is then lost.
        raise CommandRefused(
            f"cannot write to stdout ({error.strerror}), and some of the answer is lost"
        ) from None


def mention(line: str) -> None:
    """One line on stdout that nobody depends on: what it tells of goes on without it."""
    with contextlib.suppress(OSError):
        _print(line)


def heading(text: str) -> str:
    """`text` to stand out, where that is wanted."""
    return paint(text, "green", _is_terminal(sys.stdout))


def _print(line: str) -> None:
    # What Python has in the place of a descriptor that was closed before it began.
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    # A name with letters that this terminal does not have is no reason to say nothing.
    encoding = sys.stdout.encoding
    click.echo(line.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def paint(text: str, colour: str, terminal: bool) -> str:
    """`text` in a colour on a terminal that has some, unless NO_COLOR asks for none."""
    if not terminal or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, fg=colour, bold=True)

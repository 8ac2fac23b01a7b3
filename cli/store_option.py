"""The store that processes share their rate limits in, as the commands that start processes take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

STORE_VARIABLE: Final = "RATE_LIMIT_STORE"


class StoreUrlType(click.ParamType[str]):
    """The URL of a Redis or Valkey server on the command line; what is said of it never has any of it."""

    name = "URL"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Reads the URL or ends with a usage error."""
        from chassis.config import check_store_url

        try:
            return check_store_url(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command `--rate-limit-store`, which the environment can hold as well."""
    return click.option(
        "--rate-limit-store",
        "rate_limit_store",
        type=StoreUrlType(),
        envvar=STORE_VARIABLE,
        show_envvar=True,
        help="Redis or Valkey in which processes count their rate limits together: redis://HOST:PORT, or"
        " rediss:// with TLS. A password belongs in the variable, because others see a command line.",
    )(command)

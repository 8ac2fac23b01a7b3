"""The store that processes share their rate limits in, as the commands that start processes take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
from click.core import ParameterSource

STORE_VARIABLE: Final = "RATE_LIMIT_STORE"


def _checked(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The URL, or a usage error that has none of it; of the edge, which counts nothing, there is none."""
    if value is None:
        return None
    if ctx.params.get("name") == "edge":
        if ctx.get_parameter_source("rate_limit_store") is ParameterSource.ENVIRONMENT:
            return None
        raise click.BadParameter("the edge counts no calls; auth, keys and wallet do", ctx, param)
    from chassis.config import check_store_url

    try:
        return check_store_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command `--rate-limit-store`, which the environment can hold as well."""
    return click.option(
        "--rate-limit-store",
        "rate_limit_store",
        metavar="URL",
        callback=_checked,
        envvar=STORE_VARIABLE,
        show_envvar=True,
        help="Redis or Valkey in which processes count their rate limits together: redis://HOST:PORT, or"
        " rediss:// with TLS. A password belongs in the variable, because others see a command line.",
    )(command)

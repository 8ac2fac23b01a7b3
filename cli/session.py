"""`sealgate session`: session keys, minted and revoked by a master key, at a running platform."""

from __future__ import annotations

import base64
import math
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from chassis.limits import SUBACCOUNT_INDEX_MAX
from cli.help import TaughtCommand, TaughtGroup
from cli.output import CommandFailed, CommandRefused, say
from cli.reading import octets_of
from cli.signing import AUDIENCE_VARIABLE, account_option, key_option, load_key

_Command = TypeVar("_Command", bound=Callable[..., Any])

_AT: Final = "--url https://api.example.com --key master.key --account ID"
_SCRIPT: Final = [
    "sealgate key generate session.key",
    f"sealgate session mint session.key {_AT} --subaccount 0 --hours 12",
    f"sealgate session list {_AT}",
    f"sealgate session revoke session.key {_AT}",
]
_HOURS_MAX: Final = 10 * 365 * 24


def _at_platform(command: _Command) -> _Command:
    """The options that all of these commands have."""
    url = click.option(
        "--url",
        required=True,
        envvar="SEALGATE_URL",
        show_envvar=True,
        help="Where the platform is, such as https://api.example.com.",
    )
    audience = click.option(
        "--audience",
        metavar="NAME",
        envvar=AUDIENCE_VARIABLE,
        show_envvar=True,
        help="The deployment's name, where it is not the host (and port) of the URL.",
    )
    return url(key_option(account_option(audience(command)), "the master key"))


@click.group(cls=TaughtGroup, sections={"From a key to a session": _SCRIPT})
def session() -> None:
    """Mint, list and revoke session keys with a master key.

    A session key signs orders, transfers and withdrawals; a master key signs for session keys and is best
    kept where no program that trades can read it. docs/signing.md says which key may do what.
    """


@session.command(
    cls=TaughtCommand,
    sections={"Examples": [_SCRIPT[1]]},
    short_help="Let a session key sign for an account.",
)
@click.argument("session_key", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--subaccount",
    type=click.IntRange(0, SUBACCOUNT_INDEX_MAX),
    help="Pin the key to this subaccount. Without it, the key reaches all that its master key reaches.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, _HOURS_MAX, min_open=True),
    default=24.0,
    show_default=True,
    help="How long the key is good for.",
)
@click.option("--never-ends", is_flag=True, help="Let the key be good until it is revoked.")
@_at_platform
def mint(
    session_key: Path,
    subaccount: int | None,
    hours: float,
    never_ends: bool,
    url: str,
    key_file: Path,
    account: uuid.UUID,
    audience: str | None,
) -> None:
    """Let the key in the file SESSION_KEY sign for the account; the platform gets its public half alone.

    A key is minted once: neither a revoked nor an expired one comes back.
    """
    from chassis.clock import NANOSECONDS_PER_SECOND, SystemClock
    from cli.calling import Platform
    from sealgate.client import NEVER, UNPINNED

    source = click.get_current_context().get_parameter_source("hours")
    if never_ends and source is not ParameterSource.DEFAULT:
        raise click.UsageError("a key ends after --hours or --never-ends: give one of them")
    # What is no number is in no order either, so that no range leaves it out.
    if math.isnan(hours):
        raise click.UsageError("--hours is no number")
    pair = load_key(session_key)
    ends_ns = SystemClock().now_ns() + int(hours * 3600 * NANOSECONDS_PER_SECOND)
    minted = Platform(url, key_file, account, audience).call(
        lambda client: client.submit_mint_session_key(
            public_key=pair.public_key,
            scope=UNPINNED if subaccount is None else subaccount,
            valid_until_ns=NEVER if never_ends else ends_ns,
        ).raise_for_status()
    )
    made = minted.session_key
    if made is None:
        raise CommandFailed("the platform answered without the key")
    say(_line(made.public_key, made.subaccount_index, made.role, made.valid_until_ns))


@session.command(
    "list",
    cls=TaughtCommand,
    sections={"Examples": [_SCRIPT[2]]},
    short_help="List the live session keys of an account.",
)
@_at_platform
def list_(url: str, key_file: Path, account: uuid.UUID, audience: str | None) -> None:
    """List the live session keys: public key, what it reaches, what it may do, when it ends.

    An ADMIN master key sees all of the account's, a SCOPED one those that it minted.
    """
    from cli.calling import Platform

    listed = Platform(url, key_file, account, audience).call(
        lambda client: client.submit_list_session_keys().raise_for_status()
    )
    for item in listed.session_keys:
        say(_line(item.public_key, item.subaccount_index, item.role, item.valid_until_ns))


@session.command(
    cls=TaughtCommand, sections={"Examples": [_SCRIPT[3]]}, short_help="Let a session key sign no more."
)
@click.argument("session_key")
@click.option("--include-api-keys", is_flag=True, help="End the API keys that it made as well.")
@_at_platform
def revoke(
    session_key: str,
    include_api_keys: bool,
    url: str,
    key_file: Path,
    account: uuid.UUID,
    audience: str | None,
) -> None:
    """Let SESSION_KEY sign no more, and end the device keys that it made.

    It is a key file, or the public key in base64. When the command ends with 0, nothing that the key
    signed takes effect any more. While the platform cannot confirm that, it asks again for 15 seconds; if it
    fails even so, run it again: a key that had ended already is no failure.
    """
    from cli.calling import Platform, revoke_key

    public_key = _public_key(session_key)
    said = Platform(url, key_file, account, audience).call_patiently(
        lambda client: revoke_key(client, public_key, include_api_keys=include_api_keys)
    )
    say(said)


def _public_key(text: str) -> bytes:
    """The public key that is meant: of a file if there is such a file, else what base64 says."""
    from chassis.signing import PUBLIC_KEY_BYTES

    # A name that no file can have is none, whereas Path.exists raises an error for it.
    if os.path.exists(text):  # noqa: PTH110
        return load_key(Path(text)).public_key
    public_key = octets_of(text)
    if public_key is None or len(public_key) != PUBLIC_KEY_BYTES:
        raise CommandRefused(f"{text} is neither a key file nor a public key in base64")
    return public_key


def _line(public_key: bytes, subaccount_index: int | None, role: str, valid_until_ns: int | None) -> str:
    reach = "all subaccounts" if subaccount_index is None else f"subaccount {subaccount_index}"
    ends = "never ends"
    if valid_until_ns is not None:
        ends = f"ends {datetime.fromtimestamp(valid_until_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{base64.b64encode(public_key).decode('ascii')}  {reach}  {role}  {ends}"

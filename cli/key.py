"""`sealgate key`: the keys that auth signs with, those that customers sign with, and what API keys may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from chassis.limits import (
    KEY_RING_REREAD_SECONDS,
    RATE_LIMIT_MAX_PER_MINUTE_COUNT,
    SIGNING_KEY_LEAD_MAX_SECONDS,
    SIGNING_KEY_LEAD_MIN_SECONDS,
    SIGNING_KEY_LEAD_SECONDS,
)
from cli.help import TaughtCommand, TaughtGroup
from cli.operating import data_option, operate
from cli.output import CommandRefused, say

_Command = TypeVar("_Command", bound=Callable[..., Any])

PURPOSES: Final = ("passport", "session", "browser")
LIMITED_CLASSES: Final = ("read", "write", "order", "browser_session")

_LEAD_HELP: Final = (
    "How long the new key is published before it signs. Every auth process finds it within "
    f"{KEY_RING_REREAD_SECONDS} s and gives it to whoever verifies. Take more where key files reach some "
    "machines later than others, as mounted secrets do."
)
_GENERATE_EXAMPLES: Final = ["sealgate key generate master.key", "sealgate key generate session.key"]
_ROTATION_EXAMPLES: Final = [
    "sealgate key rotate-signing all",
    "sealgate key rotate-signing session --data /tmp/try --lead-seconds 300",
    "sealgate key rotate-signing passport --passport-keys /etc/sealgate/passport-keys",
    "sealgate key rotate-signing browser --browser-keys /etc/sealgate/browser-keys",
]
_LIMITS_SECTIONS: Final = {
    "Examples": [
        "sealgate key limits pk_…                             # show them",
        "sealgate key limits pk_… --order 6000 --read 1000    # these two, and no others",
        "sealgate key limits pk_… --reset                     # as configured again",
    ]
}


class PublicKeyType(click.ParamType[str]):
    """The name of an API key on the command line; what is said of another thing never has any of it."""

    name = "PUBLIC_KEY"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is; ends with a usage error for what cannot be one."""
        text = str(value)
        if text.startswith(("sk_", "dk_")):
            self.fail(
                "give the public key, pk_…; this is a secret, and by now in your shell's history: "
                "remove it there, and replace the key if others can read that",
                param,
                ctx,
            )
        if not text.startswith("pk_"):
            self.fail("a public key begins with pk_", param, ctx)
        return text


def _count_option(name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(name, type=click.IntRange(1, RATE_LIMIT_MAX_PER_MINUTE_COUNT), help=text)


@click.group(cls=TaughtGroup)
def key() -> None:
    """Make and rotate private keys, and set rate limits of API keys.

    The private keys are those that auth signs tokens with, and those that customers sign requests with.
    """


@key.command(
    cls=TaughtCommand,
    sections={"Examples": ["sealgate key create keys/passport"]},
    short_help="Make a signing key of auth's.",
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def create(directory: Path) -> None:
    """Make a signing key in DIRECTORY, as a file that only its owner can read.

    The directory is made if it is not there. Auth takes one for passports, one for session tokens and one
    for browser session tokens. A directory's first key signs at once; a further one after a lead, as
    `sealgate key rotate-signing` has it, and older keys go on verifying.
    """
    from chassis.clock import NANOSECONDS_PER_SECOND, SystemClock
    from chassis.ids import SystemIds
    from chassis.keyring import create_key, key_file, key_files

    clock = SystemClock()
    try:
        lead_seconds = SIGNING_KEY_LEAD_SECONDS if key_files(directory) else 0
        signs_from_ns = clock.now_ns() + lead_seconds * NANOSECONDS_PER_SECOND
        made = create_key(directory, SystemIds(clock).seed(), signs_from_ns)
    except OSError as error:
        raise CommandRefused(f"cannot write to {directory}: {error.strerror}") from None
    say(f"kid         {made.kid}")
    say(f"file        {key_file(directory, made.kid)}")
    say(f"signs from  {_moment(made.signs_from_ns)}")


@key.command(
    cls=TaughtCommand,
    sections={"Examples": _GENERATE_EXAMPLES},
    short_help="Make a key pair for signing requests.",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def generate(file: Path) -> None:
    """Make an Ed25519 key pair for signing requests: the private half in FILE, the public one printed.

    FILE is PKCS#8 in PEM, as OpenSSL writes it, and only its owner can read it; one that is there already
    is never written over. The public half, in base64, is what the platform is told: to register it as a
    master key, or to mint a session key.
    """
    from sealgate.client import KeyFileError, KeyPair
    from sealgate.client.signing import base64_text

    pair = KeyPair.generate()
    try:
        pair.save(file)
    except KeyFileError as error:
        raise CommandRefused(str(error)) from None
    except OSError as error:
        raise CommandRefused(f"cannot write to {file}: {error.strerror}") from None
    say(base64_text(pair.public_key))


@key.command("rotate-signing", cls=TaughtCommand, sections={"Examples": _ROTATION_EXAMPLES})
@click.argument("purpose", type=click.Choice((*PURPOSES, "all")))
@data_option
@click.option(
    "--passport-keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the passport keys, instead of that in the data directory.",
)
@click.option(
    "--session-keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the session keys, instead of that in the data directory.",
)
@click.option(
    "--browser-keys",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the browser session keys, instead of that in the data directory.",
)
@click.option(
    "--lead-seconds",
    type=click.IntRange(SIGNING_KEY_LEAD_MIN_SECONDS, SIGNING_KEY_LEAD_MAX_SECONDS),
    default=SIGNING_KEY_LEAD_SECONDS,
    show_default=True,
    help=_LEAD_HELP,
)
def rotate_signing(purpose: str, data: Path, lead_seconds: int, **given_keys: Path | None) -> None:
    """Have auth sign with a new key, while everything goes on.

    Writes a key file beside those that are there. Running processes read it without a restart and
    publish it at once; it signs when its lead is over, and what older keys signed stays good.

    `all` takes the three directories of one deployment: those of --data, or all three by name. With only
    some of them named, --data has to be given for the others.

    A key that does not sign any more is removed by the first rotation after the last thing it signed
    has ended: a passport key's a minute and a half after its successor began to sign, a browser
    session key's an hour and a minute after, a session key's a year after, which is the longest that
    a session may live.
    """
    given = {name: given_keys[f"{name}_keys"] for name in PURPOSES}
    wanted = PURPOSES if purpose == "all" else (purpose,)
    for name in given:
        if given[name] is not None and name not in wanted:
            raise click.UsageError(f"--{name}-keys has nothing to do with the {purpose} keys")
    named = [name for name in wanted if given[name] is not None]
    unnamed = " and ".join(f"--{name}-keys" for name in wanted if given[name] is None)
    if named and unnamed and not _is_given("data"):
        raise click.UsageError(
            f"{unnamed} missing: name these directories too, or with --data the stack that they are of"
        )
    _rotate({name: given[name] or _of_stack(data, name) for name in wanted}, lead_seconds)


@key.command(
    "limits", cls=TaughtCommand, sections=_LIMITS_SECTIONS, short_help="Show or set an API key's rate limits."
)
@click.argument("public_key", type=PublicKeyType())
@_count_option("--read", "Reads in any 60 s.")
@_count_option("--write", "Writes in any 60 s, all but orders and browser sessions.")
@_count_option("--order", "Orders placed, changed and cancelled in any 60 s.")
@_count_option("--browser-session", "Browser session tokens made in any 60 s.")
@click.option("--reset", is_flag=True, help="All as the services are configured.")
@data_option
def limits(public_key: str, reset: bool, data: Path, **counts: int | None) -> None:
    """Show the rate limits of its own that the API key PUBLIC_KEY has, or give it some.

    PUBLIC_KEY is the `pk_…` of a project's or an account's key, as its owner's lists show it. Without an
    option nothing changes. What is given, higher or lower than the limits of all, takes the place of all
    that was given before: a class without an option is back at what the services are configured with. It
    holds from the next request on, and another figure than before counts from nothing.

    All of an account's credentials together may do ten times what one may. A key with a limit of its own
    is counted apart from that, so that it takes nothing from the account's other credentials. Rotating
    the key hands its limits on to the new one.
    """
    given = {name: count for name, count in counts.items() if count is not None}
    if reset and given:
        raise click.UsageError("--reset takes no figures: a class that is not given is as configured anyway")
    if reset or given:
        operate(data, lambda client: client.set_key_limits(public_key, given))
    else:
        given = operate(data, lambda client: client.key_limits(public_key))
    for name in LIMITED_CLASSES:
        count = given.get(name)
        say(f"{name.replace('_', '-'):<15}  {'as configured' if count is None else f'{count} a minute'}")


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


def _of_stack(data: Path, purpose: str) -> Path:
    from cli.data_directory import DataDirectory, DataDirectoryError

    directory = DataDirectory(data)
    try:
        directory.check_marker()
    except DataDirectoryError as error:
        raise CommandRefused(str(error)) from None
    return directory.keys / purpose


def _rotate(directories: dict[str, Path], lead_seconds: int) -> None:
    from chassis.clock import SystemClock
    from chassis.ids import SystemIds
    from chassis.keyring import KeyRing, KeyRingError, key_file, key_files
    from cli.key_rotation import rotate_signing_keys

    clock = SystemClock()
    ids = SystemIds(clock)
    directory = Path()
    try:
        for purpose, directory in directories.items():
            if not key_files(directory):
                raise CommandRefused(_no_key(directory, purpose))
            # All of them first: a rotation of one half would be a surprise.
            KeyRing.load(directory)
        for purpose, directory in directories.items():
            done = rotate_signing_keys(directory, purpose, lead_seconds, clock, ids)
            say(f"{purpose:<8}  {done.made.kid} signs from {_moment(done.made.signs_from_ns)}")
            say(f"          {key_file(directory, done.made.kid)}")
            for kid in done.removed_kids:
                say(f"          {kid} removed: nothing that it signed is good any more")
    except KeyRingError as error:
        raise CommandRefused(str(error)) from None
    except OSError as error:
        raise CommandRefused(f"cannot write to {directory}: {error.strerror}") from None


def _no_key(directory: Path, purpose: str) -> str:
    return (
        f"{directory} has no {purpose} key to rotate: `sealgate key create {directory}` makes the first, and "
        f"--{purpose}-keys names another directory"
    )


def _moment(at_ns: int) -> str:
    """A time to the second, rounded up."""
    return f"{datetime.fromtimestamp(-(-at_ns // 1_000_000_000), UTC):%Y-%m-%dT%H:%M:%SZ}"

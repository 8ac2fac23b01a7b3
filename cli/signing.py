"""`sealgate sign` and `sealgate verify`: signed requests, made and looked at without a server."""

from __future__ import annotations

import base64
import json
import re
import textwrap
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from chassis.limits import SIGNED_PAYLOAD_MAX_BYTES
from cli.help import TaughtCommand, TaughtGroup, write_sections
from cli.output import CommandFailed, CommandRefused, say
from cli.reading import object_of, octets_of, text_of

if TYPE_CHECKING:
    from sealgate.client import KeyPair, Signer
    from sealgate.client.wire import Body

_T = TypeVar("_T")
_Command = TypeVar("_Command", bound=Callable[..., Any])

AUDIENCE_VARIABLE: Final = "SEALGATE_AUDIENCE"
_ID_VERSION: Final = 7
_ENVELOPE: Final = ("payload", "signature", "public_key", "account_id")
_OWN_HEADERS: Final = ("x-account-id", "x-public-key", "x-signature", "x-request-id")
# Its length is signed in two bytes.
_TARGET_MAX_CHARACTERS: Final = 0xFFFF
# Names in files are strangers' own, of any length.
_NAME_SHOWN_CHARACTERS: Final = 64
# What the platform takes as the path of a request that is signed in headers: written in the one shortest way.
_TARGET: Final = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]{1,255})+")
_PAYLOAD_EXAMPLES: Final = [
    "sealgate sign payload CancelAllOrders --key session.key --account ID --audience api.example.com \\",
    """    --body '{"subaccount_index": 0, "wallet_id": "ID"}' > envelope.json""",
    "curl https://api.example.com/api/v1/trading/order/cancel-all -H content-type:application/json \\",
    "    -d @envelope.json",
]
_HEADERS_EXAMPLES: Final = [
    "sealgate sign headers GET /api/v1/api-keys --key session.key --account ID \\",
    "    --audience api.example.com > headers",
    "curl https://api.example.com/api/v1/api-keys -H @headers",
]
_VERIFY_EXAMPLES: Final = [
    "sealgate verify payload envelope.json --audience api.example.com",
    "sealgate verify headers GET /api/v1/api-keys headers --audience api.example.com",
]


class _MessagesCommand(TaughtCommand):
    """A command whose help also has all messages with their fields."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections, and the messages below them."""
        super().format_epilog(ctx, formatter)
        lines = (line for table in _tables().values() for line in _told_table(table))
        write_sections({"Messages, and in brackets what may be absent": list(lines)}, formatter)


class UuidType(click.ParamType[uuid.UUID]):
    """A UUID on the command line."""

    name = "ID"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> uuid.UUID:
        """Reads the UUID or ends with a usage error."""
        try:
            return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))
        except ValueError:
            self.fail(f"{value!r} is no UUID", param, ctx)


def key_option(command: _Command, whose: str = "the private key") -> _Command:
    """The file of a private key, which is never given on the command line itself."""
    option = click.option(
        "--key",
        "key_file",
        required=True,
        envvar="SEALGATE_KEY_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"File of {whose}, as `sealgate key generate` makes it; only its owner may read it.",
    )
    return option(command)


def account_option(command: _Command) -> _Command:
    """The account that is signed for."""
    option = click.option(
        "--account",
        required=True,
        envvar="SEALGATE_ACCOUNT",
        show_envvar=True,
        type=UuidType(),
        help="The account that the key is of.",
    )
    return option(command)


def audience_option(command: _Command) -> _Command:
    """The deployment that is signed for."""
    text = "The deployment's name: the host (and port) of its address, unless it was given another."
    option = click.option(
        "--audience", required=True, metavar="NAME", envvar=AUDIENCE_VARIABLE, show_envvar=True, help=text
    )
    return option(command)


def _request_id_option(command: _Command) -> _Command:
    text = "The request's id, a UUIDv7 of now; without it, a new one."
    return click.option("--request-id", type=UuidType(), help=text)(command)


def load_key(path: Path) -> KeyPair:
    """The pair of a key file; ends with exit code 2 for one that cannot be used."""
    from sealgate.client import KeyFileError, KeyPair

    try:
        return KeyPair.load(path)
    except KeyFileError as error:
        raise CommandRefused(str(error)) from None


def signer_of(key_file: Path, account: uuid.UUID, audience: str | None) -> Signer:
    """What signs with a key file; ends with exit code 2 for a file or a name that cannot be used."""
    from sealgate.client import Signer

    return _or_refused(lambda: Signer(load_key(key_file), account, audience=audience))


@click.group(cls=TaughtGroup, sections={"Examples": [*_PAYLOAD_EXAMPLES, "", *_HEADERS_EXAMPLES]})
def sign() -> None:
    """Sign a request with a key file, for another program to send.

    Signed requests are good for 15 seconds from when their id was made.
    """


@sign.command(
    "payload",
    cls=_MessagesCommand,
    sections={"Examples": _PAYLOAD_EXAMPLES},
    short_help="Sign a message, such as PlaceOrder.",
)
@click.argument("message")
@key_option
@account_option
@audience_option
@click.option(
    "--body", "text", metavar="JSON", help="The message's fields; bytes in base64. `-` reads stdin."
)
@click.option("--body-hex", metavar="HEX", help="The message's bytes, instead of --body.")
@_request_id_option
def sign_payload(
    message: str,
    key_file: Path,
    account: uuid.UUID,
    audience: str,
    text: str | None,
    body_hex: str | None,
    request_id: uuid.UUID | None,
) -> None:
    """Sign a MESSAGE, such as PlaceOrder, and print the JSON to send to its route.

    docs/signing.md says what each field may be. With --body-hex the bytes are signed as they are, whatever
    they say. A message without fields needs neither.
    """
    table = _table(message)
    if text is None and body_hex is None and not table.fields:
        text = "{}"
    if body_hex is not None and text is None:
        body = _from_hex(body_hex)
    elif text is not None and body_hex is None:
        fields = _fields(table, _given(text))
        body = _or_refused(lambda: table.encode(fields))
    else:
        raise click.UsageError("give the message either as --body or as --body-hex")
    signer = signer_of(key_file, account, audience)
    envelope = signer.payload(table.request_type, request_id or _new_request_id(), body)
    say(json.dumps(envelope.document()))


@sign.command(
    "headers",
    cls=TaughtCommand,
    sections={"Examples": _HEADERS_EXAMPLES},
    short_help="Sign a request as a whole, in headers.",
)
@click.argument("verb", type=click.Choice(["GET", "POST"]))
@click.argument("target")
@key_option
@account_option
@audience_option
@click.option("--body", "text", default="", metavar="JSON", help="The body as it will be sent, to the byte.")
@_request_id_option
def sign_headers(
    verb: str,
    target: str,
    key_file: Path,
    account: uuid.UUID,
    audience: str,
    text: str,
    request_id: uuid.UUID | None,
) -> None:
    """Sign a request as a whole, VERB and path (TARGET) and body, and print the headers to send with it.

    They are for the routes that manage API keys and device keys with a session key. The path starts with a
    slash and has no query: none of those routes takes one.
    """
    if len(target) > _TARGET_MAX_CHARACTERS or not _TARGET.fullmatch(target):
        raise click.UsageError(
            f"{target[:_NAME_SHOWN_CHARACTERS]!r} is no path in normal form, such as /api/v1/api-keys: it "
            "starts with one slash and has neither scheme nor host, no query, no dot segments and no escapes"
        )
    signer = signer_of(key_file, account, audience)
    headers = _or_refused(
        lambda: signer.headers(verb, target, _given(text).encode(), request_id or _new_request_id())
    )
    for name, value in headers.items():
        say(f"{name.upper()}: {value}")


@sign.command(
    "possession",
    short_help="Sign what registers a master key.",
    cls=TaughtCommand,
    sections={
        "Examples": ["sealgate sign possession --key master.key --account ID --audience api.example.com"]
    },
)
@key_option
@account_option
@audience_option
def sign_possession(key_file: Path, account: uuid.UUID, audience: str) -> None:
    """Sign what proves that a key to be registered as a master key is at hand; prints its two halves.

    They are what `POST /api/v1/project/account/{account_id}/master-key` takes.
    """
    signer = signer_of(key_file, account, audience)
    halves = {"public_key": signer.key.public_key, "possession_signature": signer.possession()}
    say(json.dumps({name: _base64(value) for name, value in halves.items()}))


@click.group(
    cls=TaughtGroup,
    sections={"Examples": _VERIFY_EXAMPLES},
    short_help="Say whether a signed request is good.",
)
def verify() -> None:
    """Say what a signed request is, and whether its signature holds: exit code 0 if so, 1 if not.

    A signature that holds over what no platform takes, for its form or its size, is 1 as well. Whose key it
    is, and whether the request would be served, only the platform knows.
    """


@verify.command("payload", cls=_MessagesCommand, sections={"Examples": _VERIFY_EXAMPLES[:1]})
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@audience_option
def verify_payload(file: str, audience: str) -> None:
    """Look at a signed payload: the JSON in FILE, `-` for stdin."""
    from sealgate.client.signing import HEADER_BYTES, checked_audience, payload_message, signature_holds

    members, repeated = object_of(text_of(file), "the file")
    payload, signature, public_key = (
        _octets(members, name) for name in ("payload", "signature", "public_key")
    )
    account = _uuid(members, "account_id")
    if len(payload) < HEADER_BYTES or payload[:2] != b"\x01\x00" or payload[4:8] != bytes(4):
        raise CommandFailed("this is no payload of version 1 with an Ed25519 signature")
    request_type = int.from_bytes(payload[2:4], "little")
    tables = [table for table in _tables().values() if table.request_type == request_type]
    named = tables[0].name if tables else "unknown"
    say(f"{'request type':<14}{request_type} {named}")
    _say_origin(uuid.UUID(bytes=payload[8:HEADER_BYTES]), account, public_key)
    fault = _fault_of_envelope(members, repeated, account, payload)
    if not tables:
        fault = "no message has this request type"
    if uuid.UUID(bytes=payload[8:HEADER_BYTES]).version != _ID_VERSION:
        fault = "its request id is no UUIDv7"
    elif tables:
        try:
            fields = tables[0].decode(payload[HEADER_BYTES:])
            say(f"{'body':<14}{json.dumps(fields, default=_base64)}")
        except ValueError as error:
            fault = str(error)
    message = payload_message(_or_refused(lambda: checked_audience(audience)), account, payload)
    _conclude(signature_holds(public_key, signature, message), audience, "account, payload or key")
    _refuse_form(fault)
    _say_age(uuid.UUID(bytes=payload[8:HEADER_BYTES]))


def _fault_of_envelope(
    members: dict[str, object], repeated: list[str], account: uuid.UUID, payload: bytes
) -> str | None:
    """Why the platform takes no such envelope, whoever signed it; None where it does."""
    if strangers := [name for name in members if name not in _ENVELOPE]:
        return f"{strangers[0][:_NAME_SHOWN_CHARACTERS]!r} is no member of it"
    if repeated:
        return f"{repeated[0]} is there twice"
    if members["account_id"] != str(account):
        return f"account_id is not written as {account}"
    return _fault_of_size("payload", payload)


def _fault_of_size(what: str, signed: bytes) -> str | None:
    if len(signed) <= SIGNED_PAYLOAD_MAX_BYTES:
        return None
    return f"its {what} has more than {SIGNED_PAYLOAD_MAX_BYTES // 1024} KiB"


def _refuse_form(fault: str | None) -> None:
    """Ends with exit code 1 for a fault that is not the signature's."""
    if fault is not None:
        raise CommandFailed(f"it is signed, and would be refused all the same: {fault}")


@verify.command(
    "headers",
    cls=TaughtCommand,
    sections={"Examples": _VERIFY_EXAMPLES[1:]},
    short_help="Look at a request that is signed in headers.",
)
@click.argument("verb", type=click.Choice(["GET", "POST"]))
@click.argument("target")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@audience_option
@click.option("--body", "text", default="", metavar="JSON", help="The body as it was sent, to the byte.")
def verify_headers(verb: str, target: str, file: str, audience: str, text: str) -> None:
    """Look at a request that is signed in headers: one header a line in FILE, `-` for stdin."""
    from sealgate.client.signing import checked_audience, session_message, signature_holds

    if file == text == "-":
        raise click.UsageError("stdin has either the headers or the body")
    if len(target) > _TARGET_MAX_CHARACTERS:
        raise click.UsageError("the path is longer than any that can be signed")
    lines = [line.partition(":") for line in text_of(file).splitlines() if line.strip()]
    names = [name.strip().lower() for name, _, _ in lines]
    members: dict[str, object] = {
        name: value.strip() for name, (_, _, value) in zip(names, lines, strict=True)
    }
    signature, public_key = _octets(members, "x-signature"), _octets(members, "x-public-key")
    account, request_id = _uuid(members, "x-account-id"), _uuid(members, "x-request-id")
    _say_origin(request_id, account, public_key)
    name, body = _or_refused(lambda: checked_audience(audience)), _given(text).encode()
    message = _or_refused(lambda: session_message(name, account, request_id, verb, target, body))
    _conclude(signature_holds(public_key, signature, message), audience, "verb, path, body or key")
    for own in _OWN_HEADERS:
        _refuse_form(f"{own} is there twice" if names.count(own) > 1 else None)
    for own, value in (("x-account-id", account), ("x-request-id", request_id)):
        _refuse_form(f"{own} is not written as {value}" if members[own] != str(value) else None)
    _refuse_form("its request id is no UUIDv7" if request_id.version != _ID_VERSION else None)
    _refuse_form(None if _TARGET.fullmatch(target) else "its path is not in normal form")
    _refuse_form("a GET has no body" if verb == "GET" and body else _fault_of_size("body", body))
    _say_age(request_id)


def _say_origin(request_id: uuid.UUID, account: uuid.UUID, public_key: bytes) -> None:
    say(f"{'request id':<14}{request_id}, {_moment(request_id)}")
    say(f"{'account':<14}{account}")
    say(f"{'public key':<14}{_base64(public_key)}")


def _moment(request_id: uuid.UUID) -> str:
    if request_id.version != _ID_VERSION:
        return "which is no UUIDv7"
    try:
        moment = datetime.fromtimestamp((request_id.int >> 80) / 1000, UTC)
    except ValueError:
        return "made after the last year that there is"
    return f"made at {moment.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}"


def _conclude(holds: bool, audience: str, others: str) -> None:
    say(f"{'signature':<14}{'valid' if holds else 'NOT VALID'} for {audience}")
    if not holds:
        raise CommandFailed(f"the signature does not hold: another audience, {others}")


def _say_age(request_id: uuid.UUID) -> None:
    """Says whether the platform would still take the id, by this machine's clock."""
    from chassis.clock import NANOSECONDS_PER_SECOND, SystemClock
    from sealgate.client.signing import REQUEST_WINDOW_SECONDS

    age_seconds = SystemClock().now_ns() / NANOSECONDS_PER_SECOND - (request_id.int >> 80) / 1000
    window = f"the {REQUEST_WINDOW_SECONDS} s in which a request is taken"
    if age_seconds < 0:
        told = f"{_span(-age_seconds)} ahead of this machine's clock"
    elif age_seconds <= REQUEST_WINDOW_SECONDS:
        told = f"within {window}"
    else:
        told = f"{_span(age_seconds - REQUEST_WINDOW_SECONDS)} past {window}"
    say(f"{'time':<14}{told}")


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def _tables() -> dict[str, Body]:
    from sealgate.client import bodies
    from sealgate.client.wire import Body

    return {value.name: value for value in vars(bodies).values() if isinstance(value, Body)}


def _told_table(table: Body) -> list[str]:
    """A message with its fields, in lines that are not too long."""
    fields = (f"[{field.name}]" if field.optional else field.name for field in table.fields)
    text = f"{table.name}: {', '.join(fields) or 'no fields'}"
    return textwrap.wrap(text, 96, subsequent_indent="    ", break_long_words=False)


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise CommandRefused("--body-hex has to be hexadecimal: two of 0-9 and a-f for each byte") from None


def _table(message: str) -> Body:
    tables = _tables()
    if message not in tables:
        raise click.UsageError(f"{message} is none of the messages that are signed: {', '.join(tables)}")
    return tables[message]


def _fields(table: Body, text: str) -> dict[str, object]:
    from sealgate.client.wire import Kind

    members, repeated = object_of(text, "--body")
    if repeated:
        raise CommandRefused(f"--body has {repeated[0][:_NAME_SHOWN_CHARACTERS]!r} twice")
    kinds = {field.name: field.kind for field in table.fields}
    unknown = sorted(members.keys() - kinds.keys())
    if unknown:
        shown = repr(unknown[0][:_NAME_SHOWN_CHARACTERS])
        raise CommandRefused(f"{table.name} has no field {shown}; it has {', '.join(kinds) or 'none'}")
    for name in members:
        if kinds[name] is Kind.BYTES:
            members[name] = _octets(members, name)
    return members


def _octets(members: dict[str, object], name: str) -> bytes:
    """A member's bytes; base64 that the platform would not take is refused."""
    if name not in members:
        raise CommandRefused(f"{name} is not there")
    octets = octets_of(members[name])
    if octets is None:
        raise CommandRefused(f"{name} is no base64 in its one canonical form")
    return octets


def _uuid(members: dict[str, object], name: str) -> uuid.UUID:
    try:
        return uuid.UUID(str(members.get(name)))
    except ValueError:
        raise CommandRefused(f"{name} is no UUID") from None


def _given(text: str) -> str:
    return text_of("-") if text == "-" else text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _new_request_id() -> uuid.UUID:
    from sealgate.client.machine import SystemMachine

    return SystemMachine().request_id()


def _or_refused(make: Callable[[], _T]) -> _T:
    try:
        return make()
    except ValueError as error:
        raise CommandRefused(str(error)) from None

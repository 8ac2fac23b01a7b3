"""Web origins as a browser writes them into `Origin` (RFC 6454 section 6.2, WHATWG URL section 4.5).

An origin that is stored is later compared with the header byte for byte, so only the one form that
browsers send is taken: anything else would be a rule that never matches.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from chassis.limits import ORIGIN_MAX_CHARACTERS

_ORIGIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# A host whose last label is a number, decimal or hexadecimal, is an IPv4 address to a browser.
_NUMBER_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORT: Final = {"http": "80", "https": "443"}

_SHAPE_MESSAGE: Final = "must be an exact web origin such as https://app.example.com or http://localhost:3000"


def check_origin(text: str) -> str | None:
    """Says what is wrong with `text` as an exact web origin, or None if it is one.

    Taken: `https` or `http`, a lower-case host name (punycode), IPv4 or bracketed IPv6 address in
    canonical form, and a port unless it is the scheme's own. Refused: `null`, wildcards, user names,
    paths, a trailing slash or dot. The sentence never repeats the text.
    """
    if len(text) > ORIGIN_MAX_CHARACTERS:
        return f"must have at most {ORIGIN_MAX_CHARACTERS} characters"
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return _SHAPE_MESSAGE
    port = match["port"]
    if port is not None:
        if port.startswith("0") or int(port) > 65_535:
            return "must have a port from 1 to 65535 without leading zeros"
        if port == _DEFAULT_PORT[match["scheme"]]:
            return "must leave out the scheme's default port, as browsers do"
    return None if _is_host(match["host"]) else "must have a host name or address in canonical form"


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return _is_canonical_ipv6(host[1:-1])
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if _NUMBER_LABEL.fullmatch(labels[-1]):
        return _is_canonical_ipv4(host)
    return True


def _is_canonical_ipv4(text: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(text)) == text
    except ValueError:
        return False


def _is_canonical_ipv6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped
    if mapped is None:
        return str(address) == text
    # Python writes these with dots from 3.13 on, and browsers never do.
    return text == f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"

"""Addresses as people write them, and whether somebody listens there."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import re
import socket
from dataclasses import dataclass
from typing import Final

# Below those that the kernel gives to outgoing connections: what is free here now is still free when the
# server has started that it is for. Each call goes on where the last one ended, each process elsewhere.
_FREE_PORTS: Final = range(20_000, 32_768)
_next_free: Final = itertools.count(61 * os.getpid())

_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address; port 0 stands for any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Reads `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`; raises ValueError.

    Only loopback addresses are taken: the local stack speaks no TLS.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080")
    host = "127.0.0.1" if match["host"] == "localhost" else match["v6"] or match["host"]
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ValueError(f"{host!r} is not an IP address; try 127.0.0.1:{match['port']}") from None
    if not loopback:
        raise ValueError(f"{host} is not a loopback address, and this stack speaks no TLS; use 127.0.0.1")
    return Address(host, int(match["port"]))


def bind_or_none(host: str, port: int) -> socket.socket | None:
    """A socket bound to an address nobody listens on, None when somebody does; port 0 means any.

    Raises OSError for an address that this process cannot have.
    """
    if port != 0:
        return _bind(host, port)
    tries = (_bind(host, _FREE_PORTS[next(_next_free) % len(_FREE_PORTS)]) for _ in _FREE_PORTS)
    return next((listener for listener in tries if listener is not None), None)


def _bind(host: str, port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # As the servers do it: connections that are merely closing do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return listener

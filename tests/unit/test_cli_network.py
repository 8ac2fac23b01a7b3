"""Addresses on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.network import Address, bind_or_none, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:9000", Address("127.0.0.1", 9000)),
        ("127.8.8.8:0", Address("127.8.8.8", 0)),
        ("[::1]:8080", Address("::1", 8080)),
    ],
)
def test_address_is_read_when_it_is_loopback(text: str, address: Address) -> None:
    """Every way of writing a loopback address is understood."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8080", "HOST:PORT"),
        ("127.0.0.1", "HOST:PORT"),
        ("127.0.0.1:65536", "HOST:PORT"),
        ("127.0.0.1:-1", "HOST:PORT"),
        ("::1:8080", "HOST:PORT"),
        ("example.org:80", "not an IP address"),
        ("0.0.0.0:8080", "not a loopback address"),
        ("[::]:8080", "not a loopback address"),
        ("10.0.0.1:8080", "not a loopback address"),
    ],
)
def test_address_is_refused_with_a_hint_when_it_cannot_be_served(text: str, hint: str) -> None:
    """Plain HTTP never leaves the machine, and a wrong address says what a right one looks like."""
    with pytest.raises(ValueError, match=hint):
        parse_address(text)


def test_address_prints_as_it_is_written() -> None:
    """An IPv6 address keeps its brackets, so that it can be pasted into a URL."""
    assert [str(Address("127.0.0.1", 80)), str(Address("::1", 80))] == ["127.0.0.1:80", "[::1]:80"]


def test_port_is_refused_when_somebody_listens_on_it() -> None:
    """A taken port is noticed before anything is started."""
    taken = bind_or_none("127.0.0.1", 0)
    assert taken is not None
    with taken:
        port = taken.getsockname()[1]
        assert bind_or_none("127.0.0.1", port) is None
    again = bind_or_none("127.0.0.1", port)
    assert again is not None
    again.close()


def test_port_raises_when_the_address_is_not_of_this_machine() -> None:
    """An address nobody here can have is an error of its own, not a taken port."""
    with pytest.raises(OSError, match="assign"):
        bind_or_none("192.0.2.1", 0)


def test_free_port_is_none_that_an_outgoing_connection_is_given() -> None:
    """It is to be free still when the server starts that it was found for; and no two finds are one."""
    ports = set()
    for _ in range(8):
        listener = bind_or_none("127.0.0.1", 0)
        assert listener is not None
        with listener:
            ports.add(listener.getsockname()[1])
    assert len(ports) == 8
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    assert max(ports) < lowest_outgoing

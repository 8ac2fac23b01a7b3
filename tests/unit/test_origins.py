"""The exact web origin: the one form in which a browser writes it."""

from __future__ import annotations

import pytest

from chassis.origins import check_origin


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "http://app.example.com",
        "https://localhost",
        "http://localhost:3000",
        "https://example.com:8443",
        "https://example.com:80",
        "http://example.com:443",
        "https://xn--bcher-kva.example",
        "https://my_app.example.com",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "https://[2001:db8::1]",
        "http://[::ffff:102:304]:8080",
        "https://0x.example",
        "https://" + ".".join(["a" * 63] * 3 + ["b" * 55]),
    ],
)
def test_origin_is_taken_when_a_browser_would_send_it_so(origin: str) -> None:
    """Every form that browsers serialize is accepted as it stands."""
    assert check_origin(origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "*",
        "https://*",
        "https://*.example.com",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "file://",
        "HTTPS://example.com",
        "https://Example.com",
        "https://bücher.example",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://example.com#x",
        "https://user@example.com",
        "https://example.com.",
        "https://.example.com",
        "https://example..com",
        "https://-example.com",
        "https://example-.com",
        "https://example.com:",
        "https://example.com:443",
        "http://example.com:80",
        "https://example.com:0",
        "https://example.com:0443",
        "https://example.com:65536",
        "https://example.com:99999",
        "https://example.com:123456",
        "https://example.com:٨٠",
        "https://exa mple.com",
        " https://example.com",
        "https://example.com\n",
        "https://example.com\x00",
        "https://",
        "https://:8080",
        "http://127.1",
        "http://127.0.0.01",
        "http://256.0.0.1",
        "http://1.2.3.4.5",
        "http://2130706433",
        "http://example.0x7f",
        "http://[::1",
        "http://[0:0:0:0:0:0:0:1]",
        "http://[::FFFF]",
        "http://[::ffff:1.2.3.4]",
        "http://[::1%eth0]",
        "http://::1",
        "http://[127.0.0.1]",
        "https://" + ".".join(["a" * 63] * 3 + ["b" * 56]),
        "https://" + "a" * 64 + ".example",
    ],
)
def test_origin_is_refused_when_no_browser_would_send_it_so(origin: str) -> None:
    """Whatever would never equal an Origin header is refused with a sentence."""
    sentence = check_origin(origin)
    assert sentence is not None
    assert sentence.startswith("must ")

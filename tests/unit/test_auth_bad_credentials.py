"""Bad credentials are counted by client address; good ones never are."""

from __future__ import annotations

import pytest

from chassis.errors import ERROR_TABLE, Code, SealgateError
from chassis.ratelimit import ProcessRateLimiter
from chassis.rpc.bad_credentials import BadCredentials
from chassis.testing.fakes import FakeClock

ADDRESS = "192.0.2.1"


async def answers(bad_credentials: BadCredentials, count: int, address: str = ADDRESS) -> list[Code]:
    refusal = SealgateError(Code.SESSION_INVALID)
    return [(await bad_credentials.answer(refusal, address)).code for _ in range(count)]


async def test_refusal_becomes_a_request_to_wait_when_there_were_too_many(clock: FakeClock) -> None:
    """The 31st of a minute, with the seconds to wait; another address has a count of its own."""
    bad_credentials = BadCredentials(30, ProcessRateLimiter(clock), clock)
    assert await answers(bad_credentials, 32) == [Code.SESSION_INVALID] * 30 + [Code.RATE_LIMITED] * 2
    assert await answers(bad_credentials, 1, "192.0.2.2") == [Code.SESSION_INVALID]
    clock.advance(seconds=0.5)
    limited = await bad_credentials.answer(SealgateError(Code.API_KEY_INVALID), ADDRESS)
    assert limited.retry_after_seconds == 60
    clock.advance(seconds=59.5)
    assert await answers(bad_credentials, 1) == [Code.SESSION_INVALID]


@pytest.mark.parametrize("code", [code for code, row in ERROR_TABLE.items() if row.http_status != 401])
async def test_refusal_of_a_good_credential_stays_as_it_is(clock: FakeClock, code: Code) -> None:
    """Only a credential that proves nothing is counted, and only its refusal replaced."""
    bad_credentials = BadCredentials(1, ProcessRateLimiter(clock), clock)
    refusal = SealgateError(code)
    for _ in range(3):
        assert await bad_credentials.answer(refusal, ADDRESS) is refusal
    assert await answers(bad_credentials, 2) == [Code.SESSION_INVALID, Code.RATE_LIMITED]
    assert await bad_credentials.answer(refusal, ADDRESS) is refusal


@pytest.mark.parametrize(
    ("address", "other", "is_same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
async def test_addresses_of_one_network_of_ipv6_share_a_count(
    clock: FakeClock, address: str, other: str, *, is_same: bool
) -> None:
    """Whoever has a network of 64 bits has as many addresses as he likes, and still one count."""
    bad_credentials = BadCredentials(1, ProcessRateLimiter(clock), clock)
    assert await answers(bad_credentials, 1, address) == [Code.SESSION_INVALID]
    expected = Code.RATE_LIMITED if is_same else Code.SESSION_INVALID
    assert await answers(bad_credentials, 1, other) == [expected]


async def test_caller_without_an_address_is_not_counted(clock: FakeClock) -> None:
    """One without a network address is a process of our own machine."""
    assert (
        await answers(BadCredentials(1, ProcessRateLimiter(clock), clock), 5, "")
        == [Code.SESSION_INVALID] * 5
    )

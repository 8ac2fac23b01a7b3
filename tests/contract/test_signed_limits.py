"""Limits of signed requests over REST: told on every answer, by key, and by address for bad ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
import pytest

from chassis.testing.databases import TemplateDatabases
from sealgate.wallet.v1 import signed_body_pb2 as wallet_pb2
from tests.cluster import Cluster
from tests.platform_support import RATE_HEADERS, private_cluster
from tests.signing_support import SignedPayload, new_pair
from tests.signing_world import Signing, answered, make_signing

WRITES_COUNT: Final = 60
BAD_COUNT: Final = 30
UPDATE: Final = "SubmitUpdateWallet"
# Refused, and recorded as that: it counts as any other.
BODY: Final = wallet_pb2.UpdateWallet(wallet_id="nobody's", name="Mine")


@pytest.fixture(scope="module")
async def platform(template_databases: TemplateDatabases, short_directory: Path) -> AsyncIterator[Cluster]:
    async with private_cluster(template_databases, short_directory, rate_limits={}) as running:
        yield running


@pytest.fixture
async def signing(platform: Cluster) -> Signing:
    # A minute of its own, because tests share the client's address.
    platform.clock.advance(seconds=60)
    return await make_signing(platform)


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


async def test_key_is_limited_by_itself_and_a_refused_id_stays_good(
    platform: Cluster, signing: Signing
) -> None:
    """One write too many in a minute: 429 with the figures; another key goes on, and soon the same id is."""
    other = await signing.mint()
    for left in reversed(range(WRITES_COUNT)):
        answer = await signing.post(UPDATE, signing.signed(UPDATE, signing.session, BODY))
        assert answered(answer, "portfolio_rejected_invalid")
        assert answer.headers["x-ratelimit-remaining"] == str(left)
    platform.clock.advance(seconds=50)
    one_more = signing.signed(UPDATE, signing.session, BODY)
    answer = await signing.post(UPDATE, one_more)
    assert (answer.status_code, code_of(answer)) == (429, "RATE_LIMITED")
    assert set(answer.headers) >= {*RATE_HEADERS, "retry-after"}
    answered(await signing.post(UPDATE, signing.signed(UPDATE, other, BODY)), "portfolio_rejected_invalid")
    platform.clock.advance(seconds=int(answer.headers["retry-after"]))
    answered(await signing.post(UPDATE, one_more), "portfolio_rejected_invalid")


async def test_repeat_is_told_beyond_the_limit(signing: Signing) -> None:
    """Who lost an answer learns it, however much he has asked since."""
    first = signing.signed(UPDATE, signing.session, BODY)
    answered(await signing.post(UPDATE, first), "portfolio_rejected_invalid")
    for _ in range(WRITES_COUNT - 1):
        await signing.post(UPDATE, signing.signed(UPDATE, signing.session, BODY))
    assert (
        code_of(await signing.post(UPDATE, signing.signed(UPDATE, signing.session, BODY))) == "RATE_LIMITED"
    )
    again = answered(await signing.post(UPDATE, first), "duplicate_request_id")
    assert (again["original"]["status"], again["same_payload"]) == ("portfolio_rejected_invalid", True)


def spoilt(signed: SignedPayload) -> SignedPayload:
    return replace(signed, signature=bytes(64))


async def test_bad_signatures_are_counted_against_their_address(signing: Signing) -> None:
    """After so many that do not hold there is a pause; a good one is served all the while."""
    for number in range(BAD_COUNT):
        signed = signing.signed(UPDATE, signing.session if number % 2 else new_pair(), BODY)
        answer = await signing.post(UPDATE, spoilt(signed))
        assert (answer.status_code, code_of(answer)) == (401, "SIGNATURE_INVALID")
    answer = await signing.post(UPDATE, spoilt(signing.signed(UPDATE, signing.session, BODY)))
    assert (answer.status_code, code_of(answer)) == (429, "RATE_LIMITED")
    assert "retry-after" in answer.headers
    good = signing.signed(UPDATE, signing.session, BODY)
    answered(await signing.post(UPDATE, good), "portfolio_rejected_invalid")

"""The memory of bad keys: short, small, and never of anything that could turn good."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from chassis.limits import BAD_KEY_CACHE_COUNT, BAD_KEY_CACHE_ORIGINS_COUNT
from chassis.testing.fakes import FakeClock
from services.auth.bad_keys import BadKeys
from services.auth.domain.exchange import CredentialKind, DeadKey, DeadState

ACCOUNT = CredentialKind.ACCOUNT_API_KEY
SEED = b"\x05" * 32
UNKNOWN, EXPIRED = DeadKey(DeadState.UNKNOWN), DeadKey(DeadState.EXPIRED)
REVOKED = DeadKey(DeadState.REVOKED, uuid.UUID(int=1), ("https://shop.example",))


@pytest.mark.parametrize("dead", [UNKNOWN, REVOKED], ids=lambda dead: dead.state)
def test_bad_key_is_remembered_for_thirty_seconds(dead: DeadKey, clock: FakeClock) -> None:
    """To the nanosecond, and looking at it does not prolong it."""
    bad_keys = BadKeys(clock)
    bad_keys.remember(ACCOUNT, SEED, dead)
    clock.advance_ns(30 * 10**9 - 1)
    assert bad_keys.recall(ACCOUNT, SEED) is dead
    clock.advance_ns(1)
    assert bad_keys.recall(ACCOUNT, SEED) is None
    assert len(bad_keys) == 0


def test_expired_key_is_not_remembered(clock: FakeClock) -> None:
    """Only what can never turn good is."""
    bad_keys = BadKeys(clock)
    bad_keys.remember(ACCOUNT, SEED, EXPIRED)
    assert bad_keys.recall(ACCOUNT, SEED) is None


def test_key_with_many_origins_is_not_remembered(clock: FakeClock) -> None:
    """What is kept of a key is small, whatever its customer made of it."""
    bad_keys = BadKeys(clock)
    origins = tuple(f"https://shop{number}.example" for number in range(BAD_KEY_CACHE_ORIGINS_COUNT + 1))
    bad_keys.remember(ACCOUNT, SEED, replace(REVOKED, origins=origins))
    assert bad_keys.recall(ACCOUNT, SEED) is None
    fitting = replace(REVOKED, origins=origins[1:])
    bad_keys.remember(ACCOUNT, SEED, fitting)
    assert bad_keys.recall(ACCOUNT, SEED) is fitting


def test_bad_key_is_remembered_for_its_kind_only(clock: FakeClock) -> None:
    """An account's key shown as a project's is unknown, and still good where it belongs."""
    bad_keys = BadKeys(clock)
    bad_keys.remember(CredentialKind.PROJECT_KEY, SEED, UNKNOWN)
    assert bad_keys.recall(ACCOUNT, SEED) is None


def test_bad_keys_stay_within_their_bound_and_forget_what_was_not_asked_about(clock: FakeClock) -> None:
    """Somebody who guesses keys costs a fixed amount of memory."""
    bad_keys = BadKeys(clock)
    seeds = [number.to_bytes(32, "big") for number in range(BAD_KEY_CACHE_COUNT + 1)]
    for seed in seeds[:-1]:
        bad_keys.remember(ACCOUNT, seed, UNKNOWN)
    bad_keys.recall(ACCOUNT, seeds[0])
    bad_keys.remember(ACCOUNT, seeds[-1], UNKNOWN)
    assert len(bad_keys) == BAD_KEY_CACHE_COUNT
    assert bad_keys.recall(ACCOUNT, seeds[0]) is UNKNOWN
    assert bad_keys.recall(ACCOUNT, seeds[1]) is None


def test_bad_keys_hold_no_secret(clock: FakeClock) -> None:
    """What is kept is a digest."""
    bad_keys = BadKeys(clock)
    bad_keys.remember(ACCOUNT, SEED, UNKNOWN)
    assert [len(digest) for digest in bad_keys._keys] == [32]
    assert SEED not in bad_keys._keys

"""A short memory of API keys that do not work, so that a broken caller does not cost a look-up a call."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.limits import BAD_KEY_CACHE_COUNT, BAD_KEY_CACHE_SECONDS
from services.auth.domain.exchange import CredentialKind, DeadKey

_LIFETIME_NS: Final = BAD_KEY_CACHE_SECONDS * NANOSECONDS_PER_SECOND
# A revoked key stays revoked, and an unknown one cannot appear: we make the keys, from 32 random
# bytes that nobody can have shown before. An expired key is asked about, and a live one always.
_REMEMBERED: Final = frozenset({DeadKey.UNKNOWN, DeadKey.REVOKED})


class BadKeys:
    """At most 10,000 digests of unknown and revoked keys, each for 30 s; no secret is kept.

    A full memory forgets what was not asked about for longest.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: OrderedDict[bytes, tuple[DeadKey, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def recall(self, kind: CredentialKind, seed: bytes) -> DeadKey | None:
        """What is remembered of a key shown as `kind`, None when it has to be asked about."""
        digest = _digest(kind, seed)
        state, until_ns = self._states.get(digest, (None, 0))
        if state is None:
            return None
        if self._clock.monotonic_ns() >= until_ns:
            del self._states[digest]
            return None
        self._states.move_to_end(digest)
        return state

    def remember(self, kind: CredentialKind, seed: bytes, state: DeadKey) -> None:
        """Notes what the keys service said; only UNKNOWN and REVOKED are kept."""
        if state not in _REMEMBERED:
            return
        self._states[_digest(kind, seed)] = (state, self._clock.monotonic_ns() + _LIFETIME_NS)
        if len(self._states) > BAD_KEY_CACHE_COUNT:
            self._states.popitem(last=False)


def _digest(kind: CredentialKind, seed: bytes) -> bytes:
    return blake2b(seed, digest_size=32, person=kind.encode("ascii")).digest()

"""A short memory of API keys that do not work, so that a broken caller does not cost a look-up a call."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.limits import BAD_KEY_CACHE_COUNT, BAD_KEY_CACHE_ORIGINS_COUNT, BAD_KEY_CACHE_SECONDS
from services.auth.domain.exchange import CredentialKind, DeadKey, DeadState

_LIFETIME_NS: Final = BAD_KEY_CACHE_SECONDS * NANOSECONDS_PER_SECOND
# A revoked key stays revoked, and an unknown one cannot appear: we make the keys, from 32 random
# bytes that nobody can have shown before. An expired key is asked about, and a live one always.
_REMEMBERED: Final = frozenset({DeadState.UNKNOWN, DeadState.REVOKED})


class BadKeys:
    """At most 10,000 digests of unknown and revoked keys, each for 30 s; no secret is kept.

    Whose pages may read the refusal is kept too; a key with more than 10 origins is asked about instead.
    A full memory forgets what was not asked about for longest.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: OrderedDict[bytes, tuple[DeadKey, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def recall(self, kind: CredentialKind, seed: bytes) -> DeadKey | None:
        """What is remembered of a key shown as `kind`, None when it has to be asked about."""
        digest = _digest(kind, seed)
        dead, until_ns = self._keys.get(digest, (None, 0))
        if dead is None:
            return None
        if self._clock.monotonic_ns() >= until_ns:
            del self._keys[digest]
            return None
        self._keys.move_to_end(digest)
        return dead

    def remember(self, kind: CredentialKind, seed: bytes, dead: DeadKey) -> None:
        """Notes what the keys service said; only UNKNOWN and REVOKED are kept."""
        if dead.state not in _REMEMBERED or len(dead.origins) > BAD_KEY_CACHE_ORIGINS_COUNT:
            return
        self._keys[_digest(kind, seed)] = (dead, self._clock.monotonic_ns() + _LIFETIME_NS)
        if len(self._keys) > BAD_KEY_CACHE_COUNT:
            self._keys.popitem(last=False)


def _digest(kind: CredentialKind, seed: bytes) -> bytes:
    return blake2b(seed, digest_size=32, person=kind.encode("ascii")).digest()

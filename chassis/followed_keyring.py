"""The keys of a directory as they come and go, so that no process has to start anew for a new key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.keyring import KeyRing, KeyRingError, SigningKey, key_files
from chassis.limits import KEY_RING_REREAD_SECONDS
from chassis.log import log_event

_logger: Final = logging.getLogger(__name__)

_REREAD_NS: Final = KEY_RING_REREAD_SECONDS * NANOSECONDS_PER_SECOND

# What tells a directory's key files from what they were: name, inode, size, and both times of change.
_Stamp = tuple[tuple[str, int, int, int, int], ...]


class FollowedKeyRing:
    """The keys of a directory as they come and go; see `chassis.keyring.SigningKeys`.

    The directory is looked at when a key is asked for and the last look is five seconds old, so that
    nobody is answered from older knowledge. What cannot be read then is logged once, and the keys
    stay as they were until it can. Construction raises KeyRingError as `KeyRing.load` does.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._looked_at_ns = clock.monotonic_ns()
        self._stamp = _stamp(directory)
        self._ring = KeyRing.load(directory)
        self._complaint = ""

    def signing_key(self, now_ns: int) -> SigningKey:
        """See `SigningKeys.signing_key`."""
        return self._current().signing_key(now_ns)

    def public_keys(self) -> Mapping[str, bytes]:
        """See `SigningKeys.public_keys`."""
        return self._current().public_keys()

    def _current(self) -> KeyRing:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._looked_at_ns >= _REREAD_NS:
            self._looked_at_ns = now_ns
            self._look_again()
        return self._ring

    def _look_again(self) -> None:
        try:
            stamp = _stamp(self._directory)
            if stamp == self._stamp:
                self._complaint = ""
                return
            ring = KeyRing.load(self._directory)
        except KeyRingError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log_event(_logger, logging.ERROR, "key directory unusable, keys kept", reason=str(error))
            return
        self._ring, self._stamp, self._complaint = ring, stamp, ""
        log_event(_logger, logging.INFO, "keys read again", directory=str(self._directory))


def _stamp(directory: Path) -> _Stamp:
    found = []
    for path in key_files(directory):
        try:
            status = path.stat()
        except OSError as error:
            raise KeyRingError(f"{path}: cannot be read ({error.strerror})") from None
        found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)

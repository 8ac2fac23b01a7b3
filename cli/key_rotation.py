"""The rotation of a directory of signing keys: one more that will sign, and none that is past its use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND, Clock
from chassis.ids import Ids
from chassis.keyring import SigningKey, create_key, outlived_files, read_keys
from chassis.limits import (
    BROWSER_SESSION_LIFETIME_SECONDS,
    PASSPORT_LIFETIME_SECONDS,
    SESSION_CAP_MAX_SECONDS,
    SIGNING_KEY_KEPT_MARGIN_SECONDS,
)

# How long what a key signed last can be shown. A session's token is signed again, by the key of the
# session's beginning, whenever its creation is repeated; it ends with its session all the same.
SHOWN_SECONDS: Final = {
    "passport": PASSPORT_LIFETIME_SECONDS,
    "session": SESSION_CAP_MAX_SECONDS,
    "browser": BROWSER_SESSION_LIFETIME_SECONDS,
}


@dataclass(frozen=True, slots=True)
class Rotation:
    """The new key, and the names of the keys that were removed."""

    made: SigningKey
    removed_kids: tuple[str, ...]


def rotate_signing_keys(directory: Path, purpose: str, lead_seconds: int, clock: Clock, ids: Ids) -> Rotation:
    """Adds a key that signs from `lead_seconds` on, and removes those whose signatures have all ended.

    `purpose` is one of SHOWN_SECONDS. Raises KeyRingError for a directory without keys or with an unfit
    one, and changes nothing then; OSError where it cannot write.
    """
    now_ns = clock.now_ns()
    keys = read_keys(directory)
    made = create_key(directory, ids.seed(), now_ns + lead_seconds * NANOSECONDS_PER_SECOND)
    kept_ns = (SHOWN_SECONDS[purpose] + SIGNING_KEY_KEPT_MARGIN_SECONDS) * NANOSECONDS_PER_SECOND
    outlived = outlived_files(keys, now_ns, kept_ns)
    for path in outlived:
        path.unlink(missing_ok=True)
    return Rotation(made, tuple(keys[path].kid for path in outlived))

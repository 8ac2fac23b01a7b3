"""What a change makes of a key, and what it adds and takes away."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.keys.domain.api_key import ApiKey, KeyRights
from services.keys.domain.rights import refuse_contradiction


@dataclass(frozen=True, slots=True)
class RightsChange:
    """New values, each checked by itself; None leaves what is there."""

    name: str | None = None
    scopes: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RightsDelta:
    """What differs between two states of a key's rights."""

    added_scopes: tuple[str, ...]
    removed_scopes: tuple[str, ...]
    added_origins: tuple[str, ...]
    removed_origins: tuple[str, ...]

    @property
    def widens(self) -> bool:
        """Whether the key can do more than before, or from more places."""
        return bool(self.added_scopes or self.added_origins)


def changed_rights(key: ApiKey, change: RightsChange) -> KeyRights:
    """The key's rights after `change`; VALIDATION_ERROR if they contradict each other."""
    rights = replace(
        key.rights,
        name=key.rights.name if change.name is None else change.name,
        scopes=key.rights.scopes if change.scopes is None else change.scopes,
        origins=key.rights.origins if change.origins is None else change.origins,
    )
    refuse_contradiction(rights)
    return rights


def changed_key(key: ApiKey, rights: KeyRights, now_ns: int) -> ApiKey:
    """The key with other `rights`, changed at `now_ns`.

    A browser session is bound to the time since which the key has its origin. So an origin that stays
    keeps that time, and one that is added, even one that the key once had, gets a time that the key
    never had before: that of the change, which is later than every other change of the key.
    """
    # Another replica's clock may be ahead of ours.
    updated_at_ns = max(now_ns, key.updated_at_ns + 1)
    since_ns = dict(zip(key.rights.origins, key.origins_since_ns, strict=True))
    return replace(
        key,
        rights=rights,
        updated_at_ns=updated_at_ns,
        origins_since_ns=tuple(since_ns.get(origin, updated_at_ns) for origin in rights.origins),
    )


def delta(before: KeyRights, after: KeyRights) -> RightsDelta:
    """What was added and removed from `before` to `after`."""
    return RightsDelta(
        added_scopes=_missing_in(before.scopes, after.scopes),
        removed_scopes=_missing_in(after.scopes, before.scopes),
        added_origins=_missing_in(before.origins, after.origins),
        removed_origins=_missing_in(after.origins, before.origins),
    )


def _missing_in(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item for item in others if item not in some)

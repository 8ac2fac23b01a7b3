"""The rules of keys that sign: which points may, how far they reach, and when they end."""

from __future__ import annotations

import uuid

import pytest

from chassis.limits import SESSION_KEY_LIFETIME_MAX_SECONDS, SUBACCOUNT_INDEX_MAX
from chassis.signing import UNPINNED_SCOPE, Refused, Role, SignerKind, Status
from services.keys.domain.minting import (
    NEVER_NS,
    added,
    first_master_key,
    minted,
    point_problem,
    possession_problem,
)
from services.keys.domain.signing_key import MasterKey
from tests.signing_support import key_pair, possession

NOW_NS = 1_800_000_000_000_000_000
TEN_YEARS_NS = SESSION_KEY_LIFETIME_MAX_SECONDS * 1_000_000_000
ACCOUNT = uuid.UUID(int=2)
PAIR, MASTER_PAIR = key_pair("session"), key_pair("master")
AUDIENCE = "unit.test"

BAD_POINTS = (
    # None, too short, too long.
    b"",
    PAIR.public_key[:31],
    PAIR.public_key + b"\0",
    # Of order 1, 2, 4 and 8.
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    bytes(32),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    # Not below the field's prime, and the same point twice with its sign.
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
    (1 | 1 << 255).to_bytes(32, "little"),
    # No point at all.
    (2).to_bytes(32, "little"),
)


def master(subaccount_index: int | None = None, role: Role = Role.FULL_ACCESS) -> MasterKey:
    return MasterKey(MASTER_PAIR.public_key, role, subaccount_index, NOW_NS)


@pytest.mark.parametrize(
    ("reach", "scope", "scope_index", "subaccount_index", "admin_rooted"),
    [
        (None, UNPINNED_SCOPE, None, None, True),
        (None, 0, 0, 0, False),
        (None, SUBACCOUNT_INDEX_MAX, SUBACCOUNT_INDEX_MAX, SUBACCOUNT_INDEX_MAX, False),
        (0, UNPINNED_SCOPE, None, 0, False),
        (0, 0, 0, 0, False),
        (7, UNPINNED_SCOPE, None, 7, False),
        (7, 7, 7, 7, False),
    ],
)
@pytest.mark.parametrize("role", list(Role))
def test_session_key_reaches_no_further_than_its_scope_and_its_master(
    reach: int | None,
    scope: int,
    scope_index: int | None,
    subaccount_index: int | None,
    admin_rooted: bool,
    role: Role,
) -> None:
    """It has its master's role, and is admin-rooted only unpinned under an ADMIN key."""
    signer = master(reach, role).signer(ACCOUNT)
    key = minted(signer, PAIR.public_key, scope, NEVER_NS, NOW_NS)
    assert (key.scope_index, key.subaccount_index, key.role) == (scope_index, subaccount_index, role)
    assert (key.master_public_key, key.created_at_ns) == (MASTER_PAIR.public_key, NOW_NS)
    facts = key.signer(ACCOUNT)
    assert (facts.kind, facts.role) == (SignerKind.SESSION_KEY, role)
    assert (facts.subaccount_index, facts.admin_rooted) == (subaccount_index, admin_rooted)


@pytest.mark.parametrize(
    ("reach", "scope"),
    [(0, 1), (7, 0), (7, 8), (None, SUBACCOUNT_INDEX_MAX + 1), (None, UNPINNED_SCOPE - 1)],
)
def test_session_key_is_pinned_within_its_masters_reach(reach: int | None, scope: int) -> None:
    """A subaccount that the master key does not reach, and one that cannot be, are no scope."""
    signer = master(reach).signer(ACCOUNT)
    with pytest.raises(Refused) as caught:
        minted(signer, PAIR.public_key, scope, NEVER_NS, NOW_NS)
    assert caught.value.status is Status.SESSION_SCOPE


@pytest.mark.parametrize(
    ("valid_until_ns", "kept_ns"),
    [(NEVER_NS, None), (NOW_NS + 1, NOW_NS + 1), (NOW_NS + TEN_YEARS_NS, NOW_NS + TEN_YEARS_NS)],
)
def test_session_key_ends_when_it_was_said(valid_until_ns: int, kept_ns: int | None) -> None:
    """After now and within ten years, both to the nanosecond, or never."""
    key = minted(master().signer(ACCOUNT), PAIR.public_key, UNPINNED_SCOPE, valid_until_ns, NOW_NS)
    assert key.valid_until_ns == kept_ns
    assert key.signer(ACCOUNT).valid_until_ns == kept_ns


@pytest.mark.parametrize(
    "valid_until_ns", [0, NOW_NS - 1, NOW_NS, NOW_NS + TEN_YEARS_NS + 1, 2**63, NEVER_NS - 1]
)
def test_session_key_never_ends_in_the_past_or_past_ten_years(valid_until_ns: int) -> None:
    """Such an end is refused, not moved."""
    with pytest.raises(Refused) as caught:
        minted(master().signer(ACCOUNT), PAIR.public_key, UNPINNED_SCOPE, valid_until_ns, NOW_NS)
    assert caught.value.status is Status.SESSION_INVALID
    assert [detail.path for detail in caught.value.details] == ["valid_until_ns"]


@pytest.mark.parametrize("point", BAD_POINTS, ids=bytes.hex)
def test_only_a_canonical_point_of_prime_order_becomes_a_key(point: bytes) -> None:
    """Neither as a session key nor as a master key."""
    assert point_problem(point) is not None
    with pytest.raises(Refused) as caught:
        minted(master().signer(ACCOUNT), point, UNPINNED_SCOPE, NEVER_NS, NOW_NS)
    assert caught.value.status is Status.SESSION_INVALID
    with pytest.raises(Refused) as caught:
        added(point, Role.FULL_ACCESS, is_admin=True, subaccount_index=0, now_ns=NOW_NS)
    assert caught.value.status is Status.MASTER_KEY_INVALID


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("index", [0, 5, SUBACCOUNT_INDEX_MAX])
def test_reach_and_role_of_an_added_master_key_are_independent(role: Role, index: int) -> None:
    """ADMIN reaches all and SCOPED one subaccount, whichever the role."""
    scoped = added(PAIR.public_key, role, is_admin=False, subaccount_index=index, now_ns=NOW_NS)
    assert (scoped.role, scoped.subaccount_index, scoped.is_admin) == (role, index, False)
    admin = added(PAIR.public_key, role, is_admin=True, subaccount_index=0, now_ns=NOW_NS)
    assert (admin.role, admin.subaccount_index, admin.is_admin) == (role, None, True)
    assert admin.signer(ACCOUNT).admin_rooted
    assert not scoped.signer(ACCOUNT).admin_rooted


@pytest.mark.parametrize(
    ("is_admin", "index"), [(True, 1), (True, UNPINNED_SCOPE), (False, SUBACCOUNT_INDEX_MAX + 1)]
)
def test_added_master_key_reaches_a_subaccount_that_can_be(is_admin: bool, index: int) -> None:
    """An ADMIN key names none, and no key one beyond the greatest."""
    with pytest.raises(Refused) as caught:
        added(PAIR.public_key, Role.FULL_ACCESS, is_admin=is_admin, subaccount_index=index, now_ns=NOW_NS)
    assert caught.value.status is Status.MASTER_KEY_INVALID
    assert [detail.path for detail in caught.value.details] == ["subaccount_index"]


def test_registered_master_key_can_do_everything() -> None:
    """The first one is ADMIN and FULL_ACCESS: what it may not do, nobody could let it."""
    key = first_master_key(PAIR.public_key, NOW_NS)
    assert (key.is_admin, key.role) == (True, Role.FULL_ACCESS)


def test_possession_is_of_this_key_for_this_account_and_deployment() -> None:
    """Nobody's signature for something else, nor another key's, shows that the private half is at hand."""
    good = possession(PAIR, AUDIENCE, str(ACCOUNT))
    assert possession_problem(AUDIENCE, ACCOUNT, PAIR.public_key, good) is None
    for wrong in (
        possession(MASTER_PAIR, AUDIENCE, str(ACCOUNT)),
        possession(PAIR, "another.test", str(ACCOUNT)),
        possession(PAIR, AUDIENCE, str(uuid.UUID(int=3))),
        good[:63],
        good + b"\0",
        b"",
    ):
        assert possession_problem(AUDIENCE, ACCOUNT, PAIR.public_key, wrong) is not None

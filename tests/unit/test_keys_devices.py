"""The rules of device keys, and of what a session key may make, see and end."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.errors import Code, Detail, SealgateError
from chassis.limits import SUBACCOUNT_INDEX_MAX
from chassis.signing import Refused, Role, Signer, SignerKind, Status
from chassis.strict_json import read_object
from services.keys.domain.api_key import KeyState, Owner
from services.keys.domain.device_key import DeviceKey, idle_end_ns, new_device_key
from services.keys.domain.session_reach import (
    device_key_pin,
    refuse_impossible_pin,
    require_api_key_rights,
    require_sight,
    sees,
)
from services.keys.transport.json_members import Members, refuse_unknown_members, text_member, uint32_member

DAY = 24 * 3600 * NANOSECONDS_PER_SECOND
NOW = 1_767_225_600 * NANOSECONDS_PER_SECOND
OWNER = Owner(uuid.UUID(int=1), uuid.UUID(int=2))
KEY = b"\x07" * 32
ADMIN_ROOTED = Signer(uuid.UUID(int=2), KEY, SignerKind.SESSION_KEY, Role.FULL_ACCESS, None, True, None)
PINNED = replace(ADMIN_ROOTED, subaccount_index=3, admin_rooted=False)
SIGNERS = {
    "admin-rooted": ADMIN_ROOTED,
    "admin-rooted, trading only": replace(ADMIN_ROOTED, role=Role.TRADING_ONLY),
    # What a scoped master minted without a pin reaches the master's subaccount.
    "scoped": replace(ADMIN_ROOTED, subaccount_index=3, admin_rooted=False),
    "pinned, trading only": replace(PINNED, role=Role.TRADING_ONLY),
}


def device_key() -> DeviceKey:
    return new_device_key(uuid.UUID(int=4), OWNER, "phone", None, KEY, NOW)


def status_of(signer: Signer, subaccount_index: int | None) -> Status | None:
    try:
        require_api_key_rights(signer, subaccount_index)
    except Refused as refused:
        return refused.status
    return None


def test_device_key_lives_seven_days_unused_and_thirty_at_most() -> None:
    """Its making counts as its first use."""
    key = device_key()
    assert (key.created_at_ns, key.last_used_at_ns) == (NOW, NOW)
    assert (key.expires_at_ns, key.ends_at_ns) == (NOW + 7 * DAY, NOW + 30 * DAY)


def test_device_key_moves_its_idle_end_with_every_use_and_never_past_its_own() -> None:
    """The smaller of the two ends."""
    assert idle_end_ns(NOW + DAY, NOW + 30 * DAY) == NOW + 8 * DAY
    assert idle_end_ns(NOW + 23 * DAY, NOW + 30 * DAY) == NOW + 30 * DAY
    assert idle_end_ns(NOW + 29 * DAY, NOW + 30 * DAY) == NOW + 30 * DAY


def test_device_key_is_expired_from_the_instant_of_its_end() -> None:
    """And one that was ended stays revoked, whatever the clock says."""
    key = device_key()
    assert key.state(NOW + 7 * DAY - 1) is KeyState.LIVE
    assert key.state(NOW + 7 * DAY) is KeyState.EXPIRED
    ended = replace(key, ended_at_ns=NOW)
    assert ended.state(NOW) is ended.state(NOW + 99 * DAY) is KeyState.REVOKED


def test_use_of_a_device_key_is_due_every_thirty_seconds() -> None:
    """To the nanosecond."""
    key, pause_ns = device_key(), 30 * NANOSECONDS_PER_SECOND
    assert not key.is_use_due(NOW + pause_ns - 1)
    assert key.is_use_due(NOW + pause_ns)


@pytest.mark.parametrize(
    ("signer", "unpinned", "own", "other"),
    [
        ("admin-rooted", None, None, None),
        ("admin-rooted, trading only", Status.ROLE, None, None),
        ("scoped", Status.NOT_ADMIN_ROOTED, None, Status.SCOPE),
        ("pinned, trading only", Status.ROLE, None, Status.SCOPE),
    ],
)
def test_api_key_is_made_by_whom_the_table_says(
    signer: str, unpinned: Status | None, own: Status | None, other: Status | None
) -> None:
    """Without a pin by an admin-rooted FULL_ACCESS key, role before reach; with one by who reaches it."""
    key = SIGNERS[signer]
    assert (status_of(key, None), status_of(key, 3), status_of(key, 4)) == (unpinned, own, other)


def test_device_key_reaches_at_most_what_its_session_key_does() -> None:
    """Unless asked otherwise the same; a subaccount of it when asked; nothing beyond."""
    assert device_key_pin(ADMIN_ROOTED, None) is None
    assert device_key_pin(ADMIN_ROOTED, 5) == 5
    assert device_key_pin(PINNED, None) == device_key_pin(PINNED, 3) == 3
    with pytest.raises(Refused) as refused:
        device_key_pin(PINNED, 5)
    assert refused.value.status is Status.SCOPE


def test_pinned_key_sees_what_is_pinned_alike_and_nothing_else() -> None:
    """What is not pinned reaches further than itself."""
    assert [sees(PINNED, index) for index in (None, 0, 3)] == [False, False, True]
    assert [sees(ADMIN_ROOTED, index) for index in (None, 0, 3)] == [True, True, True]
    require_sight(PINNED, 3)
    with pytest.raises(Refused) as refused:
        require_sight(PINNED, None)
    assert refused.value.status is Status.SCOPE


def test_pin_to_a_number_that_no_subaccount_has_is_refused() -> None:
    """On record, with its reason."""
    refuse_impossible_pin(None)
    refuse_impossible_pin(SUBACCOUNT_INDEX_MAX)
    with pytest.raises(Refused) as refused:
        refuse_impossible_pin(SUBACCOUNT_INDEX_MAX + 1)
    assert refused.value.status is Status.SESSION_INVALID
    assert refused.value.details == (Detail("subaccount_index", f"must be at most {SUBACCOUNT_INDEX_MAX}"),)


def members(text: str) -> Members:
    return dict(read_object(text.encode()))


def read_new_key(body: Members) -> None:
    refuse_unknown_members(body, ("name", "subaccount_index"))
    text_member(body, "name")
    uint32_member(body, "subaccount_index")


def path_of(text: str) -> str:
    """The path of the refusal of a body for a new key."""
    body = members(text)
    with pytest.raises(SealgateError) as refused:
        read_new_key(body)
    assert refused.value.code is Code.VALIDATION_ERROR
    (detail,) = refused.value.details
    return detail.path


def test_members_are_read_with_null_as_absent() -> None:
    """Numbers to the last that 32 bits hold."""
    assert text_member(members('{"name":"a"}'), "name") == "a"
    assert text_member(members('{"name":null}'), "name") is None
    assert text_member(members("{}"), "name") is None
    for number in (0, 1, 2**32 - 1):
        assert uint32_member(members(f'{{"n":{number}}}'), "n") == number
    assert uint32_member(members('{"n":null}'), "n") is uint32_member(members("{}"), "n") is None


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"nmae":"a"}', "nmae"),
        ('{"name":1}', "name"),
        ('{"name":1.5}', "name"),
        ('{"name":true}', "name"),
        ('{"name":["a"]}', "name"),
        ('{"name":{}}', "name"),
        ('{"subaccount_index":"1"}', "subaccount_index"),
        ('{"subaccount_index":1.0}', "subaccount_index"),
        ('{"subaccount_index":1e0}', "subaccount_index"),
        ('{"subaccount_index":-1}', "subaccount_index"),
        ('{"subaccount_index":true}', "subaccount_index"),
        ('{"subaccount_index":[]}', "subaccount_index"),
        ('{"subaccount_index":4294967296}', "subaccount_index"),
        ('{"subaccount_index":' + "9" * 7_000 + "}", "subaccount_index"),
    ],
)
def test_member_that_is_unknown_or_of_another_type_is_refused_with_its_path(text: str, path: str) -> None:
    """Texts are no numbers and numbers no texts, however they are written."""
    assert path_of(text) == path

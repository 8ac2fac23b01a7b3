"""The rules of API keys: what may be given, by whom, and how a key lives and ends."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest

from chassis.errors import Code, SealgateError
from chassis.limits import API_KEY_LIFETIME_MAX_SECONDS, SUBACCOUNT_INDEX_MAX
from chassis.methods import scope_text
from sealgate.common.v1.method_rule_pb2 import Scope
from services.keys.domain.api_key import ApiKey, KeyRights, KeyState, Owner, OwnerKind
from services.keys.domain.authority import AccountStanding, Act, ActorKind, refuse_gain
from services.keys.domain.changes import RightsChange, changed_key, changed_rights, delta
from services.keys.domain.rights import SCOPES, account_key_rights, project_key_rights

NOW_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000
OWNER = Owner(uuid.UUID(int=1), uuid.UUID(int=2))
SESSION_SCOPES = frozenset(SCOPES) - {"withdrawals:write"}


def rights_of(
    *,
    name: str | None = None,
    scopes: Sequence[str] | None = None,
    origins: Sequence[str] = (),
    subaccount_index: int | None = None,
    expires_at_ns: int | None = None,
) -> KeyRights:
    return account_key_rights(
        name=name,
        scopes=scopes,
        origins=origins,
        subaccount_index=subaccount_index,
        expires_at_ns=expires_at_ns,
        now_ns=NOW_NS,
    )


def key_with(
    rights: KeyRights, *, ended_at_ns: int | None = None, last_used_at_ns: int | None = None
) -> ApiKey:
    return ApiKey(bytes(32), OWNER, rights, NOW_NS, NOW_NS, last_used_at_ns, ended_at_ns)


def session_act(*, suspended: bool = False, version: int = 0) -> Act:
    return Act(
        ActorKind.ACCOUNT_SESSION,
        "session",
        audit_id=uuid.UUID(int=3),
        request_id=uuid.UUID(int=4),
        at_ns=NOW_NS,
        account=AccountStanding(suspended, version),
        grantable_scopes=SESSION_SCOPES,
    )


def project_act(*, suspended: bool = False, version: int = 0) -> Act:
    act = session_act(suspended=suspended, version=version)
    return replace(act, actor_kind=ActorKind.PROJECT_KEY, grantable_scopes=None)


def test_scopes_equal_the_proto_enum() -> None:
    """The texts a key can hold are exactly the scopes that methods can ask for."""
    assert [*SCOPES] == [scope_text(number) for number in Scope.values() if number]


def test_rights_have_the_session_scopes_less_two_when_none_are_named() -> None:
    """A key made without scopes can neither withdraw nor make further keys."""
    assert rights_of().scopes == ("account:read", "wallet:read", "wallet:write", "orders:write")


def test_rights_have_fewer_default_scopes_when_there_are_origins() -> None:
    """A key for pages reads and trades unless it is given something else."""
    rights = rights_of(origins=["https://app.example.com"])
    assert rights.scopes == ("account:read", "wallet:read", "orders:write")


def test_rights_are_kept_as_given_when_they_are_valid() -> None:
    """Order of scopes and origins, pin and end come back as they were sent."""
    origins = ["https://b.example.com", "https://a.example.com"]
    rights = rights_of(
        name="bot-1_A",
        scopes=["wallet:read", "account:read"],
        origins=origins,
        subaccount_index=0,
        expires_at_ns=NOW_NS + 1,
    )
    assert rights == KeyRights("bot-1_A", ("wallet:read", "account:read"), tuple(origins), 0, NOW_NS + 1)


def test_rights_of_a_project_key_are_its_name_alone() -> None:
    """A project key has no scopes, origins, pin or end."""
    assert project_key_rights(None) == KeyRights("")
    assert project_key_rights("backend") == KeyRights("backend")


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ä", "a\n", "a.b", "\x00", "a/b"])
def test_name_is_refused_when_it_is_not_plain(name: str) -> None:
    """A name is 1 to 64 ASCII letters, digits, hyphens and underscores."""
    with pytest.raises(SealgateError) as caught:
        rights_of(name=name)
    assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, "name")
    with pytest.raises(SealgateError) as caught:
        project_key_rights(name)
    assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, "name")


@pytest.mark.parametrize(
    ("scopes", "path"),
    [
        ([], "scopes"),
        (["account:read", "admin"], "scopes[1]"),
        (["ACCOUNT:READ"], "scopes[0]"),
        ([""], "scopes[0]"),
        (["wallet:read", "account:read", "wallet:read"], "scopes[2]"),
    ],
)
def test_scopes_are_refused_when_empty_unknown_or_repeated(scopes: list[str], path: str) -> None:
    """The refusal names the first scope that is wrong."""
    with pytest.raises(SealgateError) as caught:
        rights_of(scopes=scopes)
    assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, path)


@pytest.mark.parametrize(
    ("origins", "path"),
    [
        (["https://a.example", "https://a.example/"], "origins[1]"),
        (["null"], "origins[0]"),
        (["https://a.example", "https://b.example", "https://a.example"], "origins[2]"),
        ([f"https://a{number}.example" for number in range(101)], "origins"),
    ],
)
def test_origins_are_refused_when_inexact_repeated_or_too_many(origins: list[str], path: str) -> None:
    """The refusal names the first origin that is wrong."""
    with pytest.raises(SealgateError) as caught:
        rights_of(origins=origins)
    assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, path)


@pytest.mark.parametrize("scope", ["withdrawals:write", "keys:write"])
def test_rights_are_refused_when_a_key_for_pages_could_do_harm(scope: str) -> None:
    """A key with origins never withdraws and never makes keys; without origins it may."""
    assert rights_of(scopes=[scope]).scopes == (scope,)
    with pytest.raises(SealgateError) as caught:
        rights_of(scopes=["account:read", scope], origins=["https://a.example"])
    assert caught.value.code is Code.VALIDATION_ERROR
    assert caught.value.details[0].path == "scopes"


def test_pin_is_refused_when_no_subaccount_has_that_number() -> None:
    """Whether there is such a subaccount is not asked: a key can be pinned to one that comes later."""
    for index in (0, 1, SUBACCOUNT_INDEX_MAX):
        assert rights_of(subaccount_index=index).subaccount_index == index
    with pytest.raises(SealgateError) as caught:
        rights_of(subaccount_index=SUBACCOUNT_INDEX_MAX + 1)
    assert caught.value.details[0].path == "subaccount_index"


@pytest.mark.parametrize("offset_ns", [0, -1, API_KEY_LIFETIME_MAX_SECONDS * SECOND_NS + 1, -NOW_NS, 10**22])
def test_end_is_refused_when_past_or_too_far(offset_ns: int) -> None:
    """A key ends after now and within ten years."""
    with pytest.raises(SealgateError) as caught:
        rights_of(expires_at_ns=NOW_NS + offset_ns)
    assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, "expires_at")


def test_end_is_taken_when_just_ahead_or_ten_years_off() -> None:
    """Both ends of the range belong to it."""
    last_ns = NOW_NS + API_KEY_LIFETIME_MAX_SECONDS * SECOND_NS
    assert rights_of(expires_at_ns=NOW_NS + 1).expires_at_ns == NOW_NS + 1
    assert rights_of(expires_at_ns=last_ns).expires_at_ns == last_ns


def test_key_is_expired_when_its_end_is_now() -> None:
    """A key works until the nanosecond before its end."""
    key = key_with(rights_of(expires_at_ns=NOW_NS + 5))
    assert key.state(NOW_NS + 4) is KeyState.LIVE
    assert key.state(NOW_NS + 5) is KeyState.EXPIRED


def test_key_stays_revoked_when_it_would_have_expired() -> None:
    """What was deleted is never said to have merely expired."""
    key = key_with(rights_of(expires_at_ns=NOW_NS + 5), ended_at_ns=NOW_NS + 1)
    assert key.state(NOW_NS + 6) is KeyState.REVOKED


def test_use_is_due_when_none_was_noted_for_thirty_seconds() -> None:
    """One use in thirty seconds is noted, and a clock that went back notes none."""
    assert key_with(rights_of()).is_use_due(NOW_NS)
    used = key_with(rights_of(), last_used_at_ns=NOW_NS)
    assert not used.is_use_due(NOW_NS + 30 * SECOND_NS - 1)
    assert used.is_use_due(NOW_NS + 30 * SECOND_NS)
    assert not used.is_use_due(NOW_NS - SECOND_NS)


def test_owner_is_the_account_when_there_is_one() -> None:
    """A project's own keys are counted apart from those of its accounts."""
    project = Owner(uuid.UUID(int=1))
    assert (project.kind, project.owner_id) == (OwnerKind.PROJECT, uuid.UUID(int=1))
    assert (OWNER.kind, OWNER.owner_id) == (OwnerKind.ACCOUNT, uuid.UUID(int=2))


def test_change_leaves_what_is_absent() -> None:
    """Only what is named changes; the pin and the end never do."""
    key = key_with(rights_of(name="a", origins=["https://a.example"], subaccount_index=0))
    assert changed_rights(key, RightsChange()) == key.rights
    assert changed_rights(key, RightsChange(name="b")) == replace(key.rights, name="b")
    assert changed_rights(key, RightsChange(origins=())) == replace(key.rights, origins=())
    assert changed_rights(key, RightsChange(scopes=("account:read",))).scopes == ("account:read",)


@pytest.mark.parametrize(
    ("rights", "change"),
    [
        (KeyRights("", ("keys:write",)), RightsChange(origins=("https://a.example",))),
        (KeyRights("", ("account:read",), ("https://a.example",)), RightsChange(scopes=("keys:write",))),
        (
            KeyRights("", ("account:read",)),
            RightsChange(None, ("withdrawals:write",), ("https://a.example",)),
        ),
    ],
)
def test_change_is_refused_when_its_result_contradicts_itself(
    rights: KeyRights, change: RightsChange
) -> None:
    """The rule of origins and scopes holds for what results, whichever of them changed."""
    with pytest.raises(SealgateError) as caught:
        changed_rights(key_with(rights), change)
    assert (caught.value.code, caught.value.details[0].path) == (Code.VALIDATION_ERROR, "scopes")


def test_change_is_allowed_when_it_resolves_the_contradiction_itself() -> None:
    """Origins go and the scope comes in one change."""
    key = key_with(KeyRights("", ("account:read",), ("https://a.example",)))
    rights = changed_rights(key, RightsChange(scopes=("withdrawals:write",), origins=()))
    assert rights == KeyRights("", ("withdrawals:write",))


def test_origin_keeps_its_since_until_it_goes_and_comes_back_with_another() -> None:
    """Whatever else changes, in whatever order the origins are put."""
    some, other = "https://a.example", "https://b.example"
    key = replace(key_with(KeyRights("", ("account:read",), (some,))), origins_since_ns=(NOW_NS,))
    later_ns = NOW_NS + 5
    key = changed_key(key, replace(key.rights, name="b", origins=(other, some)), later_ns)
    assert (key.origins_since_ns, key.updated_at_ns) == ((later_ns, NOW_NS), later_ns)
    key = changed_key(key, replace(key.rights, origins=(other,)), later_ns + 1)
    assert (key.origins_since_ns, key.updated_at_ns) == ((later_ns,), later_ns + 1)
    key = changed_key(key, replace(key.rights, origins=(some, other)), later_ns + 2)
    assert key.origins_since_ns == (later_ns + 2, later_ns)


@pytest.mark.parametrize("offset_ns", [0, -1, -SECOND_NS])
def test_since_is_newer_than_every_change_before_when_the_clock_is_not(offset_ns: int) -> None:
    """A clock that stands still, or another replica's that is behind, brings no since that was there."""
    page = "https://a.example"
    key = replace(key_with(KeyRights("", ("account:read",), (page,))), origins_since_ns=(NOW_NS,))
    seen = {NOW_NS}
    for _ in range(3):
        key = changed_key(key, replace(key.rights, origins=()), NOW_NS + offset_ns)
        assert key.origins_since_ns == ()
        key = changed_key(key, replace(key.rights, origins=(page,)), NOW_NS + offset_ns)
        (since_ns,) = key.origins_since_ns
        assert since_ns == key.updated_at_ns > max(seen)
        seen.add(since_ns)


def test_delta_tells_what_came_from_what_went() -> None:
    """An audit row can say exactly what a change took away."""
    before = KeyRights("a", ("account:read", "wallet:read"), ("https://a.example",))
    after = KeyRights("b", ("wallet:read", "orders:write"), ("https://b.example",))
    difference = delta(before, after)
    assert difference.added_scopes == ("orders:write",)
    assert difference.removed_scopes == ("account:read",)
    assert difference.added_origins == ("https://b.example",)
    assert difference.removed_origins == ("https://a.example",)


@pytest.mark.parametrize(
    ("after", "widens"),
    [
        (KeyRights("b", ("account:read", "wallet:read"), ("https://a.example",)), False),
        (KeyRights("a", ("wallet:read", "account:read"), ("https://a.example",)), False),
        (KeyRights("a", ("account:read",), ("https://a.example",)), False),
        (KeyRights("a", ("account:read", "wallet:read"), ()), False),
        (KeyRights("a", ("orders:write",), ("https://a.example",)), True),
        (KeyRights("a", ("account:read",), ("https://a.example", "https://b.example")), True),
    ],
)
def test_delta_widens_when_a_scope_or_an_origin_is_added(after: KeyRights, widens: bool) -> None:
    """Renaming, reordering and taking away are no gain."""
    before = KeyRights("a", ("account:read", "wallet:read"), ("https://a.example",))
    assert delta(before, after).widens is widens


def test_gain_is_refused_when_the_account_is_suspended() -> None:
    """Nothing is issued under a suspended account, whoever asks."""
    for act in (session_act(suspended=True), project_act(suspended=True)):
        with pytest.raises(SealgateError) as caught:
            refuse_gain(act, ["account:read"], 0)
        assert caught.value.code is Code.ACCOUNT_SUSPENDED


def test_gain_is_refused_when_the_identity_is_behind_the_fence() -> None:
    """An ended session is told so; a project key is told to come back with a fresh identity."""
    refuse_gain(session_act(version=2), ["account:read"], 2)
    refuse_gain(project_act(version=3), ["account:read"], 2)
    with pytest.raises(SealgateError) as caught:
        refuse_gain(session_act(version=1), ["account:read"], 2)
    assert caught.value.code is Code.SESSION_INVALID
    with pytest.raises(SealgateError) as caught:
        refuse_gain(project_act(version=1), ["account:read"], 2)
    assert (caught.value.code, caught.value.retry_after_seconds) == (Code.UNAVAILABLE, 1)


def test_gain_is_refused_when_a_session_would_give_more_than_it_has() -> None:
    """A session, which cannot withdraw, makes no key that can; a project key may."""
    refuse_gain(session_act(), SESSION_SCOPES, 0)
    refuse_gain(project_act(), SCOPES, 0)
    with pytest.raises(SealgateError) as caught:
        refuse_gain(session_act(), ["account:read", "withdrawals:write"], 0)
    assert caught.value.code is Code.SCOPE_NOT_GRANTED
    assert caught.value.details[0].path == "scopes"

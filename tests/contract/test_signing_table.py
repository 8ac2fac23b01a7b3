"""The table of who may sign what: one row a method and kind of key that it takes, one column a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Final

import pytest

from chassis.methods import CredentialKind
from sealgate.keys.v1 import signing_key_pb2 as keys_pb2
from tests.cluster import Cluster
from tests.described import DESCRIPTION
from tests.signed_cases import World, make_world, sign
from tests.signing_support import SCOPED, TRADING_ONLY, SigningKeyPair, new_pair
from tests.signing_world import SIGNED_METHODS, Signing

DONE: Final = "request_completed"
NO_SCOPE: Final = "rejected_scope"
NO_ROLE: Final = "rejected_role"
NOT_ROOTED: Final = "rejected_not_admin_rooted"
OTHER_KIND: Final = "CREDENTIAL_NOT_ACCEPTED"
EXPIRED: Final = "SESSION_EXPIRED"
REVOKED: Final = "SESSION_INVALID"

MASTER: Final = CredentialKind.MASTER_KEY
SESSION: Final = CredentialKind.SESSION_KEY

_EXPIRY_NS: Final = 1_000_000


@dataclass(frozen=True)
class Row:
    """What a method answers, by the key of one kind that signs its good request in subaccount 0.

    `elsewhere` reaches subaccount 1 alone; `scoped` is of a master key that reaches subaccount 0 alone, and
    is pinned by that and not by itself. A master key does not expire, and there is no other kind where a
    method takes both: None.
    """

    right: str
    other_kind: str | None
    elsewhere: str
    scoped: str
    trading_only: str
    expired: str | None
    revoked: str


def trades() -> Row:
    """What any session key may do within its reach."""
    return Row(DONE, OTHER_KIND, NO_SCOPE, DONE, DONE, EXPIRED, REVOKED)


def is_whole_account(*, elsewhere: str = NOT_ROOTED) -> Row:
    """What takes a session key that is admin-rooted and has full access."""
    return Row(DONE, OTHER_KIND, elsewhere, NOT_ROOTED, NO_ROLE, EXPIRED, REVOKED)


def manages() -> Row:
    """What takes an ADMIN master key with full access."""
    return Row(DONE, OTHER_KIND, NOT_ROOTED, NOT_ROOTED, NO_ROLE, None, REVOKED)


ROWS: Final = {
    ("SubmitPlaceOrder", SESSION): trades(),
    ("SubmitCancelOrder", SESSION): trades(),
    ("SubmitCancelAllOrders", SESSION): trades(),
    ("SubmitAmendOrder", SESSION): trades(),
    ("SubmitTransferFunds", SESSION): Row(DONE, OTHER_KIND, NO_SCOPE, DONE, NO_ROLE, EXPIRED, REVOKED),
    ("SubmitWithdraw", SESSION): is_whole_account(),
    ("SubmitCreateWallet", SESSION): trades(),
    ("SubmitUpdateWallet", SESSION): trades(),
    ("SubmitCreateSubaccount", SESSION): is_whole_account(),
    ("SubmitAddWithdrawalAddress", MASTER): manages(),
    # Both kinds of key may, and trading keys too: it only takes away.
    ("SubmitRemoveWithdrawalAddress", SESSION): Row(
        DONE, None, NOT_ROOTED, NOT_ROOTED, DONE, EXPIRED, REVOKED
    ),
    ("SubmitRemoveWithdrawalAddress", MASTER): Row(DONE, None, NOT_ROOTED, NOT_ROOTED, DONE, None, REVOKED),
    ("SubmitMintSessionKey", MASTER): Row(DONE, OTHER_KIND, DONE, DONE, DONE, None, REVOKED),
    ("SubmitRevokeSessionKey", MASTER): Row(
        DONE, OTHER_KIND, "session_rejected_invalid", "session_rejected_invalid", DONE, None, REVOKED
    ),
    ("SubmitLogout", SESSION): Row(
        DONE,
        OTHER_KIND,
        "session_rejected_invalid",
        "session_rejected_invalid",
        "session_rejected_invalid",
        EXPIRED,
        REVOKED,
    ),
    ("SubmitAddMasterKey", MASTER): manages(),
    ("SubmitRemoveMasterKey", MASTER): manages(),
    ("SubmitListSessionKeys", MASTER): Row(DONE, OTHER_KIND, DONE, DONE, DONE, None, REVOKED),
    ("ListSessionApiKeys", SESSION): Row(DONE, OTHER_KIND, DONE, DONE, DONE, EXPIRED, REVOKED),
    ("CreateSessionApiKey", SESSION): Row(
        DONE, OTHER_KIND, NOT_ROOTED, NOT_ROOTED, NO_ROLE, EXPIRED, REVOKED
    ),
    ("DeleteSessionApiKey", SESSION): Row(
        DONE, OTHER_KIND, NOT_ROOTED, NOT_ROOTED, NO_ROLE, EXPIRED, REVOKED
    ),
    ("CreateDeviceKey", SESSION): Row(DONE, OTHER_KIND, DONE, DONE, DONE, EXPIRED, REVOKED),
    ("ListDeviceKeys", SESSION): Row(DONE, OTHER_KIND, DONE, DONE, DONE, EXPIRED, REVOKED),
    # The device key of the good request reads the whole account.
    ("DeleteDeviceKey", SESSION): Row(DONE, OTHER_KIND, NO_SCOPE, NO_SCOPE, DONE, EXPIRED, REVOKED),
}

CASES: Final = [
    (name, kind, column.name, getattr(row, column.name))
    for (name, kind), row in ROWS.items()
    for column in fields(Row)
    if getattr(row, column.name) is not None
]


async def right(signing: Signing, kind: CredentialKind) -> SigningKeyPair:
    """The key that reaches everything."""
    return signing.master if kind is MASTER else signing.session


async def other_kind(signing: Signing, kind: CredentialKind) -> SigningKeyPair:
    """A session key in the place of a master key, or the other way round."""
    return signing.session if kind is MASTER else signing.master


async def elsewhere(signing: Signing, kind: CredentialKind) -> SigningKeyPair:
    """A key that reaches subaccount 1 alone."""
    if kind is MASTER:
        return await signing.add_master(reach=SCOPED, subaccount_index=1)
    return await signing.mint(scope=1)


async def scoped(signing: Signing, kind: CredentialKind) -> SigningKeyPair:
    """A key that reaches subaccount 0 alone: a master key, or one that such a one minted unpinned."""
    master = await signing.add_master(reach=SCOPED)
    return master if kind is MASTER else await signing.mint(master=master)


async def trading_only(signing: Signing, kind: CredentialKind) -> SigningKeyPair:
    """A key that reaches the whole account, and may only trade."""
    master = await signing.add_master(role=TRADING_ONLY)
    return master if kind is MASTER else await signing.mint(master=master)


async def expired(signing: Signing, kind: CredentialKind) -> SigningKeyPair:
    """A session key at the very nanosecond of its end."""
    clock = signing.cluster.clock
    pair = await signing.mint(valid_until_ns=clock.now_ns() + _EXPIRY_NS)
    clock.advance_ns(_EXPIRY_NS)
    return pair


async def revoked(signing: Signing, kind: CredentialKind) -> SigningKeyPair:
    """A key that was revoked or removed."""
    if kind is MASTER:
        pair = await signing.add_master()
        body = keys_pb2.RemoveMasterKey(public_key=pair.public_key)
        await signing.submit("SubmitRemoveMasterKey", signing.master, body)
        return pair
    pair = await signing.mint()
    gone = keys_pb2.RevokeSessionKey(public_key=pair.public_key)
    await signing.submit("SubmitRevokeSessionKey", signing.master, gone)
    return pair


KEYS: Final[dict[str, Callable[[Signing, CredentialKind], Awaitable[SigningKeyPair]]]] = {
    "right": right,
    "other_kind": other_kind,
    "elsewhere": elsewhere,
    "scoped": scoped,
    "trading_only": trading_only,
    "expired": expired,
    "revoked": revoked,
}


def test_table_has_a_row_for_every_kind_of_key_that_a_signed_method_takes() -> None:
    """A method that is added without its rows fails here."""
    taken = {(name, kind) for name, method in SIGNED_METHODS.items() for kind in method.accepts}
    assert set(ROWS) == taken
    assert set(KEYS) == {column.name for column in fields(Row)}


@dataclass
class Refusals:
    """A world for what is refused: nothing in it changes but its keys, each sort of which is made once."""

    world: World
    pairs: dict[tuple[str, CredentialKind], SigningKeyPair] = field(default_factory=dict)

    async def pair(self, column: str, kind: CredentialKind) -> SigningKeyPair:
        """The key of a column, for a row of a kind."""
        sort = (column, kind)
        if sort not in self.pairs:
            self.pairs[sort] = await KEYS[column](self.world.signing, kind)
        return self.pairs[sort]


@pytest.fixture(scope="session")
async def refusals(cluster: Cluster) -> Refusals:
    """The world of all refused cases."""
    return Refusals(await make_world(cluster))


@pytest.mark.parametrize(
    ("name", "kind", "column", "expected"),
    CASES,
    ids=[f"{name}-{kind.name}-{column}" for name, kind, column, _ in CASES],
)
async def test_signed_method_answers_each_sort_of_key_as_the_table_has_it(
    cluster: Cluster, refusals: Refusals, name: str, kind: CredentialKind, column: str, expected: str
) -> None:
    """The status of a 200, or the code of what was not let that far."""
    world = await make_world(cluster) if expected == DONE else refusals.world
    signing = world.signing
    pair = await (KEYS[column](signing, kind) if expected == DONE else refusals.pair(column, kind))
    signed = sign(world, name, pair)
    answer = await signing.deliver(name, signed)
    [binding] = SIGNED_METHODS[name].bindings
    DESCRIPTION.refuse_undescribed(binding.verb, binding.template, answer)
    document = answer.json()
    if expected.isupper():
        assert (answer.status_code, document["error"]["code"]) == (
            403 if expected == OTHER_KIND else 401,
            expected,
        )
        return
    assert (answer.status_code, document["status"]) == (200, expected), answer.text
    assert document["success"] is (expected == DONE)


async def test_session_key_signs_until_the_nanosecond_before_its_end(cluster: Cluster) -> None:
    """One nanosecond earlier the same key is good."""
    world = await make_world(cluster)
    signing, clock = world.signing, cluster.clock
    pair = await signing.mint(valid_until_ns=clock.now_ns() + _EXPIRY_NS, pair=new_pair())
    clock.advance_ns(_EXPIRY_NS - 1)
    answer = await signing.deliver("SubmitCreateWallet", sign(world, "SubmitCreateWallet", pair))
    assert answer.json()["status"] == DONE

"""The table of who may sign what, against every sort of key: one row a method, one column a key."""

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

_EXPIRY_NS: Final = 1_000_000


@dataclass(frozen=True)
class Row:
    """What a method answers, by the key that signs its good request in subaccount 0.

    `elsewhere` reaches subaccount 1 alone; `scoped` is of a master key that reaches subaccount 0 alone, and
    is pinned by that and not by itself. A master key does not expire: None.
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
    "SubmitPlaceOrder": trades(),
    "SubmitCancelOrder": trades(),
    "SubmitCancelAllOrders": trades(),
    "SubmitAmendOrder": trades(),
    "SubmitTransferFunds": Row(DONE, OTHER_KIND, NO_SCOPE, DONE, NO_ROLE, EXPIRED, REVOKED),
    "SubmitWithdraw": is_whole_account(),
    "SubmitCreateWallet": trades(),
    "SubmitUpdateWallet": trades(),
    "SubmitCreateSubaccount": is_whole_account(),
    "SubmitAddWithdrawalAddress": manages(),
    # Both kinds of key may, and trading keys too: it only takes away.
    "SubmitRemoveWithdrawalAddress": Row(DONE, None, NOT_ROOTED, NOT_ROOTED, DONE, EXPIRED, REVOKED),
    "SubmitMintSessionKey": Row(DONE, OTHER_KIND, DONE, DONE, DONE, None, REVOKED),
    "SubmitRevokeSessionKey": Row(
        DONE, OTHER_KIND, "session_rejected_invalid", "session_rejected_invalid", DONE, None, REVOKED
    ),
    "SubmitLogout": Row(
        DONE,
        OTHER_KIND,
        "session_rejected_invalid",
        "session_rejected_invalid",
        "session_rejected_invalid",
        EXPIRED,
        REVOKED,
    ),
    "SubmitAddMasterKey": manages(),
    "SubmitRemoveMasterKey": manages(),
    "SubmitListSessionKeys": Row(DONE, OTHER_KIND, DONE, DONE, DONE, None, REVOKED),
    "ListSessionApiKeys": Row(DONE, OTHER_KIND, DONE, DONE, DONE, EXPIRED, REVOKED),
    "CreateSessionApiKey": Row(DONE, OTHER_KIND, NOT_ROOTED, NOT_ROOTED, NO_ROLE, EXPIRED, REVOKED),
    "DeleteSessionApiKey": Row(DONE, OTHER_KIND, NOT_ROOTED, NOT_ROOTED, NO_ROLE, EXPIRED, REVOKED),
    "CreateDeviceKey": Row(DONE, OTHER_KIND, DONE, DONE, DONE, EXPIRED, REVOKED),
    "ListDeviceKeys": Row(DONE, OTHER_KIND, DONE, DONE, DONE, EXPIRED, REVOKED),
    # The device key of the good request reads the whole account.
    "DeleteDeviceKey": Row(DONE, OTHER_KIND, NO_SCOPE, NO_SCOPE, DONE, EXPIRED, REVOKED),
}

CASES: Final = [
    (name, column.name, getattr(row, column.name))
    for name, row in ROWS.items()
    for column in fields(Row)
    if getattr(row, column.name) is not None
]


def is_master(name: str) -> bool:
    """Whether the good request of a method is a master key's."""
    return GOOD_SIGNERS[name] == "master"


GOOD_SIGNERS: Final = {
    name: "master" if CredentialKind.MASTER_KEY in method.accepts else "session"
    for name, method in SIGNED_METHODS.items()
} | {"SubmitRemoveWithdrawalAddress": "session"}


async def right(signing: Signing, name: str) -> SigningKeyPair:
    """The key that every method is for."""
    return signing.master if is_master(name) else signing.session


async def other_kind(signing: Signing, name: str) -> SigningKeyPair:
    """A session key in the place of a master key, or the other way round."""
    return signing.session if is_master(name) else signing.master


async def elsewhere(signing: Signing, name: str) -> SigningKeyPair:
    """A key that reaches subaccount 1 alone."""
    if is_master(name):
        return await signing.add_master(reach=SCOPED, subaccount_index=1)
    return await signing.mint(scope=1)


async def scoped(signing: Signing, name: str) -> SigningKeyPair:
    """A key that reaches subaccount 0 alone: a master key, or one that such a one minted unpinned."""
    master = await signing.add_master(reach=SCOPED)
    return master if is_master(name) else await signing.mint(master=master)


async def trading_only(signing: Signing, name: str) -> SigningKeyPair:
    """A key that reaches the whole account, and may only trade."""
    master = await signing.add_master(role=TRADING_ONLY)
    return master if is_master(name) else await signing.mint(master=master)


async def expired(signing: Signing, name: str) -> SigningKeyPair:
    """A session key at the very nanosecond of its end."""
    clock = signing.cluster.clock
    pair = await signing.mint(valid_until_ns=clock.now_ns() + _EXPIRY_NS)
    clock.advance_ns(_EXPIRY_NS)
    return pair


async def revoked(signing: Signing, name: str) -> SigningKeyPair:
    """A key that was revoked or removed."""
    if is_master(name):
        pair = await signing.add_master()
        body = keys_pb2.RemoveMasterKey(public_key=pair.public_key)
        await signing.submit("SubmitRemoveMasterKey", signing.master, body)
        return pair
    pair = await signing.mint()
    gone = keys_pb2.RevokeSessionKey(public_key=pair.public_key)
    await signing.submit("SubmitRevokeSessionKey", signing.master, gone)
    return pair


KEYS: Final[dict[str, Callable[[Signing, str], Awaitable[SigningKeyPair]]]] = {
    "right": right,
    "other_kind": other_kind,
    "elsewhere": elsewhere,
    "scoped": scoped,
    "trading_only": trading_only,
    "expired": expired,
    "revoked": revoked,
}


def test_table_has_a_row_for_every_signed_method() -> None:
    """A method that is added without a row fails here."""
    assert set(ROWS) == set(SIGNED_METHODS)
    assert set(KEYS) == {column.name for column in fields(Row)}


@dataclass
class Refusals:
    """A world for what is refused: nothing in it changes but its keys, each sort of which is made once."""

    world: World
    pairs: dict[tuple[str, bool], SigningKeyPair] = field(default_factory=dict)

    async def pair(self, column: str, name: str) -> SigningKeyPair:
        """The key of a column, for a method."""
        sort = (column, is_master(name))
        if sort not in self.pairs:
            self.pairs[sort] = await KEYS[column](self.world.signing, name)
        return self.pairs[sort]


@pytest.fixture(scope="session")
async def refusals(cluster: Cluster) -> Refusals:
    """The world of all refused cases."""
    return Refusals(await make_world(cluster))


@pytest.mark.parametrize(
    ("name", "column", "expected"), CASES, ids=[f"{name}-{column}" for name, column, _ in CASES]
)
async def test_signed_method_answers_each_sort_of_key_as_the_table_has_it(
    cluster: Cluster, refusals: Refusals, name: str, column: str, expected: str
) -> None:
    """The status of a 200, or the code of what was not let that far."""
    world = await make_world(cluster) if expected == DONE else refusals.world
    signing = world.signing
    pair = await (KEYS[column](signing, name) if expected == DONE else refusals.pair(column, name))
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

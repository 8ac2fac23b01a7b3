"""The first master key of an account: who may register which, and that the wallet service learns of it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Code, SealgateError
from chassis.testing.databases import DatabaseFactory
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_SUSPENDED
from sealgate.keys.v1 import resolution_pb2, signer_facts_pb2, signing_key_pb2
from sealgate.keys.v1.resolution_pb2_grpc import ResolutionServiceStub
from tests.integration.keys_server import (
    ACCOUNT_ID,
    AUDIENCE,
    OTHER_ACCOUNT_ID,
    PROJECT_ID,
    KeysServer,
    as_project,
    keys_server,
    minting,
    registration,
)
from tests.signing_support import SigningKeyPair, new_pair, possession

# Of order 8, of mixed order, and the neutral element with a sign: libsodium takes none of them.
LOW_ORDER = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
NOT_CANONICAL = bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
_API_KEY = """
INSERT INTO api_key (
  public_key, owner_id, kind, project_id, account_id, name, scopes, origins, origins_since_ns,
  created_at_ns, updated_at_ns, created_by_kind, created_by_id
)
VALUES ($1, $2, 'ACCOUNT', $3, $2, '', '{account:read}', '{}', '{}', 1, 1, 'ACCOUNT_SESSION', '')
"""


@pytest.fixture
async def keys(
    database_factory: DatabaseFactory, short_directory: Path, clock: FakeClock, ids: CountingIds
) -> AsyncIterator[KeysServer]:
    async with keys_server(database_factory, short_directory, clock, ids) as running:
        yield running


async def refused(keys: KeysServer, request: Any, **claims: Any) -> SealgateError:  # noqa: ANN401
    with pytest.raises(SealgateError) as caught:
        await keys.ask("RegisterMasterKey", request, **as_project(request.account_id) | claims)
    return caught.value


async def test_first_master_key_is_registered_once(keys: KeysServer) -> None:
    """It is ADMIN and FULL_ACCESS; the same key again is the same answer, and leaves no second trace."""
    pair = new_pair()
    first = await keys.register(pair)
    assert first.public_key == pair.public_key
    assert first.reach == signer_facts_pb2.MASTER_KEY_REACH_ADMIN
    assert first.role == signer_facts_pb2.SIGNING_ROLE_FULL_ACCESS
    keys.clock.advance(seconds=5)
    assert await keys.register(pair) == first
    assert len(await keys.rows("SELECT FROM audit WHERE action = 'MASTER_KEY_REGISTERED'")) == 1


async def test_account_that_had_a_master_key_gets_no_second_first_one(keys: KeysServer) -> None:
    """Another key is refused, and so is the first one when it is not the only one any more."""
    pair = new_pair()
    await keys.register(pair)
    another = registration(new_pair())
    assert (await refused(keys, another)).code is Code.MASTER_KEY_EXISTS
    await keys.add_master(pair)
    assert (await refused(keys, registration(pair))).code is Code.MASTER_KEY_EXISTS


async def test_public_half_of_an_api_key_is_not_registered(keys: KeysServer) -> None:
    """A public key is one thing on an account; on another it is whatever that makes of it."""
    pair, account_id = new_pair(), uuid.UUID(ACCOUNT_ID)
    await keys.rows("INSERT INTO owner VALUES ($1, 'ACCOUNT')", account_id)
    await keys.rows(_API_KEY, pair.public_key, account_id, uuid.UUID(PROJECT_ID))

    error = await refused(keys, registration(pair))

    assert (error.code, error.details[0].path) == (Code.VALIDATION_ERROR, "public_key")
    await keys.register(pair, account_id=OTHER_ACCOUNT_ID)


@pytest.mark.parametrize("point", [LOW_ORDER, NOT_CANONICAL, bytes(32), b"short", b""])
async def test_only_a_point_of_prime_order_is_registered(keys: KeysServer, point: bytes) -> None:
    """Under any other point one signature could be good for many messages."""
    request = registration(new_pair())
    request.public_key = point
    error = await refused(keys, request)
    assert error.code is Code.VALIDATION_ERROR
    assert [detail.path for detail in error.details] == ["public_key"]


async def test_registration_needs_the_new_keys_own_signature(keys: KeysServer) -> None:
    """A mistyped key, another deployment's and another account's signature cannot lock an account."""
    pair, other = new_pair(), new_pair()
    for signature in (
        possession(other, AUDIENCE, ACCOUNT_ID),
        possession(pair, "elsewhere.test", ACCOUNT_ID),
        possession(pair, AUDIENCE, OTHER_ACCOUNT_ID),
        bytes(64),
        b"",
    ):
        request = registration(pair)
        request.possession_signature = signature
        error = await refused(keys, request)
        assert error.code is Code.VALIDATION_ERROR
        assert [detail.path for detail in error.details] == ["possession_signature"]
    assert await keys.rows("SELECT FROM signer") == []


async def test_nothing_is_registered_past_a_suspension(keys: KeysServer) -> None:
    """A suspended account gets no key, nor does one whose identity is behind the account's fence."""
    request = registration(new_pair())
    suspended = await refused(keys, request, account_status=ACCOUNT_STATUS_SUSPENDED)
    assert suspended.code is Code.ACCOUNT_SUSPENDED
    fence = resolution_pb2.FenceAccountRequest(account_id=ACCOUNT_ID, account_version=3)
    await ResolutionServiceStub(keys.internal).FenceAccount(fence, timeout=30)
    assert (await refused(keys, request, account_version=2)).code is Code.UNAVAILABLE
    await keys.ask("RegisterMasterKey", request, **as_project(), account_version=3)


async def test_stranger_who_registers_my_key_changes_nothing_for_me(keys: KeysServer) -> None:
    """A key is looked up by account and key; what signs for one account is nothing to another."""
    mine, session = new_pair(), new_pair()
    await keys.register(mine, account_id=OTHER_ACCOUNT_ID)
    await keys.mint(mine, session, account_id=OTHER_ACCOUNT_ID)
    await keys.register(mine)
    await keys.mint(mine, session)
    for_the_other = keys.signed(
        "SubmitMintSessionKey", mine, minting(new_pair()), account_id=OTHER_ACCOUNT_ID
    )
    moved = signing_key_pb2.SubmitMintSessionKeyRequest.FromString(for_the_other.SerializeToString())
    moved.account_id = ACCOUNT_ID
    assert await keys.code("SubmitMintSessionKey", moved) is Code.SIGNATURE_INVALID


async def test_registration_is_answered_when_the_wallet_service_knows(keys: KeysServer) -> None:
    """While it is away the answer is 503, and the key is registered; what is repeated waits as well."""
    pair = new_pair()
    await keys.wallet.stop()
    assert (await refused(keys, registration(pair))).code is Code.UNAVAILABLE
    assert len(await keys.rows("SELECT FROM signer")) == 1
    assert (await refused(keys, registration(pair))).code is Code.UNAVAILABLE
    await keys.wallet.start()
    await registered_at_last(keys, pair)
    assert keys.wallet.requiring == {ACCOUNT_ID}
    assert await keys.rows("SELECT FROM fence_outbox") == []


async def test_registration_under_an_idempotency_key_waits_for_the_wallet_service(keys: KeysServer) -> None:
    """The answer on record is not given before the wallet service knows."""
    pair, header = new_pair(), ("idempotency-key", "register-1")
    await keys.wallet.stop()
    for _ in range(2):
        with pytest.raises(SealgateError) as caught:
            await keys.register(pair, header)
        assert caught.value.code is Code.UNAVAILABLE
    assert len(await keys.rows("SELECT FROM idempotency")) == 1
    assert keys.wallet.requiring == set()
    await keys.wallet.start()
    await registered_at_last(keys, pair, header)
    assert keys.wallet.requiring == {ACCOUNT_ID}


async def registered_at_last(keys: KeysServer, pair: SigningKeyPair, *headers: tuple[str, str]) -> None:
    """Registers as a customer does who is told 503; a peer that is back is found within a second."""
    while True:
        try:
            await keys.register(pair, *headers)
        except SealgateError as error:
            if error.code is not Code.UNAVAILABLE:
                raise
        else:
            return

"""A signing key that ends while it signs: when that is answered, nothing of it takes effect any more."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any, Final

import asyncpg
import grpc
import pytest

from chassis.errors import Code
from chassis.rpc.errors import error_from_rpc
from sealgate.keys.v1 import signing_key_pb2 as keys_pb2
from sealgate.wallet.v1 import signed_body_pb2 as wallet_pb2
from tests.cluster import Cluster
from tests.signing_support import SigningKeyPair
from tests.signing_world import COMPLETED, Signing, answered, make_signing

REQUESTS_COUNT: Final = 60
EFFECTS: Final = "SELECT count(*) FROM request WHERE account_id = $1 AND public_key = $2"


async def effects_count(cluster: Cluster, made: Signing, pair: SigningKeyPair) -> int:
    """How many of a key's requests the wallet service has on record."""
    connection = await asyncpg.connect(cluster.dsns["wallet"])
    try:
        count: int = await connection.fetchval(EFFECTS, uuid.UUID(made.account_id), pair.public_key)
        return count
    finally:
        await connection.close()


async def outcome(made: Signing, pair: SigningKeyPair, number: int) -> str:
    """The status that a new wallet is answered with, or the code of its refusal."""
    body = wallet_pb2.CreateWallet(name=f"Wallet {number} of {pair.text[:8]}")
    try:
        answer: Any = await made.call("SubmitCreateWallet", made.signed("SubmitCreateWallet", pair, body))
    except grpc.aio.AioRpcError as failure:
        return error_from_rpc(failure, "SubmitCreateWallet").code.value
    status: str = answer.status
    return status


@pytest.mark.parametrize("way", ["revoke", "logout", "remove the master key"])
async def test_no_effect_of_a_key_commits_after_its_end_was_answered(cluster: Cluster, way: str) -> None:
    """However many of its requests are on their way, in whichever service, and however it is ended."""
    made = await make_signing(cluster)
    removed = await made.add_master()
    pair = await made.mint(master=removed)
    assert await outcome(made, pair, 0) == COMPLETED
    sent = [asyncio.create_task(outcome(made, pair, number)) for number in range(1, REQUESTS_COUNT + 1)]
    # The first answer shows that requests are being served; the rest are on their way.
    await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
    revocation = keys_pb2.RevokeSessionKey(public_key=pair.public_key)
    rpc, signer, body = {
        "revoke": ("SubmitRevokeSessionKey", made.master, revocation),
        "logout": ("SubmitLogout", pair, revocation),
        "remove the master key": (
            "SubmitRemoveMasterKey",
            made.master,
            keys_pb2.RemoveMasterKey(public_key=removed.public_key),
        ),
    }[way]
    answered(await made.post(rpc, made.signed(rpc, signer, body)))
    counted = await effects_count(cluster, made, pair)
    outcomes = Counter(await asyncio.gather(*sent))
    assert await effects_count(cluster, made, pair) == counted
    assert outcomes[COMPLETED] == counted - 1
    assert set(outcomes) <= {COMPLETED, Code.SESSION_INVALID.value}
    assert await outcome(made, pair, REQUESTS_COUNT + 1) == Code.SESSION_INVALID.value

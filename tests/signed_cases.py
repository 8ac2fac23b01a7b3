"""A good request for every signed method, and the world that it is about."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from sealgate.keys.v1 import signer_facts_pb2 as facts_pb2
from sealgate.keys.v1 import signing_key_pb2 as keys_pb2
from sealgate.wallet.v1 import order_pb2
from sealgate.wallet.v1 import signed_body_pb2 as wallet_pb2
from tests.cluster import AUDIENCE, Cluster
from tests.platform_support import Trading, usable_address
from tests.signing_support import (
    NEVER,
    UNPINNED,
    SignedHeaders,
    SignedPayload,
    SigningKeyPair,
    new_pair,
    possession,
)
from tests.signing_world import Signing, make_signing


@dataclass(frozen=True)
class World:
    """What a request can be about."""

    signing: Signing
    trading: Trading
    first_wallet_id: str
    # Of another master and another session than those that sign.
    spare_master: SigningKeyPair
    spare_session: SigningKeyPair
    api_key: str
    device_key_id: str
    address: str


@dataclass(frozen=True)
class Ask:
    """A request: who signs, and what; of headers the JSON and the path's variable."""

    signer: str
    body: Message | bytes
    variables: dict[str, str]


def payload_of(signer: str, body: Message) -> Ask:
    return Ask(signer, body, {})


def headers_of(body: bytes = b"", **variables: str) -> Ask:
    return Ask("session", body, variables)


GOOD: Final[dict[str, Callable[[World], Ask]]] = {
    "SubmitMintSessionKey": lambda w: payload_of(
        "master",
        keys_pb2.MintSessionKey(public_key=new_pair().public_key, scope=UNPINNED, valid_until_ns=NEVER),
    ),
    "SubmitRevokeSessionKey": lambda w: payload_of(
        "master", keys_pb2.RevokeSessionKey(public_key=w.spare_session.public_key, include_api_keys=True)
    ),
    "SubmitLogout": lambda w: payload_of(
        "session", keys_pb2.RevokeSessionKey(public_key=w.signing.session.public_key)
    ),
    "SubmitAddMasterKey": lambda w: payload_of("master", new_master(w)),
    "SubmitRemoveMasterKey": lambda w: payload_of(
        "master", keys_pb2.RemoveMasterKey(public_key=w.spare_master.public_key)
    ),
    "SubmitListSessionKeys": lambda w: payload_of("master", keys_pb2.ListSessionKeys()),
    "ListSessionApiKeys": lambda w: headers_of(),
    "CreateSessionApiKey": lambda w: headers_of(b'{"name": "bot"}'),
    "DeleteSessionApiKey": lambda w: headers_of(api_key=w.api_key),
    "CreateDeviceKey": lambda w: headers_of(b'{"name": "phone"}'),
    "ListDeviceKeys": lambda w: headers_of(),
    "DeleteDeviceKey": lambda w: headers_of(b"{}", device_key_id=w.device_key_id),
    "SubmitPlaceOrder": lambda w: payload_of(
        "session",
        wallet_pb2.PlaceOrder(
            wallet_id=w.trading.wallet_id,
            token_id=w.trading.token_id,
            side=order_pb2.SIDE_BUY,
            type=order_pb2.ORDER_TYPE_LIMIT,
            amount="10",
            units=order_pb2.AMOUNT_UNITS_SHARES,
            price="0.4",
        ),
    ),
    "SubmitCancelOrder": lambda w: payload_of(
        "session", wallet_pb2.CancelOrder(wallet_id=w.trading.wallet_id, order_id=w.trading.order_id)
    ),
    "SubmitCancelAllOrders": lambda w: payload_of(
        "session", wallet_pb2.CancelAllOrders(wallet_id=w.trading.wallet_id)
    ),
    "SubmitAmendOrder": lambda w: payload_of(
        "session",
        wallet_pb2.AmendOrder(wallet_id=w.trading.wallet_id, order_id=w.trading.order_id, price="0.3"),
    ),
    "SubmitTransferFunds": lambda w: payload_of(
        "session",
        wallet_pb2.TransferFunds(
            from_wallet_id=w.trading.wallet_id, to_wallet_id=w.first_wallet_id, asset="USDC", amount="2.5"
        ),
    ),
    "SubmitWithdraw": lambda w: payload_of(
        "session",
        wallet_pb2.Withdraw(
            wallet_id=w.trading.wallet_id, asset="USDC", amount="3", chain="POL", address=w.address
        ),
    ),
    "SubmitCreateWallet": lambda w: payload_of("session", wallet_pb2.CreateWallet(name="Savings")),
    "SubmitUpdateWallet": lambda w: payload_of(
        "session", wallet_pb2.UpdateWallet(wallet_id=w.first_wallet_id, name="Main", autoredeem=True)
    ),
    "SubmitCreateSubaccount": lambda w: payload_of("session", wallet_pb2.CreateSubaccount(name="Desk")),
    "SubmitAddWithdrawalAddress": lambda w: payload_of(
        "master", wallet_pb2.AddWithdrawalAddress(chain="POL", address="0x" + "a0" * 20)
    ),
    "SubmitRemoveWithdrawalAddress": lambda w: payload_of(
        "session", wallet_pb2.RemoveWithdrawalAddress(chain="POL", address=w.address)
    ),
}


def new_master(world: World) -> Message:
    pair = new_pair()
    return keys_pb2.AddMasterKey(
        public_key=pair.public_key,
        reach=facts_pb2.MASTER_KEY_REACH_ADMIN,
        role=facts_pb2.SIGNING_ROLE_TRADING_ONLY,
        possession_signature=possession(pair, AUDIENCE, world.signing.account_id),
    )


async def make_world(cluster: Cluster) -> World:
    signing = await make_signing(cluster)
    key = await signing.submit_headers("CreateSessionApiKey", signing.session)
    device = await signing.submit_headers("CreateDeviceKey", signing.session)
    return World(
        signing=signing,
        trading=await signing.world.trading(),
        first_wallet_id=await signing.world.wallet_id(),
        spare_master=await signing.add_master(),
        spare_session=await signing.mint(),
        api_key=key["api_key"]["public_key"],
        device_key_id=device["device_key"]["device_key_id"],
        address=await usable_address(cluster, signing.account_id),
    )


Signed = SignedPayload | SignedHeaders


def sign(
    world: World,
    name: str,
    pair: SigningKeyPair | None = None,
    ask: Ask | None = None,
    request_id: uuid.UUID | None = None,
) -> Signed:
    """A method's good request, or another, signed by its right key, or another."""
    asked = ask or GOOD[name](world)
    signing = world.signing
    signer = pair or {"master": signing.master, "session": signing.session}[asked.signer]
    if isinstance(asked.body, bytes):
        return signing.signed_headers(
            name, signer, asked.body, request_id=request_id, variables=asked.variables
        )
    return signing.signed(name, signer, asked.body, request_id=request_id)

"""An account of a running stack that signs, with nothing of the product in between but HTTP."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import httpx
from google.protobuf.message import Message

from sealgate.keys.v1 import signing_key_pb2 as keys_pb2
from sealgate.wallet.v1 import order_pb2
from sealgate.wallet.v1 import signed_body_pb2 as wallet_pb2
from tests.e2e.stack_process import StackProcess
from tests.signing_support import (
    NEVER,
    UNPINNED,
    SignedPayload,
    SigningKeyPair,
    base64_of,
    new_pair,
    payload,
    possession,
    request_id_at,
    sign_payload,
)

MINT: Final = ("/api/v1/auth/sessions", 13)
REVOKE: Final = ("/api/v1/auth/sessions/revoke", 14)
PLACE: Final = ("/api/v1/trading/order/place", 1)


@dataclass
class SignedAccount:
    """A funded account with a master key and one session key; what it signs is sent as it stands."""

    stack: StackProcess
    client: httpx.AsyncClient
    audience: str
    account_id: str
    api_key: str
    wallet_id: str
    token_id: str
    master: SigningKeyPair
    session: SigningKeyPair

    def signed(self, request_type: int, pair: SigningKeyPair, body: Message) -> SignedPayload:
        """A payload under a new request id of this moment."""
        data = body.SerializeToString(deterministic=True)
        whole = payload(request_type, request_id_at(time.time_ns()), data)
        return sign_payload(pair, self.audience, self.account_id, whole)

    async def send(self, path: str, signed: SignedPayload) -> httpx.Response:
        """The answer, whatever it is."""
        return await self.client.post(path, json=signed.json)

    def order(self) -> SignedPayload:
        """An order at the lowest price that takes nothing and leaves nothing behind."""
        body = wallet_pb2.PlaceOrder(
            wallet_id=self.wallet_id,
            token_id=self.token_id,
            side=order_pb2.SIDE_BUY,
            type=order_pb2.ORDER_TYPE_LIMIT,
            amount="1",
            units=order_pb2.AMOUNT_UNITS_SHARES,
            price="0.001",
            time_in_force=order_pb2.TIME_IN_FORCE_FAK,
        )
        return self.signed(PLACE[1], self.session, body)

    def resting_order(self) -> SignedPayload:
        """An order that rests."""
        body = wallet_pb2.PlaceOrder(
            wallet_id=self.wallet_id,
            token_id=self.token_id,
            side=order_pb2.SIDE_BUY,
            type=order_pb2.ORDER_TYPE_LIMIT,
            amount="1",
            units=order_pb2.AMOUNT_UNITS_SHARES,
            price="0.001",
        )
        return self.signed(PLACE[1], self.session, body)

    def revocation(self) -> SignedPayload:
        """The master key's revocation of the session key."""
        body = keys_pb2.RevokeSessionKey(public_key=self.session.public_key)
        return self.signed(REVOKE[1], self.master, body)

    async def effects_count(self) -> int:
        """How many requests of the session key wallet has on record, each with its effect."""
        connection = await asyncpg.connect(self.stack.dsn("sealgate_wallet"))
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM request WHERE account_id = $1 AND public_key = $2",
                    uuid.UUID(self.account_id),
                    self.session.public_key,
                )
            )
        finally:
            await connection.close()

    async def orders_count(self) -> int:
        """How many orders the wallet has ever placed."""
        connection = await asyncpg.connect(self.stack.dsn("sealgate_wallet"))
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM ord WHERE wallet_id = $1", uuid.UUID(self.wallet_id)
                )
            )
        finally:
            await connection.close()


async def open_signed_account(stack: StackProcess, client: httpx.AsyncClient) -> SignedAccount:
    """A new account, with USDC and in a market, whose master key has minted a session key."""
    project = {"X-PROJECT-API-KEY": str(stack.ready["project_api_key"])}

    async def made(path: str, headers: dict[str, str], sent: Any = None) -> Any:  # noqa: ANN401
        answer = await client.post(path, headers=headers, json=sent)
        assert answer.is_success, answer.text
        return answer.json()["response"]

    account_id = (await made("/api/v1/project/account", project))["account_id"]
    account_path = f"/api/v1/project/account/{account_id}"
    api_key = (await made(f"{account_path}/api-key", project))["secret_key"]
    wallets = (await client.get("/api/v1/wallets", headers={"X-API-KEY": api_key})).json()["response"]
    wallet_id = wallets[0]["wallet_id"]
    deposit = (
        "wallet",
        "deposit",
        "--wallet",
        wallet_id,
        "--amount",
        "100",
        "--reference",
        f"signed {wallet_id}",
    )
    done = stack.command(*deposit)
    assert done.returncode == 0, done.stderr
    audience = (await client.get("/api/v1/time")).json()["audience"]
    master, session = new_pair(), new_pair()
    proof = base64_of(possession(master, audience, account_id))
    await made(
        f"{account_path}/master-key", project, {"public_key": master.text, "possession_signature": proof}
    )
    markets = (await client.get("/api/v1/markets")).json()["response"]
    token_id = next(market["left_token_id"] for market in markets if market["active"])
    account = SignedAccount(
        stack, client, audience, account_id, api_key, wallet_id, token_id, master, session
    )
    mint = keys_pb2.MintSessionKey(public_key=session.public_key, scope=UNPINNED, valid_until_ns=NEVER)
    minted = await account.send(MINT[0], account.signed(MINT[1], master, mint))
    assert minted.json().get("status") == "request_completed", minted.text
    return account

"""Who and what the loads need: keys, accounts, wallets with money, markets with somebody in them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from chassis.clock import Clock
from chassis.ids import SystemIds
from cli.data_directory import DataDirectory
from cli.operator_client import OperatorClient
from sealgate.client.signing import NEVER, UNPINNED, KeyPair, Signer, base64_text
from sealgate.keys.v1.signing_key_pb2 import MintSessionKey
from sealgate.wallet.v1.operator_pb2 import CreateMarketRequest
from sealgate.wallet.v1.order_pb2 import AMOUNT_UNITS_SHARES, ORDER_TYPE_LIMIT, SIDE_BUY
from sealgate.wallet.v1.signed_body_pb2 import PlaceOrder
from tools.bench.phases import http_request
from tools.bench.stack import BenchError, RunningStack

# An account can have 100 live sessions: room for a round's, which the next one ends first.
SESSION_ACCOUNTS_COUNT: Final = 160
MARKETS_COUNT: Final = 4
MONEY: Final = "10000000"
# What rests on the other side of the market orders, at 0.5 each.
DEPTH_SHARES: Final = "10000000"
_CALL_SECONDS: Final = 10.0
_MINT_SESSION_KEY: Final = 13


@dataclass(frozen=True, slots=True)
class Trader:
    """An account with an API key and a wallet full of money."""

    account_id: str
    secret_key: str
    wallet_id: str

    @property
    def headers(self) -> Mapping[str, str]:
        """The account's credential."""
        return {"X-API-KEY": self.secret_key}


class World:
    """Makes and remembers the accounts that the loads work with, over REST as any customer does."""

    def __init__(self, stack: RunningStack, client: httpx.Client, clock: Clock) -> None:
        self._stack = stack
        self._client = client
        self._clock = clock
        self._project = {"X-PROJECT-API-KEY": stack.ready["project_api_key"]}
        self._session_accounts: list[str] = []

    def ask(
        self,
        verb: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the answer holds
        """What is in a success; raises BenchError for a refusal."""
        return self._asked(verb, path, headers or self._project, body)["response"]

    def _asked(
        self,
        verb: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the answer holds
        answer = self._client.request(verb, path, headers=headers, json=body)
        if not answer.is_success:
            raise BenchError(f"{verb} {path} was answered {answer.status_code}: {answer.text}")
        return answer.json()

    def trader(self) -> Trader:
        """A new one."""
        account = self.ask("POST", "/api/v1/project/account")["account_id"]
        path = f"/api/v1/project/account/{account}/api-key"
        secret = self.ask("POST", path, body={"name": "bench"})["secret_key"]
        wallet = self.ask("GET", "/api/v1/wallets", {"X-API-KEY": secret})[0]["wallet_id"]
        self._operate_deposit(wallet)
        return Trader(account, secret, wallet)

    def _operate_deposit(self, wallet_id: str) -> None:
        async def deposit() -> None:
            async with OperatorClient(DataDirectory(self._stack.data), self._clock) as operator:
                await operator.record_deposit(
                    rail="bench",
                    reference=f"bench-{wallet_id}",
                    wallet_id=wallet_id,
                    asset="USDC",
                    amount=MONEY,
                )

        asyncio.run(deposit())

    def session_requests(self, connections_count: int) -> list[list[str]]:
        """For each connection requests that start sessions, of accounts of its own."""
        while len(self._session_accounts) < SESSION_ACCOUNTS_COUNT:
            self._session_accounts.append(self.ask("POST", "/api/v1/project/account")["account_id"])
        requests = [
            http_request("POST", f"/api/v1/project/account/{account}/session", self._project, {})
            for account in self._session_accounts
        ]
        return dealt(requests, connections_count)

    def end_sessions(self) -> None:
        """Makes room for a further round of session requests."""
        for account in self._session_accounts:
            self.ask("POST", f"/api/v1/project/account/{account}/sessions/expire-all")

    def markets(self) -> list[Mapping[str, Any]]:
        """New markets, in each of which there is more to buy at 0.5 than any run can."""

        async def create() -> list[str]:
            async with OperatorClient(DataDirectory(self._stack.data), self._clock) as operator:
                made = [
                    await operator.create_market(CreateMarketRequest(question=f"Is it number {number}?"))
                    for number in range(MARKETS_COUNT)
                ]
            return [market.condition_id for market in made]

        maker = self.trader()
        markets = [self.ask("GET", f"/api/v1/markets/{one}") for one in asyncio.run(create())]
        for market in markets:
            # Whoever buys the left outcome at 0.5 then gets it: the two make a pair.
            order = limit_order(market["right_token_id"], "0.5", str(int(DEPTH_SHARES) // MARKETS_COUNT))
            self.ask("POST", f"/api/v1/wallet/pol/{maker.wallet_id}/order", maker.headers, order)
        return markets

    def audience(self) -> str:
        """The deployment's name, which everything signed names."""
        return str(self._asked("GET", "/api/v1/time")["audience"])

    def signed_orders(
        self, traders: Sequence[Trader], bodies: Sequence[Sequence[Mapping[str, str]]], audience: str
    ) -> list[dict[str, Any]]:
        """For each trader a connection of `tools.bench.signed_load`, with a session key of its own."""
        markets: Iterator[Sequence[Mapping[str, str]]] = itertools.cycle(bodies)
        return [
            {
                "account_id": trader.account_id,
                "seed": self._session_seed(trader, audience).hex(),
                "bodies": [_signed_body(trader, body).hex() for body in own],
            }
            for trader, own in zip(traders, markets, strict=False)
        ]

    def _session_seed(self, trader: Trader, audience: str) -> bytes:
        """A new session key of an account, minted by a master key that is registered first."""
        ids = SystemIds(self._clock)
        master = Signer(KeyPair(ids.seed()), trader.account_id, audience=audience)
        registered = {
            "public_key": base64_text(master.key.public_key),
            "possession_signature": base64_text(master.possession()),
        }
        self.ask("POST", f"/api/v1/project/account/{trader.account_id}/master-key", body=registered)
        seed = ids.seed()
        minted = MintSessionKey(public_key=KeyPair(seed).public_key, scope=UNPINNED, valid_until_ns=NEVER)
        envelope = master.payload(
            _MINT_SESSION_KEY, ids.uuid7(), minted.SerializeToString(deterministic=True)
        )
        answer = self._asked("POST", "/api/v1/auth/sessions", body=envelope.document())
        if not answer["success"]:
            raise BenchError(f"a session key was refused: {answer}")
        return seed

    def cancel_orders(self, traders: Sequence[Trader]) -> None:
        """Takes what rests out of the books again: a wallet can have 1000 open orders."""
        for trader in traders:
            self.ask("DELETE", f"/api/v1/wallet/pol/{trader.wallet_id}/orders", trader.headers)


def limit_order(token_id: str, price: str, shares: str) -> dict[str, str]:
    """The body of an order to buy shares."""
    return {
        "token_id": token_id,
        "side": "BUY",
        "type": "LIMIT",
        "amount": shares,
        "units": "SHARES",
        "price": price,
    }


def _signed_body(trader: Trader, body: Mapping[str, str]) -> bytes:
    """The same order as a payload has it."""
    order = PlaceOrder(
        wallet_id=trader.wallet_id,
        token_id=body["token_id"],
        side=SIDE_BUY,
        type=ORDER_TYPE_LIMIT,
        amount=body["amount"],
        units=AMOUNT_UNITS_SHARES,
        price=body["price"],
    )
    return order.SerializeToString(deterministic=True)


def market_order(token_id: str, usdc: str) -> dict[str, str]:
    """The body of an order to buy for so much money, at once."""
    return {"token_id": token_id, "side": "BUY", "type": "MARKET", "amount": usdc, "units": "USDC"}


def order_requests(
    traders: Sequence[Trader], bodies: Sequence[Sequence[Mapping[str, Any]]]
) -> list[list[str]]:
    """One connection a trader, who places the orders of the market that is theirs."""
    markets: Iterator[Sequence[Mapping[str, Any]]] = itertools.cycle(bodies)
    return [
        [
            http_request("POST", f"/api/v1/wallet/pol/{trader.wallet_id}/order", trader.headers, body)
            for body in own
        ]
        for trader, own in zip(traders, markets, strict=False)
    ]


def dealt(requests: Sequence[str], hands_count: int) -> list[list[str]]:
    """`requests` dealt out in turn."""
    return [list(requests[number::hands_count]) for number in range(hands_count)]

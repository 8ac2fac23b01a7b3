"""The demo seed: a project with its key, an account with a funded wallet, and markets to trade in.

Made through the interfaces every customer and operator has. Each step is kept before the next, so
that a seed which was cut short is completed by the next start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from chassis.errors import Code, SealgateError
from chassis.rpc.client import open_channel, translated
from cli.demo import Demo
from cli.operator_client import OperatorClient
from sealgate.auth.v1 import (
    account_pb2,
    account_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)
from sealgate.wallet.v1 import operator_pb2, order_pb2, order_pb2_grpc, wallet_pb2, wallet_pb2_grpc

DEMO_AMOUNT: Final = "1000"
PROVIDER_AMOUNT: Final = "10000"
EVENT_TITLE: Final = "New Year's Eve in Bergen"
# What the liquidity provider wants at each of its prices, best price first.
QUOTED_SHARES: Final = ("500", "1000", "2000")
# Its prices in each market, for the left outcome and for the right one: who wants the right outcome
# at 0.39 is somebody to buy the left one from at 0.61.
QUOTED_PRICES: Final = (
    (("0.59", "0.58", "0.56"), ("0.39", "0.38", "0.36")),
    (("0.14", "0.13", "0.11"), ("0.84", "0.83", "0.81")),
)
_CALL_SECONDS: Final = 5.0

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_Metadata = Sequence[tuple[str, str]]


async def seed_demo(path: Path, operator: OperatorClient, auth: str, wallet: str) -> Demo:
    """Makes what is missing of the demo and answers it; `auth` and `wallet` are public gRPC addresses.

    Raises the SealgateError that a step is refused with.
    """
    async with open_channel(auth) as auth_channel, open_channel(wallet) as wallet_channel:
        seed = _Seed(path, operator, auth_channel, wallet_channel)
        await seed.make_customer()
        await seed.make_markets()
        await seed.provide_liquidity()
        return seed.demo


class _Seed:
    """The steps in their order; `demo` is what is done so far."""

    def __init__(
        self, path: Path, operator: OperatorClient, auth: grpc.aio.Channel, wallet: grpc.aio.Channel
    ) -> None:
        self.demo = Demo.read(path)
        self._path = path
        self._operator = operator
        self._projects = project_pb2_grpc.ProjectServiceStub(auth)
        self._accounts = account_pb2_grpc.AccountServiceStub(auth)
        self._sessions = session_pb2_grpc.SessionServiceStub(auth)
        self._wallets = wallet_pb2_grpc.WalletServiceStub(wallet)
        self._orders = order_pb2_grpc.OrderServiceStub(wallet)

    async def make_customer(self) -> None:
        """A project with a key that works, and one of its users, who has money."""
        if not self.demo.project_id:
            self._keep(project_id=await self._operator.create_project("Demo"))
        if not await self._key_works():
            key = await self._operator.issue_project_key(self.demo.project_id, "demo")
            self._keep(project_api_key=key)
        if not self.demo.account_id:
            self._keep(account_id=await self._create_account("Demo user"))
        if not self.demo.wallet_id:
            async with self._session(self.demo.account_id) as bearer:
                self._keep(wallet_id=await self._funded_wallet(bearer, DEMO_AMOUNT))

    async def make_markets(self) -> None:
        """Two markets of one event; the second one has fees."""
        if not self.demo.condition_id:
            first = await self._operator.create_market(
                operator_pb2.CreateMarketRequest(
                    event_title=EVENT_TITLE,
                    question="Will it rain in Bergen on New Year's Eve?",
                    outcome="Rain",
                    tags=["weather", "demo"],
                )
            )
            self._keep(event_id=first.event_id, condition_id=first.condition_id, token_id=first.left_token_id)
        if not self.demo.second_condition_id:
            second = await self._operator.create_market(
                operator_pb2.CreateMarketRequest(
                    event_id=self.demo.event_id,
                    question="Will it snow in Bergen on New Year's Eve?",
                    outcome="Snow",
                    maker_fee_bps=10,
                    taker_fee_bps=25,
                )
            )
            self._keep(second_condition_id=second.condition_id)

    async def provide_liquidity(self) -> None:
        """An account that is ready to trade with whoever comes, in both markets and on both sides."""
        if not self.demo.provider_account_id:
            self._keep(provider_account_id=await self._create_account("Liquidity provider"))
        if self.demo.provider_wallet_id and self.demo.quoted:
            return
        async with self._session(self.demo.provider_account_id) as bearer:
            if not self.demo.provider_wallet_id:
                self._keep(provider_wallet_id=await self._funded_wallet(bearer, PROVIDER_AMOUNT))
            if not self.demo.quoted:
                tokens = await self._tokens()
                quotes = list(quotes_of(self.demo.provider_wallet_id, tokens))
                # One after the other: at once they would each open a connection to the database.
                for quote in quotes:
                    await self._place(quote, bearer)
                self._keep(quoted=str(len(quotes)))

    def _keep(self, **done: str) -> None:
        self.demo = replace(self.demo, **done)
        self.demo.write(self._path)

    @property
    def _project(self) -> _Metadata:
        return (("x-project-api-key", self.demo.project_api_key),)

    async def _key_works(self) -> bool:
        if not self.demo.project_api_key:
            return False
        try:
            await _ask(self._projects.GetProject, project_pb2.GetProjectRequest(), self._project)
        except SealgateError as error:
            if error.row.grpc_status == grpc.StatusCode.UNAUTHENTICATED.name:
                return False
            raise
        return True

    async def _create_account(self, name: str) -> str:
        request = account_pb2.CreateAccountRequest()
        request.metadata.update({"name": name})
        return (await _ask(self._accounts.CreateAccount, request, self._project)).account.account_id

    @asynccontextmanager
    async def _session(self, account_id: str) -> AsyncIterator[_Metadata]:
        """A session of an account that ends with the block."""
        request = session_pb2.CreateSessionRequest(account_id=account_id)
        created = await _ask(self._sessions.CreateSession, request, self._project)
        bearer = (("authorization", f"Bearer {created.session.session_token}"),)
        try:
            yield bearer
        finally:
            ended = session_pb2.ExpireCurrentSessionRequest()
            await _ask(self._sessions.ExpireCurrentSession, ended, bearer)

    async def _funded_wallet(self, bearer: _Metadata, amount: str) -> str:
        """The account's first wallet, which listing makes, with money that is booked once."""
        listed = await _ask(self._wallets.ListWallets, wallet_pb2.ListWalletsRequest(), bearer)
        wallet_id = listed.wallets[0].wallet_id
        await self._operator.record_deposit(
            rail="embedded", reference=f"demo-{wallet_id}", wallet_id=wallet_id, asset="USDC", amount=amount
        )
        return wallet_id

    async def _tokens(self) -> list[tuple[str, str]]:
        """The left and the right token of each of the demo's markets."""
        wanted = (self.demo.condition_id, self.demo.second_condition_id)
        markets = {market.condition_id: market for market in await self._operator.list_markets()}
        return [(markets[one].left_token_id, markets[one].right_token_id) for one in wanted]

    async def _place(self, quote: order_pb2.PlaceOrderRequest, bearer: _Metadata) -> None:
        try:
            await _ask(self._orders.PlaceOrder, quote, bearer)
        except SealgateError as error:
            # It was placed by a start that ended before it could keep that.
            if error.code is not Code.CLIENT_ORDER_ID_USED:
                raise


def quotes_of(wallet_id: str, tokens: Sequence[tuple[str, str]]) -> Iterator[order_pb2.PlaceOrderRequest]:
    """The liquidity provider's orders, each with an id of its own that makes a repeat harmless."""
    for number, (pair, sides) in enumerate(zip(tokens, QUOTED_PRICES, strict=True), start=1):
        for name, token_id, prices in zip(("left", "right"), pair, sides, strict=True):
            for price, shares in zip(prices, QUOTED_SHARES, strict=True):
                yield order_pb2.PlaceOrderRequest(
                    wallet_id=wallet_id,
                    token_id=token_id,
                    side=order_pb2.SIDE_BUY,
                    type=order_pb2.ORDER_TYPE_LIMIT,
                    amount=shares,
                    units=order_pb2.AMOUNT_UNITS_SHARES,
                    price=price,
                    client_order_id=f"demo-{number}-{name}-{price}",
                )


async def _ask(
    method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request, metadata: _Metadata
) -> _Response:
    """Calls as any customer does; raises the SealgateError that is answered."""
    try:
        return await method(request, metadata=tuple(metadata), timeout=_CALL_SECONDS)
    except grpc.aio.AioRpcError as failure:
        raise translated(failure, method) from None

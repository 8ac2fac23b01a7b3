"""Signed orders on a real database: what a key signs goes through the stage to the servicer."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.config import RateLimitsConfig
from chassis.identity import Identity
from chassis.limits import OPEN_ORDERS_PER_WALLET_COUNT, RATE_LIMIT_MAX_PER_MINUTE_COUNT
from chassis.methods import Method, method_table
from chassis.ratelimit import ProcessRateLimiter
from chassis.rpc import context as request_context
from chassis.rpc.bad_credentials import BadCredentials
from chassis.rpc.limiting import CallLimits
from chassis.rpc.signed import SignedRequests, SignedStage
from chassis.rpc.signers import KnownSigner
from chassis.signing import Role, Signer, SignerKind
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import order_pb2, signed_body_pb2, signed_pb2
from services.wallet.storage import CONSTRAINT_ERRORS
from services.wallet.storage_requests import RequestStorage
from services.wallet.transport.signed_orders import REJECTIONS, SignedOrders
from services.wallet.transport.signed_wallets import SignedWallets
from tests.integration.signed_stage_support import Directory, standing
from tests.integration.trading_support import LIMIT, SHARES, Trader, TradingWorld
from tests.signing_support import SigningKeyPair, key_pair, payload, request_id_at, sign_payload

AUDIENCE: Final = "orders.test"
COMPLETED: Final = "request_completed"
METHODS: Final = {
    name.rpartition("/")[2]: method
    for name, method in method_table(signed_pb2.DESCRIPTOR.services_by_name.values()).items()
}


class OrdersServicer(SignedOrders, SignedWallets):
    """The part about orders, and the look-up of what became of them."""

    def __init__(self, world: TradingWorld) -> None:
        self._markets = world.markets
        self._orders = world.orders
        self._listings = world.listings
        self._requests = RequestStorage(world.database)
        self._clock = world.clock
        self._ids = world.ids


class SignedWorld(TradingWorld):
    """Traders whose accounts have a session key each, unpinned."""

    def __init__(
        self, fresh: FreshDatabase, clock: FakeClock, ids: CountingIds, open_orders_count: int
    ) -> None:
        super().__init__(fresh, clock, ids, open_orders_count)
        self.servicer = OrdersServicer(self)
        self.directory = Directory(fresh.database)
        signed = SignedRequests(
            database=fresh.database,
            clock=clock,
            audience=AUDIENCE,
            directory=self.directory,
            outcome_type=signed_pb2.RequestOutcome,
            rejections=REJECTIONS,
        )
        limiter = ProcessRateLimiter(clock)
        limits = RateLimitsConfig(order_per_minute_count=RATE_LIMIT_MAX_PER_MINUTE_COUNT)
        self.stage = SignedStage(
            signed,
            METHODS.values(),
            CallLimits(limits, clock, limiter),
            BadCredentials(RATE_LIMIT_MAX_PER_MINUTE_COUNT, limiter, clock),
        )

    def key(self, trader: Trader, subaccount_index: int | None = None) -> SigningKeyPair:
        """A session key of the trader's account, perhaps pinned."""
        account_id = trader.identity.account()
        pair = key_pair(f"session of {account_id}, {subaccount_index}")
        signer = Signer(
            account_id=account_id,
            public_key=pair.public_key,
            kind=SignerKind.SESSION_KEY,
            role=Role.TRADING_ONLY,
            subaccount_index=subaccount_index,
            admin_rooted=False,
            valid_until_ns=None,
        )
        self.directory.known[account_id, pair.public_key] = KnownSigner(signer, standing())
        return pair

    def signed(
        self, trader: Trader, rpc: str, body: Message, pair: SigningKeyPair | None = None
    ) -> tuple[Method, Message]:
        """A method and a request of it under a new id, signed."""
        method = METHODS[rpc]
        request_id = request_id_at(self.clock.now_ns())
        data = payload(method.request_type, request_id, body.SerializeToString(deterministic=True))
        account_id = str(trader.identity.account_id)
        fields = sign_payload(pair or self.key(trader), AUDIENCE, account_id, data).fields
        return method, GetMessageClass(method.descriptor.input_type)(**fields)

    async def send(self, method: Method, request: Message) -> Any:  # noqa: ANN401 - the method's answer
        """Serves a signed request in a task of its own."""

        async def serve() -> Any:  # noqa: ANN401
            served = request_context.RequestContext(uuid.UUID(int=0), method, client_address="192.0.2.1")
            request_context.enter(served)
            handler = getattr(self.servicer, method.descriptor.name)
            wrapped: Any = self.stage.wrap(method, handler)
            return await wrapped(request, None)

        return await asyncio.create_task(serve())

    async def submit(
        self,
        trader: Trader,
        rpc: str,
        body: Message,
        *,
        status: str = COMPLETED,
        pair: SigningKeyPair | None = None,
    ) -> Any:  # noqa: ANN401 - the method's answer
        """Signs and sends a request; its answer, which must have this status."""
        answer = await self.send(*self.signed(trader, rpc, body, pair))
        assert answer.status == status, answer
        assert answer.success is (status == COMPLETED)
        return answer

    def order_body(self, trader: Trader, **fields: Any) -> signed_body_pb2.PlaceOrder:  # noqa: ANN401
        """An order of these fields; LIMIT in shares unless they say otherwise."""
        given: dict[str, Any] = {"wallet_id": trader.wallet_id, "type": LIMIT, "units": SHARES} | fields
        return signed_body_pb2.PlaceOrder(**given)

    async def sign_order(
        self,
        trader: Trader,
        token_id: str,
        side: order_pb2.Side.ValueType,
        price: str,
        amount: str,
        **fields: Any,  # noqa: ANN401
    ) -> signed_body_pb2.SubmittedOrder:
        """A signed LIMIT order in shares, but for what `fields` say."""
        body = self.order_body(
            trader, **{"token_id": token_id, "side": side, "price": price, "amount": amount} | fields
        )
        placed: signed_body_pb2.SubmittedOrder = (await self.submit(trader, "SubmitPlaceOrder", body)).order
        return placed

    async def amend(
        self,
        trader: Trader,
        order_id: str,
        *,
        price: str | None = None,
        shares: str | None = None,
        status: str = COMPLETED,
    ) -> signed_pb2.SubmitAmendOrderResponse:
        """Changes an order."""
        body = signed_body_pb2.AmendOrder(
            wallet_id=trader.wallet_id, order_id=order_id, price=price, shares=shares
        )
        answer = await self.submit(trader, "SubmitAmendOrder", body, status=status)
        assert isinstance(answer, signed_pb2.SubmitAmendOrderResponse)
        return answer

    async def outcome_of(self, identity: Identity, request_id: str) -> signed_pb2.RequestOutcome:
        """What became of a request, as whoever may read the account's wallets is told."""
        request = signed_pb2.GetRequestRequest(request_id=request_id)
        return (await self.call(self.servicer.GetRequest, request, identity)).request


async def open_signed_trading(
    database_factory: DatabaseFactory,
    clock: FakeClock,
    ids: CountingIds,
    *,
    pool_size_count: int = 5,
    open_orders_count: int = OPEN_ORDERS_PER_WALLET_COUNT,
) -> SignedWorld:
    """Signed trading on a fresh database."""
    fresh = await database_factory(
        "wallet", pool_size_count=pool_size_count, constraint_errors=CONSTRAINT_ERRORS
    )
    return SignedWorld(fresh, clock, ids, open_orders_count)


def details_of(answer: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - any method's answer
    """What a refusal says of the request, as pairs of path and message."""
    return [(detail.path, detail.message) for detail in answer.details]

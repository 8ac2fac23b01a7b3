"""Orders that a session key signs, each placed once, and none after the key was revoked."""

from __future__ import annotations

from decimal import Decimal

from sealgate.client import (
    AmountUnits,
    ListedMarket,
    OrderStatus,
    OrderType,
    RequestStatus,
    Sealgate,
    SessionInvalid,
    Side,
    SubaccountWallet,
    SubmitPlaceOrderResult,
)
from tools.demo.guide import Guide
from tools.demo.signing_keys import Holder


class Desk:
    """Where a session key trades: one outcome of a market, at a price that nobody takes."""

    def __init__(
        self, trader: Holder, wallet: SubaccountWallet, market: ListedMarket, price: Decimal
    ) -> None:
        self.trader = trader
        self.wallet = wallet
        self.price = price
        self._market = market

    def place(
        self, *, shares: int = 10, wallet: SubaccountWallet | None = None, request_id: str | None = None
    ) -> SubmitPlaceOrderResult:
        """Signs an order for the left outcome; of the same id and shares it is the same bytes."""
        wallet = wallet or self.wallet
        return self.trader.client.submit_place_order(
            subaccount_index=wallet.subaccount_index,
            wallet_id=wallet.wallet_id,
            token_id=self._market.left_token_id,
            side=Side.BUY,
            type=OrderType.LIMIT,
            amount=shares,
            units=AmountUnits.SHARES,
            price=self.price,
            request_id=request_id,
        )


def open_desk(guide: Guide, trader: Holder, wallet: SubaccountWallet) -> Desk:
    """A desk at the oldest market, below what is bid there."""
    with guide.silence():
        market = trader.client.list_markets()[-1]
        book = trader.client.get_book(condition_id=market.condition_id)
    return Desk(trader, wallet, market, book.bids[0].price - market.tick)


def order_flow(guide: Guide, desk: Desk, reader: Sealgate, elsewhere: SubaccountWallet) -> str:
    """An order is placed once however often it is sent, changed and cancelled; gives its request id."""
    request_id = desk.trader.client.new_request_id()
    with guide.step("Place an order, signed by the pinned key"):
        placed = desk.place(request_id=request_id)
    order = guide.need(placed.order, "an order")
    guide.check(order.status is OrderStatus.OPEN, "an open order")
    with guide.step("The same bytes again place nothing", outcome=RequestStatus.DUPLICATE):
        repeated = desk.place(request_id=request_id)
    original = guide.need(repeated.original, "what became of the first")
    guide.check(repeated.same_payload is True, "the same payload")
    guide.check(original.order == order, "the first order")
    with guide.step("Nor does another order under the same id", outcome=RequestStatus.DUPLICATE):
        guide.check(desk.place(shares=11, request_id=request_id).same_payload is False, "another payload")
    with guide.step("What became of the request, as the API key is told"):
        found = reader.wait_outcome(request_id=request_id)
    guide.check(found == original, "the same outcome")
    with guide.step("The pinned key trades in no other subaccount", outcome=RequestStatus.SCOPE):
        desk.place(wallet=elsewhere)
    with guide.step("Amend the order to half its shares"):
        amended = desk.trader.client.submit_amend_order(
            subaccount_index=desk.wallet.subaccount_index,
            wallet_id=desk.wallet.wallet_id,
            order_id=order.order_id,
            shares=5,
        )
    guide.check(guide.need(amended.order, "the order").shares == 5, "an order for 5 shares")
    cancel_flow(guide, desk, reader, order.order_id)
    return request_id


def cancel_flow(guide: Guide, desk: Desk, reader: Sealgate, order_id: str) -> None:
    """The order is cancelled, and that once."""
    for title, outcome in (
        ("Cancel it", RequestStatus.COMPLETED),
        ("Cancel it again, by another request", RequestStatus.ORDER_NOT_OPEN),
    ):
        with guide.step(title, outcome=outcome):
            desk.trader.client.submit_cancel_order(
                subaccount_index=desk.wallet.subaccount_index,
                wallet_id=desk.wallet.wallet_id,
                order_id=order_id,
            )
    with guide.step("Nothing is held for it any more"):
        balance = reader.get_chain_balance(wallet_id=desk.wallet.wallet_id)
    guide.check(balance.assets[0].held == 0, "nothing held")


def revocation_flow(guide: Guide, master: Holder, desk: Desk, request_id: str) -> None:
    """From the answer to its revocation on, a session key signs nothing that happens."""
    with guide.step("Revoke the pinned key"):
        master.client.submit_revoke_session_key(public_key=desk.trader.public_key, include_api_keys=False)
    with guide.step("Its very next order is refused", refused=SessionInvalid):
        desk.place()
    with guide.step("It still learns what became of its first", outcome=RequestStatus.DUPLICATE):
        desk.place(request_id=request_id)

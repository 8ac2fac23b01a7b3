"""Money that comes in, and orders without a signature."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from sealgate.client import (
    AmountUnits,
    IdempotencyConflict,
    InsufficientBalance,
    ListedMarket,
    Order,
    OrderNotOpen,
    OrderStatus,
    OrderType,
    PriceOffTick,
    Sealgate,
    Side,
    TransferKind,
)
from tools.demo.guide import Guide, operate


def money_flow(guide: Guide, bot: Sealgate, wallet_id: str, data: Path) -> None:
    """A deposit, which counts once however often it is reported."""
    with guide.step("The balance before a deposit"):
        empty = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(empty.balance.get("USDC", Decimal(0)) == 0, "nothing")
    command = f"wallet deposit --wallet {wallet_id} --amount 12.5 --reference demo-deposit-1"
    for title in ("Record a deposit, as the operator", "Record it again"):
        operate(guide, title, command, data)
        with guide.step("The balance after it"):
            full = bot.get_chain_balance(wallet_id=wallet_id)
        guide.check(full.balance["USDC"] == Decimal("12.5"), "12.5 USDC")
    with guide.step("The wallet's transfers"):
        moved = bot.list_transfers(wallet_id=wallet_id)
    guide.check([item.type for item in moved] == [TransferKind.DEPOSIT], "one deposit")


def trading_flow(guide: Guide, bot: Sealgate, wallet_id: str) -> None:
    """Orders against the seed's liquidity: filled, repeated, resting, cancelled, refused."""
    with guide.step("List the markets, newest first"):
        markets = bot.list_markets()
    market = markets[-1]
    guide.check(market.active, "a market that takes orders")
    with guide.step("Look at the oldest one's book"):
        book = bot.get_book(condition_id=market.condition_id)
    bid, ask = book.bids[0].price, book.asks[0].price
    guide.check(bid < ask, "prices on both sides")
    filled_flow(guide, bot, wallet_id, market, ask)
    below = bid - market.tick
    resting_flow(guide, bot, wallet_id, market, below)
    with guide.step("An order off the market's tick is told the nearest price", refused=PriceOffTick):
        place_limit(bot, wallet_id, market, shares=10, price=below - market.tick / 4)
    with guide.step("An order beyond the balance is told what would do", refused=InsufficientBalance):
        place_limit(bot, wallet_id, market, shares=1000, price=below)


def filled_flow(guide: Guide, bot: Sealgate, wallet_id: str, market: ListedMarket, ask: Decimal) -> None:
    """A MARKET order that is filled at once, the same request once more, and what the wallet holds then."""
    with guide.step("Ask what 5 USDC would buy"):
        quote = bot.quote_order(
            wallet_id=wallet_id,
            token_id=market.left_token_id,
            side=Side.BUY,
            amount=5,
            units=AmountUnits.USDC,
        )
    guide.check(quote.best_price == ask, "the best price of the book")
    orders = []
    for title in ("Buy for 5 USDC at the market", "Send the same once more, as after a lost answer"):
        with guide.step(title, status=201):
            orders.append(buy_for(bot, wallet_id, market, usdc=5, key="demo-market-1"))
    guide.check(bot.last_answer.idempotent_replayed, "an answer from the records")
    guide.check(orders[0] == orders[1], "one order")
    order = orders[0]
    guide.check(order.status is OrderStatus.FILLED, "a filled order")
    guide.check(order.filled == quote.shares, "the shares of the quote")
    with guide.step("The same key for another order", refused=IdempotencyConflict):
        buy_for(bot, wallet_id, market, usdc=6, key="demo-market-1")
    with guide.step("What the order traded"):
        trades = bot.list_trades(wallet_id=wallet_id)
    spent = sum((trade.amount for trade in trades), Decimal(0))
    guide.check(sum(trade.shares for trade in trades) == order.filled, "the order's shares")
    with guide.step("The wallet's position"):
        [position] = bot.list_positions(wallet_id=wallet_id)
    guide.check(position.position.shares == order.filled, "the same shares")
    with guide.step("The balance after it"):
        balance = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(balance.balance["USDC"] == Decimal("12.5") - spent - order.fee, "spent once")


def resting_flow(guide: Guide, bot: Sealgate, wallet_id: str, market: ListedMarket, price: Decimal) -> None:
    """A LIMIT order that waits in the book, keeps money back, and is cancelled."""
    with guide.step("Place a limit order below the market", status=201):
        order = place_limit(bot, wallet_id, market, shares=10, price=price)
    guide.check(order.status is OrderStatus.OPEN, "an open order")
    with guide.step("It keeps money back"):
        held = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(held.assets[0].held == 10 * price, "price times shares held")
    with guide.step("It is among the active orders"):
        active = bot.list_active_orders(wallet_id=wallet_id)
    guide.check([item.order.order_id for item in active] == [order.order_id], "this order")
    with guide.step("Cancel it"):
        cancelled = bot.cancel_order(wallet_id=wallet_id, order_id=order.order_id)
    guide.check(cancelled.order_id == order.order_id, "this order")
    with guide.step("Cancel it again", refused=OrderNotOpen):
        bot.cancel_order(wallet_id=wallet_id, order_id=order.order_id)
    with guide.step("The money is free again"):
        freed = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(freed.assets[0].held == 0, "nothing held")


def buy_for(bot: Sealgate, wallet_id: str, market: ListedMarket, *, usdc: int, key: str) -> Order:
    """Spends so much at what the book has."""
    return bot.place_order(
        wallet_id=wallet_id,
        token_id=market.left_token_id,
        side=Side.BUY,
        type=OrderType.MARKET,
        amount=usdc,
        units=AmountUnits.USDC,
        idempotency_key=key,
    )


def place_limit(bot: Sealgate, wallet_id: str, market: ListedMarket, *, shares: int, price: Decimal) -> Order:
    """Wants shares of the left outcome at a price."""
    return bot.place_order(
        wallet_id=wallet_id,
        token_id=market.left_token_id,
        side=Side.BUY,
        type=OrderType.LIMIT,
        amount=shares,
        units=AmountUnits.SHARES,
        price=price,
    )

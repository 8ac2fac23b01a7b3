"""What placing an order answers: the refusals that hang on the book and the wallet, and what they name."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from chassis.errors import Code, SealgateError
from chassis.limits import MATCHED_ORDERS_COUNT
from services.wallet.domain.market import Market, MarketStatus, Outcome, Terms, worth
from services.wallet.domain.matching import RestingOrder
from services.wallet.domain.order import (
    AmountUnits,
    OrderRequest,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    check_order,
    read_order,
)
from services.wallet.domain.quote import quote, read_quote
from services.wallet.domain.settlement import (
    BalanceChange,
    BalanceKey,
    Funds,
    NewHold,
    PositionBooks,
    Role,
    Settlement,
    Taker,
    balances_involved,
    end_orders,
    hold_of,
    place,
)

_CASH, _LEFT, _RIGHT = 1, 2, 3
_TERMS = Terms(maker_fee_bps=0, taker_fee_bps=100)
_MARKET = Market("0x" + "00" * 32, _TERMS, MarketStatus.OPEN, _CASH, _LEFT, _RIGHT)
_ME, _OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
_TAKER = Taker(order_id=uuid.UUID(int=99), account_id=_ME, wallet_id=uuid.UUID(int=11))
_BUY = OrderRequest(Side.BUY, OrderType.LIMIT, "10", AmountUnits.SHARES, price="0.5")
_BUY_MARKET = OrderRequest(Side.BUY, OrderType.MARKET, "10", AmountUnits.SHARES)


def _resting(
    number: int,
    price: int,
    shares: int,
    *,
    side: Side = Side.SELL,
    outcome: Outcome = Outcome.LEFT,
    account: uuid.UUID = _OTHER,
) -> RestingOrder:
    """An order that nothing was filled of; `price` in thousandths, `shares` whole."""
    price, shares = price * 1_000, shares * 1_000_000
    return RestingOrder(
        order_id=uuid.UUID(int=1_000 + number),
        account_id=account,
        wallet_id=uuid.UUID(int=account.int + 10),
        side=side,
        outcome=outcome,
        price=price,
        shares=shares,
        filled=0,
        notional=0,
        fee_accrued=0,
        held_asset_id=_CASH if side is Side.BUY else _MARKET.asset_id(outcome),
        hold_remaining=hold_of(side, price, shares, 0, 0, _TERMS),
    )


def _place(
    request: OrderRequest,
    *resting: RestingOrder,
    cash: int | None = None,
    shares: int | None = None,
    market: Market = _MARKET,
) -> Settlement:
    """Places an order for the left outcome; `cash` and `shares` are the wallet's, None for no row."""
    balances: dict[BalanceKey, Funds] = {}
    for maker in resting:
        key = (maker.wallet_id, maker.held_asset_id)
        held = balances.get(key, Funds(0, 0)).held + maker.hold_remaining
        balances[key] = Funds(held, held)
    if cash is not None:
        balances[_TAKER.wallet_id, _CASH] = Funds(cash, 0)
    if shares is not None:
        balances[_TAKER.wallet_id, _LEFT] = Funds(shares, 0)
    positions = {
        key: PositionBooks(funds.posted // 2, 0) for key, funds in balances.items() if key[1] != _CASH
    }
    order = check_order(read_order(request, 0), Outcome.LEFT, market.terms)
    return place(market, _TAKER, order, resting, balances, positions)


def _refusal(
    request: OrderRequest, *resting: RestingOrder, cash: int | None = None, shares: int | None = None
) -> tuple[Code, str, str]:
    with pytest.raises(SealgateError) as refused:
        _place(request, *resting, cash=cash, shares=shares)
    (detail,) = refused.value.details
    return refused.value.code, detail.path, detail.message


def test_a_closed_market_takes_no_order() -> None:
    """Whatever else would be wrong with it."""
    with pytest.raises(SealgateError) as refused:
        _place(_BUY, market=replace(_MARKET, status=MarketStatus.CLOSED))
    assert refused.value.code is Code.MARKET_CLOSED


@pytest.mark.parametrize(
    ("request_", "cash", "message"),
    [
        (_BUY, 5_049_999, "needs 5.05 USDC, fees included, has 5.049999; at most 9.99 SHARES would do"),
        (_BUY, 0, "needs 5.05 USDC, fees included, has 0; no amount would do"),
        (_BUY, 504_999, "needs 5.05 USDC, fees included, has 0.504999; no amount would do"),
        (_BUY, 505_000, "needs 5.05 USDC, fees included, has 0.505; at most 1 SHARES would do"),
        (
            replace(_BUY, units=AmountUnits.USDC),
            5_050_000,
            "needs 10.1 USDC, fees included, has 5.05; at most 5 USDC would do",
        ),
        (
            _BUY_MARKET,
            4_039_999,
            "needs 4.04 USDC, fees included, has 4.039999; at most 9.99 SHARES would do",
        ),
        (
            replace(_BUY_MARKET, units=AmountUnits.USDC, amount="4"),
            4_039_999,
            "needs 4.04 USDC, fees included, has 4.039999; at most 3.999999 USDC would do",
        ),
    ],
)
def test_too_little_usdc_hears_the_largest_amount_that_would_do(
    request_: OrderRequest, cash: int, message: str
) -> None:
    """LIMIT and budgets need their whole amount and its fee, MARKET in shares what they cost."""
    book = [_resting(1, 400, 20)]
    assert _refusal(request_, *book, cash=cash) == (Code.INSUFFICIENT_BALANCE, "amount", message)


def test_an_order_that_may_rest_needs_the_worse_of_the_two_fees() -> None:
    """3 % for resting: 5 USDC need 0.15 more, unless the order cannot rest."""
    market = replace(_MARKET, terms=replace(_TERMS, maker_fee_bps=300, taker_fee_bps=0))
    with pytest.raises(SealgateError) as refused:
        _place(_BUY, cash=5_149_999, market=market)
    assert refused.value.details[0].message.startswith("needs 5.15 USDC")
    assert _place(_BUY, cash=5_150_000, market=market).new_hold is not None
    _place(replace(_BUY, time_in_force=TimeInForce.FAK), cash=5_000_000, market=market)


def test_a_wallet_without_a_balance_has_nothing() -> None:
    """No row is an empty one."""
    assert _refusal(_BUY)[2] == "needs 5.05 USDC, fees included, has 0; no amount would do"
    assert _refusal(replace(_BUY, side=Side.SELL))[2] == "needs 10 SHARES, has 0; no amount would do"


@pytest.mark.parametrize(
    ("request_", "shares", "message"),
    [
        (_BUY, 9_999_999, "needs 10 SHARES, has 9.999999; at most 9.99 SHARES would do"),
        (
            replace(_BUY, units=AmountUnits.USDC, amount="4"),
            7_000_000,
            "needs 8 SHARES, has 7; at most 3.5 USDC would do",
        ),
        (_BUY_MARKET, 3_000_000, "needs 10 SHARES, has 3; at most 3 SHARES would do"),
        (
            replace(_BUY_MARKET, units=AmountUnits.USDC, amount="3"),
            4_000_000,
            "needs 5 SHARES, has 4; at most 2.4 USDC would do",
        ),
    ],
)
def test_too_few_shares_hear_the_largest_amount_that_would_do(
    request_: OrderRequest, shares: int, message: str
) -> None:
    """In the units in which the order was asked for."""
    book = [_resting(1, 600, 20, side=Side.BUY)]
    refusal = _refusal(replace(request_, side=Side.SELL), *book, shares=shares)
    assert refusal == (Code.INSUFFICIENT_BALANCE, "amount", message)


@pytest.mark.parametrize(
    ("side", "price", "book", "message"),
    [
        (Side.BUY, "0.5", _resting(1, 400, 1), "the book has 0.4; the nearest that would rest is 0.399"),
        (
            Side.SELL,
            "0.5",
            _resting(1, 600, 1, side=Side.BUY),
            "the book has 0.6; the nearest that would rest is 0.601",
        ),
        (Side.BUY, "0.5", _resting(1, 1, 1), "the book has 0.001; no price would rest"),
        (
            Side.BUY,
            "0.5",
            _resting(1, 500, 1, account=_ME),
            "the book has 0.5; the nearest that would rest is 0.499",
        ),
    ],
)
def test_a_post_only_order_that_would_be_filled_hears_the_nearest_price(
    side: Side, price: str, book: RestingOrder, message: str
) -> None:
    """One tick behind the best resting order, be it one's own."""
    request = replace(_BUY, side=side, price=price, post_only=True)
    refusal = _refusal(request, book, cash=10**9, shares=10**9)
    assert refusal == (Code.ORDER_WOULD_CROSS, "price", message)


@pytest.mark.parametrize(
    ("request_", "book", "message"),
    [
        (_BUY_MARKET, [], "only 0 SHARES could be filled"),
        (_BUY_MARKET, [_resting(1, 400, 9)], "only 9 SHARES could be filled"),
        (replace(_BUY_MARKET, price="0.399"), [_resting(1, 400, 10)], "only 0 SHARES could be filled"),
        (
            replace(_BUY_MARKET, units=AmountUnits.USDC),
            [_resting(1, 400, 5), _resting(2, 500, 5)],
            "only 4.5 USDC could be filled",
        ),
        (
            replace(_BUY, time_in_force=TimeInForce.FOK),
            [_resting(1, 400, 5), _resting(2, 400, 9, account=_ME)],
            "only 5 SHARES could be filled: an order of the same account comes next",
        ),
    ],
)
def test_what_cannot_be_filled_whole_is_not_filled_at_all(
    request_: OrderRequest, book: list[RestingOrder], message: str
) -> None:
    """FOK hears how much there was."""
    assert _refusal(request_, *book, cash=10**9) == (Code.ORDER_NOT_FILLED, "amount", message)


@pytest.mark.parametrize("side", Side)
def test_a_budget_for_less_than_the_market_takes_hears_what_the_least_is_worth(side: Side) -> None:
    """A share is the least here, and it is 0.4 at the best price; that much is taken."""
    request = replace(_BUY_MARKET, side=side, units=AmountUnits.USDC, amount="0.399999")
    book = _resting(1, 400, 20, side=Side.SELL if side is Side.BUY else Side.BUY)
    message = "must be at least 0.4 at the best price; the nearest is 0.4"
    refusal = _refusal(request, book, cash=10**9, shares=10**9)
    assert refusal == (Code.AMOUNT_OUT_OF_RANGE, "amount", message)
    order = _place(replace(request, amount="0.4"), book, cash=10**9, shares=10**9).order
    assert order is not None
    assert order.filled == _TERMS.min_shares


def test_a_budget_is_spent_when_less_is_left_than_the_next_lot_costs() -> None:
    """2 USDC at 0.3: 6.66 shares for 1.998, and FOK counts that as whole."""
    request = replace(_BUY_MARKET, units=AmountUnits.USDC, amount="2")
    order = _place(request, _resting(1, 300, 20), cash=10**9).order
    assert order is not None
    assert (order.status, order.shares, order.notional) == (OrderStatus.FILLED, 6_660_000, 1_998_000)
    assert order.fee_charged == 19_980


def test_an_immediate_order_keeps_what_it_got_and_never_rests() -> None:
    """FAK takes what there is; with nothing there it ends without a fill, and without a movement."""
    request = replace(_BUY_MARKET, time_in_force=TimeInForce.FAK)
    settlement = _place(request, _resting(1, 400, 4), cash=10**9)
    assert settlement.order is not None
    assert (settlement.order.status, settlement.order.filled) == (OrderStatus.CANCELED, 4_000_000)
    assert settlement.new_hold is None
    nothing = _place(request, cash=10**9)
    assert nothing.order is not None
    assert (nothing.order.status, nothing.order.filled) == (OrderStatus.CANCELED, 0)
    assert (nothing.legs, nothing.updates, nothing.book_changed) == ((), (), False)


def test_a_reduce_only_order_is_lowered_to_what_the_wallet_has() -> None:
    """Down to whole lots, even below the market's least; with none it is refused."""
    request = replace(_BUY, side=Side.SELL, reduce_only=True)
    order = _place(request, shares=459_999).order
    assert order is not None
    assert (order.status, order.shares) == (OrderStatus.OPEN, 450_000)
    assert _place(request, shares=10**9).order == replace(order, shares=10_000_000)
    code, path, message = _refusal(request, shares=9_999)
    assert (code, path) == (Code.INSUFFICIENT_BALANCE, "amount")
    assert message == "needs 0.01 SHARES at least, has 0.009999; no amount would do"


def test_the_rest_of_an_order_that_meets_its_own_account_is_cancelled() -> None:
    """Fills before it stand, the own order stays, nothing is kept back."""
    book = [_resting(1, 400, 4), _resting(2, 400, 4, account=_ME)]
    settlement = _place(_BUY, *book, cash=10**9)
    assert settlement.order is not None
    assert (settlement.order.status, settlement.order.filled) == (OrderStatus.CANCELED, 4_000_000)
    assert [change.order_id for change in settlement.orders] == [book[0].order_id]
    assert settlement.new_hold is None


def test_an_order_meets_at_most_so_many_others() -> None:
    """What is left then is cancelled: resting, it would stand in a crossed book."""
    book = [_resting(number, 400, 1) for number in range(MATCHED_ORDERS_COUNT + 1)]
    request = replace(_BUY, amount=str(MATCHED_ORDERS_COUNT + 1))
    settlement = _place(request, *book, cash=10**12)
    assert settlement.order is not None
    assert len(settlement.orders) == MATCHED_ORDERS_COUNT
    assert (settlement.order.status, settlement.new_hold) == (OrderStatus.CANCELED, None)
    exactly = _place(replace(_BUY, amount=str(MATCHED_ORDERS_COUNT)), *book, cash=10**12)
    assert exactly.order is not None
    assert exactly.order.status is OrderStatus.FILLED


def test_two_buyers_make_a_pair_and_each_pays_for_its_own_share() -> None:
    """LEFT at 0.6 meets RIGHT wanted at 0.45: the one that came pays 0.55, the pair costs 1 USDC."""
    maker = _resting(1, 450, 10, side=Side.BUY, outcome=Outcome.RIGHT)
    settlement = _place(replace(_BUY, price="0.6"), maker, cash=10_000_000)
    collateral, fees = _MARKET.collateral_wallet.wallet_id, _MARKET.fees_wallet.wallet_id
    assert {(leg.wallet_id, leg.asset_id): leg.amount for leg in settlement.legs} == {
        (_TAKER.wallet_id, _CASH): -5_500_000 - 55_000,
        (_TAKER.wallet_id, _LEFT): 10_000_000,
        (maker.wallet_id, _CASH): -4_500_000,
        (maker.wallet_id, _RIGHT): 10_000_000,
        (collateral, _CASH): 10_000_000,
        (collateral, _LEFT): -10_000_000,
        (collateral, _RIGHT): -10_000_000,
        (fees, _CASH): 55_000,
    }
    assert {leg.asset_id for leg in settlement.legs if leg.floor is None} == {_LEFT, _RIGHT}
    # What was kept back for the worst fee comes free in the same movement.
    assert BalanceChange(maker.wallet_id, _CASH, -4_500_000, -4_545_000) in settlement.updates
    assert (settlement.last_price, settlement.volume) == (550_000, 5_500_000)
    assert [(trade.role, trade.price, trade.fee) for trade in settlement.trades] == [
        (Role.MAKER, 450_000, 0),
        (Role.TAKER, 550_000, 55_000),
    ]


def test_what_rests_is_kept_back_with_the_fee_it_can_still_come_to() -> None:
    """4 shares are bought at 0.4, 6 wait at 0.5: 3 USDC and the worse fee of all less what was charged."""
    settlement = _place(_BUY, _resting(1, 400, 4), cash=5_050_000)
    assert settlement.new_hold == NewHold(_TAKER.order_id, _TAKER.wallet_id, _CASH, 3_000_000 + 30_000)
    assert BalanceChange(_TAKER.wallet_id, _CASH, -1_616_000, 3_030_000) in settlement.updates


def test_the_end_of_orders_gives_back_what_was_kept_for_them() -> None:
    """Several orders on one balance are one change of it, and nothing moves."""
    orders = [_resting(1, 400, 4), _resting(2, 500, 4), _resting(3, 500, 4, side=Side.BUY)]
    settlement = end_orders(orders, OrderStatus.EXPIRED)
    wallet_id = orders[0].wallet_id
    assert settlement.updates == (
        BalanceChange(wallet_id, _CASH, 0, -2_020_000),
        BalanceChange(wallet_id, _LEFT, 0, -8_000_000),
    )
    assert {held.remaining for held in settlement.holds} == {0}
    assert {(order.status, order.filled) for order in settlement.orders} == {(OrderStatus.EXPIRED, 0)}
    assert (settlement.legs, settlement.book_changed) == ((), True)
    assert not end_orders([], OrderStatus.CANCELED).book_changed


def test_only_the_balances_that_a_match_can_move_are_locked() -> None:
    """The taker's two, of each order met its two, and the market's own; orders behind stay free."""
    near, far = _resting(1, 400, 20), _resting(2, 450, 20, account=uuid.UUID(int=3))
    order = check_order(read_order(_BUY, 0), Outcome.LEFT, _TERMS)
    keys = balances_involved(_MARKET, _TAKER, order, [near, far])
    assert {wallet_id for wallet_id, _ in keys} == {
        _TAKER.wallet_id,
        near.wallet_id,
        _MARKET.collateral_wallet.wallet_id,
        _MARKET.fees_wallet.wallet_id,
    }
    assert balances_involved(_MARKET, _TAKER, order, []) == (
        (_TAKER.wallet_id, _CASH),
        (_TAKER.wallet_id, _LEFT),
    )


def test_a_quote_tells_average_best_and_slippage() -> None:
    """5 at 0.4 and 5 at 0.5 are 0.45 on average, an eighth worse than the best."""
    book = [_resting(1, 400, 5), _resting(2, 500, 5)]
    order = read_quote(Side.BUY, "10", AmountUnits.SHARES, Outcome.LEFT, _TERMS)
    quoted = quote(order, book, _TERMS)
    assert (quoted.amount, quoted.shares) == (4_500_000, 10_000_000)
    assert (quoted.average_price, quoted.best_price, quoted.slippage) == (450_000, 400_000, 125_000)
    nothing = quote(order, [], _TERMS)
    assert (nothing.amount, nothing.shares, nothing.average_price, nothing.best_price, nothing.slippage) == (
        (0,) * 5
    )


def test_fees_are_rounded_over_an_order_not_over_a_fill() -> None:
    """A thousand smallest fills cost what one of the same worth costs."""
    terms = replace(_TERMS, tick=100_000, lot=10, min_shares=10, taker_fee_bps=33)
    market = replace(_MARKET, terms=terms)
    small = [replace(_resting(number, 300, 0), shares=10, hold_remaining=10) for number in range(999)]
    large = replace(_resting(1, 300, 0), shares=9_990, hold_remaining=9_990)
    request = replace(_BUY, amount="0.00999")
    many = _place(request, *small, cash=10**9, market=market).order
    one = _place(request, large, cash=10**9, market=market).order
    assert many == one
    assert one is not None
    assert one.fee_charged == -(-worth(300_000, 9_990) * 33 // 10_000)

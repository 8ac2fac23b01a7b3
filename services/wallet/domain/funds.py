"""Whether an order may go ahead: what it demanded of the book, and what its wallet has for it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from chassis.errors import Code, Detail, SealgateError
from services.wallet.domain.market import (
    BPS_PER_WHOLE,
    ONE,
    SCALE,
    BookSide,
    Terms,
    fee_of,
    mirrored,
    whole_lots,
    worth,
)
from services.wallet.domain.matching import Match, RestingOrder, Stop, match
from services.wallet.domain.money import plain_amount
from services.wallet.domain.order import AmountUnits, NewOrder, Side, TimeInForce


def reduced(order: NewOrder, available: int, terms: Terms) -> NewOrder:
    """A `reduce_only` order, lowered to the shares there are; even to less than the market's least.

    Raises INSUFFICIENT_BALANCE when there are none.
    """
    most = whole_lots(available, terms)
    if most == 0:
        raise _insufficient(
            f"needs {_text(terms.lot)} SHARES at least, has {_text(available)}; no amount would do"
        )
    return replace(order, shares=most if order.shares is None else min(order.shares, most))


def check_budget(order: NewOrder, resting: Sequence[RestingOrder], terms: Terms) -> None:
    """Raises AMOUNT_OUT_OF_RANGE for a MARKET order in USDC that is for less than the market's least.

    `resting` is the other side of the book, best first; where there is none, nothing is too little.
    """
    if order.budget is None or not resting:
        return
    least = _least_budget(order, resting[0], terms)
    if order.budget < least:
        message = f"must be at least {_text(least)} at the best price; the nearest is {_text(least)}"
        raise SealgateError(Code.AMOUNT_OUT_OF_RANGE, details=(Detail("amount", message),))


def _least_budget(order: NewOrder, best: RestingOrder, terms: Terms) -> int:
    return worth(mirrored(best.left_price, order.outcome), terms.min_shares)


def check_match(order: NewOrder, met: Match, resting: Sequence[RestingOrder], terms: Terms) -> None:
    """Raises ORDER_WOULD_CROSS for a post-only order that meets any, ORDER_NOT_FILLED for FOK."""
    draft = order.draft
    if draft.post_only and (met.fills or met.stop is Stop.SELF_TRADE):
        raise _would_cross(order, resting[0], terms)
    if draft.time_in_force is TimeInForce.FOK and met.stop is not Stop.COMPLETE:
        got = f"{_text(met.shares)} SHARES" if order.budget is None else f"{_text(met.notional)} USDC"
        why = ": an order of the same account comes next" if met.stop is Stop.SELF_TRADE else ""
        detail = Detail("amount", f"only {got} could be filled{why}")
        raise SealgateError(Code.ORDER_NOT_FILLED, details=(detail,))


def check_funds(
    order: NewOrder,
    account_id: uuid.UUID,
    met: Match,
    resting: Sequence[RestingOrder],
    available: int,
    terms: Terms,
) -> None:
    """Raises INSUFFICIENT_BALANCE with what is needed and the largest amount that would do.

    A LIMIT order or one for a budget needs what its whole amount can come to, whatever the book has
    today; a MARKET order in shares needs what they cost.
    """
    buys = order.draft.side is Side.BUY
    needed = _needed_cash(order, met, terms) if buys else _needed_shares(order, met)
    if needed <= available:
        return
    find = _largest_buy if buys else _largest_sell
    most = find(order, account_id, resting, available, terms)
    advice = f"at most {_text(most)} {order.draft.units} would do" if most else "no amount would do"
    unit = AmountUnits.USDC if buys else AmountUnits.SHARES
    fee = ", fees included" if buys and _fee_bps(order, terms) else ""
    raise _insufficient(f"needs {_text(needed)} {unit}{fee}, has {_text(available)}; {advice}")


def _needed_shares(order: NewOrder, met: Match) -> int:
    return met.shares if order.shares is None else order.shares


def _needed_cash(order: NewOrder, met: Match, terms: Terms) -> int:
    notional = met.notional
    if order.budget is not None:
        notional = order.budget
    elif order.limit is not None and order.shares is not None:
        notional = worth(order.limit, order.shares)
    return notional + fee_of(notional * _fee_bps(order, terms))


def _largest_sell(
    order: NewOrder, account_id: uuid.UUID, resting: Sequence[RestingOrder], available: int, terms: Terms
) -> int:
    """The largest amount, in the order's units, for which `available` shares do; 0 for none."""
    shares = whole_lots(available, terms)
    if order.budget is not None:
        raised = match(replace(order, shares=shares), account_id, resting, terms).notional
        return raised if resting and raised >= _least_budget(order, resting[0], terms) else 0
    return _in_units(order, shares, terms)


def _largest_buy(
    order: NewOrder, account_id: uuid.UUID, resting: Sequence[RestingOrder], available: int, terms: Terms
) -> int:
    """The largest amount, in the order's units, for which `available` USDC do; 0 for none."""
    # With a fee of b on top, rounded up, n is affordable exactly when n * (1 + b) is.
    notional = available * BPS_PER_WHOLE // (BPS_PER_WHOLE + _fee_bps(order, terms))
    if order.budget is not None:
        return notional if not resting or notional >= _least_budget(order, resting[0], terms) else 0
    if order.limit is not None:
        return _in_units(order, whole_lots(notional * ONE // order.limit, terms), terms)
    return _in_units(order, match(replace(order, budget=notional), account_id, resting, terms).shares, terms)


def _in_units(order: NewOrder, shares: int, terms: Terms) -> int:
    """Shares as the amount that the order would have to name for them; 0 below the market's least."""
    if shares < terms.min_shares:
        return 0
    if order.draft.units is AmountUnits.USDC and order.limit is not None:
        return worth(order.limit, shares)
    return shares


def _fee_bps(order: NewOrder, terms: Terms) -> int:
    """The most that a fill of the order can cost."""
    return terms.worst_fee_bps if order.may_rest else terms.taker_fee_bps


def _would_cross(order: NewOrder, best: RestingOrder, terms: Terms) -> SealgateError:
    """Names the nearest price that leaves the best resting order alone, where the range has one."""
    behind = best.left_price + (-terms.tick if order.book_side is BookSide.BID else terms.tick)
    message = f"the book has {_text(mirrored(best.left_price, order.outcome))}; "
    if terms.price_min <= behind <= terms.price_max:
        message += f"the nearest that would rest is {_text(mirrored(behind, order.outcome))}"
    else:
        message += "no price would rest"
    return SealgateError(Code.ORDER_WOULD_CROSS, details=(Detail("price", message),))


def _insufficient(message: str) -> SealgateError:
    return SealgateError(Code.INSUFFICIENT_BALANCE, details=(Detail("amount", message),))


def _text(units: int) -> str:
    return plain_amount(units, SCALE)

"""What an order's fields are refused for, through the servicer, as gRPC callers send them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from chassis.errors import Code
from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import market_pb2
from tests.integration.trading_support import (
    BUY,
    FAK,
    GTC,
    GTD,
    LIMIT,
    MARKET,
    SELL,
    SHARES,
    USDC,
    Trader,
    TradingWorld,
    details_of,
    open_trading,
)
from tests.integration.wallet_support import code_of, refusal

# The fake clock's start, in Unix seconds.
START: Final = 1_767_225_600
YEAR: Final = 365 * 24 * 3600

# What differs from a good LIMIT order to buy 10 shares at 0.4; the code, the path, and a part of what
# is said there: for a value, the nearest that would do.
REFUSED: Final[list[tuple[dict[str, Any], Code, str, str]]] = [
    ({"side": 0}, Code.VALIDATION_ERROR, "side", "BUY"),
    ({"side": 9}, Code.VALIDATION_ERROR, "side", "BUY"),
    ({"type": 0}, Code.VALIDATION_ERROR, "type", "LIMIT"),
    ({"type": 9}, Code.VALIDATION_ERROR, "type", "LIMIT"),
    ({"units": 0}, Code.VALIDATION_ERROR, "units", "USDC"),
    ({"units": 9}, Code.VALIDATION_ERROR, "units", "USDC"),
    ({"time_in_force": 0}, Code.VALIDATION_ERROR, "time_in_force", "GTC"),
    ({"time_in_force": 9}, Code.VALIDATION_ERROR, "time_in_force", "GTC"),
    ({"type": MARKET, "time_in_force": GTC}, Code.VALIDATION_ERROR, "time_in_force", "FAK"),
    ({"token_id": ""}, Code.VALIDATION_ERROR, "token_id", "is required"),
    ({"amount": ""}, Code.VALIDATION_ERROR, "amount", "is required"),
    ({"amount": "1e3"}, Code.VALIDATION_ERROR, "amount", "decimal"),
    ({"amount": "-10"}, Code.VALIDATION_ERROR, "amount", "decimal"),
    ({"amount": "10.0000001"}, Code.VALIDATION_ERROR, "amount", "6 digits"),
    ({"amount": "9" * 39}, Code.VALIDATION_ERROR, "amount", "38 digits"),
    ({"amount": "0"}, Code.AMOUNT_OUT_OF_RANGE, "amount", "the nearest is 1"),
    ({"amount": "0.99"}, Code.AMOUNT_OUT_OF_RANGE, "amount", "the nearest is 1"),
    ({"amount": "9" * 20}, Code.AMOUNT_OUT_OF_RANGE, "amount", "the nearest is 1000000000000"),
    ({"amount": "10.007"}, Code.AMOUNT_OFF_LOT, "amount", "the nearest is 10.01"),
    ({"amount": "0.2", "units": USDC}, Code.AMOUNT_OUT_OF_RANGE, "amount", "the nearest is 0.4"),
    ({"price": None}, Code.VALIDATION_ERROR, "price", "LIMIT"),
    ({"price": "x"}, Code.VALIDATION_ERROR, "price", "decimal"),
    ({"price": "0"}, Code.PRICE_OUT_OF_RANGE, "price", "the nearest is 0.001"),
    ({"price": "1"}, Code.PRICE_OUT_OF_RANGE, "price", "the nearest is 0.999"),
    ({"price": "0.9995"}, Code.PRICE_OUT_OF_RANGE, "price", "the nearest is 0.999"),
    ({"price": "0.5234"}, Code.PRICE_OFF_TICK, "price", "the nearest is 0.523"),
    ({"type": MARKET, "price": "0.5234"}, Code.PRICE_OFF_TICK, "price", "the nearest is 0.523"),
    ({"expiration": START + 60}, Code.VALIDATION_ERROR, "expiration", "GTD"),
    ({"time_in_force": GTD}, Code.VALIDATION_ERROR, "expiration", "GTD"),
    (
        {"time_in_force": GTD, "expiration": START},
        Code.EXPIRATION_OUT_OF_RANGE,
        "expiration",
        f"the nearest is {START + 1}",
    ),
    (
        {"time_in_force": GTD, "expiration": -(2**63)},
        Code.EXPIRATION_OUT_OF_RANGE,
        "expiration",
        f"the nearest is {START + 1}",
    ),
    (
        {"time_in_force": GTD, "expiration": 2**63 - 1},
        Code.EXPIRATION_OUT_OF_RANGE,
        "expiration",
        f"the nearest is {START + YEAR}",
    ),
    ({"not_after": START - 1}, Code.EXPIRATION_OUT_OF_RANGE, "not_after", str(START)),
    ({"post_only": True, "time_in_force": FAK}, Code.VALIDATION_ERROR, "post_only", "GTC"),
    ({"post_only": True, "type": MARKET}, Code.VALIDATION_ERROR, "post_only", "LIMIT"),
    ({"reduce_only": True}, Code.VALIDATION_ERROR, "reduce_only", "SELL"),
    ({"client_order_id": ""}, Code.VALIDATION_ERROR, "client_order_id", "1 to 64"),
    ({"client_order_id": "x" * 65}, Code.VALIDATION_ERROR, "client_order_id", "1 to 64"),
    ({"client_order_id": "a b"}, Code.VALIDATION_ERROR, "client_order_id", "1 to 64"),
    ({"amount": "1000"}, Code.INSUFFICIENT_BALANCE, "amount", "at most 250 SHARES"),
    ({"side": SELL}, Code.INSUFFICIENT_BALANCE, "amount", "no amount would do"),
    ({"side": SELL, "reduce_only": True}, Code.INSUFFICIENT_BALANCE, "amount", "no amount would do"),
    ({"type": MARKET, "price": None}, Code.ORDER_NOT_FILLED, "amount", "only 0"),
]


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases) -> AsyncIterator[TradingWorld]:
    """One for all tests here: a refused order changes nothing."""
    factory, clock = DatabaseFactory(template_databases), FakeClock()
    yield await open_trading(factory, clock, CountingIds(clock))
    await factory.close()


@pytest.fixture(scope="module")
async def market(world: TradingWorld) -> market_pb2.ListedMarket:
    return await world.market()


@pytest.fixture(scope="module")
async def trader(world: TradingWorld) -> Trader:
    return await world.trader("100")


def order_fields(market: market_pb2.ListedMarket, changed: dict[str, Any]) -> dict[str, Any]:
    """A good order's fields with some changed; None takes one out."""
    good = {
        "token_id": market.left_token_id,
        "side": BUY,
        "type": LIMIT,
        "price": "0.4",
        "amount": "10",
        "units": SHARES,
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


@pytest.mark.parametrize(("changed", "code", "path", "hint"), REFUSED, ids=str)
async def test_order_field_is_refused_by_name(
    world: TradingWorld,
    market: market_pb2.ListedMarket,
    trader: Trader,
    changed: dict[str, Any],
    code: Code,
    path: str,
    hint: str,
) -> None:
    """One code, the field at fault, and what would do; nothing was placed, held or moved."""
    error = await refusal(world.order(trader, **order_fields(market, changed)))

    assert (error.code, [where for where, _ in details_of(error)]) == (code, [path])
    assert hint in details_of(error)[0][1]
    assert await world.list_orders(trader) == []
    assert await world.usdc(trader) == ("100.000000", "100.000000")


@pytest.mark.parametrize("token_id", ["x", "0", "-1", "12", "0" * 77, "9" * 100, "0x12"])
async def test_unknown_token_is_not_found(
    world: TradingWorld, market: market_pb2.ListedMarket, trader: Trader, token_id: str
) -> None:
    """What is no token id answers as one that names nothing."""
    order = world.order(trader, **order_fields(market, {"token_id": token_id}))
    assert await code_of(order) is Code.TOKEN_NOT_FOUND
    quote = world.quote(trader, token_id=token_id, side=BUY, amount="1", units=SHARES)
    assert await code_of(quote) is Code.TOKEN_NOT_FOUND


async def test_condition_id_is_no_token(
    world: TradingWorld, market: market_pb2.ListedMarket, trader: Trader
) -> None:
    """Nor is the code of an asset that is none."""
    for name in (market.condition_id, "USDC"):
        order = world.order(trader, **order_fields(market, {"token_id": name}))
        assert await code_of(order) is Code.TOKEN_NOT_FOUND


@pytest.mark.parametrize(
    ("changed", "code", "path"),
    [
        ({"side": 0}, Code.VALIDATION_ERROR, "side"),
        ({"side": 9}, Code.VALIDATION_ERROR, "side"),
        ({"units": 0}, Code.VALIDATION_ERROR, "units"),
        ({"amount": "x"}, Code.VALIDATION_ERROR, "amount"),
        ({"amount": "0.5"}, Code.AMOUNT_OUT_OF_RANGE, "amount"),
        ({"amount": "1.005"}, Code.AMOUNT_OFF_LOT, "amount"),
    ],
    ids=str,
)
async def test_quote_field_is_refused_as_the_orders(
    world: TradingWorld,
    market: market_pb2.ListedMarket,
    trader: Trader,
    changed: dict[str, Any],
    code: Code,
    path: str,
) -> None:
    """Whoever is quoted a price could place the order."""
    good = {"token_id": market.left_token_id, "side": BUY, "amount": "10", "units": SHARES}
    error = await refusal(world.quote(trader, **good | changed))
    assert (error.code, [where for where, _ in details_of(error)]) == (code, [path])

"""`sealgate market`: the questions that people trade on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.help import TaughtCommand, TaughtGroup
from cli.operating import data_option, operate
from cli.output import say

if TYPE_CHECKING:
    from sealgate.wallet.v1.market_pb2 import ListedMarket


class MomentType(click.ParamType[datetime]):
    """An RFC 3339 time on the command line."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Reads the time or ends with a usage error."""
        try:
            moment = datetime.fromisoformat(str(value))
            # Near either end of the years that there are, a zone's time can have none in UTC.
            in_utc = None if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            in_utc = None
        if in_utc is None:
            self.fail(f"{value!r} is not a time with its zone, such as 2027-01-31T12:00:00Z", param, ctx)
        return in_utc


@click.group(cls=TaughtGroup)
def market() -> None:
    """Make, close and list markets."""


@market.command(
    cls=TaughtCommand,
    sections={
        "Examples": [
            'sealgate market create --question "Will it rain in Bergen on Sunday?"',
            'sealgate market create --question "Who wins?" --left-outcome Reds --right-outcome Blues',
            'sealgate market create --question "By more than 3?" --event-id ID --taker-fee-bps 25',
        ]
    },
    short_help="Make a market, a question and its two tokens.",
)
@click.option("--question", required=True, help="What is asked, 1 to 256 characters.")
@click.option("--event-id", metavar="ID", help="Event to put it into; without it, a new one is made.")
@click.option("--event-title", metavar="TITLE", help="Title of the new event; without it, the question.")
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="To find a new event by; repeatable.")
@click.option("--outcome", default="", metavar="NAME", help="The market's name within its event.")
@click.option("--description", default="", help="Longer text.")
@click.option("--left-outcome", metavar="NAME", help="The left outcome's name, Yes if not given.")
@click.option("--right-outcome", metavar="NAME", help="The right outcome's name, No if not given.")
@click.option("--tick", metavar="DECIMAL", help="Prices are multiples of it; 0.001 if not given.")
@click.option("--lot", metavar="DECIMAL", help="Shares are multiples of it; 0.01 if not given.")
@click.option("--min-amount", metavar="DECIMAL", help="The least an order can be, in shares; 1 if not given.")
@click.option(
    "--maker-fee-bps",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Fee of the order that was resting, in hundredths of a percent.",
)
@click.option(
    "--taker-fee-bps",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Fee of the order that came, in hundredths of a percent.",
)
@click.option(
    "--ends-at",
    type=MomentType(),
    help="When it is to be decided, such as 2027-01-31T12:00:00Z; shown, and enforced by nobody.",
)
@data_option
def create(data: Path, ends_at: datetime | None, **fields: Any) -> None:  # noqa: ANN401 - click's own
    """Make a market: a question, and two tokens of which one will pay 1 USDC.

    Prints the ids of the event, the market and the tokens, a name and a value a line.
    """
    from sealgate.wallet.v1.operator_pb2 import CreateMarketRequest

    request = CreateMarketRequest(**fields)
    if ends_at is not None:
        request.ends_at.FromDatetime(ends_at)
    made = operate(data, lambda client: client.create_market(request))
    for name in ("event_id", "condition_id", "left_token_id", "right_token_id"):
        say(f"{name:<14}  {getattr(made, name)}")


@market.command(
    cls=TaughtCommand,
    sections={"Examples": ["sealgate market close 0x5c0f…"]},
    short_help="End trading in a market for good.",
)
@click.argument("condition_id")
@data_option
def close(condition_id: str, data: Path) -> None:
    """End trading in the market CONDITION_ID for good and cancel its orders.

    What people hold stays theirs. Repeated, it changes nothing.
    """
    closed = operate(data, lambda client: client.close_market(condition_id))
    say(f"closed {closed.market.condition_id}; orders cancelled: {closed.canceled_orders_count}")


@market.command("list", short_help="List all markets, newest first.")
@data_option
def list_(data: Path) -> None:
    """List all markets, newest first: condition id, status, price of the left outcome, question."""
    for row in operate(data, lambda client: client.list_markets()):
        say(f"{row.condition_id}  {_status(row):<8}  {row.left_price:<8}  {row.question}")


def _status(row: ListedMarket) -> str:
    if row.resolved:
        return "RESOLVED"
    return "ACTIVE" if row.active else "CLOSED"

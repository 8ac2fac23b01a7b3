"""A market as anybody would write it down: orders in a list, traded lot by lot, nothing clever.

Knows none of the matcher's or the settlement's code; slow and obvious is its purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

ONE = 1_000_000


def _rounded_up(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    return quotient + 1 if rest else quotient


@dataclass
class Ask:
    """What somebody wants of the model; None where it does not apply. Amounts in millionths."""

    wallet: int
    side: str
    outcome: str
    time_in_force: str
    limit: int | None
    worst: int | None
    shares: int | None
    budget: int | None
    post_only: bool = False
    reduce_only: bool = False


@dataclass
class Entry:
    """An order of the model, open or not."""

    number: int
    ask: Ask
    shares: int
    status: str = "OPEN"
    got: int = 0
    worth_as_maker: int = 0
    worth_as_taker: int = 0
    fee_paid: int = 0

    @property
    def left_price(self) -> int:
        assert self.ask.limit is not None
        return self.ask.limit if self.ask.outcome == "LEFT" else ONE - self.ask.limit

    @property
    def is_bid(self) -> bool:
        return (self.ask.side, self.ask.outcome) in (("BUY", "LEFT"), ("SELL", "RIGHT"))


# Lots of one resting order in a row, and the price in terms of the new order's outcome.
Run = tuple[Entry, int, int]


@dataclass
class PositionBook:
    """Shares as fills, not lots, changed them, with what they cost and brought."""

    shares: int = 0
    cost: int = 0
    realized: int = 0


@dataclass
class Purse:
    """What a wallet has."""

    cash: int = 0
    shares: dict[str, int] = field(default_factory=lambda: {"LEFT": 0, "RIGHT": 0})
    positions: dict[str, PositionBook] = field(
        default_factory=lambda: {"LEFT": PositionBook(), "RIGHT": PositionBook()}
    )


@dataclass
class BookModel:
    """One market, its wallets by number, and the account of each."""

    lot: int
    maker_bps: int
    taker_bps: int
    accounts: list[int]
    purses: list[Purse]
    orders: list[Entry] = field(default_factory=list)
    collateral: int = 0
    fees: int = 0
    last_price: int | None = None
    volume: int = 0

    def place(self, number: int, ask: Ask) -> str | None:
        """Does it, or leaves everything as it was and says why."""
        before = self._copied()
        refusal = self._place(number, ask)
        if refusal is not None:
            self.__dict__.update(before)
        return refusal

    def _copied(self) -> dict[str, object]:
        purses = [
            Purse(
                purse.cash,
                dict(purse.shares),
                {name: replace(book) for name, book in purse.positions.items()},
            )
            for purse in self.purses
        ]
        return {**self.__dict__, "purses": purses, "orders": [replace(entry) for entry in self.orders]}

    def end(self, number: int, status: str) -> None:
        """Ends an open order."""
        (entry,) = [entry for entry in self.open() if entry.number == number]
        entry.status = status

    def amend(self, number: int, new_number: int, limit: int | None, shares: int | None) -> str | None:
        """Lowers an open order where it stands, or takes it out and places another for its rest."""
        (entry,) = [entry for entry in self.open() if entry.number == number]
        limit = entry.ask.limit if limit is None else limit
        shares = entry.shares if shares is None else shares
        if (limit, shares) == (entry.ask.limit, entry.shares):
            return "VALIDATION_ERROR"
        if shares <= entry.got:
            return "AMOUNT_OUT_OF_RANGE"
        if limit == entry.ask.limit and shares < entry.shares:
            entry.shares = shares
            return None
        before = self._copied()
        entry.status = "CANCELED"
        ask = replace(entry.ask, limit=limit, worst=limit, shares=shares - entry.got, reduce_only=False)
        refusal = self._place(new_number, ask)
        if refusal is not None:
            self.__dict__.update(before)
        return refusal

    def open(self) -> list[Entry]:
        """Orders that rest, oldest first."""
        return [entry for entry in self.orders if entry.status in ("OPEN", "PARTIAL")]

    def kept_back(self, entry: Entry) -> int:
        """Of USDC for a BUY, of its shares for a SELL."""
        rest = entry.shares - entry.got
        if entry.ask.side == "SELL":
            return rest
        assert entry.ask.limit is not None
        worth_of_rest = rest * entry.ask.limit // ONE
        worst = max(self.maker_bps, self.taker_bps)
        worth_of_all = entry.worth_as_maker + entry.worth_as_taker + worth_of_rest
        return worth_of_rest + _rounded_up(worth_of_all * worst, 10_000) - entry.fee_paid

    def spendable(self, wallet: int, asset: str) -> int:
        """Of `CASH`, or of an outcome's shares."""
        purse = self.purses[wallet]
        total = purse.cash if asset == "CASH" else purse.shares[asset]
        for entry in self.open():
            paid = "CASH" if entry.ask.side == "BUY" else entry.ask.outcome
            if entry.ask.wallet == wallet and paid == asset:
                total -= self.kept_back(entry)
        return total

    def _place(self, number: int, ask: Ask) -> str | None:
        paid = "CASH" if ask.side == "BUY" else ask.outcome
        available = self.spendable(ask.wallet, paid)
        cap = ask.shares
        if ask.reduce_only:
            lots = available // self.lot * self.lot
            if lots == 0:
                return "INSUFFICIENT_BALANCE"
            cap = lots if cap is None else min(cap, lots)
        entry = Entry(number, ask, cap or 0)
        best = self._best_against(entry)
        if best is not None and ask.budget is not None and ask.budget < self._worth_of_lot(entry, best):
            return "AMOUNT_OUT_OF_RANGE"
        how, fills = self._trade(entry, cap)
        if ask.post_only and (entry.got or how == "OWN"):
            return "ORDER_WOULD_CROSS"
        if ask.time_in_force == "FOK" and how != "ALL":
            return "ORDER_NOT_FILLED"
        if self._needs(entry, cap) > available:
            return "INSUFFICIENT_BALANCE"
        self._write_positions(ask, fills)
        if ask.budget is not None:
            entry.shares = entry.got
        if how == "ALL":
            entry.status = "FILLED"
        elif ask.time_in_force not in ("GTC", "GTD") or how == "OWN":
            entry.status = "CANCELED"
        else:
            entry.status = "PARTIAL" if entry.got else "OPEN"
        self.orders.append(entry)
        return None

    def _needs(self, entry: Entry, cap: int | None) -> int:
        """What its wallet had to have for it."""
        ask = entry.ask
        if ask.side == "SELL":
            return entry.got if cap is None else cap
        rests = ask.time_in_force in ("GTC", "GTD")
        bps = max(self.maker_bps, self.taker_bps) if rests else self.taker_bps
        value = entry.worth_as_taker
        if ask.budget is not None:
            value = ask.budget
        elif ask.limit is not None:
            assert cap is not None
            value = cap * ask.limit // ONE
        return value + _rounded_up(value * bps, 10_000)

    def _trade(self, entry: Entry, cap: int | None) -> tuple[str, list[Run]]:
        """Trades lot by lot; says whether it got `ALL`, met its `OWN` account, or there was `NO_MORE`."""
        fills: list[Run] = []
        how = "ALL"
        price = None
        while True:
            other = self._best_against(entry)
            if other is not None:
                price = other.left_price if entry.ask.outcome == "LEFT" else ONE - other.left_price
            if price is None or not self._has_room(entry, cap, price):
                break
            if other is None or self.accounts[other.ask.wallet] == self.accounts[entry.ask.wallet]:
                how = "NO_MORE" if other is None else "OWN"
                break
            self._trade_lot(entry, other, price)
            if fills and fills[-1][0] is other:
                fills[-1] = (other, fills[-1][1] + self.lot, price)
            else:
                fills.append((other, self.lot, price))
        return ("NO_MORE" if how == "ALL" and not entry.got else how), fills

    def _worth_of_lot(self, entry: Entry, other: Entry) -> int:
        """Which is the least that this market takes."""
        price = other.left_price if entry.ask.outcome == "LEFT" else ONE - other.left_price
        return self.lot * price // ONE

    def _has_room(self, entry: Entry, cap: int | None, price: int) -> bool:
        if cap is not None and entry.got + self.lot > cap:
            return False
        budget = entry.ask.budget
        return budget is None or entry.worth_as_taker + self.lot * price // ONE <= budget

    def _best_against(self, entry: Entry) -> Entry | None:
        """The resting order that is next, if its price is one that the new one takes."""
        others = [other for other in self.open() if other.is_bid != entry.is_bid]
        if not others:
            return None
        sign = 1 if entry.is_bid else -1
        best = min(others, key=lambda other: (sign * other.left_price, other.number))
        wanted = entry.ask.worst if entry.ask.limit is None else entry.ask.limit
        if wanted is None:
            return best
        left_wanted = wanted if entry.ask.outcome == "LEFT" else ONE - wanted
        return best if sign * best.left_price <= sign * left_wanted else None

    def _trade_lot(self, entry: Entry, other: Entry, price: int) -> None:
        value = self.lot * price // ONE
        other_value = value if other.ask.outcome == entry.ask.outcome else self.lot - value
        entry.worth_as_taker += value
        other.worth_as_maker += other_value
        self._pay(entry, value)
        self._pay(other, other_value)
        if entry.ask.side == other.ask.side:
            self.collateral += self.lot if entry.ask.side == "BUY" else -self.lot
        other.status = "FILLED" if other.got == other.shares else "PARTIAL"
        self.last_price = price if entry.ask.outcome == "LEFT" else ONE - price
        self.volume += value

    def _pay(self, entry: Entry, value: int) -> None:
        """A lot changes hands, and the fee of all that the order ever traded is brought up to date."""
        purse = self.purses[entry.ask.wallet]
        sign = 1 if entry.ask.side == "BUY" else -1
        entry.got += self.lot
        purse.shares[entry.ask.outcome] += sign * self.lot
        accrued = entry.worth_as_maker * self.maker_bps + entry.worth_as_taker * self.taker_bps
        due = _rounded_up(accrued, 10_000) - entry.fee_paid
        entry.fee_paid += due
        self.fees += due
        purse.cash -= sign * value + due

    def _write_positions(self, ask: Ask, fills: list[Run]) -> None:
        for other, shares, price in fills:
            self._write_position(ask, shares, price)
            self._write_position(
                other.ask, shares, price if other.ask.outcome == ask.outcome else ONE - price
            )

    def _write_position(self, ask: Ask, shares: int, price: int) -> None:
        """Cost goes up by what was paid; sold shares take their part of it with them."""
        book, value = self.purses[ask.wallet].positions[ask.outcome], shares * price // ONE
        if ask.side == "BUY":
            book.cost += value
            book.shares += shares
            return
        gone = book.cost * shares // book.shares
        book.cost -= gone
        book.shares -= shares
        book.realized += value - gone

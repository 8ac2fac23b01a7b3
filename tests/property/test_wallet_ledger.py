"""The ledger against a naive model: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.testing.databases import DatabaseFactory, TemplateDatabases
from chassis.testing.fakes import CountingIds, FakeClock
from tests.integration.wallet_support import WalletWorld, open_wallet

_WALLETS_COUNT = 3

# Steps name wallets and references by small numbers, so that sequences meet themselves again.
_amounts = st.sampled_from(("0.000001", "1", "12.345", "999999999999"))
_wallet_numbers = st.integers(0, 4)
_deposits = st.tuples(st.just("deposit"), _wallet_numbers, st.integers(0, 5), _amounts)
_steps = st.one_of(
    _deposits,
    st.tuples(st.just("create")),
    st.tuples(st.just("delete"), _wallet_numbers),
    st.tuples(st.just("list")),
)


@dataclass
class _Model:
    """One account as anybody would write it down: wallets in order, and the deposits booked."""

    opened: bool = False
    # By number of creation: units of USDC, None once deleted.
    units: list[int | None] = field(default_factory=list)
    booked: dict[int, tuple[int, str]] = field(default_factory=dict)

    def live(self) -> list[int]:
        return [number for number, units in enumerate(self.units) if units is not None]

    def list_wallets(self) -> None:
        if not self.opened:
            self.opened = True
            self.units.append(0)

    def create(self) -> Code | None:
        self.opened = True
        if len(self.live()) >= _WALLETS_COUNT:
            return Code.WALLET_LIMIT_REACHED
        self.units.append(0)
        return None

    def delete(self, number: int) -> Code | None:
        if number not in self.live():
            return Code.WALLET_NOT_FOUND
        if self.units[number]:
            return Code.WALLET_NOT_EMPTY
        self.units[number] = None
        return None

    def deposit(self, number: int, reference: int, amount: str) -> Code | None:
        if reference in self.booked:
            return None if self.booked[reference] == (number, amount) else Code.DEPOSIT_CONFLICT
        if number not in self.live():
            return Code.WALLET_NOT_FOUND
        whole, _, fraction = amount.partition(".")
        self.booked[reference] = (number, amount)
        self.units[number] = (self.units[number] or 0) + int(whole + (fraction + "000000")[:6])
        return None


class _Account:
    """The same account in the service."""

    def __init__(self, world: WalletWorld, example: int) -> None:
        self.world = world
        self.caller: Identity = world.caller()
        self._example = example
        self._wallet_ids: list[str] = []

    def wallet_id(self, number: int) -> str:
        """The id of the wallet made as number so and so, or one that does not exist."""
        return self._wallet_ids[number] if number < len(self._wallet_ids) else str(uuid.UUID(int=0))

    async def note_new_wallets(self) -> None:
        for wallet in await self.world.list_wallets(self.caller):
            if wallet.wallet_id not in self._wallet_ids:
                self._wallet_ids.append(wallet.wallet_id)

    async def run(self, step: tuple[object, ...]) -> Code | None:
        """Does one step; the code of its refusal, if it was refused."""
        try:
            match step:
                case ("create",):
                    self._wallet_ids.append((await self.world.create(self.caller)).wallet_id)
                case ("delete", int(number)):
                    await self.world.delete(self.caller, self.wallet_id(number))
                case ("deposit", int(number), int(reference), str(amount)):
                    text = f"{self._example}/{reference}"
                    await self.world.deposit(self.wallet_id(number), amount, text)
                case _:
                    await self.note_new_wallets()
        except SealgateError as error:
            return error.code
        return None


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases) -> AsyncIterator[WalletWorld]:
    """One database for all examples; each has an account of its own, the rails are shared."""
    factory, clock = DatabaseFactory(template_databases), FakeClock()
    yield await open_wallet(factory, clock, CountingIds(clock), wallets_count=_WALLETS_COUNT)
    await factory.close()


_examples = itertools.count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_steps, max_size=25))
async def test_ledger_says_what_a_naive_model_says(
    world: WalletWorld, steps: list[tuple[object, ...]]
) -> None:
    """After any sequence: the same refusals, wallets and balances, and books that pass every audit."""
    model, account = _Model(), _Account(world, next(_examples))

    for step in steps:
        assert await account.run(step) == _expect(model, step)

    if model.opened:
        wallets = await world.list_wallets(account.caller)
        assert [wallet.wallet_id for wallet in wallets] == [account.wallet_id(n) for n in model.live()]
        assert [wallet.position for wallet in wallets] == [number + 1 for number in model.live()]
    for number in model.live():
        balance = await world.balance(account.caller, account.wallet_id(number))
        assert int(balance.balance["USDC"].replace(".", "")) == model.units[number]
    assert await world.broken_rules() == []


def _expect(model: _Model, step: tuple[object, ...]) -> Code | None:
    match step:
        case ("create",):
            return model.create()
        case ("delete", int(number)):
            return model.delete(number)
        case ("deposit", int(number), int(reference), str(amount)):
            return model.deposit(number, reference, amount)
        case _:
            model.list_wallets()
            return None

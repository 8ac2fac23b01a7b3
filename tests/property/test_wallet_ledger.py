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
from sealgate.wallet.v1 import signed_body_pb2
from tests.integration.signed_wallet_support import SignedWorld, open_signed_wallet

_WALLETS_COUNT = 3
_SUBACCOUNTS_COUNT = 2

# Steps name wallets and references by small numbers, so that sequences meet themselves again.
_amounts = st.sampled_from(("0.000001", "1", "12.345", "999999999999"))
_wallet_numbers = st.integers(0, 4)
_deposits = st.tuples(st.just("deposit"), _wallet_numbers, st.integers(0, 5), _amounts)
_transfers = st.tuples(st.just("transfer"), _wallet_numbers, _wallet_numbers, _amounts)
_steps = st.one_of(
    _deposits,
    _transfers,
    st.tuples(st.just("split")),
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
    subaccounts_count: int = 1
    booked: dict[int, tuple[int, str]] = field(default_factory=dict)

    def live(self) -> list[int]:
        return [number for number, units in enumerate(self.units) if units is not None]

    def split(self) -> str:
        if not self.opened:
            self.list_wallets()
        if self.subaccounts_count >= _SUBACCOUNTS_COUNT or len(self.live()) >= _WALLETS_COUNT:
            return "subaccount_rejected_limit"
        self.subaccounts_count += 1
        self.units.append(0)
        return "request_completed"

    def transfer(self, source: int, target: int, amount: str) -> str:
        if source == target or not {source, target} <= set(self.live()):
            return "transfer_rejected_invalid"
        moved = _units(amount)
        if (self.units[source] or 0) < moved:
            return "transfer_rejected_insufficient_balance"
        self.units[source] = (self.units[source] or 0) - moved
        self.units[target] = (self.units[target] or 0) + moved
        return "request_completed"

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
        self.booked[reference] = (number, amount)
        self.units[number] = (self.units[number] or 0) + _units(amount)
        return None


def _units(amount: str) -> int:
    whole, _, fraction = amount.partition(".")
    return int(whole + (fraction + "000000")[:6])


class _Account:
    """The same account in the service."""

    def __init__(self, world: SignedWorld, example: int) -> None:
        self.world = world
        self.caller: Identity = world.caller()
        self._holder = world.holder(self.caller)
        self._example = example
        self._wallets: dict[str, signed_body_pb2.SubaccountWallet] = {}

    def wallet(self, number: int) -> signed_body_pb2.SubaccountWallet:
        """The wallet made as number so and so, or one that does not exist."""
        nobodys = signed_body_pb2.SubaccountWallet(wallet_id=str(uuid.UUID(int=0)))
        return next(itertools.islice(self._wallets.values(), number, None), nobodys)

    async def note_new_wallets(self) -> None:
        for wallet in await self.world.list_wallets(self.caller):
            if wallet.wallet_id not in self._wallets:
                self._wallets[wallet.wallet_id] = signed_body_pb2.SubaccountWallet(
                    wallet_id=wallet.wallet_id, subaccount_index=wallet.subaccount_index
                )

    async def split(self) -> str:
        body = signed_body_pb2.CreateSubaccount()
        answer = await self.world.sign(self._holder, "SubmitCreateSubaccount", body)
        return str(answer.status)

    async def run(self, step: tuple[object, ...]) -> Code | str | None:
        """Does one step; the code of its refusal, if it was refused, or its status if it was signed."""
        status = None
        try:
            match step:
                case ("create",):
                    await self.world.create(self.caller)
                    await self.note_new_wallets()
                case ("delete", int(number)):
                    await self.world.delete(self.caller, self.wallet(number).wallet_id)
                case ("deposit", int(number), int(reference), str(amount)):
                    text = f"{self._example}/{reference}"
                    await self.world.deposit(self.wallet(number).wallet_id, amount, text)
                case ("split",):
                    status = await self.split()
                    await self.note_new_wallets()
                case ("transfer", int(source), int(target), str(amount)):
                    ends = self.wallet(source), self.wallet(target)
                    status = (await self.world.transfer(self._holder, *ends, amount)).status
                case _:
                    await self.note_new_wallets()
        except SealgateError as error:
            return error.code
        return status


@pytest.fixture(scope="module")
async def world(template_databases: TemplateDatabases) -> AsyncIterator[SignedWorld]:
    """One database for all examples; each has an account of its own, the rails are shared."""
    factory, clock = DatabaseFactory(template_databases), FakeClock()
    yield await open_signed_wallet(
        factory,
        clock,
        CountingIds(clock),
        wallets_count=_WALLETS_COUNT,
        subaccounts_count=_SUBACCOUNTS_COUNT,
    )
    await factory.close()


_examples = itertools.count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_steps, max_size=25))
async def test_ledger_says_what_a_naive_model_says(
    world: SignedWorld, steps: list[tuple[object, ...]]
) -> None:
    """After any sequence: the same refusals, wallets and balances, and books that pass every audit."""
    model, account = _Model(), _Account(world, next(_examples))

    for step in steps:
        assert await account.run(step) == _expect(model, step)

    if model.opened:
        wallets = await world.list_wallets(account.caller)
        assert [wallet.wallet_id for wallet in wallets] == [account.wallet(n).wallet_id for n in model.live()]
        assert [wallet.position for wallet in wallets] == [number + 1 for number in model.live()]
    for number in model.live():
        balance = await world.balance(account.caller, account.wallet(number).wallet_id)
        assert int(balance.balance["USDC"].replace(".", "")) == model.units[number]
    assert await world.broken_rules() == []


def _expect(model: _Model, step: tuple[object, ...]) -> Code | str | None:
    match step:
        case ("create",):
            return model.create()
        case ("delete", int(number)):
            return model.delete(number)
        case ("deposit", int(number), int(reference), str(amount)):
            return model.deposit(number, reference, amount)
        case ("split",):
            return model.split()
        case ("transfer", int(source), int(target), str(amount)):
            return model.transfer(source, target, amount)
        case _:
            model.list_wallets()
            return None

"""The wallet service on a real database, called as its interceptors would call it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg

from chassis.db.tx import Database
from chassis.errors import Code, SealgateError
from chassis.identity import Identity
from chassis.limits import OPEN_ORDERS_PER_WALLET_COUNT, WALLETS_PER_ACCOUNT_COUNT
from chassis.methods import CredentialKind
from chassis.rpc import context as request_context
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_ACTIVE, PROJECT_STATUS_ACTIVE
from sealgate.wallet.v1 import operator_pb2, wallet_pb2
from services.wallet.domain.withdrawal import Rail
from services.wallet.storage import CONSTRAINT_ERRORS, DepositStorage, WalletStorage
from services.wallet.storage_audit import AUDIT_STATEMENTS
from services.wallet.storage_listings import ListingStorage
from services.wallet.storage_markets import MarketStorage
from services.wallet.storage_orders import OrderStorage
from services.wallet.storage_withdrawals import DestinationStorage, WithdrawalStorage, WithdrawalTerms
from services.wallet.transport.operator import OperatorServicer
from services.wallet.transport.wallet import WalletServicer

# How withdrawals go in tests.
ADDRESS_WAIT_SECONDS: Final = 3600
TERMS: Final = WithdrawalTerms(rail=Rail.EMBEDDED, delay_seconds=10, limit_per_day=1000)
AUDITS: Final = {f"audit_{name}": sql for name, sql in AUDIT_STATEMENTS.items()}

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class WalletWorld:
    """The servicers over one fresh database, and who calls them.

    The service is connected as its own role, so every test also shows that the role's rights suffice.
    """

    def __init__(
        self,
        fresh: FreshDatabase,
        clock: FakeClock,
        ids: CountingIds,
        wallets_count: int = WALLETS_PER_ACCOUNT_COUNT,
        open_orders_count: int = OPEN_ORDERS_PER_WALLET_COUNT,
    ) -> None:
        self.fresh = fresh
        self.clock = clock
        self.ids = ids
        self.store = WalletStorage(fresh.database, wallets_count)
        self.deposits = DepositStorage(fresh.database)
        self.api = WalletServicer(self.store, clock, ids)
        self.markets = MarketStorage(fresh.database)
        self.orders = OrderStorage(fresh.database, clock, open_orders_count)
        self.listings = ListingStorage(fresh.database, self.markets)
        self.destinations = DestinationStorage(fresh.database, ADDRESS_WAIT_SECONDS)
        self.withdrawals = WithdrawalStorage(fresh.database, clock, ids, TERMS)
        self.operator = OperatorServicer(
            self.deposits, self.withdrawals, self.markets, self.orders, clock, ids
        )

    @property
    def database(self) -> Database:
        """The service's own connections."""
        return self.fresh.database

    async def connect(self, user: str = "postgres") -> asyncpg.Connection[asyncpg.Record]:
        """A connection of its own; the caller closes it."""
        return await asyncpg.connect(self.fresh.dsn_as(user))

    async def administer(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """One statement of a superuser's."""
        connection = await self.connect()
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def call(
        self,
        handler: Callable[[_Request, Any], Awaitable[_Response]],
        request: _Request,
        identity: Identity | None = None,
    ) -> _Response:
        """Serves one request in a task, and so in a context, of its own."""

        async def serve() -> _Response:
            request_context.enter(
                request_context.RequestContext(request_id=self.ids.uuid7(), identity=identity)
            )
            return await handler(request, None)

        return await asyncio.create_task(serve())

    def caller(self, *, subaccount_index: int | None = None, account_id: uuid.UUID | None = None) -> Identity:
        """A session of an account nobody has seen before, or of `account_id`, perhaps pinned."""
        now_ns = self.clock.now_ns()
        return Identity(
            project_id=uuid.UUID(int=1),
            account_id=account_id or self.ids.uuid7(),
            account_number=1,
            kind=CredentialKind.ACCOUNT_SESSION,
            credential_id="session-credential",
            scopes=frozenset({"wallet:read", "wallet:write"}),
            modules=frozenset({"wallet"}),
            subaccount_index=subaccount_index,
            browser=False,
            origin="",
            project_status=PROJECT_STATUS_ACTIVE,
            account_status=ACCOUNT_STATUS_ACTIVE,
            account_version=0,
            issued_at_ns=now_ns,
            expires_at_ns=now_ns + 30_000_000_000,
            credential_expires_at_ns=None,
        )

    async def list_wallets(self, identity: Identity) -> list[wallet_pb2.Wallet]:
        """The identity's wallets."""
        response = await self.call(self.api.ListWallets, wallet_pb2.ListWalletsRequest(), identity)
        return list(response.wallets)

    async def first_wallet(self, identity: Identity) -> str:
        """The id of the identity's first wallet, made if need be."""
        return (await self.list_wallets(identity))[0].wallet_id

    async def get(self, identity: Identity, wallet_id: str) -> wallet_pb2.Wallet:
        """One wallet."""
        request = wallet_pb2.GetWalletRequest(wallet_id=wallet_id)
        return (await self.call(self.api.GetWallet, request, identity)).wallet

    async def create(self, identity: Identity, **fields: Any) -> wallet_pb2.Wallet:  # noqa: ANN401
        """A further wallet."""
        request = wallet_pb2.CreateWalletRequest(**fields)
        return (await self.call(self.api.CreateWallet, request, identity)).wallet

    async def update(self, identity: Identity, wallet_id: str, **fields: Any) -> wallet_pb2.Wallet:  # noqa: ANN401
        """Changes a wallet."""
        request = wallet_pb2.UpdateWalletRequest(wallet_id=wallet_id, **fields)
        return (await self.call(self.api.UpdateWallet, request, identity)).wallet

    async def delete(self, identity: Identity, wallet_id: str) -> bool:
        """Deletes a wallet."""
        request = wallet_pb2.DeleteWalletRequest(wallet_id=wallet_id)
        return (await self.call(self.api.DeleteWallet, request, identity)).deleted

    async def balance(self, identity: Identity, wallet_id: str) -> wallet_pb2.ChainBalance:
        """What a wallet holds."""
        request = wallet_pb2.GetChainBalanceRequest(wallet_id=wallet_id)
        return (await self.call(self.api.GetChainBalance, request, identity)).balance

    async def balances(self, identity: Identity, wallet_id: str) -> list[wallet_pb2.ChainBalance]:
        """What a wallet holds, chain by chain."""
        request = wallet_pb2.ListBalancesRequest(wallet_id=wallet_id)
        return list((await self.call(self.api.ListBalances, request, identity)).balances)

    async def transfers(self, identity: Identity, wallet_id: str, **page: int) -> list[wallet_pb2.Transfer]:
        """What came in and went out."""
        request = wallet_pb2.ListTransfersRequest(wallet_id=wallet_id, **page)
        return list((await self.call(self.api.ListTransfers, request, identity)).transfers)

    async def deposit(
        self,
        wallet_id: str,
        amount: str = "5",
        external_ref: str = "ref-1",
        *,
        rail: str = "embedded",
        asset: str = "USDC",
    ) -> operator_pb2.RecordDepositResponse:
        """Books a deposit as the operator."""
        request = operator_pb2.RecordDepositRequest(
            rail=rail, external_ref=external_ref, wallet_id=wallet_id, asset=asset, amount=amount
        )
        return await self.call(self.operator.RecordDeposit, request)

    async def funded_wallet(self, identity: Identity, amount: str = "5") -> str:
        """A new account's wallet with so much in it."""
        wallet_id = await self.first_wallet(identity)
        await self.deposit(wallet_id, amount, f"funding of {wallet_id}")
        return wallet_id

    async def broken_rules(self) -> list[str]:
        """What the audit finds, over all books; empty when they are sound."""
        found = []
        for name, sql in AUDITS.items():
            rows = await self.database.fetch(sql)
            found += [f"{name}: {row['subject']}: {row['problem']}" for row in rows]
        return found

    async def wait_until_blocked(self, waiting_count: int = 1) -> None:
        """Returns when so many of this database's sessions wait for another one."""
        sql = """
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
        """
        connection = await self.connect()
        try:
            async with asyncio.timeout(30):
                while await connection.fetchval(sql) < waiting_count:
                    # The activity snapshot is kept for a transaction; each fetch here is one.
                    continue
        finally:
            await connection.close()


async def open_wallet(
    database_factory: DatabaseFactory,
    clock: FakeClock,
    ids: CountingIds,
    *,
    pool_size_count: int = 5,
    wallets_count: int = WALLETS_PER_ACCOUNT_COUNT,
) -> WalletWorld:
    """The service on a fresh database."""
    fresh = await database_factory(
        "wallet", pool_size_count=pool_size_count, constraint_errors=CONSTRAINT_ERRORS
    )
    return WalletWorld(fresh, clock, ids, wallets_count)


async def refusal(answer: Awaitable[object]) -> SealgateError:
    """The error that a call answers with."""
    try:
        await answer
    except SealgateError as error:
        return error
    raise AssertionError("the call was not refused")


async def code_of(answer: Awaitable[object]) -> Code:
    """The code of the error that a call answers with."""
    return (await refusal(answer)).code


async def patiently(call: Callable[[], Awaitable[_Response]]) -> _Response:
    """The answer to a call that is repeated, as clients do, while the answer is UNAVAILABLE.

    On a busy machine a caller may have to wait for a connection for longer than the service lets it.
    """
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except SealgateError as error:
                if error.code is not Code.UNAVAILABLE:
                    raise

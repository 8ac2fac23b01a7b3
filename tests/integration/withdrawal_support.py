"""Withdrawals on a real database, asked for as the interceptors would ask."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any, Final

from chassis.identity import Identity
from chassis.methods import CredentialKind
from chassis.rpc import context as request_context
from chassis.signing import Role, Signer, SignerKind
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.wallet.v1 import operator_pb2, signed_body_pb2, signed_pb2, withdrawal_pb2
from services.wallet.storage import CONSTRAINT_ERRORS
from services.wallet.storage_signers import SignerFenceStorage
from services.wallet.transport.signed_withdrawals import SignedWithdrawals
from services.wallet.transport.withdrawal import WithdrawalServicer
from tests.integration.wallet_support import ADDRESS_WAIT_SECONDS, WalletWorld

PENDING: Final = signed_body_pb2.WITHDRAWAL_STATE_PENDING
SENT: Final = signed_body_pb2.WITHDRAWAL_STATE_SENT
CONFIRMED: Final = signed_body_pb2.WITHDRAWAL_STATE_CONFIRMED
FAILED: Final = signed_body_pb2.WITHDRAWAL_STATE_FAILED
REJECTED: Final = signed_body_pb2.WITHDRAWAL_STATE_REJECTED

ADDRESS: Final = "0x" + "a1" * 20
_KEY: Final = b"k" * 32


class WithdrawalWorld(WalletWorld):
    """The servicers of withdrawals beside those of wallets, over one fresh database."""

    def __init__(self, fresh: FreshDatabase, clock: FakeClock, ids: CountingIds) -> None:
        super().__init__(fresh, clock, ids)
        self.fence = SignerFenceStorage(fresh.database)
        self.withdrawal_api = WithdrawalServicer(
            self.withdrawals, self.destinations, self.store, self.deposits, clock, ids
        )
        self.signed_api = SignedWithdrawals()
        self.signed_api._withdrawals = self.withdrawals
        self.signed_api._destinations = self.destinations
        self.signed_api._deposits = self.deposits
        self.signed_api._ids = ids

    async def sign(self, method: str, body: Any, identity: Identity) -> Any:  # noqa: ANN401
        """Runs a signed request of the identity's account as the stage would, at the clock's time."""
        request_id, account_id = self.ids.uuid7(), identity.account()
        kind = SignerKind.SESSION_KEY if method == "SubmitWithdraw" else SignerKind.MASTER_KEY
        signer = Signer(account_id, _KEY, kind, Role.FULL_ACCESS, None, True, None)
        signing = replace(identity, kind=CredentialKind[kind.name], credential_id="a2V5")

        async def serve() -> Any:  # noqa: ANN401
            call = request_context.SignedCall(
                body=body,
                json_body=None,
                request_id=request_id,
                processed_at_ns=self.clock.now_ns(),
                signer=signer,
            )
            request_context.enter(
                request_context.RequestContext(request_id=request_id, identity=signing, signed=call)
            )
            async with self.database.shared_transaction() as tx:
                await tx.fetchrow(
                    "SELECT * FROM claim_request($1, $2, $3, $4)",
                    account_id,
                    _KEY,
                    request_id,
                    self.clock.now_ns(),
                )
                request = getattr(signed_pb2, f"{method}Request")()
                return await getattr(self.signed_api, method)(request, None)

        return await asyncio.create_task(serve())

    async def add(
        self, identity: Identity, address: str = ADDRESS, chain: str = "POL"
    ) -> signed_body_pb2.WithdrawalAddress:
        """Registers an address, signed by an admin master key."""
        body = signed_body_pb2.AddWithdrawalAddress(chain=chain, address=address)
        added: signed_pb2.SubmitAddWithdrawalAddressResponse = await self.sign(
            "SubmitAddWithdrawalAddress", body, identity
        )
        return added.address

    async def remove(self, identity: Identity, address: str = ADDRESS) -> signed_body_pb2.WithdrawalAddress:
        """Removes an address, signed."""
        body = signed_body_pb2.RemoveWithdrawalAddress(chain="POL", address=address)
        removed: signed_pb2.SubmitRemoveWithdrawalAddressResponse = await self.sign(
            "SubmitRemoveWithdrawalAddress", body, identity
        )
        return removed.address

    async def add_as_project(
        self, identity: Identity, address: str = ADDRESS, chain: str = "POL"
    ) -> withdrawal_pb2.RegisteredAddress:
        """Registers an address with the project's key."""
        request = withdrawal_pb2.AddAccountWithdrawalAddressRequest(
            account_id=str(identity.account_id), chain=chain, address=address
        )
        project = replace(identity, kind=CredentialKind.PROJECT_KEY, credential_id="project-credential")
        return (await self.call(self.withdrawal_api.AddAccountWithdrawalAddress, request, project)).address

    async def addresses(self, identity: Identity) -> list[signed_body_pb2.WithdrawalAddress]:
        """The account's addresses."""
        request = withdrawal_pb2.ListWithdrawalAddressesRequest()
        answer = await self.call(self.withdrawal_api.ListWithdrawalAddresses, request, identity)
        return list(answer.addresses)

    async def rich(self, amount: str = "100") -> tuple[Identity, str]:
        """A new account with so much in its wallet and an address that has waited."""
        identity = self.caller()
        wallet_id = await self.funded_wallet(identity, amount)
        await self.add_as_project(identity)
        self.clock.advance(seconds=ADDRESS_WAIT_SECONDS)
        return identity, wallet_id

    async def withdraw(
        self, identity: Identity, wallet_id: str, amount: str = "5", **fields: str
    ) -> withdrawal_pb2.Withdrawal:
        """Withdraws without a signature."""
        given = {"wallet_id": wallet_id, "token": "USDC", "amount": amount, "address": ADDRESS} | fields
        request = withdrawal_pb2.CreateWithdrawalRequest(**given)
        return (await self.call(self.withdrawal_api.CreateWithdrawal, request, identity)).withdrawal

    async def withdraw_signed(
        self, identity: Identity, wallet_id: str, amount: str = "5", **fields: str
    ) -> signed_body_pb2.SubmittedWithdrawal:
        """Withdraws with an admin-rooted session key's signature."""
        given = {
            "wallet_id": wallet_id,
            "asset": "USDC",
            "amount": amount,
            "chain": "POL",
            "address": ADDRESS,
        } | fields
        begun: signed_pb2.SubmitWithdrawResponse = await self.sign(
            "SubmitWithdraw", signed_body_pb2.Withdraw(**given), identity
        )
        return begun.withdrawal

    async def list_withdrawals(
        self, identity: Identity, wallet_id: str, **page: int
    ) -> list[withdrawal_pb2.Withdrawal]:
        """A wallet's withdrawals."""
        request = withdrawal_pb2.ListWithdrawalsRequest(wallet_id=wallet_id, **page)
        return list((await self.call(self.withdrawal_api.ListWithdrawals, request, identity)).withdrawals)

    async def settle(
        self, withdrawal_id: str, state: signed_body_pb2.WithdrawalState.ValueType, external_ref: str = ""
    ) -> withdrawal_pb2.Withdrawal:
        """Moves a withdrawal on as the operator."""
        request = operator_pb2.SettleWithdrawalRequest(
            withdrawal_id=withdrawal_id, state=state, external_ref=external_ref
        )
        return (await self.call(self.operator.SettleWithdrawal, request)).withdrawal

    async def open_withdrawals(self) -> list[withdrawal_pb2.Withdrawal]:
        """Everybody's that are on their way."""
        request = operator_pb2.ListOpenWithdrawalsRequest()
        return list((await self.call(self.operator.ListOpenWithdrawals, request)).withdrawals)

    async def holdings(self, identity: Identity, wallet_id: str) -> tuple[str, str]:
        """What a wallet has of USDC in all, and what of that is held."""
        (asset,) = (await self.balance(identity, wallet_id)).assets
        return asset.total, asset.held

    async def actions(self, account_id: uuid.UUID | None) -> list[tuple[str, str, str]]:
        """What the audit says was done to an account's money and addresses: action, by whom."""
        rows = await self.administer(
            "SELECT action, actor_kind, actor_id FROM audit WHERE account_id = $1 ORDER BY audit_id",
            account_id,
        )
        return [(row["action"], row["actor_kind"], row["actor_id"]) for row in rows]


async def open_withdrawals(
    database_factory: DatabaseFactory, clock: FakeClock, ids: CountingIds, *, pool_size_count: int = 5
) -> WithdrawalWorld:
    """The service on a fresh database."""
    fresh = await database_factory(
        "wallet", pool_size_count=pool_size_count, constraint_errors=CONSTRAINT_ERRORS
    )
    return WithdrawalWorld(fresh, clock, ids)

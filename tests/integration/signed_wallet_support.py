"""Signed requests to the wallet service, through the stage that verifies them and on a real database."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from chassis.config import RateLimitsConfig
from chassis.db.signed_requests import remember_signer
from chassis.identity import Identity
from chassis.limits import SUBACCOUNTS_PER_ACCOUNT_COUNT, WALLETS_PER_ACCOUNT_COUNT
from chassis.methods import method_table
from chassis.ratelimit import ProcessRateLimiter
from chassis.rpc import context as request_context
from chassis.rpc.bad_credentials import BadCredentials
from chassis.rpc.limiting import CallLimits
from chassis.rpc.signed import SignedRequests, SignedStage
from chassis.rpc.signers import KnownSigner, Standing
from chassis.signing import Role, Signer, SignerKind
from chassis.testing.databases import DatabaseFactory, FreshDatabase
from chassis.testing.fakes import CountingIds, FakeClock
from sealgate.common.v1.passport_pb2 import ACCOUNT_STATUS_ACTIVE, PROJECT_STATUS_ACTIVE
from sealgate.wallet.v1 import signed_body_pb2, signed_pb2, signer_fence_pb2, subaccount_pb2, wallet_pb2
from services.wallet.domain.wallet import Reach
from services.wallet.storage import CONSTRAINT_ERRORS
from services.wallet.storage_requests import RequestStorage
from services.wallet.storage_signers import SignerFenceStorage
from services.wallet.storage_subaccounts import SubaccountStorage
from services.wallet.storage_transfers import TransferStorage
from services.wallet.transport.signed import REJECTIONS, SignedRequestServicer
from services.wallet.transport.signer_fence import SignerFenceServicer
from services.wallet.transport.subaccount import SubaccountServicer
from tests.integration.wallet_support import WalletWorld
from tests.signing_support import SigningKeyPair, new_pair, payload, request_id_at, sign_payload

AUDIENCE: Final = "wallet.test"
_UNLIMITED: Final = 1_000_000
_METHODS: Final = {
    row.descriptor.name: row
    for row in method_table([signed_pb2.DESCRIPTOR.services_by_name["SignedRequestService"]]).values()
}


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A session key of an account: the pair, and the account as a session of it would be seen."""

    pair: SigningKeyPair
    identity: Identity

    @property
    def account_id(self) -> uuid.UUID:
        """The account's id."""
        return self.identity.account()


@dataclass
class _Directory:
    """Every key of these tests, as `chassis.rpc.signers.SignerDirectory` wants to be asked."""

    world: WalletWorld
    known: dict[tuple[uuid.UUID, bytes], KnownSigner] = field(default_factory=dict)

    async def known_signer(self, account_id: uuid.UUID, public_key: bytes) -> KnownSigner | None:
        """See `SignerDirectory.known_signer`."""
        found = self.known.get((account_id, public_key))
        if found is not None:
            await remember_signer(self.world.database, account_id, public_key)
        return found


class SignedWorld(WalletWorld):
    """The servicers of signed requests beside those of wallets, over one fresh database."""

    def __init__(
        self,
        fresh: FreshDatabase,
        clock: FakeClock,
        ids: CountingIds,
        wallets_count: int = WALLETS_PER_ACCOUNT_COUNT,
        subaccounts_count: int = SUBACCOUNTS_PER_ACCOUNT_COUNT,
    ) -> None:
        super().__init__(fresh, clock, ids, wallets_count)
        self.subaccounts = SubaccountStorage(fresh.database, subaccounts_count, wallets_count)
        self.transfer_store = TransferStorage(fresh.database)
        self.subaccount_api = SubaccountServicer(self.subaccounts, self.store, clock, ids)
        self.fence_api = SignerFenceServicer(SignerFenceStorage(fresh.database))
        self.signed_servicer = SignedRequestServicer(
            wallets=self.store,
            subaccounts=self.subaccounts,
            transfers=self.transfer_store,
            deposits=self.deposits,
            withdrawals=self.withdrawals,
            destinations=self.destinations,
            markets=self.markets,
            orders=self.orders,
            listings=self.listings,
            requests=RequestStorage(fresh.database),
            clock=clock,
            ids=ids,
        )
        self._directory = _Directory(self)
        limiter = ProcessRateLimiter(clock)
        self._stage = SignedStage(
            SignedRequests(
                database=fresh.database,
                clock=clock,
                audience=AUDIENCE,
                directory=self._directory,
                outcome_type=signed_pb2.RequestOutcome,
                rejections=REJECTIONS,
            ),
            _METHODS.values(),
            CallLimits(
                RateLimitsConfig(write_per_minute_count=_UNLIMITED, order_per_minute_count=_UNLIMITED),
                clock,
                limiter,
            ),
            BadCredentials(_UNLIMITED, limiter, clock),
        )

    def holder(
        self,
        identity: Identity | None = None,
        *,
        subaccount_index: int | None = None,
        admin_rooted: bool = True,
        role: Role = Role.FULL_ACCESS,
    ) -> KeyHolder:
        """A new session key of the identity's account, or of a new one; pinned ones are not rooted."""
        identity = self.caller() if identity is None else identity
        pair = new_pair()
        signer = Signer(
            account_id=identity.account(),
            public_key=pair.public_key,
            kind=SignerKind.SESSION_KEY,
            role=role,
            subaccount_index=subaccount_index,
            admin_rooted=admin_rooted and subaccount_index is None,
            valid_until_ns=None,
        )
        standing = Standing(
            project_id=identity.project_id,
            account_number=1,
            project_status=PROJECT_STATUS_ACTIVE,
            account_status=ACCOUNT_STATUS_ACTIVE,
            account_version=0,
            modules=frozenset({"wallet", "trading", "signing"}),
            allowed_origins=frozenset(),
        )
        self._directory.known[signer.account_id, signer.public_key] = KnownSigner(signer, standing)
        return KeyHolder(pair, identity)

    async def sign(
        self,
        holder: KeyHolder,
        method: str,
        body: Message,
        *,
        request_id: uuid.UUID | None = None,
    ) -> Any:  # noqa: ANN401 - the answer of whatever method
        """Signs and sends a request under a new id, or under `request_id`; its answer."""
        row = _METHODS[method]
        signed = payload(
            row.request_type,
            request_id or request_id_at(self.clock.now_ns()),
            body.SerializeToString(deterministic=True),
        )
        envelope = sign_payload(holder.pair, AUDIENCE, str(holder.account_id), signed)
        request = getattr(signed_pb2, f"{method}Request")(**envelope.fields)
        handler = self._stage.wrap(row, getattr(self.signed_servicer, method))

        async def serve() -> Any:  # noqa: ANN401
            request_context.enter(request_context.RequestContext(request_id=self.ids.uuid7(), identity=None))
            return await handler(request, None)  # type: ignore[arg-type]

        return await asyncio.create_task(serve())

    def reach(self, identity: Identity) -> Reach:
        """What the identity sees, as the storage wants it."""
        return Reach(identity.project_id, identity.account(), identity.subaccount_index)

    async def create_subaccount(
        self, holder: KeyHolder, name: str | None = None
    ) -> signed_body_pb2.Subaccount:
        """A further subaccount with its first wallet."""
        answer = await self.sign(
            holder, "SubmitCreateSubaccount", signed_body_pb2.CreateSubaccount(name=name)
        )
        assert answer.status == "request_completed", answer
        made: signed_body_pb2.Subaccount = answer.subaccount
        return made

    async def transfer(
        self,
        holder: KeyHolder,
        source: wallet_pb2.Wallet | signed_body_pb2.SubaccountWallet,
        target: wallet_pb2.Wallet | signed_body_pb2.SubaccountWallet,
        amount: str = "1",
        *,
        request_id: uuid.UUID | None = None,
        **fields: object,
    ) -> signed_pb2.SubmitTransferFundsResponse:
        """Asks for a transfer; `fields` instead of those of the wallets."""
        given = {
            "from_subaccount_index": source.subaccount_index,
            "from_wallet_id": source.wallet_id,
            "to_subaccount_index": target.subaccount_index,
            "to_wallet_id": target.wallet_id,
            "asset": "USDC",
            "amount": amount,
        } | fields
        body = signed_body_pb2.TransferFunds(**given)  # type: ignore[arg-type]
        answer: signed_pb2.SubmitTransferFundsResponse = await self.sign(
            holder, "SubmitTransferFunds", body, request_id=request_id
        )
        return answer

    async def list_subaccounts(self, identity: Identity) -> list[signed_body_pb2.Subaccount]:
        """What the identity sees of its account."""
        request = subaccount_pb2.ListSubaccountsRequest()
        return list((await self.call(self.subaccount_api.ListSubaccounts, request, identity)).subaccounts)

    async def look_up(self, identity: Identity, request_id: object) -> signed_pb2.RequestOutcome:
        """What became of a signed request."""
        request = signed_pb2.GetRequestRequest(request_id=str(request_id))
        return (await self.call(self.signed_servicer.GetRequest, request, identity)).request

    async def fence(self, account_id: uuid.UUID, *public_keys: bytes) -> None:
        """Ends keys, as the keys service does."""
        request = signer_fence_pb2.FenceSignersRequest(account_id=str(account_id), public_keys=public_keys)
        await self.call(self.fence_api.FenceSigners, request)

    async def require_signatures(self, account_id: uuid.UUID) -> None:
        """Ends what is unsigned, as the keys service does."""
        request = signer_fence_pb2.RequireSignaturesRequest(account_id=str(account_id))
        await self.call(self.fence_api.RequireSignatures, request)

    async def units_of(self, wallet_id: str) -> int:
        """What a wallet has of USDC, in its smallest units."""
        rows = await self.administer(
            "SELECT posted FROM balance WHERE wallet_id = $1::uuid AND asset_id = 1", wallet_id
        )
        return int(rows[0]["posted"]) if rows else 0


async def open_signed_wallet(
    database_factory: DatabaseFactory,
    clock: FakeClock,
    ids: CountingIds,
    *,
    pool_size_count: int = 10,
    wallets_count: int = WALLETS_PER_ACCOUNT_COUNT,
    subaccounts_count: int = SUBACCOUNTS_PER_ACCOUNT_COUNT,
) -> SignedWorld:
    """The service on a fresh database."""
    fresh = await database_factory(
        "wallet", pool_size_count=pool_size_count, constraint_errors=CONSTRAINT_ERRORS
    )
    return SignedWorld(fresh, clock, ids, wallets_count, subaccounts_count)

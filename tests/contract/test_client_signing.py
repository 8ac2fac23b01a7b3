"""What the client signs against the platform: every call of both kinds, over good lines and bad ones."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.signing import Status
from chassis.testing.databases import TemplateDatabases
from sealgate.client import (
    NEVER,
    UNPINNED,
    AddressNotUsable,
    AmountUnits,
    AsyncSealgate,
    KeyPair,
    MasterKeyReach,
    OrderType,
    RequestNotFound,
    RequestRefused,
    RequestStatus,
    RequestTimestampSkew,
    Sealgate,
    SessionInvalid,
    Side,
    SignatureInvalid,
    SignatureRequired,
    Signer,
    SigningRole,
    signed_operations,
)
from sealgate.client.core import Operation
from tests.client_support import CUT, PASS, SEND_AWAY, SIGNING_CALLS, SWALLOW, Caller, StillMachine, bad_line
from tests.cluster import AUDIENCE, Cluster
from tests.platform_support import private_cluster
from tests.signing_support import new_pair

pytestmark = pytest.mark.usefixtures("closing_clients")

KINDS: Final = [pytest.param(AsyncSealgate, id="async"), pytest.param(Sealgate, id="sync")]
Kind = type[AsyncSealgate] | type[Sealgate]
ROUTES: Final = {value.name for value in vars(signed_operations).values() if isinstance(value, Operation)}
ADDRESS: Final = "0x52908400098527886e0f7030069857d2e4169ee7"


class ClusterMachine(StillMachine):
    """A machine whose clock is the platform's: what it waits, passes there too."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.clock.now_ns())
        self._cluster = cluster

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self._cluster.clock.advance_ns(int(seconds * NANOSECONDS_PER_SECOND))


def machine_of(cluster: Cluster) -> StillMachine:
    """One that tells the platform's time as it is now; its pauses are nobody else's."""
    return StillMachine(cluster.clock.now_ns())


def pair() -> KeyPair:
    return KeyPair(new_pair().seed)


def signer(key: KeyPair, account_id: str) -> Signer:
    return Signer(key, account_id, audience=AUDIENCE)


class Owner:
    """An account's calls: with its API key, and signed by its master key or a session key."""

    def __init__(self, reader: Caller, account_id: str) -> None:
        self.account_id = account_id
        self.reader = reader
        self.master_key, self.session_key = pair(), pair()
        self.master = reader.with_signer(signer(self.master_key, account_id))
        self.session = reader.with_signer(signer(self.session_key, account_id))

    async def register(self, backend: Caller) -> None:
        """Registers the master key, which mints the session key."""
        possession = signer(self.master_key, self.account_id).possession()
        await backend.register_master_key(
            account_id=self.account_id,
            public_key=self.master_key.public_key,
            possession_signature=possession,
        )
        minted = await self.mint(self.session_key)
        assert minted.session_key.public_key == self.session_key.public_key
        assert minted.session_key.admin_rooted

    async def mint(self, key: KeyPair, scope: int = UNPINNED) -> Any:  # noqa: ANN401 - as calls answer
        made = await self.master.submit_mint_session_key(
            public_key=key.public_key, scope=scope, valid_until_ns=NEVER
        )
        return made.raise_for_status()

    async def close(self) -> None:
        await self.reader.close()


async def owner_of(
    cluster: Cluster, kind: Kind, machine: StillMachine | None = None, *, registered: bool = True
) -> Owner:
    """An account of a project of the test's own."""
    tenant = await cluster.tenant()
    secret = (await cluster.api_key(tenant))["secret_key"]
    client = kind(str(cluster.http.base_url), machine=machine or machine_of(cluster), api_key=secret)
    owner = Owner(Caller(client), tenant.account_id)
    backend = Caller(client.with_project_key(tenant.project_key), owner.reader.called)
    if registered:
        await owner.register(backend)
    else:
        await walk_unsigned(backend, owner)
    return owner


async def walk_unsigned(backend: Caller, owner: Owner) -> None:
    """Withdrawals of an account without keys, and that they end with its first master key."""
    where = {"account_id": owner.account_id, "chain": "POL", "address": ADDRESS}
    added = await backend.add_account_withdrawal_address(**where)
    assert (added.address, added.usable_at > added.created_at) == (ADDRESS, True)
    [wallet] = await owner.reader.list_wallets()
    deposit = await owner.reader.get_deposit_address(wallet_id=wallet.wallet_id, chain="POL")
    assert deposit.address == wallet.chains["POL"].address
    out = {"wallet_id": wallet.wallet_id, "token": "USDC", "amount": Decimal(1), "address": ADDRESS}
    key = await backend.create_account_api_key(
        account_id=owner.account_id, scopes=["wallet:read", "withdrawals:write"]
    )
    mover = owner.reader.with_api_key(key.secret_key)
    with pytest.raises(AddressNotUsable):
        await mover.create_withdrawal(**out)
    assert await owner.reader.list_withdrawals(wallet_id=wallet.wallet_id) == []
    await owner.register(backend)
    with pytest.raises(SignatureRequired):
        await mover.create_withdrawal(**out)


async def walk_keys(owner: Owner) -> None:
    """Keys from their minting to their end, with both signatures."""
    further, scoped = pair(), pair()
    added = await owner.master.submit_add_master_key(
        public_key=scoped.public_key,
        reach=MasterKeyReach.SCOPED,
        role=SigningRole.TRADING_ONLY,
        subaccount_index=7,
        possession_signature=signer(scoped, owner.account_id).possession(),
    )
    assert added.raise_for_status().master_key.subaccount_index == 7
    masters = await owner.reader.list_master_keys()
    assert [item.public_key for item in masters] == [owner.master_key.public_key, scoped.public_key]
    await owner.mint(further, scope=0)
    listed = (await owner.master.submit_list_session_keys()).session_keys
    assert [item.public_key for item in listed] == [owner.session_key.public_key, further.public_key]
    assert await owner.reader.list_session_keys() == list(listed)
    revoked = await owner.master.submit_revoke_session_key(
        public_key=further.public_key, include_api_keys=False
    )
    assert revoked.raise_for_status().session_key.public_key == further.public_key
    outcome = await owner.reader.get_key_request(request_id=revoked.request_id)
    assert (outcome.status, outcome.session_key) == (RequestStatus.COMPLETED, revoked.session_key)
    removed = await owner.master.submit_remove_master_key(public_key=scoped.public_key)
    assert removed.raise_for_status().master_key.public_key == scoped.public_key
    device = await owner.session.create_device_key(name="phone")
    assert device.raise_for_status().secret_key.startswith("dk_")
    [shown] = (await owner.session.list_device_keys()).device_keys
    assert shown == device.device_key
    await owner.session.delete_device_key(device_key_id=shown.device_key_id)
    key = await owner.session.create_session_api_key(name="reader", subaccount_index=0)
    reading = owner.reader.with_api_key(key.raise_for_status().secret_key)
    assert len(await reading.list_subaccounts()) == 1
    listed = (await owner.session.list_session_api_keys()).api_keys
    assert key.api_key.public_key in {item.public_key for item in listed}
    deleted = await owner.session.delete_session_api_key(api_key=key.api_key.public_key)
    assert deleted.raise_for_status().api_key.public_key == key.api_key.public_key


async def walk_money(cluster: Cluster, owner: Owner) -> None:
    """Subaccounts, wallets, transfers and addresses."""
    [main] = await owner.reader.list_subaccounts()
    source = {"from_subaccount_index": 0, "from_wallet_id": main.wallets[0].wallet_id}
    await cluster.deposit(source["from_wallet_id"], "100", owner.account_id)
    made = (await owner.session.submit_create_subaccount(name="Bets")).raise_for_status().subaccount
    index, [first] = made.subaccount_index, made.wallets
    wallet = (await owner.session.submit_create_wallet(subaccount_index=index)).raise_for_status().wallet
    changed = await owner.session.submit_update_wallet(
        subaccount_index=index, wallet_id=wallet.wallet_id, name="Longshots"
    )
    assert changed.raise_for_status().wallet.name == "Longshots"
    target = {"to_subaccount_index": index, "to_wallet_id": first.wallet_id}
    moved = await owner.session.submit_transfer_funds(**source, **target, asset="USDC", amount=Decimal("2.5"))
    assert moved.raise_for_status().transfer.amount == Decimal("2.5")
    outcome = await owner.session.get_request(request_id=moved.request_id)
    assert outcome.transfer == moved.transfer
    address = {"chain": "POL", "address": ADDRESS}
    added = await owner.master.submit_add_withdrawal_address(**address)
    assert added.raise_for_status().address.usable_at_ns > added.processed_at_ns
    assert added.address in await owner.reader.list_withdrawal_addresses()
    out = await owner.session.submit_withdraw(wallet_id=first.wallet_id, asset="USDC", amount=1, **address)
    with pytest.raises(RequestRefused) as refused:
        out.raise_for_status()
    assert refused.value.code == RequestStatus.WITHDRAWAL_ADDRESS
    removed = await owner.session.submit_remove_withdrawal_address(**address)
    assert removed.raise_for_status().address.address == ADDRESS


async def order_fields(cluster: Cluster, owner: Owner) -> dict[str, object]:
    """A limit order of the account's first wallet, which has money."""
    main, *_ = await owner.reader.list_subaccounts()
    wallet_id = main.wallets[0].wallet_id
    await cluster.deposit(wallet_id, "100", f"orders of {owner.account_id}")
    market = await cluster.market()
    return {
        "subaccount_index": 0,
        "wallet_id": wallet_id,
        "token_id": market.left_token_id,
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "amount": Decimal(10),
        "units": AmountUnits.SHARES,
        "price": Decimal("0.4"),
    }


async def walk_orders(cluster: Cluster, owner: Owner) -> None:
    """An order from its placing to its end, and logging out."""
    fields = await order_fields(cluster, owner)
    where = {name: fields[name] for name in ("subaccount_index", "wallet_id")}
    placed = (await owner.session.submit_place_order(**fields)).raise_for_status().order
    amended = await owner.session.submit_amend_order(**where, order_id=placed.order_id, price="0.3")
    order_id = amended.raise_for_status().order.order_id
    cancelled = await owner.session.submit_cancel_order(**where, order_id=order_id)
    assert cancelled.raise_for_status().order.order_id == order_id
    again = (await owner.session.submit_place_order(**fields)).raise_for_status().order
    ended = await owner.session.submit_cancel_all_orders(**where)
    assert ended.raise_for_status().order_ids == (again.order_id,)
    twice = await owner.session.submit_cancel_order(**where, order_id=order_id)
    assert twice.status == RequestStatus.ORDER_NOT_OPEN
    out = await owner.session.submit_logout(public_key=owner.session_key.public_key, include_api_keys=False)
    assert out.raise_for_status().session_key.public_key == owner.session_key.public_key
    with pytest.raises(SessionInvalid):
        await owner.session.submit_cancel_all_orders(**where)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_signed_call_works_against_the_platform(cluster: Cluster, kind: Kind) -> None:
    """Each method that signs, and what goes with them, is called once at least and means what it says."""
    owner = await owner_of(cluster, kind, registered=False)
    shown = await owner.reader.get_time()
    assert (shown.audience, shown.now_ns) == (AUDIENCE, cluster.clock.now_ns())
    await walk_keys(owner)
    await walk_money(cluster, owner)
    await walk_orders(cluster, owner)
    others = {"create_account_api_key", "list_wallets"}
    assert owner.reader.called - others == ROUTES | SIGNING_CALLS
    await owner.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "fates", [[CUT, PASS], [SWALLOW, PASS], [SWALLOW, SEND_AWAY, SWALLOW, PASS]], ids=" then ".join
)
async def test_signed_call_over_a_bad_line_works_once(cluster: Cluster, kind: Kind, fates: list[str]) -> None:
    """However often it is sent, one order is placed, and the outcome is that of the first."""
    owner = await owner_of(cluster, kind)
    fields = await order_fields(cluster, owner)
    async with bad_line(cluster.http.base_url.port or 0, *fates) as url:
        calls = Caller(kind(url, machine=machine_of(cluster)))
        trader = calls.with_signer(signer(owner.session_key, owner.account_id))
        placed = await trader.submit_place_order(**fields)
        await calls.close()
        assert trader.client.last_answer.attempts_count == len(fates)
    assert placed.raise_for_status().status == RequestStatus.COMPLETED
    assert (placed.original is not None) is (SWALLOW in fates)
    listed = await owner.reader.list_active_orders(wallet_id=fields["wallet_id"])
    assert [item.order.order_id for item in listed] == [placed.order.order_id]
    await owner.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_secret_of_a_lost_answer_is_gone(cluster: Cluster, kind: Kind) -> None:
    """The key is there, the outcome says so, and nobody has its secret."""
    owner = await owner_of(cluster, kind)
    async with bad_line(cluster.http.base_url.port or 0, SWALLOW, PASS) as url:
        calls = Caller(kind(url, machine=machine_of(cluster)))
        holder = calls.with_signer(signer(owner.session_key, owner.account_id))
        made = await holder.create_device_key(name="phone")
        await calls.close()
    assert made.raise_for_status().secret_key is None
    assert made.device_key.name == "phone"
    await owner.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_outcome_is_waited_for(
    template_databases: TemplateDatabases, short_directory: Path, kind: Kind
) -> None:
    """Of what ran, at once; of what did not, when it never will any more."""
    async with private_cluster(template_databases, short_directory) as cluster:
        owner = await owner_of(cluster, kind, ClusterMachine(cluster))
        fields = await order_fields(cluster, owner)
        own_id, lost_id, lost_key_id = (owner.reader.client.new_request_id() for _ in range(3))
        placed = await owner.session.submit_place_order(**fields, request_id=own_id)
        assert placed.request_id == own_id
        outcome = await owner.reader.wait_outcome(request_id=own_id)
        assert (outcome.status, outcome.order) == (RequestStatus.COMPLETED, placed.order)
        with pytest.raises(RequestNotFound):
            await owner.reader.wait_outcome(request_id=lost_id, timeout_seconds=2)
        assert (await owner.reader.wait_outcome(request_id=lost_id)).status == RequestStatus.NEVER_RAN
        outcome = await owner.reader.wait_key_outcome(request_id=lost_key_id)
        assert (outcome.status, outcome.success) == (RequestStatus.NEVER_RAN, False)
        with pytest.raises(RequestTimestampSkew):
            await owner.session.submit_place_order(**fields, request_id=lost_id)
        await owner.close()


async def test_signature_for_the_dialled_name_is_none_for_another(cluster: Cluster) -> None:
    """Without an audience of its own a signer names what the client dials, which this platform is not."""
    owner = await owner_of(cluster, AsyncSealgate)
    stranger = owner.reader.with_signer(Signer(owner.session_key, owner.account_id))
    with pytest.raises(SignatureInvalid):
        await stranger.list_device_keys()
    await owner.close()


def test_client_knows_all_statuses_of_the_platform() -> None:
    """A status that is added is in the client with the next generation."""
    assert {item.value for item in RequestStatus} == {item.value for item in Status}

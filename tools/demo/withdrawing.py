"""Money of an account that signs: between its subaccounts, and out of it."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Final

from chassis.clock import NANOSECONDS_PER_SECOND
from chassis.limits import WITHDRAWAL_DELAY_SECONDS
from sealgate.client import (
    RequestStatus,
    Sealgate,
    SignatureRequired,
    SubaccountWallet,
    SubmitWithdrawResult,
    WithdrawalAddress,
    WithdrawalState,
)
from tools.demo.guide import Guide, SurpriseError, operate
from tools.demo.signing_keys import Holder
from tools.demo.stack import ADDRESS_WAIT_SECONDS

CHAIN: Final = "POL"
ASSET: Final = "USDC"
ADDRESS: Final = "0x" + "5ea19a7e" * 5
# After the delay that the wallet service has of itself, many times over.
ARRIVES_WITHIN_SECONDS: Final = WITHDRAWAL_DELAY_SECONDS + 30.0
POLL_SECONDS: Final = 0.2


def subaccount_flow(
    guide: Guide, session: Holder, reader: Sealgate, data: Path
) -> tuple[SubaccountWallet, SubaccountWallet]:
    """A subaccount is made and given money; gives the first subaccount's wallet and the new one's."""
    with guide.silence():
        [subaccount] = reader.list_subaccounts()
    [first] = subaccount.wallets
    command = f"wallet deposit --wallet {first.wallet_id} --amount 50 --reference demo-deposit-2"
    operate(guide, "Record a deposit, as the operator", command, data)
    with guide.step("Create a subaccount"):
        made = session.client.submit_create_subaccount(name="Long shots")
    [second] = guide.need(made.subaccount, "a subaccount").wallets
    guide.check(second.subaccount_index == 1, "a wallet in subaccount 1")
    with guide.step("Transfer 20 USDC to it"):
        session.client.submit_transfer_funds(
            from_subaccount_index=first.subaccount_index,
            from_wallet_id=first.wallet_id,
            to_subaccount_index=second.subaccount_index,
            to_wallet_id=second.wallet_id,
            asset=ASSET,
            amount=20,
        )
    for wallet, amount in ((first, 30), (second, 20)):
        with guide.step(f"The balance of subaccount {wallet.subaccount_index}"):
            balance = reader.get_chain_balance(wallet_id=wallet.wallet_id)
        guide.check(balance.balance[ASSET] == amount, f"{amount} USDC")
    return first, second


def address_flow(guide: Guide, master: Holder, session: Holder, wallet_id: str) -> WithdrawalAddress:
    """An address is registered by the master key, and has to wait."""
    with guide.step("Register an address for withdrawals, which the master key signs"):
        added = master.client.submit_add_withdrawal_address(chain=CHAIN, address=ADDRESS)
    address = guide.need(added.address, "an address")
    waits_seconds = (address.usable_at_ns - address.created_at_ns) // NANOSECONDS_PER_SECOND
    guide.check(waits_seconds == ADDRESS_WAIT_SECONDS, f"a wait of {ADDRESS_WAIT_SECONDS} seconds")
    title = f"Nothing is withdrawn to it for {waits_seconds} seconds, which are a day unless somebody says so"
    with guide.step(title, outcome=RequestStatus.WITHDRAWAL_ADDRESS):
        withdraw(session, wallet_id)
    return address


def refusal_flow(guide: Guide, pinned: Holder, wallet_id: str, unsigned: Sealgate) -> None:
    """Who does not withdraw; `unsigned` might, had the account no master key."""
    with guide.step("The pinned key withdraws nothing at all", outcome=RequestStatus.NOT_ADMIN_ROOTED):
        withdraw(pinned, wallet_id)
    with guide.step("Nor does an API key, since the account has a master key", refused=SignatureRequired):
        unsigned.create_withdrawal(wallet_id=wallet_id, token=ASSET, amount=10, address=ADDRESS)


def withdrawal_flow(guide: Guide, session: Holder, wallet_id: str) -> str:
    """A withdrawal begins, to an address that has waited; gives its id."""
    with guide.step("After its wait the key for the whole account withdraws 10 USDC to the address"):
        done = withdraw(session, wallet_id)
    withdrawal = guide.need(done.withdrawal, "a withdrawal")
    guide.check(withdrawal.state is WithdrawalState.PENDING, "a withdrawal that has begun")
    return withdrawal.withdrawal_id


def arrival_flow(guide: Guide, reader: Sealgate, wallet_id: str, withdrawal_id: str) -> None:
    """The rail takes the withdrawal through its states."""
    with guide.silence():
        wait_for_arrival(reader, wallet_id)
    with guide.step("The withdrawal that was begun has arrived"):
        [withdrawal] = reader.list_withdrawals(wallet_id=wallet_id)
    guide.check(withdrawal.withdrawal_id == withdrawal_id, "the one withdrawal")
    guide.check(withdrawal.state is WithdrawalState.CONFIRMED, "a withdrawal that arrived")
    guide.check(withdrawal.tx_hash != "", "the rail's own reference")
    with guide.step("and its money is gone, once"):
        balance = reader.get_chain_balance(wallet_id=wallet_id)
    guide.check(balance.balance[ASSET] == Decimal(20), "20 USDC")
    guide.check(balance.assets[0].held == 0, "nothing held")


def wait_until_usable(anybody: Sealgate, address: WithdrawalAddress) -> None:
    """Returns when the platform's clock says that the address has waited."""
    left_ns = address.usable_at_ns - anybody.get_time().now_ns
    time.sleep(max(left_ns, 0) / NANOSECONDS_PER_SECOND)


def wait_for_arrival(reader: Sealgate, wallet_id: str) -> None:
    """Returns when no withdrawal is on its way; raises SurpriseError if that takes too long."""
    ends_at = time.monotonic() + ARRIVES_WITHIN_SECONDS
    while time.monotonic() < ends_at:
        states = {item.state for item in reader.list_withdrawals(wallet_id=wallet_id)}
        if not states & {WithdrawalState.PENDING, WithdrawalState.SENT}:
            return
        time.sleep(POLL_SECONDS)
    raise SurpriseError("the withdrawal never arrived")


def withdraw(session: Holder, wallet_id: str) -> SubmitWithdrawResult:
    """Asks for 10 USDC."""
    return session.client.submit_withdraw(
        wallet_id=wallet_id, asset=ASSET, amount=10, chain=CHAIN, address=ADDRESS
    )

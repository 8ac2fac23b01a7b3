"""`sealgate wallet withdrawals` and `settle` on a running stack."""

from __future__ import annotations

import uuid
from typing import Final

import asyncpg

from tests.e2e.stack_process import StackProcess, wallet_of_new_account

ADDRESS: Final = "0x" + "5f" * 20
# What nobody has to wait for a day for: an address that has waited, and a withdrawal that began. It is the
# operator's, so nothing moves it but the commands.
REGISTER: Final = """
INSERT INTO destination
SELECT wallet_id, account_id, 'POL', $2, 1, 'PROJECT_KEY', 'e2e', 1 FROM wallet WHERE wallet_id = $1
"""
BEGIN: Final = """
WITH kept AS (
    UPDATE balance SET held = held + 2500000 WHERE wallet_id = $1
), held AS (
    INSERT INTO hold
    SELECT $2, wallet_id, asset_id, 'WITHDRAWAL', $2, 2500000, 2500000, 1 FROM balance WHERE wallet_id = $1
)
INSERT INTO withdrawal
SELECT $2, account_id, wallet_id, asset_id, 2500000, wallet_id, 'POL', $3, 'operator', NULL, 'PENDING',
       NULL, 1, 1
  FROM balance
  JOIN wallet USING (wallet_id)
 WHERE wallet_id = $1
"""


async def begin_withdrawal(stack: StackProcess) -> str:
    """A new account's withdrawal of 2.5 USDC; its id."""
    wallet_id, withdrawal_id = wallet_of_new_account(stack), uuid.uuid5(uuid.NAMESPACE_OID, "a withdrawal")
    deposited = stack.command(
        "wallet", "deposit", "--wallet", wallet_id, "--reference", "e2e-withdrawals", "--amount", "3"
    )
    assert deposited.returncode == 0, deposited.stderr
    connection = await asyncpg.connect(stack.dsn("sealgate_wallet"))
    try:
        await connection.execute(REGISTER, uuid.UUID(wallet_id), ADDRESS)
        await connection.execute(BEGIN, uuid.UUID(wallet_id), withdrawal_id, ADDRESS)
    finally:
        await connection.close()
    return str(withdrawal_id)


async def test_withdrawal_is_listed_and_moved_on_by_commands(shared_stack: StackProcess) -> None:
    """From PENDING to paid, a line for each step; a repeat changes nothing, and the books stay clean."""
    withdrawal_id = await begin_withdrawal(shared_stack)
    line = f"{withdrawal_id}  {{:<7}}  2.500000 USDC  POL {ADDRESS}  {{}}"
    assert line.format("PENDING", "-") in shared_stack.command("wallet", "withdrawals").stdout.splitlines()

    settle = ("wallet", "settle", withdrawal_id, "--state")
    for _ in range(2):
        sent = shared_stack.command(*settle, "sent", "--reference", "bank-7")
        assert sent.stdout == f"{withdrawal_id} is SENT: 2.500000 USDC to {ADDRESS}\n", sent.stderr
    assert line.format("SENT", "bank-7") in shared_stack.command("wallet", "withdrawals").stdout.splitlines()
    paid = shared_stack.command(*settle, "confirmed")
    assert paid.stdout == f"{withdrawal_id} is CONFIRMED: 2.500000 USDC to {ADDRESS}\n", paid.stderr
    late = shared_stack.command(*settle, "failed")
    assert (late.returncode, late.stdout) == (1, "")
    assert late.stderr == "sealgate: WITHDRAWAL_STATE_CONFLICT: --state: the withdrawal is CONFIRMED\n"

    assert withdrawal_id not in shared_stack.command("wallet", "withdrawals").stdout
    assert shared_stack.command("wallet", "audit").returncode == 0


def test_settle_ends_with_one_line_when_it_is_refused(shared_stack: StackProcess) -> None:
    """The line names the option as people write it, or the refusal's code."""
    unknown = shared_stack.command("wallet", "settle", "nonsense", "--state", "failed")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "sealgate: WITHDRAWAL_NOT_FOUND: There is no such withdrawal.\n",
    )
    unnamed = shared_stack.command("wallet", "settle", str(uuid.UUID(int=9)), "--state", "sent")
    assert unnamed.returncode == 2
    assert unnamed.stderr.endswith(
        "Error: --state sent needs --reference: the rail's own name of the payment\n"
    )

"""`sealgate wallet audit` on a running stack: what it says of good books, of bad ones, and of none."""

from __future__ import annotations

import asyncpg

from tests.e2e.stack_process import StackProcess, wallet_of_new_account

# As somebody with full power over the database could do it, past every rule of the tables.
TAMPER = (
    "SET session_replication_role = replica; UPDATE balance SET posted = posted + {} WHERE wallet_id = '{}'"
)


def test_audit_says_that_the_books_are_clean_when_they_are(shared_stack: StackProcess) -> None:
    """One line that says how much was looked at, and exit code 0."""
    answer = shared_stack.command("wallet", "audit")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("books are clean: ")
    assert int(answer.stdout.split()[3]) >= 10


async def test_audit_names_the_row_when_a_balance_was_tampered_with(shared_stack: StackProcess) -> None:
    """A millionth that came from nowhere is found, with the rule it breaks and whose it is; exit code 1."""
    wallet = wallet_of_new_account(shared_stack)
    assert shared_stack.command(
        "wallet", "deposit", "--wallet", wallet, "--reference", "e2e-audit", "--amount", "3"
    ).stdout.startswith("booked")
    connection = await asyncpg.connect(shared_stack.dsn("sealgate_wallet"))
    try:
        await connection.execute(TAMPER.format(1, wallet))
        answer = shared_stack.command("wallet", "audit")
        await connection.execute(TAMPER.format(-1, wallet))
    finally:
        await connection.close()
    assert answer.returncode == 1
    broken = [line.split("  ") for line in answer.stdout.splitlines()]
    assert sorted({rule for rule, _, _ in broken}) == ["balances_equal_entries"]
    assert all(wallet in subject for _, subject, _ in broken)
    assert answer.stderr == (
        f"sealgate: the books are not clean: {len(broken)} rows break balances_equal_entries\n"
    )
    assert shared_stack.command("wallet", "audit").returncode == 0


def test_audit_ends_with_two_when_the_database_is_another(shared_stack: StackProcess) -> None:
    """A database without the wallet's tables proves nothing; the line has no DSN in it."""
    dsn = shared_stack.dsn("sealgate_auth")
    answer = shared_stack.command("wallet", "audit", "--dsn", dsn)
    assert (answer.returncode, answer.stdout, len(answer.stderr.splitlines())) == (2, "", 1)
    assert "UndefinedTable" in answer.stderr
    assert dsn not in answer.stderr

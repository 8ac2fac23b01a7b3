"""What the ledger's database refuses, as raw SQL, and the rule that refuses it.

The statements are written for the world of `test_wallet_schema.py`: one account wallet with 100 USDC
and 50 PLAY, its rail's one wallet with as much below zero, an open hold of 5 and one that has ended,
a deleted wallet, a recorded request and a revoked signer.
"""
# ruff: noqa: S608 - SQL of tests, put together from constants of this file

from __future__ import annotations

from typing import Final

# Moves 5 USDC from the rail to the account as the service would; what varies is what is wrong with it.
_POST: Final = """
WITH booked AS (
    INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
    VALUES (nextval('txn_seq'), 'TRANSFER', gen_random_uuid(), 'OPERATOR', 'operator', 1)
    RETURNING seq
), leg AS (
    SELECT wallet_id, CASE kind WHEN 'ACCOUNT' THEN 1 ELSE 2 END AS number,
           CASE kind WHEN 'ACCOUNT' THEN {first} ELSE {second} END AS amount
      FROM wallet
), moved AS (
    {change}
)
INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version)
SELECT seq, number, wallet_id, 1, amount, posted, version + {skew}
  FROM booked, leg
  JOIN moved USING (wallet_id)
"""
_CHANGE: Final = """
    UPDATE balance SET posted = posted + leg.amount + {slip}, version = version + {step}
      FROM leg
     WHERE balance.wallet_id = leg.wallet_id AND asset_id = 1
    RETURNING balance.wallet_id, posted, version
"""
_NO_CHANGE: Final = """
    SELECT wallet_id, posted + leg.amount AS posted, version + 1 AS version
      FROM balance
      JOIN leg USING (wallet_id)
     WHERE asset_id = 1
"""
# The account's wallet gives 5 of one asset and gets 5 of another.
_POST_ACROSS_ASSETS: Final = """
WITH booked AS (
    INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
    VALUES (nextval('txn_seq'), 'TRANSFER', gen_random_uuid(), 'OPERATOR', 'operator', 1)
    RETURNING seq
), leg (asset_id, amount) AS (
    VALUES (1, -5), (2, 5)
), moved AS (
    UPDATE balance SET posted = posted + leg.amount, version = version + 1
      FROM leg
     WHERE balance.asset_id = leg.asset_id AND floor = 0
    RETURNING wallet_id, balance.asset_id, posted, version
)
INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version)
SELECT seq, asset_id, wallet_id, asset_id, amount, posted, version
  FROM booked, leg
  JOIN moved USING (asset_id)
"""


def post(
    *, first: int = 5, second: int = -5, step: int = 1, slip: int = 0, skew: int = 0, change: str = _CHANGE
) -> str:
    """A posting in order, but for what the arguments put out of order."""
    change = change.format(step=step, slip=slip)
    return _POST.format(first=first, second=second, skew=skew, change=change)


def insert(table: str, values: str) -> str:
    """A row made of the live account wallet's."""
    source = "wallet WHERE kind = 'ACCOUNT' AND deleted_at_ns IS NULL"
    return f"INSERT INTO {table} SELECT {values} FROM {source}"


# A hold has the id of what it is for; there is nothing of the wallet's id.
HOLD: Final = "wallet_id, wallet_id, 1, 'WITHDRAWAL', wallet_id, {original}, {remaining}, 1, {ended}"
OF_THE_ACCOUNT: Final = "FROM wallet WHERE wallet.wallet_id = balance.wallet_id AND kind = 'ACCOUNT'"

# Another row like the one there is, but for its signer.
_REQUEST: Final = (
    "INSERT INTO request (account_id, request_id, request_type, public_key, digest, status, processed_at_ns,"
    " outcome) SELECT account_id, gen_random_uuid(), 6, {key}, {digest}, status, 1, '' FROM request"
)

# What is refused to everybody, and the constraint that says so.
REFUSED: Final = {
    "asset changed": ("UPDATE asset SET scale = 2", "asset_is_immutable"),
    "asset deleted": ("DELETE FROM asset", "asset_is_immutable"),
    "asset truncated": ("TRUNCATE asset CASCADE", "asset_is_immutable"),
    "asset twice": ("INSERT INTO asset (code, scale, class) VALUES ('USDC', 6, 'CASH')", "asset_code_unique"),
    "asset of no class": ("INSERT INTO asset (code, scale, class) VALUES ('X', 6, 'X')", "asset_class_known"),
    "txn changed": ("UPDATE txn SET kind = 'MINT'", "txn_is_append_only"),
    "txn deleted": ("DELETE FROM txn", "txn_is_append_only"),
    "txn truncated": ("TRUNCATE txn CASCADE", "txn_is_append_only"),
    "entry changed": ("UPDATE entry SET amount = 1", "entry_is_append_only"),
    "entry deleted": ("DELETE FROM entry", "entry_is_append_only"),
    "entry truncated": ("TRUNCATE entry", "entry_is_append_only"),
    "request changed": ("UPDATE request SET status = 'x'", "request_is_append_only"),
    "request deleted": ("DELETE FROM request", "request_is_append_only"),
    "request truncated": ("TRUNCATE request", "request_is_append_only"),
    "funding changed": ("UPDATE funding SET amount = 1", "funding_is_append_only"),
    "funding deleted": ("DELETE FROM funding", "funding_is_append_only"),
    "funding truncated": ("TRUNCATE funding", "funding_is_append_only"),
    "audit changed": ("UPDATE audit SET action = ''", "audit_is_append_only"),
    "audit deleted": ("DELETE FROM audit", "audit_is_append_only"),
    "audit truncated": ("TRUNCATE audit", "audit_is_append_only"),
    "signer deleted": ("DELETE FROM signer", "signer_stays"),
    "signer truncated": ("TRUNCATE signer", "signer_stays"),
    "signer no longer revoked": ("UPDATE signer SET revoked = false", "signer_stays_revoked"),
    "signer moved": ("UPDATE signer SET account_id = gen_random_uuid()", "signer_identity_is_fixed"),
    "a signer with half a key": (
        "INSERT INTO signer VALUES (gen_random_uuid(), 'x', false)",
        "signer_public_key_length",
    ),
    "signature rule deleted": ("DELETE FROM signature_rule", "signature_rule_stays"),
    "signature rule truncated": ("TRUNCATE signature_rule", "signature_rule_stays"),
    "signatures no longer required": (
        "UPDATE signature_rule SET required = false",
        "signature_rule_stays_required",
    ),
    "signature rule moved": (
        "UPDATE signature_rule SET account_id = gen_random_uuid()",
        "signature_rule_account_is_fixed",
    ),
    "subaccount named with nothing": ("UPDATE subaccount SET name = ''", "subaccount_name_length"),
    "subaccount deleted": ("DELETE FROM subaccount", "subaccount_stays"),
    "subaccount truncated": ("TRUNCATE subaccount CASCADE", "subaccount_stays"),
    "subaccount twice": ("INSERT INTO subaccount SELECT * FROM subaccount", "subaccount_pkey"),
    "wallet deleted for real": ("DELETE FROM wallet", "wallet_stays"),
    "wallet truncated": ("TRUNCATE wallet CASCADE", "wallet_stays"),
    "wallet given away": (
        "UPDATE wallet SET account_id = gen_random_uuid() WHERE deleted_at_ns IS NULL",
        "wallet_owner_is_fixed",
    ),
    "wallet turned into a rail": (
        "UPDATE wallet SET kind = 'RAIL' WHERE deleted_at_ns IS NULL",
        "wallet_owner_is_fixed",
    ),
    "wallet undeleted": (
        "UPDATE wallet SET deleted_at_ns = NULL WHERE deleted_at_ns IS NOT NULL",
        "wallet_deletion_is_final",
    ),
    "deleted wallet renamed": (
        "UPDATE wallet SET name = 'x' WHERE deleted_at_ns IS NOT NULL",
        "wallet_deletion_is_final",
    ),
    "wallet with half an owner": (
        (
            "INSERT INTO wallet (wallet_id, kind, name, created_at_ns)"
            " VALUES (gen_random_uuid(), 'ACCOUNT', 'x', 1)"
        ),
        "wallet_owner_fits_kind",
    ),
    "two wallets at one position": (
        insert(
            "wallet",
            "gen_random_uuid(), 'ACCOUNT', account_id, 0, 1, 'x', '0x' || repeat('1', 40), false, 1, NULL",
        ),
        "wallet_position_unique",
    ),
    "two wallets at one address": (
        insert("wallet", "gen_random_uuid(), 'ACCOUNT', account_id, 0, 9, 'x', pol_address, false, 1, NULL"),
        "wallet_pol_address_unique",
    ),
    "two rail wallets of one name": (
        (
            "INSERT INTO wallet (wallet_id, kind, name, created_at_ns)"
            " SELECT gen_random_uuid(), 'RAIL', name, 1 FROM wallet WHERE kind = 'RAIL'"
        ),
        "wallet_system_name_unique",
    ),
    "rail wallet deleted": (
        "UPDATE wallet SET deleted_at_ns = 1 WHERE kind = 'RAIL'",
        "wallet_system_is_not_deleted",
    ),
    "balance deleted": ("DELETE FROM balance", "balance_stays"),
    "balance truncated": ("TRUNCATE balance CASCADE", "balance_stays"),
    "balance raised alone": ("UPDATE balance SET posted = posted + 1", "balance_is_last_entry"),
    "balance's version raised alone": ("UPDATE balance SET version = version + 1", "balance_is_last_entry"),
    "balance rewound": (
        (
            "UPDATE balance SET posted = entry.posted_after, version = 1 FROM entry"
            " WHERE entry.wallet_id = balance.wallet_id AND entry.version = 1"
        ),
        "balance_is_last_entry",
    ),
    "balance made alone": (
        insert("balance", "wallet_id, 3, 5, 0, 0, 1"),
        "balance_is_last_entry",
    ),
    "empty balance made alone": (
        insert("balance", "wallet_id, 3, 0, 0, 0, 0"),
        "balance_is_last_entry",
    ),
    "balance without a floor": (
        insert("balance", "wallet_id, 3, 5, 0, NULL, 1"),
        "balance_floor_fits_kind",
    ),
    "floor lowered": ("UPDATE balance SET floor = -1", "balance_identity_is_fixed"),
    "balance moved to another asset": ("UPDATE balance SET asset_id = 2", "balance_identity_is_fixed"),
    "held below zero": ("UPDATE balance SET held = -1", "balance_held_not_negative"),
    "held beyond posted": (
        "UPDATE balance SET held = 1000000000 " + OF_THE_ACCOUNT,
        "balance_covers_holds",
    ),
    "posted below held": (post(first=-99_999_999, second=99_999_999), "balance_covers_holds"),
    "balance out of range": (post(first=10**37, second=-(10**37)), "balance_in_range"),
    "legs that do not sum to zero": (post(second=-4), "entry_legs_sum_to_zero"),
    "legs that sum to zero only over two assets": (_POST_ACROSS_ASSETS, "entry_legs_sum_to_zero"),
    "a leg of nothing": (post(first=0), "entry_amount_not_zero"),
    "a gap in the versions": (post(step=2), "entry_continues_chain"),
    "a wrong balance after": (post(slip=1), "entry_continues_chain"),
    "a fork of the versions": (post(skew=-1), "entry_version_unique"),
    "entries alone": (post(change=_NO_CHANGE), "balance_is_last_entry"),
    "entries of no txn": (
        (
            "INSERT INTO entry SELECT 999, leg, wallet_id, asset_id, amount, posted_after, 99 FROM entry"
            " WHERE txn_seq = 1"
        ),
        "entry_txn_exists",
    ),
    "hold deleted": ("DELETE FROM hold", "hold_stays"),
    "hold truncated": ("TRUNCATE hold", "hold_stays"),
    "hold grown": ("UPDATE hold SET remaining = remaining + 1 WHERE remaining = 5", "hold_only_shrinks"),
    "hold begun again": (
        "UPDATE hold SET remaining = 1, ended_at_ns = NULL WHERE remaining = 0",
        "hold_only_shrinks",
    ),
    "hold ended twice": ("UPDATE hold SET ended_at_ns = 9 WHERE remaining = 0", "hold_only_shrinks"),
    "hold's original changed": ("UPDATE hold SET original = 20", "hold_facts_are_fixed"),
    "hold moved": ("UPDATE hold SET reference = gen_random_uuid()", "hold_facts_are_fixed"),
    "hold below zero": ("UPDATE hold SET remaining = -1 WHERE remaining = 5", "hold_remaining_range"),
    "hold beyond its original": (
        insert("hold", HOLD.format(original=10, remaining=11, ended="NULL")),
        "hold_remaining_range",
    ),
    "hold ended with something left": (
        "UPDATE hold SET ended_at_ns = 2 WHERE remaining = 5",
        "hold_ends_at_zero",
    ),
    "hold at zero not ended": ("UPDATE hold SET remaining = 0 WHERE remaining = 5", "hold_ends_at_zero"),
    "hold of nothing": (
        insert("hold", HOLD.format(original=0, remaining=0, ended=1)),
        "hold_original_positive",
    ),
    "two holds for one withdrawal": ("INSERT INTO hold SELECT * FROM hold", "hold_pkey"),
    "hold of another name than what it is for": (
        (
            "INSERT INTO hold SELECT gen_random_uuid(), wallet_id, asset_id, purpose, reference, 1, 1, 1"
            " FROM hold"
        ),
        "hold_has_its_reference_as_id",
    ),
    "a reference booked twice": (
        (
            "INSERT INTO funding SELECT gen_random_uuid(), kind, rail, external_ref, wallet_id, asset_id,"
            " amount, state, 999, 1 FROM funding"
        ),
        "funding_reference_unique",
    ),
    "a txn funded twice": (
        (
            "INSERT INTO funding SELECT gen_random_uuid(), kind, rail, 'other', wallet_id, asset_id, amount,"
            " state, txn_seq, 1 FROM funding"
        ),
        "funding_txn_unique",
    ),
    "a deposit of nothing": (
        (
            "INSERT INTO funding SELECT gen_random_uuid(), kind, rail, 'other', wallet_id, asset_id, 0,"
            " state, 999, 1 FROM funding"
        ),
        "funding_amount_positive",
    ),
    "a request id twice": ("INSERT INTO request SELECT * FROM request", "request_default_pkey"),
    "a request with half a digest": (
        _REQUEST.format(key="public_key", digest="'x'"),
        "request_digest_length",
    ),
    "a request that ran and nobody signed": (
        _REQUEST.format(key="NULL", digest="digest"),
        "request_never_ran_has_no_signer",
    ),
}

# What the service's role has no right to, whether or not a rule would stop it too.
NO_RIGHT: Final = (
    *(
        statement.format(table=table, column=column)
        for table, column in (
            ("txn", "seq"),
            ("entry", "leg"),
            ("request", "status"),
            ("funding", "rail"),
            ("audit", "action"),
            ("asset", "scale"),
        )
        for statement in (
            "UPDATE {table} SET {column} = NULL",
            "DELETE FROM {table}",
            "TRUNCATE {table} CASCADE",
        )
    ),
    *(
        f"{verb} {table}"
        for table in ("balance", "hold", "wallet", "subaccount", "signer", "signature_rule", "signed_account")
        for verb in ("DELETE FROM", "TRUNCATE")
    ),
    "SELECT * FROM audit",
    "INSERT INTO asset (code, scale, class) VALUES ('X', 6, 'CASH')",
    "UPDATE wallet SET account_id = NULL",
    "UPDATE wallet SET kind = 'RAIL'",
    "UPDATE balance SET floor = NULL",
    "UPDATE balance SET wallet_id = gen_random_uuid()",
    "UPDATE hold SET original = 1",
    "UPDATE subaccount SET account_id = gen_random_uuid()",
    "UPDATE subaccount SET name = 'x'",
    "SELECT maintain_requests(1)",
    "DELETE FROM request_default",
    "ALTER TABLE entry DISABLE TRIGGER ALL",
    "ALTER TABLE entry DROP CONSTRAINT entry_version_unique",
    "DROP TABLE entry",
    "DROP TRIGGER entry_added ON entry",
    "CREATE TABLE entry2 (txn_seq bigint)",
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
    "SET session_replication_role = replica",
    "SET ROLE sealgate_wallet_owner",
    "SELECT setval('txn_seq', 1)",
    "UPDATE schema_migration SET slug = ''",
    "UPDATE idempotency SET answer = ''",
    "UPDATE idempotency SET digest = ''",
    "TRUNCATE idempotency",
)

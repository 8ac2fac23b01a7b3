-- Subaccounts, transfers between wallets, and who may sign. Locks are taken in the order that
-- `queries.sql` tells.

-- name: list_subaccounts
-- The account's subaccounts within reach by index, each with its wallets by position. A row without a
-- wallet: a subaccount that has none.
SELECT subaccount.subaccount_index, subaccount.name AS subaccount_name,
       subaccount.created_at_ns AS subaccount_created_at_ns,
       wallet.wallet_id, wallet.name, wallet.pol_address, wallet.position, wallet.autoredeem,
       wallet.created_at_ns
  FROM subaccount
  LEFT JOIN wallet
    ON wallet.account_id = subaccount.account_id
   AND wallet.subaccount_index = subaccount.subaccount_index
   AND wallet.deleted_at_ns IS NULL
 WHERE subaccount.account_id = $1
   AND ($2::integer IS NULL OR subaccount.subaccount_index = $2)
 ORDER BY subaccount.subaccount_index, wallet.position;

-- name: count_parts
-- What of the account is capped, and the index that a further subaccount gets; true until the end of a
-- transaction that took a position.
SELECT (SELECT count(*)::integer FROM wallet WHERE account_id = $1 AND deleted_at_ns IS NULL) AS wallets_count,
       count(*)::integer AS subaccounts_count, max(subaccount_index) + 1 AS next_index
  FROM subaccount
 WHERE account_id = $1;

-- name: insert_subaccount
-- A further subaccount.
INSERT INTO subaccount (account_id, subaccount_index, project_id, wallets_made_count, created_at_ns, name)
VALUES ($1, $2, $3, 0, $4, $5);

-- name: lock_transfer_wallets
-- Whether two wallets of an account are there, each in the subaccount it is said to be in, and what the
-- first has available of an asset. Keeps their deletion out until the end of the transaction.
WITH found AS (
    SELECT wallet.wallet_id
      FROM unnest($2::uuid[], $3::integer[]) AS named (wallet_id, subaccount_index)
      JOIN wallet USING (wallet_id, subaccount_index)
     WHERE wallet.account_id = $1 AND wallet.deleted_at_ns IS NULL
     ORDER BY wallet.wallet_id
       FOR KEY SHARE OF wallet
)
SELECT coalesce(bool_or(found.wallet_id = ($2::uuid[])[1]), false) AS has_source,
       coalesce(bool_or(found.wallet_id = ($2::uuid[])[2]), false) AS has_target,
       coalesce(max(balance.posted - balance.held), 0) AS available
  FROM found
  LEFT JOIN balance
    ON balance.wallet_id = found.wallet_id
   AND balance.wallet_id = ($2::uuid[])[1]
   AND balance.asset_id = $4;

-- name: transfer_funds
-- Moves an amount ($4) of an asset ($3) from one wallet ($1), which has had some of it, to another ($2):
-- both balances, txn, legs and audit. The target is credited before the source is debited or after it, so
-- that balances are locked in the order in which everybody locks them.
WITH booked AS (
    INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
    VALUES (nextval('txn_seq'), 'TRANSFER', $5, $6, $7, $8)
    RETURNING seq, created_at_ns
), credited_before AS (
    INSERT INTO balance (wallet_id, asset_id, posted, version)
    SELECT $2::uuid, $3::bigint, $4::numeric, 1
     WHERE $2::uuid < $1::uuid
    ON CONFLICT (wallet_id, asset_id)
       DO UPDATE SET posted = balance.posted + excluded.posted, version = balance.version + 1
    RETURNING wallet_id, posted, version
), debited AS (
    UPDATE balance
       SET posted = posted - $4::numeric, version = version + 1
     WHERE wallet_id = $1
       AND asset_id = $3
       -- Reads the insertion above to its end before it touches anything.
       AND (SELECT count(*) FROM credited_before) >= 0
    RETURNING wallet_id, posted, version
), credited_after AS (
    INSERT INTO balance (wallet_id, asset_id, posted, version)
    SELECT $2::uuid, $3::bigint, $4::numeric, 1
      FROM debited
     WHERE $2::uuid > $1::uuid
    ON CONFLICT (wallet_id, asset_id)
       DO UPDATE SET posted = balance.posted + excluded.posted, version = balance.version + 1
    RETURNING wallet_id, posted, version
), leg (number, amount, wallet_id, posted, version) AS (
    SELECT 1, -$4::numeric, wallet_id, posted, version FROM debited
     UNION ALL
    SELECT 2, $4::numeric, wallet_id, posted, version FROM credited_before
     UNION ALL
    SELECT 2, $4::numeric, wallet_id, posted, version FROM credited_after
), entered AS (
    INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version)
    SELECT booked.seq, leg.number, leg.wallet_id, $3, leg.amount, leg.posted, leg.version
      FROM booked, leg
), audited AS (
    INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
    SELECT booked.created_at_ns, $9, $10, $6, $7, 'FUNDS_TRANSFERRED', $1::text, $5
      FROM booked
)
SELECT seq FROM booked;

-- name: fence_signers
-- Stops keys of an account for good. Waits for every effect that holds one of them; in one order, so that
-- two fences do not wait for each other.
INSERT INTO signer AS known (account_id, public_key, revoked)
SELECT DISTINCT $1::uuid, public_key, true
  FROM unnest($2::bytea[]) AS given (public_key)
 ORDER BY public_key
ON CONFLICT (account_id, public_key) DO UPDATE SET revoked = true WHERE NOT known.revoked;

-- name: require_signatures
-- Ends what is unsigned for an account; waits for those who hold the rule.
INSERT INTO signature_rule AS known (account_id, required)
VALUES ($1, true)
ON CONFLICT (account_id) DO UPDATE SET required = true WHERE NOT known.required;

-- name: hold_signature_rule
-- Whether signatures are required of an account, so until the end of the transaction.
INSERT INTO signature_rule AS known (account_id, required)
VALUES ($1, false)
ON CONFLICT (account_id) DO UPDATE SET required = known.required
RETURNING required;

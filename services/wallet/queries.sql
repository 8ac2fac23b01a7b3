-- Every statement of the service. Each changes balances and entries together or not at all: the
-- database refuses a statement that leaves them apart.
--
-- Locks are taken in one order: subaccount, wallet, funding reference, balances by wallet id.

-- name: list_wallets
-- The account's wallets within reach, by position. No row at all: the account was never here. A row
-- without a wallet: it was, and has none.
SELECT wallet.wallet_id, wallet.name, wallet.pol_address, wallet.subaccount_index, wallet.position,
       wallet.autoredeem, wallet.created_at_ns
  FROM subaccount
  LEFT JOIN wallet
    ON wallet.account_id = subaccount.account_id
   AND wallet.subaccount_index = subaccount.subaccount_index
   AND wallet.deleted_at_ns IS NULL
   AND ($2::integer IS NULL OR wallet.subaccount_index = $2)
 WHERE subaccount.account_id = $1
 ORDER BY wallet.position;

-- name: open_account
-- Makes subaccount 0 and the first wallet, unless somebody else has or is about to: then it waits for
-- them and makes nothing.
WITH opened AS (
    INSERT INTO subaccount (account_id, subaccount_index, project_id, wallets_made_count, created_at_ns)
    VALUES ($1, 0, $2, 1, $3)
    ON CONFLICT (account_id, subaccount_index) DO NOTHING
    RETURNING account_id, subaccount_index, wallets_made_count
)
INSERT INTO wallet (wallet_id, kind, account_id, subaccount_index, position, name, pol_address, created_at_ns)
SELECT $4, 'ACCOUNT', account_id, subaccount_index, wallets_made_count, $5, $6, $3
  FROM opened;

-- name: get_wallet
-- One wallet within reach.
SELECT wallet_id, name, pol_address, subaccount_index, position, autoredeem, created_at_ns
  FROM wallet
 WHERE wallet_id = $1
   AND account_id = $2
   AND ($3::integer IS NULL OR subaccount_index = $3)
   AND deleted_at_ns IS NULL;

-- name: take_position
-- Locks the account against other creations and yields the position of the next wallet.
INSERT INTO subaccount (account_id, subaccount_index, project_id, wallets_made_count, created_at_ns)
VALUES ($1, 0, $2, 1, $3)
ON CONFLICT (account_id, subaccount_index)
   DO UPDATE SET wallets_made_count = subaccount.wallets_made_count + 1
RETURNING wallets_made_count;

-- name: count_wallets
-- How many wallets the account has; true until the end of a transaction that took a position.
SELECT count(*)::integer FROM wallet WHERE account_id = $1 AND deleted_at_ns IS NULL;

-- name: insert_wallet
-- A further wallet.
INSERT INTO wallet (wallet_id, kind, account_id, subaccount_index, position, name, pol_address, created_at_ns)
VALUES ($1, 'ACCOUNT', $2, $3, $4, $5, $6, $7)
RETURNING wallet_id, name, pol_address, subaccount_index, position, autoredeem, created_at_ns;

-- name: update_wallet
-- Changes what is not null.
UPDATE wallet
   SET name = coalesce($4, name),
       autoredeem = coalesce($5, autoredeem)
 WHERE wallet_id = $1
   AND account_id = $2
   AND ($3::integer IS NULL OR subaccount_index = $3)
   AND deleted_at_ns IS NULL
RETURNING wallet_id, name, pol_address, subaccount_index, position, autoredeem, created_at_ns;

-- name: lock_wallet
-- Keeps deposits, which lock the row FOR KEY SHARE, out until the end of the transaction.
SELECT wallet_id
  FROM wallet
 WHERE wallet_id = $1
   AND account_id = $2
   AND ($3::integer IS NULL OR subaccount_index = $3)
   AND deleted_at_ns IS NULL
   FOR UPDATE;

-- name: delete_empty_wallet
-- Deletes a locked wallet that holds nothing, and says so in the audit. A statement of its own, so
-- that it sees what was deposited before the lock was had.
WITH deleted AS (
    UPDATE wallet
       SET deleted_at_ns = $2
     WHERE wallet_id = $1
       AND NOT EXISTS (
           SELECT FROM balance WHERE balance.wallet_id = $1 AND (balance.posted <> 0 OR balance.held <> 0)
       )
    RETURNING wallet_id, account_id
), audited AS (
    INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
    SELECT $2, $3, account_id, $4, $5, 'WALLET_DELETED', wallet_id::text, $6
      FROM deleted
)
SELECT wallet_id FROM deleted;

-- name: get_balances
-- A wallet within reach with its cash and test assets, zero where it has none. The one statement of
-- the most frequent call.
SELECT wallet.pol_address, asset.asset_id, asset.code, asset.scale, asset.class,
       coalesce(balance.posted, 0) AS posted, coalesce(balance.held, 0) AS held
  FROM wallet
  JOIN asset ON asset.class IN ('CASH', 'TEST')
  LEFT JOIN balance ON balance.wallet_id = wallet.wallet_id AND balance.asset_id = asset.asset_id
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
 ORDER BY asset.asset_id;

-- name: list_transfers
-- A page of what moved a wallet within reach, newest first. No row at all: no such wallet. A row
-- without a kind: an empty page.
SELECT wallet.pol_address, moved.kind, moved.code, moved.scale, moved.amount, moved.external_ref,
       moved.created_at_ns
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT txn.seq, entry.leg, txn.kind, asset.code, asset.scale, entry.amount, funding.external_ref,
             txn.created_at_ns
        FROM entry
        JOIN txn ON txn.seq = entry.txn_seq
        JOIN asset ON asset.asset_id = entry.asset_id
        LEFT JOIN funding ON funding.txn_seq = txn.seq
       WHERE entry.wallet_id = wallet.wallet_id AND txn.kind <> 'TRADE'
       ORDER BY entry.txn_seq DESC, entry.leg DESC
       LIMIT $4 OFFSET $5
  ) AS moved ON true
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
 ORDER BY moved.seq DESC, moved.leg DESC;

-- name: list_depositable_assets
-- What can be deposited; outcome shares are made here and never arrive.
SELECT asset_id, code, scale, class FROM asset WHERE class IN ('CASH', 'TEST');

-- name: record_deposit
-- Books a deposit whole: claims the reference, moves both balances, writes txn, legs and audit. No
-- row: the reference is taken, or there is no such wallet. Never both wallets: the lock on the wallet's
-- row makes a deletion wait or be seen. Legs ($9 to $11) come ordered by wallet, so that two deposits
-- lock balances in the same order.
WITH target AS (
    SELECT wallet.wallet_id, wallet.account_id, subaccount.project_id
      FROM wallet
      JOIN subaccount USING (account_id, subaccount_index)
     WHERE wallet.wallet_id = $1 AND wallet.kind = 'ACCOUNT' AND wallet.deleted_at_ns IS NULL
       FOR KEY SHARE OF wallet
), claimed AS (
    INSERT INTO funding (
        funding_id, kind, rail, external_ref, wallet_id, asset_id, amount, state, txn_seq, created_at_ns
    )
    SELECT $2, 'DEPOSIT', $3, $4, target.wallet_id, $5, $6, 'CONFIRMED', nextval('txn_seq'), $7
      FROM target
    ON CONFLICT (rail, external_ref) DO NOTHING
    RETURNING txn_seq, wallet_id, asset_id, created_at_ns
), rail_wallet AS (
    INSERT INTO wallet (wallet_id, kind, name, created_at_ns)
    SELECT $12, 'RAIL', $13, claimed.created_at_ns
      FROM claimed
    ON CONFLICT DO NOTHING
), booked AS (
    INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
    SELECT claimed.txn_seq, 'DEPOSIT', $8, $14, $15, claimed.created_at_ns
      FROM claimed
), leg AS (
    SELECT number, wallet_id, amount, floor
      FROM unnest($9::uuid[], $10::numeric[], $11::numeric[]) WITH ORDINALITY
           AS given (wallet_id, amount, floor, number)
), moved AS (
    INSERT INTO balance (wallet_id, asset_id, posted, floor, version)
    SELECT leg.wallet_id, claimed.asset_id, leg.amount, leg.floor, 1
      FROM claimed, leg
     ORDER BY leg.number
    ON CONFLICT (wallet_id, asset_id)
       DO UPDATE SET posted = balance.posted + excluded.posted, version = balance.version + 1
    RETURNING wallet_id, posted, version
), entered AS (
    INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version)
    SELECT claimed.txn_seq, leg.number, leg.wallet_id, claimed.asset_id, leg.amount, moved.posted, moved.version
      FROM claimed, leg
      JOIN moved USING (wallet_id)
), audited AS (
    INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
    SELECT claimed.created_at_ns, target.project_id, target.account_id, $14, $15, 'DEPOSIT_RECORDED',
           claimed.wallet_id::text, $8
      FROM claimed, target
)
SELECT claimed.txn_seq, moved.posted AS posted_after, claimed.created_at_ns
  FROM claimed
  JOIN moved USING (wallet_id);

-- name: find_deposit
-- How a rail's reference was booked.
SELECT funding.wallet_id, funding.asset_id, funding.amount, funding.txn_seq, entry.posted_after,
       funding.created_at_ns
  FROM funding
  JOIN entry
    ON entry.txn_seq = funding.txn_seq
   AND entry.wallet_id = funding.wallet_id
   AND entry.asset_id = funding.asset_id
 WHERE funding.rail = $1 AND funding.external_ref = $2 AND funding.kind = 'DEPOSIT';

-- What follows proves the books on a live system: each statement returns the rows that break a rule,
-- at most 100, and none when it holds. They name what is wrong in `subject` and `problem`.

-- name: audit_entries_sum_to_zero
-- Every movement's legs sum to zero per asset, so all of them do.
SELECT format('txn %s, asset %s', txn_seq, asset_id) AS subject,
       format('legs sum to %s', sum(amount)) AS problem
  FROM entry
 GROUP BY txn_seq, asset_id
HAVING sum(amount) <> 0
 LIMIT 100;

-- name: audit_balances_equal_entries
-- Every balance is the sum of its entries and stands at the last of them.
SELECT format('wallet %s, asset %s', balance.wallet_id, balance.asset_id) AS subject,
       format('posted %s at version %s, %s entries sum to %s and end with %s at version %s',
              balance.posted, balance.version, booked.entries, booked.total, last.posted_after,
              last.version) AS problem
  FROM balance
  LEFT JOIN (
      SELECT wallet_id, asset_id, sum(amount) AS total, count(*) AS entries, max(version) AS version
        FROM entry
       GROUP BY wallet_id, asset_id
  ) AS booked USING (wallet_id, asset_id)
  LEFT JOIN entry AS last
    ON last.wallet_id = balance.wallet_id
   AND last.asset_id = balance.asset_id
   AND last.version = booked.version
 WHERE balance.posted IS DISTINCT FROM booked.total
    OR balance.posted IS DISTINCT FROM last.posted_after
    OR balance.version IS DISTINCT FROM booked.version
 LIMIT 100;

-- name: audit_chains_have_no_gap
-- Every balance's entries count 1, 2, 3 … and each continues from the balance after the one before.
SELECT format('wallet %s, asset %s, version %s', wallet_id, asset_id, version) AS subject,
       format('%s after %s, the one before ended with %s at version %s',
              posted_after, amount, previous_posted, previous_version) AS problem
  FROM (
      SELECT wallet_id, asset_id, version, amount, posted_after,
             lag(version, 1, 0::bigint) OVER chain AS previous_version,
             lag(posted_after, 1, 0::numeric) OVER chain AS previous_posted
        FROM entry
      WINDOW chain AS (PARTITION BY wallet_id, asset_id ORDER BY version)
  ) AS link
 WHERE version <> previous_version + 1
    OR posted_after <> previous_posted + amount
 LIMIT 100;

-- name: audit_holds_equal_held
-- What a balance keeps back is what its open holds keep.
SELECT format('wallet %s, asset %s', balance.wallet_id, balance.asset_id) AS subject,
       format('held %s, open holds keep %s', balance.held, coalesce(open.remaining, 0)) AS problem
  FROM balance
  LEFT JOIN (
      SELECT wallet_id, asset_id, sum(remaining) AS remaining
        FROM hold
       WHERE remaining > 0
       GROUP BY wallet_id, asset_id
  ) AS open USING (wallet_id, asset_id)
 WHERE balance.held <> coalesce(open.remaining, 0)
 LIMIT 100;

-- name: audit_deposits_are_booked
-- Every deposit has the entry that credits it, and every movement called a deposit has its reference.
SELECT format('txn %s', coalesce(txn.seq, funding.txn_seq)) AS subject,
       format('funding %s of %s, credited %s', funding.funding_id, funding.amount, entry.amount) AS problem
  FROM (SELECT seq FROM txn WHERE kind = 'DEPOSIT') AS txn
  FULL JOIN (SELECT * FROM funding WHERE kind = 'DEPOSIT') AS funding ON funding.txn_seq = txn.seq
  LEFT JOIN entry
    ON entry.txn_seq = funding.txn_seq
   AND entry.wallet_id = funding.wallet_id
   AND entry.asset_id = funding.asset_id
 WHERE txn.seq IS NULL
    OR funding.funding_id IS NULL
    OR entry.amount IS DISTINCT FROM funding.amount
 LIMIT 100;

-- name: audit_deleted_wallets_are_empty
-- Nothing is left behind in a deleted wallet.
SELECT format('wallet %s, asset %s', wallet_id, asset_id) AS subject,
       format('posted %s, held %s', posted, held) AS problem
  FROM wallet
  JOIN balance USING (wallet_id)
 WHERE wallet.deleted_at_ns IS NOT NULL
   AND (balance.posted <> 0 OR balance.held <> 0)
 LIMIT 100;

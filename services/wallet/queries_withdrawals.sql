-- Withdrawals and the addresses that they go to. The first argument of a statement about one wallet, and
-- the two after it, say whose it is: see `queries.sql`.

-- name: hold_turn
-- Takes an account's turn, as its signed requests do, and holds it to the end of the transaction.
INSERT INTO signed_account (account_id, processed_at_ns)
VALUES ($1, 0)
ON CONFLICT (account_id) DO UPDATE SET processed_at_ns = signed_account.processed_at_ns;

-- name: list_destinations
-- An account's live addresses, oldest first.
SELECT destination_id, chain, address, usable_at_ns, created_at_ns
  FROM destination
 WHERE account_id = $1 AND removed_at_ns IS NULL
 ORDER BY created_at_ns, destination_id;

-- name: insert_destination
-- A new address, and who added it.
WITH added AS (
    INSERT INTO destination (
        destination_id, account_id, chain, address, usable_at_ns, actor_kind, actor_id, created_at_ns
    )
    VALUES ($1, $2, $3, $4, $5, $7, $8, $6)
    RETURNING destination_id
)
INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
SELECT $6, $10, $2, $7, $8, 'WITHDRAWAL_ADDRESS_ADDED', destination_id::text, $9
  FROM added;

-- name: remove_destination
-- Ends a live address, and who did it. No row: there is none.
WITH removed AS (
    UPDATE destination
       SET removed_at_ns = $4
     WHERE account_id = $1 AND chain = $2 AND address = $3 AND removed_at_ns IS NULL
    RETURNING destination_id, chain, address, usable_at_ns, created_at_ns
), audited AS (
    INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
    SELECT $4, $8, $1, $5, $6, 'WITHDRAWAL_ADDRESS_REMOVED', destination_id::text, $7
      FROM removed
)
SELECT destination_id, chain, address, usable_at_ns, created_at_ns FROM removed;

-- name: lock_wallet_and_destination
-- Begins a withdrawal: the wallet within reach, so that it is not deleted meanwhile, and the live
-- address, so that it is not removed. No row: no such wallet. A row without a destination: no such
-- address.
WITH owned AS (
    SELECT wallet_id
      FROM wallet
     WHERE wallet_id = $1
       AND account_id = $2
       AND ($3::integer IS NULL OR subaccount_index = $3)
       AND deleted_at_ns IS NULL
       FOR KEY SHARE
), target AS (
    SELECT destination_id, chain, address, usable_at_ns, created_at_ns
      FROM destination
     WHERE account_id = $2 AND chain = $4 AND address = $5 AND removed_at_ns IS NULL
       FOR SHARE
)
SELECT target.destination_id, target.chain, target.address, target.usable_at_ns, target.created_at_ns
  FROM owned
  LEFT JOIN target ON true;

-- name: lock_withdrawable
-- What a wallet ($1) has of an asset ($2), locked, and what its account ($3) began to withdraw of it
-- after $4, but for what came to nothing. A statement of its own: its snapshot is younger than the
-- account's turn.
WITH locked AS (
    SELECT posted - held AS available
      FROM balance
     WHERE wallet_id = $1 AND asset_id = $2
       FOR NO KEY UPDATE
)
SELECT coalesce((SELECT available FROM locked), 0)::numeric(38, 0) AS available,
       coalesce((
           SELECT sum(amount)
             FROM withdrawal
            WHERE account_id = $3 AND asset_id = $2 AND created_at_ns > $4
              AND state NOT IN ('FAILED', 'REJECTED')
       ), 0)::numeric(38, 0) AS withdrawn;

-- name: insert_withdrawal
-- A withdrawal that begins: its hold, what that keeps back of the balance, and who asked for it.
WITH kept AS (
    UPDATE balance SET held = held + $5 WHERE wallet_id = $3 AND asset_id = $4
), held AS (
    INSERT INTO hold (hold_id, wallet_id, asset_id, purpose, reference, original, remaining, created_at_ns)
    VALUES ($1, $3, $4, 'WITHDRAWAL', $1, $5, $5, $10)
), audited AS (
    INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
    VALUES ($10, $14, $2, $11, $12, 'WITHDRAWAL_CREATED', $1::text, $13)
)
INSERT INTO withdrawal (
    withdrawal_id, account_id, wallet_id, asset_id, amount, destination_id, chain, address, rail, state,
    created_at_ns, updated_at_ns
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'PENDING', $10, $10);

-- name: list_withdrawals
-- A page of the withdrawals of a wallet within reach, newest first. No row: no such wallet. A row
-- without a withdrawal: an empty page.
SELECT found.*
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT withdrawal.withdrawal_id, withdrawal.wallet_id, withdrawal.asset_id, asset.code, asset.scale, asset.class,
             withdrawal.amount, withdrawal.chain, withdrawal.address, withdrawal.state, withdrawal.rail,
             withdrawal.external_ref, withdrawal.created_at_ns, withdrawal.updated_at_ns
        FROM withdrawal
        JOIN asset USING (asset_id)
       WHERE withdrawal.wallet_id = wallet.wallet_id
       ORDER BY withdrawal.created_at_ns DESC, withdrawal.withdrawal_id DESC
       LIMIT $4 OFFSET $5
  ) AS found ON true
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
 ORDER BY found.created_at_ns DESC, found.withdrawal_id DESC;

-- name: list_open_withdrawals
-- Those on their way, oldest first, at most $1.
SELECT withdrawal.withdrawal_id, withdrawal.wallet_id, withdrawal.asset_id, asset.code, asset.scale, asset.class,
       withdrawal.amount, withdrawal.chain, withdrawal.address, withdrawal.state, withdrawal.rail,
       withdrawal.external_ref, withdrawal.created_at_ns, withdrawal.updated_at_ns
  FROM withdrawal
  JOIN asset USING (asset_id)
 WHERE withdrawal.state IN ('PENDING', 'SENT')
 ORDER BY withdrawal.created_at_ns, withdrawal.withdrawal_id
 LIMIT $1;

-- name: lock_withdrawal
-- One withdrawal, to be moved on.
SELECT withdrawal.withdrawal_id, withdrawal.wallet_id, withdrawal.asset_id, asset.code, asset.scale, asset.class,
       withdrawal.amount, withdrawal.chain, withdrawal.address, withdrawal.state, withdrawal.rail,
       withdrawal.external_ref, withdrawal.created_at_ns, withdrawal.updated_at_ns
  FROM withdrawal
  JOIN asset USING (asset_id)
 WHERE withdrawal.withdrawal_id = $1
   FOR NO KEY UPDATE OF withdrawal;

-- name: lock_next_of_rail
-- The oldest of a rail's ($1) that can go on: SENT, or PENDING since $2 or longer. What somebody else
-- moves on already is left to him, and those of $3 are passed over.
SELECT withdrawal.withdrawal_id, withdrawal.wallet_id, withdrawal.asset_id, asset.code, asset.scale, asset.class,
       withdrawal.amount, withdrawal.chain, withdrawal.address, withdrawal.state, withdrawal.rail,
       withdrawal.external_ref, withdrawal.created_at_ns, withdrawal.updated_at_ns
  FROM withdrawal
  JOIN asset USING (asset_id)
 WHERE withdrawal.state IN ('PENDING', 'SENT')
   AND withdrawal.rail = $1
   AND (withdrawal.state = 'SENT' OR withdrawal.created_at_ns <= $2)
   AND withdrawal.withdrawal_id <> ALL ($3::uuid[])
 ORDER BY withdrawal.created_at_ns, withdrawal.withdrawal_id
 LIMIT 1
   FOR NO KEY UPDATE OF withdrawal SKIP LOCKED;

-- name: send_withdrawal
-- Hands a locked withdrawal to its rail, under a reference.
WITH moved AS (
    UPDATE withdrawal
       SET state = 'SENT', external_ref = $2, updated_at_ns = $3
     WHERE withdrawal_id = $1
    RETURNING withdrawal_id, wallet_id
)
INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
SELECT $3, subaccount.project_id, subaccount.account_id, $4, $5, 'WITHDRAWAL_SENT',
       moved.withdrawal_id::text, $6
  FROM moved
  JOIN wallet USING (wallet_id)
  JOIN subaccount USING (account_id, subaccount_index);

-- name: free_withdrawal
-- Ends a locked withdrawal without payment, FAILED or REJECTED ($2): its money is free again.
WITH moved AS (
    UPDATE withdrawal
       SET state = $2, updated_at_ns = $3
     WHERE withdrawal_id = $1
    RETURNING withdrawal_id, wallet_id, asset_id, amount
), freed AS (
    UPDATE balance
       SET held = balance.held - moved.amount
      FROM moved
     WHERE balance.wallet_id = moved.wallet_id AND balance.asset_id = moved.asset_id
), ended AS (
    UPDATE hold SET remaining = 0, ended_at_ns = $3 FROM moved WHERE hold.hold_id = moved.withdrawal_id
)
INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
SELECT $3, subaccount.project_id, subaccount.account_id, $4, $5, 'WITHDRAWAL_' || $2,
       moved.withdrawal_id::text, $6
  FROM moved
  JOIN wallet USING (wallet_id)
  JOIN subaccount USING (account_id, subaccount_index);

-- name: lock_paid_balances
-- Locks what there is of the balances that a payment moves, in the common order.
SELECT FROM balance
 WHERE wallet_id = ANY($1::uuid[]) AND asset_id = $2
 ORDER BY wallet_id, asset_id
   FOR NO KEY UPDATE;

-- name: confirm_withdrawal
-- Pays a locked withdrawal that was sent: its hold ends, and its money goes from the wallet to the
-- rail's ($6, made if need be). Legs ($8, $9) come ordered by wallet.
WITH moved AS (
    UPDATE withdrawal
       SET state = 'CONFIRMED', txn_seq = nextval('txn_seq'), updated_at_ns = $2
     WHERE withdrawal_id = $1
    RETURNING withdrawal_id, wallet_id, asset_id, amount, txn_seq
), rail_wallet AS (
    INSERT INTO wallet (wallet_id, kind, name, created_at_ns)
    SELECT $6, 'RAIL', $7, $2
      FROM moved
    ON CONFLICT DO NOTHING
), booked AS (
    INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
    SELECT txn_seq, 'WITHDRAWAL', $5, $3, $4, $2
      FROM moved
), ended AS (
    UPDATE hold SET remaining = 0, ended_at_ns = $2 FROM moved WHERE hold.hold_id = moved.withdrawal_id
), paid AS (
    UPDATE balance
       SET posted = balance.posted - moved.amount, held = balance.held - moved.amount,
           version = balance.version + 1
      FROM moved
     WHERE balance.wallet_id = moved.wallet_id AND balance.asset_id = moved.asset_id
    RETURNING balance.wallet_id, balance.posted, balance.version
), received AS (
    INSERT INTO balance (wallet_id, asset_id, posted, floor, version)
    SELECT $6, asset_id, amount, NULL, 1
      FROM moved
    ON CONFLICT (wallet_id, asset_id)
       DO UPDATE SET posted = balance.posted + excluded.posted, version = balance.version + 1
    RETURNING wallet_id, posted, version
), leg AS (
    SELECT number, wallet_id, amount
      FROM unnest($8::uuid[], $9::numeric[]) WITH ORDINALITY AS given (wallet_id, amount, number)
), entered AS (
    INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version)
    SELECT moved.txn_seq, leg.number, leg.wallet_id, moved.asset_id, leg.amount, line.posted, line.version
      FROM moved, leg
      JOIN (SELECT * FROM paid UNION ALL SELECT * FROM received) AS line USING (wallet_id)
)
INSERT INTO audit (at_ns, project_id, account_id, actor_kind, actor_id, action, subject, request_id)
SELECT $2, subaccount.project_id, subaccount.account_id, $3, $4, 'WITHDRAWAL_CONFIRMED',
       moved.withdrawal_id::text, $5
  FROM moved
  JOIN wallet USING (wallet_id)
  JOIN subaccount USING (account_id, subaccount_index);

-- name: audit_withdrawals_hold_what_they_need
-- A withdrawal on its way keeps its whole amount back, one that has ended nothing, and nothing else is
-- kept back as a withdrawal's.
SELECT format('withdrawal %s', coalesce(withdrawal.withdrawal_id, kept.reference)) AS subject,
       format('%s of %s of asset %s, holds %s of asset %s', withdrawal.state, withdrawal.amount,
              withdrawal.asset_id, kept.remaining, kept.asset_id) AS problem
  FROM withdrawal
  FULL JOIN (SELECT * FROM hold WHERE purpose = 'WITHDRAWAL') AS kept
    ON kept.reference = withdrawal.withdrawal_id
 WHERE kept.remaining IS DISTINCT FROM CASE
           WHEN withdrawal.state IN ('PENDING', 'SENT') THEN withdrawal.amount
           WHEN withdrawal.state IN ('CONFIRMED', 'FAILED', 'REJECTED') THEN 0
       END
    OR kept.wallet_id IS DISTINCT FROM withdrawal.wallet_id
    OR kept.asset_id IS DISTINCT FROM withdrawal.asset_id
 LIMIT 100;

-- name: audit_withdrawals_are_paid_once
-- Every confirmed withdrawal is one movement of its amount out of its wallet to its rail, and every
-- movement called a withdrawal is that of a confirmed one.
SELECT format('txn %s', coalesce(txn.seq, paid.txn_seq)) AS subject,
       format('withdrawal %s of %s, %s left its wallet and %s came to the rail', paid.withdrawal_id,
              paid.amount, -leg.out_of_wallet, leg.into_rail) AS problem
  FROM (SELECT seq FROM txn WHERE kind = 'WITHDRAWAL') AS txn
  FULL JOIN (SELECT * FROM withdrawal WHERE state = 'CONFIRMED') AS paid ON paid.txn_seq = txn.seq
  LEFT JOIN LATERAL (
      SELECT sum(entry.amount) FILTER (WHERE entry.wallet_id = paid.wallet_id) AS out_of_wallet,
             sum(entry.amount) FILTER (
                 WHERE wallet.kind = 'RAIL' AND starts_with(wallet.name, 'rail/' || paid.rail || '/')
             ) AS into_rail
        FROM entry
        JOIN wallet USING (wallet_id)
       WHERE entry.txn_seq = paid.txn_seq AND entry.asset_id = paid.asset_id
  ) AS leg ON true
 WHERE txn.seq IS NULL
    OR paid.withdrawal_id IS NULL
    OR leg.out_of_wallet IS DISTINCT FROM -paid.amount
    OR leg.into_rail IS DISTINCT FROM paid.amount
 LIMIT 100;

-- name: audit_withdrawals_went_to_usable_addresses
-- Every withdrawal goes to an address of its account, which had waited when it began.
SELECT format('withdrawal %s', withdrawal.withdrawal_id) AS subject,
       format('began at %s, its address was usable from %s on', withdrawal.created_at_ns,
              destination.usable_at_ns) AS problem
  FROM withdrawal
  LEFT JOIN destination
    ON destination.destination_id = withdrawal.destination_id
   AND destination.account_id = withdrawal.account_id
   AND destination.chain = withdrawal.chain
   AND destination.address = withdrawal.address
 WHERE destination.destination_id IS NULL
    OR withdrawal.created_at_ns < destination.usable_at_ns
 LIMIT 100;

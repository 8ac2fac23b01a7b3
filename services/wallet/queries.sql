-- Every statement of the service. Each changes balances and entries together or not at all: the
-- database refuses a statement that leaves them apart.
--
-- Locks are taken in one order: subaccount, wallet, market, funding reference, balances by wallet and
-- asset. Everything about one market's book, positions included, is read and written under the lock on
-- the market's row, by a statement that began after the lock was had.

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

-- name: has_subaccount
-- Whether the account has a subaccount.
SELECT EXISTS (SELECT FROM subaccount WHERE account_id = $1 AND subaccount_index = $2);

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
       moved.other_address, moved.created_at_ns
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT txn.seq, entry.leg, txn.kind, asset.code, asset.scale, entry.amount,
             coalesce(funding.external_ref, withdrawal.external_ref) AS external_ref,
             coalesce(other.pol_address, withdrawal.address) AS other_address, txn.created_at_ns
        FROM entry
        JOIN txn ON txn.seq = entry.txn_seq
        JOIN asset ON asset.asset_id = entry.asset_id
        LEFT JOIN funding ON funding.txn_seq = txn.seq
        LEFT JOIN withdrawal ON withdrawal.txn_seq = txn.seq
        -- The other wallet of a transfer, which has two legs.
        LEFT JOIN entry AS opposite
          ON txn.kind = 'TRANSFER' AND opposite.txn_seq = txn.seq AND opposite.leg <> entry.leg
        LEFT JOIN wallet AS other ON other.wallet_id = opposite.wallet_id
       WHERE entry.wallet_id = wallet.wallet_id AND entry.is_transfer
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

-- name: insert_event
-- A new event.
INSERT INTO event (
    event_id, title, slug, description, image, tags, labels, created_at_ns, updated_at_ns, ends_at_ns
)
VALUES ($1, $2, $3, $4, '', $5, '{}', $6, $6, $7);

-- name: touch_event
-- An event that gets a further market.
UPDATE event SET updated_at_ns = $2 WHERE event_id = $1 RETURNING event_id;

-- name: insert_market
-- A market with its two tokens and its two wallets, and who made it.
WITH token AS (
    INSERT INTO asset (code, scale, class)
    VALUES ($1, 6, 'OUTCOME'), ($2, 6, 'OUTCOME')
    RETURNING asset_id, code
), system_wallet AS (
    INSERT INTO wallet (wallet_id, kind, name, created_at_ns)
    VALUES ($3, 'MARKET', $4, $19), ($5, 'FEES', $6, $19)
), made AS (
    INSERT INTO market (
        condition_id, event_id, question, outcome, slug, description, image, left_outcome, right_outcome,
        left_asset_id, right_asset_id, collateral_wallet_id, fees_wallet_id,
        tick, lot, min_shares, maker_fee_bps, taker_fee_bps, status, created_at_ns, updated_at_ns, ends_at_ns
    )
    SELECT $7, $8, $9, $10, $11, $12, '', $13, $14, of_left.asset_id, of_right.asset_id, $3, $5,
           $15, $16, $17, $18, $20, 'OPEN', $19, $19, $21
      FROM token AS of_left, token AS of_right
     WHERE of_left.code = $1 AND of_right.code = $2
    RETURNING market_id, condition_id
), audited AS (
    INSERT INTO audit (at_ns, actor_kind, actor_id, action, subject, request_id)
    SELECT $19, $22, $23, 'MARKET_CREATED', condition_id, $24
      FROM made
)
SELECT market_id FROM made;

-- name: list_newest_markets
-- A page of all markets.
SELECT market_id FROM market ORDER BY market_id DESC LIMIT $1 OFFSET $2;

-- name: find_market
-- What of a market never changes, by its condition id or by one of its tokens' ids.
SELECT market.market_id, market.condition_id, market.tick, market.lot, market.min_shares,
       market.maker_fee_bps, market.taker_fee_bps, cash.asset_id AS cash_asset_id,
       market.left_asset_id, market.right_asset_id,
       of_left.code AS left_token_id, of_right.code AS right_token_id
  FROM market
  JOIN asset AS of_left ON of_left.asset_id = market.left_asset_id
  JOIN asset AS of_right ON of_right.asset_id = market.right_asset_id
  JOIN asset AS cash ON cash.code = 'USDC'
 WHERE market.market_id = (
           SELECT found.market_id FROM market AS found WHERE found.condition_id = $1
           UNION ALL
           SELECT found.market_id
             FROM asset
             JOIN market AS found ON asset.asset_id IN (found.left_asset_id, found.right_asset_id)
            WHERE asset.code = $1
       );

-- name: get_markets
-- Markets beside their events, newest first, with the best prices of their books at a time ($2): in
-- terms of the left outcome, expired orders apart.
SELECT market.market_id, market.condition_id, market.question, market.outcome, market.slug,
       market.description, market.image, market.left_outcome, market.right_outcome,
       of_left.code AS left_token_id, of_right.code AS right_token_id,
       market.tick, market.lot, market.min_shares, market.maker_fee_bps, market.taker_fee_bps,
       market.status, market.last_price, market.volume, market.created_at_ns, market.updated_at_ns,
       market.ends_at_ns, best_bid.price AS best_bid, best_ask.price AS best_ask,
       event.event_id, event.title, event.slug AS event_slug, event.description AS event_description,
       event.image AS event_image, event.tags, event.labels, event.created_at_ns AS event_created_at_ns,
       greatest(event.updated_at_ns, whole.updated_at_ns) AS event_updated_at_ns,
       event.ends_at_ns AS event_ends_at_ns, whole.active AS event_active, whole.volume AS event_volume
  FROM market
  JOIN event USING (event_id)
  JOIN asset AS of_left ON of_left.asset_id = market.left_asset_id
  JOIN asset AS of_right ON of_right.asset_id = market.right_asset_id
  CROSS JOIN LATERAL (
      SELECT bool_or(other.status = 'OPEN') AS active, sum(other.volume)::numeric(38, 0) AS volume,
             max(other.updated_at_ns) AS updated_at_ns
        FROM market AS other
       WHERE other.event_id = market.event_id
  ) AS whole
  LEFT JOIN LATERAL (
      SELECT -book_rank AS price
        FROM ord
       WHERE ord.market_id = market.market_id AND book_side = 'BID' AND ord.status IN ('OPEN', 'PARTIAL')
         AND (expires_at_ns IS NULL OR expires_at_ns > $2)
       ORDER BY book_rank, seq
       LIMIT 1
  ) AS best_bid ON true
  LEFT JOIN LATERAL (
      SELECT book_rank AS price
        FROM ord
       WHERE ord.market_id = market.market_id AND book_side = 'ASK' AND ord.status IN ('OPEN', 'PARTIAL')
         AND (expires_at_ns IS NULL OR expires_at_ns > $2)
       ORDER BY book_rank, seq
       LIMIT 1
  ) AS best_ask ON true
 WHERE market.market_id = ANY($1::bigint[])
 ORDER BY market.market_id DESC;

-- name: get_book
-- A market's live orders ($2: when) added up by price, the best $3 prices of each side, in terms of
-- the left outcome. At least one row: without a side when the book is empty.
SELECT market.seq, level.book_side, level.price, level.shares
  FROM market
  LEFT JOIN LATERAL (
      (
          SELECT 'BID' AS book_side, -book_rank AS price, sum(shares - filled)::numeric(38, 0) AS shares
            FROM ord
           WHERE ord.market_id = market.market_id AND book_side = 'BID' AND ord.status IN ('OPEN', 'PARTIAL')
             AND (expires_at_ns IS NULL OR expires_at_ns > $2)
           GROUP BY book_rank
           ORDER BY book_rank
           LIMIT $3
      )
      UNION ALL
      (
          SELECT 'ASK', book_rank, sum(shares - filled)::numeric(38, 0)
            FROM ord
           WHERE ord.market_id = market.market_id AND book_side = 'ASK' AND ord.status IN ('OPEN', 'PARTIAL')
             AND (expires_at_ns IS NULL OR expires_at_ns > $2)
           GROUP BY book_rank
           ORDER BY book_rank
           LIMIT $3
      )
  ) AS level ON true
 WHERE market.market_id = $1
 ORDER BY level.book_side, CASE level.book_side WHEN 'BID' THEN -level.price ELSE level.price END;

-- name: lock_wallet_and_market
-- Begins an order: the wallet within reach, so that neither its deletion nor another order of its own
-- goes on beside this one, and then the market. No row: no such wallet.
WITH owned AS (
    SELECT wallet_id
      FROM wallet
     WHERE wallet_id = $1
       AND account_id = $2
       AND ($3::integer IS NULL OR subaccount_index = $3)
       AND deleted_at_ns IS NULL
       FOR NO KEY UPDATE
), traded AS (
    SELECT market_id, status, seq
      FROM market
     WHERE market_id = $4 AND EXISTS (SELECT FROM owned)
       FOR NO KEY UPDATE
)
SELECT market_id, status, seq FROM traded;

-- name: find_wallet_and_market
-- As it stands: a market's status, if the wallet is within reach. No row: no such wallet.
SELECT market.status
  FROM wallet, market
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
   AND market.market_id = $4;

-- name: list_reached_orders
-- The live orders ($3: when) of one side of a book, best first, down to a rank ($4, null: all), as far
-- as an order can need them: until those before add up to $5 shares, or are worth more than $6 in terms
-- of the outcome $7, and at most $8. Walks the index order by order, so a deep book costs nothing.
WITH RECURSIVE reached AS (
    (
        SELECT order_id, book_rank, seq, shares - filled AS rest, 0::numeric AS shares_before,
               0::numeric AS worth_before, 1 AS number
          FROM ord
         WHERE market_id = $1 AND book_side = $2 AND status IN ('OPEN', 'PARTIAL')
           AND (expires_at_ns IS NULL OR expires_at_ns > $3)
           AND book_rank <= coalesce($4::integer, 1000000)
         ORDER BY book_rank, seq
         LIMIT 1
    )
    UNION ALL
    SELECT following.order_id, following.book_rank, following.seq, following.rest,
           total.shares, total.worth, reached.number + 1
      FROM reached
     CROSS JOIN LATERAL (
         SELECT reached.shares_before + reached.rest AS shares,
                reached.worth_before + div(
                    reached.rest * CASE $7::text
                        WHEN 'LEFT' THEN abs(reached.book_rank)
                        ELSE 1000000 - abs(reached.book_rank)
                    END, 1000000
                ) AS worth
     ) AS total
     CROSS JOIN LATERAL (
         SELECT ord.order_id, ord.book_rank, ord.seq, ord.shares - ord.filled AS rest
           FROM ord
          WHERE ord.market_id = $1 AND ord.book_side = $2 AND ord.status IN ('OPEN', 'PARTIAL')
            AND (ord.expires_at_ns IS NULL OR ord.expires_at_ns > $3)
            AND ord.book_rank <= coalesce($4::integer, 1000000)
            AND (ord.book_rank, ord.seq) > (reached.book_rank, reached.seq)
          ORDER BY ord.book_rank, ord.seq
          LIMIT 1
     ) AS following
     WHERE reached.number < $8::integer
       AND ($5::numeric IS NULL OR total.shares < $5)
       AND ($6::numeric IS NULL OR total.worth <= $6)
)
SELECT ord.order_id, ord.account_id, ord.wallet_id, ord.side, ord.outcome, ord.price, ord.shares,
       ord.filled, ord.notional, ord.fee_accrued, hold.asset_id AS held_asset_id,
       hold.remaining AS hold_remaining
  FROM reached
  JOIN ord USING (order_id)
  JOIN hold ON hold.hold_id = ord.order_id
 ORDER BY reached.number;

-- name: lock_balances
-- Locks the balances that there are of those named, with what is kept of their positions, and says
-- what else a new order of the wallet $3 depends on at $5: how many live orders it has, and which one
-- it ever had of the client order id $4. At least one row: without a balance when there is none.
WITH locked AS (
    SELECT balance.wallet_id, balance.asset_id, balance.posted, balance.held, position.cost, position.realized
      FROM unnest($1::uuid[], $2::bigint[]) AS wanted (wallet_id, asset_id)
      JOIN balance USING (wallet_id, asset_id)
      LEFT JOIN position USING (wallet_id, asset_id)
     ORDER BY balance.wallet_id, balance.asset_id
       FOR NO KEY UPDATE OF balance
)
SELECT facts.open_orders_count, facts.namesake_id, locked.wallet_id, locked.asset_id, locked.posted,
       locked.held, locked.cost, locked.realized
  FROM (
      SELECT (
                 SELECT count(*)::integer
                   FROM ord
                  WHERE wallet_id = $3 AND status IN ('OPEN', 'PARTIAL')
                    AND (expires_at_ns IS NULL OR expires_at_ns > $5)
             ) AS open_orders_count,
             CASE WHEN $4::text IS NOT NULL
                  THEN (SELECT order_id FROM ord WHERE wallet_id = $3 AND client_order_id = $4)
             END AS namesake_id
  ) AS facts
  LEFT JOIN locked ON true;

-- name: settle
-- Writes everything that an order, or the end of some, changes: the settlement comes as one JSON
-- document ($1), with when ($2) and for whom ($3 to $5). Balances that have a row are updated and never
-- inserted, because the check of a balance fires on a proposed row too.
WITH given_update AS (
    SELECT *
      FROM jsonb_to_recordset($1::jsonb -> 'updates')
           AS given (wallet_id uuid, asset_id bigint, posted numeric, held numeric)
), given_insert AS (
    SELECT *
      FROM jsonb_to_recordset($1::jsonb -> 'inserts')
           AS given (wallet_id uuid, asset_id bigint, posted numeric, floor numeric)
), leg AS (
    SELECT *
      FROM jsonb_to_recordset($1::jsonb -> 'legs')
           AS given (number smallint, wallet_id uuid, asset_id bigint, amount numeric)
), updated AS (
    UPDATE balance
       SET posted = balance.posted + given_update.posted,
           held = balance.held + given_update.held,
           version = balance.version + (given_update.posted <> 0)::integer
      FROM given_update
     WHERE balance.wallet_id = given_update.wallet_id AND balance.asset_id = given_update.asset_id
    RETURNING balance.wallet_id, balance.asset_id, balance.posted, balance.version
), inserted AS (
    INSERT INTO balance (wallet_id, asset_id, posted, floor, version)
    SELECT wallet_id, asset_id, posted, floor, 1
      FROM given_insert
     ORDER BY wallet_id, asset_id
    ON CONFLICT (wallet_id, asset_id)
       DO UPDATE SET posted = balance.posted + excluded.posted, version = balance.version + 1
    RETURNING wallet_id, asset_id, posted, version
), moved AS (
    SELECT * FROM updated
    UNION ALL
    SELECT * FROM inserted
), booked AS (
    INSERT INTO txn (seq, kind, request_id, actor_kind, actor_id, created_at_ns)
    SELECT nextval('txn_seq'), 'TRADE', $3, $4, $5, $2
     WHERE EXISTS (SELECT FROM leg)
    RETURNING seq
), entered AS (
    INSERT INTO entry (txn_seq, leg, wallet_id, asset_id, amount, posted_after, version, is_transfer)
    SELECT booked.seq, leg.number, leg.wallet_id, leg.asset_id, leg.amount, moved.posted, moved.version, false
      FROM booked, leg
      JOIN moved USING (wallet_id, asset_id)
), placed AS (
    INSERT INTO ord (
        order_id, market_id, seq, wallet_id, account_id, asset_id, outcome, side, type, time_in_force,
        amount, units, price, shares, filled, notional, fee_accrued, fee_charged, status,
        client_order_id, expires_at_ns, created_at_ns, updated_at_ns, post_only, request_id, processed_at_ns,
        replaced_order_id
    )
    SELECT order_id, market_id, seq, wallet_id, account_id, asset_id, outcome, side, type, time_in_force,
           amount, units, price, shares, filled, notional, fee_accrued, fee_charged, status,
           client_order_id, expires_at_ns, $2, $2, post_only, request_id, processed_at_ns, replaced_order_id
      FROM jsonb_to_recordset($1::jsonb -> 'placed')
           AS given (
               order_id uuid, market_id bigint, seq bigint, wallet_id uuid, account_id uuid,
               asset_id bigint, outcome text, side text, type text, time_in_force text, amount numeric,
               units text, price integer, shares numeric, filled numeric, notional numeric,
               fee_accrued numeric, fee_charged numeric, status text, client_order_id text,
               expires_at_ns bigint, post_only boolean, request_id uuid, processed_at_ns bigint,
               replaced_order_id uuid
           )
), changed AS (
    -- An order that expired ended at its expiration, whenever that is noticed.
    UPDATE ord
       SET status = given.status, shares = given.shares, filled = given.filled, notional = given.notional,
           fee_accrued = given.fee_accrued, fee_charged = given.fee_charged,
           updated_at_ns = CASE given.status WHEN 'EXPIRED' THEN ord.expires_at_ns ELSE $2 END
      FROM jsonb_to_recordset($1::jsonb -> 'orders')
           AS given (
               order_id uuid, status text, shares numeric, filled numeric, notional numeric,
               fee_accrued numeric, fee_charged numeric
           )
     WHERE ord.order_id = given.order_id
), held_back AS (
    INSERT INTO hold (hold_id, wallet_id, asset_id, purpose, reference, original, remaining, created_at_ns)
    SELECT order_id, wallet_id, asset_id, 'ORDER', order_id, amount, amount, $2
      FROM jsonb_to_recordset($1::jsonb -> 'new_holds')
           AS given (order_id uuid, wallet_id uuid, asset_id bigint, amount numeric)
), released AS (
    UPDATE hold
       SET remaining = given.remaining, ended_at_ns = CASE given.remaining WHEN 0 THEN $2 END
      FROM jsonb_to_recordset($1::jsonb -> 'holds') AS given (order_id uuid, remaining numeric)
     WHERE hold.hold_id = given.order_id
), filled AS (
    INSERT INTO fill (
        order_id, filled_before, wallet_id, txn_seq, number, role, price, shares, notional, fee,
        created_at_ns
    )
    SELECT given.order_id, given.filled_before, given.wallet_id, booked.seq, given.number, given.role,
           given.price, given.shares, given.notional, given.fee, $2
      FROM booked,
           jsonb_to_recordset($1::jsonb -> 'trades')
           AS given (
               order_id uuid, filled_before numeric, wallet_id uuid, number smallint, role text,
               price integer, shares numeric, notional numeric, fee numeric
           )
), kept AS (
    INSERT INTO position (wallet_id, asset_id, cost, realized, created_at_ns, updated_at_ns)
    SELECT wallet_id, asset_id, cost, realized, $2, $2
      FROM jsonb_to_recordset($1::jsonb -> 'positions')
           AS given (wallet_id uuid, asset_id bigint, cost numeric, realized numeric)
    ON CONFLICT (wallet_id, asset_id)
       DO UPDATE SET cost = excluded.cost, realized = excluded.realized,
                     updated_at_ns = excluded.updated_at_ns
)
UPDATE market
   SET seq = market.seq + 1,
       last_price = coalesce(given.last_price, market.last_price),
       volume = market.volume + given.volume,
       updated_at_ns = CASE given.last_price IS NULL WHEN true THEN market.updated_at_ns ELSE $2 END
  FROM jsonb_to_recordset($1::jsonb -> 'markets')
       AS given (market_id bigint, last_price integer, volume numeric)
 WHERE market.market_id = given.market_id;

-- name: find_open_order
-- An order of the wallet $2, if it rests, with what is held for it; its market is locked, so it stays as
-- it is. Its balance is locked later, in the common order.
SELECT ord.order_id, ord.market_id, asset.code AS token_id, ord.side, ord.type, ord.time_in_force,
       ord.amount, ord.units, ord.price, ord.shares, ord.filled, ord.notional, ord.fee_charged, ord.status,
       ord.client_order_id, ord.expires_at_ns, ord.created_at_ns, ord.updated_at_ns,
       ord.account_id, ord.wallet_id, ord.outcome, ord.fee_accrued, ord.post_only,
       hold.asset_id AS held_asset_id, hold.remaining AS hold_remaining
  FROM ord
  JOIN asset USING (asset_id)
  JOIN hold ON hold.hold_id = ord.order_id
 WHERE ord.order_id = $1 AND ord.wallet_id = $2 AND ord.status IN ('OPEN', 'PARTIAL');

-- name: find_market_of_order
-- Where an order of a wallet within reach is. No row: no such wallet. A row without a market: no such
-- order.
SELECT ord.market_id
  FROM wallet
  LEFT JOIN ord ON ord.wallet_id = wallet.wallet_id AND ord.order_id = $4
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL;

-- name: find_markets_of_wallet
-- Where a wallet within reach has open orders. No row: no such wallet. A row without a market: nowhere.
SELECT DISTINCT ord.market_id
  FROM wallet
  LEFT JOIN ord ON ord.wallet_id = wallet.wallet_id AND ord.status IN ('OPEN', 'PARTIAL')
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL;

-- name: lock_markets
-- Keeps everybody else out of these markets' books until the end of the transaction.
SELECT FROM market WHERE market_id = ANY($1::bigint[]) ORDER BY market_id FOR NO KEY UPDATE;

-- name: close_market
-- Ends trading in a locked market, if it has not ended, and says who did.
WITH closed AS (
    UPDATE market
       SET status = 'CLOSED', updated_at_ns = $2
     WHERE market_id = $1 AND status = 'OPEN'
    RETURNING condition_id
)
INSERT INTO audit (at_ns, actor_kind, actor_id, action, subject, request_id)
SELECT $2, $3, $4, 'MARKET_CLOSED', condition_id, $5
  FROM closed;

-- name: list_live_orders_of_wallet
-- What a wallet has open at a time ($3) in locked markets, oldest first.
SELECT order_id
  FROM ord
 WHERE wallet_id = $1
   AND status IN ('OPEN', 'PARTIAL')
   AND market_id = ANY($2::bigint[])
   AND (expires_at_ns IS NULL OR expires_at_ns > $3)
 ORDER BY created_at_ns, order_id;

-- name: list_resting_orders_of_market
-- A part of what rests in a locked market, expired orders included: by the balances that are to be
-- locked, so that one part after the other locks them in the common order.
SELECT ord.order_id
  FROM ord
  JOIN hold ON hold.hold_id = ord.order_id
 WHERE ord.market_id = $1 AND ord.status IN ('OPEN', 'PARTIAL')
 ORDER BY hold.wallet_id, hold.asset_id
 LIMIT $2;

-- name: list_expired_orders_of_market
-- A part of what has expired in a locked market and was not ended.
SELECT order_id
  FROM ord
 WHERE market_id = $1 AND status IN ('OPEN', 'PARTIAL') AND expires_at_ns <= $2
 LIMIT $3;

-- name: list_markets_with_expired_orders
-- Where there is something to end, the markets of $3 passed over.
SELECT DISTINCT market_id
  FROM (
      SELECT market_id
        FROM ord
       WHERE status IN ('OPEN', 'PARTIAL') AND expires_at_ns <= $1 AND market_id <> ALL ($3::bigint[])
       ORDER BY expires_at_ns
       LIMIT $2
  ) AS expired
 ORDER BY market_id;

-- name: lock_resting_orders
-- Those of the orders, all of them in locked markets, that rest; locks the balances that keep something
-- back for them.
SELECT ord.order_id, ord.market_id, ord.account_id, ord.wallet_id, ord.side, ord.outcome, ord.price,
       ord.shares, ord.filled, ord.notional, ord.fee_accrued, ord.expires_at_ns,
       hold.asset_id AS held_asset_id, hold.remaining AS hold_remaining
  FROM ord
  JOIN hold ON hold.hold_id = ord.order_id
  JOIN balance ON balance.wallet_id = hold.wallet_id AND balance.asset_id = hold.asset_id
 WHERE ord.order_id = ANY($1::uuid[]) AND ord.status IN ('OPEN', 'PARTIAL')
 ORDER BY balance.wallet_id, balance.asset_id
   FOR NO KEY UPDATE OF balance;

-- name: get_order
-- One order of a wallet within reach. No row: no such wallet. A row without an order: no such order.
SELECT found.*
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT ord.order_id, ord.market_id, asset.code AS token_id, ord.side, ord.type, ord.time_in_force,
             ord.amount, ord.units, ord.price, ord.shares, ord.filled, ord.notional, ord.fee_charged,
             ord.status, ord.client_order_id, ord.expires_at_ns, ord.created_at_ns, ord.updated_at_ns
        FROM ord
        JOIN asset USING (asset_id)
       WHERE ord.order_id = $4 AND ord.wallet_id = wallet.wallet_id
  ) AS found ON true
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL;

-- name: find_order_of_request
-- The order that a signed request of an account placed, within a subaccount or ($3: null) anywhere; also
-- when its wallet was deleted since.
SELECT ord.order_id, ord.market_id, asset.code AS token_id, ord.side, ord.type, ord.time_in_force,
       ord.amount, ord.units, ord.price, ord.shares, ord.filled, ord.notional, ord.fee_charged,
       ord.status, ord.client_order_id, ord.expires_at_ns, ord.created_at_ns, ord.updated_at_ns,
       ord.wallet_id, ord.processed_at_ns, ord.replaced_order_id IS NOT NULL AS is_replacement
  FROM ord
  JOIN asset USING (asset_id)
  JOIN wallet USING (wallet_id)
 WHERE ord.account_id = $1 AND ord.request_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3);

-- name: list_orders
-- A page of the orders of a wallet within reach, newest first. No row: no such wallet. A row without an
-- order: an empty page.
SELECT found.*
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT ord.order_id, ord.market_id, asset.code AS token_id, ord.side, ord.type, ord.time_in_force,
             ord.amount, ord.units, ord.price, ord.shares, ord.filled, ord.notional, ord.fee_charged,
             ord.status, ord.client_order_id, ord.expires_at_ns, ord.created_at_ns, ord.updated_at_ns
        FROM ord
        JOIN asset USING (asset_id)
       WHERE ord.wallet_id = wallet.wallet_id
       ORDER BY ord.created_at_ns DESC, ord.order_id DESC
       LIMIT $4 OFFSET $5
  ) AS found ON true
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
 ORDER BY found.created_at_ns DESC, found.order_id DESC;

-- name: list_live_orders
-- As `list_orders`, of what can still be filled at a time ($6).
SELECT found.*
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT ord.order_id, ord.market_id, asset.code AS token_id, ord.side, ord.type, ord.time_in_force,
             ord.amount, ord.units, ord.price, ord.shares, ord.filled, ord.notional, ord.fee_charged,
             ord.status, ord.client_order_id, ord.expires_at_ns, ord.created_at_ns, ord.updated_at_ns
        FROM ord
        JOIN asset USING (asset_id)
       WHERE ord.wallet_id = wallet.wallet_id
         AND ord.status IN ('OPEN', 'PARTIAL')
         AND (ord.expires_at_ns IS NULL OR ord.expires_at_ns > $6)
       ORDER BY ord.created_at_ns DESC, ord.order_id DESC
       LIMIT $4 OFFSET $5
  ) AS found ON true
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
 ORDER BY found.created_at_ns DESC, found.order_id DESC;

-- name: list_trades
-- A page of what the orders of a wallet within reach traded, newest first. No row: no such wallet. A
-- row without an order: an empty page.
SELECT found.*
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT fill.order_id, asset.code AS token_id, ord.side, fill.price, fill.shares, fill.notional,
             fill.created_at_ns, fill.txn_seq, fill.number
        FROM fill
        JOIN ord USING (order_id)
        JOIN asset USING (asset_id)
       WHERE fill.wallet_id = wallet.wallet_id
       ORDER BY fill.txn_seq DESC, fill.number DESC
       LIMIT $4 OFFSET $5
  ) AS found ON true
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
 ORDER BY found.txn_seq DESC, found.number DESC;

-- name: list_positions
-- A page of the outcome shares of a wallet within reach, largest cost first. No row: no such wallet. A
-- row without a market: an empty page.
SELECT found.*
  FROM wallet
  LEFT JOIN LATERAL (
      SELECT market.market_id, asset.code AS token_id, position.asset_id,
             CASE position.asset_id WHEN market.left_asset_id THEN 'LEFT' ELSE 'RIGHT' END AS outcome,
             balance.posted AS shares, position.cost, position.realized, position.created_at_ns
        FROM position
        JOIN balance USING (wallet_id, asset_id)
        JOIN asset USING (asset_id)
        JOIN market ON position.asset_id IN (market.left_asset_id, market.right_asset_id)
       WHERE position.wallet_id = wallet.wallet_id AND balance.posted > 0
       ORDER BY position.cost DESC, position.asset_id
       LIMIT $4 OFFSET $5
  ) AS found ON true
 WHERE wallet.wallet_id = $1
   AND wallet.account_id = $2
   AND ($3::integer IS NULL OR wallet.subaccount_index = $3)
   AND wallet.deleted_at_ns IS NULL
 ORDER BY found.cost DESC, found.asset_id;

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

-- name: audit_trades_are_no_transfers
-- A list of transfers shows every movement but trades.
SELECT format('txn %s, leg %s', entry.txn_seq, entry.leg) AS subject,
       format('%s, listed as transfer: %s', txn.kind, entry.is_transfer) AS problem
  FROM entry
  JOIN txn ON txn.seq = entry.txn_seq
 WHERE entry.is_transfer <> (txn.kind <> 'TRADE')
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

-- name: audit_orders_keep_what_they_need
-- What is held for an order is what its rest can still cost: shares for SELL; for BUY the rest at the
-- limit, and the worse of the two fees on that and on what was filled, less the fee charged. For an
-- order that has ended it is nothing.
SELECT format('order %s', coalesce(expected.order_id, kept.reference)) AS subject,
       format('%s, holds %s of asset %s, should hold %s of asset %s', expected.status, kept.remaining,
              kept.asset_id, expected.amount, expected.asset_id) AS problem
  FROM (
      SELECT ord.order_id, ord.status, ord.wallet_id,
             CASE ord.side WHEN 'BUY' THEN cash.asset_id ELSE ord.asset_id END AS asset_id,
             CASE
                 WHEN ord.status NOT IN ('OPEN', 'PARTIAL') THEN 0
                 WHEN ord.side = 'SELL' THEN ord.shares - ord.filled
                 ELSE ahead.worth - ord.fee_charged + div(
                     (ord.notional + ahead.worth) * greatest(market.maker_fee_bps, market.taker_fee_bps)
                     + 9999, 10000
                 )
             END AS amount
        FROM ord
        JOIN market USING (market_id)
        JOIN asset AS cash ON cash.code = 'USDC'
       CROSS JOIN LATERAL (SELECT div(ord.price * (ord.shares - ord.filled), 1000000) AS worth) AS ahead
  ) AS expected
  FULL JOIN (SELECT * FROM hold WHERE purpose = 'ORDER') AS kept ON kept.reference = expected.order_id
 WHERE coalesce(kept.remaining, 0) IS DISTINCT FROM expected.amount
    OR (kept.remaining > 0 AND kept.wallet_id <> expected.wallet_id)
    OR (kept.remaining > 0 AND kept.asset_id <> expected.asset_id)
 LIMIT 100;

-- name: audit_orders_equal_fills
-- An order is filled, was worth and paid what its fills say, and its fee is what it accrued rounded up.
SELECT format('order %s', ord.order_id) AS subject,
       format('filled %s for %s with fee %s of %s accrued, fills say %s for %s with fee %s', ord.filled,
              ord.notional, ord.fee_charged, ord.fee_accrued, booked.shares, booked.notional,
              booked.fee) AS problem
  FROM ord
  LEFT JOIN (
      SELECT order_id, sum(shares) AS shares, sum(notional) AS notional, sum(fee) AS fee
        FROM fill
       GROUP BY order_id
  ) AS booked USING (order_id)
 WHERE ord.filled <> coalesce(booked.shares, 0)
    OR ord.notional <> coalesce(booked.notional, 0)
    OR ord.fee_charged <> coalesce(booked.fee, 0)
    OR ord.fee_charged <> div(ord.fee_accrued + 9999, 10000)
 LIMIT 100;

-- name: audit_fills_are_paired
-- Both orders of a match got the same shares at prices that are one, or that add up to one where two
-- buyers or two sellers met.
SELECT format('txn %s, match %s', txn_seq, number) AS subject,
       format('%s orders got %s to %s shares at prices that add up to %s', count(*), min(fill.shares),
              max(fill.shares), sum(fill.price)) AS problem
  FROM fill
  JOIN ord USING (order_id)
 GROUP BY txn_seq, number
HAVING count(*) FILTER (WHERE role = 'MAKER') <> 1
    OR count(*) FILTER (WHERE role = 'TAKER') <> 1
    OR min(fill.shares) <> max(fill.shares)
    OR (min(ord.asset_id) = max(ord.asset_id)) <> (min(ord.side) <> max(ord.side))
    OR CASE WHEN min(ord.asset_id) = max(ord.asset_id) THEN min(fill.price) <> max(fill.price)
            ELSE sum(fill.price) <> 1000000 END
 LIMIT 100;

-- name: audit_trades_move_what_fills_say
-- What a trade moved for an account is what its orders got in it: shares against their worth, and fees.
SELECT format('txn %s, wallet %s, asset %s', txn_seq, wallet_id, asset_id) AS subject,
       format('moved %s, fills say %s', sum(moved), sum(said)) AS problem
  FROM (
      SELECT entry.txn_seq, entry.wallet_id, entry.asset_id, entry.amount AS moved, 0::numeric AS said
        FROM entry
        JOIN txn ON txn.seq = entry.txn_seq AND txn.kind = 'TRADE'
        JOIN wallet ON wallet.wallet_id = entry.wallet_id AND wallet.kind = 'ACCOUNT'
       UNION ALL
      SELECT fill.txn_seq, fill.wallet_id, leg.asset_id, 0, leg.amount
        FROM fill
        JOIN ord ON ord.order_id = fill.order_id AND ord.wallet_id = fill.wallet_id
        JOIN asset AS cash ON cash.code = 'USDC'
       CROSS JOIN LATERAL (SELECT CASE ord.side WHEN 'BUY' THEN 1 ELSE -1 END AS sign) AS way
       CROSS JOIN LATERAL (
           VALUES (ord.asset_id, way.sign * fill.shares),
                  (cash.asset_id, -way.sign * fill.notional - fill.fee)
       ) AS leg (asset_id, amount)
  ) AS part
 GROUP BY txn_seq, wallet_id, asset_id
HAVING sum(moved) <> sum(said)
 LIMIT 100;

-- name: audit_closed_markets_have_no_orders
-- Nothing rests in a market that has ended.
SELECT format('order %s', ord.order_id) AS subject,
       format('%s in the closed market %s', ord.status, market.condition_id) AS problem
  FROM ord
  JOIN market USING (market_id)
 WHERE market.status = 'CLOSED' AND ord.status IN ('OPEN', 'PARTIAL')
 LIMIT 100;

-- name: audit_markets_are_backed
-- A market's collateral is one USDC for each share of either outcome that anybody holds, and its fees
-- are where its fills sent them.
SELECT format('market %s', market.condition_id) AS subject,
       format('collateral %s, left shares %s, right shares %s, fees %s of %s', backing.cash, backing.lefts,
              backing.rights, coalesce(fees.posted, 0), charged.fee) AS problem
  FROM market
  JOIN asset AS cash ON cash.code = 'USDC'
 CROSS JOIN LATERAL (
      SELECT coalesce(sum(posted) FILTER (WHERE asset_id = cash.asset_id), 0) AS cash,
             coalesce(sum(-posted) FILTER (WHERE asset_id = market.left_asset_id), 0) AS lefts,
             coalesce(sum(-posted) FILTER (WHERE asset_id = market.right_asset_id), 0) AS rights,
             count(*) FILTER (
                 WHERE asset_id NOT IN (cash.asset_id, market.left_asset_id, market.right_asset_id)
             ) AS strange
        FROM balance
       WHERE balance.wallet_id = market.collateral_wallet_id
  ) AS backing
 CROSS JOIN LATERAL (
      SELECT coalesce(sum(fill.fee), 0) AS fee
        FROM ord
        JOIN fill USING (order_id)
       WHERE ord.market_id = market.market_id
  ) AS charged
  LEFT JOIN balance AS fees ON fees.wallet_id = market.fees_wallet_id AND fees.asset_id = cash.asset_id
 WHERE backing.cash <> backing.lefts
    OR backing.cash <> backing.rights
    OR backing.strange <> 0
    OR coalesce(fees.posted, 0) <> charged.fee
 LIMIT 100;

-- name: audit_books_are_not_crossed
-- No bid rests at or above an ask, unless the earlier of the two had expired when the later one came.
SELECT format('bid %s', bid.order_id) AS subject,
       format('at %s, ask %s at %s', -bid.book_rank, met.order_id, met.book_rank) AS problem
  FROM ord AS bid
 CROSS JOIN LATERAL (
      SELECT ask.order_id, ask.book_rank
        FROM ord AS ask
       WHERE ask.market_id = bid.market_id AND ask.book_side = 'ASK' AND ask.status IN ('OPEN', 'PARTIAL')
         AND ask.book_rank <= -bid.book_rank
         AND CASE
                 WHEN ask.seq < bid.seq THEN ask.expires_at_ns IS NULL OR ask.expires_at_ns > bid.created_at_ns
                 ELSE bid.expires_at_ns IS NULL OR bid.expires_at_ns > ask.created_at_ns
             END
       LIMIT 1
  ) AS met
 WHERE bid.book_side = 'BID' AND bid.status IN ('OPEN', 'PARTIAL')
 LIMIT 100;

-- name: audit_positions_match_shares
-- Shares that an account holds have a cost, and what has a cost is held.
SELECT format('wallet %s, asset %s', balance.wallet_id, balance.asset_id) AS subject,
       format('%s shares that cost %s', balance.posted, position.cost) AS problem
  FROM balance
  JOIN asset ON asset.asset_id = balance.asset_id AND asset.class = 'OUTCOME'
  JOIN wallet ON wallet.wallet_id = balance.wallet_id AND wallet.kind = 'ACCOUNT'
  LEFT JOIN position
    ON position.wallet_id = balance.wallet_id AND position.asset_id = balance.asset_id
 WHERE (balance.posted > 0) <> (coalesce(position.cost, 0) > 0)
 LIMIT 100;

-- The schema that the migrations build, to be read in one piece; a test compares the two.
--
-- The ledger. Amounts are NUMERIC(38,0) in the asset's smallest unit; times are Unix nanoseconds.
-- The owner role has made what is here; the service's role has exactly the rights at the end. What a
-- right cannot say, a constraint or a trigger says, and those bind every role.
--
-- Trigger functions name their tables with the schema: a temporary table of the same name must not
-- stand in for one.

-- Refuses whatever fired it. The constraint in the error is the trigger's own name.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused by %', TG_OP, TG_TABLE_NAME, TG_NAME
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END
$$;

-- What amounts count. Never changes: every amount in the books is read by its scale.
CREATE TABLE asset (
    asset_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL,
    -- Digits behind the decimal point of one whole.
    scale smallint NOT NULL,
    class text NOT NULL,
    CONSTRAINT asset_code_unique UNIQUE (code),
    CONSTRAINT asset_code_shape CHECK (code ~ '^[A-Za-z0-9]{1,80}$'),
    CONSTRAINT asset_scale_range CHECK (scale BETWEEN 0 AND 18),
    CONSTRAINT asset_class_known CHECK (class IN ('CASH', 'OUTCOME', 'TEST'))
);
-- Balances show cash and test assets; outcome shares, of which there will be many, are positions.
CREATE INDEX asset_shown_as_balance ON asset (asset_id) WHERE class IN ('CASH', 'TEST');
CREATE TRIGGER asset_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON asset
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
-- The service makes a new market's tokens and no other asset.
ALTER TABLE asset ENABLE ROW LEVEL SECURITY;
CREATE POLICY asset_is_seen ON asset FOR SELECT USING (true);
CREATE POLICY asset_made_is_an_outcome ON asset FOR INSERT WITH CHECK (class = 'OUTCOME');

-- A part of an account. Index 0 is the account itself and is made on its first touch.
CREATE TABLE subaccount (
    account_id uuid NOT NULL,
    subaccount_index integer NOT NULL,
    project_id uuid NOT NULL,
    -- On index 0: how many wallets the account ever made, in all its subaccounts. Raising it locks the
    -- account against another creation and yields the new wallet's position. Elsewhere 0.
    wallets_made_count integer NOT NULL,
    created_at_ns bigint NOT NULL,
    -- NULL: called after its index.
    name text,
    PRIMARY KEY (account_id, subaccount_index),
    CONSTRAINT subaccount_index_range CHECK (subaccount_index >= 0),
    CONSTRAINT subaccount_wallets_made_range CHECK (wallets_made_count >= 0),
    CONSTRAINT subaccount_name_length CHECK (char_length(name) BETWEEN 1 AND 64)
);
CREATE TRIGGER subaccount_stays BEFORE DELETE OR TRUNCATE ON subaccount
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Where money is. ACCOUNT wallets belong to an account; a RAIL wallet is the outside world behind
-- one rail, so what came in over it stands there below zero. A MARKET wallet keeps what the shares of
-- one market are backed with: its USDC is the collateral, and the shares that others hold stand in it
-- below zero. A FEES wallet takes a market's fees.
CREATE TABLE wallet (
    wallet_id uuid PRIMARY KEY,
    kind text NOT NULL,
    account_id uuid,
    subaccount_index integer,
    position integer,
    name text NOT NULL,
    pol_address text,
    autoredeem boolean NOT NULL DEFAULT false,
    created_at_ns bigint NOT NULL,
    deleted_at_ns bigint,
    CONSTRAINT wallet_kind_known CHECK (kind IN ('ACCOUNT', 'RAIL', 'MARKET', 'FEES')),
    CONSTRAINT wallet_owner_fits_kind CHECK (
        num_nonnulls(account_id, subaccount_index, position, pol_address)
        = CASE kind WHEN 'ACCOUNT' THEN 4 ELSE 0 END
    ),
    CONSTRAINT wallet_system_is_not_deleted CHECK (kind = 'ACCOUNT' OR deleted_at_ns IS NULL),
    CONSTRAINT wallet_name_length CHECK (
        char_length(name) BETWEEN 1 AND CASE kind WHEN 'ACCOUNT' THEN 64 ELSE 128 END
    ),
    CONSTRAINT wallet_position_range CHECK (position >= 1),
    CONSTRAINT wallet_pol_address_shape CHECK (pol_address ~ '^0x[0-9a-f]{40}$'),
    CONSTRAINT wallet_position_unique UNIQUE (account_id, position),
    CONSTRAINT wallet_pol_address_unique UNIQUE (pol_address),
    CONSTRAINT wallet_subaccount_exists FOREIGN KEY (account_id, subaccount_index) REFERENCES subaccount
);
CREATE UNIQUE INDEX wallet_system_name_unique ON wallet (name) WHERE kind <> 'ACCOUNT';
CREATE TRIGGER wallet_stays BEFORE DELETE OR TRUNCATE ON wallet
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER wallet_deletion_is_final BEFORE UPDATE ON wallet
    FOR EACH ROW WHEN (OLD.deleted_at_ns IS NOT NULL) EXECUTE FUNCTION refuse();
CREATE TRIGGER wallet_owner_is_fixed BEFORE UPDATE ON wallet
    FOR EACH ROW WHEN (
        (OLD.wallet_id, OLD.kind, OLD.account_id, OLD.subaccount_index, OLD.position, OLD.pol_address)
        IS DISTINCT FROM
        (NEW.wallet_id, NEW.kind, NEW.account_id, NEW.subaccount_index, NEW.position, NEW.pol_address)
    ) EXECUTE FUNCTION refuse();

-- What a wallet has of an asset: the last line of its entries, and what of it is kept back.
CREATE TABLE balance (
    wallet_id uuid NOT NULL,
    asset_id bigint NOT NULL,
    posted numeric(38, 0) NOT NULL,
    held numeric(38, 0) NOT NULL DEFAULT 0,
    -- The least that `posted - held` may be: 0, or NULL (no floor) for a rail and for the shares in a
    -- market's wallet.
    floor numeric(38, 0) DEFAULT 0,
    version bigint NOT NULL,
    PRIMARY KEY (wallet_id, asset_id),
    CONSTRAINT balance_wallet_exists FOREIGN KEY (wallet_id) REFERENCES wallet,
    CONSTRAINT balance_asset_exists FOREIGN KEY (asset_id) REFERENCES asset,
    CONSTRAINT balance_held_not_negative CHECK (held >= 0),
    CONSTRAINT balance_covers_holds CHECK (posted - held >= floor),
    -- Far inside NUMERIC(38,0), so that adding a movement cannot overflow before this refuses it.
    CONSTRAINT balance_in_range CHECK (
        posted BETWEEN -10000000000000000000000000000000000000 AND 10000000000000000000000000000000000000
    )
);
CREATE TRIGGER balance_stays BEFORE DELETE OR TRUNCATE ON balance
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER balance_identity_is_fixed BEFORE UPDATE ON balance
    FOR EACH ROW WHEN (
        (OLD.wallet_id, OLD.asset_id, OLD.floor) IS DISTINCT FROM (NEW.wallet_id, NEW.asset_id, NEW.floor)
    ) EXECUTE FUNCTION refuse();

-- One movement of money: what, on whose behalf, when. Numbers rise; a refused booking leaves a gap.
CREATE SEQUENCE txn_seq;
CREATE TABLE txn (
    seq bigint PRIMARY KEY,
    kind text NOT NULL,
    request_id uuid NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    created_at_ns bigint NOT NULL,
    CONSTRAINT txn_kind_known CHECK (
        kind IN ('DEPOSIT', 'WITHDRAWAL', 'TRANSFER', 'MINT', 'MERGE', 'REDEEM', 'TRADE')
    )
);
CREATE TRIGGER txn_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON txn
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- The legs of a txn. A balance's entries are a chain: versions 1, 2, 3 … without gap or fork, each
-- with the balance after it.
CREATE TABLE entry (
    txn_seq bigint NOT NULL,
    leg smallint NOT NULL,
    wallet_id uuid NOT NULL,
    asset_id bigint NOT NULL,
    amount numeric(38, 0) NOT NULL,
    posted_after numeric(38, 0) NOT NULL,
    version bigint NOT NULL,
    -- Trades are listed as such and not as transfers; who trades much must not have to skip them.
    is_transfer boolean NOT NULL DEFAULT true,
    PRIMARY KEY (txn_seq, leg),
    CONSTRAINT entry_txn_exists FOREIGN KEY (txn_seq) REFERENCES txn,
    CONSTRAINT entry_balance_exists FOREIGN KEY (wallet_id, asset_id) REFERENCES balance,
    CONSTRAINT entry_version_unique UNIQUE (wallet_id, asset_id, version),
    CONSTRAINT entry_leg_range CHECK (leg >= 1),
    CONSTRAINT entry_amount_not_zero CHECK (amount <> 0),
    CONSTRAINT entry_version_range CHECK (version >= 1)
);
CREATE INDEX entry_of_wallet_transfers ON entry (wallet_id, txn_seq DESC) WHERE is_transfer;
CREATE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Every statement that adds legs adds balanced ones, and continues each balance's chain.
CREATE FUNCTION check_added_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM touched GROUP BY txn_seq, asset_id HAVING sum(amount) <> 0) THEN
        RAISE EXCEPTION 'the legs of a txn do not sum to zero'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'entry_legs_sum_to_zero';
    END IF;
    IF EXISTS (
        SELECT
          FROM touched
          LEFT JOIN public.entry AS previous
            ON previous.wallet_id = touched.wallet_id
           AND previous.asset_id = touched.asset_id
           AND previous.version = touched.version - 1
         WHERE touched.version <> coalesce(previous.version, 0) + 1
            OR touched.posted_after <> coalesce(previous.posted_after, 0) + touched.amount
    ) THEN
        RAISE EXCEPTION 'an entry does not continue the chain of its balance'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'entry_continues_chain';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER entry_added AFTER INSERT ON entry REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_added_entries();

-- After every statement a balance is the last line of its entries. Triggers fire when the whole
-- statement is done, so balance and entries change in one statement or not at all.
CREATE FUNCTION check_balance_is_last_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM (SELECT DISTINCT wallet_id, asset_id FROM touched) AS pair
          LEFT JOIN public.balance USING (wallet_id, asset_id)
          LEFT JOIN LATERAL (
              SELECT entry.version, entry.posted_after
                FROM public.entry
               WHERE entry.wallet_id = pair.wallet_id AND entry.asset_id = pair.asset_id
               ORDER BY entry.version DESC
               LIMIT 1
          ) AS last ON true
         WHERE balance.version IS DISTINCT FROM last.version
            OR balance.posted IS DISTINCT FROM last.posted_after
    ) THEN
        RAISE EXCEPTION 'a balance is not the last line of its entries'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'balance_is_last_entry';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER entry_agrees_with_balance AFTER INSERT ON entry REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_balance_is_last_entry();
CREATE TRIGGER balance_update_agrees AFTER UPDATE ON balance REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_balance_is_last_entry();
CREATE TRIGGER balance_insert_agrees AFTER INSERT ON balance REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_balance_is_last_entry();

-- Only a rail may stand below zero, and a market's wallet with its shares.
CREATE FUNCTION check_balance_floor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM touched
          JOIN public.wallet USING (wallet_id)
          JOIN public.asset USING (asset_id)
         WHERE touched.floor IS DISTINCT FROM CASE
                   WHEN wallet.kind = 'RAIL' THEN NULL
                   WHEN wallet.kind = 'MARKET' AND asset.class = 'OUTCOME' THEN NULL
                   ELSE 0
               END
    ) THEN
        RAISE EXCEPTION 'the floor is not that of the wallet''s kind'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'balance_floor_fits_kind';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER balance_floor_fits_kind AFTER INSERT ON balance REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_balance_floor();

-- What of a balance is kept back, and for what. It can shrink; at zero it has ended and stays so.
CREATE TABLE hold (
    hold_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    asset_id bigint NOT NULL,
    purpose text NOT NULL,
    reference uuid NOT NULL,
    original numeric(38, 0) NOT NULL,
    remaining numeric(38, 0) NOT NULL,
    created_at_ns bigint NOT NULL,
    ended_at_ns bigint,
    CONSTRAINT hold_balance_exists FOREIGN KEY (wallet_id, asset_id) REFERENCES balance,
    CONSTRAINT hold_purpose_known CHECK (purpose IN ('ORDER', 'WITHDRAWAL')),
    -- A hold is found by the id of what it is for.
    CONSTRAINT hold_has_its_reference_as_id CHECK (hold_id = reference),
    CONSTRAINT hold_original_positive CHECK (original > 0),
    CONSTRAINT hold_remaining_range CHECK (remaining BETWEEN 0 AND original),
    CONSTRAINT hold_ends_at_zero CHECK ((remaining = 0) = (ended_at_ns IS NOT NULL))
);
CREATE INDEX hold_open_of_balance ON hold (wallet_id, asset_id) WHERE remaining > 0;
CREATE TRIGGER hold_stays BEFORE DELETE OR TRUNCATE ON hold
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER hold_only_shrinks BEFORE UPDATE ON hold
    FOR EACH ROW WHEN (NEW.remaining > OLD.remaining OR OLD.remaining = 0) EXECUTE FUNCTION refuse();
CREATE TRIGGER hold_facts_are_fixed BEFORE UPDATE ON hold
    FOR EACH ROW WHEN (
        (OLD.hold_id, OLD.wallet_id, OLD.asset_id, OLD.purpose, OLD.reference, OLD.original,
         OLD.created_at_ns)
        IS DISTINCT FROM
        (NEW.hold_id, NEW.wallet_id, NEW.asset_id, NEW.purpose, NEW.reference, NEW.original,
         NEW.created_at_ns)
    ) EXECUTE FUNCTION refuse();

-- Money that crossed the edge of the platform. A rail's reference is booked once.
CREATE TABLE funding (
    funding_id uuid PRIMARY KEY,
    kind text NOT NULL,
    rail text NOT NULL,
    external_ref text NOT NULL,
    wallet_id uuid NOT NULL,
    asset_id bigint NOT NULL,
    amount numeric(38, 0) NOT NULL,
    state text NOT NULL,
    txn_seq bigint NOT NULL,
    created_at_ns bigint NOT NULL,
    -- The balance's row, not the asset's: that one all deposits share, and a shared lock on it for
    -- each of them would make it hot.
    CONSTRAINT funding_balance_exists FOREIGN KEY (wallet_id, asset_id) REFERENCES balance,
    CONSTRAINT funding_txn_exists FOREIGN KEY (txn_seq) REFERENCES txn,
    CONSTRAINT funding_txn_unique UNIQUE (txn_seq),
    CONSTRAINT funding_reference_unique UNIQUE (rail, external_ref),
    CONSTRAINT funding_kind_known CHECK (kind IN ('DEPOSIT')),
    CONSTRAINT funding_state_known CHECK (state IN ('CONFIRMED')),
    CONSTRAINT funding_rail_shape CHECK (rail ~ '^[a-z0-9-]{1,32}$'),
    CONSTRAINT funding_reference_length CHECK (char_length(external_ref) BETWEEN 1 AND 128),
    CONSTRAINT funding_amount_positive CHECK (amount > 0)
);
CREATE TRIGGER funding_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON funding
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- When the last signed request of an account was decided. Raising it is how the next one takes its turn:
-- the signed requests of an account run one by one.
CREATE TABLE signed_account (
    account_id uuid PRIMARY KEY,
    processed_at_ns bigint NOT NULL
);

-- What became of a signed request: written in the transaction of its effect, refusals too, and never
-- changed. UUIDv7 sorts by time, so a partition is one day (UTC) of the ids' own times; the default one
-- takes what no day is there for.
CREATE TABLE request (
    account_id uuid NOT NULL,
    request_id uuid NOT NULL,
    -- 0 where the signature came in headers, and for what never ran.
    request_type integer NOT NULL,
    -- The key that signed; NULL for what never ran.
    public_key bytea,
    -- BLAKE2b of what was signed; NULL for what never ran.
    digest bytea,
    status text NOT NULL,
    processed_at_ns bigint NOT NULL,
    -- The only subaccount that it is about; NULL for the whole account.
    subaccount_index bigint,
    -- The outcome's message, serialized, without its secrets.
    outcome bytea NOT NULL,
    PRIMARY KEY (account_id, request_id),
    CONSTRAINT request_type_range CHECK (request_type BETWEEN 0 AND 65535),
    CONSTRAINT request_public_key_length CHECK (octet_length(public_key) = 32),
    CONSTRAINT request_digest_length CHECK (octet_length(digest) = 32),
    CONSTRAINT request_status_shape CHECK (status ~ '^[a-z][a-z_]{0,63}$'),
    CONSTRAINT request_subaccount_range CHECK (subaccount_index BETWEEN 0 AND 4294967294),
    CONSTRAINT request_never_ran_has_no_signer CHECK (
        (status = 'never_ran') = (public_key IS NULL) AND (public_key IS NULL) = (digest IS NULL)
    )
) PARTITION BY RANGE (request_id);
CREATE TABLE request_default PARTITION OF request DEFAULT;
-- Of statements on the whole; days are dropped and the default is swept by their own names.
CREATE TRIGGER request_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON request
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Keys that have signed for an account here, and whether they still may. A fence sets `revoked`, and
-- nothing ever clears it; every effect of a key commits with its row held FOR SHARE.
CREATE TABLE signer (
    account_id uuid NOT NULL,
    public_key bytea NOT NULL,
    revoked boolean NOT NULL,
    PRIMARY KEY (account_id, public_key),
    CONSTRAINT signer_public_key_length CHECK (octet_length(public_key) = 32)
);
CREATE TRIGGER signer_stays BEFORE DELETE OR TRUNCATE ON signer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER signer_stays_revoked BEFORE UPDATE ON signer
    FOR EACH ROW WHEN (OLD.revoked AND NOT NEW.revoked) EXECUTE FUNCTION refuse();
CREATE TRIGGER signer_identity_is_fixed BEFORE UPDATE ON signer
    FOR EACH ROW WHEN ((OLD.account_id, OLD.public_key) IS DISTINCT FROM (NEW.account_id, NEW.public_key))
    EXECUTE FUNCTION refuse();

-- Whether an account has had a master key. Then nothing unsigned sends money out of it or says where it
-- may go; whoever does so before holds the row until he commits. Nothing ever clears it.
CREATE TABLE signature_rule (
    account_id uuid PRIMARY KEY,
    required boolean NOT NULL
);
CREATE TRIGGER signature_rule_stays BEFORE DELETE OR TRUNCATE ON signature_rule
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER signature_rule_stays_required BEFORE UPDATE ON signature_rule
    FOR EACH ROW WHEN (OLD.required AND NOT NEW.required) EXECUTE FUNCTION refuse();
CREATE TRIGGER signature_rule_account_is_fixed BEFORE UPDATE ON signature_rule
    FOR EACH ROW WHEN (OLD.account_id <> NEW.account_id) EXECUTE FUNCTION refuse();

-- Takes an account's turn for one signed request and tells what decides whether it runs: when it counts as
-- decided, whether its key was revoked (NULL where the key is unknown), and what is on record under its
-- id. A function and not one statement, because a statement does not see what was committed while it
-- waited for its turn; each statement of a function does.
CREATE FUNCTION claim_request(
    claimed_account_id uuid,
    claimed_public_key bytea,
    claimed_request_id uuid,
    now_ns bigint,
    OUT processed_at_ns bigint,
    OUT revoked boolean,
    OUT recorded_public_key bytea,
    OUT recorded_digest bytea,
    OUT recorded_outcome bytea
) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.signed_account AS last (account_id, processed_at_ns)
    VALUES (claimed_account_id, now_ns)
    ON CONFLICT (account_id) DO UPDATE
       SET processed_at_ns = greatest(last.processed_at_ns + 1, excluded.processed_at_ns)
    RETURNING last.processed_at_ns INTO claim_request.processed_at_ns;
    -- Held to the end: whoever revokes the key waits for this request, or this one sees that it did.
    SELECT signer.revoked INTO claim_request.revoked
      FROM public.signer
     WHERE signer.account_id = claimed_account_id AND signer.public_key = claimed_public_key
       FOR SHARE;
    SELECT request.public_key, request.digest, request.outcome
      INTO recorded_public_key, recorded_digest, recorded_outcome
      FROM public.request
     WHERE request.account_id = claimed_account_id AND request.request_id = claimed_request_id;
END
$$;

-- Makes the partitions of the days up to a week ahead and removes what is older than seven days. For the
-- role that owns the tables.
CREATE FUNCTION maintain_requests(now_ns bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    day_ms CONSTANT bigint := 86400000;
    kept_ms CONSTANT bigint := now_ns / 1000000 - 7 * day_ms;
    first_day CONSTANT bigint := kept_ms / day_ms;
    last_day CONSTANT bigint := now_ns / 1000000 / day_ms + 7;
    partition_name text;
    lower_bound uuid;
    upper_bound uuid;
BEGIN
    FOR partition_name IN
        SELECT relname
          FROM pg_catalog.pg_inherits
          JOIN pg_catalog.pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'public.request'::regclass
           AND relname ~ '^request_[0-9]{8}$'
           AND to_date(right(relname, 8), 'YYYYMMDD') - date '1970-01-01' < first_day
    LOOP
        EXECUTE format('DROP TABLE public.%I', partition_name);
    END LOOP;
    DELETE FROM public.request_default
     WHERE request_id < (lpad(to_hex(kept_ms), 12, '0') || repeat('0', 20))::uuid;
    FOR day IN first_day .. last_day LOOP
        partition_name := 'request_' || to_char(date '1970-01-01' + day::integer, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('public.' || partition_name) IS NOT NULL;
        lower_bound := (lpad(to_hex(day * day_ms), 12, '0') || repeat('0', 20))::uuid;
        upper_bound := (lpad(to_hex((day + 1) * day_ms), 12, '0') || repeat('0', 20))::uuid;
        -- Nobody adds to the default while its rows of that day go where they belong.
        LOCK TABLE public.request_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE public.%I (LIKE public.request INCLUDING ALL)', partition_name);
        EXECUTE format(
            'WITH moved AS (DELETE FROM public.request_default WHERE request_id >= %L AND request_id < %L'
            ' RETURNING *) INSERT INTO public.%I SELECT * FROM moved',
            lower_bound, upper_bound, partition_name
        );
        EXECUTE format(
            'ALTER TABLE public.request ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
            partition_name, lower_bound, upper_bound
        );
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION maintain_requests(bigint) FROM PUBLIC;
-- What a request with an idempotency key was answered, to be answered again and never run again. Written
-- in the transaction of the effect; of no more use after a day, and removed then.
CREATE TABLE idempotency (
    project_id uuid NOT NULL,
    -- NULL where the method acts on no account.
    account_id uuid,
    method text NOT NULL,
    idempotency_key text NOT NULL,
    -- BLAKE2b of what was asked: another request under the same key is refused.
    digest bytea NOT NULL,
    -- `OK`, or the code of the refusal.
    outcome text NOT NULL,
    -- The response without its secrets, or the google.rpc.Status of the refusal.
    answer bytea NOT NULL,
    created_at_ns bigint NOT NULL,
    -- What tells most comes first, because NULL accounts are not looked up by index.
    CONSTRAINT idempotency_key_is_unique
        UNIQUE NULLS NOT DISTINCT (idempotency_key, method, project_id, account_id),
    CONSTRAINT idempotency_key_is_short CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_digest_has_32_bytes CHECK (octet_length(digest) = 32)
);

-- The oldest, to be removed.
CREATE INDEX idempotency_by_age ON idempotency (created_at_ns);

-- Who did what that security or money hangs on. Making and closing a market is nobody's account's.
CREATE TABLE audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns bigint NOT NULL,
    project_id uuid,
    account_id uuid,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    request_id uuid NOT NULL,
    CONSTRAINT audit_account_has_project CHECK (num_nonnulls(project_id, account_id) IN (0, 2))
);
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Markets, orders and what they traded. Shares and USDC both count in millionths, and a price is
-- millionths of a USDC a share: a price of 1000000 is certainty.
--
-- Everything about one market's book is written under the lock on its row.

-- What one or more markets ask about.
CREATE TABLE event (
    event_id uuid PRIMARY KEY,
    title text NOT NULL,
    slug text NOT NULL,
    description text NOT NULL,
    image text NOT NULL,
    tags text[] NOT NULL,
    labels text[] NOT NULL,
    created_at_ns bigint NOT NULL,
    updated_at_ns bigint NOT NULL,
    ends_at_ns bigint,
    CONSTRAINT event_title_length CHECK (char_length(title) BETWEEN 1 AND 256),
    CONSTRAINT event_tags_count CHECK (cardinality(tags) <= 16 AND cardinality(labels) <= 16)
);
CREATE TRIGGER event_stays BEFORE DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- A question with two outcomes. Its terms never change; the row is what everybody who touches the
-- market's book locks first.
CREATE TABLE market (
    market_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    condition_id text NOT NULL,
    event_id uuid NOT NULL,
    question text NOT NULL,
    outcome text NOT NULL,
    slug text NOT NULL,
    description text NOT NULL,
    image text NOT NULL,
    left_outcome text NOT NULL,
    right_outcome text NOT NULL,
    left_asset_id bigint NOT NULL,
    right_asset_id bigint NOT NULL,
    collateral_wallet_id uuid NOT NULL,
    fees_wallet_id uuid NOT NULL,
    tick integer NOT NULL,
    lot bigint NOT NULL,
    min_shares bigint NOT NULL,
    maker_fee_bps integer NOT NULL,
    taker_fee_bps integer NOT NULL,
    status text NOT NULL,
    -- Rises with each change of the book; an order's place in time is the number it was placed at.
    seq bigint NOT NULL DEFAULT 0,
    -- Of the left outcome, at the last trade.
    last_price integer,
    volume numeric(38, 0) NOT NULL DEFAULT 0,
    created_at_ns bigint NOT NULL,
    updated_at_ns bigint NOT NULL,
    ends_at_ns bigint,
    CONSTRAINT market_condition_id_unique UNIQUE (condition_id),
    CONSTRAINT market_condition_id_shape CHECK (condition_id ~ '^0x[0-9a-f]{64}$'),
    CONSTRAINT market_event_exists FOREIGN KEY (event_id) REFERENCES event,
    CONSTRAINT market_left_asset_exists FOREIGN KEY (left_asset_id) REFERENCES asset,
    CONSTRAINT market_right_asset_exists FOREIGN KEY (right_asset_id) REFERENCES asset,
    CONSTRAINT market_left_asset_unique UNIQUE (left_asset_id),
    CONSTRAINT market_right_asset_unique UNIQUE (right_asset_id),
    CONSTRAINT market_outcomes_differ CHECK (left_asset_id <> right_asset_id AND left_outcome <> right_outcome),
    CONSTRAINT market_collateral_wallet_exists FOREIGN KEY (collateral_wallet_id) REFERENCES wallet,
    CONSTRAINT market_fees_wallet_exists FOREIGN KEY (fees_wallet_id) REFERENCES wallet,
    CONSTRAINT market_question_length CHECK (char_length(question) BETWEEN 1 AND 256),
    -- Price times shares is then always a whole number of millionths: no fill is ever rounded.
    CONSTRAINT market_tick_divides_one CHECK (tick BETWEEN 1 AND 500000 AND 1000000 % tick = 0),
    CONSTRAINT market_lot_fits_tick CHECK (lot >= 1 AND tick::numeric * lot % 1000000 = 0),
    CONSTRAINT market_minimum_is_in_lots CHECK (min_shares >= lot AND min_shares % lot = 0),
    CONSTRAINT market_fee_range CHECK (
        maker_fee_bps BETWEEN 0 AND 1000 AND taker_fee_bps BETWEEN 0 AND 1000
    ),
    CONSTRAINT market_status_known CHECK (status IN ('OPEN', 'CLOSED')),
    CONSTRAINT market_last_price_range CHECK (last_price BETWEEN 1 AND 999999),
    CONSTRAINT market_volume_range CHECK (volume >= 0)
);
CREATE INDEX market_of_event ON market (event_id);
CREATE TRIGGER market_stays BEFORE DELETE OR TRUNCATE ON market
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER market_closing_is_final BEFORE UPDATE ON market
    FOR EACH ROW WHEN (OLD.status = 'CLOSED' AND NEW.status <> 'CLOSED') EXECUTE FUNCTION refuse();
CREATE TRIGGER market_seq_only_rises BEFORE UPDATE ON market
    FOR EACH ROW WHEN (NEW.seq < OLD.seq OR NEW.volume < OLD.volume) EXECUTE FUNCTION refuse();
CREATE TRIGGER market_terms_are_fixed BEFORE UPDATE ON market
    FOR EACH ROW WHEN (
        (OLD.market_id, OLD.condition_id, OLD.event_id, OLD.left_asset_id, OLD.right_asset_id,
         OLD.collateral_wallet_id, OLD.fees_wallet_id, OLD.tick, OLD.lot, OLD.min_shares,
         OLD.maker_fee_bps, OLD.taker_fee_bps, OLD.created_at_ns)
        IS DISTINCT FROM
        (NEW.market_id, NEW.condition_id, NEW.event_id, NEW.left_asset_id, NEW.right_asset_id,
         NEW.collateral_wallet_id, NEW.fees_wallet_id, NEW.tick, NEW.lot, NEW.min_shares,
         NEW.maker_fee_bps, NEW.taker_fee_bps, NEW.created_at_ns)
    ) EXECUTE FUNCTION refuse();

-- An order. Prices are of its own outcome; where it stands in the book follows from them.
CREATE TABLE ord (
    order_id uuid PRIMARY KEY,
    market_id bigint NOT NULL,
    seq bigint NOT NULL,
    wallet_id uuid NOT NULL,
    -- The wallet's: who does not trade with himself.
    account_id uuid NOT NULL,
    asset_id bigint NOT NULL,
    outcome text NOT NULL,
    side text NOT NULL,
    type text NOT NULL,
    time_in_force text NOT NULL,
    -- As it was asked for.
    amount numeric(38, 0) NOT NULL,
    units text NOT NULL,
    -- The limit; of a MARKET order the worst price that it takes, NULL for any.
    price integer,
    -- What it is for, less than it was asked for once it was lowered; of a MARKET order in USDC what it got.
    shares numeric(38, 0) NOT NULL,
    filled numeric(38, 0) NOT NULL,
    -- What its fills were worth: price times shares.
    notional numeric(38, 0) NOT NULL,
    -- That worth times the basis points it cost, and the fee that it makes in USDC.
    fee_accrued numeric(38, 0) NOT NULL,
    fee_charged numeric(38, 0) NOT NULL,
    status text NOT NULL,
    client_order_id text,
    expires_at_ns bigint,
    created_at_ns bigint NOT NULL,
    updated_at_ns bigint NOT NULL,
    book_side text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN (side = 'BUY') = (outcome = 'LEFT') THEN 'BID' ELSE 'ASK' END
    ) STORED,
    -- Its price of the left outcome, negative for a bid: the least comes first on either side.
    book_rank integer GENERATED ALWAYS AS (
        CASE
            WHEN side = 'BUY' AND outcome = 'LEFT' THEN -price
            WHEN side = 'SELL' AND outcome = 'RIGHT' THEN price - 1000000
            WHEN side = 'SELL' THEN price
            ELSE 1000000 - price
        END
    ) STORED,
    post_only boolean NOT NULL,
    -- The signed request that placed it, and when that counts as decided: an order answers for its
    -- request when that is no longer on record. NULL for an order that nobody signed.
    request_id uuid,
    processed_at_ns bigint,
    -- The order in whose stead it was placed, which ended with that.
    replaced_order_id uuid,
    CONSTRAINT ord_market_exists FOREIGN KEY (market_id) REFERENCES market,
    CONSTRAINT ord_wallet_exists FOREIGN KEY (wallet_id) REFERENCES wallet,
    CONSTRAINT ord_asset_exists FOREIGN KEY (asset_id) REFERENCES asset,
    CONSTRAINT ord_seq_unique UNIQUE (market_id, seq),
    CONSTRAINT ord_client_order_id_unique UNIQUE (wallet_id, client_order_id),
    CONSTRAINT ord_client_order_id_shape CHECK (client_order_id ~ '^[A-Za-z0-9._:-]{1,64}$'),
    CONSTRAINT ord_outcome_known CHECK (outcome IN ('LEFT', 'RIGHT')),
    CONSTRAINT ord_side_known CHECK (side IN ('BUY', 'SELL')),
    CONSTRAINT ord_type_known CHECK (type IN ('MARKET', 'LIMIT')),
    CONSTRAINT ord_time_in_force_fits_type CHECK (
        time_in_force IN ('FOK', 'FAK') OR (type = 'LIMIT' AND time_in_force IN ('GTC', 'GTD'))
    ),
    CONSTRAINT ord_units_known CHECK (units IN ('USDC', 'SHARES')),
    CONSTRAINT ord_amount_positive CHECK (amount > 0),
    CONSTRAINT ord_limit_has_price CHECK (type = 'MARKET' OR price IS NOT NULL),
    CONSTRAINT ord_price_range CHECK (price BETWEEN 1 AND 999999),
    CONSTRAINT ord_filled_range CHECK (filled BETWEEN 0 AND shares),
    CONSTRAINT ord_notional_fits_filled CHECK (notional >= 0 AND (notional = 0) = (filled = 0)),
    -- Many small fills cost what one would: the sum is rounded up, and never a part of it.
    CONSTRAINT ord_fee_is_sum_rounded_up CHECK (
        fee_accrued >= 0 AND fee_charged = div(fee_accrued + 9999, 10000)
    ),
    CONSTRAINT ord_status_known CHECK (
        status IN ('OPEN', 'PARTIAL', 'FILLED', 'CANCELED', 'EXPIRED')
    ),
    CONSTRAINT ord_status_fits_filled CHECK (
        CASE status
            WHEN 'OPEN' THEN filled = 0
            WHEN 'PARTIAL' THEN filled > 0 AND filled < shares
            WHEN 'FILLED' THEN filled > 0
            ELSE true
        END
    ),
    CONSTRAINT ord_only_waiting_kinds_rest CHECK (
        status NOT IN ('OPEN', 'PARTIAL') OR time_in_force IN ('GTC', 'GTD')
    ),
    CONSTRAINT ord_expires_if_good_till_date CHECK (
        (time_in_force = 'GTD') = (expires_at_ns IS NOT NULL)
        AND (status <> 'EXPIRED' OR time_in_force = 'GTD')
    ),
    CONSTRAINT ord_replaced_exists FOREIGN KEY (replaced_order_id) REFERENCES ord,
    CONSTRAINT ord_replaced_is_another CHECK (replaced_order_id <> order_id),
    CONSTRAINT ord_request_has_its_time CHECK ((request_id IS NULL) = (processed_at_ns IS NULL))
);
CREATE UNIQUE INDEX ord_request_unique ON ord (account_id, request_id) WHERE request_id IS NOT NULL;
CREATE UNIQUE INDEX ord_replaced_once ON ord (replaced_order_id) WHERE replaced_order_id IS NOT NULL;
CREATE INDEX ord_resting_best_first ON ord (market_id, book_side, book_rank, seq)
    WHERE status IN ('OPEN', 'PARTIAL');
CREATE INDEX ord_open_of_wallet ON ord (wallet_id, created_at_ns)
    WHERE status IN ('OPEN', 'PARTIAL');
CREATE INDEX ord_of_wallet ON ord (wallet_id, created_at_ns);
CREATE INDEX ord_expiring ON ord (expires_at_ns)
    WHERE status IN ('OPEN', 'PARTIAL') AND expires_at_ns IS NOT NULL;
CREATE TRIGGER ord_stays BEFORE DELETE OR TRUNCATE ON ord
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER ord_terminal_is_frozen BEFORE UPDATE ON ord
    FOR EACH ROW WHEN (OLD.status NOT IN ('OPEN', 'PARTIAL')) EXECUTE FUNCTION refuse();
CREATE TRIGGER ord_filled_only_grows BEFORE UPDATE ON ord
    FOR EACH ROW WHEN (
        NEW.filled < OLD.filled OR NEW.notional < OLD.notional OR NEW.fee_accrued < OLD.fee_accrued
    ) EXECUTE FUNCTION refuse();
CREATE TRIGGER ord_facts_are_fixed BEFORE UPDATE ON ord
    FOR EACH ROW WHEN (
        (OLD.order_id, OLD.market_id, OLD.seq, OLD.wallet_id, OLD.account_id, OLD.asset_id, OLD.outcome,
         OLD.side, OLD.type, OLD.time_in_force, OLD.amount, OLD.units, OLD.price, OLD.client_order_id,
         OLD.expires_at_ns, OLD.created_at_ns, OLD.post_only, OLD.request_id, OLD.processed_at_ns,
         OLD.replaced_order_id)
        IS DISTINCT FROM
        (NEW.order_id, NEW.market_id, NEW.seq, NEW.wallet_id, NEW.account_id, NEW.asset_id, NEW.outcome,
         NEW.side, NEW.type, NEW.time_in_force, NEW.amount, NEW.units, NEW.price, NEW.client_order_id,
         NEW.expires_at_ns, NEW.created_at_ns, NEW.post_only, NEW.request_id, NEW.processed_at_ns,
         NEW.replaced_order_id)
    ) EXECUTE FUNCTION refuse();
-- While it rests an order can be lowered; it keeps its place then.
CREATE TRIGGER ord_shares_only_shrink BEFORE UPDATE ON ord
    FOR EACH ROW WHEN (
        NEW.shares > OLD.shares
        OR (NEW.shares < OLD.shares AND (NEW.filled <> OLD.filled OR NEW.status <> OLD.status))
    ) EXECUTE FUNCTION refuse();

-- What one order got of another; every match makes two, one for each. An order's fills are a chain:
-- each begins where the one before ended.
CREATE TABLE fill (
    order_id uuid NOT NULL,
    -- How much of the order was filled before.
    filled_before numeric(38, 0) NOT NULL,
    wallet_id uuid NOT NULL,
    txn_seq bigint NOT NULL,
    -- The number of the match within its txn.
    number smallint NOT NULL,
    role text NOT NULL,
    price integer NOT NULL,
    shares numeric(38, 0) NOT NULL,
    notional numeric(38, 0) NOT NULL,
    -- What it added to the order's fee.
    fee numeric(38, 0) NOT NULL,
    created_at_ns bigint NOT NULL,
    PRIMARY KEY (order_id, filled_before),
    CONSTRAINT fill_order_exists FOREIGN KEY (order_id) REFERENCES ord,
    CONSTRAINT fill_txn_exists FOREIGN KEY (txn_seq) REFERENCES txn,
    CONSTRAINT fill_role_known CHECK (role IN ('MAKER', 'TAKER')),
    CONSTRAINT fill_price_range CHECK (price BETWEEN 1 AND 999999),
    CONSTRAINT fill_shares_positive CHECK (shares > 0),
    CONSTRAINT fill_is_not_rounded CHECK (price * shares = notional * 1000000),
    CONSTRAINT fill_fee_range CHECK (fee >= 0)
);
CREATE INDEX fill_of_wallet ON fill (wallet_id, txn_seq, number);
CREATE TRIGGER fill_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fill
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Every fill begins where the order's fill before it ended, and the order ends where its last does.
CREATE FUNCTION check_added_fills() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM touched
          JOIN public.ord USING (order_id)
          LEFT JOIN LATERAL (
              SELECT fill.filled_before + fill.shares AS ending
                FROM public.fill
               WHERE fill.order_id = touched.order_id AND fill.filled_before < touched.filled_before
               ORDER BY fill.filled_before DESC
               LIMIT 1
          ) AS previous ON true
         WHERE touched.filled_before <> coalesce(previous.ending, 0)
            OR touched.wallet_id <> ord.wallet_id
    ) THEN
        RAISE EXCEPTION 'a fill does not continue those of its order'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'fill_continues_chain';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER fill_added AFTER INSERT ON fill REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_added_fills();

-- After every statement an order is what its fills say, and has an open hold exactly while it rests.
CREATE FUNCTION check_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM touched
          JOIN public.ord USING (order_id)
          LEFT JOIN LATERAL (
              SELECT fill.filled_before + fill.shares AS ending
                FROM public.fill
               WHERE fill.order_id = ord.order_id
               ORDER BY fill.filled_before DESC
               LIMIT 1
          ) AS last ON true
         WHERE ord.filled <> coalesce(last.ending, 0)
    ) THEN
        RAISE EXCEPTION 'an order is not filled as its fills say'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ord_filled_is_sum_of_fills';
    END IF;
    IF EXISTS (
        SELECT
          FROM touched
          JOIN public.ord USING (order_id)
          LEFT JOIN public.hold ON hold.hold_id = ord.order_id AND hold.remaining > 0
         WHERE (ord.status IN ('OPEN', 'PARTIAL')) <> (hold.wallet_id IS NOT DISTINCT FROM ord.wallet_id)
            OR (ord.status NOT IN ('OPEN', 'PARTIAL') AND hold.hold_id IS NOT NULL)
    ) THEN
        RAISE EXCEPTION 'an order rests without an open hold, or has one and does not rest'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'ord_rests_with_hold';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER ord_added AFTER INSERT ON ord REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_orders();
CREATE TRIGGER ord_changed AFTER UPDATE ON ord REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_orders();
CREATE TRIGGER fill_agrees_with_order AFTER INSERT ON fill REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_orders();

-- A hold for an order is that order's, and ends with it.
CREATE FUNCTION check_order_holds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM touched
          LEFT JOIN public.ord ON ord.order_id = touched.reference
         WHERE touched.purpose = 'ORDER'
           AND (
               ord.wallet_id IS DISTINCT FROM touched.wallet_id
               OR (ord.status IN ('OPEN', 'PARTIAL')) <> (touched.remaining > 0)
           )
    ) THEN
        RAISE EXCEPTION 'a hold is not that of a resting order'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'hold_is_of_resting_order';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER hold_added AFTER INSERT ON hold REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_order_holds();
CREATE TRIGGER hold_changed AFTER UPDATE ON hold REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_order_holds();

-- What the shares of a balance cost, without fees, and what was earned with those that are gone.
CREATE TABLE position (
    wallet_id uuid NOT NULL,
    asset_id bigint NOT NULL,
    cost numeric(38, 0) NOT NULL,
    realized numeric(38, 0) NOT NULL,
    created_at_ns bigint NOT NULL,
    updated_at_ns bigint NOT NULL,
    PRIMARY KEY (wallet_id, asset_id),
    CONSTRAINT position_balance_exists FOREIGN KEY (wallet_id, asset_id) REFERENCES balance,
    CONSTRAINT position_cost_not_negative CHECK (cost >= 0)
);
CREATE TRIGGER position_stays BEFORE DELETE OR TRUNCATE ON position
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER position_identity_is_fixed BEFORE UPDATE ON position
    FOR EACH ROW WHEN (
        (OLD.wallet_id, OLD.asset_id, OLD.created_at_ns) IS DISTINCT FROM
        (NEW.wallet_id, NEW.asset_id, NEW.created_at_ns)
    ) EXECUTE FUNCTION refuse();

-- Addresses that an account may withdraw to. One is live until it is removed; adding it anew makes
-- another row, with a wait of its own.
CREATE TABLE destination (
    destination_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    chain text NOT NULL,
    address text NOT NULL,
    usable_at_ns bigint NOT NULL,
    -- Who added it.
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    created_at_ns bigint NOT NULL,
    removed_at_ns bigint,
    CONSTRAINT destination_chain_known CHECK (chain IN ('POL')),
    CONSTRAINT destination_address_shape CHECK (address ~ '^0x[0-9a-f]{40}$'),
    CONSTRAINT destination_waits CHECK (usable_at_ns >= created_at_ns),
    -- What a withdrawal repeats of it.
    CONSTRAINT destination_facts_unique UNIQUE (destination_id, account_id, chain, address)
);
CREATE UNIQUE INDEX destination_live_unique ON destination (account_id, chain, address)
    WHERE removed_at_ns IS NULL;
CREATE TRIGGER destination_stays BEFORE DELETE OR TRUNCATE ON destination
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER destination_removal_is_final BEFORE UPDATE ON destination
    FOR EACH ROW WHEN (OLD.removed_at_ns IS NOT NULL) EXECUTE FUNCTION refuse();
CREATE TRIGGER destination_facts_are_fixed BEFORE UPDATE ON destination
    FOR EACH ROW WHEN (
        (OLD.destination_id, OLD.account_id, OLD.chain, OLD.address, OLD.usable_at_ns, OLD.actor_kind,
         OLD.actor_id, OLD.created_at_ns)
        IS DISTINCT FROM
        (NEW.destination_id, NEW.account_id, NEW.chain, NEW.address, NEW.usable_at_ns, NEW.actor_kind,
         NEW.actor_id, NEW.created_at_ns)
    ) EXECUTE FUNCTION refuse();

-- Money on its way out. While it is PENDING or SENT its hold keeps it back; with CONFIRMED it has left
-- the wallet, and with FAILED or REJECTED it is free again.
CREATE TABLE withdrawal (
    withdrawal_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    asset_id bigint NOT NULL,
    amount numeric(38, 0) NOT NULL,
    destination_id uuid NOT NULL,
    chain text NOT NULL,
    address text NOT NULL,
    rail text NOT NULL,
    -- The rail's own name of the payment.
    external_ref text,
    state text NOT NULL,
    -- The movement by which the money left.
    txn_seq bigint,
    created_at_ns bigint NOT NULL,
    updated_at_ns bigint NOT NULL,
    CONSTRAINT withdrawal_balance_exists FOREIGN KEY (wallet_id, asset_id) REFERENCES balance,
    CONSTRAINT withdrawal_destination_is_the_accounts FOREIGN KEY (destination_id, account_id, chain, address)
        REFERENCES destination (destination_id, account_id, chain, address),
    CONSTRAINT withdrawal_txn_exists FOREIGN KEY (txn_seq) REFERENCES txn,
    CONSTRAINT withdrawal_txn_unique UNIQUE (txn_seq),
    -- Nothing is paid twice under one name.
    CONSTRAINT withdrawal_reference_unique UNIQUE (rail, external_ref),
    CONSTRAINT withdrawal_amount_positive CHECK (amount > 0),
    CONSTRAINT withdrawal_rail_shape CHECK (rail ~ '^[a-z0-9-]{1,32}$'),
    CONSTRAINT withdrawal_reference_length CHECK (char_length(external_ref) BETWEEN 1 AND 128),
    CONSTRAINT withdrawal_state_known CHECK (
        state IN ('PENDING', 'SENT', 'CONFIRMED', 'FAILED', 'REJECTED')
    ),
    CONSTRAINT withdrawal_reference_fits_state CHECK (
        CASE
            WHEN state IN ('SENT', 'CONFIRMED') THEN external_ref IS NOT NULL
            WHEN state IN ('PENDING', 'REJECTED') THEN external_ref IS NULL
            ELSE true
        END
    ),
    CONSTRAINT withdrawal_confirmed_has_txn CHECK ((state = 'CONFIRMED') = (txn_seq IS NOT NULL))
);
CREATE INDEX withdrawal_open ON withdrawal (created_at_ns, withdrawal_id)
    WHERE state IN ('PENDING', 'SENT');
CREATE INDEX withdrawal_of_wallet ON withdrawal (wallet_id, created_at_ns, withdrawal_id);
-- What counts against an account's limit.
CREATE INDEX withdrawal_counted_of_account ON withdrawal (account_id, asset_id, created_at_ns)
    WHERE state NOT IN ('FAILED', 'REJECTED');
CREATE TRIGGER withdrawal_stays BEFORE DELETE OR TRUNCATE ON withdrawal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER withdrawal_begins_pending BEFORE INSERT ON withdrawal
    FOR EACH ROW WHEN (NEW.state <> 'PENDING') EXECUTE FUNCTION refuse();
CREATE TRIGGER withdrawal_moves_on BEFORE UPDATE ON withdrawal
    FOR EACH ROW WHEN (
        (OLD.state, NEW.state) NOT IN (
            ('PENDING', 'SENT'), ('PENDING', 'FAILED'), ('PENDING', 'REJECTED'),
            ('SENT', 'CONFIRMED'), ('SENT', 'FAILED')
        )
    ) EXECUTE FUNCTION refuse();
CREATE TRIGGER withdrawal_reference_comes_once BEFORE UPDATE ON withdrawal
    FOR EACH ROW WHEN (
        OLD.external_ref IS DISTINCT FROM NEW.external_ref AND NEW.state <> 'SENT'
    ) EXECUTE FUNCTION refuse();
CREATE TRIGGER withdrawal_facts_are_fixed BEFORE UPDATE ON withdrawal
    FOR EACH ROW WHEN (
        (OLD.withdrawal_id, OLD.account_id, OLD.wallet_id, OLD.asset_id, OLD.amount, OLD.destination_id,
         OLD.chain, OLD.address, OLD.rail, OLD.created_at_ns)
        IS DISTINCT FROM
        (NEW.withdrawal_id, NEW.account_id, NEW.wallet_id, NEW.asset_id, NEW.amount, NEW.destination_id,
         NEW.chain, NEW.address, NEW.rail, NEW.created_at_ns)
    ) EXECUTE FUNCTION refuse();

-- A withdrawal begins only to an address that is live and has waited, out of a wallet of its account.
-- The lock makes a removal that is under way decide first, and the next one wait.
CREATE FUNCTION check_new_withdrawal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM
       FROM public.destination
      WHERE destination_id = NEW.destination_id
        AND removed_at_ns IS NULL
        AND usable_at_ns <= NEW.created_at_ns
        FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a withdrawal to an address that cannot be used'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'withdrawal_destination_is_usable';
    END IF;
    PERFORM
       FROM public.wallet
      WHERE wallet_id = NEW.wallet_id AND account_id = NEW.account_id AND deleted_at_ns IS NULL
        FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a withdrawal out of another account''s wallet, or a deleted one'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'withdrawal_wallet_is_the_accounts';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER withdrawal_can_begin BEFORE INSERT ON withdrawal
    FOR EACH ROW EXECUTE FUNCTION check_new_withdrawal();

-- After every statement a withdrawal's hold keeps its whole amount while it is on its way and nothing
-- after that, and the txn of a confirmed one took just that out of the wallet.
CREATE FUNCTION check_withdrawals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM touched
          JOIN public.withdrawal USING (withdrawal_id)
          LEFT JOIN public.hold ON hold.hold_id = withdrawal.withdrawal_id
         WHERE (hold.purpose, hold.wallet_id, hold.asset_id, hold.original)
               IS DISTINCT FROM
               ('WITHDRAWAL', withdrawal.wallet_id, withdrawal.asset_id, withdrawal.amount)
            OR hold.remaining <> CASE
                   WHEN withdrawal.state IN ('PENDING', 'SENT') THEN withdrawal.amount
                   ELSE 0
               END
    ) THEN
        RAISE EXCEPTION 'a withdrawal and its hold do not agree'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'withdrawal_agrees_with_hold';
    END IF;
    IF EXISTS (
        SELECT
          FROM touched
          JOIN public.withdrawal USING (withdrawal_id)
          LEFT JOIN public.txn ON txn.seq = withdrawal.txn_seq AND txn.kind = 'WITHDRAWAL'
          LEFT JOIN public.entry
            ON entry.txn_seq = txn.seq
           AND entry.wallet_id = withdrawal.wallet_id
           AND entry.asset_id = withdrawal.asset_id
         WHERE withdrawal.state = 'CONFIRMED' AND entry.amount IS DISTINCT FROM -withdrawal.amount
    ) THEN
        RAISE EXCEPTION 'a confirmed withdrawal did not leave its wallet'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'withdrawal_confirmed_has_left';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER withdrawal_added AFTER INSERT ON withdrawal REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_withdrawals();
CREATE TRIGGER withdrawal_changed AFTER UPDATE ON withdrawal REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_withdrawals();

-- A hold for a withdrawal keeps its whole amount exactly while it is on its way.
CREATE FUNCTION check_withdrawal_holds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM touched
          LEFT JOIN public.withdrawal ON withdrawal.withdrawal_id = touched.reference
         WHERE touched.purpose = 'WITHDRAWAL'
           AND (
               (withdrawal.wallet_id, withdrawal.asset_id, withdrawal.amount)
               IS DISTINCT FROM (touched.wallet_id, touched.asset_id, touched.original)
               OR touched.remaining <> CASE
                      WHEN withdrawal.state IN ('PENDING', 'SENT') THEN withdrawal.amount
                      ELSE 0
                  END
           )
    ) THEN
        RAISE EXCEPTION 'a hold is not that of a withdrawal on its way'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'hold_is_of_open_withdrawal';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER hold_of_withdrawal_added AFTER INSERT ON hold REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_withdrawal_holds();
CREATE TRIGGER hold_of_withdrawal_changed AFTER UPDATE ON hold REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION check_withdrawal_holds();

-- Collateral.
INSERT INTO asset (code, scale, class) VALUES ('USDC', 6, 'CASH');

-- The service's rights: nothing that is not named here.
GRANT SELECT ON asset TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (wallets_made_count) ON subaccount TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (name, autoredeem, deleted_at_ns) ON wallet TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (posted, held, version) ON balance TO sealgate_wallet;
GRANT SELECT, INSERT ON txn, entry, funding TO sealgate_wallet;
GRANT INSERT ON audit TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (remaining, ended_at_ns) ON hold TO sealgate_wallet;
GRANT USAGE ON SEQUENCE txn_seq TO sealgate_wallet;
-- A record is removed and never changed: the right to update is what locking one asks for.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at_ns) ON idempotency TO sealgate_wallet;
GRANT INSERT (code, scale, class) ON asset TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (updated_at_ns) ON event TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (status, seq, last_price, volume, updated_at_ns) ON market TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (shares, filled, notional, fee_accrued, fee_charged, status, updated_at_ns)
   ON ord TO sealgate_wallet;
GRANT SELECT, INSERT ON fill TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (cost, realized, updated_at_ns) ON position TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (processed_at_ns) ON signed_account TO sealgate_wallet;
GRANT SELECT, INSERT ON request TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (revoked) ON signer TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (required) ON signature_rule TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (removed_at_ns) ON destination TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (external_ref, state, txn_seq, updated_at_ns) ON withdrawal TO sealgate_wallet;

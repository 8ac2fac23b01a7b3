-- The ledger. Amounts are NUMERIC(38,0) in the asset's smallest unit; times are Unix nanoseconds.
--
-- The owner role runs this file; the service's role gets exactly the rights at its end. What a
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

-- A part of an account. Index 0 is the account itself and is made on its first touch.
CREATE TABLE subaccount (
    account_id uuid NOT NULL,
    subaccount_index integer NOT NULL,
    project_id uuid NOT NULL,
    -- On index 0: how many wallets the account ever made. Raising it locks the account against
    -- another creation and yields the new wallet's position.
    wallets_made_count integer NOT NULL,
    created_at_ns bigint NOT NULL,
    PRIMARY KEY (account_id, subaccount_index),
    CONSTRAINT subaccount_index_range CHECK (subaccount_index >= 0),
    CONSTRAINT subaccount_wallets_made_range CHECK (wallets_made_count >= 0)
);
CREATE TRIGGER subaccount_stays BEFORE DELETE OR TRUNCATE ON subaccount
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Where money is. ACCOUNT wallets belong to an account; a RAIL wallet is the outside world behind
-- one rail, so what came in over it stands there below zero.
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
    CONSTRAINT wallet_kind_known CHECK (kind IN ('ACCOUNT', 'RAIL')),
    CONSTRAINT wallet_owner_fits_kind CHECK (
        num_nonnulls(account_id, subaccount_index, position, pol_address)
        = CASE kind WHEN 'ACCOUNT' THEN 4 ELSE 0 END
    ),
    CONSTRAINT wallet_system_is_not_deleted CHECK (kind = 'ACCOUNT' OR deleted_at_ns IS NULL),
    CONSTRAINT wallet_name_length CHECK (char_length(name) BETWEEN 1 AND 64),
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
    -- The least that `posted - held` may be: 0, or NULL (no floor) for a rail.
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
    PRIMARY KEY (txn_seq, leg),
    CONSTRAINT entry_txn_exists FOREIGN KEY (txn_seq) REFERENCES txn,
    CONSTRAINT entry_balance_exists FOREIGN KEY (wallet_id, asset_id) REFERENCES balance,
    CONSTRAINT entry_version_unique UNIQUE (wallet_id, asset_id, version),
    CONSTRAINT entry_leg_range CHECK (leg >= 1),
    CONSTRAINT entry_amount_not_zero CHECK (amount <> 0),
    CONSTRAINT entry_version_range CHECK (version >= 1)
);
CREATE INDEX entry_of_wallet_newest ON entry (wallet_id, txn_seq DESC);
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

-- Only a rail may stand below zero.
CREATE FUNCTION check_balance_floor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT
          FROM touched
          JOIN public.wallet USING (wallet_id)
         WHERE touched.floor IS DISTINCT FROM CASE WHEN wallet.kind = 'RAIL' THEN NULL ELSE 0 END
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
    CONSTRAINT hold_reference_unique UNIQUE (purpose, reference),
    CONSTRAINT hold_purpose_known CHECK (purpose IN ('ORDER', 'WITHDRAWAL')),
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

-- What was asked once and is answered again, never run again: by the id of a signed request, or by
-- a method's idempotency key. Commits with the effect.
CREATE TABLE request (
    account_id uuid NOT NULL,
    method text NOT NULL,
    request_id uuid,
    idempotency_key text,
    digest bytea NOT NULL,
    outcome text NOT NULL,
    answer bytea NOT NULL,
    created_at_ns bigint NOT NULL,
    CONSTRAINT request_has_one_key CHECK (num_nonnulls(request_id, idempotency_key) = 1),
    CONSTRAINT request_id_unique UNIQUE (account_id, request_id),
    CONSTRAINT request_idempotency_key_unique UNIQUE (account_id, method, idempotency_key),
    CONSTRAINT request_idempotency_key_length CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
    CONSTRAINT request_digest_length CHECK (octet_length(digest) = 32)
);
CREATE TRIGGER request_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON request
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Who did what that security or money hangs on.
CREATE TABLE audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns bigint NOT NULL,
    project_id uuid NOT NULL,
    account_id uuid NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    request_id uuid NOT NULL
);
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Collateral.
INSERT INTO asset (code, scale, class) VALUES ('USDC', 6, 'CASH');

-- The service's rights: nothing that is not named here.
GRANT SELECT ON asset TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (wallets_made_count) ON subaccount TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (name, autoredeem, deleted_at_ns) ON wallet TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (posted, held, version) ON balance TO sealgate_wallet;
GRANT SELECT, INSERT ON txn, entry, funding, request TO sealgate_wallet;
GRANT INSERT ON audit TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (remaining, ended_at_ns) ON hold TO sealgate_wallet;
GRANT USAGE ON SEQUENCE txn_seq TO sealgate_wallet;

-- Money that leaves, and where it may go.

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

-- A hold is found by the id of what it is for. One for a withdrawal keeps its whole amount exactly while
-- it is on its way.
ALTER TABLE hold
    DROP CONSTRAINT hold_reference_unique,
    DROP CONSTRAINT hold_of_order_has_its_id,
    ADD CONSTRAINT hold_has_its_reference_as_id CHECK (hold_id = reference);
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

GRANT SELECT, INSERT, UPDATE (removed_at_ns) ON destination TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (external_ref, state, txn_seq, updated_at_ns) ON withdrawal TO sealgate_wallet;

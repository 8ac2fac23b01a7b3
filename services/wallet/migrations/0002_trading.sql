-- Markets, orders and what they traded. Shares and USDC both count in millionths, and a price is
-- millionths of a USDC a share: a price of 1000000 is certainty.
--
-- Everything about one market's book is written under the lock on its row.

-- A MARKET wallet keeps what the shares of one market are backed with: its USDC is the collateral,
-- and the shares that others hold stand in it below zero. A FEES wallet takes a market's fees.
ALTER TABLE wallet DROP CONSTRAINT wallet_kind_known;
ALTER TABLE wallet ADD CONSTRAINT wallet_kind_known CHECK (kind IN ('ACCOUNT', 'RAIL', 'MARKET', 'FEES'));
ALTER TABLE wallet DROP CONSTRAINT wallet_name_length;
ALTER TABLE wallet ADD CONSTRAINT wallet_name_length CHECK (
    char_length(name) BETWEEN 1 AND CASE kind WHEN 'ACCOUNT' THEN 64 ELSE 128 END
);

-- Only a rail may stand below zero, and a market's wallet with its shares.
CREATE OR REPLACE FUNCTION check_balance_floor() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- The service makes a new market's tokens and no other asset.
ALTER TABLE asset ENABLE ROW LEVEL SECURITY;
CREATE POLICY asset_is_seen ON asset FOR SELECT USING (true);
CREATE POLICY asset_made_is_an_outcome ON asset FOR INSERT WITH CHECK (class = 'OUTCOME');

-- Making and closing a market is nobody's account's.
ALTER TABLE audit ALTER project_id DROP NOT NULL;
ALTER TABLE audit ALTER account_id DROP NOT NULL;
ALTER TABLE audit ADD CONSTRAINT audit_account_has_project CHECK (
    num_nonnulls(project_id, account_id) IN (0, 2)
);

-- Trades are listed as such and not as transfers; who trades much must not have to skip them.
ALTER TABLE entry ADD COLUMN is_transfer boolean NOT NULL DEFAULT true;
DROP INDEX entry_of_wallet_newest;
CREATE INDEX entry_of_wallet_transfers ON entry (wallet_id, txn_seq DESC) WHERE is_transfer;

-- An order's hold is found by the order's id.
ALTER TABLE hold ADD CONSTRAINT hold_of_order_has_its_id CHECK (purpose <> 'ORDER' OR hold_id = reference);

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
    -- What it is for; of a MARKET order in USDC what it got.
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
    )
);
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
         OLD.side, OLD.type, OLD.time_in_force, OLD.amount, OLD.units, OLD.price, OLD.shares,
         OLD.client_order_id, OLD.expires_at_ns, OLD.created_at_ns)
        IS DISTINCT FROM
        (NEW.order_id, NEW.market_id, NEW.seq, NEW.wallet_id, NEW.account_id, NEW.asset_id, NEW.outcome,
         NEW.side, NEW.type, NEW.time_in_force, NEW.amount, NEW.units, NEW.price, NEW.shares,
         NEW.client_order_id, NEW.expires_at_ns, NEW.created_at_ns)
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

GRANT INSERT (code, scale, class) ON asset TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (updated_at_ns) ON event TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (status, seq, last_price, volume, updated_at_ns) ON market TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (filled, notional, fee_accrued, fee_charged, status, updated_at_ns) ON ord
   TO sealgate_wallet;
GRANT SELECT, INSERT ON fill TO sealgate_wallet;
GRANT SELECT, INSERT, UPDATE (cost, realized, updated_at_ns) ON position TO sealgate_wallet;

-- Orders that a signed request placed, and orders that change while they rest.

-- Which signed request placed the order, and when it counts as decided: an order answers for its request
-- when that is no longer on record. NULL for an order that nobody signed. And the order in whose stead it
-- was placed, which ended with that.
ALTER TABLE ord
    ADD COLUMN post_only boolean NOT NULL DEFAULT false,
    ADD COLUMN request_id uuid,
    ADD COLUMN processed_at_ns bigint,
    ADD COLUMN replaced_order_id uuid,
    ADD CONSTRAINT ord_replaced_exists FOREIGN KEY (replaced_order_id) REFERENCES ord,
    ADD CONSTRAINT ord_replaced_is_another CHECK (replaced_order_id <> order_id),
    ADD CONSTRAINT ord_request_has_its_time CHECK ((request_id IS NULL) = (processed_at_ns IS NULL));
-- What there is already did not keep it; from now on whoever inserts an order says it.
ALTER TABLE ord ALTER COLUMN post_only DROP DEFAULT;
CREATE UNIQUE INDEX ord_request_unique ON ord (account_id, request_id) WHERE request_id IS NOT NULL;
CREATE UNIQUE INDEX ord_replaced_once ON ord (replaced_order_id) WHERE replaced_order_id IS NOT NULL;

-- What an order is for may shrink while it rests, with its place in the book; nothing else of what it
-- was asked for changes.
DROP TRIGGER ord_facts_are_fixed ON ord;
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
CREATE TRIGGER ord_shares_only_shrink BEFORE UPDATE ON ord
    FOR EACH ROW WHEN (
        NEW.shares > OLD.shares
        OR (NEW.shares < OLD.shares AND (NEW.filled <> OLD.filled OR NEW.status <> OLD.status))
    ) EXECUTE FUNCTION refuse();

GRANT UPDATE (shares) ON ord TO sealgate_wallet;

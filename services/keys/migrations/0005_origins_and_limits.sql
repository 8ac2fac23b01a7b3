-- Since when a key has each of its origins, which browser sessions are bound to; and limits of its own.
ALTER TABLE api_key
  ADD COLUMN origins_since_ns bigint[],
  ADD COLUMN read_per_minute_count integer,
  ADD COLUMN write_per_minute_count integer,
  ADD COLUMN order_per_minute_count integer,
  ADD COLUMN browser_session_per_minute_count integer;

UPDATE api_key SET origins_since_ns = array_fill(created_at_ns, ARRAY[cardinality(origins)]);

ALTER TABLE api_key
  ALTER COLUMN origins_since_ns SET NOT NULL,
  ADD CONSTRAINT api_key_origins_have_their_since CHECK (
    cardinality(origins_since_ns) = cardinality(origins) AND array_position(origins_since_ns, NULL) IS NULL
  ),
  ADD CONSTRAINT api_key_origins_came_with_a_change CHECK (
    created_at_ns <= ALL (origins_since_ns) AND updated_at_ns >= ALL (origins_since_ns)
  ),
  ADD CONSTRAINT api_key_read_limit_range CHECK (read_per_minute_count BETWEEN 1 AND 1000000),
  ADD CONSTRAINT api_key_write_limit_range CHECK (write_per_minute_count BETWEEN 1 AND 1000000),
  ADD CONSTRAINT api_key_order_limit_range CHECK (order_per_minute_count BETWEEN 1 AND 1000000),
  ADD CONSTRAINT api_key_browser_session_limit_range CHECK (
    browser_session_per_minute_count BETWEEN 1 AND 1000000
  );

-- The times of a key's changes only rise, so that what a change brings is newer than all that was there.
CREATE TRIGGER api_key_changes_count_on BEFORE UPDATE ON api_key
  FOR EACH ROW WHEN (NEW.updated_at_ns < OLD.updated_at_ns) EXECUTE FUNCTION refuse();

-- An origin that a key has, has had its since all along; one that it gets, or gets back, has a new one.
CREATE FUNCTION check_origins_since() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM unnest(NEW.origins, NEW.origins_since_ns) AS present (origin, since_ns)
    WHERE since_ns <= OLD.updated_at_ns AND (origin, since_ns) NOT IN (
      SELECT earlier.origin, earlier.since_ns
      FROM unnest(OLD.origins, OLD.origins_since_ns) AS earlier (origin, since_ns)
    )
  ) THEN
    RAISE EXCEPTION 'an origin of key % has a since that is not its own', encode(NEW.public_key, 'hex')
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER api_key_origins_since_are_new BEFORE UPDATE ON api_key
  FOR EACH ROW WHEN (
    NEW.origins IS DISTINCT FROM OLD.origins OR NEW.origins_since_ns IS DISTINCT FROM OLD.origins_since_ns
  ) EXECUTE FUNCTION check_origins_since();

ALTER TABLE audit
  DROP CONSTRAINT audit_action_is_known,
  ADD CONSTRAINT audit_action_is_known CHECK (
    action IN (
      'KEY_ISSUED', 'KEY_CHANGED', 'KEY_LIMITED', 'KEY_ROTATED', 'KEY_DELETED', 'ACCOUNT_FENCED',
      'MASTER_KEY_REGISTERED', 'MASTER_KEY_ADDED', 'MASTER_KEY_REMOVED',
      'SESSION_KEY_MINTED', 'SESSION_KEY_REVOKED',
      'DEVICE_KEY_ISSUED', 'DEVICE_KEY_DELETED'
    )
  );

GRANT UPDATE (
  origins_since_ns, read_per_minute_count, write_per_minute_count, order_per_minute_count,
  browser_session_per_minute_count
) ON api_key TO sealgate_keys;

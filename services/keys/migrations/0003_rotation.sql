-- Rotation: a key gets a successor with the same rights, and works until the overlap ends.
ALTER TABLE api_key ADD COLUMN replaced_by bytea, ADD COLUMN retires_at_ns bigint;

ALTER TABLE api_key
  ADD CONSTRAINT api_key_successor_fkey FOREIGN KEY (replaced_by) REFERENCES api_key (public_key),
  -- A key takes the place of one other at most.
  ADD CONSTRAINT api_key_successor_is_unique UNIQUE (replaced_by),
  ADD CONSTRAINT api_key_successor_is_another CHECK (replaced_by <> public_key),
  ADD CONSTRAINT api_key_retires_for_a_successor CHECK ((replaced_by IS NULL) = (retires_at_ns IS NULL)),
  ADD CONSTRAINT api_key_rotated_out_when_it_retires CHECK (
    end_reason <> 'ROTATED' OR (retires_at_ns IS NOT NULL AND ended_at_ns = retires_at_ns)
  );

ALTER TABLE audit
  DROP CONSTRAINT audit_action_is_known,
  ADD CONSTRAINT audit_action_is_known CHECK (
    action IN ('KEY_ISSUED', 'KEY_CHANGED', 'KEY_ROTATED', 'KEY_DELETED', 'ACCOUNT_FENCED')
  );

GRANT UPDATE (replaced_by, retires_at_ns) ON api_key TO sealgate_keys;

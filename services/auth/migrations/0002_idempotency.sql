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

-- A record is removed and never changed: the right to update is what locking one asks for.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at_ns) ON idempotency TO sealgate_auth;

-- The schema as it stands after all migrations, for reading; a test proves the two equal.
-- Times are Unix nanoseconds and ids are UUIDs; the service gives both.

-- Whoever has keys. Every transaction that adds, changes or ends a key locks this row first, so that
-- caps are counted and fences are read with nothing in flight.
CREATE TABLE owner (
  owner_id uuid NOT NULL,
  kind text NOT NULL,
  -- Identities that know an older version of the account issue nothing any more.
  minimum_account_version bigint NOT NULL DEFAULT 0,
  CONSTRAINT owner_pkey PRIMARY KEY (owner_id, kind),
  CONSTRAINT owner_kind_is_known CHECK (kind IN ('PROJECT', 'ACCOUNT')),
  CONSTRAINT owner_fence_counts_up CHECK (minimum_account_version >= 0),
  CONSTRAINT owner_project_has_no_fence CHECK (kind = 'ACCOUNT' OR minimum_account_version = 0)
);

-- One row a key, for ever: a public key that ended is never given out again, and is told from an
-- unknown one. There is no column that a secret could be in.
CREATE TABLE api_key (
  public_key bytea NOT NULL,
  -- The order of creation, whatever the clocks of the service's replicas say.
  issue_number bigint GENERATED ALWAYS AS IDENTITY,
  owner_id uuid NOT NULL,
  kind text NOT NULL,
  project_id uuid NOT NULL,
  account_id uuid,
  name text NOT NULL,
  scopes text[] NOT NULL,
  origins text[] NOT NULL,
  subaccount_index integer,
  expires_at_ns bigint,
  created_at_ns bigint NOT NULL,
  updated_at_ns bigint NOT NULL,
  last_used_at_ns bigint,
  ended_at_ns bigint,
  end_reason text,
  created_by_kind text NOT NULL,
  created_by_id text NOT NULL,
  -- The key that it was rotated into, and when it stops working for that.
  replaced_by bytea,
  retires_at_ns bigint,
  CONSTRAINT api_key_pkey PRIMARY KEY (public_key),
  CONSTRAINT api_key_owner_fkey FOREIGN KEY (owner_id, kind) REFERENCES owner (owner_id, kind),
  CONSTRAINT api_key_public_key_is_ed25519 CHECK (octet_length(public_key) = 32),
  CONSTRAINT api_key_project_key_has_no_rights CHECK (
    kind <> 'PROJECT'
    OR (
      owner_id = project_id AND account_id IS NULL AND subaccount_index IS NULL
      AND cardinality(scopes) = 0 AND cardinality(origins) = 0
    )
  ),
  CONSTRAINT api_key_account_key_has_scopes CHECK (
    kind <> 'ACCOUNT' OR (account_id IS NOT NULL AND owner_id = account_id AND cardinality(scopes) > 0)
  ),
  CONSTRAINT api_key_name_is_plain CHECK (name ~ '^[A-Za-z0-9_-]{0,64}$'),
  CONSTRAINT api_key_scopes_are_known CHECK (
    scopes <@ ARRAY[
      'account:read', 'keys:write', 'wallet:read', 'wallet:write', 'orders:write', 'withdrawals:write'
    ]
  ),
  CONSTRAINT api_key_origins_are_bounded CHECK (
    cardinality(origins) <= 100 AND array_position(origins, NULL) IS NULL
  ),
  -- A page that shows its key to everybody must not show them the way to the money.
  CONSTRAINT api_key_with_origins_is_harmless CHECK (
    cardinality(origins) = 0 OR NOT scopes && ARRAY['keys:write', 'withdrawals:write']
  ),
  CONSTRAINT api_key_subaccount_counts_from_zero CHECK (subaccount_index >= 0),
  CONSTRAINT api_key_expires_after_creation CHECK (expires_at_ns > created_at_ns),
  CONSTRAINT api_key_end_has_its_reason CHECK ((ended_at_ns IS NULL) = (end_reason IS NULL)),
  CONSTRAINT api_key_end_reason_is_known CHECK (end_reason IN ('DELETED', 'ROTATED')),
  CONSTRAINT api_key_creator_is_known CHECK (
    created_by_kind IN ('PROJECT_KEY', 'ACCOUNT_SESSION', 'OPERATOR')
  ),
  CONSTRAINT api_key_successor_fkey FOREIGN KEY (replaced_by) REFERENCES api_key (public_key),
  -- A key takes the place of one other at most.
  CONSTRAINT api_key_successor_is_unique UNIQUE (replaced_by),
  CONSTRAINT api_key_successor_is_another CHECK (replaced_by <> public_key),
  CONSTRAINT api_key_retires_for_a_successor CHECK ((replaced_by IS NULL) = (retires_at_ns IS NULL)),
  CONSTRAINT api_key_rotated_out_when_it_retires CHECK (
    end_reason <> 'ROTATED' OR (retires_at_ns IS NOT NULL AND ended_at_ns = retires_at_ns)
  )
);

-- An owner's keys that were not ended: for the list and for the cap.
CREATE INDEX api_key_open_of_owner ON api_key (owner_id, kind, issue_number) WHERE ended_at_ns IS NULL;

-- What was done to keys, written in the transaction that did it and never changed.
CREATE TABLE audit (
  audit_id uuid NOT NULL,
  at_ns bigint NOT NULL,
  action text NOT NULL,
  owner_id uuid NOT NULL,
  kind text NOT NULL,
  public_key bytea,
  actor_kind text NOT NULL,
  actor_id text NOT NULL,
  request_id uuid NOT NULL,
  facts jsonb NOT NULL,
  CONSTRAINT audit_pkey PRIMARY KEY (audit_id),
  CONSTRAINT audit_action_is_known CHECK (
    action IN ('KEY_ISSUED', 'KEY_CHANGED', 'KEY_ROTATED', 'KEY_DELETED', 'ACCOUNT_FENCED')
  ),
  CONSTRAINT audit_names_the_key CHECK ((action = 'ACCOUNT_FENCED') = (public_key IS NULL)),
  CONSTRAINT audit_actor_is_known CHECK (
    actor_kind IN ('PROJECT_KEY', 'ACCOUNT_SESSION', 'OPERATOR', 'SERVICE')
  )
);

CREATE INDEX audit_of_owner ON audit (owner_id, at_ns);

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

-- The serving role can end a key but not remove it, give it to somebody else or bring it a new public
-- key, and can add to the audit but neither read nor rewrite it.
GRANT SELECT, INSERT ON owner, api_key TO sealgate_keys;
GRANT UPDATE (minimum_account_version) ON owner TO sealgate_keys;
GRANT UPDATE (
  name, scopes, origins, updated_at_ns, last_used_at_ns, ended_at_ns, end_reason, replaced_by, retires_at_ns
) ON api_key TO sealgate_keys;
GRANT INSERT ON audit TO sealgate_keys;
-- A record is removed and never changed: the right to update is what locking one asks for.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at_ns) ON idempotency TO sealgate_keys;

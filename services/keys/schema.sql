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
    action IN ('KEY_ISSUED', 'KEY_CHANGED', 'KEY_DELETED', 'ACCOUNT_FENCED')
  ),
  CONSTRAINT audit_names_the_key CHECK ((action = 'ACCOUNT_FENCED') = (public_key IS NULL)),
  CONSTRAINT audit_actor_is_known CHECK (
    actor_kind IN ('PROJECT_KEY', 'ACCOUNT_SESSION', 'OPERATOR', 'SERVICE')
  )
);

CREATE INDEX audit_of_owner ON audit (owner_id, at_ns);

-- The serving role can end a key but not remove it, give it to somebody else or bring it a new public
-- key, and can add to the audit but neither read nor rewrite it.
GRANT SELECT, INSERT ON owner, api_key TO sealgate_keys;
GRANT UPDATE (minimum_account_version) ON owner TO sealgate_keys;
GRANT UPDATE (name, scopes, origins, updated_at_ns, last_used_at_ns, ended_at_ns, end_reason)
  ON api_key TO sealgate_keys;
GRANT INSERT ON audit TO sealgate_keys;

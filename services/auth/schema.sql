-- The schema as it stands after all migrations, for reading; a test proves the two equal.
-- Times are Unix nanoseconds and ids are UUIDs; the service gives both.

-- A customer of the platform.
CREATE TABLE project (
  project_id uuid NOT NULL,
  name text NOT NULL,
  status text NOT NULL,
  modules text[] NOT NULL,
  allowed_origins text[] NOT NULL,
  idle_timeout_seconds bigint NOT NULL,
  absolute_cap_seconds bigint NOT NULL,
  created_at_ns bigint NOT NULL,
  updated_at_ns bigint NOT NULL,
  CONSTRAINT project_pkey PRIMARY KEY (project_id),
  CONSTRAINT project_name_is_short CHECK (char_length(name) BETWEEN 1 AND 64),
  CONSTRAINT project_status_is_known CHECK (status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED', 'CANCELLED')),
  CONSTRAINT project_modules_are_known CHECK (
    modules <@ ARRAY['wallet', 'trading', 'browser', 'signing'] AND cardinality(modules) BETWEEN 1 AND 4
  ),
  CONSTRAINT project_origins_are_bounded CHECK (
    cardinality(allowed_origins) <= 100 AND array_position(allowed_origins, NULL) IS NULL
  ),
  -- An unused session outlives the pause between two notes of its use several times over.
  CONSTRAINT project_session_policy_is_sound CHECK (
    120 <= idle_timeout_seconds
    AND idle_timeout_seconds <= absolute_cap_seconds
    AND absolute_cap_seconds <= 31536000
  )
);

-- One end user of a project. `metadata` is json and not jsonb, which would refuse NUL characters and
-- write numbers anew. Whatever issues something under an account locks this row FOR NO KEY UPDATE;
-- what takes everything away locks it FOR UPDATE and raises `version`.
CREATE TABLE account (
  account_id uuid NOT NULL,
  project_id uuid NOT NULL,
  account_number bigint GENERATED ALWAYS AS IDENTITY,
  metadata json NOT NULL,
  status text NOT NULL,
  version bigint NOT NULL,
  created_at_ns bigint NOT NULL,
  updated_at_ns bigint NOT NULL,
  CONSTRAINT account_pkey PRIMARY KEY (account_id),
  CONSTRAINT account_number_is_unique UNIQUE (account_number),
  CONSTRAINT account_project_fkey FOREIGN KEY (project_id) REFERENCES project (project_id),
  CONSTRAINT account_metadata_is_a_small_object CHECK (
    json_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 8192
  ),
  CONSTRAINT account_status_is_known CHECK (status IN ('ACTIVE', 'SUSPENDED')),
  CONSTRAINT account_version_counts_up CHECK (version >= 0)
);

-- A project's accounts, oldest first.
CREATE INDEX account_of_project ON account (project_id, account_number);

-- One row a session, for ever: one that ended is told from one that never was. A session that merely
-- runs out is not written to.
CREATE TABLE session (
  session_id uuid NOT NULL,
  account_id uuid NOT NULL,
  created_at_ns bigint NOT NULL,
  last_used_at_ns bigint NOT NULL,
  idle_timeout_seconds bigint NOT NULL,
  cap_at_ns bigint NOT NULL,
  ended_at_ns bigint,
  end_reason text,
  successor_id uuid,
  user_agent text NOT NULL,
  address text NOT NULL,
  created_by text NOT NULL,
  CONSTRAINT session_pkey PRIMARY KEY (session_id),
  CONSTRAINT session_account_fkey FOREIGN KEY (account_id) REFERENCES account (account_id),
  -- For the reference below, which keeps a successor within the account.
  CONSTRAINT session_and_account_are_unique UNIQUE (session_id, account_id),
  CONSTRAINT session_successor_fkey FOREIGN KEY (successor_id, account_id)
    REFERENCES session (session_id, account_id),
  CONSTRAINT session_succeeds_one UNIQUE (successor_id),
  CONSTRAINT session_does_not_succeed_itself CHECK (successor_id <> session_id),
  CONSTRAINT session_idle_timeout_is_sound CHECK (idle_timeout_seconds >= 120),
  CONSTRAINT session_cap_is_after_creation CHECK (cap_at_ns > created_at_ns),
  CONSTRAINT session_use_is_after_creation CHECK (last_used_at_ns >= created_at_ns),
  CONSTRAINT session_end_has_its_reason CHECK ((ended_at_ns IS NULL) = (end_reason IS NULL)),
  CONSTRAINT session_end_reason_is_known CHECK (end_reason IN ('REFRESHED', 'EXPIRED', 'SUSPENDED')),
  CONSTRAINT session_successor_is_of_a_refresh CHECK (
    (successor_id IS NOT NULL) = (end_reason IS NOT DISTINCT FROM 'REFRESHED')
  )
);

-- An account's sessions that were not ended: for the list, the cap and for ending them all.
CREATE INDEX session_open_of_account ON session (account_id) WHERE ended_at_ns IS NULL;

-- What was done, written in the transaction that did it and never changed.
CREATE TABLE audit (
  audit_id bigint GENERATED ALWAYS AS IDENTITY,
  at_ns bigint NOT NULL,
  project_id uuid NOT NULL,
  account_id uuid,
  actor_kind text NOT NULL,
  actor_id text NOT NULL,
  action text NOT NULL,
  subject text NOT NULL,
  request_id uuid NOT NULL,
  CONSTRAINT audit_pkey PRIMARY KEY (audit_id),
  CONSTRAINT audit_actor_is_known CHECK (actor_kind IN ('OPERATOR', 'PROJECT_KEY', 'ACCOUNT_SESSION')),
  CONSTRAINT audit_action_is_known CHECK (
    action IN (
      'PROJECT_CREATED', 'PROJECT_UPDATED',
      'PROJECT_ACTIVATED', 'PROJECT_MARKED_PAST_DUE', 'PROJECT_SUSPENDED', 'PROJECT_CANCELLED',
      'PROJECT_MODULES_SET',
      'ACCOUNT_CREATED', 'ACCOUNT_METADATA_REPLACED', 'ACCOUNT_SUSPENDED', 'ACCOUNT_ACTIVATED',
      'SESSION_CREATED', 'SESSION_REFRESHED', 'SESSION_EXPIRED', 'SESSIONS_EXPIRED'
    )
  )
);

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

-- The serving role removes nothing but answers, changes only what can change, and can add to the audit but neither
-- read nor rewrite it.
GRANT SELECT, INSERT ON project, account, session TO sealgate_auth;
GRANT UPDATE (
  name, status, modules, allowed_origins, idle_timeout_seconds, absolute_cap_seconds, updated_at_ns
) ON project TO sealgate_auth;
GRANT UPDATE (metadata, status, version, updated_at_ns) ON account TO sealgate_auth;
GRANT UPDATE (last_used_at_ns, ended_at_ns, end_reason, successor_id) ON session TO sealgate_auth;
GRANT INSERT ON audit TO sealgate_auth;
-- A record is removed and never changed: the right to update is what locking one asks for.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at_ns) ON idempotency TO sealgate_auth;

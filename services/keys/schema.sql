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

-- What nobody may do, whatever their rights.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused by %', TG_OP, TG_TABLE_NAME, TG_NAME
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END
$$;

-- One row a key and account, for ever: a key that was used on an account is never accepted there again.
-- The same key may be used on other accounts, by whoever; nobody can block another's.
CREATE TABLE signer (
  account_id uuid NOT NULL,
  public_key bytea NOT NULL,
  -- The order of creation, whatever the clocks of the service's replicas say.
  issue_number bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL,
  role text NOT NULL,
  -- The master key that minted a session key.
  master_public_key bytea,
  -- The subaccount that a session key was pinned to when it was minted.
  scope_index integer,
  -- The only subaccount that the key reaches, by its own scope or its master key's; NULL is all.
  subaccount_index integer,
  valid_until_ns bigint,
  created_at_ns bigint NOT NULL,
  created_by_kind text NOT NULL,
  created_by_id text NOT NULL,
  ended_at_ns bigint,
  end_reason text,
  revoked boolean NOT NULL GENERATED ALWAYS AS (ended_at_ns IS NOT NULL) STORED,
  CONSTRAINT signer_pkey PRIMARY KEY (account_id, public_key),
  CONSTRAINT signer_public_key_is_ed25519 CHECK (octet_length(public_key) = 32),
  CONSTRAINT signer_kind_is_known CHECK (kind IN ('MASTER_KEY', 'SESSION_KEY')),
  CONSTRAINT signer_role_is_known CHECK (role IN ('FULL_ACCESS', 'TRADING_ONLY')),
  CONSTRAINT signer_session_key_has_its_master CHECK (
    (kind = 'SESSION_KEY') = (master_public_key IS NOT NULL)
  ),
  CONSTRAINT signer_master_fkey FOREIGN KEY (account_id, master_public_key)
    REFERENCES signer (account_id, public_key),
  CONSTRAINT signer_master_is_another CHECK (master_public_key <> public_key),
  CONSTRAINT signer_master_key_is_not_minted CHECK (
    kind <> 'MASTER_KEY' OR (scope_index IS NULL AND valid_until_ns IS NULL)
  ),
  CONSTRAINT signer_pin_is_its_reach CHECK (
    scope_index IS NULL OR (subaccount_index IS NOT NULL AND subaccount_index = scope_index)
  ),
  CONSTRAINT signer_subaccount_counts_from_zero CHECK (subaccount_index >= 0),
  CONSTRAINT signer_ends_after_creation CHECK (valid_until_ns > created_at_ns),
  CONSTRAINT signer_end_has_its_reason CHECK ((ended_at_ns IS NULL) = (end_reason IS NULL)),
  CONSTRAINT signer_end_reason_is_known CHECK (
    end_reason IS NULL
    OR (kind = 'MASTER_KEY' AND end_reason = 'REMOVED')
    OR (kind = 'SESSION_KEY' AND end_reason IN ('REVOKED', 'LOGGED_OUT', 'MASTER_REMOVED'))
  ),
  CONSTRAINT signer_creator_is_known CHECK (created_by_kind IN ('PROJECT_KEY', 'MASTER_KEY')),
  CONSTRAINT signer_session_key_is_minted_by_its_master CHECK (
    kind <> 'SESSION_KEY' OR created_by_kind = 'MASTER_KEY'
  )
);

-- A key that was ended stays so, as it was.
CREATE TRIGGER signer_stays_ended BEFORE UPDATE ON signer
  FOR EACH ROW WHEN (OLD.ended_at_ns IS NOT NULL) EXECUTE FUNCTION refuse();

-- An account's master keys (those without a master), and what each of them minted: for lists, caps and ends.
CREATE INDEX signer_by_master ON signer (account_id, master_public_key, revoked, valid_until_ns);

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
  -- The session key that it came from, which a rotation hands on; it can end with that.
  session_public_key bytea,
  -- Since when it has each of `origins` without a break; newer than all that it ever had when it got it.
  origins_since_ns bigint[] NOT NULL,
  -- Limits of its own; NULL is what is configured for all.
  read_per_minute_count integer,
  write_per_minute_count integer,
  order_per_minute_count integer,
  browser_session_per_minute_count integer,
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
  CONSTRAINT api_key_origins_have_their_since CHECK (
    cardinality(origins_since_ns) = cardinality(origins) AND array_position(origins_since_ns, NULL) IS NULL
  ),
  CONSTRAINT api_key_origins_came_with_a_change CHECK (
    created_at_ns <= ALL (origins_since_ns) AND updated_at_ns >= ALL (origins_since_ns)
  ),
  CONSTRAINT api_key_read_limit_range CHECK (read_per_minute_count BETWEEN 1 AND 1000000),
  CONSTRAINT api_key_write_limit_range CHECK (write_per_minute_count BETWEEN 1 AND 1000000),
  CONSTRAINT api_key_order_limit_range CHECK (order_per_minute_count BETWEEN 1 AND 1000000),
  CONSTRAINT api_key_browser_session_limit_range CHECK (
    browser_session_per_minute_count BETWEEN 1 AND 1000000
  ),
  CONSTRAINT api_key_subaccount_counts_from_zero CHECK (subaccount_index >= 0),
  CONSTRAINT api_key_expires_after_creation CHECK (expires_at_ns > created_at_ns),
  CONSTRAINT api_key_end_has_its_reason CHECK ((ended_at_ns IS NULL) = (end_reason IS NULL)),
  CONSTRAINT api_key_end_reason_is_known CHECK (
    end_reason IN ('DELETED', 'ROTATED', 'SESSION_ENDED')
  ),
  CONSTRAINT api_key_creator_is_known CHECK (
    created_by_kind IN ('PROJECT_KEY', 'ACCOUNT_SESSION', 'OPERATOR', 'SESSION_KEY')
  ),
  CONSTRAINT api_key_session_fkey FOREIGN KEY (account_id, session_public_key)
    REFERENCES signer (account_id, public_key),
  CONSTRAINT api_key_of_a_session_is_an_accounts CHECK (
    session_public_key IS NULL OR account_id IS NOT NULL
  ),
  CONSTRAINT api_key_of_a_session_says_so CHECK (
    created_by_kind <> 'SESSION_KEY' OR session_public_key IS NOT NULL
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

-- An owner's keys that were not ended: for the list and for the cap.
CREATE INDEX api_key_open_of_owner ON api_key (owner_id, kind, issue_number) WHERE ended_at_ns IS NULL;
-- Those that end with a session key.
CREATE INDEX api_key_open_of_session ON api_key (account_id, session_public_key)
  WHERE ended_at_ns IS NULL AND session_public_key IS NOT NULL;

-- What a device reads with. The secret is nowhere; its BLAKE2b-256 digest is.
CREATE TABLE device_key (
  device_key_id uuid NOT NULL,
  -- The order of creation, whatever the clocks of the service's replicas say.
  issue_number bigint GENERATED ALWAYS AS IDENTITY,
  digest bytea NOT NULL,
  project_id uuid NOT NULL,
  account_id uuid NOT NULL,
  name text NOT NULL,
  subaccount_index integer,
  -- The session key that made it.
  session_public_key bytea NOT NULL,
  created_at_ns bigint NOT NULL,
  last_used_at_ns bigint NOT NULL,
  -- When it ends if it is not used again; moves with every use that is noted, until `ends_at_ns`.
  expires_at_ns bigint NOT NULL,
  ends_at_ns bigint NOT NULL,
  ended_at_ns bigint,
  end_reason text,
  CONSTRAINT device_key_pkey PRIMARY KEY (device_key_id),
  CONSTRAINT device_key_digest_is_unique UNIQUE (digest),
  CONSTRAINT device_key_digest_has_32_bytes CHECK (octet_length(digest) = 32),
  CONSTRAINT device_key_name_is_plain CHECK (name ~ '^[A-Za-z0-9_-]{0,64}$'),
  CONSTRAINT device_key_subaccount_counts_from_zero CHECK (subaccount_index >= 0),
  CONSTRAINT device_key_session_fkey FOREIGN KEY (account_id, session_public_key)
    REFERENCES signer (account_id, public_key),
  CONSTRAINT device_key_times_are_in_order CHECK (
    created_at_ns <= last_used_at_ns AND created_at_ns < expires_at_ns AND expires_at_ns <= ends_at_ns
  ),
  CONSTRAINT device_key_end_has_its_reason CHECK ((ended_at_ns IS NULL) = (end_reason IS NULL)),
  CONSTRAINT device_key_end_reason_is_known CHECK (end_reason IN ('DELETED', 'SESSION_ENDED'))
);

-- An account's device keys that were not ended: for the list and for the cap.
CREATE INDEX device_key_open_of_account ON device_key (account_id, expires_at_ns) WHERE ended_at_ns IS NULL;
-- Those that end with a session key.
CREATE INDEX device_key_open_of_session ON device_key (account_id, session_public_key)
  WHERE ended_at_ns IS NULL;

-- What the wallet service has yet to be told: that a key signs no more, or that an account has a master
-- key. Written in the transaction that makes it true, removed when the wallet service has answered.
CREATE TABLE fence_outbox (
  sequence_number bigint GENERATED ALWAYS AS IDENTITY,
  account_id uuid NOT NULL,
  -- The key that signs no more; NULL says that the account has a master key.
  public_key bytea,
  created_at_ns bigint NOT NULL,
  CONSTRAINT fence_outbox_pkey PRIMARY KEY (sequence_number),
  CONSTRAINT fence_outbox_public_key_is_ed25519 CHECK (octet_length(public_key) = 32)
);

CREATE INDEX fence_outbox_of_account ON fence_outbox (account_id, sequence_number);

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
  device_key_id uuid,
  CONSTRAINT audit_pkey PRIMARY KEY (audit_id),
  CONSTRAINT audit_action_is_known CHECK (
    action IN (
      'KEY_ISSUED', 'KEY_CHANGED', 'KEY_LIMITED', 'KEY_ROTATED', 'KEY_DELETED', 'ACCOUNT_FENCED',
      'MASTER_KEY_REGISTERED', 'MASTER_KEY_ADDED', 'MASTER_KEY_REMOVED',
      'SESSION_KEY_MINTED', 'SESSION_KEY_REVOKED',
      'DEVICE_KEY_ISSUED', 'DEVICE_KEY_DELETED'
    )
  ),
  CONSTRAINT audit_names_the_key CHECK (
    (action IN ('ACCOUNT_FENCED', 'DEVICE_KEY_ISSUED', 'DEVICE_KEY_DELETED')) = (public_key IS NULL)
  ),
  CONSTRAINT audit_names_the_device_key CHECK (
    (action IN ('DEVICE_KEY_ISSUED', 'DEVICE_KEY_DELETED')) = (device_key_id IS NOT NULL)
  ),
  CONSTRAINT audit_actor_is_known CHECK (
    actor_kind IN ('PROJECT_KEY', 'ACCOUNT_SESSION', 'OPERATOR', 'SERVICE', 'MASTER_KEY', 'SESSION_KEY')
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

-- When the last signed request of an account was decided. Raising it is how the next one takes its turn:
-- the signed requests of an account run one by one.
CREATE TABLE signed_account (
  account_id uuid NOT NULL,
  processed_at_ns bigint NOT NULL,
  CONSTRAINT signed_account_pkey PRIMARY KEY (account_id)
);

-- What became of a signed request: written in the transaction of its effect, refusals too, and never
-- changed. UUIDv7 sorts by time, so a partition is one day (UTC) of the ids' own times; the default one
-- takes what no day is there for.
CREATE TABLE request (
  account_id uuid NOT NULL,
  request_id uuid NOT NULL,
  -- 0 where the signature came in headers, and for what never ran.
  request_type integer NOT NULL,
  -- The key that signed; NULL for what never ran.
  public_key bytea,
  -- BLAKE2b of what was signed; NULL for what never ran.
  digest bytea,
  status text NOT NULL,
  processed_at_ns bigint NOT NULL,
  -- The only subaccount that it is about; NULL for the whole account.
  subaccount_index bigint,
  -- The outcome's message, serialized, without its secrets.
  outcome bytea NOT NULL,
  CONSTRAINT request_pkey PRIMARY KEY (account_id, request_id),
  CONSTRAINT request_type_range CHECK (request_type BETWEEN 0 AND 65535),
  CONSTRAINT request_public_key_length CHECK (octet_length(public_key) = 32),
  CONSTRAINT request_digest_length CHECK (octet_length(digest) = 32),
  CONSTRAINT request_status_shape CHECK (status ~ '^[a-z][a-z_]{0,63}$'),
  CONSTRAINT request_subaccount_range CHECK (subaccount_index BETWEEN 0 AND 4294967294),
  CONSTRAINT request_never_ran_has_no_signer CHECK (
    (status = 'never_ran') = (public_key IS NULL) AND (public_key IS NULL) = (digest IS NULL)
  )
) PARTITION BY RANGE (request_id);
CREATE TABLE request_default PARTITION OF request DEFAULT;
-- Of statements on the whole; days are dropped and the default is swept by their own names.
CREATE TRIGGER request_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON request
  FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Takes an account's turn for one signed request and tells what decides whether it runs: when it counts as
-- decided, whether its key was revoked (NULL where the key is unknown), and what is on record under its
-- id. A function and not one statement, because a statement does not see what was committed while it
-- waited for its turn; each statement of a function does.
CREATE FUNCTION claim_request(
  claimed_account_id uuid,
  claimed_public_key bytea,
  claimed_request_id uuid,
  now_ns bigint,
  OUT processed_at_ns bigint,
  OUT revoked boolean,
  OUT recorded_public_key bytea,
  OUT recorded_digest bytea,
  OUT recorded_outcome bytea
) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.signed_account AS last (account_id, processed_at_ns)
  VALUES (claimed_account_id, now_ns)
  ON CONFLICT (account_id) DO UPDATE
    SET processed_at_ns = greatest(last.processed_at_ns + 1, excluded.processed_at_ns)
  RETURNING last.processed_at_ns INTO claim_request.processed_at_ns;
  -- Held to the end: whoever revokes the key waits for this request, or this one sees that it did.
  SELECT signer.revoked INTO claim_request.revoked
  FROM public.signer
  WHERE signer.account_id = claimed_account_id AND signer.public_key = claimed_public_key
  FOR SHARE;
  SELECT request.public_key, request.digest, request.outcome
  INTO recorded_public_key, recorded_digest, recorded_outcome
  FROM public.request
  WHERE request.account_id = claimed_account_id AND request.request_id = claimed_request_id;
END
$$;

-- Makes the partitions of the days up to a week ahead and removes what is older than seven days. For the
-- role that owns the tables.
CREATE FUNCTION maintain_requests(now_ns bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  day_ms CONSTANT bigint := 86400000;
  kept_ms CONSTANT bigint := now_ns / 1000000 - 7 * day_ms;
  first_day CONSTANT bigint := kept_ms / day_ms;
  last_day CONSTANT bigint := now_ns / 1000000 / day_ms + 7;
  partition_name text;
  lower_bound uuid;
  upper_bound uuid;
BEGIN
  FOR partition_name IN
    SELECT relname
    FROM pg_catalog.pg_inherits
    JOIN pg_catalog.pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'public.request'::regclass
      AND relname ~ '^request_[0-9]{8}$'
      AND to_date(right(relname, 8), 'YYYYMMDD') - date '1970-01-01' < first_day
  LOOP
    EXECUTE format('DROP TABLE public.%I', partition_name);
  END LOOP;
  DELETE FROM public.request_default
  WHERE request_id < (lpad(to_hex(kept_ms), 12, '0') || repeat('0', 20))::uuid;
  FOR day IN first_day .. last_day LOOP
    partition_name := 'request_' || to_char(date '1970-01-01' + day::integer, 'YYYYMMDD');
    CONTINUE WHEN to_regclass('public.' || partition_name) IS NOT NULL;
    lower_bound := (lpad(to_hex(day * day_ms), 12, '0') || repeat('0', 20))::uuid;
    upper_bound := (lpad(to_hex((day + 1) * day_ms), 12, '0') || repeat('0', 20))::uuid;
    -- Nobody adds to the default while its rows of that day go where they belong.
    LOCK TABLE public.request_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.request INCLUDING ALL)', partition_name);
    EXECUTE format(
      'WITH moved AS (DELETE FROM public.request_default WHERE request_id >= %L AND request_id < %L'
      ' RETURNING *) INSERT INTO public.%I SELECT * FROM moved',
      lower_bound, upper_bound, partition_name
    );
    EXECUTE format(
      'ALTER TABLE public.request ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      partition_name, lower_bound, upper_bound
    );
  END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION maintain_requests(bigint) FROM PUBLIC;

-- The serving role can end a key but not remove it, give it to somebody else or bring it a new public
-- key, and can add to the audit but neither read nor rewrite it.
GRANT SELECT, INSERT ON owner, api_key TO sealgate_keys;
GRANT UPDATE (minimum_account_version) ON owner TO sealgate_keys;
GRANT UPDATE (
  name, scopes, origins, updated_at_ns, last_used_at_ns, ended_at_ns, end_reason, replaced_by, retires_at_ns,
  origins_since_ns, read_per_minute_count, write_per_minute_count, order_per_minute_count,
  browser_session_per_minute_count
) ON api_key TO sealgate_keys;
GRANT INSERT ON audit TO sealgate_keys;
-- A record is removed and never changed: the right to update is what locking one asks for.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at_ns) ON idempotency TO sealgate_keys;
GRANT SELECT, INSERT, UPDATE (ended_at_ns, end_reason) ON signer TO sealgate_keys;
GRANT SELECT, INSERT, UPDATE (last_used_at_ns, expires_at_ns, ended_at_ns, end_reason)
  ON device_key TO sealgate_keys;
GRANT SELECT, INSERT, DELETE ON fence_outbox TO sealgate_keys;
GRANT SELECT, INSERT, UPDATE (processed_at_ns) ON signed_account TO sealgate_keys;
GRANT SELECT, INSERT ON request TO sealgate_keys;
